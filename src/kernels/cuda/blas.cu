/* Products through cuBLASLt: see blas.h. */
#include "kernels/cuda/blas.h"

#ifdef MOE2_EMULATED

int blas_open(struct blas **out, void *stream, struct err *err)
{
    (void)stream;
    (void)err;
    *out = NULL;
    return 0;
}

void blas_close(struct blas *b)
{
    (void)b;
}

static float number(const void *x, bool narrow, int64_t at)
{
    return narrow ? bf16_value(((const uint16_t *)x)[at]) : ((const float *)x)[at];
}

void blas_product(struct device *dev, const struct blas_args *p)
{
    (void)dev;
    for (int64_t i = 0; i < p->m; i++)
        for (int64_t j = 0; j < p->n; j++) {
            double sum = 0;
            for (int64_t l = 0; l < p->k; l++)
                sum +=
                    (double)number(p->a, p->narrow, p->a_turned ? l * p->lda + i : i * p->lda + l) *
                    number(p->b, p->narrow, p->b_turned ? j * p->ldb + l : l * p->ldb + j);
            float *c = p->c + i * p->ldc + j;
            *c = (float)(p->accumulate ? *c + sum : sum);
        }
}

#else

int blas_open(struct blas **out, void *stream, struct err *err)
{
    (void)out;
    (void)stream;
    return err_set(err, MOE2_ECONFIG, "products on a GPU are not built yet");
}

void blas_close(struct blas *b)
{
    (void)b;
}

void blas_product(struct device *dev, const struct blas_args *p)
{
    (void)dev;
    (void)p;
}

#endif
