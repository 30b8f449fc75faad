/* Fitting the two-layer gates: how many epochs, told by the held rows after each of a few of them. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/rng.h"
#include "model/gate_parts.h"
#include "train/gate_fit.h"
#include "train/gate_mlp_steps.h"

static const int64_t epoch_counts[] = {1, 2, 3, 5, 8, 12, 18, 25, 35, 50, 75, 100, 150, 200};
enum { N_COUNTS = sizeof epoch_counts / sizeof *epoch_counts };

/* The epochs of a variant: those of the table below o->epochs, and o->epochs itself last. */
static int64_t epochs_of(int variant, const struct gate_train_options *o)
{
    int n = 0;
    while (n < N_COUNTS && epoch_counts[n] < o->epochs)
        n++;
    return variant < n ? epoch_counts[variant] : o->epochs;
}

static int mlp_variants(const struct gate_data *all, const struct gate_train_options *o)
{
    int n = 0;
    (void)all;
    while (n < N_COUNTS && epoch_counts[n] < o->epochs)
        n++;
    return n + 1;
}

static void mlp_name(char *text, size_t n_text, int variant, const struct gate_data *all,
                     const struct gate_train_options *o)
{
    (void)all;
    snprintf(text, n_text, "%lld epochs", (long long)epochs_of(variant, o));
}

/* ---- one training ---- */

struct mlp_run {
    struct mlp_steps steps;
    struct rng rng;
    int32_t *order; /* [T] */
    const struct gate_data *d;
};

static void run_release(struct mlp_run *r)
{
    mlp_steps_release(&r->steps);
    free(r->order);
}

static int run_init(struct mlp_run *r, struct device *dev, const struct gate_data *d, bool softmax,
                    const struct gate_train_options *o, struct err *err)
{
    *r = (struct mlp_run){.d = d};
    rng_init(&r->rng, rng_at(o->seed, 0x6d6c70, 0, 0));
    r->steps = (struct mlp_steps){.dev = dev, .T = d->T, .D = d->D, .F = o->hidden, .N = d->N};
    r->steps.batch = o->batch;
    r->steps.softmax = softmax;
    r->steps.compute = o->compute;
    r->steps.lr = (float)o->lr;
    r->steps.weight_decay = (float)o->weight_decay;
    r->order = malloc((size_t)d->T * sizeof *r->order);
    if (!r->order)
        return err_set(err, MOE2_ELIMIT, "no memory for the order of %lld rows", (long long)d->T);
    for (int64_t t = 0; t < d->T; t++)
        r->order[t] = (int32_t)t;
    return mlp_steps_init(&r->steps, &r->rng, err);
}

/* Once through the rows in a new order (Fisher and Yates). */
static int epoch(struct mlp_run *r, const struct gate_train_options *o, struct err *err)
{
    const struct gate_data *d = r->d;
    double loss = 0;
    for (int64_t i = d->T; i-- > 1;) {
        int64_t j = (int64_t)rng_below(&r->rng, (uint64_t)i + 1);
        int32_t t = r->order[i];
        r->order[i] = r->order[j];
        r->order[j] = t;
    }
    for (int64_t i = 0; i < d->T; i += o->batch) {
        int64_t n = d->T - i < o->batch ? d->T - i : o->batch;
        double of_batch = 0;
        int rc = mlp_steps_take(&of_batch, &r->steps, d->x, d->right, r->order + i, n, err);
        if (rc)
            return rc;
        loss += of_batch;
    }
    if (!isfinite(loss))
        return err_set(err, MOE2_ENUMERIC,
                       "the gate's loss is no number after %lld steps; a lower "
                       "--lr may help",
                       (long long)r->steps.step);
    return gate_stopped(o, err);
}

/* The parameters as a gate's tensors. */
static int to_gate(struct gate *g, const struct mlp_steps *s, struct err *err)
{
    static const char *const names[] = {"fc1.weight", "fc1.bias", "fc2.weight", "fc2.bias"};
    const int64_t shapes[4][2] = {{s->F, s->D}, {s->F, 0}, {s->N, s->F}, {s->N, 0}};
    for (int i = 0; i < 4; i++) {
        float *data = gate_add(g, names[i], shapes[i][0], shapes[i][1], err);
        if (!data)
            return MOE2_ELIMIT;
        mlp_steps_read(data, s, i);
    }
    return device_check(s->dev, err);
}

static int try_kind(float *scores, struct device *dev, const struct gate_data *fit,
                    const struct gate_input *held, int n_variants, bool softmax,
                    const struct gate_train_options *o, struct err *err)
{
    struct mlp_run r;
    int64_t done = 0;
    int rc = run_init(&r, dev, fit, softmax, o, err);
    for (int v = 0; v < n_variants && !rc; v++) {
        struct gate *g = NULL;
        for (; done < epochs_of(v, o) && !rc; done++)
            rc = epoch(&r, o, err);
        if (!rc)
            rc = gate_new(&g, softmax ? &gate_softmax : &gate_sigmoid, fit->D, fit->N, NULL, 0,
                          NULL, err);
        if (!rc)
            rc = to_gate(g, &r.steps, err);
        if (!rc)
            rc = gate_score(scores + v * held->T * fit->N, dev, g, held, err);
        gate_free(g);
    }
    run_release(&r);
    return rc;
}

static int fit_kind(struct gate *g, struct device *dev, const struct gate_data *all, int variant,
                    bool softmax, const struct gate_train_options *o, struct err *err)
{
    struct mlp_run r;
    struct progress progress;
    int64_t n = epochs_of(variant, o);
    int rc = run_init(&r, dev, all, softmax, o, err);
    progress_begin(&progress, o->sink, "gate", (double)n, "epochs");
    for (int64_t i = 0; i < n && !rc; i++) {
        rc = epoch(&r, o, err);
        progress_set(&progress, (double)i + 1);
    }
    progress_end(&progress);
    if (!rc)
        rc = to_gate(g, &r.steps, err);
    if (!rc) {
        gate_set(g, "epochs", (double)n);
        gate_set(g, "lr", o->lr);
        gate_set(g, "weight_decay", o->weight_decay);
        gate_set(g, "batch", (double)o->batch);
    }
    run_release(&r);
    return rc;
}

static int sigmoid_try(float *scores, struct device *dev, const struct gate_data *fit,
                       const struct gate_input *held, int n_variants,
                       const struct gate_train_options *o, struct err *err)
{
    return try_kind(scores, dev, fit, held, n_variants, false, o, err);
}

static int sigmoid_fit(struct gate *g, struct device *dev, const struct gate_data *all, int variant,
                       const struct gate_train_options *o, struct err *err)
{
    return fit_kind(g, dev, all, variant, false, o, err);
}

static int softmax_try(float *scores, struct device *dev, const struct gate_data *fit,
                       const struct gate_input *held, int n_variants,
                       const struct gate_train_options *o, struct err *err)
{
    return try_kind(scores, dev, fit, held, n_variants, true, o, err);
}

static int softmax_fit(struct gate *g, struct device *dev, const struct gate_data *all, int variant,
                       const struct gate_train_options *o, struct err *err)
{
    return fit_kind(g, dev, all, variant, true, o, err);
}

const struct gate_fitter gate_fit_sigmoid = {mlp_variants, mlp_name, sigmoid_try, sigmoid_fit};
const struct gate_fitter gate_fit_softmax = {mlp_variants, mlp_name, softmax_try, softmax_fit};
