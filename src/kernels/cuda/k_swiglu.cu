/* SwiGLU and its gradient, a warp or a block a row. The logistic function s and 1 − s both come from exp(−|gate|), which neither
 * overflows nor cancels.
 */
#include "kernels/cuda/rows.h"

struct logistic {
    float s, rest; /* σ(x), 1 − σ(x) */
};

static __device__ __forceinline__ struct logistic logistic_of(float x)
{
    float e = expf(-fabsf(x)), large = 1 / (1 + e), small = e * large;
    struct logistic l = {x < 0 ? small : large, x < 0 ? large : small};
    return l;
}

template <int W>
static __global__ void swiglu_forward(float *h, const float *gu, int64_t T, int64_t F)
{
    int64_t t = my_row();
    if (t >= T)
        return;
    const float *gates = gu + t * 2 * F, *ups = gates + F;
    float gate[W], up[W];
    for (int64_t f = threadIdx.x * W; f < F; f += blockDim.x * W) {
        load<W>(gate, gates + f);
        load<W>(up, ups + f);
        for (int i = 0; i < W; i++)
            up[i] *= gate[i] * logistic_of(gate[i]).s;
        store<W>(h + t * F + f, up);
    }
}

void cuda_swiglu_forward(struct device *dev, float *h, const float *gu, int64_t T, int64_t F)
{
    bool wide = is_wide(h) && is_wide(gu) && F % 4 == 0;
    LAUNCH_ROWS(dev, wide, swiglu_forward, T, F, h, gu, T, F);
}

/* dgu may be gu: a thread reads its elements before it writes them. */
template <int W>
static __global__ void swiglu_backward(float *dgu, float *dweight, float *hw, const float *dh,
                                       const float *gu, const float *weight, int64_t T, int64_t F)
{
    __shared__ float part[ALL_WARP];
    int64_t t = my_row();
    if (t >= T)
        return;
    float w = weight ? weight[t] : 1, sum = 0, gate[W], up[W], d[W], h[W];
    for (int64_t f = threadIdx.x * W; f < F; f += blockDim.x * W) {
        load<W>(gate, gu + t * 2 * F + f);
        load<W>(up, gu + t * 2 * F + F + f);
        load<W>(d, dh + t * F + f);
        for (int i = 0; i < W; i++) {
            struct logistic l = logistic_of(gate[i]);
            float silu = gate[i] * l.s, dw = d[i] * w;
            h[i] = silu * up[i];
            sum += d[i] * h[i];
            h[i] *= w;
            gate[i] = dw * up[i] * l.s * (1 + gate[i] * l.rest);
            up[i] = dw * silu;
        }
        store<W>(dgu + t * 2 * F + f, gate);
        store<W>(dgu + t * 2 * F + F + f, up);
        if (hw)
            store<W>(hw + t * F + f, h);
    }
    if (!weight || !dweight)
        return;
    sum = row_sum(sum, part);
    if (threadIdx.x == 0)
        dweight[t] = sum;
}

void cuda_swiglu_backward(struct device *dev, float *dgu, float *dweight, float *hw,
                          const float *dh, const float *gu, const float *weight, int64_t T,
                          int64_t F)
{
    bool wide = is_wide(dgu) && is_wide(hw) && is_wide(dh) && is_wide(gu) && F % 4 == 0;
    LAUNCH_ROWS(dev, wide, swiglu_backward, T, F, dgu, dweight, hw, dh, gu, weight, T, F);
}
