/* Text tables that line up, and the same table as Markdown, HTML or JSON.
 *
 *     struct table *t;
 *     table_new(&t, (struct table_column[]){{"router", 0}, {"loss", TABLE_RIGHT}}, 2, err);
 *     table_cell(t, "rd_esi");
 *     table_cell(t, "%.4f", loss);                     row by row, left to right
 *     table_text(&buf, t, err);
 *     table_free(t);
 *
 * Widths are columns on a terminal (utf8proc), so accents, Chinese and "±" line up.
 */
#ifndef MOE2_BASE_TABLE_H
#define MOE2_BASE_TABLE_H

#include "base/buf.h"
#include "base/err.h"

enum table_align { TABLE_LEFT, TABLE_RIGHT };

enum { TABLE_MAX_COLUMNS = 64 };

struct table_column {
    const char *title; /* copied */
    enum table_align align;
};

struct table;

/* A table without rows, the caller's. n_columns is 1 … TABLE_MAX_COLUMNS. */
int table_new(struct table **out, const struct table_column *columns, int n_columns,
              struct err *err);
void table_free(struct table *t); /* NULL is fine */

/* The next cell. Memory that ends here is told by the rendering. */
void table_cell(struct table *t, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* Fills the rest of the row that was begun with empty cells; does nothing between rows. */
void table_end_row(struct table *t);

int table_n_rows(const struct table *t);

/* Appends the table: for a terminal (two spaces between columns, a rule under the header, no spaces
 * at line ends); as a Markdown table; as an HTML <table> with every text escaped; as a JSON array
 * of objects, each cell a string (the texts are expected to be UTF-8). A last row begun but not
 * ended is filled up with empty cells. */
int table_text(struct buf *out, const struct table *t, struct err *err);
int table_markdown(struct buf *out, const struct table *t, struct err *err);
int table_html(struct buf *out, const struct table *t, struct err *err);
int table_json(struct buf *out, const struct table *t, struct err *err);

#endif
