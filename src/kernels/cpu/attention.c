/* Causal attention by tiles, forward and backward, on the tiles and packing of our products (gemm.h).
 *
 * Scores exist for one panel of a few queries (forward) or keys (backward) against a block of the others at a time, never as a T×T
 * matrix; columns that the mask throws away are skipped panel by panel.
 * Forward: the running maximum and sum of Milakov & Gimelshein (arXiv 1805.02867) as in FlashAttention (arXiv 2205.14135).
 * Backward: p comes back from lse; scores are computed transposed, keys by queries, so that p and ds stand as the products for dv
 * and dk want them; only dq needs ds turned over.
 * A task is a strip of queries of one head (forward), or all of one head of keys (backward): no sum depends on the threads. The
 * gradient of the shared rope part of the keys is kept head by head and added up in the order of heads.
 */
#include <assert.h>
#include <math.h>
#include <omp.h>
#include <stdlib.h>
#include <string.h>

#include "kernels/cpu/cpu.h"
#include "kernels/cpu/gemm.h"

enum {
    KEYS = 128, /* keys of a block */
    STRIP =
        512, /* queries of a forward task: packing the keys for it costs little beside using them */
    QUERIES = 128, /* queries of a block in the backward */
    MR_MAX = 16,
};

/* One head's view of the arguments, and what its inner products need. */
struct head {
    const struct attention_args *a;
    const struct attention_grads *g;
    const struct gemm_ops *ops;
    const struct attention_rows *rows;
    int64_t first, n; /* rows of the sequence */
    int64_t h, kh;
    int64_t nope_units, units; /* units of dn, of dn + dr */
};

/* Memory handed out piece by piece from a thread's scratch. */
struct pool {
    uint8_t *next, *end;
};

static void *take(struct pool *p, int64_t n_units)
{
    void *at = p->next;
    p->next += (n_units * 4 + 63) / 64 * 64;
    assert(p->next <= p->end);
    return at;
}

static struct pool pool_of(struct device *dev)
{
    uint8_t *p = cpu_scratch(dev, omp_get_thread_num());
    return (struct pool){p, p + CPU_SCRATCH_THREAD};
}

static int64_t min64(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

static int64_t max64(int64_t a, int64_t b)
{
    return a > b ? a : b;
}

static int64_t units_of(const struct gemm_ops *ops, int64_t n)
{
    return (n + ops->k_unit - 1) / ops->k_unit;
}

static int64_t round_up(int64_t n, int64_t to)
{
    return (n + to - 1) / to * to;
}

static struct gemm_side side(const float *p, int64_t ld, bool k_inner)
{
    return (struct gemm_side){p, DT_F32, k_inner, ld, NULL};
}

static const float *q_at(const struct head *x, int64_t t)
{
    return x->a->q + (x->first + t) * x->a->ldq + x->h * (x->a->dn + x->a->dr);
}

static const float *k_at(const struct head *x, int64_t u)
{
    return x->a->k + (x->first + u) * x->a->ldk + x->kh * x->a->k_head;
}

static const float *kr_at(const struct head *x, int64_t u)
{
    return x->a->dr ? x->a->kr + (x->first + u) * x->a->ldkr : NULL;
}

static const float *v_at(const struct head *x, int64_t u)
{
    return x->a->v + (x->first + u) * x->a->ldv + x->kh * x->a->v_head;
}

/* Packs n rows of two neighbouring parts (nope, rope) whose inner side is the head dimension: as A by rows, or as B. */
static void pack_two(const struct head *x, uint32_t *to, const float *nope, int64_t ld_nope,
                     const float *rope, int64_t ld_rope, int64_t n, bool as_b)
{
    struct gemm_side a = side(nope, ld_nope, true), b = side(rope, ld_rope, true);
    int64_t step = x->nope_units * (as_b ? x->ops->nr : 1);
    if (as_b) {
        x->ops->pack_b(to, &a, 0, n, 0, x->a->dn, x->units);
        if (x->a->dr)
            x->ops->pack_b(to + step, &b, 0, n, 0, x->a->dr, x->units);
    } else {
        x->ops->pack_a(to, &a, 0, n, 0, x->a->dn);
        if (x->a->dr)
            x->ops->pack_a(to + step, &b, 0, n, 0, x->a->dr);
    }
}

/* c [m, n] (+)= a · b over columns from … n−1 (from a multiple of nr), one panel of A by rows against panels of B, units long. */
static void sweep(const struct gemm_ops *ops, float *c, int64_t ldc, const uint32_t *a,
                  const uint32_t *b, int64_t panel, int64_t units, int64_t m, int64_t from,
                  int64_t n, bool add)
{
    for (int64_t j = from; j < n; j += ops->nr)
        ops->tile(c + j, ldc, a, b + j * panel, units, (int)m, (int)min64(ops->nr, n - j), true,
                  add);
}

/* m rows of n scores as A by rows: they are it already in float32, and are rounded into to in bf16. */
static const uint32_t *as_rows(const struct gemm_ops *ops, uint32_t *to, const float *scores,
                               int64_t m, int64_t n)
{
    struct gemm_side s = side(scores, GEMM_PITCH, true);
    if (ops->k_unit == 1)
        return (const void *)scores;
    ops->pack_a(to, &s, 0, m, 0, n);
    return to;
}

/* ---- forward ---- */

struct strip {
    float *o, *max, *sum, *scores; /* [n, dv], [n], [n], [mr, pitch] */
    uint32_t *q, *k, *v, *p;       /* packed */
    int64_t t0, n, ldo;
};

/* Queries i … i+m−1 of the strip against the keys of the block that begins at u0. */
static void forward_panel(const struct head *x, const struct strip *s, int64_t i, int64_t m,
                          int64_t u0)
{
    int64_t seen = min64(KEYS, s->t0 + i + m - u0); /* by the last query */
    sweep(x->ops, s->scores, GEMM_PITCH, s->q + i * GEMM_PITCH, s->k, x->units, x->units, m, 0,
          seen, false);
    for (int64_t r = 0; r < m; r++) {
        float *row = s->scores + r * GEMM_PITCH;
        int64_t n = min64(seen, s->t0 + i + r - u0 + 1);
        if (n <= 0) {
            memset(row, 0, (size_t)seen * sizeof *row);
            continue;
        }
        float shrink = x->rows->softmax_row(row, n, x->a->scale, &s->max[i + r], &s->sum[i + r]);
        memset(row + n, 0, (size_t)(seen - n) * sizeof *row);
        if (shrink != 1)
            x->rows->scale_row(s->o + (i + r) * s->ldo, s->o + (i + r) * s->ldo, s->ldo, shrink);
    }
    const uint32_t *p = as_rows(x->ops, s->p, s->scores, m, seen);
    sweep(x->ops, s->o + i * s->ldo, s->ldo, p, s->v, units_of(x->ops, KEYS),
          units_of(x->ops, seen), m, 0, x->a->dv, true);
}

static void forward_strip(const struct head *x, int64_t t0, int64_t n, struct pool pool)
{
    const struct gemm_ops *ops = x->ops;
    const struct attention_args *a = x->a;
    struct strip s = {.t0 = t0, .n = n, .ldo = round_up(a->dv, 16)};
    s.o = take(&pool, n * s.ldo);
    s.max = take(&pool, n);
    s.sum = take(&pool, n);
    s.scores = take(&pool, MR_MAX * GEMM_PITCH);
    s.p = take(&pool, MR_MAX * GEMM_PITCH);
    s.q = take(&pool, n * GEMM_PITCH);
    s.k = take(&pool, round_up(KEYS, ops->nr) * x->units);
    s.v = take(&pool, round_up(a->dv, ops->nr) * KEYS);
    memset(s.o, 0, (size_t)(n * s.ldo) * sizeof *s.o);
    for (int64_t i = 0; i < n; i++)
        s.max[i] = -INFINITY, s.sum[i] = 0;
    pack_two(x, s.q, q_at(x, t0), a->ldq, q_at(x, t0) + a->dn, a->ldq, n, false);
    for (int64_t u0 = 0; u0 < t0 + n; u0 += KEYS) {
        int64_t keys = min64(KEYS, t0 + n - u0);
        struct gemm_side v = side(v_at(x, u0), a->ldv, false);
        pack_two(x, s.k, k_at(x, u0), a->ldk, kr_at(x, u0), a->ldkr, keys, true);
        ops->pack_b(s.v, &v, 0, a->dv, 0, keys, units_of(ops, KEYS));
        for (int64_t i = 0; i < n; i += ops->mr)
            if (t0 + min64(n, i + ops->mr) > u0)
                forward_panel(x, &s, i, min64(ops->mr, n - i), u0);
    }
    for (int64_t i = 0; i < n; i++) {
        int64_t t = x->first + t0 + i;
        x->rows->scale_row(a->o + t * a->ldo + x->h * a->dv, s.o + i * s.ldo, a->dv, 1 / s.sum[i]);
        a->lse[t * a->H + x->h] = s.max[i] + logf(s.sum[i]);
    }
}

static struct head head_of(const struct device *dev, const struct attention_args *a, int64_t b,
                           int64_t h)
{
    const struct cpu_state *s = dev->state;
    struct head x = {
        .a = a, .ops = a->compute == DT_BF16 ? s->gemm_bf16 : s->gemm_f32, .rows = &s->attention};
    x.first = a->offset[b];
    x.n = a->offset[b + 1] - a->offset[b];
    x.h = h;
    x.kh = h / (a->H / a->Hk);
    x.nope_units = units_of(x.ops, a->dn);
    x.units = x.nope_units + units_of(x.ops, a->dr);
    return x;
}

struct task {
    int32_t b, h;
    int64_t t0, cost;
};

/* Dearest first, so that the last ones to finish are small. */
static int by_cost(const void *p, const void *q)
{
    const struct task *x = p, *y = q;
    if (x->cost != y->cost)
        return x->cost > y->cost ? -1 : 1;
    if (x->b != y->b)
        return x->b < y->b ? -1 : 1;
    return x->h != y->h ? (x->h > y->h) - (x->h < y->h) : (x->t0 > y->t0) - (x->t0 < y->t0);
}

/* Head dimensions that packed rows have no room for are left to the reference. */
static bool too_wide(const struct attention_args *a)
{
    return a->dn + a->dr + 2 > GEMM_UNITS || a->dv + 1 > GEMM_UNITS;
}

void attention_forward(struct device *dev, const struct attention_args *a)
{
    struct task *tasks = cpu_shared(dev);
    int64_t n = 0;
    if (too_wide(a)) {
        ref_attention_forward(dev, a);
        return;
    }
    for (int32_t b = 0; b < a->B; b++)
        for (int64_t t0 = 0; t0 < a->offset[b + 1] - a->offset[b]; t0 += STRIP)
            for (int32_t h = 0; h < a->H; h++) {
                int64_t len = min64(STRIP, a->offset[b + 1] - a->offset[b] - t0);
                tasks[n++] = (struct task){b, h, t0, len * (2 * t0 + len)};
            }
    qsort(tasks, (size_t)n, sizeof *tasks, by_cost);
#pragma omp parallel for schedule(dynamic, 1) num_threads(dev->n_threads) if (n > 1)
    for (int64_t i = 0; i < n; i++) {
        struct head x = head_of(dev, a, tasks[i].b, tasks[i].h);
        forward_strip(&x, tasks[i].t0, min64(STRIP, x.n - tasks[i].t0), pool_of(dev));
    }
}

/* ---- backward ---- */

/* A block of queries in the forms that the five products want, and a block of keys worked on. */
struct block {
    uint32_t *q_t, *do_t;              /* B of the scores and of dp: columns are queries */
    uint32_t *q_nope, *q_rope, *d_o;   /* B of dk, dkr and dv: queries are the inner side */
    uint32_t *k_nope, *k_rope;         /* B of dq: the block's keys are the inner side */
    uint32_t *k, *v;                   /* A by rows: one panel of keys */
    uint32_t *p_rows, *ds_rows, *ds_t; /* A: rounded p and ds; ds turned over */
    float *p, *ds;                     /* [mr, pitch]; [keys of the block, pitch] */
    float *lse, *delta, *dkr;          /* [queries], [queries]; this head's [n, dr] */
    int64_t t0, n;                     /* queries */
    int64_t u_block;                   /* keys of a block */
};

static void block_init(struct block *b, const struct head *x, struct pool *pool)
{
    const struct gemm_ops *ops = x->ops;
    int64_t q_units = units_of(ops, QUERIES), nr = ops->nr;
    b->u_block = KEYS / ops->mr * ops->mr;
    b->q_t = take(pool, round_up(QUERIES, nr) * x->units);
    b->do_t = take(pool, round_up(QUERIES, nr) * units_of(ops, x->a->dv));
    b->q_nope = take(pool, round_up(x->a->dn, nr) * q_units);
    b->q_rope = take(pool, round_up(x->a->dr, nr) * q_units);
    b->d_o = take(pool, round_up(x->a->dv, nr) * q_units);
    b->k_nope = take(pool, round_up(x->a->dn, nr) * KEYS);
    b->k_rope = take(pool, round_up(x->a->dr, nr) * KEYS);
    b->k = take(pool, MR_MAX * GEMM_PITCH);
    b->v = take(pool, MR_MAX * GEMM_PITCH);
    b->p_rows = take(pool, MR_MAX * GEMM_PITCH);
    b->ds_rows = take(pool, MR_MAX * GEMM_PITCH);
    b->ds_t = take(pool, round_up(QUERIES, ops->mr) * KEYS);
    b->p = take(pool, MR_MAX * GEMM_PITCH);
    b->ds = take(pool, KEYS * GEMM_PITCH);
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
    const float *q = q_at(x, t0);
    struct gemm_side q_nope = side(q, a->ldq, false), q_rope = side(q + a->dn, a->ldq, false);
    struct gemm_side d_o = side(x->g->d_o + at, a->ldo, false),
                     do_t = side(x->g->d_o + at, a->ldo, true);
    pack_two(x, b->q_t, q, a->ldq, q + a->dn, a->ldq, b->n, true);
    ops->pack_b(b->do_t, &do_t, 0, b->n, 0, a->dv, units_of(ops, a->dv));
    ops->pack_b(b->q_nope, &q_nope, 0, a->dn, 0, b->n, panel);
    ops->pack_b(b->q_rope, &q_rope, 0, a->dr, 0, b->n, panel);
    ops->pack_b(b->d_o, &d_o, 0, a->dv, 0, b->n, panel);
    for (int64_t i = 0; i < b->n; i++) {
        b->lse[i] = a->lse[(t + i) * a->H + x->h];
        b->delta[i] = x->rows->dot(x->g->d_o + at + i * a->ldo, a->o + at + i * a->ldo, a->dv);
    }
}

/* Keys u … u+m−1, the rows from r on of the block's ds: p and ds against all queries that see them, then their dv, dk and dkr. */
static void backward_panel(const struct block *b, const struct head *x, int64_t u, int64_t m,
                           int64_t r)
{
    const struct attention_args *a = x->a;
    const struct gemm_ops *ops = x->ops;
    float *ds = b->ds + r * GEMM_PITCH;
    int64_t from = max64(0, u - b->t0) / ops->nr * ops->nr, n = b->n,
            panel = units_of(ops, QUERIES);
    struct gemm_side v = side(v_at(x, u), a->ldv, true);
    pack_two(x, b->k, k_at(x, u), a->ldk, kr_at(x, u), a->ldkr, m, false);
    ops->pack_a(b->v, &v, 0, m, 0, a->dv);
    sweep(ops, b->p, GEMM_PITCH, b->k, b->q_t, x->units, x->units, m, from, n, false);
    sweep(ops, ds, GEMM_PITCH, b->v, b->do_t, units_of(ops, a->dv), units_of(ops, a->dv), m, from,
          n, false);
    for (int64_t i = 0; i < m; i++) {
        float *pi = b->p + i * GEMM_PITCH, *dsi = ds + i * GEMM_PITCH;
        int64_t hidden = min64(n, max64(0, u + i - b->t0)); /* queries before the key */
        memset(pi, 0, (size_t)hidden * sizeof *pi);
        memset(dsi, 0, (size_t)hidden * sizeof *dsi);
        x->rows->grad_row(pi + hidden, dsi + hidden, b->lse + hidden, b->delta + hidden, n - hidden,
                          a->scale);
    }
    const uint32_t *p_rows = as_rows(ops, b->p_rows, b->p, m, n),
                   *ds_rows = as_rows(ops, b->ds_rows, ds, m, n);
    int64_t skip = from / ops->k_unit, units = units_of(ops, n) - skip;
    int64_t row = x->first + u;
    sweep(ops, x->g->dv + row * a->ldv + x->kh * a->v_head, a->ldv, p_rows + skip,
          b->d_o + skip * ops->nr, panel, units, m, 0, a->dv, true);
    sweep(ops, x->g->dk + row * a->ldk + x->kh * a->k_head, a->ldk, ds_rows + skip,
          b->q_nope + skip * ops->nr, panel, units, m, 0, a->dn, true);
    if (a->dr)
        sweep(ops, b->dkr + u * a->dr, a->dr, ds_rows + skip, b->q_rope + skip * ops->nr, panel,
              units, m, 0, a->dr, true);
}

/* dq of the block's queries from ds of the keys u0 … u0+keys−1. */
static void backward_queries(const struct block *b, const struct head *x, int64_t u0, int64_t keys)
{
    const struct attention_args *a = x->a;
    const struct gemm_ops *ops = x->ops;
    int64_t units = units_of(ops, keys), from = max64(0, u0 - b->t0) / ops->mr * ops->mr;
    struct gemm_side ds = side(b->ds, GEMM_PITCH, false);
    struct gemm_side k_nope = side(k_at(x, u0), a->ldk, false),
                     k_rope = side(kr_at(x, u0), a->ldkr, false);
    ops->pack_a(b->ds_t, &ds, from, b->n - from, 0, keys);
    ops->pack_b(b->k_nope, &k_nope, 0, a->dn, 0, keys, units);
    ops->pack_b(b->k_rope, &k_rope, 0, a->dr, 0, keys, units);
    for (int64_t i = from; i < b->n; i += ops->mr) {
        const uint32_t *panel = b->ds_t + (i - from) * units;
        int m = (int)min64(ops->mr, b->n - i);
        float *dq = x->g->dq + (x->first + b->t0 + i) * a->ldq + x->h * (a->dn + a->dr);
        for (int64_t j = 0; j < a->dn; j += ops->nr)
            ops->tile(dq + j, a->ldq, panel, b->k_nope + j * units, units, m,
                      (int)min64(ops->nr, a->dn - j), false, true);
        for (int64_t j = 0; j < a->dr; j += ops->nr)
            ops->tile(dq + a->dn + j, a->ldq, panel, b->k_rope + j * units, units, m,
                      (int)min64(ops->nr, a->dr - j), false, true);
    }
}

/* One query head: adds into dk, dv and its own dkr, writes dq. */
static void backward_head(struct block *b, const struct head *x)
{
    const struct attention_args *a = x->a;
    for (int64_t t = 0; t < x->n; t++)
        memset(x->g->dq + (x->first + t) * a->ldq + x->h * (a->dn + a->dr), 0,
               (size_t)(a->dn + a->dr) * sizeof(float));
    for (int64_t t0 = 0; t0 < x->n; t0 += QUERIES) {
        load_queries(b, x, t0);
        for (int64_t u0 = 0; u0 < t0 + b->n; u0 += b->u_block) {
            int64_t keys = min64(b->u_block, t0 + b->n - u0);
            for (int64_t r = 0; r < keys; r += x->ops->mr)
                backward_panel(b, x, u0 + r, min64(x->ops->mr, keys - r), r);
            backward_queries(b, x, u0, keys);
        }
    }
}

/* All query heads of one head of keys, one after the other. */
static void backward_task(struct device *dev, const struct attention_args *a,
                          const struct attention_grads *g, int64_t b, int64_t kh, float *dkr)
{
    struct head x = head_of(dev, a, b, kh * (a->H / a->Hk));
    struct pool pool = pool_of(dev);
    struct block block;
    block_init(&block, &x, &pool);
    block.dkr = dkr;
    x.g = g;
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
    if (too_wide(a)) {
        ref_attention_backward(dev, a, g);
        return;
    }
    struct task *tasks = cpu_shared(dev);
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
                tasks[n++] = (struct task){b, (int32_t)(h0 + h), 0, len * len};
            }
        qsort(tasks, (size_t)n, sizeof *tasks, by_cost);
#pragma omp parallel for schedule(dynamic, 1) num_threads(dev->n_threads) if (n > 1)
        for (int64_t i = 0; i < n; i++)
            backward_task(dev, a, g, tasks[i].b, tasks[i].h,
                          parts +
                              ((tasks[i].h - h0) * T + a->offset[tasks[i].b] - t_first) * a->dr);
        if (a->dr)
            add_up_dkr(dev, a, g, parts, n_heads, h0 > 0);
    }
}
