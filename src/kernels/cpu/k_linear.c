/* The dense product and its gradients, the plain reference.
 *
 * Shapes:      y [M,N]; x [M,K]; w [N,K], each with its own row pitch
 * Definition:  forward          y[m,n] (+)= Σ_k x[m,k] · w[n,k]
 *              backward_input   x[m,k] (+)= Σ_n y[m,n] · w[n,k]      (x is dx, y is dy)
 *              backward_weight  w[n,k] (+)= Σ_m y[m,n] · x[m,k]      (w is dw, y is dy)
 * Sizes:       any M, N, K ≥ 0; an empty sum is 0. Sums run in index order in double and are rounded once.
 */
#include "kernels/cpu/cpu.h"

static double weight_at(const struct linear_args *a, int64_t n, int64_t k)
{
    int64_t i = n * a->ldw + k;
    return a->w_type == DT_BF16 ? bf16_to_f32(((const uint16_t *)a->w)[i])
                                : ((const float *)a->w)[i];
}

static void put(float *out, double sum, bool accumulate)
{
    *out = (float)(accumulate ? *out + sum : sum);
}

void ref_linear_forward(struct device *dev, const struct linear_args *a)
{
    (void)dev;
    for (int64_t m = 0; m < a->M; m++)
        for (int64_t n = 0; n < a->N; n++) {
            double sum = 0;
            for (int64_t k = 0; k < a->K; k++)
                sum += a->x[m * a->ldx + k] * weight_at(a, n, k);
            put(&a->y[m * a->ldy + n], sum, a->accumulate);
        }
}

void ref_linear_backward_input(struct device *dev, const struct linear_args *a)
{
    (void)dev;
    for (int64_t m = 0; m < a->M; m++)
        for (int64_t k = 0; k < a->K; k++) {
            double sum = 0;
            for (int64_t n = 0; n < a->N; n++)
                sum += a->y[m * a->ldy + n] * weight_at(a, n, k);
            put(&a->x[m * a->ldx + k], sum, a->accumulate);
        }
}

void ref_linear_backward_weight(struct device *dev, const struct linear_args *a)
{
    (void)dev;
    for (int64_t n = 0; n < a->N; n++)
        for (int64_t k = 0; k < a->K; k++) {
            double sum = 0;
            for (int64_t m = 0; m < a->M; m++)
                sum += (double)a->y[m * a->ldy + n] * a->x[m * a->ldx + k];
            put(&((float *)a->w)[n * a->ldw + k], sum, a->accumulate);
        }
}
