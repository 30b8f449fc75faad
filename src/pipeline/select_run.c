/* The step "select": see select_run.h. */
#include "pipeline/select_run.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "pipeline/select_input.h"

void select_options_init(struct select_options *o)
{
    *o = (struct select_options){.latency_s = "inf",
                                 .energy_j = "inf",
                                 .k = 1,
                                 .max_experts = INT64_MAX,
                                 .time_limit_s = 60};
}

/* Options that make no sense together, before anything is read. */
static int check_options(const struct select_options *o, struct err *err)
{
    if (!o->outcomes)
        return err_set(err, MOE2_ECONFIG, "--outcomes is missing (see --help)");
    if (o->k < 1)
        return err_set(err, MOE2_ECONFIG, "--k is %lld, wanted at least 1", (long long)o->k);
    if (o->combine == VOTE_TOP1 && o->k != 1)
        return err_set(err, MOE2_ECONFIG,
                       "--combine top1 calls one expert, and --k is %lld: wanted --combine vote "
                       "or weighted",
                       (long long)o->k);
    if (o->objective == SELECT_COVERAGE && o->cost != SELECT_DEPLOYED)
        return err_set(err, MOE2_ECONFIG, "--objective coverage goes with --cost deployed only");
    if (o->max_experts < 1)
        return err_set(err, MOE2_ECONFIG, "--max-experts is %lld, wanted at least 1",
                       (long long)o->max_experts);
    if (!(o->aggregation_s >= 0) || !(o->aggregation_s <= 1e6))
        return err_set(err, MOE2_ECONFIG, "--aggregation-s is %g, wanted 0 to 1e6",
                       o->aggregation_s);
    if (!(o->time_limit_s >= 0))
        return err_set(err, MOE2_ECONFIG, "--time-limit is %g, wanted at least 0", o->time_limit_s);
    return 0;
}

/* Solves the prompts rows[0 … n) and adds what came out to the report. */
static int solve_rows(const struct select_input *in, const int64_t *rows, int64_t n,
                      int32_t category, struct err *err)
{
    struct select_report *r = in->report;
    struct select_arrays arrays = {0};
    struct select_group *g = &r->groups[r->n_groups++];
    *g = (struct select_group){.category = category, .prompts = n};
    int rc = select_input_problem(&g->problem, &arrays, in, rows, n, category, err);
    double begun = clock_s();
    if (!rc && g->problem.time_limit_s > 0) { /* for the whole run */
        g->problem.time_limit_s -= r->solve_s;
        g->problem.time_limit_s = g->problem.time_limit_s > 1e-3 ? g->problem.time_limit_s : 1e-3;
    }
    if (!rc)
        rc = select_solve(&g->result, &g->problem, err);
    r->solve_s += clock_s() - begun;
    select_arrays_release(&arrays);
    return rc;
}

/* Every category alone: its rows, in their order. */
static int solve_categories(const struct select_input *in, struct err *err)
{
    struct select_report *r = in->report;
    int64_t *rows = malloc((size_t)in->n_rows * sizeof *rows), evaluated = 0;
    if (!rows)
        return err_set(err, MOE2_ELIMIT, "no memory for %lld rows", (long long)in->n_rows);
    int rc = 0;
    for (int c = 0; c < r->n_categories && !rc; c++) {
        int64_t n = 0;
        for (int64_t k = 0; k < in->n_rows; k++)
            if (r->outcomes.category[in->rows[k]] == r->categories[c])
                rows[n++] = in->rows[k];
        rc = solve_rows(in, rows, n, r->categories[c], err);
        const struct select_result *s = &r->groups[r->n_groups - 1].result;
        for (int64_t g = 0; g < s->n_answers; g++)
            s->answers[g].evaluated += evaluated; /* over the run so far */
        evaluated = !rc ? s->answers[s->n_answers - 1].evaluated : 0;
    }
    free(rows);
    return rc;
}

int select_run(struct select_report *r, const struct select_options *o, struct err *err)
{
    struct select_input in = {.options = o, .report = r};
    double begun = clock_s();
    int rc = check_options(o, err);
    r->missing = o->missing;
    r->k = o->k;
    r->by_category = o->by_category;
    r->by_answer = o->predictions && o->combine != VOTE_TOP1;
    if (!rc)
        rc = select_input_read(&in, err);
    if (!rc) {
        r->groups = calloc((size_t)r->n_categories + 1, sizeof *r->groups);
        if (!r->groups)
            rc = err_set(err, MOE2_ELIMIT, "no memory for %d categories", r->n_categories);
    }
    if (!rc)
        rc = o->by_category ? solve_categories(&in, err)
                            : solve_rows(&in, in.rows, in.n_rows, -1, err);
    r->load_s = clock_s() - begun - r->solve_s;
    select_input_release(&in);
    return rc;
}

void select_report_release(struct select_report *r)
{
    for (int g = 0; g < r->n_groups; g++)
        select_result_release(&r->groups[g].result);
    free(r->groups);
    free(r->categories);
    free(r->latency_limits_s);
    free(r->energy_limits_j);
    outcomes_release(&r->outcomes);
    *r = (struct select_report){0};
}

static int write_one(const struct buf *text, const char *dir, const char *name, struct err *err)
{
    char *path = path_join(dir, name);
    int rc = path ? file_write(path, text->bytes, text->n, err)
                  : err_set(err, MOE2_ELIMIT, "no memory for a name");
    free(path);
    return rc;
}

int select_write(const struct select_report *r, const char *dir, struct err *err)
{
    struct buf json = {0}, csv = {0}, md = {0};
    int rc = select_json(&json, r, err);
    if (!rc)
        rc = select_csv(&csv, r, err);
    if (!rc)
        rc = select_text(&md, r, true, err);
    if (!rc)
        rc = dir_make(dir, err);
    if (!rc)
        rc = write_one(&json, dir, "select.json", err);
    if (!rc)
        rc = write_one(&csv, dir, "select.csv", err);
    if (!rc)
        rc = write_one(&md, dir, "select.md", err);
    buf_release(&json);
    buf_release(&csv);
    buf_release(&md);
    return rc;
}
