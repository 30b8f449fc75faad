/* Attention in float32: 64 queries of a head a block, keys by 64, with a running maximum and sum (Milakov & Gimelshein, arXiv
 * 1805.02867). A block makes 128 columns of the output; wider values take more blocks, each with its own scores.
 */
#include "kernels/cuda/attention_plain.h"

/* The largest (the sum) over the 16 threads of a row. */
static __device__ __forceinline__ float row_max(float x)
{
    for (int i = 8; i; i >>= 1)
        x = fmaxf(x, __shfl_xor_sync(ALL_LANES, x, i));
    return x;
}

static __device__ __forceinline__ float row_sum(float x)
{
    for (int i = 8; i; i >>= 1)
        x += __shfl_xor_sync(ALL_LANES, x, i);
    return x;
}

/* Scores become weights of the running softmax, and what was summed so far is brought to the new maximum. A row sees seen[i] keys. */
static __device__ __forceinline__ void soften(float s[4][4], float max[4], float sum[4],
                                              float out[4][8], float scale, const int seen[4],
                                              int key)
{
    key += threadIdx.x % 16 * 4;
#pragma unroll
    for (int i = 0; i < 4; i++) {
        float largest = -INFINITY, total = 0;
#pragma unroll
        for (int j = 0; j < 4; j++) {
            s[i][j] = key + j < seen[i] ? s[i][j] * scale : -INFINITY;
            largest = fmaxf(largest, s[i][j]);
        }
        largest = fmaxf(max[i], row_max(largest));
        float keep = expf(max[i] - largest);
#pragma unroll
        for (int j = 0; j < 4; j++)
            total += s[i][j] = expf(s[i][j] - largest);
        sum[i] = sum[i] * keep + row_sum(total);
        max[i] = largest;
#pragma unroll
        for (int j = 0; j < 8; j++)
            out[i][j] *= keep;
    }
}

/* Blocks: x query heads, y tiles from the last on (those have most to do), z columns of the output by 128. */
static __global__ void __launch_bounds__(PLAIN_THREADS)
    forward(struct attention_args a, struct sequences seq, bool causal)
{
    __shared__ struct plain_shared shared;
    int h = blockIdx.x, kh = h / (int)(a.H / a.Hk), col = blockIdx.z * COLUMNS;
    struct tile t = tile_find(seq, (int)(gridDim.y - 1 - blockIdx.y), ROWS);
    int n_keys = t.n + (int)a.past, row = t.row + threadIdx.x / 16 * 4, seen[4];
    struct rows q = query_rows(a, t.first, t.n, h), k = key_rows(a, t.first, n_keys, kh),
                v = value_rows(a, t.first, n_keys, kh);
    float max[4], sum[4], out[4][8];
    for (int i = 0; i < 4; i++) {
        seen[i] = causal ? min(row + i + (int)a.past + 1, n_keys) : n_keys;
        max[i] = -INFINITY;
        sum[i] = 0;
        for (int j = 0; j < 8; j++)
            out[i][j] = 0;
    }
    int last = causal ? min(t.row + ROWS + (int)a.past, n_keys) : n_keys;
    for (int key = 0; key < last; key += ROWS) {
        float s[4][4];
        plain_scores(s, &shared, q, t.row, k, key);
        soften(s, max, sum, out, a.scale, seen, key);
        plain_weights(&shared, s);
        plain_output(out, &shared, v, key, col);
    }
    for (int i = 0; i < 4 && row + i < t.n; i++) {
        float *o = a.o + (t.first + row + i) * a.ldo + h * a.dv;
        for (int j = 0; j < 8; j++)
            if (col + plain_column(j) < a.dv)
                o[col + plain_column(j)] = out[i][j] / sum[i];
        if (a.lse && col == 0 && threadIdx.x % 16 == 0)
            a.lse[(t.first + row + i) * a.H + h] = max[i] + logf(sum[i]);
    }
}

void attention_plain_forward(struct device *dev, const struct attention_args *a, bool causal)
{
    struct sequences seq;
    struct attention_args args = *a;
    unsigned parts = blocks_for(a->dv, COLUMNS);
    for (int64_t b = 0; b < a->B;) {
        b = sequences_take(&seq, a, b, ROWS);
        dim3 grid((unsigned)a->H, (unsigned)seq.tile[seq.n], parts);
        LAUNCH(dev, forward, grid, PLAIN_THREADS, 0, args, seq, causal);
    }
}
