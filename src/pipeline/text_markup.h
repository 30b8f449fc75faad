/* Text out of marked-up documents: HTML pages and manual pages, as Debian's documentation packages
 * hold them. What comes out is one paragraph a line, a blank line before a heading; the cleaning
 * (text_clean.h) does the rest.
 *
 * Neither is a full parser: broken markup never fails, it gives less text. The result is UTF-8 if
 * the input is, or says or looks that it is Latin-1.
 */
#ifndef MOE2_PIPELINE_TEXT_MARKUP_H
#define MOE2_PIPELINE_TEXT_MARKUP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"

/* Appends the running text of an HTML page: without head, scripts, forms, listings (pre), and the elements that
 * carry navigation (nav, header, footer, aside, and those whose class or id says so: the list is
 * in text_html.c). Errors: MOE2_ELIMIT. */
int text_from_html(struct buf *out, const char *html, size_t n, struct err *err);

/* Appends the running text of a troff manual page (man(7) or mdoc(7) macros), without tables,
 * equations and macro definitions. Errors: MOE2_ELIMIT. */
int text_from_man(struct buf *out, const char *man, size_t n, struct err *err);

/* Appends n bytes as UTF-8: as they are when they are UTF-8 or say nothing else; from Windows-1252
 * (a superset of Latin-1) otherwise. Errors: MOE2_ELIMIT. */
int text_to_utf8(struct buf *out, const char *bytes, size_t n, struct err *err);

/* Appends newlines until n_lines, at most 2, stand at the end of out, unless nothing stands behind
 * `first`, where the document began. Errors: MOE2_ELIMIT. */
int text_put_break(struct buf *out, size_t first, int n_lines, struct err *err);

/* Appends one code point; U+FFFD for what is none. */
int text_put_char(struct buf *out, uint32_t c, struct err *err);

/* Reads the code point at bytes [n], n ≥ 1: its length in bytes, 1 … 4, with *c filled; or 0, when
 * the bytes there are no UTF-8. */
int text_get_char(uint32_t *c, const char *bytes, size_t n);

#endif
