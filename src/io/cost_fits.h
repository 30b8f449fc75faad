/* The fits of latency.json and energy.json, for those who count with them: t0 + prefill·prompt + decode·output.
 *
 * Reads the named experts and nothing else of the file (curves.h has the whole format): an expert that nobody asked for may hold
 * anything.
 */
#ifndef MOE2_IO_COST_FITS_H
#define MOE2_IO_COST_FITS_H

#include "base/err.h"
#include "io/curves.h"

enum cost_kind { COST_LATENCY, COST_ENERGY };

struct cost_fit {
    struct curve_fit fit; /* finite, ≥ 0, in the file's unit */
    double unit;          /* 1 for s and J, 0.001 for ms and mJ */
};

/* Fills fits [n] for experts of those names. Errors name the file and the expert: MOE2_EFORMAT for one that is not there or has no
 * fit, a coefficient that is no number ≥ 0, another unit; MOE2_EIO, MOE2_ELIMIT. */
int cost_fits_read(struct cost_fit *fits, const char *path, enum cost_kind kind,
                   const char *const *names, int n, struct err *err);

#endif
