/* Attention's gradient in float32. With s = scale·q·k, p = exp(s − lse), dp = do·v and ds = scale · p·(dp − delta):
 *     dq[t] = Σ_u ds·k[u]        dk[u] = Σ_t ds·q[t]        dv[u] = Σ_t p·do[t]
 * One kernel makes all three: a block owns 64 rows (queries of a head, or keys of a key head) and 128 columns of one gradient, and goes over
 * the others by 64 in order, scores computed anew. Keys go over the query heads of theirs one after the other.
 */
#include "kernels/cuda/attention_plain.h"

enum side { TO_QUERY, TO_KEY, TO_VALUE };

/* s → ds, or p alone, in place: own row 4y + i with other row 4x + j. */
template <side TO>
static __device__ __forceinline__ void
weigh(float s[4][4], const float dp[4][4], const struct attention_args &a, const struct backward &b,
      const struct tile &t, int h, int other)
{
    int own = t.row + threadIdx.x / 16 * 4;
    other += threadIdx.x % 16 * 4;
#pragma unroll
    for (int i = 0; i < 4; i++)
#pragma unroll
        for (int j = 0; j < 4; j++) {
            int query = TO == TO_QUERY ? own + i : other + j,
                key = TO == TO_QUERY ? other + j : own + i;
            float w = 0;
            if (query < t.n && key <= query) {
                int64_t at = (t.first + query) * a.H + h;
                w = expf(s[i][j] * a.scale - a.lse[at]);
                if (TO != TO_VALUE)
                    w *= (dp[i][j] - b.delta[at]) * a.scale;
            }
            s[i][j] = w;
        }
}

/* Where number col of row of that gradient lies; NULL beyond its width. */
template <side TO>
static __device__ __forceinline__ float *
place(const struct attention_args &a, const struct backward &b, int64_t row, int h, int col)
{
    if (TO == TO_QUERY)
        return col < a.dn + a.dr ? b.g.dq + row * a.ldq + h * (a.dn + a.dr) + col : NULL;
    if (TO == TO_VALUE)
        return col < a.dv ? b.g.dv + row * a.ldv + h * a.v_head + col : NULL;
    if (col < a.dn)
        return b.g.dk + row * a.ldk + h * a.k_head + col;
    return col < a.dn + a.dr
               ? b.dkr + ((row - b.first) * b.n_heads + h - b.head) * a.dr + col - a.dn
               : NULL;
}

/* Blocks: x heads from b.head on, y tiles, z columns by 128. */
template <side TO>
static __global__ void __launch_bounds__(PLAIN_THREADS)
    gradient(struct attention_args a, struct backward b, struct sequences seq)
{
    __shared__ struct plain_shared shared;
    int group = (int)(a.H / a.Hk), index = (int)blockIdx.y;
    int mine = (TO == TO_QUERY ? b.head * group : b.head) + (int)blockIdx.x,
        col = (int)blockIdx.z * COLUMNS;
    struct tile t = tile_find(seq, TO == TO_QUERY ? (int)gridDim.y - 1 - index : index, ROWS);
    int h = TO == TO_QUERY ? mine : mine * group, end = TO == TO_QUERY ? h + 1 : h + group;
    int from = TO == TO_QUERY ? 0 : t.row, to = TO == TO_QUERY ? min(t.row + ROWS, t.n) : t.n;
    int kh = TO == TO_QUERY ? h / group : mine;
    struct rows k = key_rows(a, t.first, t.n, kh), v = value_rows(a, t.first, t.n, kh);
    float out[4][8];
    for (int i = 0; i < 32; i++)
        out[i / 8][i % 8] = 0;
    for (; h < end; h++) {
        struct rows q = query_rows(a, t.first, t.n, h),
                    d_o = output_rows(a, b.g.d_o, t.first, t.n, h);
        for (int other = from; other < to; other += ROWS) {
            float s[4][4], dp[4][4];
            plain_scores(s, &shared, TO == TO_QUERY ? q : k, t.row, TO == TO_QUERY ? k : q, other);
            if (TO != TO_VALUE)
                plain_scores(dp, &shared, TO == TO_QUERY ? d_o : v, t.row, TO == TO_QUERY ? v : d_o,
                             other);
            weigh<TO>(s, dp, a, b, t, h, other);
            plain_weights(&shared, s);
            plain_output(out, &shared, TO == TO_QUERY ? k : TO == TO_KEY ? q : d_o, other, col);
        }
    }
    for (int i = 0; i < 32; i++) {
        int row = t.row + (int)threadIdx.x / 16 * 4 + i / 8;
        float *to_write = place<TO>(a, b, t.first + row, mine, col + plain_column(i % 8));
        if (row < t.n && to_write)
            *to_write = out[i / 8][i % 8];
    }
}

void attention_plain_backward(struct device *dev, const struct attention_args *a,
                              const struct backward *b)
{
    struct sequences seq;
    struct attention_args args = *a;
    struct backward back = *b;
    unsigned parts = blocks_for(a->dn + a->dr, COLUMNS), value_parts = blocks_for(a->dv, COLUMNS);
    unsigned heads = (unsigned)b->n_heads, group = (unsigned)(a->H / a->Hk);
    for (int64_t i = 0; i < a->B;) {
        i = sequences_take(&seq, a, i, ROWS);
        unsigned tiles = (unsigned)seq.tile[seq.n];
        LAUNCH(dev, (gradient<TO_QUERY>), dim3(heads * group, tiles, parts), PLAIN_THREADS, 0, args,
               back, seq);
        LAUNCH(dev, (gradient<TO_KEY>), dim3(heads, tiles, parts), PLAIN_THREADS, 0, args, back,
               seq);
        LAUNCH(dev, (gradient<TO_VALUE>), dim3(heads, tiles, value_parts), PLAIN_THREADS, 0, args,
               back, seq);
    }
}
