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

enum { DEFAULT_CAPACITY = 4096, DEFAULT_ROWS = 512, MAX_CAPACITY = 1 << 22, MAX_ROWS = 4096 };

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

/* ---- opening ---- */

/* The routers that config.json describes, or router_state.safetensors beside it; dir NULL: there is no file. */
static int open_routers(struct session *s, const char *dir, struct err *err)
{
    struct router_config rc;
    char *path = path_join(dir ? dir : "", "router_state.safetensors");
    int code = path ? 0 : err_set(err, MOE2_ELIMIT, "%s: no memory for a path", dir);
    bool saved = dir && path && file_exists(path);
    if (saved) {
        code = router_file_config(&rc, path, err);
        if (!code && s->d.E && (code = model_router_fits(&rc, &s->config, err)))
            err_prefix(err, "%s", path);
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
                       dir ? dir : "random weights");
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
        rc = open_routers(s, o->random ? NULL : o->model, err);
    if (!rc)
        rc = session_weights_open(s, src, err);
    if (!rc)
        rc = session_memory_open(s, err);
    return rc ? rc : device_check(s->dev, err);
}

int session_open(struct session **out, const struct session_options *o, struct device *dev,
                 struct err *err)
{
    struct source *src = NULL;
    struct session *s = calloc(1, sizeof *s);
    if (!s)
        return err_set(err, MOE2_ELIMIT, "no memory for a session");
    s->dev = dev;
    s->compute = o->compute;
    s->plain_latent = o->plain_latent;
    s->log = o->log;
    s->random_form = o->form;
    int rc =
        o->random ? source_open_random(&src, o->random, 0, err) : source_open(&src, o->model, err);
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
    free(s->host);
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

/* Ids, positions and rows of heads, here and then there. */
static void send_rows(struct session *s, const int32_t *ids, int64_t T)
{
    struct session_rows host = session_rows_at(s, s->b.host_rows, T);
    int64_t H = s->d.H;
    memcpy(host.ids, ids, (size_t)T * sizeof *ids);
    for (int64_t t = 0; t < T; t++)
        host.pos[t] = (int32_t)(s->length + t);
    for (int64_t i = 0; i < H * T && s->d.R; i++)
        host.head_row[i] = (int32_t)(i % T * H + i / T);
    s->b.now = session_rows_at(s, s->b.rows, T);
    session_send(s, s->b.rows, s->b.host_rows, host.n_bytes);
}

/* T ≤ rows tokens through all layers; the stream stays in b.x. */
static int pass(struct session *s, const int32_t *ids, int64_t T, struct err *err)
{
    int rc = 0;
    send_rows(s, ids, T);
    s->dev->k->packed_rows(s->dev, s->b.x, &s->embed, s->b.now.ids, T);
    for (int64_t l = 0; l < s->d.L && !rc; l++) {
        session_attention(s, &s->layers[l], T);
        rc = session_ffn(s, &s->layers[l], T, err);
    }
    return rc;
}

/* Logits of rows first … T−1 of the stream, to the host. */
static void head(struct session *s, float *logits, int64_t first, int64_t T)
{
    int64_t D = s->d.D, V = s->d.V, n = T - first, step = s->b.head ? s->b.head_rows : n;
    s->dev->k->rmsnorm_forward(s->dev, s->b.y, s->b.rstd, s->b.x + first * D, s->norm, n, D, D, D,
                               (float)s->config.rms_norm_eps);
    for (int64_t at = 0, rows; at < n; at += rows) {
        rows = smallest(n - at, step);
        float *to = s->b.head ? s->b.head : logits + at * V;
        session_product(s, to, V, s->b.y + at * D, D, &s->head, rows, NULL, false);
        if (s->b.head)
            s->dev->ops->read(s->dev, logits + at * V, to, (size_t)(rows * V) * sizeof *to);
    }
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
    if (!rc)
        rc = device_check(s->dev, err);
    if (rc)
        s->length = before;
    return rc;
}
