/* The table of all subsets of some experts, the inner ones, beside a fixed set of others: what each of 2^m is worth, m ≤
 * SELECT_MAX_ENUMERATED, under every option of a problem. Up to so many experts all are inner and one table answers everything.
 *
 * Indexed by U, the inner experts left out, so that "all of B are out" is B ⊆ U and a sum over such terms is one subset-sum transform.
 * Internal to route.
 */
#ifndef MOE2_ROUTE_SELECT_TABLE_H
#define MOE2_ROUTE_SELECT_TABLE_H

#include "route/select_parts.h"

struct select_table {
    struct select_state *s; /* borrowed */
    uint64_t fixed;         /* experts that are in every subset; neither fixed nor inner: in none */
    int expert[SELECT_MAX_ENUMERATED]; /* [n_inner] the inner experts */
    int place[SELECT_MAX_EXPERTS];     /* of an expert among them, −1: none */
    int n_inner;
    int64_t n_subsets;
    int64_t *correct, *energy; /* [n_subsets] */
    int64_t *latency; /* [n_subsets]; NULL where it has to be evaluated: routed, and not the mean */
    uint8_t *keeps;   /* [n_subsets] whether the categories' limits are kept */
    uint8_t *slow;    /* [n_subsets] whether slow_limit is broken, where latency is NULL */
    int64_t slow_limit; /* −1: not filled */
};

/* Fills a table, to be released also after errors. Needs the state's order. */
int select_table_init(struct select_table *t, struct select_state *s, uint64_t fixed,
                      uint64_t inner, struct err *err);
void select_table_release(struct select_table *t);

/* Betters the best of a cell; *found tells whether there is one, before and after. */
int select_table_best(struct select_point *best, bool *found, struct select_table *t,
                      const struct select_cell *cell, struct err *err);

/* How many of the table's subsets a cell admits: the one that select_table_best was asked about last. */
int64_t select_table_count(const struct select_table *t, const struct select_cell *cell);

/* Adds the table's points that may be chosen to r's frontier. */
int select_table_frontier(struct select_result *r, struct select_table *t, struct err *err);

/* A select_source over the table. */
bool select_table_point(void *table, struct select_point *out, uint64_t members);

/* Answers and baselines of all cells, whatever the options: one table, or beyond it climbing and then a table for every subset of the
 * outer experts, as far as time goes. */
int select_by_tables(struct select_result *r, struct select_state *s, struct err *err);

#endif
