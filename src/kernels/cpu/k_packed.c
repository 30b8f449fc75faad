/* Products with packed weights, the plain reference.
 *
 * Shapes:      w [N,K] in a form of kernels.h; slots of x [·,K] and y [·,N], or [·,N/2] gated; see struct packed_args
 * Definition:  w[n,k] = scale·(code − zero) + min, or scale·nf4[code], or the float itself, rounded to the form's type;
 *              y (+)= x·wᵀ + bias;   gated y (+)= silu(z)·u,  z = x·gateᵀ, u = x·upᵀ, silu(z) = z/(1 + exp(−z))
 * Source:      ggml's block formats and bitsandbytes' NF4 (see tensor/); Shazeer, arXiv 2002.05202
 * Sizes:       any M, N ≥ 0. The layout is w widened to float32. Sums run in double, x is not rounded.
 */
#include <math.h>
#include <string.h>

#include "kernels/cpu/cpu.h"
#include "kernels/cpu/packed.h"
#include "tensor/nf4.h"

size_t ref_packed_bytes(struct device *dev, const struct packed_weight *w)
{
    (void)dev;
    return (size_t)(w->N * w->K) * sizeof(float);
}

static float half(float x)
{
    return f16_to_f32(f32_to_f16(x));
}

static float number(const struct packed_weight *w, const struct packed_source *from, int64_t i,
                    int64_t k)
{
    const struct packed_layout *l = &packed_layouts[w->form];
    int64_t g = i * (w->K / l->group) + k / l->group;
    int code = from->codes[i * w->K + k];
    if (w->form == PACKED_NF4)
        return from->scale[g] * nf4_levels[code];
    return half(from->scale[g]) * (float)(code - l->zero) + (l->min ? half(from->min[g]) : 0);
}

void ref_packed_pack(struct device *dev, const struct packed_weight *w, int64_t first, int64_t n,
                     const struct packed_source *rows)
{
    (void)dev;
    const struct packed_layout *l = &packed_layouts[w->form];
    float *to = (float *)w->packed + first * w->K;
    for (int64_t i = 0; i < n * w->K; i++) {
        if (l->bits) {
            to[i] = number(w, rows, i / w->K, i % w->K);
            continue;
        }
        uint8_t rounded[4];
        dtype_from_f32(rounded, rows->f32 + i, l->type, 1);
        dtype_to_f32(to + i, rounded, l->type, 1);
    }
}

static double dot(const float *x, const struct packed_weight *w, int64_t n)
{
    const float *row = (const float *)w->packed + n * w->K;
    double sum = 0;
    for (int64_t k = 0; k < w->K; k++)
        sum += (double)x[k] * row[k];
    return sum;
}

static void forward_slot(const struct packed_args *a, const struct packed_weight *w, int64_t s)
{
    const float *x = a->x + (a->x_row ? a->x_row[s] : s) * a->ldx;
    float *y = a->y + (a->y_row ? a->y_row[s] : s) * a->ldy;
    int64_t N = w->gated ? w->N / 2 : w->N;
    for (int64_t n = 0; n < N; n++) {
        double z = dot(x, w, n) + (a->bias ? (double)a->bias[n] : 0);
        if (w->gated)
            z = z / (1 + exp(-z)) * dot(x, w, N + n);
        y[n] = (float)(z + (a->accumulate ? (double)y[n] : 0));
    }
}

void ref_packed_forward(struct device *dev, const struct packed_args *a)
{
    (void)dev;
    for (int64_t e = 0; e < a->E; e++)
        for (int64_t s = a->offset[e]; s < a->offset[e + 1]; s++)
            forward_slot(a, &a->w[e], s);
}

void ref_packed_rows(struct device *dev, float *y, const struct packed_weight *w,
                     const int32_t *ids, int64_t T)
{
    (void)dev;
    for (int64_t t = 0; t < T; t++)
        memcpy(y + t * w->K, (const float *)w->packed + ids[t] * w->K, (size_t)w->K * sizeof *y);
}
