/* Products with a narrow side of at most 64, as adapters and routers have them, in bf16: bound by memory, so that operands are read
 * where they lie, once, and rounded in registers on their way to the tensor cores.
 *
 *     narrow_inner     out [R,C] (+)= Σ_i a · b, few i: one pass over out
 *     narrow_across    out [R,C] (+)= Σ_i a · b, few C: one pass over a, the sum cut into fixed pieces
 *
 * Of experts, all in one launch: where slots are rows, an expert has rows of a and out, and a b of its own; where they are what is
 * summed, it has numbers i of a and b, and an out of its own. Slots may be gathered.
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
    const int32_t *a_slot, *b_slot; /* where slot s lies in a (in b); NULL: at s */
};

/* Experts of one launch: slots first[e] … first[e+1]−1 are expert e's. */
enum { NARROW_EXPERTS = 256 };
struct narrow_experts {
    const void *w[NARROW_EXPERTS]; /* each one's b, or out */
    int32_t first[NARROW_EXPERTS + 1];
    int32_t tile[NARROW_EXPERTS + 1]; /* blocks (in x) before this expert's */
    int32_t n;
    bool summed; /* slots are what is summed */
    enum { GATHER = 1 };
};

/* Of one product alone. */
struct narrow_alone {
    enum { GATHER = 0 };
};

/* At most NARROW_MOST of inner; a isn't deep, column_step is 1. experts NULL: one product alone, no slots. Else e->n, first, w and
 * summed are given (the latter false for narrow_inner), of p what all have: R (inner where slots are summed) is not looked at, a, a_slot,
 * b_slot and out are those of slot 0; wide as narrow_wide tells it of p and of every w. */
void narrow_inner(struct device *dev, const struct narrow *p, struct narrow_experts *e, bool wide);

/* At most NARROW_MOST of C. */
void narrow_across(struct device *dev, const struct narrow *p, struct narrow_experts *e, bool wide);

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

/* ---- experts ---- */

static __device__ __forceinline__ int narrow_enter(struct narrow *, const struct narrow_alone &)
{
    return (int)blockIdx.x;
}

/* Makes of p this block's expert's; returns which of its blocks this is. */
static __device__ __forceinline__ int narrow_enter(struct narrow *p, const struct narrow_experts &x)
{
    int block = (int)blockIdx.x, e = last_begun(x.n, block, [&](int i) { return x.tile[i]; });
    int64_t first = x.first[e], slots = x.first[e + 1] - first;
    if (p->a_slot)
        p->a_slot += first;
    else
        p->a += first * p->lda;
    if (x.summed) {
        p->inner = slots;
        p->out = (float *)(uintptr_t)x.w[e];
        if (p->b_slot)
            p->b_slot += first;
        else
            p->b = (const float *)p->b + first * p->ldb;
    } else {
        p->R = slots;
        p->b = x.w[e];
        p->out += first * p->row_step;
    }
    return block - x.tile[e];
}

/* Counts blocks of `height` rows, for experts that have slots; p->R rows each where slots are summed. */
static inline unsigned narrow_count(struct narrow_experts *x, const struct narrow *p, int height)
{
    int64_t n = 0;
    for (int e = 0; e < x->n; e++) {
        int64_t slots = x->first[e + 1] - x->first[e], rows = x->summed && slots ? p->R : slots;
        x->tile[e] = (int32_t)n;
        n += (rows + height - 1) / height;
    }
    x->tile[x->n] = (int32_t)n;
    return (unsigned)n;
}

/* Where slot i lies, if X has any. */
template <typename X>
static __device__ __forceinline__ int64_t narrow_slot(const int32_t *slot, int64_t i, int64_t end)
{
    return X::GATHER && slot && i < end ? slot[i] : i;
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
