/* One HTML page: a file that needs nothing else, no network and no script. Readable on a phone, in the dark and on paper.
 *
 *     struct html h;
 *     html_begin(&h, &out, err);
 *     html_section(&h, "Loss");
 *     html_paragraph(&h, "The test loss of %s is %.3f.", name, loss);
 *     html_figure(&h, "results/a/figures/loss.svg", "What is seen.");
 *     html_table(&h, table, "What stands in it.");
 *     html_details(&h, "Exact commands", commands);
 *     html_end(&h, "moe2: results of a");                 the first error, if any
 *
 * Every text is escaped; SVGs are put inside the page, their colours of ink and grid exchanged for the page's own.
 */
#ifndef MOE2_REPORT_HTML_H
#define MOE2_REPORT_HTML_H

#include "base/buf.h"
#include "base/err.h"
#include "base/table.h"

struct html {
    struct buf *out; /* borrowed; written by html_end */
    struct err *err; /* borrowed; NULL is fine */
    int rc;          /* the first error; after it nothing is written */
    struct buf body, contents;
    int n_sections, n_figures;
};

void html_begin(struct html *h, struct buf *out, struct err *err);

/* Opens a section (closing the one before) and adds it to the contents. */
void html_section(struct html *h, const char *title);

/* Large, at the top: the answer in a sentence. */
void html_lead(struct html *h, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void html_paragraph(struct html *h, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* A table, or nothing when it has no rows; caption may be NULL. */
void html_table(struct html *h, const struct table *t, const char *caption);

/* An SVG file inside the page, numbered, with what is seen below it. A file that isn't there leaves a note instead. */
void html_figure(struct html *h, const char *svg_path, const char *caption);

/* A fold: the summary is seen, the preformatted text after a click. */
void html_details(struct html *h, const char *summary, const char *text);

/* Preformatted text, wrapped, with a label above it. */
void html_quote(struct html *h, const char *label, const char *text);

/* Writes the whole page to out and frees what was gathered; also after errors. Returns the first error. */
int html_end(struct html *h, const char *title);

/* Appends text with &, <, >, " and ' as entities; control characters but newline and tab are dropped, broken UTF-8 becomes U+FFFD. */
int html_escape(struct buf *out, const char *text, struct err *err);

/* Appends an SVG as gnuplot writes it for the inside of a page: no XML head, no title of its own, ids behind prefix, ink and grid in the page's
 * colours, no address of any kind. MOE2_EFORMAT when it is no SVG. */
int svg_inline(struct buf *out, const char *svg, const char *prefix, const char *label,
               struct err *err);

#endif
