/* The table of energy meters: see meters.h. */
#include "pipeline/meters.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "fleet/meter_sysfs.h"
#include "kernels/meter_nvml.h"

const struct meter_kind *const meter_kinds[] = {&meter_rapl, &meter_ina3221, &meter_nvml, NULL};

static int open_kind(struct meter *m, const struct meter_kind *kind, const struct meter_options *o,
                     struct err *err)
{
    int rc = kind->open(&m->state, m->what, o, err);
    m->kind = rc ? NULL : kind;
    return rc;
}

/* The first that answers, in the order of the table; a GPU's work is not seen by processors, nor theirs by a GPU. */
static void open_any(struct meter *m, bool on_gpu, const struct meter_options *o)
{
    char why[METER_TEXT] = "";
    for (int i = 0; meter_kinds[i] && !m->kind; i++) {
        const struct meter_kind *kind = meter_kinds[i];
        struct err err = {0};
        size_t n = strlen(why);
        if (kind == (on_gpu ? &meter_rapl : &meter_nvml))
            continue;
        if (open_kind(m, kind, o, &err))
            snprintf(why + n, sizeof why - n, "%s%s: %.110s", n ? "; " : "", kind->name, err.msg);
    }
    if (!m->kind)
        snprintf(m->what, sizeof m->what, "%s", why);
}

int meter_open(struct meter *m, const char *name, bool on_gpu, const struct meter_options *o,
               struct err *err)
{
    *m = (struct meter){.what = "no meter was wanted"};
    if (!name || strcmp(name, "auto") == 0) {
        open_any(m, on_gpu, o);
        return 0;
    }
    if (strcmp(name, "none") == 0)
        return 0;
    for (int i = 0; meter_kinds[i]; i++)
        if (strcmp(name, meter_kinds[i]->name) == 0)
            return open_kind(m, meter_kinds[i], o, err);
    return err_set(err, MOE2_ECONFIG,
                   "there is no meter \"%.40s\", wanted auto, rapl, ina3221, nvml or none", name);
}

void meter_close(struct meter *m)
{
    if (m->kind)
        m->kind->close(m->state);
    *m = (struct meter){0};
}

int meter_joules(double *out, struct meter *m, struct err *err)
{
    *out = NAN;
    return m->kind ? m->kind->joules(out, m->state, err) : 0;
}
