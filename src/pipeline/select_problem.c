/* The arrays of a selection problem, gathered from what was read: the run's experts on some rows. See select_input.h. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "pipeline/select_input.h"

static int64_t limit_of(double v)
{
    return isnan(v) || isinf(v) ? SELECT_NO_LIMIT : select_micro(v);
}

/* The limits that the file of category limits gives to a category of the outcomes. */
static struct select_limits category_limit(const struct select_input *in, int32_t category)
{
    const char *name = name_table_text(&in->report->outcomes.categories, category);
    int64_t c = name_table_find(&in->limits.categories, name, strlen(name));
    struct select_limits none = {SELECT_NO_LIMIT, SELECT_NO_LIMIT};
    if (c < 0)
        return none;
    return (struct select_limits){limit_of(in->limits.latency_s[c]),
                                  limit_of(in->limits.energy_j[c])};
}

static int no_memory(int64_t n, struct err *err)
{
    return err_set(err, MOE2_ELIMIT, "no memory for %lld prompts", (long long)n);
}

static int gather_cells(struct select_arrays *a, const struct select_input *in, const int64_t *rows,
                        int64_t n, struct err *err)
{
    const struct outcomes *o = &in->report->outcomes;
    int N = in->report->n_experts;
    const int *expert = in->report->expert;
    size_t cells = (size_t)(n * N);
    a->right = malloc(cells);
    a->score = in->score ? malloc(cells * sizeof *a->score) : NULL;
    a->answer = in->predictions.cell ? malloc(cells * sizeof *a->answer) : NULL;
    if (!a->right || (in->score && !a->score) || (in->predictions.cell && !a->answer))
        return no_memory(n, err);
    for (int64_t k = 0; k < n; k++)
        for (int i = 0; i < N; i++) {
            int64_t from = rows[k] * o->n_experts + expert[i];
            a->right[k * N + i] = o->right[from];
            if (a->score)
                a->score[k * N + i] = in->score[from];
            if (a->answer)
                a->answer[k * N + i] = in->predictions.cell[from];
        }
    return 0;
}

static int gather_limits(struct select_arrays *a, const struct select_input *in, int32_t category,
                         struct err *err)
{
    const struct select_report *r = in->report;
    a->limits = malloc((size_t)r->n_limits * sizeof *a->limits);
    if (!a->limits)
        return no_memory(r->n_limits, err);
    struct select_limits own = {SELECT_NO_LIMIT, SELECT_NO_LIMIT};
    if (category >= 0)
        own = category_limit(in, category);
    for (int64_t g = 0; g < r->n_limits; g++) {
        struct select_limits x = {limit_of(r->latency_limits_s[g]),
                                  limit_of(r->energy_limits_j[g])};
        x.latency_us = own.latency_us < x.latency_us ? own.latency_us : x.latency_us;
        x.energy_uj = own.energy_uj < x.energy_uj ? own.energy_uj : x.energy_uj;
        a->limits[g] = x;
    }
    return 0;
}

static int gather_categories(struct select_arrays *a, const struct select_input *in,
                             const int64_t *rows, int64_t n, struct err *err)
{
    const struct select_report *r = in->report;
    int32_t *place = malloc((size_t)r->outcomes.categories.n * sizeof *place);
    a->category = malloc((size_t)n * sizeof *a->category);
    a->category_limits = malloc((size_t)r->n_categories * sizeof *a->category_limits);
    if (!place || !a->category || !a->category_limits) {
        free(place);
        return no_memory(n, err);
    }
    for (int c = 0; c < r->n_categories; c++) {
        place[r->categories[c]] = c;
        a->category_limits[c] = category_limit(in, r->categories[c]);
    }
    for (int64_t k = 0; k < n; k++)
        a->category[k] = place[r->outcomes.category[rows[k]]];
    free(place);
    return 0;
}

static void set_options(struct select_problem *p, const struct select_options *o)
{
    p->cost = o->cost;
    p->objective = o->objective;
    p->method = o->method;
    p->combine = o->combine;
    p->k = o->k < p->N ? (int)o->k : p->N;
    p->avoid = o->missing == MISSING_AVOID;
    p->stat = o->stat;
    p->aggregation_us = select_micro(o->aggregation_s);
    p->max_experts = o->max_experts < p->N ? (int)o->max_experts : p->N;
    p->frontier = o->frontier;
    p->time_limit_s = o->time_limit_s;
    p->stop = o->stop;
    p->sink = o->sink;
}

int select_input_problem(struct select_problem *p, struct select_arrays *a,
                         const struct select_input *in, const int64_t *rows, int64_t n,
                         int32_t category, struct err *err)
{
    *p = (struct select_problem){.n = n, .N = in->report->n_experts};
    set_options(p, in->options);
    int rc = gather_cells(a, in, rows, n, err);
    if (!rc)
        rc = select_costs_fill(&p->latency_us, &a->cost[0], in, COST_LATENCY, rows, n, err);
    if (!rc)
        rc = select_costs_fill(&p->energy_uj, &a->cost[1], in, COST_ENERGY, rows, n, err);
    if (!rc)
        rc = gather_limits(a, in, category, err);
    if (!rc && category < 0 && in->options->category_limits) {
        rc = gather_categories(a, in, rows, n, err);
        p->n_categories = in->report->n_categories;
    }
    p->right = a->right;
    p->score = a->score;
    p->answer = a->answer;
    p->category = a->category;
    p->category_limits = a->category_limits;
    p->limits = a->limits;
    p->n_limits = in->report->n_limits;
    return rc;
}

void select_arrays_release(struct select_arrays *a)
{
    free(a->right);
    free(a->score);
    free(a->answer);
    free(a->category);
    free(a->cost[0]);
    free(a->cost[1]);
    free(a->limits);
    free(a->category_limits);
    *a = (struct select_arrays){0};
}
