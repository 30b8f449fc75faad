/* Combine: how much the output of a chosen expert counts.
 *
 *     gate        w_k = F·s_k, or F·s_k / (Σ_j s_j + 1e-20) with norm_topk_prob: the scores without
 *                 any bias, so that an incentive chooses but never weighs
 *     selection   w_k = F·softmax_k(c), c = s + bias of the chosen: RD-ESI as first written down
 *
 * F is routed_scaling_factor. The choice itself is a constant for the gradient.
 */
#include "route/router_parts.h"

#include <assert.h>

void combine_forward(float *w, const int32_t *idx, const float *s, const float *c,
                     const struct router_config *config, const struct row_ops *ops)
{
    int K = config->n_picks;
    float factor = config->routed_scaling_factor;
    assert(K >= 1);
    if (config->combine == COMBINE_SELECTION) {
        float chosen[ROUTE_PICKS_MAX];
        for (int k = 0; k < K; k++)
            chosen[k] = c[idx[k]];
        ops->softmax(w, chosen, K);
        for (int k = 0; k < K; k++)
            w[k] *= factor;
        return;
    }
    float sum = 0;
    for (int k = 0; k < K; k++)
        sum += w[k] = s[idx[k]];
    if (config->norm_topk_prob)
        factor /= sum + 1e-20f;
    for (int k = 0; k < K; k++)
        w[k] *= factor;
}

/* Writes ds.
 *     w_k = F·s_k                    ds_k = F·dw_k
 *     w_k = F·s_k / S                ds_k = (F/S)·(dw_k − Σ_j (s_j/S)·dw_j)
 *     w_k = F·p_k, p = softmax(c)    ds_k = w_k·(dw_k − Σ_j p_j·dw_j), as dc = ds
 */
void combine_backward(float *ds, const float *dw, const float *w, const int32_t *idx,
                      const float *s, const struct router_config *config)
{
    int K = config->n_picks;
    float factor = config->routed_scaling_factor, mean = 0, sum = 0;
    bool selection = config->combine == COMBINE_SELECTION;
    if (!selection && !config->norm_topk_prob) {
        for (int k = 0; k < K; k++)
            ds[k] = factor * dw[k];
        return;
    }
    for (int k = 0; k < K; k++) {
        mean += w[k] / factor * dw[k];
        sum += s[idx[k]];
    }
    for (int k = 0; k < K; k++)
        ds[k] = (selection ? w[k] : factor / (sum + 1e-20f)) * (dw[k] - mean);
}
