/* Examples packed into sequences: prompts and answers of unequal length, several in one sequence,
 * attention kept inside each, targets in the answers alone.
 *
 *     examples_add(&examples, ids, n, n_prompt, err);   once for each
 *     packs_make(&packs, &examples, 512, seed, err);
 *     packs_read(ids, targets, offset, &n_tokens, &n_sequences, &packs, first, n);
 *
 * Packed once: examples in an order shuffled by the seed, each into the fullest pack that has room,
 * an open one of the last few. The packs' order is shuffled anew each epoch as windows are
 * (train/dataset.h), so the place in the data is one number here too.
 */
#ifndef MOE2_TRAIN_PACKS_H
#define MOE2_TRAIN_PACKS_H

#include "text/tokenizer.h"

/* Examples one behind the other; zeroed at the start. */
struct examples {
    struct ids ids;
    int64_t *end, *n_prompt; /* [n] owned: one past each example's last id; ids of its prompt */
    int64_t n, capacity;
};

/* n ids, the first n_prompt of which are no targets. MOE2_ELIMIT. */
int examples_add(struct examples *x, const int32_t *ids, int64_t n, int64_t n_prompt,
                 struct err *err);
void examples_release(struct examples *x);

struct packs {
    const struct examples *examples; /* borrowed */
    int64_t *first, *list; /* pack k: examples list[first[k]] … list[first[k+1] − 1] */
    int64_t *n_targets;    /* [n] of each pack */
    int64_t n, sequence;
    int64_t n_cut, n_dropped; /* examples longer than the sequence: their ends are not seen; those
                                 whose prompt alone fills it, or without an answer: not at all */
};

/* MOE2_ECONFIG when no example has a target within the sequence. */
int packs_make(struct packs *out, const struct examples *examples, int64_t sequence, uint64_t seed,
               struct err *err);
void packs_release(struct packs *p); /* a zeroed one is fine */

/* Pack k behind what ids, targets and offset hold already: *T tokens, *B sequences, which grow. The
 * arrays have room for a pack's sequence more. */
void packs_append(int32_t *ids, int32_t *targets, int32_t *offset, int64_t *T, int64_t *B,
                  const struct packs *p, int64_t k);

#endif
