/* Quantile balancing (kexue.fm/11619, Kimi K3): the bias that makes every expert's load fair is
 * read off the scores of the step instead of being walked to.
 *
 *     α_t  = the (K+1)-th largest of s_t + b              what an expert has to beat for token t
 *     m_ti = s_ti + b_i − α_t                             positive where i is chosen
 *     b_i <- b_i − rate · the (q+1)-th largest of m_·i    q = ⌊K·T/E⌋, a fair share of tokens
 *
 * then the mean of b is taken away. With the (q+1)-th margin moved to zero exactly q tokens of the
 * column stay above it, as long as the α_t do not move much. No step size has to be found; rate
 * is about 1. The feedback carries m of all T tokens of the step.
 */
#include "route/incentive.h"

#include <assert.h>
#include <string.h>

#include "route/rd_esi.h"
#include "route/row_ops.h"

enum { B };
static const struct incentive_array arrays[] = {[B] = {"quantile.b", true}};

static int check(const struct incentive_config *config, int n_experts, struct err *err)
{
    (void)n_experts;
    if (config->quantile_rate > 0 && config->quantile_rate <= 2)
        return 0;
    return err_set(err, MOE2_ECONFIG, "quantile: quantile_rate is %g, wanted above 0 and at most 2",
                   (double)config->quantile_rate);
}

static void bias(float *out, float *const *state, const struct incentive_config *config,
                 int n_experts, const struct incentive_now *now)
{
    (void)config, (void)now;
    memcpy(out, state[B], sizeof *out * (size_t)n_experts);
}

static void update(float **state, const struct incentive_config *config, int n_experts,
                   const struct route_feedback *feedback)
{
    assert(feedback->margins && feedback->n_picks < n_experts);
    const struct row_ops *ops = row_ops_best();
    int64_t T = feedback->n_items, q = feedback->n_picks * T / n_experts;
    float *b = state[B];
#pragma omp parallel for if (T * n_experts >= 16384)
    for (int i = 0; i < n_experts; i++) {
        const float *m = feedback->margins + i * feedback->margin_stride;
        b[i] -= config->quantile_rate * order_kth(ops, m, T, q + 1);
    }
    bias_recentre(b, n_experts);
}

const struct incentive_kind incentive_quantile = {
    "quantile", arrays, 1, check, NULL, bias, update,
};
