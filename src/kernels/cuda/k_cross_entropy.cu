/* Cross-entropy and its gradient in place: a warp or a block a row. One pass keeps the running largest logit with its first place and
 * the sum of exponentials relative to it, a second writes the gradient. A thread sees its places in rising order and the smallest
 * place among equals is taken at the end, so the first largest one wins as in the reference.
 */
#include "kernels/cuda/rows.h"

struct running {
    float max, sum; /* sum of exp(x − max) */
    int32_t at;     /* the first place of max */
};

/* Takes W neighbours, the first at v. A row of −∞ alone keeps its first place and a sum of 0. */
template <int W>
static __device__ __forceinline__ void take(struct running *r, const float x[W], int64_t v)
{
    float max = x[0];
    for (int i = 1; i < W; i++)
        max = fmaxf(max, x[i]);
    if (max > r->max) {
        r->sum *= expf(r->max - max);
        r->max = max;
        for (int i = W - 1; i >= 0; i--)
            if (x[i] == max)
                r->at = (int32_t)(v + i);
    }
    float base = r->max == -INFINITY ? 0 : r->max;
    for (int i = 0; i < W; i++)
        r->sum += expf(x[i] - base);
}

static __device__ __forceinline__ float row_max(float x, float *part)
{
    return blockDim.x == ALL_WARP ? warp_max(x) : block_max(x, part);
}

/* The smallest place over the row's threads; ~place, so that the largest is sought. */
static __device__ __forceinline__ int32_t row_first(int32_t at, float *part)
{
    for (int i = 16; i; i >>= 1)
        at = min(at, __shfl_xor_sync(ALL_LANES, at, i));
    if (blockDim.x == ALL_WARP)
        return at;
    int32_t *places = (int32_t *)part, n = (int32_t)blockDim.x / ALL_WARP;
    if (threadIdx.x % ALL_WARP == 0)
        places[threadIdx.x / ALL_WARP] = at;
    __syncthreads();
    for (int i = 0; i < n; i++)
        at = min(at, places[i]);
    return at;
}

template <int W>
static __global__ void cross_entropy(float *nll, uint8_t *right, float *logits,
                                     const int32_t *target, int64_t T, int64_t V, int64_t ldl,
                                     float scale)
{
    __shared__ float part[ALL_WARP];
    int64_t t = my_row();
    if (t >= T)
        return;
    float *row = logits + t * ldl, x[W];
    int32_t want = target[t];
    bool first = threadIdx.x == 0;
    struct running r = {-INFINITY, 0, first ? 0 : INT32_MAX};
    float at_want = want >= 0 ? row[want] : 0;
    for (int64_t v = threadIdx.x * W; want >= 0 && v < V; v += blockDim.x * W) {
        load<W>(x, row + v);
        take<W>(&r, x, v);
    }
    float max = row_max(r.max, part);
    float sum = row_sum(r.max == max ? r.sum : r.sum * expf(r.max - max), part);
    int32_t best = row_first(r.max == max ? r.at : INT32_MAX, part);
    sum = max == INFINITY ? NAN : sum;
    if (first)
        nll[t] = want >= 0 ? (float)(log((double)sum) + max - at_want) : 0;
    if (first && right)
        right[t] = want >= 0 && best == want;
    if (scale == 0)
        return;
    float inverse = 1 / sum;
    for (int64_t v = threadIdx.x * W; v < V; v += blockDim.x * W) {
        if (want >= 0)
            load<W>(x, row + v);
        for (int i = 0; i < W; i++)
            x[i] = want < 0 ? 0 : scale * (expf(x[i] - max) * inverse - (float)(v + i == want));
        store<W>(row + v, x);
    }
}

void cuda_cross_entropy(struct device *dev, float *nll, uint8_t *right, float *logits,
                        const int32_t *target, int64_t T, int64_t V, int64_t ldl, float scale)
{
    bool wide = is_wide(logits) && V % 4 == 0 && ldl % 4 == 0;
    LAUNCH_ROWS(dev, wide, cross_entropy, T, V, nll, right, logits, target, T, V, ldl, scale);
}
