/* The embedding table. Its gradient adds the rows of one token in their order: each row first finds the next one of the same token
 * (all of them look at once, so that T² / 2 comparisons of cached numbers take less time than the rows), then the first row of each
 * token walks the chain. No order among blocks matters.
 */
#include "kernels/cuda/rows.h"

enum { THREADS = 256, AT_ONCE = 8 };

template <int W>
static __global__ void gather(float *y, const float *table, const int32_t *ids, int64_t T,
                              int64_t D)
{
    int64_t t = my_row();
    if (t >= T)
        return;
    const float *from = table + ids[t] * D;
    float v[W];
    for (int64_t d = threadIdx.x * W; d < D; d += blockDim.x * W) {
        load<W>(v, from + d);
        store<W>(y + t * D + d, v);
    }
}

template <int W>
static __global__ void gather_bf16(float *y, const uint16_t *table, const int32_t *ids, int64_t T,
                                   int64_t D)
{
    int64_t t = my_row();
    if (t >= T)
        return;
    const uint16_t *from = table + ids[t] * D;
    float v[W];
    for (int64_t d = threadIdx.x * W; d < D; d += blockDim.x * W) {
        if constexpr (W == 4) {
            uint2 q = *(const uint2 *)(from + d);
            v[0] = __uint_as_float(q.x << 16);
            v[1] = __uint_as_float(q.x & 0xffff0000u);
            v[2] = __uint_as_float(q.y << 16);
            v[3] = __uint_as_float(q.y & 0xffff0000u);
        } else {
            v[0] = bf16_value(from[d]);
        }
        store<W>(y + t * D + d, v);
    }
}

void cuda_embed_forward(struct device *dev, float *y, const void *table, enum dtype type,
                        const int32_t *ids, int64_t T, int64_t D)
{
    bool wide = is_wide(y) && is_wide(table) && D % 4 == 0;
    if (type == DT_BF16)
        LAUNCH_ROWS(dev, wide, gather_bf16, T, D, y, (const uint16_t *)table, ids, T, D);
    else
        LAUNCH_ROWS(dev, wide, gather, T, D, y, (const float *)table, ids, T, D);
}

/* next[t]: the next row of the same token, or −1; later[u] becomes 1 where there is an earlier one. */
static __global__ void find_next(int32_t *next, int32_t *later, const int32_t *ids, int64_t T)
{
    int64_t t = thread_index();
    if (t >= T)
        return;
    int32_t mine = ids[t];
    int64_t u = t + 1;
    for (bool found = false; !found && u + AT_ONCE <= T;) { /* loads that don't wait for another */
#pragma unroll
        for (int j = 0; j < AT_ONCE; j++)
            found |= ids[u + j] == mine;
        u += found ? 0 : AT_ONCE;
    }
    while (u < T && ids[u] != mine)
        u++;
    next[t] = u < T ? (int32_t)u : -1;
    if (u < T)
        later[u] = 1;
}

template <int W>
static __global__ void add_chains(float *dtable, const float *dy, const int32_t *ids,
                                  const int32_t *next, const int32_t *later, int64_t D)
{
    int64_t first = blockIdx.x, d = ((int64_t)blockIdx.y * THREADS + threadIdx.x) * W;
    if (later[first] || d >= D)
        return;
    float sum[W], v[AT_ONCE][W], *to = dtable + ids[first] * D + d;
    load<W>(sum, to);
    for (int32_t t = (int32_t)first; t >= 0;) {
        int32_t rows[AT_ONCE];
        for (int j = 0; j < AT_ONCE; j++) {
            rows[j] = t;
            t = t >= 0 ? next[t] : -1;
        }
        for (int j = 0; j < AT_ONCE; j++)
            if (rows[j] >= 0)
                load<W>(v[j], dy + rows[j] * D + d);
        for (int j = 0; j < AT_ONCE; j++)
            for (int i = 0; i < W && rows[j] >= 0; i++)
                sum[i] += v[j][i];
    }
    store<W>(to, sum);
}

void cuda_embed_backward(struct device *dev, float *dtable, const float *dy, const int32_t *ids,
                         int64_t T, int64_t D, int64_t V)
{
    (void)V;
    if (T == 0)
        return;
    size_t n_bytes = (size_t)T * sizeof(int32_t);
    int32_t *next = (int32_t *)cuda_scratch(dev, 2 * n_bytes), *later = next + T;
    if (!next)
        return;
    dev->ops->zero(dev, later, n_bytes);
    LAUNCH(dev, find_next, blocks_for(T, THREADS), THREADS, 0, next, later, ids, T);
    if (is_wide(dtable) && is_wide(dy) && D % 4 == 0)
        LAUNCH(dev, (add_chains<4>), dim3((unsigned)T, blocks_for(D, THREADS * 4)), THREADS, 0,
               dtable, dy, ids, next, later, D);
    else
        LAUNCH(dev, (add_chains<1>), dim3((unsigned)T, blocks_for(D, THREADS)), THREADS, 0, dtable,
               dy, ids, next, later, D);
}
