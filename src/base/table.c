/* Tables: see table.h. Cells are texts in one list, row by row. */
#include "base/table.h"

#include <assert.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <utf8proc.h>

struct table {
    int n_columns;
    enum table_align align[TABLE_MAX_COLUMNS];
    char **cells; /* the titles, then the rows */
    size_t n, capacity;
    struct err err; /* the first error of a cell */
};

static void put_cell(struct table *t, char *text)
{
    if (text && t->n == t->capacity) {
        size_t capacity = t->capacity ? 2 * t->capacity : 64;
        char **cells = realloc(t->cells, capacity * sizeof *cells);
        if (!cells) {
            free(text);
            text = NULL;
        } else {
            t->cells = cells;
            t->capacity = capacity;
        }
    }
    if (!text)
        err_set(&t->err, MOE2_ELIMIT, "no memory for a table of %zu cells", t->n);
    else
        t->cells[t->n++] = text;
}

int table_new(struct table **out, const struct table_column *columns, int n_columns,
              struct err *err)
{
    assert(n_columns >= 1 && n_columns <= TABLE_MAX_COLUMNS);
    struct table *t = calloc(1, sizeof *t);
    if (!t)
        return err_set(err, MOE2_ELIMIT, "no memory for a table");
    t->n_columns = n_columns;
    for (int c = 0; c < n_columns; c++) {
        t->align[c] = columns[c].align;
        put_cell(t, strdup(columns[c].title));
    }
    if (t->err.code) {
        int rc = err_set(err, t->err.code, "%s", t->err.msg);
        table_free(t);
        return rc;
    }
    *out = t;
    return 0;
}

void table_free(struct table *t)
{
    if (!t)
        return;
    for (size_t i = 0; i < t->n; i++)
        free(t->cells[i]);
    free(t->cells);
    free(t);
}

void table_cell(struct table *t, const char *fmt, ...)
{
    char *text = NULL;
    va_list args;
    va_start(args, fmt);
    if (vasprintf(&text, fmt, args) < 0)
        text = NULL;
    va_end(args);
    put_cell(t, text);
}

void table_end_row(struct table *t)
{
    while (!t->err.code && t->n % (size_t)t->n_columns)
        put_cell(t, strdup(""));
}

int table_n_rows(const struct table *t)
{
    return (int)((t->n + (size_t)t->n_columns - 1) / (size_t)t->n_columns) - 1;
}

/* The text of row −1 (the titles), 0, 1, …; "" behind the last cell. */
static const char *cell(const struct table *t, int row, int column)
{
    size_t i = (size_t)(row + 1) * (size_t)t->n_columns + (size_t)column;
    return i < t->n ? t->cells[i] : "";
}

/* Columns on a terminal; a byte that is no UTF-8 counts as one. */
static int display_width(const char *s)
{
    int width = 0;
    while (*s) {
        utf8proc_int32_t c = 0;
        utf8proc_ssize_t n = utf8proc_iterate((const utf8proc_uint8_t *)s, -1, &c);
        width += n > 0 ? utf8proc_charwidth(c) : 1;
        s += n > 0 ? n : 1;
    }
    return width;
}

static int column_width(const struct table *t, int column)
{
    int width = 0;
    for (int row = -1; row < table_n_rows(t); row++) {
        int w = display_width(cell(t, row, column));
        width = w > width ? w : width;
    }
    return width;
}

/* ---- for a terminal ---- */

static int put_repeated(struct buf *out, const char *s, int n, struct err *err)
{
    int rc = 0;
    for (int i = 0; i < n && !rc; i++)
        rc = buf_puts(out, s, err);
    return rc;
}

/* One line; spaces are held back until something follows them. */
static int put_line(struct buf *out, const struct table *t, const int *widths, int row,
                    struct err *err)
{
    int held = 0, rc = 0;
    for (int c = 0; c < t->n_columns && !rc; c++) {
        const char *s = cell(t, row, c);
        int space = widths[c] - display_width(s);
        held += c ? 2 : 0;
        if (*s) {
            rc = put_repeated(out, " ", held + (t->align[c] == TABLE_RIGHT ? space : 0), err);
            if (!rc)
                rc = buf_puts(out, s, err);
            held = t->align[c] == TABLE_RIGHT ? 0 : space;
        } else {
            held += space;
        }
    }
    return rc ? rc : buf_puts(out, "\n", err);
}

int table_text(struct buf *out, const struct table *t, struct err *err)
{
    int widths[TABLE_MAX_COLUMNS];
    if (t->err.code)
        return err_set(err, t->err.code, "%s", t->err.msg);
    for (int c = 0; c < t->n_columns; c++)
        widths[c] = column_width(t, c);
    int rc = put_line(out, t, widths, -1, err);
    for (int c = 0; c < t->n_columns && !rc; c++) {
        rc = c ? buf_puts(out, "  ", err) : 0;
        if (!rc)
            rc = put_repeated(out, "─", widths[c], err);
    }
    if (!rc)
        rc = buf_puts(out, "\n", err);
    for (int row = 0; row < table_n_rows(t) && !rc; row++)
        rc = put_line(out, t, widths, row, err);
    return rc;
}

/* ---- for documents ---- */

/* s with every byte that from names replaced by the text at the same place of to. */
static int put_escaped(struct buf *out, const char *s, const char *from, const char *const *to,
                       struct err *err)
{
    int rc = 0;
    while (*s && !rc) {
        size_t n = strcspn(s, from);
        rc = buf_append(out, s, n, err);
        s += n;
        if (!rc && *s)
            rc = buf_puts(out, to[strchr(from, *s++) - from], err);
    }
    return rc;
}

static int put_markdown_row(struct buf *out, const struct table *t, int row, struct err *err)
{
    static const char *const to[] = {"\\|", " ", " ", "\\\\"};
    int rc = buf_puts(out, "|", err);
    for (int c = 0; c < t->n_columns && !rc; c++) {
        rc = buf_puts(out, " ", err);
        if (!rc)
            rc = put_escaped(out, cell(t, row, c), "|\n\r\\", to, err);
        if (!rc)
            rc = buf_puts(out, " |", err);
    }
    return rc ? rc : buf_puts(out, "\n", err);
}

int table_markdown(struct buf *out, const struct table *t, struct err *err)
{
    if (t->err.code)
        return err_set(err, t->err.code, "%s", t->err.msg);
    int rc = put_markdown_row(out, t, -1, err);
    if (!rc)
        rc = buf_puts(out, "|", err);
    for (int c = 0; c < t->n_columns && !rc; c++)
        rc = buf_puts(out, t->align[c] == TABLE_RIGHT ? "---:|" : "---|", err);
    if (!rc)
        rc = buf_puts(out, "\n", err);
    for (int row = 0; row < table_n_rows(t) && !rc; row++)
        rc = put_markdown_row(out, t, row, err);
    return rc;
}

static int put_html_row(struct buf *out, const struct table *t, int row, struct err *err)
{
    static const char *const to[] = {"&amp;", "&lt;", "&gt;", "&quot;"};
    const char *tag = row < 0 ? "th" : "td";
    int rc = buf_puts(out, "<tr>", err);
    for (int c = 0; c < t->n_columns && !rc; c++) {
        const char *style = t->align[c] == TABLE_RIGHT ? " style=\"text-align:right\"" : "";
        rc = buf_printf(out, err, "<%s%s>", tag, style);
        if (!rc)
            rc = put_escaped(out, cell(t, row, c), "&<>\"", to, err);
        if (!rc)
            rc = buf_printf(out, err, "</%s>", tag);
    }
    return rc ? rc : buf_puts(out, "</tr>\n", err);
}

int table_html(struct buf *out, const struct table *t, struct err *err)
{
    if (t->err.code)
        return err_set(err, t->err.code, "%s", t->err.msg);
    int rc = buf_puts(out, "<table>\n<thead>\n", err);
    if (!rc)
        rc = put_html_row(out, t, -1, err);
    if (!rc)
        rc = buf_puts(out, "</thead>\n<tbody>\n", err);
    for (int row = 0; row < table_n_rows(t) && !rc; row++)
        rc = put_html_row(out, t, row, err);
    return rc ? rc : buf_puts(out, "</tbody>\n</table>\n", err);
}

static int put_json_text(struct buf *out, const char *s, struct err *err)
{
    int rc = buf_puts(out, "\"", err);
    for (; *s && !rc; s++) {
        unsigned char c = (unsigned char)*s;
        if (c == '"' || c == '\\')
            rc = buf_printf(out, err, "\\%c", c);
        else if (c < ' ')
            rc = buf_printf(out, err, "\\u%04x", c);
        else
            rc = buf_append(out, s, 1, err);
    }
    return rc ? rc : buf_puts(out, "\"", err);
}

int table_json(struct buf *out, const struct table *t, struct err *err)
{
    if (t->err.code)
        return err_set(err, t->err.code, "%s", t->err.msg);
    int rc = buf_puts(out, "[", err);
    for (int row = 0; row < table_n_rows(t) && !rc; row++) {
        rc = buf_puts(out, row ? ",\n {" : "\n {", err);
        for (int c = 0; c < t->n_columns && !rc; c++) {
            rc = c ? buf_puts(out, ", ", err) : 0;
            if (!rc)
                rc = put_json_text(out, cell(t, -1, c), err);
            if (!rc)
                rc = buf_puts(out, ": ", err);
            if (!rc)
                rc = put_json_text(out, cell(t, row, c), err);
        }
        if (!rc)
            rc = buf_puts(out, "}", err);
    }
    return rc ? rc : buf_puts(out, "\n]\n", err);
}
