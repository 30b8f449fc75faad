/* Tile and packing for AVX-512's bf16 units: 14 rows of 2 × 16 columns, each step multiplying a pair of bf16 and adding in float32.
 *
 * Operands in float32 are rounded to bf16 while they are packed: a unit is the pair (k, k+1) with the lower k in its lower half. The
 * units treat numbers below 2^−126 as zero.
 */
#include <immintrin.h>

#include "kernels/cpu/gemm.h"

enum { LANES = 16, MR = 14, NR = 32 };
#define VEC __m512
#define V_ZERO _mm512_setzero_ps()
#define V_LOAD(p) _mm512_loadu_si512((const void *)(p))
#define V_SPREAD(p) _mm512_set1_epi32((int)*(p))
#define V_MAC(c, a, b) _mm512_dpbf16_ps(c, (__m512bh)(a), (__m512bh)(b))
#define V_OPERAND __m512i

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

/* Ones in the first n lanes, none for n ≤ 0. */
static inline __mmask16 first(int64_t n)
{
    return (__mmask16)(n >= 16 ? 0xffff : n <= 0 ? 0 : (1u << n) - 1);
}

/* 32 neighbours from element i on, as 16 units. half: they are bf16 already; a constant of each copy, as below. */
static inline __attribute__((always_inline)) __m512i load_32(const void *p, int64_t i,
                                                             const bool half)
{
    const float *wide = (const float *)p + i;
    if (half)
        return _mm512_loadu_si512((const uint16_t *)p + i);
    return (__m512i)_mm512_cvtne2ps_pbh(_mm512_loadu_ps(wide + 16), _mm512_loadu_ps(wide));
}

/* The same of n ≤ 32, the rest zero. */
static inline __attribute__((always_inline)) __m512i load_some(const void *p, int64_t i, int64_t n,
                                                               const bool half)
{
    const float *wide = (const float *)p + i;
    if (n >= 32)
        return load_32(p, i, half);
    if (half)
        return _mm512_maskz_loadu_epi16((1u << n) - 1, (const uint16_t *)p + i);
    return (__m512i)_mm512_cvtne2ps_pbh(_mm512_maskz_loadu_ps(first(n - 16), wide + 16),
                                        _mm512_maskz_loadu_ps(first(n), wide));
}

/* Units of 16 columns: those of a row of k, and of the next one, in pairs. */
static inline __attribute__((always_inline)) __m512i load_columns(const void *p, int64_t from,
                                                                  __mmask16 lanes, int64_t next,
                                                                  __mmask16 next_lanes,
                                                                  const bool half)
{
    const __m512i in_pairs =
        _mm512_set_epi16(31, 15, 30, 14, 29, 13, 28, 12, 27, 11, 26, 10, 25, 9, 24, 8, 23, 7, 22, 6,
                         21, 5, 20, 4, 19, 3, 18, 2, 17, 1, 16, 0);
    __m512i both;
    if (half) {
        __m256i low = _mm256_maskz_loadu_epi16(lanes, (const uint16_t *)p + from),
                high = _mm256_maskz_loadu_epi16(next_lanes, (const uint16_t *)p + next);
        both = _mm512_inserti64x4(_mm512_castsi256_si512(low), high, 1);
    } else {
        both =
            (__m512i)_mm512_cvtne2ps_pbh(_mm512_maskz_loadu_ps(next_lanes, (const float *)p + next),
                                         _mm512_maskz_loadu_ps(lanes, (const float *)p + from));
    }
    return _mm512_permutexvar_epi16(in_pairs, both);
}

/* k numbers of each of m rows, in their order. */
static inline __attribute__((always_inline)) void pack_rows(uint32_t *to, const struct gemm_side *a,
                                                            int64_t m0, int64_t m, int64_t k0,
                                                            int64_t k, const bool half)
{
    for (int64_t i = 0; i < m; i++, to += GEMM_PITCH) {
        int64_t from = gemm_row(a, m0 + i) + k0, j = 0,
                later = gemm_row(a, m0 + (i + AHEAD < m ? i + AHEAD : i)) + k0;
        for (; j + 32 <= k; j += 32) {
            prefetch(a, later + j);
            prefetch(a, later + j + 16);
            _mm512_storeu_si512(to + j / 2, load_32(a->p, from + j, half));
        }
        if (j < k)
            _mm512_storeu_si512(to + j / 2, load_some(a->p, from + j, k - j, half));
    }
}

/* Columns m0 … m0+m−1 as panels of MR. A unit is stored whole, what is too much is written over by the next. */
static inline __attribute__((always_inline)) void pack_panels(uint32_t *to,
                                                              const struct gemm_side *a, int64_t m0,
                                                              int64_t m, int64_t k0, int64_t k,
                                                              const bool half)
{
    int64_t units = (k + 1) / 2;
    for (int64_t u = 0; u < units; u++) {
        bool has_next = 2 * u + 1 < k;
        int64_t from = gemm_row(a, k0 + 2 * u) + m0,
                next = has_next ? gemm_row(a, k0 + 2 * u + 1) + m0 : from;
        __mmask16 stored = u + 1 < units ? 0xffff : first(MR);
        for (int64_t i = 0; i < m; i += MR) {
            __mmask16 lanes = first(m - i);
            _mm512_mask_storeu_epi32(
                to + i * units + u * MR, stored,
                load_columns(a->p, from + i, lanes, next + i, has_next ? lanes : 0, half));
        }
    }
}

/* Columns of B that lie as rows of k numbers: pairs turned over, 16 by 16. Behind the last column stands a copy of it. */
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
        for (int64_t j = 0; j < k; j += 32) {
            __m512i v[16];
            if (k - j >= 32) {
#pragma GCC unroll 16
                for (int r = 0; r < 16; r++) {
                    v[r] = load_32(b->p, from[r] + j, half);
                    prefetch(b, from[r] + j + 16 * b->ld);
                    prefetch(b, from[r] + j + 16 * b->ld + 16);
                }
            } else {
                for (int r = 0; r < 16; r++)
                    v[r] = load_some(b->p, from[r] + j, k - j, half);
            }
            transpose_16x16(v);
            if (k - j >= 32) {
#pragma GCC unroll 16
                for (int r = 0; r < 16; r++)
                    _mm512_storeu_si512(out + (j / 2 + r) * NR, v[r]);
            } else {
                for (int64_t r = 0; r < (k - j + 1) / 2; r++)
                    _mm512_storeu_si512(out + (j / 2 + r) * NR, v[r]);
            }
        }
    }
}

/* Columns of B that lie side by side: pairs of rows, 16 columns at a time. */
static inline __attribute__((always_inline)) void
pack_straight(uint32_t *to, const struct gemm_side *b, int64_t n0, int64_t n, int64_t k0, int64_t k,
              int64_t panel, const bool half)
{
    for (int64_t j = 0; j < k; j += 2) {
        bool has_next = j + 1 < k;
        int64_t from = gemm_row(b, k0 + j) + n0,
                next = has_next ? gemm_row(b, k0 + j + 1) + n0 : from;
        for (int64_t i = 0; i < n; i += 16) {
            __mmask16 lanes = first(n - i);
            _mm512_storeu_si512(
                to + i / NR * NR * panel + j / 2 * NR + i % NR,
                load_columns(b->p, from + i, lanes, next + i, has_next ? lanes : 0, half));
        }
    }
}

#include "kernels/cpu/gemm_pack_body.h"

const struct gemm_ops gemm_avx512bf16 = {MR, NR, 2, 8, pack_a, pack_b, tile};
