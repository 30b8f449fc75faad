/* Text to ids and back, with the ids that Hugging Face's tokenizers gives for the same tokenizer.json.
 *
 *     struct moe2_tokenizer *tok = NULL;
 *     struct err err = {0};
 *     if (moe2_tokenizer_open(&tok, "checkpoint/", &err))
 *         …err.msg says what was wrong…
 *     int32_t *ids = NULL;
 *     size_t n = 0;
 *     moe2_tokenizer_encode(tok, &ids, &n, "Ciao!", 5, &err);
 *     free(ids);
 *     moe2_tokenizer_close(tok);
 *
 * A tokenizer never changes once it is open: any number of threads may use it.
 */
#ifndef MOE2_TOKENIZER_H
#define MOE2_TOKENIZER_H

#include <stddef.h>
#include <stdint.h>

#include <moe2/err.h>

#ifdef __cplusplus
extern "C" {
#endif

struct moe2_tokenizer;

/* Opens a folder that holds a tokenizer.json (and perhaps a tokenizer_config.json), or the file itself; "bytes" is the tokenizer whose
 * ids 0–255 are bytes, 256 begins and 257 ends a text. To be closed with moe2_tokenizer_close. Errors: MOE2_EIO, MOE2_EFORMAT,
 * MOE2_ELIMIT. */
int moe2_tokenizer_open(struct moe2_tokenizer **out, const char *path, struct err *err);
void moe2_tokenizer_close(struct moe2_tokenizer *tok); /* NULL is fine */

/* The ids of n_bytes of UTF-8, in a new array for free(). No special tokens are added; those that stand in the text are found.
 * Errors: MOE2_EFORMAT for text that is not UTF-8, naming the offset; MOE2_ELIMIT. */
int moe2_tokenizer_encode(const struct moe2_tokenizer *tok, int32_t **ids, size_t *n,
                          const char *text, size_t n_bytes, struct err *err);

/* The text of n ids, NUL-terminated, in a new string for free(). MOE2_EFORMAT for an id without a token. */
int moe2_tokenizer_decode(const struct moe2_tokenizer *tok, char **text, const int32_t *ids,
                          size_t n, struct err *err);

/* The largest id plus one. */
int32_t moe2_tokenizer_n_vocab(const struct moe2_tokenizer *tok);

#ifdef __cplusplus
}
#endif
#endif
