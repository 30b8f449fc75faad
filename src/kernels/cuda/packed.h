/* How packed weights lie in a GPU's memory, and how a warp reads them.
 *
 * A row of w is one stretch of memory, rows follow one another, gate before up. A float form's row is its numbers, up to a multiple of
 * 16 bytes, so that library products can read it too. An integer form's row is cut into units of 256 numbers, the last filled up with
 * zeros. Eight lanes share 64 numbers of a unit: lane l has the quads l%8 and 8 + l%8 of the sixteen there, so that a load of quads
 * of x is whole lines and a lane needs few scales. Number j of them is in byte j of an 8-bit form, or in the lower (first quad) and
 * higher halves of the bytes of one word. The fifth and sixth bits, then scales, then mins follow as planes of their own:
 *
 *     [codes: 32 cells a unit] [high bits: 32 cells] [scales: a cell for the lanes that share them] [mins]
 *
 * In a plane four units are a chunk, in which a cell's four pieces are side by side: one load of 16 bytes a lane, 512 a warp. Units
 * behind the last whole chunk follow one by one; 8-bit codes need no chunks. A cell of scales (mins) is the two float16 of a lane's
 * quads, or NF4's float32 of both.
 */
#ifndef MOE2_KERNELS_CUDA_PACKED_H
#define MOE2_KERNELS_CUDA_PACKED_H

#include "kernels/cuda/cuda.h"

enum { UNIT = 256, CHUNK = 4, FEW_ROWS = 32 };

#define FORM_FACT static __host__ __device__ constexpr

FORM_FACT bool is_whole(int form)
{
    return form >= PACKED_I4;
}

FORM_FACT bool has_min(int form)
{
    return form == PACKED_I4_MIN || form == PACKED_I5_MIN;
}

FORM_FACT int zero_of(int form)
{
    return form == PACKED_I4   ? 8
           : form == PACKED_I5 ? 16
           : form == PACKED_I6 ? 32
           : form == PACKED_I8 ? 128
                               : 0;
}

FORM_FACT int group_of(int form)
{
    return form == PACKED_NF4 ? 64 : form == PACKED_I6 ? 16 : 32;
}

/* Bytes of a lane's eight numbers: of their codes' lower four bits (or all eight, or the floats), and of the bits above. */
FORM_FACT int code_bytes(int form)
{
    return form == PACKED_F32 ? 32 : !is_whole(form) ? 16 : form == PACKED_I8 ? 8 : 4;
}

FORM_FACT int high_bytes(int form)
{
    return form == PACKED_I6 ? 2 : form == PACKED_I5 || form == PACKED_I5_MIN ? 1 : 0;
}

/* Cells of the scales of a unit, each of CELL bytes: lanes 0 … 32/cells − 1 share the first. */
enum { CELL = 4 };

FORM_FACT int cells_of(int form)
{
    return form == PACKED_I6 ? 8 : 4;
}

/* Where the planes of an integer form's row begin, and a row's bytes, which int holds. */
struct row_plan {
    int units, high, scale, min;
    int64_t bytes;
};

FORM_FACT struct row_plan plan_row(int form, int64_t K)
{
    struct row_plan p = {(int)((K + UNIT - 1) / UNIT), 0, 0, 0, 0};
    if (!is_whole(form)) {
        p.bytes = (K * code_bytes(form) / 8 + 15) / 16 * 16;
        return p;
    }
    p.high = p.units * 32 * code_bytes(form);
    p.scale = p.high + p.units * 32 * high_bytes(form);
    p.min = p.scale + p.units * cells_of(form) * CELL;
    p.bytes = p.min + (has_min(form) ? p.units * cells_of(form) * CELL : 0);
    return p;
}

/* Byte of unit u's piece of a cell in a plane of chunks. */
FORM_FACT int plane_at(int units, int u, int cells, int cell, int bytes)
{
    return u < units / CHUNK * CHUNK
               ? (u / CHUNK * CHUNK * cells + cell * CHUNK + u % CHUNK) * bytes
               : (u * cells + cell) * bytes;
}

FORM_FACT int code_at(int form, int units, int u, int lane)
{
    return form == PACKED_I8 ? (u * 32 + lane) * 8 : plane_at(units, u, 32, lane, 4);
}

/* The first number of a lane's quad in a unit. */
FORM_FACT int quad_at(int form, int lane, int quad)
{
    return form == PACKED_F32       ? quad * 128 + lane * 4
           : code_bytes(form) == 16 ? lane * 8 + quad * 4
                                    : lane / 8 * 64 + quad * 32 + lane % 8 * 4;
}

/* ---- what a lane has read of a row: one unit, or a chunk ---- */

/* Units that a lane has under way together. */
FORM_FACT int step_units(int form)
{
    return is_whole(form) ? CHUNK : form == PACKED_F32 ? 1 : 2;
}

template <int F> struct pieces {
    uint32_t code[step_units(F) * code_bytes(F) / 4];
    uint32_t high[high_bytes(F) ? high_bytes(F) : 1];
    uint32_t scale[is_whole(F) ? CHUNK : 1];
    uint32_t min[has_min(F) ? CHUNK : 1];
};

/* N words from an address that is a multiple of their size, of 16 at most. */
template <int N> static __device__ __forceinline__ void take_words(uint32_t *to, const void *from)
{
    if constexpr (N == 1) {
        to[0] = __ldg((const uint32_t *)from);
    } else if constexpr (N == 2) {
        uint2 v = __ldg((const uint2 *)from);
        to[0] = v.x, to[1] = v.y;
    } else {
        for (int i = 0; i < N; i += 4) {
            uint4 v = __ldg((const uint4 *)from + i / 4);
            to[i] = v.x, to[i + 1] = v.y, to[i + 2] = v.z, to[i + 3] = v.w;
        }
    }
}

/* The same of memory that is read once and should not push x out of the cache. */
template <int N> static __device__ __forceinline__ void stream_words(uint32_t *to, const void *from)
{
#ifdef MOE2_EMULATED
    take_words<N>(to, from);
#else
    if constexpr (N == 4)
        asm volatile("ld.global.nc.L1::no_allocate.v4.u32 {%0,%1,%2,%3}, [%4];"
                     : "=r"(to[0]), "=r"(to[1]), "=r"(to[2]), "=r"(to[3])
                     : "l"(from));
    else
        take_words<N>(to, from);
#endif
}

/* Chunk c of an integer form's row. */
template <int F>
static __device__ __forceinline__ void load_chunk(struct pieces<F> *p, const uint8_t *row,
                                                  const struct row_plan &at, int c, int lane)
{
    constexpr int cells = cells_of(F);
    int cell = (c * cells + lane / (32 / cells)) * CHUNK * CELL;
    if constexpr (F == PACKED_I8)
        for (int i = 0; i < CHUNK; i++)
            stream_words<2>(p->code + 2 * i, row + ((c * CHUNK + i) * 32 + lane) * 8);
    else
        stream_words<4>(p->code, row + (c * 32 + lane) * 16);
    if constexpr (high_bytes(F) != 0)
        take_words<high_bytes(F)>(p->high, row + at.high + (c * 32 + lane) * 4 * high_bytes(F));
    take_words<CHUNK>(p->scale, row + at.scale + cell);
    if constexpr (has_min(F))
        take_words<CHUNK>(p->min, row + at.min + cell);
}

/* Unit u of an integer form's row, as the first of p; any unit. */
template <int F>
static __device__ __forceinline__ void load_unit(struct pieces<F> *p, const uint8_t *row,
                                                 const struct row_plan &at, int u, int lane)
{
    constexpr int cells = cells_of(F), high = high_bytes(F);
    int cell = plane_at(at.units, u, cells, lane / (32 / cells), CELL);
    take_words<code_bytes(F) / 4>(p->code, row + code_at(F, at.units, u, lane));
    if constexpr (high == 1)
        p->high[0] = row[at.high + plane_at(at.units, u, 32, lane, 1)];
    if constexpr (high == 2)
        p->high[0] = *(const uint16_t *)(row + at.high + plane_at(at.units, u, 32, lane, 2));
    take_words<1>(p->scale, row + at.scale + cell);
    if constexpr (has_min(F))
        take_words<1>(p->min, row + at.min + cell);
}

/* n units of a float form's row from u on; zeros behind K. */
template <int F>
static __device__ __forceinline__ void load_floats(struct pieces<F> *p, const uint8_t *row, int u,
                                                   int n, int K, int lane)
{
    constexpr int each = code_bytes(F) / 8;
    for (int i = 0; i < n; i++)
        for (int j = 0; j < code_bytes(F) / 16; j++) {
            uint32_t *to = p->code + (i * code_bytes(F) / 16 + j) * 4;
            int k = (u + i) * UNIT + quad_at(F, lane, j);
            to[0] = to[1] = to[2] = to[3] = 0;
            if (k < K)
                stream_words<4>(to, row + (int64_t)k * each);
        }
}

/* ---- numbers out of pieces ---- */

/* Byte j of t as a float. */
static __device__ __forceinline__ float byte_number(uint32_t t, int j, int zero)
{
#ifdef MOE2_EMULATED
    return (float)((int)(t >> 8 * j & 255) - zero);
#else /* 2^23 + byte has the byte as its last bits */
    return __uint_as_float(__byte_perm(t, 0x4b000000u, 0x7440u + (unsigned)j)) -
           (float)(8388608 + zero);
#endif
}

/* The bits above the fourth of a quad's four codes, each in its byte: from 4 bits or 4 pairs of bits. */
static __device__ __forceinline__ uint32_t spread_bits(uint32_t four)
{
    return (four * 0x204081u & 0x01010101u) << 4;
}

static __device__ __forceinline__ uint32_t spread_pairs(uint32_t four)
{
    return ((four | four << 6 | four << 12 | four << 18) & 0x03030303u) << 4;
}

/* The codes of a quad of unit i, one a byte. */
template <int F>
static __device__ __forceinline__ uint32_t quad_codes(const struct pieces<F> *p, int i, int quad)
{
    if constexpr (F == PACKED_I8)
        return p->code[2 * i + quad];
    uint32_t t = p->code[i] >> 4 * quad & 0x0f0f0f0fu;
    if constexpr (high_bytes(F) == 1)
        t |= spread_bits(p->high[0] >> (8 * i + 4 * quad) & 15);
    if constexpr (high_bytes(F) == 2)
        t |= spread_pairs(p->high[i / 2] >> (i % 2 * 16 + 8 * quad) & 255);
    return t;
}

/* The four numbers of a quad of unit i, before scale and min; levels: NF4's sixteen. */
template <int F>
static __device__ __forceinline__ void quad_numbers(float v[4], const struct pieces<F> *p, int i,
                                                    int quad, const float *levels)
{
    if constexpr (F == PACKED_F32) {
        for (int j = 0; j < 4; j++)
            v[j] = __uint_as_float(p->code[i * 8 + quad * 4 + j]);
    } else if constexpr (!is_whole(F)) {
        for (int j = 0; j < 4; j++) {
            uint16_t h = (uint16_t)(p->code[i * 4 + quad * 2 + j / 2] >> j % 2 * 16);
            v[j] = F == PACKED_F16 ? f16_value(h) : bf16_value(h);
        }
    } else {
        uint32_t t = quad_codes<F>(p, i, quad);
        for (int j = 0; j < 4; j++)
            v[j] = F == PACKED_NF4 ? levels[t >> 8 * j & 15] : byte_number(t, j, zero_of(F));
    }
}

/* What the quad's numbers are multiplied by, and what is then added to each. */
template <int F>
static __device__ __forceinline__ float quad_scale(const struct pieces<F> *p, int i, int quad)
{
    if constexpr (!is_whole(F))
        return 1;
    if constexpr (F == PACKED_NF4)
        return __uint_as_float(p->scale[i]);
    return f16_value((uint16_t)(p->scale[i] >> 16 * quad));
}

template <int F>
static __device__ __forceinline__ float quad_min(const struct pieces<F> *p, int i, int quad)
{
    if constexpr (has_min(F))
        return f16_value((uint16_t)(p->min[i] >> 16 * quad));
    return 0;
}

/* NF4's levels, for a kernel's arguments: a thread of each of the first sixteen lays its own into shared memory. */
struct levels {
    float of[16];
};
struct levels packed_levels(void);

/* ---- the parts of packed_forward ---- */

/* Slots first … first + n − 1 of one weight, n ≤ FEW_ROWS; or any number of them. */
struct packed_job {
    const void *packed;
    int32_t first, n;
};

/* What is the same for all weights of a call, for kernels: no host pointers. */
struct packed_call {
    float *y;
    const float *x;
    const int32_t *x_row, *y_row;
    const float *bias;
    int64_t N, K, ldy, ldx;
    bool gated, accumulate;
};

/* Jobs of at most FEW_ROWS slots: every weight is read where it lies, sums are exact float32. */
void packed_few(struct device *dev, enum packed_form form, const struct packed_call *call,
                const struct packed_job *jobs, int n_jobs);

/* One job of many slots: pieces of the weight are widened and multiplied by the library. */
void packed_many(struct device *dev, const struct packed_weight *w, const struct packed_call *call,
                 const struct packed_job *job);

/* n ≥ 2 jobs in the order of their slots, none between them, all in bf16: their weights are widened as far as scratch holds them, and
 * tiles.h multiplies all. w [n]. */
void packed_experts(struct device *dev, const struct packed_weight *w,
                    const struct packed_call *call, const struct packed_job *jobs, int n);

/* Outputs n0 … n0+width−1 of n slots from first on, from their sums [n, width], gated [n, 2·width]: what follows a product. */
void packed_finish(struct device *dev, const struct packed_call *c, const float *sums,
                   int64_t first, int64_t n, int64_t n0, int64_t width);

/* Bytes of scratch that widened weights, and sums, may take. */
enum { PACKED_PANEL_BYTES = 160 << 20, PACKED_SUMS_BYTES = 128 << 20 };

/* All rows of n ≤ PACKED_WIDEN weights of one shape and form, one weight behind the other, as below. */
enum { PACKED_WIDEN = 64 };
void packed_widen_all(struct device *dev, void *out, bool narrow, int64_t ldo,
                      const struct packed_weight *w, int n);

/* n rows of w, which ids name (NULL: from first on), widened to float32 or (narrow) rounded to bf16, to out with pitch ldo. */
void packed_widen(struct device *dev, void *out, bool narrow, int64_t ldo,
                  const struct packed_weight *w, const int32_t *ids, int64_t first, int64_t n);

/* kernel<F> for the form at run time. */
#define PACKED_SWITCH(form, DO)                                                                    \
    switch (form) {                                                                                \
    case PACKED_F32:                                                                               \
        DO(PACKED_F32);                                                                            \
        break;                                                                                     \
    case PACKED_F16:                                                                               \
        DO(PACKED_F16);                                                                            \
        break;                                                                                     \
    case PACKED_BF16:                                                                              \
        DO(PACKED_BF16);                                                                           \
        break;                                                                                     \
    case PACKED_I4:                                                                                \
        DO(PACKED_I4);                                                                             \
        break;                                                                                     \
    case PACKED_I4_MIN:                                                                            \
        DO(PACKED_I4_MIN);                                                                         \
        break;                                                                                     \
    case PACKED_I5:                                                                                \
        DO(PACKED_I5);                                                                             \
        break;                                                                                     \
    case PACKED_I5_MIN:                                                                            \
        DO(PACKED_I5_MIN);                                                                         \
        break;                                                                                     \
    case PACKED_I6:                                                                                \
        DO(PACKED_I6);                                                                             \
        break;                                                                                     \
    case PACKED_I8:                                                                                \
        DO(PACKED_I8);                                                                             \
        break;                                                                                     \
    case PACKED_NF4:                                                                               \
        DO(PACKED_NF4);                                                                            \
        break;                                                                                     \
    case PACKED_FORMS:                                                                             \
        break;                                                                                     \
    }

#endif
