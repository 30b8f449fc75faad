/* The grouped product of experts and its gradients, the plain reference: k_linear once for every expert's slots.
 *
 * Shapes:      slots offset[e] … offset[e+1]−1 are rows of expert e; w[e] [N,K]
 * Definition:  forward          y[s] (+)= w[e] · x[row(s)]           row(s) = x_row ? x_row[s] : s
 *              backward_input   x[s] (+)= w[e]ᵀ · y[row(s)]          row(s) = y_row ? y_row[s] : s
 *              backward_weight  w[e] (+)= Σ_s y[row(s)] ⊗ x[row(s)]  each with its own rows; an expert without slots is left alone
 * Sizes:       any. Sums run in index order in double and are rounded once.
 */
#include "kernels/cpu/cpu.h"

static double weight_at(const struct grouped_args *a, int64_t e, int64_t n, int64_t k)
{
    int64_t i = n * a->ldw + k;
    return a->w_type == DT_BF16 ? bf16_to_f32(((const uint16_t *)a->w[e])[i])
                                : ((const float *)a->w[e])[i];
}

static float *row_of(float *base, const int32_t *rows, int64_t s, int64_t ld)
{
    return base + (rows ? rows[s] : s) * ld;
}

static void put(float *out, double sum, bool accumulate)
{
    *out = (float)(accumulate ? *out + sum : sum);
}

void ref_grouped_forward(struct device *dev, const struct grouped_args *a)
{
    (void)dev;
    for (int64_t e = 0; e < a->E; e++)
        for (int64_t s = a->offset[e]; s < a->offset[e + 1]; s++) {
            const float *x = row_of(a->x, a->x_row, s, a->ldx);
            for (int64_t n = 0; n < a->N; n++) {
                double sum = 0;
                for (int64_t k = 0; k < a->K; k++)
                    sum += x[k] * weight_at(a, e, n, k);
                put(&a->y[s * a->ldy + n], sum, a->accumulate);
            }
        }
}

void ref_grouped_backward_input(struct device *dev, const struct grouped_args *a)
{
    (void)dev;
    for (int64_t e = 0; e < a->E; e++)
        for (int64_t s = a->offset[e]; s < a->offset[e + 1]; s++) {
            const float *y = row_of(a->y, a->y_row, s, a->ldy);
            for (int64_t k = 0; k < a->K; k++) {
                double sum = 0;
                for (int64_t n = 0; n < a->N; n++)
                    sum += y[n] * weight_at(a, e, n, k);
                put(&a->x[s * a->ldx + k], sum, a->accumulate);
            }
        }
}

void ref_grouped_backward_weight(struct device *dev, const struct grouped_args *a)
{
    (void)dev;
    for (int64_t e = 0; e < a->E; e++) {
        if (a->offset[e] == a->offset[e + 1])
            continue;
        for (int64_t n = 0; n < a->N; n++)
            for (int64_t k = 0; k < a->K; k++) {
                double sum = 0;
                for (int64_t s = a->offset[e]; s < a->offset[e + 1]; s++)
                    sum += (double)row_of(a->y, a->y_row, s, a->ldy)[n] *
                           row_of(a->x, a->x_row, s, a->ldx)[k];
                put(&((float *)a->w[e])[n * a->ldw + k], sum, a->accumulate);
            }
    }
}
