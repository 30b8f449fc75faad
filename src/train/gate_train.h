/* Training gates: kinds as a table, their settings chosen out of fold, scores that nobody saw.
 *
 *     struct gate_train_options o = gate_train_default();
 *     struct gate_trained r;
 *     gate_train(&r, dev, &data, "knn", &o, err);
 *     … r.gate, r.oof [T, N] …
 *     gate_trained_release(&r);
 *
 * The rows are cut into folds, equal vectors in the same one, each fold with its share of every category. Each setting of a kind is
 * fitted on all folds but one and scores that one; the setting with the lowest loss over all rows so scored is chosen (sigmoid, knn,
 * kmeans, category: log-loss of the cells that were run; softmax: its own loss) and fitted once more on everything. oof holds the chosen
 * setting's scores of the held folds. The same seed gives the same bits at any number of threads.
 */
#ifndef MOE2_TRAIN_GATE_TRAIN_H
#define MOE2_TRAIN_GATE_TRAIN_H

#include "base/log.h"
#include "model/gate.h"
#include "tensor/dtype.h"

enum {
    GATE_MAX_FOLDS = 50,
    GATE_MAX_VARIANTS = 16,
    GATE_MAX_EPOCHS = 10000,
};

/* What a gate learns from. All borrowed. */
struct gate_data {
    const float *x;          /* [T, D], finite */
    const int8_t *right;     /* [T, N] 1 right, 0 wrong, −1 not run */
    const int32_t *category; /* [T], −1 none; or NULL: no categories */
    int64_t T, D, N, n_categories,
        n_distinct; /* n_distinct: different rows of x; gate_train counts them */
    const char *const *experts, *const *categories;
};

struct gate_train_options {
    int64_t folds;
    uint64_t seed;
    int64_t hidden, batch, epochs; /* of sigmoid and softmax; epochs at most */
    double lr, weight_decay;
    enum dtype compute; /* of the large products: DT_F32 or DT_BF16 */
    const struct log_sink *sink;
    const volatile int *stop;
};

/* 5 folds, seed 1, 256 hidden units, batches of 128, 50 epochs, lr 0.001, weight decay 0.01, float32. */
struct gate_train_options gate_train_default(void);

struct gate_variant {
    char text[48]; /* "k = 200" */
    double loss;   /* out of fold */
};

struct gate_trained {
    struct gate *gate; /* owned */
    float *oof;        /* [T, N], owned */
    int32_t *fold;     /* [T], owned */
    struct gate_variant variants[GATE_MAX_VARIANTS];
    int n_variants, chosen;
    double fold_s, fit_s; /* seconds for the folds and for the last fit */
};

/* How a kind is fitted. `fit` data and `held` rows are disjoint. */
struct gate_fitter {
    /* How many settings to try on data of that size, and the name of each. */
    int (*n_variants)(const struct gate_data *all, const struct gate_train_options *o);
    void (*name_variant)(char *text, size_t n_text, int variant, const struct gate_data *all,
                         const struct gate_train_options *o);
    /* Scores [n_variants, held->T, N] of held rows by every setting, fitted on `fit`. */
    int (*try_all)(float *scores, struct device *dev, const struct gate_data *fit,
                   const struct gate_input *held, int n_variants,
                   const struct gate_train_options *o, struct err *err);
    /* Fills the gate's tensors and settings. */
    int (*fit)(struct gate *g, struct device *dev, const struct gate_data *all, int variant,
               const struct gate_train_options *o, struct err *err);
};

/* Trains a gate of the kind. Errors: MOE2_ECONFIG for options or an unknown kind, fewer rows than twice the folds, category without
 * categories; MOE2_EFORMAT for an expert without any outcome; MOE2_ELIMIT, MOE2_ESTOP, MOE2_ENUMERIC. */
int gate_train(struct gate_trained *out, struct device *dev, struct gate_data *data,
               const char *kind, const struct gate_train_options *o, struct err *err);

void gate_trained_release(struct gate_trained *r); /* a zeroed one is fine */

#endif
