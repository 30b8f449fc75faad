/* Attention of new rows over kept keys and values, the plain reference.
 *
 * Shapes:      q [T,H,d] pitch ldq, o [T,H,dv] pitch ldo; n positions of k and v, pitches ldk, ldv; head h reads kv head h/(H/Hk)
 * Definition:  p[t,u] = softmax over u ≤ n − T + t of scale·q_t·k_u;   o_t = Σ_u p[t,u]·v_u
 * Source:      Vaswani et al., arXiv 1706.03762; grouped heads: Ainslie et al., arXiv 2305.13245
 * Sizes:       0 ≤ T ≤ n. Sums run in double.
 */
#include <math.h>
#include <string.h>

#include "kernels/cpu/cpu.h"

static double score(const struct cached_attention_args *a, const float *q, const float *k)
{
    double sum = 0;
    for (int64_t i = 0; i < a->d; i++)
        sum += (double)q[i] * k[i];
    return sum * (double)a->scale;
}

static void attend(const struct cached_attention_args *a, int64_t t, int64_t h)
{
    int64_t seen = a->n - a->T + t + 1, kh = h / (a->H / a->Hk);
    const float *q = a->q + t * a->ldq + h * a->d, *k = a->k + kh * a->d,
                *v = a->v + kh * a->v_head;
    float *o = a->o + t * a->ldo + h * a->dv;
    double max = -INFINITY, sum = 0;
    for (int64_t u = 0; u < seen; u++)
        max = fmax(max, score(a, q, k + u * a->ldk));
    for (int64_t u = 0; u < seen; u++)
        sum += exp(score(a, q, k + u * a->ldk) - max);
    for (int64_t i = 0; i < a->dv; i++) {
        double out = 0;
        for (int64_t u = 0; u < seen; u++)
            out += exp(score(a, q, k + u * a->ldk) - max) * v[u * a->ldv + i];
        o[i] = (float)(out / sum);
    }
}

void ref_cached_attention(struct device *dev, const struct cached_attention_args *a)
{
    (void)dev;
    for (int64_t t = 0; t < a->T; t++)
        for (int64_t h = 0; h < a->H; h++)
            attend(a, t, h);
}
