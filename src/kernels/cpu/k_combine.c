/* Bringing the slots of a token together again, the plain reference.
 *
 * Shapes:      y [T,D]; x [S,D]; weight [S] or NULL; first [T+1]; slot [S]
 * Definition:  y[t] += Σ_j weight[s] · x[s],   s = slot[j], j = first[t] … first[t+1]−1 in that order; no weight means 1
 */
#include "kernels/cpu/cpu.h"

void ref_combine(struct device *dev, float *y, const float *x, const float *weight,
                 const int32_t *first, const int32_t *slot, int64_t T, int64_t D)
{
    (void)dev;
    for (int64_t t = 0; t < T; t++)
        for (int64_t d = 0; d < D; d++) {
            double sum = y[t * D + d];
            for (int64_t j = first[t]; j < first[t + 1]; j++)
                sum += (weight ? (double)weight[slot[j]] : 1) * x[slot[j] * D + d];
            y[t * D + d] = (float)sum;
        }
}
