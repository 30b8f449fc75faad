/* Inside gates: what the kinds share. */
#ifndef MOE2_MODEL_GATE_PARTS_H
#define MOE2_MODEL_GATE_PARTS_H

#include "model/gate.h"

extern const struct gate_kind gate_sigmoid, gate_softmax, gate_knn, gate_kmeans, gate_category_kind,
    gate_ensemble;

/* A tensor that must be there with that shape; −1 as a side takes any size of at least 1. MOE2_EFORMAT otherwise. */
int gate_need(const struct gate_tensor **out, const struct gate *g, const char *name, int64_t rows,
              int64_t columns, struct err *err);

/* Rows of x [T, D] divided by their length; rows of zeros stay. */
void gate_normalize(float *out, const float *x, int64_t T, int64_t D);

/* What knn gives for several numbers of neighbours at once: scores [n_ks, T, N], ks rising. x [T, D] need not be normalised; train
 * [R, D] is. right [R, N]: 1, 0, or −1 where not run; prior [N] and its weight smooth. */
struct gate_knn_args {
    const float *train, *right, *prior;
    int64_t R, D, N;
    double prior_weight;
    const int64_t *ks;
    int n_ks;
};
int gate_knn_scores(float *scores, struct device *dev, const struct gate_knn_args *a,
                    const float *x, int64_t T, struct err *err);

/* Log-odds of a score, which is kept 1e-4 away from 0 and 1. */
double gate_logit(double p);

#endif
