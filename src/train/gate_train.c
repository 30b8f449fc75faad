/* Folds, the choice of a setting, and the last fit: see gate_train.h. */
#include "train/gate_train.h"

#include <assert.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/rng.h"
#include "model/gate_parts.h"
#include "train/gate_fit.h"

#define MAX_OOF_BYTES ((int64_t)8 << 30)

/* One row a kind; the ensemble is made of these. */
static const struct {
    const char *name;
    const struct gate_fitter *fitter;
} fitters[] = {
    {"sigmoid", &gate_fit_sigmoid}, {"softmax", &gate_fit_softmax},   {"knn", &gate_fit_knn},
    {"kmeans", &gate_fit_kmeans},   {"category", &gate_fit_category},
};
enum { N_FITTERS = sizeof fitters / sizeof *fitters };

struct gate_train_options gate_train_default(void)
{
    return (struct gate_train_options){.folds = 5,
                                       .seed = 1,
                                       .hidden = 256,
                                       .batch = 128,
                                       .epochs = 50,
                                       .lr = 0.001,
                                       .weight_decay = 0.01,
                                       .compute = DT_F32};
}

void gate_trained_release(struct gate_trained *r)
{
    gate_free(r->gate);
    free(r->oof);
    free(r->fold);
    *r = (struct gate_trained){0};
}

int gate_stopped(const struct gate_train_options *o, struct err *err)
{
    return o->stop && *o->stop ? err_set(err, MOE2_ESTOP, "stopped before the gate was trained")
                               : 0;
}

double gate_loss(const float *scores, const struct gate_data *d, bool probabilities)
{
    double sum = 0;
    int64_t n = 0;
    for (int64_t t = 0; t < d->T; t++) {
        double right = 0;
        bool any = false;
        for (int64_t e = 0; e < d->N; e++) {
            int8_t y = d->right[t * d->N + e];
            double p = fmin(fmax(scores[t * d->N + e], 1e-6), 1 - 1e-6);
            if (probabilities && y >= 0) {
                sum -= log(y ? p : 1 - p);
                n++;
            }
            right += y > 0 ? p : 0;
            any |= y > 0;
        }
        if (!probabilities && any) {
            sum -= log(fmin(right, 1));
            n++;
        }
    }
    return n ? sum / (double)n : INFINITY;
}

/* ---- folds ---- */

struct keyed {
    int32_t category, row;
    uint64_t key; /* a hash of the vector and the seed */
};

static int by_key(const void *x, const void *y)
{
    const struct keyed *a = x, *b = y;
    if (a->category != b->category)
        return (a->category > b->category) - (a->category < b->category);
    if (a->key != b->key)
        return (a->key > b->key) - (a->key < b->key);
    return (a->row > b->row) - (a->row < b->row);
}

static int by_vector(const void *x, const void *y)
{
    const struct keyed *a = x, *b = y;
    if (a->key != b->key)
        return (a->key > b->key) - (a->key < b->key);
    return (a->row > b->row) - (a->row < b->row);
}

static uint64_t hash_row(const float *x, int64_t D)
{
    uint64_t h = 1469598103934665603ull;
    for (int64_t i = 0; i < D; i++) {
        uint32_t bits;
        float v = x[i] + 0.0f; /* −0 is 0 */
        memcpy(&bits, &v, sizeof bits);
        h = (h ^ bits) * 1099511628211ull;
        h ^= h >> 29;
    }
    return h;
}

/* Equal vectors get the category of the first of them, so that they stand side by side; counts the different ones. */
static void join_equal(struct keyed *k, struct gate_data *d)
{
    qsort(k, (size_t)d->T, sizeof *k, by_vector);
    d->n_distinct = 0;
    for (int64_t i = 0; i < d->T; i++) {
        if (i && k[i].key == k[i - 1].key)
            k[i].category = k[i - 1].category;
        else
            d->n_distinct++;
    }
}

/* Walks the categories in order, their groups of equal vectors in an order drawn by the seed, and deals them out. */
static int make_folds(int32_t *fold, struct gate_data *d, int64_t n_folds, uint64_t seed,
                      struct err *err)
{
    struct keyed *k = malloc((size_t)d->T * sizeof *k);
    if (!k)
        return err_set(err, MOE2_ELIMIT, "no memory for the folds of %lld rows", (long long)d->T);
    for (int64_t t = 0; t < d->T; t++) {
        uint64_t h = hash_row(d->x + t * d->D, d->D);
        k[t] = (struct keyed){d->category ? d->category[t] : 0, (int32_t)t,
                              rng_at(seed, 0x666f6c64, h, 0)};
    }
    join_equal(k, d);
    qsort(k, (size_t)d->T, sizeof *k, by_key);
    int64_t group = -1;
    for (int64_t i = 0; i < d->T; i++) {
        group += i == 0 || k[i].key != k[i - 1].key;
        fold[k[i].row] = (int32_t)(group % n_folds);
    }
    free(k);
    return 0;
}

/* The rows inside (or outside) a fold, copied. */
struct part {
    struct gate_data d;
    int32_t *row; /* [d.T] */
    float *x;
    int8_t *right;
    int32_t *category;
};

static void part_release(struct part *p)
{
    free(p->row);
    free(p->x);
    free(p->right);
    free(p->category);
}

static int part_new(struct part *p, const struct gate_data *d, const int32_t *fold, int32_t f,
                    bool inside, struct err *err)
{
    int64_t n = 0;
    *p = (struct part){.d = *d};
    for (int64_t t = 0; t < d->T; t++)
        n += (fold[t] == f) == inside;
    p->row = malloc((size_t)n * sizeof *p->row + 1);
    p->x = malloc((size_t)(n * d->D) * sizeof *p->x + 1);
    p->right = malloc((size_t)(n * d->N) + 1);
    p->category = malloc((size_t)n * sizeof *p->category + 1);
    if (!p->row || !p->x || !p->right || !p->category)
        return err_set(err, MOE2_ELIMIT, "no memory for a fold of %lld rows", (long long)n);
    n = 0;
    for (int64_t t = 0; t < d->T; t++) {
        if ((fold[t] == f) != inside)
            continue;
        p->row[n] = (int32_t)t;
        p->category[n] = d->category ? d->category[t] : -1;
        memcpy(p->x + n * d->D, d->x + t * d->D, (size_t)d->D * sizeof *p->x);
        memcpy(p->right + n * d->N, d->right + t * d->N, (size_t)d->N);
        n++;
    }
    p->d.T = n, p->d.x = p->x, p->d.right = p->right;
    p->d.category = d->category ? p->category : NULL;
    return 0;
}

/* Scores of fold f by every variant into all [n_variants, T, N]. */
static int try_fold(float *all, struct device *dev, const struct gate_data *d, const int32_t *fold,
                    int32_t f, const struct gate_fitter *fitter, int n_variants,
                    const struct gate_train_options *o, struct err *err)
{
    struct part fit = {0}, held = {0};
    float *scores = NULL;
    int rc = part_new(&fit, d, fold, f, false, err);
    if (!rc)
        rc = part_new(&held, d, fold, f, true, err);
    int64_t n = held.d.T * d->N;
    if (!rc && held.d.T && fit.d.T) {
        struct gate_input in = {held.x, held.category, held.d.T};
        scores = malloc((size_t)(n_variants * n) * sizeof *scores);
        rc = scores ? fitter->try_all(scores, dev, &fit.d, &in, n_variants, o, err)
                    : err_set(err, MOE2_ELIMIT, "no memory for the scores of a fold");
        for (int v = 0; v < n_variants && !rc; v++)
            for (int64_t t = 0; t < held.d.T; t++)
                memcpy(all + (v * d->T + held.row[t]) * d->N, scores + v * n + t * d->N,
                       (size_t)d->N * sizeof *all);
    }
    free(scores);
    part_release(&fit);
    part_release(&held);
    return rc;
}

/* ---- a kind ---- */

static int try_folds(struct gate_trained *r, float *all, struct device *dev,
                     const struct gate_data *d, const struct gate_fitter *fitter, const char *kind,
                     const struct gate_train_options *o, struct err *err)
{
    struct progress progress;
    char what[32];
    int rc = 0;
    snprintf(what, sizeof what, "%s, folds", kind);
    progress_begin(&progress, o->sink, what, (double)o->folds, "folds");
    for (int32_t f = 0; f < o->folds && !rc; f++) {
        rc = try_fold(all, dev, d, r->fold, f, fitter, r->n_variants, o, err);
        if (!rc)
            rc = gate_stopped(o, err);
        progress_set(&progress, f + 1);
    }
    progress_end(&progress);
    for (int v = 0; v < r->n_variants && !rc; v++) {
        r->variants[v].loss =
            gate_loss(all + v * d->T * d->N, d, gate_kind_find(kind)->probabilities);
        fitter->name_variant(r->variants[v].text, sizeof r->variants[v].text, v, d, o);
        if (r->variants[v].loss < r->variants[r->chosen].loss)
            r->chosen = v;
    }
    return rc;
}

static int train_kind(struct gate_trained *r, struct device *dev, struct gate_data *d,
                      const struct gate_fitter *fitter, const char *kind,
                      const struct gate_train_options *o, struct err *err)
{
    double begun_s = clock_s();
    int64_t n = d->T * d->N;
    r->n_variants = fitter->n_variants(d, o);
    assert(r->n_variants <= GATE_MAX_VARIANTS);
    if (n > MAX_OOF_BYTES / 4 / r->n_variants)
        return err_set(err, MOE2_ELIMIT,
                       "out-of-fold scores of %lld rows, %lld experts and %d "
                       "settings need more than %lld MiB",
                       (long long)d->T, (long long)d->N, r->n_variants,
                       (long long)(MAX_OOF_BYTES >> 20));
    float *all = malloc((size_t)(n * r->n_variants) * sizeof *all);
    int rc = all ? try_folds(r, all, dev, d, fitter, kind, o, err)
                 : err_set(err, MOE2_ELIMIT, "no memory for the out-of-fold scores");
    r->fold_s = clock_s() - begun_s;
    if (!rc)
        memcpy(r->oof, all + r->chosen * n, (size_t)n * sizeof *all);
    free(all);
    if (!rc)
        rc = gate_new(&r->gate, gate_kind_find(kind), d->D, d->N, d->experts, d->n_categories,
                      d->categories, err);
    begun_s = clock_s();
    if (!rc)
        rc = fitter->fit(r->gate, dev, d, r->chosen, o, err);
    r->fit_s = clock_s() - begun_s;
    return rc;
}

/* ---- checks ---- */

static int check_options(const struct gate_data *d, const char *kind,
                         const struct gate_train_options *o, struct err *err)
{
    const struct {
        const char *name;
        int64_t value, low, high;
    } whole[] = {{"folds", o->folds, 2, GATE_MAX_FOLDS},
                 {"hidden", o->hidden, 1, GATE_MAX_HIDDEN},
                 {"batch", o->batch, 1, 1 << 16},
                 {"epochs", o->epochs, 1, GATE_MAX_EPOCHS}};
    if (!gate_kind_find(kind))
        return err_set(err, MOE2_ECONFIG,
                       "--kind is \"%.40s\", wanted sigmoid, softmax, knn, kmeans, "
                       "category or ensemble",
                       kind);
    for (size_t i = 0; i < sizeof whole / sizeof *whole; i++)
        if (whole[i].value < whole[i].low || whole[i].value > whole[i].high)
            return err_set(err, MOE2_ECONFIG, "--%s is %lld, wanted %lld to %lld", whole[i].name,
                           (long long)whole[i].value, (long long)whole[i].low,
                           (long long)whole[i].high);
    if (!(o->lr > 0 && o->lr <= 10))
        return err_set(err, MOE2_ECONFIG, "--lr is %g, wanted above 0 and at most 10", o->lr);
    if (!(o->weight_decay >= 0 && o->weight_decay <= 100))
        return err_set(err, MOE2_ECONFIG, "--weight-decay is %g, wanted 0 to 100", o->weight_decay);
    if (d->T < 2 * o->folds || d->T > INT32_MAX)
        return err_set(err, MOE2_ECONFIG, "%lld rows for %lld folds, wanted at least two a fold",
                       (long long)d->T, (long long)o->folds);
    if (strcmp(kind, "category") == 0 && !d->category)
        return err_set(err, MOE2_ECONFIG,
                       "--kind category needs a column \"category\" in the outcomes");
    return 0;
}

static int check_experts(const struct gate_data *d, struct err *err)
{
    for (int64_t e = 0; e < d->N; e++) {
        int64_t t = 0;
        while (t < d->T && d->right[t * d->N + e] < 0)
            t++;
        if (t == d->T)
            return err_set(err, MOE2_EFORMAT,
                           "expert %s has no outcome in any of the %lld rows, "
                           "wanted at least one",
                           d->experts[e], (long long)d->T);
    }
    return 0;
}

/* Accuracy of each expert where it was run. */
static void note_accuracy(struct gate *g, const struct gate_data *d)
{
    for (int64_t e = 0; e < d->N; e++) {
        double right = 0, run = 0;
        for (int64_t t = 0; t < d->T; t++) {
            right += d->right[t * d->N + e] > 0;
            run += d->right[t * d->N + e] >= 0;
        }
        g->accuracy[e] = (float)(right / run);
    }
}

int gate_train(struct gate_trained *out, struct device *dev, struct gate_data *d, const char *kind,
               const struct gate_train_options *o, struct err *err)
{
    struct gate_trained r = {0};
    int rc = check_options(d, kind, o, err);
    if (!rc)
        rc = check_experts(d, err);
    if (rc)
        return rc;
    r.oof = calloc((size_t)(d->T * d->N), sizeof *r.oof);
    r.fold = malloc((size_t)d->T * sizeof *r.fold);
    rc = r.oof && r.fold ? make_folds(r.fold, d, o->folds, o->seed, err)
                         : err_set(err, MOE2_ELIMIT, "no memory for %lld rows", (long long)d->T);
    if (!rc && d->n_distinct < o->folds)
        rc = err_set(err, MOE2_EFORMAT,
                     "there are only %lld different vectors, wanted at least one "
                     "for each of %lld folds",
                     (long long)d->n_distinct, (long long)o->folds);
    for (int i = 0; i < N_FITTERS && !rc; i++)
        if (strcmp(fitters[i].name, kind) == 0)
            rc = train_kind(&r, dev, d, fitters[i].fitter, kind, o, err);
    if (!rc && strcmp(kind, "ensemble") == 0)
        rc = gate_fit_ensemble(&r, dev, d, o, err);
    if (rc) {
        gate_trained_release(&r);
        return rc;
    }
    note_accuracy(r.gate, d);
    *out = r;
    return 0;
}
