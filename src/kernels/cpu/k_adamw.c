/* AdamW, the plain reference.
 *
 * Definition:  g' = g · grad_scale
 *              m = beta1·m + (1 − beta1)·g'            v = beta2·v + (1 − beta2)·g'²
 *              p = p · (1 − lr·weight_decay) − lr · (m / correction1) / (sqrt(v / correction2) + eps)
 *              p_bf16 = p rounded, where asked for
 * Source:      Loshchilov & Hutter, arXiv 1711.05101, in the form of PyTorch's AdamW.
 */
#include <math.h>

#include "kernels/cpu/cpu.h"

void ref_adamw(struct device *dev, const struct adamw_args *a)
{
    (void)dev;
    for (int64_t i = 0; i < a->n; i++) {
        double g = (double)a->g[i] * a->grad_scale;
        double m = (double)a->beta1 * a->m[i] + (1 - (double)a->beta1) * g;
        double v = (double)a->beta2 * a->v[i] + (1 - (double)a->beta2) * g * g;
        double p = a->p[i] * (1 - (double)a->lr * a->weight_decay);
        a->m[i] = (float)m;
        a->v[i] = (float)v;
        a->p[i] = (float)(p - a->lr * (m / a->correction1) / (sqrt(v / a->correction2) + a->eps));
        if (a->p_bf16)
            a->p_bf16[i] = f32_to_bf16(a->p[i]);
    }
}

/* Of all tables: a call costs nothing here. */
void ref_adamw_list(struct device *dev, const struct adamw_args *a, int64_t n_tensors)
{
    for (int64_t i = 0; i < n_tensors; i++)
        dev->k->adamw(dev, &a[i]);
}
