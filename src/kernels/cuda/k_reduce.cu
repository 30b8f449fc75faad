/* One number out of many: the sum of squares in double, by a fixed number of threads and then by one block, whatever the card; and the
 * first number that is not finite, where the order of blocks doesn't matter.
 */
#include "kernels/cuda/rows.h"

enum { THREADS = 256, BLOCKS = 1024 };

static unsigned blocks_up_to(int64_t n, int64_t each)
{
    unsigned most = BLOCKS;
    return n >= most * each ? most : blocks_for(n, each);
}

/* The sum over a block, valid in thread 0. */
static __device__ double block_sum_double(double x)
{
    __shared__ double part[THREADS / ALL_WARP];
    for (int i = 16; i; i >>= 1)
        x += __shfl_xor_sync(ALL_LANES, x, i);
    if (threadIdx.x % ALL_WARP == 0)
        part[threadIdx.x / ALL_WARP] = x;
    __syncthreads();
    for (int i = 1; threadIdx.x == 0 && i < THREADS / ALL_WARP; i++)
        x += part[i];
    return x;
}

template <int W> static __global__ void sum_squares(double *out, const float *x, int64_t n)
{
    double sum = 0;
    float v[W];
#pragma unroll 4
    for (int64_t i = thread_index() * W; i + W <= n; i += (int64_t)gridDim.x * THREADS * W) {
        load<W>(v, x + i);
        for (int j = 0; j < W; j++)
            sum += (double)v[j] * v[j];
    }
    int64_t rest = n - n % W + thread_index();
    if (rest < n)
        sum += (double)x[rest] * x[rest];
    sum = block_sum_double(sum);
    if (threadIdx.x == 0)
        out[blockIdx.x] = sum;
}

static __global__ void sum_parts(double *out, const double *part, int n)
{
    double sum = 0;
    for (int i = (int)threadIdx.x; i < n; i += THREADS)
        sum += part[i];
    sum = block_sum_double(sum);
    if (threadIdx.x == 0)
        *out = sum;
}

double cuda_sum_squares(struct device *dev, const float *x, int64_t n)
{
    double *part = (double *)cuda_scratch(dev, (BLOCKS + 1) * sizeof *part), sum = 0;
    if (!part || n == 0)
        return n == 0 ? 0 : NAN;
    unsigned grid = blocks_up_to(n, THREADS * 4);
    if (is_wide(x))
        LAUNCH(dev, (sum_squares<4>), grid, THREADS, 0, part + 1, x, n);
    else
        LAUNCH(dev, (sum_squares<1>), grid, THREADS, 0, part + 1, x, n);
    LAUNCH(dev, sum_parts, 1, THREADS, 0, part, part + 1, (int)grid);
    cuda_read(dev, &sum, part, sizeof sum);
    return sum;
}

/* *out becomes n less the first place, so that 0 means none. */
static __global__ void find_nonfinite(unsigned long long *out, const float *x, int64_t n)
{
    int64_t at = n;
#pragma unroll 4
    for (int64_t i = thread_index(); i < n; i += (int64_t)gridDim.x * THREADS)
        if ((__float_as_uint(x[i]) & 0x7f800000) == 0x7f800000 && i < at)
            at = i;
    if (at < n)
        atomicMax(out, (unsigned long long)(n - at));
}

int64_t cuda_find_nonfinite(struct device *dev, const float *x, int64_t n)
{
    unsigned long long *out = (unsigned long long *)cuda_scratch(dev, sizeof *out), found = 0;
    if (!out || n == 0)
        return -1;
    unsigned grid = blocks_up_to(n, THREADS);
    dev->ops->zero(dev, out, sizeof *out);
    LAUNCH(dev, find_nonfinite, grid, THREADS, 0, out, x, n);
    cuda_read(dev, &found, out, sizeof found);
    return found && found <= (unsigned long long)n ? n - (int64_t)found : -1;
}
