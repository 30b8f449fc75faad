/* Tokens: see tokens.h. */
#include "eval/tokens.h"

#include <assert.h>
#include <ctype.h>
#include <stdlib.h>
#include <string.h>

int tokens_read(int32_t *out, const struct tokens *t, int64_t first, int64_t n, struct err *err)
{
    assert(first >= 0 && n >= 0 && first + n <= t->n);
    if (t->shards)
        return shards_read(out, t->shards, first, n, err);
    memcpy(out, t->ids + first, (size_t)n * sizeof *out);
    return 0;
}

int token_bytes_new(int32_t **out, const struct tokenizer *tok, int64_t n_vocab, struct err *err)
{
    int32_t *bytes = calloc((size_t)n_vocab + 1, sizeof *bytes);
    if (!bytes)
        return err_set(err, MOE2_ELIMIT, "no memory for the lengths of %lld tokens",
                       (long long)n_vocab);
    for (int64_t id = 0; id < n_vocab && id < tokenizer_n_vocab(tok); id++) {
        size_t n = 0;
        if (!tokenizer_is_special(tok, (int32_t)id) && tokenizer_token(tok, (int32_t)id, &n))
            bytes[id] = (int32_t)n;
    }
    *out = bytes;
    return 0;
}

const char *const token_type_names[TOKEN_N_TYPES] = {"word-start",  "word-inside",   "number",
                                                     "punctuation", "space/newline", "other"};

/* Bytes above 127 are taken for letters: in Italian they are accents. The general punctuation block
 * (U+2000–206F: dashes, typographic quotes, the ellipsis) and « » are the exceptions that count. */
static bool is_wide_punctuation(const unsigned char *p, size_t n)
{
    if (n >= 2 && p[0] == 0xe2 && (p[1] == 0x80 || p[1] == 0x81))
        return true;
    return n >= 2 && p[0] == 0xc2 && (p[1] == 0xab || p[1] == 0xbb);
}

enum token_type token_type(const char *bytes, size_t n, bool inside)
{
    const unsigned char *p = (const unsigned char *)bytes;
    bool spaced = false;
    while (n && isspace(*p)) {
        spaced = true;
        p++, n--;
    }
    if (!n)
        return spaced ? TOKEN_SPACE : TOKEN_OTHER;
    if (isdigit(*p))
        return TOKEN_NUMBER;
    if (is_wide_punctuation(p, n) || ispunct(*p))
        return n > 1 && ispunct(*p) && (isalpha(p[1]) || p[1] > 127) ? TOKEN_WORD_START
                                                                     : TOKEN_PUNCTUATION;
    if (isalpha(*p) || *p > 127)
        return spaced || !inside ? TOKEN_WORD_START : TOKEN_WORD_INSIDE;
    return TOKEN_OTHER;
}

bool token_ends_in_letter(const char *bytes, size_t n)
{
    const unsigned char *p = (const unsigned char *)bytes;
    return n && (isalpha(p[n - 1]) || p[n - 1] > 127);
}
