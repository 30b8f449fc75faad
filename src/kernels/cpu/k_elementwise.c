/* Element by element, the plain reference.
 *
 * Definition:  axpy y += a·x;   fill y = value;   copy y = x;   copy_rows: the same for n columns of T rows;   to_bf16 y = x rounded to nearest, ties to even;
 *              row_norm norm[s] = sqrt(Σ_d x[s,d]²)
 */
#include <math.h>
#include <string.h>

#include "kernels/cpu/cpu.h"

void ref_axpy(struct device *dev, float *y, const float *x, float a, int64_t n)
{
    (void)dev;
    for (int64_t i = 0; i < n; i++)
        y[i] = (float)(y[i] + (double)a * x[i]);
}

void ref_fill(struct device *dev, float *y, float value, int64_t n)
{
    (void)dev;
    for (int64_t i = 0; i < n; i++)
        y[i] = value;
}

void ref_copy(struct device *dev, float *y, const float *x, int64_t n)
{
    (void)dev;
    for (int64_t i = 0; i < n; i++)
        y[i] = x[i];
}

void ref_copy_rows(struct device *dev, float *to, int64_t ldto, const float *from, int64_t ldfrom,
                   int64_t T, int64_t n)
{
    (void)dev;
    for (int64_t t = 0; t < T; t++)
        memcpy(to + t * ldto, from + t * ldfrom, (size_t)n * sizeof *to);
}

void ref_to_bf16(struct device *dev, uint16_t *y, const float *x, int64_t n)
{
    (void)dev;
    for (int64_t i = 0; i < n; i++)
        y[i] = f32_to_bf16(x[i]);
}

void ref_row_norm(struct device *dev, float *norm, const float *x, int64_t S, int64_t D)
{
    (void)dev;
    for (int64_t s = 0; s < S; s++) {
        double sum = 0;
        for (int64_t d = 0; d < D; d++)
            sum += (double)x[s * D + d] * x[s * D + d];
        norm[s] = (float)sqrt(sum);
    }
}
