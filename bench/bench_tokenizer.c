/* How fast a tokenizer encodes: MB/s on text it has not seen, on text it has, with one thread or
 * more.
 *
 * usage: bench_tokenizer TOKENIZER TEXT [PASSES [THREADS [wall|cpu]]]
 *
 * Documents are TEXT cut at NUL bytes, or the whole if there are none; threads take documents in
 * turn. Three figures: first (the first pass of the process), fresh (median of PASSES passes, each
 * with a new scratch, so that no word is known), warm (median of PASSES passes with the scratch of
 * the pass before). A JSON line: those in MB/s, tokens, a hash of the ids (FNV-1a over 32 bits
 * each, the documents joined in order), the seconds that opening took, peak memory.
 * With cpu a second is one of CPU time: for one thread on a machine that others use too.
 */
#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/file.h"
#include "base/log.h"
#include "base/stats.h"
#include "text/tokenizer.h"

enum { MAX_THREADS = 64, MAX_PASSES = 101 };

struct doc {
    const char *text;
    size_t n;
    struct ids ids;
};

struct work {
    const struct tokenizer *tok;
    struct doc *docs;
    int64_t n_docs, next;
    struct err err;
};

struct worker {
    struct work *work;
    struct tokenizer_scratch *scratch;
    struct err err;
    pthread_t thread;
};

static void *work_on(void *arg)
{
    struct worker *w = arg;
    for (;;) {
        int64_t i = __atomic_fetch_add(&w->work->next, 1, __ATOMIC_RELAXED);
        if (i >= w->work->n_docs)
            return NULL;
        struct doc *d = &w->work->docs[i];
        d->ids.n = 0;
        if (tokenizer_encode(w->work->tok, w->scratch, &d->ids, d->text, d->n, 0, &w->err))
            return NULL;
    }
}

static void new_scratch(struct worker *w, int n)
{
    for (int i = 0; i < n; i++) {
        tokenizer_scratch_free(w[i].scratch);
        w[i].scratch = NULL;
        if (tokenizer_scratch_new(&w[i].scratch, w[i].work->tok, &w[i].err))
            exit(1);
    }
}

static double now_s(bool cpu)
{
    struct timespec t;
    clock_gettime(cpu ? CLOCK_PROCESS_CPUTIME_ID : CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* Seconds of one pass over all documents. */
static double pass(struct worker *w, int n, bool cpu)
{
    double begun_s = now_s(cpu);
    w->work->next = 0;
    for (int i = 1; i < n; i++)
        pthread_create(&w[i].thread, NULL, work_on, &w[i]);
    work_on(&w[0]);
    for (int i = 1; i < n; i++)
        pthread_join(w[i].thread, NULL);
    double s = now_s(cpu) - begun_s;
    for (int i = 0; i < n; i++)
        if (w[i].err.code) {
            fprintf(stderr, "%s\n", w[i].err.msg);
            exit(1);
        }
    return s;
}

static double median_mbps(double *seconds, int n, double n_bytes)
{
    return n_bytes / stats_median(seconds, n) / 1e6;
}

static struct doc *cut(int64_t *n_docs, double *n_bytes, const struct buf *text)
{
    int64_t n = 1;
    for (size_t i = 0; i < text->n; i++)
        n += text->bytes[i] == 0;
    struct doc *docs = calloc((size_t)n, sizeof *docs);
    if (!docs)
        exit(1);
    const char *p = text->bytes, *end = text->bytes + text->n;
    for (int64_t i = 0; i < n; i++) {
        const char *stop = memchr(p, 0, (size_t)(end - p));
        stop = stop ? stop : end;
        docs[i].text = p;
        docs[i].n = (size_t)(stop - p);
        p = stop + (stop < end);
    }
    *n_docs = n;
    *n_bytes = (double)text->n - (double)(n - 1);
    return docs;
}

int main(int argc, char **argv)
{
    if (argc < 3) {
        fprintf(stderr, "usage: bench_tokenizer TOKENIZER TEXT [PASSES [THREADS [wall|cpu]]]\n");
        return 2;
    }
    int n_passes = argc > 3 ? atoi(argv[3]) : 5, n_threads = argc > 4 ? atoi(argv[4]) : 1;
    if (n_passes < 1 || n_passes > MAX_PASSES || n_threads < 1 || n_threads > MAX_THREADS)
        return 2;
    struct err err = {0};
    struct buf text = {0};
    struct tokenizer *tok = NULL;
    bool cpu = argc > 5 && strcmp(argv[5], "cpu") == 0;
    double begun_s = now_s(cpu);
    if (tokenizer_open(&tok, argv[1], &err) || file_read(&text, argv[2], &err)) {
        fprintf(stderr, "%s\n", err.msg);
        return 1;
    }
    double load_s = now_s(cpu) - begun_s, n_bytes, fresh[MAX_PASSES], warm[MAX_PASSES];
    struct work work = {.tok = tok};
    work.docs = cut(&work.n_docs, &n_bytes, &text);
    struct worker workers[MAX_THREADS] = {0};
    for (int i = 0; i < n_threads; i++)
        workers[i].work = &work;
    new_scratch(workers, n_threads);
    double first_s = pass(workers, n_threads, cpu);
    for (int i = 0; i < n_passes; i++) {
        new_scratch(workers, n_threads);
        fresh[i] = pass(workers, n_threads, cpu);
    }
    for (int i = 0; i < n_passes; i++)
        warm[i] = pass(workers, n_threads, cpu);
    int64_t n_tokens = 0;
    uint64_t hash = 0xcbf29ce484222325u;
    for (int64_t i = 0; i < work.n_docs; i++) {
        n_tokens += (int64_t)work.docs[i].ids.n;
        for (size_t k = 0; k < work.docs[i].ids.n; k++)
            hash = (hash ^ (uint32_t)work.docs[i].ids.v[k]) * 0x100000001b3u;
        ids_release(&work.docs[i].ids);
    }
    printf("{\"engine\": \"moe2\", \"threads\": %d, \"documents\": %" PRId64
           ", \"bytes\": %.0f, \"tokens\": %" PRId64 ", \"hash\": \"%016" PRIx64
           "\", \"first\": %.2f, \"fresh\": %.2f, \"warm\": %.2f, \"load_s\": %.3f, \"peak_mib\": "
           "%.1f}\n",
           n_threads, work.n_docs, n_bytes, n_tokens, hash, n_bytes / first_s / 1e6,
           median_mbps(fresh, n_passes, n_bytes), median_mbps(warm, n_passes, n_bytes), load_s,
           (double)peak_rss_bytes() / 1048576);
    for (int i = 0; i < n_threads; i++)
        tokenizer_scratch_free(workers[i].scratch);
    free(work.docs);
    buf_release(&text);
    tokenizer_free(tok);
    return 0;
}
