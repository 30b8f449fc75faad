/* Two layers: scores = f(fc2 · relu(fc1 · x + b1) + b2), f the sigmoid of each head, or softmax over all.
 *
 * Tensors, named as PyTorch would name them: fc1.weight [hidden, D], fc1.bias [hidden], fc2.weight [N, hidden], fc2.bias [N].
 */
#include <math.h>
#include <stdlib.h>

#include "kernels/kernels.h"
#include "kernels/lent.h"
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

/* What the two products read and write, where the device can. */
struct operands {
    struct lent x, w1, b1, h, w2, z;
};

static int lend(struct operands *o, struct device *dev, const struct gate *g, float *z, float *h,
                const struct gate_input *in, struct err *err)
{
    const struct gate_tensor *w1 = gate_tensor(g, "fc1.weight");
    int64_t F = w1->shape[0];
    const struct {
        struct lent *to;
        const float *from;
        int64_t n;
    } read[] = {{&o->x, in->x, in->T * g->D},
                {&o->w1, w1->data, F * g->D},
                {&o->b1, gate_tensor(g, "fc1.bias")->data, F},
                {&o->w2, gate_tensor(g, "fc2.weight")->data, g->N * F}};
    int rc = 0;
    for (size_t i = 0; i < sizeof read / sizeof *read && !rc; i++)
        rc = lent_in(read[i].to, dev, read[i].from, (size_t)read[i].n * sizeof(float), err);
    if (!rc)
        rc = lent_room(&o->h, dev, h, (size_t)(in->T * F) * sizeof(float), err);
    return rc ? rc : lent_room(&o->z, dev, z, (size_t)(in->T * g->N) * sizeof(float), err);
}

static void product(struct device *dev, const struct lent *y, const struct lent *x,
                    const struct lent *w, int64_t M, int64_t N, int64_t K)
{
    struct linear_args a = {.y = y->at, .x = x->at, .w = w->at, .M = M, .N = N, .K = K};
    a.ldy = N, a.ldx = a.ldw = K, a.w_type = a.compute = DT_F32;
    dev->k->linear_forward(dev, &a);
}

static int logits(float *z, struct device *dev, const struct gate *g, const struct gate_input *in,
                  struct err *err)
{
    struct operands o = {0};
    const float *b2 = gate_tensor(g, "fc2.bias")->data;
    int64_t F = gate_tensor(g, "fc1.weight")->shape[0];
    float *h = malloc((size_t)(in->T * F) * sizeof *h);
    int rc = h ? lend(&o, dev, g, z, h, in, err)
               : err_set(err, MOE2_ELIMIT, "no memory to score %lld rows", (long long)in->T);
    if (!rc) {
        product(dev, &o.h, &o.x, &o.w1, in->T, F, g->D);
        dev->k->relu_forward(dev, o.h.at, o.b1.at, in->T, F);
        product(dev, &o.z, &o.h, &o.w2, in->T, g->N, F);
        rc = lent_back(&o.z, dev, z, (size_t)(in->T * g->N) * sizeof *z, err);
    }
    for (int64_t t = 0; t < in->T && !rc; t++)
        for (int64_t e = 0; e < g->N; e++)
            z[t * g->N + e] += b2[e];
    struct lent *all[] = {&o.x, &o.w1, &o.b1, &o.h, &o.w2, &o.z};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        lent_end(all[i], dev);
    free(h);
    return rc;
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
