/* Statistics for reports: means with intervals, rank correlation, measures of inequality. All in
 * double.
 *
 * Empty or undefined input gives NaN (the JSON writer prints it as null), never a made-up zero.
 */
#ifndef MOE2_BASE_STATS_H
#define MOE2_BASE_STATS_H

#include <stdint.h>

#include "base/err.h"

/* Σx/n; NaN for n = 0. */
double stats_mean(const double *x, int64_t n);

/* Sample standard deviation √(Σ(x − mean)²/(n − 1)), two passes; NaN for n < 2. */
double stats_deviation(const double *x, int64_t n);

/* Population variance Σ(x − mean)²/n; NaN for n = 0. */
double stats_variance(const double *x, int64_t n);

/* Middle value, or the mean of the two. Sorts x. NaN for n = 0. */
double stats_median(double *x, int64_t n);

/* The q quantile, 0 ≤ q ≤ 1, linear between order statistics at q·(n − 1) (type 7 of Hyndman & Fan
 * 1996, NumPy's default). Sorts x. */
double stats_quantile(double *x, int64_t n, double q);

/* P(T ≤ t) of Student's t with df > 0 degrees of freedom, by the regularized incomplete beta
 * function. */
double stats_t_cdf(double t, double df);

/* The t with stats_t_cdf(t, df) = p, 0 < p < 1: 12.7062 for p = 0.975 and df = 1, 2.77645 for df =
 * 4. NaN outside. */
double stats_t_quantile(double p, double df);

/* A mean with its two-sided 95 % interval mean ± t(0.975, n − 1)·deviation/√n. */
struct stats_interval {
    double mean, low, high;
    double half_width; /* infinite for n = 1 */
    int64_t n;
};

struct stats_interval stats_interval95(const double *x, int64_t n);

/* The same of the differences a[i] − b[i]: what a comparison over the same seeds is judged by. */
struct stats_interval stats_paired95(const double *a, const double *b, int64_t n);

/* A share k/n with Wilson's 95 % interval; NaN for n = 0. */
struct stats_share {
    double value, low, high;
};

struct stats_share stats_share95(int64_t k, int64_t n);

/* Spearman's rank correlation: Pearson's of the ranks, ties given their mean rank. NaN when n < 2
 * or one side is constant. MOE2_ELIMIT without memory. */
int stats_spearman(double *out, const double *x, const double *y, int64_t n, struct err *err);

/* Measures of a load vector x [n], x ≥ 0. Each is NaN when n = 0 or the sum is 0. */

/* Gini coefficient Σ_i (2i − n − 1)·x_(i) / (n·Σx) of the sorted x, i from 1: 0 equal, 1 − 1/n all
 * at one. Sorts x. */
double stats_gini(double *x, int64_t n);

/* −Σ p ln p / ln n with p = x/Σx: 1 equal, 0 all at one; 1 for n = 1. */
double stats_entropy(const double *x, int64_t n);

/* Coefficient of variation: √(population variance)/mean. */
double stats_cv(const double *x, int64_t n);

#endif
