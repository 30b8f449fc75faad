/* Fitting rates: shares of right outcomes by cluster or by category, drawn towards each expert's overall share. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "model/kmeans.h"
#include "train/gate_fit.h"

static const double rates_weight = 10; /* rows that the overall share counts for in a group */
static const int64_t cluster_counts[] = {1, 4, 8, 16, 32, 64};
enum { N_COUNTS = sizeof cluster_counts / sizeof *cluster_counts, ROWS_A_CLUSTER = 12, STARTS = 2 };

void gate_prior(float *prior, const struct gate_data *d)
{
    double right[GATE_MAX_EXPERTS] = {0}, run[GATE_MAX_EXPERTS] = {0}, all_right = 0, all_run = 0;
    for (int64_t i = 0; i < d->T * d->N; i++) {
        right[i % d->N] += d->right[i] > 0;
        run[i % d->N] += d->right[i] >= 0;
    }
    for (int64_t e = 0; e < d->N; e++) {
        all_right += right[e];
        all_run += run[e];
    }
    double mean = all_run > 0 ? all_right / all_run : 0.5;
    for (int64_t e = 0; e < d->N; e++)
        prior[e] = (float)((right[e] + mean) / (run[e] + 1));
}

int gate_rates(float *rates, const struct gate_data *d, const int32_t *group, int64_t n,
               double prior_weight, struct err *err)
{
    float prior[GATE_MAX_EXPERTS];
    double *right = calloc((size_t)(2 * n * d->N), sizeof *right);
    if (!right)
        return err_set(err, MOE2_ELIMIT, "no memory for the rates of %lld groups", (long long)n);
    double *run = right + n * d->N;
    gate_prior(prior, d);
    for (int64_t t = 0; t < d->T; t++)
        for (int64_t e = 0; e < d->N && group[t] >= 0; e++) {
            right[group[t] * d->N + e] += d->right[t * d->N + e] > 0;
            run[group[t] * d->N + e] += d->right[t * d->N + e] >= 0;
        }
    for (int64_t i = 0; i < n * d->N; i++)
        rates[i] = (float)((right[i] + prior_weight * prior[i % d->N]) / (run[i] + prior_weight));
    free(right);
    return 0;
}

/* ---- kmeans ---- */

static int kmeans_variants(const struct gate_data *all, const struct gate_train_options *o)
{
    int n = 1;
    (void)o;
    while (n < N_COUNTS && cluster_counts[n] * ROWS_A_CLUSTER <= all->n_distinct)
        n++;
    return n;
}

static void kmeans_name(char *text, size_t n_text, int variant, const struct gate_data *all,
                        const struct gate_train_options *o)
{
    (void)all;
    (void)o;
    snprintf(text, n_text, "k = %lld", (long long)cluster_counts[variant]);
}

static int clusters(struct kmeans *m, struct device *dev, const struct gate_data *d, int variant,
                    const struct gate_train_options *o, struct err *err)
{
    struct kmeans_options k = kmeans_default();
    k.k = cluster_counts[variant];
    k.n_starts = STARTS;
    k.seed = o->seed;
    k.stop = o->stop;
    return kmeans_run(m, dev, d->x, d->T, d->D, &k, err);
}

static int kmeans_try(float *scores, struct device *dev, const struct gate_data *fit,
                      const struct gate_input *held, int n_variants,
                      const struct gate_train_options *o, struct err *err)
{
    int32_t *label = malloc((size_t)held->T * sizeof *label);
    float *rates = malloc((size_t)(cluster_counts[N_COUNTS - 1] * fit->N) * sizeof *rates);
    int rc = label && rates ? 0 : err_set(err, MOE2_ELIMIT, "no memory for the kmeans gate");
    for (int v = 0; v < n_variants && !rc; v++) {
        struct kmeans m = {0};
        rc = clusters(&m, dev, fit, v, o, err);
        if (!rc)
            rc = gate_rates(rates, fit, m.labels, m.k, rates_weight, err);
        if (!rc)
            rc = kmeans_assign(label, NULL, dev, held->x, held->T, m.centroids, m.k, fit->D, err);
        for (int64_t t = 0; t < held->T && !rc; t++)
            memcpy(scores + (v * held->T + t) * fit->N, rates + label[t] * fit->N,
                   (size_t)fit->N * sizeof *scores);
        kmeans_release(&m);
    }
    free(label);
    free(rates);
    return rc;
}

static int kmeans_fit(struct gate *g, struct device *dev, const struct gate_data *all, int variant,
                      const struct gate_train_options *o, struct err *err)
{
    struct kmeans m = {0};
    int rc = clusters(&m, dev, all, variant, o, err);
    float *c = rc ? NULL : gate_add(g, "centroids", m.k, all->D, err);
    float *rates = c ? gate_add(g, "rates", m.k, all->N, err) : NULL;
    if (!rc && !rates)
        rc = MOE2_ELIMIT;
    if (!rc) {
        memcpy(c, m.centroids, (size_t)(m.k * all->D) * sizeof *c);
        gate_set(g, "k", (double)m.k);
        rc = gate_rates(rates, all, m.labels, m.k, rates_weight, err);
    }
    kmeans_release(&m);
    return rc;
}

const struct gate_fitter gate_fit_kmeans = {kmeans_variants, kmeans_name, kmeans_try, kmeans_fit};

/* ---- category ---- */

static int one_variant(const struct gate_data *all, const struct gate_train_options *o)
{
    (void)all;
    (void)o;
    return 1;
}

static void category_name(char *text, size_t n_text, int variant, const struct gate_data *all,
                          const struct gate_train_options *o)
{
    (void)variant;
    (void)o;
    snprintf(text, n_text, "%lld categories", (long long)all->n_categories);
}

static int category_rates(float *rates, const struct gate_data *d, struct err *err)
{
    gate_prior(rates + d->n_categories * d->N, d);
    return gate_rates(rates, d, d->category, d->n_categories, rates_weight, err);
}

static int category_try(float *scores, struct device *dev, const struct gate_data *fit,
                        const struct gate_input *held, int n_variants,
                        const struct gate_train_options *o, struct err *err)
{
    (void)dev;
    (void)n_variants;
    (void)o;
    float *rates = malloc((size_t)((fit->n_categories + 1) * fit->N) * sizeof *rates);
    int rc = rates ? category_rates(rates, fit, err) : err_set(err, MOE2_ELIMIT, "no memory");
    for (int64_t t = 0; t < held->T && !rc; t++) {
        int64_t c = held->category[t] >= 0 ? held->category[t] : fit->n_categories;
        memcpy(scores + t * fit->N, rates + c * fit->N, (size_t)fit->N * sizeof *scores);
    }
    free(rates);
    return rc;
}

static int category_fit(struct gate *g, struct device *dev, const struct gate_data *all,
                        int variant, const struct gate_train_options *o, struct err *err)
{
    (void)dev;
    (void)variant;
    (void)o;
    float *rates = gate_add(g, "rates", all->n_categories + 1, all->N, err);
    return rates ? category_rates(rates, all, err) : MOE2_ELIMIT;
}

const struct gate_fitter gate_fit_category = {one_variant, category_name, category_try,
                                              category_fit};
