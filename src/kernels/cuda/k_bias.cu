/* A bias on every row, and its gradient by columns.cu. */
#include "kernels/cuda/rows.h"

template <int W>
static __global__ void bias_forward(float *y, const float *b, int64_t T, int64_t N, int64_t ldy)
{
    int64_t t = my_row();
    if (t >= T)
        return;
    float v[W], u[W];
    for (int64_t n = threadIdx.x * W; n < N; n += blockDim.x * W) {
        load<W>(v, y + t * ldy + n);
        load<W>(u, b + n);
        for (int i = 0; i < W; i++)
            v[i] += u[i];
        store<W>(y + t * ldy + n, v);
    }
}

void cuda_bias_forward(struct device *dev, float *y, const float *b, int64_t T, int64_t N,
                       int64_t ldy)
{
    bool wide = is_wide(y) && is_wide(b) && N % 4 == 0 && ldy % 4 == 0;
    LAUNCH_ROWS(dev, wide, bias_forward, T, N, y, b, T, N, ldy);
}

void cuda_bias_backward(struct device *dev, float *db, const float *dy, int64_t T, int64_t N,
                        int64_t ldy)
{
    cuda_column_sums(dev, db, dy, ldy, NULL, 0, NULL, T, N);
}
