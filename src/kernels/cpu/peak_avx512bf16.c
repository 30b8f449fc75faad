/* 24 independent chains of bf16 pair products. */
#include <immintrin.h>

#include "kernels/cpu/peak.h"

double peak_avx512bf16(int64_t n)
{
    __m512 sum[24];
    __m512bh x = (__m512bh)_mm512_set1_epi32(0x3c003c00),
             y = (__m512bh)_mm512_set1_epi32(0x3c013c01);
    for (int i = 0; i < 24; i++)
        sum[i] = _mm512_set1_ps((float)i);
    for (int64_t k = 0; k < n; k++) {
#pragma GCC unroll 24
        for (int i = 0; i < 24; i++)
            sum[i] = _mm512_dpbf16_ps(sum[i], x, y);
    }
    volatile float sink = 0;
    for (int i = 0; i < 24; i++)
        sink += _mm512_cvtss_f32(sum[i]);
    (void)sink; /* was written: the loop must stay */
    return (double)n * 24 * 64;
}
