/* Fitting a fleet, and what a plan is worth: see study_plan.h. */
#include "pipeline/study_plan.h"
#include "route/vote.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static int64_t first_choice_correct(const struct study_fitted *w, int gate)
{
    const struct study_fleet *f = w->fleet;
    int64_t correct = 0;
    for (int64_t i = 0; i < w->data->sides[STUDY_TRAIN].n; i++) {
        int first = 0;
        vote_call(&first, w->gates.list[gate].scores[STUDY_TRAIN] + i * f->N, f->N, ~UINT64_C(0),
                  1);
        correct += f->sides[STUDY_TRAIN].right[i * f->N + first] == 1;
    }
    return correct;
}

static int make_weights(struct study_fitted *w, struct err *err)
{
    const struct study_learned *l = &w->learned;
    for (int k = 0; k < STUDY_N_SIDES; k++) {
        int64_t n = w->data->sides[k].n, N = w->fleet->N;
        w->weights[k] = arena_alloc(&w->data->memory, (size_t)(n * N) * sizeof(float), err);
        if (!w->weights[k])
            return MOE2_ELIMIT;
        for (int64_t i = 0; i < n; i++) {
            const struct vote_learned v = {l->shape,
                                           k == STUDY_TRAIN ? l->theta_fold[l->fold[i]] : l->theta};
            for (int e = 0; e < N; e++)
                w->weights[k][i * N + e] = (float)vote_learned_weight(&v, &l->view[k], i, e);
        }
    }
    return 0;
}

int study_fit(struct study_fitted *w, struct study_data *d, struct study_fleet *f,
              const struct study_gates *gates, const struct study_options *o, struct err *err)
{
    int64_t most = -1;
    *w = (struct study_fitted){.data = d, .fleet = f};
    int rc = study_gates_take(&w->gates, gates, d, f, err);
    for (int g = 0; g < w->gates.n && !rc; g++) {
        int64_t correct = first_choice_correct(w, g);
        if (correct > most) {
            most = correct;
            w->best_gate = g;
        }
    }
    if (!rc)
        rc = study_learned_fit(&w->learned, d, &w->gates, (uint64_t)o->seed, o->files.sink, o->stop,
                               err);
    return rc ? rc : make_weights(w, err);
}

/* ---- walking ---- */

/* Whether the asked are right together by the learned weights: largest sum, then the lowest first giver. */
static bool right_by_weights(const struct study_fitted *w, int side, int64_t i, const int *asked,
                             int n)
{
    double sum[VOTE_MAX_OPTIONS] = {0};
    int first[VOTE_MAX_OPTIONS], best = -1, N = w->fleet->N;
    const int8_t *options = w->fleet->sides[side].options + i * N;
    memset(first, -1, sizeof first);
    for (int j = 0; j < n; j++) {
        int o = options[asked[j]];
        if (o < 0)
            continue;
        sum[o] += (double)w->weights[side][i * N + asked[j]];
        if (first[o] < 0 || asked[j] < first[o])
            first[o] = asked[j];
    }
    for (int o = 0; o < VOTE_MAX_OPTIONS; o++)
        if (first[o] >= 0 &&
            (best < 0 || sum[o] > sum[best] || (sum[o] == sum[best] && first[o] < first[best])))
            best = o;
    return best >= 0 && best == w->data->sides[side].truth[i];
}

static bool right_by_votes(const struct study_fitted *w, int side, int64_t i, const int *asked,
                           int n, enum vote_kind kind, const float *scores)
{
    int32_t answers[VOTE_MAX_EXPERTS];
    float own[VOTE_MAX_EXPERTS];
    const int8_t *right = w->fleet->sides[side].right + i * w->fleet->N;
    if (kind == VOTE_TOP1)
        return n && right[asked[0]] == 1;
    for (int j = 0; j < n; j++) {
        answers[j] = w->fleet->sides[side].answer[i * w->fleet->N + asked[j]];
        own[j] = scores[asked[j]];
    }
    int winner = vote_by_answer(kind, answers, own, n);
    return winner >= 0 && right[asked[winner]] == 1;
}

/* What the asked cost: the slowest, and the sum. */
static void add_costs(int64_t *latency, int64_t *energy, const struct study_fleet *f, int side,
                      int64_t i, const int *asked, int n)
{
    int64_t slowest = 0;
    for (int j = 0; j < n; j++) {
        int64_t t = f->sides[side].latency_us[i * f->N + asked[j]];
        slowest = t > slowest ? t : slowest;
        *energy += f->sides[side].energy_uj[i * f->N + asked[j]];
    }
    *latency += slowest;
}

/* Deployed: the largest of the members' sums, and the sum of all. */
static void deployed_costs(int64_t *latency, int64_t *energy, const struct study_fitted *w,
                           uint64_t members, int side)
{
    const struct study_fleet *f = w->fleet;
    *latency = *energy = 0;
    for (int e = 0; e < f->N; e++) {
        int64_t sum = 0;
        for (int64_t i = 0; i < w->data->sides[side].n && (members >> e & 1); i++) {
            sum += f->sides[side].latency_us[i * f->N + e];
            *energy += f->sides[side].energy_uj[i * f->N + e];
        }
        *latency = sum > *latency ? sum : *latency;
    }
}

static int members_of(int *list, uint64_t members, int N)
{
    int n = 0;
    for (int e = 0; e < N; e++)
        if (members >> e & 1)
            list[n++] = e;
    return n;
}

void study_walk(bool *right, int64_t *latency_us, int64_t *energy_uj, const struct study_fitted *w,
                const struct study_plan *p, enum select_cost cost, int side)
{
    static const enum vote_kind KINDS[] = {VOTE_TOP1, VOTE_MAJORITY, VOTE_WEIGHTED, VOTE_TOP1};
    const struct study_fleet *f = w->fleet;
    const float *scores = w->gates.list[p->gate].scores[side];
    int asked[VOTE_MAX_EXPERTS], n = members_of(asked, p->members, f->N);
    bool is_fixed = p->combine == FORWARD_LEARNED && p->k >= n; /* all asked, in any order */
    *latency_us = *energy_uj = 0;
    for (int64_t i = 0; i < w->data->sides[side].n; i++) {
        if (!is_fixed)
            n = vote_call(asked, scores + i * f->N, f->N, p->members, p->k);
        right[i] = p->combine == FORWARD_LEARNED
                       ? right_by_weights(w, side, i, asked, n)
                       : right_by_votes(w, side, i, asked, n, KINDS[p->combine], scores + i * f->N);
        if (f->has_costs && cost == SELECT_ROUTED)
            add_costs(latency_us, energy_uj, f, side, i, asked, n);
    }
    if (f->has_costs && cost == SELECT_DEPLOYED)
        deployed_costs(latency_us, energy_uj, w, p->members, side);
}

int study_judge(struct study_worth *out, const struct study_fitted *w, const struct study_plan *p,
                enum select_cost cost, struct err *err)
{
    const struct study_side *sides = w->data->sides;
    int64_t most = sides[0].n > sides[1].n ? sides[0].n : sides[1].n;
    bool *right = malloc((size_t)most * sizeof *right);
    double *x = malloc((size_t)most * sizeof *x);
    if (!right || !x) {
        free(right);
        free(x);
        return err_set(err, MOE2_ELIMIT, "no memory for %lld answers", (long long)most);
    }
    *out = (struct study_worth){0};
    for (int k = 0; k < STUDY_N_SIDES; k++) {
        int64_t n = sides[k].n, latency = 0, energy = 0;
        study_walk(right, &latency, &energy, w, p, cost, k);
        for (int64_t i = 0; i < n; i++) {
            out->correct[k] += right[i];
            x[i] = right[i];
        }
        if (k == STUDY_TEST)
            out->test = stats_interval95(x, n);
        out->n[k] = n;
        out->latency_s[k] = w->fleet->has_costs ? 1e-6 * (double)latency / (double)n : NAN;
        out->energy_j[k] = w->fleet->has_costs ? 1e-6 * (double)energy / (double)n : NAN;
    }
    free(right);
    free(x);
    return 0;
}
