/* Words: what somebody who mistyped a flag or a key probably meant, lists with commas between, and how a name ends. */
#ifndef MOE2_BASE_WORDS_H
#define MOE2_BASE_WORDS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

/* The candidate at the smallest edit distance (insert, delete, replace, swap of neighbours), the first of equals; NULL if none is
 * within a third of the word's length, at least 2. */
const char *words_nearest(const char *word, const char *const *candidates, size_t n);

/* The next word of a list "a,b": ended in place where its comma was; *rest goes behind it, to NULL after the last. NULL when *rest is. An
 * empty list is one empty word.
 *
 *     for (char *rest = list, *word; (word = words_cut(&rest));) …
 */
char *words_cut(char **rest);

/* Which of names [n], at most 64, a list "a,b" has: bit i of *mask for names[i]. MOE2_ECONFIG for an
 * empty name, one that stands there twice, and one that is not among them, with the nearest; flag is
 * what the list was given with, of is what has the names: a file, say. MOE2_ELIMIT without memory. */
int words_mask(uint64_t *mask, const char *list, const char *const *names, int n, const char *flag,
               const char *of, struct err *err);

/* Whether tail stands at the end of text, or is all of it. */
bool words_end_in(const char *text, const char *tail);

#endif
