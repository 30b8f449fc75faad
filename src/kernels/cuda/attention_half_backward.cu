/* Attention's gradient on tensor cores, definitions as in attention_plain_backward.cu, operands in bf16 and sums in float32.
 *
 * One kernel makes all gradients without adding into what another block writes. A block of four warps owns 64 rows, 16 a warp, of two packed
 * arrays x and y, and goes over the rows of the two others, x' and y', by 32, two tiles of them in shared memory:
 *     s = x·x'ᵀ      dp = y·y'ᵀ      p = exp(scale·s − lse)      ds = scale · p·(dp − delta)
 *     of queries:  x, y = q, do    x', y' = k, v      dq = Σ ds·x'
 *     of keys:     x, y = k, v     x', y' = q, do     dk = Σ ds·x'    dv = Σ p·y'
 * so that p and ds are left operands as they lie in registers. Keys go over the query heads of theirs one after the other.
 */
#include "kernels/cuda/attention_half.h"

enum { OWN = HALF_WARPS * 16, OTHER = 32, OTHER_N = OTHER / 8 };

/* Packed arrays of n rows a head, row 0 being first of the float32 ones. */
struct packed {
    uint16_t *q, *d_o, *k, *v;
    int64_t n, first;
};

/* A stage: tiles of x' and y', and for keys lse · log2 e and delta of the queries. */
template <int D, int V> struct stage {
    uint16_t x[OTHER * (D + PAD)], y[OTHER * (V + PAD)];
    float lse[OTHER], delta[OTHER];
};

template <int D, int V> struct shared {
    uint16_t x[OWN * (D + PAD)], y[OWN * (V + PAD)];
    struct stage<D, V> stage[2];
};

/* lse · log2 e and delta of a query, such that beyond the last one every weight is zero. */
struct row_numbers {
    float lse, delta;
};

static __device__ __forceinline__ struct row_numbers row_numbers(const struct attention_args &a,
                                                                 const struct backward &b,
                                                                 const struct tile &t, int h,
                                                                 int row)
{
    int64_t at = (t.first + row) * a.H + h;
    if (row >= t.n)
        return {INFINITY, 0};
    return {a.lse[at] * 1.4426950408889634f, b.delta[at]};
}

/* s → p and dp → ds; own is the warp's first row. of[half] are the numbers of own queries, st's those of other ones. */
template <bool OF_KEYS, int D, int V>
static __device__ __forceinline__ void
weigh(float s[OTHER_N][4], float dp[OTHER_N][4], const struct stage<D, V> &st,
      const struct row_numbers of[2], float scale, int own, int other)
{
    float binary = scale * 1.4426950408889634f;
    bool whole = OF_KEYS ? other >= own + 15 : own >= other + OTHER - 1;
#pragma unroll
    for (int n = 0; n < OTHER_N; n++)
#pragma unroll
        for (int i = 0; i < 4; i++) {
            int c = half_column(n, i), row = own + half_row(i), col = other + c;
            float lse = OF_KEYS ? st.lse[c] : of[i / 2].lse,
                  delta = OF_KEYS ? st.delta[c] : of[i / 2].delta;
            float p = exp2_fast(s[n][i] * binary - lse);
            if (!whole && (OF_KEYS ? row > col : col > row))
                p = 0;
            s[n][i] = p;
            dp[n][i] = p * (dp[n][i] - delta) * scale;
        }
}

/* Number col of the row of a gradient; NULL beyond its width. */
static __device__ __forceinline__ float *
query_place(const struct attention_args &a, const struct backward &b, int64_t row, int h, int col)
{
    int64_t d = a.dn + a.dr;
    return col < d ? b.g.dq + row * a.ldq + h * d + col : NULL;
}

static __device__ __forceinline__ float *
key_place(const struct attention_args &a, const struct backward &b, int64_t row, int h, int col)
{
    if (col < a.dn)
        return b.g.dk + row * a.ldk + h * a.k_head + col;
    return col < a.dn + a.dr
               ? b.dkr + ((row - b.first) * b.n_heads + h - b.head) * a.dr + col - a.dn
               : NULL;
}

static __device__ __forceinline__ float *
value_place(const struct attention_args &a, const struct backward &b, int64_t row, int h, int col)
{
    return col < a.dv ? b.g.dv + row * a.ldv + h * a.v_head + col : NULL;
}

typedef float *gradient_place(const struct attention_args &a, const struct backward &b, int64_t row,
                              int h, int col);

/* own is the warp's first row. */
template <int D, gradient_place PLACE>
static __device__ __forceinline__ void put(const struct attention_args &a, const struct backward &b,
                                           const struct tile &t, int h, int own,
                                           const float out[D / 8][4])
{
#pragma unroll
    for (int i = 0; i < D / 2; i++) {
        int row = own + half_row(i % 4);
        float *to = row < t.n ? PLACE(a, b, t.first + row, h, half_column(i / 4, i)) : NULL;
        if (to)
            *to = out[i / 4][i % 4];
    }
}

/* What a block goes over: tiles of 32 other rows, of one query head after the other. */
struct walk {
    int head, from, tiles,
        n; /* the first query head, the first other row, tiles a head, all of them */
};

template <bool OF_KEYS>
static __device__ __forceinline__ struct walk walk_of(const struct attention_args &a,
                                                      const struct tile &t, int mine)
{
    int group = (int)(a.H / a.Hk);
    if (!OF_KEYS) {
        int tiles = (min(t.row + OWN, t.n) + OTHER - 1) / OTHER;
        return {mine, 0, tiles, tiles};
    }
    int tiles = (t.n - t.row + OTHER - 1) / OTHER;
    return {mine * group, t.row, tiles, tiles * group};
}

/* Blocks: x heads from b.head on, y tiles, those with most to do first. */
template <bool OF_KEYS, int D, int V>
static __global__ void __launch_bounds__(HALF_THREADS, 2)
    gradient(struct attention_args a, struct backward b, struct sequences seq, struct packed p)
{
    DYNAMIC_SHARED(unsigned char, bytes);
    struct shared<D, V> *m = (struct shared<D, V> *)(void *)bytes;
    int group = (int)(a.H / a.Hk), index = (int)blockIdx.y;
    struct tile t = tile_find(seq, OF_KEYS ? index : (int)gridDim.y - 1 - index, OWN);
    int q0 = b.head * group, mine = (OF_KEYS ? b.head : q0) + (int)blockIdx.x;
    struct walk w = walk_of<OF_KEYS>(a, t, mine);
    int64_t at = t.first - p.first;
    int own = t.row + (int)threadIdx.x / ALL_WARP * 16;
    float dx[D / 8][4], dy[V / 8][4];
#pragma unroll
    for (int i = 0; i < D / 2; i++)
        dx[i / 4][i % 4] = 0;
#pragma unroll
    for (int i = 0; i < V / 2; i++)
        dy[i / 4][i % 4] = 0;
    {
        int64_t row = blockIdx.x * p.n + at + t.row;
        half_load<D, OWN>(m->x, (OF_KEYS ? p.k : p.q) + row * D, t.n - t.row);
        half_load<V, OWN>(m->y, (OF_KEYS ? p.v : p.d_o) + row * V, t.n - t.row);
    }
    struct row_numbers of[2], next = {0, 0};
    if (!OF_KEYS)
        for (int i = 0; i < 2; i++)
            of[i] = row_numbers(a, b, t, mine, own + half_row(2 * i));
    for (int i = -1; i < w.n; i++) {
        struct stage<D, V> *st = &m->stage[(i + 1) & 1];
        if (i + 1 < w.n) { /* the next tile under way */
            int h = w.head + (i + 1) / w.tiles, other = w.from + (i + 1) % w.tiles * OTHER;
            int64_t row = (OF_KEYS ? h - q0 : h / group - b.head) * p.n + at + other;
            half_load<D, OTHER>(st->x, (OF_KEYS ? p.q : p.k) + row * D, t.n - other);
            half_load<V, OTHER>(st->y, (OF_KEYS ? p.d_o : p.v) + row * V, t.n - other);
            if (OF_KEYS && threadIdx.x < OTHER)
                next = row_numbers(a, b, t, h, other + (int)threadIdx.x);
        }
        copies_commit();
        if (i >= 0) {
            const struct stage<D, V> *now = &m->stage[i & 1];
            int other = w.from + i % w.tiles * OTHER, warp = own - t.row;
            copies_wait<1>();
            __syncthreads(); /* this tile is there */
            float s[1][OTHER_N][4], dp[1][OTHER_N][4];
            half_scores<D, 1, OTHER_N>(s, m->x, warp, now->x);
            half_scores<V, 1, OTHER_N>(dp, m->y, warp, now->y);
            weigh<OF_KEYS, D, V>(s[0], dp[0], *now, of, a.scale, own, other);
            if (OF_KEYS)
                half_output<V, 1, OTHER_N>(&dy, s, now->y);
            half_output<D, 1, OTHER_N>(&dx, dp, now->x);
        }
        if (OF_KEYS && i + 1 < w.n && threadIdx.x < OTHER) {
            st->lse[threadIdx.x] = next.lse;
            st->delta[threadIdx.x] = next.delta;
        }
        __syncthreads(); /* and was read */
    }
    if (OF_KEYS) {
        put<D, key_place>(a, b, t, mine, own, dx);
        put<V, value_place>(a, b, t, mine, own, dy);
    } else {
        put<D, query_place>(a, b, t, mine, own, dx);
    }
}

template <bool OF_KEYS, int D, int V>
static void launch_one(struct device *dev, const struct attention_args *a, const struct backward *b,
                       const struct sequences *s, const struct packed *p)
{
    struct attention_args args = *a;
    struct backward back = *b;
    struct sequences seq = *s;
    struct packed arrays = *p;
    unsigned heads = (unsigned)(OF_KEYS ? b->n_heads : b->n_heads * a->H / a->Hk);
    dim3 grid(heads, (unsigned)seq.tile[seq.n]);
    size_t n_bytes = sizeof(struct shared<D, V>);
    cuda_allow_shared(dev, (const void *)gradient<OF_KEYS, D, V>, n_bytes);
    LAUNCH(dev, (gradient<OF_KEYS, D, V>), grid, HALF_THREADS, n_bytes, args, back, seq, arrays);
}

template <int D, int V>
static void launch(struct device *dev, const struct attention_args *a, const struct backward *b,
                   const struct packed *p)
{
    struct sequences seq;
    for (int64_t i = 0; i < a->B;) {
        i = sequences_take(&seq, a, i, OWN);
        launch_one<true, D, V>(dev, a, b, &seq, p);
        launch_one<false, D, V>(dev, a, b, &seq, p);
    }
}

size_t attention_half_bytes(const struct attention_args *a)
{
    struct widths w = half_widths(a);
    int64_t n = a->offset[a->B] - a->offset[0];
    return (size_t)(n * (w.d + w.v) * (1 + a->H / a->Hk)) * sizeof(uint16_t);
}

void attention_half_backward(struct device *dev, const struct attention_args *a,
                             const struct backward *b, void *scratch)
{
    struct widths w = half_widths(a);
    int64_t first = a->offset[0], n = a->offset[a->B] - first;
    int group = (int)(a->H / a->Hk), heads = b->n_heads, h = b->head;
    struct packed p = {(uint16_t *)scratch, NULL, NULL, NULL, n, first};
    p.d_o = p.q + n * w.d * heads * group;
    p.k = p.d_o + n * w.v * heads * group;
    p.v = p.k + n * w.d * heads;
    struct rows q = query_rows(*a, first, (int)n, h * group),
                d_o = output_rows(*a, b->g.d_o, first, (int)n, h * group),
                k = key_rows(*a, first, (int)n, h), v = value_rows(*a, first, (int)n, h);
    half_pack(dev, p.q, &q, a->dn + a->dr, heads * group, w.d);
    half_pack(dev, p.d_o, &d_o, a->dv, heads * group, w.v);
    half_pack(dev, p.k, &k, a->k_head, heads, w.d);
    half_pack(dev, p.v, &v, a->v_head, heads, w.v);
    if (w.d == 32)
        launch<32, 32>(dev, a, b, &p);
    else if (w.d == 64)
        launch<64, 64>(dev, a, b, &p);
    else if (w.d == 96)
        launch<96, 96>(dev, a, b, &p);
    else if (w.d == 128)
        launch<128, 128>(dev, a, b, &p);
    else
        launch<192, 128>(dev, a, b, &p);
}
