/* A token's slots added to its row, in order: a warp or a block a token. */
#include "kernels/cuda/rows.h"

template <int W>
static __global__ void combine(float *y, const float *x, const float *weight, const int32_t *first,
                               const int32_t *slot, int64_t T, int64_t D)
{
    int64_t t = my_row();
    if (t >= T || first[t] == first[t + 1])
        return;
    int32_t begin = first[t], end = first[t + 1];
    for (int64_t d = threadIdx.x * W; d < D; d += blockDim.x * W) {
        float sum[W], v[W];
        load<W>(sum, y + t * D + d);
#pragma unroll 4
        for (int32_t j = begin; j < end; j++) {
            int64_t s = slot[j];
            float w = weight ? weight[s] : 1;
            load<W>(v, x + s * D + d);
            for (int i = 0; i < W; i++)
                sum[i] += w * v[i];
        }
        store<W>(y + t * D + d, sum);
    }
}

void cuda_combine(struct device *dev, float *y, const float *x, const float *weight,
                  const int32_t *first, const int32_t *slot, int64_t T, int64_t D)
{
    bool wide = is_wide(y) && is_wide(x) && D % 4 == 0;
    LAUNCH_ROWS(dev, wide, combine, T, D, y, x, weight, first, slot, T, D);
}
