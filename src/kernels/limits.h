/* What this machine can do at most: the yardsticks beside which kernels are judged. */
#ifndef MOE2_KERNELS_LIMITS_H
#define MOE2_KERNELS_LIMITS_H

#include "base/err.h"

struct limits {
    double f32_gflops;         /* float32 multiply-adds out of registers, two operations each */
    double bf16_gflops;        /* the same of bf16 units; 0 where there are none */
    double read_gbs, copy_gbs; /* large arrays; copy counts what is read and what is written */
};

/* Measures with n_threads threads for about a second; the best of five rounds for arithmetic, the median of five for memory. */
int limits_measure(struct limits *out, int n_threads, struct err *err);

#endif
