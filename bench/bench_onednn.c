/* Our dense products beside oneDNN's dnnl_sgemm, float32, in one process, taking turns: why src/kernels/cpu/gemm.c exists.
 *
 *     bench_onednn [--threads N] [--runs N]
 *
 * Shapes are those of the medium model: M tokens, an expert's rows, weight gradients (the sum runs over tokens). oneDNN gets its own
 * threads and row-major operands as they lie, as a caller of the library would use it. The ratio is oneDNN's time over ours.
 */
#include <dnnl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/rng.h"
#include "base/stats.h"
#include "kernels/kernels.h"
#include "kernels/limits.h"

enum direction { FORWARD, BACKWARD_INPUT, BACKWARD_WEIGHT };

static const struct shape {
    const char *name;
    enum direction direction;
    int64_t M, N, K;
} shapes[] = {
    {"q_proj forward", FORWARD, 2048, 384, 256},
    {"kv_b forward", FORWARD, 2048, 512, 64},
    {"dense gate, up forward", FORWARD, 2048, 2048, 256},
    {"head forward", FORWARD, 2048, 8192, 256},
    {"an expert's gate, up forward", FORWARD, 256, 256, 256},
    {"an expert's down forward", FORWARD, 256, 256, 128},
    {"q_proj input gradient", BACKWARD_INPUT, 2048, 384, 256},
    {"head input gradient", BACKWARD_INPUT, 2048, 8192, 256},
    {"q_proj weight gradient", BACKWARD_WEIGHT, 2048, 384, 256},
    {"an expert's gate, up weight gradient", BACKWARD_WEIGHT, 256, 256, 256},
};

static void fill_random(float *p, int64_t n)
{
    struct rng r;
    rng_init(&r, (uint64_t)n);
    for (int64_t i = 0; i < n; i++)
        p[i] = (float)(rng_uniform(&r) - 0.5);
}

static void ours(struct device *dev, const struct shape *s, float *y, float *x, float *w)
{
    struct linear_args a = {y, x, w, s->M, s->N, s->K, s->N, s->K, s->K, DT_F32, DT_F32, false};
    if (s->direction == FORWARD)
        dev->k->linear_forward(dev, &a);
    else if (s->direction == BACKWARD_INPUT)
        dev->k->linear_backward_input(dev, &a);
    else
        dev->k->linear_backward_weight(dev, &a);
}

static void theirs(const struct shape *s, float *y, float *x, float *w)
{
    if (s->direction == FORWARD)
        dnnl_sgemm('N', 'T', s->M, s->N, s->K, 1, x, s->K, w, s->K, 0, y, s->N);
    else if (s->direction == BACKWARD_INPUT)
        dnnl_sgemm('N', 'N', s->M, s->K, s->N, 1, y, s->N, w, s->K, 0, x, s->K);
    else
        dnnl_sgemm('T', 'N', s->N, s->K, s->M, 1, y, s->N, x, s->K, 0, w, s->K);
}

int main(int argc, char **argv)
{
    int threads = 0, runs = 15;
    for (int i = 1; i + 1 < argc; i += 2) {
        if (strcmp(argv[i], "--threads") == 0)
            threads = atoi(argv[i + 1]);
        else if (strcmp(argv[i], "--runs") == 0)
            runs = atoi(argv[i + 1]) < 64 ? atoi(argv[i + 1]) : 64;
    }
    struct device *dev = NULL;
    struct err err = {0};
    if (device_open(&dev, "cpu", threads, &err)) {
        fprintf(stderr, "bench_onednn: %s\n", err.msg);
        return 1;
    }
    const dnnl_version_t *v = dnnl_version();
    printf("%s, %d threads, beside oneDNN %d.%d.%d; medians of %d runs, GFLOP/s\n", dev->k->name,
           dev->n_threads, v->major, v->minor, v->patch, runs);
    printf("%-38s %18s %8s %8s %6s\n", "product", "M x N x K", "ours", "oneDNN", "ratio");
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++) {
        const struct shape *s = &shapes[i];
        float *y = device_alloc(dev, sizeof *y * (size_t)(s->M * s->N), &err);
        float *x = device_alloc(dev, sizeof *x * (size_t)(s->M * s->K), &err);
        float *w = device_alloc(dev, sizeof *w * (size_t)(s->N * s->K), &err);
        if (!y || !x || !w) {
            fprintf(stderr, "bench_onednn: %s\n", err.msg);
            return 1;
        }
        fill_random(y, s->M * s->N);
        fill_random(x, s->M * s->K);
        fill_random(w, s->N * s->K);
        double flops = 2.0 * (double)s->M * (double)s->N * (double)s->K, a[64], b[64];
        int times = (int)(4e8 / flops) + 1;
        for (int r = -1; r < runs; r++) {
            double t0 = clock_s();
            for (int j = 0; j < times; j++)
                ours(dev, s, y, x, w);
            double t1 = clock_s();
            for (int j = 0; j < times; j++)
                theirs(s, y, x, w);
            double t2 = clock_s();
            if (r >= 0) {
                a[r] = (t1 - t0) / times;
                b[r] = (t2 - t1) / times;
            }
        }
        double ta = stats_median(a, runs), tb = stats_median(b, runs);
        char size[64];
        snprintf(size, sizeof size, "%lld x %lld x %lld", (long long)s->M, (long long)s->N,
                 (long long)s->K);
        printf("%-38s %18s %8.1f %8.1f %6.2f\n", s->name, size, flops / ta * 1e-9,
               flops / tb * 1e-9, tb / ta);
    }
    device_close(dev);
    return 0;
}
