/* A JSON array of objects: see records.h. The array is never held as a whole: brackets and strings
 * are followed through the reader's window until one object is complete, and its bytes are scanned as
 * a line of JSON lines is. An object that is broken inside balanced brackets leaves the next one
 * readable; anything else between the objects ends the reading. */
#include <string.h>

#include "io/records_impl.h"

/* Fails for good. */
static int broken(struct records *r, const char *what, struct err *err)
{
    r->failed = MOE2_EFORMAT;
    r->line_number = r->next_line;
    return err_set(err, MOE2_EFORMAT, "%s:%lld: %s", reader_path(r->reader),
                   (long long)r->next_line, what);
}

/* The next byte that is no white space, not taken; −1 at the end of the file. */
static int peek(struct records *r, int *c, struct err *err)
{
    const uint8_t *p;
    size_t n = 0, i;
    for (;;) {
        int rc = reader_window(r->reader, &p, &n, err);
        if (rc)
            return r->failed = rc;
        for (i = 0; i < n && p[i] && strchr(" \t\r\n", p[i]); i++)
            r->next_line += p[i] == '\n';
        *c = n == 0 ? -1 : i < n ? p[i] : 0;
        bool found = n == 0 || i < n;
        reader_skip(r->reader, i);
        if (found)
            return 0;
    }
}

/* Passes over what stands before an object, or the end; *more says which. */
static int before_object(struct records *r, bool *more, struct err *err)
{
    int c = 0, rc = peek(r, &c, err);
    *more = false;
    if (rc)
        return rc;
    if (r->ended)
        return c < 0 ? 0 : broken(r, "text stands behind the array", err);
    if (c < 0)
        return broken(r, "the array is never closed", err);
    if (!r->begun && c != '[')
        return broken(r, "wanted a JSON array", err);
    if (!r->begun || c == ',') {
        bool first = !r->begun;
        reader_skip(r->reader, 1);
        r->begun = true;
        rc = peek(r, &c, err);
        if (rc || (first && c == ']'))
            return rc ? rc : before_object(r, more, err);
    } else if (c == ']') {
        reader_skip(r->reader, 1);
        r->ended = true;
        return before_object(r, more, err);
    } else {
        return broken(r, "wanted a comma or ] behind an object of the array", err);
    }
    *more = c == '{';
    return *more ? 0 : broken(r, "an item of the array is no object", err);
}

struct depth {
    int level;
    bool in_string, escaped;
};

/* How many of n bytes belong to the object; *whole when it ends there. */
static size_t follow(struct depth *d, bool *whole, const uint8_t *p, size_t n, int64_t *lines)
{
    size_t i = 0;
    while (i < n && !*whole) {
        uint8_t c = p[i++];
        *lines += c == '\n';
        if (d->escaped)
            d->escaped = false;
        else if (d->in_string && c == '\\')
            d->escaped = true;
        else if (c == '"')
            d->in_string = !d->in_string;
        else if (!d->in_string && (c == '{' || c == '['))
            d->level++;
        else if (!d->in_string && (c == '}' || c == ']'))
            *whole = --d->level == 0;
    }
    return i;
}

static int take_object(struct records *r, struct err *err)
{
    struct depth d = {0};
    bool whole = false;
    buf_clear(&r->element);
    while (!whole) {
        const uint8_t *p;
        size_t n = 0;
        int rc = reader_window(r->reader, &p, &n, err);
        if (rc)
            return r->failed = rc;
        if (n == 0)
            return broken(r, "the array ends inside an object", err);
        n = follow(&d, &whole, p, n, &r->next_line);
        if (r->element.n + n > r->max_bytes) {
            r->failed = MOE2_ELIMIT;
            return err_set(err, MOE2_ELIMIT, "%s:%lld: the record has more than %zu bytes",
                           reader_path(r->reader), (long long)r->line_number, r->max_bytes);
        }
        rc = buf_append(&r->element, p, n, err);
        if (rc)
            return r->failed = rc;
        reader_skip(r->reader, n);
    }
    return 0;
}

int records_next_json(struct records *r, bool *got, struct err *err)
{
    int rc = before_object(r, got, err);
    if (rc || !*got)
        return rc;
    r->number++;
    r->line_number = r->next_line;
    rc = take_object(r, err);
    if (rc)
        return rc;
    rc = records_read_object(r, r->element.bytes, r->element.n, err);
    *got = !rc;
    return rc ? err_prefix(err, "%s:%lld", reader_path(r->reader), (long long)r->line_number) : 0;
}
