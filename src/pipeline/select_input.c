/* Reading what a selection needs, and gathering the arrays of a problem: see select_input.h. */
#include "pipeline/select_input.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/words.h"
#include "io/npy.h"

#define MAX_LIMIT 1e18 /* millionths */

/* ---- the run's experts ---- */

static int choose_experts(struct select_input *in, struct err *err)
{
    struct select_report *r = in->report;
    const struct outcomes *o = &r->outcomes;
    const char *list = in->options->experts, *names[OUTCOMES_MAX_EXPERTS];
    for (int i = 0; i < o->n_experts; i++)
        names[i] = name_table_text(&o->experts, i);
    in->wanted = vote_everyone(o->n_experts);
    int rc =
        list ? words_mask(&in->wanted, list, names, o->n_experts, "--experts", o->path, err) : 0;
    for (int i = 0; i < o->n_experts && !rc; i++)
        if (in->wanted >> i & 1) {
            in->names[r->n_experts] = names[i];
            r->expert[r->n_experts++] = i;
        }
    return rc;
}

/* ---- gate scores ---- */

static double score_at(const struct npy *a, int64_t q, int64_t i)
{
    int64_t k = a->fortran_order ? i * a->shape[0] + q : q * a->shape[1] + i;
    return a->dtype == DT_F32   ? (double)((const float *)a->data)[k]
           : a->dtype == DT_F64 ? ((const double *)a->data)[k]
                                : (double)f16_to_f32(((const uint16_t *)a->data)[k]);
}

static int check_scores(const struct npy *a, const struct select_input *in, struct err *err)
{
    const struct outcomes *o = &in->report->outcomes;
    const char *path = in->options->gate_scores;
    if (a->n_dims != 2)
        return err_set(err, MOE2_EFORMAT, "%s: has %d dimensions, wanted 2: prompts and experts",
                       path, a->n_dims);
    if (a->shape[0] != o->n_rows || a->shape[1] != o->n_experts)
        return err_set(err, MOE2_EFORMAT,
                       "%s: is of shape [%lld, %lld], wanted [%lld, %d], the prompts and experts "
                       "of %s",
                       path, (long long)a->shape[0], (long long)a->shape[1], (long long)o->n_rows,
                       o->n_experts, o->path);
    if (a->dtype != DT_F32 && a->dtype != DT_F64 && a->dtype != DT_F16)
        return err_set(err, MOE2_EFORMAT, "%s: holds %s, wanted float32 or float64", path,
                       dtype_name(a->dtype));
    return 0;
}

static int copy_scores(struct select_input *in, const struct npy *a, struct err *err)
{
    const struct outcomes *o = &in->report->outcomes;
    const char *path = in->options->gate_scores;
    in->score = malloc((size_t)(o->n_rows * o->n_experts) * sizeof *in->score);
    if (!in->score)
        return err_set(err, MOE2_ELIMIT, "%s: no memory for %lld rows", path, (long long)o->n_rows);
    for (int64_t q = 0; q < o->n_rows; q++)
        for (int i = 0; i < o->n_experts; i++) {
            double v = score_at(a, q, i);
            float f = (float)v;
            if (!isfinite(f))
                return err_set(err, MOE2_ENUMERIC,
                               "%s: row %lld, column %d (\"%.60s\") is %g, wanted a finite float32",
                               path, (long long)q, i, name_table_text(&o->experts, i), v);
            if (f < 0 && in->options->combine == VOTE_WEIGHTED && (in->wanted >> i & 1))
                return err_set(err, MOE2_EFORMAT,
                               "%s: row %lld, column %d (\"%.60s\") is %g, wanted scores of at "
                               "least 0 for --combine weighted",
                               path, (long long)q, i, name_table_text(&o->experts, i), v);
            in->score[q * o->n_experts + i] = f;
        }
    return 0;
}

static int read_scores(struct select_input *in, struct err *err)
{
    struct npy a = {0};
    if (in->options->objective == SELECT_COVERAGE)
        return 0;
    if (!in->options->gate_scores)
        return err_set(err, MOE2_ECONFIG, "--gate-scores is missing (see --help)");
    int rc = npy_open_any_order(&a, in->options->gate_scores, err);
    if (!rc)
        rc = check_scores(&a, in, err);
    if (!rc)
        rc = copy_scores(in, &a, err);
    npy_close(&a);
    return rc;
}

/* ---- lengths ---- */

static bool is_number(const char *text)
{
    return text[strspn(text, "0123456789")] == 0 && *text;
}

static int read_length(struct length_source *l, const struct select_input *in, const char *text,
                       const int32_t *column, struct err *err)
{
    const struct outcomes *o = &in->report->outcomes;
    l->path = o->path;
    if (!text) {
        l->from = column ? LENGTH_COLUMN : LENGTH_NOWHERE;
        l->tokens = column;
        return 0;
    }
    l->path = text;
    char *end = NULL;
    errno = 0;
    double v = strtod(text, &end);
    if (end != text && *end == 0) {
        if (!is_number(text) || v > INT32_MAX)
            return err_set(err, MOE2_ECONFIG,
                           "%s is \"%.40s\", wanted a whole number from 0 to %d, or a file",
                           l->flag, text, INT32_MAX);
        l->from = LENGTH_NUMBER;
        l->number = (int32_t)v;
        return 0;
    }
    l->from = LENGTH_FILE;
    int rc = lengths_read(&l->file, text, o, in->wanted, err);
    l->tokens = l->file.tokens;
    l->by_expert = l->file.by_expert;
    return rc;
}

/* ---- limits ---- */

static int check_limit(double v, bool has_fits, const char *what, const char *flag, struct err *err)
{
    if (isinf(v) || isnan(v))
        return 0;
    if (!has_fits)
        return err_set(err, MOE2_ECONFIG, "%s has the limit %g, which needs %s", what, v, flag);
    if (1e6 * v > MAX_LIMIT)
        return err_set(err, MOE2_ECONFIG, "%s has the limit %g, wanted at most %g or inf", what, v,
                       MAX_LIMIT / 1e6);
    return 0;
}

int select_limits_parse(double **values, int64_t *n, const char *text, const char *flag,
                        struct err *err)
{
    int64_t count = 1;
    for (const char *s = text; *s; s++)
        count += *s == ',';
    double *list = malloc((size_t)count * sizeof *list);
    if (!list)
        return err_set(err, MOE2_ELIMIT, "no memory for %lld limits", (long long)count);
    for (int64_t i = 0; i < count; i++) {
        size_t length = strcspn(text, ",");
        char *end = NULL;
        bool inf = length == 3 && strncmp(text, "inf", 3) == 0;
        bool plain = (*text >= '0' && *text <= '9') || *text == '.';
        list[i] = inf ? INFINITY : strtod(text, &end);
        if (!inf && (!plain || end != text + length || !isfinite(list[i]))) {
            free(list);
            return err_set(err, MOE2_ECONFIG,
                           "%s has \"%.*s\", wanted numbers of at least 0, or inf, with commas "
                           "between",
                           flag, (int)(length < 40 ? length : 40), text);
        }
        text += length + 1;
    }
    *values = list;
    *n = count;
    return 0;
}

static int read_grid(struct select_input *in, struct err *err)
{
    struct select_report *r = in->report;
    double *latency = NULL, *energy = NULL;
    int64_t n_latency = 0, n_energy = 0;
    int rc = select_limits_parse(&latency, &n_latency, in->options->latency_s, "--latency-s", err);
    if (!rc)
        rc = select_limits_parse(&energy, &n_energy, in->options->energy_j, "--energy-j", err);
    for (int64_t i = 0; i < n_latency && !rc; i++)
        rc = check_limit(latency[i], in->has_fits[COST_LATENCY], "--latency-s", "--latency", err);
    for (int64_t i = 0; i < n_energy && !rc; i++)
        rc = check_limit(energy[i], in->has_fits[COST_ENERGY], "--energy-j", "--energy", err);
    if (!rc && n_latency * n_energy > SELECT_MAX_LIMITS)
        rc = err_set(err, MOE2_ECONFIG, "the grid has %lld limits, wanted at most %d",
                     (long long)(n_latency * n_energy), SELECT_MAX_LIMITS);
    if (!rc) {
        r->n_limits = n_latency * n_energy;
        r->latency_limits_s = malloc((size_t)r->n_limits * sizeof(double));
        r->energy_limits_j = malloc((size_t)r->n_limits * sizeof(double));
        if (!r->latency_limits_s || !r->energy_limits_j)
            rc = err_set(err, MOE2_ELIMIT, "no memory for %lld limits", (long long)r->n_limits);
    }
    for (int64_t g = 0; g < r->n_limits && !rc; g++) {
        r->latency_limits_s[g] = latency[g / n_energy];
        r->energy_limits_j[g] = energy[g % n_energy];
    }
    free(latency);
    free(energy);
    return rc;
}

static int read_category_limits(struct select_input *in, struct err *err)
{
    const char *path = in->options->category_limits;
    int rc = 0;
    if ((path || in->options->by_category) && !in->report->outcomes.category)
        return err_set(err, MOE2_ECONFIG, "%s needs a column category in %s",
                       path ? "--category-limits" : "--by-category", in->report->outcomes.path);
    if (path)
        rc = category_limits_read(&in->limits, path, err);
    for (int64_t c = 0; c < in->limits.categories.n && !rc; c++) {
        rc = check_limit(in->limits.latency_s[c], in->has_fits[COST_LATENCY], path, "--latency",
                         err);
        if (!rc)
            rc = check_limit(in->limits.energy_j[c], in->has_fits[COST_ENERGY], path, "--energy",
                             err);
    }
    return rc;
}

/* ---- rows ---- */

static bool has_empty(const struct select_input *in, int64_t q)
{
    const struct outcomes *o = &in->report->outcomes;
    for (int i = 0; i < in->report->n_experts; i++)
        if (o->right[q * o->n_experts + in->report->expert[i]] < 0)
            return true;
    return false;
}

static int choose_rows(struct select_input *in, struct err *err)
{
    const struct outcomes *o = &in->report->outcomes;
    in->rows = malloc((size_t)o->n_rows * sizeof *in->rows);
    if (!in->rows)
        return err_set(err, MOE2_ELIMIT, "no memory for %lld rows", (long long)o->n_rows);
    for (int64_t q = 0; q < o->n_rows; q++)
        if (in->options->missing != MISSING_DROP || !has_empty(in, q))
            in->rows[in->n_rows++] = q;
    in->report->prompts = in->n_rows;
    return in->n_rows ? 0
                      : err_set(err, MOE2_EFORMAT,
                                "%s: --missing drop leaves no prompt of %lld: each has an empty "
                                "cell in some expert of the run",
                                o->path, (long long)o->n_rows);
}

/* The categories of the run's rows, in order of first appearance. */
static int order_categories(struct select_input *in, struct err *err)
{
    struct select_report *r = in->report;
    const struct outcomes *o = &r->outcomes;
    if (!o->category)
        return 0;
    int64_t n = o->categories.n;
    uint8_t *seen = calloc((size_t)n, 1);
    r->categories = malloc((size_t)n * sizeof *r->categories);
    if (!seen || !r->categories) {
        free(seen);
        return err_set(err, MOE2_ELIMIT, "no memory for %lld categories", (long long)n);
    }
    for (int64_t k = 0; k < in->n_rows; k++) {
        int32_t c = o->category[in->rows[k]];
        if (!seen[c])
            r->categories[r->n_categories++] = c;
        seen[c] = 1;
    }
    for (int64_t c = 0; c < in->limits.categories.n; c++) {
        const char *name = name_table_text(&in->limits.categories, c);
        int64_t idx = name_table_find(&o->categories, name, strlen(name));
        if (idx < 0 || !seen[idx])
            log_line(in->options->sink, LOG_WARN,
                     "%s: category \"%.60s\" has no prompt, its limits are ignored",
                     in->options->category_limits, name);
    }
    free(seen);
    return 0;
}

int select_input_read(struct select_input *in, struct err *err)
{
    const struct select_options *o = in->options;
    struct outcomes *outcomes = &in->report->outcomes;
    const char *paths[2] = {o->latency, o->energy};
    in->prompt.flag = "--prompt-tokens";
    in->output.flag = "--output-tokens";
    int rc = outcomes_read(outcomes, o->outcomes, o->sink, err);
    if (!rc)
        rc = choose_experts(in, err);
    if (!rc)
        rc = read_scores(in, err);
    for (int k = 0; k < 2 && !rc; k++) {
        in->has_fits[k] = paths[k] != NULL;
        if (paths[k])
            rc = cost_fits_read(in->fits[k], paths[k], (enum cost_kind)k, in->names,
                                in->report->n_experts, err);
    }
    if (!rc && o->predictions)
        rc = predictions_read(&in->predictions, o->predictions, outcomes, in->wanted, err);
    if (!rc)
        rc = read_length(&in->prompt, in, o->prompt_tokens, outcomes->prompt_tokens, err);
    if (!rc)
        rc = read_length(&in->output, in, o->output_tokens, outcomes->output_tokens, err);
    if (!rc)
        rc = read_grid(in, err);
    if (!rc)
        rc = read_category_limits(in, err);
    if (!rc)
        rc = choose_rows(in, err);
    return rc ? rc : order_categories(in, err);
}

void select_input_release(struct select_input *in)
{
    free(in->score);
    free(in->rows);
    predictions_release(&in->predictions);
    category_limits_release(&in->limits);
    lengths_release(&in->prompt.file);
    lengths_release(&in->output.file);
}
