/* Products with few columns and long sums: see narrow.h. What takes time is a, read once.
 *
 * A block has some rows, 32 or 64, and a piece of the sums; its warps take 32 numbers of it each in turn, then add theirs in a fixed order. The
 * pieces depend on the sizes alone, so that every card adds alike; where there are several, their sums are added in order by a second kernel.
 * Of a deep a, rows 4g … 4g + 3 of 32 are rows g and g + 8 of two products.
 */
#include "kernels/cuda/narrow.h"

enum {
    WARPS = 8,
    STEP = 32,            /* of the sum, a warp's at a time */
    ROUND = WARPS * STEP, /* all warps' */
    ENOUGH = 512,         /* blocks, where sums are long enough to be cut */
    THREADS = 256
};

/* Of a warp: TILES · 16 rows of four numbers from i + 4t on. */
template <int TILES, bool DEEP, bool WIDE, typename X>
static __device__ __forceinline__ void read_rows(float v[TILES][2][4], const struct narrow &p,
                                                 int64_t row, int64_t i, int64_t end)
{
    int g = (int)threadIdx.x / 4, t = (int)threadIdx.x % 4;
    i += 4 * t;
#pragma unroll
    for (int k = 0; k < TILES; k += DEEP ? 2 : 1) {
        int64_t r = row + k * 16 + (DEEP ? 4 * g : g);
        if constexpr (DEEP) {
#pragma unroll
            for (int j = 0; j < 4; j++) {
                float of[4];
                int64_t from = narrow_slot<X>(p.a_slot, i + j, end);
                narrow_read<WIDE>(of, p.a + from * p.lda + r, i + j < end ? p.R - r : 0);
                v[k][0][j] = of[0], v[k][1][j] = of[1];
                v[k + 1][0][j] = of[2], v[k + 1][1][j] = of[3];
            }
        } else {
#pragma unroll
            for (int j = 0; j < 2; j++) {
                int64_t from = narrow_slot<X>(p.a_slot, r + j * 8, p.R);
                narrow_read<WIDE>(v[k][j], p.a + from * p.lda + i, r + j * 8 < p.R ? end - i : 0);
            }
        }
    }
}

/* Four numbers from i + 4t on of columns g, g + 8, … */
template <int ACROSS, bool DEEP, bool WIDE, typename B, typename X>
static __device__ __forceinline__ void read_columns(float v[ACROSS][4], const struct narrow &p,
                                                    int64_t i, int64_t end)
{
    int g = (int)threadIdx.x / 4, t = (int)threadIdx.x % 4;
    const B *from = (const B *)p.b;
    i += 4 * t;
#pragma unroll
    for (int k = 0; k < ACROSS; k++) {
        int64_t c = k * 8 + g;
        if constexpr (DEEP) {
#pragma unroll
            for (int j = 0; j < 4; j++) {
                v[k][j] = 0;
                if (c < p.C && i + j < end)
                    v[k][j] = narrow_value(from[narrow_slot<X>(p.b_slot, i + j, end) * p.ldb + c]);
            }
        } else {
            narrow_read<WIDE>(v[k], from + c * p.ldb + i, c < p.C ? end - i : 0);
        }
    }
}

template <int TILES, int ACROSS>
static __device__ __forceinline__ void
multiply(float sum[TILES][ACROSS][4], const float a[TILES][2][4], const float b[ACROSS][4])
{
#pragma unroll
    for (int i = 0; i < TILES; i++) {
        uint32_t left[4] = {bf16_pair(a[i][0][0], a[i][0][1]), bf16_pair(a[i][1][0], a[i][1][1]),
                            bf16_pair(a[i][0][2], a[i][0][3]), bf16_pair(a[i][1][2], a[i][1][3])};
#pragma unroll
        for (int k = 0; k < ACROSS; k++) {
            uint32_t right[2] = {bf16_pair(b[k][0], b[k][1]), bf16_pair(b[k][2], b[k][3])};
            mma_bf16(sum[i][k], left, right);
        }
    }
}

/* Of all warps, in the first one: the upper half's onto the lower half's, until one is left. */
template <int N> static __device__ __forceinline__ void add_warps(float sum[N])
{
    __shared__ float part[WARPS / 2][N][ALL_WARP];
    int warp = (int)threadIdx.y, lane = (int)threadIdx.x;
#pragma unroll
    for (int half = WARPS / 2; half; half /= 2) {
        __syncthreads();
        if (warp >= half && warp < 2 * half)
            for (int i = 0; i < N; i++)
                part[warp - half][i][lane] = sum[i];
        __syncthreads();
        if (warp < half)
            for (int i = 0; i < N; i++)
                sum[i] += part[warp][i][lane];
    }
}

/* Block (x, y) has piece y of its rows' sums, which goes to out + y · out_step. */
template <int TILES, int ACROSS, bool A_DEEP, bool B_DEEP, bool WIDE, typename B, typename X>
static __global__ void __launch_bounds__(WARPS *ALL_WARP, 2)
    few_columns(struct narrow p, const __grid_constant__ X experts, int64_t piece, int64_t out_step)
{
    float sum[TILES][ACROSS][4] = {};
    int64_t row = (int64_t)narrow_enter(&p, experts) * TILES * 16,
            first = (int64_t)blockIdx.y * piece, end = min(first + piece, p.inner);
    for (int64_t i = first + threadIdx.y * STEP; i < end; i += ROUND) {
        float a[TILES][2][4], b[ACROSS][4];
#pragma unroll 1
        for (int half = 0; half < STEP; half += 16) {
            read_rows<TILES, A_DEEP, WIDE, X>(a, p, row, i + half, end);
            read_columns<ACROSS, B_DEEP, WIDE, B, X>(b, p, i + half, end);
            multiply<TILES, ACROSS>(sum, a, b);
        }
    }
    add_warps<TILES * ACROSS * 4>(&sum[0][0][0]);
    if (threadIdx.y)
        return;
    int g = (int)threadIdx.x / 4, t = (int)threadIdx.x % 4;
    float *out = p.out + blockIdx.y * out_step;
#pragma unroll
    for (int i = 0; i < TILES; i++)
#pragma unroll
        for (int at = 0; at < ACROSS * 4; at++) {
            int below = at / 2 % 2;
            int64_t r = row +
                        (A_DEEP ? i / 2 * 32 + 4 * g + i % 2 * 2 + below : i * 16 + below * 8 + g),
                    c = at / 4 * 8 + 2 * t + at % 2;
            if (r >= p.R || c >= p.C)
                continue;
            float *to = out + r * p.row_step + c * p.column_step;
            *to = (p.accumulate ? *to : 0) + sum[i][at / 4][at % 4];
        }
}

static __global__ void add_pieces(float *out, int64_t ldout, const float *part, int64_t n_pieces,
                                  int64_t n_rows, int64_t n, bool accumulate)
{
    int64_t i = thread_index(), size = n_rows * n;
    if (i >= size)
        return;
    float sum = part[i];
    for (int64_t k = 1; k < n_pieces; k++)
        sum += part[k * size + i];
    float *to = out + i / n * ldout + i % n;
    *to = accumulate ? *to + sum : sum;
}

void narrow_add_pieces(struct device *dev, float *out, int64_t ldout, const float *part,
                       int64_t n_pieces, int64_t n_rows, int64_t n, bool accumulate)
{
    LAUNCH(dev, add_pieces, blocks_for(n_rows * n, THREADS), THREADS, 0, out, ldout, part, n_pieces,
           n_rows, n, accumulate);
}

template <int TILES, int ACROSS, bool A_DEEP, bool B_DEEP, typename B, typename X>
static void launch_on(struct device *dev, const struct narrow *p, const X &experts, dim3 grid,
                      int64_t piece, int64_t out_step, bool wide)
{
    dim3 block(ALL_WARP, WARPS);
    if (wide)
        LAUNCH(dev, (few_columns<TILES, ACROSS, A_DEEP, B_DEEP, true, B, X>), grid, block, 0, *p,
               experts, piece, out_step);
    else
        LAUNCH(dev, (few_columns<TILES, ACROSS, A_DEEP, B_DEEP, false, B, X>), grid, block, 0, *p,
               experts, piece, out_step);
}

template <int TILES, int ACROSS, bool A_DEEP, bool B_DEEP, typename B>
static void launch(struct device *dev, const struct narrow *p, struct narrow_experts *e, bool wide)
{
    if (e) { /* whole sums: experts are many */
        unsigned n_blocks = narrow_count(e, p, TILES * 16);
        launch_on<TILES, ACROSS, A_DEEP, B_DEEP, B>(dev, p, *e, dim3(n_blocks, 1), INT32_MAX, 0,
                                                    wide);
        return;
    }
    unsigned n_blocks = blocks_for(p->R, TILES * 16);
    int64_t rounds = blocks_for(p->inner, ROUND), each = blocks_for(rounds * n_blocks, ENOUGH),
            piece = each * ROUND, n = p->R * p->C;
    unsigned n_pieces = blocks_for(p->inner, piece);
    bool turned = p->column_step != 1;
    struct narrow q = *p;
    if (n_pieces > 1) {
        q.out = (float *)cuda_scratch(dev, (size_t)(n_pieces * n) * sizeof *q.out);
        q.row_step = turned ? 1 : p->C, q.column_step = turned ? p->R : 1;
        q.accumulate = false;
        if (!q.out)
            return;
    }
    launch_on<TILES, ACROSS, A_DEEP, B_DEEP, B>(dev, &q, narrow_alone(), dim3(n_blocks, n_pieces),
                                                piece, n, wide);
    if (n_pieces > 1)
        narrow_add_pieces(dev, p->out, turned ? p->column_step : p->row_step, q.out, n_pieces,
                          turned ? p->C : p->R, turned ? p->R : p->C, p->accumulate);
}

template <bool A_DEEP, bool B_DEEP, typename B>
static void by_columns(struct device *dev, const struct narrow *p, struct narrow_experts *e,
                       bool wide)
{
    if (p->C <= 16)
        launch<4, 2, A_DEEP, B_DEEP, B>(dev, p, e, wide);
    else if (p->C <= 32)
        launch<4, 4, A_DEEP, B_DEEP, B>(dev, p, e, wide);
    else
        launch<2, 8, A_DEEP, B_DEEP, B>(dev, p, e, wide);
}

void narrow_across(struct device *dev, const struct narrow *p, struct narrow_experts *e, bool wide)
{
    if (p->a_deep)
        by_columns<true, true, float>(dev, p, e, wide);
    else if (p->b_deep && p->b_half)
        by_columns<false, true, uint16_t>(dev, p, e, wide);
    else if (p->b_deep)
        by_columns<false, true, float>(dev, p, e, wide);
    else if (p->b_half)
        by_columns<false, false, uint16_t>(dev, p, e, wide);
    else
        by_columns<false, false, float>(dev, p, e, wide);
}
