/* Tile and packing for AVX2 and FMA in float32: 6 rows of 2 × 8 columns. bf16 operands are widened while they are packed. */
#include <immintrin.h>

#include "kernels/cpu/gemm.h"

enum { LANES = 8, MR = 6, NR = 16 };
#define VEC __m256
#define V_OPERAND __m256
#define V_ZERO _mm256_setzero_ps()
#define V_LOAD(p) _mm256_loadu_ps((const float *)(const void *)(p))
#define V_SPREAD(p) _mm256_broadcast_ss((const float *)(const void *)(p))
#define V_MAC(c, a, b) _mm256_fmadd_ps(a, b, c)

/* Ones in the first n lanes. */
static inline __m256i mask_of(int64_t n)
{
    return _mm256_cmpgt_epi32(_mm256_set1_epi32(n < 8 ? (int)n : 8),
                              _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
}

static inline void v_put(float *p, __m256 v, int n, bool add)
{
    if (n == LANES) {
        _mm256_storeu_ps(p, add ? _mm256_add_ps(v, _mm256_loadu_ps(p)) : v);
        return;
    }
    __m256i mask = mask_of(n);
    if (add)
        v = _mm256_add_ps(v, _mm256_maskload_ps(p, mask));
    _mm256_maskstore_ps(p, mask, v);
}
#define V_PUT(p, v, n, add) v_put(p, v, n, add)

#include "kernels/cpu/gemm_tile.h"

TILE_OF(1)
TILE_OF(2)
TILE_OF(3)
TILE_OF(4)
TILE_OF(5)
TILE_OF(6)

static void tile(float *c, int64_t ldc, const uint32_t *a, const uint32_t *b, int64_t b_row,
                 int64_t units, int m, int n, bool by_rows, bool add)
{
    static void (*const tiles[MR])(float *, int64_t, const uint32_t *, const uint32_t *, int64_t,
                                   int64_t, int, bool,
                                   bool) = {tile_1, tile_2, tile_3, tile_4, tile_5, tile_6};
    tiles[m - 1](c, ldc, a, b, b_row, units, n, by_rows, add);
}

/* 8 numbers from element i on. half: they are bf16; a constant of each copy, as below. */
static inline __attribute__((always_inline)) __m256 load(const void *p, int64_t i, const bool half)
{
    if (!half)
        return _mm256_loadu_ps((const float *)p + i);
    __m128i v = _mm_loadu_si128((const void *)((const uint16_t *)p + i));
    return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(v), 16));
}

/* The same of n ≤ 8, the rest zero. */
static inline __attribute__((always_inline)) __m256 load_some(const void *p, int64_t i, int64_t n,
                                                              const bool half)
{
    if (n >= 8)
        return load(p, i, half);
    if (!half)
        return _mm256_maskload_ps((const float *)p + i, mask_of(n));
    uint16_t some[8] = {0};
    for (int64_t j = 0; j < n; j++)
        some[j] = ((const uint16_t *)p)[i + j];
    return load(some, 0, true);
}

static inline void store(uint32_t *p, __m256 v)
{
    _mm256_storeu_ps((float *)(void *)p, v);
}

/* k numbers of each of m rows, in their order. */
static inline __attribute__((always_inline)) void pack_rows(uint32_t *to, const struct gemm_side *a,
                                                            int64_t m0, int64_t m, int64_t k0,
                                                            int64_t k, const bool half)
{
    for (int64_t i = 0; i < m; i++, to += GEMM_PITCH) {
        int64_t from = gemm_row(a, m0 + i) + k0, j = 0;
        for (; j + 8 <= k; j += 8)
            store(to + j, load(a->p, from + j, half));
        if (j < k)
            store(to + j, load_some(a->p, from + j, k - j, half));
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
        for (int64_t i = 0; i < m; i += MR) {
            __m256 v = load_some(a->p, from + i, m - i, half);
            if (j + 1 < k)
                store(to + i * k + j * MR, v);
            else
                _mm256_maskstore_ps((float *)(void *)(to + i * k + j * MR), mask_of(MR), v);
        }
    }
}

/* v[i] gets what was unit i of every vector. */
static inline void transpose_8x8(__m256 v[8])
{
    __m256 t[8];
    for (int i = 0; i < 4; i++) {
        t[2 * i] = _mm256_unpacklo_ps(v[2 * i], v[2 * i + 1]);
        t[2 * i + 1] = _mm256_unpackhi_ps(v[2 * i], v[2 * i + 1]);
    }
    for (int i = 0; i < 2; i++) { /* columns of four within each 128 bits */
        v[4 * i] = _mm256_shuffle_ps(t[4 * i], t[4 * i + 2], 0x44);
        v[4 * i + 1] = _mm256_shuffle_ps(t[4 * i], t[4 * i + 2], 0xee);
        v[4 * i + 2] = _mm256_shuffle_ps(t[4 * i + 1], t[4 * i + 3], 0x44);
        v[4 * i + 3] = _mm256_shuffle_ps(t[4 * i + 1], t[4 * i + 3], 0xee);
    }
    for (int i = 0; i < 4; i++) {
        t[i] = _mm256_permute2f128_ps(v[i], v[i + 4], 0x20);
        t[i + 4] = _mm256_permute2f128_ps(v[i], v[i + 4], 0x31);
    }
    for (int i = 0; i < 8; i++)
        v[i] = t[i];
}

/* Columns of B that lie as rows of k numbers: turned over, 8 by 8. */
static inline __attribute__((always_inline)) void pack_turned(uint32_t *to,
                                                              const struct gemm_side *b, int64_t n0,
                                                              int64_t n, int64_t k0, int64_t k,
                                                              int64_t panel, const bool half)
{
    for (int64_t i = 0; i < n; i += 8) {
        int64_t from[8];
        uint32_t *out = to + i / NR * NR * panel + i % NR;
        for (int64_t r = 0; r < 8; r++) /* behind the last column stands a copy of it */
            from[r] = gemm_row(b, n0 + (i + r < n ? i + r : n - 1)) + k0;
        for (int64_t j = 0; j < k; j += 8) {
            __m256 v[8];
            for (int r = 0; r < 8; r++)
                v[r] = load_some(b->p, from[r] + j, k - j, half);
            transpose_8x8(v);
            for (int64_t r = 0; r < 8 && j + r < k; r++)
                store(out + (j + r) * NR, v[r]);
        }
    }
}

/* Columns of B that lie side by side, 8 at a time. */
static inline __attribute__((always_inline)) void
pack_straight(uint32_t *to, const struct gemm_side *b, int64_t n0, int64_t n, int64_t k0, int64_t k,
              int64_t panel, const bool half)
{
    for (int64_t j = 0; j < k; j++) {
        int64_t from = gemm_row(b, k0 + j) + n0;
        for (int64_t i = 0; i < n; i += 8)
            store(to + i / NR * NR * panel + j * NR + i % NR,
                  load_some(b->p, from + i, n - i, half));
    }
}

#include "kernels/cpu/gemm_pack_body.h"

const struct gemm_ops gemm_avx2 = {MR, NR, 1, 16, pack_a, pack_b, tile};
