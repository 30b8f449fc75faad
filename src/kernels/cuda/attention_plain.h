/* The float32 products of attention, by a block of 256 threads: 64 rows by 64, and 64 rows by 128 columns.
 *
 * Threads stand 16 by 16; thread (y, x) has of the scores rows 4y … 4y+3 and columns 4x … 4x+3, and of the output the same rows and columns
 * 4x … and 64 + 4x …. Both products go through the same shared memory, 32 of the inner side at a time.
 */
#ifndef MOE2_KERNELS_CUDA_ATTENTION_PLAIN_H
#define MOE2_KERNELS_CUDA_ATTENTION_PLAIN_H

#include "kernels/cuda/attention.h"

enum { PLAIN_THREADS = 256, ROWS = 64, INNER = 32, COLUMNS = 128, PITCH = ROWS + 4 };

struct plain_shared {
    union {
        float side[2][INNER][PITCH]; /* two operands of scores, turned */
        float right[INNER][COLUMNS]; /* the right one of an output */
    };
    float weight[ROWS][PITCH]; /* [u][t] its left one, turned */
};

/* 32 columns of 64 rows from row on, from column on. */
static __device__ __forceinline__ void plain_load(float to[INNER][PITCH], const struct rows &x,
                                                  int row, int col)
{
    int c = threadIdx.x % INNER;
    for (int r = threadIdx.x / INNER; r < ROWS; r += PLAIN_THREADS / INNER)
        to[c][r] = rows_at(x, row + r, col + c);
}

/* s = x · yᵀ, rows of x from x_row and of y from y_row on. Shared memory is free before and after. */
static __device__ __forceinline__ void plain_scores(float s[4][4], struct plain_shared *m,
                                                    const struct rows &x, int x_row,
                                                    const struct rows &y, int y_row)
{
    int tx = threadIdx.x % 16 * 4, ty = threadIdx.x / 16 * 4;
    for (int i = 0; i < 16; i++)
        s[i / 4][i % 4] = 0;
    for (int c = 0; c < x.width; c += INNER) {
        plain_load(m->side[0], x, x_row, c);
        plain_load(m->side[1], y, y_row, c);
        __syncthreads();
#pragma unroll 8
        for (int k = 0; k < INNER; k++) {
            float4 l = *(const float4 *)&m->side[0][k][ty], r = *(const float4 *)&m->side[1][k][tx];
            float left[4] = {l.x, l.y, l.z, l.w}, right[4] = {r.x, r.y, r.z, r.w};
#pragma unroll
            for (int i = 0; i < 16; i++)
                s[i / 4][i % 4] += left[i / 4] * right[i % 4];
        }
        __syncthreads();
    }
}

/* Keeps w as the left operand of plain_output. */
static __device__ __forceinline__ void plain_weights(struct plain_shared *m, const float w[4][4])
{
    int tx = threadIdx.x % 16 * 4, ty = threadIdx.x / 16 * 4;
#pragma unroll
    for (int j = 0; j < 4; j++)
        *(float4 *)&m->weight[tx + j][ty] = make_float4(w[0][j], w[1][j], w[2][j], w[3][j]);
}

/* out += w · x over 64 rows of x from row on, its columns from col on; w from plain_weights, whose barrier is the first one here. */
static __device__ __forceinline__ void plain_output(float out[4][8], struct plain_shared *m,
                                                    const struct rows &x, int row, int col)
{
    int tx = threadIdx.x % 16 * 4, ty = threadIdx.x / 16 * 4;
    for (int first = 0; first < ROWS; first += INNER) {
        int c = threadIdx.x % COLUMNS;
        for (int r = threadIdx.x / COLUMNS; r < INNER; r += PLAIN_THREADS / COLUMNS)
            m->right[r][c] = rows_at(x, row + first + r, col + c);
        __syncthreads();
#pragma unroll 4
        for (int k = 0; k < INNER; k++) {
            float4 l = *(const float4 *)&m->weight[first + k][ty];
            float4 r = *(const float4 *)&m->right[k][tx],
                   s = *(const float4 *)&m->right[k][64 + tx];
            float left[4] = {l.x, l.y, l.z, l.w};
            float right[8] = {r.x, r.y, r.z, r.w, s.x, s.y, s.z, s.w};
#pragma unroll
            for (int i = 0; i < 32; i++)
                out[i / 8][i % 8] += left[i / 8] * right[i % 8];
        }
        __syncthreads();
    }
}

/* Column of an output's number j of this thread. */
static __device__ __forceinline__ int plain_column(int j)
{
    return (int)threadIdx.x % 16 * 4 + j % 4 + j / 4 * 64;
}

#endif
