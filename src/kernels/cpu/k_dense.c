/* Products with a weight that was laid out once, and what follows them, the plain reference.
 *
 * Shapes:      x [M,K] pitch ldx; w [N,K]; y [M,N] pitch ldy, or [M,N/2] gated; bias [N]; add as y, pitch ldadd
 * Definition:  z = x·wᵀ + bias;   y = act(z) + add;   gated y[m,f] = z[m,f] · gelu(z[m,N/2+f]) + add
 *              gelu(z) = z · Φ(z) = z/2 · (1 + erf(z/√2))
 * Source:      Hendrycks & Gimpel, arXiv 1606.08415 (the exact form, not the one with tanh); Shazeer, arXiv 2002.05202
 * Sizes:       any M, N, K ≥ 0, N even if gated. The layout is w as it is, rounded to bf16 where it is computed in. Sums run in double.
 */
#include <math.h>
#include <string.h>

#include "kernels/cpu/cpu.h"

size_t ref_dense_bytes(struct device *dev, const struct dense_weight *w)
{
    (void)dev;
    return (size_t)(w->N * w->K) * sizeof(float);
}

static float rounded(float x, enum dtype compute)
{
    return compute == DT_BF16 ? bf16_to_f32(f32_to_bf16(x)) : x;
}

void ref_dense_pack(struct device *dev, const struct dense_weight *w, const float *rows)
{
    (void)dev;
    float *to = w->packed;
    for (int64_t i = 0; i < w->N * w->K; i++)
        to[i] = rounded(rows[i], w->compute);
}

static double gelu(double z)
{
    return z / 2 * (1 + erf(z / sqrt(2)));
}

static double product(const struct dense_args *a, int64_t m, int64_t n)
{
    const float *w = (const float *)a->w->packed + n * a->w->K, *x = a->x + m * a->ldx;
    double sum = a->bias ? (double)a->bias[n] : 0;
    for (int64_t k = 0; k < a->w->K; k++)
        sum += (double)rounded(x[k], a->w->compute) * w[k];
    return sum;
}

void ref_dense_forward(struct device *dev, const struct dense_args *a)
{
    (void)dev;
    int64_t N = a->w->gated ? a->w->N / 2 : a->w->N;
    for (int64_t m = 0; m < a->M; m++)
        for (int64_t n = 0; n < N; n++) {
            double z = product(a, m, n);
            if (a->w->gated)
                z *= gelu(product(a, m, N + n));
            else if (a->act == DENSE_GELU)
                z = gelu(z);
            a->y[m * a->ldy + n] = (float)(z + (a->add ? (double)a->add[m * a->ldadd + n] : 0));
        }
}
