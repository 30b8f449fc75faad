/* metrics.jsonl: one JSON object a line, a line a step and a line an evaluation, flushed as it is
 * written.
 *
 * A line names its step. Going on from a checkpoint of step s first cuts off what was written after
 * s (and a line that a death left half written), so that the file of a resumed run is that of one
 * that never stopped.
 */
#ifndef MOE2_TRAIN_METRICS_H
#define MOE2_TRAIN_METRICS_H

#include <stdio.h>

#include "base/buf.h"
#include "io/json_util.h"

enum { METRICS_MAX_LINE_BYTES = 16 << 20 };

struct metrics {
    FILE *f;
    char *path;
    struct buf line;
    struct json_writer json;
};

/* Opens path for appending and keeps the lines of steps up to last_step; 0 begins anew. A zeroed
 * metrics is fine for close. */
int metrics_open(struct metrics *m, const char *path, int64_t last_step, struct err *err);
void metrics_close(struct metrics *m);

/* Begins an object; write its members through the writer that is returned, then end the line. */
struct json_writer *metrics_begin(struct metrics *m);
int metrics_end(struct metrics *m, struct err *err);

/* Calls visit with every line of a file in order, parsed; a last line without its end is passed
 * over. */
int metrics_read(const char *path, int (*visit)(void *ctx, const json_t *line, struct err *err),
                 void *ctx, struct err *err);

#endif
