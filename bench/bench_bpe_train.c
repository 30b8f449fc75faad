/* How fast a BPE is trained: seconds from the text in memory to both files in memory.
 *
 * usage: bench_bpe_train TEXT VOCAB_SIZE [THREADS [wall|cpu]]
 *
 * GPT-2's pre-tokenizer, minimum frequency 2, no special tokens.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/file.h"
#include "base/log.h"
#include "text/bpe_train.h"

static double now_s(clockid_t id)
{
    struct timespec t;
    clock_gettime(id, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static int next_text(void *ctx, const char **text, size_t *n_bytes, struct err *err)
{
    (void)err;
    struct buf **whole = ctx;
    if (!*whole)
        return 0;
    *text = (*whole)->bytes;
    *n_bytes = (*whole)->n;
    *whole = NULL;
    return 1;
}

int main(int argc, char **argv)
{
    if (argc < 3) {
        fprintf(stderr, "usage: bench_bpe_train TEXT VOCAB_SIZE [THREADS [wall|cpu]]\n");
        return 2;
    }
    struct err err = {0};
    struct buf text = {0}, json = {0}, config_json = {0}, *whole = &text;
    struct bpe_train_config config = {
        .vocab_size = atoi(argv[2]),
        .min_frequency = 2,
        .pre_tokenizer = "gpt2",
        .n_threads = argc > 3 ? atoi(argv[3]) : 1,
    };
    struct bpe_train_stats stats = {0};
    int rc = file_read(&text, argv[1], &err);
    clockid_t id =
        argc > 4 && strcmp(argv[4], "cpu") == 0 ? CLOCK_PROCESS_CPUTIME_ID : CLOCK_MONOTONIC;
    double begun_s = now_s(id);
    if (!rc)
        rc = bpe_train(&json, &config_json, &stats, next_text, &whole, &config, &err);
    double s = now_s(id) - begun_s;
    if (rc) {
        fprintf(stderr, "%s\n", err.msg);
        return 1;
    }
    printf("{\"engine\": \"moe2\", \"threads\": %d, \"bytes\": %zu, \"vocab_size\": %d, "
           "\"seconds\": %.4f, \"count_s\": %.4f, "
           "\"merge_s\": %.4f, \"peak_mib\": %.1f}\n",
           config.n_threads, text.n, stats.n_tokens, s, stats.count_s, stats.merge_s,
           (double)peak_rss_bytes() / 1048576);
    buf_release(&text);
    buf_release(&json);
    buf_release(&config_json);
    return 0;
}
