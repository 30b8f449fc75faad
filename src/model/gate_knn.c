/* k nearest neighbours: what did each expert make of the k training prompts with the largest cosine?
 *
 *     score_e = (Σ right + w·prior_e) / (how many of the k were run + w)
 *
 * Tensors: train.embeddings [R, D] of length 1, train.right [R, N] (1, 0, −1 not run), prior [N]. Settings: k, prior_weight.
 * Equal cosines go to the lower row.
 * Source: arXiv 2505.12601 finds this hard to beat.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "kernels/kernels.h"
#include "kernels/lent.h"
#include "model/gate_parts.h"

enum { QUERIES = 64 }; /* whose cosines with all of train are in memory at once */

struct neighbour {
    float cosine;
    int32_t row;
};

/* Whether a comes before b: larger cosine, then lower row. */
static bool before(struct neighbour a, struct neighbour b)
{
    return a.cosine > b.cosine || (a.cosine == b.cosine && a.row < b.row);
}

/* heap[0] is the last of the n; sifts the one at i down. */
static void sift(struct neighbour *heap, int64_t n, int64_t i)
{
    struct neighbour x = heap[i];
    for (int64_t c; (c = 2 * i + 1) < n; i = c) {
        if (c + 1 < n && before(heap[c], heap[c + 1]))
            c++;
        if (!before(x, heap[c]))
            break;
        heap[i] = heap[c];
    }
    heap[i] = x;
}

/* The n nearest of R rows, nearest first. */
static void nearest(struct neighbour *heap, int64_t n, const float *cosine, int64_t R)
{
    for (int64_t i = 0; i < n; i++)
        heap[i] = (struct neighbour){cosine[i], (int32_t)i};
    for (int64_t i = n / 2; i-- > 0;)
        sift(heap, n, i);
    for (int64_t r = n; r < R; r++)
        if (cosine[r] > heap[0].cosine) {
            heap[0] = (struct neighbour){cosine[r], (int32_t)r};
            sift(heap, n, 0);
        }
    for (int64_t i = n; i-- > 1;) {
        struct neighbour last = heap[0];
        heap[0] = heap[i];
        heap[i] = last;
        sift(heap, i, 0);
    }
}

/* Scores of one query for every k, from its neighbours. */
static void tally(float *scores, int64_t pitch, const struct gate_knn_args *a,
                  const struct neighbour *near)
{
    double right[GATE_MAX_EXPERTS] = {0}, run[GATE_MAX_EXPERTS] = {0};
    int64_t i = 0;
    for (int j = 0; j < a->n_ks; j++) {
        for (int64_t k = a->ks[j] < a->R ? a->ks[j] : a->R; i < k; i++) {
            const float *row = a->right + near[i].row * a->N;
            for (int64_t e = 0; e < a->N; e++) {
                right[e] += row[e] > 0;
                run[e] += row[e] >= 0;
            }
        }
        for (int64_t e = 0; e < a->N; e++)
            scores[j * pitch + e] =
                (float)((right[e] + a->prior_weight * a->prior[e]) / (run[e] + a->prior_weight));
    }
}

/* What a product reads and writes, where the device can. */
struct there {
    struct lent train, query, cosine;
};

/* cosine [M, R] = query [M, D] · trainᵀ */
static int cosines(float *cosine, struct device *dev, struct there *l, const float *query,
                   int64_t M, int64_t R, int64_t D, struct err *err)
{
    size_t n_bytes = (size_t)(M * R) * sizeof *cosine;
    int rc = lent_in(&l->query, dev, query, (size_t)(M * D) * sizeof *query, err);
    if (!rc)
        rc = lent_room(&l->cosine, dev, cosine, n_bytes, err);
    if (rc)
        return rc;
    struct linear_args a = {.y = l->cosine.at, .x = l->query.at, .w = l->train.at};
    a.M = M, a.N = a.ldy = R, a.K = a.ldx = a.ldw = D, a.w_type = a.compute = DT_F32;
    dev->k->linear_forward(dev, &a);
    return lent_back(&l->cosine, dev, cosine, n_bytes, err);
}

int gate_knn_scores(float *scores, struct device *dev, const struct gate_knn_args *a,
                    const float *x, int64_t T, struct err *err)
{
    int64_t n = a->ks[a->n_ks - 1] < a->R ? a->ks[a->n_ks - 1] : a->R;
    float *query = malloc((size_t)(QUERIES * a->D) * sizeof *query);
    float *cosine = malloc((size_t)(QUERIES * a->R) * sizeof *cosine);
    struct neighbour *near = malloc((size_t)(QUERIES * n) * sizeof *near);
    struct there there = {0};
    int rc = 0;
    if (!query || !cosine || !near)
        rc = err_set(err, MOE2_ELIMIT, "no memory for the neighbours among %lld rows",
                     (long long)a->R);
    if (!rc)
        rc = lent_in(&there.train, dev, a->train, (size_t)(a->R * a->D) * sizeof(float), err);
    for (int64_t first = 0; first < T && !rc; first += QUERIES) {
        int64_t m = T - first < QUERIES ? T - first : QUERIES;
        gate_normalize(query, x + first * a->D, m, a->D);
        rc = cosines(cosine, dev, &there, query, m, a->R, a->D, err);
        if (rc)
            break;
#pragma omp parallel for schedule(static) num_threads(dev->n_threads)
        for (int64_t i = 0; i < m; i++) {
            nearest(near + i * n, n, cosine + i * a->R, a->R);
            tally(scores + (first + i) * a->N, T * a->N, a, near + i * n);
        }
    }
    lent_end(&there.train, dev);
    lent_end(&there.query, dev);
    lent_end(&there.cosine, dev);
    free(query);
    free(cosine);
    free(near);
    return rc;
}

static int check(const struct gate *g, struct err *err)
{
    const struct gate_tensor *t, *r;
    double k = gate_setting(g, "k", 0), w = gate_setting(g, "prior_weight", -1);
    int rc = gate_need(&t, g, "train.embeddings", -1, g->D, err);
    if (!rc)
        rc = gate_need(&r, g, "train.right", t->shape[0], g->N, err);
    if (!rc)
        rc = gate_need(&r, g, "prior", g->N, 0, err);
    if (!rc && t->shape[0] > INT32_MAX)
        rc = err_set(err, MOE2_ELIMIT, "the knn gate has too many rows");
    if (!rc && !(k >= 1 && k <= 1e6 && k == floor(k)))
        rc = err_set(err, MOE2_EFORMAT, "the knn gate has k = %g, wanted a whole number from 1", k);
    if (!rc && !(w > 0 && w <= 1e6))
        rc = err_set(err, MOE2_EFORMAT, "the knn gate has prior_weight %g, wanted above 0", w);
    return rc;
}

static int score(float *scores, struct device *dev, const struct gate *g,
                 const struct gate_input *in, struct err *err)
{
    const struct gate_tensor *train = gate_tensor(g, "train.embeddings");
    int64_t k = (int64_t)gate_setting(g, "k", 1);
    struct gate_knn_args a = {.train = train->data,
                              .right = gate_tensor(g, "train.right")->data,
                              .prior = gate_tensor(g, "prior")->data,
                              .R = train->shape[0]};
    a.D = g->D, a.N = g->N, a.ks = &k, a.n_ks = 1;
    a.prior_weight = gate_setting(g, "prior_weight", 1);
    return gate_knn_scores(scores, dev, &a, in->x, in->T, err);
}

const struct gate_kind gate_knn = {"knn", "the nearest training prompts by cosine", true, check,
                                   score};
