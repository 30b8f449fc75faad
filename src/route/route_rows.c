/* Routing without a state: see route_rows.h. Every step is the router's own. */
#include "route/route_rows.h"

#include <string.h>

#include "route/router_parts.h"

static void nobody(float *scores, int32_t *idx, float *weight, int32_t why,
                   const struct router_config *rule)
{
    memset(scores, 0, sizeof *scores * (size_t)rule->n_experts);
    for (int k = 0; k < rule->n_picks; k++) {
        idx[k] = why;
        weight[k] = 0;
    }
}

void route_row(float *scores, int32_t *idx, float *weight, float *room, const float *logits,
               const float *bias, bool padding, const struct router_config *rule,
               const struct row_ops *ops)
{
    int E = rule->n_experts;
    if (padding || !ops->finite(logits, E)) {
        nobody(scores, idx, weight, padding ? -1 : -2, rule);
        return;
    }
    score_rows(ops, scores, logits, 1, E, rule->score);
    ops->add(room, scores, bias, E);
    if (rule->n_group > 1)
        mask_groups(room, rule);
    ops->topk(idx, room, 1, E, rule->n_picks);
    combine_forward(weight, idx, scores, room, rule, ops);
}

void route_rows_moments(double *moments, const float *scores, int64_t T, int64_t E)
{
    const struct row_ops *ops = row_ops_best();
    for (int64_t b = 0; b < route_blocks(T); b++) {
        int64_t first = b * ROUTE_BLOCK, rows = T - first < ROUTE_BLOCK ? T - first : ROUTE_BLOCK;
        moments[2 * b] = moments[2 * b + 1] = 0;
        ops->moments(moments + 2 * b, scores + first * E, rows * E);
    }
}

void route_row_backward(float *dx, const float *dweight, const int32_t *idx,
                        const int32_t *position, const float *weight, const float *scores,
                        const struct router_config *rule, const struct row_ops *ops)
{
    int K = rule->n_picks;
    float dw[ROUTE_PICKS_MAX], ds[ROUTE_PICKS_MAX];
    if (idx[0] < 0)
        return;
    for (int k = 0; k < K; k++)
        dw[k] = position[k] < 0 ? 0 : dweight[position[k]];
    combine_backward(ds, dw, weight, idx, scores, rule);
    score_backward_picked(dx, scores, idx, ds, K, rule->n_experts, rule->score, ops);
}
