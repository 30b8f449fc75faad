/* The dense MLP of the first layers, and the MLP that shared experts are:
 *     out += down · (silu(gate · y) ∘ (up · y))
 * gate and up are one product of the joined weights. What is kept is that product's result; silu
 * and the product with it are made again in the backward.
 */
#include "model/decoder_parts.h"

void mlp_forward(struct decoder *dec, const struct mlp *m, float *gate_up, const float *y,
                 float *out)
{
    int64_t T = dec->T, D = dec->d.D, F = m->width;
    product_forward(dec, gate_up, 2 * F, y, D, m->gate_up, T, 2 * F, D, false);
    if (!out)
        return;
    dec->dev->k->swiglu_forward(dec->dev, dec->s.h, gate_up, T, F);
    product_forward(dec, out, D, dec->s.h, F, m->down, T, D, F, true);
}

void mlp_backward(struct decoder *dec, const struct mlp *m, const float *gate_up, const float *y,
                  const float *d, float *dy)
{
    int64_t T = dec->T, D = dec->d.D, F = m->width;
    struct scratch *s = &dec->s;
    /* out = down · h       ddown += dᵀ · h, dh = d · down; h is made again on the way */
    product_backward_input(dec, s->dh, F, d, D, m->down, T, D, F, false);
    dec->dev->k->swiglu_backward(dec->dev, s->d_gate_up, NULL, s->h, s->dh, gate_up, NULL, T, F);
    product_backward_weight(dec, m->down, d, D, s->h, F, T, D, F);
    /* gate_up = W · y */
    product_backward_weight(dec, m->gate_up, s->d_gate_up, 2 * F, y, D, T, 2 * F, D);
    product_backward_input(dec, dy, D, s->d_gate_up, 2 * F, m->gate_up, T, 2 * F, D, false);
}

static void norm_post(struct decoder *dec, struct layer *layer, struct block_acts *acts)
{
    int64_t D = dec->d.D;
    dec->dev->k->rmsnorm_forward(dec->dev, dec->s.y, acts->rstd_post, acts->mid,
                                 layer->p.post_norm->data, dec->T, D, D, D,
                                 (float)dec->config.rms_norm_eps);
}

void ffn_forward(struct decoder *dec, struct layer *layer, struct block_acts *acts, float *out)
{
    norm_post(dec, layer, acts);
    if (out)
        dec->dev->k->copy(dec->dev, out, acts->mid, dec->T * dec->d.D);
    mlp_forward(dec, &(struct mlp){layer->p.gate_up, layer->p.down, dec->d.I}, acts->gate_up,
                dec->s.y, out);
}

void ffn_backward(struct decoder *dec, struct layer *layer, struct block_acts *acts)
{
    const struct param *w = layer->p.post_norm;
    int64_t D = dec->d.D;
    norm_post(dec, layer, acts);
    mlp_backward(dec, &(struct mlp){layer->p.gate_up, layer->p.down, dec->d.I}, acts->gate_up,
                 dec->s.y, dec->dx, dec->s.dy);
    /* out = mid + MLP(norm(mid)) */
    dec->dev->k->rmsnorm_backward(dec->dev, dec->dx, w->grad, dec->s.dy, acts->mid, w->data,
                                  acts->rstd_post, dec->T, D, D, D);
}
