/* Mini-batch k-means: centroids walk towards the rows of random batches, each by a step of one over the rows it has seen.
 *
 *     c_j += (x − c_j) / n_j        for every row x of the batch that is nearest to c_j, n_j counting them
 *
 * Each start is seeded by k-means++ on a sample of the rows and stops when the running mean of its batches' inertia has not fallen for
 * PATIENCE batches. The start with the lowest inertia on one sample that all share wins. At most a batch and a sample of the rows are
 * copied; the rest stays where it is, on disk perhaps.
 * Source: Sculley, WWW 2010; the stopping rule in the manner of scikit-learn's.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "model/kmeans_parts.h"

enum {
    PATIENCE = 20,
    SAMPLE = 16384, /* rows that seed a start, and rows that judge it, at most */
    COLUMNS = 128,
};

struct batches {
    const struct kmeans_data *d;
    const struct kmeans_options *o;
    float *rows; /* [room, D] gathered */
    int64_t room;
    int32_t *label;  /* [room] */
    float *distance; /* [room] */
    int64_t *seen;   /* [k] */
    float *c;        /* [k, D] */
    int64_t *idx;    /* [room] */
};

static int by_number(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return (x > y) - (x < y);
}

/* Gathers n rows drawn with replacement, in rising order: disks like that better. */
static void gather(struct batches *b, int64_t n, struct rng *rng)
{
    const struct kmeans_data *d = b->d;
    for (int64_t i = 0; i < n; i++)
        b->idx[i] = (int64_t)rng_below(rng, (uint64_t)d->T);
    qsort(b->idx, (size_t)n, sizeof *b->idx, by_number);
    for (int64_t i = 0; i < n; i++)
        memcpy(b->rows + i * d->D, d->x + b->idx[i] * d->D, (size_t)d->D * sizeof(float));
}

/* Each thread owns columns and walks the rows in order; the counters are walked along by each for itself. */
static void move_columns(struct batches *b, int64_t n, const int64_t *seen, int64_t c0, int64_t c1)
{
    const struct kmeans_data *d = b->d;
    int64_t count[KMEANS_MAX_K];
    memcpy(count, seen, (size_t)b->o->k * sizeof *count);
    for (int64_t i = 0; i < n; i++) {
        float step = 1.0f / (float)++count[b->label[i]];
        float *c = b->c + b->label[i] * d->D;
        const float *x = b->rows + i * d->D;
        for (int64_t j = c0; j < c1; j++)
            c[j] += step * (x[j] - c[j]);
    }
}

/* One batch. *inertia is the mean squared distance of its rows before the step. */
static int one_batch(struct batches *b, double *inertia, struct rng *rng, struct err *err)
{
    const struct kmeans_data *d = b->d;
    int64_t n = b->o->batch < d->T ? b->o->batch : d->T, strips = (d->D + COLUMNS - 1) / COLUMNS;
    gather(b, n, rng);
    int rc = kmeans_assign(b->label, b->distance, d->dev, b->rows, n, b->c, b->o->k, d->D, err);
    if (rc)
        return rc;
    double sum = 0;
    for (int64_t i = 0; i < n; i++)
        sum += b->distance[i];
    *inertia = sum / (double)n;
#pragma omp parallel for schedule(static) num_threads(d->dev->n_threads)
    for (int64_t s = 0; s < strips; s++)
        move_columns(b, n, b->seen, s * COLUMNS,
                     (s + 1) * COLUMNS < d->D ? (s + 1) * COLUMNS : d->D);
    for (int64_t i = 0; i < n; i++)
        b->seen[b->label[i]]++;
    return 0;
}

/* Seeds one start on a sample of the rows. */
static int seed(struct batches *b, int64_t n, struct rng *rng, struct err *err)
{
    struct kmeans_data some = *b->d;
    gather(b, n, rng);
    some.x = b->rows;
    some.T = n;
    some.xx = malloc((size_t)n * sizeof(float));
    if (!some.xx)
        return err_set(err, MOE2_ELIMIT, "k-means: no memory for a sample of %lld rows",
                       (long long)n);
    kmeans_norms(some.xx, some.x, n, some.D, some.dev->n_threads);
    int rc = kmeans_seed(&b->c, &some, b->o->k, 1, rng, b->o, err);
    free(some.xx);
    return rc;
}

static int walk(struct batches *b, struct kmeans_start *result, struct rng *rng, struct err *err)
{
    const struct kmeans_data *d = b->d;
    int64_t n = b->o->batch < d->T ? b->o->batch : d->T, since = 0;
    int64_t most = b->o->max_iterations * ((d->T + n - 1) / n);
    double running = 0, best = INFINITY, inertia,
           weight = fmin(1, 2.0 * (double)n / (double)(d->T + 1));
    int rc = 0;
    memset(b->seen, 0, (size_t)b->o->k * sizeof *b->seen);
    while (!rc && result->iterations < most && since < PATIENCE) {
        rc = kmeans_stopped(b->o, err);
        if (!rc)
            rc = one_batch(b, &inertia, rng, err);
        if (rc)
            break;
        running = result->iterations++ ? running + weight * (inertia - running) : inertia;
        since = running < best ? 0 : since + 1;
        best = fmin(best, running);
    }
    result->converged = since >= PATIENCE;
    return rc;
}

/* The inertia of the sample that all starts share, scaled up to all rows. */
static int judge(struct batches *b, struct kmeans_start *result, int64_t n, struct err *err)
{
    struct rng rng;
    rng_init(&rng, rng_at(b->o->seed, 0x6b6d, 1, 1));
    gather(b, n, &rng);
    int rc =
        kmeans_assign(b->label, b->distance, b->d->dev, b->rows, n, b->c, b->o->k, b->d->D, err);
    double sum = 0;
    for (int64_t i = 0; i < n && !rc; i++)
        sum += b->distance[i];
    result->inertia = sum * (double)b->d->T / (double)n;
    return rc;
}

static int one_start(struct kmeans *out, struct batches *b, int s, struct err *err)
{
    struct rng rng;
    int64_t n = b->d->T < SAMPLE ? b->d->T : SAMPLE;
    struct kmeans_start *result = &out->starts[s];
    rng_init(&rng, rng_at(b->o->seed, 0x6b6d, (uint64_t)s, 2));
    int rc = seed(b, n, &rng, err);
    if (!rc)
        rc = walk(b, result, &rng, err);
    if (!rc)
        rc = judge(b, result, n, err);
    if (!rc && (s == 0 || result->inertia < out->starts[out->best].inertia)) {
        out->best = s;
        memcpy(out->centroids, b->c, (size_t)(b->o->k * b->d->D) * sizeof(float));
    }
    return rc;
}

int kmeans_batches(struct kmeans *out, const struct kmeans_data *d, const struct kmeans_options *o,
                   struct err *err)
{
    struct batches b = {.d = d, .o = o, .room = o->batch > SAMPLE ? o->batch : SAMPLE};
    struct progress progress;
    size_t room = (size_t)(b.room < d->T ? b.room : d->T);
    int rc = 0;
    b.rows = malloc(room * (size_t)d->D * sizeof(float));
    b.label = malloc(room * sizeof(int32_t));
    b.distance = malloc(room * sizeof(float));
    b.idx = malloc(room * sizeof(int64_t));
    b.seen = malloc((size_t)o->k * sizeof(int64_t));
    b.c = malloc((size_t)(o->k * d->D) * sizeof(float));
    if (!b.rows || !b.label || !b.distance || !b.idx || !b.seen || !b.c)
        rc = err_set(err, MOE2_ELIMIT, "k-means: no memory for batches of %lld rows",
                     (long long)o->batch);
    progress_begin(&progress, o->sink, "k-means, mini-batches", (double)o->n_starts, "starts");
    for (int s = 0; s < o->n_starts && !rc; s++) {
        rc = one_start(out, &b, s, err);
        progress_set(&progress, s + 1);
    }
    progress_end(&progress);
    out->products = 1;
    free(b.rows);
    free(b.label);
    free(b.distance);
    free(b.idx);
    free(b.seen);
    free(b.c);
    return rc;
}
