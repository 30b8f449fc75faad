/* What stands beside every answer: the best single expert, greedy, everybody, a random choice, the oracle. */
#include <math.h>

#include "route/select_parts.h"

struct singles {
    struct select_point point[SELECT_MAX_EXPERTS];
    bool keeps[SELECT_MAX_EXPERTS];
};

/* Adds to the best single one whoever helps most, until nobody does. */
static void greedy(struct select_point *out, const struct select_state *s,
                   const struct select_cell *cell, const struct select_source *source)
{
    for (;;) {
        struct select_point best = *out, x;
        if (__builtin_popcountll(out->members) >= s->p->max_experts)
            return;
        for (uint64_t m = s->all & ~out->members; m; m &= m - 1) {
            bool keeps = source->point(source->ctx, &x, out->members | (m & -m));
            if (keeps && select_fits(cell, &x) && x.correct > out->correct &&
                (best.members == out->members || select_before(&x, &best)))
                best = x;
        }
        if (best.members == out->members)
            return;
        *out = best;
    }
}

static void single(struct select_answer *a, const struct select_state *s,
                   const struct select_cell *cell, const struct singles *singles)
{
    double sum = 0;
    int n = 0;
    for (int i = 0; i < s->p->N; i++) {
        const struct select_point *x = &singles->point[i];
        if (!singles->keeps[i] || !select_fits(cell, x))
            continue;
        if (!a->has_single || select_before(x, &a->single))
            a->single = *x;
        a->has_single = true;
        sum += (double)x->correct / (double)s->p->n;
        n++;
    }
    a->random = n ? sum / n : NAN;
}

void select_baselines(struct select_result *r, const struct select_state *s,
                      const struct select_source *source)
{
    struct singles singles;
    struct select_point all;
    for (int i = 0; i < s->p->N; i++)
        singles.keeps[i] = source->point(source->ctx, &singles.point[i], 1ull << i);
    bool all_keeps = source->point(source->ctx, &all, s->all);
    r->oracle = select_oracle(s, s->all);
    for (int64_t g = 0; g < r->n_answers; g++) {
        struct select_answer *a = &r->answers[g];
        single(a, s, &s->cells[g], &singles);
        a->greedy = a->single;
        if (a->has_single)
            greedy(&a->greedy, s, &s->cells[g], source);
        a->all = all;
        a->all_feasible = all_keeps && select_fits(&s->cells[g], &all);
    }
}
