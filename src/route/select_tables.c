/* Answers out of tables, under every option: see select_table.h.
 *
 * Beyond one table the experts are split: the cheap ones inner, the others outer. Every subset of the outer ones has its own table, and
 * a deployed one is left out when it alone breaks every cell's limits. Climbing gives the first bests; when time ends what was found
 * stands, bounded by the prompts where some expert that may be in is right.
 */
#include <stdlib.h>

#include "route/select_memo.h"
#include "route/select_table.h"

enum { ALONE_BITS = 18, CALLED_BITS = 12 };

static int one_table(struct select_result *r, struct select_state *s, struct err *err)
{
    struct select_table t = {0};
    struct select_source source = {&t, select_table_point};
    int rc = select_table_init(&t, s, 0, s->all, err);
    for (int64_t g = 0; g < r->n_answers && !rc; g++) {
        struct select_answer *a = &r->answers[g];
        rc = select_table_best(&a->best, &a->feasible, &t, &s->cells[g], err);
        a->optimal = true;
        a->upper_bound = a->feasible ? a->best.correct : -1;
        a->evaluated = s->evaluated;
        a->n_feasible = rc ? -1 : select_table_count(&t, &s->cells[g]);
    }
    if (!rc)
        select_baselines(r, s, &source);
    if (!rc && s->p->frontier) {
        rc = select_table_frontier(r, &t, err);
        r->frontier_complete = !rc;
    }
    select_table_release(&t);
    return rc;
}

/* The first bests: greedy or whatever fits, and climbing from there. */
static void climb(struct select_result *r, struct select_state *s, struct select_memo *m)
{
    for (int64_t g = 0; g < r->n_answers; g++) {
        struct select_answer *a = &r->answers[g];
        a->best = a->greedy;
        a->feasible = a->has_single || select_memo_best(&a->best, m, &s->cells[g]);
        if (a->feasible)
            select_memo_climb(&a->best, m, &s->cells[g]);
    }
}

/* The `most` experts of the least deployed energy. */
static uint64_t choose_inner(const struct select_state *s, int most)
{
    uint64_t inner = 0;
    for (int k = 0; k < most; k++) {
        int least = -1;
        for (int i = 0; i < s->p->N; i++)
            if (!(inner >> i & 1) && (least < 0 || s->energy[i] < s->energy[least]))
                least = i;
        inner |= 1ull << least;
    }
    return inner;
}

/* Whether no cell admits a set that has these members, and no frontier is asked for. */
static bool hopeless(const struct select_state *s, uint64_t members)
{
    struct select_point x = {.members = members};
    if (__builtin_popcountll(members) > s->p->max_experts)
        return true;
    if (s->p->cost == SELECT_ROUTED || s->p->frontier)
        return false;
    select_deployed(&x, s);
    for (int64_t g = 0; g < s->p->n_limits; g++)
        if (select_fits(&s->cells[g], &x))
            return false;
    return true;
}

/* The members of outer that the bits of k stand for. */
static uint64_t outer_set(uint64_t outer, uint64_t k)
{
    uint64_t members = 0;
    for (; outer; outer &= outer - 1, k >>= 1)
        members |= k & 1 ? outer & -outer : 0;
    return members;
}

/* Every subset of the outer experts; *done tells whether all were looked at. */
static int many_tables(struct select_result *r, struct select_state *s, uint64_t inner, bool *done,
                       struct err *err)
{
    uint64_t outer = s->all & ~inner;
    int n_outer = __builtin_popcountll(outer), rc = 0;
    uint64_t k = 0, end = 1ull << n_outer;
    for (; k < end && !rc && !select_out_of_time(s); k++) {
        struct select_table t = {0};
        uint64_t fixed = outer_set(outer, k);
        if (hopeless(s, fixed))
            continue;
        rc = select_table_init(&t, s, fixed, inner, err);
        for (int64_t g = 0; g < r->n_answers && !rc; g++) {
            struct select_answer *a = &r->answers[g];
            rc = select_table_best(&a->best, &a->feasible, &t, &s->cells[g], err);
            a->n_feasible += rc ? 0 : select_table_count(&t, &s->cells[g]);
        }
        /* not where latencies would have to be evaluated one by one */
        if (!rc && s->p->frontier && t.latency)
            rc = select_table_frontier(r, &t, err);
        select_table_release(&t);
    }
    *done = k == end;
    return rc;
}

/* Where nobody who may be in is right, nobody can be. */
static int64_t bound_of(const struct select_state *s, const struct select_cell *cell)
{
    uint64_t may = s->all;
    for (int i = 0; i < s->p->N && s->p->cost == SELECT_DEPLOYED; i++)
        if (s->energy[i] > cell->energy || s->latency[i] > cell->latency)
            may &= ~(1ull << i);
    return select_oracle(s, may);
}

int select_by_tables(struct select_result *r, struct select_state *s, struct err *err)
{
    struct select_memo m = {0};
    struct select_source source = {&m, select_memo_point};
    int most = s->p->table_experts ? s->p->table_experts : SELECT_MAX_ENUMERATED;
    int block =
        s->p->k == 1 ? ALONE_BITS : CALLED_BITS; /* a table is done before time is looked at */
    bool done = false;
    int rc = select_state_order(s, err);
    if (!rc && (s->p->N <= most || s->p->method == SELECT_ENUMERATE))
        return one_table(r, s, err);
    if (!rc)
        rc = select_memo_init(&m, s, NULL, err);
    if (!rc) {
        select_baselines(r, s, &source);
        climb(r, s, &m);
        rc = many_tables(r, s, choose_inner(s, most < block ? most : block), &done, err);
    }
    for (int64_t g = 0; g < r->n_answers && !rc; g++) {
        struct select_answer *a = &r->answers[g];
        a->optimal = done;
        a->n_feasible = done ? a->n_feasible : -1;
        a->upper_bound = !done ? bound_of(s, &s->cells[g]) : a->feasible ? a->best.correct : -1;
        a->evaluated = s->evaluated;
    }
    r->frontier_complete =
        done && s->p->frontier && (s->p->cost == SELECT_DEPLOYED || s->p->stat == STAT_MEAN);
    if (!rc && s->p->frontier)
        rc = select_memo_frontier(r, &m, err);
    if (!rc && !done && s->p->cost == SELECT_DEPLOYED)
        rc = select_count_deployed(r, s, err);
    select_memo_release(&m);
    return rc;
}
