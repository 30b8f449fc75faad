/* 12 independent chains of multiply-adds: more than latency times throughput asks for. */
#include <immintrin.h>

#include "kernels/cpu/peak.h"

double peak_avx2(int64_t n)
{
    __m256 sum[12], x = _mm256_set1_ps(0.999f), y = _mm256_set1_ps(1e-3f);
    for (int i = 0; i < 12; i++)
        sum[i] = _mm256_set1_ps((float)i);
    for (int64_t k = 0; k < n; k++) {
#pragma GCC unroll 12
        for (int i = 0; i < 12; i++)
            sum[i] = _mm256_fmadd_ps(sum[i], x, y);
    }
    volatile float sink = 0;
    for (int i = 0; i < 12; i++)
        sink += _mm256_cvtss_f32(sum[i]);
    (void)sink; /* was written: the loop must stay */
    return (double)n * 12 * 8 * 2;
}
