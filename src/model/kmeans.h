/* k-means: k centroids that stand for the rows of a matrix, with the rows given to the nearest.
 *
 *     struct kmeans_options o = kmeans_default();
 *     o.k = 8; o.seed = 1;
 *     struct kmeans m;
 *     kmeans_run(&m, dev, x, T, D, &o, err);
 *     … m.labels [T], m.centroids [k, D], m.inertia …
 *     kmeans_release(&m);
 *
 * Every start is seeded by greedy k-means++ and then walks Lloyd's steps until no row changes its cluster; the start with the lowest
 * inertia wins, equal ones by lower number. Bounds on distances spare the products of rows that provably stay where they are, so the
 * result is Lloyd's, only sooner. With a batch size it is mini-batch k-means instead, which never touches more than a batch at once.
 * The same seed gives the same bits at any number of threads.
 * Source: Arthur & Vassilvitskii, SODA 2007 (k-means++, its greedy form); Hamerly, SDM 2010 (bounds); Sculley, WWW 2010 (mini-batch).
 */
#ifndef MOE2_MODEL_KMEANS_H
#define MOE2_MODEL_KMEANS_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "base/log.h"
#include "kernels/device.h"

enum { KMEANS_MAX_K = 4096, KMEANS_MAX_STARTS = 64, KMEANS_MAX_BATCH = 1 << 20 };

struct kmeans_options {
    int64_t k;
    int64_t n_starts;
    int64_t max_iterations; /* of Lloyd's, a start; of mini-batch: passes over all rows */
    int64_t batch;          /* 0: Lloyd; else rows of a mini-batch */
    uint64_t seed;
    const struct log_sink *sink; /* or NULL */
    const volatile int *stop;    /* or NULL: not 0 ends the run with MOE2_ESTOP */
};

/* k 8, 4 starts, at most 300 iterations, Lloyd, seed 1. */
struct kmeans_options kmeans_default(void);

struct kmeans_start {
    double inertia; /* of mini-batch: of a sample of the rows, scaled up */
    int64_t iterations;
    bool converged;
};

struct kmeans {
    int64_t k, D, T;
    float *centroids; /* [k, D], owned */
    int32_t *labels;  /* [T], owned: the nearest centroid, ties to the lower number */
    float *distance;  /* [T], owned: squared distance to it */
    int64_t *n_rows;  /* [k], owned */
    double inertia;   /* Σ of distance */
    int best, n_starts;
    struct kmeans_start starts[KMEANS_MAX_STARTS];
    double
        products; /* distances computed, as a share of what plain Lloyd computes; 1 for mini-batch */
};

/* Clusters x [T, D], finite float32 in host memory. Errors: MOE2_ECONFIG for options out of range or k above T; MOE2_EFORMAT when x has
 * fewer than k different rows (Lloyd; the sample that seeds a mini-batch run); MOE2_ELIMIT, MOE2_ESTOP. */
int kmeans_run(struct kmeans *out, struct device *dev, const float *x, int64_t T, int64_t D,
               const struct kmeans_options *o, struct err *err);

void kmeans_release(struct kmeans *m); /* a zeroed one is fine */

/* The nearest of k centroids for every row of x [T, D]: labels [T], and distance [T] (squared) unless NULL. */
int kmeans_assign(int32_t *labels, float *distance, struct device *dev, const float *x, int64_t T,
                  const float *centroids, int64_t k, int64_t D, struct err *err);

/* The mean silhouette (Rousseeuw 1987) of at most n_sample rows among themselves, drawn by seed: for a row, (b − a)/max(a, b) with a
 * the mean distance to the rest of its cluster and b the lowest mean distance to another; 0 for a row alone. NaN when the sample
 * holds one cluster only. *n_used says how many rows it is of. */
int kmeans_silhouette(double *out, int64_t *n_used, struct device *dev, const float *x, int64_t T,
                      int64_t D, const int32_t *labels, int64_t k, int64_t n_sample, uint64_t seed,
                      struct err *err);

#endif
