/* What the files of the router share; for this folder only. */
#ifndef MOE2_ROUTE_ROUTER_PARTS_H
#define MOE2_ROUTE_ROUTER_PARTS_H

#include "route/router.h"
#include "route/row_ops.h"

struct router {
    struct router_config config;
    const struct row_ops *ops;
    struct incentive *incentive;
    int layer;
    struct route_sums sums;
    float *native;  /* [E] DeepSeek-V3's b */
    float *work;    /* [E] */
    float bias_max; /* largest |bias| of the incentive in this step */
    /* quantile: margins of the step so far */
    float *margins; /* [E, margin_stride] */
    int64_t n_margins, margin_stride;
    /* expert_choice: threshold [E], whether there is one, and what this step showed */
    float *threshold;
    float threshold_seen;
    double *threshold_sum;
    int64_t n_forwards;
    float version; /* of the state */
};

enum { ROUTE_PARALLEL = 16384 }; /* T·E from which threads pay */

static inline int64_t route_blocks(int64_t T)
{
    return (T + ROUTE_BLOCK - 1) / ROUTE_BLOCK;
}

static inline bool token_valid(const struct route_batch *batch, int64_t t)
{
    return !batch->valid || batch->valid[t];
}

/* score.c: scores of T rows, and the way back from the K picked ones: dx [E] += J^T ds. */
void score_rows(const struct row_ops *ops, float *s, const float *x, int64_t T, int E,
                enum score_kind kind);
void score_backward_picked(float *dx, const float *s, const int32_t *idx, const float *ds, int K,
                           int E, enum score_kind kind, const struct row_ops *ops);

/* pick.c: c becomes −infinity outside the best groups; the picks and weights of block b of token
 * choice, whose scores are there already. */
void mask_groups(float *c, const struct router_config *config);
void pick_block(struct router *r, struct route *route, const struct route_batch *batch, int64_t b);

/* combine.c: weights of one token's picks from its scores, and the way back into ds [K]. c [E] are
 * the selection scores (combine: selection). */
void combine_forward(float *w, const int32_t *idx, const float *s, const float *c,
                     const struct router_config *config, const struct row_ops *ops);
void combine_backward(float *ds, const float *dw, const float *w, const int32_t *idx,
                      const float *s, const struct router_config *config);

/* dispatch.c: idx and pick_position → the lists by expert and by token. */
void dispatch_build(struct route *route);

/* capacity.c: drops the lowest scores of experts with more than C picks and builds anew. */
void capacity_drop(struct route *route, int64_t C, const struct row_ops *ops);

/* expert_choice.c */
void expert_choice_pick(struct router *r, struct route *route, const struct route_batch *batch);
void expert_choice_weights(struct route *route, const struct router_config *config);
void expert_choice_step(struct router *r);

#endif
