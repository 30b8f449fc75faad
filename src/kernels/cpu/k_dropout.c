/* Dropout and scaling of rows, the one implementation of all tables: it is bound by the random numbers, not by arithmetic.
 *
 * Shapes:      x, y [T, D], each with its own row pitch
 * Definition:  y[t,d] (+)= u(key(t), d) ≥ drop ? scale · x[t,d] : 0          key(t) = first_key + (key_row ? key_row[t] : t)
 *              u is the d-th of a stream of 16-bit numbers over 65,536 that (seed, key) begins, drop rounded to 1/65,536
 * Sizes:       any; drop 0 draws nothing and only scales. The same seed and key give the same mask wherever the row stands, which is
 *              what makes a recomputed or resumed step the same step.
 */
#include <math.h>
#include <omp.h>

#include "base/rng.h"
#include "kernels/cpu/cpu.h"

enum { PARALLEL_FROM = 1 << 14 };

static void scale_row(float *y, const float *x, int64_t D, float scale, bool accumulate)
{
    if (accumulate)
        for (int64_t d = 0; d < D; d++)
            y[d] += scale * x[d];
    else
        for (int64_t d = 0; d < D; d++)
            y[d] = scale * x[d];
}

static void drop_row(float *y, const float *x, const struct dropout_args *a, uint64_t key)
{
    uint64_t bits = 0, limit = (uint64_t)lrint((double)a->drop * 65536);
    struct rng r;
    rng_init(&r, rng_at(a->seed, key, 0, 0));
    for (int64_t d = 0; d < a->D; d++) {
        bits = d % 4 ? bits >> 16 : rng_next(&r);
        float v = (bits & 0xffff) >= limit ? a->scale * x[d] : 0;
        y[d] = a->accumulate ? y[d] + v : v;
    }
}

void ref_dropout(struct device *dev, const struct dropout_args *a)
{
#pragma omp parallel for schedule(static)                                                          \
    num_threads(dev->n_threads) if (a->T * a->D > PARALLEL_FROM)
    for (int64_t t = 0; t < a->T; t++) {
        int64_t key = a->first_key + (a->key_row ? a->key_row[t] : t);
        if (a->drop > 0)
            drop_row(a->y + t * a->ldy, a->x + t * a->ldx, a, (uint64_t)key);
        else
            scale_row(a->y + t * a->ldy, a->x + t * a->ldx, a->D, a->scale, a->accumulate);
    }
}
