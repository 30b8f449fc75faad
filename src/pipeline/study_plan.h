/* Plans of a fleet, and the best one within each budget: gate, how many are asked, how their answers are combined and who is in service, all
 * chosen on train by out-of-fold scores, then judged on test.
 */
#ifndef MOE2_PIPELINE_STUDY_PLAN_H
#define MOE2_PIPELINE_STUDY_PLAN_H

#include "pipeline/study.h"
#include "base/stats.h"
#include "pipeline/forward.h"
#include "pipeline/study_fit.h"

struct study_plan {
    int gate; /* of the list; −1: none was found */
    int k;
    enum forward_combine combine;
    uint64_t members;
};

/* What a plan is worth on both sides; costs a question, NaN without them. */
struct study_worth {
    int64_t n[STUDY_N_SIDES], correct[STUDY_N_SIDES];
    struct stats_interval test; /* accuracy */
    double latency_s[STUDY_N_SIDES], energy_j[STUDY_N_SIDES];
};

/* Everything fitted to one fleet. */
struct study_fitted {
    struct study_data *data;
    struct study_fleet *fleet;
    struct study_gates gates;
    int best_gate; /* most right on train by its first choice */
    struct study_learned learned;
    float *weights[STUDY_N_SIDES]; /* [n, N] of the learned combination; train: out of fold */
};

struct study_cell {
    struct select_limits limits;
    struct study_plan plan;
    struct study_worth worth;
    bool optimal; /* of the plan's kind, by the selector's certificate */
    int64_t
        n_feasible; /* subsets within the limits, deployed and up to 20 experts; −1: not counted */
    struct study_plan single;
    struct study_worth single_worth, greedy_worth, all_worth;
    bool has_single, all_feasible;
    double random, oracle; /* on train; on test */
};

/* Takes the fleet's part of the gates, and fits the learned combination. */
int study_fit(struct study_fitted *w, struct study_data *d, struct study_fleet *f,
              const struct study_gates *gates, const struct study_options *o, struct err *err);

/* What a plan is worth. MOE2_ELIMIT without memory. */
int study_judge(struct study_worth *out, const struct study_fitted *w, const struct study_plan *p,
                enum select_cost cost, struct err *err);

/* How a plan is right on one side: right [n]. */
void study_walk(bool *right, int64_t *latency_us, int64_t *energy_uj, const struct study_fitted *w,
                const struct study_plan *p, enum select_cost cost, int side);

/* Fills cells [n], whose limits are given. max_k: largest number asked by votes. time_limit_s for each search beyond 20 experts. Errors:
 * those of select_solve; MOE2_ELIMIT without memory. */
int study_solve(struct study_cell *cells, int64_t n, const struct study_fitted *w,
                enum select_cost cost, int max_k, double time_limit_s, const struct log_sink *sink,
                const volatile int *stop, struct err *err);

#endif
