/* metrics.jsonl: see metrics.h. */
#include "train/metrics.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"

/* Where the line at text ends, its LF counted; NULL for a line without one. */
static const char *line_end(const char *text, const char *end)
{
    const char *lf = memchr(text, '\n', (size_t)(end - text));
    return lf ? lf + 1 : NULL;
}

/* Bytes at the beginning of m that hold whole lines of steps up to last_step. Lines are in rising
 * order of steps. */
static int kept_bytes(size_t *n, const struct file_map *m, const char *path, int64_t last_step,
                      struct err *err)
{
    const char *text = (const char *)m->bytes, *end = text + m->n_bytes, *next;
    int64_t number = 1;
    int rc = 0;
    for (; text < end && (next = line_end(text, end)); text = next) {
        json_t *line = NULL;
        int64_t step = 0;
        rc = json_read_line(&line, path, number++, text, (size_t)(next - text), err);
        if (!rc)
            rc = json_need_int(&step, line, path, "step", 0, INT64_MAX, err);
        json_decref(line);
        if (rc || step > last_step)
            break;
    }
    *n = (size_t)(text - (const char *)m->bytes);
    return rc;
}

int metrics_open(struct metrics *m, const char *path, int64_t last_step, struct err *err)
{
    struct file_map old = {0};
    size_t n_kept = 0;
    int rc = 0;
    if (last_step > 0 && file_exists(path)) {
        rc = file_map(&old, path, err);
        if (!rc)
            rc = kept_bytes(&n_kept, &old, path, last_step, err);
    }
    if (!rc)
        rc = file_write(path, old.bytes, n_kept, err);
    file_unmap(&old);
    if (rc)
        return rc;
    *m = (struct metrics){.f = fopen(path, "ae"),
                          .path = strdup(path),
                          .line = {.max_bytes = METRICS_MAX_LINE_BYTES}};
    if (!m->f || !m->path) {
        rc = err_set(err, MOE2_EIO, "%s: can't be written: %s", path, strerror(errno));
        metrics_close(m);
    }
    return rc;
}

void metrics_close(struct metrics *m)
{
    if (m->f)
        fclose(m->f);
    free(m->path);
    buf_release(&m->line);
    *m = (struct metrics){0};
}

struct json_writer *metrics_begin(struct metrics *m)
{
    buf_clear(&m->line);
    json_writer_init(&m->json, &m->line, 0);
    jw_object(&m->json, NULL);
    return &m->json;
}

int metrics_end(struct metrics *m, struct err *err)
{
    jw_end(&m->json);
    int rc = json_writer_end(&m->json, err);
    if (!rc && m->line.n && m->line.bytes[m->line.n - 1] != '\n')
        rc = buf_puts(&m->line, "\n", err);
    if (!rc && (fwrite(m->line.bytes, 1, m->line.n, m->f) != m->line.n || fflush(m->f)))
        rc = err_set(err, MOE2_EIO, "%s: can't be written: %s", m->path, strerror(errno));
    return rc;
}

int metrics_read(const char *path, int (*visit)(void *ctx, const json_t *line, struct err *err),
                 void *ctx, struct err *err)
{
    struct file_map m = {0};
    int rc = file_map(&m, path, err);
    const char *text = (const char *)m.bytes, *end = text + m.n_bytes, *next;
    int64_t number = 1;
    for (; !rc && text < end && (next = line_end(text, end)); text = next) {
        json_t *line = NULL;
        rc = json_read_line(&line, path, number++, text, (size_t)(next - text), err);
        if (!rc)
            rc = visit(ctx, line, err);
        json_decref(line);
    }
    file_unmap(&m);
    return rc;
}
