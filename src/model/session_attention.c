/* The attention half of a layer in a session.
 *
 * Grouped-query: q, k and v in one product, rotated by halves; k and v are kept.
 * MLA (numerics: DeepSeek-V2, arXiv 2405.04434, section 2.1.2): kept are the normed latent c and the rotated key k_r. With few rows
 * the products with kv_b move over to the query's side,
 *     s = (W_ukᵀ q_n) · c + q_r · k_r      o = W_uv (Σ p c)
 * so that attention reads R + dr numbers a position for all heads; with many rows k and v of all positions are made for the time of
 * the layer, which costs less than heads R + dr wide.
 */
#include "model/session_parts.h"

enum { PLAIN_ROWS = 48 }; /* from so many rows on k and v are made */

/* Norm of every head: rows of d numbers, heads side by side. By tokens or by heads, whichever are fewer. */
static void norm_heads(struct session *s, float *x, const float *w, int64_t T, int64_t heads,
                       int64_t d, int64_t ld)
{
    bool by_token = T < heads;
    int64_t calls = by_token ? T : heads, rows = by_token ? heads : T;
    int64_t step = by_token ? ld : d, pitch = by_token ? d : ld;
    for (int64_t i = 0; i < calls; i++)
        s->dev->k->rmsnorm_forward(s->dev, x + i * step, s->b.rstd, x + i * step, w, rows, d, pitch,
                                   pitch, (float)s->config.rms_norm_eps);
}

static void gqa(struct session *s, struct session_layer *l, int64_t T)
{
    const struct session_dims *d = &s->d;
    const struct kernels *k = s->dev->k;
    struct session_buffers *b = &s->b;
    int64_t nq = d->H * d->dn, nk = d->Hk * d->dn, nv = d->Hk * d->dv, ld = nq + nk + nv;
    float *keys = b->qkv + nq, *kept = l->kept + s->length * d->kept;
    session_products(s, b->qkv, ld, b->y, d->D, &l->qkv, T, l->qkv_bias);
    if (l->q_norm) {
        norm_heads(s, b->qkv, l->q_norm, T, d->H, d->dn, ld);
        norm_heads(s, keys, l->k_norm, T, d->Hk, d->dn, ld);
    }
    k->rope_half(s->dev, b->qkv, b->now.pos, b->cos, b->sin, T, d->H + d->Hk, d->rope, ld, d->dn,
                 1);
    k->copy_rows(s->dev, kept, d->kept, keys, ld, T, nk + nv);
    struct cached_attention_args a = {.o = b->o,
                                      .q = b->qkv,
                                      .k = l->kept,
                                      .v = l->kept + nk,
                                      .ldo = d->H * d->dv,
                                      .ldq = ld,
                                      .ldk = d->kept,
                                      .ldv = d->kept,
                                      .v_head = d->dv,
                                      .T = T,
                                      .n = s->length + T,
                                      .H = d->H,
                                      .Hk = d->Hk,
                                      .d = d->dn,
                                      .dv = d->dv,
                                      .scale = s->scale,
                                      .compute = s->compute};
    k->cached_attention(s->dev, &a);
}

/* Each head's own weight on its rows t·H + h: y rows of ldy, x rows of ldx. */
static void by_head(struct session *s, float *y, int64_t ldy, const float *x, int64_t ldx,
                    const struct packed_weight *w, int64_t T)
{
    int64_t H = s->d.H;
    for (int64_t h = 0; h <= H; h++)
        s->b.host_offset[h] = (int32_t)(h * T);
    struct packed_args a = {.y = y, .x = x, .w = w, .offset = s->b.host_offset, .E = H};
    a.ldy = ldy;
    a.ldx = ldx;
    a.x_row = a.y_row = s->b.now.head_row;
    s->dev->k->packed_forward(s->dev, &a);
}

static void absorbed(struct session *s, struct session_layer *l, int64_t T)
{
    const struct session_dims *d = &s->d;
    struct session_buffers *b = &s->b;
    int64_t wide = d->R + d->dr, head = d->dn + d->dr;
    by_head(s, b->absorbed, wide, b->q, head, l->k_up, T);
    s->dev->k->copy_rows(s->dev, b->absorbed + d->R, wide, b->q + d->dn, head, T * d->H, d->dr);
    struct cached_attention_args a = {.o = b->mixed,
                                      .q = b->absorbed,
                                      .k = l->kept,
                                      .v = l->kept,
                                      .ldo = d->H * d->R,
                                      .ldq = d->H * wide,
                                      .ldk = d->kept,
                                      .ldv = d->kept,
                                      .T = T,
                                      .n = s->length + T,
                                      .H = d->H,
                                      .Hk = 1,
                                      .d = wide,
                                      .dv = d->R,
                                      .scale = s->scale,
                                      .compute = s->compute};
    s->dev->k->cached_attention(s->dev, &a);
    by_head(s, b->o, d->dv, b->mixed, d->R, l->v_up, T);
}

static void made_anew(struct session *s, struct session_layer *l, int64_t T)
{
    const struct session_dims *d = &s->d;
    struct session_buffers *b = &s->b;
    int64_t n = s->length + T, width = d->H * (d->dn + d->dv);
    int32_t offset[2] = {0, (int32_t)T};
    session_product(s, b->kv, width, l->kept, d->kept, &l->kv_b, n, NULL, false);
    struct attention_args a = {.o = b->o,
                               .lse = b->lse,
                               .q = b->q,
                               .k = b->kv,
                               .kr = l->kept + d->R,
                               .v = b->kv + d->dn,
                               .ldo = d->H * d->dv,
                               .ldq = d->H * (d->dn + d->dr),
                               .ldk = width,
                               .ldkr = d->kept,
                               .ldv = width,
                               .k_head = d->dn + d->dv,
                               .v_head = d->dn + d->dv,
                               .offset = offset,
                               .past = s->length,
                               .B = 1,
                               .H = d->H,
                               .Hk = d->H,
                               .dn = d->dn,
                               .dr = d->dr,
                               .dv = d->dv,
                               .scale = s->scale,
                               .compute = s->compute};
    s->dev->k->attention_forward(s->dev, &a);
}

/* b.q [T, H, dn+dr] rotated, and the new rows of what is kept. */
static void mla_inputs(struct session *s, struct session_layer *l, int64_t T)
{
    const struct session_dims *d = &s->d;
    const struct kernels *k = s->dev->k;
    struct session_buffers *b = &s->b;
    int64_t nq = d->Rq ? d->Rq : d->H * (d->dn + d->dr), ld = nq + d->R + d->dr;
    int64_t head = d->dn + d->dr;
    float *kept = l->kept + s->length * d->kept;
    session_products(s, b->qkv, ld, b->y, d->D, &l->qkv, T, NULL);
    if (d->Rq) {
        k->rmsnorm_forward(s->dev, b->o, b->rstd, b->qkv, l->q_norm, T, d->Rq, d->Rq, ld,
                           SESSION_LATENT_EPS);
        session_product(s, b->q, d->H * head, b->o, d->Rq, &l->q_b, T, NULL, false);
    } else {
        k->copy_rows(s->dev, b->q, nq, b->qkv, ld, T, nq);
    }
    k->rmsnorm_forward(s->dev, kept, b->rstd, b->qkv + nq, l->k_norm, T, d->R, d->kept, ld,
                       SESSION_LATENT_EPS);
    k->copy_rows(s->dev, kept + d->R, d->kept, b->qkv + nq + d->R, ld, T, d->dr);
    k->rope(s->dev, b->q + d->dn, b->now.pos, b->cos, b->sin, T, d->H, d->dr, d->H * head, head, 1);
    k->rope(s->dev, kept + d->R, b->now.pos, b->cos, b->sin, T, 1, d->dr, d->kept, d->dr, 1);
}

void session_attention(struct session *s, struct session_layer *l, int64_t T)
{
    const struct session_dims *d = &s->d;
    struct session_buffers *b = &s->b;
    s->dev->k->rmsnorm_forward(s->dev, b->y, b->rstd, b->x, l->in_norm, T, d->D, d->D, d->D,
                               (float)s->config.rms_norm_eps);
    if (!d->R) {
        gqa(s, l, T);
    } else {
        mla_inputs(s, l, T);
        bool fits = s->length + T <= b->kv_rows;
        if (fits && (s->plain_latent || T >= PLAIN_ROWS))
            made_anew(s, l, T);
        else
            absorbed(s, l, T);
    }
    session_product(s, b->x, d->D, b->o, d->H * d->dv, &l->o, T, NULL, true);
}
