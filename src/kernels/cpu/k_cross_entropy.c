/* Cross-entropy and its gradient in place, the plain reference.
 *
 * Shapes:      logits [T,V] pitch ldl; target [T] in 0 … V−1, or −1: no target; nll [T]; right [T] or NULL
 * Definition:  nll[t] = log Σ_v exp(logit[v]) − logit[target]
 *              right[t] = 1 if target is the first index of the largest logit
 *              logits[t,v] ← scale · (exp(logit[v]) / Σ − 1[v = target]), unless scale is 0
 *              no target: nll 0, right 0, the row 0 (unless scale is 0)
 * A NaN among a row's logits makes its nll NaN.
 */
#include <math.h>

#include "kernels/cpu/cpu.h"

static void row(float *nll, uint8_t *right, float *x, int32_t target, int64_t V, float scale)
{
    int64_t best = 0;
    double sum = 0;
    for (int64_t v = 1; v < V; v++)
        if (x[v] > x[best])
            best = v;
    double max = x[best];
    for (int64_t v = 0; v < V; v++)
        sum += exp(x[v] - max);
    *nll = (float)(log(sum) + max - x[target]);
    *right = best == target;
    if (scale == 0)
        return;
    for (int64_t v = 0; v < V; v++)
        x[v] = (float)(scale * (exp(x[v] - max) / sum - (v == target)));
}

void ref_cross_entropy(struct device *dev, float *nll, uint8_t *right, float *logits,
                       const int32_t *target, int64_t T, int64_t V, int64_t ldl, float scale)
{
    (void)dev;
    for (int64_t t = 0; t < T; t++) {
        uint8_t is_right = 0;
        nll[t] = 0;
        if (target[t] >= 0)
            row(&nll[t], &is_right, logits + t * ldl, target[t], V, scale);
        else
            for (int64_t v = 0; v < V && scale != 0; v++)
                logits[t * ldl + v] = 0;
        if (right)
            right[t] = is_right;
    }
}
