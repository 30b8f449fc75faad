/* Byte-pair encoding of one piece of text: which ids its bytes become.
 *
 * The rule (HF tokenizers, tiktoken): begin with one id a byte; as long as some adjacent pair
 * stands in the list of merges, replace the leftmost pair of the lowest rank by its result. Short
 * pieces are merged in place with a scan for the lowest rank; long ones with a heap, so that a
 * megabyte of one letter costs n log n.
 */
#ifndef MOE2_TEXT_BPE_H
#define MOE2_TEXT_BPE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "text/vocab.h"

enum {
    BPE_ID_BITS = 20, /* ids of the model are below 1 << 20: two of them and a rank fill 64 bits */
    BPE_MAX_VOCAB = 1 << BPE_ID_BITS,
    BPE_MAX_MERGES = (1 << 24) - 1,
    BPE_NO_RANK = (1 << 24) - 1,
    BPE_SHORT = 64, /* pieces up to this many bytes are merged on the stack */
};

struct bpe {
    const struct vocab *vocab;
    int32_t byte_id[256]; /* −1: the vocabulary lacks the byte */
    bool has_all_bytes;
    uint64_t *pairs;          /* left << 44 | right << 24 | rank */
    uint8_t *tags;            /* of each slot of pairs a byte of its hash; 0: the slot is empty */
    int pairs_shift;          /* 64 − log2 of the slots */
    size_t pairs_mask;        /* slots − 1 */
    uint32_t *byte_pair_rank; /* [256 × 256] of two bytes, or BPE_NO_RANK */
    int32_t *merged;          /* [n_merges], the id that a merge gives */
    int32_t merged_first;     /* if merged[rank] is merged_first + rank for all; else −1 */
    int32_t n_merges;
    uint32_t *by_bytes; /* bytes -> id + 1, of tokens in the alphabet; only with ignore_merges */
    size_t by_bytes_mask;
    bool ignore_merges; /* a piece that is itself a token is that token */
    bool fuse_unk;
    int32_t unk_id; /* for bytes that the vocabulary lacks; −1: they vanish */
};

/* One merge, in the order of rank. */
struct bpe_merge {
    int32_t left, right, merged;
};

/* vocab is kept. Of equal pairs the last rank counts, as in HF. */
int bpe_init(struct bpe *b, const struct vocab *vocab, const struct bpe_merge *merges,
             int32_t n_merges, bool ignore_merges, struct err *err);

/* The same, where neighbours in the list that give one token have one rank: SentencePiece's rule, by
 * which the pair whose token has the best score is merged, the leftmost of equals. */
int bpe_init_by_token(struct bpe *b, const struct vocab *vocab, const struct bpe_merge *merges,
                      int32_t n_merges, struct err *err);
void bpe_release(struct bpe *b);

/* Memory for long pieces, kept between calls. */
struct bpe_scratch {
    struct bpe_symbol *symbols;
    uint64_t *heap;
    size_t n_symbols_max, n_heap, n_heap_max;
};

void bpe_scratch_release(struct bpe_scratch *s);

/* Writes the ids of n ≥ 1 bytes to out, which has room for n, and their number to *n_out.
 * MOE2_ELIMIT without memory. */
int bpe_encode(int32_t *out, size_t *n_out, const struct bpe *b, struct bpe_scratch *s,
               const uint8_t *bytes, size_t n, struct err *err);

/* Merges *n_ids ids in place: for vocabularies of characters, whose first ids are the caller's to
 * find. */
int bpe_merge_ids(int32_t *ids, size_t *n_ids, const struct bpe *b, struct bpe_scratch *s,
                  struct err *err);

#endif
