/* The gates of the study: see study_fit.h. */
#include "pipeline/study_fit.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/words.h"
#include "model/gate_parts.h"
#include "train/gate_train.h"

/* The learned weights are linear in log-odds, expert by expert: a gate that is all but sure of one would outweigh everything else that is
 * known of a question. So no score counts for more than 99 to 1, nearer the middle than where an ensemble of gates, which weighs whole
 * gates, is kept from infinity. */
static const double LEAST_SCORE = 0.01;

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
            double p = fmin(1 - LEAST_SCORE, fmax(LEAST_SCORE, (double)g->scores[k][i]));
            g->logits[k][i] = (float)gate_logit(p);
        }
    }
    return 0;
}

/* [n, N] Who was right on train; an expert that was not run is wrong there, as it is where plans are judged, so that the gate learns not to
 * call it. The caller's. */
static int8_t *right_as_judged(const struct study_data *d, const struct study_fleet *f)
{
    int64_t n = d->sides[STUDY_TRAIN].n * f->N;
    int8_t *right = malloc((size_t)n);
    for (int64_t i = 0; i < n && right; i++)
        right[i] = f->sides[STUDY_TRAIN].right[i] == 1;
    return right;
}

/* Few passes over the questions are enough: more than these were never chosen on them. */
enum { MOST_EPOCHS = 18 };

static int fit_one(struct study_gate *g, struct study_data *d, const struct study_fleet *f,
                   const char *kind, struct device *dev, const struct study_options *options,
                   struct err *err)
{
    const struct study_side *s = &d->sides[STUDY_TRAIN];
    const struct gate_kind *row = gate_kind_find(kind);
    const char *names[SELECT_MAX_EXPERTS];
    struct gate_train_options o = gate_train_default();
    struct gate_trained r = {0};
    if (!row)
        return err_set(err, MOE2_ECONFIG, "\"%.40s\" is no kind of gate", kind);
    int8_t *right = right_as_judged(d, f);
    if (!right)
        return err_set(err, MOE2_ELIMIT, "no memory for the outcomes of a gate");
    for (int e = 0; e < f->N; e++)
        names[e] = d->answers.names[f->column[e]];
    struct gate_data data = {.x = s->x,
                             .right = right,
                             .category = d->answers.n_categories ? s->category : NULL,
                             .T = s->n,
                             .D = s->D,
                             .N = f->N,
                             .n_categories = d->answers.n_categories,
                             .experts = names,
                             .categories = d->answers.categories};
    o.seed = (uint64_t)options->seed;
    o.folds = STUDY_FOLDS;
    o.epochs = MOST_EPOCHS;
    o.sink = options->files.sink;
    o.stop = options->stop;
    g->kind = row->name;
    g->probabilities = row->probabilities;
    int rc = gate_train(&r, dev, &data, kind, &o, err);
    if (!rc)
        rc = copy_scores(g, d, f, &r, dev, err);
    if (!rc)
        log_line(o.sink, LOG_INFO, "gate %s: %s, log-loss out of fold %.4f", kind,
                 r.n_variants ? r.variants[r.chosen].text : "fitted",
                 r.n_variants ? r.variants[r.chosen].loss : NAN);
    gate_trained_release(&r);
    free(right);
    return rc;
}

/* The kinds of a list with commas. The texts are cut out of copy. */
static int split_kinds(const char *kinds[STUDY_MAX_GATES], char *copy, struct err *err)
{
    int n = 0;
    for (char *word; (word = words_cut(&copy)) && *word;) {
        if (n == STUDY_MAX_GATES)
            return err_set(err, MOE2_ECONFIG, "more than %d kinds of gates", STUDY_MAX_GATES);
        kinds[n++] = word;
    }
    return n ? n : err_set(err, MOE2_ECONFIG, "no kind of gate is given");
}

int study_gates_fit(struct study_gates *g, struct study_data *d, const struct study_fleet *f,
                    const struct study_options *o, struct err *err)
{
    const char *kinds[STUDY_MAX_GATES];
    struct device *dev = NULL;
    char *copy = strdup(o->gates);
    *g = (struct study_gates){.fleet = f};
    int n = copy ? split_kinds(kinds, copy, err) : err_set(err, MOE2_ELIMIT, "no memory");
    int rc = n < 0 ? n : device_open_choice(&dev, &o->device, 0, err);
    for (; g->n < n && !rc; g->n++)
        rc = fit_one(&g->list[g->n], d, f, kinds[g->n], dev, o, err);
    device_close(dev);
    free(copy);
    return rc;
}

/* to [n, f->N] gets the columns of from [n, of->N] that are f's experts. */
static void take_columns(float *to, const float *from, int64_t n, const struct study_fleet *f,
                         const struct study_fleet *of)
{
    for (int e = 0; e < f->N; e++) {
        int at = 0;
        while (at + 1 < of->N && of->column[at] != f->column[e])
            at++;
        for (int64_t i = 0; i < n; i++)
            to[i * f->N + e] = from[i * of->N + at];
    }
}

int study_gates_take(struct study_gates *g, const struct study_gates *all, struct study_data *d,
                     const struct study_fleet *f, struct err *err)
{
    *g = *all;
    g->fleet = f;
    for (int k = 0; k < g->n; k++)
        for (int side = 0; side < STUDY_N_SIDES; side++) {
            const struct study_gate *from = &all->list[k];
            int64_t n = d->sides[side].n;
            size_t bytes = (size_t)(n * f->N) * sizeof(float);
            g->list[k].scores[side] = arena_alloc(&d->memory, bytes, err);
            g->list[k].logits[side] = arena_alloc(&d->memory, bytes, err);
            if (!g->list[k].scores[side] || !g->list[k].logits[side])
                return MOE2_ELIMIT;
            take_columns(g->list[k].scores[side], from->scores[side], n, f, all->fleet);
            take_columns(g->list[k].logits[side], from->logits[side], n, f, all->fleet);
        }
    return 0;
}
