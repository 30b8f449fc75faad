/* A tokenizer out of the arrays of a GGUF file's metadata, which whoever opens the file hands over: as
 * a tokenizer.json, for a folder, and as a tokenizer that gives the same ids.
 *
 * Understood: model "gpt2" (byte-level BPE) with the pre-tokenizers gpt-2, smollm, qwen2,
 * llama-bpe and deepseek-v3, and model "llama" (SentencePiece's BPE: the pair whose token has the best score is merged, the
 * leftmost of equals; characters that are no token become bytes). Source: llama.cpp,
 * src/llama-vocab.cpp.
 */
#ifndef MOE2_TEXT_TOKENIZER_ARRAYS_H
#define MOE2_TEXT_TOKENIZER_ARRAYS_H

#include "text/tokenizer.h"
#include "text/vocab.h"

/* tokenizer.ggml.token_type */
enum token_kind {
    TOKEN_KIND_NORMAL = 1,
    TOKEN_KIND_UNKNOWN,
    TOKEN_KIND_CONTROL,
    TOKEN_KIND_USER,
    TOKEN_KIND_UNUSED,
    TOKEN_KIND_BYTE,
};

/* Everything is borrowed for the call. */
struct tokenizer_arrays {
    const char *model, *pre;   /* tokenizer.ggml.model, .pre (NULL: none) */
    const struct span *tokens; /* [n] */
    const int64_t *kinds;      /* [n], or NULL: all normal */
    const float *scores;       /* [n], of model llama */
    int64_t n;
    const struct span *merges; /* [n_merges], of model gpt2: "a b" */
    int64_t n_merges;
    int64_t bos_id, eos_id, unk_id;         /* −1: none */
    int add_bos, add_eos, add_space_prefix; /* 0, 1, or −1: not said */
    const char *chat_template;              /* or NULL */
};

/* Appends the tokenizer.json and the tokenizer_config.json that say the same. Errors: MOE2_EFORMAT for
 * a model or pre-tokenizer that is not understood, with those that are; MOE2_ELIMIT. */
int tokenizer_arrays_json(struct buf *json, struct buf *config, const struct tokenizer_arrays *a,
                          struct err *err);

/* The tokenizer; the caller's. Errors: also those of tokenizer_parse. */
int tokenizer_from_arrays(struct tokenizer **out, const struct tokenizer_arrays *a,
                          struct err *err);

#endif
