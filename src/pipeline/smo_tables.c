/* The three tables: see smo_tables.h. */
#include "pipeline/smo_tables.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "pipeline/select_run.h"

const char *const smo_table_names[SMO_N_TABLES] = {"table2_latency", "table3_energy",
                                                   "table4_both"};

struct work {
    const struct smo_options *o;
    struct smo_report *report;
    char tokens[24];
};

/* The options that every run on a side shares. */
static int begin(struct select_options *s, const struct work *w, const struct smo_side *side,
                 struct err *err)
{
    const struct smo_options *o = w->o;
    select_options_init(s);
    s->outcomes = side->outcomes;
    s->gate_scores = side->scores;
    s->predictions = o->k > 1 ? side->predictions : NULL;
    s->latency = side->latency ? side->latency : o->latency;
    s->energy = side->energy ? side->energy : o->energy;
    s->output_tokens = side->output_tokens ? side->output_tokens : w->tokens;
    s->cost = o->cost;
    s->k = o->k;
    s->stop = o->stop;
    return vote_find(&s->combine, o->combine, "combine", err);
}

/* "a, b" as "a,b", and back. */
static void names_of(char *out, size_t n_out, const struct select_report *r, uint64_t members,
                     const char *between)
{
    size_t n = 0;
    out[0] = 0;
    for (int i = 0; i < r->n_experts && n < n_out; i++)
        if (members >> i & 1)
            n += (size_t)snprintf(out + n, n_out - n, "%s%s", n ? between : "",
                                  name_table_text(&r->outcomes.experts, r->expert[i]));
}

static void take_point(struct smo_trial *t, const struct select_group *g,
                       const struct select_point *p)
{
    t->there = true;
    t->n = g->prompts;
    t->n_right = p->correct;
    t->accuracy = (double)p->correct / (double)g->prompts;
    t->latency_s = select_latency_s(&g->problem, p->latency, g->prompts);
    t->energy_j = select_energy_j(p->energy, g->prompts);
}

/* All experts named (NULL: all there are) in service on test, without limits. */
static int try_subset(struct smo_trial *t, const struct work *w, const char *experts,
                      struct err *err)
{
    struct select_options s;
    struct select_report r = {0};
    int rc = begin(&s, w, &w->o->test, err);
    s.experts = experts;
    if (!rc)
        rc = select_run(&r, &s, err);
    if (!rc) {
        const struct select_group *g = &r.groups[0];
        const struct select_answer *a = &g->result.answers[0];
        take_point(t, g, &a->all);
        t->n_oracle = g->result.oracle;
        names_of(t->subset, sizeof t->subset, &r, vote_everyone(r.n_experts), ", ");
        w->report->n_experts = experts ? w->report->n_experts : r.n_experts;
    }
    select_report_release(&r);
    return rc;
}

/* ---- rows ---- */

static int try_members(struct smo_trial *t, const struct work *w, const struct select_report *r,
                       uint64_t members, struct err *err)
{
    char names[SMO_SUBSET_BYTES];
    names_of(names, sizeof names, r, members, ",");
    return try_subset(t, w, names, err);
}

static int fill_row(struct smo_row *row, const struct work *w, const struct select_report *r,
                    int64_t i, struct err *err)
{
    const struct select_group *g = &r->groups[0];
    const struct select_answer *a = &g->result.answers[i];
    row->latency_limit_s = r->latency_limits_s[i];
    row->energy_limit_j = r->energy_limits_j[i];
    row->optimal = a->optimal;
    row->random = a->has_single ? a->random : NAN;
    row->n_feasible = a->n_feasible;
    if (!a->feasible)
        return 0;
    take_point(&row->train, g, &a->best);
    row->train.n_oracle = a->oracle_subset;
    names_of(row->train.subset, sizeof row->train.subset, r, a->best.members, ", ");
    int rc = try_members(&row->test, w, r, a->best.members, err);
    if (!rc && a->has_single)
        rc = try_members(&row->single_test, w, r, a->single.members, err);
    return rc;
}

/* "1,2,3", or "inf" for a table without limits of that kind. */
static int limits_text(struct buf *out, const double *x, int64_t n, bool given, struct err *err)
{
    int rc = given && n ? 0 : buf_puts(out, "inf", err);
    for (int64_t i = 0; i < n && given && !rc; i++)
        rc = buf_printf(out, err, "%s%.17g", i ? "," : "", x[i]);
    return rc;
}

static int fill_table(struct work *w, enum smo_table table, struct err *err)
{
    const struct smo_options *o = w->o;
    struct select_options s;
    struct select_report r = {0};
    struct buf latency = {0}, energy = {0};
    int rc = begin(&s, w, &o->train, err);
    if (!rc)
        rc = limits_text(&latency, o->latency_s, o->n_latency, table != SMO_ENERGY, err);
    if (!rc)
        rc = limits_text(&energy, o->energy_j, o->n_energy, table != SMO_LATENCY, err);
    s.latency_s = latency.bytes;
    s.energy_j = energy.bytes;
    if (!rc)
        rc = select_run(&r, &s, err);
    struct smo_row *rows = rc ? NULL : calloc((size_t)r.n_limits, sizeof *rows);
    if (!rc && !rows)
        rc = err_set(err, MOE2_ELIMIT, "no memory for %lld rows", (long long)r.n_limits);
    w->report->rows[table] = rows;
    w->report->n_rows[table] = rc ? 0 : r.n_limits;
    for (int64_t i = 0; i < w->report->n_rows[table] && !rc; i++)
        rc = fill_row(&rows[i], w, &r, i, err);
    select_report_release(&r);
    buf_release(&latency);
    buf_release(&energy);
    return rc;
}

/* ---- everything ---- */

static void count_subsets(struct smo_report *r)
{
    const char *seen[3 * SMO_MAX_LIMITS];
    for (int t = 0; t < SMO_N_TABLES; t++)
        for (int64_t i = 0; i < r->n_rows[t]; i++) {
            const struct smo_trial *s = &r->rows[t][i].train;
            int64_t k = 0;
            while (k < r->n_subsets && strcmp(seen[k], s->subset) != 0)
                k++;
            if (s->there && k == r->n_subsets && k < (int64_t)(sizeof seen / sizeof *seen))
                seen[r->n_subsets++] = s->subset;
        }
}

int smo_tables_run(struct smo_report *r, const struct smo_options *o, struct err *err)
{
    struct work w = {.o = o, .report = r};
    r->note = o->note;
    if (o->n_latency * o->n_energy > SMO_MAX_LIMITS || o->n_latency < 1 || o->n_energy < 1)
        return err_set(err, MOE2_ECONFIG,
                       "%lld latency limits times %lld energy limits, wanted 1 to %d pairs",
                       (long long)o->n_latency, (long long)o->n_energy, SMO_MAX_LIMITS);
    snprintf(w.tokens, sizeof w.tokens, "%lld", (long long)o->output_tokens);
    int rc = try_subset(&r->all_test, &w, NULL, err);
    for (int t = 0; t < SMO_N_TABLES && !rc; t++)
        rc = fill_table(&w, (enum smo_table)t, err);
    if (!rc)
        count_subsets(r);
    return rc ? rc : smo_tables_write(r, o, err);
}

void smo_report_release(struct smo_report *r)
{
    for (int t = 0; t < SMO_N_TABLES; t++)
        free(r->rows[t]);
    *r = (struct smo_report){0};
}
