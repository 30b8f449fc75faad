/* Nearest words: what somebody who mistyped a flag or a key probably meant. */
#ifndef MOE2_BASE_WORDS_H
#define MOE2_BASE_WORDS_H

#include <stddef.h>

/* The candidate at the smallest edit distance (insert, delete, replace, swap of neighbours), the first of equals; NULL if none is
 * within a third of the word's length, at least 2. */
const char *words_nearest(const char *word, const char *const *candidates, size_t n);

#endif
