/* The walks over n numbers: axpy, fill, copy, rounding to bf16; and the norms of rows. Four numbers a thread where their places allow
 * it, the last ones alone.
 */
#include "kernels/cuda/rows.h"

enum { THREADS = 256 };

/* How many of n numbers go by fours. */
static int64_t in_fours(bool wide, int64_t n)
{
    return wide ? n / 4 * 4 : 0;
}

template <int W> static __global__ void axpy(float *y, const float *x, float a, int64_t n)
{
    int64_t i = thread_index() * W;
    if (i >= n)
        return;
    float u[W], v[W];
    load<W>(u, y + i);
    load<W>(v, x + i);
    for (int j = 0; j < W; j++)
        u[j] += a * v[j];
    store<W>(y + i, u);
}

void cuda_axpy(struct device *dev, float *y, const float *x, float a, int64_t n)
{
    int64_t most = in_fours(is_wide(y) && is_wide(x), n), rest = n - most;
    LAUNCH(dev, (axpy<4>), blocks_for(most, THREADS * 4), THREADS, 0, y, x, a, most);
    LAUNCH(dev, (axpy<1>), blocks_for(rest, THREADS), THREADS, 0, y + most, x + most, a, rest);
}

template <int W> static __global__ void fill(float *y, float value, int64_t n)
{
    int64_t i = thread_index() * W;
    if (i >= n)
        return;
    float v[W];
    for (int j = 0; j < W; j++)
        v[j] = value;
    store<W>(y + i, v);
}

void cuda_fill(struct device *dev, float *y, float value, int64_t n)
{
    int64_t most = in_fours(is_wide(y), n), rest = n - most;
    LAUNCH(dev, (fill<4>), blocks_for(most, THREADS * 4), THREADS, 0, y, value, most);
    LAUNCH(dev, (fill<1>), blocks_for(rest, THREADS), THREADS, 0, y + most, value, rest);
}

template <int W> static __global__ void copy(float *y, const float *x, int64_t n)
{
    int64_t i = thread_index() * W;
    if (i >= n)
        return;
    float v[W];
    load<W>(v, x + i);
    store<W>(y + i, v);
}

void cuda_copy(struct device *dev, float *y, const float *x, int64_t n)
{
    int64_t most = in_fours(is_wide(y) && is_wide(x), n), rest = n - most;
    LAUNCH(dev, (copy<4>), blocks_for(most, THREADS * 4), THREADS, 0, y, x, most);
    LAUNCH(dev, (copy<1>), blocks_for(rest, THREADS), THREADS, 0, y + most, x + most, rest);
}

template <int W> static __global__ void to_bf16(uint16_t *y, const float *x, int64_t n)
{
    int64_t i = thread_index() * W;
    if (i >= n)
        return;
    float v[W];
    load<W>(v, x + i);
    store_bf16<W>(y + i, v);
}

void cuda_to_bf16(struct device *dev, uint16_t *y, const float *x, int64_t n)
{
    int64_t most = in_fours((uintptr_t)y % 8 == 0 && is_wide(x), n), rest = n - most;
    LAUNCH(dev, (to_bf16<4>), blocks_for(most, THREADS * 4), THREADS, 0, y, x, most);
    LAUNCH(dev, (to_bf16<1>), blocks_for(rest, THREADS), THREADS, 0, y + most, x + most, rest);
}

template <int W> static __global__ void row_norm(float *norm, const float *x, int64_t S, int64_t D)
{
    __shared__ float part[ALL_WARP];
    int64_t s = my_row();
    if (s >= S)
        return;
    float sum = 0, v[W];
    for (int64_t d = threadIdx.x * W; d < D; d += blockDim.x * W) {
        load<W>(v, x + s * D + d);
        for (int i = 0; i < W; i++)
            sum += v[i] * v[i];
    }
    sum = row_sum(sum, part);
    if (threadIdx.x == 0)
        norm[s] = sqrtf(sum);
}

void cuda_row_norm(struct device *dev, float *norm, const float *x, int64_t S, int64_t D)
{
    LAUNCH_ROWS(dev, is_wide(x) && D % 4 == 0, row_norm, S, D, norm, x, S, D);
}
