/* Causal attention by tiles, forward, and what the backward (attention_backward.c) shares with it.
 *
 * Scores exist for a panel of queries against a block of keys at a time, never as a T×T matrix; blocks that the mask throws away are
 * skipped panel by panel. The running maximum and sum are those of Milakov & Gimelshein (arXiv 1805.02867), as in FlashAttention
 * (arXiv 2205.14135); the maximum counts in powers of 2. A task is a strip of queries of one head: no sum depends on the threads.
 */
#include "kernels/cpu/attention.h"

#include <math.h>
#include <stdlib.h>

enum {
    STRIP = 512, /* queries of a task: packing the keys for it costs little beside using them */
};

/* The strip's queries i … i+nr−1 own o + i·dv ([dv, nr]: transposed), max + i and sum + i. */
struct strip {
    float *o, *max, *sum, *shrink; /* [n, dv], [n], [n], [nr] */
    float *scores, *room;          /* [keys, nr]; for turning o over */
    uint32_t *q, *k, *v, *p;       /* packed */
    int64_t t0, n, keys;           /* queries, and the keys of the block at hand */
    int64_t lead;                  /* keys before the first query: past + t0 */
};

/* Queries i … i+n−1 of the strip, one panel, against the keys of the block that begins at u0. */
static void forward_panel(const struct head *x, const struct strip *s, int64_t i, int64_t n,
                          int64_t u0)
{
    const struct gemm_ops *ops = x->ops;
    int64_t seen = min64(s->keys, s->lead + i + n - u0), dv = x->a->dv, nr = ops->nr;
    float *o = s->o + i * dv;
    rows_by_panel(ops, s->scores, nr, s->k, s->q + i * x->units, x->units, seen, n, false);
    x->rows->softmax_columns(s->scores, seen, s->lead + i - u0, x->a->scale, s->max + i, s->sum + i,
                             s->shrink);
    const uint32_t *p = (const void *)s->scores;
    if (ops->k_unit > 1) {
        struct gemm_side scores = side(s->scores, nr, false);
        ops->pack_b(s->p, &scores, 0, n, 0, seen, units_of(ops, seen));
        p = s->p;
    }
    if (u0 > 0)
        x->rows->shrink_columns(o, dv, s->shrink);
    panels_by_rows(ops, o, nr, s->v, units_of(ops, s->keys), p, nr, units_of(ops, seen), dv, n,
                   u0 > 0);
}

static void strip_init(struct strip *s, const struct head *x, struct pool *pool)
{
    const struct attention_args *a = x->a;
    int64_t nr = x->ops->nr, n = round_up(s->n, nr);
    s->o = take(pool, n * a->dv);
    s->max = take(pool, n);
    s->sum = take(pool, n);
    s->shrink = take(pool, nr);
    s->scores = take(pool, ATTENTION_KEYS * nr);
    s->room = take(pool, round_up(a->dv, nr) * nr);
    s->p = take(pool, ATTENTION_KEYS * nr);
    s->q = take(pool, n * x->units);
    s->k = take(pool, ATTENTION_KEYS * GEMM_PITCH);
    s->v = take(pool, round_up(a->dv, x->ops->mr) * ATTENTION_KEYS);
    for (int64_t i = 0; i < n; i++)
        s->max[i] = -INFINITY, s->sum[i] = 0;
}

/* o and lse of the panel that begins at i. */
static void finish_panel(const struct head *x, struct strip *s, int64_t i, int64_t n)
{
    const struct attention_args *a = x->a;
    int64_t t = x->first + s->t0 + i;
    for (int64_t j = 0; j < n; j++) {
        a->lse[(t + j) * a->H + x->h] = (s->max[i + j] + log2f(s->sum[i + j])) * (float)M_LN2;
        s->shrink[j] = 1 / s->sum[i + j];
    }
    put_turned(x, a->o + t * a->ldo + x->h * a->dv, a->ldo, s->o + i * a->dv, x->ops->nr, a->dv, n,
               s->shrink, s->room);
}

static void forward_strip(const struct head *x, int64_t t0, int64_t n, struct pool pool)
{
    const struct gemm_ops *ops = x->ops;
    struct strip s = {.t0 = t0, .n = n, .lead = x->a->past + t0};
    strip_init(&s, x, &pool);
    pack_queries(x, s.q, t0, n);
    for (int64_t u0 = 0; u0 < s.lead + n; u0 += ATTENTION_KEYS) {
        struct gemm_side v = side(v_at(x, u0), x->a->ldv, false);
        s.keys = min64(ATTENTION_KEYS, s.lead + n - u0);
        pack_keys(x, s.k, u0, s.keys);
        ops->pack_a(s.v, &v, 0, x->a->dv, 0, s.keys);
        int64_t first = max64(0, u0 - s.lead) / ops->nr * ops->nr; /* panel that sees any of them */
        for (int64_t i = first; i < n; i += ops->nr)
            forward_panel(x, &s, i, min64(ops->nr, n - i), u0);
    }
    for (int64_t i = 0; i < n; i += ops->nr)
        finish_panel(x, &s, i, min64(ops->nr, n - i));
}

struct head attention_head(const struct device *dev, const struct attention_args *a, int64_t b,
                           int64_t h)
{
    const struct cpu_state *s = dev->state;
    struct head x = {.a = a,
                     .ops = a->compute == DT_BF16 ? s->gemm_bf16 : s->gemm_f32,
                     .turn = s->gemm_f32,
                     .rows = &s->attention};
    x.first = a->offset[b];
    x.n = a->offset[b + 1] - a->offset[b];
    x.h = h;
    x.kh = h / (a->H / a->Hk);
    x.nope_units = units_of(x.ops, a->dn);
    x.units = x.nope_units + units_of(x.ops, a->dr);
    return x;
}

static int by_cost(const void *p, const void *q)
{
    const struct attention_task *x = p, *y = q;
    if (x->cost != y->cost)
        return x->cost > y->cost ? -1 : 1;
    if (x->b != y->b)
        return x->b < y->b ? -1 : 1;
    return x->h != y->h ? (x->h > y->h) - (x->h < y->h) : (x->t0 > y->t0) - (x->t0 < y->t0);
}

void attention_sort(struct attention_task *tasks, int64_t n)
{
    qsort(tasks, (size_t)n, sizeof *tasks, by_cost);
}

bool attention_too_wide(const struct attention_args *a)
{
    return a->dn + a->dr + 2 > GEMM_UNITS || a->dv + 1 > GEMM_UNITS;
}

void attention_forward(struct device *dev, const struct attention_args *a)
{
    struct attention_task *tasks = cpu_shared(dev);
    int64_t n = 0;
    if (attention_too_wide(a)) {
        ref_attention_forward(dev, a);
        return;
    }
    for (int32_t b = 0; b < a->B; b++)
        for (int64_t t0 = 0; t0 < a->offset[b + 1] - a->offset[b]; t0 += STRIP)
            for (int32_t h = 0; h < a->H; h++) {
                int64_t len = min64(STRIP, a->offset[b + 1] - a->offset[b] - t0);
                tasks[n++] = (struct attention_task){b, h, t0, len * (2 * (a->past + t0) + len)};
            }
    attention_sort(tasks, n);
#pragma omp parallel for schedule(dynamic, 1) num_threads(dev->n_threads) if (n > 1)
    for (int64_t i = 0; i < n; i++) {
        struct head x = attention_head(dev, a, tasks[i].b, tasks[i].h);
        forward_strip(&x, tasks[i].t0, min64(STRIP, x.n - tasks[i].t0), pool_of(dev));
    }
}
