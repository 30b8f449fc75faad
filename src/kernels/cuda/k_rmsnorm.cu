/* RMSNorm and its gradient: a warp or a block a row, which is read twice, the second time from the cache; the weight's gradient by
 * columns.cu. Sums are float32, by threads and then over the row's threads in a fixed order.
 */
#include "kernels/cuda/rows.h"

template <int W>
static __global__ void rmsnorm_forward(float *y, float *rstd, const float *x, const float *w,
                                       int64_t T, int64_t D, int64_t ldy, int64_t ldx, float eps)
{
    __shared__ float part[ALL_WARP];
    int64_t t = my_row();
    if (t >= T)
        return;
    x += t * ldx;
    y += t * ldy;
    float sum = 0, v[W], u[W];
    for (int64_t d = threadIdx.x * W; d < D; d += blockDim.x * W) {
        load<W>(v, x + d);
        for (int i = 0; i < W; i++)
            sum += v[i] * v[i];
    }
    float r = 1 / sqrtf(row_sum(sum, part) / (float)D + eps);
    if (threadIdx.x == 0)
        rstd[t] = r;
    for (int64_t d = threadIdx.x * W; d < D; d += blockDim.x * W) {
        load<W>(v, x + d);
        load<W>(u, w + d);
        for (int i = 0; i < W; i++)
            v[i] = v[i] * r * u[i];
        store<W>(y + d, v);
    }
}

void cuda_rmsnorm_forward(struct device *dev, float *y, float *rstd, const float *x, const float *w,
                          int64_t T, int64_t D, int64_t ldy, int64_t ldx, float eps)
{
    bool wide =
        is_wide(y) && is_wide(x) && is_wide(w) && D % 4 == 0 && ldy % 4 == 0 && ldx % 4 == 0;
    LAUNCH_ROWS(dev, wide, rmsnorm_forward, T, D, y, rstd, x, w, T, D, ldy, ldx, eps);
}

template <int W>
static __global__ void rmsnorm_backward(float *dx, const float *dy, const float *x, const float *w,
                                        const float *rstd, int64_t T, int64_t D, int64_t ldy,
                                        int64_t ldx)
{
    __shared__ float part[ALL_WARP];
    int64_t t = my_row();
    if (t >= T)
        return;
    x += t * ldx;
    dx += t * ldx;
    dy += t * ldy;
    float r = rstd[t], sum = 0, xs[W], dys[W], ws[W], dxs[W];
    for (int64_t d = threadIdx.x * W; d < D; d += blockDim.x * W) {
        load<W>(xs, x + d);
        load<W>(dys, dy + d);
        load<W>(ws, w + d);
        for (int i = 0; i < W; i++)
            sum += dys[i] * ws[i] * (xs[i] * r);
    }
    float mean = row_sum(sum, part) / (float)D;
    for (int64_t d = threadIdx.x * W; d < D; d += blockDim.x * W) {
        load<W>(xs, x + d);
        load<W>(dys, dy + d);
        load<W>(ws, w + d);
        load<W>(dxs, dx + d);
        for (int i = 0; i < W; i++)
            dxs[i] += r * (dys[i] * ws[i] - xs[i] * r * mean);
        store<W>(dx + d, dxs);
    }
}

void cuda_rmsnorm_backward(struct device *dev, float *dx, float *dw, const float *dy,
                           const float *x, const float *w, const float *rstd, int64_t T, int64_t D,
                           int64_t ldy, int64_t ldx)
{
    bool wide = is_wide(dx) && is_wide(dy) && is_wide(x) && is_wide(w) && D % 4 == 0 &&
                ldy % 4 == 0 && ldx % 4 == 0;
    LAUNCH_ROWS(dev, wide, rmsnorm_backward, T, D, dx, dy, x, w, rstd, T, D, ldy, ldx);
    if (dw)
        cuda_column_sums(dev, dw, dy, ldy, x, ldx, rstd, T, D);
}
