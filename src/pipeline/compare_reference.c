/* The plain yardsticks of a comparison: a 5-gram model and xz on the same test text. They depend on the text alone, so they are measured once
 * and kept in DIR/references.json. Without packed text, or without a program, the report goes on without them. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "io/json_util.h"
#include "pipeline/compare_plan.h"
#include "report/run_metrics.h"

enum { MAX_BYTES = 1 << 16 };

static int write_kept(const char *path, const char *data, const struct reference *r,
                      struct err *err)
{
    struct buf out = {0};
    struct json_writer w;
    json_writer_init(&w, &out, 2);
    jw_object(&w, NULL);
    jw_text(&w, "data", data);
    jw_array(&w, "lines");
    for (int i = 0; i < r->n_lines; i++) {
        jw_object(&w, NULL);
        jw_text(&w, "label", r->lines[i].label);
        jw_real(&w, "bits_per_byte", r->lines[i].bits_per_byte);
        jw_text(&w, "note", r->lines[i].note);
        jw_end(&w);
    }
    jw_end(&w);
    jw_end(&w);
    int rc = json_writer_end(&w, err);
    if (!rc)
        rc = file_write(path, out.bytes, out.n, err);
    buf_release(&out);
    return rc;
}

/* The lines kept for this data; NULL when there are none. */
static json_t *read_kept(const char *path, const char *data)
{
    json_t *kept = NULL;
    if (!file_exists(path) || json_read_file(&kept, path, MAX_BYTES, NULL))
        return NULL;
    const char *of = json_text_at(kept, "data");
    json_t *lines =
        of && strcmp(of, data) == 0 ? json_incref(json_object_get(kept, "lines")) : NULL;
    json_decref(kept);
    return lines;
}

void plan_find_references(struct compare_plan *plan)
{
    const struct compare_options *o = plan->o;
    const char *data = plan->routers[0].rc.data.dir;
    struct reference r = {0};
    struct err err = {0};
    char *path = path_join(o->dir, "references.json");
    if (!path || plan->references)
        goto done;
    if (!*data) {
        log_line(
            o->log, LOG_INFO,
            "no 5-gram and no xz beside the models: they are measured on packed text (data.dir)");
        goto done;
    }
    plan->references = read_kept(path, data);
    if (plan->references)
        goto done;
    if (reference_measure(&r, data, o->dir, o->log, o->stop, &err) ||
        write_kept(path, data, &r, &err))
        log_line(o->log, LOG_WARN, "no 5-gram and no xz beside the models: %s", err.msg);
    else
        plan->references = read_kept(path, data);
done:
    free(path);
}
