/* What a library says while it works: lines and progress, to a sink that the program gives. Without a sink nothing is said.
 *
 *     struct progress p;
 *     progress_begin(&p, sink, "packing", n_bytes, "B");
 *     progress_set(&p, done);                      as often as one likes: it reports a few times a second
 *     progress_end(&p);
 */
#ifndef MOE2_BASE_LOG_H
#define MOE2_BASE_LOG_H

#include <stdint.h>

enum log_level { LOG_ERROR, LOG_WARN, LOG_INFO, LOG_DEBUG };

struct log_sink {
    void (*line)(void *ctx, enum log_level level, const char *text);
    /* done of total (total 0: not known) after seconds; last is set once, at the end. */
    void (*progress)(void *ctx, const char *what, double done, double total, const char *unit,
                     double seconds, int last);
    void *ctx;
};

void log_line(const struct log_sink *sink, enum log_level level, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

struct progress {
    const struct log_sink *sink;
    const char *what, *unit; /* borrowed until progress_end */
    double total, done, begun_s, reported_s;
};

void progress_begin(struct progress *p, const struct log_sink *sink, const char *what, double total,
                    const char *unit);
void progress_set(struct progress *p, double done);
void progress_end(struct progress *p);

/* Seconds on a clock that only goes forward. */
double clock_s(void);

/* Largest resident memory of this process so far, in bytes. */
int64_t peak_rss_bytes(void);

#endif
