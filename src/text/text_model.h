/* What becomes of one piece of text: a tokenizer.json's "model" is one row of this table.
 *
 * A row reads its part of the file into the tokenizer and makes ids of pieces; what a piece becomes
 * depends on nothing but the piece, so that the cache of pieces serves every model. The rows are
 * model_bpe.c, model_bpe_chars.c, model_wordpiece.c, model_unigram.c.
 */
#ifndef MOE2_TEXT_TEXT_MODEL_H
#define MOE2_TEXT_TEXT_MODEL_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

struct tokenizer;
struct tokenizer_scratch;

struct text_model {
    const char *name;
    bool byte_level; /* its pieces are bytes: the pre-tokenizer must end with ByteLevel */
    /* Fills the tokenizer's vocabulary, with room for added tokens, and the model's own part. */
    int (*read)(struct tokenizer *t, json_t *model, json_t *added, struct err *err);
    /* Writes the ids of a piece of n ≥ 1 bytes to out, which has room for n. */
    int (*encode)(int32_t *out, size_t *n_out, const struct tokenizer *t,
                  struct tokenizer_scratch *s, const uint8_t *piece, size_t n, struct err *err);
    void (*release)(struct tokenizer *t);
};

extern const struct text_model model_bpe, model_bpe_chars, model_wordpiece, model_unigram;

/* The row of a name; NULL if there is none. */
const struct text_model *text_model_named(const char *name);

/* For rows: t's vocabulary from an object of token and id, or from a list of [token, …], whose
 * places are the ids. */
int read_vocab(struct tokenizer *t, json_t *vocab, json_t *added, struct err *err);

/* For the two rows of BPE: its merges, and the fields that nobody understands. */
int read_merges(struct tokenizer *t, json_t *merges, bool ignore_merges, struct err *err);
int bpe_refuse_rest(const json_t *model, struct err *err);

#endif
