/* AdamW in one pass over parameters, moments and gradient, four numbers a thread where their places allow it. Of a list of tensors as
 * many as a kernel's parameters hold go in one launch, each with blocks of its own; one tensor is a list of one. Each operation is rounded
 * by itself or fused by name, so that a number's bits do not depend on its neighbours.
 */
#include "kernels/cuda/rows.h"

enum { THREADS = 256, WIDTH = 4, LIST = 64 };

struct adamw_one {
    float *p, *m, *v;
    const float *g;
    uint16_t *p_bf16;
    int64_t n;
    float weight_decay;
    unsigned first; /* block */
};

struct adamw_many {
    struct adamw_args all; /* what is the same for all of them */
    struct adamw_one e[LIST];
    int n;
};

template <int W>
static __device__ __forceinline__ void update(const struct adamw_one &e, const struct adamw_args &a,
                                              int64_t i)
{
    float p[W], m[W], v[W], g[W], keep = __fmaf_rn(-a.lr, e.weight_decay, 1);
    load<W>(p, e.p + i);
    load<W>(m, e.m + i);
    load<W>(v, e.v + i);
    load<W>(g, e.g + i);
    for (int j = 0; j < W; j++) {
        float gj = __fmul_rn(g[j], a.grad_scale);
        m[j] = __fmaf_rn(a.beta1, m[j], __fmul_rn(__fsub_rn(1, a.beta1), gj));
        v[j] = __fmaf_rn(a.beta2, v[j], __fmul_rn(__fmul_rn(__fsub_rn(1, a.beta2), gj), gj));
        float root = __fadd_rn(__fsqrt_rn(__fdiv_rn(v[j], a.correction2)), a.eps);
        float step = __fdiv_rn(__fmul_rn(a.lr, __fdiv_rn(m[j], a.correction1)), root);
        p[j] = __fmaf_rn(p[j], keep, -step);
    }
    store<W>(e.p + i, p);
    store<W>(e.m + i, m);
    store<W>(e.v + i, v);
    if (e.p_bf16)
        store_bf16<W>(e.p_bf16 + i, p);
}

static __device__ __forceinline__ bool in_fours(const struct adamw_one &e)
{
    uintptr_t all = (uintptr_t)e.p | (uintptr_t)e.m | (uintptr_t)e.v | (uintptr_t)e.g;
    return all % 16 == 0 && (uintptr_t)e.p_bf16 % 8 == 0;
}

static __global__ void adamw(const __grid_constant__ struct adamw_many list)
{
    const struct adamw_one &e = list.e[entry_of(list.e, list.n)];
    int64_t i = ((int64_t)(blockIdx.x - e.first) * THREADS + threadIdx.x) * WIDTH;
    if (in_fours(e) && i + WIDTH <= e.n) {
        update<WIDTH>(e, list.all, i);
        return;
    }
    for (int64_t j = i; j < i + WIDTH && j < e.n; j++)
        update<1>(e, list.all, j);
}

void cuda_adamw_list(struct device *dev, const struct adamw_args *a, int64_t n_tensors)
{
    struct adamw_many list;
    for (int64_t i = 0; i < n_tensors;) {
        unsigned blocks = 0;
        list.all = a[0];
        for (list.n = 0; list.n < LIST && i < n_tensors; i++) {
            list.e[list.n++] = {
                a[i].p, a[i].m, a[i].v, a[i].g, a[i].p_bf16, a[i].n, a[i].weight_decay, blocks};
            blocks += blocks_for(a[i].n, THREADS * WIDTH);
        }
        LAUNCH(dev, adamw, blocks, THREADS, 0, list);
    }
}

void cuda_adamw(struct device *dev, const struct adamw_args *a)
{
    cuda_adamw_list(dev, a, 1);
}
