/* Measures that need the whole of training: see measures.h. Tensors are "layers.N.NAME", as route
 * names its sums. */
#include "train/measures.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "io/safetensors.h"

int measures_init(struct measures *m, const struct decoder *dec, int64_t planned_steps,
                  struct err *err)
{
    const struct model_config *c = decoder_config(dec);
    *m = (struct measures){.layers = calloc((size_t)c->num_hidden_layers + 1, sizeof *m->layers)};
    if (!m->layers)
        return err_set(err, MOE2_ELIMIT, "no memory for measures");
    m->n_layers = c->num_hidden_layers;
    int rc = 0;
    for (int64_t l = 0; l < m->n_layers && !rc; l++)
        if (model_layer_is_moe(c, l))
            rc = matthew_new(&m->layers[l], (int)c->n_routed_experts, planned_steps, err);
    if (rc)
        measures_release(m);
    return rc;
}

void measures_release(struct measures *m)
{
    for (int64_t l = 0; l < m->n_layers; l++)
        matthew_free(m->layers[l]);
    free(m->layers);
    *m = (struct measures){0};
}

/* Every array of every layer in order; at most ROUTE_STATE_MAX a layer. Returns how many. Names are
 * the caller's to free. */
static int64_t list(struct safetensors_decl *decls, float **values, const struct measures *m)
{
    int64_t n = 0;
    for (int64_t l = 0; l < m->n_layers; l++) {
        struct route_state_item items[ROUTE_STATE_MAX];
        int n_items = m->layers[l] ? matthew_state(m->layers[l], items) : 0;
        for (int i = 0; i < n_items; i++, n++) {
            char *name = NULL;
            if (asprintf(&name, "layers.%" PRId64 ".%s", l, items[i].name) < 0)
                name = NULL;
            decls[n] = (struct safetensors_decl){
                .name = name, .dtype = DT_F32, .n_dims = 1, .shape = {items[i].n}};
            values[n] = items[i].values;
        }
    }
    return n;
}

struct listing {
    struct safetensors_decl *decls;
    float **values;
    int64_t n;
};

static int listing_make(struct listing *l, const struct measures *m, struct err *err)
{
    size_t most = (size_t)(m->n_layers * ROUTE_STATE_MAX) + 1;
    *l = (struct listing){calloc(most, sizeof *l->decls), calloc(most, sizeof *l->values), 0};
    if (l->decls && l->values)
        l->n = list(l->decls, l->values, m);
    bool complete = l->decls && l->values;
    for (int64_t i = 0; i < l->n; i++)
        complete = complete && l->decls[i].name;
    return complete ? 0 : err_set(err, MOE2_ELIMIT, "no memory for measures");
}

static void listing_release(struct listing *l)
{
    for (int64_t i = 0; i < l->n; i++)
        free((void *)(uintptr_t)l->decls[i].name);
    free(l->decls);
    free(l->values);
}

int measures_save(const struct measures *m, const char *path, struct err *err)
{
    struct safetensors_writer *w = NULL;
    struct listing l;
    int rc = listing_make(&l, m, err);
    if (!rc)
        rc = safetensors_create(&w, path, l.decls, l.n, NULL, err);
    for (int64_t i = 0; i < l.n && !rc; i++)
        rc = safetensors_put_f32(w, l.values[i], l.decls[i].shape[0], err);
    if (rc)
        safetensors_abort(w);
    else
        rc = safetensors_commit(w, err);
    listing_release(&l);
    return rc;
}

int measures_load(struct measures *m, const char *path, struct err *err)
{
    struct safetensors *st = NULL;
    struct listing l;
    int rc = listing_make(&l, m, err);
    if (!rc)
        rc = safetensors_open(&st, path, err);
    for (int64_t i = 0; i < l.n && !rc; i++) {
        const struct safetensor *t = NULL;
        rc = safetensors_get(&t, st, l.decls[i].name, err);
        if (!rc && t->n_elements != l.decls[i].shape[0])
            rc = err_set(err, MOE2_EFORMAT, "%s: %s has %" PRId64 " elements, wanted %" PRId64,
                         path, t->name, t->n_elements, l.decls[i].shape[0]);
        if (!rc)
            rc = safetensors_to_f32(l.values[i], t, 0, t->n_elements, err);
    }
    safetensors_close(st);
    listing_release(&l);
    return rc;
}
