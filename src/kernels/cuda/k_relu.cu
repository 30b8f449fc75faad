/* The inner layer of a gate: a bias and what is above 0, and its gradient, whose sums down the columns are columns.cu's. */
#include "kernels/cuda/rows.h"

enum { THREADS = 256 };

static __global__ void relu_forward(float *y, const float *b, int64_t n, int64_t N)
{
    int64_t i = thread_index();
    if (i >= n)
        return;
    float v = y[i] + b[i % N];
    y[i] = v > 0 ? v : 0;
}

static __global__ void relu_backward(float *dy, const float *y, int64_t n)
{
    int64_t i = thread_index();
    if (i < n && !(y[i] > 0))
        dy[i] = 0;
}

void cuda_relu_forward(struct device *dev, float *y, const float *b, int64_t T, int64_t N)
{
    LAUNCH(dev, relu_forward, blocks_for(T * N, THREADS), THREADS, 0, y, b, T * N, N);
}

void cuda_relu_backward(struct device *dev, float *dy, float *db, const float *y, int64_t T,
                        int64_t N)
{
    LAUNCH(dev, relu_backward, blocks_for(T * N, THREADS), THREADS, 0, dy, y, T * N);
    cuda_fill(dev, db, 0, N);
    cuda_column_sums(dev, db, dy, N, NULL, 0, NULL, T, N);
}
