/* A bias on every row, and its gradient; the plain reference.
 *
 * Shapes:      y, dy [T, N] with pitch ldy; b, db [N]
 * Definition:  y[t,n] += b[n]        db[n] += Σ_t dy[t,n], in the order of t
 */
#include "kernels/cpu/cpu.h"

void ref_bias_forward(struct device *dev, float *y, const float *b, int64_t T, int64_t N,
                      int64_t ldy)
{
    (void)dev;
    for (int64_t t = 0; t < T; t++)
        for (int64_t n = 0; n < N; n++)
            y[t * ldy + n] += b[n];
}

void ref_bias_backward(struct device *dev, float *db, const float *dy, int64_t T, int64_t N,
                       int64_t ldy)
{
    (void)dev;
    for (int64_t n = 0; n < N; n++) {
        double sum = 0;
        for (int64_t t = 0; t < T; t++)
            sum += dy[t * ldy + n];
        db[n] += (float)sum;
    }
}
