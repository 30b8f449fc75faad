/* Axes: see axis.h. Pushing labels apart is isotonic regression: with r_i = p_i − i·gap the wish "neighbours at least gap apart" reads
 * "r does not fall", and pooling adjacent violators gives the least squares answer (Barlow et al. 1972). */
#include "report/axis.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

/* The step of 1, 2 or 5 times a power of ten that cuts span into about n pieces: the nearest on a logarithmic scale. */
static double nice_step(double span, int n)
{
    double raw = span / n, power = pow(10, floor(log10(raw))), f = raw / power;
    return power * (f <= sqrt(2) ? 1 : f <= sqrt(10) ? 2 : f <= sqrt(50) ? 5 : 10);
}

static void fit_linear(struct axis *a, double low, double high, int n_wanted)
{
    if (!isfinite(low) || !isfinite(high) || low > high) {
        low = 0;
        high = 1;
    }
    /* Below a millionth of its size a spread is rounding. */
    double least = 1e-6 * fmax(fabs(low), fabs(high));
    if (high - low <= least) {
        double pad = fmax(fabs(low) * 0.05, least > 0 ? least : 0.5);
        low -= pad;
        high += pad;
    }
    double step = nice_step(high - low, n_wanted);
    double first = floor(low / step + 1e-9), last = ceil(high / step - 1e-9);
    a->low = first * step;
    a->high = last * step;
    a->n_ticks = 0;
    for (double i = first; i <= last + 0.5 && a->n_ticks < AXIS_MAX_TICKS; i++)
        a->ticks[a->n_ticks++] = i * step;
    int decimals = (int)ceil(-log10(step) - 1e-9);
    a->decimals = decimals < 0 ? 0 : decimals > 9 ? 9 : decimals;
}

static void fit_log(struct axis *a, double low, double high, int n_wanted)
{
    if (!isfinite(low) || !isfinite(high) || low <= 0 || low > high) {
        low = 0.1;
        high = 1;
    }
    static const double steps[] = {1, 2, 5};
    int first = (int)floor(log10(low) + 1e-9), last = (int)ceil(log10(high) - 1e-9);
    bool fine = last - first <= 2;
    int every = last - first > 10 ? (last - first + 9) / 10 : 1;
    a->n_ticks = 0;
    a->low = pow(10, first);
    a->high = pow(10, last);
    if (fine) { /* the range ends on the nearest 1, 2 or 5 */
        for (int e = first; e <= last; e++)
            for (int i = 0; i < 3; i++) {
                double v = steps[i] * pow(10, e);
                if (v <= low * (1 + 1e-9))
                    a->low = v;
                if (v >= high * (1 - 1e-9) && (a->high < high || v < a->high))
                    a->high = v;
            }
    }
    if (a->high <= a->low * (1 + 1e-9)) {
        a->low /= 2;
        a->high *= 2;
    }
    /* 1, 2, 5 where there is room for them, else 1, 3, else 1. */
    static const double sets[3][3] = {{1, 2, 5}, {1, 3, 0}, {1, 0, 0}};
    for (int set = fine ? 0 : 2; set < 3; set++) {
        a->n_ticks = 0;
        for (int e = first - 1; e <= last + 1; e += every)
            for (int i = 0; i < 3 && sets[set][i] > 0 && a->n_ticks < AXIS_MAX_TICKS; i++) {
                double v = sets[set][i] * pow(10, e);
                if (v >= a->low * (1 - 1e-9) && v <= a->high * (1 + 1e-9))
                    a->ticks[a->n_ticks++] = v;
            }
        if (a->n_ticks <= 2 * n_wanted + 1)
            break;
    }
}

void axis_fit(struct axis *a, double low, double high, int n_wanted, bool log)
{
    *a = (struct axis){.log = log};
    if (log)
        fit_log(a, low, high, n_wanted);
    else
        fit_linear(a, low, high, n_wanted < 1 ? 1 : n_wanted);
}

double axis_place(const struct axis *a, double value)
{
    if (a->log)
        return (log(value) - log(a->low)) / (log(a->high) - log(a->low));
    return (value - a->low) / (a->high - a->low);
}

char *axis_text(char text[AXIS_TEXT_BYTES], const struct axis *a, int i)
{
    double v = fabs(a->ticks[i]);
    const char *sign = a->ticks[i] < 0 ? "\u2212" : "";
    if (a->log)
        snprintf(text, AXIS_TEXT_BYTES, "%s%g", sign, v);
    else if (v >= 1e7)
        snprintf(text, AXIS_TEXT_BYTES, "%s%.4g", sign, v);
    else
        snprintf(text, AXIS_TEXT_BYTES, "%s%.*f", sign, a->decimals, v);
    return text;
}

/* ---- labels ---- */

enum { MAX_SPREAD = 512 };

/* r [n] becomes its least squares fit that does not fall. */
static void isotonic(double *r, int n)
{
    double mean[MAX_SPREAD];
    int size[MAX_SPREAD], n_pools = 0;
    for (int i = 0; i < n; i++) {
        mean[n_pools] = r[i];
        size[n_pools++] = 1;
        while (n_pools > 1 && mean[n_pools - 2] > mean[n_pools - 1]) {
            int a = n_pools - 2, b = n_pools - 1;
            mean[a] = (mean[a] * size[a] + mean[b] * size[b]) / (size[a] + size[b]);
            size[a] += size[b];
            n_pools--;
        }
    }
    for (int p = 0, i = 0; p < n_pools; p++)
        for (int k = 0; k < size[p]; k++)
            r[i++] = mean[p];
}

void axis_spread(double *positions, int n, double gap, double low, double high)
{
    int order[MAX_SPREAD], m = 0;
    double r[MAX_SPREAD];
    for (int i = 0; i < n && m < MAX_SPREAD; i++) {
        if (isnan(positions[i]))
            continue;
        int k = m++; /* insertion: stable, and few enough */
        for (; k > 0 && positions[order[k - 1]] > positions[i]; k--)
            order[k] = order[k - 1];
        order[k] = i;
    }
    if (m == 0)
        return;
    if (m > 1 && gap * (m - 1) > high - low)
        gap = (high - low) / (m - 1);
    for (int i = 0; i < m; i++)
        r[i] = positions[order[i]] - i * gap;
    isotonic(r, m);
    double top = high - (m - 1) * gap;
    for (int i = 0; i < m; i++)
        positions[order[i]] = fmin(fmax(r[i], low), fmax(top, low)) + i * gap;
}
