/* What single subsets are worth, each evaluated once. Internal to route. */
#ifndef MOE2_ROUTE_SELECT_MEMO_H
#define MOE2_ROUTE_SELECT_MEMO_H

#include "route/select_search.h"

struct select_memo {
    struct select_state *s;
    struct select_bits *bits;    /* NULL: prompt by prompt, which needs the state's order */
    struct select_point *points; /* [capacity] a hash table; members 0 is an empty place */
    uint8_t *keeps;              /* [capacity] */
    struct select_share *shares; /* [n_categories] */
    int64_t n, capacity;
    bool failed; /* memory ended: it still answers, without remembering */
};

int select_memo_init(struct select_memo *m, struct select_state *s, struct select_bits *bits,
                     struct err *err);
void select_memo_release(struct select_memo *m);

/* A select_source. */
bool select_memo_point(void *memo, struct select_point *out, uint64_t members);

/* Betters x, a feasible point of the cell, by adding, dropping and swapping experts until nothing helps or time is out. */
void select_memo_climb(struct select_point *x, struct select_memo *m,
                       const struct select_cell *cell);

/* The best of all remembered points that fit the cell; false when none does. */
bool select_memo_best(struct select_point *best, const struct select_memo *m,
                      const struct select_cell *cell);

/* What is known for a frontier: the remembered points that may be chosen, limits of the cells aside, and r's feasible answers. list [n] is
 * the caller's. MOE2_ELIMIT without memory. */
int select_memo_list(struct select_point **list, int64_t *n, const struct select_memo *m,
                     const struct select_result *r, struct err *err);

/* Adds these to r's frontier, which may lack some. */
int select_memo_frontier(struct select_result *r, const struct select_memo *m, struct err *err);

#endif
