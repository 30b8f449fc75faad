/* The energy meters that there are, and which one counts for a device.
 *
 *     struct meter m;
 *     meter_open(&m, "auto", false, &(struct meter_options){0}, &err);
 *     meter_joules(&before, &m, err); … meter_joules(&after, &m, err);
 *     meter_close(&m);
 */
#ifndef MOE2_PIPELINE_METERS_H
#define MOE2_PIPELINE_METERS_H

#include <stdbool.h>

#include "base/buf.h"
#include "base/meter.h"

extern const struct meter_kind *const meter_kinds[]; /* NULL-ended */

struct meter {
    const struct meter_kind *kind; /* NULL: none */
    void *state;
    char what[METER_TEXT]; /* its parts; of none: why there is none */
};

/* Opens a meter by name, or "none", or "auto" (NULL too): for work on a GPU the GPU's own counter or the board's rails, otherwise
 * the processors' or the board's. auto without any is no error: kind is NULL and what says what each answered. Errors: MOE2_ECONFIG for an
 * unknown name; those of the kind that was asked for. */
int meter_open(struct meter *m, const char *name, bool on_gpu, const struct meter_options *o,
               struct err *err);
void meter_close(struct meter *m); /* a zeroed one is fine */

/* Joules since it was opened; NaN of none. */
int meter_joules(double *out, struct meter *m, struct err *err);

#endif
