/* The selector: which experts are in service, so that the most prompts are answered right within a latency and an energy limit.
 *
 * Exact, with a proof, for a whole grid of limits in one run. Costs are whole numbers (µs, µJ), so that sums, limits and ties are
 * exact; every tie is broken by rule, so that each answer is unique. docs/selecting.md says what the words mean.
 *
 *     struct select_problem p = {…};
 *     struct select_result r = {0};
 *     select_solve(&r, &p, err);
 *     … r.answers[g].best.members …
 *     select_result_release(&r);
 *
 * Knows neither files nor names: plain arrays, experts numbered from 0 to N − 1, sets of them as bits.
 */
#ifndef MOE2_ROUTE_SELECT_H
#define MOE2_ROUTE_SELECT_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "base/log.h"
#include "route/vote.h"

#define SELECT_NO_LIMIT INT64_MAX

enum {
    SELECT_MAX_EXPERTS = 64,
    SELECT_MAX_ENUMERATED = 20, /* every subset is looked at up to so many experts */
    SELECT_MAX_LIMITS = 65536,  /* cells of the grid */
};

enum select_cost { SELECT_DEPLOYED, SELECT_ROUTED };
enum select_objective { SELECT_ACCURACY, SELECT_COVERAGE };
enum select_method { SELECT_AUTO, SELECT_ENUMERATE };
enum select_stat { STAT_MEAN, STAT_P50, STAT_P90, STAT_P95, STAT_P99, STAT_MAX, STAT_N };

/* A cost of every expert on every prompt, ≥ 0. */
struct select_costs {
    const int64_t *each;                  /* [n, N]; NULL: constant holds for all prompts */
    int64_t constant[SELECT_MAX_EXPERTS]; /* [N] */
};

struct select_limits {
    int64_t latency_us, energy_uj; /* SELECT_NO_LIMIT: none */
};

/* Everything is borrowed for as long as the problem is used. */
struct select_problem {
    int64_t n;             /* prompts, ≥ 1 */
    int N;                 /* experts, 1 … SELECT_MAX_EXPERTS */
    const float *score;    /* [n, N] finite; NULL for coverage */
    const int8_t *right;   /* [n, N] 1 right, 0 wrong, −1 not run */
    const int32_t *answer; /* [n, N] votes by answer, below 0 none; NULL: by outcome */
    struct select_costs latency_us, energy_uj;

    enum select_cost cost;
    enum select_objective objective; /* coverage: deployed alone */
    enum select_method method;
    enum vote_kind combine;
    int k;      /* experts called a prompt; 1 with VOTE_TOP1 */
    bool avoid; /* an expert is not callable where it was not run */
    enum select_stat stat;
    int64_t aggregation_us; /* routed: added where two or more were called */
    int max_experts;        /* of a subset, ≥ 1 */

    const struct select_limits *limits; /* [n_limits] the grid */
    int64_t n_limits;

    const int32_t *category;                     /* [n] 0 … n_categories − 1, or NULL */
    int n_categories;                            /* with limits of their own; 0: none */
    const struct select_limits *category_limits; /* [n_categories] */

    bool frontier;
    double time_limit_s; /* 0: none; not looked at up to SELECT_MAX_ENUMERATED experts */
    const volatile int *stop;
    const struct log_sink *sink; /* progress; NULL: none */

    /* For tests: a smaller SELECT_MAX_ENUMERATED, and blocks of 2^block_bits subsets. 0: the defaults. */
    int table_experts, block_bits;
};

/* A subset and what it is worth. */
struct select_point {
    uint64_t members;
    int64_t correct;
    int64_t energy;  /* µJ, summed over the prompts */
    int64_t latency; /* µs; summed over the prompts where the stat is the mean */
};

struct select_answer {
    bool feasible;
    struct select_point best;
    bool optimal;        /* nothing comes before best (or nothing is feasible), proven */
    int64_t upper_bound; /* of correct; −1 when it is proven that nothing is feasible */
    int64_t evaluated;   /* subsets whose accuracy was computed so far */

    bool has_single; /* some single expert is feasible; then single, greedy, random are set */
    struct select_point single, greedy, all;
    bool all_feasible;
    double random;         /* mean accuracy of the feasible single ones */
    int64_t oracle_subset; /* prompts that some member of best has right */
    int64_t n_feasible;    /* subsets within the limits; −1: not counted (docs/selecting.md) */
};

/* One category under an answer. */
struct select_share {
    int64_t prompts, correct;
    int64_t energy, latency; /* as in select_point, over the category's prompts */
};

struct select_result {
    struct select_answer *answers; /* [n_limits], owned as all below */
    int64_t n_answers;
    struct select_share
        *shares;    /* [n_limits, n_categories] where feasible; NULL without category limits */
    int64_t oracle; /* prompts that some expert has right */
    bool has_frontier, frontier_complete;
    struct select_point *frontier; /* by energy, then latency */
    int64_t n_frontier;
};

/* Solves. Errors: MOE2_ELIMIT for memory, and where sums of costs leave 63 bits; MOE2_ECONFIG for enumerating more than
 * SELECT_MAX_ENUMERATED experts; MOE2_ESTOP when *stop was set. The same problem gives the same answers, whatever the machine, unless time ran out. */
int select_solve(struct select_result *r, const struct select_problem *p, struct err *err);
void select_result_release(struct select_result *r); /* a zeroed one is fine */

/* Whether a comes before b: more right, lower energy, lower latency, fewer members, smaller numbers. */
bool select_before(const struct select_point *a, const struct select_point *b);

/* Seconds and joules a prompt. */
double select_latency_s(const struct select_problem *p, int64_t latency, int64_t prompts);
double select_energy_j(int64_t energy, int64_t prompts);

/* The stat of n ≥ 1 numbers, which it reorders: their sum for the mean, else the ⌈p·n/100⌉-th smallest. */
int64_t select_stat_of(enum select_stat stat, int64_t *x, int64_t n);

/* The place, from 1, of the stat among n sorted numbers; 0 for the mean. */
int64_t select_stat_place(enum select_stat stat, int64_t n);

/* The largest value of a stat over n prompts that keeps within a limit: n·limit for the mean, within 63 bits. */
int64_t select_stat_limit(enum select_stat stat, int64_t limit, int64_t n);

const char *select_stat_name(enum select_stat stat);

#endif
