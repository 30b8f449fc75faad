/* Routing where the logits are: scores and picks, slots sorted by expert, and the way back; of all CPU tables, in one thread.
 *
 * Shapes:      struct route_args and struct route_lists_args (kernels.h)
 * Definition:  route_pick and route_backward are route/route_rows.h's. route_lists is a counting sort: slots in the order of experts,
 *              those of an expert in the order of tokens. Every table gives the same bits.
 * Sizes:       E up to ROUTE_FAR_EXPERTS, T = 0 is fine
 * A router on a CPU does all this itself, in threads and while it learns: these rows are for devices whose memory the host can't read,
 * and here to say what those compute.
 */
#include "kernels/cpu/cpu.h"

#include "route/route_rows.h"

static struct router_config rule_of(const struct route_args *a)
{
    return (struct router_config){
        .score = a->softmax ? SCORE_SOFTMAX : SCORE_SIGMOID,
        .combine = COMBINE_GATE,
        .group_score = a->group_max ? GROUP_SCORE_MAX : GROUP_SCORE_SUM2,
        .n_experts = (int)a->E,
        .n_picks = (int)a->K,
        .n_group = (int)a->n_group,
        .topk_group = (int)a->topk_group,
        .norm_topk_prob = a->normed,
        .routed_scaling_factor = a->factor,
    };
}

void ref_route_pick(struct device *dev, const struct route_args *a)
{
    struct router_config rule = rule_of(a);
    const struct row_ops *ops = row_ops_best();
    float *room = cpu_scratch(dev, 0);
    for (int64_t t = 0; t < a->T; t++)
        route_row(a->scores + t * a->E, a->idx + t * a->K, a->weight + t * a->K, room,
                  a->logits + t * a->E, a->bias, a->valid && !a->valid[t], &rule, ops);
    if (a->moments)
        route_rows_moments(a->moments, a->scores, a->T, a->E);
}

void ref_route_backward(struct device *dev, float *dlogits, const float *dweight,
                        const int32_t *position, const struct route_args *a)
{
    struct router_config rule = rule_of(a);
    const struct row_ops *ops = row_ops_best();
    (void)dev;
    for (int64_t t = 0; t < a->T; t++)
        route_row_backward(dlogits + t * a->E, dweight, a->idx + t * a->K, position + t * a->K,
                           a->weight + t * a->K, a->scores + t * a->E, &rule, ops);
}

/* offset[e] = slots of the experts before e, and in next[e] too; the rows of −2 counted. */
static void count(const struct route_lists_args *a, int32_t *next)
{
    int32_t n = 0, bad = 0;
    for (int64_t e = 0; e < a->E; e++)
        next[e] = 0;
    for (int64_t i = 0; i < a->T * a->K; i++) {
        if (a->idx[i] >= 0)
            next[a->idx[i]]++;
        bad += i % a->K == 0 && a->idx[i] == -2;
    }
    for (int64_t e = 0; e < a->E; e++) {
        int32_t own = next[e];
        a->offset[e] = next[e] = n;
        n += own;
    }
    a->offset[a->E] = n;
    if (a->shared)
        a->offset[a->E + 1] = n + (int32_t)a->T;
    a->offset[a->E + 1 + a->shared] = bad;
}

static void put(const struct route_lists_args *a, int32_t slot, int64_t t, float weight)
{
    a->token[slot] = (int32_t)t;
    a->slot_weight[slot] = weight;
}

void ref_route_lists(struct device *dev, const struct route_lists_args *a)
{
    int32_t *next = cpu_scratch(dev, 0), at = 0;
    count(a, next);
    for (int64_t t = 0; t < a->T; t++) {
        a->first[t] = at;
        for (int64_t i = t * a->K; i < (t + 1) * a->K; i++) {
            int32_t slot = a->position[i] = a->idx[i] < 0 ? -1 : next[a->idx[i]]++, j;
            if (slot < 0)
                continue;
            put(a, slot, t, a->weight[i]);
            for (j = at++; j > a->first[t] && a->slot[j - 1] > slot; j--)
                a->slot[j] = a->slot[j - 1];
            a->slot[j] = slot;
        }
        if (a->shared) {
            put(a, a->offset[a->E] + (int32_t)t, t, 1);
            a->slot[at++] = a->offset[a->E] + (int32_t)t;
        }
    }
    a->first[a->T] = at;
}
