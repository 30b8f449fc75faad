/* What the kernels of rows share: who works on a row, and loads of four numbers at once.
 *
 * A row is a warp's where it is short (several rows a block) and a block's otherwise; columns go round the threads, W neighbours each.
 * W is 4 where all pointers are 16-byte aligned and all pitches multiples of four, and 1 anywhere: LAUNCH_ROWS chooses.
 *
 *     template <int W> static __global__ void double_rows(float *y, int64_t T, int64_t D)
 *     {
 *         int64_t t = my_row();
 *         if (t >= T) return;                        a warp's or a block's threads together
 *         for (int64_t d = threadIdx.x * W; d < D; d += blockDim.x * W) { … }
 *     }
 */
#ifndef MOE2_KERNELS_CUDA_ROWS_H
#define MOE2_KERNELS_CUDA_ROWS_H

#include "kernels/cuda/cuda.h"

enum { SHORT_ROW = 512, SHORT_ROWS = 8 };

static inline dim3 row_block(int64_t D)
{
    if (D <= SHORT_ROW)
        return dim3(ALL_WARP, SHORT_ROWS);
    return dim3(D <= 2048 ? 128 : D <= 8192 ? 256 : D <= 16384 ? 512 : 1024);
}

static inline unsigned row_blocks(int64_t T, int64_t D)
{
    return blocks_for(T, row_block(D).y);
}

static __device__ __forceinline__ int64_t my_row(void)
{
    return (int64_t)blockIdx.x * blockDim.y + threadIdx.y;
}

/* The sum over the threads of my row, in all of them; part as of block_sum. */
static __device__ __forceinline__ float row_sum(float x, float *part)
{
    return blockDim.x == ALL_WARP ? warp_sum(x) : block_sum(x, part);
}

/* ---- four numbers at once ---- */

static inline bool is_wide(const void *p)
{
    return (uintptr_t)p % 16 == 0;
}

/* KERNEL<4> where "wide", else KERNEL<1>, over T rows of D numbers. */
#define LAUNCH_ROWS(dev, wide, kernel, T, D, ...)                                                  \
    do {                                                                                           \
        if (wide)                                                                                  \
            LAUNCH(dev, (kernel<4>), row_blocks(T, D), row_block(D), 0, __VA_ARGS__);              \
        else                                                                                       \
            LAUNCH(dev, (kernel<1>), row_blocks(T, D), row_block(D), 0, __VA_ARGS__);              \
    } while (0)

template <int W> static __device__ __forceinline__ void load(float v[W], const float *p)
{
    if constexpr (W == 4) {
        float4 q = *(const float4 *)p;
        v[0] = q.x;
        v[1] = q.y;
        v[2] = q.z;
        v[3] = q.w;
    } else {
        v[0] = *p;
    }
}

template <int W> static __device__ __forceinline__ void store(float *p, const float v[W])
{
    if constexpr (W == 4)
        *(float4 *)p = make_float4(v[0], v[1], v[2], v[3]);
    else
        *p = v[0];
}

/* To the nearest bf16 as f32_to_bf16 rounds, NaN's bits included, which the card's own instruction does not keep. */
static __device__ __forceinline__ unsigned bf16_bits(float x)
{
    unsigned u = __float_as_uint(x);
    return (u & 0x7fffffff) > 0x7f800000 ? u >> 16 | 0x40 : (u + 0x7fff + (u >> 16 & 1)) >> 16;
}

template <int W> static __device__ __forceinline__ void store_bf16(uint16_t *p, const float v[W])
{
    if constexpr (W == 4)
        *(uint2 *)p = make_uint2(bf16_bits(v[0]) | bf16_bits(v[1]) << 16,
                                 bf16_bits(v[2]) | bf16_bits(v[3]) << 16);
    else
        *p = (uint16_t)bf16_bits(v[0]);
}

/* Which of n entries this block is for: the last one whose blocks begin at or before it. */
template <typename E> static __device__ __forceinline__ int entry_of(const E *e, int n)
{
    return last_begun(n, blockIdx.x, [&](int i) { return e[i].first; });
}

/* out[n] += Σ_t a[t,n] · b[t,n] · scale[t] over T rows; b and scale may be NULL: 1. */
void cuda_column_sums(struct device *dev, float *out, const float *a, int64_t lda, const float *b,
                      int64_t ldb, const float *scale, int64_t T, int64_t N);

#endif
