/* Loss-free balancing (Wang et al., arXiv 2408.15664, Algorithm 1): the bias of an overloaded
 * expert falls by a fixed rate each step, that of an underloaded one rises by it.
 *
 *     b_i <- b_i + u · sign(1 − l_i)          with recentre, minus the mean of b (as torchtitan does)
 *
 * The sign makes the step independent of how far off the load is: it is an integrator with a
 * bang-bang input, so it finds balance without a residual, and then trembles by u.
 */
#include "route/incentive.h"

#include <string.h>

#include "route/rd_esi.h"

enum { B };
static const struct incentive_array arrays[] = {[B] = {"loss_free.b", true}};

static int check(const struct incentive_config *config, int n_experts, struct err *err)
{
    (void)n_experts;
    if (config->update_rate > 0 && config->update_rate <= 1)
        return 0;
    return err_set(err, MOE2_ECONFIG, "loss_free: update_rate is %g, wanted above 0 and at most 1",
                   (double)config->update_rate);
}

static void bias(float *out, float *const *state, const struct incentive_config *config,
                 int n_experts, const struct incentive_now *now)
{
    (void)config, (void)now;
    memcpy(out, state[B], sizeof *out * (size_t)n_experts);
}

void loss_free_move(float *b, const struct route_feedback *feedback, float rate, int n_experts)
{
    /* l_i < 1 is E·items_i < K·n_items: whole numbers, so that a fair share is seen as such. */
    int64_t fair = (int64_t)feedback->n_picks * feedback->n_items;
    for (int i = 0; i < n_experts; i++) {
        int64_t load = (int64_t)n_experts * feedback->items[i];
        b[i] += rate * (float)((load < fair) - (load > fair));
    }
}

void bias_recentre(float *b, int n_experts)
{
    double sum = 0;
    for (int i = 0; i < n_experts; i++)
        sum += b[i];
    float mean = (float)(sum / n_experts);
    for (int i = 0; i < n_experts; i++)
        b[i] -= mean;
}

static void update(float **state, const struct incentive_config *config, int n_experts,
                   const struct route_feedback *feedback)
{
    loss_free_move(state[B], feedback, config->update_rate, n_experts);
    if (config->recentre)
        bias_recentre(state[B], n_experts);
}

const struct incentive_kind incentive_loss_free = {
    "loss_free", arrays, 1, check, NULL, bias, update,
};
