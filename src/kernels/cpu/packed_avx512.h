/* What the AVX-512 files of packed weights share: blocks of x rounded to 8 bits, and the float forms. */
#ifndef MOE2_KERNELS_CPU_PACKED_AVX512_H
#define MOE2_KERNELS_CPU_PACKED_AVX512_H

#include <immintrin.h>

#include "kernels/cpu/packed.h"

#define INLINE static inline __attribute__((always_inline))

/* Two vectors of a float form's pair p: rows 0 … 7 and 8 … 15, each number beside its neighbour in K. */
INLINE void load_pair(__m512 *low, __m512 *high, const void *panel, int64_t p, enum dtype type)
{
    const uint8_t *at = (const uint8_t *)panel + p * PANEL * 2 * (type == DT_F32 ? 4 : 2);
    if (type == DT_F32) {
        *low = _mm512_loadu_ps((const void *)at);
        *high = _mm512_loadu_ps((const void *)(at + 64));
        return;
    }
    __m512i both = _mm512_loadu_si512((const void *)at);
    __m256i a = _mm512_castsi512_si256(both), b = _mm512_extracti64x4_epi64(both, 1);
    if (type == DT_F16) {
        *low = _mm512_cvtph_ps(a);
        *high = _mm512_cvtph_ps(b);
    } else {
        *low = _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(a), 16));
        *high = _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(b), 16));
    }
}

#endif
