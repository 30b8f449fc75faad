/* Grouped-query attention, forward and backward: llama, qwen2, qwen3.
 *
 * With y = norm(x), one product of the joined weights makes
 *     a = [q | k | v] (+ biases, qwen2)      q_h, k_h = norm(q_h), norm(k_h) of every head (qwen3)
 *     q_h, k_h rotated by halves      o = attention(q, k, v), key head h serves H/Hk query heads
 *     mid = x + o_proj · o
 * Without head norms q and k are rotated where they lie in a; with them the normed ones lie in acts->q, q first, then k, and a keeps
 * what the norms' backward needs. Source: Ainslie et al., arXiv 2305.13245; transformers' LlamaAttention, Qwen3Attention.
 */
#include "model/decoder_parts.h"

/* k within q's rows: behind q in either place. */
static int64_t k_at(const struct dims *d)
{
    return d->q_width;
}

static int64_t v_at(const struct dims *d)
{
    return d->q_width + d->Hk * d->dn;
}

static struct attention_args attention_of(struct decoder *dec, struct block_acts *acts,
                                          const struct batch *batch)
{
    const struct dims *d = &dec->d;
    return (struct attention_args){.o = acts->o,
                                   .lse = acts->lse,
                                   .q = acts->q,
                                   .k = acts->q + k_at(d),
                                   .v = acts->a + v_at(d),
                                   .ldo = d->o_width,
                                   .ldq = acts->ldq,
                                   .ldk = acts->ldq,
                                   .ldv = d->a_width,
                                   .k_head = d->dn,
                                   .v_head = d->dn,
                                   .offset = batch->offset,
                                   .B = batch->B,
                                   .H = d->H,
                                   .Hk = d->Hk,
                                   .dn = d->dn,
                                   .dv = d->dv,
                                   .scale = dec->softmax_scale,
                                   .compute = dec->compute};
}

/* q and k are neighbours: one walk over all their heads. */
static void rotate(struct decoder *dec, float *q, int64_t ldq, int sign)
{
    const struct dims *d = &dec->d;
    dec->dev->k->rope_half(dec->dev, q, dec->pos, dec->cos, dec->sin, dec->T, d->H + d->Hk, d->dn,
                           ldq, d->dn, sign);
}

static void norm_heads(struct decoder *dec, struct layer *layer, struct block_acts *acts)
{
    const struct dims *d = &dec->d;
    for (int64_t h = 0; h < d->H + d->Hk; h++) {
        bool is_q = h < d->H;
        float *rstd = is_q ? acts->rstd_q + h * dec->T : acts->rstd_kv + (h - d->H) * dec->T;
        const struct param *w = is_q ? layer->p.q_norm : layer->p.k_norm;
        dec->dev->k->rmsnorm_forward(dec->dev, acts->q + h * d->dn, rstd, acts->a + h * d->dn,
                                     w->data, dec->T, d->dn, acts->ldq, d->a_width,
                                     (float)dec->config.rms_norm_eps);
    }
}

/* dq and dk through the norms of their heads, into their places in d_a. */
static void norm_heads_backward(struct decoder *dec, struct layer *layer, struct block_acts *acts)
{
    const struct dims *d = &dec->d;
    struct scratch *s = &dec->s;
    for (int64_t t = 0; t < dec->T && dec->dev->host_memory; t++)
        dec->dev->ops->zero(dec->dev, s->d_a + t * d->a_width, (size_t)v_at(d) * sizeof *s->d_a);
    for (int64_t h = 0; h < d->H + d->Hk; h++) {
        bool is_q = h < d->H;
        float *rstd = is_q ? acts->rstd_q + h * dec->T : acts->rstd_kv + (h - d->H) * dec->T;
        const struct param *w = is_q ? layer->p.q_norm : layer->p.k_norm;
        dec->dev->k->rmsnorm_backward(dec->dev, s->d_a + h * d->dn, w->grad, s->d_q + h * d->dn,
                                      acts->a + h * d->dn, w->data, rstd, dec->T, d->dn, d->own_q,
                                      d->a_width);
    }
}

void gqa_forward(struct decoder *dec, struct layer *layer, struct block_acts *acts,
                 const struct batch *batch)
{
    const struct dims *d = &dec->d;
    const struct layer_params *p = &layer->p;
    const struct kernels *k = dec->dev->k;
    int64_t T = dec->T;
    attention_norm_in(dec, layer, acts);
    product_forward(dec, acts->a, d->a_width, dec->s.y, d->D, p->q, T, d->a_width, d->D, false);
    if (p->q_bias)
        k->bias_forward(dec->dev, acts->a, p->q_bias->data, T, d->a_width, d->a_width);
    if (d->own_q)
        norm_heads(dec, layer, acts);
    rotate(dec, acts->q, acts->ldq, 1);
    struct attention_args att = attention_of(dec, acts, batch);
    k->attention_forward(dec->dev, &att);
    k->copy(dec->dev, acts->mid, acts->x, T * d->D);
    product_forward(dec, acts->mid, d->D, acts->o, d->o_width, p->o, T, d->D, d->o_width, true);
}

void gqa_backward(struct decoder *dec, struct layer *layer, struct block_acts *acts,
                  const struct batch *batch)
{
    const struct dims *d = &dec->d;
    const struct layer_params *p = &layer->p;
    struct scratch *s = &dec->s;
    int64_t T = dec->T;
    float *d_q = d->own_q ? s->d_q : s->d_a;
    /* mid = x + o_proj · o: dx is dmid as it stands */
    product_backward_weight(dec, p->o, dec->dx, d->D, acts->o, d->o_width, T, d->D, d->o_width);
    product_backward_input(dec, s->d_o, d->o_width, dec->dx, d->D, p->o, T, d->D, d->o_width,
                           false);
    if (d->own_q &&
        !dec->dev->host_memory) /* at once, where each row would be a call to a device */
        dec->dev->ops->zero(dec->dev, s->d_a, (size_t)(T * d->a_width) * sizeof *s->d_a);
    struct attention_args att = attention_of(dec, acts, batch);
    struct attention_grads grads = {s->d_o, d_q, d_q + k_at(d), NULL, s->d_a + v_at(d)};
    dec->dev->k->attention_backward(dec->dev, &att, &grads);
    rotate(dec, d_q, acts->ldq, -1);
    if (d->own_q)
        norm_heads_backward(dec, layer, acts);
    /* a = [q | k | v] · norm(x) + b */
    if (p->q_bias && p->q_bias->grad)
        dec->dev->k->bias_backward(dec->dev, p->q_bias->grad, s->d_a, T, d->a_width, d->a_width);
    attention_norm_in(dec, layer, acts);
    product_backward_weight(dec, p->q, s->d_a, d->a_width, s->y, d->D, T, d->a_width, d->D);
    product_backward_input(dec, s->dy, d->D, s->d_a, d->a_width, p->q, T, d->a_width, d->D, false);
    dec->dev->k->rmsnorm_backward(dec->dev, dec->dx, p->in_norm->grad, s->dy, acts->x,
                                  p->in_norm->data, acts->rstd_in, T, d->D, d->D, d->D);
}
