/* The gates of the study: see study_fit.h. */
#include "pipeline/study_fit.h"

#include <math.h>
#include <string.h>

#include "train/gate_train.h"

static int copy_scores(struct study_gate *g, struct study_data *d, const struct study_fleet *f,
                       const struct gate_trained *r, struct device *dev, struct err *err)
{
    for (int k = 0; k < STUDY_N_SIDES; k++) {
        const struct study_side *s = &d->sides[k];
        size_t n = (size_t)(s->n * f->N);
        g->scores[k] = arena_alloc(&d->memory, n * sizeof(float), err);
        g->logits[k] = arena_alloc(&d->memory, n * sizeof(float), err);
        if (!g->scores[k] || !g->logits[k])
            return MOE2_ELIMIT;
        struct gate_input in = {s->x, s->category, s->n};
        int rc = 0;
        if (k == STUDY_TRAIN)
            memcpy(g->scores[k], r->oof, n * sizeof(float));
        else
            rc = gate_score(g->scores[k], dev, r->gate, &in, err);
        if (rc)
            return rc;
        for (size_t i = 0; i < n; i++) {
            double p = fmin(0.99, fmax(0.01, (double)g->scores[k][i]));
            g->logits[k][i] = (float)log(p / (1 - p));
        }
    }
    return 0;
}

int study_gate_fit(struct study_gate *g, struct study_data *d, const struct study_fleet *f,
                   const char *kind, struct device *dev, uint64_t seed, const struct log_sink *sink,
                   const volatile int *stop, struct err *err)
{
    const struct study_side *s = &d->sides[STUDY_TRAIN];
    const struct gate_kind *row = gate_kind_find(kind);
    const char *names[SELECT_MAX_EXPERTS];
    struct gate_train_options o = gate_train_default();
    struct gate_trained r = {0};
    if (!row)
        return err_set(err, MOE2_ECONFIG, "\"%.40s\" is no kind of gate", kind);
    for (int e = 0; e < f->N; e++)
        names[e] = d->answers.names[f->column[e]];
    struct gate_data data = {.x = s->x,
                             .right = f->sides[STUDY_TRAIN].right,
                             .category = d->answers.n_categories ? s->category : NULL,
                             .T = s->n,
                             .D = s->D,
                             .N = f->N,
                             .n_categories = d->answers.n_categories,
                             .experts = names,
                             .categories = d->answers.categories};
    o.seed = seed;
    o.folds = STUDY_FOLDS;
    o.sink = sink;
    o.stop = stop;
    g->kind = row->name;
    g->probabilities = row->probabilities;
    int rc = gate_train(&r, dev, &data, kind, &o, err);
    if (!rc)
        rc = copy_scores(g, d, f, &r, dev, err);
    gate_trained_release(&r);
    return rc;
}
