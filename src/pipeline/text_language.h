/* What share of a text is in a language: enough to keep pages of the wrong language out of a corpus.
 *
 * A text is judged in windows of TEXT_LANGUAGE_WINDOW words. In each, words that are function words
 * ("della", "which") vote for the languages that have them; the language with the most votes wins,
 * ties go to the wanted one. A window without any vote is left out, except that for Italian one where
 * seven words of ten end in a vowel counts as Italian. Letters of other scripts (Greek, Cyrillic,
 * Arabic, Chinese …) make a window foreign when they outnumber the Latin ones.
 *
 * The scorer and its word lists are ours; the idea is that of Grefenstette, "Comparing two language
 * identification schemes", JADT 1995 (small words against trigrams: equal from 20 words on).
 */
#ifndef MOE2_PIPELINE_TEXT_LANGUAGE_H
#define MOE2_PIPELINE_TEXT_LANGUAGE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

enum { TEXT_LANGUAGE_WINDOW = 24, TEXT_LANGUAGE_COUNT = 6 };

/* The codes: "it", "en", "fr", "de", "es", "pt". */
extern const char *const text_language_codes[TEXT_LANGUAGE_COUNT];

struct text_language;

/* A scorer for one language; the caller's. It never changes, so any number of threads may use it.
 * MOE2_ECONFIG for an unknown code. */
int text_language_new(struct text_language **out, const char *code, struct err *err);
void text_language_free(struct text_language *l); /* NULL is fine */

/* Letters in windows of the language over letters in judged windows, 0 … 1. A text of which less than
 * a quarter could be judged is divided by that quarter instead. 0 for a text without letters. */
double text_language_share(const struct text_language *l, const char *text, size_t n);

/* Whether a paragraph is surely in another language: at least four function words of another one, and
 * fewer than a quarter as many of its own. */
bool text_language_is_foreign(const struct text_language *l, const char *text, size_t n);

#endif
