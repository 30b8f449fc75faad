/* Expert choice (Zhou et al. 2022, arXiv 2202.09368): experts pick tokens.
 *
 *     every expert takes the C = ⌈K·T'/E⌉ best of its column of s = softmax(x), T' real tokens of the
 *     forward; weight = s·routed_scaling_factor, never renormalised; ties to the earlier token
 *
 * Loads are equal by construction, but whether a token is taken depends on the tokens after it: the
 * choice looks ahead. The causal evaluation takes, for each token alone, every expert whose
 * threshold its score reaches. A threshold is the mean over a step's forwards of the C-th best score,
 * smoothed by 0.1 a step, begun at the first step's mean. Before there is one a token takes its K best.
 */
#include "route/router_parts.h"

#include <string.h>

static const float threshold_smoothing = 0.1f;

/* Scores of the real tokens, expert by expert: columns [E, n_valid], and their tokens. */
static void fill_column(struct route *route, const struct route_batch *batch, int i)
{
    float *column = route->columns + i * route->T;
    int64_t n = 0;
    for (int64_t t = 0; t < route->T; t++)
        if (token_valid(batch, t))
            column[n++] = route->scores[t * route->E + i];
}

/* Lists the tokens of expert i whose score is above limit, and of the equal ones the first `equal`;
 * with out NULL only counts them. */
static int64_t list_expert(struct route *route, const struct route_batch *batch, int i, float limit,
                           int64_t equal, int32_t *out)
{
    int64_t n = 0;
    for (int64_t t = 0; t < route->T; t++) {
        if (!token_valid(batch, t))
            continue;
        float s = route->scores[t * route->E + i];
        if (s < limit || (s == limit && equal-- <= 0))
            continue;
        if (out)
            out[n] = (int32_t)t;
        n++;
    }
    return n;
}

/* The lists by token, from the lists by expert. Going through the experts in order leaves the
 * places of each token in rising order. */
static void list_tokens(struct route *route)
{
    int64_t *offsets = route->token_offsets;
    memset(offsets, 0, sizeof *offsets * (size_t)(route->T + 1));
    for (int64_t p = 0; p < route->n; p++)
        offsets[route->token[p] + 1]++;
    for (int64_t t = 0; t < route->T; t++)
        offsets[t + 1] += offsets[t];
    for (int64_t p = 0; p < route->n; p++)
        route->position[offsets[route->token[p]]++] = (int32_t)p;
    memmove(offsets + 1, offsets, sizeof *offsets * (size_t)route->T);
    offsets[0] = 0;
}

static void finish(struct route *route)
{
    for (int i = 0; i < route->E; i++) {
        int64_t first = route->expert_offsets[i];
        route->picks[i] = route->expert_offsets[i + 1] - first;
        for (int64_t p = first; p < route->expert_offsets[i + 1]; p++)
            route->expert[p] = i;
    }
    route->n = route->expert_offsets[route->E];
    list_tokens(route);
}

static void pick_looking_ahead(struct router *r, struct route *route,
                               const struct route_batch *batch)
{
    int E = route->E;
    int64_t n = route->n_valid, C = n ? (route->K * n + E - 1) / E : 0;
    for (int i = 0; i <= E; i++)
        route->expert_offsets[i] = i * C;
    float *limit = route->block_rows;
#pragma omp parallel for schedule(static) if (route->T * E >= ROUTE_PARALLEL)
    for (int i = 0; i < E; i++) {
        if (!C)
            continue;
        float *column = route->columns + i * route->T;
        fill_column(route, batch, i);
        limit[i] = order_kth(r->ops, column, n, C);
        int64_t above = 0;
        for (int64_t p = 0; p < n; p++)
            above += column[p] > limit[i];
        list_expert(route, batch, i, limit[i], C - above, route->token + i * C);
    }
    if (batch->mode != ROUTE_TRAIN || !C)
        return;
    for (int i = 0; i < E; i++)
        r->threshold_sum[i] += limit[i];
    r->n_forwards++;
}

/* Every expert whose threshold is reached. */
static void pick_by_threshold(struct router *r, struct route *route,
                              const struct route_batch *batch)
{
    route->expert_offsets[0] = 0;
    for (int i = 0; i < route->E; i++) {
        int64_t first = route->expert_offsets[i];
        int64_t n = list_expert(route, batch, i, r->threshold[i], INT64_MAX, route->token + first);
        route->expert_offsets[i + 1] = first + n;
    }
}

/* The K best of each token, where no threshold exists yet. */
static void pick_before_training(struct router *r, struct route *route,
                                 const struct route_batch *batch)
{
    int E = route->E, K = route->K;
    int32_t best[ROUTE_PICKS_MAX];
    int64_t *offsets = route->expert_offsets, place = 0;
    for (int pass = 0; pass < 2; pass++) {
        if (pass == 0)
            memset(route->picks, 0, sizeof *route->picks * (size_t)E);
        for (int64_t t = 0; t < route->T; t++) {
            if (!token_valid(batch, t))
                continue;
            r->ops->topk(best, route->scores + t * E, 1, E, K);
            for (int k = 0; k < K; k++)
                if (pass == 0)
                    route->picks[best[k]]++;
                else
                    route->token[route->picks[best[k]]++] = (int32_t)t;
        }
        for (int i = 0; i < E && pass == 0; i++) {
            offsets[i] = place;
            place += route->picks[i];
            route->picks[i] = offsets[i];
        }
    }
    offsets[E] = place;
}

void expert_choice_weights(struct route *route, const struct router_config *config)
{
    for (int64_t p = 0; p < route->n; p++)
        route->weight[p] = route->scores[(int64_t)route->token[p] * route->E + route->expert[p]] *
                           config->routed_scaling_factor;
}

void expert_choice_pick(struct router *r, struct route *route, const struct route_batch *batch)
{
    if (batch->mode != ROUTE_EVAL)
        pick_looking_ahead(r, route, batch);
    else if (r->threshold_seen != 0)
        pick_by_threshold(r, route, batch);
    else
        pick_before_training(r, route, batch);
    finish(route);
    expert_choice_weights(route, &r->config);
}

void expert_choice_step(struct router *r)
{
    if (!r->n_forwards)
        return;
    float a = r->threshold_seen != 0 ? threshold_smoothing : 1;
    for (int i = 0; i < r->config.n_experts; i++) {
        float mean = (float)(r->threshold_sum[i] / (double)r->n_forwards);
        r->threshold[i] = a * mean + (1 - a) * r->threshold[i];
    }
    r->threshold_seen = 1;
}
