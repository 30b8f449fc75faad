/* Learning merges from counted pieces: the loop of a BPE trainer (Sennrich et al., arXiv
 * 1508.07909, algorithm 1), in the order and with the rules of HF's BpeTrainer, so that equal
 * counts give equal merges.
 */
#ifndef MOE2_TEXT_BPE_LEARN_H
#define MOE2_TEXT_BPE_LEARN_H

#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/log.h"
#include "text/bpe.h"
#include "text/bpe_count.h"

/* Tokens made so far, by their written form; the first come from outside (specials, bytes). */
struct token_list {
    struct span *written; /* [n_max], pointing into text */
    int32_t n, n_max;
    uint32_t *slots; /* written form -> id + 1 */
    size_t mask;
    char **blocks; /* where the written forms lie */
    size_t n_blocks, n_block, n_block_max;
};

int token_list_init(struct token_list *t, int32_t n_max, struct err *err);
void token_list_release(struct token_list *t);

/* The id of a written form: as before, or a new one (then *added, which may be NULL, is true). */
int token_list_add(int32_t *id, bool *added, struct token_list *t, const char *a, size_t n_a,
                   const char *b, size_t n_b, struct err *err);

struct bpe_learn_limits {
    int32_t n_tokens;      /* stop when there are so many */
    int64_t min_frequency; /* … or when no pair is that frequent */
    const struct log_sink *sink;
    const volatile int *stop;
};

/* Learns merges: *merges becomes a new array of *n_merges, the caller's, and their results are
 * added to tokens. byte_id has the 256 tokens that pieces are made of. */
int bpe_learn(struct bpe_merge **merges, int32_t *n_merges, struct token_list *tokens,
              const int32_t *byte_id, const struct piece_counts *counts,
              const struct bpe_learn_limits *limits, struct err *err);

#endif
