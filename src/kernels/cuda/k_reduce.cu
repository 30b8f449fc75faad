/* One number out of many: the sum of squares in double, by a fixed number of threads and then by one block, whatever the card; and the
 * first number that is not finite, where the order of blocks doesn't matter. Of a list of tensors each is summed as it would be alone.
 */
#include "kernels/cuda/rows.h"

enum { THREADS = 256, BLOCKS = 1024, LIST = 128 };

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

struct summed_one {
    const float *x;
    int64_t n;
    unsigned first, blocks; /* the first of its blocks, and how many */
};

struct summed_many {
    struct summed_one e[LIST];
    int n;
};

/* The squares that a thread of the tensor's has to add up. */
template <int W> static __device__ double squares(const struct summed_one &e)
{
    int64_t thread = (int64_t)(blockIdx.x - e.first) * THREADS + threadIdx.x;
    double sum = 0;
    float v[W];
#pragma unroll 4
    for (int64_t i = thread * W; i + W <= e.n; i += (int64_t)e.blocks * THREADS * W) {
        load<W>(v, e.x + i);
        for (int j = 0; j < W; j++)
            sum += (double)v[j] * v[j];
    }
    int64_t rest = e.n - e.n % W + thread;
    if (rest < e.n)
        sum += (double)e.x[rest] * e.x[rest];
    return sum;
}

static __global__ void sum_squares(double *part, const __grid_constant__ struct summed_many list)
{
    const struct summed_one &e = list.e[entry_of(list.e, list.n)];
    double sum = (uintptr_t)e.x % 16 == 0 ? squares<4>(e) : squares<1>(e);
    sum = block_sum_double(sum);
    if (threadIdx.x == 0)
        part[blockIdx.x] = sum;
}

/* A block for each tensor. */
static __global__ void sum_parts(double *out, const double *part,
                                 const __grid_constant__ struct summed_many list)
{
    const struct summed_one &e = list.e[blockIdx.x];
    double sum = 0;
    for (unsigned i = threadIdx.x; i < e.blocks; i += THREADS)
        sum += part[e.first + i];
    sum = block_sum_double(sum);
    if (threadIdx.x == 0)
        out[blockIdx.x] = sum;
}

/* The next tensors, as many as fit. */
static void fill(struct summed_many *list, const float *const *x, const int64_t *n,
                 int64_t n_tensors)
{
    unsigned blocks = 0;
    list->n = (int)(n_tensors < LIST ? n_tensors : (int64_t)LIST);
    for (int i = 0; i < list->n; i++) {
        unsigned own = n[i] ? blocks_up_to(n[i], THREADS * 4) : 0;
        list->e[i] = {x[i], n[i], blocks, own};
        blocks += own;
    }
}

void cuda_sum_squares_list(struct device *dev, double *sums, const float *const *x,
                           const int64_t *n, int64_t n_tensors)
{
    size_t n_bytes = (size_t)n_tensors * sizeof *sums;
    size_t at_once = (size_t)(n_tensors < LIST ? n_tensors : (int64_t)LIST);
    double *out = (double *)cuda_scratch(dev, n_bytes + at_once * BLOCKS * sizeof *out);
    struct summed_many list;
    for (int64_t i = 0; !out && i < n_tensors; i++)
        sums[i] = NAN;
    for (int64_t i = 0; out && i < n_tensors; i += list.n) {
        fill(&list, x + i, n + i, n_tensors - i);
        unsigned blocks = list.e[list.n - 1].first + list.e[list.n - 1].blocks;
        LAUNCH(dev, sum_squares, blocks, THREADS, 0, out + n_tensors, list);
        LAUNCH(dev, sum_parts, (unsigned)list.n, THREADS, 0, out + i, out + n_tensors, list);
    }
    if (out)
        cuda_read(dev, sums, out, n_bytes);
}

double cuda_sum_squares(struct device *dev, const float *x, int64_t n)
{
    double sum = 0;
    cuda_sum_squares_list(dev, &sum, &x, &n, 1);
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
