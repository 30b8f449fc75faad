/* One fleet of the study: its accuracies without budgets, and its best plan within each. See study_parts.h. */
#include <assert.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "pipeline/study_parts.h"

enum { N_ENERGIES = 9, N_LATENCIES = 3 };

/* The expert with the most right on train; the lowest of equals. */
static int best_single(const struct study_fitted *w)
{
    const struct study_fleet *f = w->fleet;
    int best = 0;
    int64_t most = -1;
    for (int e = 0; e < f->N; e++) {
        int64_t n = 0;
        for (int64_t i = 0; i < w->data->sides[STUDY_TRAIN].n; i++)
            n += f->sides[STUDY_TRAIN].right[i * f->N + e] == 1;
        if (n > most) {
            most = n;
            best = e;
        }
    }
    return best;
}

/* ---- accuracies without budgets ---- */

/* The paired gain of a plan over the best single one on test. */
static int gain_of(struct stats_interval *gain, const struct study_fitted *w,
                   const struct study_plan *plan, struct err *err)
{
    int64_t n = w->data->sides[STUDY_TEST].n, ignored[2];
    const struct study_plan single = {0, 1, FORWARD_TOP1, UINT64_C(1) << best_single(w)};
    bool *right = malloc((size_t)n * 2 * sizeof *right);
    double *x = malloc((size_t)n * 2 * sizeof *x);
    int rc = right && x ? 0 : err_set(err, MOE2_ELIMIT, "no memory for %lld answers", (long long)n);
    if (!rc) {
        study_walk(right, ignored, ignored + 1, w, plan, SELECT_ROUTED, STUDY_TEST);
        study_walk(right + n, ignored, ignored + 1, w, &single, SELECT_ROUTED, STUDY_TEST);
        for (int64_t i = 0; i < 2 * n; i++)
            x[i] = right[i];
        *gain = stats_paired95(x, x + n, n);
    }
    free(right);
    free(x);
    return rc;
}

/* Adds r's next row: what the plan is worth with what w has fitted. fmt and what follows are the label. */
static int add_row(struct study_result *r, const struct study_fitted *w,
                   const struct study_plan *plan, const char *how, struct err *err, const char *fmt,
                   ...) __attribute__((format(printf, 6, 7)));

static int add_row(struct study_result *r, const struct study_fitted *w,
                   const struct study_plan *plan, const char *how, struct err *err, const char *fmt,
                   ...)
{
    assert(r->n_rows < STUDY_MAX_ROWS);
    struct study_row *row = &r->rows[r->n_rows];
    va_list args;
    *row = (struct study_row){0};
    va_start(args, fmt);
    vsnprintf(row->label, sizeof row->label, fmt, args);
    va_end(args);
    snprintf(row->how, sizeof row->how, "%s", how);
    int rc = study_judge(&row->worth, w, plan, SELECT_ROUTED, err);
    if (!rc)
        rc = gain_of(&row->gain, w, plan, err);
    r->n_rows += !rc;
    return rc;
}

static int add_single(struct study_result *r, struct err *err)
{
    const struct study_fitted *w = &r->fitted;
    int best = best_single(w);
    const struct study_plan plan = {0, 1, FORWARD_TOP1, UINT64_C(1) << best};
    int rc =
        add_row(r, w, &plan, w->data->answers.names[r->fleet.column[best]], err, "best single");
    if (rc)
        return rc;
    r->rows[0].is_single = true;
    r->single = r->rows[0].worth.test.mean;
    return 0;
}

/* Each gate's first choice; majorities of three, of five and of all. */
static int add_votes(struct study_result *r, struct err *err)
{
    const struct study_fitted *w = &r->fitted;
    struct study_plan plan = {0, 1, FORWARD_TOP1, vote_everyone(r->fleet.N)};
    int rc = 0;
    for (plan.gate = 0; plan.gate < w->gates.n && !rc; plan.gate++)
        rc = add_row(r, w, &plan, "the gate's first choice", err, "gate %s, k = 1",
                     w->gates.list[plan.gate].kind);
    plan.gate = w->best_gate;
    plan.combine = FORWARD_VOTE;
    for (plan.k = 3; plan.k <= 5 && plan.k < r->fleet.N && !rc; plan.k += 2)
        rc = add_row(r, w, &plan, "majority", err, "gate %s, k = %d, vote",
                     w->gates.list[plan.gate].kind, plan.k);
    plan.k = r->fleet.N;
    return rc ? rc : add_row(r, w, &plan, "majority", err, "all, vote");
}

/* The learned combination without gate scores: what is fitted, with other weights on test; on train it is known from its fit. */
static int add_text_free(struct study_result *r, struct err *err)
{
    struct study_fitted other = r->fitted;
    const struct study_learned *l = &other.learned;
    const struct vote_learned v = {l->shape_text_free, l->theta_text_free};
    const struct study_plan plan = {other.best_gate, r->fleet.N, FORWARD_LEARNED,
                                    vote_everyone(r->fleet.N)};
    int64_t n = other.data->sides[STUDY_TEST].n;
    float *weights = malloc((size_t)(n * r->fleet.N) * sizeof *weights);
    if (!weights)
        return err_set(err, MOE2_ELIMIT, "no memory for %lld learned weights",
                       (long long)(n * r->fleet.N));
    for (int64_t i = 0; i < n; i++)
        for (int e = 0; e < r->fleet.N; e++)
            weights[i * r->fleet.N + e] =
                (float)vote_learned_weight(&v, &l->view_text_free[STUDY_TEST], i, e);
    other.weights[STUDY_TEST] = weights;
    int rc =
        add_row(r, &other, &plan, "answers and categories alone", err, "all, learned, text-free");
    if (!rc)
        r->rows[r->n_rows - 1].worth.correct[STUDY_TRAIN] = l->text_free.correct;
    free(weights);
    return rc;
}

static int add_learned(struct study_result *r, struct err *err)
{
    const struct study_plan plan = {r->fitted.best_gate, r->fleet.N, FORWARD_LEARNED,
                                    vote_everyone(r->fleet.N)};
    return add_row(r, &r->fitted, &plan, "learned weights", err, "all, learned");
}

/* What was chosen without limits, where something was. */
static int add_chosen(struct study_result *r, struct err *err)
{
    const struct study_plan *plan = &r->cells[0].plan;
    char how[160];
    if (plan->gate < 0)
        return 0;
    snprintf(how, sizeof how, "%d in service, k = %d, %s, gate %s",
             __builtin_popcountll(plan->members), plan->k, forward_combine_name(plan->combine),
             r->fitted.gates.list[plan->gate].kind);
    int rc = add_row(r, &r->fitted, plan, how, err, "chosen on train");
    if (!rc)
        r->rows[r->n_rows - 1].is_chosen = true;
    return rc;
}

static int fill_rows(struct study_result *r, struct err *err)
{
    int rc = add_single(r, err);
    if (!rc)
        rc = add_votes(r, err);
    if (!rc)
        rc = add_text_free(r, err);
    if (!rc)
        rc = add_learned(r, err);
    return rc ? rc : add_chosen(r, err);
}

/* ---- budgets ---- */

static double mean_cost(const int64_t *each, int64_t n, int N, int e)
{
    double sum = 0;
    for (int64_t i = 0; i < n; i++)
        sum += (double)each[i * N + e];
    return sum / (double)n;
}

/* No limit; energies on a geometric grid from the cheapest expert to all of them; latencies between the fastest and the slowest one. */
static void make_grid(struct study_result *r)
{
    const struct study_fleet *f = &r->fleet;
    int64_t n = r->fitted.data->sides[STUDY_TRAIN].n;
    const struct select_limits none = {SELECT_NO_LIMIT, SELECT_NO_LIMIT};
    double low = INFINITY, sum = 0, fast = INFINITY, slow = 0;
    r->n_cells = 0;
    r->cells[r->n_cells++].limits = none;
    if (!f->has_costs)
        return;
    for (int e = 0; e < f->N; e++) {
        double energy = mean_cost(f->sides[STUDY_TRAIN].energy_uj, n, f->N, e);
        double latency = mean_cost(f->sides[STUDY_TRAIN].latency_us, n, f->N, e);
        low = fmin(low, energy);
        sum += energy;
        fast = fmin(fast, latency);
        slow = fmax(slow, latency);
    }
    for (int i = 0; i < N_ENERGIES; i++) {
        struct select_limits l = none;
        l.energy_uj = (int64_t)(1.02 * low * pow(sum / low, (double)i / N_ENERGIES));
        r->cells[r->n_cells++].limits = l;
    }
    for (int j = 0; j < N_LATENCIES; j++)
        for (int i = -1; i < N_ENERGIES; i += 3) {
            struct select_limits l = none;
            l.latency_us = (int64_t)(1.02 * fast * pow(slow / fast, (double)(2 * j + 1) / 6));
            if (i >= 0)
                l.energy_uj = r->cells[1 + i].limits.energy_uj;
            r->cells[r->n_cells++].limits = l;
        }
}

int study_fleet_run(struct study_result *r, struct study_data *d, const struct study_gates *gates,
                    const struct study_options *o, struct err *err)
{
    int rc = study_fit(&r->fitted, d, &r->fleet, gates, o, err);
    if (rc)
        return rc;
    make_grid(r);
    rc = study_solve(r->cells, r->n_cells, &r->fitted, SELECT_ROUTED, 5, o->time_limit_s,
                     o->files.sink, o->stop, err);
    if (rc)
        return rc;
    r->oracle = r->cells[0].oracle;
    return fill_rows(r, err);
}

double study_gap(const struct study_result *r, double accuracy)
{
    return (accuracy - r->single) / (r->oracle - r->single);
}
