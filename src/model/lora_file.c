/* Reading and writing PEFT's folders: see lora_file.h. The ranks come from the tensors' shapes, the
 * scales from adapter_config.json. */
#include "model/lora_file.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/words.h"
#include "io/json_util.h"
#include "io/safetensors.h"
#include "model/decoder_parts.h"

static const char PREFIX[] = "base_model.model.";

enum { MAX_NAME = LORA_MAX_NAME + 64 };

/* An open adapter folder. */
struct source {
    const char *dir;
    char *config_path;
    json_t *root;
    struct safetensors *st;
    bool *used; /* [tensors] */
    struct lora_config config;
    struct lora_rule *alphas;
};

/* Where one tensor's pair lies: by itself, or as expert e of E in a fused pair. */
struct pair {
    const struct safetensor *a, *b;
    int64_t e, E, row; /* row: of fused B, where this tensor's rows begin */
};

/* ---- adapter_config.json ---- */

static int refuse(const struct source *s, const char *key, const char *wanted, struct err *err)
{
    return err_set(err, MOE2_ECONFIG, "%s: %s asks for what moe2 does not compute, wanted %s",
                   s->config_path, key, wanted);
}

static int check_kind(const struct source *s, struct err *err)
{
    const char *type = NULL, *bias = NULL;
    bool dora = false, transposed = false;
    int rc = json_need_text(&type, s->root, s->config_path, "peft_type", err);
    if (rc || (rc = json_opt_text(&bias, "none", s->root, s->config_path, "bias", err)) ||
        (rc = json_opt_bool(&dora, false, s->root, s->config_path, "use_dora", err)) ||
        (rc = json_opt_bool(&transposed, false, s->root, s->config_path, "fan_in_fan_out", err)))
        return rc;
    if (strcmp(type, "LORA") != 0)
        return refuse(s, "peft_type", "LORA", err);
    if (strcmp(bias, "none") != 0)
        return refuse(s, "bias", "none", err);
    if (dora)
        return refuse(s, "use_dora", "false", err);
    return transposed ? refuse(s, "fan_in_fan_out", "false", err) : 0;
}

static int read_alphas(struct source *s, struct err *err)
{
    const json_t *o = NULL;
    int rc = json_opt_object(&o, s->root, s->config_path, "alpha_pattern", err);
    if (rc || !o)
        return rc;
    s->alphas = calloc(json_object_size(o) + 1, sizeof *s->alphas);
    if (!s->alphas)
        return err_set(err, MOE2_ELIMIT, "%s: no memory for its alpha_pattern", s->config_path);
    const char *key;
    json_t *value;
    int64_t n = 0;
    json_object_foreach((json_t *)(uintptr_t)o, key, value)
    {
        if (!json_is_number(value))
            return err_set(err, MOE2_EFORMAT, "%s: alpha_pattern.%.80s is no number",
                           s->config_path, key);
        s->alphas[n++] = (struct lora_rule){key, json_number_value(value)};
    }
    s->config.alphas = s->alphas;
    s->config.n_alphas = n;
    return 0;
}

static int read_config(struct source *s, struct err *err)
{
    static const char *const everything[] = {".*"};
    struct lora_config *c = &s->config;
    int rc = check_kind(s, err);
    if (rc || (rc = json_need_int(&c->r, s->root, s->config_path, "r", 1, LORA_MAX_RANK, err)) ||
        (rc = json_need_real(&c->alpha, s->root, s->config_path, "lora_alpha", -1e9, 1e9, err)) ||
        (rc = json_opt_real(&c->dropout, 0, s->root, s->config_path, "lora_dropout", 0, 0.999,
                            err)) ||
        (rc = json_opt_bool(&c->rslora, false, s->root, s->config_path, "use_rslora", err)))
        return rc;
    c->targets = everything;
    c->n_targets = 1;
    c->whole = c->lenient = true;
    return read_alphas(s, err);
}

static void source_close(struct source *s)
{
    safetensors_close(s->st);
    json_decref(s->root);
    free(s->alphas);
    free(s->used);
    free(s->config_path);
}

static int source_open(struct source *s, const char *dir, struct err *err)
{
    s->dir = dir;
    s->config_path = path_join(dir, "adapter_config.json");
    char *tensors = path_join(dir, "adapter_model.safetensors");
    int rc = s->config_path && tensors ? 0 : err_set(err, MOE2_ELIMIT, "%s: no memory", dir);
    if (!rc)
        rc = json_read_file(&s->root, s->config_path, LORA_MAX_CONFIG_BYTES, err);
    if (!rc)
        rc = read_config(s, err);
    if (!rc)
        rc = safetensors_open(&s->st, tensors, err);
    if (!rc && !(s->used = calloc((size_t)safetensors_count(s->st) + 1, sizeof *s->used)))
        rc = err_set(err, MOE2_ELIMIT, "%s: no memory for its list", dir);
    free(tensors);
    return rc;
}

/* ---- finding pairs ---- */

static const struct safetensor *look(struct source *s, const char *module, const char *tail)
{
    char name[MAX_NAME];
    snprintf(name, sizeof name, "%s%s%s", PREFIX, module, tail);
    return safetensors_find(s->st, name);
}

static void mark(struct source *s, const struct safetensor *t)
{
    s->used[t - safetensors_at(s->st, 0)] = true;
}

static int misshapen(const struct source *s, const struct safetensor *t, const struct param *p,
                     struct err *err)
{
    char shape[64];
    return err_set(err, MOE2_EFORMAT, "%s: %s is %s, which does not fit %s of [%lld, %lld]",
                   safetensors_path(s->st), t->name,
                   safetensors_shape_text(shape, sizeof shape, t->shape, t->n_dims), p->name,
                   (long long)p->shape[0], (long long)p->shape[1]);
}

/* A and B under module + middle, if both are there. */
static int find_halves(struct pair *out, struct source *s, const char *module, const char *middle,
                       struct err *err)
{
    char tail[64];
    snprintf(tail, sizeof tail, "%s.lora_A.weight", middle);
    const struct safetensor *a = look(s, module, tail);
    snprintf(tail, sizeof tail, "%s.lora_B.weight", middle);
    const struct safetensor *b = look(s, module, tail);
    *out = (struct pair){a, b, 0, 1, 0};
    if (!a != !b)
        return err_set(err, MOE2_EFORMAT, "%s: %s has no other half (lora_A and lora_B)",
                       safetensors_path(s->st), a ? a->name : b->name);
    if (a && (a->n_dims != 2 || b->n_dims != 2 || a->shape[0] < 1))
        return err_set(err, MOE2_EFORMAT, "%s: %s and its other half are no matrices",
                       safetensors_path(s->st), a->name);
    return 0;
}

/* An expert's part of a fused pair: of down_proj [E, D, F], or of gate_up_proj [E, 2F, D], gate
 * first. */
static int find_fused(struct pair *out, struct source *s, const struct param *p,
                      const struct model_config *model, struct err *err)
{
    char module[MAX_NAME];
    bool down = strstr(p->name, ".down_proj.") != NULL;
    int64_t E = model->n_routed_experts, rows = down ? p->shape[0] : 2 * p->shape[0];
    snprintf(module, sizeof module, "model.layers.%d.mlp.experts", p->layer);
    for (int nested = 0; nested < 2; nested++) {
        int rc = find_halves(out, s, module, nested ? ".base_layer" : "", err);
        if (rc)
            return rc;
        if (!out->a || out->a->shape[1] != p->shape[1] || out->b->shape[0] != rows)
            continue;
        if (out->a->shape[0] % E || out->b->shape[1] != out->a->shape[0])
            return misshapen(s, out->a, p, err);
        out->e = p->expert;
        out->E = E;
        out->row = p->follows ? p->shape[0] : 0;
        return 0;
    }
    *out = (struct pair){0};
    return 0;
}

static int find_pair(struct pair *out, struct source *s, const struct param *p, const char *module,
                     const struct model_config *model, struct err *err)
{
    int rc = find_halves(out, s, module, "", err);
    if (!rc && !out->a && p->expert >= 0)
        rc = find_fused(out, s, p, model, err);
    if (rc || !out->a)
        return rc;
    if (out->E == 1 && (out->a->shape[1] != p->shape[1] || out->b->shape[0] != p->shape[0] ||
                        out->b->shape[1] != out->a->shape[0]))
        return misshapen(s, out->a, p, err);
    if (out->a->shape[0] / out->E > LORA_MAX_RANK)
        return err_set(err, MOE2_ELIMIT, "%s: %s has rank %lld, wanted at most %d",
                       safetensors_path(s->st), out->a->name, (long long)out->a->shape[0],
                       LORA_MAX_RANK);
    mark(s, out->a);
    mark(s, out->b);
    return 0;
}

/* ---- taking them ---- */

static int put(struct device *dev, const struct param *p, const float *host, struct err *err)
{
    for (int64_t i = 0; i < p->n; i++)
        if (!isfinite(host[i]))
            return err_set(err, MOE2_ENUMERIC, "%s holds a NaN or infinity (element %" PRId64 ")",
                           p->name, i);
    dev->ops->write(dev, p->data, host, (size_t)p->n * sizeof *host);
    return 0;
}

/* Expert e of fused B [out, r·E], the expert fastest. */
static void gather_b(float *out, const float *all, const struct lora_adapter *ad,
                     const struct pair *pair)
{
    for (int64_t o = 0; o < ad->out; o++)
        for (int64_t r = 0; r < ad->r; r++)
            out[o * ad->r + r] = all[((pair->row + o) * ad->r + r) * pair->E + pair->e];
}

static int load_adapter(struct device *dev, const struct lora_adapter *ad, const struct pair *pair,
                        struct err *err)
{
    size_t n = (size_t)(ad->a->n > ad->b->n ? ad->a->n : ad->b->n);
    float *host = malloc(n * sizeof *host), *all = NULL;
    int rc = host ? 0 : err_set(err, MOE2_ELIMIT, "no memory for %s", ad->a->name);
    if (!rc)
        rc = safetensors_to_f32(host, pair->a, pair->e * ad->a->n, ad->a->n, err);
    if (!rc)
        rc = put(dev, ad->a, host, err);
    if (!rc && pair->E == 1)
        rc = safetensors_to_f32(host, pair->b, 0, ad->b->n, err);
    if (!rc && pair->E > 1) {
        all = malloc((size_t)pair->b->n_elements * sizeof *all);
        rc = all ? safetensors_to_f32(all, pair->b, 0, pair->b->n_elements, err)
                 : err_set(err, MOE2_ELIMIT, "no memory for %s", pair->b->name);
        if (!rc)
            gather_b(host, all, ad, pair);
    }
    if (!rc)
        rc = put(dev, ad->b, host, err);
    free(host);
    free(all);
    return rc;
}

/* A router, or its bias, that trained whole. */
static int load_whole(struct source *s, const struct param *p, struct device *dev, struct err *err)
{
    const struct safetensor *t = look(s, p->name, "");
    if (!t || (p->kind != PARAM_ROUTER && p->kind != PARAM_BUFFER))
        return 0;
    if (t->n_elements != p->n)
        return misshapen(s, t, p, err);
    mark(s, t);
    float *host = malloc((size_t)p->n * sizeof *host);
    int rc = host ? safetensors_to_f32(host, t, 0, p->n, err)
                  : err_set(err, MOE2_ELIMIT, "no memory for %s", p->name);
    if (!rc)
        rc = put(dev, p, host, err);
    free(host);
    return rc;
}

/* peft also writes a frozen copy of a head that carries an adapter. */
static bool is_copy(const char *name)
{
    return words_end_in(name, "lm_head.base_layer.weight");
}

static int check_used(const struct source *s, struct err *err)
{
    for (int64_t i = 0; i < safetensors_count(s->st); i++)
        if (!s->used[i] && !is_copy(safetensors_at(s->st, i)->name))
            return err_set(err, MOE2_EFORMAT,
                           "%s: %s belongs to no tensor of this model that can carry an adapter",
                           safetensors_path(s->st), safetensors_at(s->st, i)->name);
    return 0;
}

static int find_all(struct pair *pairs, struct lora_choice *choices, struct source *s,
                    const struct param_list *list, const struct model_config *model,
                    struct err *err)
{
    char text[LORA_MAX_NAME];
    int rc =
        lora_choose(choices, list->params, list->n, model->tie_word_embeddings, &s->config, err);
    for (int64_t i = 0; i < list->n && !rc; i++) {
        const struct param *p = &list->params[i];
        const char *module = lora_module(text, p, model->tie_word_embeddings);
        pairs[i] = (struct pair){0};
        if (module)
            rc = find_pair(&pairs[i], s, p, module, model, err);
        choices[i].r = pairs[i].a ? pairs[i].a->shape[0] / pairs[i].E : 0;
    }
    return rc;
}

int lora_file_read(struct lora **out, struct param_list *list, const struct model_config *model,
                   const struct decoder_options *o, struct device *dev, struct err *err)
{
    struct source s = {0};
    struct lora *l = NULL;
    struct pair *pairs = calloc((size_t)list->n, sizeof *pairs);
    struct lora_choice *choices = calloc((size_t)list->n, sizeof *choices);
    int rc = pairs && choices ? source_open(&s, o->adapter, err)
                              : err_set(err, MOE2_ELIMIT, "%s: no memory", o->adapter);
    if (!rc)
        rc = find_all(pairs, choices, &s, list, model, err);
    struct lora_config c = s.config;
    if (o->lora) {
        c.dropout = o->lora->dropout;
        c.seed = o->lora->seed;
        c.train_router = o->lora->train_router;
    }
    if (!rc)
        rc = lora_new(&l, list, model, choices, &c, o->train, o->plan_only, dev, err);
    for (int64_t i = 0; !rc && !o->plan_only && i < l->n; i++)
        rc = load_adapter(dev, &l->adapters[i], &pairs[l->adapters[i].base], err);
    for (int64_t i = 0; !rc && !o->plan_only && i < list->n; i++)
        rc = load_whole(&s, &list->params[i], dev, err);
    if (!rc && !o->plan_only)
        rc = check_used(&s, err);
    if (rc) {
        lora_free(l);
        err_prefix(err, "adapter %s", o->adapter);
    } else {
        *out = l;
    }
    source_close(&s);
    free(pairs);
    free(choices);
    return rc;
}

/* ---- writing ---- */

/* The last word of an adapter's module. */
static const char *word_of(char text[LORA_MAX_NAME], const struct decoder *dec, int64_t base)
{
    const char *module =
        lora_module(text, &dec->list.params[base], dec->config.tie_word_embeddings);
    const char *dot = module ? strrchr(module, '.') : NULL;
    return dot ? dot + 1 : module;
}

/* Whether every module that ends in the word of `like` has an adapter like it. */
struct alike {
    bool there, rank, alpha;
};

static struct alike compare_all(const struct decoder *dec, const struct lora_adapter *like)
{
    char a[LORA_MAX_NAME], b[LORA_MAX_NAME];
    struct alike all = {true, true, true};
    const char *word = word_of(a, dec, like->base);
    int64_t next = 0;
    for (int64_t i = 0; i < dec->list.n && all.there; i++) {
        const struct lora *l = dec->lora;
        const struct lora_adapter *ad =
            next < l->n && l->adapters[next].base == i ? &l->adapters[next++] : NULL;
        const char *other = word_of(b, dec, i);
        if (!other || strcmp(word, other) != 0)
            continue;
        all.there = ad != NULL;
        all.rank &= ad && ad->r == like->r;
        all.alpha &= ad && ad->alpha == like->alpha;
    }
    return all;
}

/* A word stands for all its modules where they are alike, otherwise each is named. first: whether
 * this adapter is the first of its word. */
struct naming {
    const struct lora_adapter *ad;
    struct alike alike;
    bool first;
};

static void name_adapter(struct naming *names, const struct decoder *dec, int64_t i)
{
    char a[LORA_MAX_NAME], b[LORA_MAX_NAME];
    struct naming *n = &names[i];
    *n = (struct naming){.ad = &dec->lora->adapters[i], .first = true};
    const char *word = word_of(a, dec, n->ad->base);
    for (int64_t j = 0; j < i && n->first; j++)
        if (names[j].first && strcmp(word, word_of(b, dec, names[j].ad->base)) == 0) {
            n->first = false;
            n->alike = names[j].alike; /* alike means all, so one comparison a word is enough */
        }
    if (n->first)
        n->alike = compare_all(dec, n->ad);
}

/* The key of an adapter in a list or pattern: its word, NULL where an earlier one has said it, or
 * its whole name. */
static const char *key_of(char text[LORA_MAX_NAME], const struct decoder *dec,
                          const struct naming *n, bool by_word)
{
    if (!by_word)
        return lora_module(text, &dec->list.params[n->ad->base], dec->config.tie_word_embeddings);
    return n->first ? word_of(text, dec, n->ad->base) : NULL;
}

static void print_modules(struct json_writer *w, const struct decoder *dec,
                          const struct naming *names)
{
    char text[LORA_MAX_NAME];
    jw_array(w, "target_modules");
    for (int64_t i = 0; i < dec->lora->n; i++) {
        const char *key = key_of(text, dec, &names[i], names[i].alike.there);
        if (key)
            jw_text(w, NULL, key);
    }
    jw_end(w);
    jw_object(w, "rank_pattern");
    for (int64_t i = 0; i < dec->lora->n; i++) {
        const char *key = key_of(text, dec, &names[i], names[i].alike.there && names[i].alike.rank);
        if (key && names[i].ad->r != dec->lora->r)
            jw_int(w, key, names[i].ad->r);
    }
    jw_end(w);
    jw_object(w, "alpha_pattern");
    for (int64_t i = 0; i < dec->lora->n; i++) {
        const char *key =
            key_of(text, dec, &names[i], names[i].alike.there && names[i].alike.alpha);
        if (key && names[i].ad->alpha != dec->lora->alpha)
            jw_real(w, key, names[i].ad->alpha);
    }
    jw_end(w);
}

static int print_config(struct buf *out, const struct decoder *dec, const char *base,
                        struct err *err)
{
    const struct lora *l = dec->lora;
    struct naming *names = calloc((size_t)l->n + 1, sizeof *names);
    if (!names)
        return err_set(err, MOE2_ELIMIT, "no memory for the names of adapters");
    for (int64_t i = 0; i < l->n; i++)
        name_adapter(names, dec, i);
    struct json_writer w;
    json_writer_init(&w, out, 2);
    jw_object(&w, NULL);
    jw_text(&w, "peft_type", "LORA");
    jw_text(&w, "task_type", "CAUSAL_LM");
    jw_text(&w, "base_model_name_or_path", base);
    jw_int(&w, "r", l->r);
    jw_real(&w, "lora_alpha", l->alpha);
    jw_real(&w, "lora_dropout", l->dropout);
    jw_text(&w, "bias", "none");
    jw_bool(&w, "use_rslora", l->rslora);
    jw_bool(&w, "use_dora", false);
    jw_bool(&w, "fan_in_fan_out", false);
    jw_bool(&w, "inference_mode", true);
    jw_bool(&w, "init_lora_weights", true);
    print_modules(&w, dec, names);
    if (l->n_params > 2 * l->n) {
        jw_array(&w, "modules_to_save");
        jw_text(&w, NULL, "gate");
        jw_end(&w);
    } else {
        jw_null(&w, "modules_to_save");
    }
    jw_null(&w, "layers_to_transform");
    jw_null(&w, "layers_pattern");
    jw_end(&w);
    free(names);
    return json_writer_end(&w, err);
}

/* A tensor that goes into the file. */
struct item {
    char *name;
    const struct param *p;
};

static int item_add(struct item *items, int64_t *n, const struct param *p, const char *prefix,
                    struct err *err)
{
    char *name = NULL;
    if (asprintf(&name, "%s%s", prefix, p->name) < 0)
        return err_set(err, MOE2_ELIMIT, "no memory for the name of %s", p->name);
    items[(*n)++] = (struct item){name, p};
    return 0;
}

/* Whether the bias of a layer's router moves though the router itself does not train. */
static bool bias_moves(const struct decoder *dec, int64_t layer)
{
    const struct layer *l = &dec->layers[layer];
    return l->router && l->p.bias && router_config(l->router)->native_bias == NATIVE_BIAS_KEEP;
}

/* Adapters under their names; routers that train, each followed by its bias; the other biases that move. */
static int list_items(struct item *items, int64_t *n, struct decoder *dec, struct err *err)
{
    const struct lora *l = dec->lora;
    int rc = 0;
    bool *listed = calloc((size_t)dec->d.L + 1, sizeof *listed);
    if (!listed)
        return err_set(err, MOE2_ELIMIT, "no memory for a list of routers");
    for (int64_t i = 0; i < l->n_params && !rc; i++) {
        const struct param *p = &l->params[i];
        rc = item_add(items, n, p, i < 2 * l->n ? "" : PREFIX, err);
        if (rc || i < 2 * l->n || !dec->layers[p->layer].p.bias)
            continue;
        rc = item_add(items, n, dec->layers[p->layer].p.bias, PREFIX, err);
        listed[p->layer] = true;
    }
    for (int64_t layer = 0; layer < dec->d.L && !rc; layer++)
        if (!listed[layer] && bias_moves(dec, layer))
            rc = item_add(items, n, dec->layers[layer].p.bias, PREFIX, err);
    free(listed);
    return rc;
}

static int write_item(struct safetensors_writer *w, struct decoder *dec, const struct param *p,
                      struct err *err)
{
    float *host = malloc((size_t)p->n * sizeof *host);
    if (!host)
        return err_set(err, MOE2_ELIMIT, "no memory to write %s", p->name);
    if (p->kind == PARAM_BUFFER) /* the live bias is the router's */
        memcpy(host, router_native_bias(dec->layers[p->layer].router), (size_t)p->n * sizeof *host);
    else
        dec->dev->ops->read(dec->dev, host, p->data, (size_t)p->n * sizeof *host);
    int rc = safetensors_put_f32(w, host, p->n, err);
    free(host);
    return rc;
}

static int write_tensors(struct decoder *dec, const char *path, struct err *err)
{
    size_t most = (size_t)(2 * dec->lora->n_params + dec->d.L) + 1;
    struct item *items = calloc(most, sizeof *items);
    struct safetensors_decl *decls = calloc(most, sizeof *decls);
    struct safetensors_writer *w = NULL;
    int64_t n = 0;
    int rc = items && decls ? list_items(items, &n, dec, err)
                            : err_set(err, MOE2_ELIMIT, "%s: no memory to write it", path);
    for (int64_t i = 0; i < n && !rc; i++) {
        decls[i] = (struct safetensors_decl){
            .name = items[i].name, .dtype = DT_F32, .n_dims = items[i].p->n_dims};
        memcpy(decls[i].shape, items[i].p->shape, sizeof items[i].p->shape);
    }
    if (!rc)
        rc = safetensors_create(&w, path, decls, n, NULL, err);
    for (int64_t i = 0; i < n && !rc; i++)
        rc = write_item(w, dec, items[i].p, err);
    if (rc)
        safetensors_abort(w);
    else
        rc = safetensors_commit(w, err);
    for (int64_t i = 0; i < n; i++)
        free(items[i].name);
    free(items);
    free(decls);
    return rc;
}

int lora_file_write(struct decoder *dec, const char *dir, const char *base, struct err *err)
{
    struct buf text = {0};
    char *config = path_join(dir, "adapter_config.json"),
         *tensors = path_join(dir, "adapter_model.safetensors");
    int rc = config && tensors ? 0 : err_set(err, MOE2_ELIMIT, "%s: no memory", dir);
    if (!rc)
        rc = write_tensors(dec, tensors, err);
    if (!rc)
        rc = print_config(&text, dec, base, err);
    if (!rc)
        rc = file_write(config, text.bytes, text.n, err);
    buf_release(&text);
    free(config);
    free(tensors);
    return rc;
}
