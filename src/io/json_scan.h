/* A strict JSON scanner (RFC 8259) over bytes in memory: it pulls one token after the other and
 * builds nothing, so that a header of 100 MB costs no more than the names in it. jansson serves
 * where a document is small and wanted as a tree.
 *
 * Messages say "byte 17 is 'x', wanted ':'"; the caller puts the file's name before them
 * (err_prefix).
 */
#ifndef MOE2_IO_JSON_SCAN_H
#define MOE2_IO_JSON_SCAN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"

enum { JSON_SCAN_MAX_DEPTH = 64 };

struct json_scan {
    const uint8_t *begin, *p, *end; /* borrowed */
};

void json_scan_init(struct json_scan *s, const void *bytes, size_t n);

/* The next byte that is no white space, not taken; −1 at the end. */
int json_scan_peek(struct json_scan *s);

/* Takes c if it is the next byte that is no white space. */
bool json_scan_take(struct json_scan *s, char c);

/* The same for one that must be there: MOE2_EFORMAT. */
int json_scan_need(struct json_scan *s, char c, struct err *err);

/* Nothing but white space may be left. */
int json_scan_need_end(struct json_scan *s, struct err *err);

/* A string, appended to out as UTF-8 with its escapes resolved and a NUL counted in n behind it.
 * Refuses control characters, a NUL, half surrogate pairs and bytes that are not UTF-8. */
int json_scan_string(struct json_scan *s, struct buf *out, struct err *err);

/* A whole number from 0 to 2^63 − 1. */
int json_scan_count(struct json_scan *s, int64_t *out, struct err *err);

/* Any value, checked and passed over; depth at most JSON_SCAN_MAX_DEPTH. */
int json_scan_skip(struct json_scan *s, struct err *err);

/* After an object's or array's opening bracket: whether one more item follows. Begin with *n_items
 * = 0. Takes the comma or the closing bracket. */
int json_scan_more(struct json_scan *s, bool *more, int64_t *n_items, char close, struct err *err);

/* How many of the n bytes from the start are valid UTF-8 (RFC 3629: no surrogates, nothing
 * overlong). */
size_t utf8_valid_bytes(const uint8_t *bytes, size_t n);

#endif
