/* The router: score, incentive, pick, and what it learns from them. See router.h.
 *
 * Everything that costs runs over blocks of ROUTE_BLOCK tokens, side by side; every sum is made
 * within a block and then over the blocks in order.
 */
#include "route/router_parts.h"

#include <assert.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "route/rd_esi.h"
#include "route/route_rows.h"

static int router_alloc(struct router *r, struct err *err)
{
    size_t E = (size_t)r->config.n_experts;
    r->sums.items = calloc(E, sizeof *r->sums.items);
    r->sums.performed = calloc(E, sizeof *r->sums.performed);
    r->sums.performance = calloc(E, sizeof *r->sums.performance);
    r->sums.share = calloc(E, sizeof *r->sums.share);
    r->native = calloc(E, sizeof *r->native);
    r->work = calloc(E, sizeof *r->work);
    r->threshold = calloc(E, sizeof *r->threshold);
    r->threshold_sum = calloc(E, sizeof *r->threshold_sum);
    if (r->sums.items && r->sums.performed && r->sums.performance && r->sums.share && r->native &&
        r->work && r->threshold && r->threshold_sum)
        return 0;
    return err_set(err, MOE2_ELIMIT, "no memory for a router of %zu experts", E);
}

int router_new(struct router **out, const struct router_config *config, int layer, struct err *err)
{
    int rc = router_config_check(config, err);
    if (rc)
        return rc;
    struct router *r = calloc(1, sizeof *r);
    if (!r)
        return err_set(err, MOE2_ELIMIT, "no memory for a router");
    r->config = *config;
    r->layer = layer;
    r->ops = row_ops_best();
    rc = router_alloc(r, err);
    if (!rc)
        rc = incentive_new(&r->incentive, &config->incentive, config->n_experts, err);
    if (rc) {
        router_free(r);
        return rc;
    }
    *out = r;
    return 0;
}

void router_free(struct router *r)
{
    if (!r)
        return;
    incentive_free(r->incentive);
    free(r->sums.items);
    free(r->sums.performed);
    free(r->sums.performance);
    free(r->sums.share);
    free(r->native);
    free(r->work);
    free(r->threshold);
    free(r->threshold_sum);
    free(r->margins);
    free(r);
}

const struct router_config *router_config(const struct router *r)
{
    return &r->config;
}

const struct incentive *router_incentive(const struct router *r)
{
    return r->incentive;
}

struct route_sums *router_sums(struct router *r)
{
    return &r->sums;
}

/* ---- the pick ---- */

/* Picks of the earlier micro-batches over their fair share, minus 1. */
static const float *queue_now(struct router *r)
{
    int E = r->config.n_experts;
    double fair = (double)r->config.n_picks * (double)r->sums.n_items / E;
    for (int i = 0; i < E; i++)
        r->work[i] = fair > 0 ? (float)((double)r->sums.items[i] / fair - 1) : 0;
    return r->work;
}

/* The bias of this micro-batch into bias [E]; in training its largest value is remembered. */
static void bias_now(struct router *r, float *bias, enum route_mode mode)
{
    bool train = mode == ROUTE_TRAIN;
    struct incentive_now now = {.queue = train ? queue_now(r) : NULL};
    incentive_bias(r->incentive, bias, &now);
    for (int i = 0; i < r->config.n_experts && train; i++)
        r->bias_max = fmaxf(r->bias_max, fabsf(bias[i]));
    if (r->config.native_bias != NATIVE_BIAS_REPLACE)
        r->ops->add(bias, bias, r->native, r->config.n_experts);
}

/* Scores of block b; false if a logit is not finite. */
static bool score_block(struct router *r, struct route *route, const float *logits,
                        const struct route_batch *batch, int64_t b)
{
    int64_t E = route->E, first = b * ROUTE_BLOCK, end = first + ROUTE_BLOCK;
    double *moments = route->block_moments + 2 * b;
    moments[0] = moments[1] = 0;
    end = end < route->T ? end : route->T;
    if (!batch->valid) {
        if (!r->ops->finite(logits + first * E, (end - first) * E))
            return false;
        score_rows(r->ops, route->scores + first * E, logits + first * E, end - first, route->E,
                   r->config.score);
    }
    for (int64_t t = first; t < end && batch->valid; t++) {
        float *s = route->scores + t * E;
        if (!batch->valid[t]) {
            memset(s, 0, sizeof *s * (size_t)E);
            continue;
        }
        if (!r->ops->finite(logits + t * E, E))
            return false;
        score_rows(r->ops, s, logits + t * E, 1, route->E, r->config.score);
    }
    if (router_wants_moments(r, batch->mode))
        r->ops->moments(moments, route->scores + first * E, (end - first) * E);
    return true;
}

int router_check_logits(const struct router *r, const struct route *route, const float *logits,
                        const struct route_batch *batch, struct err *err)
{
    for (int64_t t = 0; t < route->T; t++)
        for (int64_t i = 0; i < route->E && token_valid(batch, t); i++)
            if (!isfinite(logits[t * route->E + i]))
                return err_set(err, MOE2_ENUMERIC,
                               "layer %d: the router's logit of expert %lld for token %lld is %s, "
                               "wanted a finite number",
                               r->layer, (long long)i, (long long)t,
                               isnan(logits[t * route->E + i]) ? "NaN" : "infinite");
    return 0;
}

static void count_valid(struct route *route, const struct route_batch *batch)
{
    int64_t n = 0;
    for (int64_t b = 0; b < route_blocks(route->T); b++) {
        int64_t end = (b + 1) * ROUTE_BLOCK;
        end = end < route->T ? end : route->T;
        route->block_valid[b] = n;
        if (!batch->valid)
            n += end - b * ROUTE_BLOCK;
        for (int64_t t = b * ROUTE_BLOCK; t < end && batch->valid; t++)
            n += batch->valid[t] != 0;
    }
    route->n_valid = n;
}

/* Room for the margins of n_more tokens: columns of a wider table, the old ones copied over. */
static int margins_reserve(struct router *r, int64_t n_more, struct err *err)
{
    int64_t E = r->config.n_experts, wanted = r->n_margins + n_more;
    if (wanted <= r->margin_stride)
        return 0;
    int64_t stride = wanted > 2 * r->margin_stride ? wanted : 2 * r->margin_stride;
    float *wide = malloc(sizeof *wide * (size_t)(E * stride));
    if (!wide)
        return err_set(err, MOE2_ELIMIT, "no memory for the margins of %lld tokens",
                       (long long)wanted);
    for (int64_t i = 0; i < E && r->n_margins; i++)
        memcpy(wide + i * stride, r->margins + i * r->margin_stride,
               sizeof *wide * (size_t)r->n_margins);
    free(r->margins);
    r->margins = wide;
    r->margin_stride = stride;
    return 0;
}

static void count_step(struct router *r, const struct route *route)
{
    r->sums.n_items += route->n_valid;
    r->sums.n_dropped += route->n_dropped;
    for (int i = 0; i < route->E; i++)
        r->sums.items[i] += route->picks[i];
    for (int64_t b = 0; b < route_blocks(route->T); b++) {
        r->sums.score_sum += route->block_moments[2 * b];
        r->sums.score_square += route->block_moments[2 * b + 1];
    }
    if (incentive_wants_margins(r->incentive))
        r->n_margins += route->n_valid;
}

/* The lists of token choice, after idx and weights are there. */
static void dispatch(struct router *r, struct route *route, enum route_mode mode)
{
    dispatch_build(route);
    for (int i = 0; i < route->E; i++)
        route->picks[i] = route->expert_offsets[i + 1] - route->expert_offsets[i];
    route->n_dropped = 0;
    if (r->config.capacity_factor > 0 && mode != ROUTE_EVAL) {
        int64_t C = route_capacity(r->config.capacity_factor, route->K, route->n_valid, route->E);
        capacity_drop(route, C, r->ops);
    }
}

/* Weights anew for the picks that are there. */
static void reweigh(struct router *r, struct route *route)
{
    if (r->config.pick == PICK_EXPERT_CHOICE) {
        expert_choice_weights(route, &r->config);
        return;
    }
    for (int64_t k = 0; k < route->T * route->K; k++)
        if (route->pick_position[k] >= 0)
            route->weight[route->pick_position[k]] = route->pick_weight[k];
}

int router_pick(struct router *r, struct route *route, const float *logits,
                const struct route_batch *batch, struct err *err)
{
    assert(route->E == r->config.n_experts && route->K == r->config.n_picks);
    assert(route->T * route->E <= INT32_MAX);
    bool again = batch->mode == ROUTE_RECOMPUTE, train = batch->mode == ROUTE_TRAIN;
    bool token_choice = r->config.pick != PICK_EXPERT_CHOICE;
    count_valid(route, batch);
    if (train && incentive_wants_margins(r->incentive)) {
        int rc = margins_reserve(r, route->n_valid, err);
        if (rc)
            return rc;
    }
    if (!again)
        bias_now(r, route->bias, batch->mode);
    int bad = 0;
#pragma omp parallel for schedule(static)                                                          \
    reduction(|                                                                                    \
              : bad) if (route->T * route->E >= ROUTE_PARALLEL)
    for (int64_t b = 0; b < route_blocks(route->T); b++) {
        if (!score_block(r, route, logits, batch, b))
            bad |= 1;
        else if (token_choice)
            pick_block(r, route, batch, b);
    }
    if (bad)
        return router_check_logits(r, route, logits, batch, err);
    if (again) {
        reweigh(r, route);
    } else if (token_choice) {
        dispatch(r, route, batch->mode);
    } else {
        expert_choice_pick(r, route, batch);
    }
    route->mode = batch->mode;
    if (train)
        count_step(r, route);
    return 0;
}

/* ---- the same, made where the logits are ---- */

bool router_picks_far(const struct router *r, enum route_mode mode)
{
    const struct router_config *c = &r->config;
    if ((c->pick != PICK_TOPK && c->pick != PICK_GROUP_TOPK) || c->combine != COMBINE_GATE ||
        mode == ROUTE_RECOMPUTE || (c->capacity_factor > 0 && mode != ROUTE_EVAL))
        return false;
    struct incentive_draw draw = incentive_draw(r->incentive);
    bool draws = draw.epsilon > 0 || draw.noise_std > 0;
    return mode != ROUTE_TRAIN || (!draws && !incentive_wants_margins(r->incentive));
}

bool router_wants_moments(const struct router *r, enum route_mode mode)
{
    return mode == ROUTE_TRAIN && incentive_has_bias(r->incentive);
}

void router_far_begin(struct router *r, struct route *route, const struct route_batch *batch)
{
    count_valid(route, batch);
    bias_now(r, route->bias, batch->mode);
}

void router_far_end(struct router *r, struct route *route, const int32_t *offset,
                    const double *moments, const struct route_batch *batch)
{
    for (int i = 0; i < route->E; i++) {
        route->expert_offsets[i] = offset[i];
        route->picks[i] = offset[i + 1] - offset[i];
    }
    route->expert_offsets[route->E] = route->n = offset[route->E];
    route->n_dropped = 0;
    route->mode = batch->mode;
    bool wanted = router_wants_moments(r, batch->mode);
    for (int64_t b = 0; b < 2 * route_blocks(route->T); b++)
        route->block_moments[b] = wanted ? moments[b] : 0;
    if (batch->mode == ROUTE_TRAIN)
        count_step(r, route);
}

/* ---- what was seen ---- */

enum performance_kind router_wants(const struct router *r, enum route_mode mode)
{
    bool seen = mode == ROUTE_TRAIN || (incentive_is_raw(r->incentive) && mode != ROUTE_RECOMPUTE);
    return seen ? incentive_performance(r->incentive) : PERFORMANCE_AUTO;
}

/* The raw variant's step: one forward, whatever it was for. */
static void raw_update(struct router *r, const struct route *route, const float *norm)
{
    int E = route->E;
    for (int i = 0; i < E; i++) {
        int64_t first = route->expert_offsets[i], end = route->expert_offsets[i + 1];
        double sum = 0;
        for (int64_t p = first; p < end; p++)
            sum += norm[p];
        r->work[i] = end > first ? (float)(sum / (double)(end - first)) : 0;
    }
    incentive_update(r->incentive, &(struct route_feedback){.items = route->picks,
                                                            .n_items = route->n_valid,
                                                            .n_picks = route->K,
                                                            .performance = r->work,
                                                            .elapsed = 1});
}

void router_feed_norms(struct router *r, const struct route *route, const float *norm)
{
    if (router_wants(r, route->mode) != PERFORMANCE_NORM)
        return;
    if (incentive_is_raw(r->incentive)) {
        raw_update(r, route, norm);
        return;
    }
    for (int i = 0; i < route->E; i++) {
        double sum = 0;
        int64_t first = route->expert_offsets[i], end = route->expert_offsets[i + 1];
        for (int64_t p = first; p < end; p++)
            sum += norm[p];
        r->sums.performance[i] += sum;
        r->sums.share[i] += (double)(end - first);
        r->sums.performed[i] += end - first;
    }
}

void router_feed_right(struct router *r, const struct route *route, const int8_t *right)
{
    bool training = route->mode == ROUTE_TRAIN || route->mode == ROUTE_RECOMPUTE;
    if (!training || incentive_performance(r->incentive) != PERFORMANCE_ACCURACY)
        return;
    for (int64_t p = 0; p < route->n; p++) {
        int8_t seen = right[route->token[p]];
        int i = route->expert[p];
        if (seen < 0)
            continue;
        r->sums.performance[i] += seen ? (double)route->weight[p] : 0;
        r->sums.share[i] += (double)route->weight[p];
        r->sums.performed[i]++;
    }
}

/* perf_i sums −w·∂L/∂w over the picks of i. */
void router_feed_loss(struct router *r, const struct route *route, const float *dweight,
                      float grad_scale)
{
    bool training = route->mode == ROUTE_TRAIN || route->mode == ROUTE_RECOMPUTE;
    if (!training || incentive_performance(r->incentive) != PERFORMANCE_LOSS)
        return;
#pragma omp parallel for schedule(static) if (route->T * route->E >= ROUTE_PARALLEL)
    for (int i = 0; i < route->E; i++) {
        double sum = 0;
        int64_t first = route->expert_offsets[i], end = route->expert_offsets[i + 1];
        for (int64_t p = first; p < end; p++)
            sum -= (double)route->weight[p] * dweight[p];
        r->sums.performance[i] += sum / grad_scale;
        r->sums.share[i] += (double)(end - first);
        r->sums.performed[i] += end - first;
    }
}

/* Expert choice: any number of picks a token, w = F·s, softmax scores. */
static void backward_chosen(const struct router *r, float *dlogits, const float *dweight,
                            const struct route *route, int64_t t)
{
    float factor = r->config.routed_scaling_factor, sum = 0;
    float *dx = dlogits + t * route->E;
    for (int64_t j = route->token_offsets[t]; j < route->token_offsets[t + 1]; j++) {
        int32_t p = route->position[j];
        float g = dweight[p] * route->scores[t * route->E + route->expert[p]] * factor;
        sum += g;
        dx[route->expert[p]] += g;
    }
    if (route->token_offsets[t] < route->token_offsets[t + 1])
        r->ops->scale_add(dx, route->scores + t * route->E, -sum, route->E);
}

void router_backward(struct router *r, float *dlogits, const float *dweight,
                     const struct route *route, float grad_scale)
{
    int64_t E = route->E, K = route->K;
    router_feed_loss(r, route, dweight, grad_scale);
    if (!dlogits)
        return;
#pragma omp parallel for schedule(static) if (route->T * route->E >= ROUTE_PARALLEL)
    for (int64_t t = 0; t < route->T; t++) {
        if (route->idx)
            route_row_backward(dlogits + t * E, dweight, route->idx + t * K,
                               route->pick_position + t * K, route->pick_weight + t * K,
                               route->scores + t * E, &r->config, r->ops);
        else
            backward_chosen(r, dlogits, dweight, route, t);
    }
}
