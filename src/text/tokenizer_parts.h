/* What a tokenizer is made of; for the files of this room only. */
#ifndef MOE2_TEXT_TOKENIZER_PARTS_H
#define MOE2_TEXT_TOKENIZER_PARTS_H

#include "text/added.h"
#include "text/bpe.h"
#include "text/piece_cache.h"
#include "text/split.h"
#include "text/tokenizer.h"
#include "text/vocab.h"

enum { TOKENIZER_MAX_AROUND = 64 }; /* ids that a post-processor may put before or behind a text */

struct tokenizer {
    bool is_bytes; /* the tokenizer without a file; of what follows only bos_id and eos_id count */
    bool nfc;
    bool byte_decoder; /* false: no decoder, tokens are joined by spaces as HF does */
    uint8_t *classes;  /* unicode_table_new */
    struct vocab vocab;
    struct bpe bpe;
    struct added_set added_raw, added_normalized;
    struct pretokenizer pre;
    split_next *fast; /* does all of pre, or NULL */
    int32_t before[TOKENIZER_MAX_AROUND], after[TOKENIZER_MAX_AROUND]; /* with TOKENIZER_SPECIAL */
    int n_before, n_after;
    int32_t bos_id, eos_id;
    uint64_t fingerprint;
};

struct tokenizer_scratch {
    const struct tokenizer *t;
    struct piece_cache cache;
    struct bpe_scratch bpe;
    struct split_scratch split;
    struct buf repaired, normalized;
};

/* Fills a zeroed tokenizer from the two files' text; the caller frees it whatever comes out. */
int tokenizer_read(struct tokenizer *t, const char *json, size_t n_json, const char *config,
                   size_t n_config, struct err *err);

#endif
