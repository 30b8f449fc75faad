/* The float forms of packed weights on AVX-512's bf16 units: both operands rounded to bf16, a pair multiplied and added up in float32.
 * Weights kept in float16 or float32 are rounded while they are in hand, once for the rows of a block. */
#include "kernels/cpu/packed_avx512.h"

INLINE __m512bh load_pair_bf16(const void *panel, int64_t p, enum dtype type)
{
    __m512 low, high;
    if (type == DT_BF16)
        return (__m512bh)_mm512_loadu_si512((const void *)((const uint8_t *)panel + p * 64));
    load_pair(&low, &high, panel, p, type);
    return _mm512_cvtne2ps_pbh(high, low);
}

INLINE void tile_rows(float *strip, const void *panel, const void *block, int64_t n_pairs,
                      const int m, const enum dtype type)
{
    const int32_t *x = block;
    __m512 f[MOST];
#pragma GCC unroll 16
    for (int r = 0; r < m; r++)
        f[r] = _mm512_setzero_ps();
    for (int64_t p = 0; p < n_pairs; p++, x += m) {
        __m512bh w = load_pair_bf16(panel, p, type);
#pragma GCC unroll 16
        for (int r = 0; r < m; r++)
            f[r] = _mm512_dpbf16_ps(f[r], w, (__m512bh)_mm512_set1_epi32(x[r]));
    }
#pragma GCC unroll 16
    for (int r = 0; r < m; r++)
        _mm512_storeu_ps(strip + r * PANEL, f[r]);
}

INLINE void tile_of(float *strip, const void *panel, const void *block, int m,
                    const struct packed_weight *w, const enum dtype type)
{
    int64_t n_pairs = packed_steps(w);
    if (m == 1)
        tile_rows(strip, panel, block, n_pairs, 1, type);
    else if (m == 2)
        tile_rows(strip, panel, block, n_pairs, 2, type);
    else if (m == 4)
        tile_rows(strip, panel, block, n_pairs, 4, type);
    else if (m == 8)
        tile_rows(strip, panel, block, n_pairs, 8, type);
    else
        tile_rows(strip, panel, block, n_pairs, 16, type);
}

static void tile(float *strip, const void *panel, const void *block, int m,
                 const struct packed_weight *w)
{
    if (w->form == PACKED_BF16)
        tile_of(strip, panel, block, m, w, DT_BF16);
    else if (w->form == PACKED_F16)
        tile_of(strip, panel, block, m, w, DT_F16);
    else
        tile_of(strip, panel, block, m, w, DT_F32);
}

/* Pairs of each row side by side, rounded to bf16. */
static void prepare(void *to, const float *const *rows, int m, const struct packed_weight *w)
{
    uint32_t *x = to;
    for (int r = 0; r < m; r++)
        for (int64_t k = 0; k < w->K; k += 2) {
            uint32_t low = f32_to_bf16(rows[r][k]),
                     high = k + 1 < w->K ? f32_to_bf16(rows[r][k + 1]) : 0u;
            x[k / 2 * m + r] = low | high << 16;
        }
}

const struct packed_ops packed_avx512bf16 = {MOST, prepare, tile, NULL, NULL};
