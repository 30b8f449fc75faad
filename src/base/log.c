/* Lines and progress: see log.h. */
#include "base/log.h"

#include <stdarg.h>
#include <stdio.h>
#include <sys/resource.h>
#include <time.h>

static const double REPORT_EVERY_S = 0.2;

void log_line(const struct log_sink *sink, enum log_level level, const char *fmt, ...)
{
    if (!sink || !sink->line)
        return;
    char text[1024];
    va_list args;
    va_start(args, fmt);
    vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    sink->line(sink->ctx, level, text);
}

void progress_begin(struct progress *p, const struct log_sink *sink, const char *what, double total,
                    const char *unit)
{
    double now = clock_s();
    *p = (struct progress){sink, what, unit, total, 0, now, now};
}

void progress_set(struct progress *p, double done)
{
    p->done = done;
    if (!p->sink || !p->sink->progress)
        return;
    double now = clock_s();
    if (now - p->reported_s < REPORT_EVERY_S)
        return;
    p->reported_s = now;
    p->sink->progress(p->sink->ctx, p->what, done, p->total, p->unit, now - p->begun_s, 0);
}

void progress_end(struct progress *p)
{
    if (p->sink && p->sink->progress)
        p->sink->progress(p->sink->ctx, p->what, p->done, p->total, p->unit, clock_s() - p->begun_s,
                          1);
    p->sink = NULL;
}

double clock_s(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

int64_t peak_rss_bytes(void)
{
    struct rusage u;
    getrusage(RUSAGE_SELF, &u);
    return (int64_t)u.ru_maxrss * 1024;
}
