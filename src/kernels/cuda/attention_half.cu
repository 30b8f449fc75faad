/* Attention on tensor cores: FlashAttention-2 (Dao, arXiv 2307.08691) with operands in bf16 and sums in float32.
 *
 * A block of four warps has 128 queries of a head, 32 a warp, in shared memory, and goes over the keys by 64: scores and outputs stay in
 * registers, and the weights of the softmax are the left operand of the second product as they lie there. The next values are copied
 * while scores are computed, the next keys while values are summed.
 */
#include "kernels/cuda/attention_half.h"

enum {
    PACK_THREADS = 256,
    PACK_ROWS = 32,
    KEYS = 64,
    PARTS = 2,
    QUERIES = HALF_WARPS * PARTS * 16
};

/* ---- packing ---- */

static __global__ void pack(uint16_t *to, struct rows x, int64_t head, int width)
{
    int64_t row = (int64_t)blockIdx.x * PACK_ROWS;
    int pairs = width / 2;
    x.p += blockIdx.y * head;
    to += (int64_t)blockIdx.y * x.n * width;
    for (int i = threadIdx.x; i < PACK_ROWS * pairs; i += PACK_THREADS) {
        int r = (int)row + i / pairs, c = i % pairs * 2;
        if (r < x.n)
            *(uint32_t *)(to + (int64_t)r * width + c) =
                bf16_pair(rows_at(x, r, c), rows_at(x, r, c + 1));
    }
}

void half_pack(struct device *dev, uint16_t *to, const struct rows *x, int64_t head, int n_heads,
               int width)
{
    struct rows rows = *x;
    LAUNCH(dev, pack, dim3(blocks_for(x->n, PACK_ROWS), (unsigned)n_heads), PACK_THREADS, 0, to,
           rows, head, width);
}

/* ---- forward ---- */

struct packed {
    const uint16_t *k,
        *v; /* of n_rows rows a head, from row first of the arrays on, of the key heads from head on */
    int64_t n_rows, first;
    int head;
};

/* The block's queries, rounded. */
template <int D>
static __device__ __forceinline__ void load_queries(uint16_t *tile, const struct rows &q, int row)
{
    enum { PAIRS = D / 2 };
#pragma unroll 8
    for (int i = threadIdx.x; i < QUERIES * PAIRS; i += HALF_THREADS) {
        int r = i / PAIRS, c = i % PAIRS * 2;
        *(uint32_t *)(tile + r * (D + PAD) + c) =
            bf16_pair(rows_at(q, row + r, c), rows_at(q, row + r, c + 1));
    }
}

/* Running maximum (of unscaled scores) and sum (this lane's share) of a lane's rows half_row(0) and half_row(2). */
struct softmax {
    float max[PARTS][2], sum[PARTS][2];
};

/* Scores that the row does not see become −∞; row is the warp's first. */
static __device__ __forceinline__ void mask(float s[PARTS][KEYS / 8][4], int row, int key,
                                            int n_keys, int past, bool causal)
{
#pragma unroll
    for (int m = 0; m < PARTS; m++)
#pragma unroll
        for (int n = 0; n < KEYS / 8; n++)
#pragma unroll
            for (int i = 0; i < 4; i++) {
                int u = key + half_column(n, i), t = row + 16 * m + half_row(i) + past;
                if (u >= n_keys || (causal && u > t))
                    s[m][n][i] = -INFINITY;
            }
}

/* Scores become weights; the output so far is brought to the new maximum where some row of the warp has one. scale is times log2 e. */
template <int V>
static __device__ __forceinline__ void soften(float s[PARTS][KEYS / 8][4], struct softmax &x,
                                              float out[PARTS][V / 8][4], float scale)
{
    float keep[PARTS][2];
    bool moved = false;
#pragma unroll
    for (int m = 0; m < PARTS; m++)
#pragma unroll
        for (int half = 0; half < 2; half++) {
            float old = x.max[m][half], now = old;
#pragma unroll
            for (int n = 0; n < KEYS / 8; n++)
                now = fmaxf(now, fmaxf(s[m][n][2 * half], s[m][n][2 * half + 1]));
            now = fmaxf(now, __shfl_xor_sync(ALL_LANES, now, 1));
            now = fmaxf(now, __shfl_xor_sync(ALL_LANES, now, 2));
            moved |= now > old;
            keep[m][half] = exp2_fast((old - now) * scale);
            x.max[m][half] = now;
            x.sum[m][half] *= keep[m][half];
            float zero = now * scale, sum = 0;
#pragma unroll
            for (int n = 0; n < KEYS / 8; n++)
#pragma unroll
                for (int i = 2 * half; i < 2 * half + 2; i++)
                    sum += s[m][n][i] = exp2_fast(s[m][n][i] * scale - zero);
            x.sum[m][half] += sum;
        }
    if (!__any_sync(ALL_LANES, moved))
        return;
#pragma unroll
    for (int m = 0; m < PARTS; m++)
#pragma unroll
        for (int i = 0; i < V / 2; i++)
            out[m][i / 4][i % 4] *= keep[m][i % 4 / 2];
}

/* row is the lane's first in the sequence. */
template <int V>
static __device__ __forceinline__ void finish(const struct attention_args &a, const struct tile &t,
                                              int h, int row, struct softmax &x,
                                              float out[PARTS][V / 8][4])
{
#pragma unroll
    for (int m = 0; m < PARTS; m++)
#pragma unroll
        for (int half = 0; half < 2; half++) {
            float sum = x.sum[m][half];
            sum += __shfl_xor_sync(ALL_LANES, sum, 1);
            sum += __shfl_xor_sync(ALL_LANES, sum, 2);
            int r = row + 16 * m + half_row(2 * half);
            if (r >= t.n)
                continue;
            float *o = a.o + (t.first + r) * a.ldo + h * a.dv, one = 1 / sum;
#pragma unroll
            for (int i = 0; i < V / 4; i++) {
                int c = half_column(i / 2, i % 2);
                if (c < a.dv)
                    o[c] = out[m][i / 2][2 * half + i % 2] * one;
            }
            if (a.lse && threadIdx.x % 4 == 0)
                a.lse[(t.first + r) * a.H + h] = x.max[m][half] * a.scale + logf(sum);
        }
}

/* Blocks: x query heads of the packed key heads, y tiles from the last on. */
template <int D, int V>
static __global__ void __launch_bounds__(HALF_THREADS, 2)
    forward(struct attention_args a, struct sequences seq, struct packed p, bool causal)
{
    DYNAMIC_SHARED(uint16_t, queries);
    uint16_t *keys = queries + QUERIES * (D + PAD), *values = keys + KEYS * (D + PAD);
    int group = (int)(a.H / a.Hk), h = p.head * group + (int)blockIdx.x, past = (int)a.past;
    struct tile t = tile_find(seq, (int)(gridDim.y - 1 - blockIdx.y), QUERIES);
    int n_keys = t.n + past, last = causal ? min(t.row + QUERIES + past, n_keys) : n_keys;
    int64_t at = blockIdx.x / group * p.n_rows + t.first - p.first;
    const uint16_t *k = p.k + at * D, *v = p.v + at * V;
    float s[PARTS][KEYS / 8][4], out[PARTS][V / 8][4], scale = a.scale * 1.4426950408889634f;
    struct softmax x;
    for (int i = 0; i < PARTS * 2; i++) {
        x.max[i / 2][i % 2] = -INFINITY;
        x.sum[i / 2][i % 2] = 0;
    }
#pragma unroll
    for (int i = 0; i < PARTS * V / 2; i++)
        out[i / (V / 2)][i / 4 % (V / 8)][i % 4] = 0;
    int mine = (int)threadIdx.x / ALL_WARP * PARTS * 16, row = t.row + mine;
    half_load<D, KEYS>(keys, k, n_keys);
    copies_commit();
    load_queries<D>(queries, query_rows(a, t.first, t.n, h), t.row);
    for (int key = 0; key < last; key += KEYS) {
        copies_wait<0>();
        __syncthreads(); /* these keys are there, the last values read */
        half_load<V, KEYS>(values, v + (int64_t)key * V, n_keys - key);
        copies_commit();
        half_scores<D, PARTS, KEYS / 8>(s, queries, mine, keys);
        copies_wait<0>();
        __syncthreads(); /* the values are there, the keys read */
        if (key + KEYS < last)
            half_load<D, KEYS>(keys, k + (int64_t)(key + KEYS) * D, n_keys - key - KEYS);
        copies_commit();
        if (key + KEYS > n_keys || (causal && key + KEYS - 1 > row + past))
            mask(s, row, key, n_keys, past, causal);
        soften<V>(s, x, out, scale);
        half_output<V, PARTS, KEYS / 8>(out, s, values);
    }
    finish<V>(a, t, h, row, x, out);
}

template <int D, int V>
static void launch(struct device *dev, const struct attention_args *a, const struct packed *p,
                   int n_heads, bool causal)
{
    size_t shared = (size_t)((QUERIES + KEYS) * (D + PAD) + KEYS * (V + PAD)) * sizeof(uint16_t);
    struct sequences seq;
    struct attention_args args = *a;
    struct packed heads = *p;
    cuda_allow_shared(dev, (const void *)forward<D, V>, shared);
    for (int64_t b = 0; b < a->B;) {
        b = sequences_take(&seq, a, b, QUERIES);
        dim3 grid((unsigned)(n_heads * a->H / a->Hk), (unsigned)seq.tile[seq.n]);
        LAUNCH(dev, (forward<D, V>), grid, HALF_THREADS, shared, args, seq, heads, causal);
    }
}

/* As many key heads at a time as scratch should hold. */
bool attention_half_forward(struct device *dev, const struct attention_args *a, bool causal)
{
    const size_t budget = (size_t)1 << 30;
    struct widths w = half_widths(a);
    int64_t first = a->offset[0], n = a->offset[a->B] - first + a->past;
    if (w.d == 0 || !(a->scale > 0))
        return false;
    if (a->offset[a->B] == first)
        return true;
    size_t each = (size_t)n * (size_t)(w.d + w.v) * sizeof(uint16_t);
    int64_t heads = budget / each ? (int64_t)(budget / each) : 1;
    heads = heads < a->Hk ? heads : a->Hk;
    uint16_t *scratch = (uint16_t *)cuda_scratch(dev, each * (size_t)heads);
    if (!scratch)
        return true;
    for (int64_t h = 0; h < a->Hk; h += heads) {
        int some = (int)(heads < a->Hk - h ? heads : a->Hk - h);
        struct packed p = {scratch, scratch + n * w.d * some, n, first, (int)h};
        struct rows k = key_rows(*a, first, (int)n, (int)h),
                    v = value_rows(*a, first, (int)n, (int)h);
        half_pack(dev, scratch, &k, a->k_head, some, w.d);
        half_pack(dev, scratch + n * w.d * some, &v, a->v_head, some, w.v);
        if (w.d == 32)
            launch<32, 32>(dev, a, &p, some, causal);
        else if (w.d == 64)
            launch<64, 64>(dev, a, &p, some, causal);
        else if (w.d == 96)
            launch<96, 96>(dev, a, &p, some, causal);
        else if (w.d == 128)
            launch<128, 128>(dev, a, &p, some, causal);
        else
            launch<192, 128>(dev, a, &p, some, causal);
    }
    return true;
}
