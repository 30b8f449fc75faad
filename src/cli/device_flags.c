/* The device that a command line asks for. */
#include "cli/device_flags.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/cli.h"

static int parse_limit(size_t *n_bytes, const char *text, struct err *err)
{
    static const struct {
        const char *name;
        double bytes;
    } units[] = {{"GiB", 1 << 30}, {"MiB", 1 << 20}, {"GB", 1e9}, {"MB", 1e6}};
    char *end = NULL;
    errno = 0;
    double value = strtod(text, &end);
    for (size_t i = 0; i < COUNT_OF(units) && end != text && !errno; i++)
        if (strcmp(end, units[i].name) == 0 && value > 0 && value * units[i].bytes < 1e15) {
            *n_bytes = (size_t)(value * units[i].bytes);
            return 0;
        }
    return err_set(err, MOE2_ECONFIG,
                   "--memory-limit is \"%.40s\", wanted a size such as 24GiB or 900MB", text);
}

int device_flags_read(struct device_choice *out, const struct device_flags *f, struct err *err)
{
    *out = (struct device_choice){.name = f->name};
    return f->limit ? parse_limit(&out->limit_bytes, f->limit, err) : 0;
}

int device_flags_open(struct device **out, const struct device_flags *f, int n_threads,
                      struct err *err)
{
    struct device_choice choice;
    int rc = device_flags_read(&choice, f, err);
    return rc ? rc : device_open_choice(out, &choice, n_threads, err);
}

int device_flags_set(const struct device_flags *f, struct run_config *rc, struct err *err)
{
    char text[256];
    size_t limit = 0;
    int code = 0;
    if (f->name) {
        if (snprintf(text, sizeof text, "train.device=%s", f->name) >= (int)sizeof text)
            return err_set(err, MOE2_ECONFIG, "--device is longer than any device's name");
        code = run_config_set(rc, text, err);
    }
    if (!code && f->limit && !(code = parse_limit(&limit, f->limit, err))) {
        snprintf(text, sizeof text, "train.memory_gb=%.12g", (double)limit * 1e-9);
        code = run_config_set(rc, text, err);
    }
    return code;
}
