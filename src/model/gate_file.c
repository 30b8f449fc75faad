/* A gate as one safetensors file.
 *
 * Tensors are those of the kind (see its file), float32 (other float types are read too), plus expert.accuracy [N]. Those of an
 * ensemble's part i are called "parts.<i>.<name>". The metadata's key "gate" holds JSON: {"kind", "dim", "experts": [names],
 * "categories": [names], "settings": {name: number}, "parts": [{"kind", "settings"}]}.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "io/json_util.h"
#include "io/safetensors.h"
#include "model/gate_parts.h"

enum { MAX_METADATA_BYTES = 4 << 20 };

/* ---- writing ---- */

static void put_settings(struct json_writer *w, const struct gate *g)
{
    jw_text(w, "kind", g->kind->name);
    jw_object(w, "settings");
    for (int i = 0; i < g->n_settings; i++)
        jw_real(w, g->settings[i].name, g->settings[i].value);
    jw_end(w);
}

static void put_names(struct json_writer *w, const char *key, char *const *names, int64_t n)
{
    jw_array(w, key);
    for (int64_t i = 0; i < n; i++)
        jw_text(w, NULL, names[i]);
    jw_end(w);
}

static int metadata(struct buf *out, const struct gate *g, struct err *err)
{
    struct json_writer w;
    json_writer_init(&w, out, 0);
    jw_object(&w, NULL);
    put_settings(&w, g);
    jw_int(&w, "dim", g->D);
    put_names(&w, "experts", g->experts, g->N);
    put_names(&w, "categories", g->categories, g->n_categories);
    jw_array(&w, "parts");
    for (int i = 0; i < g->n_parts; i++) {
        jw_object(&w, NULL);
        put_settings(&w, g->parts[i]);
        jw_end(&w);
    }
    jw_end(&w);
    jw_end(&w);
    return json_writer_end(&w, err);
}

struct listing {
    struct safetensors_decl decls[GATE_MAX_TENSORS * (GATE_MAX_PARTS + 1) + 1];
    const float *data[GATE_MAX_TENSORS * (GATE_MAX_PARTS + 1) + 1];
    char names[GATE_MAX_TENSORS * (GATE_MAX_PARTS + 1) + 1][64];
    int n;
};

static void list(struct listing *l, const char *prefix, const char *name, int n_dims,
                 const int64_t *shape, const float *data)
{
    struct safetensors_decl *d = &l->decls[l->n];
    snprintf(l->names[l->n], sizeof l->names[0], "%s%s", prefix, name);
    *d = (struct safetensors_decl){.name = l->names[l->n], .dtype = DT_F32, .n_dims = n_dims};
    for (int i = 0; i < n_dims; i++)
        d->shape[i] = shape[i];
    l->data[l->n++] = data;
}

static void list_gate(struct listing *l, const struct gate *g, const char *prefix)
{
    for (int i = 0; i < g->n_tensors; i++) {
        const struct gate_tensor *t = &g->tensors[i];
        list(l, prefix, t->name, t->n_dims, t->shape, t->data);
    }
}

int gate_save(const struct gate *g, const char *path, struct err *err)
{
    struct buf text = {.max_bytes = MAX_METADATA_BYTES};
    struct safetensors_writer *w = NULL;
    struct listing *l = calloc(1, sizeof *l);
    int rc = l ? metadata(&text, g, err) : err_set(err, MOE2_ELIMIT, "%s: no memory", path);
    if (!rc) {
        const char *pairs[] = {"gate", text.bytes, NULL};
        list(l, "", "expert.accuracy", 1, &g->N, g->accuracy);
        list_gate(l, g, "");
        for (int i = 0; i < g->n_parts; i++) {
            char prefix[24];
            snprintf(prefix, sizeof prefix, "parts.%d.", i);
            list_gate(l, g->parts[i], prefix);
        }
        rc = safetensors_create(&w, path, l->decls, l->n,
                                &(struct safetensors_options){.metadata = pairs}, err);
    }
    for (int i = 0; !rc && i < l->n; i++) {
        const struct safetensors_decl *d = &l->decls[i];
        int64_t n = d->n_dims == 2 ? d->shape[0] * d->shape[1] : d->shape[0];
        rc = safetensors_put(w, l->data[i], n * (int64_t)sizeof(float), err);
    }
    if (!rc)
        rc = safetensors_commit(w, err);
    else
        safetensors_abort(w);
    buf_release(&text);
    free(l);
    return rc;
}

/* ---- reading ---- */

static const char *const known[] = {
    "fc1.weight",  "fc1.bias", "fc2.weight", "fc2.bias", "bias",  "train.embeddings",
    "train.right", "prior",    "centroids",  "rates",    "weight"};

static int read_tensor(float *data, const struct safetensor *t, struct err *err)
{
    int rc = safetensors_to_f32(data, t, 0, t->n_elements, err);
    for (int64_t i = 0; i < t->n_elements && !rc; i++)
        if (!isfinite(data[i]))
            rc = err_set(err, MOE2_ENUMERIC, "tensor %s: element %lld is no number", t->name,
                         (long long)i);
    return rc;
}

static int read_tensors(struct gate *g, const struct safetensors *st, const char *prefix,
                        struct err *err)
{
    int rc = 0;
    for (size_t i = 0; i < sizeof known / sizeof *known && !rc; i++) {
        char name[64];
        snprintf(name, sizeof name, "%s%s", prefix, known[i]);
        const struct safetensor *t = safetensors_find(st, name);
        if (!t)
            continue;
        if (t->n_dims < 1 || t->n_dims > 2 || t->n_elements < 1 || g->n_tensors == GATE_MAX_TENSORS)
            return err_set(err, MOE2_EFORMAT,
                           "tensor %s has %d dimensions and %lld numbers, wanted "
                           "1 or 2 and at least one",
                           name, t->n_dims, (long long)t->n_elements);
        float *data = gate_add(g, known[i], t->shape[0], t->n_dims == 2 ? t->shape[1] : 0, err);
        rc = data ? read_tensor(data, t, err) : MOE2_ELIMIT;
    }
    return rc;
}

static int read_settings(struct gate *g, const json_t *o, const char *file, struct err *err)
{
    const json_t *settings, *v;
    const char *key;
    int rc = json_need_object(&settings, o, file, "settings", err);
    if (rc)
        return rc;
    json_object_foreach((json_t *)(uintptr_t)settings, key, v)
    {
        if (!json_is_number(v) || strlen(key) >= sizeof g->settings->name ||
            g->n_settings == GATE_MAX_SETTINGS)
            return err_set(err, MOE2_EFORMAT,
                           "%s: the gate's setting \"%.40s\" is no number, or one "
                           "too many",
                           file, key);
        gate_set(g, key, json_number_value(v));
    }
    return 0;
}

static int read_kind(const struct gate_kind **out, const json_t *o, const char *file,
                     struct err *err)
{
    const char *name;
    int rc = json_need_text(&name, o, file, "kind", err);
    if (rc)
        return rc;
    *out = gate_kind_find(name);
    return *out ? 0
                : err_set(err, MOE2_EFORMAT,
                          "%s: a gate of the kind \"%.40s\", wanted sigmoid, "
                          "softmax, knn, kmeans, category or ensemble",
                          file, name);
}

/* Names out of an array of strings; *names is the caller's, the strings are borrowed. */
static int read_names(const char ***names, int64_t *n, const json_t *o, const char *file,
                      const char *key, struct err *err)
{
    const json_t *a;
    int rc = json_need_array(&a, o, file, key, err);
    if (rc)
        return rc;
    *n = (int64_t)json_array_size(a);
    *names = calloc((size_t)*n + 1, sizeof **names);
    if (!*names)
        return err_set(err, MOE2_ELIMIT, "%s: no memory", file);
    for (int64_t i = 0; i < *n; i++) {
        (*names)[i] = json_string_value(json_array_get(a, (size_t)i));
        if (!(*names)[i])
            return err_set(err, MOE2_EFORMAT,
                           "%s: \"%s\" of the gate holds something that is no "
                           "text",
                           file, key);
    }
    return 0;
}

static int read_whole(struct gate **out, const json_t *o, const char *file, struct err *err)
{
    const struct gate_kind *kind;
    const char **experts = NULL, **categories = NULL;
    int64_t D = 0, N = 0, C = 0;
    int rc = read_kind(&kind, o, file, err);
    if (!rc)
        rc = json_need_int(&D, o, file, "dim", 1, GATE_MAX_DIM, err);
    if (!rc)
        rc = read_names(&experts, &N, o, file, "experts", err);
    if (!rc)
        rc = read_names(&categories, &C, o, file, "categories", err);
    if (!rc)
        rc = gate_new(out, kind, D, N, experts, C, categories, err);
    if (!rc)
        rc = read_settings(*out, o, file, err);
    free(experts);
    free(categories);
    return rc;
}

static int read_part(struct gate *g, int64_t i, const json_t *o, const struct safetensors *st,
                     const char *file, struct err *err)
{
    const struct gate_kind *kind;
    char prefix[24];
    if (!json_is_object(o) || i >= GATE_MAX_PARTS)
        return err_set(err, MOE2_EFORMAT, "%s: part %lld of the gate is no object, or one too many",
                       file, (long long)i);
    snprintf(prefix, sizeof prefix, "parts.%d.", (int)i);
    int rc = read_kind(&kind, o, file, err);
    if (!rc)
        rc = gate_new(&g->parts[i], kind, g->D, g->N, NULL, g->n_categories, NULL, err);
    if (rc)
        return rc;
    g->n_parts = (int)i + 1;
    rc = read_settings(g->parts[i], o, file, err);
    if (!rc)
        rc = read_tensors(g->parts[i], st, prefix, err);
    return rc ? rc : kind->check(g->parts[i], err);
}

static int read_gate(struct gate **out, const struct safetensors *st, const char *file,
                     struct err *err)
{
    const char *text = safetensors_metadata(st, "gate");
    json_t *o = NULL;
    const json_t *parts;
    struct gate *g = NULL;
    const struct safetensor *accuracy = safetensors_find(st, "expert.accuracy");
    if (!text || strlen(text) > MAX_METADATA_BYTES)
        return err_set(err, MOE2_EFORMAT, "%s: is no gate: its metadata has no key \"gate\"", file);
    int rc = json_read_bytes(&o, file, text, strlen(text), err);
    if (!rc)
        rc = read_whole(&g, o, file, err);
    if (!rc)
        rc = read_tensors(g, st, "", err);
    if (!rc)
        rc = json_need_array(&parts, o, file, "parts", err);
    for (size_t i = 0; !rc && i < json_array_size(parts); i++)
        rc = read_part(g, (int64_t)i, json_array_get(parts, i), st, file, err);
    if (!rc && (!accuracy || accuracy->n_elements != g->N))
        rc = err_set(err, MOE2_EFORMAT,
                     "%s: expert.accuracy is missing or not one number an expert", file);
    if (!rc)
        rc = read_tensor(g->accuracy, accuracy, err);
    if (!rc)
        rc = g->kind->check(g, err);
    json_decref(o);
    if (rc)
        gate_free(g);
    else
        *out = g;
    return rc;
}

int gate_open(struct gate **out, const char *path, struct err *err)
{
    struct safetensors *st = NULL;
    char *file = file_is_dir(path) ? path_join(path, "gating.safetensors") : strdup(path);
    int rc = file ? safetensors_open(&st, file, err) : err_set(err, MOE2_ELIMIT, "no memory");
    if (!rc) {
        rc = read_gate(out, st, file, err);
        if (rc && !strstr(err ? err->msg : "", file))
            err_prefix(err, "%s", file);
    }
    safetensors_close(st);
    free(file);
    return rc;
}
