/* The manifest of the step runner: see steps_manifest.h. */
#include "pipeline/steps_manifest.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/file.h"
#include "io/json_util.h"
#include "pipeline/steps.h"

/* ---- reading ---- */

static int read_hash(struct file_hash *h, const json_t *o, const char *file, const char *key,
                     struct err *err)
{
    const char *text = NULL;
    int rc = json_need_text(&text, o, file, key, err);
    if (rc)
        return rc;
    if (strlen(text) != FILE_HASH_TEXT - 1 || strspn(text, "0123456789abcdef") != strlen(text))
        return err_set(err, MOE2_EFORMAT, "%s: %s is \"%.40s\", wanted 32 hexadecimal digits", file,
                       key, text);
    char half[17] = "";
    memcpy(half, text, 16);
    h->a = strtoull(half, NULL, 16);
    h->b = strtoull(text + 16, NULL, 16);
    return 0;
}

static int read_time(int64_t *out, const json_t *o, const char *file, struct err *err)
{
    const char *text = NULL;
    struct tm tm = {0};
    int rc = json_need_text(&text, o, file, "finished", err);
    if (rc)
        return rc;
    const char *end = strptime(text, "%Y-%m-%dT%H:%M:%SZ", &tm);
    if (!end || *end)
        return err_set(err, MOE2_EFORMAT, "%s: finished is \"%.40s\", wanted a time in UTC", file,
                       text);
    *out = (int64_t)timegm(&tm);
    return 0;
}

static int read_output(struct steps_output *out, struct arena *a, const json_t *o, const char *file,
                       struct err *err)
{
    const char *path = NULL;
    int rc = json_need_text(&path, o, file, "path", err);
    if (!rc && !(out->path = arena_strdup(a, path, err)))
        rc = MOE2_ELIMIT;
    if (!rc)
        rc = read_hash(&out->hash, o, file, "hash", err);
    return rc ? rc : json_need_int(&out->n_bytes, o, file, "bytes", 0, INT64_MAX, err);
}

static int read_entry(struct steps_entry *e, struct arena *a, const char *name, const json_t *o,
                      const char *file, struct err *err)
{
    const char *said = NULL;
    const json_t *outputs = NULL;
    int rc = json_need_array(&outputs, o, file, "outputs", err);
    size_t n = json_array_size(outputs);
    if (!rc && n > STEP_MAX_FILES)
        rc = err_set(err, MOE2_ELIMIT, "%s: step %.40s has %zu outputs, wanted at most %d", file,
                     name, n, STEP_MAX_FILES);
    if (!rc)
        rc = json_opt_text(&said, NULL, o, file, "said", err);
    if (!rc)
        rc = read_hash(&e->key, o, file, "key", err);
    if (!rc)
        rc = json_need_real(&e->seconds, o, file, "seconds", 0, INFINITY, err);
    if (!rc)
        rc = read_time(&e->finished, o, file, err);
    if (!rc && (!(e->name = arena_strdup(a, name, err)) ||
                (said && !(e->said = arena_strdup(a, said, err))) ||
                !(e->outputs = arena_calloc(a, (n + 1) * sizeof *e->outputs, err))))
        rc = MOE2_ELIMIT;
    for (size_t i = 0; i < n && !rc; i++)
        rc = read_output(&e->outputs[e->n_outputs++], a, json_array_get(outputs, i), file, err);
    return rc;
}

static int read_root(struct steps_manifest *m, const json_t *root, const char *path,
                     struct err *err)
{
    const char *format = NULL, *name;
    const json_t *steps = NULL;
    json_t *o;
    int rc = json_need_text(&format, root, path, "format", err);
    if (!rc && strcmp(format, "moe2 pipeline") != 0)
        rc = err_set(err, MOE2_EFORMAT, "%s: format is \"%.40s\", wanted \"moe2 pipeline\"", path,
                     format);
    if (!rc)
        rc = json_need_object(&steps, root, path, "steps", err);
    if (!rc && json_object_size(steps) > STEPS_MANIFEST_MAX)
        rc = err_set(err, MOE2_ELIMIT, "%s: has %zu steps, wanted at most %d", path,
                     json_object_size(steps), STEPS_MANIFEST_MAX);
    if (rc)
        return rc;
    json_object_foreach((json_t *)steps, name, o)
    {
        rc = read_entry(&m->entries[m->n], &m->arena, name, o, path, err);
        if (rc)
            return rc;
        m->n++;
    }
    return 0;
}

int steps_manifest_read(struct steps_manifest *m, const char *path, struct err *err)
{
    json_t *root = NULL;
    if (!file_exists(path))
        return 0;
    int rc = json_read_file(&root, path, STEPS_MAX_MANIFEST_BYTES, err);
    if (!rc)
        rc = read_root(m, root, path, err);
    json_decref(root);
    return rc;
}

void steps_manifest_release(struct steps_manifest *m)
{
    arena_release(&m->arena);
    *m = (struct steps_manifest){0};
}

/* ---- looking up, changing ---- */

const struct steps_entry *steps_manifest_find(const struct steps_manifest *m, const char *name)
{
    for (int i = 0; i < m->n; i++)
        if (strcmp(m->entries[i].name, name) == 0)
            return &m->entries[i];
    return NULL;
}

const struct steps_output *steps_entry_output(const struct steps_entry *e, const char *path)
{
    for (int i = 0; i < e->n_outputs; i++)
        if (strcmp(e->outputs[i].path, path) == 0)
            return &e->outputs[i];
    return NULL;
}

int steps_manifest_set(struct steps_manifest *m, const struct steps_entry *e, struct err *err)
{
    struct steps_entry copy = *e;
    copy.name = arena_strdup(&m->arena, e->name, err);
    copy.said = e->said ? arena_strdup(&m->arena, e->said, err) : NULL;
    copy.outputs = arena_calloc(&m->arena, (size_t)(e->n_outputs + 1) * sizeof *copy.outputs, err);
    if (!copy.name || (e->said && !copy.said) || !copy.outputs)
        return MOE2_ELIMIT;
    for (int i = 0; i < e->n_outputs; i++) {
        copy.outputs[i] = e->outputs[i];
        copy.outputs[i].path = arena_strdup(&m->arena, e->outputs[i].path, err);
        if (!copy.outputs[i].path)
            return MOE2_ELIMIT;
    }
    int at = 0;
    while (at < m->n && strcmp(m->entries[at].name, e->name) != 0)
        at++;
    if (at == STEPS_MANIFEST_MAX)
        return err_set(err, MOE2_ELIMIT, "more than %d steps", STEPS_MANIFEST_MAX);
    m->entries[at] = copy;
    m->n += at == m->n;
    return 0;
}

/* ---- writing ---- */

static void write_entry(struct json_writer *w, const struct steps_entry *e)
{
    char hash[FILE_HASH_TEXT], when[32] = "";
    time_t t = (time_t)e->finished;
    struct tm tm;
    if (gmtime_r(&t, &tm))
        strftime(when, sizeof when, "%Y-%m-%dT%H:%M:%SZ", &tm);
    jw_object(w, e->name);
    jw_text(w, "key", file_hash_text(hash, e->key));
    jw_text(w, "finished", when);
    jw_real(w, "seconds", e->seconds);
    jw_text(w, "said", e->said);
    jw_array(w, "outputs");
    for (int i = 0; i < e->n_outputs; i++) {
        jw_object(w, NULL);
        jw_text(w, "path", e->outputs[i].path);
        jw_text(w, "hash", file_hash_text(hash, e->outputs[i].hash));
        jw_int(w, "bytes", e->outputs[i].n_bytes);
        jw_end(w);
    }
    jw_end(w);
    jw_end(w);
}

static int make_folder(const char *path, struct err *err)
{
    const char *slash = strrchr(path, '/');
    if (!slash || slash == path)
        return 0;
    char *dir = strndup(path, (size_t)(slash - path));
    int rc = dir ? dir_make(dir, err) : err_set(err, MOE2_ELIMIT, "no memory for a path");
    free(dir);
    return rc;
}

int steps_manifest_write(const struct steps_manifest *m, const char *path, const char *note,
                         struct err *err)
{
    struct buf text = {0};
    struct json_writer w;
    json_writer_init(&w, &text, 1);
    jw_object(&w, NULL);
    jw_text(&w, "format", "moe2 pipeline");
    jw_int(&w, "version", 1);
    jw_text(&w, "note", note);
    jw_object(&w, "steps");
    for (int i = 0; i < m->n; i++)
        write_entry(&w, &m->entries[i]);
    jw_end(&w);
    jw_end(&w);
    int rc = make_folder(path, err);
    if (!rc)
        rc = json_writer_file(&w, path, err);
    buf_release(&text);
    return rc;
}
