/* Reading a comparison and its statistics: see comparison.h. */
#include "report/comparison.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "io/json_util.h"

enum { PLAN_MAX_BYTES = 16 << 20 };

static int plan_error(const struct comparison *c, const char *what, struct err *err)
{
    return err_set(err, MOE2_EFORMAT, "%s/compare.json: %s", c->dir, what);
}

/* ---- runs ---- */

/* One run; a folder without metrics is a run to come, a broken one is named. */
static void read_run(struct comparison *c, struct run_metrics *out, const char *folder,
                     const struct log_sink *sink)
{
    struct err err = {0};
    char *path = folder[0] == '/' ? strdup(folder) : path_join(c->dir, folder);
    char *lines = path ? path_join(path, "metrics.jsonl") : NULL;
    char *summary = path ? path_join(path, "metrics.json") : NULL;
    if (lines && summary && (file_exists(lines) || file_exists(summary)) &&
        run_metrics_read(out, path, &err)) {
        log_line(sink, LOG_WARN, "a run is left out: %s", err.msg);
        buf_printf(&c->broken, NULL, "%s\n", err.msg);
    }
    free(path);
    free(lines);
    free(summary);
}

/* The measures of the runs, and their intervals over those that are finished. */
static void measure_entry(struct comparison_entry *e)
{
    for (int k = 0; k < MEASURE_N; k++) {
        double list[COMPARISON_MAX_SEEDS];
        int n = 0;
        for (int r = 0; r < e->n_runs; r++) {
            const struct run_metrics *m = e->have[r];
            e->values[k][r] = m && m->finished ? measure_of(m, (enum measure_kind)k) : NAN;
            if (isfinite(e->values[k][r]))
                list[n++] = e->values[k][r];
        }
        e->value[k] = stats_interval95(list, n);
    }
    for (int r = 0; r < e->n_runs; r++)
        e->n_finished += e->have[r] && e->have[r]->finished;
}

static int read_entry(struct comparison *c, struct comparison_entry *out, const json_t *o,
                      const char *label, const struct log_sink *sink, struct err *err)
{
    const json_t *folders = json_object_get(o, "runs");
    size_t n = json_array_size(folders);
    out->label = label;
    if (!label || n > COMPARISON_MAX_SEEDS)
        return plan_error(c, "an entry has no label or too many runs", err);
    out->runs = calloc(n + 1, sizeof *out->runs);
    out->have = calloc(n + 1, sizeof *out->have);
    if (!out->runs || !out->have)
        return err_set(err, MOE2_ELIMIT, "no memory for %zu runs", n);
    out->n_runs = (int)n;
    for (size_t r = 0; r < n; r++) {
        const char *folder = json_string_value(json_array_get(folders, r));
        if (!folder)
            return plan_error(c, "a run is no text", err);
        read_run(c, &out->runs[r], folder, sink);
        out->have[r] = out->runs[r].dir ? &out->runs[r] : NULL;
    }
    measure_entry(out);
    return 0;
}

static void release_entry(struct comparison_entry *e)
{
    for (int r = 0; e->runs && r < e->n_runs; r++)
        run_metrics_release(&e->runs[r]);
    free(e->runs);
    free(e->have);
}

/* ---- differences ---- */

static struct stats_interval paired(const double *a, const double *b, int n)
{
    double x[COMPARISON_MAX_SEEDS], y[COMPARISON_MAX_SEEDS];
    int m = 0;
    for (int i = 0; i < n; i++)
        if (isfinite(a[i]) && isfinite(b[i])) {
            x[m] = a[i];
            y[m++] = b[i];
        }
    return stats_paired95(x, y, m);
}

static void judge(struct comparison_entry *e, const struct comparison_entry *base)
{
    int n = e->n_runs < base->n_runs ? e->n_runs : base->n_runs;
    e->loss_difference = paired(e->values[MEASURE_TEST_LOSS], base->values[MEASURE_TEST_LOSS], n);
    e->vio_difference =
        paired(e->values[MEASURE_MAX_VIO_GLOBAL], base->values[MEASURE_MAX_VIO_GLOBAL], n);
    e->step_difference = paired(e->values[MEASURE_STEP_MS], base->values[MEASURE_STEP_MS], n);
}

bool comparison_differs(const struct stats_interval *d)
{
    return d->n >= 2 && isfinite(d->half_width) && (d->low > 0 || d->high < 0);
}

/* ---- the plan ---- */

static int read_seeds(int64_t *out, int *n_out, const struct comparison *c, const json_t *list,
                      struct err *err)
{
    size_t n = json_array_size(list);
    if (n < 1 || n > COMPARISON_MAX_SEEDS)
        return plan_error(c, "seeds is no list of 1 to 64 numbers", err);
    for (size_t i = 0; i < n; i++) {
        if (!json_is_integer(json_array_get(list, i)))
            return plan_error(c, "a seed is no whole number", err);
        out[i] = json_integer_value(json_array_get(list, i));
    }
    *n_out = (int)n;
    return 0;
}

static int read_list(struct comparison *c, struct comparison_entry **out, int *n_out,
                     const json_t *list, const char *what, const struct log_sink *sink,
                     struct err *err)
{
    size_t n = json_array_size(list);
    if (n < 1 || n > COMPARISON_MAX_ROUTERS)
        return err_set(err, MOE2_EFORMAT, "%s/compare.json: %s holds %zu entries, wanted 1 to %d",
                       c->dir, what, n, COMPARISON_MAX_ROUTERS);
    *out = calloc(n, sizeof **out);
    if (!*out)
        return err_set(err, MOE2_ELIMIT, "no memory for %zu %s", n, what);
    int rc = 0;
    for (size_t i = 0; i < n && !rc; i++) {
        const json_t *o = json_array_get(list, i);
        *n_out = (int)i + 1;
        rc = read_entry(c, &(*out)[i], o, json_text_at(o, "label"), sink, err);
    }
    return rc;
}

static int find_router(const struct comparison *c, const char *label)
{
    for (int i = 0; label && i < c->n_routers; i++)
        if (strcmp(c->routers[i].label, label) == 0)
            return i;
    return -1;
}

/* The ablated router over the ablation's seeds, and every variant against it. */
static int read_ablation(struct comparison *c, const struct log_sink *sink, struct err *err)
{
    const json_t *o = json_object_get(c->plan, "ablation");
    int64_t seeds[COMPARISON_MAX_SEEDS];
    int n = 0, of = find_router(c, json_text_at(o, "of"));
    if (!json_is_object(o))
        return 0;
    int rc = read_seeds(seeds, &n, c, json_object_get(o, "seeds"), err);
    if (!rc)
        rc = read_list(c, &c->variants, &c->n_variants, json_object_get(o, "variants"), "variants",
                       sink, err);
    if (!rc && of < 0)
        rc = plan_error(c, "the ablated router is none of its routers", err);
    if (rc)
        return rc;
    c->ablated.label = c->routers[of].label;
    c->ablated.n_runs = n;
    c->ablated.have = calloc((size_t)n, sizeof *c->ablated.have);
    if (!c->ablated.have)
        return err_set(err, MOE2_ELIMIT, "no memory for %d runs", n);
    for (int i = 0; i < n; i++)
        for (int k = 0; k < c->n_seeds && k < c->routers[of].n_runs; k++)
            if (c->seeds[k] == seeds[i])
                c->ablated.have[i] = c->routers[of].have[k];
    measure_entry(&c->ablated);
    for (int i = 0; i < c->n_variants; i++)
        judge(&c->variants[i], &c->ablated);
    return 0;
}

static int read_sweeps(struct comparison *c, const struct log_sink *sink, struct err *err)
{
    const json_t *list = json_value_at(c->plan, "sweep.parameters");
    size_t n = json_array_size(list);
    if (n == 0)
        return 0;
    if (n > 16)
        return plan_error(c, "the sweep has more than 16 parameters", err);
    c->sweeps = calloc(n, sizeof *c->sweeps);
    if (!c->sweeps)
        return err_set(err, MOE2_ELIMIT, "no memory for the sweep");
    for (size_t i = 0; i < n; i++) {
        const json_t *o = json_array_get(list, i), *values = json_object_get(o, "values");
        struct comparison_sweep *s = &c->sweeps[i];
        c->n_sweeps = (int)i + 1;
        s->key = json_text_at(o, "key");
        s->initial = json_number_at(o, "default");
        int rc = read_entry(c, &s->entry, o, s->key, sink, err);
        if (rc)
            return rc;
        s->n = s->entry.n_runs;
        s->values = calloc((size_t)s->n + 1, sizeof *s->values);
        if (!s->values || (int)json_array_size(values) != s->n)
            return plan_error(c, "a parameter of the sweep has not one run a value", err);
        for (int k = 0; k < s->n; k++)
            s->values[k] = json_number_value(json_array_get(values, (size_t)k));
    }
    return 0;
}

static int read_plan(struct comparison *c, const struct log_sink *sink, struct err *err)
{
    const char *format = json_text_at(c->plan, "format");
    if (!format || strcmp(format, "moe2-comparison") != 0 ||
        json_number_at(c->plan, "version") != 1)
        return plan_error(c, "is no moe2-comparison of version 1", err);
    int rc = read_seeds(c->seeds, &c->n_seeds, c, json_object_get(c->plan, "seeds"), err);
    if (!rc)
        rc = read_list(c, &c->routers, &c->n_routers, json_object_get(c->plan, "routers"),
                       "routers", sink, err);
    if (rc)
        return rc;
    c->baseline = find_router(c, json_text_at(c->plan, "baseline"));
    for (int i = 0; i < c->n_routers; i++)
        if (c->baseline >= 0 && i != c->baseline)
            judge(&c->routers[i], &c->routers[c->baseline]);
    rc = read_ablation(c, sink, err);
    return rc ? rc : read_sweeps(c, sink, err);
}

int comparison_read(struct comparison *out, const char *dir, const struct log_sink *sink,
                    struct err *err)
{
    struct comparison c = {.dir = strdup(dir), .baseline = -1};
    char *path = path_join(dir, "compare.json");
    int rc = c.dir && path ? json_read_file(&c.plan, path, PLAN_MAX_BYTES, err)
                           : err_set(err, MOE2_ELIMIT, "%s: no memory for its name", dir);
    if (!rc)
        rc = read_plan(&c, sink, err);
    free(path);
    if (rc)
        comparison_release(&c);
    else
        *out = c;
    return rc;
}

void comparison_release(struct comparison *c)
{
    for (int i = 0; i < c->n_routers; i++)
        release_entry(&c->routers[i]);
    for (int i = 0; i < c->n_variants; i++)
        release_entry(&c->variants[i]);
    for (int i = 0; i < c->n_sweeps; i++) {
        release_entry(&c->sweeps[i].entry);
        free(c->sweeps[i].values);
    }
    free(c->routers);
    free(c->variants);
    free(c->sweeps);
    free(c->ablated.have);
    buf_release(&c->broken);
    json_decref(c->plan);
    free(c->dir);
    *c = (struct comparison){0};
}
