/* What the files of the selector share. Internal to route.
 *
 * A state is a problem made ready: deployed sums, scaled limits, who is callable on a prompt, and in which order. Everything that
 * decides goes through select_before and the limits of a cell, so that all ways of searching break ties alike.
 */
#ifndef MOE2_ROUTE_SELECT_PARTS_H
#define MOE2_ROUTE_SELECT_PARTS_H

#include "route/select.h"
#include "route/select_ops.h"

/* One category with its own limits, or with none. */
struct select_category {
    int64_t n, first;                    /* prompts; where they begin in state.rows */
    int64_t latency_limit, energy_limit; /* scaled to its prompts; SELECT_NO_LIMIT */
    int64_t latency[SELECT_MAX_EXPERTS]; /* deployed: the stat of each expert */
    int64_t energy[SELECT_MAX_EXPERTS];  /* deployed: the sum of each expert */
    uint64_t within;                     /* deployed: experts whose latency keeps the limit */
};

/* A cell of the grid: limits scaled to the sums. */
struct select_cell {
    int64_t latency, energy;
};

struct select_state {
    const struct select_problem *p; /* borrowed */
    uint64_t all;                   /* every expert */
    uint64_t *can;                  /* [n] callable experts; NULL: all of them */
    uint8_t *order; /* [n, N] callable experts, first called first, then SELECT_NOBODY; on demand */
    int64_t latency[SELECT_MAX_EXPERTS]; /* deployed: stat; */
    int64_t energy[SELECT_MAX_EXPERTS];  /* deployed: sum */
    struct select_category *categories;  /* [n_categories] */
    int n_bound;                         /* categories with a limit */
    int64_t *rows;             /* [n] prompts, one category behind the other; NULL: as they are */
    struct select_cell *cells; /* [n_limits] */
    int64_t *scratch;          /* [n] */
    uint64_t *right;           /* [n] the experts that are right, callable or not */
    double begun_s;
    int64_t evaluated;
};

enum { SELECT_NOBODY = 0xff };

int select_state_init(struct select_state *s, const struct select_problem *p, struct err *err);
void select_state_release(struct select_state *s);

/* Builds order. */
int select_state_order(struct select_state *s, struct err *err);

/* The value of score on a prompt for an expert; who is called before whom: larger first, equal ones by number. */
static inline uint64_t select_callable(const struct select_state *s, int64_t q)
{
    return s->can ? s->can[q] : s->all;
}

/* What the called ones on a prompt come to. called holds n_called experts in called order. */
struct select_call {
    bool right;
    int64_t latency, energy;
};
struct select_call select_call_of(const struct select_state *s, int64_t q, const uint8_t *called,
                                  int n_called);

/* One subset, prompt by prompt; needs order (but for coverage). shares [n_categories] or NULL. */
void select_evaluate(struct select_point *out, struct select_share *shares, struct select_state *s,
                     uint64_t members);

/* Energy and latency of a deployed subset. */
void select_deployed(struct select_point *out, const struct select_state *s);

/* Whether members are one to max_experts; that and every category's limits kept is a set that may be chosen. */
static inline bool select_allowed(const struct select_state *s, uint64_t members)
{
    return members && __builtin_popcountll(members) <= s->p->max_experts;
}

/* Whether members keep every category's limits. Routed limits need shares. */
bool select_keeps_categories(const struct select_state *s, uint64_t members,
                             const struct select_share *shares);

static inline bool select_fits(const struct select_cell *c, const struct select_point *x)
{
    return x->energy <= c->energy && x->latency <= c->latency;
}

bool select_out_of_time(const struct select_state *s);

/* Fills n_feasible of every answer where costs are deployed. */
int select_count_deployed(struct select_result *r, struct select_state *s, struct err *err);

/* ---- ways to know what a subset is worth ---- */

/* A source of points: a table of all subsets, or an evaluation with a memory. */
struct select_source {
    void *ctx;
    /* Fills out; returns whether max_experts aside the subset keeps the categories' limits. */
    bool (*point)(void *ctx, struct select_point *out, uint64_t members);
};

/* best_single, greedy, all, random, of every cell; and oracle. */
void select_baselines(struct select_result *r, const struct select_state *s,
                      const struct select_source *source);
int64_t select_oracle(const struct select_state *s, uint64_t members);

/* Adds n points, which stay the caller's, to r's frontier and keeps those that no other dominates, ordered by energy, then latency.
 * MOE2_ELIMIT without memory; the frontier is then as it was. */
int select_frontier_add(struct select_result *r, const struct select_point *more, int64_t n,
                        struct err *err);

/* For qsort: the order of a frontier. */
int select_by_costs(const void *a, const void *b);

#endif
