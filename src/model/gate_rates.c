/* Rates: an expert's smoothed accuracy in the group that a prompt belongs to.
 *
 *     kmeans     groups are clusters: rates [k, N], centroids [k, D]
 *     category   groups are the outcomes' categories: rates [n_categories + 1, N], the last row for a prompt whose category is
 *                not known
 */
#include <stdlib.h>
#include <string.h>

#include "model/gate_parts.h"
#include "model/kmeans.h"

static int check_kmeans(const struct gate *g, struct err *err)
{
    const struct gate_tensor *c, *t;
    int rc = gate_need(&c, g, "centroids", -1, g->D, err);
    if (!rc && c->shape[0] > KMEANS_MAX_K)
        rc = err_set(err, MOE2_ELIMIT, "the kmeans gate has %lld clusters, wanted at most %d",
                     (long long)c->shape[0], KMEANS_MAX_K);
    return rc ? rc : gate_need(&t, g, "rates", c->shape[0], g->N, err);
}

static int score_kmeans(float *scores, struct device *dev, const struct gate *g,
                        const struct gate_input *in, struct err *err)
{
    const struct gate_tensor *c = gate_tensor(g, "centroids");
    const float *rates = gate_tensor(g, "rates")->data;
    int32_t *label = malloc((size_t)in->T * sizeof *label);
    int rc =
        label ? 0 : err_set(err, MOE2_ELIMIT, "no memory to score %lld rows", (long long)in->T);
    if (!rc)
        rc = kmeans_assign(label, NULL, dev, in->x, in->T, c->data, c->shape[0], g->D, err);
    for (int64_t t = 0; t < in->T && !rc; t++)
        memcpy(scores + t * g->N, rates + label[t] * g->N, (size_t)g->N * sizeof *scores);
    free(label);
    return rc;
}

static int check_category(const struct gate *g, struct err *err)
{
    const struct gate_tensor *t;
    return gate_need(&t, g, "rates", g->n_categories + 1, g->N, err);
}

static int score_category(float *scores, struct device *dev, const struct gate *g,
                          const struct gate_input *in, struct err *err)
{
    const float *rates = gate_tensor(g, "rates")->data;
    (void)dev;
    (void)err;
    for (int64_t t = 0; t < in->T; t++) {
        int32_t c = in->category ? in->category[t] : -1;
        int64_t row = c >= 0 && c < g->n_categories ? c : g->n_categories;
        memcpy(scores + t * g->N, rates + row * g->N, (size_t)g->N * sizeof *scores);
    }
    return 0;
}

const struct gate_kind gate_kmeans = {"kmeans", "accuracy in the nearest cluster", true,
                                      check_kmeans, score_kmeans};
const struct gate_kind gate_category_kind = {
    "category", "accuracy in the prompt's category, without its embedding", true, check_category,
    score_category};
