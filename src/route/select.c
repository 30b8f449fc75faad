/* The selector: see select.h. Chooses the way of searching and puts the result together. */
#include "route/select.h"

#include <stdlib.h>
#include <string.h>

#include "route/select_parts.h"
#include "route/select_search.h"
#include "route/select_table.h"

static int new_result(struct select_result *r, const struct select_problem *p, struct err *err)
{
    r->n_answers = p->n_limits;
    r->answers = calloc((size_t)p->n_limits, sizeof *r->answers);
    if (p->n_categories)
        r->shares = calloc((size_t)(p->n_limits * p->n_categories), sizeof *r->shares);
    if (!r->answers || (p->n_categories && !r->shares))
        return err_set(err, MOE2_ELIMIT, "no memory for %lld answers", (long long)p->n_limits);
    return 0;
}

/* What needs the answer: the oracle within it, its categories. */
static int complete(struct select_result *r, struct select_state *s, struct err *err)
{
    int rc = 0;
    for (int64_t g = 0; g < r->n_answers; g++) {
        struct select_answer *a = &r->answers[g];
        bool same = g > 0 && a[-1].feasible && a->feasible && a[-1].best.members == a->best.members;
        if (!a->feasible)
            continue;
        a->oracle_subset = same ? a[-1].oracle_subset : select_oracle(s, a->best.members);
        if (r->shares) {
            struct select_point x;
            rc = select_state_order(s, err);
            if (rc)
                return rc;
            select_evaluate(&x, r->shares + g * s->p->n_categories, s, a->best.members);
        }
    }
    return rc;
}

/* The search where one expert decides alone and costs are those of who is in service; else tables. */
static int solve(struct select_result *r, struct select_state *s, struct err *err)
{
    const struct select_problem *p = s->p;
    bool alone = p->objective == SELECT_COVERAGE || p->k == 1;
    if (p->method == SELECT_AUTO && p->cost == SELECT_DEPLOYED && alone)
        return select_search(r, s, err);
    return select_by_tables(r, s, err);
}

int select_solve(struct select_result *r, const struct select_problem *p, struct err *err)
{
    struct select_state s;
    int rc = select_state_init(&s, p, err);
    if (!rc && p->method == SELECT_ENUMERATE && p->N > SELECT_MAX_ENUMERATED)
        rc = err_set(err, MOE2_ECONFIG, "enumerating %d experts, wanted at most %d", p->N,
                     SELECT_MAX_ENUMERATED);
    if (!rc)
        rc = new_result(r, p, err);
    if (!rc)
        rc = solve(r, &s, err);
    if (!rc && p->stop && *p->stop)
        rc = err_set(err, MOE2_ESTOP, "stopped");
    if (!rc)
        rc = complete(r, &s, err);
    select_state_release(&s);
    return rc;
}

void select_result_release(struct select_result *r)
{
    free(r->answers);
    free(r->shares);
    free(r->frontier);
    *r = (struct select_result){0};
}
