/* Packed weights on AVX2. A step's eight vectors of 64 bytes are read in halves, rows 0 … 7 and 8 … 15.
 *
 * vpmaddubsw multiplies codes 0 … 255 with −127 … 127 and adds up pairs in 16 bits: codes of 6 bits at most can't overflow there
 * (2 · 63 · 127 < 2^15), nor can the sum of two of them, of four of 5 bits, of eight of 4 bits. Codes of 8 bits become −128 … 127 first, and the sign of each goes over to x (2 · 128 · 127 < 2^15 again).
 */
#include <immintrin.h>
#include <math.h>

#include "kernels/cpu/packed.h"

enum { MOST_FLOATS = 2 };
#define INLINE static inline __attribute__((always_inline))

/* The half of each vector of a step's codes. */
INLINE void load_codes(__m256i w[8], const uint8_t *step, const int half, enum packed_form form)
{
    const __m256i low4 = _mm256_set1_epi8(15);
    if (form == PACKED_I8) {
#pragma GCC unroll 8
        for (int j = 0; j < 8; j++)
            w[j] = _mm256_xor_si256(_mm256_loadu_si256((const void *)(step + j * 64 + half * 32)),
                                    _mm256_set1_epi8(-128));
        return;
    }
#pragma GCC unroll 4
    for (int v = 0; v < 4; v++) {
        __m256i both = _mm256_loadu_si256((const void *)(step + v * 64 + half * 32));
        w[2 * v] = _mm256_and_si256(both, low4);
        w[2 * v + 1] = _mm256_and_si256(_mm256_srli_epi16(both, 4), low4);
    }
    if (form == PACKED_NF4) {
        __m256i table = _mm256_broadcastsi128_si256(_mm_loadu_si128((const void *)packed_nf4));
#pragma GCC unroll 8
        for (int j = 0; j < 8; j++)
            w[j] = _mm256_shuffle_epi8(table, w[j]);
    }
}

/* 32 bits as bytes: 0 or value. */
INLINE __m256i spread_bits(const uint8_t *bits, int value)
{
    const __m256i which = _mm256_setr_epi8(0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1, 1, 1, 2, 2, 2,
                                           2, 2, 2, 2, 2, 3, 3, 3, 3, 3, 3, 3, 3),
                  bit = _mm256_set1_epi64x((long long)0x8040201008040201);
    int32_t four;
    memcpy(&four, bits, 4);
    __m256i v = _mm256_and_si256(_mm256_shuffle_epi8(_mm256_set1_epi32(four), which), bit);
    return _mm256_and_si256(_mm256_cmpeq_epi8(v, bit), _mm256_set1_epi8((char)value));
}

INLINE void add_high_bits(__m256i w[8], const uint8_t *step, const int half, enum packed_form form)
{
    if (form != PACKED_I5 && form != PACKED_I5_MIN && form != PACKED_I6)
        return;
    for (int j = 0; j < 8; j++) {
        w[j] = _mm256_or_si256(w[j], spread_bits(step + 256 + j * 8 + half * 4, 16));
        if (form == PACKED_I6)
            w[j] = _mm256_or_si256(w[j], spread_bits(step + 320 + j * 8 + half * 4, 32));
    }
}

/* How many products of pairs add up in 16 bits. */
INLINE int sums_in_16_bits(enum packed_form form)
{
    if (form == PACKED_I4 || form == PACKED_I4_MIN)
        return 8;
    return form == PACKED_I5 || form == PACKED_I5_MIN ? 4 : form == PACKED_I6 ? 2 : 1;
}

INLINE __m256i products(__m256i w, const int8_t *x, const bool is_signed)
{
    int32_t four;
    memcpy(&four, x, 4);
    __m256i v = _mm256_set1_epi32(four);
    return is_signed ? _mm256_maddubs_epi16(_mm256_abs_epi8(w), _mm256_sign_epi8(v, w))
                     : _mm256_maddubs_epi16(w, v);
}

INLINE __m256i dot_bytes(int32_t sum, const __m256i *w, const int8_t *x, const int j0, const int j1,
                         const enum packed_form form)
{
    const bool is_signed = form == PACKED_I8 || form == PACKED_NF4;
    const int n = sums_in_16_bits(form);
    __m256i s = _mm256_set1_epi32(sum);
#pragma GCC unroll 8
    for (int j = j0; j < j1; j += n) {
        __m256i p = products(w[j], x + 4 * j, is_signed);
#pragma GCC unroll 8
        for (int i = j + 1; i < j + n; i++)
            p = _mm256_add_epi16(p, products(w[i], x + 4 * i, is_signed));
        s = _mm256_add_epi32(s, _mm256_madd_epi16(p, _mm256_set1_epi16(1)));
    }
    return s;
}

INLINE __m256 halves(const uint8_t *p)
{
    return _mm256_cvtph_ps(_mm_loadu_si128((const void *)p));
}

/* One half of a panel's rows, for all rows of the block. */
INLINE void tile_half(float *strip, const uint8_t *panel, const void *block,
                      const struct packed_weight *weight, const int m, const int half,
                      const enum packed_form form)
{
    const int64_t n_steps = packed_steps(weight), each = packed_step_bytes(form);
    const uint8_t *scales = panel + packed_scales_at(weight, 0) + half * 16,
                  *mins = panel + packed_mins_at(weight, 0) + half * 16;
    const int8_t *x = block;
    const float *aux = (const void *)(x + n_steps * m * STEP);
    const bool has_min = form == PACKED_I4_MIN || form == PACKED_I5_MIN,
               is_signed = form == PACKED_I8 || form == PACKED_NF4;
    for (int r = 0; r < m; r++)
        _mm256_storeu_ps(strip + r * PANEL, _mm256_setzero_ps());
    for (int64_t s = 0; s < n_steps; s++, x += m * STEP, aux += 4 * m) {
        __m256i w[8];
        __m256 scale, scale2 = _mm256_setzero_ps(), min = scale2;
        load_codes(w, panel + s * each, half, form);
        add_high_bits(w, panel + s * each, half, form);
        if (form == PACKED_NF4)
            scale = _mm256_loadu_ps((const void *)(scales + half * 16 + s / 2 * 64));
        else
            scale = halves(scales + s * (form == PACKED_I6 ? 64 : 32));
        if (form == PACKED_I6)
            scale2 = halves(scales + s * 64 + 32);
        if (has_min)
            min = halves(mins + s * 32);
        for (int r = 0; r < m; r++) {
            int32_t zero[2] = {0, 0};
            if (!is_signed) {
                memcpy(&zero[0], aux + m + r, 4);
                memcpy(&zero[1], aux + 2 * m + r, 4);
            }
            __m256 f = _mm256_loadu_ps(strip + r * PANEL), xs = _mm256_set1_ps(aux[r]), sum;
            if (form == PACKED_I6)
                sum = _mm256_fmadd_ps(
                    _mm256_cvtepi32_ps(dot_bytes(zero[0], w, x + r * STEP, 0, 4, form)), scale,
                    _mm256_cvtepi32_ps(dot_bytes(zero[1], w, x + r * STEP, 4, 8, form)) * scale2);
            else
                sum = _mm256_cvtepi32_ps(dot_bytes(zero[0], w, x + r * STEP, 0, 8, form)) * scale;
            f = _mm256_fmadd_ps(sum, xs, f);
            if (has_min)
                f = _mm256_fmadd_ps(min, _mm256_set1_ps(aux[3 * m + r]), f);
            _mm256_storeu_ps(strip + r * PANEL, f);
        }
    }
}

INLINE void tile_codes(float *strip, const uint8_t *panel, const void *block,
                       const struct packed_weight *weight, const int m, const enum packed_form form)
{
    tile_half(strip, panel, block, weight, m, 0, form);
    tile_half(strip + 8, panel, block, weight, m, 1, form);
}

/* Four rows of w, each number beside its neighbour in K. */
INLINE __m256 load_pairs(const void *panel, int64_t p, const int quarter, const enum dtype type)
{
    int64_t i = p * PANEL * 2 + quarter * 8;
    if (type == DT_F32)
        return _mm256_loadu_ps((const float *)panel + i);
    __m128i v = _mm_loadu_si128((const void *)((const uint16_t *)panel + i));
    if (type == DT_F16)
        return _mm256_cvtph_ps(v);
    return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(v), 16));
}

INLINE void tile_floats(float *strip, const void *panel, const void *block,
                        const struct packed_weight *weight, const int m, const enum dtype type)
{
    const int64_t n_pairs = packed_steps(weight);
    const double *x = block; /* a pair of float32 */
    __m256 f[8][4];          /* MOST_FLOATS of them are used */
#pragma GCC unroll 2
    for (int r = 0; r < m; r++)
        for (int i = 0; i < 4; i++)
            f[r][i] = _mm256_setzero_ps();
    for (int64_t p = 0; p < n_pairs; p++, x += m) {
#pragma GCC unroll 4
        for (int i = 0; i < 4; i++) {
            __m256 w = load_pairs(panel, p, i, type);
#pragma GCC unroll 2
            for (int r = 0; r < m; r++)
                f[r][i] = _mm256_fmadd_ps(w, _mm256_castpd_ps(_mm256_set1_pd(x[r])), f[r][i]);
        }
    }
    for (int r = 0; r < m; r++)
        for (int i = 0; i < 4; i += 2) {
            __m256 sum = _mm256_hadd_ps(f[r][i], f[r][i + 1]); /* 0 1 4 5 2 3 6 7 */
            __m256d v = _mm256_permute4x64_pd(_mm256_castps_pd(sum), 0xd8);
            _mm256_storeu_ps(strip + r * PANEL + i * 4, _mm256_castpd_ps(v));
        }
}

#include "kernels/cpu/packed_tiles.h"

INLINE float largest_of(__m256 v)
{
    __m128 m = _mm_max_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps(v, 1));
    m = _mm_max_ps(m, _mm_movehl_ps(m, m));
    return _mm_cvtss_f32(_mm_max_ss(m, _mm_shuffle_ps(m, m, 1)));
}

INLINE int32_t sum_of(__m256i v)
{
    __m128i s = _mm_add_epi32(_mm256_castsi256_si128(v), _mm256_extracti128_si256(v, 1));
    s = _mm_add_epi32(s, _mm_shuffle_epi32(s, 0x4e));
    return _mm_cvtsi128_si32(_mm_add_epi32(s, _mm_shuffle_epi32(s, 0xb1)));
}

/* 32 numbers to whole numbers of at most 127 in size, with their scale. */
static void round_step(int8_t *to, float *aux, int m, const float *x, int zero, bool two_sums)
{
    __m256 v[4], most8 = _mm256_setzero_ps();
    __m256i q[4];
    for (int i = 0; i < 4; i++) {
        v[i] = _mm256_loadu_ps(x + 8 * i);
        most8 = _mm256_max_ps(_mm256_andnot_ps(_mm256_set1_ps(-0.0F), v[i]), most8);
    }
    float most = largest_of(most8), up = most > 0 ? 127 / most : 0;
    for (int i = 0; i < 4; i++)
        q[i] = _mm256_cvtps_epi32(v[i] * _mm256_set1_ps(up));
    int32_t sums[2] = {sum_of(_mm256_add_epi32(q[0], q[1])), sum_of(_mm256_add_epi32(q[2], q[3]))};
    int32_t zeros[2] = {-zero * (two_sums ? sums[0] : sums[0] + sums[1]), -zero * sums[1]};
    __m256i bytes =
        _mm256_packs_epi16(_mm256_packs_epi32(q[0], q[1]), _mm256_packs_epi32(q[2], q[3]));
    /* four by four of 0, 1, 2, 3 in the lower halves, then of the upper */
    bytes = _mm256_permutevar8x32_epi32(bytes, _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7));
    _mm256_storeu_si256((void *)to, bytes);
    aux[0] = most / 127;
    memcpy(aux + m, &zeros[0], 4);
    memcpy(aux + 2 * m, &zeros[1], 4);
    aux[3 * m] = most / 127 * (float)(sums[0] + sums[1]);
}

#include "kernels/cpu/vec_avx2.h"

#include "kernels/cpu/packed_finish.h"

const struct packed_ops packed_avx2 = {MOST_FLOATS, prepare, tile, finish, finish_gated};
