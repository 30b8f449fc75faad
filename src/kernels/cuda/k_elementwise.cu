/* The walks over n numbers: axpy, fill, copy, rounding to bf16. Four numbers a thread where their places allow it. */
#include "kernels/cuda/cuda.h"

enum { THREADS = 256, EACH = 4 };

static __global__ void axpy(float *y, const float *x, float a, int64_t n)
{
    int64_t i = thread_index();
    if (i < n)
        y[i] += a * x[i];
}

void cuda_axpy(struct device *dev, float *y, const float *x, float a, int64_t n)
{
    LAUNCH(dev, axpy, blocks_for(n, THREADS), THREADS, 0, y, x, a, n);
}

static __global__ void fill(float *y, float value, int64_t n)
{
    int64_t i = thread_index();
    if (i < n)
        y[i] = value;
}

void cuda_fill(struct device *dev, float *y, float value, int64_t n)
{
    LAUNCH(dev, fill, blocks_for(n, THREADS), THREADS, 0, y, value, n);
}

static __global__ void copy(float *y, const float *x, int64_t n)
{
    int64_t i = thread_index();
    if (i < n)
        y[i] = x[i];
}

void cuda_copy(struct device *dev, float *y, const float *x, int64_t n)
{
    LAUNCH(dev, copy, blocks_for(n, THREADS), THREADS, 0, y, x, n);
}

static __global__ void to_bf16(uint16_t *y, const float *x, int64_t n)
{
    int64_t i = thread_index();
    if (i < n)
        y[i] = bf16_round(x[i]);
}

void cuda_to_bf16(struct device *dev, uint16_t *y, const float *x, int64_t n)
{
    LAUNCH(dev, to_bf16, blocks_for(n, THREADS), THREADS, 0, y, x, n);
}
