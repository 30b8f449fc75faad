/* The inner layer of a gate: a bias and what is above 0, and its gradient; the plain reference and the CPU's only one, since gates are
 * small.
 *
 * Shapes:      y, dy [T, N] without gaps; b, db [N]
 * Definition:  y[t,n] = max(y[t,n] + b[n], 0)        dy[t,n] = 0 where y[t,n] is 0, db[n] = Σ_t dy[t,n] in the order of t
 */
#include <string.h>

#include "kernels/cpu/cpu.h"

void ref_relu_forward(struct device *dev, float *y, const float *b, int64_t T, int64_t N)
{
    (void)dev;
    for (int64_t t = 0; t < T; t++)
        for (int64_t n = 0; n < N; n++) {
            float v = y[t * N + n] + b[n];
            y[t * N + n] = v > 0 ? v : 0;
        }
}

void ref_relu_backward(struct device *dev, float *dy, float *db, const float *y, int64_t T,
                       int64_t N)
{
    (void)dev;
    memset(db, 0, (size_t)N * sizeof *db);
    for (int64_t t = 0; t < T; t++)
        for (int64_t n = 0; n < N; n++) {
            float v = y[t * N + n] > 0 ? dy[t * N + n] : 0;
            dy[t * N + n] = v;
            db[n] += v;
        }
}
