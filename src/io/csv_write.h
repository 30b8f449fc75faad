/* One cell of a CSV (RFC 4180): quoted where its text needs it. Reading is io/records.h. */
#ifndef MOE2_IO_CSV_WRITE_H
#define MOE2_IO_CSV_WRITE_H

#include <stdbool.h>

#include "base/buf.h"

/* Appends n bytes of text as the next cell: a comma before it unless it is the first of its row. */
int csv_cell(struct buf *out, const char *text, size_t n, bool first, struct err *err);

#endif
