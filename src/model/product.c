/* The decoder's dense products: which copy of the weights, in which precision.
 *
 * Weights are the bf16 copies where the decoder computes in bf16, the float32 masters otherwise and
 * for the router always. Gradients of weights are float32, written in a step's first backward and
 * added to in the others.
 */
#include "model/decoder_parts.h"

static struct linear_args args_of(struct decoder *dec, const struct param *p, int64_t M, int64_t N,
                                  int64_t K)
{
    bool half = p->half && p->kind != PARAM_ROUTER;
    return (struct linear_args){.w = half ? (void *)p->half : p->data,
                                .w_type = half ? DT_BF16 : DT_F32,
                                .compute = p->kind == PARAM_ROUTER ? DT_F32 : dec->compute,
                                .ldw = K,
                                .M = M,
                                .N = N,
                                .K = K};
}

void product_forward(struct decoder *dec, float *y, int64_t ldy, const float *x, int64_t ldx,
                     const struct param *p, int64_t M, int64_t N, int64_t K, bool accumulate)
{
    struct linear_args a = args_of(dec, p, M, N, K);
    a.y = y;
    a.ldy = ldy;
    a.x = (float *)(uintptr_t)x;
    a.ldx = ldx;
    a.accumulate = accumulate;
    dec->dev->k->linear_forward(dec->dev, &a);
}

void product_backward_input(struct decoder *dec, float *dx, int64_t ldx, const float *dy,
                            int64_t ldy, const struct param *p, int64_t M, int64_t N, int64_t K,
                            bool accumulate)
{
    struct linear_args a = args_of(dec, p, M, N, K);
    a.y = (float *)(uintptr_t)dy;
    a.ldy = ldy;
    a.x = dx;
    a.ldx = ldx;
    a.accumulate = accumulate;
    dec->dev->k->linear_backward_input(dec->dev, &a);
}

void product_backward_weight(struct decoder *dec, const struct param *p, const float *dy,
                             int64_t ldy, const float *x, int64_t ldx, int64_t M, int64_t N,
                             int64_t K)
{
    if (!p->grad)
        return;
    struct linear_args a = args_of(dec, p, M, N, K);
    a.w = p->grad;
    a.w_type = DT_F32;
    a.y = (float *)(uintptr_t)dy;
    a.ldy = ldy;
    a.x = (float *)(uintptr_t)x;
    a.ldx = ldx;
    a.accumulate = !dec->fresh;
    dec->dev->k->linear_backward_weight(dec->dev, &a);
}
