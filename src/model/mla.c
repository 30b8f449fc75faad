/* Multi-head latent attention, forward and backward.
 *
 * With y = norm(x), one product of the joined weights makes
 *     a = [q or q_a | latent c | shared rotary key k_r]
 *     q = q_b · norm(q_a)   (only with q_lora_rank)      [k_n | v] = kv_b · norm(c)
 *     q_r, k_r rotated      o = attention(q, [k_n, k_r], v)      mid = x + o_proj · o
 * Source: DeepSeek-V2 (arXiv 2405.04434), section 2.1; transformers' DeepseekV3Attention.
 */
#include "model/decoder_parts.h"

static struct attention_args attention_of(struct decoder *dec, struct block_acts *acts,
                                          const struct batch *batch)
{
    const struct dims *d = &dec->d;
    return (struct attention_args){.o = acts->o,
                                   .lse = acts->lse,
                                   .q = acts->q,
                                   .k = acts->kv,
                                   .kr = acts->a + d->a_latent + d->R,
                                   .v = acts->kv + d->dn,
                                   .ldo = d->o_width,
                                   .ldq = acts->ldq,
                                   .ldk = d->kv_width,
                                   .ldkr = d->a_width,
                                   .ldv = d->kv_width,
                                   .k_head = d->dn + d->dv,
                                   .v_head = d->dn + d->dv,
                                   .offset = batch->offset,
                                   .B = batch->B,
                                   .H = d->H,
                                   .Hk = d->H,
                                   .dn = d->dn,
                                   .dr = d->dr,
                                   .dv = d->dv,
                                   .scale = dec->softmax_scale,
                                   .compute = dec->compute};
}

/* Rotates the rotary part of q and of a. */
static void rotate(struct decoder *dec, float *q, int64_t ldq, float *a, int sign)
{
    const struct dims *d = &dec->d;
    const struct kernels *k = dec->dev->k;
    k->rope(dec->dev, q + d->dn, dec->pos, dec->cos, dec->sin, dec->T, d->H, d->dr, ldq,
            d->dn + d->dr, sign);
    k->rope(dec->dev, a + d->a_latent + d->R, dec->pos, dec->cos, dec->sin, dec->T, 1, d->dr,
            d->a_width, d->dr, sign);
}

static void norm_latent(struct decoder *dec, struct layer *layer, struct block_acts *acts)
{
    const struct dims *d = &dec->d;
    dec->dev->k->rmsnorm_forward(dec->dev, dec->s.latent, acts->rstd_kv, acts->a + d->a_latent,
                                 layer->p.kv_norm->data, dec->T, d->R, d->R, d->a_width,
                                 LATENT_EPS);
}

static void norm_q_latent(struct decoder *dec, struct layer *layer, struct block_acts *acts)
{
    const struct dims *d = &dec->d;
    dec->dev->k->rmsnorm_forward(dec->dev, dec->s.q_latent, acts->rstd_q, acts->a,
                                 layer->p.q_norm->data, dec->T, d->Rq, d->Rq, d->a_width,
                                 LATENT_EPS);
}

void attention_norm_in(struct decoder *dec, struct layer *layer, struct block_acts *acts)
{
    int64_t D = dec->d.D;
    dec->dev->k->rmsnorm_forward(dec->dev, dec->s.y, acts->rstd_in, acts->x, layer->p.in_norm->data,
                                 dec->T, D, D, D, (float)dec->config.rms_norm_eps);
}

void mla_forward(struct decoder *dec, struct layer *layer, struct block_acts *acts,
                 const struct batch *batch)
{
    const struct dims *d = &dec->d;
    const struct layer_params *p = &layer->p;
    const struct kernels *k = dec->dev->k;
    int64_t T = dec->T;
    attention_norm_in(dec, layer, acts);
    product_forward(dec, acts->a, d->a_width, dec->s.y, d->D, d->Rq ? p->q_a : p->q, T, d->a_width,
                    d->D, false);
    if (d->Rq) {
        norm_q_latent(dec, layer, acts);
        product_forward(dec, acts->q, d->q_width, dec->s.q_latent, d->Rq, p->q_b, T, d->q_width,
                        d->Rq, false);
    }
    norm_latent(dec, layer, acts);
    product_forward(dec, acts->kv, d->kv_width, dec->s.latent, d->R, p->kv_b, T, d->kv_width, d->R,
                    false);
    rotate(dec, acts->q, acts->ldq, acts->a, 1);
    struct attention_args att = attention_of(dec, acts, batch);
    k->attention_forward(dec->dev, &att);
    k->copy(dec->dev, acts->mid, acts->x, T * d->D);
    product_forward(dec, acts->mid, d->D, acts->o, d->o_width, p->o, T, d->D, d->o_width, true);
}

/* Zeroes columns 0 … n−1 of T rows; where a row is a call to a device of its own, zero_gradients did. */
static void zero_columns(struct decoder *dec, float *x, int64_t n, int64_t ld)
{
    for (int64_t t = 0; t < dec->T && dec->dev->host_memory; t++)
        dec->dev->ops->zero(dec->dev, x + t * ld, (size_t)n * sizeof *x);
}

/* [k_n | v] = kv_b · norm(c)      dkv_b += dkvᵀ · norm(c)      dc through the norm, into its place
 * in d_a */
static void latent_backward(struct decoder *dec, struct layer *layer, struct block_acts *acts)
{
    const struct dims *d = &dec->d;
    const struct layer_params *p = &layer->p;
    struct scratch *s = &dec->s;
    norm_latent(dec, layer, acts);
    product_backward_weight(dec, p->kv_b, s->d_kv, d->kv_width, s->latent, d->R, dec->T,
                            d->kv_width, d->R);
    product_backward_input(dec, s->d_latent, d->R, s->d_kv, d->kv_width, p->kv_b, dec->T,
                           d->kv_width, d->R, false);
    zero_columns(dec, s->d_a + d->a_latent, d->R, d->a_width);
    dec->dev->k->rmsnorm_backward(dec->dev, s->d_a + d->a_latent, p->kv_norm->grad, s->d_latent,
                                  acts->a + d->a_latent, p->kv_norm->data, acts->rstd_kv, dec->T,
                                  d->R, d->R, d->a_width);
}

/* q = q_b · norm(q_a)      dq_b += dqᵀ · norm(q_a)      dq_a through the norm, into its place in
 * d_a */
static void q_latent_backward(struct decoder *dec, struct layer *layer, struct block_acts *acts)
{
    const struct dims *d = &dec->d;
    const struct layer_params *p = &layer->p;
    struct scratch *s = &dec->s;
    norm_q_latent(dec, layer, acts);
    product_backward_weight(dec, p->q_b, s->d_q, d->q_width, s->q_latent, d->Rq, dec->T, d->q_width,
                            d->Rq);
    product_backward_input(dec, s->d_q_latent, d->Rq, s->d_q, d->q_width, p->q_b, dec->T,
                           d->q_width, d->Rq, false);
    zero_columns(dec, s->d_a, d->Rq, d->a_width);
    dec->dev->k->rmsnorm_backward(dec->dev, s->d_a, p->q_norm->grad, s->d_q_latent, acts->a,
                                  p->q_norm->data, acts->rstd_q, dec->T, d->Rq, d->Rq, d->a_width);
}

/* Before the first of d_a's columns is written. */
static void zero_gradients(struct decoder *dec)
{
    if (!dec->dev->host_memory)
        dec->dev->ops->zero(dec->dev, dec->s.d_a,
                            (size_t)(dec->T * dec->d.a_width) * sizeof *dec->s.d_a);
}

void mla_backward(struct decoder *dec, struct layer *layer, struct block_acts *acts,
                  const struct batch *batch)
{
    const struct dims *d = &dec->d;
    const struct layer_params *p = &layer->p;
    struct scratch *s = &dec->s;
    int64_t T = dec->T;
    float *d_q = d->Rq ? s->d_q : s->d_a;
    /* mid = x + o_proj · o: dx is dmid as it stands, and what comes back through the norm is added
     * to it below */
    product_backward_weight(dec, p->o, dec->dx, d->D, acts->o, d->o_width, T, d->D, d->o_width);
    product_backward_input(dec, s->d_o, d->o_width, dec->dx, d->D, p->o, T, d->D, d->o_width,
                           false);
    /* o = attention(q, [k_n, k_r], v) */
    zero_gradients(dec);
    struct attention_args att = attention_of(dec, acts, batch);
    struct attention_grads grads = {s->d_o, d_q, s->d_kv, s->d_a + d->a_latent + d->R,
                                    s->d_kv + d->dn};
    dec->dev->k->attention_backward(dec->dev, &att, &grads);
    rotate(dec, d_q, acts->ldq, s->d_a, -1);
    latent_backward(dec, layer, acts);
    if (d->Rq)
        q_latent_backward(dec, layer, acts);
    /* a = [q | kv_a] · norm(x) */
    const struct param *first = d->Rq ? p->q_a : p->q;
    attention_norm_in(dec, layer, acts);
    product_backward_weight(dec, first, s->d_a, d->a_width, s->y, d->D, T, d->a_width, d->D);
    product_backward_input(dec, s->dy, d->D, s->d_a, d->a_width, first, T, d->a_width, d->D, false);
    dec->dev->k->rmsnorm_backward(dec->dev, dec->dx, p->in_norm->grad, s->dy, acts->x,
                                  p->in_norm->data, acts->rstd_in, T, d->D, d->D, d->D);
}
