/* Losses on the router: see aux.h. All of them are means over the tokens of one forward.
 *
 * P of a token is p_i = s_i (softmax) or s_i/S, S = Σ_j s_j (sigmoid). With h_i = ∂L/∂p_ti, the
 * same for every token since f is a constant:
 *     softmax   dx_i += s_i·(h_i − Σ_j h_j·p_j)
 *     sigmoid   dx_i += s_i·(1 − s_i)/S · (h_i − Σ_j h_j·p_j)
 */
#include "route/router_parts.h"

#include <assert.h>
#include <math.h>
#include <string.h>

/* S of a row: what p is s over. */
static double row_total(const float *s, int E, enum score_kind kind)
{
    double sum = 0;
    if (kind == SCORE_SOFTMAX)
        return 1;
    for (int i = 0; i < E; i++)
        sum += s[i];
    return sum;
}

static void add_p(double *sums, const float *s, int E, enum score_kind kind)
{
    double share = 1 / row_total(s, E, kind);
    for (int i = 0; i < E; i++)
        sums[i] += share * s[i];
}

static void add_gradient(float *dx, const float *s, const float *h, int E, enum score_kind kind,
                         const struct row_ops *ops)
{
    float share = (float)(1 / row_total(s, E, kind));
    float mean = (float)ops->dot(h, s, E) * share;
    for (int i = 0; i < E; i++)
        dx[i] += s[i] * (kind == SCORE_SIGMOID ? (1 - s[i]) * share : 1) * (h[i] - mean);
}

/* Σ_t p_ti of the forward into sums [E], blocks in order. */
static void sum_p(double *sums, const struct router *r, const struct route *route,
                  const struct route_batch *batch)
{
    int E = route->E;
    int64_t n_blocks = route_blocks(route->T);
#pragma omp parallel for schedule(static) if (route->T * E >= ROUTE_PARALLEL)
    for (int64_t b = 0; b < n_blocks; b++) {
        double *own = route->block_sums + b * E;
        memset(own, 0, sizeof *own * (size_t)E);
        int64_t end = (b + 1) * ROUTE_BLOCK;
        for (int64_t t = b * ROUTE_BLOCK; t < end && t < route->T; t++)
            if (token_valid(batch, t))
                add_p(own, route->scores + t * E, E, r->config.score);
    }
    memset(sums, 0, sizeof *sums * (size_t)E);
    for (int64_t b = 0; b < n_blocks; b++)
        for (int i = 0; i < E; i++)
            sums[i] += route->block_sums[b * E + i];
}

/* scale · h through p into the rows of dlogits. */
static void spread_gradient(float *dlogits, const float *h, const struct router *r,
                            const struct route *route, const struct route_batch *batch,
                            int64_t first, int64_t end)
{
    int64_t E = route->E;
#pragma omp parallel for schedule(static) if ((end - first) * E >= ROUTE_PARALLEL)
    for (int64_t t = first; t < end; t++)
        if (token_valid(batch, t))
            add_gradient(dlogits + t * E, route->scores + t * E, h, route->E, r->config.score,
                         r->ops);
}

/* f_i over the forward, the step so far, or the pool of all layers. */
static double pick_share(const struct router *r, const struct route *route,
                         const struct aux_pool *pool, int i)
{
    bool step = r->config.aux.form == AUX_GLOBAL && r->sums.n_items > 0 &&
                (route->mode == ROUTE_TRAIN || route->mode == ROUTE_RECOMPUTE);
    if (r->config.aux.form == AUX_HF)
        return pool->picks[i] / (double)pool->n_tokens;
    if (step)
        return (double)r->sums.items[i] / ((double)route->K * (double)r->sums.n_items);
    return (double)route->picks[i] / ((double)route->K * (double)route->n_valid);
}

/* a·E·Σ f_i·P_i;  h_i = a·E·f_i / n */
static double balance(float *dlogits, const struct router *r, const struct route *route,
                      const struct route_batch *batch, const struct aux_pool *pool, float scale)
{
    int E = route->E;
    double *P = route->block_sums + route_blocks(route->T) * E, loss = 0;
    float *h = route->block_rows + route_blocks(route->T) * ROUTE_LANES * E;
    bool hf = r->config.aux.form == AUX_HF;
    assert(!hf || pool);
    double n = (double)(hf ? pool->n_tokens : route->n_valid);
    double a = (double)r->config.aux.coef * E / n;
    sum_p(P, r, route, batch);
    for (int i = 0; i < E; i++) {
        double f = pick_share(r, route, pool, i);
        loss += a * f * P[i];
        h[i] = (float)(a * f * scale);
    }
    if (dlogits)
        spread_gradient(dlogits, h, r, route, batch, 0, route->T);
    return loss;
}

/* The K best of every token's s, without bias or groups; those of padding mean nothing. */
static void find_unbiased(const struct router *r, const struct route *route)
{
    int64_t E = route->E, T = route->T;
#pragma omp parallel for schedule(static) if (T * E >= ROUTE_PARALLEL)
    for (int64_t b = 0; b < route_blocks(T); b++) {
        int64_t first = b * ROUTE_BLOCK, rows = T - first < ROUTE_BLOCK ? T - first : ROUTE_BLOCK;
        r->ops->topk(route->unbiased + first * route->K, route->scores + first * E, rows, E,
                     route->K);
    }
}

/* One sequence of DeepSeek-V3's form: α·Σ f_i·P_i, f_i = E/(K·n_s)·picks, weighted n_s/n. */
static double one_sequence(float *dlogits, const struct router *r, const struct route *route,
                           const struct route_batch *batch, int64_t first, int64_t end, float scale)
{
    int E = route->E, K = route->K;
    const int32_t *idx = route->unbiased ? route->unbiased : route->idx;
    int64_t room = route_blocks(route->T), n = 0;
    double *P = route->block_sums + room * E, loss = 0;
    float *h = route->block_rows + room * ROUTE_LANES * E, *f = h + E;
    memset(P, 0, sizeof *P * (size_t)E);
    memset(f, 0, sizeof *f * (size_t)E);
    for (int64_t t = first; t < end; t++) {
        if (!token_valid(batch, t))
            continue;
        add_p(P, route->scores + t * E, E, r->config.score);
        for (int k = 0; k < K; k++)
            f[idx[t * K + k]]++;
        n++;
    }
    if (!n)
        return 0;
    double a = (double)r->config.aux.sequence_coef * E / ((double)K * (double)n);
    for (int i = 0; i < E; i++) {
        loss += a * f[i] * P[i] / (double)route->n_valid;
        h[i] = (float)(a * f[i] / (double)route->n_valid * scale);
    }
    if (dlogits)
        spread_gradient(dlogits, h, r, route, batch, first, end);
    return loss;
}

static double sequences(float *dlogits, const struct router *r, const struct route *route,
                        const struct route_batch *batch, float scale)
{
    const int64_t whole[2] = {0, route->T};
    const int64_t *offsets = batch->seq_offsets ? batch->seq_offsets : whole;
    int64_t n_seqs = batch->seq_offsets ? batch->n_seqs : 1;
    double loss = 0;
    if (route->unbiased)
        find_unbiased(r, route);
    for (int64_t s = 0; s < n_seqs; s++)
        loss += one_sequence(dlogits, r, route, batch, offsets[s], offsets[s + 1], scale);
    return loss;
}

/* logsumexp² of one token, and its gradient: 2·lse·softmax(x). p is room for E floats. The largest
 * term of the softmax is e^0 / Σ, which gives Σ without another exponential. */
static double z_token(float *dx, float *p, const float *x, int E, float scale,
                      const struct row_ops *ops)
{
    int best = 0;
    for (int i = 1; i < E; i++)
        best = x[i] > x[best] ? i : best;
    ops->softmax(p, x, E);
    double lse = x[best] - log((double)p[best]);
    if (dx)
        ops->scale_add(dx, p, (float)(2 * lse * scale), E);
    return lse * lse;
}

static double z_loss(float *dlogits, const struct router *r, const struct route *route,
                     const float *logits, const struct route_batch *batch, float scale)
{
    int64_t E = route->E, n_blocks = route_blocks(route->T);
    double coef = (double)r->config.aux.z_coef / (double)route->n_valid, loss = 0;
    float scaled = (float)(coef * scale);
#pragma omp parallel for schedule(static) if (route->T * E >= ROUTE_PARALLEL)
    for (int64_t b = 0; b < n_blocks; b++) {
        double sum = 0;
        int64_t end = (b + 1) * ROUTE_BLOCK;
        for (int64_t t = b * ROUTE_BLOCK; t < end && t < route->T; t++)
            if (token_valid(batch, t))
                sum += z_token(dlogits ? dlogits + t * E : NULL,
                               route->block_rows + ROUTE_LANES * b * E, logits + t * E, route->E,
                               scaled, r->ops);
        route->block_moments[2 * b] = sum;
    }
    for (int64_t b = 0; b < n_blocks; b++)
        loss += route->block_moments[2 * b];
    return coef * loss;
}

bool router_has_aux(const struct router *r)
{
    const struct aux_config *c = &r->config.aux;
    return c->coef > 0 || c->sequence_coef > 0 || c->z_coef > 0;
}

void router_aux(struct router *r, float *dlogits, struct aux_losses *losses,
                const struct route *route, const float *logits, const struct route_batch *batch,
                const struct aux_pool *pool, float scale)
{
    const struct aux_config *c = &r->config.aux;
    *losses = (struct aux_losses){0};
    if (!route->n_valid)
        return;
    if (c->coef > 0)
        losses->balance = balance(dlogits, r, route, batch, pool, scale);
    if (c->sequence_coef > 0)
        losses->sequence = sequences(dlogits, r, route, batch, scale);
    if (c->z_coef > 0)
        losses->z = z_loss(dlogits, r, route, logits, batch, scale);
}

void router_aux_pool(struct aux_pool *pool, const struct router *r, const struct route *route,
                     const struct route_batch *batch)
{
    int E = route->E;
    double *P = route->block_sums + route_blocks(route->T) * E;
    sum_p(P, r, route, batch);
    pool->n_tokens += route->n_valid;
    for (int i = 0; i < E; i++) {
        pool->picks[i] += (double)route->picks[i];
        pool->p[i] += P[i];
    }
}

double aux_pool_loss(const struct aux_pool *pool, float coef)
{
    double sum = 0, n = (double)pool->n_tokens;
    for (int i = 0; i < pool->E && pool->n_tokens; i++)
        sum += pool->picks[i] / n * (pool->p[i] / n);
    return (double)coef * pool->E * sum;
}
