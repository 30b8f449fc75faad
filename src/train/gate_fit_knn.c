/* Fitting k nearest neighbours is keeping the rows; only k is chosen. */
#include <stdio.h>
#include <stdlib.h>

#include "model/gate_parts.h"
#include "train/gate_fit.h"

static const int64_t neighbours[] = {5, 10, 25, 50, 100, 200, 400, 800};
static const double knn_weight = 2; /* rows that an expert's overall share counts for */
enum { N_KS = sizeof neighbours / sizeof *neighbours };

static int knn_variants(const struct gate_data *all, const struct gate_train_options *o)
{
    int n = 1;
    (void)o;
    while (n < N_KS && neighbours[n] <= all->T / 2)
        n++;
    return n;
}

static void knn_name(char *text, size_t n_text, int variant, const struct gate_data *all,
                     const struct gate_train_options *o)
{
    (void)all;
    (void)o;
    snprintf(text, n_text, "k = %lld", (long long)neighbours[variant]);
}

static void as_numbers(float *right, const struct gate_data *d)
{
    for (int64_t i = 0; i < d->T * d->N; i++)
        right[i] = d->right[i];
}

static int knn_try(float *scores, struct device *dev, const struct gate_data *fit,
                   const struct gate_input *held, int n_variants,
                   const struct gate_train_options *o, struct err *err)
{
    float prior[GATE_MAX_EXPERTS];
    float *train = malloc((size_t)(fit->T * fit->D) * sizeof *train);
    float *right = malloc((size_t)(fit->T * fit->N) * sizeof *right);
    (void)o;
    int rc = train && right ? 0 : err_set(err, MOE2_ELIMIT, "no memory for the neighbours' rows");
    if (!rc) {
        gate_normalize(train, fit->x, fit->T, fit->D);
        as_numbers(right, fit);
        gate_prior(prior, fit);
        struct gate_knn_args a = {.train = train, .right = right, .prior = prior, .R = fit->T};
        a.D = fit->D, a.N = fit->N, a.prior_weight = knn_weight;
        a.ks = neighbours, a.n_ks = n_variants;
        rc = gate_knn_scores(scores, dev, &a, held->x, held->T, err);
    }
    free(train);
    free(right);
    return rc;
}

static int knn_fit(struct gate *g, struct device *dev, const struct gate_data *all, int variant,
                   const struct gate_train_options *o, struct err *err)
{
    (void)dev;
    (void)o;
    float *train = gate_add(g, "train.embeddings", all->T, all->D, err);
    float *right = train ? gate_add(g, "train.right", all->T, all->N, err) : NULL;
    float *prior = right ? gate_add(g, "prior", all->N, 0, err) : NULL;
    if (!prior)
        return MOE2_ELIMIT;
    gate_normalize(train, all->x, all->T, all->D);
    as_numbers(right, all);
    gate_prior(prior, all);
    gate_set(g, "k", (double)neighbours[variant]);
    gate_set(g, "prior_weight", knn_weight);
    return 0;
}

const struct gate_fitter gate_fit_knn = {knn_variants, knn_name, knn_try, knn_fit};
