/* The training order: an array of tokens cut into windows, and a seeded shuffle of them that needs
 * no memory.
 *
 * Window w covers tokens w·S … w·S + S: S inputs and, one place on, S targets; the tail that fills
 * no window is never seen. Attention goes across document ends inside a window (each document ends
 * with EOS), as is usual in pretraining. Sample number n of a run is window π_e(n mod W) of epoch e
 * = n / W, where W windows make an epoch and π_e is a permutation computed, not stored: so the
 * place in the data is the one number n, whatever the size of the corpus, and resuming is setting
 * it.
 *
 * The permutation is a Feistel network of four rounds on the smallest even number of bits that
 * holds W, walked until it lands below W (Black & Rogaway, "Ciphers with arbitrary finite domains",
 * 2002); the round function is rng_at.
 */
#ifndef MOE2_TRAIN_DATASET_H
#define MOE2_TRAIN_DATASET_H

#include "eval/tokens.h"
#include "train/packs.h"

struct dataset {
    struct tokens tokens;
    const struct packs *packs; /* instead of tokens: a window is a pack. NULL: none */
    int64_t sequence, n_windows;
    uint64_t seed;
};

/* MOE2_ECONFIG when the tokens don't fill one window. */
int dataset_init(struct dataset *out, const struct tokens *tokens, int64_t sequence, uint64_t seed,
                 struct err *err);

/* The same order over packs, borrowed. */
void dataset_init_packs(struct dataset *out, const struct packs *packs, uint64_t seed);

/* Targets among samples first … first + n − 1. */
int64_t dataset_targets(const struct dataset *d, int64_t first, int64_t n);

/* The window of sample n ≥ 0. */
int64_t dataset_window(const struct dataset *d, int64_t n);

/* What samples are read into; the caller's. */
struct dataset_batch {
    int32_t *ids, *targets; /* [n · sequence] */
    int32_t *offset;        /* [n + 1], of packs [n · sequence + 1] */
    int32_t *scratch;       /* [sequence + 1] */
    int64_t T, B;           /* tokens and sequences read */
};

/* Samples first … first + n − 1, laid end to end. */
int dataset_read(struct dataset_batch *b, const struct dataset *d, int64_t first, int64_t n,
                 struct err *err);

#endif
