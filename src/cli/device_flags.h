/* --device and --memory-limit, which many commands share. */
#ifndef MOE2_CLI_DEVICE_FLAGS_H
#define MOE2_CLI_DEVICE_FLAGS_H

#include "kernels/device.h"
#include "pipeline/run.h"

struct device_flags {
    const char *name;  /* NULL: cpu, or what the configuration says */
    const char *limit; /* "24GiB", "900MB"; NULL: none */
};

/* The lines of --help. */
#define DEVICE_FLAGS_HELP                                                                          \
    "  --device NAME    cpu, cpu:avx2, …, cuda, cuda:N\n"                                        \
    "  --memory-limit S use at most that much of the device's memory: 24GiB, 900MB\n"

/* Rows for a table of flags. */
#define DEVICE_FLAGS(f)                                                                            \
    {"--device", FLAG_TEXT, &(f)->name, false},                                                    \
    {                                                                                              \
        "--memory-limit", FLAG_TEXT, &(f)->limit, false                                            \
    }

/* What they say. MOE2_ECONFIG for a limit that is no size. */
int device_flags_read(struct device_choice *out, const struct device_flags *f, struct err *err);

/* Opens it for a command without a configuration. */
int device_flags_open(struct device **out, const struct device_flags *f, int n_threads,
                      struct err *err);

/* Lays them over a configuration: train.device, train.memory_gb. */
int device_flags_set(const struct device_flags *f, struct run_config *rc, struct err *err);

#endif
