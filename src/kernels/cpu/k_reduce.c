/* One number out of many, the plain reference.
 *
 * Definition:  sum_squares = Σ x² in double;   find_nonfinite = the first index whose x is NaN or infinite, −1 if none
 */
#include <math.h>

#include "kernels/cpu/cpu.h"

double ref_sum_squares(struct device *dev, const float *x, int64_t n)
{
    (void)dev;
    double sum = 0;
    for (int64_t i = 0; i < n; i++)
        sum += (double)x[i] * x[i];
    return sum;
}

int64_t ref_find_nonfinite(struct device *dev, const float *x, int64_t n)
{
    (void)dev;
    for (int64_t i = 0; i < n; i++)
        if (!isfinite(x[i]))
            return i;
    return -1;
}

/* Of all tables: a call costs nothing here. */
void ref_sum_squares_list(struct device *dev, double *sums, const float *const *x, const int64_t *n,
                          int64_t n_tensors)
{
    for (int64_t i = 0; i < n_tensors; i++)
        sums[i] = dev->k->sum_squares(dev, x[i], n[i]);
}
