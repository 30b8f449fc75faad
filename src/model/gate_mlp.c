/* Two layers: scores = f(fc2 · relu(fc1 · x + b1) + b2), f the sigmoid of each head, or softmax over all.
 *
 * Tensors, named as PyTorch would name them: fc1.weight [hidden, D], fc1.bias [hidden], fc2.weight [N, hidden], fc2.bias [N].
 */
#include <math.h>
#include <stdlib.h>

#include "model/gate_parts.h"

static int check(const struct gate *g, struct err *err)
{
    const struct gate_tensor *w, *t;
    int rc = gate_need(&w, g, "fc1.weight", -1, g->D, err);
    if (!rc && w->shape[0] > GATE_MAX_HIDDEN)
        rc = err_set(err, MOE2_ELIMIT, "the gate has %lld hidden units, wanted at most %d",
                     (long long)w->shape[0], GATE_MAX_HIDDEN);
    if (!rc)
        rc = gate_need(&t, g, "fc1.bias", w->shape[0], 0, err);
    if (!rc)
        rc = gate_need(&t, g, "fc2.weight", g->N, w->shape[0], err);
    return rc ? rc : gate_need(&t, g, "fc2.bias", g->N, 0, err);
}

static int logits(float *z, struct device *dev, const struct gate *g, const struct gate_input *in,
                  struct err *err)
{
    const struct gate_tensor *w1 = gate_tensor(g, "fc1.weight");
    const float *b1 = gate_tensor(g, "fc1.bias")->data, *b2 = gate_tensor(g, "fc2.bias")->data;
    int64_t F = w1->shape[0];
    float *h = malloc((size_t)(in->T * F) * sizeof *h);
    if (!h)
        return err_set(err, MOE2_ELIMIT, "no memory to score %lld rows", (long long)in->T);
    gate_product(h, dev, in->x, w1->data, in->T, F, g->D);
    for (int64_t t = 0; t < in->T; t++)
        for (int64_t f = 0; f < F; f++)
            h[t * F + f] = fmaxf(h[t * F + f] + b1[f], 0);
    gate_product(z, dev, h, gate_tensor(g, "fc2.weight")->data, in->T, g->N, F);
    for (int64_t t = 0; t < in->T; t++)
        for (int64_t e = 0; e < g->N; e++)
            z[t * g->N + e] += b2[e];
    free(h);
    return 0;
}

static int score_sigmoid(float *scores, struct device *dev, const struct gate *g,
                         const struct gate_input *in, struct err *err)
{
    int rc = logits(scores, dev, g, in, err);
    for (int64_t i = 0; i < in->T * g->N && !rc; i++)
        scores[i] = (float)(1 / (1 + exp(-(double)scores[i])));
    return rc;
}

static int score_softmax(float *scores, struct device *dev, const struct gate *g,
                         const struct gate_input *in, struct err *err)
{
    int rc = logits(scores, dev, g, in, err);
    for (int64_t t = 0; t < in->T && !rc; t++) {
        float *row = scores + t * g->N, most = -INFINITY;
        double sum = 0;
        for (int64_t e = 0; e < g->N; e++)
            most = fmaxf(most, row[e]);
        for (int64_t e = 0; e < g->N; e++)
            sum += exp((double)row[e] - most);
        for (int64_t e = 0; e < g->N; e++)
            row[e] = (float)(exp((double)row[e] - most) / sum);
    }
    return rc;
}

const struct gate_kind gate_sigmoid = {"sigmoid", "two layers, a sigmoid head an expert", true,
                                       check, score_sigmoid};
const struct gate_kind gate_softmax = {"softmax", "two layers, one expert out of all", false, check,
                                       score_softmax};
