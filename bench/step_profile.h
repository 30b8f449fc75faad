/* Where a training step's time goes: a kernel table that stands before a device's own and keeps the time of every call.
 *
 * A step calls the same kernels in the same order each time, so that call i of one step is call i of the next. Of each the least
 * time over all steps is kept, which hardly sees what else the machine does; calls of one label are added up. What a step does
 * outside kernels (picks, lists, zeroing) is the difference to the step's own least time.
 */
#ifndef MOE2_BENCH_STEP_PROFILE_H
#define MOE2_BENCH_STEP_PROFILE_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "kernels/kernels.h"

enum { PROFILE_CALLS = 4096, PROFILE_LABEL = 56 };

struct profile_call {
    char label[PROFILE_LABEL];
    double least_s, flop;
};

static struct profile {
    struct kernels own, timed;
    struct profile_call calls[PROFILE_CALLS];
    int n, at; /* calls in a step; the next one of this step */
    double begun_s;
} profile;

static void profile_begin(void)
{
    profile.begun_s = clock_s();
}

static void profile_end(const char *label, double flop)
{
    double s = clock_s() - profile.begun_s;
    if (profile.at == PROFILE_CALLS)
        return;
    struct profile_call *c = &profile.calls[profile.at++];
    if (profile.at > profile.n) {
        profile.n = profile.at;
        c->least_s = s;
    }
    c->least_s = s < c->least_s ? s : c->least_s;
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
TIMED(adamw, (struct device * dev, const struct adamw_args *a), (dev, a))

/* Before each step; calls before the first one that counts (is_warm) are forgotten. */
static void profile_step(bool is_warm)
{
    profile.at = 0;
    if (is_warm)
        profile.n = 0;
}

/* Puts the timed table in front of dev's own. */
static void profile_open(struct device *dev)
{
    struct kernels *t = &profile.timed;
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
    t->adamw = timed_adamw;
    dev->k = t;
}

static int profile_by_label(const void *x, const void *y)
{
    const struct profile_call *a = x, *b = y;
    return strcmp(a->label, b->label);
}

/* One line a label. step_s: the least time of a whole step. */
static void profile_print(double step_s)
{
    double all_s = 0;
    qsort(profile.calls, (size_t)profile.n, sizeof *profile.calls, profile_by_label);
    printf("%-46s %6s %9s %6s %9s\n", "kernel, least times", "calls", "ms", "%", "GFLOP/s");
    for (int i = 0, end; i < profile.n; i = end) {
        const struct profile_call *c = &profile.calls[i];
        double s = 0, flop = 0;
        for (end = i; end < profile.n && strcmp(profile.calls[end].label, c->label) == 0; end++) {
            s += profile.calls[end].least_s;
            flop += profile.calls[end].flop;
        }
        all_s += s;
        printf("%-46s %6d %9.2f %6.1f", c->label, end - i, s * 1e3, 100 * s / step_s);
        printf(flop > 0 ? " %9.1f\n" : "\n", flop / s * 1e-9);
    }
    printf("%-46s %6d %9.2f %6.1f\n%-46s %6s %9.2f\n", "all kernels", profile.n, all_s * 1e3,
           100 * all_s / step_s, "a step", "", step_s * 1e3);
}

#endif
