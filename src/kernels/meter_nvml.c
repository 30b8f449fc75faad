/* A GPU's own counter of energy as a meter: see meter_nvml.h and nvml.h. It counts the whole card since the driver was loaded; the
 * meter's joules are differences to what it said when it was opened. */
#include "kernels/meter_nvml.h"

#include <math.h>
#include <stdlib.h>

#include "kernels/nvml.h"

struct card {
    struct nvml *nvml;
    int gpu;
    double first_j;
};

static void card_close(void *state)
{
    struct card *c = state;
    if (c)
        nvml_close(c->nvml);
    free(c);
}

static int card_open(void **state, char what[static METER_TEXT], const struct meter_options *o,
                     struct err *err)
{
    struct card *c = calloc(1, sizeof *c);
    if (!c)
        return err_set(err, MOE2_ELIMIT, "no memory for a meter");
    c->gpu = o->gpu;
    int rc = nvml_open(&c->nvml, err);
    if (!rc) {
        c->first_j = nvml_energy_j(c->nvml, c->gpu);
        if (isnan(c->first_j))
            rc = err_set(err, MOE2_ECONFIG, "GPU %d does not count its energy", c->gpu);
    }
    if (rc) {
        card_close(c);
        return rc;
    }
    nvml_name(c->nvml, c->gpu, what, METER_TEXT);
    *state = c;
    return 0;
}

static int card_joules(double *out, void *state, struct err *err)
{
    struct card *c = state;
    double now_j = nvml_energy_j(c->nvml, c->gpu);
    if (isnan(now_j))
        return err_set(err, MOE2_EIO, "GPU %d no longer tells its energy", c->gpu);
    *out = now_j - c->first_j;
    return 0;
}

const struct meter_kind meter_nvml = {
    .name = "nvml",
    .counts = "the whole GPU (NVML)",
    .settle_s = 0.5,
    .open = card_open,
    .joules = card_joules,
    .close = card_close,
};
