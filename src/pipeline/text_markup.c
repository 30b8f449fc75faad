/* What the readers of marked-up documents share: see text_markup.h. */
#include "pipeline/text_markup.h"

int text_put_break(struct buf *out, size_t first, int n_lines, struct err *err)
{
    int rc = 0, have = 0;
    if (out->n == first)
        return 0;
    while (have < 2 && out->n > first + (size_t)have &&
           out->bytes[out->n - 1 - (size_t)have] == '\n')
        have++;
    for (; have < n_lines && !rc; have++)
        rc = buf_append(out, "\n", 1, err);
    return rc;
}
