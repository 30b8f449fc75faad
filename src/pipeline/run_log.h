/* A run's log: every line goes to results/NAME/logs.txt with its time, and on to whoever
 * listens. */
#ifndef MOE2_PIPELINE_RUN_LOG_H
#define MOE2_PIPELINE_RUN_LOG_H

#include <stdio.h>

#include "base/err.h"
#include "base/log.h"

struct run_log {
    struct log_sink sink;         /* to be passed to libraries */
    const struct log_sink *outer; /* borrowed; may be NULL */
    FILE *f;
    char *path;
};

/* Appends to path. The log must not move while its sink is in use. */
int run_log_open(struct run_log *log, const char *path, const struct log_sink *outer,
                 struct err *err);

/* MOE2_EIO if a line could not be written. A zeroed log is fine. */
int run_log_close(struct run_log *log, struct err *err);

#endif
