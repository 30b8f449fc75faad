/* The mixture: router, shared experts, routed experts over slots sorted by expert, forward and
 * backward.
 *
 *     y = norm(mid)     logits = W_r · y (float32 always)     route: slots (expert, token, weight)
 *     gate_up[s] = W_e · y[token[s]]     E[s] = down_e · swiglu(gate_up[s])
 *     out[t] = mid[t] + shared(y[t]) + Σ_{s of t} weight[s] · E[s]
 * No token is dropped but by the router's own capacity; an expert without slots costs nothing. In
 * the backward the outputs E are not needed: with dh = downᵀ · dout[token], the gradient of a
 * weight is ⟨dout, E⟩ = ⟨dh, h⟩.
 */
#include <assert.h>
#include <string.h>

#include "model/decoder_parts.h"

/* The route in the kernels' types, on the device. */
static void make_lists(struct decoder *dec, struct layer *layer)
{
    const struct route *r = &layer->route;
    struct slot_lists *l = &layer->lists;
    struct device *dev = dec->dev;
    for (int e = 0; e <= r->E; e++)
        l->offset[e] = (int32_t)r->expert_offsets[e];
    int32_t *first = dev->host_memory ? l->first : dec->host_i32;
    for (int64_t t = 0; t <= r->T; t++)
        first[t] = (int32_t)r->token_offsets[t];
    if (dev->host_memory) {
        l->position = r->position;
        l->token = r->token;
        l->weight = r->weight;
        return;
    }
    dev->ops->write(dev, l->first, first, (size_t)(r->T + 1) * sizeof *first);
    dev->ops->write(dev, l->position, r->position, (size_t)r->n * sizeof *r->position);
    dev->ops->write(dev, l->token, r->token, (size_t)r->n * sizeof *r->token);
    dev->ops->write(dev, l->weight, r->weight, (size_t)r->n * sizeof *r->weight);
}

struct route *whole_route(struct decoder *dec, struct layer *layer)
{
    if (layer->is_far && !layer->fetched)
        far_route_fetch(dec->dev, &layer->route, &layer->far);
    layer->fetched = true;
    return &layer->route;
}

/* The clock where routing begins: what a device still does for others is not routing's. */
static double routing_begins(struct decoder *dec)
{
    if (!dec->dev->host_memory)
        device_sync(dec->dev);
    return clock_s();
}

static enum route_mode route_mode_of(const struct decoder *dec)
{
    if (dec->looks_ahead)
        return ROUTE_EVAL_LOOKAHEAD;
    return dec->mode == DECODER_TRAIN ? ROUTE_TRAIN : ROUTE_EVAL;
}

static int pick_far(struct decoder *dec, struct layer *layer, const struct route_batch *rb,
                    struct err *err)
{
    int rc = far_route_pick(dec->dev, layer->router, &layer->route, &layer->far, rb, false, err);
    if (!rc)
        memcpy(layer->lists.offset, far_offset(&layer->far, dec->T),
               (size_t)(dec->d.E + 1) * sizeof *layer->lists.offset);
    return rc;
}

static int pick(struct decoder *dec, struct layer *layer, const struct batch *batch,
                struct err *err)
{
    const struct dims *d = &dec->d;
    int64_t T = dec->T;
    struct route_batch rb = {.mode = route_mode_of(dec),
                             .step = (uint64_t)batch->step,
                             .first_token = batch->first_token,
                             .valid = batch->padding ? dec->host_valid : NULL,
                             .seq_offsets = dec->host_seq,
                             .n_seqs = batch->B};
    product_forward(dec, layer->logits, d->E, dec->s.y, d->D, layer->p.router, T, d->E, d->D,
                    false);
    route_bind(&layer->route, router_config(layer->router), T, layer->route_memory);
    layer->is_far = far_route_can(dec->dev, layer->router, rb.mode);
    layer->fetched = false;
    if (layer->is_far)
        return pick_far(dec, layer, &rb, err);
    int rc =
        router_pick(layer->router, &layer->route, to_host(dec, layer->logits, T * d->E), &rb, err);
    if (rc)
        return rc;
    make_lists(dec, layer);
    return 0;
}

static void feed_norms(struct decoder *dec, struct layer *layer)
{
    if (router_wants(layer->router, route_mode_of(dec)) != PERFORMANCE_NORM)
        return;
    dec->dev->k->row_norm(dec->dev, dec->s.slot_scalar, dec->s.slot_out, layer->route.n, dec->d.D);
    router_feed_norms(layer->router, &layer->route,
                      to_host(dec, dec->s.slot_scalar, layer->route.n));
}

static void experts_forward(struct decoder *dec, struct layer *layer, float *gate_up, float *out)
{
    const struct dims *d = &dec->d;
    const struct kernels *k = dec->dev->k;
    struct scratch *s = &dec->s;
    experts_product_forward(dec, layer, EXPERTS_UP, gate_up, s->y, layer->lists.token);
    if (!out)
        return;
    k->swiglu_forward(dec->dev, s->slot_h, gate_up, layer->route.n, d->F);
    experts_product_forward(dec, layer, EXPERTS_DOWN, s->slot_out, s->slot_h, NULL);
    double begun_s = clock_s();
    k->combine(dec->dev, out, s->slot_out, layer->lists.weight, layer->lists.first,
               layer->lists.position, dec->T, d->D);
    feed_norms(dec, layer);
    dec->times.routing_s += clock_s() - begun_s;
}

static void norm_post(struct decoder *dec, struct layer *layer, struct block_acts *acts)
{
    int64_t D = dec->d.D;
    dec->dev->k->rmsnorm_forward(dec->dev, dec->s.y, acts->rstd_post, acts->mid,
                                 layer->p.post_norm->data, dec->T, D, D, D,
                                 (float)dec->config.rms_norm_eps);
}

static struct mlp shared_of(const struct decoder *dec, const struct layer *layer)
{
    return (struct mlp){layer->p.shared_gate_up, layer->p.shared_down, dec->d.Fs};
}

int moe_forward(struct decoder *dec, struct layer *layer, struct block_acts *acts, float *out,
                const struct batch *batch, struct err *err)
{
    norm_post(dec, layer, acts);
    if (out) { /* a forward that is made again keeps the first one's picks */
        double begun_s = routing_begins(dec);
        int rc = pick(dec, layer, batch, err);
        dec->times.routing_s += clock_s() - begun_s;
        if (rc)
            return rc;
        if (dec->mode == DECODER_GRAD && layer->route.n > dec->cap_kept_slots)
            return err_set(
                err, MOE2_ELIMIT, "layer %d: %lld picks, more than a gradient has room for, %lld",
                layer->p.router->layer, (long long)layer->route.n, (long long)dec->cap_kept_slots);
        if (layer->route.n > dec->cap_slots) {
            assert(dec->mode != DECODER_TRAIN);
            if ((rc = decoder_reserve_slots(dec, layer->route.n, err)))
                return rc;
            norm_post(dec, layer, acts);
        }
        dec->dev->k->copy(dec->dev, out, acts->mid, dec->T * dec->d.D);
    }
    if (dec->d.Fs) {
        struct mlp shared = shared_of(dec, layer);
        mlp_forward(dec, &shared, acts->gate_up, dec->s.y, out);
    }
    experts_forward(dec, layer,
                    dec->mode == DECODER_EVAL ? dec->s.slot_gate_up : acts->slot_gate_up, out);
    return 0;
}

/* The products leave experts without slots alone. */
static void zero_idle(struct decoder *dec, struct layer *layer)
{
    const struct dims *d = &dec->d;
    for (int64_t e = 0; e < d->E; e++) {
        if (layer->lists.offset[e] < layer->lists.offset[e + 1])
            continue;
        dec->dev->ops->zero(dec->dev, layer->g_gate_up[e],
                            (size_t)(2 * d->F * d->D) * sizeof(float));
        dec->dev->ops->zero(dec->dev, layer->g_down[e], (size_t)(d->F * d->D) * sizeof(float));
    }
}

/* out[t] += weight[s] · down · swiglu(gate_up[s]),   gate_up[s] = W · y[token[s]] */
static void experts_backward(struct decoder *dec, struct layer *layer, struct block_acts *acts)
{
    const struct dims *d = &dec->d;
    const struct kernels *k = dec->dev->k;
    struct scratch *s = &dec->s;
    const int32_t *token = layer->lists.token;
    experts_product_backward_input(dec, layer, EXPERTS_DOWN, s->slot_dh, dec->dx, token);
    k->swiglu_backward(dec->dev, s->slot_d_gate_up, s->slot_scalar, s->slot_h, s->slot_dh,
                       acts->slot_gate_up, layer->lists.weight, layer->route.n, d->F);
    if (layer->g_down && dec->fresh)
        zero_idle(dec, layer);
    experts_product_backward_weight(dec, layer, EXPERTS_DOWN, dec->dx, token, s->slot_h, NULL);
    experts_product_backward_weight(dec, layer, EXPERTS_UP, s->slot_d_gate_up, NULL, s->y, token);
    experts_product_backward_input(dec, layer, EXPERTS_UP, s->slot_out, s->slot_d_gate_up, NULL);
}

/* The gradient of the picks' weights, in slot_scalar, into d_logits by the router itself. */
static void backward_near(struct decoder *dec, struct layer *layer, float scale)
{
    struct device *dev = dec->dev;
    struct scratch *s = &dec->s;
    size_t n_bytes = (size_t)(dec->T * dec->d.E) * sizeof(float);
    const float *d_weight = to_host(dec, s->slot_scalar, layer->route.n);
    if (dev->host_memory) {
        router_backward(layer->router, s->d_logits, d_weight, &layer->route, scale);
        return;
    }
    float *host = dec->host_f32 + dec->cap_slots;
    dev->ops->read(dev, host, s->d_logits, n_bytes);
    router_backward(layer->router, host, d_weight, &layer->route, scale);
    dev->ops->write(dev, s->d_logits, host, n_bytes);
}

/* Whether the router is to be told the weights' gradient. */
static bool learns_from_loss(const struct decoder *dec, const struct layer *layer)
{
    return dec->mode == DECODER_TRAIN &&
           router_wants(layer->router, ROUTE_TRAIN) == PERFORMANCE_LOSS;
}

/* The same by the device, for which nobody waits but a router that learns from the loss. */
static void backward_far(struct decoder *dec, struct layer *layer, float scale)
{
    struct device *dev = dec->dev;
    struct route *route = &layer->route;
    far_route_backward(dev, dec->s.d_logits, dec->s.slot_scalar, layer->router, dec->T,
                       &layer->far);
    if (!learns_from_loss(dec, layer))
        return;
    if (!layer->fetched)
        dev->ops->read(dev, route->weight, layer->far.slot_weight,
                       (size_t)route->n * sizeof *route->weight);
    router_feed_loss(layer->router, route, to_host(dec, dec->s.slot_scalar, route->n), scale);
}

/* logits = W_r · y; their gradient comes through the weights of the picks and from the auxiliary
 * losses. Adds into dy. */
static void router_layer_backward(struct decoder *dec, struct layer *layer, float scale,
                                  bool dy_is_written)
{
    const struct dims *d = &dec->d;
    struct device *dev = dec->dev;
    struct scratch *s = &dec->s;
    int64_t n = dec->T * d->E;
    bool waits = !layer->is_far || learns_from_loss(dec, layer);
    double begun_s = waits ? routing_begins(dec) : clock_s();
    if (layer->d_aux && dec->mode == DECODER_TRAIN) /* made in training alone */
        dev->k->copy(dev, s->d_logits, layer->d_aux, n);
    else
        dev->ops->zero(dev, s->d_logits, (size_t)n * sizeof *s->d_logits);
    (layer->is_far ? backward_far : backward_near)(dec, layer, scale);
    dec->times.routing_s += clock_s() - begun_s;
    product_backward_weight(dec, layer->p.router, s->d_logits, d->E, s->y, d->D, dec->T, d->E,
                            d->D);
    product_backward_input(dec, s->dy, d->D, s->d_logits, d->E, layer->p.router, dec->T, d->E, d->D,
                           dy_is_written);
}

void moe_backward(struct decoder *dec, struct layer *layer, struct block_acts *acts, float scale)
{
    const struct dims *d = &dec->d;
    const struct kernels *k = dec->dev->k;
    struct scratch *s = &dec->s;
    norm_post(dec, layer, acts);
    experts_backward(dec, layer, acts);
    if (d->Fs) {
        struct mlp shared = shared_of(dec, layer);
        mlp_backward(dec, &shared, acts->gate_up, s->y, dec->dx, s->dy);
    }
    router_layer_backward(dec, layer, scale, d->Fs > 0);
    double begun_s = clock_s();
    k->combine(dec->dev, s->dy, s->slot_out, NULL, layer->lists.first, layer->lists.position,
               dec->T, d->D);
    dec->times.routing_s += clock_s() - begun_s;
    /* out = mid + MoE(norm(mid)) */
    const struct param *w = layer->p.post_norm;
    k->rmsnorm_backward(dec->dev, dec->dx, w->grad, s->dy, acts->mid, w->data, acts->rstd_post,
                        dec->T, d->D, d->D, d->D);
}
