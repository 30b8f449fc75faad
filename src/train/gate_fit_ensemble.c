/* Fitting the ensemble: weights for the log-odds of other gates, from scores that those gave out of fold.
 *
 *     p_e = sigmoid(bias_e + Σ_j weight_j · logit(oof_j,e))
 *
 * The parts are trained like any gate of their kind, on the same folds. bias and weight maximise the likelihood of the cells that were
 * run, less a small square penalty, by Newton's method: N + n_parts numbers. The ensemble's own out-of-fold scores of a fold come from
 * weights fitted on the other folds.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "model/gate_parts.h"
#include "train/gate_fit.h"

static const char *const part_kinds[] = {"knn", "sigmoid", "kmeans", "category"};
enum { MAX_UNKNOWNS = GATE_MAX_EXPERTS + GATE_MAX_PARTS, NEWTON_STEPS = 25 };
static const double penalty =
    1; /* · |weight − 1/n_parts|² / 2 and · |bias|² / 2, against sums over cells */

struct stack {
    const struct gate_data *d;
    const int32_t *fold;
    int n_parts;
    double *logit[GATE_MAX_PARTS]; /* [T, N] each */
};

static double score_of(const struct stack *s, const double *w, int64_t cell)
{
    double z = w[s->n_parts + cell % s->d->N];
    for (int p = 0; p < s->n_parts; p++)
        z += w[p] * s->logit[p][cell];
    return 1 / (1 + exp(-z));
}

/* Gradient and Hessian of the penalised loss over the rows outside fold `left_out`. */
static void derivatives(double *g, double *H, const struct stack *s, const double *w,
                        int32_t left_out)
{
    int n = s->n_parts + (int)s->d->N;
    memset(H, 0, (size_t)(n * n) * sizeof *H);
    for (int i = 0; i < n; i++) {
        g[i] = penalty * (w[i] - (i < s->n_parts ? 1.0 / s->n_parts : 0));
        H[i * n + i] = penalty;
    }
    for (int64_t cell = 0; cell < s->d->T * s->d->N; cell++) {
        int8_t y = s->d->right[cell];
        if (y < 0 || s->fold[cell / s->d->N] == left_out)
            continue;
        double p = score_of(s, w, cell), v = p * (1 - p);
        int b = s->n_parts + (int)(cell % s->d->N);
        g[b] += p - y;
        H[b * n + b] += v;
        for (int i = 0; i < s->n_parts; i++) {
            double li = s->logit[i][cell];
            g[i] += (p - y) * li;
            H[i * n + b] += v * li;
            for (int j = i; j < s->n_parts; j++)
                H[i * n + j] += v * li * s->logit[j][cell];
        }
    }
}

/* Solves H x = g in place (upper half given, positive definite) by Cholesky's LᵀDL-free form; x overwrites g. */
static void solve(double *g, double *H, int n)
{
    for (int j = 0; j < n; j++) { /* H = UᵀU */
        for (int i = 0; i <= j; i++) {
            double v = H[i * n + j];
            for (int k = 0; k < i; k++)
                v -= H[k * n + i] * H[k * n + j];
            H[i * n + j] = i == j ? sqrt(fmax(v, 1e-12)) : v / H[i * n + i];
        }
    }
    for (int i = 0; i < n; i++) {
        for (int k = 0; k < i; k++)
            g[i] -= H[k * n + i] * g[k];
        g[i] /= H[i * n + i];
    }
    for (int i = n; i-- > 0;) {
        for (int k = i + 1; k < n; k++)
            g[i] -= H[i * n + k] * g[k];
        g[i] /= H[i * n + i];
    }
}

/* Weights and biases w [n_parts + N] from the rows outside one fold (−1: from all). */
static int fit_stack(double *w, const struct stack *s, int32_t left_out, struct err *err)
{
    int n = s->n_parts + (int)s->d->N;
    double g[MAX_UNKNOWNS];
    double *H = malloc((size_t)(n * n) * sizeof *H);
    if (!H)
        return err_set(err, MOE2_ELIMIT, "no memory for the ensemble's weights");
    for (int i = 0; i < n; i++)
        w[i] = i < s->n_parts ? 1.0 / s->n_parts : 0;
    for (int step = 0; step < NEWTON_STEPS; step++) {
        double most = 0;
        derivatives(g, H, s, w, left_out);
        solve(g, H, n);
        for (int i = 0; i < n; i++)
            most = fmax(most, fabs(g[i]));
        double scale = most > 2 ? 2 / most : 1;
        for (int i = 0; i < n; i++)
            w[i] -= scale * g[i];
        if (most < 1e-9)
            break;
    }
    free(H);
    return 0;
}

static int add_part(struct gate *g, struct stack *s, struct device *dev, struct gate_data *d,
                    const char *kind, const struct gate_train_options *o, struct err *err)
{
    struct gate_trained part = {0};
    int rc = gate_train(&part, dev, d, kind, o, err);
    double *logit = rc ? NULL : malloc((size_t)(d->T * d->N) * sizeof *logit);
    if (!rc && !logit)
        rc = err_set(err, MOE2_ELIMIT, "no memory for the ensemble");
    for (int64_t i = 0; i < d->T * d->N && !rc; i++)
        logit[i] = gate_logit(part.oof[i]);
    if (!rc) {
        s->logit[s->n_parts++] = logit;
        g->parts[g->n_parts++] = part.gate;
        part.gate = NULL;
    }
    gate_trained_release(&part);
    return rc;
}

/* Out-of-fold scores, then the weights that stay. */
static int weigh(struct gate_trained *r, const struct stack *s, const struct gate_train_options *o,
                 struct err *err)
{
    const struct gate_data *d = s->d;
    double w[MAX_UNKNOWNS];
    int rc = 0;
    for (int32_t f = 0; f < o->folds && !rc; f++) {
        rc = fit_stack(w, s, f, err);
        for (int64_t cell = 0; cell < d->T * d->N && !rc; cell++)
            if (s->fold[cell / d->N] == f)
                r->oof[cell] = (float)score_of(s, w, cell);
    }
    if (!rc)
        rc = fit_stack(w, s, -1, err);
    float *weight = rc ? NULL : gate_add(r->gate, "weight", s->n_parts, 0, err);
    float *bias = weight ? gate_add(r->gate, "bias", d->N, 0, err) : NULL;
    if (!rc && !bias)
        rc = MOE2_ELIMIT;
    for (int i = 0; i < s->n_parts && !rc; i++)
        weight[i] = (float)w[i];
    for (int64_t e = 0; e < d->N && !rc; e++)
        bias[e] = (float)w[s->n_parts + e];
    return rc;
}

int gate_fit_ensemble(struct gate_trained *r, struct device *dev, struct gate_data *d,
                      const struct gate_train_options *o, struct err *err)
{
    struct stack s = {.d = d, .fold = r->fold};
    double begun_s = clock_s();
    int rc = gate_new(&r->gate, &gate_ensemble, d->D, d->N, d->experts, d->n_categories,
                      d->categories, err);
    for (size_t i = 0; i < sizeof part_kinds / sizeof *part_kinds && !rc; i++)
        if (d->category || strcmp(part_kinds[i], "category") != 0)
            rc = add_part(r->gate, &s, dev, d, part_kinds[i], o, err);
    r->fold_s = clock_s() - begun_s;
    if (!rc)
        rc = weigh(r, &s, o, err);
    r->n_variants = 1;
    memcpy(r->variants[0].text, "stacked", sizeof "stacked");
    r->variants[0].loss = rc ? 0 : gate_loss(r->oof, d, true);
    r->fit_s = clock_s() - begun_s - r->fold_s;
    for (int i = 0; i < s.n_parts; i++)
        free(s.logit[i]);
    return rc;
}
