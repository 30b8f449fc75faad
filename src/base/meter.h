/* Energy meters: whatever counts joules, behind one interface.
 *
 * A kind is a row of a table: a name, what it counts, and three functions. Where they live: RAPL and INA3221 in fleet/, NVML in kernels/;
 * pipeline/meters.h has the table and picks. A meter counts what the metered part of the machine draws, whoever caused it: idle power
 * and other programs are in there.
 */
#ifndef MOE2_BASE_METER_H
#define MOE2_BASE_METER_H

#include "base/err.h"

enum { METER_TEXT = 256 };

struct meter_options {
    const char *sysfs; /* where sysfs is mounted; NULL: "/sys" */
    int gpu;           /* of NVML: which card */
    int sample_ms;     /* of meters that only tell watts: time between two looks; 0: 10 */
};

struct meter_kind {
    const char *name;   /* "rapl" */
    const char *counts; /* "processor packages (RAPL)" */
    double settle_s;    /* what is metered should last at least so long */
    /* Finds the meter. *state is the caller's, to be closed; what: which parts it has ("package-0, package-1"). MOE2_ECONFIG where
     * there is none here, MOE2_EIO where it may not be read, MOE2_EFORMAT for a file that holds nonsense. */
    int (*open)(void **state, char what[static METER_TEXT], const struct meter_options *o,
                struct err *err);
    /* Joules since it was opened; never less than the time before. To be called by one thread. MOE2_EIO, MOE2_EFORMAT. */
    int (*joules)(double *out, void *state, struct err *err);
    void (*close)(void *state); /* NULL is fine */
};

#endif
