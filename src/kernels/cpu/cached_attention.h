/* Attention of a few new rows over kept keys and values, in the words of vec_*.h; cached_attention_avx2.c and cached_attention_avx512.c
 * make a function of it. Query heads that read the same keys go through them together, four at a time. Many rows at once are left to the
 * tiles of attention.c, but for heads that are too wide for these (latent attention). */
#include <assert.h>
#include <math.h>
#include <omp.h>

#include "kernels/cpu/attention.h"

enum { TOGETHER = 4, FEW_ROWS = 8, COLUMNS = LANES == 16 ? 4 : 2 };

static inline __attribute__((always_inline)) vf some(const float *p, int64_t left)
{
    return left >= LANES ? vf_load(p) : vf_load_some(p, left);
}

/* s[r][u] = q_r · k_u for R query rows. */
static inline __attribute__((always_inline)) void scores(float *s, int64_t n, const float *const *q,
                                                         const float *k, int64_t ldk, int64_t d,
                                                         const int R)
{
    for (int64_t u = 0; u < n; u++, k += ldk) {
        vf sum[TOGETHER];
        for (int r = 0; r < R; r++)
            sum[r] = vf_set(0);
        for (int64_t i = 0; i < d; i += LANES) {
            vf key = some(k + i, d - i);
            for (int r = 0; r < R; r++)
                sum[r] = vf_fma(key, some(q[r] + i, d - i), sum[r]);
        }
        for (int r = 0; r < R; r++)
            s[r * n + u] = vf_sum(sum[r]);
    }
}

/* s becomes exp(scale·s − max); returns the sum. */
static float exponentials(float *s, int64_t n, float scale)
{
    vf most = vf_set(-INFINITY), sum = vf_set(0);
    for (int64_t u = 0; u < n; u += LANES)
        most = vf_max(most, n - u >= LANES ? vf_load(s + u)
                                           : vf_first(vf_load_some(s + u, n - u), most, n - u));
    vf max = vf_set(vf_highest(most) * scale), factor = vf_set(scale);
    for (int64_t u = 0; u < n; u += LANES) {
        vf e = vf_exp(some(s + u, n - u) * factor - max);
        if (n - u >= LANES) {
            vf_store(s + u, e);
            sum = sum + e;
        } else {
            vf_store_some(s + u, e, n - u);
            sum = sum + vf_first(e, vf_set(0), n - u);
        }
    }
    return vf_sum(sum);
}

/* o_r = Σ_u s[r][u]·v_u / sum_r, columns of v by few. */
static inline __attribute__((always_inline)) void mix(float *const *o, const float *s,
                                                      const float *sum, int64_t n, const float *v,
                                                      int64_t ldv, int64_t dv, const int R)
{
    for (int64_t i = 0; i < dv; i += COLUMNS * LANES) {
        vf out[TOGETHER][COLUMNS];
        for (int r = 0; r < R; r++)
            for (int c = 0; c < COLUMNS; c++)
                out[r][c] = vf_set(0);
        bool whole = dv - i >= COLUMNS * LANES;
        for (int64_t u = 0; u < n; u++) {
            vf value[COLUMNS];
            for (int c = 0; c < COLUMNS; c++) {
                int64_t at = i + c * LANES;
                value[c] = whole     ? vf_load(v + u * ldv + at)
                           : at < dv ? some(v + u * ldv + at, dv - at)
                                     : vf_set(0);
            }
            for (int r = 0; r < R; r++) {
                vf p = vf_set(s[r * n + u]);
                for (int c = 0; c < COLUMNS; c++)
                    out[r][c] = vf_fma(p, value[c], out[r][c]);
            }
        }
        for (int r = 0; r < R; r++)
            for (int c = 0; c < COLUMNS; c++) {
                int64_t at = i + c * LANES;
                vf y = out[r][c] * vf_set(1 / sum[r]);
                if (dv - at >= LANES)
                    vf_store(o[r] + at, y);
                else if (at < dv)
                    vf_store_some(o[r] + at, y, dv - at);
            }
    }
}

static inline __attribute__((always_inline)) void
attend(const struct cached_attention_args *a, float *s, int64_t t, int64_t h, const int R)
{
    const float *q[TOGETHER];
    float *o[TOGETHER], sum[TOGETHER];
    int64_t n = a->n - a->T + t + 1, kh = h / (a->H / a->Hk);
    for (int r = 0; r < R; r++) {
        q[r] = a->q + t * a->ldq + (h + r) * a->d;
        o[r] = a->o + t * a->ldo + (h + r) * a->dv;
    }
    scores(s, n, q, a->k + kh * a->d, a->ldk, a->d, R);
    for (int r = 0; r < R; r++)
        sum[r] = exponentials(s + r * n, n, a->scale);
    mix(o, s, sum, n, a->v + kh * a->v_head, a->ldv, a->dv, R);
}

static void few_rows(struct device *dev, const struct cached_attention_args *a)
{
    int64_t group = a->H / a->Hk, each = TOGETHER;
    while (each > 1 && (group % each || a->T * a->H / each < 2 * dev->n_threads))
        each /= 2;
    int64_t tasks = a->T * a->H / each;
    assert((size_t)(TOGETHER * a->n) * sizeof(float) <= CPU_SCRATCH_THREAD);
#pragma omp parallel for schedule(dynamic, 1) num_threads(dev->n_threads) if (tasks * a->n > 64)
    for (int64_t i = 0; i < tasks; i++) {
        int64_t t = i / (a->H / each), h = i % (a->H / each) * each;
        float *s = cpu_scratch(dev, omp_get_thread_num());
        if (each == 4)
            attend(a, s, t, h, 4);
        else if (each == 2)
            attend(a, s, t, h, 2);
        else
            attend(a, s, t, h, 1);
    }
}

/* The tiles' view of the same. */
static void many_rows(struct device *dev, const struct cached_attention_args *a)
{
    int32_t offset[2] = {0, (int32_t)a->T};
    struct attention_args t = {.o = a->o,
                               .q = a->q,
                               .k = a->k,
                               .v = a->v,
                               .ldo = a->ldo,
                               .ldq = a->ldq,
                               .ldk = a->ldk,
                               .ldv = a->ldv,
                               .k_head = a->d,
                               .v_head = a->v_head,
                               .offset = offset,
                               .past = a->n - a->T,
                               .B = 1,
                               .H = a->H,
                               .Hk = a->Hk,
                               .dn = a->d,
                               .dv = a->dv,
                               .scale = a->scale,
                               .compute = a->compute};
    t.lse = (float *)((uint8_t *)cpu_shared(dev) + CPU_SCRATCH_SHARED / 2);
    assert((size_t)(a->T * a->H) * sizeof *t.lse <= CPU_SCRATCH_SHARED / 2);
    attention_forward(dev, &t);
}

static void attend_all(struct device *dev, const struct cached_attention_args *a)
{
    struct attention_args wide = {.dn = a->d, .dv = a->dv};
    if (a->T < FEW_ROWS || attention_too_wide(&wide))
        few_rows(dev, a);
    else
        many_rows(dev, a);
}
