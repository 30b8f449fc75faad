/* The decoder's life: opening (from a checkpoint or at random), binding the list of tensors to
 * memory, saving, freeing; and what a trainer asks of it. The walk through the blocks is in
 * decoder_pass.c.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "io/safetensors.h"
#include "model/decoder_parts.h"
#include "model/lora_file.h"
#include "model/rope.h"
#include "model/router_file.h"

static struct dims dims_of(const struct model_config *c)
{
    struct dims d = {.D = c->hidden_size,
                     .H = c->num_attention_heads,
                     .dn = c->qk_nope_head_dim,
                     .dr = c->qk_rope_head_dim,
                     .dv = c->v_head_dim,
                     .R = c->kv_lora_rank,
                     .Rq = c->q_lora_rank,
                     .V = c->vocab_size,
                     .L = c->num_hidden_layers,
                     .E = c->n_routed_experts,
                     .K = c->num_experts_per_tok,
                     .F = c->moe_intermediate_size,
                     .Fs = c->moe_intermediate_size * c->n_shared_experts,
                     .I = c->intermediate_size};
    d.rope = model_rope_dim(c);
    d.Hk = model_is_mla(c) ? d.H : c->num_key_value_heads;
    if (!model_is_mla(c)) {
        d.dn = d.dv = c->head_dim;
        d.q_width = d.H * d.dn;
        d.a_width = d.q_width + 2 * d.Hk * d.dn;
        d.o_width = d.q_width;
        d.own_q = c->family == MODEL_QWEN3 ? d.q_width + d.Hk * d.dn : 0;
        return d;
    }
    d.q_width = d.H * (d.dn + d.dr);
    d.own_q = d.Rq ? d.q_width : 0;
    d.a_latent = d.Rq ? d.Rq : d.q_width;
    d.a_width = d.a_latent + d.R + d.dr;
    d.kv_width = d.H * (d.dn + d.dv);
    d.o_width = d.H * d.dv;
    return d;
}

void model_router_config(struct router_config *out, const struct model_config *c)
{
    bool v3 = c->family == MODEL_DEEPSEEK_V3,
         groups = c->n_group > 1 && strcmp(c->topk_method, "greedy") != 0;
    router_config_init(out);
    out->score = v3 ? SCORE_SIGMOID : SCORE_SOFTMAX;
    out->pick = groups ? PICK_GROUP_TOPK : PICK_TOPK;
    out->group_score = v3 ? GROUP_SCORE_SUM2 : GROUP_SCORE_MAX;
    out->combine = COMBINE_GATE;
    out->native_bias = v3 ? NATIVE_BIAS_FREEZE : NATIVE_BIAS_REPLACE;
    out->n_experts = (int)c->n_routed_experts;
    out->n_picks = (int)c->num_experts_per_tok;
    out->n_group = groups ? (int)c->n_group : 1;
    out->topk_group = groups ? (int)c->topk_group : 1;
    out->norm_topk_prob = c->norm_topk_prob;
    out->routed_scaling_factor = (float)c->routed_scaling_factor;
}

int model_router_fits(const struct router_config *rc, const struct model_config *c, struct err *err)
{
    if (rc->n_experts == c->n_routed_experts && rc->n_picks == c->num_experts_per_tok)
        return 0;
    return err_set(err, MOE2_ECONFIG,
                   "the router is for %d of %d experts, the model's layers pick %lld of %lld",
                   rc->n_picks, rc->n_experts, (long long)c->num_experts_per_tok,
                   (long long)c->n_routed_experts);
}

static int alloc_weights(struct decoder *dec, struct err *err)
{
    size_t n = (size_t)dec->list.n_elements;
    struct device *dev = dec->dev;
    bool grads = dec->train && !dec->frozen;
    if (!(dec->data = device_alloc(dev, n * sizeof *dec->data, err)) ||
        (grads && !(dec->grad = device_alloc(dev, n * sizeof *dec->grad, err))) ||
        (dec->compute == DT_BF16 && !(dec->half = device_alloc(dev, n * sizeof *dec->half, err))))
        return MOE2_ELIMIT;
    dev->ops->zero(dev, dec->data, n * sizeof *dec->data);
    if (dec->grad)
        dev->ops->zero(dev, dec->grad, n * sizeof *dec->grad);
    for (int64_t i = 0; i < dec->list.n; i++) {
        struct param *p = &dec->list.params[i];
        int64_t at = dec->list.offset[i];
        bool product = p->kind == PARAM_MATRIX || p->kind == PARAM_HEAD ||
                       (p->kind == PARAM_EMBED && dec->config.tie_word_embeddings);
        p->data = dec->data + at;
        p->grad = dec->grad && p->kind != PARAM_BUFFER ? dec->grad + at : NULL;
        p->half = dec->half && product ? dec->half + at : NULL;
    }
    return 0;
}

/* Through the host, for a device that it can't write to. */
static int upload_random(struct decoder *dec, uint64_t seed, struct err *err)
{
    enum { PIECE = 1 << 20 }; /* a multiple of the blocks that param_random draws */
    float *piece = malloc(PIECE * sizeof *piece);
    if (!piece)
        return err_set(err, MOE2_ELIMIT, "no memory for a piece of a tensor");
    for (int64_t i = 0; i < dec->list.n; i++) {
        const struct param *p = &dec->list.params[i];
        for (int64_t first = 0; first < p->n; first += PIECE) {
            int64_t n = p->n - first < PIECE ? p->n - first : PIECE;
            param_random(piece, p, first, n, &dec->config, seed);
            dec->dev->ops->write(dec->dev, p->data + first, piece, (size_t)n * sizeof *piece);
        }
    }
    free(piece);
    return 0;
}

static int fill_random(struct decoder *dec, uint64_t seed, struct err *err)
{
    if (!dec->dev->host_memory)
        return upload_random(dec, seed, err);
#pragma omp parallel for schedule(dynamic) num_threads(dec->dev->n_threads)
    for (int64_t i = 0; i < dec->list.n; i++) {
        const struct param *p = &dec->list.params[i];
        param_random(p->data, p, 0, p->n, &dec->config, seed);
    }
    return 0;
}

/* Room for the largest weight of an expert, or a panel of larger ones; on a GPU for the largest tensor or a layer's experts, within
 * bounds, since many small products keep it waiting. */
int64_t decoder_panel_n(const struct decoder *dec)
{
    enum { PANEL = 4 << 20, FAR_PANEL = 128 << 20 };
    int64_t most = dec->dev->host_memory ? PANEL : 1, whole = 0;
    for (int64_t i = 0; i < dec->list.n; i++) {
        const struct param *p = &dec->list.params[i];
        bool expert = p->expert >= 0;
        int64_t n = expert ? 2 * p->n : p->shape[1], all = expert ? 2 * p->n * dec->d.E : p->n;
        most = n > most ? n : most;
        whole = p->kind == PARAM_MATRIX && all > whole ? all : whole;
    }
    if (dec->dev->host_memory || whole <= most)
        return most;
    return whole < FAR_PANEL ? whole : most > FAR_PANEL ? most : FAR_PANEL;
}

static int alloc_panel(struct decoder *dec, struct err *err)
{
    dec->panel_n = decoder_panel_n(dec);
    dec->panel = device_alloc(dec->dev, (size_t)dec->panel_n * sizeof *dec->panel, err);
    return dec->panel ? 0 : MOE2_ELIMIT;
}

/* Weights that are only read stay where the checkpoint has them, when they can. */
static int bind_weights(struct decoder *dec, const struct decoder_options *o, struct err *err)
{
    if (dec->frozen && ((dec->train && o->dir) || o->base != BASE_F32)) {
        int rc = frozen_open(&dec->frozen_base, &dec->list, o, &dec->config, dec->dev, err);
        return rc || o->plan_only || o->base != BASE_NF4 ? rc : alloc_panel(dec, err);
    }
    if (o->plan_only)
        return 0;
    if (o->dir && !dec->train) {
        int rc = mapped_weights_open(&dec->mapped, &dec->list, o, &dec->config, dec->dev, err);
        if (rc || dec->mapped.source)
            return rc;
    }
    int rc = alloc_weights(dec, err);
    if (rc)
        return rc;
    return o->dir ? param_list_load(&dec->list, o->dir, &dec->config, dec->dev, o->log, err)
                  : fill_random(dec, o->seed, err);
}

static int open_router(struct decoder *dec, struct layer *layer, int64_t idx,
                       const struct router_config *wanted, struct err *err)
{
    struct router_config rc;
    if (wanted) {
        rc = *wanted;
        int misfit = model_router_fits(&rc, &dec->config, err);
        if (misfit)
            return misfit;
    } else {
        model_router_config(&rc, &dec->config);
        router_config_resolve(&rc, 1);
    }
    int code = router_new(&layer->router, &rc, (int)idx, err);
    if (code || !layer->p.bias || !layer->p.bias->data)
        return code;
    float *b = malloc((size_t)dec->d.E * sizeof *b);
    if (!b)
        return err_set(err, MOE2_ELIMIT, "no memory for a router's bias");
    dec->dev->ops->read(dec->dev, b, layer->p.bias->data, (size_t)dec->d.E * sizeof *b);
    code = router_set_native_bias(layer->router, b, err);
    free(b);
    return code ? err_prefix(err, "%s", layer->p.bias->name) : 0;
}

static int open_moe(struct decoder *dec, struct layer *layer, struct err *err)
{
    size_t E = (size_t)dec->d.E;
    struct arena *a = &dec->list.arena;
    void ***arrays[] = {&layer->w_gate_up, &layer->w_down, &layer->g_gate_up, &layer->g_down};
    bool grads = dec->train && !dec->frozen;
    for (int i = 0; i < (grads ? 4 : 2); i++)
        if (!(*arrays[i] = arena_alloc(a, E * sizeof(void *), err)))
            return MOE2_ELIMIT;
    if (!(layer->lists.offset = arena_alloc(a, (E + 1) * sizeof(int32_t), err)))
        return MOE2_ELIMIT;
    for (size_t e = 0; e < E; e++) {
        struct param *up = &layer->p.expert_gate_up[2 * e], *down = &layer->p.expert_down[e];
        layer->w_gate_up[e] = up->half ? (void *)up->half : up->data;
        layer->w_down[e] = down->half ? (void *)down->half : down->data;
        if (grads) {
            layer->g_gate_up[e] = up->grad;
            layer->g_down[e] = down->grad;
        }
    }
    return 0;
}

static int open_layers(struct decoder *dec, const struct router_config *router, struct err *err)
{
    struct arena *a = &dec->list.arena;
    dec->layers = arena_calloc(a, (size_t)dec->d.L * sizeof *dec->layers, err);
    dec->x = arena_calloc(a, (size_t)(dec->d.L + 1) * sizeof *dec->x, err);
    if (!dec->layers || !dec->x)
        return MOE2_ELIMIT;
    dec->n_layers_open = (int)dec->d.L;
    int rc = 0;
    for (int64_t l = 0; l < dec->d.L && !rc; l++) {
        struct layer *layer = &dec->layers[l];
        layer->p = dec->mp.layers[l];
        if (!model_layer_is_moe(&dec->config, l))
            continue;
        rc = open_moe(dec, layer, err);
        if (!rc)
            rc = open_router(dec, layer, l, router, err);
        if (!rc && !dec->pool && router_config(layer->router)->aux.form == AUX_HF &&
            !(dec->pool = arena_alloc(a, 2 * (size_t)dec->d.E * sizeof *dec->pool, err)))
            rc = MOE2_ELIMIT;
    }
    return rc;
}

/* The folder's router_state.safetensors, when there is one and the caller brings no router:
 * configuration before the layers are opened, state behind it. */
static int open_layers_as_saved(struct decoder *dec, const struct decoder_options *o,
                                struct err *err)
{
    struct router_config saved;
    const char *dir = o->adapter ? o->adapter : o->dir; /* routers that trained with adapters */
    char *path = dir && !o->router ? path_join(dir, "router_state.safetensors") : NULL;
    if (path && o->adapter && !file_exists(path)) {
        free(path);
        path = o->dir ? path_join(o->dir, "router_state.safetensors") : NULL;
    }
    if (!path || !file_exists(path)) {
        free(path);
        return open_layers(dec, o->router, err);
    }
    int rc = router_file_config(&saved, path, err);
    if (!rc)
        rc = open_layers(dec, &saved, err);
    if (!rc)
        rc = router_file_load(dec, path, err);
    free(path);
    return rc;
}

static int open_adapters(struct decoder *dec, const struct decoder_options *o, struct err *err)
{
    if (o->adapter)
        return lora_file_read(&dec->lora, &dec->list, &dec->config, o, dec->dev, err);
    if (!o->lora)
        return 0;
    struct lora_choice *choices = malloc((size_t)dec->list.n * sizeof *choices);
    if (!choices)
        return err_set(err, MOE2_ELIMIT, "no memory for the choice of adapters");
    int rc = lora_choose(choices, dec->list.params, dec->list.n, dec->config.tie_word_embeddings,
                         o->lora, err);
    if (!rc)
        rc = lora_new(&dec->lora, &dec->list, &dec->config, choices, o->lora, dec->train,
                      o->plan_only, dec->dev, err);
    free(choices);
    return rc;
}

int decoder_open(struct decoder **out, const struct decoder_options *o, struct device *dev,
                 struct err *err)
{
    struct decoder *dec = calloc(1, sizeof *dec);
    if (!dec)
        return err_set(err, MOE2_ELIMIT, "no memory for a decoder");
    dec->dev = dev;
    dec->compute = o->compute;
    dec->train = o->train;
    dec->frozen = o->lora != NULL || o->adapter != NULL;
    dec->checkpointing = o->checkpoint_activations;
    if (o->offload && o->train && o->checkpoint_activations)
        dec->store =
            (struct store){.dev = dev, .dir = o->offload == OFFLOAD_DISK ? o->offload_to : NULL};
    dec->log = o->log;
    int rc = 0;
    if (o->dir)
        rc = model_config_read(&dec->config, o->dir, err);
    else
        dec->config = *o->config;
    if (rc)
        goto fail;
    dec->d = dims_of(&dec->config);
    dec->softmax_scale = rope_softmax_scale(&dec->config);
    if ((rc = param_list_make(&dec->list, &dec->config, err)) ||
        (rc = model_params_find(&dec->mp, &dec->list, &dec->config, err)) ||
        (rc = bind_weights(dec, o, err)) || (rc = open_adapters(dec, o, err)) ||
        (rc = open_layers_as_saved(dec, o, err)))
        goto fail;
    if (!o->plan_only)
        decoder_refresh(dec);
    *out = dec;
    return 0;
fail:
    decoder_free(dec);
    return rc;
}

void decoder_free(struct decoder *dec)
{
    if (!dec)
        return;
    size_t n = (size_t)dec->list.n_elements;
    for (int l = 0; l < dec->n_layers_open; l++) {
        router_free(dec->layers[l].router);
        free(dec->layers[l].route_memory);
    }
    decoder_release_memory(dec);
    lora_free(dec->lora);
    device_free(dec->dev, dec->data, n * sizeof *dec->data);
    device_free(dec->dev, dec->grad, n * sizeof *dec->grad);
    device_free(dec->dev, dec->half, n * sizeof *dec->half);
    mapped_weights_close(&dec->mapped, dec->dev);
    frozen_close(&dec->frozen_base, dec->dev);
    device_free(dec->dev, dec->panel, (size_t)dec->panel_n * sizeof *dec->panel);
    param_list_release(&dec->list);
    free(dec);
}

const struct model_config *decoder_config(const struct decoder *dec)
{
    return &dec->config;
}

struct param *decoder_params(struct decoder *dec, int64_t *n)
{
    *n = dec->list.n;
    return dec->list.params;
}

struct param *decoder_trained(struct decoder *dec, int64_t *n)
{
    *n = dec->lora ? dec->lora->n_params : dec->list.n;
    return dec->lora ? dec->lora->params : dec->list.params;
}

void decoder_base_bytes(const struct decoder *dec, int64_t *in_memory, int64_t *mapped)
{
    *in_memory = (int64_t)dec->frozen_base.n_bytes;
    *mapped = dec->frozen_base.n_mapped;
}

struct lora *decoder_lora(struct decoder *dec)
{
    return dec->lora;
}

struct router *decoder_router(struct decoder *dec, int64_t layer)
{
    return dec->layers[layer].router;
}

struct device *decoder_device(const struct decoder *dec)
{
    return dec->dev;
}

const struct route *decoder_picks(struct decoder *dec, int64_t layer)
{
    return dec->layers[layer].router ? whole_route(dec, &dec->layers[layer]) : NULL;
}

struct decoder_times decoder_take_times(struct decoder *dec)
{
    struct decoder_times t = dec->times;
    dec->times = (struct decoder_times){0};
    return t;
}

/* Products write their gradients in the next backward; what is only ever added to is zeroed here.
 */
void decoder_zero_grad(struct decoder *dec)
{
    dec->fresh = true;
    for (int64_t i = 0; i < dec->list.n; i++) {
        const struct param *p = &dec->list.params[i];
        if (p->grad && (p->kind == PARAM_NORM || p->kind == PARAM_BIAS || p->kind == PARAM_EMBED))
            dec->dev->ops->zero(dec->dev, p->grad, (size_t)p->n * sizeof *p->grad);
    }
}

void decoder_refresh(struct decoder *dec)
{
    if (!dec->half)
        return;
    for (int64_t i = 0; i < dec->list.n; i++) {
        const struct param *p = &dec->list.params[i];
        if (p->half)
            dec->dev->k->to_bf16(dec->dev, p->half, p->data, p->n);
    }
}

/* ---- saving ---- */

static int save_one(struct decoder *dec, const struct param *p, struct safetensors_writer *w,
                    int64_t idx, enum dtype dtype, float *piece, void *narrow, int64_t n_piece,
                    struct err *err)
{
    enum dtype t = p->kind == PARAM_BUFFER ? DT_F32 : dtype;
    int64_t size = (int64_t)dtype_bytes(t);
    const struct router *router = p->kind == PARAM_BUFFER ? dec->layers[p->layer].router : NULL;
    for (int64_t first = 0; first < p->n; first += n_piece) {
        int64_t n = p->n - first < n_piece ? p->n - first : n_piece;
        if (router) /* the live bias is the router's */
            memcpy(piece, router_native_bias(router) + first, (size_t)n * sizeof *piece);
        else if (p->data)
            dec->dev->ops->read(dec->dev, piece, p->data + first, (size_t)n * sizeof *piece);
        else
            dtype_to_f32(piece, p->half + first, DT_BF16, n);
        int rc = dec->lora ? lora_merge(piece, dec->lora, p - dec->list.params, first, n, err) : 0;
        if (rc)
            return rc;
        dtype_from_f32(narrow, piece, t, n);
        rc = safetensors_put_piece(w, idx, first * size, narrow, n * size, err);
        if (rc)
            return rc;
    }
    return 0;
}

int decoder_save(struct decoder *dec, const char *dir, enum dtype dtype, struct err *err)
{
    enum { PIECE = 1 << 20 };
    struct safetensors_writer *w = NULL;
    float *piece = malloc(PIECE * sizeof *piece);
    void *narrow = malloc(PIECE * sizeof(float));
    int rc = piece && narrow
                 ? 0
                 : err_set(err, MOE2_ELIMIT, "%s: no memory for a piece of a tensor", dir);
    if (!rc && dec->lora && dec->config.tie_word_embeddings &&
        dec->lora->group[dec->mp.embed - dec->list.params].n)
        rc = err_set(err, MOE2_ECONFIG,
                     "the adapter on lm_head can't be merged: the model's head is its embedding");
    if (rc || (rc = param_list_create(&w, &dec->list, dir, dtype, err)))
        goto done;
    for (int64_t i = 0; i < dec->list.n && !rc; i++)
        rc = save_one(dec, &dec->list.params[i], w, i, dtype, piece, narrow, PIECE, err);
    if (rc)
        goto done;
    rc = safetensors_commit(w, err);
    w = NULL;
    if (!rc)
        rc = model_config_write(&dec->config, dtype, dir, err);
done:
    safetensors_abort(w);
    free(piece);
    free(narrow);
    return rc;
}

/* ---- where a NaN is ---- */

static int find_in_params(struct decoder *dec, bool gradients, struct err *err)
{
    int64_t n_adapters = dec->lora ? dec->lora->n_params : 0;
    for (int64_t i = 0; i < dec->list.n + n_adapters; i++) {
        const struct param *p =
            i < dec->list.n ? &dec->list.params[i] : &dec->lora->params[i - dec->list.n];
        const float *x = gradients ? p->grad : p->data;
        int64_t bad = x ? dec->dev->k->find_nonfinite(dec->dev, x, p->n) : -1;
        if (bad >= 0)
            return err_set(err, MOE2_ENUMERIC,
                           "%stensor %s holds a NaN or infinity at element %lld",
                           gradients ? "the gradient of " : "", p->name, (long long)bad);
    }
    return 0;
}

int decoder_blame_nonfinite(struct decoder *dec, bool gradients, int64_t n_blocks, struct err *err)
{
    int64_t D = dec->d.D;
    int rc = find_in_params(dec, gradients, err);
    bool kept = dec->train && !dec->store.dev;
    for (int64_t l = kept ? 1 : n_blocks; l >= 1 && l <= n_blocks && dec->T && !rc; l++) {
        int64_t bad = dec->dev->k->find_nonfinite(dec->dev, dec->x[l], dec->T * D);
        if (bad >= 0)
            rc = err_set(err, MOE2_ENUMERIC,
                         "layer %lld: the output of token %lld holds a NaN or infinity",
                         (long long)(l - 1), (long long)(bad / D));
    }
    return rc;
}

int decoder_find_nonfinite(struct decoder *dec, bool gradients, struct err *err)
{
    return decoder_blame_nonfinite(dec, gradients, dec->d.L, err);
}
