/* An ensemble: the scores of several gates, added up as log-odds.
 *
 *     score_e = sigmoid(bias_e + Σ_j weight_j · logit(score_e of part j))
 *
 * Tensors: bias [N], weight [n_parts]; the parts are whole gates in the same file.
 */
#include <math.h>
#include <stdlib.h>

#include "model/gate_parts.h"

double gate_logit(double p)
{
    double q = fmin(fmax(p, 1e-4), 1 - 1e-4);
    return log(q / (1 - q));
}

static int check(const struct gate *g, struct err *err)
{
    const struct gate_tensor *t;
    int rc = gate_need(&t, g, "bias", g->N, 0, err);
    if (!rc && g->n_parts < 1)
        rc = err_set(err, MOE2_EFORMAT, "an ensemble without parts");
    if (!rc)
        rc = gate_need(&t, g, "weight", g->n_parts, 0, err);
    for (int i = 0; i < g->n_parts && !rc; i++)
        if (!g->parts[i]->kind->probabilities || g->parts[i]->n_parts)
            rc = err_set(err, MOE2_EFORMAT, "a %s gate can't be part of an ensemble",
                         g->parts[i]->kind->name);
    return rc;
}

static int score(float *scores, struct device *dev, const struct gate *g,
                 const struct gate_input *in, struct err *err)
{
    const float *bias = gate_tensor(g, "bias")->data, *weight = gate_tensor(g, "weight")->data;
    int64_t n = in->T * g->N;
    float *part = malloc((size_t)n * sizeof *part);
    double *z = malloc((size_t)n * sizeof *z);
    int rc =
        part && z ? 0 : err_set(err, MOE2_ELIMIT, "no memory to score %lld rows", (long long)in->T);
    for (int64_t i = 0; i < n && !rc; i++)
        z[i] = bias[i % g->N];
    for (int p = 0; p < g->n_parts && !rc; p++) {
        rc = gate_score(part, dev, g->parts[p], in, err);
        for (int64_t i = 0; i < n && !rc; i++)
            z[i] += weight[p] * gate_logit(part[i]);
    }
    for (int64_t i = 0; i < n && !rc; i++)
        scores[i] = (float)(1 / (1 + exp(-z[i])));
    free(part);
    free(z);
    return rc;
}

const struct gate_kind gate_ensemble = {
    "ensemble", "log-odds of knn, sigmoid, kmeans and category, stacked", true, check, score};
