/* A results folder as numbers: see run_metrics.h. */
#include "report/run_metrics.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "io/json_util.h"

enum { SUMMARY_MAX_BYTES = 64 << 20 };

static const char *const COLUMN_KEYS[RUN_N_COLUMNS] = {
    "step",      "tokens",       "loss",         "lr",
    "grad_norm", "step_s",       "tokens_per_s", "max_vio_batch",
    "load_cv",   "load_entropy", "load_gini",    "dead_experts",
    "drop_rate", "aux_loss",     "bias_ratio",   "routing_share",
};

const json_t *json_value_at(const json_t *o, const char *path)
{
    char key[128];
    while (o && *path) {
        size_t n = strcspn(path, ".");
        if (n >= sizeof key)
            return NULL;
        memcpy(key, path, n);
        key[n] = 0;
        o = json_is_object(o) ? json_object_get(o, key) : NULL;
        path += n + (path[n] == '.');
    }
    return o;
}

double json_number_at(const json_t *o, const char *path)
{
    const json_t *v = json_value_at(o, path);
    return json_is_number(v) ? json_number_value(v) : NAN;
}

const char *json_text_at(const json_t *o, const char *path)
{
    return json_string_value(json_value_at(o, path));
}

double run_number(const struct run_metrics *m, const char *path)
{
    return json_number_at(m->summary, path);
}

/* ---- rows that grow ---- */

static int grow(double **list, int64_t n, int64_t width, struct err *err)
{
    if (n > 0 && (n & (n - 1)) != 0) /* the room doubles at each power of two */
        return 0;
    double *more = realloc(*list, sizeof **list * (size_t)(width * (n ? 2 * n : 1)));
    if (!more)
        return err_set(err, MOE2_ELIMIT, "no memory for %lld steps", (long long)n);
    *list = more;
    return 0;
}

static int add_step(struct run_metrics *m, const json_t *row, struct err *err)
{
    struct run_steps *s = &m->steps;
    double step = json_number_at(row, "step");
    while (s->n > 0 && s->column[RUN_STEP][s->n - 1] >= step)
        s->n--;
    if (s->n >= RUN_MAX_STEPS)
        return err_set(err, MOE2_ELIMIT, "more than %d steps", RUN_MAX_STEPS);
    for (int c = 0; c < RUN_N_COLUMNS; c++) {
        int rc = grow(&s->column[c], s->n, 1, err);
        if (rc)
            return rc;
        s->column[c][s->n] = json_number_at(row, COLUMN_KEYS[c]);
    }
    s->n++;
    return 0;
}

/* Tokens trained on until a step. */
static double tokens_at(const struct run_steps *s, double step)
{
    double tokens = 0;
    int64_t low = 0, high = s->n;
    while (low < high) { /* the first row behind step */
        int64_t mid = (low + high) / 2;
        if (s->column[RUN_STEP][mid] <= step)
            low = mid + 1;
        else
            high = mid;
    }
    if (low > 0)
        tokens = s->column[RUN_TOKENS][low - 1];
    return tokens;
}

static int add_eval(struct run_metrics *m, const json_t *row, struct err *err)
{
    struct run_evals *e = &m->evals;
    const char *split = json_text_at(row, "eval");
    if (!split || strcmp(split, "validation") != 0)
        return 0;
    double step = json_number_at(row, "step");
    while (e->n > 0 && e->step[e->n - 1] >= step)
        e->n--;
    int rc = 0;
    double **lists[] = {&e->step, &e->tokens, &e->loss, &e->bits_per_byte};
    for (int i = 0; i < 4 && !rc; i++)
        rc = grow(lists[i], e->n, 1, err);
    if (rc)
        return rc;
    e->step[e->n] = step;
    e->tokens[e->n] = tokens_at(&m->steps, step);
    e->loss[e->n] = json_number_at(row, "loss");
    e->bits_per_byte[e->n++] = json_number_at(row, "bits_per_byte");
    return 0;
}

/* ---- layers ---- */

static int copy_experts(double *out, const json_t *list, int n_experts)
{
    if (!json_is_array(list) || json_array_size(list) != (size_t)n_experts)
        return -1;
    for (int i = 0; i < n_experts; i++) {
        const json_t *v = json_array_get(list, (size_t)i);
        out[i] = json_is_number(v) ? json_number_value(v) : NAN;
    }
    return 0;
}

static int begin_layers(struct run_layers *l, const json_t *list, struct err *err)
{
    size_t n_layers = json_array_size(list);
    const json_t *first = json_array_get(list, 0);
    size_t n_experts = json_array_size(json_object_get(first, "load"));
    if (n_layers < 1 || n_layers > RUN_MAX_LAYERS || n_experts < 1 || n_experts > RUN_MAX_EXPERTS)
        return err_set(err, MOE2_EFORMAT,
                       "layers are %zu of %zu experts, wanted 1 to %d of 1 to %d", n_layers,
                       n_experts, RUN_MAX_LAYERS, RUN_MAX_EXPERTS);
    l->layer = calloc(n_layers, sizeof *l->layer);
    if (!l->layer)
        return err_set(err, MOE2_ELIMIT, "no memory for %zu layers", n_layers);
    for (size_t i = 0; i < n_layers; i++) {
        double index = json_number_at(json_array_get(list, i), "layer");
        l->layer[i] = index >= 0 && index < 1e6 ? (int)index : (int)i;
    }
    l->n_layers = (int)n_layers;
    l->n_experts = (int)n_experts;
    return 0;
}

static int add_layers(struct run_metrics *m, const json_t *row, struct err *err)
{
    struct run_layers *l = &m->layers;
    const json_t *list = json_object_get(row, "layers");
    if (!json_is_array(list) || json_array_size(list) == 0)
        return 0;
    int rc = l->layer ? 0 : begin_layers(l, list, err);
    if (rc)
        return rc;
    double step = json_number_at(row, "step");
    while (l->n > 0 && l->step[l->n - 1] >= step)
        l->n--;
    int64_t size = (int64_t)l->n_layers * l->n_experts;
    bool reputed = json_is_array(json_value_at(json_array_get(list, 0), "reputation"));
    if ((rc = grow(&l->step, l->n, 1, err)) || (rc = grow(&l->tokens, l->n, 1, err)) ||
        (rc = grow(&l->load, l->n, size, err)))
        return rc;
    if ((reputed && l->n == 0) || l->reputation)
        if ((rc = grow(&l->reputation, l->n, size, err)))
            return rc;
    bool fits = json_array_size(list) == (size_t)l->n_layers;
    for (int i = 0; i < l->n_layers && fits; i++) {
        const json_t *layer = json_array_get(list, (size_t)i);
        int64_t at = l->n * size + (int64_t)i * l->n_experts;
        fits = copy_experts(l->load + at, json_object_get(layer, "load"), l->n_experts) == 0;
        if (fits && l->reputation &&
            copy_experts(l->reputation + at, json_object_get(layer, "reputation"), l->n_experts))
            for (int e = 0; e < l->n_experts; e++)
                l->reputation[at + e] = NAN;
    }
    if (!fits)
        return err_set(err, MOE2_EFORMAT, "layers differ from the %d of %d experts before",
                       l->n_layers, l->n_experts);
    l->step[l->n] = step;
    l->tokens[l->n++] = json_number_at(row, "tokens");
    return 0;
}

/* ---- the files ---- */

static int add_line(struct run_metrics *m, const char *path, int64_t number, const char *line,
                    size_t n, struct err *err)
{
    char name[512];
    json_t *row = NULL;
    snprintf(name, sizeof name, "%s:%lld", path, (long long)number);
    int rc = json_read_line(&row, path, number, line, n, err);
    if (rc)
        return rc;
    if (!isfinite(json_number_at(row, "step"))) {
        rc = err_set(err, MOE2_EFORMAT, "%s: has no \"step\"", name);
    } else if (json_object_get(row, "eval")) {
        rc = add_eval(m, row, err);
    } else {
        rc = add_step(m, row, err);
        if (!rc)
            rc = add_layers(m, row, err);
        if (rc)
            err_prefix(err, "%s", name);
    }
    json_decref(row);
    return rc;
}

static int read_lines(struct run_metrics *m, const char *path, struct err *err)
{
    struct file_map map = {0};
    int rc = file_map(&map, path, err);
    const char *s = (const char *)map.bytes, *end = s + map.n_bytes;
    for (int64_t number = 1; !rc && s < end; number++) {
        const char *stop = memchr(s, '\n', (size_t)(end - s));
        if (!stop)
            break;
        if (stop > s)
            rc = add_line(m, path, number, s, (size_t)(stop - s), err);
        s = stop + 1;
    }
    file_unmap(&map);
    return rc;
}

static int read_summary(struct run_metrics *m, const char *path, struct err *err)
{
    int rc = json_read_file(&m->summary, path, SUMMARY_MAX_BYTES, err);
    if (rc)
        return rc;
    if (!json_is_object(m->summary))
        return err_set(err, MOE2_EFORMAT, "%s: is no JSON object", path);
    m->finished = true;
    return 0;
}

static void name_run(struct run_metrics *m)
{
    const char *slash = strrchr(m->dir, '/');
    double seed = run_number(m, "seed");
    m->name = json_text_at(m->summary, "name");
    if (!m->name)
        m->name = slash && slash[1] ? slash + 1 : m->dir;
    m->router = json_text_at(m->summary, "router");
    if (!m->router)
        m->router = "?";
    m->seed = seed >= 0 && seed < 1e15 ? (int64_t)seed : 0;
}

int run_metrics_read(struct run_metrics *out, const char *dir, struct err *err)
{
    struct run_metrics m = {.dir = strdup(dir)};
    char *summary = path_join(dir, "metrics.json"), *lines = path_join(dir, "metrics.jsonl");
    int rc = 0;
    if (!m.dir || !summary || !lines)
        rc = err_set(err, MOE2_ELIMIT, "%s: no memory for its name", dir);
    else if (!file_exists(summary) && !file_exists(lines))
        rc = err_set(err, MOE2_EIO, "%s: holds neither metrics.json nor metrics.jsonl", dir);
    if (!rc && file_exists(summary))
        rc = read_summary(&m, summary, err);
    if (!rc && !m.summary && !(m.summary = json_object()))
        rc = err_set(err, MOE2_ELIMIT, "%s: no memory", dir);
    if (!rc && file_exists(lines))
        rc = read_lines(&m, lines, err);
    free(summary);
    free(lines);
    if (rc) {
        run_metrics_release(&m);
        return rc;
    }
    name_run(&m);
    *out = m;
    return 0;
}

void run_metrics_release(struct run_metrics *m)
{
    for (int c = 0; c < RUN_N_COLUMNS; c++)
        free(m->steps.column[c]);
    free(m->evals.step);
    free(m->evals.tokens);
    free(m->evals.loss);
    free(m->evals.bits_per_byte);
    free(m->layers.layer);
    free(m->layers.step);
    free(m->layers.tokens);
    free(m->layers.load);
    free(m->layers.reputation);
    json_decref(m->summary);
    free(m->dir);
    *m = (struct run_metrics){0};
}
