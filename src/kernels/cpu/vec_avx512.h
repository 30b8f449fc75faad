/* The words in which kernels are written once for every instruction set: a vector vf of LANES float32. This is AVX-512's meaning of
 * them, vec_avx2.h has AVX2's. Sums and maxima over lanes are taken in a fixed order. */
#ifndef MOE2_KERNELS_CPU_VEC_AVX512_H
#define MOE2_KERNELS_CPU_VEC_AVX512_H

#include <immintrin.h>
#include <stdbool.h>
#include <stdint.h>

enum { LANES = 16 };
typedef __m512 vf;

static inline vf vf_set(float x)
{
    return _mm512_set1_ps(x);
}

static inline vf vf_load(const float *p)
{
    return _mm512_loadu_ps(p);
}

static inline void vf_store(float *p, vf v)
{
    _mm512_storeu_ps(p, v);
}

static inline __mmask16 vf_mask(int64_t n)
{
    return (__mmask16)((1u << n) - 1);
}

/* The first n < LANES lanes at p, the others 0; and back. */
static inline vf vf_load_some(const float *p, int64_t n)
{
    return _mm512_maskz_loadu_ps(vf_mask(n), p);
}

static inline void vf_store_some(float *p, vf v, int64_t n)
{
    _mm512_mask_storeu_ps(p, vf_mask(n), v);
}

/* v in the first n < LANES lanes, other in the rest. */
static inline vf vf_first(vf v, vf other, int64_t n)
{
    return _mm512_mask_blend_ps(vf_mask(n), other, v);
}

static inline vf vf_fma(vf a, vf b, vf c)
{
    return _mm512_fmadd_ps(a, b, c);
}

static inline vf vf_max(vf a, vf b)
{
    return _mm512_max_ps(a, b);
}

static inline vf vf_sqrt(vf a)
{
    return _mm512_sqrt_ps(a);
}

static inline float vf_sum(vf v)
{
    return _mm512_reduce_add_ps(v);
}

static inline float vf_highest(vf v)
{
    return _mm512_reduce_max_ps(v);
}

/* Σ v² in double. */
static inline double vf_sum_squares(vf v)
{
    __m512d low = _mm512_cvtps_pd(_mm512_castps512_ps256(v)),
            high = _mm512_cvtps_pd(_mm512_extractf32x8_ps(v, 1));
    return _mm512_reduce_add_pd(_mm512_fmadd_pd(high, high, _mm512_mul_pd(low, low)));
}

/* Any lane NaN or infinite? */
static inline bool vf_wild(vf v)
{
    return _mm512_fpclass_ps_mask(v, 0x99) != 0;
}

/* x_2i+1, x_2i, …: neighbours change places; and the sign of every even lane turned. */
static inline vf vf_swap_pairs(vf v)
{
    return _mm512_permute_ps(v, 0xb1);
}

static inline vf vf_minus_even(vf v)
{
    return _mm512_castsi512_ps(
        _mm512_xor_si512(_mm512_castps_si512(v), _mm512_set1_epi64((long long)0x80000000u)));
}

/* a0 a0 a1 a1 …: LANES/2 numbers at p, each twice. */
static inline vf vf_load_twice(const float *p)
{
    __m512 v = _mm512_castps256_ps512(_mm256_loadu_ps(p));
    return _mm512_permutexvar_ps(_mm512_setr_epi32(0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5, 6, 6, 7, 7),
                                 v);
}

/* LANES bf16 at p, widened; and rounded back to nearest, ties to even, NaN staying NaN. */
static inline vf vf_load_bf16(const uint16_t *p)
{
    return _mm512_castsi512_ps(
        _mm512_slli_epi32(_mm512_cvtepu16_epi32(_mm256_loadu_si256((const void *)p)), 16));
}

static inline void vf_store_bf16(uint16_t *p, vf v)
{
    __m512i u = _mm512_castps_si512(v),
            odd = _mm512_and_si512(_mm512_srli_epi32(u, 16), _mm512_set1_epi32(1));
    __m512i r = _mm512_add_epi32(_mm512_add_epi32(u, _mm512_set1_epi32(0x7fff)), odd);
    r = _mm512_mask_or_epi32(r, _mm512_cmp_ps_mask(v, v, _CMP_UNORD_Q), u,
                             _mm512_set1_epi32(0x400000));
    _mm256_storeu_si256((void *)p, _mm512_cvtepi32_epi16(_mm512_srli_epi32(r, 16)));
}

/* 2^n · v for whole numbers n, with overflow and underflow as they should be. */
static inline vf vf_scale2(vf v, vf n)
{
    return _mm512_scalef_ps(v, n);
}

static inline vf vf_round(vf v)
{
    return _mm512_roundscale_ps(v, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
}

/* v held between low and high; NaN passes. */
static inline vf vf_clamp(vf v, float low, float high)
{
    return _mm512_max_ps(vf_set(low), _mm512_min_ps(vf_set(high), v));
}

#include "kernels/cpu/vec_exp.h"

#endif
