/* AdamW with moments in 8 bits, the one implementation of all tables.
 *
 * Shapes:      p, g [n]; m, v codes [n]; absmaxes [ceil(n / 256)]
 * Definition:  k_adamw.c's update with m = map_m[code]·absmax_m, v = map_v[code]·absmax_v; afterwards each block's absmaxes are the
 *              largest |m| and v, and the codes the nearest levels, the lower one exactly in the middle
 * Sizes:       any; the last block may be short. A block of zeros has absmax 0.
 * Source:      Dettmers et al., arXiv 2110.02861.
 */
#include <math.h>

#include "kernels/cpu/cpu.h"

/* The code of x in [−1, 1]: by halving, then the nearer of two neighbours. */
static uint8_t nearest(const float map[256], float x)
{
    int low = 0, high = 255;
    while (high - low > 1) {
        int middle = (low + high) / 2;
        if (map[middle] <= x)
            low = middle;
        else
            high = middle;
    }
    return (uint8_t)(x - map[low] <= map[high] - x ? low : high);
}

static void encode(uint8_t *codes, float *absmax, const float *x, int64_t n, const float map[256])
{
    float most = 0;
    for (int64_t i = 0; i < n; i++)
        most = fmaxf(most, fabsf(x[i]));
    for (int64_t i = 0; i < n; i++)
        codes[i] = nearest(map, most > 0 ? x[i] / most : 0);
    *absmax = most;
}

static void block(const struct adamw8_args *q, int64_t b)
{
    float m[ADAMW8_BLOCK] = {0}, v[ADAMW8_BLOCK] = {0};
    const struct adamw_args *a = &q->a;
    int64_t first = b * ADAMW8_BLOCK, n = a->n - first < ADAMW8_BLOCK ? a->n - first : ADAMW8_BLOCK;
    for (int64_t i = 0; i < n; i++) {
        float g = a->g[first + i] * a->grad_scale, *p = &a->p[first + i];
        m[i] = a->beta1 * q->m_map[q->m[first + i]] * q->m_absmax[b] + (1 - a->beta1) * g;
        v[i] = a->beta2 * q->v_map[q->v[first + i]] * q->v_absmax[b] + (1 - a->beta2) * g * g;
        float step = m[i] / a->correction1 / (sqrtf(v[i] / a->correction2) + a->eps);
        *p -= a->lr * (step + a->weight_decay * *p);
        if (a->p_bf16)
            a->p_bf16[first + i] = f32_to_bf16(*p);
    }
    encode(q->m + first, &q->m_absmax[b], m, n, q->m_map);
    encode(q->v + first, &q->v_absmax[b], v, n, q->v_map);
}

void ref_adamw8(struct device *dev, const struct adamw8_args *a)
{
    int64_t n_blocks = (a->a.n + ADAMW8_BLOCK - 1) / ADAMW8_BLOCK;
#pragma omp parallel for schedule(static) num_threads(dev->n_threads) if (n_blocks > 16)
    for (int64_t b = 0; b < n_blocks; b++)
        block(a, b);
}

void ref_adamw8_list(struct device *dev, const struct adamw8_args *a, int64_t n_tensors)
{
    for (int64_t i = 0; i < n_tensors; i++)
        dev->k->adamw8(dev, &a[i]);
}
