/* cuBLASLt, NVIDIA's library of matrix products, opened when a CUDA device is (its headers are needed to build, nothing to link).
 * Emulated, products are plain loops.
 */
#ifndef MOE2_KERNELS_CUDA_BLAS_H
#define MOE2_KERNELS_CUDA_BLAS_H

#include "kernels/cuda/cuda.h"

struct blas;

/* MOE2_ECONFIG when the library is not there or is too old. */
int blas_open(struct blas **out, void *stream, struct err *err);
/* Frees what the device's products hold; all of them are over. */
void blas_close(struct device *dev);

/* c [m,n] (+)= a · b, all row-major with row pitches: a is [m,k], or [k,m] when turned; b [k,n], or [n,k] when turned. a and b are
 * float32, or bf16 when narrow; c is float32 and the sums too, never rounded further on the way. The same product gives the same
 * bits again. Device memory, on the device's stream. */
struct blas_args {
    float *c;
    const void *a, *b;
    int64_t m, n, k, ldc, lda, ldb;
    bool a_turned, b_turned, narrow, accumulate;
};
void blas_product(struct device *dev, const struct blas_args *p);

#endif
