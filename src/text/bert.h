/* What BERT does with a text before WordPiece: its normal form and its words.
 *
 * Normal form, each part on request, in this order: control characters go and white space becomes a
 * space; Chinese characters get a space on each side; canonical decomposition without the marks
 * that do not take room of their own; lower case. Words: cut at white space, which goes, and around
 * every character of punctuation. Source: BertNormalizer and BertPreTokenizer of HF tokenizers,
 * whose view of each code point is in bert_tables.c.
 */
#ifndef MOE2_TEXT_BERT_H
#define MOE2_TEXT_BERT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"
#include "text/split.h"

/* Classes of code points. */
enum {
    BERT_REMOVED = 1, /* by clean */
    BERT_SPACE = 2,
    BERT_CHINESE = 4,
    BERT_MARK = 8, /* dropped with accents */
    BERT_PUNCT = 16,
    BERT_UPPER = 32,      /* has a lower case */
    BERT_DECOMPOSES = 64, /* under NFD */
    BERT_MOVES = 128,     /* no BERT_MARK, but reordered by NFD */
};

struct bert_lower {
    uint32_t first, last; /* code points first, first + step … last have the lower case + delta */
    int32_t step, delta;
};

/* bert_tables.c */
extern const uint32_t bert_runs[];
extern const struct bert_lower bert_lower[];
extern const int n_bert_runs, n_bert_lower;

struct bert_rules {
    bool clean, chinese, strip_accents, lowercase;
};

/* What a tokenizer knows of every code point: one byte each, [UNICODE_N_CODE_POINTS]. */
struct char_tables {
    uint8_t *classes; /* UNICODE_… of unicode.h */
    uint8_t *bert;    /* BERT_…; NULL until char_tables_bert was asked for it */
};

/* Makes classes of a zeroed one, which the caller releases whatever comes out. */
int char_tables_init(struct char_tables *t, struct err *err);
int char_tables_bert(struct char_tables *t, struct err *err);
void char_tables_release(struct char_tables *t);

/* Appends the normal form of valid UTF-8. table is the BERT one. Errors: MOE2_ELIMIT. */
int bert_normalize(struct buf *out, const uint8_t *text, size_t n, const struct bert_rules *rules,
                   const uint8_t *table, struct err *err);

/* Lower case of a code point: one code point, or two for U+0130. Writes UTF-8 of at most 4 bytes
 * and returns their number. */
size_t bert_put_lower(uint8_t *out, uint32_t code_point);

/* A run of white space, a character of punctuation, or a word between them. classes is the BERT
 * table. */
split_next split_bert;

#endif
