/* Where the time of a training step, or of a pass of a session, goes: a kernel table that stands before a device's own and keeps the time of every call.
 *
 * A step calls the same kernels in the same order each time, so that call i of one step is call i of the next. Of each the median over
 * steps is kept, of its time and of its work: time · what one core's float32 multiply-add units gave right before and after it. Calls of
 * one label are added up. Work over the best peak seen is the time on a machine that nobody else uses or slows down; with one thread
 * it can be trusted where times can't. On a GPU each call is waited for, so that its time includes the launch, and "of peak" gives way to
 * TFLOP/s.
 */
#ifndef MOE2_BENCH_STEP_PROFILE_H
#define MOE2_BENCH_STEP_PROFILE_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/stats.h"
#include "kernels/cpu/peak.h"
#include "kernels/kernels.h"

enum { PROFILE_CALLS = 1 << 16, PROFILE_LABEL = 56, PROFILE_STEPS = 8 };

struct profile_call {
    char label[PROFILE_LABEL];
    double s[PROFILE_STEPS], work[PROFILE_STEPS], flop;
};

static struct profile {
    struct kernels own, timed;
    struct profile_call calls[PROFILE_CALLS];
    int n, at, step; /* calls in a step; the next one of this step; steps that count */
    double begun_s, peak, best_peak;
    struct device *gpu; /* NULL: a CPU */
} profile;

/* GFLOP/s of one thread at this moment. */
static double profile_peak(void)
{
    double begun = clock_s(), operations = 1;
    if (profile.gpu)
        return profile.best_peak = 1;
#if defined(__x86_64__)
    operations = __builtin_cpu_supports("avx512f") ? peak_avx512(1500) : peak_avx2(1500);
#endif
    double peak = operations / (clock_s() - begun) * 1e-9;
    profile.best_peak = peak > profile.best_peak ? peak : profile.best_peak;
    return peak;
}

static void profile_begin(void)
{
    if (profile.gpu)
        device_sync(profile.gpu);
    profile.begun_s = clock_s();
}

static void profile_end(const char *label, double flop)
{
    if (profile.gpu)
        device_sync(profile.gpu);
    double s = clock_s() - profile.begun_s, before = profile.peak;
    profile.peak = profile_peak();
    if (profile.at == PROFILE_CALLS || profile.step == PROFILE_STEPS)
        return;
    struct profile_call *c = &profile.calls[profile.at++];
    profile.n = profile.at;
    c->s[profile.step] = s;
    c->work[profile.step] = s * 0.5 * (before + profile.peak);
    c->flop = flop;
    snprintf(c->label, sizeof c->label, "%s", label);
}

static void profile_product(const char *what, int64_t M, int64_t N, int64_t K, double begun_flop)
{
    char label[PROFILE_LABEL];
    snprintf(label, sizeof label, "%s %lld x %lld x %lld", what, (long long)M, (long long)N,
             (long long)K);
    profile_end(label, begun_flop);
}

#define TIMED_LINEAR(name)                                                                         \
    static void timed_##name(struct device *dev, const struct linear_args *a)                      \
    {                                                                                              \
        profile_begin();                                                                           \
        profile.own.name(dev, a);                                                                  \
        profile_product(#name, a->M, a->N, a->K, 2.0 * (double)(a->M * a->N * a->K));              \
    }
TIMED_LINEAR(linear_forward)
TIMED_LINEAR(linear_backward_input)
TIMED_LINEAR(linear_backward_weight)

#define TIMED_GROUPED(name)                                                                        \
    static void timed_##name(struct device *dev, const struct grouped_args *a)                     \
    {                                                                                              \
        int64_t S = a->offset[a->E];                                                               \
        profile_begin();                                                                           \
        profile.own.name(dev, a);                                                                  \
        profile_product(#name, S, a->N, a->K, 2.0 * (double)(S * a->N * a->K));                    \
    }
TIMED_GROUPED(grouped_forward)
TIMED_GROUPED(grouped_backward_input)
TIMED_GROUPED(grouped_backward_weight)

static double attention_flop(const struct attention_args *a, int64_t a_pair)
{
    double pairs = 0;
    for (int64_t b = 0; b < a->B; b++) {
        double n = a->offset[b + 1] - a->offset[b];
        pairs += n * (n + 1) / 2;
    }
    return pairs * 2 * (double)(a->H * a_pair);
}

static void timed_attention_forward(struct device *dev, const struct attention_args *a)
{
    profile_begin();
    profile.own.attention_forward(dev, a);
    profile_end("attention_forward", attention_flop(a, a->dn + a->dr + a->dv));
}

static void timed_attention_backward(struct device *dev, const struct attention_args *a,
                                     const struct attention_grads *g)
{
    profile_begin();
    profile.own.attention_backward(dev, a, g);
    profile_end("attention_backward", attention_flop(a, 3 * (a->dn + a->dr) + 2 * a->dv));
}

#define TIMED(name, parameters, arguments)                                                         \
    static void timed_##name parameters                                                            \
    {                                                                                              \
        profile_begin();                                                                           \
        profile.own.name arguments;                                                                \
        profile_end(#name, 0);                                                                     \
    }
TIMED(rmsnorm_forward,
      (struct device * dev, float *y, float *rstd, const float *x, const float *w, int64_t T,
       int64_t D, int64_t ldy, int64_t ldx, float eps),
      (dev, y, rstd, x, w, T, D, ldy, ldx, eps))
TIMED(rmsnorm_backward,
      (struct device * dev, float *dx, float *dw, const float *dy, const float *x, const float *w,
       const float *rstd, int64_t T, int64_t D, int64_t ldy, int64_t ldx),
      (dev, dx, dw, dy, x, w, rstd, T, D, ldy, ldx))
TIMED(rope,
      (struct device * dev, float *x, const int32_t *pos, const float *cos, const float *sin,
       int64_t T, int64_t n_heads, int64_t dr, int64_t ldx, int64_t x_head, int sign),
      (dev, x, pos, cos, sin, T, n_heads, dr, ldx, x_head, sign))
TIMED(swiglu_forward, (struct device * dev, float *h, const float *gu, int64_t T, int64_t F),
      (dev, h, gu, T, F))
TIMED(swiglu_backward,
      (struct device * dev, float *dgu, float *dweight, float *hw, const float *dh, const float *gu,
       const float *weight, int64_t T, int64_t F),
      (dev, dgu, dweight, hw, dh, gu, weight, T, F))
TIMED(combine,
      (struct device * dev, float *y, const float *x, const float *weight, const int32_t *first,
       const int32_t *slot, int64_t T, int64_t D),
      (dev, y, x, weight, first, slot, T, D))
TIMED(embed_forward,
      (struct device * dev, float *y, const void *table, enum dtype type, const int32_t *ids,
       int64_t T, int64_t D),
      (dev, y, table, type, ids, T, D))
TIMED(embed_backward,
      (struct device * dev, float *dtable, const float *dy, const int32_t *ids, int64_t T,
       int64_t D, int64_t V),
      (dev, dtable, dy, ids, T, D, V))
TIMED(axpy, (struct device * dev, float *y, const float *x, float a, int64_t n), (dev, y, x, a, n))
TIMED(fill, (struct device * dev, float *y, float value, int64_t n), (dev, y, value, n))
TIMED(copy, (struct device * dev, float *y, const float *x, int64_t n), (dev, y, x, n))
TIMED(to_bf16, (struct device * dev, uint16_t *y, const float *x, int64_t n), (dev, y, x, n))
TIMED(cross_entropy,
      (struct device * dev, float *nll, uint8_t *right, float *logits, const int32_t *target,
       int64_t T, int64_t V, int64_t ldl, float scale),
      (dev, nll, right, logits, target, T, V, ldl, scale))
TIMED(adamw_list, (struct device * dev, const struct adamw_args *a, int64_t n), (dev, a, n))
TIMED(adamw8_list, (struct device * dev, const struct adamw8_args *a, int64_t n), (dev, a, n))
TIMED(route_pick, (struct device * dev, const struct route_args *a), (dev, a))
TIMED(route_lists, (struct device * dev, const struct route_lists_args *a), (dev, a))
TIMED(route_backward,
      (struct device * dev, float *dlogits, const float *dweight, const int32_t *position,
       const struct route_args *a),
      (dev, dlogits, dweight, position, a))
TIMED(dropout, (struct device * dev, const struct dropout_args *a), (dev, a))
TIMED(nf4_to_bf16,
      (struct device * dev, uint16_t *out, const struct nf4 *q, int64_t first, int64_t n),
      (dev, out, q, first, n))
TIMED(bias_forward,
      (struct device * dev, float *y, const float *b, int64_t T, int64_t N, int64_t ldy),
      (dev, y, b, T, N, ldy))

static void timed_packed_forward(struct device *dev, const struct packed_args *a)
{
    const struct packed_weight *w = a->w;
    int64_t S = a->offset[a->E] - a->offset[0];
    profile_begin();
    profile.own.packed_forward(dev, a);
    profile_product(a->E > 1 ? "packed_forward, experts" : "packed_forward", S, w->N, w->K,
                    2.0 * (double)(S * w->N * w->K));
}

static void timed_cached_attention(struct device *dev, const struct cached_attention_args *a)
{
    double pairs = (double)a->T * ((double)a->n - 0.5 * (double)(a->T - 1));
    profile_begin();
    profile.own.cached_attention(dev, a);
    profile_end("cached_attention", 2 * pairs * (double)(a->H * (a->d + a->dv)));
}
TIMED(rope_half,
      (struct device * dev, float *x, const int32_t *pos, const float *cos, const float *sin,
       int64_t T, int64_t n_heads, int64_t dr, int64_t ldx, int64_t x_head, int sign),
      (dev, x, pos, cos, sin, T, n_heads, dr, ldx, x_head, sign))
TIMED(copy_rows,
      (struct device * dev, float *to, int64_t ldto, const float *from, int64_t ldfrom, int64_t T,
       int64_t n),
      (dev, to, ldto, from, ldfrom, T, n))
TIMED(packed_rows,
      (struct device * dev, float *y, const struct packed_weight *w, const int32_t *ids, int64_t T),
      (dev, y, w, ids, T))

/* Before each step; what a step that is not warm yet called is forgotten. */
static void profile_step(bool counts)
{
    profile.step = counts && profile.n ? profile.step + 1 : 0;
    profile.at = profile.n = 0;
    profile.peak = profile_peak();
}

/* Puts the timed table in front of dev's own. */
static void profile_open(struct device *dev)
{
    struct kernels *t = &profile.timed;
    profile.gpu = dev->host_memory ? NULL : dev;
    profile.own = *dev->k;
    *t = *dev->k;
    t->linear_forward = timed_linear_forward;
    t->linear_backward_input = timed_linear_backward_input;
    t->linear_backward_weight = timed_linear_backward_weight;
    t->grouped_forward = timed_grouped_forward;
    t->grouped_backward_input = timed_grouped_backward_input;
    t->grouped_backward_weight = timed_grouped_backward_weight;
    t->attention_forward = timed_attention_forward;
    t->attention_backward = timed_attention_backward;
    t->rmsnorm_forward = timed_rmsnorm_forward;
    t->rmsnorm_backward = timed_rmsnorm_backward;
    t->rope = timed_rope;
    t->swiglu_forward = timed_swiglu_forward;
    t->swiglu_backward = timed_swiglu_backward;
    t->combine = timed_combine;
    t->embed_forward = timed_embed_forward;
    t->embed_backward = timed_embed_backward;
    t->axpy = timed_axpy;
    t->fill = timed_fill;
    t->copy = timed_copy;
    t->to_bf16 = timed_to_bf16;
    t->cross_entropy = timed_cross_entropy;
    t->adamw_list = timed_adamw_list;
    t->adamw8_list = timed_adamw8_list;
    t->route_pick = timed_route_pick;
    t->route_lists = timed_route_lists;
    t->route_backward = timed_route_backward;
    t->nf4_to_bf16 = timed_nf4_to_bf16;
    t->dropout = timed_dropout;
    t->bias_forward = timed_bias_forward;
    t->packed_forward = timed_packed_forward;
    t->packed_rows = timed_packed_rows;
    t->cached_attention = timed_cached_attention;
    t->rope_half = timed_rope_half;
    t->copy_rows = timed_copy_rows;
    dev->k = t;
}

static int profile_by_label(const void *x, const void *y)
{
    const struct profile_call *a = x, *b = y;
    return strcmp(a->label, b->label);
}

static double profile_median(double *v)
{
    int n = profile.step < PROFILE_STEPS ? profile.step + 1 : PROFILE_STEPS;
    return stats_median(v, n);
}

/* One line a label, and their sum. */
static void profile_print(void)
{
    double all_s = 0, all_work = 0, all_flop = 0, peak = profile.best_peak;
    qsort(profile.calls, (size_t)profile.n, sizeof *profile.calls, profile_by_label);
    printf("%-46s %6s %9s", "kernel, medians", "calls", "ms");
    printf(profile.gpu ? "\n" : " %9s %9s\n", "work, ms", "of peak");
    for (int i = 0, end; i < profile.n; i = end) {
        const char *label = profile.calls[i].label;
        double s = 0, work = 0, flop = 0;
        for (end = i; end < profile.n && strcmp(profile.calls[end].label, label) == 0; end++) {
            s += profile_median(profile.calls[end].s);
            work += profile_median(profile.calls[end].work);
            flop += profile.calls[end].flop;
        }
        all_s += s, all_work += work, all_flop += flop;
        if (profile.gpu) {
            printf("%-46s %6d %9.2f", label, end - i, s * 1e3);
            printf(flop > 0 ? " %7.1f TFLOP/s\n" : "\n", flop * 1e-12 / s);
            continue;
        }
        printf("%-46s %6d %9.2f %9.2f", label, end - i, s * 1e3, work / peak * 1e3);
        printf(flop > 0 ? " %7.1f %%\n" : "\n", 100 * flop * 1e-9 / work);
    }
    if (profile.gpu) {
        printf("%-46s %6d %9.2f %7.1f TFLOP/s\n", "all kernels", profile.n, all_s * 1e3,
               all_flop * 1e-12 / all_s);
        return;
    }
    printf("%-46s %6d %9.2f %9.2f %7.1f %%   (peak %.1f GFLOP/s a core)\n", "all kernels",
           profile.n, all_s * 1e3, all_work / peak * 1e3, 100 * all_flop * 1e-9 / all_work, peak);
}

#endif
