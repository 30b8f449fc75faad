/* One fleet of the study: its accuracies without budgets, and its best plan within each. See study_parts.h. */
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "pipeline/study_parts.h"

enum { N_ENERGIES = 9, N_LATENCIES = 3 };

static uint64_t all_of(const struct study_fleet *f)
{
    return f->N == 64 ? ~UINT64_C(0) : (UINT64_C(1) << f->N) - 1;
}

static int best_single(const struct study_result *r)
{
    const struct study_fleet *f = &r->fleet;
    int best = 0;
    int64_t most = -1;
    for (int e = 0; e < f->N; e++) {
        int64_t n = 0;
        for (int64_t i = 0; i < r->fitted.data->sides[STUDY_TRAIN].n; i++)
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
static void add_gain(struct study_row *row, const struct study_result *r,
                     const struct study_plan *plan)
{
    int64_t n = r->fitted.data->sides[STUDY_TEST].n, ignored[2];
    const struct study_plan single = {0, 1, FORWARD_TOP1, UINT64_C(1) << best_single(r)};
    bool *right = malloc((size_t)n * 2 * sizeof *right);
    double *x = malloc((size_t)n * 2 * sizeof *x);
    if (right && x) {
        study_walk(right, ignored, ignored + 1, &r->fitted, plan, SELECT_ROUTED, STUDY_TEST);
        study_walk(right + n, ignored, ignored + 1, &r->fitted, &single, SELECT_ROUTED, STUDY_TEST);
        for (int64_t i = 0; i < 2 * n; i++)
            x[i] = right[i];
        row->gain = stats_paired95(x, x + n, n);
    }
    free(right);
    free(x);
}

static struct study_row *add_row(struct study_result *r, const struct study_plan *plan,
                                 const char *how, const char *fmt, ...)
    __attribute__((format(printf, 4, 5)));

static struct study_row *add_row(struct study_result *r, const struct study_plan *plan,
                                 const char *how, const char *fmt, ...)
{
    struct study_row *row = &r->rows[r->n_rows];
    if (r->n_rows == STUDY_MAX_ROWS)
        return row - 1;
    va_list args;
    *row = (struct study_row){0};
    va_start(args, fmt);
    vsnprintf(row->label, sizeof row->label, fmt, args);
    va_end(args);
    snprintf(row->how, sizeof row->how, "%s", how);
    study_judge(&row->worth, &r->fitted, plan, SELECT_ROUTED);
    add_gain(row, r, plan);
    r->n_rows++;
    return row;
}

/* The learned combination without gate scores: judged by hand, for its weights are not the fleet's. */
static void add_text_free(struct study_result *r)
{
    struct study_fitted copy = r->fitted;
    const struct study_learned *l = &copy.learned;
    const struct study_plan plan = {copy.best_gate, r->fleet.N, FORWARD_LEARNED, all_of(&r->fleet)};
    int64_t n = copy.data->sides[STUDY_TEST].n;
    float *weights = malloc((size_t)(n * r->fleet.N) * sizeof *weights);
    if (!weights)
        return;
    const struct vote_learned v = {l->shape_text_free, l->theta_text_free};
    for (int64_t i = 0; i < n; i++)
        for (int e = 0; e < r->fleet.N; e++)
            weights[i * r->fleet.N + e] =
                (float)vote_learned_weight(&v, &l->view_text_free[STUDY_TEST], i, e);
    float *kept = r->fitted.weights[STUDY_TEST];
    r->fitted.weights[STUDY_TEST] = weights;
    struct study_row *row =
        add_row(r, &plan, "answers and categories alone", "all, learned, text-free");
    row->worth.correct[STUDY_TRAIN] = l->text_free.correct;
    r->fitted.weights[STUDY_TEST] = kept;
    free(weights);
}

static void fill_rows(struct study_result *r)
{
    const struct study_fitted *w = &r->fitted;
    uint64_t all = all_of(&r->fleet);
    int best = best_single(r), g = w->best_gate;
    struct study_plan plan = {0, 1, FORWARD_TOP1, UINT64_C(1) << best};
    add_row(r, &plan, w->data->answers.names[r->fleet.column[best]], "best single")->is_single =
        true;
    r->single = r->rows[0].worth.test.mean;
    for (int i = 0; i < w->n_gates; i++) {
        plan = (struct study_plan){i, 1, FORWARD_TOP1, all};
        add_row(r, &plan, "the gate's first choice", "gate %s, k = 1", w->gates[i].kind);
    }
    for (int k = 3; k <= 5 && k < r->fleet.N; k += 2) {
        plan = (struct study_plan){g, k, FORWARD_VOTE, all};
        add_row(r, &plan, "majority", "gate %s, k = %d, vote", w->gates[g].kind, k);
    }
    plan = (struct study_plan){g, r->fleet.N, FORWARD_VOTE, all};
    add_row(r, &plan, "majority", "all, vote");
    add_text_free(r);
    plan.combine = FORWARD_LEARNED;
    add_row(r, &plan, "learned weights", "all, learned");
    if (r->cells[0].plan.gate >= 0) {
        char how[160];
        plan = r->cells[0].plan;
        snprintf(how, sizeof how, "%d in service, k = %d, %s, gate %s",
                 __builtin_popcountll(plan.members), plan.k, forward_combine_name(plan.combine),
                 w->gates[plan.gate].kind);
        add_row(r, &plan, how, "chosen on train")->is_chosen = true;
    }
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
    fill_rows(r);
    return 0;
}

double study_gap(const struct study_result *r, double accuracy)
{
    return (accuracy - r->single) / (r->oracle - r->single);
}
