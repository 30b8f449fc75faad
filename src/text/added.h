/* Added tokens: strings that are found in a text before anything else is done with it
 * ("<|im_end|>").
 *
 * HF keeps two sets. Tokens with normalized = false are looked for in the text as it came; what is
 * left is normalised, and in that the others, normalised themselves, are looked for. In each set
 * the leftmost match wins, of those the longest; a match whose single_word does not hold is passed
 * over; lstrip and rstrip take the white space beside it along.
 */
#ifndef MOE2_TEXT_ADDED_H
#define MOE2_TEXT_ADDED_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

enum { ADDED_LSTRIP = 1, ADDED_RSTRIP = 2, ADDED_SINGLE_WORD = 4 };
enum { ADDED_MAX_BYTES = 4096 }; /* of one token */

struct added_node;

/* One set, as a tree of bytes. A zeroed one is empty. */
struct added_set {
    struct added_node *nodes;
    uint32_t n_nodes, n_nodes_max;
    uint32_t root[256]; /* first byte -> node; 0: no token begins so */
    int n_first;        /* how many bytes a token can begin with */
    uint8_t first;      /* one of them */
};

/* Adds a token of 1 to ADDED_MAX_BYTES bytes; of two equal ones the first counts. */
int added_put(struct added_set *a, const char *bytes, size_t n, int32_t id, int flags,
              struct err *err);
void added_release(struct added_set *a);

/* A token in a text: text[begin … end) becomes id. */
struct added_match {
    size_t begin, end;
    int32_t id;
};

/* Where a search stands. A zeroed one is at the beginning of the text. */
struct added_search {
    size_t at;    /* where the next match may begin */
    size_t taken; /* the end of the last match, with what rstrip took */
};

/* Finds the next token of the set in valid UTF-8 and goes past it; false when there is no further
 * one. The text before it begins at search->taken as it was before the call. classes is the table
 * of unicode_table_new. */
bool added_next(struct added_match *out, struct added_search *search, const struct added_set *a,
                const uint8_t *text, size_t n, const uint8_t *classes);

#endif
