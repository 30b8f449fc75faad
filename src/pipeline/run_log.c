/* A run's log: see run_log.h. */
#include "pipeline/run_log.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static void put_line(void *ctx, enum log_level level, const char *text)
{
    struct run_log *log = ctx;
    static const char *const words[] = {"error: ", "warning: ", "", "debug: "};
    char stamp[32] = "";
    time_t now = time(NULL);
    struct tm tm;
    if (localtime_r(&now, &tm))
        strftime(stamp, sizeof stamp, "%Y-%m-%d %H:%M:%S", &tm);
    fprintf(log->f, "%s %s%s\n", stamp, words[level], text);
    fflush(log->f);
    if (log->outer && log->outer->line)
        log->outer->line(log->outer->ctx, level, text);
}

static void put_progress(void *ctx, const char *what, double done, double total, const char *unit,
                         double seconds, int last)
{
    const struct run_log *log = ctx;
    if (log->outer && log->outer->progress)
        log->outer->progress(log->outer->ctx, what, done, total, unit, seconds, last);
}

int run_log_open(struct run_log *log, const char *path, const struct log_sink *outer,
                 struct err *err)
{
    *log = (struct run_log){.outer = outer, .f = fopen(path, "ae"), .path = strdup(path)};
    if (!log->f || !log->path) {
        int rc = err_set(err, MOE2_EIO, "%s: can't be written: %s", path, strerror(errno));
        run_log_close(log, NULL);
        return rc;
    }
    log->sink = (struct log_sink){put_line, put_progress, log};
    return 0;
}

int run_log_close(struct run_log *log, struct err *err)
{
    int rc = 0;
    if (log->f) {
        bool failed = ferror(log->f) != 0;
        if (fclose(log->f) || failed)
            rc = err_set(err, MOE2_EIO, "%s: can't be written: %s", log->path, strerror(errno));
    }
    free(log->path);
    *log = (struct run_log){0};
    return rc;
}
