/* Records: see records.h. The forms are records_jsonl.c, records_json.c and records_csv.c. */
#include "io/records.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/words.h"
#include "io/records_impl.h"

int records_add_field(struct records *r, struct record_field **out, struct err *err)
{
    if (r->n_fields == RECORDS_MAX_FIELDS)
        return err_set(err, MOE2_ELIMIT, "the record has more than %d fields", RECORDS_MAX_FIELDS);
    if (r->n_fields == r->fields_capacity) {
        int capacity = r->fields_capacity ? 2 * r->fields_capacity : 16;
        struct record_field *fields = realloc(r->fields, (size_t)capacity * sizeof *fields);
        if (!fields)
            return err_set(err, MOE2_ELIMIT, "no memory for %d fields", capacity);
        r->fields = fields;
        r->fields_capacity = capacity;
    }
    *out = &r->fields[r->n_fields++];
    **out = (struct record_field){0};
    return 0;
}

/* Passes over a byte order mark. */
static int pass_mark(struct records *r, struct err *err)
{
    const uint8_t *p;
    size_t n = 0;
    int rc = reader_window(r->reader, &p, &n, err);
    if (!rc && n >= 3 && memcmp(p, "\xef\xbb\xbf", 3) == 0)
        reader_skip(r->reader, 3);
    return rc;
}

/* JSON lines or CSV, by the first byte that is no space. An empty file has no records in either. */
static int detect(struct records *r, struct err *err)
{
    const uint8_t *p;
    size_t n = 0, i = 0;
    int rc = reader_window(r->reader, &p, &n, err);
    if (rc)
        return rc;
    while (i < n && strchr(" \t\r\n", p[i]) && p[i])
        i++;
    r->form = n == 0 || (i < n && p[i] == '{') ? RECORDS_JSONL : RECORDS_CSV;
    if (i < n && p[i] == '[')
        r->form = RECORDS_JSON;
    return 0;
}

int records_open_reader(struct records **out, struct reader *reader,
                        const struct records_options *options, struct err *err)
{
    static const struct records_options none = {0};
    const struct records_options *o = options ? options : &none;
    struct records *r = calloc(1, sizeof *r);
    if (!r) {
        reader_close(reader);
        return err_set(err, MOE2_ELIMIT, "no memory for records");
    }
    r->reader = reader;
    r->form = o->form;
    r->max_bytes = o->max_record_bytes ? o->max_record_bytes : RECORDS_MAX_RECORD_BYTES;
    r->element.max_bytes = r->max_bytes + 64;
    r->text.max_bytes = 2 * r->max_bytes + 2 * RECORDS_MAX_FIELDS;
    r->next_line = 1;
    int rc = pass_mark(r, err);
    if (!rc && r->form == RECORDS_AUTO && o->names)
        r->form = RECORDS_CSV;
    if (!rc && r->form == RECORDS_AUTO)
        rc = detect(r, err);
    if (!rc && r->form == RECORDS_CSV)
        rc = records_begin_csv(r, o->names, err);
    if (rc)
        records_close(r);
    else
        *out = r;
    return rc;
}

int records_open(struct records **out, const char *path, const struct records_options *options,
                 struct err *err)
{
    struct reader *reader = NULL;
    int rc = reader_open(&reader, path, err);
    return rc ? rc : records_open_reader(out, reader, options, err);
}

void records_close(struct records *r)
{
    if (!r)
        return;
    for (int i = 0; i < r->n_names; i++)
        free(r->names[i]);
    free(r->names);
    free(r->fields);
    buf_release(&r->text);
    buf_release(&r->element);
    reader_close(r->reader);
    free(r);
}

int records_next(struct records *r, bool *got, struct err *err)
{
    *got = false;
    r->n_fields = 0;
    buf_clear(&r->text);
    if (r->failed)
        return err_set(err, r->failed, "%s: can't be read on after the error in line %lld",
                       reader_path(r->reader), (long long)r->line_number);
    int rc = r->form == RECORDS_JSONL  ? records_next_jsonl(r, got, err)
             : r->form == RECORDS_JSON ? records_next_json(r, got, err)
                                       : records_next_csv(r, got, err);
    if (rc) {
        r->n_fields = 0;
        *got = false;
    }
    return rc;
}

static const char *name_of(const struct records *r, int i)
{
    return r->form == RECORDS_CSV ? r->names[i] : r->text.bytes + r->fields[i].name_at;
}

const char *records_field(const struct records *r, const char *name, size_t *n)
{
    for (int i = 0; i < r->n_fields; i++) {
        const struct record_field *f = &r->fields[i];
        if (strcmp(name_of(r, i), name) != 0)
            continue;
        if (n)
            *n = f->n;
        return f->is_null ? NULL : r->text.bytes + f->text_at;
    }
    return NULL;
}

int records_need(const char **text, size_t *n, const struct records *r, const char *name,
                 struct err *err)
{
    const char *found = records_field(r, name, n), *names[RECORDS_MAX_FIELDS];
    if (found) {
        *text = found;
        return 0;
    }
    for (int i = 0; i < r->n_fields; i++)
        names[i] = name_of(r, i);
    const char *nearest = words_nearest(name, names, (size_t)r->n_fields);
    bool is_null = nearest && strcmp(nearest, name) == 0;
    return err_set(err, MOE2_EFORMAT, "%s:%lld: there is no field \"%s\"%s%s%s",
                   reader_path(r->reader), (long long)r->line_number, name,
                   is_null   ? ", it is null"
                   : nearest ? ", the nearest is \""
                             : "",
                   nearest && !is_null ? nearest : "", nearest && !is_null ? "\"" : "");
}

int records_n_columns(const struct records *r)
{
    return r->form == RECORDS_CSV ? r->n_names : 0;
}

const char *records_column(const struct records *r, int i)
{
    assert(r->form == RECORDS_CSV && i >= 0 && i < r->n_names);
    return r->names[i];
}

const char *records_cell(const struct records *r, int i, size_t *n)
{
    assert(r->form == RECORDS_CSV && i >= 0 && i < r->n_fields);
    if (n)
        *n = r->fields[i].n;
    return r->text.bytes + r->fields[i].text_at;
}

enum records_form records_form(const struct records *r)
{
    return r->form;
}

int64_t records_number(const struct records *r)
{
    return r->number;
}

int64_t records_line_number(const struct records *r)
{
    return r->line_number;
}

const struct reader *records_reader(const struct records *r)
{
    return r->reader;
}
