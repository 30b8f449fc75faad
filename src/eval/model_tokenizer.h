/* The tokenizer of a model, wherever it lies: a folder's tokenizer.json, or a GGUF file's metadata. */
#ifndef MOE2_EVAL_MODEL_TOKENIZER_H
#define MOE2_EVAL_MODEL_TOKENIZER_H

#include "text/tokenizer.h"

/* Opens path: a .gguf file, or what tokenizer_open opens. The result is the caller's. Errors: those of
 * gguf_open, tokenizer_from_arrays, tokenizer_open. */
int model_tokenizer_open(struct tokenizer **out, const char *path, struct err *err);

struct gguf;

/* Whether a file's metadata has one: tokenizer.ggml.model is there, and not "none", as llama.cpp wants it of a model without. */
bool model_tokenizer_in(const struct gguf *g);

/* The same as files: appends the text of a tokenizer.json and a tokenizer_config.json. */
int model_tokenizer_json(struct buf *json, struct buf *config, const struct gguf *g,
                         struct err *err);

#endif
