/* Products with a narrow side of at most 64, as adapters and routers have them, in bf16: bound by memory, so that operands are read
 * where they lie, once, and rounded in registers on their way to the tensor cores.
 *
 *     narrow_inner     out [R,C] (+)= Σ_i a · b, few i: one pass over out
 *     narrow_across    out [R,C] (+)= Σ_i a · b, few C: one pass over a, the sum cut into fixed pieces
 *
 * An operand holds lines (rows of a, columns of b) of numbers i, either each line's together or, deep, each i's together. A sum does
 * not mind the order of i: a lane takes four neighbours of a line as what mma_bf16 calls 2t, 2t+1, 2t+8 and 2t+9, in both
 * operands, so that 16 bytes are read at a time and nothing passes through shared memory.
 */
#ifndef MOE2_KERNELS_CUDA_NARROW_H
#define MOE2_KERNELS_CUDA_NARROW_H

#include "kernels/cuda/cuda.h"

enum { NARROW_MOST = 64 };

struct narrow {
    float *out; /* [r, c] at r · row_step + c · column_step, one of which is 1 */
    const float *a;
    const void *b; /* float32, or bf16 where b_half */
    int64_t R, C, inner, row_step, column_step, lda, ldb;
    bool a_deep, b_deep, b_half, accumulate;
};

/* At most NARROW_MOST of inner; a isn't deep, column_step is 1. */
void narrow_inner(struct device *dev, const struct narrow *p);

/* At most NARROW_MOST of C. */
void narrow_across(struct device *dev, const struct narrow *p);

/* A narrow weight's gradient in float32, where few tiles would make it and each would have a long sum; false, with nothing done,
 * elsewhere. */
bool narrow_weight_f32(struct device *dev, const struct linear_args *a);

/* out [n_rows, n] with pitch ldout (+)= the pieces' sums, n_pieces times [n_rows, n], in order. */
void narrow_add_pieces(struct device *dev, float *out, int64_t ldout, const float *part,
                       int64_t n_pieces, int64_t n_rows, int64_t n, bool accumulate);

/* Whether four neighbours of every operand may be read at once. */
static inline bool narrow_wide(const struct narrow *p)
{
    bool whole_a = (p->a_deep ? p->R : p->inner) % 4 == 0,
         whole_b = (p->b_deep ? p->C : p->inner) % 4 == 0;
    return (uintptr_t)p->a % 16 == 0 && (uintptr_t)p->b % 16 == 0 && p->lda % 4 == 0 &&
           p->ldb % 4 == 0 && whole_a && whole_b;
}

/* ---- reading: four neighbours of which n are there (all or none where WIDE), zeros for the rest ---- */

static __device__ __forceinline__ float narrow_value(float x)
{
    return x;
}

static __device__ __forceinline__ float narrow_value(uint16_t x)
{
    return bf16_value(x);
}

template <bool WIDE>
static __device__ __forceinline__ void narrow_read(float v[4], const float *p, int64_t n)
{
    if (WIDE) {
        float4 q = make_float4(0, 0, 0, 0);
        if (n > 0)
            q = *(const float4 *)p;
        v[0] = q.x, v[1] = q.y, v[2] = q.z, v[3] = q.w;
    } else {
#pragma unroll
        for (int i = 0; i < 4; i++)
            v[i] = i < n ? p[i] : 0;
    }
}

template <bool WIDE>
static __device__ __forceinline__ void narrow_read(float v[4], const uint16_t *p, int64_t n)
{
    if (WIDE) {
        uint2 q = make_uint2(0, 0);
        if (n > 0)
            q = *(const uint2 *)p;
        v[0] = bf16_value((uint16_t)q.x), v[1] = bf16_value((uint16_t)(q.x >> 16));
        v[2] = bf16_value((uint16_t)q.y), v[3] = bf16_value((uint16_t)(q.y >> 16));
    } else {
#pragma unroll
        for (int i = 0; i < 4; i++)
            v[i] = i < n ? bf16_value(p[i]) : 0;
    }
}

#endif
