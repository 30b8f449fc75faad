/* Attention without a mask, the plain reference: one query row at a time.
 *
 * Shapes:      see struct encoder_attention_args
 * Definition:  s[u] = scale · q_t·k_u,  u over the sequence of t;   p = softmax(s);   o[t] = Σ_u p[u] · v_u
 * Source:      Vaswani et al., arXiv 1706.03762
 * Sizes:       any; sequences may be empty. Scores of one row are all that is kept (in double, in scratch memory).
 */
#include <math.h>

#include "kernels/cpu/cpu.h"

static void one_row(const struct encoder_attention_args *a, double *s, int64_t first, int64_t n,
                    int64_t t, int64_t h)
{
    const float *q = a->q + t * a->ldqkv + h * a->d, *k = a->k + first * a->ldqkv + h * a->d,
                *v = a->v + first * a->ldqkv + h * a->d;
    double max = -INFINITY, sum = 0;
    for (int64_t u = 0; u < n; u++) {
        s[u] = 0;
        for (int64_t i = 0; i < a->d; i++)
            s[u] += (double)q[i] * k[u * a->ldqkv + i];
        max = fmax(max, s[u] *= a->scale);
    }
    for (int64_t u = 0; u < n; u++)
        sum += s[u] = exp(s[u] - max);
    for (int64_t i = 0; i < a->d; i++) {
        double o = 0;
        for (int64_t u = 0; u < n; u++)
            o += s[u] / sum * v[u * a->ldqkv + i];
        a->o[t * a->ldo + h * a->d + i] = (float)o;
    }
}

void ref_encoder_attention(struct device *dev, const struct encoder_attention_args *a)
{
    for (int64_t b = 0; b < a->B; b++)
        for (int64_t t = a->offset[b]; t < a->offset[b + 1]; t++)
            for (int64_t h = 0; h < a->H; h++)
                one_row(a, cpu_scratch(dev, 0), a->offset[b], a->offset[b + 1] - a->offset[b], t,
                        h);
}
