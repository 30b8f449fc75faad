/* Italian-like text without end, from a seed: for a machine that reaches no mirror and has no text.
 *
 * Real words (about 400) under real rules: articles and prepositions that fit what follows them (il,
 * lo, l', nello, dell'), adjectives that agree, verbs in number and tense, sentences joined into
 * paragraphs about a handful of nouns. Meaning is by chance. A model that learns it has learned
 * grammar, not Italian: a report on such text must say so.
 *
 * The same seed gives the same documents, on every machine.
 */
#ifndef MOE2_PIPELINE_TEXT_GRAMMAR_H
#define MOE2_PIPELINE_TEXT_GRAMMAR_H

#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"

struct text_grammar;

/* The caller's. MOE2_ELIMIT. */
int text_grammar_new(struct text_grammar **out, uint64_t seed, struct err *err);
void text_grammar_free(struct text_grammar *g); /* NULL is fine */

/* Appends the next document: two to six paragraphs, an empty line between, a line end at the end. */
int text_grammar_document(struct buf *out, struct text_grammar *g, struct err *err);

#endif
