/* Speed of the kernels that memory bounds, on a GPU (or any device), at the sizes of language models.
 *
 *     bench_cuda_rows [--device cuda] [--only WORD] [--json] [--small]
 *
 * A row is a kernel: the median over batches of launches between two waits, and GB/s, which count every array once for each time that
 * its definition reads or writes it. --small takes sizes that an emulated GPU can do, to see that everything runs; its times say nothing.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/rng.h"
#include "base/stats.h"
#include "kernels/kernels.h"

enum { LAUNCHES = 20, BATCHES = 7, N_ARRAYS = 5, BLOCK = 1 << 16 };

struct bench {
    struct device *dev;
    const char *only;
    bool json, small;
    int64_t T, D, F, V, loss_rows, n;
    float *a[N_ARRAYS]; /* of "largest" numbers each */
    int64_t largest;
    float *small_a, *small_b;      /* a number a row or a column, a thousandth around 1 */
    int32_t *ids, *first, *target; /* [T], [T+1], [T] */
    uint8_t *codes, *bytes;        /* [n] */
    float *maps;                   /* two of 256, host */
};

static void *must(void *p)
{
    if (!p) {
        fprintf(stderr, "bench_cuda_rows: no memory\n");
        exit(1);
    }
    return p;
}

static void *on_device(struct bench *b, size_t n_bytes)
{
    return must(device_alloc(b->dev, n_bytes, NULL));
}

/* n numbers around "middle", the same random ones again and again. */
static float *numbers(struct bench *b, int64_t n, float middle, float spread)
{
    float *p = on_device(b, (size_t)n * sizeof *p), *some = must(malloc(BLOCK * sizeof *some));
    struct rng r;
    rng_init(&r, (uint64_t)n);
    for (int64_t i = 0; i < BLOCK; i++)
        some[i] = middle + spread * (float)(rng_uniform(&r) + rng_uniform(&r) - 1);
    for (int64_t i = 0; i < n; i += BLOCK) {
        int64_t m = n - i < BLOCK ? n - i : BLOCK;
        b->dev->ops->write(b->dev, p + i, some, (size_t)m * sizeof *p);
    }
    device_sync(b->dev);
    free(some);
    return p;
}

/* n numbers (i · step) % modulus */
static int32_t *integers(struct bench *b, int64_t n, int64_t step, int64_t modulus)
{
    int32_t *p = on_device(b, (size_t)n * sizeof *p), *host = must(malloc((size_t)n * sizeof *p));
    for (int64_t i = 0; i < n; i++)
        host[i] = (int32_t)(i * step % modulus);
    b->dev->ops->write(b->dev, p, host, (size_t)n * sizeof *p);
    device_sync(b->dev);
    free(host);
    return p;
}

/* ---- the kernels ---- */

static void do_rmsnorm_forward(struct bench *b)
{
    b->dev->k->rmsnorm_forward(b->dev, b->a[1], b->small_b, b->a[0], b->small_a, b->T, b->D, b->D,
                               b->D, 1e-6f);
}

static void do_rmsnorm_backward(struct bench *b)
{
    b->dev->k->rmsnorm_backward(b->dev, b->a[2], b->a[3], b->a[1], b->a[0], b->small_a, b->small_b,
                                b->T, b->D, b->D, b->D);
}

static void do_rmsnorm_backward_frozen(struct bench *b)
{
    b->dev->k->rmsnorm_backward(b->dev, b->a[2], NULL, b->a[1], b->a[0], b->small_a, b->small_b,
                                b->T, b->D, b->D, b->D);
}

static void do_layernorm(struct bench *b)
{
    b->dev->k->layernorm_forward(b->dev, b->a[1], b->a[0], b->small_a, b->small_b, b->T, b->D,
                                 1e-5f);
}

static void do_row_norm(struct bench *b)
{
    b->dev->k->row_norm(b->dev, b->a[1], b->a[0], b->T, b->D);
}

static void do_rope(struct bench *b)
{
    b->dev->k->rope(b->dev, b->a[0], b->ids, b->a[1], b->a[2], b->T, b->D / 128, 128, b->D, 128, 1);
}

static void do_rope_half(struct bench *b)
{
    b->dev->k->rope_half(b->dev, b->a[0], b->ids, b->a[1], b->a[2], b->T, b->D / 128, 128, b->D,
                         128, 1);
}

static void do_bias_forward(struct bench *b)
{
    b->dev->k->bias_forward(b->dev, b->a[0], b->small_a, b->T, b->D, b->D);
}

static void do_bias_backward(struct bench *b)
{
    b->dev->k->bias_backward(b->dev, b->a[1], b->a[0], b->T, b->D, b->D);
}

static void do_swiglu_forward(struct bench *b)
{
    b->dev->k->swiglu_forward(b->dev, b->a[1], b->a[0], b->T, b->F);
}

static void do_swiglu_backward(struct bench *b)
{
    b->dev->k->swiglu_backward(b->dev, b->a[2], b->a[4], b->a[3], b->a[1], b->a[0], b->small_a,
                               b->T, b->F);
}

static void do_combine(struct bench *b)
{
    b->dev->k->combine(b->dev, b->a[1], b->a[0], b->small_a, b->first, b->ids, b->T / 2, b->D);
}

static void do_embed_forward(struct bench *b)
{
    b->dev->k->embed_forward(b->dev, b->a[1], b->a[0], DT_F32, b->ids, b->T, b->D);
}

static void do_embed_backward(struct bench *b)
{
    b->dev->k->embed_backward(b->dev, b->a[1], b->a[0], b->ids, b->T, b->D, b->T);
}

static void do_cross_entropy(struct bench *b)
{
    b->dev->k->cross_entropy(b->dev, b->a[1], NULL, b->a[0], b->target, b->loss_rows, b->V, b->V,
                             1e-3f);
}

static void do_dropout(struct bench *b)
{
    struct dropout_args d = {.y = b->a[1], .x = b->a[0], .T = b->T, .D = b->D, .ldy = b->D};
    d.ldx = b->D;
    d.seed = 1;
    d.drop = 0.1f;
    d.scale = 1 / 0.9f;
    b->dev->k->dropout(b->dev, &d);
}

static void do_copy(struct bench *b)
{
    b->dev->k->copy(b->dev, b->a[1], b->a[0], b->n);
}

static void do_fill(struct bench *b)
{
    b->dev->k->fill(b->dev, b->a[1], 0.5f, b->n);
}

static void do_axpy(struct bench *b)
{
    b->dev->k->axpy(b->dev, b->a[1], b->a[0], 1e-3f, b->n);
}

static void do_to_bf16(struct bench *b)
{
    b->dev->k->to_bf16(b->dev, (uint16_t *)b->a[1], b->a[0], b->n);
}

/* Plain absmaxes, or 8-bit ones, whose codes and map are then any bytes and numbers. */
static struct nf4 quantised(const struct bench *b, bool nested)
{
    struct nf4 q = {.n = b->n, .block_size = NF4_BLOCK_SIZE, .codes = b->codes};
    q.absmax = nested ? NULL : b->a[0];
    q.absmax_codes = b->bytes;
    q.nested_absmax = b->a[0];
    q.map = b->small_a;
    q.nested_block_size = NF4_NESTED_BLOCK_SIZE;
    return q;
}

static void do_nf4_to_f32(struct bench *b)
{
    struct nf4 q = quantised(b, false);
    b->dev->k->nf4_to_f32(b->dev, b->a[1], &q, 0, b->n);
}

static void do_nf4_nested_to_f32(struct bench *b)
{
    struct nf4 q = quantised(b, true);
    b->dev->k->nf4_to_f32(b->dev, b->a[1], &q, 0, b->n);
}

static void do_nf4_nested_to_bf16(struct bench *b)
{
    struct nf4 q = quantised(b, true);
    b->dev->k->nf4_to_bf16(b->dev, (uint16_t *)b->a[1], &q, 0, b->n);
}

static struct adamw_args update(const struct bench *b)
{
    struct adamw_args u = {.p = b->a[0], .m = b->a[1], .v = b->a[2], .g = b->a[3], .n = b->n};
    u.p_bf16 = (uint16_t *)b->a[4];
    u.lr = 1e-5f;
    u.beta1 = 0.9f;
    u.beta2 = 0.99f;
    u.eps = 1e-8f;
    u.grad_scale = u.correction1 = u.correction2 = 1;
    return u;
}

static void do_adamw(struct bench *b)
{
    struct adamw_args u = update(b);
    b->dev->k->adamw(b->dev, &u);
}

static void do_adamw8(struct bench *b)
{
    struct adamw8_args u = {.a = update(b), .m = b->codes, .v = b->bytes, .m_absmax = b->a[1]};
    u.v_absmax = b->a[2];
    u.m_map = b->maps;
    u.v_map = b->maps + NF4_MAP_SIZE;
    b->dev->k->adamw8(b->dev, &u);
}

static void do_sum_squares(struct bench *b)
{
    b->dev->k->sum_squares(b->dev, b->a[0], b->n);
}

static void do_find_nonfinite(struct bench *b)
{
    b->dev->k->find_nonfinite(b->dev, b->a[0], b->n);
}

/* ---- timing ---- */

/* Bytes are "each" for every one of the numbers that unit names. */
enum unit { NUMBERS, ROWS_BY_D, ROWS_BY_F, LOGITS };

static const struct {
    const char *name;
    void (*run)(struct bench *b);
    enum unit unit;
    double each;
} jobs[] = {
    {"rmsnorm_forward", do_rmsnorm_forward, ROWS_BY_D, 8},
    {"rmsnorm_backward", do_rmsnorm_backward, ROWS_BY_D, 16},
    {"rmsnorm_backward, frozen", do_rmsnorm_backward_frozen, ROWS_BY_D, 16},
    {"layernorm_forward", do_layernorm, ROWS_BY_D, 8},
    {"row_norm", do_row_norm, ROWS_BY_D, 4},
    {"rope", do_rope, ROWS_BY_D, 8},
    {"rope_half", do_rope_half, ROWS_BY_D, 8},
    {"bias_forward", do_bias_forward, ROWS_BY_D, 8},
    {"bias_backward", do_bias_backward, ROWS_BY_D, 4},
    {"swiglu_forward", do_swiglu_forward, ROWS_BY_F, 12},
    {"swiglu_backward", do_swiglu_backward, ROWS_BY_F, 24},
    {"combine, 2 slots a token", do_combine, ROWS_BY_D, 8},
    {"embed_forward", do_embed_forward, ROWS_BY_D, 8},
    {"embed_backward", do_embed_backward, ROWS_BY_D, 12},
    {"dropout", do_dropout, ROWS_BY_D, 8},
    {"cross_entropy", do_cross_entropy, LOGITS, 12},
    {"copy", do_copy, NUMBERS, 8},
    {"fill", do_fill, NUMBERS, 4},
    {"axpy", do_axpy, NUMBERS, 12},
    {"to_bf16", do_to_bf16, NUMBERS, 6},
    {"nf4_to_f32", do_nf4_to_f32, NUMBERS, 4.5625},
    {"nf4_to_f32, nested", do_nf4_nested_to_f32, NUMBERS, 4.516},
    {"nf4_to_bf16, nested", do_nf4_nested_to_bf16, NUMBERS, 2.516},
    {"sum_squares", do_sum_squares, NUMBERS, 4},
    {"find_nonfinite", do_find_nonfinite, NUMBERS, 4},
    {"adamw, bf16 copy", do_adamw, NUMBERS, 30},
    {"adamw8, bf16 copy", do_adamw8, NUMBERS, 18},
};

static double seconds(struct bench *b, void (*run)(struct bench *b))
{
    double v[BATCHES];
    int batches = b->small ? 1 : BATCHES, launches = b->small ? 2 : LAUNCHES;
    run(b);
    device_sync(b->dev);
    for (int i = 0; i < batches; i++) {
        double begun = clock_s();
        for (int j = 0; j < launches; j++)
            run(b);
        device_sync(b->dev);
        v[i] = (clock_s() - begun) / launches;
    }
    return stats_median(v, batches);
}

static void measure(struct bench *b)
{
    const double counts[] = {[NUMBERS] = (double)b->n,
                             [ROWS_BY_D] = (double)b->T * (double)b->D,
                             [ROWS_BY_F] = (double)b->T * (double)b->F,
                             [LOGITS] = (double)b->loss_rows * (double)b->V};
    for (size_t i = 0; i < sizeof jobs / sizeof *jobs; i++) {
        if (!strstr(jobs[i].name, b->only))
            continue;
        double s = seconds(b, jobs[i].run), gbs = counts[jobs[i].unit] * jobs[i].each / s * 1e-9;
        if (b->json)
            printf("{\"kernel\": \"%s\", \"device\": \"%s\", \"numbers\": %.0f, \"seconds\": %.9g, "
                   "\"gb_per_s\": %.4g}\n",
                   jobs[i].name, b->dev->name, counts[jobs[i].unit], s, gbs);
        else
            printf("%-28s %12.0f numbers %9.3f ms %8.1f GB/s\n", jobs[i].name, counts[jobs[i].unit],
                   s * 1e3, gbs);
        fflush(stdout);
    }
}

static int64_t larger(int64_t a, int64_t b)
{
    return a > b ? a : b;
}

static void set_up(struct bench *b)
{
    b->T = b->small ? 32 : 8192;
    b->D = b->small ? 256 : 4096;
    b->F = 2 * b->D;
    b->V = b->small ? 1024 : 128 << 10;
    b->loss_rows = b->small ? 8 : 2048;
    b->n = b->small ? 1 << 13 : 64 << 20;
    b->largest = larger(larger(2 * b->T * b->F, b->loss_rows * b->V), b->n);
    for (int i = 0; i < N_ARRAYS; i++)
        b->a[i] = numbers(b, b->largest, i == 2 ? 1 : 0, i == 2 ? 0.5f : 1);
    int64_t widest = larger(larger(b->T, b->D), NF4_MAP_SIZE);
    b->small_a = numbers(b, widest, 1, 1e-3f);
    b->small_b = numbers(b, widest, 1, 1e-3f);
    b->ids = integers(b, b->T, 31, b->T - 1); /* nearly all different */
    b->first = integers(b, b->T / 2 + 1, 2, b->T + 1);
    b->target = integers(b, b->T, 7, b->V);
    b->codes = (uint8_t *)numbers(b, b->n / 4, 1, 1);
    b->bytes = (uint8_t *)numbers(b, b->n / 4, 1, 1);
    b->maps = must(malloc(2 * NF4_MAP_SIZE * sizeof *b->maps));
    nf4_dynamic_map(b->maps, 1);
    nf4_dynamic_map(b->maps + NF4_MAP_SIZE, 0);
}

static void tear_down(struct bench *b)
{
    size_t widest = (size_t)larger(larger(b->T, b->D), NF4_MAP_SIZE);
    for (int i = 0; i < N_ARRAYS; i++)
        device_free(b->dev, b->a[i], (size_t)b->largest * sizeof(float));
    device_free(b->dev, b->small_a, widest * sizeof(float));
    device_free(b->dev, b->small_b, widest * sizeof(float));
    device_free(b->dev, b->ids, (size_t)b->T * sizeof(int32_t));
    device_free(b->dev, b->first, (size_t)(b->T / 2 + 1) * sizeof(int32_t));
    device_free(b->dev, b->target, (size_t)b->T * sizeof(int32_t));
    device_free(b->dev, b->codes, (size_t)b->n);
    device_free(b->dev, b->bytes, (size_t)b->n);
    free(b->maps);
    device_close(b->dev);
}

int main(int argc, char **argv)
{
    struct bench b = {.only = ""};
    const char *device = "cuda";
    struct err err = {0};
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--json") == 0) {
            b.json = true;
        } else if (strcmp(argv[i], "--small") == 0) {
            b.small = true;
        } else if (i + 1 < argc && strcmp(argv[i], "--device") == 0) {
            device = argv[++i];
        } else if (i + 1 < argc && strcmp(argv[i], "--only") == 0) {
            b.only = argv[++i];
        } else {
            fprintf(stderr, "bench_cuda_rows [--device cuda] [--only WORD] [--json] [--small]\n");
            return 2;
        }
    }
    if (device_open(&b.dev, device, 0, &err) != 0) {
        fprintf(stderr, "bench_cuda_rows: %s\n", err.msg);
        return 1;
    }
    set_up(&b);
    measure(&b);
    int rc = device_check(b.dev, &err);
    if (rc)
        fprintf(stderr, "bench_cuda_rows: %s\n", err.msg);
    tear_down(&b);
    return rc ? 1 : 0;
}
