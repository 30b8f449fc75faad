/* Routing without a state: scores, picks and weights of rows of logits, and the way back, by a rule
 * and a bias alone.
 *
 * This is what a router does where nothing is drawn, dropped or remembered, by the same loops and to
 * the same bits. It is the definition of the kernels route_pick and route_backward
 * (kernels/kernels.h), which a device runs where its logits are; router_picks_far says when a router
 * may leave its picks to them.
 *
 * Of the rule score, n_experts, n_picks, n_group, topk_group, group_score, norm_topk_prob and
 * routed_scaling_factor count; weights are those of `combine: gate`.
 */
#ifndef MOE2_ROUTE_ROUTE_ROWS_H
#define MOE2_ROUTE_ROUTE_ROWS_H

#include "route/router.h"
#include "route/row_ops.h"

/* scores [E], idx and weight [K] of one token's logits [E]; bias [E] is added for selection, room is
 * for E floats; ops is row_ops_best(). Padding has idx −1, a row with a logit that is no finite number −2, both zeros else. */
void route_row(float *scores, int32_t *idx, float *weight, float *room, const float *logits,
               const float *bias, bool padding, const struct router_config *rule,
               const struct row_ops *ops);

/* Σ s and Σ s² of each 64 rows of scores [T, E] into moments [ceil(T / 64), 2]. */
void route_rows_moments(double *moments, const float *scores, int64_t T, int64_t E);

/* Adds into dx [E], the gradient of a token's logits, what comes through its K weights; position[k]
 * is the place of pick k in dweight, −1: that pick was dropped. Nothing where idx[0] is negative. */
void route_row_backward(float *dx, const float *dweight, const int32_t *idx,
                        const int32_t *position, const float *weight, const float *scores,
                        const struct router_config *rule, const struct row_ops *ops);

#endif
