/* AdamW: see optimizer.h.
 *
 * Moments lie in one block each, in list order. Neighbours in the list whose weights, gradients and
 * copies are neighbours in memory too (a layer's experts) are updated by one kernel call: the
 * update is element by element, so the cut makes no difference to the bits. The norm does not use
 * these runs: its order of sums must not depend on where an allocator put things.
 */
#include "train/optimizer.h"

#include <assert.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "io/safetensors.h"

struct optimizer {
    struct optimizer_config config;
    struct device *dev;
    struct param **params; /* those with a gradient; owned array, borrowed elements */
    int64_t *first;        /* first[i]: where the moments of params[i] begin; n + 1 numbers */
    int64_t n, n_steps;
    float *m, *v; /* device */
};

static int config_check(const struct optimizer_config *c, struct err *err)
{
    if (!(c->beta1 >= 0 && c->beta1 < 1) || !(c->beta2 >= 0 && c->beta2 < 1))
        return err_set(err, MOE2_ECONFIG, "train.betas are %g and %g, wanted 0 ≤ beta < 1",
                       c->beta1, c->beta2);
    if (!(c->eps > 0))
        return err_set(err, MOE2_ECONFIG, "train.eps is %g, wanted above 0", c->eps);
    if (!(c->weight_decay >= 0) || !(c->clip >= 0))
        return err_set(err, MOE2_ECONFIG,
                       "train.weight_decay is %g and train.clip %g, wanted 0 or more",
                       c->weight_decay, c->clip);
    return 0;
}

int optimizer_new(struct optimizer **out, struct param *params, int64_t n_params,
                  const struct optimizer_config *config, struct device *dev, struct err *err)
{
    int rc = config_check(config, err);
    if (rc)
        return rc;
    struct optimizer *opt = calloc(1, sizeof *opt);
    if (!opt)
        return err_set(err, MOE2_ELIMIT, "no memory for the optimizer");
    *opt = (struct optimizer){.config = *config, .dev = dev};
    opt->params = calloc((size_t)n_params + 1, sizeof *opt->params);
    opt->first = calloc((size_t)n_params + 1, sizeof *opt->first);
    if (!opt->params || !opt->first) {
        rc = err_set(err, MOE2_ELIMIT, "no memory for the optimizer's list");
        goto done;
    }
    for (int64_t i = 0; i < n_params; i++)
        if (params[i].grad) {
            opt->params[opt->n] = &params[i];
            opt->first[opt->n + 1] = opt->first[opt->n] + params[i].n;
            opt->n++;
        }
    size_t n_bytes = (size_t)opt->first[opt->n] * sizeof(float);
    opt->m = device_alloc(dev, n_bytes, err);
    opt->v = opt->m ? device_alloc(dev, n_bytes, err) : NULL;
    if (!opt->v) {
        rc = MOE2_ELIMIT;
        goto done;
    }
    dev->ops->zero(dev, opt->m, n_bytes);
    dev->ops->zero(dev, opt->v, n_bytes);
done:
    if (rc)
        optimizer_free(opt);
    else
        *out = opt;
    return rc;
}

void optimizer_free(struct optimizer *opt)
{
    if (!opt)
        return;
    size_t n_bytes = opt->first ? (size_t)opt->first[opt->n] * sizeof(float) : 0;
    device_free(opt->dev, opt->m, n_bytes);
    device_free(opt->dev, opt->v, n_bytes);
    free(opt->params);
    free(opt->first);
    free(opt);
}

int optimizer_grad_norm(double *norm, const struct optimizer *opt, struct err *err)
{
    struct device *dev = opt->dev;
    const struct param *bad = NULL; /* the last one: the backward comes from there */
    double sum = 0;
    for (int64_t i = 0; i < opt->n; i++) {
        const struct param *p = opt->params[i];
        double squares = dev->k->sum_squares(dev, p->grad, p->n);
        bad = isfinite(squares) ? bad : p;
        sum += squares;
    }
    if (bad)
        return err_set(err, MOE2_ENUMERIC,
                       "the gradient of %s holds a NaN or infinity (element %" PRId64 ")",
                       bad->name, dev->k->find_nonfinite(dev, bad->grad, bad->n));
    *norm = sqrt(sum);
    return 0;
}

static bool decays(const struct param *p)
{
    return p->kind != PARAM_NORM && p->kind != PARAM_BUFFER && p->n_dims > 1;
}

/* Whether b goes on in memory where a ends, and is treated alike. */
static bool is_neighbour(const struct param *a, const struct param *b)
{
    bool halves = a->half ? b->half == a->half + a->n : !b->half;
    return b->data == a->data + a->n && b->grad == a->grad + a->n && halves &&
           decays(a) == decays(b);
}

void optimizer_step(struct optimizer *opt, double lr, double norm)
{
    const struct optimizer_config *c = &opt->config;
    opt->n_steps++;
    struct adamw_args a = {
        .lr = (float)lr,
        .beta1 = (float)c->beta1,
        .beta2 = (float)c->beta2,
        .eps = (float)c->eps,
        .grad_scale = c->clip > 0 && norm > c->clip ? (float)(c->clip / norm) : 1,
        .correction1 = (float)(1 - pow(c->beta1, (double)opt->n_steps)),
        .correction2 = (float)(1 - pow(c->beta2, (double)opt->n_steps)),
    };
    for (int64_t i = 0, end; i < opt->n; i = end) {
        struct param *p = opt->params[i];
        for (end = i + 1; end < opt->n && is_neighbour(opt->params[end - 1], opt->params[end]);)
            end++;
        a.p = p->data;
        a.p_bf16 = p->half;
        a.g = p->grad;
        a.m = opt->m + opt->first[i];
        a.v = opt->v + opt->first[i];
        a.n = opt->first[end] - opt->first[i];
        a.weight_decay = decays(p) ? (float)c->weight_decay : 0;
        opt->dev->k->adamw(opt->dev, &a);
    }
}

int64_t optimizer_n_steps(const struct optimizer *opt)
{
    return opt->n_steps;
}

/* Declarations of "m.NAME" for every param, then "v.NAME". The names are the caller's to free. */
static int declare(struct safetensors_decl *decls, const struct optimizer *opt, struct err *err)
{
    for (int64_t i = 0; i < 2 * opt->n; i++) {
        const struct param *p = opt->params[i % opt->n];
        char *name = NULL;
        if (asprintf(&name, "%c.%s", i < opt->n ? 'm' : 'v', p->name) < 0)
            return err_set(err, MOE2_ELIMIT, "no memory for the optimizer's names");
        decls[i] = (struct safetensors_decl){.name = name, .dtype = DT_F32, .n_dims = p->n_dims};
        for (int d = 0; d < p->n_dims; d++)
            decls[i].shape[d] = p->shape[d];
    }
    return 0;
}

int optimizer_save(const struct optimizer *opt, const char *path, struct err *err)
{
    struct device *dev = opt->dev;
    struct safetensors_writer *w = NULL;
    int64_t largest = 1;
    for (int64_t i = 0; i < opt->n; i++)
        largest = opt->params[i]->n > largest ? opt->params[i]->n : largest;
    struct safetensors_decl *decls = calloc((size_t)(2 * opt->n) + 1, sizeof *decls);
    float *host = malloc((size_t)largest * sizeof *host);
    char steps[32];
    snprintf(steps, sizeof steps, "%" PRId64, opt->n_steps);
    const char *metadata[] = {"moe2", "optimizer", "steps", steps, NULL};
    int rc = decls && host ? declare(decls, opt, err)
                           : err_set(err, MOE2_ELIMIT, "%s: no memory to write it", path);
    if (!rc)
        rc = safetensors_create(&w, path, decls, 2 * opt->n,
                                &(struct safetensors_options){.metadata = metadata}, err);
    for (int64_t i = 0; i < 2 * opt->n && !rc; i++) {
        const struct param *p = opt->params[i % opt->n];
        const float *from = (i < opt->n ? opt->m : opt->v) + opt->first[i % opt->n];
        dev->ops->read(dev, host, from, (size_t)p->n * sizeof *host);
        rc = safetensors_put(w, host, p->n * (int64_t)sizeof *host, err);
    }
    if (rc)
        safetensors_abort(w);
    else
        rc = safetensors_commit(w, err);
    for (int64_t i = 0; decls && i < 2 * opt->n; i++)
        free((void *)(uintptr_t)decls[i].name);
    free(decls);
    free(host);
    return rc;
}

/* One tensor of moments, checked against its param, through the host buffer onto the device. */
static int load_one(float *to, float *host, const struct safetensors *st, char which,
                    const struct param *p, struct device *dev, struct err *err)
{
    char *name = NULL;
    if (asprintf(&name, "%c.%s", which, p->name) < 0)
        return err_set(err, MOE2_ELIMIT, "no memory for the optimizer's names");
    const struct safetensor *t = NULL;
    int rc = safetensors_get(&t, st, name, err);
    free(name);
    if (rc)
        return rc;
    if (t->dtype != DT_F32 || t->n_elements != p->n)
        return err_set(err, MOE2_EFORMAT,
                       "%s: %s has %" PRId64 " elements of %s, wanted %" PRId64 " of F32",
                       safetensors_path(st), t->name, t->n_elements, t->dtype_name, p->n);
    rc = safetensors_to_f32(host, t, 0, p->n, err);
    if (!rc)
        dev->ops->write(dev, to, host, (size_t)p->n * sizeof *host);
    return rc;
}

int optimizer_load(struct optimizer *opt, const char *path, struct err *err)
{
    struct safetensors *st = NULL;
    int64_t largest = 1;
    for (int64_t i = 0; i < opt->n; i++)
        largest = opt->params[i]->n > largest ? opt->params[i]->n : largest;
    float *host = malloc((size_t)largest * sizeof *host);
    int rc = host ? safetensors_open(&st, path, err)
                  : err_set(err, MOE2_ELIMIT, "%s: no memory to read it", path);
    if (rc)
        goto done;
    const char *steps = safetensors_metadata(st, "steps");
    char *end = NULL;
    int64_t n_steps = steps ? strtoll(steps, &end, 10) : -1;
    if (n_steps < 0 || *end) {
        rc = err_set(err, MOE2_EFORMAT, "%s: metadata steps is \"%s\", wanted a count of steps",
                     path, steps ? steps : "");
        goto done;
    }
    for (int64_t i = 0; i < opt->n && !rc; i++) {
        rc = load_one(opt->m + opt->first[i], host, st, 'm', opt->params[i], opt->dev, err);
        if (!rc)
            rc = load_one(opt->v + opt->first[i], host, st, 'v', opt->params[i], opt->dev, err);
    }
    if (!rc)
        opt->n_steps = n_steps;
done:
    safetensors_close(st);
    free(host);
    return rc;
}

int params_check_finite(const struct param *params, int64_t n_params, struct device *dev,
                        struct err *err)
{
    for (int64_t i = 0; i < n_params; i++) {
        int64_t at = dev->k->find_nonfinite(dev, params[i].data, params[i].n);
        if (at >= 0)
            return err_set(err, MOE2_ENUMERIC, "%s holds a NaN or infinity (element %" PRId64 ")",
                           params[i].name, at);
    }
    return 0;
}
