/* The way back: a tokenizer.json as the arrays that a GGUF file keeps, for tokenizer_arrays.h's kinds of
 * tokenizers. */
#ifndef MOE2_TEXT_TOKENIZER_EXPORT_H
#define MOE2_TEXT_TOKENIZER_EXPORT_H

#include "base/arena.h"
#include "text/tokenizer_arrays.h"

/* Fills out from the texts of a tokenizer.json and a tokenizer_config.json (NULL: none); everything
 * lies in the arena. Ids without a token, up to n_rows of the embedding, get one that no text becomes. A SentencePiece token's score is minus the place of the first merge that gives
 * it, as the model's own scores are. Errors: MOE2_EFORMAT for a tokenizer whose pre-tokenizer has no
 * name in GGUF, or that is neither BPE of bytes nor BPE of characters; MOE2_ELIMIT. */
int tokenizer_to_arrays(struct tokenizer_arrays *out, struct arena *arena, const char *json,
                        size_t n_json, const char *config, size_t n_config, int64_t n_rows,
                        struct err *err);

#endif
