/* A byte buffer that grows: see buf.h. */
#include "base/buf.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int buf_reserve(struct buf *b, size_t n_more, struct err *err)
{
    size_t max = b->max_bytes ? b->max_bytes : (size_t)1 << 31;
    if (n_more > max || b->n > max - n_more)
        return err_set(err, MOE2_ELIMIT,
                       "a buffer of %zu bytes would grow by %zu, past its limit of %zu", b->n,
                       n_more, max);
    size_t need = b->n + n_more + 1;
    if (need <= b->capacity)
        return 0;
    size_t capacity = b->capacity < 256 ? 256 : b->capacity;
    while (capacity < need)
        capacity *= 2;
    char *bytes = realloc(b->bytes, capacity);
    if (!bytes)
        return err_set(err, MOE2_ELIMIT, "no memory for a buffer of %zu bytes", capacity);
    b->bytes = bytes;
    b->capacity = capacity;
    return 0;
}

int buf_append(struct buf *b, const void *bytes, size_t n, struct err *err)
{
    int rc = buf_reserve(b, n, err);
    if (rc)
        return rc;
    if (n)
        memcpy(b->bytes + b->n, bytes, n);
    b->n += n;
    b->bytes[b->n] = 0;
    return 0;
}

int buf_puts(struct buf *b, const char *s, struct err *err)
{
    return buf_append(b, s, strlen(s), err);
}

int buf_printf(struct buf *b, struct err *err, const char *fmt, ...)
{
    va_list args, again;
    va_start(args, fmt);
    va_copy(again, args);
    int n = vsnprintf(NULL, 0, fmt, args);
    va_end(args);
    int rc = n < 0 ? err_set(err, MOE2_ELIMIT, "a message can't be formatted")
                   : buf_reserve(b, (size_t)n, err);
    if (!rc) {
        vsnprintf(b->bytes + b->n, (size_t)n + 1, fmt, again);
        b->n += (size_t)n;
    }
    va_end(again);
    return rc;
}

void buf_clear(struct buf *b)
{
    b->n = 0;
    if (b->bytes)
        b->bytes[0] = 0;
}

void buf_release(struct buf *b)
{
    free(b->bytes);
    b->bytes = NULL;
    b->n = b->capacity = 0;
}
