/* Scores: how well does expert i suit this item?
 *
 *     sigmoid   s_i = 1 / (1 + e^−x_i)          DeepSeek-V3: every expert for itself
 *     softmax   s_i = e^x_i / Σ_j e^x_j         Mixtral, Qwen-MoE, DeepSeek-V2: a share of one
 *
 * In float32 always, whatever the model computes in.
 */
#include "route/router_parts.h"

void score_rows(const struct row_ops *ops, float *s, const float *x, int64_t T, int E,
                enum score_kind kind)
{
    if (kind == SCORE_SIGMOID) {
        ops->sigmoid(s, x, T * E);
        return;
    }
    for (int64_t t = 0; t < T; t++)
        ops->softmax(s + t * E, x + t * E, E);
}

/* ds is zero but for the K picked experts.
 *     s = sigmoid(x)    dx_i += ds_i · s_i·(1 − s_i)
 *     s = softmax(x)    dx_i += s_i · (ds_i − Σ_j ds_j·s_j)
 */
void score_backward_picked(float *dx, const float *s, const int32_t *idx, const float *ds, int K,
                           int E, enum score_kind kind, const struct row_ops *ops)
{
    float sum = 0;
    for (int k = 0; k < K; k++) {
        float si = s[idx[k]];
        sum += ds[k] * si;
        dx[idx[k]] += ds[k] * si * (kind == SCORE_SIGMOID ? 1 - si : 1);
    }
    if (kind == SCORE_SOFTMAX)
        ops->scale_add(dx, s, -sum, E);
}
