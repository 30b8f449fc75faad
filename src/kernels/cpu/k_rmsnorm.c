/* RMSNorm, the plain reference.
 *
 * Shapes:      x [T,D] pitch ldx; y [T,D] pitch ldy; w [D]; rstd [T]
 * Definition:  y[t,d] = x[t,d] · rstd[t] · w[d],   rstd[t] = 1 / sqrt(mean_d x[t,d]² + eps)
 * Source:      Zhang & Sennrich, arXiv 1910.07467; order of rounding as in the public Llama and DeepSeek models, which
 *              normalise in float32 and multiply by w last.
 * Sizes:       any T ≥ 0, D ≥ 1. Sums run in index order in double.
 */
#include <math.h>

#include "kernels/cpu/cpu.h"

void ref_rmsnorm_forward(struct device *dev, float *y, float *rstd, const float *x, const float *w,
                         int64_t T, int64_t D, int64_t ldy, int64_t ldx, float eps)
{
    (void)dev;
    for (int64_t t = 0; t < T; t++) {
        const float *xt = x + t * ldx;
        double sum = 0;
        for (int64_t d = 0; d < D; d++)
            sum += (double)xt[d] * xt[d];
        rstd[t] = (float)(1 / sqrt(sum / (double)D + eps));
        for (int64_t d = 0; d < D; d++)
            y[t * ldy + d] = xt[d] * rstd[t] * w[d];
    }
}

/* Adds into dx [T,D] and dw [D] (dw NULL: frozen). With n = x·rstd and g = dy·w:
 *     y = n·w                    dw[d]   += Σ_t dy[t,d] · n[t,d]
 *     rstd depends on all of x   dx[t,d] += rstd[t] · (g[t,d] − n[t,d] · mean_d(g·n))
 */
void ref_rmsnorm_backward(struct device *dev, float *dx, float *dw, const float *dy, const float *x,
                          const float *w, const float *rstd, int64_t T, int64_t D, int64_t ldy,
                          int64_t ldx)
{
    (void)dev;
    for (int64_t t = 0; t < T; t++) {
        const float *xt = x + t * ldx, *dyt = dy + t * ldy;
        double mean = 0;
        for (int64_t d = 0; d < D; d++)
            mean += (double)dyt[d] * w[d] * xt[d] * rstd[t];
        mean /= (double)D;
        for (int64_t d = 0; d < D; d++) {
            double n = (double)xt[d] * rstd[t];
            dx[t * ldx + d] += (float)(rstd[t] * ((double)dyt[d] * w[d] - n * mean));
        }
    }
    for (int64_t d = 0; dw && d < D; d++) {
        double sum = 0;
        for (int64_t t = 0; t < T; t++)
            sum += (double)dy[t * ldy + d] * x[t * ldx + d] * rstd[t];
        dw[d] += (float)sum;
    }
}
