/* Steps of the two-layer gate: see gate_mlp_steps.h. */
#include "train/gate_mlp_steps.h"

#include <assert.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

int64_t mlp_steps_offset(const struct mlp_steps *s, int tensor)
{
    const int64_t sizes[] = {s->F * s->D, s->F, s->N * s->F, s->N};
    int64_t offset = 0;
    for (int i = 0; i < tensor; i++)
        offset += sizes[i];
    return offset;
}

static void uniform(float *p, int64_t n, int64_t inputs, struct rng *rng)
{
    double bound = 1 / sqrt((double)inputs);
    for (int64_t i = 0; i < n; i++)
        p[i] = (float)((2 * rng_uniform(rng) - 1) * bound);
}

/* Parameters drawn on the host, and moments of 0. */
static int draw(struct mlp_steps *s, struct rng *rng, struct err *err)
{
    size_t n = (size_t)s->n_parameters * sizeof(float);
    int64_t inner = mlp_steps_offset(s, 2);
    float *p = s->dev->host_memory ? s->p : malloc(n);
    if (!p)
        return err_set(err, MOE2_ELIMIT, "no memory for a gate of %lld numbers",
                       (long long)s->n_parameters);
    s->dev->ops->zero(s->dev, s->m, n);
    s->dev->ops->zero(s->dev, s->v, n);
    uniform(p, inner, s->D, rng);
    uniform(p + inner, s->n_parameters - inner, s->F, rng);
    if (p != s->p) {
        s->dev->ops->write(s->dev, s->p, p, n);
        device_sync(s->dev);
        free(p);
    }
    return 0;
}

int mlp_steps_init(struct mlp_steps *s, struct rng *rng, struct err *err)
{
    s->n_parameters = mlp_steps_offset(s, 4);
    size_t n = (size_t)s->n_parameters * sizeof(float),
           h = (size_t)(s->batch * s->F) * sizeof(float);
    float **arrays[] = {&s->p, &s->m, &s->v, &s->g, &s->h, &s->dh, &s->z};
    for (int i = 0; i < 7; i++) {
        size_t bytes = i < 4 ? n : i < 6 ? h : (size_t)(s->batch * s->N) * sizeof(float);
        *arrays[i] = device_alloc(s->dev, bytes, err);
        if (!*arrays[i])
            return MOE2_ELIMIT;
    }
    if (!s->dev->host_memory &&
        !(s->near_z = malloc((size_t)((s->batch + 1) * s->N) * sizeof *s->near_z)))
        return err_set(err, MOE2_ELIMIT, "no memory for batches of %lld rows", (long long)s->batch);
    s->step = 0;
    s->held = NULL;
    return draw(s, rng, err);
}

void mlp_steps_release(struct mlp_steps *s)
{
    size_t n = (size_t)s->n_parameters * sizeof(float),
           h = (size_t)(s->batch * s->F) * sizeof(float);
    float *flat[] = {s->p, s->m, s->v, s->g};
    if (!s->dev)
        return;
    for (int i = 0; i < 4; i++)
        device_free(s->dev, flat[i], n);
    device_free(s->dev, s->h, h);
    device_free(s->dev, s->dh, h);
    device_free(s->dev, s->z, (size_t)(s->batch * s->N) * sizeof(float));
    lent_end(&s->x, s->dev);
    lent_end(&s->list, s->dev);
    free(s->near_z);
    *s = (struct mlp_steps){0};
}

void mlp_steps_read(float *to, const struct mlp_steps *s, int tensor)
{
    int64_t from = mlp_steps_offset(s, tensor), end = mlp_steps_offset(s, tensor + 1);
    s->dev->ops->read(s->dev, to, s->p + from, (size_t)(end - from) * sizeof *to);
}

/* ---- the loss ---- */

/* z [n, N] becomes the gradient of the sum of the cells' losses; *count how many cells count. */
static double sigmoid_loss(float *z, const int8_t *right, const int32_t *rows, int64_t n, int64_t N,
                           int64_t *count)
{
    double loss = 0;
    for (int64_t i = 0; i < n; i++)
        for (int64_t e = 0; e < N; e++) {
            int8_t y = right[rows[i] * N + e];
            float v = z[i * N + e], tail = expf(-fabsf(v)), s = 1 / (1 + tail);
            z[i * N + e] = y < 0 ? 0 : (v >= 0 ? s : 1 - s) - (float)y;
            loss += y < 0 ? 0 : fmaxf(v, 0) - v * (float)y + log1pf(tail);
            *count += y >= 0;
        }
    return loss;
}

static double softmax_loss(float *z, const int8_t *right, const int32_t *rows, int64_t n, int64_t N,
                           int64_t *count)
{
    double loss = 0;
    for (int64_t i = 0; i < n; i++) {
        const int8_t *y = right + rows[i] * N;
        float *row = z + i * N, most = -INFINITY, sum = 0;
        int n_right = 0;
        for (int64_t e = 0; e < N; e++) {
            most = fmaxf(most, row[e]);
            n_right += y[e] > 0;
        }
        for (int64_t e = 0; e < N; e++)
            sum += expf(row[e] - most);
        for (int64_t e = 0; e < N; e++) {
            float t = y[e] > 0 ? 1 / (float)n_right : 0, log_p = row[e] - most - logf(sum);
            loss -= t * log_p;
            row[e] = n_right ? expf(log_p) - t : 0;
        }
        *count += n_right > 0;
    }
    return loss;
}

/* ---- a step ---- */

/* The rows, and the numbers of those of this step, where kernels read them. */
static int lend(struct mlp_steps *s, const float *x, const int32_t *rows, int64_t n,
                struct err *err)
{
    int rc =
        s->held == x ? 0 : lent_in(&s->x, s->dev, x, (size_t)(s->T * s->D) * sizeof(float), err);
    s->held = rc ? NULL : x;
    return rc ? rc : lent_in(&s->list, s->dev, rows, (size_t)n * sizeof *rows, err);
}

/* One product with fc1, or its gradient. */
static struct grouped_args rows_args(struct mlp_steps *s, float *y, void **w, int32_t offset[2])
{
    struct grouped_args a = {.y = y, .x = s->x.at, .w = w, .offset = offset, .x_row = s->list.at};
    a.E = 1, a.N = s->F, a.K = s->D, a.ldy = s->F, a.ldx = a.ldw = s->D;
    a.w_type = DT_F32, a.compute = s->compute;
    return a;
}

/* h = relu(fc1 · x[rows] + b1), z = fc2 · h + b2 */
static void forward(struct mlp_steps *s, int64_t n)
{
    const struct kernels *k = s->dev->k;
    void *w1 = s->p;
    int32_t offset[2] = {0, (int32_t)n};
    struct grouped_args a = rows_args(s, s->h, &w1, offset);
    k->grouped_forward(s->dev, &a);
    k->relu_forward(s->dev, s->h, s->p + mlp_steps_offset(s, 1), n, s->F);
    struct linear_args l = {.y = s->z, .x = s->h, .w = s->p + mlp_steps_offset(s, 2)};
    l.M = n, l.N = s->N, l.K = s->F, l.ldy = s->N, l.ldx = l.ldw = s->F;
    l.w_type = l.compute = DT_F32;
    k->linear_forward(s->dev, &l);
    k->bias_forward(s->dev, s->z, s->p + mlp_steps_offset(s, 3), n, s->N, s->N);
}

/* out [F] = Σ_t a[t, F] */
static void column_sums(float *out, const float *a, int64_t T, int64_t F)
{
    memset(out, 0, (size_t)F * sizeof *out);
    for (int64_t t = 0; t < T; t++)
        for (int64_t f = 0; f < F; f++)
            out[f] += a[t * F + f];
}

/* z holds dz: dfc2 = dzᵀ · h, dh = dz · fc2 where h > 0, dfc1 = dhᵀ · x[rows]; biases are sums over the rows */
static void backward(struct mlp_steps *s, int64_t n)
{
    const struct kernels *k = s->dev->k;
    void *dw1 = s->g;
    int32_t offset[2] = {0, (int32_t)n};
    struct linear_args l = {.y = s->z, .x = s->h, .w = s->g + mlp_steps_offset(s, 2)};
    l.M = n, l.N = s->N, l.K = s->F, l.ldy = s->N, l.ldx = l.ldw = s->F;
    l.w_type = l.compute = DT_F32;
    k->linear_backward_weight(s->dev, &l);
    l.w = s->p + mlp_steps_offset(s, 2), l.x = s->dh;
    k->linear_backward_input(s->dev, &l);
    k->relu_backward(s->dev, s->dh, s->g + mlp_steps_offset(s, 1), s->h, n, s->F);
    struct grouped_args a = rows_args(s, s->dh, &dw1, offset);
    k->grouped_backward_weight(s->dev, &a);
}

/* The loss of z, which becomes its gradient, by the host; the last bias's gradient with it. *count: the cells, or rows, that count. */
static double judge(struct mlp_steps *s, const int8_t *right, const int32_t *rows, int64_t n,
                    int64_t *count)
{
    const struct device_ops *ops = s->dev->ops;
    size_t bytes = (size_t)(n * s->N) * sizeof(float), sums = (size_t)s->N * sizeof(float);
    float *z = s->near_z ? s->near_z : s->z, *to = s->g + mlp_steps_offset(s, 3),
          *sum = s->near_z ? z + s->batch * s->N : to;
    if (z != s->z)
        ops->read(s->dev, z, s->z, bytes);
    double loss = s->softmax ? softmax_loss(z, right, rows, n, s->N, count)
                             : sigmoid_loss(z, right, rows, n, s->N, count);
    for (int64_t i = 0; i < n * s->N && *count; i++)
        z[i] /= (float)*count;
    column_sums(sum, z, n, s->N);
    if (z != s->z) {
        ops->write(s->dev, s->z, z, bytes);
        ops->write(s->dev, to, sum, sums);
    }
    return *count ? loss / (double)*count : 0;
}

int mlp_steps_take(double *loss, struct mlp_steps *s, const float *x, const int8_t *right,
                   const int32_t *rows, int64_t n, struct err *err)
{
    int64_t count = 0;
    assert(n >= 1 && n <= s->batch);
    int rc = lend(s, x, rows, n, err);
    if (rc)
        return rc;
    forward(s, n);
    *loss = judge(s, right, rows, n, &count);
    rc = device_check(s->dev, err);
    if (rc || !count)
        return rc;
    backward(s, n);
    s->step++;
    struct adamw_args a = {.p = s->p, .m = s->m, .v = s->v, .g = s->g, .n = s->n_parameters};
    a.lr = s->lr, a.beta1 = 0.9f, a.beta2 = 0.999f, a.eps = 1e-8f, a.weight_decay = s->weight_decay;
    a.grad_scale = 1;
    a.correction1 = (float)(1 - pow(0.9, (double)s->step));
    a.correction2 = (float)(1 - pow(0.999, (double)s->step));
    s->dev->k->adamw(s->dev, &a);
    return 0;
}
