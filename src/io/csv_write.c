/* Cells of a CSV: see csv_write.h. */
#include "io/csv_write.h"

#include <string.h>

static bool needs_quotes(const char *text, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (memchr(",\"\r\n", text[i], 4))
            return true;
    return false;
}

int csv_cell(struct buf *out, const char *text, size_t n, bool first, struct err *err)
{
    int rc = first ? 0 : buf_append(out, ",", 1, err);
    if (rc || !n)
        return rc;
    if (!needs_quotes(text, n))
        return buf_append(out, text, n, err);
    rc = buf_append(out, "\"", 1, err);
    for (size_t i = 0; i < n && !rc; i++)
        rc = buf_append(out, text[i] == '"' ? "\"\"" : text + i, text[i] == '"' ? 2 : 1, err);
    return rc ? rc : buf_append(out, "\"", 1, err);
}
