/* 24 independent chains of multiply-adds: more than latency times throughput asks for. */
#include <immintrin.h>

#include "kernels/cpu/peak.h"

double peak_avx512(int64_t n)
{
    __m512 sum[24], x = _mm512_set1_ps(0.999f), y = _mm512_set1_ps(1e-3f);
    for (int i = 0; i < 24; i++)
        sum[i] = _mm512_set1_ps((float)i);
    for (int64_t k = 0; k < n; k++) {
#pragma GCC unroll 24
        for (int i = 0; i < 24; i++)
            sum[i] = _mm512_fmadd_ps(sum[i], x, y);
    }
    volatile float sink = 0;
    for (int i = 0; i < 24; i++)
        sink += _mm512_cvtss_f32(sum[i]);
    (void)sink; /* was written: the loop must stay */
    return (double)n * 24 * 16 * 2;
}
