/* Opening a session, its memory, and the way of tokens through it. */
#include "model/session.h"

#include <omp.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "model/decoder.h"
#include "model/rope.h"
#include "model/router_file.h"
#include "model/session_parts.h"

enum {
    DEFAULT_CAPACITY = 4096,
    DEFAULT_ROWS = 512,
    MAX_CAPACITY = 1 << 22,
    MAX_ROWS = 4096,
    KV_BYTES = 256 << 20 /* at most, for MLA's keys and values made anew */
};

static int64_t largest(int64_t a, int64_t b)
{
    return a > b ? a : b;
}

static int64_t smallest(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

static void set_dims(struct session_dims *d, const struct model_config *c)
{
    bool mla = model_is_mla(c);
    *d = (struct session_dims){
        .D = c->hidden_size,
        .V = c->vocab_size,
        .L = c->num_hidden_layers,
        .H = c->num_attention_heads,
        .Hk = mla ? c->num_attention_heads : c->num_key_value_heads,
        .dn = mla ? c->qk_nope_head_dim : c->head_dim,
        .dr = mla ? c->qk_rope_head_dim : 0,
        .dv = mla ? c->v_head_dim : c->head_dim,
        .R = c->kv_lora_rank,
        .Rq = c->q_lora_rank,
        .rope = model_rope_dim(c),
        .I = c->intermediate_size,
        .E = c->n_routed_experts,
        .K = c->num_experts_per_tok,
        .F = c->moe_intermediate_size,
        .Fs = c->n_shared_experts * c->moe_intermediate_size,
    };
    d->kept = mla ? d->R + d->dr : d->Hk * (d->dn + d->dv);
}

/* ---- memory ---- */

struct plan {
    char *base;
    size_t used;
};

static void *take(struct plan *p, int64_t n, size_t size)
{
    void *at = p->base ? p->base + p->used : NULL;
    p->used += ((size_t)n * size + 63) / 64 * 64;
    return at;
}

static float *take_f32(struct plan *p, int64_t n)
{
    return take(p, n, sizeof(float));
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
    size_t n_route = 0;
    for (int64_t l = 0; l < d->L; l++)
        if (s->layers[l].picks)
            n_route = (size_t)largest((int64_t)n_route,
                                      (int64_t)route_bytes(router_config(s->layers[l].picks), T));
    b->logits = take_f32(p, T * d->E);
    b->slot_h = take_f32(p, S * d->F);
    b->slot_out = take_f32(p, S * d->D);
    b->slot_weight = take_f32(p, S);
    b->first = take(p, T + 1, sizeof(int32_t));
    b->slot = take(p, S, sizeof(int32_t));
    b->route_memory = take(p, (int64_t)n_route, 1);
}

static void plan_all(struct plan *p, struct session *s)
{
    const struct session_dims *d = &s->d;
    struct session_buffers *b = &s->b;
    int64_t T = s->rows, q_width = d->H * (d->dn + d->dr);
    b->x = take_f32(p, T * d->D);
    b->y = take_f32(p, T * d->D);
    b->rstd = take_f32(p, T);
    b->qkv = take_f32(p, T * (d->R ? largest(d->Rq, q_width) + d->kept : q_width + d->kept));
    b->o = take_f32(p, T * largest(d->H * d->dv, d->Rq));
    b->h = take_f32(p, T * largest(d->I, d->Fs));
    b->ids = take(p, T, sizeof(int32_t));
    b->pos = take(p, T, sizeof(int32_t));
    b->offset = take(p, largest(d->E, d->H) + 2, sizeof(int32_t));
    b->x_row = take(p, T * largest(d->K + 1, d->H), sizeof(int32_t));
    b->cos = take_f32(p, s->capacity * d->rope / 2);
    b->sin = take_f32(p, s->capacity * d->rope / 2);
    if (d->R)
        plan_mla(p, s, T);
    if (d->E)
        plan_experts(p, s, T);
    for (int64_t l = 0; l < d->L; l++)
        s->layers[l].kept = take_f32(p, s->capacity * d->kept);
}

static int make_memory(struct session *s, struct err *err)
{
    struct plan p = {0};
    plan_all(&p, s);
    s->n_memory = p.used;
    s->memory = p.base = device_alloc(s->dev, p.used, err);
    if (!s->memory)
        return MOE2_ELIMIT;
    p.used = 0;
    plan_all(&p, s);
    rope_table(s->b.cos, s->b.sin, 0, s->capacity, &s->config);
    return 0;
}

/* ---- opening ---- */

/* The routers that config.json describes, or router_state.safetensors beside it. */
static int open_routers(struct session *s, const char *dir, struct err *err)
{
    struct router_config rc;
    char *path = path_join(dir, "router_state.safetensors");
    int code = path ? 0 : err_set(err, MOE2_ELIMIT, "%s: no memory for a path", dir);
    bool saved = path && file_exists(path);
    if (saved) {
        code = router_file_config(&rc, path, err);
    } else {
        model_router_config(&rc, &s->config);
        router_config_resolve(&rc, 1);
    }
    for (int64_t l = 0; l < s->d.L && !code; l++) {
        if (!model_layer_is_moe(&s->config, l))
            continue;
        code = router_new(&s->layers[l].picks, &rc, (int)l, err);
        if (!code && saved)
            code = router_file_load_layer(s->layers[l].picks, path, l, err);
    }
    if (!code && s->d.E && rc.pick == PICK_EXPERT_CHOICE)
        code = err_set(err, MOE2_ECONFIG,
                       "%s: experts that choose their tokens see those to come; there is no "
                       "generating with that router",
                       dir);
    free(path);
    return code;
}

/* A layer's arrays of packed weights, from one block: [E+1] up and down, [H] of absorbed attention. */
static int make_layers(struct session *s, struct err *err)
{
    const struct session_dims *d = &s->d;
    s->layers = calloc((size_t)d->L, sizeof *s->layers);
    bool ok = s->layers;
    for (int64_t l = 0; l < d->L && ok; l++) {
        size_t E = model_layer_is_moe(&s->config, l) ? (size_t)d->E + 1 : 0,
               H = d->R ? (size_t)d->H : 0;
        struct packed_weight *w = calloc(2 * E + 2 * H + 1, sizeof *w);
        ok = w;
        s->layers[l].expert_up = w;
        s->layers[l].expert_down = w ? w + E : NULL;
        s->layers[l].k_up = w ? w + 2 * E : NULL;
        s->layers[l].v_up = w ? w + 2 * E + H : NULL;
    }
    return ok ? 0 : err_set(err, MOE2_ELIMIT, "no memory for %lld layers", (long long)d->L);
}

static int set_sizes(struct session *s, const struct session_options *o, struct err *err)
{
    if (o->capacity < 0 || o->capacity > MAX_CAPACITY || o->rows < 0 || o->rows > MAX_ROWS)
        return err_set(err, MOE2_ECONFIG,
                       "a session of %lld positions and %lld rows, wanted at most %d and %d",
                       (long long)o->capacity, (long long)o->rows, MAX_CAPACITY, MAX_ROWS);
    int64_t most = s->config.max_position_embeddings;
    s->capacity = o->capacity ? o->capacity : DEFAULT_CAPACITY;
    if (!o->capacity && most > 0)
        s->capacity = smallest(s->capacity, most);
    s->rows = smallest(o->rows ? o->rows : DEFAULT_ROWS, s->capacity);
    return 0;
}

static int open_from(struct session *s, const struct session_options *o, struct source *src,
                     struct err *err)
{
    int rc = source_config(&s->config, src, err);
    if (rc)
        return rc;
    set_dims(&s->d, &s->config);
    s->scale = rope_softmax_scale(&s->config);
    rc = set_sizes(s, o, err);
    if (!rc)
        rc = make_layers(s, err);
    if (!rc)
        rc = open_routers(s, o->model, err);
    if (!rc)
        rc = session_weights_open(s, src, err);
    return rc ? rc : make_memory(s, err);
}

int session_open(struct session **out, const struct session_options *o, struct device *dev,
                 struct err *err)
{
    struct source *src = NULL;
    struct session *s = calloc(1, sizeof *s);
    if (!s)
        return err_set(err, MOE2_ELIMIT, "%s: no memory for a session", o->model);
    s->dev = dev;
    s->compute = o->compute;
    s->plain_latent = o->plain_latent;
    s->log = o->log;
    int rc = dev->host_memory
                 ? 0
                 : err_set(err, MOE2_ECONFIG, "device %s: sessions run on the CPU", dev->name);
    if (!rc)
        rc = source_open(&src, o->model, err);
    if (!rc)
        rc = open_from(s, o, src, err);
    source_close(src);
    if (rc) {
        session_free(s);
        return rc;
    }
    *out = s;
    return 0;
}

void session_free(struct session *s)
{
    if (!s)
        return;
    for (int64_t l = 0; l < s->d.L && s->layers; l++) {
        router_free(s->layers[l].picks);
        free(s->layers[l].expert_up);
    }
    free(s->layers);
    device_free(s->dev, s->weights, s->n_weights);
    device_free(s->dev, s->memory, s->n_memory);
    free(s);
}

const struct model_config *session_config(const struct session *s)
{
    return &s->config;
}

int64_t session_length(const struct session *s)
{
    return s->length;
}

int64_t session_capacity(const struct session *s)
{
    return s->capacity;
}

void session_rewind(struct session *s, int64_t n)
{
    s->length = n < s->length ? n : s->length;
}

struct session_bytes session_bytes(const struct session *s)
{
    const struct session_dims *d = &s->d;
    const struct kernels *k = s->dev->k;
    struct session_bytes b = {.weights = (int64_t)s->n_weights, .read = (int64_t)s->n_weights};
    b.kept = d->L * d->kept * (int64_t)sizeof(float);
    if (!s->config.tie_word_embeddings)
        b.read -= (int64_t)k->packed_bytes(s->dev, &s->embed);
    for (int64_t l = 0; l < d->L; l++) {
        const struct session_layer *layer = &s->layers[l];
        if (d->R)
            b.read -= (int64_t)k->packed_bytes(s->dev, &layer->kv_b);
        if (layer->picks)
            b.read -= (d->E - d->K) * (int64_t)(k->packed_bytes(s->dev, &layer->expert_up[0]) +
                                                k->packed_bytes(s->dev, &layer->expert_down[0]));
    }
    return b;
}

/* ---- the way of tokens ---- */

void session_product(struct session *s, float *y, int64_t ldy, const float *x, int64_t ldx,
                     const struct packed_weight *w, int64_t T, const float *bias, bool add)
{
    int32_t offset[2] = {0, (int32_t)T};
    struct packed_args a = {.y = y, .x = x, .w = w, .offset = offset, .bias = bias, .E = 1};
    a.ldy = ldy;
    a.ldx = ldx;
    a.accumulate = add;
    s->dev->k->packed_forward(s->dev, &a);
}

void session_products(struct session *s, float *y, int64_t ldy, const float *x, int64_t ldx,
                      const struct product *p, int64_t T, const float *bias)
{
    int64_t at = 0;
    for (int i = 0; i < p->n; at += p->w[i].N, i++)
        session_product(s, y + at, ldy, x, ldx, &p->w[i], T, bias ? bias + at : NULL, false);
}

/* T ≤ rows tokens through all layers; the stream stays in b.x. */
static int pass(struct session *s, const int32_t *ids, int64_t T, struct err *err)
{
    int rc = 0;
    s->dev->k->packed_rows(s->dev, s->b.x, &s->embed, ids, T);
    for (int64_t t = 0; t < T; t++)
        s->b.pos[t] = (int32_t)(s->length + t);
    for (int64_t l = 0; l < s->d.L && !rc; l++) {
        session_attention(s, &s->layers[l], T);
        rc = session_ffn(s, &s->layers[l], T, err);
    }
    return rc;
}

/* Logits of rows first … T−1 of the stream. */
static void head(struct session *s, float *logits, int64_t first, int64_t T)
{
    int64_t D = s->d.D, V = s->d.V;
    s->dev->k->rmsnorm_forward(s->dev, s->b.y, s->b.rstd, s->b.x + first * D, s->norm, T - first, D,
                               D, D, (float)s->config.rms_norm_eps);
    session_product(s, logits, V, s->b.y, D, &s->head, T - first, NULL, false);
}

static int check(const struct session *s, const int32_t *ids, int64_t n, struct err *err)
{
    if (n > s->capacity - s->length)
        return err_set(err, MOE2_ECONFIG, "%lld tokens behind %lld: there is room for %lld in all",
                       (long long)n, (long long)s->length, (long long)s->capacity);
    for (int64_t i = 0; i < n; i++)
        if (ids[i] < 0 || ids[i] >= s->d.V)
            return err_set(err, MOE2_ECONFIG,
                           "id %d at position %lld is outside the vocabulary of %lld", ids[i],
                           (long long)(s->length + i), (long long)s->d.V);
    return 0;
}

int session_forward(struct session *s, const int32_t *ids, int64_t n, float *logits, int64_t n_last,
                    struct err *err)
{
    int64_t before = s->length;
    int rc = check(s, ids, n, err);
    omp_set_num_threads(s->dev->n_threads); /* for the router's loops, which know no device */
    for (int64_t at = 0, T; at < n && !rc; at += T) {
        T = smallest(n - at, s->rows);
        rc = pass(s, ids + at, T, err);
        int64_t from =
            largest(n - n_last - at, 0); /* of this pass, the first row that is asked for */
        if (!rc && from < T)
            head(s, logits + (at + from - (n - n_last)) * s->d.V, from, T);
        s->length += T;
    }
    if (rc)
        s->length = before;
    return rc;
}
