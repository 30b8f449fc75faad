/* Gates in general: making, asking and scoring them. See gate.h. */
#include "model/gate.h"

#include <assert.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "model/gate_parts.h"

enum { BLOCK = 1024 }; /* rows scored at a time */

const struct gate_kind *const gate_kinds[] = {&gate_sigmoid, &gate_softmax,       &gate_knn,
                                              &gate_kmeans,  &gate_category_kind, &gate_ensemble,
                                              NULL};

const struct gate_kind *gate_kind_find(const char *name)
{
    for (int i = 0; gate_kinds[i]; i++)
        if (strcmp(gate_kinds[i]->name, name) == 0)
            return gate_kinds[i];
    return NULL;
}

/* ---- life ---- */

static char **copy_names(const char *const *names, int64_t n)
{
    char **out = calloc((size_t)n + 1, sizeof *out);
    for (int64_t i = 0; out && names && i < n; i++) {
        out[i] = strndup(names[i], GATE_MAX_NAME_BYTES);
        if (!out[i]) {
            while (i-- > 0)
                free(out[i]);
            free(out);
            return NULL;
        }
    }
    return out;
}

int gate_new(struct gate **out, const struct gate_kind *kind, int64_t D, int64_t N,
             const char *const *experts, int64_t n_categories, const char *const *categories,
             struct err *err)
{
    if (D < 1 || D > GATE_MAX_DIM || N < 1 || N > GATE_MAX_EXPERTS || n_categories < 0 ||
        n_categories > GATE_MAX_CATEGORIES)
        return err_set(
            err, MOE2_ELIMIT,
            "a gate of %lld dimensions, %lld experts and %lld categories, wanted at most "
            "%d, %d and %d",
            (long long)D, (long long)N, (long long)n_categories, GATE_MAX_DIM, GATE_MAX_EXPERTS,
            GATE_MAX_CATEGORIES);
    struct gate *g = calloc(1, sizeof *g);
    if (g) {
        *g = (struct gate){.kind = kind, .D = D, .N = N, .n_categories = n_categories};
        g->experts = copy_names(experts, N);
        g->categories = copy_names(categories, n_categories);
        g->accuracy = calloc((size_t)N, sizeof *g->accuracy);
    }
    if (!g || !g->experts || !g->categories || !g->accuracy) {
        gate_free(g);
        return err_set(err, MOE2_ELIMIT, "no memory for a gate of %lld experts", (long long)N);
    }
    *out = g;
    return 0;
}

void gate_free(struct gate *g)
{
    if (!g)
        return;
    for (int i = 0; i < g->n_parts; i++)
        gate_free(g->parts[i]);
    for (int i = 0; i < g->n_tensors; i++)
        free(g->tensors[i].data);
    for (int64_t i = 0; g->experts && i < g->N; i++)
        free(g->experts[i]);
    for (int64_t i = 0; g->categories && i < g->n_categories; i++)
        free(g->categories[i]);
    free(g->experts);
    free(g->categories);
    free(g->accuracy);
    free(g);
}

float *gate_add(struct gate *g, const char *name, int64_t rows, int64_t columns, struct err *err)
{
    assert(g->n_tensors < GATE_MAX_TENSORS);
    int64_t n = rows * (columns ? columns : 1);
    float *data = malloc((size_t)n * sizeof *data);
    if (!data) {
        err_set(err, MOE2_ELIMIT, "no memory for the gate's tensor %s of %lld numbers", name,
                (long long)n);
        return NULL;
    }
    g->tensors[g->n_tensors++] =
        (struct gate_tensor){name, columns ? 2 : 1, {rows, columns ? columns : 1}, data};
    return data;
}

const struct gate_tensor *gate_tensor(const struct gate *g, const char *name)
{
    for (int i = 0; i < g->n_tensors; i++)
        if (strcmp(g->tensors[i].name, name) == 0)
            return &g->tensors[i];
    return NULL;
}

void gate_set(struct gate *g, const char *name, double value)
{
    assert(g->n_settings < GATE_MAX_SETTINGS && strlen(name) < sizeof g->settings->name);
    struct gate_setting *s = &g->settings[g->n_settings++];
    memcpy(s->name, name, strlen(name) + 1);
    s->value = value;
}

double gate_setting(const struct gate *g, const char *name, double fallback)
{
    for (int i = 0; i < g->n_settings; i++)
        if (strcmp(g->settings[i].name, name) == 0)
            return g->settings[i].value;
    return fallback;
}

int32_t gate_category(const struct gate *g, const char *name)
{
    for (int64_t i = 0; i < g->n_categories; i++)
        if (strcmp(g->categories[i], name) == 0)
            return (int32_t)i;
    return -1;
}

/* ---- for the kinds ---- */

int gate_need(const struct gate_tensor **out, const struct gate *g, const char *name, int64_t rows,
              int64_t columns, struct err *err)
{
    const struct gate_tensor *t = gate_tensor(g, name);
    if (!t)
        return err_set(err, MOE2_EFORMAT, "a %s gate without the tensor %s", g->kind->name, name);
    int64_t c = t->n_dims == 2 ? t->shape[1] : 0;
    if ((rows >= 0 && t->shape[0] != rows) || t->shape[0] < 1 || (columns >= 0 && c != columns) ||
        (columns < 0 && c < 1))
        return err_set(err, MOE2_EFORMAT,
                       "tensor %s of the %s gate has the shape [%lld, %lld], wanted [%lld, %lld] "
                       "(-1: any)",
                       name, g->kind->name, (long long)t->shape[0], (long long)c, (long long)rows,
                       (long long)columns);
    *out = t;
    return 0;
}

void gate_normalize(float *out, const float *x, int64_t T, int64_t D)
{
    for (int64_t t = 0; t < T; t++) {
        double sum = 0;
        for (int64_t i = 0; i < D; i++)
            sum += (double)x[t * D + i] * x[t * D + i];
        float scale = sum > 0 ? (float)(1 / sqrt(sum)) : 0;
        for (int64_t i = 0; i < D; i++)
            out[t * D + i] = x[t * D + i] * scale;
    }
}

/* ---- scoring ---- */

int gate_score(float *scores, struct device *dev, const struct gate *g, const struct gate_input *in,
               struct err *err)
{
    int rc = 0;
    for (int64_t first = 0; first < in->T && !rc; first += BLOCK) {
        struct gate_input block = {.x = in->x + first * g->D, .T = in->T - first};
        block.T = block.T < BLOCK ? block.T : BLOCK;
        block.category = in->category ? in->category + first : NULL;
        rc = g->kind->score(scores + first * g->N, dev, g, &block, err);
    }
    for (int64_t i = 0; i < in->T * g->N && !rc; i++)
        if (!isfinite(scores[i]))
            rc = err_set(err, MOE2_ENUMERIC,
                         "the %s gate's score of row %lld for expert %lld is no "
                         "number",
                         g->kind->name, (long long)(i / g->N), (long long)(i % g->N));
    return rc;
}
