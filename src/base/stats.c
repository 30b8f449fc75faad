/* Statistics: see stats.h. */
#include "base/stats.h"

#include <assert.h>
#include <math.h>
#include <stdlib.h>

double stats_mean(const double *x, int64_t n)
{
    double sum = 0;
    for (int64_t i = 0; i < n; i++)
        sum += x[i];
    return n > 0 ? sum / (double)n : NAN;
}

/* Σ(x − mean)², corrected by the rounding error of the mean (Chan, Golub & LeVeque 1983). */
static double squares_around_mean(const double *x, int64_t n)
{
    double mean = stats_mean(x, n), squares = 0, rest = 0;
    for (int64_t i = 0; i < n; i++) {
        double d = x[i] - mean;
        squares += d * d;
        rest += d;
    }
    return squares - rest * rest / (double)n;
}

double stats_deviation(const double *x, int64_t n)
{
    return n > 1 ? sqrt(fmax(0, squares_around_mean(x, n)) / (double)(n - 1)) : NAN;
}

double stats_variance(const double *x, int64_t n)
{
    return n > 0 ? fmax(0, squares_around_mean(x, n)) / (double)n : NAN;
}

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static void sort(double *x, int64_t n)
{
    if (n > 1)
        qsort(x, (size_t)n, sizeof *x, by_value);
}

double stats_quantile(double *x, int64_t n, double q)
{
    assert(q >= 0 && q <= 1);
    if (n == 0)
        return NAN;
    sort(x, n);
    double at = q * (double)(n - 1);
    int64_t i = (int64_t)at;
    double part = at - (double)i;
    return part > 0 ? x[i] + part * (x[i + 1] - x[i]) : x[i];
}

double stats_median(double *x, int64_t n)
{
    if (n == 0)
        return NAN;
    sort(x, n);
    return n % 2 ? x[n / 2] : 0.5 * (x[n / 2 - 1] + x[n / 2]);
}

/* ---- Student's t ---- */

/* The continued fraction of the incomplete beta function, I_x(a, b) = x^a (1 − x)^b / (a B(a, b)) ·
 * fraction (Abramowitz & Stegun 26.5.8), by the modified Lentz method. Converges fast for x < (a +
 * 1)/(a + b + 2). */
static double beta_fraction(double x, double a, double b)
{
    const double tiny = 1e-300;
    double c = 1, d = 1 - (a + b) * x / (a + 1);
    d = 1 / (fabs(d) < tiny ? tiny : d);
    double f = d;
    for (int m = 1; m <= 10000; m++) {
        double even = m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m));
        d = 1 + even * d;
        c = 1 + even / c;
        d = 1 / (fabs(d) < tiny ? tiny : d);
        c = fabs(c) < tiny ? tiny : c;
        f *= d * c;
        double odd = -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1));
        d = 1 + odd * d;
        c = 1 + odd / c;
        d = 1 / (fabs(d) < tiny ? tiny : d);
        c = fabs(c) < tiny ? tiny : c;
        f *= d * c;
        if (fabs(d * c - 1) < 1e-15)
            break;
    }
    return f;
}

/* I_x(a, b) with x and 1 − x both given, so that neither loses digits near its end. */
static double incomplete_beta(double x, double one_minus_x, double a, double b)
{
    if (x <= 0)
        return 0;
    if (one_minus_x <= 0)
        return 1;
    double front = exp(lgamma(a + b) - lgamma(a) - lgamma(b) + a * log(x) + b * log(one_minus_x));
    if (x < (a + 1) / (a + b + 2))
        return front * beta_fraction(x, a, b) / a;
    return 1 - front * beta_fraction(one_minus_x, b, a) / b;
}

/* P(T > t) for t ≥ 0: half of I_{df/(df + t²)}(df/2, 1/2). */
static double upper_tail(double t, double df)
{
    double t2 = t * t;
    if (isinf(t2))
        return 0;
    return 0.5 * incomplete_beta(df / (df + t2), t2 / (df + t2), 0.5 * df, 0.5);
}

double stats_t_cdf(double t, double df)
{
    if (isnan(t) || !(df > 0))
        return NAN;
    return t >= 0 ? 1 - upper_tail(t, df) : upper_tail(-t, df);
}

/* Bisection on the upper tail, which falls in t: 200 halvings end at neighbouring doubles. */
double stats_t_quantile(double p, double df)
{
    if (!(p > 0 && p < 1) || !(df > 0))
        return NAN;
    double tail = p < 0.5 ? p : 1 - p, low = 0, high = 1;
    if (tail == 0.5)
        return 0;
    while (upper_tail(high, df) > tail && high < 1e300)
        high *= 2;
    for (int i = 0; i < 200; i++) {
        double middle = 0.5 * (low + high);
        if (upper_tail(middle, df) > tail)
            low = middle;
        else
            high = middle;
    }
    double t = 0.5 * (low + high);
    return p < 0.5 ? -t : t;
}

static struct stats_interval interval_of(double mean, double deviation, int64_t n)
{
    struct stats_interval s = {.mean = mean, .n = n, .half_width = NAN};
    if (n == 1)
        s.half_width = INFINITY;
    else if (n > 1)
        s.half_width = stats_t_quantile(0.975, (double)(n - 1)) * deviation / sqrt((double)n);
    s.low = s.mean - s.half_width;
    s.high = s.mean + s.half_width;
    return s;
}

struct stats_interval stats_interval95(const double *x, int64_t n)
{
    return interval_of(stats_mean(x, n), stats_deviation(x, n), n);
}

struct stats_interval stats_paired95(const double *a, const double *b, int64_t n)
{
    double mean = 0, squares = 0;
    for (int64_t i = 0; i < n; i++)
        mean += (a[i] - b[i]) / (double)n;
    for (int64_t i = 0; i < n; i++)
        squares += (a[i] - b[i] - mean) * (a[i] - b[i] - mean);
    if (n == 0)
        mean = NAN;
    return interval_of(mean, n > 1 ? sqrt(squares / (double)(n - 1)) : NAN, n);
}

/* ---- ranks ---- */

struct ranked {
    double value, rank;
    int64_t idx;
};

static int by_ranked_value(const void *a, const void *b)
{
    const struct ranked *x = a, *y = b;
    return (x->value > y->value) - (x->value < y->value);
}

/* Ranks from 1, equals given the mean of theirs. work has n elements. */
static void ranks(double *out, const double *x, struct ranked *work, int64_t n)
{
    for (int64_t i = 0; i < n; i++)
        work[i] = (struct ranked){x[i], 0, i};
    qsort(work, (size_t)n, sizeof *work, by_ranked_value);
    for (int64_t i = 0, end; i < n; i = end) {
        for (end = i + 1; end < n && work[end].value == work[i].value; end++)
            ;
        for (int64_t k = i; k < end; k++)
            out[work[k].idx] = 0.5 * (double)(i + 1 + end);
    }
}

static double pearson(const double *x, const double *y, int64_t n)
{
    double mx = stats_mean(x, n), my = stats_mean(y, n), xx = 0, yy = 0, xy = 0;
    for (int64_t i = 0; i < n; i++) {
        xx += (x[i] - mx) * (x[i] - mx);
        yy += (y[i] - my) * (y[i] - my);
        xy += (x[i] - mx) * (y[i] - my);
    }
    return xx > 0 && yy > 0 ? xy / sqrt(xx * yy) : NAN;
}

int stats_spearman(double *out, const double *x, const double *y, int64_t n, struct err *err)
{
    if (n < 2) {
        *out = NAN;
        return 0;
    }
    double *rx = malloc((size_t)n * sizeof *rx), *ry = malloc((size_t)n * sizeof *ry);
    struct ranked *work = malloc((size_t)n * sizeof *work);
    int rc = 0;
    if (!rx || !ry || !work) {
        rc = err_set(err, MOE2_ELIMIT, "no memory to rank %lld numbers", (long long)n);
        goto done;
    }
    ranks(rx, x, work, n);
    ranks(ry, y, work, n);
    *out = pearson(rx, ry, n);
done:
    free(rx);
    free(ry);
    free(work);
    return rc;
}

/* ---- inequality ---- */

static double total(const double *x, int64_t n)
{
    double sum = 0;
    for (int64_t i = 0; i < n; i++)
        sum += x[i];
    return sum;
}

double stats_gini(double *x, int64_t n)
{
    double sum = total(x, n), weighted = 0;
    if (!(sum > 0))
        return NAN;
    sort(x, n);
    for (int64_t i = 0; i < n; i++)
        weighted += (double)(2 * (i + 1) - n - 1) * x[i];
    return weighted / ((double)n * sum);
}

double stats_entropy(const double *x, int64_t n)
{
    double sum = total(x, n), h = 0;
    if (!(sum > 0))
        return NAN;
    if (n == 1)
        return 1;
    for (int64_t i = 0; i < n; i++)
        if (x[i] > 0)
            h -= x[i] / sum * log(x[i] / sum);
    return h / log((double)n);
}

double stats_cv(const double *x, int64_t n)
{
    double sum = total(x, n);
    return sum > 0 ? sqrt(stats_variance(x, n)) / (sum / (double)n) : NAN;
}

struct stats_share stats_share95(int64_t k, int64_t n)
{
    const double z = 1.959963984540054;
    if (n <= 0)
        return (struct stats_share){NAN, NAN, NAN};
    double m = (double)n, p = (double)k / m, z2 = z * z;
    double centre = (p + z2 / (2 * m)) / (1 + z2 / m);
    double half = z / (1 + z2 / m) * sqrt(p * (1 - p) / m + z2 / (4 * m * m));
    return (struct stats_share){p, k == 0 ? 0 : centre - half, k == n ? 1 : centre + half};
}
