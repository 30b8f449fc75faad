/* Unigram: which ids a piece becomes under a unigram language model (XLM-R, e5, gte-multilingual).
 *
 * The rule (Kudo 2018, "Subword Regularization"; HF tokenizers): of all ways to cut the piece into
 * tokens, the one whose scores (log probabilities) have the largest sum. A character that is no
 * token of its own may be the unknown token, at the smallest score minus 10. Found by Viterbi, one
 * pass over the piece with a tree of the tokens' bytes; of equal sums the one whose last token
 * begins first. Unknown neighbours are one unknown token, or, with byte_fallback, their bytes.
 */
#ifndef MOE2_TEXT_UNIGRAM_H
#define MOE2_TEXT_UNIGRAM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "text/trie.h"
#include "text/vocab.h"

struct unigram {
    const struct vocab *vocab;
    struct trie trie; /* under root 0 */
    double *scores;   /* [n_scores], owned */
    int32_t n_scores;
    double unk_score;
    int32_t unk_id;       /* −1: there is none */
    int32_t byte_id[256]; /* tokens <0x00> … <0xFF>; −1: missing */
    bool byte_fallback;
};

/* vocab is kept and holds n tokens, ids 0 … n−1; scores [n] become u's own, whatever comes out.
 * unk_id is one of the ids, or −1. MOE2_ELIMIT: as trie_init. */
int unigram_init(struct unigram *u, const struct vocab *vocab, double *scores, int32_t n,
                 int32_t unk_id, bool byte_fallback, struct err *err);
void unigram_release(struct unigram *u);

/* Memory of the walk, kept between calls. */
struct unigram_scratch {
    struct unigram_end *ends;
    size_t n_ends;
};

void unigram_scratch_release(struct unigram_scratch *s);

/* Writes the ids of n ≥ 1 bytes of valid UTF-8 to out, which has room for n, and their number to
 * *n_out. MOE2_EFORMAT where an unknown token would be needed and there is none; MOE2_ELIMIT
 * without memory. */
int unigram_encode(int32_t *out, size_t *n_out, const struct unigram *u, struct unigram_scratch *s,
                   const uint8_t *piece, size_t n, struct err *err);

#endif
