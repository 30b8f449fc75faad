/* Speed of every kernel on the shapes of the medium model, table by table, beside this machine's limits.
 *
 *     bench_kernels [--table cpu:avx2] [--threads N] [--only WORD] [--runs N]
 *
 * Each row is the median of the runs. GFLOP/s counts multiply-adds as two and what the mask of attention throws away not at all;
 * GB/s counts every array once, read or written. share is of the float32 (bf16) peak, or of the copy bandwidth.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/rng.h"
#include "kernels/kernels.h"
#include "kernels/limits.h"

static struct device *dev;
static struct limits peak;
static const char *only = "";
static int runs = 7;

static float *randoms(int64_t n, double scale)
{
    struct rng r;
    float *p = device_alloc(dev, (size_t)n * sizeof *p, NULL);
    if (!p) {
        fprintf(stderr, "bench_kernels: no memory\n");
        exit(1);
    }
    rng_init(&r, (uint64_t)n);
    for (int64_t i = 0; i < n; i++)
        p[i] = (float)(scale * rng_normal(&r));
    return p;
}

static int ascending(const void *x, const void *y)
{
    double a = *(const double *)x, b = *(const double *)y;
    return (a > b) - (a < b);
}

typedef void (*job)(void *ctx);

/* Median seconds of a job, each run long enough to be timed. */
static double seconds(job f, void *ctx)
{
    double v[64];
    int n = runs < 64 ? runs : 64;
    f(ctx);
    double begun = clock_s();
    f(ctx);
    double once = clock_s() - begun;
    int times = once < 2e-3 ? (int)(2e-3 / once) + 1 : 1;
    for (int i = 0; i < n; i++) {
        begun = clock_s();
        for (int j = 0; j < times; j++)
            f(ctx);
        v[i] = (clock_s() - begun) / times;
    }
    qsort(v, (size_t)n, sizeof *v, ascending);
    return v[n / 2];
}

static bool wanted(const char *name)
{
    return strstr(name, only) != NULL;
}

static void report(const char *name, double s, double flops, double bytes, bool bf16)
{
    double limit = flops > 0 ? (bf16 && peak.bf16_gflops > 0 ? peak.bf16_gflops : peak.f32_gflops)
                             : peak.copy_gbs;
    double got = (flops > 0 ? flops : bytes) / s * 1e-9;
    printf("%-46s %9.3f ms %8.1f %s %5.1f %%\n", name, s * 1e3, got,
           flops > 0 ? "GFLOP/s" : "GB/s   ", 100 * got / limit);
    fflush(stdout);
}

struct linear_job {
    struct linear_args a;
    int direction;
};

static void do_linear(void *ctx)
{
    struct linear_job *j = ctx;
    if (j->direction == 0)
        dev->k->linear_forward(dev, &j->a);
    else if (j->direction == 1)
        dev->k->linear_backward_input(dev, &j->a);
    else
        dev->k->linear_backward_weight(dev, &j->a);
}

static const char *const directions[] = {"forward", "input", "weight"};

static void bench_linear(int64_t M, int64_t N, int64_t K, enum dtype compute)
{
    float *y = randoms(M * N, 1), *x = randoms(M * K, 1), *w = randoms(N * K, 1);
    for (int d = 0; d < 3; d++) {
        char name[96];
        snprintf(name, sizeof name, "linear %s %s M %lld N %lld K %lld",
                 compute == DT_BF16 ? "bf16" : "f32", directions[d], (long long)M, (long long)N,
                 (long long)K);
        struct linear_job j = {{y, x, w, M, N, K, N, K, K, DT_F32, compute, d == 2}, d};
        if (wanted(name))
            report(name, seconds(do_linear, &j), 2.0 * (double)M * (double)N * (double)K, 0,
                   compute == DT_BF16);
    }
    device_free(dev, y, (size_t)(M * N) * 4);
    device_free(dev, x, (size_t)(M * K) * 4);
    device_free(dev, w, (size_t)(N * K) * 4);
}

enum { E = 32, TOP = 4, T = 2048 };

struct grouped_job {
    struct grouped_args a;
    int direction;
};

static void do_grouped(void *ctx)
{
    struct grouped_job *j = ctx;
    if (j->direction == 0)
        dev->k->grouped_forward(dev, &j->a);
    else if (j->direction == 1)
        dev->k->grouped_backward_input(dev, &j->a);
    else
        dev->k->grouped_backward_weight(dev, &j->a);
}

/* Slots of T tokens over E experts, unequal as a trained router's: expert e gets a share that falls with e. */
static void spread(int32_t *offset, int32_t *rows)
{
    double share[E], total = 0;
    for (int e = 0; e < E; e++)
        total += share[e] = 1 / (8.0 + e);
    offset[0] = 0;
    for (int e = 0; e < E; e++)
        offset[e + 1] = e == E - 1 ? T * TOP : offset[e] + (int32_t)(share[e] / total * T * TOP);
    for (int s = 0; s < T * TOP; s++)
        rows[s] = (int32_t)((int64_t)s * 1367 % T);
}

static void bench_grouped(int64_t N, int64_t K, bool gather_x, bool gather_y, enum dtype compute)
{
    static int32_t offset[E + 1], rows[T * TOP];
    int64_t S = T * TOP;
    float *y = randoms(S * N, 1), *x = randoms(S * K, 1), *w = randoms(E * N * K, 1);
    void *ws[E];
    for (int e = 0; e < E; e++)
        ws[e] = w + e * N * K;
    spread(offset, rows);
    for (int d = 0; d < 3; d++) {
        char name[96];
        snprintf(name, sizeof name, "grouped %s %s S %lld N %lld K %lld",
                 compute == DT_BF16 ? "bf16" : "f32", directions[d], (long long)S, (long long)N,
                 (long long)K);
        struct grouped_job j = {
            {y, x, ws, offset, NULL, NULL, E, N, K, N, K, K, DT_F32, compute, d == 2}, d};
        if (gather_x && d != 1)
            j.a.x_row = rows;
        if (gather_y && d != 0)
            j.a.y_row = rows;
        if (wanted(name))
            report(name, seconds(do_grouped, &j), 2.0 * (double)(S * N * K), 0, compute == DT_BF16);
    }
    device_free(dev, y, (size_t)(S * N) * 4);
    device_free(dev, x, (size_t)(S * K) * 4);
    device_free(dev, w, (size_t)(E * N * K) * 4);
}

static void products(enum dtype compute)
{
    static const struct {
        int64_t N, K;
    } sides[] = {{384, 256},  {80, 256},   {512, 64},  {256, 256},
                 {2048, 256}, {256, 1024}, {256, 128}, {8192, 256}};
    for (size_t i = 0; i < sizeof sides / sizeof *sides; i++)
        bench_linear(T, sides[i].N, sides[i].K, compute);
    bench_grouped(256, 256, true, false, compute);
    bench_grouped(256, 128, false, true, compute);
}

int main(int argc, char **argv)
{
    const char *table = "cpu";
    int threads = 0;
    struct err err = {0};
    for (int i = 1; i + 1 < argc; i += 2) {
        if (strcmp(argv[i], "--table") == 0)
            table = argv[i + 1];
        else if (strcmp(argv[i], "--threads") == 0)
            threads = atoi(argv[i + 1]);
        else if (strcmp(argv[i], "--only") == 0)
            only = argv[i + 1];
        else if (strcmp(argv[i], "--runs") == 0)
            runs = atoi(argv[i + 1]);
    }
    if (device_open(&dev, table, threads, &err) || limits_measure(&peak, dev->n_threads, &err)) {
        fprintf(stderr, "bench_kernels: %s\n", err.msg);
        return 1;
    }
    printf("table %s, %d threads; peak %.1f GFLOP/s float32, %.1f bf16; read %.1f, copy %.1f GB/s; "
           "median of %d runs\n",
           dev->k->name, dev->n_threads, peak.f32_gflops, peak.bf16_gflops, peak.read_gbs,
           peak.copy_gbs, runs);
    products(DT_F32);
    if (dev->bf16_units)
        products(DT_BF16);
    device_close(dev);
    return 0;
}
