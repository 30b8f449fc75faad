/* Cleaning one document: what a web page carries besides its text goes, and a document that is no
 * text of the wanted language goes as a whole.
 *
 * In this order:
 *  1. characters: bytes that are no UTF-8 become U+FFFD; control and invisible characters go; every
 *     kind of blank is one space, every kind of line end "\n"; Unicode NFC;
 *  2. lines: trimmed, runs of blanks one blank, of empty lines one empty line. Lines that are
 *     boilerplate (the table in text_boilerplate.c: cookies, privacy, sharing, copyright, log-in)
 *     go; in a line longer than TEXT_LONG_LINE_BYTES only the sentence that is. Menus go: three and
 *     more lines in a row of at most TEXT_MENU_BYTES that end no sentence; so do lines without a
 *     letter. With a language: paragraphs surely in another one (text_language.h);
 *  3. the document: dropped when it has fewer than min_chars or more than max_chars characters, when
 *     one character in fifty is U+FFFD or fewer than half are letters, or when the share of the
 *     language was below min_language_share before step 2.
 *
 * Invariant: cleaning a cleaned text changes nothing that a second look would not also find; the same
 * text always gives the same result.
 */
#ifndef MOE2_PIPELINE_TEXT_CLEAN_H
#define MOE2_PIPELINE_TEXT_CLEAN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"

enum { TEXT_LONG_LINE_BYTES = 300, TEXT_MENU_BYTES = 30, TEXT_MENU_LINES = 3 };

/* What became of a document. TEXT_DUPLICATE is never the cleaner's: one document can't know. */
enum text_verdict {
    TEXT_KEPT,
    TEXT_TOO_SHORT,
    TEXT_TOO_LONG,
    TEXT_NOT_TEXT,
    TEXT_WRONG_LANGUAGE,
    TEXT_DUPLICATE,
    TEXT_N_VERDICTS
};

/* "kept", "too_short", … */
extern const char *const text_verdict_names[TEXT_N_VERDICTS];

struct text_clean_options {
    int64_t min_chars, max_chars;
    const char *language; /* a code of text_language.h, or NULL: any */
    double min_language_share;
    bool keep_lines; /* no step 2 but the trimming */
};

/* What went, in lines and sentences. */
struct text_clean_counts {
    int64_t n_boilerplate, n_menu, n_foreign;
    int64_t n_repeated; /* the stream's (text_stream.h), not the cleaner's */
};

struct text_cleaner;

/* Options are copied. The cleaner belongs to one thread. MOE2_ECONFIG for an unknown language. */
int text_cleaner_new(struct text_cleaner **out, const struct text_clean_options *options,
                     struct err *err);
void text_cleaner_free(struct text_cleaner *c); /* NULL is fine */

/* Appends the cleaned text to out, without a line end behind it, and says what became of the
 * document; nothing is appended unless it is TEXT_KEPT. counts (or NULL) is added to. Errors:
 * MOE2_ELIMIT. */
int text_clean(enum text_verdict *verdict, struct buf *out, struct text_cleaner *c,
               const char *text, size_t n, struct text_clean_counts *counts, struct err *err);

/* Step 1 alone. */
int text_clean_chars(struct buf *out, const char *text, size_t n, struct err *err);

/* The table of boilerplate, made ready for searching. */
struct text_phrases {
    uint64_t starts[128]; /* a bit for each hash of a phrase's first four bytes */
    uint32_t heads[128];  /* those four bytes, lowered, of each */
};

void text_phrases_init(struct text_phrases *p);

/* The boilerplate of a line or sentence of n bytes, as written in the table; or NULL. */
const char *text_boilerplate(const struct text_phrases *p, const char *line, size_t n);

#endif
