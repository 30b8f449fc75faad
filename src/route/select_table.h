/* The table of all subsets: what each of 2^N is worth, N ≤ SELECT_MAX_ENUMERATED, under every option of a problem.
 *
 * Indexed by U, the experts left out, so that "all of B are out" is B ⊆ U and a sum over such terms is one subset-sum transform.
 * Internal to route.
 */
#ifndef MOE2_ROUTE_SELECT_TABLE_H
#define MOE2_ROUTE_SELECT_TABLE_H

#include "route/select_parts.h"

struct select_table {
    struct select_state *s; /* borrowed */
    int64_t n_subsets;
    int64_t *correct, *energy; /* [n_subsets] */
    int64_t *latency; /* [n_subsets]; NULL where it has to be evaluated: routed, and not the mean */
    uint8_t *keeps;   /* [n_subsets] whether the categories' limits are kept */
    uint8_t *slow;    /* [n_subsets] whether slow_limit is broken, where latency is NULL */
    int64_t slow_limit; /* −1: not filled */
};

/* Fills a table, to be released also after errors. Needs the state's order. */
int select_table_init(struct select_table *t, struct select_state *s, struct err *err);
void select_table_release(struct select_table *t);

/* The answer of a cell; *found tells whether there is one. */
int select_table_best(struct select_point *best, bool *found, struct select_table *t,
                      const struct select_cell *cell, struct err *err);

/* Every point that no other dominates: the caller's array. */
int select_table_frontier(struct select_point **points, int64_t *n, struct select_table *t,
                          struct err *err);

/* A select_source over the table. */
bool select_table_point(void *table, struct select_point *out, uint64_t members);

#endif
