/* AVX2's meaning of the words of vec_avx512.h, where each is explained. */
#ifndef MOE2_KERNELS_CPU_VEC_AVX2_H
#define MOE2_KERNELS_CPU_VEC_AVX2_H

#include <immintrin.h>
#include <stdbool.h>
#include <stdint.h>

enum { LANES = 8 };
typedef __m256 vf;

static inline vf vf_set(float x)
{
    return _mm256_set1_ps(x);
}

static inline vf vf_load(const float *p)
{
    return _mm256_loadu_ps(p);
}

static inline void vf_store(float *p, vf v)
{
    _mm256_storeu_ps(p, v);
}

static inline __m256i vf_mask(int64_t n)
{
    return _mm256_cmpgt_epi32(_mm256_set1_epi32((int)n), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
}

static inline vf vf_load_some(const float *p, int64_t n)
{
    return _mm256_maskload_ps(p, vf_mask(n));
}

static inline void vf_store_some(float *p, vf v, int64_t n)
{
    _mm256_maskstore_ps(p, vf_mask(n), v);
}

static inline vf vf_first(vf v, vf other, int64_t n)
{
    return _mm256_blendv_ps(other, v, _mm256_castsi256_ps(vf_mask(n)));
}

static inline vf vf_fma(vf a, vf b, vf c)
{
    return _mm256_fmadd_ps(a, b, c);
}

static inline vf vf_max(vf a, vf b)
{
    return _mm256_max_ps(a, b);
}

static inline vf vf_sqrt(vf a)
{
    return _mm256_sqrt_ps(a);
}

static inline float vf_sum(vf v)
{
    __m128 s = _mm_add_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps(v, 1));
    s = _mm_add_ps(s, _mm_movehl_ps(s, s));
    return _mm_cvtss_f32(_mm_add_ss(s, _mm_movehdup_ps(s)));
}

static inline float vf_highest(vf v)
{
    __m128 s = _mm_max_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps(v, 1));
    s = _mm_max_ps(s, _mm_movehl_ps(s, s));
    return _mm_cvtss_f32(_mm_max_ss(s, _mm_movehdup_ps(s)));
}

static inline double vf_sum_squares(vf v)
{
    __m256d low = _mm256_cvtps_pd(_mm256_castps256_ps128(v)),
            high = _mm256_cvtps_pd(_mm256_extractf128_ps(v, 1));
    __m256d s = _mm256_fmadd_pd(high, high, _mm256_mul_pd(low, low));
    __m128d t = _mm_add_pd(_mm256_castpd256_pd128(s), _mm256_extractf128_pd(s, 1));
    return _mm_cvtsd_f64(_mm_add_sd(t, _mm_unpackhi_pd(t, t)));
}

static inline bool vf_wild(vf v)
{
    __m256i all = _mm256_set1_epi32(0x7f800000);
    __m256i same = _mm256_cmpeq_epi32(_mm256_and_si256(_mm256_castps_si256(v), all), all);
    return !_mm256_testz_si256(same, same);
}

static inline vf vf_swap_pairs(vf v)
{
    return _mm256_permute_ps(v, 0xb1);
}

static inline vf vf_minus_even(vf v)
{
    return _mm256_xor_ps(v, _mm256_castsi256_ps(_mm256_set1_epi64x((long long)0x80000000u)));
}

static inline vf vf_load_twice(const float *p)
{
    __m256 v = _mm256_castps128_ps256(_mm_loadu_ps(p));
    return _mm256_permutevar8x32_ps(v, _mm256_setr_epi32(0, 0, 1, 1, 2, 2, 3, 3));
}

static inline vf vf_load_bf16(const uint16_t *p)
{
    return _mm256_castsi256_ps(
        _mm256_slli_epi32(_mm256_cvtepu16_epi32(_mm_loadu_si128((const void *)p)), 16));
}

static inline void vf_store_bf16(uint16_t *p, vf v)
{
    __m256i u = _mm256_castps_si256(v),
            odd = _mm256_and_si256(_mm256_srli_epi32(u, 16), _mm256_set1_epi32(1));
    __m256i r = _mm256_add_epi32(_mm256_add_epi32(u, _mm256_set1_epi32(0x7fff)), odd);
    __m256i nan = _mm256_castps_si256(_mm256_cmp_ps(v, v, _CMP_UNORD_Q));
    r = _mm256_blendv_epi8(r, _mm256_or_si256(u, _mm256_set1_epi32(0x400000)), nan);
    r = _mm256_srli_epi32(r, 16);
    __m128i low = _mm256_castsi256_si128(r), high = _mm256_extracti128_si256(r, 1);
    _mm_storeu_si128((void *)p, _mm_packus_epi32(low, high));
}

/* In two halves, so that each factor is a normal number: n lies in −150 … 129. */
static inline vf vf_scale2(vf v, vf n)
{
    __m256i whole = _mm256_cvtps_epi32(n), half = _mm256_srai_epi32(whole, 1),
            rest = _mm256_sub_epi32(whole, half);
    __m256i bias = _mm256_set1_epi32(127);
    v = _mm256_mul_ps(v, _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_add_epi32(half, bias), 23)));
    return _mm256_mul_ps(v,
                         _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_add_epi32(rest, bias), 23)));
}

static inline vf vf_round(vf v)
{
    return _mm256_round_ps(v, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
}

static inline vf vf_clamp(vf v, float low, float high)
{
    return _mm256_max_ps(vf_set(low), _mm256_min_ps(vf_set(high), v));
}

#include "kernels/cpu/vec_exp.h"

#endif
