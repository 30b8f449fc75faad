/* Products of experts in float32: tiles of 64 by 64, each of a block's 256 threads keeping 4 by 4 sums. See tiles.h. Multiplied in
 * float32 as they are, on the ordinary units; bf16 weights are widened as they are read.
 */
#include "kernels/cuda/tiles.h"

enum { SIDE = 64, DEPTH = 16, THREADS = 256, EACH = 4, PITCH = SIDE + 4 };

static __device__ __forceinline__ float number(const float *p, int64_t i)
{
    return p[i];
}

static __device__ __forceinline__ float number(const uint16_t *p, int64_t i)
{
    return bf16_value(p[i]);
}

/* A piece [DEPTH][SIDE] of an operand whose element (line, depth) is at line·ld + depth, or depth·ld + line when DEEP; zeros where
 * it has none. */
template <bool DEEP, typename T>
static __device__ __forceinline__ void fetch(float (*piece)[PITCH], const T *from, int64_t ld,
                                             int64_t line, int64_t n_lines, int64_t depth,
                                             int64_t n_depth)
{
#pragma unroll
    for (int i = 0; i < SIDE * DEPTH / THREADS; i++) {
        int at = (int)threadIdx.x + i * THREADS;
        int l = DEEP ? at % SIDE : at / DEPTH, d = DEEP ? at / SIDE : at % DEPTH;
        bool there = line + l < n_lines && depth + d < n_depth;
        int64_t place = DEEP ? (depth + d) * ld + line + l : (line + l) * ld + depth + d;
        piece[d][l] = there ? number(from, place) : 0;
    }
}

template <enum tiles_direction D, typename B>
static __global__ void __launch_bounds__(THREADS)
    product_f32(const __grid_constant__ struct tiles t)
{
    __shared__ __align__(16) float a[DEPTH][PITCH];
    __shared__ __align__(16) float b[DEPTH][PITCH];
    struct tile p = tile_of<D, float, B>(t, SIDE, SIDE);
    int y = (int)threadIdx.x / 16 * EACH, x = (int)threadIdx.x % 16 * EACH;
    float sum[EACH][EACH] = {};
    for (int64_t k = 0; k < p.inner; k += DEPTH) {
        fetch<D == BACKWARD_WEIGHT>(a, (const float *)p.a, t.lda, p.row, p.side, k, p.inner);
        fetch<D != FORWARD>(b, (const B *)p.b, p.ldb, p.column, t.across, k, p.inner);
        __syncthreads();
#pragma unroll
        for (int d = 0; d < DEPTH; d++) {
            float4 u = *(const float4 *)&a[d][y], v = *(const float4 *)&b[d][x];
            const float us[] = {u.x, u.y, u.z, u.w}, vs[] = {v.x, v.y, v.z, v.w};
#pragma unroll
            for (int i = 0; i < EACH; i++)
#pragma unroll
                for (int j = 0; j < EACH; j++)
                    sum[i][j] += us[i] * vs[j];
        }
        __syncthreads();
    }
#pragma unroll
    for (int i = 0; i < EACH; i++)
#pragma unroll
        for (int j = 0; j < EACH; j++)
            if (p.row + y + i < p.side && p.column + x + j < t.across) {
                float *c = p.c + (p.row + y + i) * p.ldc + p.column + x + j;
                *c = t.accumulate ? *c + sum[i][j] : sum[i][j];
            }
}

template <enum tiles_direction D, typename B>
static void launch(struct device *dev, struct tiles *t)
{
    unsigned n = (unsigned)tiles_count<D>(t, SIDE, SIDE);
    LAUNCH(dev, (product_f32<D, B>), n, THREADS, 0, *t);
}

void tiles_f32(struct device *dev, enum tiles_direction d, struct tiles *t, enum dtype w_type)
{
    if (d == BACKWARD_WEIGHT)
        launch<BACKWARD_WEIGHT, float>(dev, t);
    else if (d == FORWARD && w_type == DT_BF16)
        launch<FORWARD, uint16_t>(dev, t);
    else if (d == FORWARD)
        launch<FORWARD, float>(dev, t);
    else if (w_type == DT_BF16)
        launch<BACKWARD_INPUT, uint16_t>(dev, t);
    else
        launch<BACKWARD_INPUT, float>(dev, t);
}
