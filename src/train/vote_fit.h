/* Fitting the learned combination (route/vote_learned.h) by cross-entropy over the options.
 *
 *     loss = −(1/n) Σ_q log( exp score_q(right) / Σ_o exp score_q(o) ) + ½ Σ λ_row θ²
 *
 * where o runs over all options of question q, so that an option that nobody gave has score 0. Convex; solved by L-BFGS (Nocedal &
 * Wright, Numerical Optimization, 7.4) in double, one thread, the same bits every time. Penalties stand for what is not known: parts of
 * the questions share their expert's a unless the data says otherwise.
 */
#ifndef MOE2_TRAIN_VOTE_FIT_H
#define MOE2_TRAIN_VOTE_FIT_H

#include "base/err.h"
#include "route/vote_learned.h"

struct vote_fit_options {
    double l2;        /* λ of a and c */
    double l2_parts;  /* λ of b */
    int max_steps;    /* of L-BFGS */
    double tolerance; /* stops when no gradient is larger */
};

/* l2 1e-4, l2_parts 1e-3, 200 steps, 1e-5. */
struct vote_fit_options vote_fit_default(void);

/* What a fit looks at: the answers of the experts in `asked` on the questions rows [n_rows] of the view. right [view.n] is the right option,
 * n_options [view.n] how many there are. asked_by_question [view.n], if not NULL, gives each question its own mask. */
struct vote_fit_data {
    const struct vote_view *view;
    const int64_t *rows;
    int64_t n_rows;
    const int8_t *right, *n_options;
    uint64_t asked;
    const uint64_t *asked_by_question;
};

/* Fills theta [vote_shape_rows · n_experts], from zero. loss, if not NULL: the mean cross-entropy that was reached. Errors: MOE2_ELIMIT
 * without memory or beyond a maximum; MOE2_EFORMAT for an answer or right option that is no option of its question; MOE2_ENUMERIC for
 * scores that are not finite. */
int vote_fit(double *theta, double *loss, const struct vote_shape *shape,
             const struct vote_fit_data *data, const struct vote_fit_options *options,
             struct err *err);

/* The loss and its gradient [as theta] at a theta: what vote_fit minimises. */
double vote_fit_loss(double *gradient, const double *theta, const struct vote_shape *shape,
                     const struct vote_fit_data *data, const struct vote_fit_options *options);

/* How many of the rows the combination gets right. */
int64_t vote_fit_correct(const double *theta, const struct vote_shape *shape,
                         const struct vote_fit_data *data);

#endif
