/* Inside the training of gates: the table's rows and what they share. */
#ifndef MOE2_TRAIN_GATE_FIT_H
#define MOE2_TRAIN_GATE_FIT_H

#include "train/gate_train.h"

extern const struct gate_fitter gate_fit_sigmoid, gate_fit_softmax, gate_fit_knn, gate_fit_kmeans,
    gate_fit_category;

/* The ensemble has parts of other kinds, trained by themselves, and weighs their out-of-fold scores. */
int gate_fit_ensemble(struct gate_trained *out, struct device *dev, struct gate_data *data,
                      const struct gate_train_options *o, struct err *err);

/* prior [N]: each expert's share of right outcomes, drawn by one row's weight towards the mean of all. */
void gate_prior(float *prior, const struct gate_data *d);

/* rates [n, N]: shares of right outcomes by group (group[t] < 0: none), drawn towards the prior by so many rows' weight. */
int gate_rates(float *rates, const struct gate_data *d, const int32_t *group, int64_t n,
               double prior_weight, struct err *err);

int gate_stopped(const struct gate_train_options *o, struct err *err);

/* Mean log-loss of scores [T, N] over the cells that were run; of softmax over rows with a right expert. */
double gate_loss(const float *scores, const struct gate_data *d, bool probabilities);

#endif
