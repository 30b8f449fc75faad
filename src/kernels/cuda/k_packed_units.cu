/* Products of a few rows with packed whole numbers, by the tensor cores: what limits them is the memory, as decoding takes few instructions.
 *
 * A row of x is split into three bf16 numbers each of 8 bits, which together are the float32 number, and the three are columns of a
 * product [16 rows of w] · [8 columns]. Codes become pairs of bf16 by their bits (128 + code is exact), NF4's pairs of levels come out
 * of a table that every lane has its own bank of: levels are rounded to bf16, all else is float32. Groups' sums are multiplied by
 * their scales in float32, and the three columns are added at the end.
 *
 * A block's warps take a tile of 16 rows, each every 8th step of 256 numbers of K, and have the next step's loads under way while they
 * add up the last. In a step lane l has rows l/4 and l/4 + 8, of each the cells l%4 and l%4 + 4 of the eight (packed.h). The sums of the
 * warps meet in shared memory, in order. One row of x is laid out by every block for itself, more by a kernel before.
 */
#include "kernels/cuda/packed.h"

enum { THREADS = 256, WARPS = THREADS / 32, TILE = 16, PARTS = 3, EIGHTHS = 4, BLOCKS = 2 };
enum { PAIRS = 256, LOCAL_BYTES = 48 << 10 };

/* Columns of the products of M rows of x come in so many eights. */
FORM_FACT int eights_of(int M)
{
    return (M * PARTS + 7) / 8;
}

struct units_list {
    struct packed_job job[FEW_JOBS];
};

/* ---- x: fragments of columns ---- */

/* Number j of the four that lane quad t has in the fragment of half h of (unit, eighth, pass): where along K. A pass of an integer form
 * is a quad, in the order in which codes come out of a word; of NF4, the bytes 2·pass and 2·pass + 1 of a word, of both quads. */
template <int F>
static __device__ __forceinline__ int place_of(int u, int eighth, int pass, int h, int t, int j)
{
    int cell = eighth * 8 + h * 4 + t;
    if (F == PACKED_NF4)
        return u * UNIT + quad_at(F, cell, j % 2) + 2 * pass + j / 2;
    return u * UNIT + quad_at(F, cell, pass) + j / 2 + j % 2 * 2;
}

/* Upper halves of two floats side by side. */
static __device__ __forceinline__ uint32_t upper_halves(float low, float high)
{
    return __float_as_uint(low) >> 16 | (__float_as_uint(high) & 0xffff0000u);
}

static __device__ __forceinline__ float without_upper(float x)
{
    return x - __uint_as_float(__float_as_uint(x) & 0xffff0000u);
}

/* The three parts' fragments of group (unit, eighth, pass) for lane quad t; x NULL: zeros. */
template <int F>
static __device__ __forceinline__ void split(uint4 to[PARTS], const float *x, int group, int t,
                                             int K)
{
    int pass = group % 2, eighth = group / 2 % EIGHTHS, u = group / 2 / EIGHTHS;
    float v[8];
#pragma unroll
    for (int j = 0; j < 8; j++) {
        int k = place_of<F>(u, eighth, pass, j / 4, t, j % 4);
        v[j] = x && k < K ? __ldg(x + k) : 0;
    }
#pragma unroll
    for (int part = 0; part < PARTS; part++) {
        to[part] = make_uint4(upper_halves(v[0], v[1]), upper_halves(v[2], v[3]),
                              upper_halves(v[4], v[5]), upper_halves(v[6], v[7]));
#pragma unroll
        for (int j = 0; j < 8; j++)
            v[j] = without_upper(v[j]);
    }
}

/* Fragments of M rows of every job: [job][eight of columns][group][lane]. */
template <int F, int M>
static __global__ void __launch_bounds__(THREADS)
    lay_out(uint4 *to, const struct packed_call c, const __grid_constant__ struct units_list list,
            int groups)
{
    const struct packed_job job = list.job[blockIdx.y];
    int64_t i = thread_index();
    int t = (int)(i % 4), m = (int)(i / 4 % M);
    int64_t group = i / 4 / M, slot = job.first + m;
    if (group >= groups)
        return;
    const float *x = m < job.n ? c.x + (c.x_row ? c.x_row[slot] : slot) * c.ldx : NULL;
    uint4 parts[PARTS];
    split<F>(parts, x, (int)group, t, (int)c.K);
    for (int part = 0; part < PARTS; part++) {
        int column = m * PARTS + part;
        int64_t eight = (int64_t)blockIdx.y * eights_of(M) + column / 8;
        to[(eight * groups + group) * 32 + column % 8 * 4 + t] = parts[part];
    }
}

/* ---- w: pairs of bf16 ---- */

/* Two whole numbers, exactly. */
static __device__ __forceinline__ uint32_t add_pairs(uint32_t a, uint32_t b)
{
#ifdef MOE2_EMULATED
    return bf16_pair(bf16_value((uint16_t)a) + bf16_value((uint16_t)b),
                     bf16_value((uint16_t)(a >> 16)) + bf16_value((uint16_t)(b >> 16)));
#else
    uint32_t sum;
    asm("fma.rn.bf16x2 %0, %1, %2, %3;" : "=r"(sum) : "r"(a), "r"(0x3f803f80u), "r"(b));
    return sum;
#endif
}

/* Bytes 0 and 2 of t less the form's zero: 128 has as its last bits the ones. */
template <int F> static __device__ __forceinline__ uint32_t pair_of_bytes(uint32_t t)
{
    if constexpr (F ==
                  PACKED_I8) /* 128 + 7 bits, less 128 where the 8th is set and 256 where not */
        return add_pairs((t & 0x007f007fu) | 0x43004300u, (t & 0x00800080u) ^ 0xc380c380u);
    uint32_t less = 0xc300u + (unsigned)zero_of(F);
    return add_pairs((t & 0x00ff00ffu) | 0x43004300u, less << 16 | less);
}

/* A lane's numbers of a row for one product: pass of piece i. */
template <int F>
static __device__ __forceinline__ void take_pairs(uint32_t *first, uint32_t *second,
                                                  const struct pieces<F> *p, int i, int pass,
                                                  const uint32_t *pairs)
{
    if constexpr (F == PACKED_NF4) {
        uint32_t word = p->code[i];
        int at = 16 * pass;
        *first = pairs[(word >> at & 255) * 32];
        *second = pairs[(word >> (at + 8) & 255) * 32];
    } else {
        uint32_t t = quad_codes<F>(p, i, pass);
        *first = pair_of_bytes<F>(t);
        *second = pair_of_bytes<F>(t >> 8);
    }
}

/* ---- a step ---- */

/* What a lane has read: two rows, of each two cells of four units, or of one. */
template <int F> struct stage {
    struct pieces<F> p[2][2];
};

/* Where a warp is: step 4·(chunk) + eighth, then 4·(single unit) + eighth. */
template <int F>
static __device__ __forceinline__ void
load_stage(struct stage<F> *s, const struct packed_call &c, const struct packed_job &job,
           const struct row_plan &at, int64_t tile, int step, int lane)
{
    int chunks = at.units / CHUNK, i = step / EIGHTHS;
    if (i >= chunks + at.units % CHUNK)
        return;
#pragma unroll
    for (int r = 0; r < 2; r++) {
        int64_t n = row_at(c, tile * TILE, lane / 4 + 8 * r);
        const uint8_t *row = (const uint8_t *)job.packed + (n < 0 ? 0 : n) * at.bytes;
#pragma unroll
        for (int h = 0; h < 2; h++) {
            int cell = step % EIGHTHS * 8 + h * 4 + lane % 4;
            if (i < chunks)
                load_chunk<F>(&s->p[r][h], row, at, i, cell);
            else
                load_unit<F>(&s->p[r][h], row, at, chunks * CHUNK + i - chunks, cell);
        }
    }
}

/* acc += scale · sum (+ min · all) of a group, of this lane's two rows. */
template <int F, int E>
static __device__ __forceinline__ void add_group(float acc[E][4], float sum[E][4], float all[E][4],
                                                 const struct stage<F> *s, int i, int pass, int h)
{
    float scale[2], min[2];
#pragma unroll
    for (int r = 0; r < 2; r++) {
        scale[r] = quad_scale<F>(&s->p[r][h], i, pass);
        min[r] = quad_min<F>(&s->p[r][h], i, pass);
    }
#pragma unroll
    for (int e = 0; e < E; e++)
#pragma unroll
        for (int j = 0; j < 4; j++) {
            acc[e][j] = fmaf(scale[j / 2], sum[e][j], acc[e][j]);
            if (has_min(F))
                acc[e][j] = fmaf(min[j / 2], all[e][j], acc[e][j]);
            sum[e][j] = all[e][j] = 0;
        }
}

/* Piece i of a stage, which is an eighth of a unit: frags is the first group's fragment of this lane, stride the next eight's. */
template <int F, int M, int LANES>
static __device__ __forceinline__ void
add_piece(float acc[eights_of(M)][4], const struct stage<F> *s, int i, const uint4 *frags,
          int64_t stride, int lane, const uint32_t *pairs)
{
    constexpr int E = eights_of(M);
    const uint32_t ones[4] = {0x3f803f80u, 0x3f803f80u, 0x3f803f80u, 0x3f803f80u};
    float sum[E][4] = {}, all[E][4] = {};
#pragma unroll
    for (int pass = 0; pass < 2; pass++) {
        uint4 x[E];
#pragma unroll
        for (int e = 0; e < E; e++) {
            x[e] = make_uint4(0, 0, 0, 0);
            if (e * 8 + lane / 4 < M * PARTS)
                x[e] = frags[e * stride + pass * LANES];
        }
#pragma unroll
        for (int h = 0; h < 2; h++) {
            uint32_t w[4];
            take_pairs<F>(&w[0], &w[2], &s->p[0][h], i, pass, pairs);
            take_pairs<F>(&w[1], &w[3], &s->p[1][h], i, pass, pairs);
#pragma unroll
            for (int e = 0; e < E; e++) {
                uint32_t b[2] = {h ? x[e].z : x[e].x, h ? x[e].w : x[e].y};
                mma_bf16(sum[e], w, b);
                if (has_min(F))
                    mma_bf16(all[e], ones, b);
            }
            if (F == PACKED_I6 || (h == 1 && (F != PACKED_NF4 || pass == 1)))
                add_group<F, E>(acc, sum, all, s, i, pass, h);
        }
    }
}

template <int F, int M, int LANES>
static __device__ __forceinline__ void
add_stage(float acc[eights_of(M)][4], const struct stage<F> *s, const struct row_plan &at, int step,
          const uint4 *frags, int lane, const uint32_t *pairs)
{
    int chunks = at.units / CHUNK, i = step / EIGHTHS, eighth = step % EIGHTHS;
    int64_t stride = (int64_t)at.units * EIGHTHS * 2 * LANES;
    if (i < chunks) {
#pragma unroll
        for (int j = 0; j < CHUNK; j++) {
            int group = ((i * CHUNK + j) * EIGHTHS + eighth) * 2;
            add_piece<F, M, LANES>(acc, s, j, frags + (int64_t)group * LANES + lane, stride, lane,
                                   pairs);
        }
    } else if (i < chunks + at.units % CHUNK) {
        int group = ((chunks * CHUNK + i - chunks) * EIGHTHS + eighth) * 2;
        add_piece<F, M, LANES>(acc, s, 0, frags + (int64_t)group * LANES + lane, stride, lane,
                               pairs);
    }
}

/* ---- a tile ---- */

/* Sums of a tile: [warp][row][column]. */
template <int M> struct tile_sums {
    float of[WARPS][TILE][M * PARTS];
};

template <int M>
static __device__ __forceinline__ void
keep_sums(struct tile_sums<M> *to, const float acc[eights_of(M)][4], int warp, int lane)
{
#pragma unroll
    for (int e = 0; e < eights_of(M); e++)
#pragma unroll
        for (int j = 0; j < 4; j++) {
            int column = e * 8 + lane % 4 * 2 + j % 2;
            if (column < M * PARTS)
                to->of[warp][lane / 4 + j / 2 * 8][column] = acc[e][j];
        }
}

template <int M>
static __device__ __forceinline__ float sum_of(const struct tile_sums<M> *from, int r, int m)
{
    float sum = 0;
#pragma unroll
    for (int warp = 0; warp < WARPS; warp++) {
        const float *part = from->of[warp][r] + m * PARTS;
        sum += part[0] + (part[1] + part[2]);
    }
    return sum;
}

template <int M>
static __device__ __forceinline__ void finish_tile(const struct packed_call &c,
                                                   const struct packed_job &job,
                                                   const struct tile_sums<M> *from, int64_t tile)
{
    int step = c.gated ? 2 : 1;
    for (int i = threadIdx.x; i < TILE / step * M; i += THREADS) {
        int m = i % M, r = i / M * step;
        int64_t n = row_at(c, tile * TILE, r);
        if (n < 0 || m >= job.n)
            continue;
        float z = sum_of<M>(from, r, m);
        if (c.gated)
            z = z / (1 + expf(-z)) * sum_of<M>(from, r + 1, m);
        put_output(c, job.first + m, n, z);
    }
}

/* All pairs of levels, each once for every lane: [byte][lane]. */
static __device__ __forceinline__ void lay_out_pairs(uint32_t *pairs, const struct levels &levels)
{
    for (int i = threadIdx.x; i < PAIRS * 32; i += THREADS)
        pairs[i] = bf16_pair(levels.of[i / 32 % 16], levels.of[i / 32 / 16]);
}

/* Fragments of one row of x in shared memory: [group][part][lane quad]. */
template <int F>
static __device__ __forceinline__ void lay_out_row(uint4 *to, const struct packed_call &c,
                                                   const struct packed_job &job, int groups)
{
    const float *x = c.x + (int64_t)(c.x_row ? c.x_row[job.first] : job.first) * c.ldx;
    for (int i = threadIdx.x; i < groups * 4; i += THREADS) {
        uint4 parts[PARTS];
        split<F>(parts, x, i / 4, i % 4, (int)c.K);
        for (int part = 0; part < PARTS; part++)
            to[(i / 4 * PARTS + part) * 4 + i % 4] = parts[part];
    }
}

/* LOCAL: M is 1, and the block lays x out itself. Blocks: x every so-many-th tile, y jobs. */
template <int F, int M, bool LOCAL>
static __global__ void __launch_bounds__(THREADS, BLOCKS)
    units(const struct packed_call c, const __grid_constant__ struct units_list list,
          const uint4 *frags, int64_t tiles, const __grid_constant__ struct levels levels)
{
    constexpr int E = eights_of(M), LANES = LOCAL ? PARTS * 4 : 32;
    __shared__ struct tile_sums<M> sums[2];
    DYNAMIC_SHARED(uint4, room);
    const struct packed_job job = list.job[blockIdx.y];
    const struct row_plan at = plan_row(F, c.K);
    int warp = threadIdx.x / 32, lane = threadIdx.x % 32, groups = at.units * EIGHTHS * 2;
    int per = ((at.units / CHUNK + at.units % CHUNK) * EIGHTHS + WARPS - 1) / WARPS;
    uint32_t *pairs = (uint32_t *)(void *)room;
    uint4 *local = room + (F == PACKED_NF4 ? PAIRS * 8 : 0);
    int64_t tile = blockIdx.x;
    int step = 0, which = 0;
    struct stage<F> now, next;
    float acc[E][4] = {};
    load_stage<F>(&now, c, job, at, tile, warp, lane);
    if (F == PACKED_NF4)
        lay_out_pairs(pairs, levels);
    if (LOCAL)
        lay_out_row<F>(local, c, job, groups);
    __syncthreads();
    const uint4 *x = LOCAL ? local : frags + (int64_t)blockIdx.y * E * groups * LANES;
#pragma unroll 2
    while (tile < tiles) {
        bool last = step + 1 == per;
        int64_t next_tile = last ? tile + gridDim.x : tile;
        int next_step = last ? 0 : step + 1;
        if (next_tile < tiles)
            load_stage<F>(&next, c, job, at, next_tile, next_step * WARPS + warp, lane);
        add_stage<F, M, LANES>(acc, &now, at, step * WARPS + warp, x, lane, pairs + lane);
        if (last) {
            keep_sums<M>(&sums[which], acc, warp, lane);
            __syncthreads();
            finish_tile<M>(c, job, &sums[which], tile);
            which ^= 1;
            for (int e = 0; e < E; e++)
                for (int j = 0; j < 4; j++)
                    acc[e][j] = 0;
        }
        now = next;
        tile = next_tile;
        step = next_step;
    }
}

/* ---- launches ---- */

template <int F, int M, bool LOCAL>
static void launch(struct device *dev, const struct packed_call *call,
                   const struct units_list *list, int n, uint4 *frags)
{
    struct packed_call c = *call;
    struct units_list l = *list;
    struct levels levels = packed_levels();
    int64_t tiles = blocks_for(c.gated ? c.N / 2 * 2 : c.N, TILE), most;
    int groups = plan_row(F, c.K).units * EIGHTHS * 2;
    size_t pairs = F == PACKED_NF4 ? PAIRS * 32 * sizeof(uint32_t) : 0,
           shared = pairs + (LOCAL ? (size_t)groups * PARTS * 4 * sizeof(uint4) : 0);
    if (!LOCAL)
        LAUNCH(dev, (lay_out<F, M>), dim3(blocks_for((int64_t)groups * 4 * M, THREADS), n), THREADS,
               0, frags, c, l, groups);
    most = (BLOCKS * cuda_of(dev)->n_sms + n - 1) / n;
    cuda_allow_shared(dev, (const void *)units<F, M, LOCAL>, shared);
    LAUNCH(dev, (units<F, M, LOCAL>), dim3((unsigned)(tiles < most ? tiles : most), (unsigned)n),
           THREADS, shared, c, l, frags, tiles, levels);
}

template <int F>
static void launch_rows(struct device *dev, const struct packed_call *call,
                        const struct units_list *list, int n, int most, bool local, uint4 *frags)
{
    if constexpr (is_whole(F)) {
        if (local)
            launch<F, 1, true>(dev, call, list, n, frags);
        else if (most <= 2)
            launch<F, 2, false>(dev, call, list, n, frags);
        else if (most <= 5)
            launch<F, 5, false>(dev, call, list, n, frags);
        else
            launch<F, 8, false>(dev, call, list, n, frags);
    }
}

static size_t room_bytes(enum packed_form form, const struct packed_call *c, int n_jobs, int most)
{
    int rows = most <= 2 ? 2 : most <= 5 ? 5 : 8;
    return (size_t)(n_jobs * eights_of(rows)) * (size_t)(plan_row(form, c->K).units * EIGHTHS * 2) *
           32 * sizeof(uint4);
}

void packed_units(struct device *dev, enum packed_form form, const struct packed_call *call,
                  const struct packed_job *jobs, int n_jobs, int most)
{
    struct units_list list = {};
    bool local = most == 1 && plan_row(form, call->K).units * UNIT * PARTS * 2 <= LOCAL_BYTES;
    uint4 *frags = NULL;
    memcpy(list.job, jobs, (size_t)n_jobs * sizeof *jobs);
    if (!local) {
        frags = (uint4 *)cuda_scratch(dev, room_bytes(form, call, n_jobs, most));
        if (!frags)
            return;
    }
#define UNITS(F) launch_rows<F>(dev, call, &list, n_jobs, most, local, frags)
    PACKED_SWITCH(form, UNITS)
#undef UNITS
}
