/* JSON lines: see records.h. An object a line, scanned once; strings go into the text of the
 * record, other values as they stand. */
#include <string.h>

#include "io/json_scan.h"
#include "io/records_impl.h"

static int is_blank(const char *line, size_t n)
{
    return strspn(line, " \t") == n;
}

static int check_new(const struct records *r, const struct record_field *f, struct err *err)
{
    for (const struct record_field *g = r->fields; g < f; g++)
        if (strcmp(r->text.bytes + g->name_at, r->text.bytes + f->name_at) == 0)
            return err_set(err, MOE2_EFORMAT, "the field \"%.60s\" stands twice",
                           r->text.bytes + f->name_at);
    return 0;
}

static int read_value(struct records *r, struct record_field *f, struct json_scan *s,
                      struct err *err)
{
    int rc, first = json_scan_peek(s);
    f->text_at = r->text.n;
    if (first == '"') {
        rc = json_scan_string(s, &r->text, err);
        f->n = rc ? 0 : r->text.n - 1 - f->text_at;
        return rc;
    }
    const uint8_t *from = s->p;
    rc = json_scan_skip(s, err);
    if (rc)
        return rc;
    f->n = (size_t)(s->p - from);
    f->is_null = first == 'n';
    rc = buf_append(&r->text, from, f->n, err);
    return rc ? rc : buf_append(&r->text, "", 1, err);
}

int records_read_object(struct records *r, const char *bytes, size_t n, struct err *err)
{
    struct json_scan scan, *s = &scan;
    int64_t n_items = 0;
    bool more = false;
    json_scan_init(s, bytes, n);
    int rc = json_scan_need(s, '{', err);
    while (!rc && !(rc = json_scan_more(s, &more, &n_items, '}', err)) && more) {
        struct record_field *f = NULL;
        rc = records_add_field(r, &f, err);
        if (rc)
            return rc;
        f->name_at = r->text.n;
        rc = json_scan_string(s, &r->text, err);
        if (!rc)
            rc = check_new(r, f, err);
        if (!rc)
            rc = json_scan_need(s, ':', err);
        if (!rc)
            rc = read_value(r, f, s, err);
    }
    return rc ? rc : json_scan_need_end(s, err);
}

int records_next_jsonl(struct records *r, bool *got, struct err *err)
{
    const char *line = NULL;
    size_t n = 0;
    int rc;
    do {
        rc = reader_line(r->reader, &line, &n, r->max_bytes, err);
        if (rc) {
            r->failed = rc;
            r->line_number = reader_line_number(r->reader) + 1;
            return rc;
        }
    } while (line && is_blank(line, n));
    if (!line)
        return 0;
    r->number++;
    r->line_number = reader_line_number(r->reader);
    rc = records_read_object(r, line, n, err);
    *got = !rc;
    return rc ? err_prefix(err, "%s:%lld", reader_path(r->reader), (long long)r->line_number) : 0;
}
