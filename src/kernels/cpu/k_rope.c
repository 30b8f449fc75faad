/* Rotary position embedding in place, interleaved and by halves, the plain reference.
 *
 * Shapes:      head h of row t at x + t·ldx + h·x_head, dr numbers, dr even; cos, sin [P, dr/2]; pos [T]
 * Definition:  (x_2i + j·x_2i+1) ← (x_2i + j·x_2i+1) · (cos[pos,i] + j·sign·sin[pos,i])
 *              sign −1 turns back: the rotation is orthogonal, so that is also its backward
 *              rope_half: the same with (x_i, x_i+dr/2) for (x_2i, x_2i+1)
 * Source:      Su et al., arXiv 2104.09864; the interleaved pairing of DeepSeek's models, the halves of
 *              transformers' llama and qwen.
 */
#include "kernels/cpu/cpu.h"

void ref_rope(struct device *dev, float *x, const int32_t *pos, const float *cos, const float *sin,
              int64_t T, int64_t n_heads, int64_t dr, int64_t ldx, int64_t x_head, int sign)
{
    (void)dev;
    for (int64_t t = 0; t < T; t++) {
        const float *c = cos + pos[t] * (dr / 2), *s = sin + pos[t] * (dr / 2);
        for (int64_t h = 0; h < n_heads; h++) {
            float *p = x + t * ldx + h * x_head;
            for (int64_t i = 0; i < dr / 2; i++) {
                double re = p[2 * i], im = p[2 * i + 1], si = (double)s[i] * sign;
                p[2 * i] = (float)(re * c[i] - im * si);
                p[2 * i + 1] = (float)(re * si + im * c[i]);
            }
        }
    }
}

void ref_rope_half(struct device *dev, float *x, const int32_t *pos, const float *cos,
                   const float *sin, int64_t T, int64_t n_heads, int64_t dr, int64_t ldx,
                   int64_t x_head, int sign)
{
    (void)dev;
    for (int64_t t = 0; t < T; t++) {
        const float *c = cos + pos[t] * (dr / 2), *s = sin + pos[t] * (dr / 2);
        for (int64_t h = 0; h < n_heads; h++) {
            float *re_at = x + t * ldx + h * x_head, *im_at = re_at + dr / 2;
            for (int64_t i = 0; i < dr / 2; i++) {
                double re = re_at[i], im = im_at[i], si = (double)s[i] * sign;
                re_at[i] = (float)(re * c[i] - im * si);
                im_at[i] = (float)(re * si + im * c[i]);
            }
        }
    }
}
