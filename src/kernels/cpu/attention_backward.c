/* Causal attention by tiles, backward (see attention.h for what stands how, attention.c for the forward).
 *
 *     p = exp(scale·q·k − lse)    dp = do·v    ds = p·(dp − delta)·scale,  delta = ⟨do, o⟩
 *     dv = pᵀ·do    dk = dsᵀ·q    dq = ds·k                                  (arXiv 2205.14135)
 * A block of queries meets the blocks of keys that it sees, one after the other: dk and dv are added to where they lie, dq is summed
 * up transposed in scratch memory. A task is all of one head of keys: no sum depends on the threads. The gradient of the shared rope
 * part of the keys is kept head by head and added up in the order of heads.
 */
#include <math.h>
#include <string.h>

#include "kernels/cpu/attention.h"

enum {
    QUERIES = 128, /* queries of a block; a multiple of every nr */
    MR_MAX = 16,
};

/* A block of queries in the forms that the five products want, and a block of keys. */
struct block {
    const struct attention_grads *g;
    uint32_t *q, *d_o;             /* B, queries as columns: of the scores, of dp */
    uint32_t *q_nope, *q_rope, *o; /* B, queries as inner side: of dk, dkr; do for dv */
    uint32_t *k, *v;               /* A by rows: of the scores, of dp */
    uint32_t *k_nope, *k_rope;     /* A in panels, keys as inner side: of dq */
    uint32_t *rounded;             /* p or ds as A by rows, or ds as B, where they are rounded */
    float *p, *ds;                 /* [keys, pitch] */
    float *dq, *room;              /* [dn + dr, QUERIES]: transposed; for turning it over */
    float *lse, *delta, *dkr;      /* [queries], lse over ln 2; this head's [n, dr] */
    int64_t t0, n;                 /* queries */
    int64_t u0, keys;              /* keys */
};

static void block_init(struct block *b, const struct head *x, struct pool *pool)
{
    const struct gemm_ops *ops = x->ops;
    const struct attention_args *a = x->a;
    int64_t q_units = units_of(ops, QUERIES), nr = ops->nr, mr = ops->mr;
    b->q = take(pool, QUERIES * x->units);
    b->d_o = take(pool, QUERIES * units_of(ops, a->dv));
    b->q_nope = take(pool, round_up(a->dn, nr) * q_units);
    b->q_rope = take(pool, round_up(a->dr, nr) * q_units);
    b->o = take(pool, round_up(a->dv, nr) * q_units);
    b->k = take(pool, ATTENTION_KEYS * GEMM_PITCH);
    b->v = take(pool, ATTENTION_KEYS * GEMM_PITCH);
    b->k_nope = take(pool, round_up(a->dn, mr) * ATTENTION_KEYS);
    b->k_rope = take(pool, round_up(a->dr, mr) * ATTENTION_KEYS);
    b->rounded = take(pool, ATTENTION_KEYS * GEMM_PITCH);
    b->p = take(pool, ATTENTION_KEYS * GEMM_PITCH);
    b->ds = take(pool, ATTENTION_KEYS * GEMM_PITCH);
    b->dq = take(pool, (a->dn + a->dr) * QUERIES);
    b->room = take(pool, round_up(a->dn + a->dr, nr) * QUERIES);
    b->lse = take(pool, QUERIES);
    b->delta = take(pool, QUERIES);
}

static void load_queries(struct block *b, const struct head *x, int64_t t0)
{
    const struct attention_args *a = x->a;
    const struct gemm_ops *ops = x->ops;
    int64_t t = x->first + t0, at = t * a->ldo + x->h * a->dv, panel = units_of(ops, QUERIES);
    b->t0 = t0;
    b->n = min64(QUERIES, x->n - t0);
    const float *q = q_at(x, t0), *d_o = b->g->d_o + at;
    struct gemm_side q_nope = side(q, a->ldq, false), q_rope = side(q + a->dn, a->ldq, false);
    struct gemm_side o = side(d_o, a->ldo, false), o_turned = side(d_o, a->ldo, true);
    pack_queries(x, b->q, t0, b->n);
    ops->pack_b(b->d_o, &o_turned, 0, b->n, 0, a->dv, units_of(ops, a->dv));
    ops->pack_b(b->q_nope, &q_nope, 0, a->dn, 0, b->n, panel);
    ops->pack_b(b->q_rope, &q_rope, 0, a->dr, 0, b->n, panel);
    ops->pack_b(b->o, &o, 0, a->dv, 0, b->n, panel);
    for (int64_t i = 0; i < b->n; i++) {
        b->lse[i] = a->lse[(t + i) * a->H + x->h] * (float)M_LOG2E;
        b->delta[i] = x->rows->dot(d_o + i * a->ldo, a->o + at + i * a->ldo, a->dv);
    }
}

static void load_keys(struct block *b, const struct head *x, int64_t u0, int64_t keys)
{
    const struct attention_args *a = x->a;
    struct gemm_side v = side(v_at(x, u0), a->ldv, true), nope = side(k_at(x, u0), a->ldk, false),
                     rope = side(kr_at(x, u0), a->ldkr, false);
    b->u0 = u0;
    b->keys = keys;
    pack_keys(x, b->k, u0, keys);
    x->ops->pack_a(b->v, &v, 0, keys, 0, a->dv);
    x->ops->pack_a(b->k_nope, &nope, 0, a->dn, 0, keys);
    x->ops->pack_a(b->k_rope, &rope, 0, a->dr, 0, keys);
}

/* Columns j … j+n−1, one panel of queries: p and ds of every key panel that one of them sees, and their dq. */
static void panel_scores(const struct block *b, const struct head *x, int64_t j, int64_t n)
{
    const struct attention_args *a = x->a;
    const struct gemm_ops *ops = x->ops;
    int64_t seen = min64(b->keys, b->t0 + j + n - b->u0), whole, panel = units_of(ops, b->keys);
    float *p = b->p + j, *ds = b->ds + j;
    if (seen <= 0)
        return;
    whole = min64(b->keys, round_up(seen, ops->mr)); /* dv and dk take keys by panels */
    rows_by_panel(ops, p, GEMM_PITCH, b->k, b->q + j * x->units, x->units, whole, n, false);
    rows_by_panel(ops, ds, GEMM_PITCH, b->v, b->d_o + j * units_of(ops, a->dv),
                  units_of(ops, a->dv), whole, n, false);
    x->rows->grad_columns(p, ds, GEMM_PITCH, whole, b->t0 + j - b->u0, a->scale, b->lse + j,
                          b->delta + j);
    const uint32_t *ds_b = (const void *)ds;
    int64_t b_row = GEMM_PITCH, units = units_of(ops, seen);
    if (ops->k_unit > 1) {
        struct gemm_side s = side(ds, GEMM_PITCH, false);
        ops->pack_b(b->rounded, &s, 0, n, 0, seen, units);
        ds_b = b->rounded, b_row = ops->nr;
    }
    panels_by_rows(ops, b->dq + j, QUERIES, b->k_nope, panel, ds_b, b_row, units, a->dn, n,
                   b->u0 > 0);
    panels_by_rows(ops, b->dq + a->dn * QUERIES + j, QUERIES, b->k_rope, panel, ds_b, b_row, units,
                   a->dr, n, b->u0 > 0);
}

/* m rows of numbers as A by rows from column `from` on: they are it already in float32, and are rounded into `to` in bf16. */
static const uint32_t *as_rows(const struct gemm_ops *ops, uint32_t *to, const float *rows,
                               int64_t m, int64_t from, int64_t n)
{
    struct gemm_side s = side(rows, GEMM_PITCH, true);
    if (ops->k_unit == 1)
        return (const uint32_t *)(const void *)rows + from;
    ops->pack_a(to, &s, 0, m, from, n - from);
    return to;
}

/* c [m, n] += a · the units of b from skip on, whose panels are those of a block of queries. */
static void add_rows(const struct gemm_ops *ops, float *c, int64_t ldc, const uint32_t *a,
                     const uint32_t *b, int64_t skip, int64_t units, int64_t m, int64_t n)
{
    for (int64_t j = 0; j < n; j += ops->nr)
        ops->tile(c + j, ldc, a, b + j * units_of(ops, QUERIES) + skip * ops->nr, ops->nr, units,
                  (int)m, (int)min64(ops->nr, n - j), true, true);
}

/* Keys r … r+m−1 of the block: their dv, dk and dkr from all queries that see them. */
static void panel_keys(const struct block *b, const struct head *x, int64_t r, int64_t m)
{
    const struct attention_args *a = x->a;
    const struct gemm_ops *ops = x->ops;
    int64_t u = b->u0 + r, row = x->first + u;
    int64_t from = max64(0, u - b->t0) / ops->nr * ops->nr, skip = from / ops->k_unit,
            units = units_of(ops, b->n - from);
    const uint32_t *p = as_rows(ops, b->rounded, b->p + r * GEMM_PITCH, m, from, b->n);
    add_rows(ops, b->g->dv + row * a->ldv + x->kh * a->v_head, a->ldv, p, b->o, skip, units, m,
             a->dv);
    const uint32_t *ds = as_rows(ops, b->rounded, b->ds + r * GEMM_PITCH, m, from, b->n);
    add_rows(ops, b->g->dk + row * a->ldk + x->kh * a->k_head, a->ldk, ds, b->q_nope, skip, units,
             m, a->dn);
    if (a->dr)
        add_rows(ops, b->dkr + u * a->dr, a->dr, ds, b->q_rope, skip, units, m, a->dr);
}

/* One query head: adds into dk, dv and its own dkr, writes dq. */
static void backward_head(struct block *b, const struct head *x)
{
    const struct attention_args *a = x->a;
    int64_t mr = x->ops->mr, nr = x->ops->nr, step = ATTENTION_KEYS / mr * mr;
    for (int64_t t0 = 0; t0 < x->n; t0 += QUERIES) {
        load_queries(b, x, t0);
        for (int64_t u0 = 0; u0 < t0 + b->n; u0 += step) {
            load_keys(b, x, u0, min64(step, t0 + b->n - u0));
            for (int64_t j = 0; j < b->n; j += nr)
                panel_scores(b, x, j, min64(nr, b->n - j));
            for (int64_t r = 0; r < b->keys; r += mr)
                panel_keys(b, x, r, min64(mr, b->keys - r));
        }
        put_turned(x, b->g->dq + (x->first + t0) * a->ldq + x->h * (a->dn + a->dr), a->ldq, b->dq,
                   QUERIES, a->dn + a->dr, b->n, NULL, b->room);
    }
}

/* All query heads of one head of keys, one after the other. */
static void backward_task(struct device *dev, const struct attention_args *a,
                          const struct attention_grads *g, int64_t b, int64_t kh, float *dkr)
{
    struct head x = attention_head(dev, a, b, kh * (a->H / a->Hk));
    struct pool pool = pool_of(dev);
    struct block block = {.g = g, .dkr = dkr};
    block_init(&block, &x, &pool);
    memset(dkr, 0, (size_t)(x.n * a->dr) * sizeof *dkr);
    for (int64_t t = x.first; t < x.first + x.n; t++) {
        memset(g->dk + t * a->ldk + kh * a->k_head, 0, (size_t)a->dn * sizeof(float));
        memset(g->dv + t * a->ldv + kh * a->v_head, 0, (size_t)a->dv * sizeof(float));
    }
    for (int64_t h = x.h; h < (kh + 1) * (a->H / a->Hk); h++) {
        x.h = h;
        backward_head(&block, &x);
    }
}

/* dkr = the parts of heads first … first+n−1 in their order, written or added. */
static void add_up_dkr(struct device *dev, const struct attention_args *a,
                       const struct attention_grads *g, const float *parts, int64_t n_heads,
                       bool add)
{
    int64_t t_first = a->offset[0], T = a->offset[a->B] - t_first;
#pragma omp parallel for schedule(static)                                                          \
    num_threads(dev->n_threads) if (T * n_heads * a->dr > 1 << 14)
    for (int64_t t = 0; t < T; t++) {
        float *out = g->dkr + (t_first + t) * a->ldkr;
        for (int64_t i = 0; i < a->dr; i++) {
            float sum = add ? out[i] : 0;
            for (int64_t h = 0; h < n_heads; h++)
                sum += parts[(h * T + t) * a->dr + i];
            out[i] = sum;
        }
    }
}

void attention_backward(struct device *dev, const struct attention_args *a,
                        const struct attention_grads *g)
{
    int64_t t_first = a->offset[0], T = a->offset[a->B] - t_first;
    if (attention_too_wide(a)) {
        ref_attention_backward(dev, a, g);
        return;
    }
    struct attention_task *tasks = cpu_shared(dev);
    uint8_t *behind = (uint8_t *)(tasks + a->B * a->Hk);
    float *parts = (float *)(behind + (64 - (uintptr_t)behind % 64));
    int64_t room =
        (int64_t)(CPU_SCRATCH_SHARED - (size_t)((uint8_t *)parts - (uint8_t *)tasks)) / 4;
    int64_t at_once = min64(a->Hk, max64(1, room / max64(1, T * a->dr)));
    assert(T * a->dr <= room);
    for (int64_t h0 = 0; h0 < a->Hk; h0 += at_once) {
        int64_t n_heads = min64(at_once, a->Hk - h0), n = 0;
        for (int32_t b = 0; b < a->B; b++)
            for (int64_t h = 0; h < n_heads; h++) {
                int64_t len = a->offset[b + 1] - a->offset[b];
                tasks[n++] = (struct attention_task){b, (int32_t)(h0 + h), 0, len * len};
            }
        attention_sort(tasks, n);
#pragma omp parallel for schedule(dynamic, 1) num_threads(dev->n_threads) if (n > 1)
        for (int64_t i = 0; i < n; i++)
            backward_task(dev, a, g, tasks[i].b, tasks[i].h,
                          parts +
                              ((tasks[i].h - h0) * T + a->offset[tasks[i].b] - t_first) * a->dr);
        if (a->dr)
            add_up_dkr(dev, a, g, parts, n_heads, h0 > 0);
    }
}
