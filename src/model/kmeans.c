/* Runs k-means, gives rows to centroids, and measures the silhouette: see kmeans.h. */
#include "model/kmeans.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "model/kmeans_parts.h"

enum {
    WAVE_CENTROIDS = 256, /* starts walk side by side as long as they have no more together */
    SILHOUETTE_MAX = 16384,
};
#define MAX_SQUARE 1e30 /* of a row's length, so that no distance overflows */

struct kmeans_options kmeans_default(void)
{
    return (struct kmeans_options){.k = 8, .n_starts = 4, .max_iterations = 300, .seed = 1};
}

int kmeans_stopped(const struct kmeans_options *o, struct err *err)
{
    return o->stop && *o->stop ? err_set(err, MOE2_ESTOP, "k-means: stopped") : 0;
}

double kmeans_square(const float *a, const float *b, int64_t D)
{
    double sum[8] = {0};
    int64_t i = 0;
    for (; i + 8 <= D; i += 8)
        for (int j = 0; j < 8; j++) {
            double v = (double)a[i + j] - b[i + j];
            sum[j] += v * v;
        }
    for (; i < D; i++)
        sum[i & 7] += ((double)a[i] - b[i]) * ((double)a[i] - b[i]);
    return ((sum[0] + sum[4]) + (sum[2] + sum[6])) + ((sum[1] + sum[5]) + (sum[3] + sum[7]));
}

void kmeans_norms(float *xx, const float *x, int64_t T, int64_t D, int n_threads)
{
#pragma omp parallel for schedule(static) num_threads(n_threads)
    for (int64_t t = 0; t < T; t++) {
        double sum[8] = {0};
        for (int64_t i = 0; i < D; i++)
            sum[i & 7] += (double)x[t * D + i] * x[t * D + i];
        xx[t] = (float)(((sum[0] + sum[4]) + (sum[2] + sum[6])) +
                        ((sum[1] + sum[5]) + (sum[3] + sum[7])));
    }
}

void kmeans_lent_end(struct kmeans_lent *l, struct device *dev)
{
    struct lent *all[] = {&l->x, &l->rows, &l->centroids, &l->products, &l->list};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        lent_end(all[i], dev);
}

int kmeans_hold(const struct kmeans_data *d, const float *c, int64_t N, struct err *err)
{
    struct kmeans_lent *l = d->lent;
    if (l->held == c)
        return 0;
    int rc = lent_in(&l->centroids, d->dev, c, (size_t)(N * d->D) * sizeof(float), err);
    l->held = rc ? NULL : c;
    return rc;
}

int kmeans_products(float *y, const struct kmeans_data *d, int64_t first, int64_t T, const float *c,
                    int64_t N, struct err *err)
{
    struct kmeans_lent *l = d->lent;
    struct linear_args a = {.M = T, .N = N, .K = d->D};
    size_t row = (size_t)d->D * sizeof(float), y_bytes = (size_t)(T * N) * sizeof(float);
    bool held = l->held == c;
    int rc = kmeans_hold(d, c, N, err);
    if (!held)
        l->held = NULL; /* the caller may change them */
    if (!rc && !d->x_there)
        rc = lent_in(&l->rows, d->dev, d->x + first * d->D, (size_t)T * row, err);
    if (!rc)
        rc = lent_room(&l->products, d->dev, y, y_bytes, err);
    if (rc)
        return rc;
    a.x = d->x_there ? (float *)(uintptr_t)(d->x_there + first * d->D) : l->rows.at;
    a.w = l->centroids.at, a.y = l->products.at;
    a.ldy = N, a.ldx = a.ldw = d->D, a.w_type = a.compute = DT_F32;
    d->dev->k->linear_forward(d->dev, &a);
    return lent_back(&l->products, d->dev, y, y_bytes, err);
}

static int data_init(struct kmeans_data *d, struct kmeans_lent *lent, struct device *dev,
                     const float *x, int64_t T, int64_t D, struct err *err)
{
    *d = (struct kmeans_data){.dev = dev, .x = x, .T = T, .D = D, .lent = lent};
    d->xx = malloc((size_t)T * sizeof(float));
    if (!d->xx)
        return err_set(err, MOE2_ELIMIT, "k-means: no memory for %lld rows", (long long)T);
    kmeans_norms(d->xx, x, T, D, dev->n_threads);
    for (int64_t t = 0; t < T; t++)
        if (!(d->xx[t] < MAX_SQUARE))
            return err_set(err, MOE2_ENUMERIC, "k-means: row %lld is %g long, wanted less than %g",
                           (long long)t, sqrt((double)d->xx[t]), sqrt(MAX_SQUARE));
    return 0;
}

/* All rows into the device's memory, for walks that pass over them again and again. */
static int keep_rows_there(struct kmeans_data *d, struct err *err)
{
    int rc = lent_in(&d->lent->x, d->dev, d->x, (size_t)(d->T * d->D) * sizeof(float), err);
    d->x_there = d->lent->x.at;
    return rc;
}

/* ---- labels ---- */

static void label_rows(int32_t *labels, float *distance, const struct kmeans_data *d,
                       const float *y, const float *c, const float *cc, int64_t first, int64_t n,
                       int64_t k)
{
#pragma omp parallel for schedule(static) num_threads(d->dev->n_threads)
    for (int64_t t = 0; t < n; t++) {
        float best = INFINITY;
        int32_t label = 0;
        for (int64_t j = 0; j < k; j++) {
            float v = cc[j] - 2 * y[t * k + j];
            if (v < best) {
                best = v;
                label = (int32_t)j;
            }
        }
        labels[first + t] = label;
        if (distance)
            distance[first + t] =
                (float)kmeans_square(d->x + (first + t) * d->D, c + label * d->D, d->D);
    }
}

int kmeans_assign(int32_t *labels, float *distance, struct device *dev, const float *x, int64_t T,
                  const float *centroids, int64_t k, int64_t D, struct err *err)
{
    struct kmeans_lent lent = {0};
    struct kmeans_data d = {.dev = dev, .x = x, .T = T, .D = D, .lent = &lent};
    float *y = malloc((size_t)(KMEANS_CHUNK * k) * sizeof(float));
    float *cc = malloc((size_t)k * sizeof(float));
    int rc = 0;
    if (!y || !cc)
        rc = err_set(err, MOE2_ELIMIT, "k-means: no memory for %lld centroids", (long long)k);
    else
        kmeans_norms(cc, centroids, k, D, 1);
    if (!rc)
        rc = kmeans_hold(&d, centroids, k, err);
    for (int64_t first = 0; first < T && !rc; first += KMEANS_CHUNK) {
        int64_t n = T - first < KMEANS_CHUNK ? T - first : KMEANS_CHUNK;
        rc = kmeans_products(y, &d, first, n, centroids, k, err);
        if (!rc)
            label_rows(labels, distance, &d, y, centroids, cc, first, n, k);
    }
    kmeans_lent_end(&lent, dev);
    free(y);
    free(cc);
    return rc;
}

/* ---- Lloyd's starts, in waves ---- */

static void walk_free(struct kmeans_walk *w)
{
    void *owned[] = {w->c,    w->sum,  w->n,  w->label, w->upper, w->lower,
                     w->half, w->move, w->cc, w->todo,  w->was};
    for (size_t i = 0; i < sizeof owned / sizeof *owned; i++)
        free(owned[i]);
}

static int walk_new(struct kmeans_walk *w, int64_t T, int64_t D, int64_t k, struct err *err)
{
    size_t kd = (size_t)(k * D), t = (size_t)T;
    *w = (struct kmeans_walk){0};
    w->c = malloc(kd * sizeof(float));
    w->sum = malloc(kd * sizeof(double));
    w->n = malloc((size_t)k * sizeof(int64_t));
    w->label = malloc(t * sizeof(int32_t));
    w->upper = malloc(t * sizeof(float));
    w->lower = malloc(t * sizeof(float));
    w->half = malloc((size_t)k * sizeof(float));
    w->move = malloc((size_t)k * sizeof(float));
    w->cc = malloc((size_t)k * sizeof(float));
    w->todo = malloc(KMEANS_CHUNK * sizeof(int32_t));
    w->was = malloc(KMEANS_CHUNK * sizeof(int32_t));
    if (!w->c || !w->sum || !w->n || !w->label || !w->upper || !w->lower || !w->half || !w->move ||
        !w->cc || !w->todo || !w->was)
        return err_set(err, MOE2_ELIMIT, "k-means: no memory for %lld rows and %lld centroids",
                       (long long)T, (long long)k);
    return 0;
}

/* Seeds and walks starts first … first + n − 1; the best so far lies in out. */
static int wave(struct kmeans *out, struct kmeans_walk *w, int first, int n,
                const struct kmeans_data *d, const struct kmeans_options *o, struct err *err)
{
    float *c[KMEANS_MAX_STARTS];
    struct rng rngs[KMEANS_MAX_STARTS];
    for (int s = 0; s < n; s++) {
        c[s] = w[s].c;
        rng_init(&rngs[s], rng_at(o->seed, 0x6b6d, (uint64_t)(first + s), 0));
        w[s].n_products = 0;
    }
    int rc = kmeans_seed(c, d, o->k, n, rngs, o, err);
    if (!rc)
        rc = kmeans_lloyd(w, n, d, o, err);
    for (int s = 0; s < n && !rc; s++) {
        out->starts[first + s] = w[s].result;
        out->products += (double)w[s].n_products;
        if (first + s == 0 || w[s].result.inertia < out->starts[out->best].inertia) {
            out->best = first + s;
            memcpy(out->centroids, w[s].c, (size_t)(o->k * d->D) * sizeof(float));
        }
    }
    return rc;
}

static int run_lloyd(struct kmeans *out, struct kmeans_data *d, const struct kmeans_options *o,
                     struct err *err)
{
    int64_t side = WAVE_CENTROIDS / o->k;
    int n_walks = (int)(side < 1 ? 1 : side < o->n_starts ? side : o->n_starts);
    struct kmeans_walk *w = calloc((size_t)n_walks, sizeof *w);
    struct progress progress;
    int rc = w ? keep_rows_there(d, err) : err_set(err, MOE2_ELIMIT, "k-means: no memory");
    progress_begin(&progress, o->sink, "k-means", (double)o->n_starts, "starts");
    for (int i = 0; i < n_walks && !rc; i++)
        rc = walk_new(&w[i], d->T, d->D, o->k, err);
    for (int first = 0; first < o->n_starts && !rc; first += n_walks) {
        int left = (int)o->n_starts - first;
        rc = wave(out, w, first, left < n_walks ? left : n_walks, d, o, err);
        progress_set(&progress,
                     first + n_walks < o->n_starts ? first + n_walks : (double)o->n_starts);
    }
    progress_end(&progress);
    double plain = 0;
    for (int s = 0; s < o->n_starts; s++)
        plain += (double)out->starts[s].iterations * (double)d->T;
    out->products = plain > 0 ? out->products / plain : 1;
    for (int i = 0; w && i < n_walks; i++)
        walk_free(&w[i]);
    free(w);
    return rc;
}

/* ---- the whole ---- */

static int check(const struct kmeans_options *o, int64_t T, int64_t D, struct err *err)
{
    if (o->k < 1 || o->k > KMEANS_MAX_K)
        return err_set(err, MOE2_ECONFIG, "k-means: k is %lld, wanted 1 to %d", (long long)o->k,
                       KMEANS_MAX_K);
    if (o->n_starts < 1 || o->n_starts > KMEANS_MAX_STARTS)
        return err_set(err, MOE2_ECONFIG, "k-means: %lld starts, wanted 1 to %d",
                       (long long)o->n_starts, KMEANS_MAX_STARTS);
    if (o->max_iterations < 1)
        return err_set(err, MOE2_ECONFIG, "k-means: %lld iterations, wanted 1 or more",
                       (long long)o->max_iterations);
    if (o->batch < 0 || o->batch > KMEANS_MAX_BATCH)
        return err_set(err, MOE2_ECONFIG, "k-means: batches of %lld rows, wanted 0 to %d",
                       (long long)o->batch, KMEANS_MAX_BATCH);
    if (T < o->k)
        return err_set(err, MOE2_ECONFIG, "k-means: %lld rows, wanted at least k = %lld",
                       (long long)T, (long long)o->k);
    if (T > INT32_MAX || D < 1)
        return err_set(err, MOE2_ELIMIT,
                       "k-means: %lld rows of %lld numbers, wanted at most 2³¹ − 1 "
                       "rows of 1 or more",
                       (long long)T, (long long)D);
    return 0;
}

static int finish(struct kmeans *out, struct device *dev, const float *x, struct err *err)
{
    int rc = kmeans_assign(out->labels, out->distance, dev, x, out->T, out->centroids, out->k,
                           out->D, err);
    for (int64_t t = 0; t < out->T && !rc; t++) {
        out->inertia += out->distance[t];
        out->n_rows[out->labels[t]]++;
    }
    return rc;
}

int kmeans_run(struct kmeans *out, struct device *dev, const float *x, int64_t T, int64_t D,
               const struct kmeans_options *o, struct err *err)
{
    struct kmeans_data d = {0};
    struct kmeans_lent lent = {0};
    struct kmeans m = {.k = o->k, .D = D, .T = T, .n_starts = (int)o->n_starts};
    int rc = check(o, T, D, err);
    if (rc)
        return rc;
    m.centroids = malloc((size_t)(o->k * D) * sizeof(float));
    m.labels = malloc((size_t)T * sizeof(int32_t));
    m.distance = malloc((size_t)T * sizeof(float));
    m.n_rows = calloc((size_t)o->k, sizeof(int64_t));
    if (!m.centroids || !m.labels || !m.distance || !m.n_rows)
        rc = err_set(err, MOE2_ELIMIT, "k-means: no memory for %lld rows", (long long)T);
    if (!rc)
        rc = data_init(&d, &lent, dev, x, T, D, err);
    if (!rc)
        rc = o->batch ? kmeans_batches(&m, &d, o, err) : run_lloyd(&m, &d, o, err);
    kmeans_lent_end(&lent, dev);
    if (!rc)
        rc = finish(&m, dev, x, err);
    free(d.xx);
    if (rc)
        kmeans_release(&m);
    else
        *out = m;
    return rc;
}

void kmeans_release(struct kmeans *m)
{
    free(m->centroids);
    free(m->labels);
    free(m->distance);
    free(m->n_rows);
    *m = (struct kmeans){0};
}

/* ---- silhouette ---- */

/* rows [n] of 0 … T − 1 in rising order, each as likely as any other (selection sampling, Knuth 3.4.2 S). */
static void sample(int64_t *rows, int64_t n, int64_t T, uint64_t seed)
{
    struct rng r;
    rng_init(&r, rng_at(seed, 0x5117, 0, 0));
    for (int64_t t = 0, got = 0; got < n; t++)
        if (rng_uniform(&r) * (double)(T - t) < (double)(n - got))
            rows[got++] = t;
}

static double silhouette_of(const float *dots, const float *xx, const int32_t *label,
                            const int64_t *count, double *mean, int64_t i, int64_t n, int64_t k)
{
    double b = INFINITY;
    memset(mean, 0, (size_t)k * sizeof *mean);
    for (int64_t j = 0; j < n; j++)
        if (j != i)
            mean[label[j]] += sqrt(fmax(0, (double)xx[i] + xx[j] - 2.0 * (double)dots[j]));
    if (count[label[i]] < 2)
        return 0;
    for (int64_t j = 0; j < k; j++)
        if (j != label[i] && count[j])
            b = fmin(b, mean[j] / (double)count[j]);
    double a = mean[label[i]] / (double)(count[label[i]] - 1);
    return fmax(a, b) > 0 ? (b - a) / fmax(a, b) : 0;
}

static int silhouette_rows(double *sum, const struct kmeans_data *d, const int32_t *label,
                           const int64_t *count, int64_t k, struct err *err)
{
    int64_t n = d->T;
    enum { BLOCK = 256 };
    float *dots = malloc((size_t)(BLOCK * n) * sizeof(float));
    double *means = malloc((size_t)(BLOCK * k) * sizeof(double)), values[BLOCK];
    int rc = dots && means ? 0 : err_set(err, MOE2_ELIMIT, "silhouette: no memory");
    if (!rc)
        rc = kmeans_hold(d, d->x, n, err);
    for (int64_t first = 0; first < n && !rc; first += BLOCK) {
        int64_t m = n - first < BLOCK ? n - first : BLOCK;
        rc = kmeans_products(dots, d, first, m, d->x, n, err);
        if (rc)
            break;
#pragma omp parallel for schedule(static) num_threads(d->dev->n_threads)
        for (int64_t i = 0; i < m; i++)
            values[i] =
                silhouette_of(dots + i * n, d->xx, label, count, means + i * k, first + i, n, k);
        for (int64_t i = 0; i < m; i++)
            *sum += values[i];
    }
    free(dots);
    free(means);
    return rc;
}

int kmeans_silhouette(double *out, int64_t *n_used, struct device *dev, const float *x, int64_t T,
                      int64_t D, const int32_t *labels, int64_t k, int64_t n_sample, uint64_t seed,
                      struct err *err)
{
    int64_t n = n_sample < T ? n_sample : T, clusters = 0;
    n = n < SILHOUETTE_MAX ? n : SILHOUETTE_MAX;
    int64_t *rows = malloc((size_t)n * sizeof *rows), *count = calloc((size_t)k, sizeof *count);
    float *some = malloc((size_t)(n * D) * sizeof(float));
    int32_t *label = malloc((size_t)n * sizeof *label);
    struct kmeans_data d = {0};
    struct kmeans_lent lent = {0};
    double sum = 0;
    int rc = 0;
    if (!rows || !count || !some || !label)
        rc = err_set(err, MOE2_ELIMIT, "silhouette: no memory for %lld rows", (long long)n);
    if (!rc) {
        sample(rows, n, T, seed);
        for (int64_t i = 0; i < n; i++) {
            memcpy(some + i * D, x + rows[i] * D, (size_t)D * sizeof(float));
            label[i] = labels[rows[i]];
            clusters += count[label[i]]++ == 0;
        }
        rc = data_init(&d, &lent, dev, some, n, D, err);
    }
    if (!rc)
        rc = silhouette_rows(&sum, &d, label, count, k, err);
    if (!rc) {
        *out = clusters > 1 ? sum / (double)n : NAN;
        *n_used = n;
    }
    kmeans_lent_end(&lent, dev);
    free(d.xx);
    free(rows);
    free(count);
    free(some);
    free(label);
    return rc;
}
