/* Training a byte-level BPE: from text to a tokenizer.json that Hugging Face's tokenizers loads.
 *
 *     struct bpe_train_config c = {.vocab_size = 8192, .min_frequency = 2, .n_threads = 2,
 *                                  .pre_tokenizer = "gpt2", .specials = names, .n_specials = 2};
 *     struct buf json = {0}, config_json = {0};
 *     if (bpe_train(&json, &config_json, &stats, next_text, ctx, &c, err)) …
 *
 * The text comes through a callback, document by document, and is counted as it comes: memory is
 * bounded by the distinct pieces (BPE_TRAIN_MAX_PIECES, BPE_TRAIN_MAX_PIECE_BYTES), not by the
 * length of the text.
 *
 * Tie rule, that of HF's BpeTrainer: of all adjacent pairs the one with the largest count is merged
 * first; of equal counts the one with the smaller left id, then the smaller right id. Ids: specials
 * first, in the order given, then the 256 bytes in the order of their code points in the byte-level
 * alphabet, then the merges. The same text gives the same bytes, whatever the threads.
 */
#ifndef MOE2_TEXT_BPE_TRAIN_H
#define MOE2_TEXT_BPE_TRAIN_H

#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/log.h"

enum {
    BPE_TRAIN_MAX_PIECES = 1 << 25,      /* distinct; about 8 GB then; more are MOE2_ELIMIT */
    BPE_TRAIN_MAX_PIECE_BYTES = 1 << 16, /* a longer piece is not counted (stats say how many) */
    BPE_TRAIN_MAX_VOCAB = 1 << 20,
};

struct bpe_train_config {
    int32_t vocab_size;          /* specials, bytes and merges; fewer if pairs are not frequent */
    int64_t min_frequency;       /* a pair seen less often is not merged; 2 */
    const char *pre_tokenizer;   /* a row of the table: "gpt2", "qwen2", "llama3", "deepseek" */
    const char *const *specials; /* borrowed */
    int n_specials;
    const char *bos, *eos;       /* of specials, or NULL: what tokenizer_config.json names */
    int n_threads;               /* at least 1 */
    const struct log_sink *sink; /* or NULL */
    const volatile int *stop;    /* set from outside to end with MOE2_ESTOP; or NULL */
};

struct bpe_train_stats {
    int64_t n_bytes, n_pieces, n_distinct, n_too_long;
    int32_t n_merges, n_tokens;
    double count_s, merge_s;
};

/* The next text: 1 with *text (borrowed until the next call) and *n_bytes filled, 0 at the end,
 * negative with err filled. No text is joined to its neighbours: a piece never crosses from one
 * into the next. Called from one thread. */
typedef int bpe_train_next(void *ctx, const char **text, size_t *n_bytes, struct err *err);

/* Appends the tokenizer.json to json and the tokenizer_config.json to config_json. stats may be
 * NULL. Errors: MOE2_ECONFIG for a size below specials + 256, an unknown pre-tokenizer or a doubled
 * special; MOE2_EFORMAT for text that is not UTF-8; MOE2_ELIMIT. */
int bpe_train(struct buf *json, struct buf *config_json, struct bpe_train_stats *stats,
              bpe_train_next *next, void *ctx, const struct bpe_train_config *config,
              struct err *err);

#endif
