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
#include "tensor/nf4.h"

/* Tensors in one call: of a norm, of a step. */
enum { SUMMED = 1024, MOVED = 128 };

struct optimizer {
    struct optimizer_config config;
    struct device *dev;
    struct param **params; /* those with a gradient; owned array, borrowed elements */
    int64_t *first;        /* first[i]: where the moments of params[i] begin; n + 1 numbers */
    int64_t n, n_steps;
    float *m, *v; /* device */
    uint8_t *m8,
        *v8; /* device: of the tensors in 8 bits, whose places in m and v are their absmaxes */
    int64_t *first8; /* [n + 1] where their codes begin */
    float m_map[NF4_MAP_SIZE], v_map[NF4_MAP_SIZE];
};

static bool in_8_bits(const struct optimizer_config *c, const struct param *p)
{
    return c->eight_bits && p->n >= OPTIMIZER_MIN_8BIT;
}

/* Numbers of m (and of v) that a tensor has in float32. */
static int64_t n_floats(const struct optimizer_config *c, const struct param *p)
{
    return in_8_bits(c, p) ? (p->n + ADAMW8_BLOCK - 1) / ADAMW8_BLOCK : p->n;
}

int64_t optimizer_state_bytes(int64_t n, bool eight_bits)
{
    struct optimizer_config c = {.eight_bits = eight_bits};
    struct param p = {.n = n};
    return 2 * (n_floats(&c, &p) * (int64_t)sizeof(float) + (in_8_bits(&c, &p) ? n : 0));
}

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

/* A code for zero everywhere; with an absmax of 0 any other would do as well. */
static int alloc_codes(struct optimizer *opt, struct err *err)
{
    size_t n = (size_t)opt->first8[opt->n];
    if (!n)
        return 0;
    opt->m8 = device_alloc(opt->dev, n, err);
    opt->v8 = opt->m8 ? device_alloc(opt->dev, n, err) : NULL;
    if (!opt->v8)
        return MOE2_ELIMIT;
    opt->dev->ops->zero(opt->dev, opt->m8, n);
    opt->dev->ops->zero(opt->dev, opt->v8, n);
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
    opt->first8 = calloc((size_t)n_params + 1, sizeof *opt->first8);
    nf4_dynamic_map(opt->m_map, 1);
    nf4_dynamic_map(opt->v_map, 0);
    if (!opt->params || !opt->first || !opt->first8) {
        rc = err_set(err, MOE2_ELIMIT, "no memory for the optimizer's list");
        goto done;
    }
    for (int64_t i = 0; i < n_params; i++)
        if (params[i].grad) {
            opt->params[opt->n] = &params[i];
            opt->first[opt->n + 1] = opt->first[opt->n] + n_floats(config, &params[i]);
            opt->first8[opt->n + 1] =
                opt->first8[opt->n] + (in_8_bits(config, &params[i]) ? params[i].n : 0);
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
    rc = alloc_codes(opt, err);
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
    if (opt->first8) {
        device_free(opt->dev, opt->m8, (size_t)opt->first8[opt->n]);
        device_free(opt->dev, opt->v8, (size_t)opt->first8[opt->n]);
    }
    free(opt->params);
    free(opt->first);
    free(opt->first8);
    free(opt);
}

/* Where sums must be waited for, many are made at once, and gradients that lie one behind the other are summed as one: the list alone
 * says which do, so that the order of the sum is still its own. */
static double squares_of_runs(const struct optimizer *opt)
{
    const float *x[SUMMED];
    int64_t n[SUMMED];
    double sums[SUMMED], sum = 0;
    for (int64_t i = 0; i < opt->n;) {
        int64_t k = 0;
        for (; k < SUMMED && i < opt->n; k++) {
            x[k] = opt->params[i]->grad;
            n[k] = opt->params[i++]->n;
            for (; i < opt->n && opt->params[i]->grad == x[k] + n[k]; i++)
                n[k] += opt->params[i]->n;
        }
        opt->dev->k->sum_squares_list(opt->dev, sums, x, n, k);
        for (int64_t j = 0; j < k; j++)
            sum += sums[j];
    }
    return sum;
}

int optimizer_grad_norm(double *norm, const struct optimizer *opt, struct err *err)
{
    struct device *dev = opt->dev;
    const struct param *bad = NULL; /* the last one: the backward comes from there */
    double sum = dev->host_memory ? 0 : squares_of_runs(opt);
    bool by_tensor = dev->host_memory || !isfinite(sum);
    sum = by_tensor ? 0 : sum;
    for (int64_t i = 0; i < opt->n && by_tensor; i++) {
        const struct param *p = opt->params[i];
        double squares = dev->k->sum_squares(dev, p->grad, p->n);
        bad = isfinite(squares) ? bad : p;
        sum += squares;
    }
    int failed = device_check(dev, err);
    if (failed)
        return failed;
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

/* Tensors to be moved, in as few calls as there is room for. */
struct moves {
    struct adamw_args a[MOVED];
    struct adamw8_args b[MOVED]; /* those in 8 bits */
    int64_t n, n8;
};

/* Moves what is listed, if that is full or must be. */
static void move(struct moves *l, struct device *dev, bool must)
{
    if (l->n == MOVED || must) {
        dev->k->adamw_list(dev, l->a, l->n);
        l->n = 0;
    }
    if (l->n8 == MOVED || must) {
        dev->k->adamw8_list(dev, l->b, l->n8);
        l->n8 = 0;
    }
}

static void list_8_bits(struct moves *l, const struct optimizer *opt, int64_t i,
                        const struct adamw_args *a)
{
    l->b[l->n8++] = (struct adamw8_args){.a = *a,
                                         .m = opt->m8 + opt->first8[i],
                                         .v = opt->v8 + opt->first8[i],
                                         .m_absmax = opt->m + opt->first[i],
                                         .v_absmax = opt->v + opt->first[i],
                                         .m_map = opt->m_map,
                                         .v_map = opt->v_map};
}

void optimizer_step(struct optimizer *opt, double lr, double norm)
{
    const struct optimizer_config *c = &opt->config;
    struct moves moves;
    moves.n = moves.n8 = 0;
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
        bool narrow = in_8_bits(c, p);
        for (end = i + 1; !narrow && end < opt->n && !in_8_bits(c, opt->params[end]) &&
                          is_neighbour(opt->params[end - 1], opt->params[end]);)
            end++;
        a.p = p->data;
        a.p_bf16 = p->half;
        a.g = p->grad;
        a.m = opt->m + opt->first[i];
        a.v = opt->v + opt->first[i];
        a.n = narrow ? p->n : opt->first[end] - opt->first[i];
        a.weight_decay = decays(p) ? (float)c->weight_decay : 0;
        if (narrow)
            list_8_bits(&moves, opt, i, &a);
        else
            moves.a[moves.n++] = a;
        move(&moves, opt->dev, false);
    }
    move(&moves, opt->dev, true);
}

int64_t optimizer_n_steps(const struct optimizer *opt)
{
    return opt->n_steps;
}

/* One tensor of the file: float32 moments or absmaxes, or codes, of params[i]. */
struct stored {
    char *name;
    enum dtype dtype;
    int64_t n; /* numbers */
    void *at;  /* device */
};

static int add_stored(struct stored *list, int64_t *n, const char *prefix, const struct param *p,
                      enum dtype dtype, int64_t n_numbers, void *at, struct err *err)
{
    char *name = NULL;
    if (asprintf(&name, "%s.%s", prefix, p->name) < 0)
        return err_set(err, MOE2_ELIMIT, "no memory for the optimizer's names");
    list[(*n)++] = (struct stored){name, dtype, n_numbers, at};
    return 0;
}

/* All m, then all v; at most four entries a param. */
static int list_stored(struct stored *list, int64_t *n, const struct optimizer *opt,
                       struct err *err)
{
    static const char *const names[2][2] = {{"m", "m_absmax"}, {"v", "v_absmax"}};
    int rc = 0;
    for (int side = 0; side < 2; side++)
        for (int64_t i = 0; i < opt->n && !rc; i++) {
            const struct param *p = opt->params[i];
            bool narrow = in_8_bits(&opt->config, p);
            float *at = (side ? opt->v : opt->m) + opt->first[i];
            if (narrow)
                rc = add_stored(list, n, names[side][0], p, DT_U8, p->n,
                                (side ? opt->v8 : opt->m8) + opt->first8[i], err);
            if (!rc)
                rc = add_stored(list, n, names[side][narrow], p, DT_F32,
                                opt->first[i + 1] - opt->first[i], at, err);
        }
    return rc;
}

static void free_stored(struct stored *list, int64_t n)
{
    for (int64_t i = 0; i < n; i++)
        free(list[i].name);
    free(list);
}

int optimizer_save(const struct optimizer *opt, const char *path, struct err *err)
{
    struct device *dev = opt->dev;
    struct safetensors_writer *w = NULL;
    size_t most = (size_t)(4 * opt->n) + 1;
    int64_t largest = 1, n = 0;
    struct stored *list = calloc(most, sizeof *list);
    struct safetensors_decl *decls = calloc(most, sizeof *decls);
    char steps[32];
    snprintf(steps, sizeof steps, "%" PRId64, opt->n_steps);
    const char *metadata[] = {"moe2", "optimizer", "steps", steps, NULL};
    int rc = list && decls ? list_stored(list, &n, opt, err)
                           : err_set(err, MOE2_ELIMIT, "%s: no memory to write it", path);
    for (int64_t i = 0; i < n && !rc; i++) {
        decls[i] = (struct safetensors_decl){
            .name = list[i].name, .dtype = list[i].dtype, .n_dims = 1, .shape = {list[i].n}};
        largest = list[i].n > largest ? list[i].n : largest;
    }
    void *host = rc ? NULL : malloc((size_t)largest * sizeof(float));
    if (!rc && !host)
        rc = err_set(err, MOE2_ELIMIT, "%s: no memory to write it", path);
    if (!rc)
        rc = safetensors_create(&w, path, decls, n,
                                &(struct safetensors_options){.metadata = metadata}, err);
    for (int64_t i = 0; i < n && !rc; i++) {
        size_t n_bytes = (size_t)list[i].n * dtype_bytes(list[i].dtype);
        dev->ops->read(dev, host, list[i].at, n_bytes);
        rc = safetensors_put(w, host, (int64_t)n_bytes, err);
    }
    if (rc)
        safetensors_abort(w);
    else
        rc = safetensors_commit(w, err);
    free_stored(list, n);
    free(decls);
    free(host);
    return rc;
}

/* One tensor of the file, checked, onto the device. */
static int load_one(const struct stored *s, const struct safetensors *st, struct device *dev,
                    struct err *err)
{
    const struct safetensor *t = NULL;
    int rc = safetensors_get(&t, st, s->name, err);
    if (rc)
        return rc;
    if (t->dtype != (int)s->dtype || t->n_elements != s->n)
        return err_set(err, MOE2_EFORMAT,
                       "%s: %s has %" PRId64 " elements of %s, wanted %" PRId64 " of %s",
                       safetensors_path(st), t->name, t->n_elements, t->dtype_name, s->n,
                       s->dtype == DT_F32 ? "F32" : "U8");
    dev->ops->write(dev, s->at, t->bytes, (size_t)t->n_bytes);
    return 0;
}

int optimizer_load(struct optimizer *opt, const char *path, struct err *err)
{
    struct safetensors *st = NULL;
    struct stored *list = calloc((size_t)(4 * opt->n) + 1, sizeof *list);
    int64_t n = 0, n_steps = -1;
    int rc = list ? list_stored(list, &n, opt, err)
                  : err_set(err, MOE2_ELIMIT, "%s: no memory to read it", path);
    if (!rc)
        rc = safetensors_open(&st, path, err);
    if (!rc) {
        const char *steps = safetensors_metadata(st, "steps");
        char *end = NULL;
        n_steps = steps ? strtoll(steps, &end, 10) : -1;
        if (n_steps < 0 || *end)
            rc = err_set(err, MOE2_EFORMAT, "%s: metadata steps is \"%s\", wanted a count of steps",
                         path, steps ? steps : "");
    }
    for (int64_t i = 0; i < n && !rc; i++)
        rc = load_one(&list[i], st, opt->dev, err);
    if (!rc)
        opt->n_steps = n_steps;
    safetensors_close(st);
    free_stored(list, n);
    return rc;
}

int params_check_finite(const struct param *params, int64_t n_params, struct device *dev,
                        struct err *err)
{
    for (int64_t i = 0; i < n_params; i++) {
        int64_t at = params[i].data ? dev->k->find_nonfinite(dev, params[i].data, params[i].n) : -1;
        if (at >= 0)
            return err_set(err, MOE2_ENUMERIC, "%s holds a NaN or infinity (element %" PRId64 ")",
                           params[i].name, at);
    }
    return device_check(dev, err);
}
