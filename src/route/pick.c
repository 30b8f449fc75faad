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

/* The values of all groups. The groups are gone through side by side and without branches: the two
 * largest so far are a chain of dependent steps, and chains of several groups overlap. */
static void group_values(float *value, const float *c, int n_group, int n, enum group_score kind)
{
    float first[ROUTE_GROUPS_MAX], second[ROUTE_GROUPS_MAX];
    for (int g = 0; g < n_group; g++)
        first[g] = second[g] = -INFINITY;
    for (int i = 0; i < n; i++)
        for (int g = 0; g < n_group; g++) {
            float x = c[g * n + i], less = x < first[g] ? x : first[g];
            first[g] = x > first[g] ? x : first[g];
            second[g] = less > second[g] ? less : second[g];
        }
    for (int g = 0; g < n_group; g++)
        value[g] = kind == GROUP_SCORE_MAX || n == 1 ? first[g] : first[g] + second[g];
}

/* Whether group g is among the topk_group best: fewer than that many go before it. */
static bool group_chosen(const float *value, int g, int n_group, int topk_group)
{
    int before = 0;
    for (int h = 0; h < n_group; h++)
        before += value[h] > value[g] || (h < g && value[h] == value[g]);
    return before < topk_group;
}

void mask_groups(float *c, const struct router_config *config)
{
    float value[ROUTE_GROUPS_MAX];
    int n = config->n_experts / config->n_group;
    group_values(value, c, config->n_group, n, config->group_score);
    for (int g = 0; g < config->n_group; g++)
        if (!group_chosen(value, g, config->n_group, config->topk_group))
            for (int i = 0; i < n; i++)
                c[g * n + i] = -INFINITY;
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

/* Margins of one token for quantile, m_i = c_i − alpha, at its place among those of the step. */
static void keep_margins(struct router *r, const float *c, float alpha, int64_t place)
{
    for (int i = 0; i < r->config.n_experts; i++)
        r->margins[i * r->margin_stride + place] = c[i] - alpha;
}

/* What is the same for all tokens of a forward. */
struct pass {
    const struct route_batch *batch;
    struct incentive_draw draw;
    int n_best; /* K, or K + 1 where margins are kept */
    bool again, margins, selection;
};

/* The selection scores of `rows` tokens from first on, and their best experts. */
static void select_tile(float *c, int32_t *best, const struct router *r, const struct route *route,
                        const struct pass *pass, int64_t first, int rows)
{
    int E = route->E;
    for (int j = 0; j < rows; j++) {
        float *row = c + (int64_t)j * E;
        selection_row(row, r, route, pass->batch, pass->draw.noise_std, first + j);
        if (r->config.pick == PICK_GROUP_TOPK && !pass->again)
            mask_groups(row, &r->config);
    }
    if (!pass->again && r->config.pick != PICK_RANDOM)
        r->ops->topk(best, c, rows, E, pass->n_best);
}

static void pad_token(struct route *route, int64_t t)
{
    for (int64_t k = t * route->K; k < (t + 1) * route->K; k++) {
        route->idx[k] = route->pick_position[k] = -1;
        route->pick_weight[k] = 0;
    }
}

/* idx of token t: random ones, or the best ones; counted. */
static void settle(const struct router *r, struct route *route, const struct pass *pass,
                   const int32_t *best, int64_t *picks, int64_t t)
{
    int32_t *idx = route->idx + t * route->K;
    if (!pick_random(idx, r, pass->batch, pass->draw.epsilon, t))
        memcpy(idx, best, sizeof *idx * (size_t)route->K);
    for (int k = 0; k < route->K; k++) {
        route->pick_position[t * route->K + k] = 0;
        picks[idx[k]]++;
    }
}

/* Weights of token t; where groups were masked its selection scores are made once more, because an
 * explored expert may lie in a group that was not chosen. */
static void weigh(float *c, const struct router *r, struct route *route, const struct pass *pass,
                  int64_t t)
{
    if (pass->selection && r->config.pick == PICK_GROUP_TOPK && !pass->again)
        selection_row(c, r, route, pass->batch, pass->draw.noise_std, t);
    combine_forward(route->pick_weight + t * route->K, route->idx + t * route->K,
                    route->scores + t * route->E, c, &r->config, r->ops);
}

void pick_block(struct router *r, struct route *route, const struct route_batch *batch, int64_t b)
{
    enum { ROWS = ROUTE_LANES };
    int E = route->E, K = route->K;
    bool train = batch->mode == ROUTE_TRAIN;
    struct pass pass = {.batch = batch,
                        .again = batch->mode == ROUTE_RECOMPUTE,
                        .margins = train && incentive_wants_margins(r->incentive),
                        .selection = r->config.combine == COMBINE_SELECTION};
    pass.n_best = K + pass.margins;
    if (train || pass.again)
        pass.draw = incentive_draw(r->incentive);
    float *c = route->block_rows + b * ROWS * E;
    int32_t best[ROWS * ROUTE_TOPK_MAX];
    int64_t *picks = route->block_picks + b * E, place = r->n_margins + route->block_valid[b];
    int64_t end = (b + 1) * ROUTE_BLOCK < route->T ? (b + 1) * ROUTE_BLOCK : route->T;
    if (!pass.again)
        memset(picks, 0, sizeof *picks * (size_t)E);
    for (int64_t first = b * ROUTE_BLOCK; first < end; first += ROWS) {
        int rows = end - first < ROWS ? (int)(end - first) : ROWS;
        if (!pass.again || pass.selection)
            select_tile(c, best, r, route, &pass, first, rows);
        for (int j = 0; j < rows; j++) {
            const int32_t *own = best + j * pass.n_best;
            if (!token_valid(batch, first + j)) {
                pad_token(route, first + j);
                continue;
            }
            if (pass.margins)
                keep_margins(r, c + (int64_t)j * E, c[(int64_t)j * E + own[K]], place++);
            if (!pass.again)
                settle(r, route, &pass, own, picks, first + j);
            weigh(c + (int64_t)j * E, r, route, &pass, first + j);
        }
    }
}
