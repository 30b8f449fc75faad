/* Tokens: one array of ids to train on or to score, whether it lies in mapped shards or in memory.
 *
 *     struct tokens t = {.shards = s, .n = shards_n_tokens(s)};      or {.ids = ids, .n = n}
 *     tokens_read(ids, &t, first, n, err);
 */
#ifndef MOE2_EVAL_TOKENS_H
#define MOE2_EVAL_TOKENS_H

#include "io/shards.h"
#include "text/tokenizer.h"

struct tokens {
    const struct shards *shards; /* borrowed; NULL: */
    const int32_t *ids;          /* borrowed */
    int64_t n;
};

/* Ids [first, first + n) into out; the range lies inside (asserted). MOE2_EFORMAT as
 * shards_read. */
int tokens_read(int32_t *out, const struct tokens *t, int64_t first, int64_t n, struct err *err);

/* Bytes of text that each id below n_vocab stands for, 0 for special tokens and ids without one:
 * *out [n_vocab] is the caller's (free). */
int token_bytes_new(int32_t **out, const struct tokenizer *tok, int64_t n_vocab, struct err *err);

/* What a token is, as the heat maps of experts against types group them: by its bytes alone. */
enum token_type {
    TOKEN_WORD_START,  /* letters that begin a word: behind a space, or the text's first */
    TOKEN_WORD_INSIDE, /* letters that go on with one */
    TOKEN_NUMBER,
    TOKEN_PUNCTUATION,
    TOKEN_SPACE, /* spaces and line breaks only */
    TOKEN_OTHER, /* special tokens, control characters, bytes that are no character by themselves */
    TOKEN_N_TYPES,
};
extern const char *const token_type_names[TOKEN_N_TYPES];

/* The type of a token from its bytes. inside says whether the byte before it was a letter: a
 * vocabulary of bytes has no other way to know where a word begins. */
enum token_type token_type(const char *bytes, size_t n, bool inside);

/* Whether the last character of these bytes is a letter (a byte above 127 counts as one), for the
 * next token_type. */
bool token_ends_in_letter(const char *bytes, size_t n);

#endif
