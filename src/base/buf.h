/* A byte buffer that grows: for text and files of a size not known beforehand. Every buffer that a stranger can fill has max_bytes.
 *
 *     struct buf b = {.max_bytes = 1 << 20};
 *     if (buf_printf(&b, err, "…") || buf_append(&b, p, n, err)) …
 *     buf_release(&b);
 */
#ifndef MOE2_BASE_BUF_H
#define MOE2_BASE_BUF_H

#include <stddef.h>

#include "base/err.h"

struct buf {
    char *bytes; /* owned; always followed by a NUL once something was appended */
    size_t n, capacity;
    size_t max_bytes; /* 0: 2 GiB */
};

/* Makes room for n_more bytes behind n. MOE2_ELIMIT when max_bytes or memory end; the buffer stays as it was. */
int buf_reserve(struct buf *b, size_t n_more, struct err *err);
int buf_append(struct buf *b, const void *bytes, size_t n, struct err *err);
int buf_puts(struct buf *b, const char *s, struct err *err);
int buf_printf(struct buf *b, struct err *err, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
void buf_clear(struct buf *b);
void buf_release(struct buf *b);

#endif
