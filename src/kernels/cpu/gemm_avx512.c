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

static void tile(float *c, int64_t ldc, const uint32_t *a, const uint32_t *b, int64_t units, int m,
                 int n, bool by_rows, bool add)
{
    static void (*const tiles[MR])(float *, int64_t, const uint32_t *, const uint32_t *, int64_t,
                                   int, bool, bool) = {tile_1,  tile_2,  tile_3,  tile_4, tile_5,
                                                       tile_6,  tile_7,  tile_8,  tile_9, tile_10,
                                                       tile_11, tile_12, tile_13, tile_14};
    tiles[m - 1](c, ldc, a, b, units, n, by_rows, add);
}

static int64_t row_of(const struct gemm_side *s, int64_t i)
{
    return (s->rows ? s->rows[i] : i) * s->ld;
}

/* n ≤ 16 numbers from element i on, the rest zero. */
static inline __m512 load(const struct gemm_side *s, int64_t i, int64_t n)
{
    __mmask16 mask = (__mmask16)(n >= 16 ? 0xffff : (1u << n) - 1);
    if (s->type == DT_F32)
        return _mm512_maskz_loadu_ps(mask, (const float *)s->p + i);
    __m512i wide =
        _mm512_cvtepu16_epi32(_mm256_maskz_loadu_epi16(mask, (const uint16_t *)s->p + i));
    return _mm512_castsi512_ps(_mm512_slli_epi32(wide, 16));
}

static void pack_a(uint32_t *to, const struct gemm_side *a, int64_t m0, int64_t m, int64_t k0,
                   int64_t k)
{
    if (a->k_inner) {
        for (int64_t i = 0; i < m; i++) {
            int64_t from = row_of(a, m0 + i) + k0;
            for (int64_t j = 0; j < k; j += 16)
                _mm512_storeu_ps(to + i * GEMM_PITCH + j, load(a, from + j, k - j));
        }
        return;
    }
    for (int64_t j = 0; j < k; j++) {
        int64_t from = row_of(a, k0 + j) + m0;
        for (int64_t i = 0; i < m; i += MR)
            _mm512_mask_storeu_ps(to + i * k + j * MR, (1u << MR) - 1, load(a, from + i, m - i));
    }
}

static void pack_b(uint32_t *to, const struct gemm_side *b, int64_t n0, int64_t n, int64_t k0,
                   int64_t k, int64_t panel)
{
    if (!b->k_inner) {
        for (int64_t j = 0; j < k; j++) {
            int64_t from = row_of(b, k0 + j) + n0;
            for (int64_t i = 0; i < n; i += 16)
                _mm512_storeu_ps(to + i / NR * NR * panel + j * NR + i % NR,
                                 load(b, from + i, n - i));
        }
        return;
    }
    for (int64_t i = 0; i < n; i += 16)
        for (int64_t j = 0; j < k; j += 16) {
            __m512i v[16];
            for (int64_t r = 0; r < 16; r++)
                v[r] = i + r < n
                           ? _mm512_castps_si512(load(b, row_of(b, n0 + i + r) + k0 + j, k - j))
                           : _mm512_setzero_si512();
            transpose_16x16(v);
            for (int64_t r = 0; r < 16 && j + r < k; r++)
                _mm512_storeu_si512(to + i / NR * NR * panel + (j + r) * NR + i % NR, v[r]);
        }
}

const struct gemm_ops gemm_avx512 = {MR, NR, 1, 8, pack_a, pack_b, tile};
