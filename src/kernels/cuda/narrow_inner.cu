/* Products whose sums are short: see narrow.h. What takes time is the output, read and written once.
 *
 * A warp holds 32 rows of a in registers and goes along 128 columns, 16 at a time. Of these, column 2g + p is column g of product p of
 * two, so that a lane ends with four neighbours of each row.
 */
#include "kernels/cuda/narrow.h"

enum { WARPS = 8, ROWS = 32, TILES = ROWS / 16, STEP = 16, COLUMNS = 128 };

/* Of a block's eight warps, so many are one below the other, the rest side by side: experts have few rows. */
template <typename X> struct shape {
    enum { BELOW = WARPS };
};

template <> struct shape<struct narrow_experts> {
    enum { BELOW = 2 };
};

/* Rows of a from `row` on, rounded. */
template <int DEPTH, bool WIDE, typename X>
static __device__ __forceinline__ void read_rows(uint32_t a[TILES][DEPTH][4],
                                                 const struct narrow &p, int64_t row)
{
    int g = (int)threadIdx.x / 4, t = (int)threadIdx.x % 4;
#pragma unroll
    for (int i = 0; i < TILES; i++)
#pragma unroll
        for (int below = 0; below < 2; below++) {
            int64_t r = row + i * 16 + below * 8 + g, from = narrow_slot<X>(p.a_slot, r, p.R);
#pragma unroll
            for (int s = 0; s < DEPTH; s++) {
                float v[4];
                int at = s * 16 + 4 * t;
                narrow_read<WIDE>(v, p.a + from * p.lda + at, r < p.R ? p.inner - at : 0);
                a[i][s][below] = bf16_pair(v[0], v[1]);
                a[i][s][below + 2] = bf16_pair(v[2], v[3]);
            }
        }
}

/* 16 columns of b from c on. */
template <int DEPTH, bool DEEP, bool WIDE, typename B>
static __device__ __forceinline__ void read_columns(uint32_t b[2][DEPTH][2], const struct narrow &p,
                                                    int64_t c)
{
    int g = (int)threadIdx.x / 4, t = (int)threadIdx.x % 4;
    const B *from = (const B *)p.b;
    c += 2 * g;
#pragma unroll
    for (int s = 0; s < DEPTH; s++) {
        float v[2][4];
        int at = s * 16 + 4 * t;
#pragma unroll
        for (int which = 0; which < 2; which++) {
            bool there = c + which < p.C;
            if constexpr (DEEP) {
#pragma unroll
                for (int j = 0; j < 4; j++) {
                    v[which][j] = 0;
                    if (there && at + j < p.inner)
                        v[which][j] = narrow_value(from[(at + j) * p.ldb + c + which]);
                }
            } else {
                narrow_read<WIDE>(v[which], from + (c + which) * p.ldb + at,
                                  there ? p.inner - at : 0);
            }
        }
#pragma unroll
        for (int which = 0; which < 2; which++) {
            b[which][s][0] = bf16_pair(v[which][0], v[which][1]);
            b[which][s][1] = bf16_pair(v[which][2], v[which][3]);
        }
    }
}

template <bool WIDE>
static __device__ __forceinline__ void put(float *to, const float was[4], const float sum[2][4],
                                           int below, int64_t n)
{
    float v[4];
#pragma unroll
    for (int i = 0; i < 4; i++)
        v[i] = was[i] + sum[i % 2][2 * below + i / 2];
    if (WIDE && n > 0) {
        *(float4 *)to = make_float4(v[0], v[1], v[2], v[3]);
        return;
    }
#pragma unroll
    for (int i = 0; i < 4; i++)
        if (i < n)
            to[i] = v[i];
}

template <int DEPTH, bool DEEP, bool WIDE, typename B, typename X>
static __global__ void __launch_bounds__(WARPS *ALL_WARP)
    short_sums(struct narrow p, const __grid_constant__ X experts)
{
    enum { BELOW = shape<X>::BELOW, BESIDE = WARPS / BELOW };
    uint32_t a[TILES][DEPTH][4], b[2][DEPTH][2];
    int64_t row = ((int64_t)narrow_enter(&p, experts) * BELOW + threadIdx.y % BELOW) * ROWS,
            c = ((int64_t)blockIdx.y * BESIDE + threadIdx.y / BELOW) * COLUMNS,
            end = min(c + COLUMNS, p.C);
    int g = (int)threadIdx.x / 4, t = (int)threadIdx.x % 4;
    read_rows<DEPTH, WIDE, X>(a, p, row);
    for (; c < end && row < p.R; c += STEP) {
        float was[TILES][2][4], sum[TILES][2][4] = {};
        float *to = p.out + (row + g) * p.row_step + c + 4 * t;
        read_columns<DEPTH, DEEP, WIDE, B>(b, p, c);
        auto count = [&](int r) { return row + g + r < p.R ? p.C - c - 4 * t : (int64_t)0; };
#pragma unroll
        for (int i = 0; i < TILES * 2; i++)
            narrow_read<WIDE>(was[i / 2][i % 2], to + i * 8 * p.row_step,
                              p.accumulate ? count(i * 8) : 0);
#pragma unroll
        for (int s = 0; s < DEPTH; s++)
#pragma unroll
            for (int i = 0; i < TILES; i++) {
                mma_bf16(sum[i][0], a[i][s], b[0][s]);
                mma_bf16(sum[i][1], a[i][s], b[1][s]);
            }
#pragma unroll
        for (int i = 0; i < TILES * 2; i++)
            put<WIDE>(to + i * 8 * p.row_step, was[i / 2][i % 2], sum[i / 2], i % 2, count(i * 8));
    }
}

template <int DEPTH, bool DEEP, typename B, typename X>
static void launch(struct device *dev, const struct narrow *p, const X &experts, unsigned n_blocks,
                   bool wide)
{
    dim3 grid(n_blocks, blocks_for(p->C, COLUMNS * (WARPS / shape<X>::BELOW))),
        block(ALL_WARP, WARPS);
    if (wide)
        LAUNCH(dev, (short_sums<DEPTH, DEEP, true, B, X>), grid, block, 0, *p, experts);
    else
        LAUNCH(dev, (short_sums<DEPTH, DEEP, false, B, X>), grid, block, 0, *p, experts);
}

template <bool DEEP, typename B, typename X>
static void by_depth(struct device *dev, const struct narrow *p, const X &experts,
                     unsigned n_blocks, bool wide)
{
    if (p->inner <= 16)
        launch<1, DEEP, B>(dev, p, experts, n_blocks, wide);
    else if (p->inner <= 32)
        launch<2, DEEP, B>(dev, p, experts, n_blocks, wide);
    else
        launch<4, DEEP, B>(dev, p, experts, n_blocks, wide);
}

template <typename X>
static void by_type(struct device *dev, const struct narrow *p, const X &experts, unsigned n_blocks,
                    bool wide)
{
    if (p->b_deep && p->b_half)
        by_depth<true, uint16_t>(dev, p, experts, n_blocks, wide);
    else if (p->b_deep)
        by_depth<true, float>(dev, p, experts, n_blocks, wide);
    else if (p->b_half)
        by_depth<false, uint16_t>(dev, p, experts, n_blocks, wide);
    else
        by_depth<false, float>(dev, p, experts, n_blocks, wide);
}

void narrow_inner(struct device *dev, const struct narrow *p, struct narrow_experts *e, bool wide)
{
    wide = wide && (uintptr_t)p->out % 16 == 0 && p->row_step % 4 == 0 && p->C % 4 == 0;
    if (e)
        by_type(dev, p, *e, narrow_count(e, p, shape<struct narrow_experts>::BELOW * ROWS), wide);
    else
        by_type(dev, p, narrow_alone(), blocks_for(p->R, WARPS * ROWS), wide);
}
