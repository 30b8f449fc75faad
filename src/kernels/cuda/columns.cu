/* Sums down columns in two stages of fixed order: of each piece of rows, then of the pieces' sums. For the gradients of biases and of
 * norms' weights.
 *
 * A block takes 32 neighbouring columns; its eight warps take every eighth row each, and their sums are added in order. The pieces
 * depend on the number of rows alone, so that every card adds alike.
 */
#include "kernels/cuda/rows.h"

enum { PHASES = 8, MAX_PIECES = 256, LEAST_PIECE = 64 };

static __global__ void column_sums(float *out, bool add, const float *a, int64_t lda,
                                   const float *b, int64_t ldb, const float *scale, int64_t T,
                                   int64_t N, int64_t piece)
{
    __shared__ float sums[PHASES][ALL_WARP + 1];
    int64_t n = (int64_t)blockIdx.x * ALL_WARP + threadIdx.x, first = blockIdx.y * piece,
            end = min(first + piece, T);
    float sum = 0;
    if (n < N) {
#pragma unroll 4
        for (int64_t t = first + threadIdx.y; t < end; t += PHASES) {
            float v = a[t * lda + n];
            if (b)
                v *= b[t * ldb + n];
            sum += scale ? v * scale[t] : v;
        }
    }
    sums[threadIdx.y][threadIdx.x] = sum;
    __syncthreads();
    if (threadIdx.y || n >= N)
        return;
    for (int i = 1; i < PHASES; i++)
        sum += sums[i][threadIdx.x];
    float *to = out + blockIdx.y * N + n;
    *to = add ? *to + sum : sum;
}

void cuda_column_sums(struct device *dev, float *out, const float *a, int64_t lda, const float *b,
                      int64_t ldb, const float *scale, int64_t T, int64_t N)
{
    int64_t piece = (T + MAX_PIECES - 1) / MAX_PIECES;
    if (piece < LEAST_PIECE)
        piece = LEAST_PIECE;
    unsigned n_pieces = blocks_for(T, piece), grid = blocks_for(N, ALL_WARP);
    dim3 block(ALL_WARP, PHASES);
    const float *none = NULL;
    if (n_pieces <= 1) {
        LAUNCH(dev, column_sums, dim3(grid, n_pieces), block, 0, out, true, a, lda, b, ldb, scale,
               T, N, piece);
        return;
    }
    float *part = (float *)cuda_scratch(dev, (size_t)n_pieces * (size_t)N * sizeof *part);
    if (!part)
        return;
    LAUNCH(dev, column_sums, dim3(grid, n_pieces), block, 0, part, false, a, lda, b, ldb, scale, T,
           N, piece);
    LAUNCH(dev, column_sums, dim3(grid, 1), block, 0, out, true, part, N, none, 0, none,
           (int64_t)n_pieces, N, (int64_t)n_pieces);
}
