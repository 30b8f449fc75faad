/* SwiGLU, the plain reference.
 *
 * Shapes:      gu [T,2F]: gate, then up; h, dh, hw [T,F]; weight, dweight [T]
 * Definition:  h = silu(gate) · up,   silu(g) = g · σ(g)
 * Source:      Shazeer, arXiv 2002.05202.
 */
#include <math.h>

#include "kernels/cpu/cpu.h"

static double sigmoid(double x)
{
    return 1 / (1 + exp(-x));
}

void ref_swiglu_forward(struct device *dev, float *h, const float *gu, int64_t T, int64_t F)
{
    (void)dev;
    for (int64_t t = 0; t < T; t++)
        for (int64_t f = 0; f < F; f++) {
            double gate = gu[t * 2 * F + f], up = gu[t * 2 * F + F + f];
            h[t * F + f] = (float)(gate * sigmoid(gate) * up);
        }
}

/* Writes dgu, hw and, with weights, dweight. With s = σ(gate) and e = dh · weight, what reaches h:
 *     h = gate·s · up        dgate = e · up · s · (1 + gate·(1 − s))        dup = e · gate·s
 *     y = weight · h         dweight[t] = Σ_f dh · h                        hw = weight · h
 * gu is read before dgu is written at each element, so both may be one array.
 */
void ref_swiglu_backward(struct device *dev, float *dgu, float *dweight, float *hw, const float *dh,
                         const float *gu, const float *weight, int64_t T, int64_t F)
{
    (void)dev;
    for (int64_t t = 0; t < T; t++) {
        double w = weight ? weight[t] : 1, sum = 0;
        for (int64_t f = 0; f < F; f++) {
            double gate = gu[t * 2 * F + f], up = gu[t * 2 * F + F + f], d = dh[t * F + f];
            double s = sigmoid(gate), h = gate * s * up;
            sum += d * h;
            if (hw)
                hw[t * F + f] = (float)(w * h);
            dgu[t * 2 * F + f] = (float)(d * w * up * s * (1 + gate * (1 - s)));
            dgu[t * 2 * F + F + f] = (float)(d * w * gate * s);
        }
        if (weight && dweight)
            dweight[t] = (float)sum;
    }
}
