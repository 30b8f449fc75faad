/* The memory of a session: one block of the device's, and what the host needs of its own.
 *
 * Small lists (ids, positions, a layer's route) are made on the host, each kind side by side in one stretch, so that one copy brings them
 * to a device whose memory is its own. Where the device's memory is the host's, both stretches are the same.
 */
#include <stdlib.h>

#include "model/rope.h"
#include "model/session_parts.h"

enum {
    KV_BYTES = 256 << 20,  /* at most, for MLA's keys and values made anew */
    HEAD_BYTES = 64 << 20, /* of logits on the device, before they are read */
    ALIGN = 64
};

struct plan {
    char *base;
    size_t used;
};

static void *take(struct plan *p, int64_t n, size_t size)
{
    void *at = p->base ? p->base + p->used : NULL;
    p->used += ((size_t)n * size + ALIGN - 1) / ALIGN * ALIGN;
    return at;
}

static float *take_f32(struct plan *p, int64_t n)
{
    return take(p, n, sizeof(float));
}

static int64_t largest(int64_t a, int64_t b)
{
    return a > b ? a : b;
}

static int64_t smallest(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

struct session_rows session_rows_at(const struct session *s, char *base, int64_t T)
{
    struct plan p = {base, 0};
    struct session_rows r;
    r.ids = take(&p, T, sizeof(int32_t));
    r.pos = take(&p, T, sizeof(int32_t));
    r.head_row = take(&p, s->d.R ? T * s->d.H : 0, sizeof(int32_t));
    r.n_bytes = p.used;
    return r;
}

struct session_slots session_slots_at(const struct session *s, char *base, int64_t T)
{
    struct plan p = {base, 0};
    struct session_slots r;
    int64_t S = T * (s->d.K + 1);
    r.x_row = take(&p, S, sizeof(int32_t));
    r.weight = take_f32(&p, S);
    r.first = take(&p, T + 1, sizeof(int32_t));
    r.slot = take(&p, S, sizeof(int32_t));
    r.n_bytes = p.used;
    return r;
}

void session_send(struct session *s, void *to, const void *host, size_t n_bytes)
{
    if (to != host)
        s->dev->ops->write(s->dev, to, host, n_bytes);
}

static void plan_mla(struct plan *p, struct session *s, int64_t T)
{
    const struct session_dims *d = &s->d;
    struct session_buffers *b = &s->b;
    int64_t width = d->H * (d->dn + d->dv);
    b->kv_rows = smallest(s->capacity, KV_BYTES / (int64_t)sizeof(float) / width);
    b->q = take_f32(p, T * d->H * (d->dn + d->dr));
    b->absorbed = take_f32(p, T * d->H * (d->R + d->dr));
    b->mixed = take_f32(p, T * d->H * d->R);
    b->kv = take_f32(p, b->kv_rows * width);
    b->lse = take_f32(p, T * d->H);
}

static void plan_experts(struct plan *p, struct session *s, int64_t T)
{
    const struct session_dims *d = &s->d;
    struct session_buffers *b = &s->b;
    int64_t S = T * (d->K + 1);
    b->logits = take_f32(p, T * d->E);
    b->slot_h = take_f32(p, S * d->F);
    b->slot_out = take_f32(p, S * d->D);
    b->slots = take(p, (int64_t)session_slots_at(s, NULL, T).n_bytes, 1);
    if (s->dev->host_memory)
        return;
    b->far.logits = b->logits;
    b->far.scores = take_f32(p, T * d->E);
    b->far.weight = take_f32(p, T * d->K);
    b->far.idx = take(p, T * d->K, sizeof(int32_t));
    b->far.position = take(p, T * d->K, sizeof(int32_t));
    b->far.bias = take_f32(p, d->E);
    b->far.report = take(p, (int64_t)far_report_bytes(T, d->E), 1);
}

static void plan_device(struct plan *p, struct session *s)
{
    const struct session_dims *d = &s->d;
    struct session_buffers *b = &s->b;
    int64_t T = s->rows, q_width = d->H * (d->dn + d->dr);
    b->x = take_f32(p, T * d->D);
    b->y = take_f32(p, T * d->D);
    b->rstd = take_f32(p, largest(T, d->H));
    b->qkv = take_f32(p, T * (d->R ? largest(d->Rq, q_width) + d->kept : q_width + d->kept));
    b->o = take_f32(p, T * largest(d->H * d->dv, d->Rq));
    b->h = take_f32(p, T * largest(d->I, d->Fs));
    b->rows = take(p, (int64_t)session_rows_at(s, NULL, T).n_bytes, 1);
    b->cos = take_f32(p, s->capacity * d->rope / 2);
    b->sin = take_f32(p, s->capacity * d->rope / 2);
    if (d->R)
        plan_mla(p, s, T);
    if (d->E)
        plan_experts(p, s, T);
    b->head_rows = smallest(T, largest(1, HEAD_BYTES / (int64_t)sizeof(float) / d->V));
    if (!s->dev->host_memory)
        b->head = take_f32(p, b->head_rows * d->V);
    for (int64_t l = 0; l < d->L; l++)
        s->layers[l].kept = take_f32(p, s->capacity * d->kept);
}

static void plan_host(struct plan *p, struct session *s)
{
    const struct session_dims *d = &s->d;
    struct session_buffers *b = &s->b;
    size_t n_route = 0;
    for (int64_t l = 0; l < d->L; l++)
        if (s->layers[l].picks)
            n_route = (size_t)largest(
                (int64_t)n_route, (int64_t)route_bytes(router_config(s->layers[l].picks), s->rows));
    b->host_offset = take(p, largest(d->E, d->H) + 2, sizeof(int32_t));
    b->route_memory = take(p, (int64_t)n_route, 1);
    b->host_rows = b->rows;
    b->host_slots = b->slots;
    b->host_logits = b->logits;
    if (s->dev->host_memory)
        return;
    b->host_rows = take(p, (int64_t)session_rows_at(s, NULL, s->rows).n_bytes, 1);
    if (!d->E)
        return;
    b->host_slots = take(p, (int64_t)session_slots_at(s, NULL, s->rows).n_bytes, 1);
    b->host_logits = take_f32(p, s->rows * d->E);
    b->far.host_report = take(p, (int64_t)far_report_bytes(s->rows, d->E), 1);
}

static int fill_rope(struct session *s, struct err *err)
{
    size_t n_bytes = (size_t)(s->capacity * s->d.rope / 2) * sizeof(float);
    float *cos = malloc(2 * n_bytes + 1);
    if (!cos)
        return err_set(err, MOE2_ELIMIT, "no memory for rotary tables of %lld positions",
                       (long long)s->capacity);
    float *sin = cos + n_bytes / sizeof(float);
    rope_table(cos, sin, 0, s->capacity, &s->config);
    s->dev->ops->write(s->dev, s->b.cos, cos, n_bytes);
    s->dev->ops->write(s->dev, s->b.sin, sin, n_bytes);
    free(cos);
    return 0;
}

int session_memory_open(struct session *s, struct err *err)
{
    struct plan device = {0}, host = {0};
    plan_device(&device, s);
    plan_host(&host, s);
    s->n_memory = device.used;
    s->memory = device.base = device_alloc(s->dev, device.used, err);
    if (!s->memory)
        return MOE2_ELIMIT;
    s->host = host.base = aligned_alloc(ALIGN, host.used);
    if (!s->host)
        return err_set(err, MOE2_ELIMIT, "no memory for a session's lists, %zu bytes", host.used);
    device.used = host.used = 0;
    plan_device(&device, s);
    plan_host(&host, s);
    return fill_rope(s, err);
}
