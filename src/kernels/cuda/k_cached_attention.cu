/* Attention of new rows over kept keys and values. Few rows: the positions are cut into parts, a block each, so that even one row keeps the
 * whole card reading (flash-decoding, Dao et al. 2023); the parts' outputs are joined in order. Many rows: the kernels of prompts.
 *
 * A block has up to 16 of the rows that read one key head (the query heads of its group, of all new tokens), and goes over its part by
 * 64 positions: scores, by 8 threads a position; a running softmax, by a warp a row; the sum of values, by 4 columns a thread. Keys and values
 * are read once for all the block's rows. Everything is float32.
 */
#include "kernels/cuda/attention_half.h"

enum { THREADS = 256, WARPS = THREADS / ALL_WARP, LANES = 8, POSITIONS = 64, MANY_ROWS = 16 };

/* Blocks of R rows that a multiprocessor should hold: as many as registers allow without spilling. */
static constexpr int resident(int R)
{
    return R > 8 ? 1 : R > 4 ? 2 : 3;
}

enum { PAIR = POSITIONS / (THREADS / LANES) }; /* positions of a thread's scores */

struct parts {
    float *out;    /* [parts][T·H][dv], each to be divided by its sum */
    float2 *state; /* [parts][T·H]: maximum, sum */
    int64_t chunk; /* positions of a part */
    int rows;      /* of a key head: T · H/Hk */
    int width;     /* of a row of q in shared memory: d rounded up to 32 */
    int across;    /* threads side by side over the columns of values, 4 each */
    int columns;   /* blocks over the columns */
};

/* Numbers c … c+3 of a row of n, zeros beyond. WIDE: by 16 bytes. */
template <bool WIDE> static __device__ __forceinline__ float4 take(const float *row, int c, int n)
{
    if (WIDE)
        return c < n ? *(const float4 *)(row + c) : make_float4(0, 0, 0, 0);
    return make_float4(c < n ? row[c] : 0, c + 1 < n ? row[c + 1] : 0, c + 2 < n ? row[c + 2] : 0,
                       c + 3 < n ? row[c + 3] : 0);
}

/* Row r of a key head, counted as token · group + head in the group, as a row of [T·H]. */
static __device__ __forceinline__ int64_t row_of(const struct cached_attention_args &a, int kh,
                                                 int r)
{
    int group = (int)(a.H / a.Hk);
    return (int64_t)(r / group) * a.H + kh * group + r % group;
}

template <int R> struct __align__(R < 4 ? 4 * R : 16) weights
{
    float of[R];
};

template <int R> struct shared {
    struct weights<R> weight[POSITIONS]; /* scores, then weights */
    float max[R], sum[R], keep[R];
    __align__(16) float q[4]; /* [R][width], or the sums of columns on their way */
};

/* Scores of the 64 positions from u on, −∞ where a row does not see them. */
template <int R, bool WIDE>
static __device__ __forceinline__ void score(const struct cached_attention_args &a,
                                             const struct parts &p, struct shared<R> *m, int kh,
                                             int first, int64_t u, int64_t end)
{
    int lane = threadIdx.x % LANES, mine = threadIdx.x / LANES, d = (int)a.d;
    float s[PAIR][R];
    const float *k[PAIR];
    for (int i = 0; i < PAIR; i++) {
        int64_t at = u + mine + i * (THREADS / LANES);
        k[i] = a.k + (at < end ? at : u) * a.ldk + (int64_t)kh * d;
        for (int r = 0; r < R; r++)
            s[i][r] = 0;
    }
#pragma unroll 4
    for (int c = lane * 4; c < p.width; c += LANES * 4) {
        float4 x[PAIR];
#pragma unroll
        for (int i = 0; i < PAIR; i++)
            x[i] = take<WIDE>(k[i], c, d);
#pragma unroll
        for (int r = 0; r < R; r++) {
            float4 q = *(const float4 *)(m->q + r * p.width + c);
#pragma unroll
            for (int i = 0; i < PAIR; i++)
                s[i][r] += q.x * x[i].x + q.y * x[i].y + q.z * x[i].z + q.w * x[i].w;
        }
    }
#pragma unroll
    for (int i = 0; i < PAIR; i++)
#pragma unroll
        for (int r = 0; r < R; r++) {
            float sum = s[i][r];
            for (int j = LANES / 2; j; j >>= 1)
                sum += __shfl_xor_sync(ALL_LANES, sum, j);
            int at = mine + i * (THREADS / LANES);
            int64_t seen = a.n - a.T + (first + r) / (a.H / a.Hk) + 1;
            if (lane == r % LANES)
                m->weight[at].of[r] = u + at < min(end, seen) ? sum * a.scale : -INFINITY;
        }
}

/* Scores become weights, a warp a row; keep is what the sums so far are to be multiplied by. */
template <int R> static __device__ __forceinline__ void soften(struct shared<R> *m)
{
    int lane = threadIdx.x % ALL_WARP;
    for (int r = threadIdx.x / ALL_WARP; r < R; r += WARPS) {
        float old = m->max[r], x = m->weight[lane].of[r], y = m->weight[lane + 32].of[r];
        float max = fmaxf(old, warp_max(fmaxf(x, y)));
        float zero = max == -INFINITY ? 0 : max; /* a row that sees nothing here */
        x = expf(x - zero);
        y = expf(y - zero);
        m->weight[lane].of[r] = x;
        m->weight[lane + 32].of[r] = y;
        float sum = warp_sum(x + y), keep = expf(old - zero);
        __syncwarp(); /* every lane has read what lane 0 writes now */
        if (lane == 0) {
            m->keep[r] = keep;
            m->max[r] = max;
            m->sum[r] = m->sum[r] * keep + sum;
        }
    }
}

/* out += weights · values, this thread's 4 columns from c on, every step-th position from its own on. */
template <int R, bool WIDE>
static __device__ __forceinline__ void mix(float4 out[R], const struct cached_attention_args &a,
                                           const struct shared<R> *m, int kh, int c, int mine,
                                           int step, int64_t u, int64_t end)
{
    const float *v = a.v + u * a.ldv + kh * a.v_head;
    int n = (int)min((int64_t)POSITIONS, end - u);
#pragma unroll
    for (int r = 0; r < R; r++) {
        float keep = m->keep[r];
        out[r] = make_float4(out[r].x * keep, out[r].y * keep, out[r].z * keep, out[r].w * keep);
    }
#pragma unroll 4
    for (int i = mine; i < n; i += step) {
        float4 x = take<WIDE>(v + i * a.ldv, c, (int)a.dv);
        struct weights<R> w = m->weight[i];
#pragma unroll
        for (int r = 0; r < R; r++) {
            out[r].x += w.of[r] * x.x;
            out[r].y += w.of[r] * x.y;
            out[r].z += w.of[r] * x.z;
            out[r].w += w.of[r] * x.w;
        }
    }
}

/* Sums over the threads of the same columns, half of them giving to the other half until one is left. */
template <int R>
static __device__ __forceinline__ void gather(float4 out[R], struct shared<R> *m, int across)
{
    float4 *given = (float4 *)m->q;
    int t = threadIdx.x;
    for (int half = THREADS / 2; half >= across; half /= 2) {
        __syncthreads();
        if (t >= half && t < 2 * half)
            for (int r = 0; r < R; r++)
                given[r * half + t - half] = out[r];
        __syncthreads();
        if (t < half)
            for (int r = 0; r < R; r++) {
                float4 x = given[r * half + t];
                out[r] =
                    make_float4(out[r].x + x.x, out[r].y + x.y, out[r].z + x.z, out[r].w + x.w);
            }
    }
}

/* Blocks: x parts, y key heads, z rows by R, times columns by 4 · across. */
template <int R, bool WIDE>
static __global__ void __launch_bounds__(THREADS, resident(R))
    attend(struct cached_attention_args a, struct parts p)
{
    DYNAMIC_SHARED(unsigned char, bytes);
    struct shared<R> *m = (struct shared<R> *)(void *)bytes;
    int kh = blockIdx.y, first = (int)blockIdx.z / p.columns * R;
    int c = ((int)blockIdx.z % p.columns * p.across + (int)threadIdx.x % p.across) * 4;
    int64_t begin = blockIdx.x * p.chunk, end = min(begin + p.chunk, a.n);
    int n = min(R, p.rows - first);
    for (int i = threadIdx.x; i < R * p.width; i += THREADS) {
        int r = i / p.width, j = i % p.width, row = first + min(r, n - 1);
        int64_t t = row / (a.H / a.Hk), h = kh * (a.H / a.Hk) + row % (a.H / a.Hk);
        m->q[i] = j < a.d ? a.q[t * a.ldq + h * a.d + j] : 0;
    }
    if (threadIdx.x < R) {
        m->max[threadIdx.x] = -INFINITY;
        m->sum[threadIdx.x] = 0;
    }
    float4 out[R];
    for (int r = 0; r < R; r++)
        out[r] = make_float4(0, 0, 0, 0);
    for (int64_t u = begin; u < end; u += POSITIONS) {
        __syncthreads(); /* what was there is read */
        score<R, WIDE>(a, p, m, kh, first, u, end);
        __syncthreads();
        soften<R>(m);
        __syncthreads();
        mix<R, WIDE>(out, a, m, kh, c, (int)threadIdx.x / p.across, THREADS / p.across, u, end);
    }
    gather<R>(out, m, p.across);
    for (int r = 0; r < n; r++) {
        int64_t at = blockIdx.x * (a.T * a.H) + row_of(a, kh, first + r);
        float mine[4] = {out[r].x, out[r].y, out[r].z, out[r].w};
        if ((int)threadIdx.x < p.across)
            for (int i = 0; i < 4 && c + i < a.dv; i++)
                p.out[at * a.dv + c + i] = mine[i];
        if (c == 0 && threadIdx.x == 0)
            p.state[at] = {m->max[r], m->sum[r]};
    }
}

/* o = Σ of the parts' outputs, each brought to the largest maximum, over Σ of their sums. Blocks: x rows of [T·H], y columns by 32; each
 * of the 8 warps adds every 8th part. */
static __global__ void __launch_bounds__(THREADS)
    join(struct cached_attention_args a, struct parts p, int n)
{
    __shared__ float outs[WARPS][ALL_WARP], sums[WARPS];
    int lane = threadIdx.x % ALL_WARP, warp = threadIdx.x / ALL_WARP;
    int64_t row = blockIdx.x, rows = a.T * a.H, c = blockIdx.y * ALL_WARP + lane;
    float max = -INFINITY, out = 0, sum = 0;
    for (int i = lane; i < n; i += ALL_WARP)
        max = fmaxf(max, p.state[i * rows + row].x);
    max = warp_max(max);
    for (int i = warp; i < n; i += WARPS) {
        float2 state = p.state[i * rows + row];
        float w = expf(state.x - max);
        sum += w * state.y;
        if (c < a.dv)
            out += w * p.out[(i * rows + row) * a.dv + c];
    }
    outs[warp][lane] = out;
    if (lane == 0)
        sums[warp] = sum;
    __syncthreads();
    if (warp > 0 || c >= a.dv)
        return;
    for (int i = 1; i < WARPS; i++) {
        out += outs[i][lane];
        sum += sums[i];
    }
    a.o[row / a.H * a.ldo + row % a.H * a.dv + c] = out / sum;
}

template <int R>
static void launch(struct device *dev, const struct cached_attention_args *a, const struct parts *p,
                   unsigned n_parts, bool wide)
{
    size_t rest = (size_t)R * (size_t)(p->width > THREADS * 2 ? p->width : THREADS * 2);
    size_t n_bytes = sizeof(struct shared<R>) + rest * sizeof(float);
    struct cached_attention_args args = *a;
    struct parts parts = *p;
    dim3 grid(n_parts, (unsigned)a->Hk, blocks_for(p->rows, R) * (unsigned)p->columns);
    cuda_allow_shared(dev, wide ? (const void *)attend<R, true> : (const void *)attend<R, false>,
                      n_bytes);
    if (wide)
        LAUNCH(dev, (attend<R, true>), grid, THREADS, n_bytes, args, parts);
    else
        LAUNCH(dev, (attend<R, false>), grid, THREADS, n_bytes, args, parts);
}

static bool in_fours(const float *p, int64_t x, int64_t y, int64_t z)
{
    return (uintptr_t)p % 16 == 0 && (x | y | z) % 4 == 0;
}

/* Rows of a block, 1 to 16: all of them if they fit, queries of 64 KiB at most. */
static int rows_each(int64_t rows, int width)
{
    int each = 1;
    while (each < 16 && each < rows && 2 * each * width <= 16384)
        each *= 2;
    return each;
}

static void few_rows(struct device *dev, const struct cached_attention_args *a)
{
    int64_t rows = a->T * a->H / a->Hk, all = a->T * a->H;
    struct parts p = {NULL, NULL, 0, (int)rows, ((int)a->d + 31) / 32 * 32, LANES, 1};
    while (p.across < THREADS / 2 && p.across * 4 < a->dv)
        p.across *= 2;
    p.columns = (int)blocks_for(a->dv, p.across * 4);
    int each = rows_each(rows, p.width);
    while (each > 1 &&
           2 * blocks_for(a->n, POSITIONS) * a->Hk * blocks_for(rows, each) * p.columns <=
               cuda_of(dev)->n_sms)
        each /= 2; /* half the card would stand idle: rather read keys twice */
    int64_t wanted = resident(each) * cuda_of(dev)->n_sms /
                     (a->Hk * blocks_for(rows, each) * p.columns), /* all of them at a time */
        most = blocks_for(a->n, POSITIONS);
    wanted = wanted < 1 ? 1 : wanted < most ? wanted : most;
    p.chunk = (int64_t)blocks_for(blocks_for(a->n, wanted), POSITIONS) * POSITIONS;
    unsigned n = blocks_for(a->n, p.chunk);
    size_t state_bytes = ((size_t)(n * all) * sizeof *p.state + 255) / 256 * 256;
    char *scratch =
        (char *)cuda_scratch(dev, state_bytes + (size_t)(n * all * a->dv) * sizeof(float));
    if (!scratch)
        return;
    p.state = (float2 *)(void *)scratch;
    p.out = (float *)(void *)(scratch + state_bytes);
    bool wide = in_fours(a->k, a->ldk, a->d, 0) && in_fours(a->v, a->ldv, a->v_head, a->dv);
    if (each == 16)
        launch<16>(dev, a, &p, n, wide);
    else if (each == 8)
        launch<8>(dev, a, &p, n, wide);
    else if (each == 4)
        launch<4>(dev, a, &p, n, wide);
    else if (each == 2)
        launch<2>(dev, a, &p, n, wide);
    else
        launch<1>(dev, a, &p, n, wide);
    struct cached_attention_args args = *a;
    LAUNCH(dev, join, dim3((unsigned)all, blocks_for(a->dv, ALL_WARP)), THREADS, 0, args, p,
           (int)n);
}

static void many_rows(struct device *dev, const struct cached_attention_args *a)
{
    int32_t offset[2] = {0, (int32_t)a->T};
    struct attention_args args = {};
    args.o = a->o;
    args.q = a->q;
    args.k = a->k;
    args.v = a->v;
    args.ldo = a->ldo;
    args.ldq = a->ldq;
    args.ldk = a->ldk;
    args.ldv = a->ldv;
    args.k_head = args.dn = a->d;
    args.v_head = a->v_head;
    args.dv = a->dv;
    args.offset = offset;
    args.past = a->n - a->T;
    args.B = 1;
    args.H = a->H;
    args.Hk = a->Hk;
    args.scale = a->scale;
    if (a->compute != DT_BF16 || !attention_half_forward(dev, &args, true))
        attention_plain_forward(dev, &args, true);
}

void cuda_cached_attention(struct device *dev, const struct cached_attention_args *a)
{
    if (a->T >= MANY_ROWS)
        many_rows(dev, a);
    else if (a->T > 0)
        few_rows(dev, a);
}
