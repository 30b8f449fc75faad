/* Load: how much work an expert has had, against its fair share.
 *
 *     ema        L_i <- a·(l_i − 1) + (1 − a)·L_i        smoothed over steps
 *     capacity   L_i <- n_i / C_i,  C_i = ⌈cf·K·T/E⌉     of the last step alone, before dropping
 *     queue      nothing kept: L_i is what earlier micro-batches of this step (or the requests in
 *                flight of a fleet) have queued, and comes with the moment (struct incentive_now)
 */
#include "route/rd_esi.h"

void load_update(float *L, const struct incentive_config *config, int n_experts,
                 const struct route_feedback *feedback)
{
    float a = config->load_ema_alpha;
    int64_t capacity = route_capacity(config->load_capacity_factor, feedback->n_picks,
                                      feedback->n_items, n_experts);
    for (int i = 0; i < n_experts; i++) {
        if (config->load == LOAD_EMA)
            L[i] = a * (float)(load_share(feedback, n_experts, i) - 1) + (1 - a) * L[i];
        else if (config->load == LOAD_CAPACITY)
            L[i] = (float)((double)feedback->items[i] / (double)capacity);
    }
}
