/* Tile and packing for AVX-512 in float32: 14 rows of 2 × 16 columns. bf16 operands are widened while they are packed. */
#include <immintrin.h>

#include "kernels/cpu/gemm.h"

enum { LANES = 16, MR = 14, NR = 32 };
#define VEC __m512
#define V_OPERAND __m512
#define V_ZERO _mm512_setzero_ps()
#define V_LOAD(p) _mm512_loadu_ps((const void *)(p))
#define V_SPREAD(p) _mm512_set1_ps(*(const float *)(const void *)(p))
#define V_MAC(c, a, b) _mm512_fmadd_ps(a, b, c)

static inline void v_put(float *p, __m512 v, int n, bool add)
{
    if (n == LANES) {
        _mm512_storeu_ps(p, add ? _mm512_add_ps(v, _mm512_loadu_ps(p)) : v);
        return;
    }
    __mmask16 mask = (__mmask16)((1u << n) - 1);
    if (add)
        v = _mm512_add_ps(v, _mm512_maskz_loadu_ps(mask, p));
    _mm512_mask_storeu_ps(p, mask, v);
}
#define V_PUT(p, v, n, add) v_put(p, v, n, add)

#include "kernels/cpu/gemm_tile.h"
#include "kernels/cpu/transpose_avx512.h"

TILE_OF(1)
TILE_OF(2)
TILE_OF(3)
TILE_OF(4)
TILE_OF(5)
TILE_OF(6)
TILE_OF(7)
TILE_OF(8)
TILE_OF(9)
TILE_OF(10)
TILE_OF(11)
TILE_OF(12)
TILE_OF(13)
TILE_OF(14)

static void tile(float *c, int64_t ldc, const uint32_t *a, const uint32_t *b, int64_t b_row,
                 int64_t units, int m, int n, bool by_rows, bool add)
{
    static void (*const tiles[MR])(float *, int64_t, const uint32_t *, const uint32_t *, int64_t,
                                   int64_t, int, bool, bool) = {
        tile_1, tile_2, tile_3,  tile_4,  tile_5,  tile_6,  tile_7,
        tile_8, tile_9, tile_10, tile_11, tile_12, tile_13, tile_14};
    tiles[m - 1](c, ldc, a, b, b_row, units, n, by_rows, add);
}

enum {
    AHEAD = 4
}; /* rows: those of A may lie anywhere, so that the processor's own prefetching comes late */

static inline void prefetch(const struct gemm_side *s, int64_t i)
{
    _mm_prefetch((const char *)s->p + i * (s->type == DT_F32 ? 4 : 2), _MM_HINT_T0);
}

static inline __mmask16 first(int64_t n)
{
    return (__mmask16)((1u << n) - 1);
}

/* 16 numbers from element i on; n < 16 of them, the rest zero. half: they are bf16, a constant wherever speed matters. */
static inline __attribute__((always_inline)) __m512 load(const void *p, int64_t i, const bool half)
{
    if (!half)
        return _mm512_loadu_ps((const float *)p + i);
    __m256i v = _mm256_loadu_si256((const void *)((const uint16_t *)p + i));
    return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(v), 16));
}

static inline __attribute__((always_inline)) __m512 load_some(const void *p, int64_t i, int64_t n,
                                                              const bool half)
{
    if (n >= 16)
        return load(p, i, half);
    if (!half)
        return _mm512_maskz_loadu_ps(first(n), (const float *)p + i);
    __m256i v = _mm256_maskz_loadu_epi16(first(n), (const uint16_t *)p + i);
    return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(v), 16));
}

/* k numbers of each of m rows, in their order. */
static inline __attribute__((always_inline)) void pack_rows(uint32_t *to, const struct gemm_side *a,
                                                            int64_t m0, int64_t m, int64_t k0,
                                                            int64_t k, const bool half)
{
    for (int64_t i = 0; i < m; i++, to += GEMM_PITCH) {
        int64_t from = gemm_row(a, m0 + i) + k0, j = 0,
                later = gemm_row(a, m0 + (i + AHEAD < m ? i + AHEAD : i)) + k0;
        for (; j + 16 <= k; j += 16) {
            prefetch(a, later + j);
            _mm512_storeu_ps(to + j, load(a->p, from + j, half));
        }
        if (j < k)
            _mm512_storeu_ps(to + j, load_some(a->p, from + j, k - j, half));
    }
}

/* Columns m0 … m0+m−1 as panels of MR. A unit is stored whole, what is too much is written over by the next. */
static inline __attribute__((always_inline)) void pack_panels(uint32_t *to,
                                                              const struct gemm_side *a, int64_t m0,
                                                              int64_t m, int64_t k0, int64_t k,
                                                              const bool half)
{
    for (int64_t j = 0; j < k; j++) {
        int64_t from = gemm_row(a, k0 + j) + m0;
        __mmask16 stored = j + 1 < k ? 0xffff : first(MR);
        for (int64_t i = 0; i < m; i += MR)
            _mm512_mask_storeu_ps(to + i * k + j * MR, stored,
                                  load_some(a->p, from + i, m - i, half));
    }
}

/* Columns of B that lie as rows of k numbers: turned over, 16 by 16. Behind the last column stands a copy of it. */
static inline __attribute__((always_inline)) void pack_turned(uint32_t *to,
                                                              const struct gemm_side *b, int64_t n0,
                                                              int64_t n, int64_t k0, int64_t k,
                                                              int64_t panel, const bool half)
{
    for (int64_t i = 0; i < n; i += 16) {
        int64_t from[16];
        uint32_t *out = to + i / NR * NR * panel + i % NR;
        for (int64_t r = 0; r < 16; r++)
            from[r] = gemm_row(b, n0 + (i + r < n ? i + r : n - 1)) + k0;
        for (int64_t j = 0; j < k; j += 16) {
            __m512i v[16];
            if (k - j >= 16) {
#pragma GCC unroll 16
                for (int r = 0; r < 16; r++) {
                    v[r] = _mm512_castps_si512(load(b->p, from[r] + j, half));
                    prefetch(b, from[r] + j + 16 * b->ld);
                }
            } else {
                for (int r = 0; r < 16; r++)
                    v[r] = _mm512_castps_si512(load_some(b->p, from[r] + j, k - j, half));
            }
            transpose_16x16(v);
            if (k - j >= 16) {
#pragma GCC unroll 16
                for (int r = 0; r < 16; r++)
                    _mm512_storeu_si512(out + (j + r) * NR, v[r]);
            } else {
                for (int64_t r = 0; r < k - j; r++)
                    _mm512_storeu_si512(out + (j + r) * NR, v[r]);
            }
        }
    }
}

/* Columns of B that lie side by side, 16 at a time. */
static inline __attribute__((always_inline)) void
pack_straight(uint32_t *to, const struct gemm_side *b, int64_t n0, int64_t n, int64_t k0, int64_t k,
              int64_t panel, const bool half)
{
    for (int64_t j = 0; j < k; j++) {
        int64_t from = gemm_row(b, k0 + j) + n0;
        for (int64_t i = 0; i < n; i += 16)
            _mm512_storeu_ps(to + i / NR * NR * panel + j * NR + i % NR,
                             load_some(b->p, from + i, n - i, half));
    }
}

#include "kernels/cpu/gemm_pack_body.h"

const struct gemm_ops gemm_avx512 = {MR, NR, 1, 8, pack_a, pack_b, tile};
