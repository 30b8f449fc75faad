/* Evaluated subsets and climbing among them: see select_memo.h. */
#include "route/select_memo.h"

#include <stdlib.h>

int select_memo_init(struct select_memo *m, struct select_state *s, struct select_bits *bits,
                     struct err *err)
{
    *m = (struct select_memo){.s = s, .bits = bits && bits->right ? bits : NULL, .capacity = 1024};
    m->points = calloc((size_t)m->capacity, sizeof *m->points);
    m->keeps = calloc((size_t)m->capacity, 1);
    if (s->p->n_categories && s->p->cost == SELECT_ROUTED)
        m->shares = malloc((size_t)s->p->n_categories * sizeof *m->shares);
    if (!m->points || !m->keeps ||
        (s->p->n_categories && s->p->cost == SELECT_ROUTED && !m->shares))
        return err_set(err, MOE2_ELIMIT, "no memory for subsets");
    return m->bits ? 0 : select_state_order(s, err);
}

void select_memo_release(struct select_memo *m)
{
    free(m->points);
    free(m->keeps);
    free(m->shares);
    *m = (struct select_memo){0};
}

static int64_t place_of(const struct select_point *points, int64_t capacity, uint64_t members)
{
    uint64_t h = members * 0x9e3779b97f4a7c15u;
    int64_t i = (int64_t)((h ^ h >> 29) & (uint64_t)(capacity - 1));
    while (points[i].members && points[i].members != members)
        i = (i + 1) & (capacity - 1);
    return i;
}

/* Twice the places; without memory the table stays as it is and takes nothing more. */
static void grow(struct select_memo *m)
{
    int64_t capacity = 2 * m->capacity;
    struct select_point *points = calloc((size_t)capacity, sizeof *points);
    uint8_t *keeps = calloc((size_t)capacity, 1);
    if (!points || !keeps) {
        free(points);
        free(keeps);
        m->failed = true;
        return;
    }
    for (int64_t k = 0; k < m->capacity; k++)
        if (m->points[k].members) {
            int64_t i = place_of(points, capacity, m->points[k].members);
            points[i] = m->points[k];
            keeps[i] = m->keeps[k];
        }
    free(m->points);
    free(m->keeps);
    m->points = points;
    m->keeps = keeps;
    m->capacity = capacity;
}

bool select_memo_point(void *memo, struct select_point *out, uint64_t members)
{
    struct select_memo *m = memo;
    int64_t i = place_of(m->points, m->capacity, members);
    if (m->points[i].members) {
        *out = m->points[i];
        return m->keeps[i];
    }
    if (m->bits) {
        *out = (struct select_point){members, select_bits_correct(m->bits, members), 0, 0};
        select_deployed(out, m->s);
    } else {
        select_evaluate(out, m->shares, m->s, members);
    }
    m->s->evaluated++;
    bool keeps = select_keeps_categories(m->s, members, m->shares);
    if (2 * (m->n + 1) > m->capacity && !m->failed)
        grow(m);
    if (m->failed)
        return keeps;
    i = place_of(m->points, m->capacity, members);
    m->points[i] = *out;
    m->keeps[i] = keeps;
    m->n++;
    return keeps;
}

/* Takes x to the set members if that fits and comes before it. */
static bool try(struct select_point *x, struct select_memo *m, const struct select_cell *cell,
                uint64_t members)
{
    struct select_point y;
    if (!select_allowed(m->s, members) || !select_memo_point(m, &y, members) ||
        !select_fits(cell, &y) || !select_before(&y, x))
        return false;
    *x = y;
    return true;
}

static bool climb_once(struct select_point *x, struct select_memo *m,
                       const struct select_cell *cell)
{
    bool better = false;
    struct select_point best = *x;
    for (uint64_t out = m->s->all & ~x->members; out; out &= out - 1) {
        uint64_t in = out & -out;
        better = try(&best, m, cell, x->members | in) || better;
        for (uint64_t own = x->members; own && !select_out_of_time(m->s); own &= own - 1)
            better = try(&best, m, cell, (x->members & ~(own & -own)) | in) || better;
    }
    for (uint64_t own = x->members; own; own &= own - 1)
        better = try(&best, m, cell, x->members & ~(own & -own)) || better;
    *x = best;
    return better;
}

void select_memo_climb(struct select_point *x, struct select_memo *m,
                       const struct select_cell *cell)
{
    while (!select_out_of_time(m->s) && climb_once(x, m, cell))
        ;
}

/* Whether place k holds a point that may be chosen. */
static bool is_choice(const struct select_memo *m, int64_t k)
{
    return m->keeps[k] && select_allowed(m->s, m->points[k].members);
}

bool select_memo_best(struct select_point *best, const struct select_memo *m,
                      const struct select_cell *cell)
{
    bool found = false;
    for (int64_t k = 0; k < m->capacity; k++) {
        const struct select_point *x = &m->points[k];
        if (!is_choice(m, k) || !select_fits(cell, x))
            continue;
        if (!found || select_before(x, best))
            *best = *x;
        found = true;
    }
    return found;
}

int select_memo_list(struct select_point **list, int64_t *n, const struct select_memo *m,
                     const struct select_result *r, struct err *err)
{
    int64_t most = m->n + r->n_answers, n_listed = 0;
    struct select_point *points = malloc((size_t)(most + 1) * sizeof *points);
    if (!points)
        return err_set(err, MOE2_ELIMIT, "no memory for %lld subsets", (long long)most);
    for (int64_t k = 0; k < m->capacity; k++)
        if (is_choice(m, k))
            points[n_listed++] = m->points[k];
    for (int64_t g = 0; g < r->n_answers; g++)
        if (r->answers[g].feasible)
            points[n_listed++] = r->answers[g].best;
    *list = points;
    *n = n_listed;
    return 0;
}

int select_memo_frontier(struct select_result *r, const struct select_memo *m, struct err *err)
{
    struct select_point *list = NULL;
    int64_t n = 0;
    int rc = select_memo_list(&list, &n, m, r, err);
    if (!rc)
        rc = select_frontier_add(r, list, n, err);
    free(list);
    return rc;
}
