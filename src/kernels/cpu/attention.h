/* What attention's two directions share: one head's view of the arguments, and its products on the tiles of gemm.h.
 *
 * Scores stand transposed, keys by queries: a panel of nr queries fills the lanes of two vectors, so that the softmax, its gradient
 * and the mask go down columns and never across lanes, and so that p is, as it stands, an operand of the next product.
 * p · v and dq come out transposed as well and are turned over once, when their sums are complete.
 */
#ifndef MOE2_KERNELS_CPU_ATTENTION_H
#define MOE2_KERNELS_CPU_ATTENTION_H

#include <assert.h>
#include <omp.h>

#include "kernels/cpu/cpu.h"
#include "kernels/cpu/gemm.h"

enum { ATTENTION_KEYS = 128 }; /* keys of a block; a multiple of every nr */

struct head {
    const struct attention_args *a;
    const struct gemm_ops *ops, *turn; /* what multiplies; what turns float32 over */
    const struct attention_rows *rows;
    int64_t first, n; /* rows of the sequence */
    int64_t h, kh;
    int64_t nope_units, units; /* units of dn, of dn + dr */
};

struct attention_task {
    int32_t b, h;
    int64_t t0, cost;
};

/* Memory handed out piece by piece from a thread's scratch. */
struct pool {
    uint8_t *next, *end;
};

static inline void *take(struct pool *p, int64_t n_units)
{
    void *at = p->next;
    p->next += (n_units * 4 + 63) / 64 * 64;
    assert(p->next <= p->end);
    return at;
}

static inline struct pool pool_of(struct device *dev)
{
    uint8_t *p = cpu_scratch(dev, omp_get_thread_num());
    return (struct pool){p, p + CPU_SCRATCH_THREAD};
}

static inline int64_t units_of(const struct gemm_ops *ops, int64_t n)
{
    return (n + ops->k_unit - 1) / ops->k_unit;
}

static inline struct gemm_side side(const float *p, int64_t ld, bool k_inner)
{
    return (struct gemm_side){p, DT_F32, k_inner, ld, NULL};
}

static inline const float *q_at(const struct head *x, int64_t t)
{
    return x->a->q + (x->first + t) * x->a->ldq + x->h * (x->a->dn + x->a->dr);
}

static inline const float *k_at(const struct head *x, int64_t u)
{
    return x->a->k + (x->first + u) * x->a->ldk + x->kh * x->a->k_head;
}

static inline const float *kr_at(const struct head *x, int64_t u)
{
    return x->a->dr ? x->a->kr + (x->first + u) * x->a->ldkr : NULL;
}

static inline const float *v_at(const struct head *x, int64_t u)
{
    return x->a->v + (x->first + u) * x->a->ldv + x->kh * x->a->v_head;
}

/* Keys u0 … u0+keys−1 as A by rows: units of dn, then of dr. */
static inline void pack_keys(const struct head *x, uint32_t *to, int64_t u0, int64_t keys)
{
    struct gemm_side nope = side(k_at(x, u0), x->a->ldk, true),
                     rope = side(kr_at(x, u0), x->a->ldkr, true);
    x->ops->pack_a(to, &nope, 0, keys, 0, x->a->dn);
    if (x->a->dr)
        x->ops->pack_a(to + x->nope_units, &rope, 0, keys, 0, x->a->dr);
}

/* Queries t0 … t0+n−1 as panels of B, units of dn, then of dr. */
static inline void pack_queries(const struct head *x, uint32_t *to, int64_t t0, int64_t n)
{
    struct gemm_side nope = side(q_at(x, t0), x->a->ldq, true),
                     rope = side(q_at(x, t0) + x->a->dn, x->a->ldq, true);
    x->ops->pack_b(to, &nope, 0, n, 0, x->a->dn, x->units);
    if (x->a->dr)
        x->ops->pack_b(to + x->nope_units * x->ops->nr, &rope, 0, n, 0, x->a->dr, x->units);
}

/* c [m, n ≤ nr] (+)= A by rows · one panel of B. */
static inline void rows_by_panel(const struct gemm_ops *ops, float *c, int64_t ldc,
                                 const uint32_t *a, const uint32_t *b, int64_t units, int64_t m,
                                 int64_t n, bool add)
{
    for (int64_t i = 0; i < m; i += ops->mr)
        ops->tile(c + i * ldc, ldc, a + i * GEMM_PITCH, b, ops->nr, units,
                  (int)min64(ops->mr, m - i), (int)n, true, add);
}

/* c [m, n ≤ nr] (+)= the first `units` of A in panels of `panel` units · B, whose units are b_row apart. */
static inline void panels_by_rows(const struct gemm_ops *ops, float *c, int64_t ldc,
                                  const uint32_t *a, int64_t panel, const uint32_t *b,
                                  int64_t b_row, int64_t units, int64_t m, int64_t n, bool add)
{
    for (int64_t i = 0; i < m; i += ops->mr)
        ops->tile(c + i * ldc, ldc, a + i * panel, b, b_row, units, (int)min64(ops->mr, m - i),
                  (int)n, false, add);
}

/* y[i·ldy + r] = factor[i] · from[r·ld + i] for i < n, r < m; factor NULL: 1. room: n numbers for each column of m rounded up to nr. */
static inline void put_turned(const struct head *x, float *y, int64_t ldy, const float *from,
                              int64_t ld, int64_t m, int64_t n, const float *factor, float *room)
{
    int nr = x->turn->nr;
    struct gemm_side s = side(from, ld, true);
    x->turn->pack_b((uint32_t *)(void *)room, &s, 0, m, 0, n, n);
    for (int64_t i = 0; i < n; i++)
        for (int64_t r = 0; r < m; r += nr)
            x->rows->scale_row(y + i * ldy + r, room + r * n + i * nr, min64(nr, m - r),
                               factor ? factor[i] : 1);
}

struct head attention_head(const struct device *dev, const struct attention_args *a, int64_t b,
                           int64_t h);
/* Head dimensions that packed rows have no room for are left to the reference. */
bool attention_too_wide(const struct attention_args *a);
/* Dearest first, so that the last ones to finish are small. */
void attention_sort(struct attention_task *tasks, int64_t n);

#endif
