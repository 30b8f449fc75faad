/* AdamW in one pass over parameters, moments and gradient, four numbers a thread where their places allow it. */
#include "kernels/cuda/rows.h"

enum { THREADS = 256 };

template <int W> static __global__ void adamw(struct adamw_args a)
{
    int64_t i = thread_index() * W;
    if (i >= a.n)
        return;
    float p[W], m[W], v[W], g[W];
    load<W>(p, a.p + i);
    load<W>(m, a.m + i);
    load<W>(v, a.v + i);
    load<W>(g, a.g + i);
    for (int j = 0; j < W; j++) {
        float gj = g[j] * a.grad_scale;
        m[j] = a.beta1 * m[j] + (1 - a.beta1) * gj;
        v[j] = a.beta2 * v[j] + (1 - a.beta2) * gj * gj;
        p[j] = p[j] * (1 - a.lr * a.weight_decay) -
               a.lr * (m[j] / a.correction1) / (sqrtf(v[j] / a.correction2) + a.eps);
    }
    store<W>(a.p + i, p);
    store<W>(a.m + i, m);
    store<W>(a.v + i, v);
    if (a.p_bf16)
        store_bf16<W>(a.p_bf16 + i, p);
}

/* Numbers first … of the same arrays. */
static struct adamw_args from(const struct adamw_args *a, int64_t first)
{
    struct adamw_args b = *a;
    b.p += first;
    b.m += first;
    b.v += first;
    b.g += first;
    b.p_bf16 = a->p_bf16 ? a->p_bf16 + first : NULL;
    b.n = a->n - first;
    return b;
}

void cuda_adamw(struct device *dev, const struct adamw_args *a)
{
    bool wide = is_wide(a->p) && is_wide(a->m) && is_wide(a->v) && is_wide(a->g) &&
                (uintptr_t)a->p_bf16 % 8 == 0;
    struct adamw_args most = *a;
    most.n = wide ? a->n / 4 * 4 : 0;
    struct adamw_args rest = from(a, most.n);
    LAUNCH(dev, (adamw<4>), blocks_for(most.n / 4, THREADS), THREADS, 0, most);
    LAUNCH(dev, (adamw<1>), blocks_for(rest.n, THREADS), THREADS, 0, rest);
}
