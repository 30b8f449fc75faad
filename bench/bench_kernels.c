/* Speed of every kernel on the shapes of the medium model, table by table, beside this machine's limits.
 *
 *     bench_kernels [--table cpu:avx2] [--threads N] [--only WORD] [--runs N]
 *
 * Each row is the median of the runs. GFLOP/s counts multiply-adds as two and what the mask of attention throws away not at all; GB/s
 * counts every array once, read or written. The share is of the float32 (bf16) peak as measured right before and after each run, the
 * median over runs, so that a machine that others use too tells the truth; or of the copy bandwidth.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/rng.h"
#include "base/stats.h"
#include "kernels/cpu/peak.h"
#include "kernels/kernels.h"
#include "kernels/limits.h"

static struct device *dev;
static struct limits peak;
static const char *only = "";
static int runs = 7;
static double peak_s; /* the median over those runs of seconds · peak, in GFLOP */

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
        p[i] = (float)(scale * (rng_uniform(&r) + rng_uniform(&r) - 1) * 2.4);
    return p;
}

typedef void (*job)(void *ctx);

/* What the multiply-add units give at this moment, GFLOP/s. */
static double peak_now(bool bf16)
{
    double operations = 0, begun = clock_s();
#pragma omp parallel num_threads(dev->n_threads) reduction(+ : operations)
#if defined(__x86_64__)
    if (bf16)
        operations += peak_avx512bf16(10000);
    else if (__builtin_cpu_supports("avx512f"))
        operations += peak_avx512(10000);
    else if (__builtin_cpu_supports("avx2"))
        operations += peak_avx2(10000);
#endif
    return operations / (clock_s() - begun) * 1e-9;
}

/* Median seconds of a job, each run long enough to be timed. */
static double seconds(job f, void *ctx, bool bf16)
{
    double v[64], w[64];
    bf16 = bf16 && peak.bf16_gflops > 0;
    int n = runs < 64 ? runs : 64;
    f(ctx);
    double begun = clock_s();
    f(ctx);
    double once = clock_s() - begun;
    int times = once < 2e-3 ? (int)(2e-3 / once) + 1 : 1;
    for (int i = 0; i < n; i++) {
        double before = peak_now(bf16);
        begun = clock_s();
        for (int j = 0; j < times; j++)
            f(ctx);
        v[i] = (clock_s() - begun) / times;
        w[i] = v[i] * 0.5 * (before + peak_now(bf16));
    }
    peak_s = stats_median(w, n);
    return stats_median(v, n);
}

static bool wanted(const char *name)
{
    return strstr(name, only) != NULL;
}

static void report(const char *name, double s, double flops, double bytes)
{
    double got = (flops > 0 ? flops : bytes) / s * 1e-9;
    printf("%-46s %9.3f ms %8.1f %s %5.1f %%\n", name, s * 1e3, got,
           flops > 0 ? "GFLOP/s" : "GB/s   ",
           100 * (flops > 0 ? flops * 1e-9 / peak_s : got / peak.copy_gbs));
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
            report(name, seconds(do_linear, &j, compute == DT_BF16),
                   2.0 * (double)M * (double)N * (double)K, 0);
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
            report(name, seconds(do_grouped, &j, compute == DT_BF16), 2.0 * (double)(S * N * K), 0);
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

/* ---- attention: the medium model's heads ---- */

struct attention_job {
    struct attention_args a;
    struct attention_grads g;
};

static void do_attention_forward(void *ctx)
{
    struct attention_job *j = ctx;
    dev->k->attention_forward(dev, &j->a);
}

static void do_attention_backward(void *ctx)
{
    struct attention_job *j = ctx;
    dev->k->attention_backward(dev, &j->a, &j->g);
}

static void bench_attention(int64_t B, int64_t len, int64_t H, int64_t dn, int64_t dr, int64_t dv,
                            enum dtype compute)
{
    int32_t offset[65];
    int64_t n = B * len;
    for (int64_t b = 0; b <= B; b++)
        offset[b] = (int32_t)(b * len);
    struct attention_job j = {
        .a = {.offset = offset, .B = B, .H = H, .Hk = H, .dn = dn, .dr = dr, .dv = dv}};
    j.a.o = randoms(n * H * dv, 1), j.a.lse = randoms(n * H, 1),
    j.a.q = randoms(n * H * (dn + dr), 1);
    float *kv = randoms(n * H * (dn + dv), 1), *dkv = randoms(n * H * (dn + dv), 1);
    j.a.k = kv, j.a.v = kv + dn, j.a.kr = randoms(n * dr, 1);
    j.a.ldo = H * dv, j.a.ldq = H * (dn + dr), j.a.ldk = j.a.ldv = H * (dn + dv), j.a.ldkr = dr;
    j.a.k_head = j.a.v_head = dn + dv;
    j.a.scale = 1 / sqrtf((float)(dn + dr)), j.a.compute = compute;
    j.g = (struct attention_grads){randoms(n * H * dv, 1), randoms(n * H * (dn + dr), 1), dkv,
                                   randoms(n * dr, 1), dkv + dn};
    double pairs = (double)(B * H) * (double)len * (double)(len + 1) / 2;
    char name[96];
    const char *type = compute == DT_BF16 ? "bf16" : "f32";
    snprintf(name, sizeof name, "attention %s forward %lld x %lld, %lld+%lld/%lld", type,
             (long long)B, (long long)len, (long long)dn, (long long)dr, (long long)dv);
    if (wanted(name))
        report(name, seconds(do_attention_forward, &j, compute == DT_BF16),
               pairs * 2 * (double)(dn + dr + dv), 0);
    snprintf(name, sizeof name, "attention %s backward %lld x %lld, %lld+%lld/%lld", type,
             (long long)B, (long long)len, (long long)dn, (long long)dr, (long long)dv);
    if (wanted(name))
        report(name, seconds(do_attention_backward, &j, compute == DT_BF16),
               pairs * 2 * (double)(3 * (dn + dr) + 2 * dv), 0);
}

/* ---- what walks over memory ---- */

struct rows_job {
    float *a, *b, *c, *d, *e, *f;
    int32_t *i, *j;
    int64_t T, D;
};

static void do_rmsnorm_forward(void *ctx)
{
    struct rows_job *j = ctx;
    dev->k->rmsnorm_forward(dev, j->a, j->b, j->c, j->d, j->T, j->D, j->D, j->D, 1e-6f);
}

static void do_rmsnorm_backward(void *ctx)
{
    struct rows_job *j = ctx;
    dev->k->rmsnorm_backward(dev, j->a, j->e, j->f, j->c, j->d, j->b, j->T, j->D, j->D, j->D);
}

static void do_swiglu_forward(void *ctx)
{
    struct rows_job *j = ctx;
    dev->k->swiglu_forward(dev, j->a, j->c, j->T, j->D);
}

static void do_swiglu_backward(void *ctx)
{
    struct rows_job *j = ctx;
    dev->k->swiglu_backward(dev, j->e, j->b, j->a, j->f, j->c, j->d, j->T, j->D);
}

static void do_combine(void *ctx)
{
    struct rows_job *j = ctx;
    dev->k->combine(dev, j->a, j->c, j->d, j->i, j->j, j->T, j->D);
}

static void do_rope(void *ctx)
{
    struct rows_job *j = ctx;
    dev->k->rope(dev, j->a, j->i, j->c, j->c, j->T, 8, 16, 384, 48, 1);
}

static void do_embed_backward(void *ctx)
{
    struct rows_job *j = ctx;
    dev->k->embed_backward(dev, j->c, j->a, j->j, j->T, j->D, 8192);
}

static void do_cross_entropy(void *ctx)
{
    struct rows_job *j = ctx;
    dev->k->cross_entropy(dev, j->b, NULL, j->a, j->i, j->T, j->D, j->D, 1e-3f);
}

static void do_adamw(void *ctx)
{
    struct rows_job *j = ctx;
    struct adamw_args a = {j->a, j->b,   j->c,  j->d, NULL, j->T, 1e-9f,
                           0.9f, 0.999f, 1e-8f, 0,    1,    1,    1};
    dev->k->adamw(dev, &a);
}

static void do_sum_squares(void *ctx)
{
    struct rows_job *j = ctx;
    j->D += dev->k->sum_squares(dev, j->a, j->T) < 0;
}

static void do_axpy(void *ctx)
{
    struct rows_job *j = ctx;
    dev->k->axpy(dev, j->a, j->b, 0.5f, j->T);
}

static void walk(const char *name, job f, const struct rows_job *j, double bytes)
{
    struct rows_job copy = *j;
    if (wanted(name))
        report(name, seconds(f, &copy, false), 0, bytes);
}

static void walks(void)
{
    enum { S = T * TOP, D = 256, F = 128, N = 29487872 };
    static int32_t first[T + 1], slot[S], ids[S];
    for (int i = 0; i < S; i++)
        slot[i] = (int32_t)((int64_t)i * 1367 % S), ids[i] = (int32_t)((int64_t)i * 7919 % 8192);
    for (int t = 0; t <= T; t++)
        first[t] = t * TOP;
    float *x[6];
    for (int i = 0; i < 6; i++)
        x[i] = randoms(i < 4 ? N : (int64_t)S * 2 * D, 0.5);
    for (int64_t i = 0; i < N; i++)
        x[2][i] = fabsf(x[2][i]);
    struct rows_job j = {x[0], x[1], x[2], x[3], x[4], x[5], first, slot, T, D};
    walk("rmsnorm forward 2048 x 256", do_rmsnorm_forward, &j, 8.0 * T * D);
    walk("rmsnorm backward 2048 x 256", do_rmsnorm_backward, &j, 16.0 * T * D);
    walk("combine 8192 -> 2048 x 256", do_combine, &j, 4.0 * (S + 2 * T) * D);
    j.i = ids;
    walk("rope 2048 x 8 heads of 16", do_rope, &j, 8.0 * T * 8 * 16);
    j.j = ids;
    walk("embed backward 2048 x 256", do_embed_backward, &j, 12.0 * T * D);
    j.T = S, j.D = F;
    walk("swiglu forward 8192 x 128", do_swiglu_forward, &j, 12.0 * S * F);
    walk("swiglu backward 8192 x 128, weighted", do_swiglu_backward, &j, 24.0 * S * F);
    j.T = T, j.D = 1024;
    walk("swiglu forward 2048 x 1024", do_swiglu_forward, &j, 12.0 * T * 1024);
    j.D = 8192, j.i = ids;
    walk("cross entropy 2048 x 8192", do_cross_entropy, &j, 8.0 * T * 8192);
    j.T = 256;
    walk("cross entropy 256 x 8192", do_cross_entropy, &j, 8.0 * 256 * 8192);
    for (int i = 0; i < 128; i++)
        ids[i] = i;
    j.T = 128, j.D = 129280;
    walk("cross entropy 128 x 129280", do_cross_entropy, &j, 8.0 * 128 * 129280);
    j.T = N;
    walk("adamw 29.5M", do_adamw, &j, 28.0 * N);
    walk("sum of squares 29.5M", do_sum_squares, &j, 4.0 * N);
    walk("axpy 29.5M", do_axpy, &j, 12.0 * N);
    for (int i = 0; i < 6; i++)
        device_free(dev, x[i], (size_t)(i < 4 ? N : (int64_t)S * 2 * D) * 4);
}

static void attentions(enum dtype compute)
{
    bench_attention(8, 256, 8, 32, 16, 32, compute);
    bench_attention(1, 2048, 8, 32, 16, 32, compute);
    bench_attention(1, 1024, 4, 128, 64, 128, compute);
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
    attentions(DT_F32);
    walks();
    if (dev->bf16_units) {
        products(DT_BF16);
        attentions(DT_BF16);
    }
    device_close(dev);
    return 0;
}
