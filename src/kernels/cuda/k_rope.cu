/* Rotary position embedding: a block a row of x, a thread a pair at a time, heads one after the other. The interleaved pairs are read
 * as one word of eight bytes where they may be.
 */
#include "kernels/cuda/cuda.h"

enum { THREADS = 128 };

struct rope_shape {
    int64_t ldx, x_head;
    unsigned n_heads, half; /* half: pairs in a head */
    int sign;
};

/* Pair i of a head: its first number at i · step, the other "other" behind that. */
template <bool TOGETHER>
static __global__ void rope(float *x, const int32_t *pos, const float *cosines, const float *sines,
                            struct rope_shape s, int step, int64_t other)
{
    int64_t t = blockIdx.x, row = pos[t] * (int64_t)s.half;
    for (unsigned p = threadIdx.x; p < s.n_heads * s.half; p += THREADS) {
        unsigned h = p / s.half, i = p - h * s.half;
        float *at = x + t * s.ldx + h * s.x_head + (int64_t)i * step;
        float c = cosines[row + i], si = sines[row + i] * (float)s.sign;
        float2 v = TOGETHER ? *(float2 *)at : make_float2(at[0], at[other]);
        float re = v.x * c - v.y * si, im = v.x * si + v.y * c;
        if (TOGETHER) {
            *(float2 *)at = make_float2(re, im);
        } else {
            at[0] = re;
            at[other] = im;
        }
    }
}

void cuda_rope(struct device *dev, float *x, const int32_t *pos, const float *cos, const float *sin,
               int64_t T, int64_t n_heads, int64_t dr, int64_t ldx, int64_t x_head, int sign)
{
    struct rope_shape s = {ldx, x_head, (unsigned)n_heads, (unsigned)(dr / 2), sign};
    int64_t next = 1;
    if ((uintptr_t)x % 8 == 0 && ldx % 2 == 0 && x_head % 2 == 0)
        LAUNCH(dev, (rope<true>), blocks_for(T, 1), THREADS, 0, x, pos, cos, sin, s, 2, next);
    else
        LAUNCH(dev, (rope<false>), blocks_for(T, 1), THREADS, 0, x, pos, cos, sin, s, 2, next);
}

void cuda_rope_half(struct device *dev, float *x, const int32_t *pos, const float *cos,
                    const float *sin, int64_t T, int64_t n_heads, int64_t dr, int64_t ldx,
                    int64_t x_head, int sign)
{
    struct rope_shape s = {ldx, x_head, (unsigned)n_heads, (unsigned)(dr / 2), sign};
    LAUNCH(dev, (rope<false>), blocks_for(T, 1), THREADS, 0, x, pos, cos, sin, s, 1, dr / 2);
}
