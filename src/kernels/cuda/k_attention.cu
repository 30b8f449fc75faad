/* Causal attention and its gradient: chooses who computes, and does what both ways of computing share: delta before, and the sum of the
 * heads' gradients of the shared keys after.
 */
#include "kernels/cuda/attention_half.h"

enum { THREADS = 256, WARPS = THREADS / ALL_WARP };

void cuda_attention_forward(struct device *dev, const struct attention_args *a)
{
    if (a->compute != DT_BF16 || !attention_half_forward(dev, a, true))
        attention_plain_forward(dev, a, true);
}

/* delta[t,h] = Σ do·o, a warp each. */
static __global__ void row_products(struct attention_args a, const float *d_o, float *delta,
                                    int64_t first, int64_t n)
{
    int64_t i = (int64_t)blockIdx.x * WARPS + threadIdx.x / ALL_WARP;
    if (i >= n)
        return;
    int64_t at = (first + i / a.H) * a.ldo + i % a.H * a.dv;
    float sum = 0;
    for (int64_t c = threadIdx.x % ALL_WARP; c < a.dv; c += ALL_WARP)
        sum += d_o[at + c] * a.o[at + c];
    sum = warp_sum(sum);
    if (threadIdx.x % ALL_WARP == 0)
        delta[first * a.H + i] = sum;
}

/* dkr (+)= Σ over heads of part [n, n_heads, dr]. */
static __global__ void sum_heads(float *dkr, int64_t ldkr, const float *part, int64_t n,
                                 int n_heads, int64_t dr, bool accumulate)
{
    int64_t i = thread_index(), row = i / dr, c = i % dr;
    if (row >= n)
        return;
    float sum = accumulate ? dkr[row * ldkr + c] : 0;
    for (int h = 0; h < n_heads; h++)
        sum += part[(row * n_heads + h) * dr + c];
    dkr[row * ldkr + c] = sum;
}

/* Rows of scratch begin 256-byte aligned. */
static size_t rounded(size_t n_bytes)
{
    return (n_bytes + 255) / 256 * 256;
}

/* Scratch: delta [T,H], then for as many key heads at a time as it should hold their dkr and what the bf16 kernel packs. */
void cuda_attention_backward(struct device *dev, const struct attention_args *a,
                             const struct attention_grads *g)
{
    const size_t budget = (size_t)1 << 30;
    bool half = a->compute == DT_BF16 && half_widths(a).d;
    int64_t first = a->offset[0], n = a->offset[a->B] - first;
    if (n == 0)
        return;
    size_t delta_bytes = rounded((size_t)(n * a->H) * sizeof(float)),
           shared_keys = (size_t)(n * a->dr) * sizeof(float),
           packed = half ? attention_half_bytes(a) : 0, each = shared_keys + packed;
    int64_t heads = each && budget / each ? (int64_t)(budget / each) : each ? 1 : a->Hk;
    heads = heads < a->Hk ? heads : a->Hk;
    char *scratch = (char *)cuda_scratch(dev, delta_bytes + rounded(shared_keys * (size_t)heads) +
                                                  packed * (size_t)heads);
    if (!scratch)
        return;
    float *delta = (float *)scratch - first * a->H;
    struct backward b = {*g, delta, (float *)(scratch + delta_bytes), first, 0, 0};
    struct attention_args args = *a;
    LAUNCH(dev, row_products, blocks_for(n * a->H, WARPS), THREADS, 0, args, g->d_o, delta, first,
           n * a->H);
    for (; b.head < a->Hk; b.head += b.n_heads) {
        b.n_heads = (int)(heads < a->Hk - b.head ? heads : a->Hk - b.head);
        if (half)
            attention_half_backward(dev, a, &b,
                                    scratch + delta_bytes + rounded(shared_keys * (size_t)heads));
        else
            attention_plain_backward(dev, a, &b);
        if (a->dr)
            LAUNCH(dev, sum_heads, blocks_for(n * a->dr, THREADS), THREADS, 0,
                   g->dkr + first * a->ldkr, a->ldkr, b.dkr, n, b.n_heads, a->dr, b.head > 0);
    }
}
