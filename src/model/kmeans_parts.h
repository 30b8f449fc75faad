/* Inside k-means: what seeding, Lloyd's walk and mini-batches share.
 *
 * Squared distances come as ‖x‖² − 2⟨x, c⟩ + ‖c‖² from our float32 products. kmeans_slack bounds the error of that sum, so that what
 * is concluded from bounds is true of real numbers, and equal rows are told from near ones by an exact sum.
 */
#ifndef MOE2_MODEL_KMEANS_PARTS_H
#define MOE2_MODEL_KMEANS_PARTS_H

#include "base/rng.h"
#include "kernels/kernels.h"
#include "kernels/lent.h"
#include "model/kmeans.h"

enum { KMEANS_CHUNK = 1024 }; /* rows whose products are in memory at once */

/* What products read and write on a device that is not the host: kept from one to the next. */
struct kmeans_lent {
    struct lent x; /* all rows, where they are kept there */
    struct lent rows, centroids, products, list;
    const float *held; /* the host's centroids that lie there already */
};

struct kmeans_data {
    struct device *dev;
    const float *x; /* [T, D] */
    const float
        *x_there; /* the same in the device's memory; NULL: rows go there as products need them */
    struct kmeans_lent *lent;
    float *xx; /* [T] ‖x‖² */
    float xx_max;
    int64_t T, D;
};

/* One start of Lloyd's walk. All arrays are owned. */
struct kmeans_walk {
    float *c;             /* [k, D] */
    double *sum;          /* [k, D] of the rows of each cluster */
    int64_t *n;           /* [k] rows of each cluster */
    int32_t *label;       /* [T] */
    float *upper, *lower; /* [T] bounds on the distances to the own and to any other centroid */
    float *half, *move;   /* [k] half the distance to the nearest other centroid; the last step */
    float *cc;            /* [k] ‖c‖² */
    int32_t *todo, *was;  /* [KMEANS_CHUNK] rows to look at, and their clusters before */
    int64_t n_todo, n_changed, n_products;
    struct kmeans_start result;
    bool done;
};

static inline double kmeans_slack(int64_t D, double xx, double cc)
{
    return (double)(D + 8) * 0x1p-23 * (xx + cc);
}

double kmeans_square(const float *a, const float *b, int64_t D); /* Σ (a − b)², exactly added */
void kmeans_norms(float *xx, const float *x, int64_t T, int64_t D, int n_threads);

/* Frees what products left on the device. */
void kmeans_lent_end(struct kmeans_lent *l, struct device *dev);

/* Brings N centroids to the device unless they are there; who changes them, or is done, sets held to NULL. */
int kmeans_hold(const struct kmeans_data *d, const float *c, int64_t N, struct err *err);

/* y[T, N] = rows first … of x [T, D] · cᵀ, c [N, D]; all but x_there in the host's memory. */
int kmeans_products(float *y, const struct kmeans_data *d, int64_t first, int64_t T, const float *c,
                    int64_t N, struct err *err);

/* Greedy k-means++ for n starts at once: c[s] [k, D] are filled, each start drawing from its own rng. Errors: as kmeans_run's. */
int kmeans_seed(float *const *c, const struct kmeans_data *d, int64_t k, int n, struct rng *rngs,
                const struct kmeans_options *o, struct err *err);

/* Walks n starts side by side until each has converged or is out of iterations. */
int kmeans_lloyd(struct kmeans_walk *w, int n, const struct kmeans_data *d,
                 const struct kmeans_options *o, struct err *err);

/* The starts of mini-batch k-means: the best one's centroids go to out->centroids. */
int kmeans_batches(struct kmeans *out, const struct kmeans_data *d, const struct kmeans_options *o,
                   struct err *err);

int kmeans_stopped(const struct kmeans_options *o, struct err *err);

#endif
