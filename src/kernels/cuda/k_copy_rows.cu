/* copy_rows: columns of rows from one pitch to another. */
#include "kernels/cuda/cuda.h"

enum { THREADS = 256 };

static __global__ void copy_rows(float *to, int64_t ldto, const float *from, int64_t ldfrom,
                                 int64_t T, int64_t n)
{
    int64_t i = thread_index(), t = i / n, j = i % n;
    if (t < T)
        to[t * ldto + j] = from[t * ldfrom + j];
}

void cuda_copy_rows(struct device *dev, float *to, int64_t ldto, const float *from, int64_t ldfrom,
                    int64_t T, int64_t n)
{
    if (n)
        LAUNCH(dev, copy_rows, blocks_for(T * n, THREADS), THREADS, 0, to, ldto, from, ldfrom, T,
               n);
}
