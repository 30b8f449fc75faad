/* The feed-forward half of a layer in a session: a dense MLP, or a router and its experts.
 *
 * Slots are sorted by expert, as route gives them. A shared expert of the routed ones' shape and form stands behind them as one more
 * expert that every token picks with weight 1, so that one token makes two products, not four.
 */
#include <string.h>

#include "model/session_parts.h"

enum { FAR_ROWS = 32 }; /* from which a device's launches cost less than the host's loops */

static void norm(struct session *s, struct session_layer *l, int64_t T)
{
    int64_t D = s->d.D;
    s->dev->k->rmsnorm_forward(s->dev, s->b.y, s->b.rstd, s->b.x, l->post_norm, T, D, D, D,
                               (float)s->config.rms_norm_eps);
}

static void dense(struct session *s, const struct packed_weight *up,
                  const struct packed_weight *down, int64_t T)
{
    session_product(s, s->b.h, down->K, s->b.y, s->d.D, up, T, NULL, false);
    session_product(s, s->b.x, s->d.D, s->b.h, down->K, down, T, NULL, true);
}

/* The route in the kernels' types, with the shared expert's slots behind the others. */
static void make_lists(struct session *s, const struct route *r, bool shared)
{
    struct session_slots to = session_slots_at(s, s->b.host_slots, r->T);
    int32_t *offset = s->b.host_offset;
    int64_t n = r->n, at = 0;
    for (int e = 0; e <= r->E; e++)
        offset[e] = (int32_t)r->expert_offsets[e];
    offset[r->E + 1] = (int32_t)(n + r->T);
    memcpy(to.x_row, r->token, (size_t)n * sizeof *to.x_row);
    memcpy(to.weight, r->weight, (size_t)n * sizeof *to.weight);
    for (int64_t t = 0; t < r->T; t++) {
        to.first[t] = (int32_t)at;
        for (int64_t i = r->token_offsets[t]; i < r->token_offsets[t + 1]; i++)
            to.slot[at++] = r->position[i];
        if (shared) {
            to.x_row[n + t] = (int32_t)t;
            to.weight[n + t] = 1;
            to.slot[at++] = (int32_t)(n + t);
        }
    }
    to.first[r->T] = (int32_t)at;
    session_send(s, s->b.slots, s->b.host_slots, to.n_bytes);
}

/* The same where the device makes it all. */
static int pick_far(struct session *s, struct session_layer *l, struct route *route,
                    const struct route_batch *batch, bool shared, struct err *err)
{
    struct session_slots to = session_slots_at(s, s->b.slots, route->T);
    struct far_route *f = &s->b.far;
    f->token = to.x_row;
    f->slot_weight = to.weight;
    f->first = to.first;
    f->slot = to.slot;
    int rc = far_route_pick(s->dev, l->picks, route, f, batch, shared, err);
    if (!rc)
        memcpy(s->b.host_offset, far_offset(f, route->T),
               (size_t)(route->E + 1 + shared) * sizeof(int32_t));
    return rc;
}

/* Who works for T rows of b.y, into the lists. */
static int pick(struct session *s, struct session_layer *l, int64_t T, bool shared, struct err *err)
{
    struct session_buffers *b = &s->b;
    struct route route;
    struct route_batch batch = {.mode = ROUTE_EVAL, .first_token = s->length, .n_seqs = 1};
    batch.seq_offsets = (int64_t[]){0, T};
    session_product(s, b->logits, s->d.E, b->y, s->d.D, &l->router, T, NULL, false);
    route_bind(&route, router_config(l->picks), T, b->route_memory);
    if (T >= FAR_ROWS && far_route_can(s->dev, l->picks, batch.mode))
        return pick_far(s, l, &route, &batch, shared, err);
    if (b->host_logits != b->logits)
        s->dev->ops->read(s->dev, b->host_logits, b->logits,
                          (size_t)(T * s->d.E) * sizeof *b->logits);
    int rc = router_pick(l->picks, &route, b->host_logits, &batch, err);
    if (!rc)
        make_lists(s, &route, shared);
    return rc;
}

static int experts(struct session *s, struct session_layer *l, int64_t T, struct err *err)
{
    const struct session_dims *d = &s->d;
    const struct kernels *k = s->dev->k;
    struct session_buffers *b = &s->b;
    bool shared = d->Fs && !l->shared_up.N;
    int rc = pick(s, l, T, shared, err);
    if (rc)
        return rc;
    struct session_slots slots = session_slots_at(s, b->slots, T);
    struct packed_args up = {.y = b->slot_h, .x = b->y, .w = l->expert_up};
    up.offset = b->host_offset;
    up.x_row = slots.x_row;
    up.E = d->E + shared;
    up.ldy = d->F;
    up.ldx = d->D;
    k->packed_forward(s->dev, &up);
    struct packed_args down = {.y = b->slot_out, .x = b->slot_h, .w = l->expert_down};
    down.offset = b->host_offset;
    down.E = d->E + shared;
    down.ldy = d->D;
    down.ldx = d->F;
    k->packed_forward(s->dev, &down);
    k->combine(s->dev, b->x, b->slot_out, slots.weight, slots.first, slots.slot, T, d->D);
    return 0;
}

int session_ffn(struct session *s, struct session_layer *l, int64_t T, struct err *err)
{
    norm(s, l, T);
    if (!l->router.N) {
        dense(s, &l->gate_up, &l->down, T);
        return 0;
    }
    int rc = experts(s, l, T, err);
    if (!rc && l->shared_up.N)
        dense(s, &l->shared_up, &l->shared_down, T);
    return rc;
}
