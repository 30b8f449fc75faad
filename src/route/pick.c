/* Picks: who works?
 *
 *     topk         the K largest of c = s + bias
 *     group_topk   DeepSeek-V3: experts lie in n_group groups of neighbours; a group scores the sum
 *                  of its two largest c (V2: its largest; a group of one its one value); outside
 *                  the topk_group best groups c becomes −infinity, then as topk
 *     random       K experts, every set equally likely, seeded by (seed, step, layer, token)
 *
 * Ties go to the lower index. expert_choice, where experts pick tokens, is a file of its own.
 */
#include "route/router_parts.h"

#include <math.h>
#include <string.h>

#include "route/rd_esi.h"

static float group_value(const float *c, int n, enum group_score kind)
{
    float first = -INFINITY, second = -INFINITY;
    for (int i = 0; i < n; i++) {
        second = c[i] > first ? first : c[i] > second ? c[i] : second;
        first = c[i] > first ? c[i] : first;
    }
    return kind == GROUP_SCORE_MAX || n == 1 ? first : first + second;
}

/* Whether group g is among the topk_group best: fewer than that many go before it. */
static bool group_chosen(const float *value, int g, int n_group, int topk_group)
{
    int before = 0;
    for (int h = 0; h < n_group; h++)
        before += value[h] > value[g] || (value[h] == value[g] && h < g);
    return before < topk_group;
}

static void mask_groups(float *c, const struct router_config *config)
{
    float value[ROUTE_GROUPS_MAX];
    int n = config->n_experts / config->n_group;
    for (int g = 0; g < config->n_group; g++)
        value[g] = group_value(c + g * n, n, config->group_score);
    for (int g = 0; g < config->n_group; g++)
        if (!group_chosen(value, g, config->n_group, config->topk_group))
            for (int i = 0; i < n; i++)
                c[g * n + i] = -INFINITY;
}

void pick_best(int32_t *idx, float *c, const struct router_config *config, int K,
               const struct row_ops *ops)
{
    if (config->pick == PICK_GROUP_TOPK)
        mask_groups(c, config);
    ops->topk(idx, c, config->n_experts, K);
}

/* c = s + bias, and in training the noise that belongs to this token. */
static void selection_row(float *c, const struct router *r, const struct route *route,
                          const struct route_batch *batch, float noise_std, int64_t t)
{
    r->ops->add(c, route->scores + t * route->E, route->bias, route->E);
    if (noise_std > 0) {
        struct rng rng;
        explore_stream(&rng, STREAM_NOISE, r->config.seed, batch->step, r->layer,
                       batch->first_token + t);
        explore_noise(c, &rng, route->E, noise_std);
    }
}

/* Picks K random experts where this token is one that takes them. */
static bool pick_random(int32_t *idx, const struct router *r, const struct route_batch *batch,
                        float epsilon, int64_t t)
{
    bool floor = r->config.pick == PICK_RANDOM;
    if (!floor && epsilon <= 0)
        return false;
    bool eval = batch->mode == ROUTE_EVAL || batch->mode == ROUTE_EVAL_LOOKAHEAD;
    struct rng rng;
    explore_stream(&rng, floor ? STREAM_RANDOM : STREAM_EPSILON, r->config.seed,
                   eval ? 0 : batch->step, r->layer, batch->first_token + t);
    if (!floor && rng_uniform(&rng) >= epsilon)
        return false;
    explore_random_experts(idx, &rng, r->config.n_experts, r->config.n_picks);
    return true;
}

/* Place of block b's first token among the margins of the step: m_ti = c_ti − the (K+1)-th best. */
static void keep_margins(struct router *r, const float *c, float *work, int64_t place)
{
    int E = r->config.n_experts, K = r->config.n_picks;
    int32_t best[ROUTE_PICKS_MAX + 1];
    memcpy(work, c, sizeof *c * (size_t)E);
    r->ops->topk(best, work, E, K + 1);
    float alpha = c[best[K]];
    for (int i = 0; i < E; i++)
        r->margins[i * r->margin_stride + place] = c[i] - alpha;
}

void pick_block(struct router *r, struct route *route, const struct route_batch *batch, int64_t b)
{
    int E = route->E, K = route->K;
    bool again = batch->mode == ROUTE_RECOMPUTE, train = batch->mode == ROUTE_TRAIN;
    bool selection = r->config.combine == COMBINE_SELECTION;
    bool margins = train && incentive_wants_margins(r->incentive);
    struct incentive_draw draw = {0};
    if (train || again)
        draw = incentive_draw(r->incentive);
    float *c = route->block_rows + 2 * b * E, *work = c + E;
    int64_t *picks = route->block_picks + b * E, end = (b + 1) * ROUTE_BLOCK;
    int64_t place = r->n_margins + route->block_valid[b];
    if (!again)
        memset(picks, 0, sizeof *picks * (size_t)E);
    for (int64_t t = b * ROUTE_BLOCK; t < end && t < route->T; t++) {
        int32_t *idx = route->idx + t * K;
        if (!token_valid(batch, t)) {
            for (int k = 0; k < K && !again; k++) {
                idx[k] = route->pick_position[t * K + k] = -1;
                route->pick_weight[t * K + k] = 0;
            }
            continue;
        }
        if (!again || selection)
            selection_row(c, r, route, batch, draw.noise_std, t);
        if (margins)
            keep_margins(r, c, work, place++);
        if (!again && !pick_random(idx, r, batch, draw.epsilon, t)) {
            memcpy(work, c, sizeof *c * (size_t)E);
            pick_best(idx, work, &r->config, K, r->ops);
        }
        for (int k = 0; k < K && !again; k++) {
            route->pick_position[t * K + k] = 0;
            picks[idx[k]]++;
        }
        combine_forward(route->pick_weight + t * K, idx, route->scores + t * E, c, &r->config,
                        r->ops);
    }
}
