/* Slots from picks, sorted by expert and then by token: a counting sort in whole numbers, the same whatever runs first.
 *
 * Tokens go by chunks of 32. count_chunks counts each chunk's picks of each expert; scan_columns makes of them the places where a chunk
 * begins to write, and the experts' offsets; scatter walks a chunk's tokens in order, all picks of a token side by side, since a token
 * picks an expert once. Two columns more count the tokens that have picks and the rows of −2.
 */
#include "kernels/cuda/cuda.h"

enum { CHUNK = 32, THREADS = 256, SCAN_THREADS = 1024 };

static __global__ void count_chunks(int32_t *counts, const int32_t *idx, int64_t T, int E, int K)
{
    DYNAMIC_SHARED(int, n);
    int64_t first = (int64_t)blockIdx.x * CHUNK;
    int tokens = T - first < CHUNK ? (int)(T - first) : CHUNK;
    for (int i = threadIdx.x; i < E + 2; i += blockDim.x)
        n[i] = 0;
    __syncthreads();
    for (int i = threadIdx.x; i < tokens * K; i += blockDim.x) {
        int e = idx[first * K + i];
        if (e >= 0)
            atomicAdd(&n[e], 1);
        if (i % K == 0 && e != -1)
            atomicAdd(&n[e >= 0 ? E : E + 1], 1);
    }
    __syncthreads();
    for (int i = threadIdx.x; i < E + 2; i += blockDim.x)
        counts[(int64_t)blockIdx.x * (E + 2) + i] = n[i];
}

/* The sum over the lanes up to mine. */
static __device__ __forceinline__ int sum_so_far(int x)
{
    for (int i = 1; i < ALL_WARP; i *= 2) {
        int before = __shfl_up_sync(ALL_LANES, x, i);
        x += (int)(threadIdx.x % ALL_WARP) >= i ? before : 0;
    }
    return x;
}

/* Each of n numbers, stride apart, becomes the sum of those before it; returns the sum of all. By one warp. */
static __device__ int scan(int32_t *x, int64_t n, int64_t stride)
{
    int sum = 0, lane = threadIdx.x % ALL_WARP;
    for (int64_t i = lane; i - lane < n; i += ALL_WARP) {
        int own = i < n ? x[i * stride] : 0, upto = sum_so_far(own);
        if (i < n)
            x[i * stride] = sum + upto - own;
        sum += __shfl_sync(ALL_LANES, upto, ALL_WARP - 1);
    }
    return sum;
}

static __global__ void scan_columns(struct route_lists_args a, int32_t *counts, int64_t n_chunks)
{
    int E = (int)a.E, warp = threadIdx.x / ALL_WARP, lane = threadIdx.x % ALL_WARP;
    for (int e = warp; e < E + 2; e += SCAN_THREADS / ALL_WARP) {
        int sum = scan(counts + e, n_chunks, E + 2);
        if (lane == 0 && e == E)
            a.first[a.T] = sum * (int32_t)a.K + (a.shared ? (int32_t)a.T : 0);
        if (lane == 0 && e != E)
            a.offset[e < E ? e : E + 1 + (int)a.shared] = sum;
    }
    __syncthreads();
    if (warp > 0)
        return;
    int n = scan(a.offset, E, 1);
    if (lane == 0) {
        a.offset[E] = n;
        if (a.shared)
            a.offset[E + 1] = n + (int32_t)a.T;
    }
}

/* Places of a chunk's picks, in the picks' stead; by one warp. */
static __device__ void walk(int *at, int *next, int tokens, int K)
{
    for (int t = 0; t < tokens; t++) {
        for (int k = threadIdx.x; k < K; k += ALL_WARP) {
            int e = at[t * K + k];
            at[t * K + k] = e < 0 ? -1 : next[e]++;
        }
        __syncwarp();
    }
}

/* Pick i of the chunk to its slot, and the slot to its rank among the token's. */
static __device__ void put(const struct route_lists_args &a, const int *at, const int *begin,
                           int64_t chunk_token, int i)
{
    int K = (int)a.K, t = i / K, place = at[i], rank = 0;
    int64_t token = chunk_token + t;
    a.position[token * K + i % K] = place;
    if (place < 0)
        return;
    a.token[place] = (int32_t)token;
    a.slot_weight[place] = a.weight[token * K + i % K];
    for (int k = 0; k < K; k++)
        rank += at[t * K + k] < place;
    a.slot[begin[t] + rank] = place;
}

/* The slot of a token in the shared expert; begin is where its slots begin. */
static __device__ void put_shared(const struct route_lists_args &a, int64_t token, int begin,
                                  bool picks)
{
    int32_t place = a.offset[a.E] + (int32_t)token;
    a.token[place] = (int32_t)token;
    a.slot_weight[place] = 1;
    a.slot[begin + (picks ? (int)a.K : 0)] = place;
}

static __global__ void scatter(struct route_lists_args a, const int32_t *counts)
{
    __shared__ int begin[CHUNK];
    DYNAMIC_SHARED(int, next);
    int E = (int)a.E, K = (int)a.K, *at = next + E;
    int64_t first = (int64_t)blockIdx.x * CHUNK;
    int tokens = a.T - first < CHUNK ? (int)(a.T - first) : CHUNK;
    const int32_t *before = counts + (int64_t)blockIdx.x * (E + 2);
    for (int e = threadIdx.x; e < E; e += blockDim.x)
        next[e] = a.offset[e] + before[e];
    for (int i = threadIdx.x; i < tokens * K; i += blockDim.x)
        at[i] = a.idx[first * K + i];
    __syncthreads();
    if (threadIdx.x < CHUNK) {
        int t = threadIdx.x;
        bool picks = t < tokens && at[t * K] >= 0;
        int tokens_before = before[E] + __popc(__ballot_sync(ALL_LANES, picks) & ((1u << t) - 1));
        begin[t] = tokens_before * K + (a.shared ? (int)first + t : 0);
        if (t < tokens)
            a.first[first + t] = begin[t];
        if (t < tokens && a.shared)
            put_shared(a, first + t, begin[t], picks);
        walk(at, next, tokens, K);
    }
    __syncthreads();
    for (int i = threadIdx.x; i < tokens * K; i += blockDim.x)
        put(a, at, begin, first, i);
}

void cuda_route_lists(struct device *dev, const struct route_lists_args *a)
{
    struct route_lists_args args = *a;
    int64_t n_chunks = (a->T + CHUNK - 1) / CHUNK;
    size_t columns = (size_t)a->E + 2, n_bytes = ((size_t)a->E + CHUNK * (size_t)a->K) * 4;
    int32_t *counts =
        (int32_t *)cuda_scratch(dev, (size_t)(n_chunks + 1) * columns * sizeof *counts);
    if (!counts)
        return;
    cuda_allow_shared(dev, (const void *)count_chunks, columns * 4);
    cuda_allow_shared(dev, (const void *)scatter, n_bytes);
    LAUNCH(dev, count_chunks, (unsigned)n_chunks, THREADS, columns * 4, counts, args.idx, args.T,
           (int)args.E, (int)args.K);
    LAUNCH(dev, scan_columns, 1, SCAN_THREADS, 0, args, counts, n_chunks);
    LAUNCH(dev, scatter, (unsigned)n_chunks, THREADS, n_bytes, args, counts);
}
