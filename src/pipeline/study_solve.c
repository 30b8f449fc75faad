/* The best plan within each budget: see study_plan.h. Votes are searched by the selector, exact up to 20 experts; the learned combination over all
 * subsets up to ten experts, beyond over the subsets that the votes found and what grows out of them. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "pipeline/study_plan.h"

enum { ALL_SUBSETS = 10 };

struct solving {
    struct study_cell *cells;
    int64_t n, *best; /* best [n]: right on train so far, −1 none */
    const struct study_fitted *w;
    enum select_cost cost;
    int max_k;
    double time_limit_s;
    const volatile int *stop;
    struct select_limits *limits;
    bool *right; /* [n of train] scratch */
};

static struct select_problem problem_of(const struct solving *s, int gate, int k,
                                        enum vote_kind kind)
{
    const struct study_fleet *f = s->w->fleet;
    struct select_problem p = {.n = s->w->data->sides[STUDY_TRAIN].n,
                               .N = f->N,
                               .score = s->w->gates.list[gate].scores[STUDY_TRAIN],
                               .right = f->sides[STUDY_TRAIN].right,
                               .answer = kind == VOTE_TOP1 ? NULL : f->sides[STUDY_TRAIN].answer,
                               .cost = s->cost,
                               .combine = kind,
                               .k = k,
                               .max_experts = f->N,
                               .limits = s->limits,
                               .n_limits = s->n,
                               .time_limit_s = s->time_limit_s,
                               .stop = s->stop};
    p.latency_us.each = f->sides[STUDY_TRAIN].latency_us;
    p.energy_uj.each = f->sides[STUDY_TRAIN].energy_uj;
    return p;
}

static void take_answers(struct solving *s, const struct select_result *r, int gate, int k,
                         enum forward_combine combine)
{
    for (int64_t c = 0; c < s->n; c++) {
        const struct select_answer *a = &r->answers[c];
        if (!a->feasible || a->best.correct <= s->best[c])
            continue;
        s->best[c] = a->best.correct;
        s->cells[c].plan = (struct study_plan){gate, k, combine, a->best.members};
        s->cells[c].optimal = a->optimal;
    }
}

static int take_baselines(struct solving *s, const struct select_result *r, int gate,
                          struct err *err)
{
    const uint64_t all = vote_everyone(s->w->fleet->N);
    int rc = 0;
    for (int64_t c = 0; c < s->n && !rc; c++) {
        const struct select_answer *a = &r->answers[c];
        struct study_cell *cell = &s->cells[c];
        struct study_plan plan = {gate, 1, FORWARD_TOP1, all};
        rc = study_judge(&cell->all_worth, s->w, &plan, s->cost, err);
        cell->all_feasible = a->all_feasible;
        cell->n_feasible = s->cost == SELECT_DEPLOYED ? a->n_feasible : -1;
        cell->has_single = a->has_single;
        cell->random = a->has_single ? a->random : NAN;
        if (rc || !a->has_single)
            continue;
        plan.members = a->single.members;
        cell->single = plan;
        rc = study_judge(&cell->single_worth, s->w, &plan, s->cost, err);
        plan.members = a->greedy.members;
        if (!rc)
            rc = study_judge(&cell->greedy_worth, s->w, &plan, s->cost, err);
    }
    return rc;
}

static int solve_one(struct solving *s, int gate, int k, enum forward_combine combine,
                     struct err *err)
{
    static const enum vote_kind KINDS[] = {VOTE_TOP1, VOTE_MAJORITY, VOTE_WEIGHTED};
    struct select_problem p = problem_of(s, gate, k, KINDS[combine]);
    struct select_result r = {0};
    int rc = select_solve(&r, &p, err);
    if (!rc)
        take_answers(s, &r, gate, k, combine);
    if (!rc && combine == FORWARD_TOP1 && gate == s->w->best_gate)
        rc = take_baselines(s, &r, gate, err);
    select_result_release(&r);
    return rc;
}

static int solve_votes(struct solving *s, struct progress *p, struct err *err)
{
    int N = s->w->fleet->N, rc = 0;
    bool many = N > SELECT_MAX_ENUMERATED;
    for (int g = 0; g < s->w->gates.n && !rc; g++) {
        rc = solve_one(s, g, 1, FORWARD_TOP1, err);
        for (int k = 3; k <= s->max_k && k <= N && !rc && (!many || g == s->w->best_gate); k += 2) {
            rc = solve_one(s, g, k, FORWARD_VOTE, err);
            if (!rc && !many && s->w->gates.list[g].probabilities)
                rc = solve_one(s, g, k, FORWARD_WEIGHTED, err);
        }
        progress_set(p, g + 1);
    }
    return rc;
}

/* ---- the learned combination ---- */

struct worth {
    int64_t correct, latency, energy;
};

static struct worth worth_of(struct solving *s, const struct study_plan *p)
{
    struct worth x = {0};
    study_walk(s->right, &x.latency, &x.energy, s->w, p, s->cost, STUDY_TRAIN);
    for (int64_t i = 0; i < s->w->data->sides[STUDY_TRAIN].n; i++)
        x.correct += s->right[i];
    return x;
}

static bool within(const struct worth *x, const struct select_limits *l, int64_t n)
{
    return (l->latency_us == SELECT_NO_LIMIT ||
            (__int128)x->latency <= (__int128)l->latency_us * n) &&
           (l->energy_uj == SELECT_NO_LIMIT || (__int128)x->energy <= (__int128)l->energy_uj * n);
}

/* Offers a plan to every cell that it fits into. */
static void offer(struct solving *s, const struct study_plan *p)
{
    struct worth x = worth_of(s, p);
    for (int64_t c = 0; c < s->n; c++)
        if (x.correct > s->best[c] && within(&x, &s->limits[c], s->w->data->sides[STUDY_TRAIN].n)) {
            s->best[c] = x.correct;
            s->cells[c].plan = *p;
            s->cells[c].optimal = false;
        }
}

static void offer_asked(struct solving *s, uint64_t members)
{
    int n = __builtin_popcountll(members);
    for (int k = 3; k <= s->max_k && k < n; k += 2)
        offer(s, &(struct study_plan){s->w->best_gate, k, FORWARD_LEARNED, members});
    if (n > 1)
        offer(s, &(struct study_plan){s->w->best_gate, n, FORWARD_LEARNED, members});
}

/* From a cell's members on: the expert that makes most right, all asked, as long as one does and it fits. */
static void grow(struct solving *s, int64_t cell, uint64_t members)
{
    for (bool better = true; better;) {
        int64_t before = s->best[cell];
        uint64_t from = members;
        better = false;
        for (int e = 0; e < s->w->fleet->N; e++) {
            uint64_t more = from | UINT64_C(1) << e;
            if (more == from)
                continue;
            offer(s, &(struct study_plan){s->w->best_gate, __builtin_popcountll(more),
                                          FORWARD_LEARNED, more});
            if (s->best[cell] > before) {
                before = s->best[cell];
                members = more;
                better = true;
            }
        }
    }
}

static void solve_learned(struct solving *s, const struct log_sink *sink)
{
    struct progress p;
    int N = s->w->fleet->N;
    if (N <= ALL_SUBSETS) {
        progress_begin(&p, sink, "subsets", (double)(1 << N), "");
        for (uint64_t m = 1; m < UINT64_C(1) << N && !(s->stop && *s->stop); m++) {
            offer_asked(s, m);
            progress_set(&p, (double)m);
        }
        progress_end(&p);
        return;
    }
    offer_asked(s, vote_everyone(N));
    progress_begin(&p, sink, "budgets", (double)s->n, "");
    for (int64_t c = 0; c < s->n && !(s->stop && *s->stop); c++) {
        uint64_t members = s->cells[c].plan.members;
        bool seen = s->cells[c].plan.gate < 0;
        for (int64_t b = 0; b < c && !seen; b++)
            seen = s->cells[b].plan.members == members;
        if (s->cells[c].plan.gate >= 0 && !seen)
            offer_asked(s, members);
        if (s->cells[c].plan.gate >= 0)
            grow(s, c, s->cells[c].single.members);
        progress_set(&p, (double)c + 1);
    }
    progress_end(&p);
}

/* ---- the whole ---- */

/* The share of test's questions that some expert has right. */
static double oracle_of(const struct study_fitted *w)
{
    int64_t n = w->data->sides[STUDY_TEST].n, some = 0;
    for (int64_t i = 0; i < n; i++) {
        bool any = false;
        for (int e = 0; e < w->fleet->N; e++)
            any |= w->fleet->sides[STUDY_TEST].right[i * w->fleet->N + e] == 1;
        some += any;
    }
    return (double)some / (double)n;
}

int study_solve(struct study_cell *cells, int64_t n, const struct study_fitted *w,
                enum select_cost cost, int max_k, double time_limit_s, const struct log_sink *sink,
                const volatile int *stop, struct err *err)
{
    struct progress p;
    struct solving s = {.cells = cells,
                        .n = n,
                        .w = w,
                        .cost = cost,
                        .max_k = max_k,
                        .time_limit_s = time_limit_s,
                        .stop = stop};
    double oracle = oracle_of(w);
    s.best = malloc((size_t)n * sizeof *s.best);
    s.limits = malloc((size_t)n * sizeof *s.limits);
    s.right = malloc((size_t)w->data->sides[STUDY_TRAIN].n * sizeof *s.right);
    int rc = s.best && s.limits && s.right ? 0 : err_set(err, MOE2_ELIMIT, "no memory to solve");
    for (int64_t c = 0; c < n && !rc; c++) {
        s.best[c] = -1;
        s.limits[c] = cells[c].limits;
        cells[c].plan = (struct study_plan){.gate = -1};
        cells[c].oracle = oracle;
        cells[c].n_feasible = -1;
    }
    progress_begin(&p, sink, w->fleet->name, w->gates.n, "gates");
    if (!rc)
        rc = solve_votes(&s, &p, err);
    progress_end(&p);
    if (!rc && max_k > 1)
        solve_learned(&s, sink);
    for (int64_t c = 0; c < n && !rc; c++)
        if (cells[c].plan.gate >= 0)
            rc = study_judge(&cells[c].worth, w, &cells[c].plan, cost, err);
    free(s.best);
    free(s.limits);
    free(s.right);
    return rc;
}
