/* Another device's pace: see device_pace.h. */
#include "fleet/device_pace.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/log.h"

enum { LONGEST_NAP_MS = 20 };

/* The fit of one expert out of one file, in whole units. */
static int read_fit(struct curve_fit *fit, enum curve_source *source, char device[static 64],
                    const char *path, const char *expert, struct err *err)
{
    struct curves c = {0};
    int rc = curves_read(&c, path, err);
    const struct curve *found = rc ? NULL : curves_find(&c, expert);
    if (!rc && !found)
        rc = err_set(err, MOE2_ECONFIG, "%s: has no curve of \"%.60s\"", path, expert);
    if (found) {
        double unit = found->unit && found->unit[0] == 'm' ? 1e-3 : 1;
        *fit = (struct curve_fit){unit * found->fit.t0, unit * found->fit.prefill,
                                  unit * found->fit.decode};
        *source = found->source;
        if (found->device)
            snprintf(device, 64, "%s", found->device);
    }
    curves_release(&c);
    return rc;
}

int device_pace_read(struct device_pace *p, const char *latency_path, const char *energy_path,
                     const char *expert, double pace, struct err *err)
{
    int rc = 0;
    *p = (struct device_pace){.pace = pace};
    if (latency_path && *latency_path) {
        rc = read_fit(&p->latency_s, &p->latency_source, p->device, latency_path, expert, err);
        p->has_latency = !rc;
    }
    if (!rc && energy_path && *energy_path) {
        rc = read_fit(&p->energy_j, &p->energy_source, p->device, energy_path, expert, err);
        p->has_energy = !rc;
    }
    return rc;
}

double device_pace_s(const struct device_pace *p, int64_t prompt_tokens, int64_t output_tokens)
{
    return p->has_latency ? curve_value(&p->latency_s, (double)prompt_tokens, (double)output_tokens)
                          : 0;
}

double device_pace_j(const struct device_pace *p, int64_t prompt_tokens, int64_t output_tokens)
{
    return p->has_energy ? curve_value(&p->energy_j, (double)prompt_tokens, (double)output_tokens)
                         : 0;
}

double device_pace_hold(const struct device_pace *p, double begun_s, double device_s,
                        const volatile int *stop)
{
    double from_s = clock_s(), until_s = begun_s + p->pace * device_s, now_s = from_s;
    while (now_s < until_s && !*stop) {
        double left_ms = (until_s - now_s) * 1e3;
        long nap_ns = (long)((left_ms < LONGEST_NAP_MS ? left_ms : LONGEST_NAP_MS) * 1e6);
        nanosleep(&(struct timespec){0, nap_ns + 1}, NULL);
        now_s = clock_s();
    }
    return now_s - from_s;
}
