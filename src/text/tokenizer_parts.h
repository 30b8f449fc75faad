/* What a tokenizer is made of; for the files of this room only. */
#ifndef MOE2_TEXT_TOKENIZER_PARTS_H
#define MOE2_TEXT_TOKENIZER_PARTS_H

#include "text/added.h"
#include "text/bert.h"
#include "text/bpe.h"
#include "text/normalizer.h"
#include "text/piece_cache.h"
#include "text/split.h"
#include "text/text_model.h"
#include "text/tokenizer.h"
#include "text/unigram.h"
#include "text/vocab.h"
#include "text/wordpiece.h"

enum { TOKENIZER_MAX_AROUND = 64 }; /* ids that a post-processor may put before or behind a text */

/* How tokens become text again. */
enum decoder_kind {
    DECODER_JOIN, /* none in the file: tokens with spaces between, as HF does */
    DECODER_BYTE_LEVEL,
    DECODER_METASPACE,     /* signs become spaces; cleanup: those of the first token go */
    DECODER_SENTENCEPIECE, /* bytes as they are; cleanup: a first token loses one space in front */
    DECODER_WORDPIECE, /* a space before each token without the prefix; cleanup joins punctuation */
};

struct token_decoder {
    enum decoder_kind kind;
    char prefix[16];
    size_t n_prefix;
    bool cleanup;
};

struct tokenizer {
    bool ranks_by_token; /* set before reading: merges as bpe_init_by_token */
    bool is_bytes; /* the tokenizer without a file; of what follows only bos_id and eos_id count */
    struct char_tables tables;
    struct normalizer normalizer;
    const struct text_model *model;
    struct token_decoder decoder;
    struct vocab vocab;
    struct bpe bpe;             /* of the model BPE */
    struct wordpiece wordpiece; /* of the model WordPiece */
    struct unigram unigram;     /* of the model Unigram */
    struct added_set added_raw, added_normalized;
    struct pretokenizer pre;
    split_next *fast;            /* does all of pre, or NULL */
    const uint8_t *fast_classes; /* its table, and of which classes pieces go: split_stage */
    uint8_t fast_drops;
    int32_t before[TOKENIZER_MAX_AROUND], after[TOKENIZER_MAX_AROUND]; /* with TOKENIZER_SPECIAL */
    int n_before, n_after;
    int32_t bos_id, eos_id;
    uint64_t fingerprint;
};

struct tokenizer_scratch {
    const struct tokenizer *t;
    struct piece_cache cache;
    struct bpe_scratch bpe;
    struct unigram_scratch unigram;
    struct split_scratch split;
    struct buf repaired, normalized[2];
};

/* Fills a zeroed tokenizer from the two files' text, of which the first is a tokenizer.json or a
 * vocab.txt; the caller frees it whatever comes out. */
int tokenizer_read(struct tokenizer *t, const char *text, size_t n, bool is_vocab_txt,
                   const char *config, size_t n_config, struct err *err);

#endif
