/* The learned combination of the study: see study_fit.h. */
#include "pipeline/study_fit.h"

#include <stdlib.h>
#include <string.h>

#include "base/rng.h"

struct fitting {
    struct study_data *d;
    const struct study_gates *gates;
    const struct study_fleet *f; /* the gates' */
    int8_t *n_options;
    int64_t *rows; /* [n of train] the rows of a fit */
    const uint8_t *fold;
};

/* What the weights look at on one side: the gates of the mask, and the category. */
static void make_view(struct vote_view *view, struct vote_shape *shape, const struct fitting *w,
                      uint32_t mask, int side)
{
    *view = (struct vote_view){.n = w->d->sides[side].n, .answers = w->f->sides[side].options};
    *shape = (struct vote_shape){
        .n_experts = w->f->N, .n_partitions = 1, .n_parts = {w->d->answers.n_categories}};
    for (int g = 0; g < w->gates->n; g++)
        if (mask >> g & 1)
            view->gates[shape->n_gates++] = w->gates->list[g].logits[side];
    view->parts[0] = w->d->sides[side].category;
}

/* Fits on all rows but those of a fold (−1: on all). */
static int fit_without(double *theta, const struct fitting *w, const struct vote_shape *shape,
                       const struct vote_view *view, const struct study_setting *s, int fold,
                       struct err *err)
{
    const struct study_side *side = &w->d->sides[STUDY_TRAIN];
    struct vote_fit_options o = vote_fit_default();
    struct vote_fit_data data = {.view = view,
                                 .rows = w->rows,
                                 .right = side->truth,
                                 .n_options = w->n_options,
                                 .asked = ~UINT64_C(0)};
    for (int64_t i = 0; i < side->n; i++)
        if (w->fold[i] != fold)
            w->rows[data.n_rows++] = i;
    o.l2 = s->l2;
    o.l2_parts = s->l2_parts;
    o.tolerance = 1e-4;
    return vote_fit(theta, NULL, shape, &data, &o, err);
}

/* How many of train's questions the folds' fits get right, each on its own fold. */
static int cross_validate(struct study_setting *s, double *const *theta, const struct fitting *w,
                          const struct vote_shape *shape, const struct vote_view *view,
                          struct err *err)
{
    const struct study_side *side = &w->d->sides[STUDY_TRAIN];
    s->correct = 0;
    for (int k = 0; k < STUDY_FOLDS; k++) {
        int rc = fit_without(theta[k], w, shape, view, s, k, err);
        if (rc)
            return rc;
        const struct vote_learned v = {*shape, theta[k]};
        for (int64_t i = 0; i < side->n; i++)
            if (w->fold[i] == k)
                s->correct += vote_learned_pick(NULL, &v, view, i, ~UINT64_C(0)) == side->truth[i];
    }
    return 0;
}

/* The settings that are tried: no gate, each gate, all gates; three strengths. */
static int list_settings(struct study_setting *out, int n_gates)
{
    static const double L2_PARTS[] = {5e-4, 2e-3, 8e-3};
    int n = 0;
    for (int g = -1; g <= n_gates; g++) {
        uint32_t mask = g < 0 ? 0 : g < n_gates ? 1u << g : (1u << n_gates) - 1;
        if (g == n_gates && n_gates < 2)
            continue;
        for (int k = 0; k < 3 && n < STUDY_MAX_SETTINGS; k++)
            out[n++] = (struct study_setting){mask, 2e-4, L2_PARTS[k], 0};
    }
    return n;
}

static double *room(struct study_data *d, const struct vote_shape *s, struct err *err)
{
    return arena_alloc(&d->memory, (size_t)(vote_shape_rows(s) * s->n_experts) * sizeof(double),
                       err);
}

static int try_settings(struct study_learned *l, struct fitting *w, const struct log_sink *sink,
                        const volatile int *stop, struct err *err)
{
    struct progress p;
    double *theta[STUDY_FOLDS] = {NULL};
    int rc = 0;
    struct vote_shape widest;
    struct vote_view view;
    make_view(&view, &widest, w, (1u << w->gates->n) - 1, STUDY_TRAIN);
    for (int k = 0; k < STUDY_FOLDS; k++) {
        theta[k] = malloc((size_t)(vote_shape_rows(&widest) * w->f->N) * sizeof **theta);
        if (!theta[k])
            rc = err_set(err, MOE2_ELIMIT, "no memory for the learned combination");
    }
    l->n_settings = list_settings(l->settings, w->gates->n);
    progress_begin(&p, sink, "learned combination", l->n_settings, "settings");
    for (int i = 0; i < l->n_settings && !rc; i++) {
        struct vote_shape shape;
        struct study_setting *s = &l->settings[i];
        make_view(&view, &shape, w, s->gates, STUDY_TRAIN);
        rc = stop && *stop ? err_set(err, MOE2_ESTOP, "stopped")
                           : cross_validate(s, theta, w, &shape, &view, err);
        if (i == 0 || s->correct > l->chosen.correct)
            l->chosen = *s;
        if (s->gates == 0 && (i == 0 || s->correct > l->text_free.correct))
            l->text_free = *s;
        progress_set(&p, i + 1);
    }
    progress_end(&p);
    for (int k = 0; k < STUDY_FOLDS; k++)
        free(theta[k]);
    return rc;
}

static int fit_chosen(struct study_learned *l, struct fitting *w, struct err *err)
{
    for (int side = 0; side < STUDY_N_SIDES; side++) {
        make_view(&l->view[side], &l->shape, w, l->chosen.gates, side);
        make_view(&l->view_text_free[side], &l->shape_text_free, w, 0, side);
    }
    l->theta = room(w->d, &l->shape, err);
    l->theta_text_free = room(w->d, &l->shape_text_free, err);
    for (int k = 0; k < STUDY_FOLDS; k++)
        l->theta_fold[k] = room(w->d, &l->shape, err);
    if (!l->theta || !l->theta_text_free || !l->theta_fold[STUDY_FOLDS - 1])
        return MOE2_ELIMIT;
    int rc = cross_validate(&l->chosen, l->theta_fold, w, &l->shape, &l->view[0], err);
    if (!rc)
        rc = fit_without(l->theta, w, &l->shape, &l->view[0], &l->chosen, -1, err);
    if (!rc)
        rc = fit_without(l->theta_text_free, w, &l->shape_text_free, &l->view_text_free[0],
                         &l->text_free, -1, err);
    return rc;
}

int study_learned_fit(struct study_learned *l, struct study_data *d,
                      const struct study_gates *gates, uint64_t seed, const struct log_sink *sink,
                      const volatile int *stop, struct err *err)
{
    const struct study_side *side = &d->sides[STUDY_TRAIN];
    const struct study_fleet *f = gates->fleet;
    *l = (struct study_learned){0};
    l->fold = arena_alloc(&d->memory, (size_t)side->n, err);
    struct fitting w = {.d = d,
                        .gates = gates,
                        .f = f,
                        .n_options = malloc((size_t)side->n),
                        .rows = malloc((size_t)side->n * sizeof(int64_t)),
                        .fold = l->fold};
    int most = 0, rc = l->fold && w.n_options && w.rows
                           ? 0
                           : err_set(err, MOE2_ELIMIT, "no memory for the learned combination");
    for (int64_t i = 0; i < side->n && !rc; i++) {
        l->fold[i] = (uint8_t)(rng_at(seed, (uint64_t)i, 0, 77) % STUDY_FOLDS);
        most = side->truth[i] > most ? side->truth[i] : most;
        for (int e = 0; e < f->N; e++)
            most =
                f->sides[0].options[i * f->N + e] > most ? f->sides[0].options[i * f->N + e] : most;
    }
    if (!rc) {
        memset(w.n_options, most + 1, (size_t)side->n);
        rc = try_settings(l, &w, sink, stop, err);
    }
    if (!rc)
        rc = fit_chosen(l, &w, err);
    free(w.n_options);
    free(w.rows);
    return rc;
}
