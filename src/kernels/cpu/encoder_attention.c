/* Attention without a mask over the tiles of gemm.h.
 *
 * A task is one head of one sequence: keys and values are packed
 * once, then blocks of queries meet blocks of keys. A block of scores is written as the tiles like their left operand (rows
 * GEMM_PITCH apart), turned into exponentials in place and multiplied with the values; the running maximum and sum of each row are
 * kept beside it (Milakov & Gimelshein, arXiv 1805.02867).
 */
#include <assert.h>
#include <math.h>
#include <omp.h>

#include "kernels/cpu/cpu.h"
#include "kernels/cpu/gemm.h"

enum { QUERIES = 128, KEYS = GEMM_UNITS };

struct head {
    const struct encoder_attention_args *a;
    const struct gemm_ops *ops;
    const struct encoder_rows *rows;
    int64_t first, n, h;
    uint32_t *k, *v, *q; /* packed */
    float *s;            /* [QUERIES, GEMM_PITCH] */
    float *o;            /* [QUERIES, d to whole panels] */
    float max[QUERIES], sum[QUERIES];
};

/* c [m, n] (pitch ldc) (+)= packed a [m, units] · panels b. */
static void product(const struct gemm_ops *ops, float *c, int64_t ldc, const uint32_t *a,
                    const uint32_t *b, int64_t m, int64_t n, int64_t units, bool add)
{
    int64_t step = (m + ops->mr - 1) / ops->mr;
    step = (m + step - 1) / step;
    for (int64_t j = 0; j < n; j += ops->nr)
        for (int64_t i = 0; i < m; i += step)
            ops->tile(c + i * ldc + j, ldc, a + i * GEMM_PITCH, b + j * units, ops->nr, units,
                      (int)min64(step, m - i), (int)min64(ops->nr, n - j), true, add);
}

/* Where head h of row t begins. */
static struct gemm_side side_of(const struct head *x, const float *p, bool k_inner)
{
    return (struct gemm_side){p + x->first * x->a->ldqkv + x->h * x->a->d, DT_F32, k_inner,
                              x->a->ldqkv, NULL};
}

/* The scratch of a thread, and keys and values into it. Blocks of values are packed each for itself. */
static void pack_head(struct head *x, uint32_t *scratch)
{
    int64_t d = x->a->d, nr = x->ops->nr, wide = round_up(d, nr);
    x->q = scratch;
    x->s = (float *)(scratch + QUERIES * GEMM_PITCH);
    x->o = x->s + QUERIES * GEMM_PITCH;
    x->k = (uint32_t *)(x->o + QUERIES * wide);
    x->v = x->k + round_up(x->n, nr) * d;
    assert((x->v + wide * x->n - scratch) * 4 <= CPU_SCRATCH_THREAD);
    struct gemm_side k = side_of(x, x->a->k, true), v = side_of(x, x->a->v, false);
    x->ops->pack_b(x->k, &k, 0, x->n, 0, d, d);
    for (int64_t u = 0; u < x->n; u += KEYS) {
        int64_t n = min64(KEYS, x->n - u);
        x->ops->pack_b(x->v + u * wide, &v, 0, d, u, n, n);
    }
}

static void one_block(struct head *x, int64_t t0, int64_t m)
{
    const struct encoder_attention_args *a = x->a;
    int64_t d = a->d, wide = round_up(d, x->ops->nr);
    struct gemm_side q = side_of(x, a->q, true);
    x->ops->pack_a(x->q, &q, t0, m, 0, d);
    for (int64_t i = 0; i < m; i++)
        x->max[i] = -INFINITY, x->sum[i] = 0;
    for (int64_t u = 0; u < x->n; u += KEYS) {
        int64_t n = min64(KEYS, x->n - u);
        product(x->ops, x->s, GEMM_PITCH, x->q, x->k + u * d, m, n, d, false);
        for (int64_t i = 0; i < m; i++) {
            float shrink =
                x->rows->softmax(x->s + i * GEMM_PITCH, n, a->scale, &x->max[i], &x->sum[i]);
            if (u && shrink < 1)
                x->rows->scale(x->o + i * wide, x->o + i * wide, d, shrink);
        }
        product(x->ops, x->o, wide, (const uint32_t *)x->s, x->v + u * wide, m, d, n, u > 0);
    }
    for (int64_t i = 0; i < m; i++)
        x->rows->scale(a->o + (x->first + t0 + i) * a->ldo + x->h * d, x->o + i * wide, d,
                       1 / x->sum[i]);
}

void encoder_attention(struct device *dev, const struct encoder_attention_args *a)
{
    const struct cpu_state *s = dev->state;
    assert(a->d <= GEMM_UNITS);
    int64_t n_rows = a->B ? a->offset[a->B] - a->offset[0] : 0;
#pragma omp parallel for schedule(dynamic, 1) num_threads(dev->n_threads) if (n_rows * a->H > 64)
    for (int64_t i = 0; i < a->B * a->H; i++) {
        int64_t b = i / a->H;
        struct head x = {.a = a, .ops = s->gemm_f32, .rows = &s->encoder, .h = i % a->H};
        x.first = a->offset[b];
        x.n = a->offset[b + 1] - a->offset[b];
        if (!x.n)
            continue;
        pack_head(&x, cpu_scratch(dev, omp_get_thread_num()));
        for (int64_t t = 0; t < x.n; t += QUERIES)
            one_block(&x, t, min64(QUERIES, x.n - t));
    }
}
