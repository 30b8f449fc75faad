/* Loops that do nothing but keep a unit busy; each returns how many operations it did. See limits.h. */
#ifndef MOE2_KERNELS_CPU_PEAK_H
#define MOE2_KERNELS_CPU_PEAK_H

#include <stdint.h>

double peak_avx2(int64_t n);
double peak_avx512(int64_t n);
double peak_avx512bf16(int64_t n);

/* The sum of n numbers, n a multiple of 64: as fast as memory brings them. */
float peak_sum(const float *p, int64_t n);

#endif
