/* How fast an encoder embeds texts of a given length, ids ready: one JSON line in the form of peers/embed.py.
 *
 * usage: bench_embed DIR [--tokens N] [--batch B] [--threads N] [--seconds S] [--compute f32|bf16] [--device cpu|cpu:avx2|…]
 *        bench_embed DIR --ids FILE --out FILE.npy [--threads N] …      a text a line, ids separated by commas: their vectors
 *
 * ms is the median time of a batch over S seconds (at least 7 runs, 3 before them are not counted), gflops what its multiply-adds
 * come to, peak_mib the largest resident memory of the process.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/log.h"
#include "base/rng.h"
#include "base/stats.h"
#include "io/npy.h"
#include "model/encoder.h"

enum { MAX_RUNS = 4000, LEAST_RUNS = 7, WARM_RUNS = 3 };

static void die(const struct err *err)
{
    fprintf(stderr, "bench_embed: %s\n", err->msg);
    exit(1);
}

/* The word behind a flag, or otherwise. */
static const char *option(int argc, char **argv, const char *flag, const char *otherwise)
{
    for (int i = 2; i + 1 < argc; i++)
        if (strcmp(argv[i], flag) == 0)
            return argv[i + 1];
    return otherwise;
}

static void *memory(size_t n)
{
    void *p = calloc(n + 1, 1);
    if (!p)
        exit(1);
    return p;
}

static void measure(struct encoder *e, int64_t tokens, int64_t batch, double seconds,
                    const struct device *dev, const char *compute)
{
    const struct encoder_config *c = encoder_config(e);
    int32_t *ids = memory((size_t)(tokens * batch) * sizeof *ids),
            *offset = memory((size_t)(batch + 1) * sizeof *offset);
    float *out = memory((size_t)(batch * c->hidden_size) * sizeof *out);
    double *s = memory(MAX_RUNS * sizeof *s);
    struct rng r;
    struct err err = {0};
    rng_init(&r, 1);
    for (int64_t i = 0; i < tokens * batch; i++)
        ids[i] = (int32_t)rng_below(&r, (uint64_t)c->vocab_size);
    for (int64_t b = 0; b <= batch; b++)
        offset[b] = (int32_t)(b * tokens);
    int n = -WARM_RUNS;
    for (double end_s = clock_s() + seconds; n < LEAST_RUNS || (n < MAX_RUNS && clock_s() < end_s);
         n++) {
        double begun_s = clock_s();
        if (encoder_forward(out, e, ids, offset, batch, &err))
            die(&err);
        if (n >= 0)
            s[n] = clock_s() - begun_s;
    }
    double median_s = stats_median(s, n), flops = (double)batch * encoder_flops(c, tokens);
    printf("{\"engine\": \"moe2\", \"version\": \"%s\", \"kernels\": \"%s\", \"compute\": \"%s\", "
           "\"threads\": %d, \"tokens\": %lld, \"batch\": %lld, \"ms\": %.3f, \"ms_min\": %.3f, "
           "\"ms_max\": %.3f, \"sent_per_s\": %.2f, \"gflops\": %.1f, \"runs\": %d, \"peak_mib\": "
           "%.1f}\n",
           MOE2_VERSION, dev->k->name, compute, dev->n_threads, (long long)tokens, (long long)batch,
           1e3 * median_s, 1e3 * s[0], 1e3 * s[n - 1], (double)batch / median_s,
           flops / median_s / 1e9, n, (double)peak_rss_bytes() / (1 << 20));
    free(ids);
    free(offset);
    free(out);
    free(s);
}

/* Ids of one line, cut at most. */
static int32_t read_line(int32_t *ids, char **at, int64_t most)
{
    int32_t n = 0;
    char *p = *at;
    while (*p && *p != '\n') {
        int32_t id = (int32_t)strtol(p, &p, 10);
        if (n < most)
            ids[n++] = id;
        p += *p == ',';
    }
    *at = *p ? p + 1 : p;
    return n;
}

static void embed_file(struct encoder *e, const char *ids_path, const char *out_path)
{
    struct err err = {0};
    struct buf text = {0};
    struct npy_writer w;
    if (file_read(&text, ids_path, &err))
        die(&err);
    const struct encoder_config *c = encoder_config(e);
    int64_t n_texts = 0;
    for (size_t i = 0; i < text.n; i++)
        n_texts += text.bytes[i] == '\n';
    int32_t *ids = memory((size_t)c->max_seq_length * sizeof *ids);
    float *out = memory((size_t)c->hidden_size * sizeof *out);
    if (npy_begin(&w, out_path, DT_F32, (int64_t[]){n_texts, c->hidden_size}, 2, &err))
        die(&err);
    char *at = text.bytes;
    for (int64_t i = 0; i < n_texts; i++) {
        int32_t offset[2] = {0, read_line(ids, &at, c->max_seq_length)};
        if (encoder_forward(out, e, ids, offset, 1, &err) ||
            npy_put(&w, out, c->hidden_size * (int64_t)sizeof *out, &err))
            die(&err);
    }
    if (npy_commit(&w, &err))
        die(&err);
    free(ids);
    free(out);
    buf_release(&text);
}

int main(int argc, char **argv)
{
    if (argc < 2) {
        fprintf(stderr, "usage: bench_embed DIR [--tokens N] [--batch B] [--threads N] …\n");
        return 2;
    }
    struct err err = {0};
    struct device *dev = NULL;
    struct encoder *e = NULL;
    const char *compute = option(argc, argv, "--compute", "f32"),
               *ids = option(argc, argv, "--ids", NULL);
    int64_t tokens = atoll(option(argc, argv, "--tokens", "128")),
            batch = atoll(option(argc, argv, "--batch", "1"));
    struct encoder_options o = {strcmp(compute, "bf16") == 0 ? DT_BF16 : DT_F32, tokens * batch,
                                false};
    if (device_open(&dev, option(argc, argv, "--device", "cpu"),
                    atoi(option(argc, argv, "--threads", "0")), &err) ||
        encoder_open(&e, argv[1], dev, &o, NULL, &err))
        die(&err);
    if (tokens < 1 || batch < 1 || tokens > encoder_config(e)->max_seq_length) {
        fprintf(stderr, "bench_embed: wanted a batch of texts of 1 to %lld tokens\n",
                (long long)encoder_config(e)->max_seq_length);
        return 2;
    }
    if (ids)
        embed_file(e, ids, option(argc, argv, "--out", "vectors.npy"));
    else
        measure(e, tokens, batch, atof(option(argc, argv, "--seconds", "2")), dev, compute);
    encoder_close(e);
    device_close(dev);
    return 0;
}
