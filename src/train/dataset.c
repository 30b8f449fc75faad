/* The training order: see dataset.h. */
#include "train/dataset.h"

#include <assert.h>
#include <inttypes.h>
#include <string.h>

#include "base/rng.h"

int dataset_init(struct dataset *out, const struct tokens *tokens, int64_t sequence, uint64_t seed,
                 struct err *err)
{
    assert(sequence >= 1);
    int64_t n = tokens->n > 0 ? (tokens->n - 1) / sequence : 0;
    if (n < 1)
        return err_set(err, MOE2_ECONFIG,
                       "the training text has %" PRId64 " tokens, wanted at least %" PRId64
                       " for one sequence",
                       tokens->n, sequence + 1);
    *out = (struct dataset){.tokens = *tokens, .sequence = sequence, .n_windows = n, .seed = seed};
    return 0;
}

/* One pass of the network over 2·half bits. */
static uint64_t feistel(uint64_t x, int half, uint64_t seed, uint64_t epoch)
{
    uint64_t mask = ((uint64_t)1 << half) - 1, left = x >> half, right = x & mask;
    for (uint64_t round = 0; round < 4; round++) {
        uint64_t next = left ^ (rng_at(seed, epoch, round, right) & mask);
        left = right;
        right = next;
    }
    return left << half | right;
}

int64_t dataset_window(const struct dataset *d, int64_t n)
{
    assert(n >= 0);
    uint64_t size = (uint64_t)d->n_windows, epoch = (uint64_t)n / size, x = (uint64_t)n % size;
    int half = 1;
    while (((uint64_t)1 << 2 * half) < size)
        half++;
    do
        x = feistel(x, half, d->seed, epoch);
    while (x >= size);
    return (int64_t)x;
}

void dataset_init_packs(struct dataset *out, const struct packs *packs, uint64_t seed)
{
    *out = (struct dataset){
        .packs = packs, .sequence = packs->sequence, .n_windows = packs->n, .seed = seed};
}

int64_t dataset_targets(const struct dataset *d, int64_t first, int64_t n)
{
    int64_t sum = 0;
    if (!d->packs)
        return n * d->sequence; /* every token of a window is one */
    for (int64_t i = 0; i < n; i++)
        sum += d->packs->n_targets[dataset_window(d, first + i)];
    return sum;
}

int dataset_read(struct dataset_batch *b, const struct dataset *d, int64_t first, int64_t n,
                 struct err *err)
{
    int64_t S = d->sequence;
    b->T = b->B = 0;
    b->offset[0] = 0;
    for (int64_t i = 0; i < n; i++) {
        int64_t window = dataset_window(d, first + i);
        if (d->packs) {
            packs_append(b->ids, b->targets, b->offset, &b->T, &b->B, d->packs, window);
            continue;
        }
        int rc = tokens_read(b->scratch, &d->tokens, window * S, S + 1, err);
        if (rc)
            return rc;
        memcpy(b->ids + i * S, b->scratch, (size_t)S * sizeof *b->ids);
        memcpy(b->targets + i * S, b->scratch + 1, (size_t)S * sizeof *b->targets);
        b->T += S;
        b->offset[++b->B] = (int32_t)b->T;
    }
    return 0;
}
