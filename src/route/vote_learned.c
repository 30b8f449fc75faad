/* The learned combination: see vote_learned.h. */
#include "route/vote_learned.h"

#include <math.h>
#include <stddef.h>

int64_t vote_shape_rows(const struct vote_shape *s)
{
    int64_t rows = 1 + s->n_gates;
    for (int p = 0; p < s->n_partitions; p++)
        rows += s->n_parts[p];
    return rows;
}

double vote_learned_weight(const struct vote_learned *v, const struct vote_view *view, int64_t q,
                           int e)
{
    const struct vote_shape *s = &v->shape;
    const double *row = v->theta + e;
    int64_t E = s->n_experts;
    double w = row[0];
    row += E;
    for (int g = 0; g < s->n_gates; g++, row += E)
        w += row[0] * (double)view->gates[g][q * E + e];
    for (int p = 0; p < s->n_partitions; p++) {
        int32_t part = view->parts[p][q];
        if (part >= 0)
            w += row[part * E];
        row += s->n_parts[p] * E;
    }
    return w;
}

int vote_learned_pick(double *scores, const struct vote_learned *v, const struct vote_view *view,
                      int64_t q, uint64_t asked)
{
    double own[VOTE_MAX_OPTIONS];
    int best = -1, order[VOTE_MAX_OPTIONS], n = 0, E = v->shape.n_experts;
    scores = scores ? scores : own;
    for (int o = 0; o < VOTE_MAX_OPTIONS; o++)
        scores[o] = -INFINITY;
    for (int e = 0; e < E; e++) {
        int o = view->answers[q * E + e];
        if (!(asked >> e & 1) || o < 0)
            continue;
        if (scores[o] == -INFINITY) {
            scores[o] = 0;
            order[n++] = o;
        }
        scores[o] += vote_learned_weight(v, view, q, e);
    }
    for (int i = 0; i < n; i++)
        if (best < 0 || scores[order[i]] > scores[best])
            best = order[i];
    return best;
}
