/* copy_rows: columns of rows from one pitch to another, a warp or a block a row. */
#include "kernels/cuda/rows.h"

template <int W>
static __global__ void copy_rows(float *to, int64_t ldto, const float *from, int64_t ldfrom,
                                 int64_t T, int64_t n)
{
    int64_t t = my_row();
    if (t >= T)
        return;
    float v[W];
    for (int64_t j = threadIdx.x * W; j < n; j += blockDim.x * W) {
        load<W>(v, from + t * ldfrom + j);
        store<W>(to + t * ldto + j, v);
    }
}

void cuda_copy_rows(struct device *dev, float *to, int64_t ldto, const float *from, int64_t ldfrom,
                    int64_t T, int64_t n)
{
    bool wide = is_wide(to) && is_wide(from) && (ldto | ldfrom | n) % 4 == 0;
    if (n)
        LAUNCH_ROWS(dev, wide, copy_rows, T, n, to, ldto, from, ldfrom, T, n);
}
