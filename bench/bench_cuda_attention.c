/* Speed of attention on a GPU, beside what its arithmetic and its memory allow.
 *
 *     bench_cuda_attention [--device cuda] [--json] [--small]
 *
 * Each row is the median of 11 batches between two waits for the device. TFLOP/s counts multiply-adds as two, what the mask throws away not
 * at all, and of the backward its five products only (scores, dp, dq, dk, dv), however often a kernel computes them anew; operands
 * are rounded to bf16. GB/s of the attention over kept keys counts each key and value once. Inputs are random numbers of deviation 1.
 * --small: sizes for the emulator ("cuda:emulated"), to see that it runs.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/rng.h"
#include "base/stats.h"
#include "kernels/kernels.h"

enum { BATCHES = 11 };

static struct device *dev;
static bool json, small;
static struct {
    float *at; /* random numbers in the host's memory, from which all inputs are written */
    int64_t n;
} block;

static void stop(const char *what, const struct err *err)
{
    fprintf(stderr, "bench_cuda_attention: %s: %s\n", what, err->msg);
    exit(1);
}

static void block_make(void)
{
    struct rng r;
    struct err err = {MOE2_ELIMIT, "none left"};
    block.n = small ? 1 << 14 : 1 << 22;
    block.at = malloc((size_t)block.n * sizeof *block.at);
    if (!block.at)
        stop("memory", &err);
    rng_init(&r, 1);
    for (int64_t i = 0; i < block.n; i++)
        block.at[i] = (float)((rng_uniform(&r) + rng_uniform(&r) - 1) * sqrt(6));
}

static float *memory(int64_t n)
{
    struct err err = {0};
    float *p = device_alloc(dev, (size_t)n * sizeof *p, &err);
    if (!p)
        stop("memory", &err);
    return p;
}

/* Arrays of different sizes begin at different places of the block. */
static float *randoms(int64_t n)
{
    float *p = memory(n);
    for (int64_t i = 0, from = n * 7 % (block.n / 2); i < n; from = 0) {
        int64_t some = n - i < block.n - from ? n - i : block.n - from;
        dev->ops->write(dev, p + i, block.at + from, (size_t)some * sizeof *p);
        i += some;
    }
    return p;
}

static void give(const float *p, int64_t n)
{
    device_free(dev, (void *)(uintptr_t)p, (size_t)n * sizeof *p);
}

typedef void job(const void *args);

static double batch(job *f, const void *args, int times)
{
    device_sync(dev);
    double begun = clock_s();
    for (int i = 0; i < times; i++)
        f(args);
    device_sync(dev);
    return (clock_s() - begun) / times;
}

/* Median seconds, each batch long enough to be timed. */
static double seconds(job *f, const void *args)
{
    double v[BATCHES];
    struct err err = {0};
    f(args);
    double once = batch(f, args, 1);
    int times = once < 5e-3 && !small ? (int)(5e-3 / once) + 1 : 1;
    for (int i = 0; i < BATCHES; i++)
        v[i] = batch(f, args, times);
    if (device_check(dev, &err))
        stop("a kernel", &err);
    return stats_median(v, BATCHES);
}

static void row(const char *name, int64_t n, double s, double amount, const char *unit)
{
    double rate = amount / s;
    if (json)
        printf("{\"device\": \"%s\", \"name\": \"%s\", \"positions\": %lld, \"ms\": %.4f, "
               "\"%s\": %.4g}\n",
               dev->name, name, (long long)n, s * 1e3, unit, rate);
    else
        printf("%-40s %6lld %9.3f ms %9.4g %s\n", name, (long long)n, s * 1e3, rate, unit);
    fflush(stdout);
}

struct shape {
    const char *name;
    int64_t H, Hk, dn, dr, dv;
};

/* ---- prompts and training ---- */

struct training {
    struct attention_args a;
    struct attention_grads g;
};

static void forward(const void *p)
{
    const struct training *x = p;
    dev->k->attention_forward(dev, &x->a);
}

static void backward(const void *p)
{
    const struct training *x = p;
    dev->k->attention_backward(dev, &x->a, &x->g);
}

static void training(const struct shape *s, int64_t T)
{
    char name[64];
    int32_t offset[2] = {0, (int32_t)T};
    struct training x = {.a = {.offset = offset, .B = 1, .H = s->H, .Hk = s->Hk, .dn = s->dn}};
    struct attention_args *a = &x.a;
    int64_t d = s->dn + s->dr, nq = T * s->H * d, nk = T * s->Hk * s->dn, nv = T * s->Hk * s->dv,
            no = T * s->H * s->dv, nkr = T * s->dr;
    a->dr = s->dr, a->dv = s->dv;
    a->ldq = s->H * d, a->ldk = s->Hk * s->dn, a->ldv = s->Hk * s->dv, a->ldo = s->H * s->dv;
    a->ldkr = s->dr, a->k_head = s->dn, a->v_head = s->dv;
    a->scale = 1 / sqrtf((float)d);
    a->compute = DT_BF16;
    a->q = randoms(nq), a->k = randoms(nk), a->v = randoms(nv), a->kr = nkr ? randoms(nkr) : NULL;
    a->o = memory(no), a->lse = memory(T * s->H);
    x.g = (struct attention_grads){randoms(no), memory(nq), memory(nk), nkr ? memory(nkr) : NULL,
                                   memory(nv)};
    double pairs = 0.5 * (double)T * (double)(T + 1) * (double)s->H;
    snprintf(name, sizeof name, "forward %s", s->name);
    row(name, T, seconds(forward, &x), 2e-12 * pairs * (double)(d + s->dv), "TFLOP/s");
    snprintf(name, sizeof name, "backward %s", s->name);
    row(name, T, seconds(backward, &x), 2e-12 * pairs * (double)(3 * d + 2 * s->dv), "TFLOP/s");
    give(a->q, nq), give(a->k, nk), give(a->v, nv), give(a->o, no), give(a->lse, T * s->H);
    give(x.g.d_o, no), give(x.g.dq, nq), give(x.g.dk, nk), give(x.g.dv, nv);
    if (nkr)
        give(a->kr, nkr), give(x.g.dkr, nkr);
}

/* ---- generation ---- */

static void kept(const void *p)
{
    dev->k->cached_attention(dev, p);
}

/* latent: values are the beginnings of the keys. */
static void generation(const struct shape *s, bool latent, int64_t n)
{
    char name[64];
    int64_t ldk = s->Hk * s->dn, ldv = latent ? ldk : s->Hk * s->dv;
    float *k = randoms(n * ldk), *v = latent ? k : randoms(n * ldv), *q = randoms(s->H * s->dn),
          *o = memory(s->H * s->dv);
    struct cached_attention_args a = {.o = o, .q = q, .k = k, .v = v, .T = 1, .n = n};
    a.H = s->H, a.Hk = s->Hk, a.d = s->dn, a.dv = s->dv;
    a.ldo = s->H * s->dv, a.ldq = s->H * s->dn, a.ldk = ldk, a.ldv = ldv;
    a.v_head = latent ? 0 : s->dv;
    a.scale = 1 / sqrtf((float)s->dn);
    a.compute = DT_BF16;
    snprintf(name, sizeof name, "one row over kept keys, %s", s->name);
    double numbers = (double)n * (double)(latent ? ldk : ldk + ldv);
    row(name, n, seconds(kept, &a), 4e-9 * numbers, "GB/s");
    give(k, n * ldk), give(q, s->H * s->dn), give(o, s->H * s->dv);
    if (!latent)
        give(v, n * ldv);
}

int main(int argc, char **argv)
{
    const char *name = "cuda";
    struct err err = {0};
    for (int i = 1; i < argc; i++) {
        if (!strcmp(argv[i], "--json")) {
            json = true;
        } else if (!strcmp(argv[i], "--small")) {
            small = true;
        } else if (!strcmp(argv[i], "--device") && i + 1 < argc) {
            name = argv[++i];
        } else {
            fprintf(stderr, "usage: bench_cuda_attention [--device cuda] [--json] [--small]\n");
            return 2;
        }
    }
    if (device_open(&dev, name, 0, &err))
        stop(name, &err);
    static const struct shape trained[] = {{"32 heads, 8 of keys, 128", 32, 8, 128, 0, 128},
                                           {"mla 16 heads, 128+64", 16, 16, 128, 64, 128}},
                              generated[] = {{"32 heads, 8 of keys, 128", 32, 8, 128, 0, 128},
                                             {"mla 16 heads, 576", 16, 1, 576, 0, 512}},
                              little = {"2 heads, 1 of keys, 32", 2, 1, 32, 0, 32};
    static const int64_t lengths[] = {1024, 4096, 16384}, positions[] = {4096, 32768};
    block_make();
    if (small) {
        training(&little, 80);
        generation(&little, false, 200);
    }
    for (int i = 0; !small && i < 6; i++)
        training(&trained[i / 3], lengths[i % 3]);
    for (int i = 0; !small && i < 4; i++)
        generation(&generated[i / 2], i / 2, positions[i % 2]);
    free(block.at);
    device_close(dev);
    return 0;
}
