/* CSV after RFC 4180: see records.h. A machine of four states over the reader's window; runs of
 * plain bytes are copied at once.
 *
 * The RFC is kept strictly where being lax would change what is read: a quote inside an unquoted
 * field, text behind a closing quote and a CR without its LF are errors. */
#include <stdlib.h>
#include <string.h>

#include "io/json_scan.h"
#include "io/records_impl.h"

enum state {
    FIELD_START, /* nothing of the field was seen */
    BARE,        /* in a field without quotes */
    QUOTED,      /* behind an opening quote */
    QUOTE_SEEN,  /* behind a quote inside quotes: doubled, or the closing one */
    CR_SEEN,     /* behind a CR that must have its LF */
    ROW_DONE,
};

struct row {
    struct records *r;
    enum state state;
    int64_t quote_line; /* where the open quote stands */
    bool any, quoted;   /* a byte, an opening quote of the row was seen */
};

/* Fails for good: where the next row begins is not known. */
static int broken(struct records *r, int64_t line, const char *what, struct err *err)
{
    r->failed = MOE2_EFORMAT;
    r->line_number = line;
    return err_set(err, MOE2_EFORMAT, "%s:%lld: %s", reader_path(r->reader), (long long)line, what);
}

static int failed(struct records *r, int rc, struct err *err)
{
    r->failed = rc;
    r->line_number = r->next_line;
    err_prefix(err, "%s:%lld", reader_path(r->reader), (long long)r->next_line);
    return rc;
}

static int end_field(struct records *r, struct err *err)
{
    struct record_field *f = &r->fields[r->n_fields - 1];
    f->n = r->text.n - f->text_at;
    int rc = buf_append(&r->text, "", 1, err);
    return rc ? failed(r, rc, err) : 0;
}

static int begin_field(struct records *r, struct err *err)
{
    struct record_field *f = NULL;
    int rc = records_add_field(r, &f, err);
    if (rc)
        return failed(r, rc, err);
    f->text_at = r->text.n;
    return 0;
}

/* Appends a run of plain bytes. */
static int put(struct records *r, const uint8_t *p, size_t n, struct err *err)
{
    if (r->text.n + n > r->max_bytes)
        return failed(
            r, err_set(err, MOE2_ELIMIT, "the record has more than %zu bytes", r->max_bytes), err);
    int rc = buf_append(&r->text, p, n, err);
    return rc ? failed(r, rc, err) : 0;
}

/* A comma, line end or quote that ends or opens something. */
static int structural(struct row *w, uint8_t c, struct err *err)
{
    struct records *r = w->r;
    int rc = 0;
    if (c == 0)
        return broken(r, r->next_line, "a NUL byte stands in the text", err);
    if (w->state == CR_SEEN && c != '\n')
        return broken(r, r->next_line, "a carriage return stands without its line feed", err);
    if (c == '"' && w->state == FIELD_START) {
        w->state = QUOTED;
        w->quoted = true;
        w->quote_line = r->next_line;
    } else if (c == '"' && w->state == QUOTE_SEEN) {
        rc = put(r, &c, 1, err);
        w->state = QUOTED;
    } else if (c == '"' && w->state == QUOTED) {
        w->state = QUOTE_SEEN;
    } else if (c == '"') {
        return broken(r, r->next_line, "a quote stands inside a field that does not begin with one",
                      err);
    } else if (c == ',') {
        rc = end_field(r, err);
        if (!rc)
            rc = begin_field(r, err);
        w->state = FIELD_START;
    } else if (c == '\r') {
        w->state = CR_SEEN;
    } else if (c == '\n') {
        rc = end_field(r, err);
        r->next_line++;
        w->state = ROW_DONE;
    } else {
        return broken(r, r->next_line, "text stands behind a closing quote, wanted a comma", err);
    }
    return rc;
}

/* How many bytes of p, n ≥ 1, belong to the field as they are. */
static size_t run_of(const struct row *w, const uint8_t *p, size_t n)
{
    size_t i = 0;
    if (w->state == QUOTED)
        while (i < n && p[i] != '"' && p[i])
            i++;
    else if (w->state == BARE || w->state == FIELD_START)
        while (i < n && p[i] != '"' && p[i] != ',' && p[i] != '\r' && p[i] != '\n' && p[i])
            i++;
    return i;
}

static int64_t count_lines(const uint8_t *p, size_t n)
{
    int64_t lines = 0;
    for (const uint8_t *at = p; (at = memchr(at, '\n', (size_t)(p + n - at))); at++)
        lines++;
    return lines;
}

/* Takes bytes of the window until the row or the window ends. */
static int take(struct row *w, const uint8_t *p, size_t n, struct err *err)
{
    size_t i = 0;
    int rc = 0;
    while (i < n && !rc && w->state != ROW_DONE) {
        size_t run = run_of(w, p + i, n - i);
        if (run) {
            rc = put(w->r, p + i, run, err);
            if (w->state == QUOTED)
                w->r->next_line += count_lines(p + i, run);
            else
                w->state = BARE;
            i += run;
        } else {
            rc = structural(w, p[i++], err);
        }
    }
    w->any = w->any || i > 0;
    reader_skip(w->r->reader, i);
    return rc;
}

/* What the end of the file means for a row that was begun. */
static int end_of_file(struct row *w, struct err *err)
{
    if (w->state == QUOTED)
        return broken(w->r, w->quote_line, "a quote is never closed", err);
    if (w->state == CR_SEEN)
        return broken(w->r, w->r->next_line, "a carriage return stands without its line feed", err);
    return w->any ? end_field(w->r, err) : 0;
}

/* The fields of the next row; *got is false at the end, *blank true for a line with nothing on it
 * (quotes around nothing are a field). */
static int read_row(struct records *r, bool *got, bool *blank, struct err *err)
{
    struct row w = {.r = r, .state = FIELD_START};
    r->n_fields = 0;
    buf_clear(&r->text);
    r->line_number = r->next_line;
    int rc = begin_field(r, err);
    while (!rc && w.state != ROW_DONE) {
        const uint8_t *p;
        size_t n = 0;
        rc = reader_window(r->reader, &p, &n, err);
        if (rc) {
            r->failed = rc;
            return rc;
        }
        if (n == 0) {
            rc = end_of_file(&w, err);
            break;
        }
        rc = take(&w, p, n, err);
    }
    *got = !rc && w.any;
    *blank = r->n_fields == 1 && r->fields[0].n == 0 && !w.quoted;
    return rc;
}

static int check_text(const struct records *r, struct err *err)
{
    size_t valid = utf8_valid_bytes((const uint8_t *)r->text.bytes, r->text.n);
    int column = 0;
    if (valid == r->text.n)
        return 0;
    while (column + 1 < r->n_fields && r->fields[column + 1].text_at <= valid)
        column++;
    return err_set(err, MOE2_EFORMAT, "%s:%lld: field %d of the row is not UTF-8 (byte 0x%02x)",
                   reader_path(r->reader), (long long)r->line_number, column + 1,
                   (uint8_t)r->text.bytes[valid]);
}

static int read_full_row(struct records *r, bool *got, struct err *err)
{
    bool blank = false;
    int rc;
    do
        rc = read_row(r, got, &blank, err);
    while (!rc && *got && blank);
    return !rc && *got ? check_text(r, err) : rc;
}

int records_next_csv(struct records *r, bool *got, struct err *err)
{
    int rc = read_full_row(r, got, err);
    if (!*got)
        return rc;
    r->number++;
    if (!rc && r->n_fields != r->n_names)
        rc = err_set(err, MOE2_EFORMAT, "%s:%lld: the row has %d fields, wanted %d",
                     reader_path(r->reader), (long long)r->line_number, r->n_fields, r->n_names);
    return rc;
}

static int take_name(struct records *r, const char *name, struct err *err)
{
    for (int i = 0; i < r->n_names; i++)
        if (strcmp(r->names[i], name) == 0)
            return err_set(err, MOE2_EFORMAT, "%s:%lld: the header row names \"%.60s\" twice",
                           reader_path(r->reader), (long long)r->line_number, name);
    r->names[r->n_names] = strdup(name);
    if (!r->names[r->n_names])
        return err_set(err, MOE2_ELIMIT, "%s: no memory for its header row",
                       reader_path(r->reader));
    r->n_names++;
    return 0;
}

int records_begin_csv(struct records *r, const char *const *names, struct err *err)
{
    int rc = 0, n = 0;
    bool got = false;
    r->names = calloc(RECORDS_MAX_FIELDS, sizeof *r->names);
    if (!r->names)
        return err_set(err, MOE2_ELIMIT, "%s: no memory for its header row",
                       reader_path(r->reader));
    if (names) {
        for (; names[n] && !rc; n++)
            rc = n < RECORDS_MAX_FIELDS ? take_name(r, names[n], err)
                                        : err_set(err, MOE2_ELIMIT, "more than %d names", n);
        return rc;
    }
    rc = read_full_row(r, &got, err);
    if (!rc && !got)
        rc = err_set(err, MOE2_EFORMAT, "%s: has no header row", reader_path(r->reader));
    for (int i = 0; i < r->n_fields && !rc; i++)
        rc = take_name(r, r->text.bytes + r->fields[i].text_at, err);
    r->n_fields = 0;
    return rc;
}
