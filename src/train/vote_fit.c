/* Fitting the learned combination: see vote_fit.h. */
#include "train/vote_fit.h"

#include <math.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

enum { MEMORY = 10, MAX_HALVINGS = 40 };

struct vote_fit_options vote_fit_default(void)
{
    return (struct vote_fit_options){
        .l2 = 1e-4, .l2_parts = 1e-3, .max_steps = 200, .tolerance = 1e-5};
}

static uint64_t asked_of(const struct vote_fit_data *d, int64_t q)
{
    return d->asked_by_question ? d->asked_by_question[q] : d->asked;
}

/* ---- loss and gradient ---- */

/* score += Σ w_e at the option of each asked expert; probability of each option in place of the score; returns −log p(right). */
static double soften(double *score, const struct vote_learned *v, const struct vote_fit_data *d,
                     int64_t q)
{
    int n = d->n_options[q], E = v->shape.n_experts;
    uint64_t asked = asked_of(d, q);
    memset(score, 0, (size_t)n * sizeof *score);
    for (int e = 0; e < E; e++) {
        int o = d->view->answers[q * E + e];
        if ((asked >> e & 1) && o >= 0)
            score[o] += vote_learned_weight(v, d->view, q, e);
    }
    double top = score[0], sum = 0;
    for (int o = 1; o < n; o++)
        top = fmax(top, score[o]);
    double right = score[d->right[q]] - top;
    for (int o = 0; o < n; o++)
        sum += score[o] = exp(score[o] - top);
    for (int o = 0; o < n; o++)
        score[o] /= sum;
    return log(sum) - right;
}

/* Adds dw at every term of w_e(q): the mirror of vote_learned_weight. */
static void spread(double *gradient, double dw, const struct vote_shape *s,
                   const struct vote_view *view, int64_t q, int e)
{
    double *row = gradient + e;
    int64_t E = s->n_experts;
    row[0] += dw;
    row += E;
    for (int g = 0; g < s->n_gates; g++, row += E)
        row[0] += dw * (double)view->gates[g][q * E + e];
    for (int p = 0; p < s->n_partitions; p++) {
        int32_t part = view->parts[p][q];
        if (part >= 0)
            row[part * E] += dw;
        row += s->n_parts[p] * E;
    }
}

double vote_fit_loss(double *gradient, const double *theta, const struct vote_shape *shape,
                     const struct vote_fit_data *d, const struct vote_fit_options *options)
{
    const struct vote_learned v = {*shape, theta};
    int64_t E = shape->n_experts, rows = vote_shape_rows(shape);
    double loss = 0, score[VOTE_MAX_OPTIONS], scale = 1 / (double)d->n_rows;
    memset(gradient, 0, (size_t)(rows * E) * sizeof *gradient);
    for (int64_t i = 0; i < d->n_rows; i++) {
        int64_t q = d->rows[i];
        uint64_t asked = asked_of(d, q);
        loss += scale * soften(score, &v, d, q);
        for (int e = 0; e < E; e++) {
            int o = d->view->answers[q * E + e];
            if ((asked >> e & 1) && o >= 0)
                spread(gradient, scale * (score[o] - (o == d->right[q])), shape, d->view, q, e);
        }
    }
    for (int64_t i = 0; i < rows * E; i++) {
        double l2 = i < (1 + shape->n_gates) * E ? options->l2 : options->l2_parts;
        loss += 0.5 * l2 * theta[i] * theta[i];
        gradient[i] += l2 * theta[i];
    }
    return loss;
}

/* ---- L-BFGS ---- */

struct search {
    double *x, *g, *x_new, *g_new, *direction;
    double *s[MEMORY], *y[MEMORY], rho[MEMORY];
    int64_t n;
    int n_pairs, next;
};

static double dot(const double *a, const double *b, int64_t n)
{
    double sum = 0;
    for (int64_t i = 0; i < n; i++)
        sum += a[i] * b[i];
    return sum;
}

/* direction = −H·g by the two loops over the remembered pairs, newest first, then oldest first. */
static void aim(struct search *w)
{
    double alpha[MEMORY];
    double *d = w->direction;
    for (int64_t i = 0; i < w->n; i++)
        d[i] = -w->g[i];
    for (int k = 0; k < w->n_pairs; k++) {
        int j = (w->next + 2 * MEMORY - 1 - k) % MEMORY;
        alpha[j] = w->rho[j] * dot(w->s[j], d, w->n);
        for (int64_t i = 0; i < w->n; i++)
            d[i] -= alpha[j] * w->y[j][i];
    }
    if (w->n_pairs) {
        int j = (w->next + MEMORY - 1) % MEMORY;
        double scale = 1 / (w->rho[j] * dot(w->y[j], w->y[j], w->n));
        for (int64_t i = 0; i < w->n; i++)
            d[i] *= scale;
    }
    for (int k = w->n_pairs - 1; k >= 0; k--) {
        int j = (w->next + 2 * MEMORY - 1 - k) % MEMORY;
        double beta = w->rho[j] * dot(w->y[j], d, w->n);
        for (int64_t i = 0; i < w->n; i++)
            d[i] += (alpha[j] - beta) * w->s[j][i];
    }
}

static void remember(struct search *w)
{
    double *s = w->s[w->next], *y = w->y[w->next];
    for (int64_t i = 0; i < w->n; i++) {
        s[i] = w->x_new[i] - w->x[i];
        y[i] = w->g_new[i] - w->g[i];
    }
    double curvature = dot(s, y, w->n);
    if (curvature <= 1e-14 * dot(y, y, w->n))
        return;
    w->rho[w->next] = 1 / curvature;
    w->next = (w->next + 1) % MEMORY;
    w->n_pairs += w->n_pairs < MEMORY;
}

static double largest(const double *g, int64_t n)
{
    double most = 0;
    for (int64_t i = 0; i < n; i++)
        most = fmax(most, fabs(g[i]));
    return most;
}

/* Halves the step until the loss falls enough (Armijo); false when it never does. */
static bool step(struct search *w, double *loss, double length, const struct vote_shape *shape,
                 const struct vote_fit_data *d, const struct vote_fit_options *o)
{
    double slope = dot(w->g, w->direction, w->n);
    for (int k = 0; k < MAX_HALVINGS && slope < 0; k++, length *= 0.5) {
        for (int64_t i = 0; i < w->n; i++)
            w->x_new[i] = w->x[i] + length * w->direction[i];
        double found = vote_fit_loss(w->g_new, w->x_new, shape, d, o);
        if (found <= *loss + 1e-4 * length * slope) {
            *loss = found;
            return true;
        }
    }
    return false;
}

static double minimise(struct search *w, const struct vote_shape *shape,
                       const struct vote_fit_data *d, const struct vote_fit_options *o)
{
    double loss = vote_fit_loss(w->g, w->x, shape, d, o);
    for (int k = 0; k < o->max_steps && largest(w->g, w->n) > o->tolerance; k++) {
        aim(w);
        double first = w->n_pairs ? 1 : 1 / fmax(1e-12, sqrt(dot(w->g, w->g, w->n)));
        if (!step(w, &loss, first, shape, d, o))
            break;
        remember(w);
        memcpy(w->x, w->x_new, (size_t)w->n * sizeof *w->x);
        memcpy(w->g, w->g_new, (size_t)w->n * sizeof *w->g);
    }
    return loss;
}

/* ---- the interface ---- */

static int check_question(const struct vote_shape *s, const struct vote_fit_data *d, int64_t q,
                          struct err *err)
{
    int64_t E = s->n_experts;
    int n = d->n_options[q];
    if (n < 1 || n > VOTE_MAX_OPTIONS || d->right[q] < 0 || d->right[q] >= n)
        return err_set(err, MOE2_EFORMAT, "question %lld: option %d of %d is right", (long long)q,
                       d->right[q], n);
    for (int64_t e = 0; e < E; e++) {
        if (d->view->answers[q * E + e] >= n)
            return err_set(err, MOE2_EFORMAT,
                           "question %lld: expert %lld answered %d of %d options", (long long)q,
                           (long long)e, d->view->answers[q * E + e], n);
        for (int g = 0; g < s->n_gates; g++)
            if (!isfinite(d->view->gates[g][q * E + e]))
                return err_set(err, MOE2_ENUMERIC,
                               "question %lld: the score of expert %lld is not finite",
                               (long long)q, (long long)e);
    }
    for (int p = 0; p < s->n_partitions; p++)
        if (d->view->parts[p][q] >= s->n_parts[p])
            return err_set(err, MOE2_EFORMAT, "question %lld: part %d of %d", (long long)q,
                           d->view->parts[p][q], s->n_parts[p]);
    return 0;
}

static int check(const struct vote_shape *s, const struct vote_fit_data *d, struct err *err)
{
    bool fits = s->n_experts >= 1 && s->n_experts <= VOTE_MAX_EXPERTS && s->n_gates >= 0 &&
                s->n_gates <= VOTE_MAX_GATES && s->n_partitions >= 0 &&
                s->n_partitions <= VOTE_MAX_PARTITIONS && d->n_rows >= 1;
    for (int p = 0; fits && p < s->n_partitions; p++)
        fits = s->n_parts[p] >= 0 && s->n_parts[p] <= VOTE_MAX_PARTS;
    if (!fits)
        return err_set(err, MOE2_ELIMIT,
                       "a combination of %d experts, %d gates, %d partitions on %lld questions, "
                       "wanted at most %d, %d, %d and at least one question",
                       s->n_experts, s->n_gates, s->n_partitions, (long long)d->n_rows,
                       VOTE_MAX_EXPERTS, VOTE_MAX_GATES, VOTE_MAX_PARTITIONS);
    int rc = 0;
    for (int64_t i = 0; i < d->n_rows && !rc; i++)
        rc = check_question(s, d, d->rows[i], err);
    return rc;
}

int vote_fit(double *theta, double *loss, const struct vote_shape *shape,
             const struct vote_fit_data *data, const struct vote_fit_options *options,
             struct err *err)
{
    int rc = check(shape, data, err);
    if (rc)
        return rc;
    int64_t n = vote_shape_rows(shape) * shape->n_experts;
    double *memory = calloc((size_t)n * (5 + 2 * MEMORY), sizeof *memory);
    if (!memory)
        return err_set(err, MOE2_ELIMIT, "no memory for %lld weights", (long long)n);
    struct search w = {.n = n,
                       .x = memory,
                       .g = memory + n,
                       .x_new = memory + 2 * n,
                       .g_new = memory + 3 * n,
                       .direction = memory + 4 * n};
    for (int j = 0; j < MEMORY; j++) {
        w.s[j] = memory + (5 + 2 * j) * n;
        w.y[j] = memory + (6 + 2 * j) * n;
    }
    double reached = minimise(&w, shape, data, options);
    memcpy(theta, w.x, (size_t)n * sizeof *theta);
    if (loss)
        *loss = reached;
    free(memory);
    return 0;
}

int64_t vote_fit_correct(const double *theta, const struct vote_shape *shape,
                         const struct vote_fit_data *data)
{
    const struct vote_learned v = {*shape, theta};
    int64_t correct = 0;
    for (int64_t i = 0; i < data->n_rows; i++) {
        int64_t q = data->rows[i];
        correct += vote_learned_pick(NULL, &v, data->view, q, asked_of(data, q)) == data->right[q];
    }
    return correct;
}
