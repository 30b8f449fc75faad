/* Layer norm, a warp or a block a row: the mean, the squares around it, the result; three walks, two of them in the cache. */
#include "kernels/cuda/rows.h"

/* y may be x: a thread writes only what it alone reads. */
template <int W>
static __global__ void layernorm(float *y, const float *x, const float *w, const float *b,
                                 int64_t T, int64_t D, float eps)
{
    __shared__ float part[ALL_WARP];
    int64_t t = my_row();
    if (t >= T)
        return;
    x += t * D;
    y += t * D;
    float sum = 0, squares = 0, v[W], ws[W], bs[W];
    for (int64_t d = threadIdx.x * W; d < D; d += blockDim.x * W) {
        load<W>(v, x + d);
        for (int i = 0; i < W; i++)
            sum += v[i];
    }
    float mean = row_sum(sum, part) / (float)D;
    for (int64_t d = threadIdx.x * W; d < D; d += blockDim.x * W) {
        load<W>(v, x + d);
        for (int i = 0; i < W; i++)
            squares += (v[i] - mean) * (v[i] - mean);
    }
    float rstd = 1 / sqrtf(row_sum(squares, part) / (float)D + eps);
    for (int64_t d = threadIdx.x * W; d < D; d += blockDim.x * W) {
        load<W>(v, x + d);
        load<W>(ws, w + d);
        load<W>(bs, b + d);
        for (int i = 0; i < W; i++)
            v[i] = (v[i] - mean) * rstd * ws[i] + bs[i];
        store<W>(y + d, v);
    }
}

void cuda_layernorm_forward(struct device *dev, float *y, const float *x, const float *w,
                            const float *b, int64_t T, int64_t D, float eps)
{
    bool wide = is_wide(y) && is_wide(x) && is_wide(w) && is_wide(b) && D % 4 == 0;
    LAUNCH_ROWS(dev, wide, layernorm, T, D, y, x, w, b, T, D, eps);
}
