/* Records of measured models: see profile_record.h. */
#include "pipeline/profile_record.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "io/json_util.h"

enum { MAX_ANSWERS = PROFILE_MAX_LENGTHS * PROFILE_MAX_LENGTHS * PROFILE_MAX_REPEAT };

void profile_record_release(struct profile_record *r)
{
    profile_answers_release(&r->answers);
}

/* ---- writing ---- */

static void write_left_out(struct json_writer *w, const struct buf *lines)
{
    const char *p = lines->n ? lines->bytes : "";
    jw_array(w, "left_out");
    while (*p) {
        char line[256];
        int n = (int)strcspn(p, "\n");
        snprintf(line, sizeof line, "%.*s", n, p);
        jw_text(w, NULL, line);
        p += n + (p[n] == '\n');
    }
    jw_end(w);
}

static void write_answers(struct json_writer *w, const struct profile_answers *a)
{
    jw_array(w, "answers");
    for (int64_t i = 0; i < a->n; i++) {
        const struct profile_answer *one = &a->list[i];
        jw_object(w, NULL);
        jw_int(w, "prompt_tokens", one->prompt_tokens);
        jw_int(w, "output_tokens", one->output_tokens);
        jw_real(w, "latency_s", one->seconds);
        jw_real(w, "energy_j", one->joules);
        jw_end(w);
    }
    jw_end(w);
}

int profile_record_write(const char *path, const struct profile_record *r, struct err *err)
{
    struct buf text = {0};
    struct json_writer w;
    json_writer_init(&w, &text, 2);
    jw_object(&w, NULL);
    jw_text(&w, "settings", r->settings);
    jw_text(&w, "machine", r->machine);
    jw_text(&w, "meter", r->meter);
    jw_text(&w, "date", r->date);
    write_left_out(&w, &r->answers.left_out);
    write_answers(&w, &r->answers);
    jw_end(&w);
    int rc = json_writer_file(&w, path, err);
    buf_release(&text);
    return rc;
}

/* ---- reading ---- */

static int take_text(char *out, size_t n, const json_t *o, const char *path, const char *key,
                     struct err *err)
{
    const char *text = NULL;
    int rc = json_need_text(&text, o, path, key, err);
    if (!rc && strlen(text) >= n)
        rc = err_set(err, MOE2_EFORMAT, "%s: %s has %zu bytes, wanted less than %zu", path, key,
                     strlen(text), n);
    if (!rc)
        memcpy(out, text, strlen(text) + 1);
    return rc;
}

static int take_answer(struct profile_answer *a, const json_t *o, const char *path, struct err *err)
{
    int rc = json_need_int(&a->prompt_tokens, o, path, "prompt_tokens", 1, PROFILE_MAX_TOKENS, err);
    if (!rc)
        rc = json_need_int(&a->output_tokens, o, path, "output_tokens", 1, PROFILE_MAX_TOKENS, err);
    if (!rc)
        rc = json_need_real(&a->seconds, o, path, "latency_s", 0, 1e9, err);
    if (!rc)
        rc = json_opt_real(&a->joules, NAN, o, path, "energy_j", 0, 1e12, err);
    return rc;
}

static int take_answers(struct profile_answers *a, const json_t *root, const char *path,
                        struct err *err)
{
    const json_t *list = NULL, *lines = NULL;
    int rc = json_need_array(&list, root, path, "answers", err);
    if (!rc)
        rc = json_need_array(&lines, root, path, "left_out", err);
    size_t n = rc ? 0 : json_array_size(list);
    if (!rc && (n < 1 || n > MAX_ANSWERS))
        rc = err_set(err, MOE2_EFORMAT, "%s: %zu answers, wanted 1 to %d", path, n, MAX_ANSWERS);
    a->list = rc ? NULL : calloc(n, sizeof *a->list);
    if (!rc && !a->list)
        rc = err_set(err, MOE2_ELIMIT, "no memory for %zu answers", n);
    for (size_t i = 0; i < n && !rc; i++)
        if (!(rc = take_answer(&a->list[a->n], json_array_get(list, i), path, err)))
            a->n++;
    for (size_t i = 0; i < json_array_size(lines) && !rc; i++) {
        const char *line = json_string_value(json_array_get(lines, i));
        rc = line ? buf_printf(&a->left_out, err, "%s\n", line)
                  : err_set(err, MOE2_EFORMAT, "%s: left_out holds what is no text", path);
    }
    return rc;
}

int profile_record_read(struct profile_record *r, const char *path, struct err *err)
{
    json_t *root = NULL;
    int rc = json_read_file(&root, path, PROFILE_MAX_RECORD_BYTES, err);
    if (!rc)
        rc = take_text(r->settings, sizeof r->settings, root, path, "settings", err);
    if (!rc)
        rc = take_text(r->machine, sizeof r->machine, root, path, "machine", err);
    if (!rc)
        rc = take_text(r->meter, sizeof r->meter, root, path, "meter", err);
    if (!rc)
        rc = take_text(r->date, sizeof r->date, root, path, "date", err);
    if (!rc)
        rc = take_answers(&r->answers, root, path, err);
    json_decref(root);
    return rc;
}
