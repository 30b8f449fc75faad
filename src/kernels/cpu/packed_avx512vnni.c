/* Packed weights on AVX-512 with the units for bytes (VNNI): vpdpbusd multiplies codes 0 … 255 with x's −127 … 127, four at a time, and adds
 * up in 32 bits, where nothing can overflow within a step of 32.
 *
 *     y += scale·xscale · (Σ code·x − zero · Σ x)  (+ min · xscale · Σ x)      a step of 32, all sums of codes exact
 * The zero's part is where the sum of codes begins. Eight vectors of codes stay in registers while the rows of a block pass.
 */
#include "kernels/cpu/packed_avx512.h"

enum { MOST_FLOATS = 8 };

/* Byte order of a step's codes: see packed.h. */
INLINE void load_codes(__m512i w[8], const uint8_t *step, enum packed_form form)
{
    const __m512i low4 = _mm512_set1_epi8(15);
    if (form == PACKED_I8) {
#pragma GCC unroll 8
        for (int j = 0; j < 8; j++)
            w[j] = _mm512_loadu_si512((const void *)(step + j * 64));
        return;
    }
#pragma GCC unroll 4
    for (int v = 0; v < 4; v++) {
        __m512i both = _mm512_loadu_si512((const void *)(step + v * 64));
        w[2 * v] = _mm512_and_si512(both, low4);
        w[2 * v + 1] = _mm512_and_si512(_mm512_srli_epi16(both, 4), low4);
    }
    const __mmask64 *bit = (const void *)(step + 256);
    if (form == PACKED_I5 || form == PACKED_I5_MIN || form == PACKED_I6) {
#pragma GCC unroll 8
        for (int j = 0; j < 8; j++)
            w[j] = _mm512_mask_add_epi8(w[j], bit[j], w[j], _mm512_set1_epi8(16));
    }
    if (form == PACKED_I6) {
#pragma GCC unroll 8
        for (int j = 0; j < 8; j++)
            w[j] = _mm512_mask_add_epi8(w[j], bit[8 + j], w[j], _mm512_set1_epi8(32));
    }
    if (form == PACKED_NF4) {
        __m128i t = _mm_loadu_si128((const void *)packed_nf4);
        __m512i table = _mm512_xor_si512(_mm512_broadcast_i32x4(t), _mm512_set1_epi8(-128));
#pragma GCC unroll 8
        for (int j = 0; j < 8; j++)
            w[j] = _mm512_shuffle_epi8(table, w[j]);
    }
}

INLINE __m512 halves(const uint8_t *p)
{
    return _mm512_cvtph_ps(_mm256_loadu_si256((const void *)p));
}

/* sum + Σ of vectors w[j0 … j1−1] with a row's numbers. */
INLINE __m512i dot_bytes(int32_t sum, const __m512i *w, const int8_t *x, const int j0, const int j1)
{
    __m512i s = _mm512_set1_epi32(sum);
#pragma GCC unroll 8
    for (int j = j0; j < j1; j++) {
        int32_t four;
        memcpy(&four, x + 4 * j, 4);
        s = _mm512_dpbusd_epi32(s, w[j], _mm512_set1_epi32(four));
    }
    return s;
}

INLINE void tile_codes(float *strip, const uint8_t *panel, const void *block,
                       const struct packed_weight *weight, const int m, const enum packed_form form)
{
    const int64_t n_steps = packed_steps(weight), each = packed_step_bytes(form);
    const uint8_t *scales = panel + packed_scales_at(weight, 0),
                  *mins = panel + packed_mins_at(weight, 0);
    const int8_t *x = block;
    const float *aux = (const void *)(x + n_steps * m * STEP);
    const bool has_min = form == PACKED_I4_MIN || form == PACKED_I5_MIN;
    __m512 f[MOST];
#pragma GCC unroll 16
    for (int r = 0; r < m; r++)
        f[r] = _mm512_setzero_ps();
    for (int64_t s = 0; s < n_steps; s++, x += m * STEP, aux += 4 * m) {
        __m512i w[8];
        __m512 scale, scale2 = _mm512_setzero_ps(), min = scale2;
        load_codes(w, panel + s * each, form);
        if (form == PACKED_NF4)
            scale = _mm512_loadu_ps((const void *)(scales + s / 2 * 64));
        else
            scale = halves(scales + s * (form == PACKED_I6 ? 64 : 32));
        if (form == PACKED_I6)
            scale2 = halves(scales + s * 64 + 32);
        if (has_min)
            min = halves(mins + s * 32);
#pragma GCC unroll 16
        for (int r = 0; r < m; r++) {
            int32_t zero[2];
            memcpy(&zero[0], aux + m + r, 4);
            memcpy(&zero[1], aux + 2 * m + r, 4);
            __m512 xs = _mm512_set1_ps(aux[r]);
            if (form == PACKED_I6) {
                __m512i a = dot_bytes(zero[0], w, x + r * STEP, 0, 4),
                        b = dot_bytes(zero[1], w, x + r * STEP, 4, 8);
                __m512 sum =
                    _mm512_fmadd_ps(_mm512_cvtepi32_ps(a), scale, _mm512_cvtepi32_ps(b) * scale2);
                f[r] = _mm512_fmadd_ps(sum, xs, f[r]);
            } else {
                __m512i a = dot_bytes(zero[0], w, x + r * STEP, 0, 8);
                f[r] = _mm512_fmadd_ps(_mm512_cvtepi32_ps(a), scale * xs, f[r]);
            }
            if (has_min)
                f[r] = _mm512_fmadd_ps(min, _mm512_set1_ps(aux[3 * m + r]), f[r]);
        }
    }
#pragma GCC unroll 16
    for (int r = 0; r < m; r++)
        _mm512_storeu_ps(strip + r * PANEL, f[r]);
}

/* The float forms in float32: sums of even and of odd numbers apart, added up at the end. */
INLINE void tile_floats(float *strip, const void *panel, const void *block,
                        const struct packed_weight *weight, const int m, const enum dtype type)
{
    const int64_t n_pairs = packed_steps(weight);
    const double *x = block; /* a pair of float32 */
    const __m512i even =
                      _mm512_setr_epi32(0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30),
                  odd = _mm512_add_epi32(even, _mm512_set1_epi32(1));
    __m512 f[MOST_FLOATS][2];
#pragma GCC unroll 8
    for (int r = 0; r < m; r++)
        f[r][0] = f[r][1] = _mm512_setzero_ps();
    for (int64_t p = 0; p < n_pairs; p++, x += m) {
        __m512 low, high;
        load_pair(&low, &high, panel, p, type);
#pragma GCC unroll 8
        for (int r = 0; r < m; r++) {
            __m512 v = _mm512_castpd_ps(_mm512_set1_pd(x[r]));
            f[r][0] = _mm512_fmadd_ps(low, v, f[r][0]);
            f[r][1] = _mm512_fmadd_ps(high, v, f[r][1]);
        }
    }
#pragma GCC unroll 8
    for (int r = 0; r < m; r++)
        _mm512_storeu_ps(strip + r * PANEL, _mm512_permutex2var_ps(f[r][0], even, f[r][1]) +
                                                _mm512_permutex2var_ps(f[r][0], odd, f[r][1]));
}

#include "kernels/cpu/packed_tiles.h"

/* 32 numbers to whole numbers of at most 127 in size, with their scale. */
static void round_step(int8_t *to, float *aux, int m, const float *x, int zero, bool two_sums)
{
    __m512 a = _mm512_loadu_ps(x), b = _mm512_loadu_ps(x + 16);
    float most = _mm512_reduce_max_ps(_mm512_max_ps(_mm512_abs_ps(a), _mm512_abs_ps(b)));
    __m512 up = _mm512_set1_ps(most > 0 ? 127 / most : 0);
    __m512i ia = _mm512_cvtps_epi32(a * up), ib = _mm512_cvtps_epi32(b * up);
    _mm_storeu_si128((void *)to, _mm512_cvtepi32_epi8(ia));
    _mm_storeu_si128((void *)(to + 16), _mm512_cvtepi32_epi8(ib));
    int sa = _mm512_reduce_add_epi32(ia), sb = _mm512_reduce_add_epi32(ib);
    int32_t zeros[2] = {-zero * (two_sums ? sa : sa + sb), -zero * sb};
    aux[0] = most / 127;
    memcpy(aux + m, &zeros[0], 4);
    memcpy(aux + 2 * m, &zeros[1], 4);
    aux[3 * m] = most / 127 * (float)(sa + sb);
}

#include "kernels/cpu/vec_avx512.h"

#include "kernels/cpu/packed_finish.h"

const struct packed_ops packed_avx512vnni = {MOST_FLOATS, prepare, tile, finish, finish_gated};
