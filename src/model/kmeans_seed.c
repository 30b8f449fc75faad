/* Greedy k-means++: the next centroid is the best of a few rows drawn with probability ∝ squared distance to those chosen.
 *
 * "Best" is the one that leaves the smallest sum of squared distances; 2 + ⌊ln k⌋ are tried. All starts are seeded at once, so that
 * the rows pass through the caches once for all of their candidates. A row equal to a chosen one has a distance of exactly 0: when
 * nothing else is left, the rows have fewer different values than centroids are wanted.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "model/kmeans_parts.h"

struct seeding {
    const struct kmeans_data *d;
    int n, tries;
    int64_t k, pitch;  /* pitch: n · tries */
    float *nearest;    /* [n, T] squared distance to the chosen */
    float *distance;   /* [T, pitch] to the candidates */
    float *candidates; /* [pitch, D] */
    int64_t *row;      /* [pitch] their rows */
    double *potential; /* [pitch] what would be left */
    struct rng *rngs;  /* [n], borrowed */
    float *const *c;
};

/* The row at which the running sum of nearest passes r; a row with a positive distance whatever rounding does. */
static int64_t draw(const float *nearest, int64_t T, double r)
{
    int64_t last = -1;
    double sum = 0;
    for (int64_t t = 0; t < T; t++) {
        if (nearest[t] <= 0)
            continue;
        last = t;
        sum += nearest[t];
        if (sum > r)
            break;
    }
    return last;
}

static double total(const float *nearest, int64_t T)
{
    double sum = 0;
    for (int64_t t = 0; t < T; t++)
        sum += nearest[t];
    return sum;
}

/* Candidates of start s: `tries` rows of step j ≥ 1, one uniform row at step 0. Returns false when no row is left. */
static bool draw_candidates(struct seeding *g, int s, int64_t j)
{
    const struct kmeans_data *d = g->d;
    const float *nearest = g->nearest + s * d->T;
    double sum = j ? total(nearest, d->T) : 0;
    if (j && !(sum > 0))
        return false;
    for (int i = 0; i < g->tries; i++) {
        int64_t idx = s * g->tries + i, row;
        if (j)
            row = draw(nearest, d->T, rng_uniform(&g->rngs[s]) * sum);
        else
            row = i ? g->row[idx - 1] : (int64_t)rng_below(&g->rngs[s], (uint64_t)d->T);
        g->row[idx] = row;
        memcpy(g->candidates + idx * d->D, d->x + row * d->D, (size_t)d->D * sizeof(float));
    }
    return true;
}

/* Products become squared distances; those near nothing are added up exactly. */
static void to_distances(struct seeding *g)
{
    const struct kmeans_data *d = g->d;
#pragma omp parallel for schedule(static) num_threads(d->dev->n_threads)
    for (int64_t t = 0; t < d->T; t++)
        for (int64_t i = 0; i < g->pitch; i++) {
            double xx = d->xx[t], cc = d->xx[g->row[i]];
            double v = xx + cc - 2.0 * (double)g->distance[t * g->pitch + i];
            if (v < 4 * kmeans_slack(d->D, xx, cc))
                v = kmeans_square(d->x + t * d->D, g->candidates + i * d->D, d->D);
            g->distance[t * g->pitch + i] = (float)v;
        }
}

static void potentials(struct seeding *g)
{
    const struct kmeans_data *d = g->d;
#pragma omp parallel for schedule(static) num_threads(d->dev->n_threads)
    for (int64_t i = 0; i < g->pitch; i++) {
        const float *nearest = g->nearest + i / g->tries * d->T;
        double sum = 0;
        for (int64_t t = 0; t < d->T; t++)
            sum += fminf(nearest[t], g->distance[t * g->pitch + i]);
        g->potential[i] = sum;
    }
}

/* The candidate that leaves least becomes centroid j of start s. */
static void choose(struct seeding *g, int s, int64_t j)
{
    const struct kmeans_data *d = g->d;
    int64_t best = s * g->tries;
    for (int64_t i = best + 1; i < (s + 1) * (int64_t)g->tries; i++)
        if (g->potential[i] < g->potential[best])
            best = i;
    float *nearest = g->nearest + s * d->T;
    for (int64_t t = 0; t < d->T; t++)
        nearest[t] = fminf(nearest[t], g->distance[t * g->pitch + best]);
    memcpy(g->c[s] + j * d->D, g->candidates + best * d->D, (size_t)d->D * sizeof(float));
}

static int step(struct seeding *g, int64_t j, struct err *err)
{
    const struct kmeans_data *d = g->d;
    for (int s = 0; s < g->n; s++)
        if (!draw_candidates(g, s, j))
            return err_set(err, MOE2_EFORMAT,
                           "there are only %lld different rows, wanted at least k = %lld",
                           (long long)j, (long long)g->k);
    int rc = kmeans_products(g->distance, d, 0, d->T, g->candidates, g->pitch, err);
    if (rc)
        return rc;
    to_distances(g);
    potentials(g);
#pragma omp parallel for schedule(static) num_threads(d->dev->n_threads)
    for (int s = 0; s < g->n; s++)
        choose(g, s, j);
    return 0;
}

int kmeans_seed(float *const *c, const struct kmeans_data *d, int64_t k, int n, struct rng *rngs,
                const struct kmeans_options *o, struct err *err)
{
    struct seeding g = {.d = d, .n = n, .k = k, .rngs = rngs, .c = c};
    g.tries = 2 + (int)log((double)k);
    g.pitch = (int64_t)n * g.tries;
    size_t T = (size_t)d->T, pitch = (size_t)g.pitch;
    g.nearest = malloc((size_t)n * T * sizeof(float));
    g.distance = malloc(T * pitch * sizeof(float));
    g.candidates = malloc(pitch * (size_t)d->D * sizeof(float));
    g.row = malloc(pitch * sizeof(int64_t));
    g.potential = malloc(pitch * sizeof(double));
    int rc = 0;
    if (!g.nearest || !g.distance || !g.candidates || !g.row || !g.potential)
        rc = err_set(err, MOE2_ELIMIT, "k-means: no memory to seed %d starts on %lld rows", n,
                     (long long)d->T);
    for (size_t i = 0; !rc && i < (size_t)n * T; i++)
        g.nearest[i] = INFINITY;
    for (int64_t j = 0; j < k && !rc; j++) {
        rc = kmeans_stopped(o, err);
        if (!rc)
            rc = step(&g, j, err);
    }
    free(g.nearest);
    free(g.distance);
    free(g.candidates);
    free(g.row);
    free(g.potential);
    return rc;
}
