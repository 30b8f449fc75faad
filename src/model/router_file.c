/* router_state.safetensors: see router_file.h. */
#include "model/router_file.h"

#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "io/json_util.h"
#include "io/safetensors.h"

#define WORD(key, field, list)                                                                     \
    {                                                                                              \
        key, ROUTER_FIELD_WORD, offsetof(struct router_config, field), &list                       \
    }
#define FIELD(key, type, field)                                                                    \
    {                                                                                              \
        key, ROUTER_FIELD_##type, offsetof(struct router_config, field), NULL                      \
    }

static const struct router_field fields[] = {
    WORD("score", score, score_words),
    WORD("pick", pick, pick_words),
    FIELD("incentive", NAME, incentive.name),
    WORD("combine", combine, combine_words),
    WORD("group_score", group_score, group_score_words),
    WORD("native_bias", native_bias, native_bias_words),
    FIELD("native_bias_rate", REAL, native_bias_rate),
    FIELD("n_experts", INT, n_experts),
    FIELD("n_picks", INT, n_picks),
    FIELD("n_group", INT, n_group),
    FIELD("topk_group", INT, topk_group),
    FIELD("norm_topk_prob", INT, norm_topk_prob),
    FIELD("routed_scaling_factor", REAL, routed_scaling_factor),
    FIELD("capacity_factor", REAL, capacity_factor),
    FIELD("seed", SEED, seed),
    WORD("aux_form", aux.form, aux_form_words),
    FIELD("aux_coef", REAL, aux.coef),
    WORD("sequence_f", aux.sequence_f, sequence_f_words),
    FIELD("sequence_coef", REAL, aux.sequence_coef),
    FIELD("z_loss", REAL, aux.z_coef),
    FIELD("update_rate", REAL, incentive.update_rate),
    FIELD("recentre", INT, incentive.recentre),
    FIELD("quantile_rate", REAL, incentive.quantile_rate),
    WORD("performance", incentive.performance, performance_words),
    WORD("load", incentive.load, load_words),
    WORD("exploration", incentive.exploration, explore_words),
    WORD("decay", incentive.decay, decay_words),
    FIELD("normalise", INT, incentive.normalise),
    FIELD("alpha", REAL, incentive.alpha),
    FIELD("beta", REAL, incentive.beta),
    FIELD("gamma", REAL, incentive.gamma),
    FIELD("C", REAL, incentive.C),
    FIELD("decay_rate", REAL, incentive.decay_rate),
    FIELD("load_ema_alpha", REAL, incentive.load_ema_alpha),
    FIELD("integral", REAL, incentive.integral),
    FIELD("load_capacity_factor", REAL, incentive.load_capacity_factor),
    FIELD("epsilon", REAL, incentive.epsilon),
    FIELD("noise_std", REAL, incentive.noise_std),
    FIELD("exploration_until", REAL, incentive.exploration_until),
    FIELD("min_tokens", INT64, incentive.min_tokens),
    FIELD("decay_after", INT64, incentive.decay_after),
};
enum { N_FIELDS = sizeof fields / sizeof *fields };

const struct router_field *router_fields(int *n)
{
    *n = N_FIELDS;
    return fields;
}

const char *router_incentive_name(const char *name)
{
    static const char *const known[] = {"none",     "aux",    "loss_free",
                                        "quantile", "rd_esi", "rd_esi_integral"};
    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        if (strcmp(known[i], name) == 0)
            return known[i];
    return NULL;
}

int router_field_print(struct buf *out, const struct router_field *f,
                       const struct router_config *config, struct err *err)
{
    const void *p = (const char *)config + f->offset;
    char text[32];
    switch (f->type) {
    case ROUTER_FIELD_WORD:
        return buf_puts(out, f->words->words[*(const int *)p], err);
    case ROUTER_FIELD_NAME:
        return buf_puts(out, *(const char *const *)p, err);
    case ROUTER_FIELD_INT:
        return buf_printf(out, err, "%d", *(const int *)p);
    case ROUTER_FIELD_INT64:
        return buf_printf(out, err, "%" PRId64, *(const int64_t *)p);
    case ROUTER_FIELD_SEED:
        return buf_printf(out, err, "%" PRIu64, *(const uint64_t *)p);
    case ROUTER_FIELD_REAL:
        return buf_puts(out, json_f32_text(text, *(const float *)p), err);
    }
    return 0;
}

static int number_parse(void *p, const struct router_field *f, const char *text, struct err *err)
{
    char *end = NULL;
    errno = 0;
    if (f->type == ROUTER_FIELD_REAL) {
        float v = strtof(text, &end);
        if (*text && !*end && isfinite(v)) {
            *(float *)p = v;
            return 0;
        }
    } else if (f->type == ROUTER_FIELD_SEED) {
        unsigned long long v = strtoull(text, &end, 10);
        if (*text && *text != '-' && !*end && !errno) {
            *(uint64_t *)p = v;
            return 0;
        }
    } else {
        long long v = strtoll(text, &end, 10);
        if (*text && !*end && !errno && (f->type == ROUTER_FIELD_INT64 || (v == (int)v))) {
            if (f->type == ROUTER_FIELD_INT64)
                *(int64_t *)p = v;
            else
                *(int *)p = (int)v;
            return 0;
        }
    }
    return err_set(err, MOE2_EFORMAT, "router setting %s is \"%.60s\", wanted a number", f->name,
                   text);
}

int router_field_parse(struct router_config *config, const struct router_field *f, const char *text,
                       struct err *err)
{
    void *p = (char *)config + f->offset;
    if (f->type == ROUTER_FIELD_WORD) {
        int v = 0, rc = route_word_parse(&v, f->words, text, err);
        if (!rc)
            *(int *)p = v;
        return rc;
    }
    if (f->type == ROUTER_FIELD_NAME) {
        const char *name = router_incentive_name(text);
        if (!name)
            return err_set(err, MOE2_EFORMAT,
                           "router setting incentive is \"%.60s\", which is unknown", text);
        *(const char **)p = name;
        return 0;
    }
    return number_parse(p, f, text, err);
}

/* ---- saving ---- */

/* The first MoE layer's router stands for the configuration of all: they differ in nothing but the
 * layer. NULL for a dense model. */
static struct router *first_router(struct decoder *dec)
{
    for (int64_t l = 0; l < decoder_config(dec)->num_hidden_layers; l++)
        if (decoder_router(dec, l))
            return decoder_router(dec, l);
    return NULL;
}

struct listing {
    struct safetensors_decl *decls; /* names owned */
    const float **values;
    int64_t n;
    const char **metadata; /* 2·(N_FIELDS + 1) + 1; the values of the fields lie in text */
    struct buf text;
};

static void listing_release(struct listing *l)
{
    for (int64_t i = 0; l->decls && i < l->n; i++)
        free((void *)(uintptr_t)l->decls[i].name);
    free(l->decls);
    free(l->values);
    free(l->metadata);
    buf_release(&l->text);
}

static int list_metadata(struct listing *l, const struct router_config *config, struct err *err)
{
    size_t at[N_FIELDS];
    l->metadata = calloc(2 * (N_FIELDS + 1) + 1, sizeof *l->metadata);
    if (!l->metadata)
        return err_set(err, MOE2_ELIMIT, "no memory for the routers' settings");
    l->metadata[0] = "moe2";
    l->metadata[1] = "router_state 1";
    for (int i = 0; i < N_FIELDS; i++) {
        at[i] = l->text.n;
        int rc = router_field_print(&l->text, &fields[i], config, err);
        if (!rc)
            rc = buf_append(&l->text, "", 1, err);
        if (rc)
            return rc;
    }
    for (int i = 0; i < N_FIELDS; i++) {
        l->metadata[2 * i + 2] = fields[i].name;
        l->metadata[2 * i + 3] = l->text.bytes + at[i];
    }
    return 0;
}

static int list_state(struct listing *l, struct decoder *dec, struct err *err)
{
    int64_t n_layers = decoder_config(dec)->num_hidden_layers;
    l->decls = calloc((size_t)n_layers * ROUTE_STATE_MAX + 1, sizeof *l->decls);
    l->values = calloc((size_t)n_layers * ROUTE_STATE_MAX + 1, sizeof *l->values);
    if (!l->decls || !l->values)
        return err_set(err, MOE2_ELIMIT, "no memory for the routers' state");
    for (int64_t layer = 0; layer < n_layers; layer++) {
        struct route_state_item items[ROUTE_STATE_MAX];
        struct router *r = decoder_router(dec, layer);
        int n = r ? router_state(r, items) : 0;
        for (int i = 0; i < n; i++) {
            char *name = NULL;
            if (asprintf(&name, "layers.%" PRId64 ".%s", layer, items[i].name) < 0)
                return err_set(err, MOE2_ELIMIT, "no memory for the routers' state");
            l->decls[l->n] = (struct safetensors_decl){
                .name = name, .dtype = DT_F32, .n_dims = 1, .shape = {items[i].n}};
            l->values[l->n++] = items[i].values;
        }
    }
    return 0;
}

int router_file_save(const char *path, struct decoder *dec, struct err *err)
{
    struct listing l = {0};
    struct safetensors_writer *w = NULL;
    struct router *first = first_router(dec);
    if (!first)
        return 0;
    int rc = list_metadata(&l, router_config(first), err);
    if (!rc)
        rc = list_state(&l, dec, err);
    if (!rc)
        rc = safetensors_create(&w, path, l.decls, l.n,
                                &(struct safetensors_options){.metadata = l.metadata}, err);
    for (int64_t i = 0; i < l.n && !rc; i++)
        rc = safetensors_put_f32(w, l.values[i], l.decls[i].shape[0], err);
    if (rc)
        safetensors_abort(w);
    else
        rc = safetensors_commit(w, err);
    listing_release(&l);
    return rc;
}

/* ---- loading ---- */

static int config_from(struct router_config *out, const struct safetensors *st, struct err *err)
{
    const char *kind = safetensors_metadata(st, "moe2");
    if (!kind || strcmp(kind, "router_state 1") != 0)
        return err_set(err, MOE2_EFORMAT,
                       "%s: metadata moe2 is \"%.40s\", wanted \"router_state 1\"",
                       safetensors_path(st), kind ? kind : "");
    struct router_config config;
    router_config_init(&config);
    for (int i = 0; i < N_FIELDS; i++) {
        const char *text = safetensors_metadata(st, fields[i].name);
        int rc = text ? router_field_parse(&config, &fields[i], text, err)
                      : err_set(err, MOE2_EFORMAT, "router setting %s is missing", fields[i].name);
        if (rc) {
            err_prefix(err, "%s", safetensors_path(st));
            return rc;
        }
    }
    int rc = router_config_check(&config, err);
    if (rc)
        err_prefix(err, "%s", safetensors_path(st));
    else
        *out = config;
    return rc;
}

int router_file_config(struct router_config *out, const char *path, struct err *err)
{
    struct safetensors *st = NULL;
    int rc = safetensors_open(&st, path, err);
    if (!rc)
        rc = config_from(out, st, err);
    safetensors_close(st);
    return rc;
}

/* A tensor's numbers as an item of that name, which borrows it; the values are the caller's. */
static int load_item(struct route_state_item *out, const struct safetensor *t, const char *name,
                     struct err *err)
{
    float *values = malloc(((size_t)t->n_elements + 1) * sizeof *values);
    int rc = values ? safetensors_to_f32(values, t, 0, t->n_elements, err)
                    : err_set(err, MOE2_ELIMIT, "no memory for %s", t->name);
    if (rc)
        free(values);
    else
        *out = (struct route_state_item){name, values, t->n_elements};
    return rc;
}

/* Everything in the file that begins with the layer's prefix, copied to aligned memory, into its
 * router. */
static int load_layer(struct router *r, const struct safetensors *st, int64_t layer,
                      struct err *err)
{
    struct route_state_item items[ROUTE_STATE_MAX];
    int n = 0, rc = 0;
    char prefix[40];
    size_t n_prefix = (size_t)snprintf(prefix, sizeof prefix, "layers.%" PRId64 ".", layer);
    for (int64_t i = 0; i < safetensors_count(st) && !rc; i++) {
        const struct safetensor *t = safetensors_at(st, i);
        if (strncmp(t->name, prefix, n_prefix) != 0)
            continue;
        rc = n < ROUTE_STATE_MAX && t->dtype == DT_F32
                 ? load_item(&items[n], t, t->name + n_prefix, err)
                 : err_set(err, MOE2_EFORMAT, "%s is not part of a router's state", t->name);
        n += !rc;
    }
    if (!rc)
        rc = router_state_load(r, items, n, err);
    if (rc)
        err_prefix(err, "%s: layer %" PRId64, safetensors_path(st), layer);
    for (int i = 0; i < n; i++)
        free(items[i].values);
    return rc;
}

int router_file_load(struct decoder *dec, const char *path, struct err *err)
{
    struct safetensors *st = NULL;
    int rc = safetensors_open(&st, path, err);
    for (int64_t layer = 0; layer < decoder_config(dec)->num_hidden_layers && !rc; layer++)
        if (decoder_router(dec, layer))
            rc = load_layer(decoder_router(dec, layer), st, layer, err);
    safetensors_close(st);
    return rc;
}

int router_file_load_layer(struct router *r, const char *path, int64_t layer, struct err *err)
{
    struct safetensors *st = NULL;
    int rc = safetensors_open(&st, path, err);
    if (!rc)
        rc = load_layer(r, st, layer, err);
    safetensors_close(st);
    return rc;
}
