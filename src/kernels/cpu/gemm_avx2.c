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

static int64_t row_of(const struct gemm_side *s, int64_t i)
{
    return (s->rows ? s->rows[i] : i) * s->ld;
}

/* n numbers from element i on (8 at most), the rest zero. */
static inline __m256 load(const struct gemm_side *s, int64_t i, int64_t n)
{
    if (s->type == DT_F32) {
        const float *p = (const float *)s->p + i;
        return n >= 8 ? _mm256_loadu_ps(p) : _mm256_maskload_ps(p, mask_of(n));
    }
    const uint16_t *p = (const uint16_t *)s->p + i;
    uint16_t some[8] = {0};
    if (n < 8) {
        memcpy(some, p, (size_t)n * sizeof *p);
        p = some;
    }
    __m256i wide = _mm256_cvtepu16_epi32(_mm_loadu_si128((const void *)p));
    return _mm256_castsi256_ps(_mm256_slli_epi32(wide, 16));
}

static inline void store(uint32_t *p, __m256 v)
{
    _mm256_storeu_ps((float *)(void *)p, v);
}

static void pack_a(uint32_t *to, const struct gemm_side *a, int64_t m0, int64_t m, int64_t k0,
                   int64_t k)
{
    if (a->k_inner) {
        for (int64_t i = 0; i < m; i++) {
            int64_t from = row_of(a, m0 + i) + k0;
            for (int64_t j = 0; j < k; j += 8)
                store(to + i * GEMM_PITCH + j, load(a, from + j, k - j));
        }
        return;
    }
    const __m256i mask = mask_of(MR);
    for (int64_t j = 0; j < k; j++) {
        int64_t from = row_of(a, k0 + j) + m0;
        for (int64_t i = 0; i < m; i += MR)
            _mm256_maskstore_ps((float *)(void *)(to + i * k + j * MR), mask,
                                load(a, from + i, m - i));
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

static void pack_b(uint32_t *to, const struct gemm_side *b, int64_t n0, int64_t n, int64_t k0,
                   int64_t k, int64_t panel)
{
    if (!b->k_inner) {
        for (int64_t j = 0; j < k; j++) {
            int64_t from = row_of(b, k0 + j) + n0;
            for (int64_t i = 0; i < n; i += 8)
                store(to + i / NR * NR * panel + j * NR + i % NR, load(b, from + i, n - i));
        }
        return;
    }
    for (int64_t i = 0; i < n; i += 8)
        for (int64_t j = 0; j < k; j += 8) {
            __m256 v[8];
            for (int64_t r = 0; r < 8; r++)
                v[r] = i + r < n ? load(b, row_of(b, n0 + i + r) + k0 + j, k - j)
                                 : _mm256_setzero_ps();
            transpose_8x8(v);
            for (int64_t r = 0; r < 8 && j + r < k; r++)
                store(to + i / NR * NR * panel + (j + r) * NR + i % NR, v[r]);
        }
}

const struct gemm_ops gemm_avx2 = {MR, NR, 1, 16, pack_a, pack_b, tile};
