/* Layer norm, the plain reference.
 *
 * Shapes:      x, y [T,D] without gaps; w, b [D]
 * Definition:  y[t,d] = (x[t,d] − mean[t]) · rstd[t] · w[d] + b[d]
 *              mean[t] = mean_d x[t,d],   rstd[t] = 1 / sqrt(mean_d (x[t,d] − mean[t])² + eps)
 * Source:      Ba, Kiros & Hinton, arXiv 1607.06450; eps inside the root, as in torch.nn.LayerNorm
 * Sizes:       any T ≥ 0, D ≥ 1; y may be x. Sums run in index order in double.
 */
#include <math.h>

#include "kernels/cpu/cpu.h"

void ref_layernorm_forward(struct device *dev, float *y, const float *x, const float *w,
                           const float *b, int64_t T, int64_t D, float eps)
{
    (void)dev;
    for (int64_t t = 0; t < T; t++, x += D, y += D) {
        double mean = 0, squares = 0;
        for (int64_t d = 0; d < D; d++)
            mean += x[d];
        mean /= (double)D;
        for (int64_t d = 0; d < D; d++)
            squares += (x[d] - mean) * (x[d] - mean);
        double rstd = 1 / sqrt(squares / (double)D + eps);
        for (int64_t d = 0; d < D; d++)
            y[d] = (float)((x[d] - mean) * rstd * w[d] + b[d]);
    }
}
