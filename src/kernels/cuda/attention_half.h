/* What the bf16 attention kernels share: heads packed in bf16, tiles of them in shared memory, products of tiles by a warp.
 *
 * Keys, values (and in the backward queries and do) are rounded once into packed rows [head][row][D], D the padded width of a head, so
 * that a tile is copied by 16 bytes at a time whatever the pitches of the float32 arrays. In shared memory a row has 8 numbers more:
 * the eight rows that a warp loads together then lie in different banks.
 */
#ifndef MOE2_KERNELS_CUDA_ATTENTION_HALF_H
#define MOE2_KERNELS_CUDA_ATTENTION_HALF_H

#include "kernels/cuda/attention.h"

enum { HALF_THREADS = 128, HALF_WARPS = HALF_THREADS / ALL_WARP, PAD = 8 };

/* Padded widths of a head's keys and values. 0: none is wide enough. */
struct widths {
    int d, v;
};

static inline struct widths half_widths(const struct attention_args *a)
{
    static const struct widths all[] = {{32, 32}, {64, 64}, {96, 96}, {128, 128}, {192, 128}};
    for (const struct widths &w : all)
        if (a->dn + a->dr <= w.d && a->dv <= w.v)
            return w;
    return {0, 0};
}

/* 2^x, good to 2^-22; zero below 2^-126. */
static __device__ __forceinline__ float exp2_fast(float x)
{
#ifdef MOE2_EMULATED
    return exp2f(x);
#else
    float y;
    asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
    return y;
#endif
}

/* Heads of float32 rows in bf16: to[head][row][width], n rows a head. Head h is the rows of x, h times head numbers further. */
void half_pack(struct device *dev, uint16_t *to, const struct rows *x, int64_t head, int n_heads,
               int width);

/* Copies N rows of D numbers under way into a tile; rows from n on are zeros. */
template <int D, int N>
static __device__ __forceinline__ void half_load(uint16_t *tile, const uint16_t *from, int n)
{
    enum { PIECES = D / 8 };
#pragma unroll
    for (int i = threadIdx.x; i < N * PIECES; i += HALF_THREADS) {
        int row = i / PIECES, c = i % PIECES * 8;
        copy_16(tile + row * (D + PAD) + c, from + (int64_t)(row < n ? row : 0) * D + c, row < n);
    }
}

/* Left operand: 16 rows of a tile from row on, columns col … col+15. */
template <int D>
static __device__ __forceinline__ void half_left(uint32_t a[4], const uint16_t *tile, int row,
                                                 int col)
{
    int lane = threadIdx.x % ALL_WARP;
    load_matrices(a, tile + (row + lane % 16) * (D + PAD) + col + lane / 16 * 8);
}

/* Right operands of x · tileᵀ: rows row … row+15 of the tile are 16 columns of the product, in b[0..1] the first 8. */
template <int D>
static __device__ __forceinline__ void half_rows(uint32_t b[4], const uint16_t *tile, int row,
                                                 int col)
{
    int lane = threadIdx.x % ALL_WARP;
    load_matrices(b, tile + (row + lane / 16 * 8 + lane % 8) * (D + PAD) + col + lane / 8 % 2 * 8);
}

/* Right operands of x · tile: rows row … row+15 are the inner side, columns col … col+15 the product's, in b[0..1] the first 8. */
template <int D>
static __device__ __forceinline__ void half_columns(uint32_t b[4], const uint16_t *tile, int row,
                                                    int col)
{
    int lane = threadIdx.x % ALL_WARP;
    load_matrices_turned(b, tile + (row + lane % 16) * (D + PAD) + col + lane / 16 * 8);
}

/* s [16·M, 8·N] = x · yᵀ over D: rows of x from x_row on, rows of y from 0 on. */
template <int D, int M, int N>
static __device__ __forceinline__ void half_scores(float s[M][N][4], const uint16_t *x, int x_row,
                                                   const uint16_t *y)
{
#pragma unroll
    for (int i = 0; i < M * N * 4; i++)
        s[i / (N * 4)][i / 4 % N][i % 4] = 0;
#pragma unroll
    for (int c = 0; c < D; c += 16) {
        uint32_t a[M][4], b[4];
#pragma unroll
        for (int m = 0; m < M; m++)
            half_left<D>(a[m], x, x_row + 16 * m, c);
#pragma unroll
        for (int n = 0; n < N; n += 2) {
            half_rows<D>(b, y, n * 8, c);
#pragma unroll
            for (int m = 0; m < M; m++) {
                mma_bf16(s[m][n], a[m], b);
                mma_bf16(s[m][n + 1], a[m], b + 2);
            }
        }
    }
}

/* out [16·M, D] += w · y, w [16·M, 8·N] as half_scores leaves it, rounded here; y 8·N rows of D numbers. */
template <int D, int M, int N>
static __device__ __forceinline__ void half_output(float out[M][D / 8][4], const float w[M][N][4],
                                                   const uint16_t *y)
{
#pragma unroll
    for (int k = 0; k < N; k += 2) {
        uint32_t a[M][4], b[4];
#pragma unroll
        for (int m = 0; m < M; m++)
#pragma unroll
            for (int i = 0; i < 4; i++)
                a[m][i] = bf16_pair(w[m][k + i / 2][i % 2 * 2], w[m][k + i / 2][i % 2 * 2 + 1]);
#pragma unroll
        for (int c = 0; c < D; c += 16) {
            half_columns<D>(b, y, k * 8, c);
#pragma unroll
            for (int m = 0; m < M; m++) {
                mma_bf16(out[m][c / 8], a[m], b);
                mma_bf16(out[m][c / 8 + 1], a[m], b + 2);
            }
        }
    }
}

/* Row and column of number i of fragment n in what a warp's lane has of a product. */
static __device__ __forceinline__ int half_row(int i)
{
    return (int)threadIdx.x % ALL_WARP / 4 + i / 2 * 8;
}

static __device__ __forceinline__ int half_column(int n, int i)
{
    return n * 8 + (int)threadIdx.x % 4 * 2 + i % 2;
}

/* false, with nothing done: the heads are too large. */
bool attention_half_forward(struct device *dev, const struct attention_args *a, bool causal);

/* Scratch of the backward for one key head and the query heads that read it, and the kernel itself on it. */
size_t attention_half_bytes(const struct attention_args *a);
void attention_half_backward(struct device *dev, const struct attention_args *a,
                             const struct backward *b, void *scratch);

#endif
