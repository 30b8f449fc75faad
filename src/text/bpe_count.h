/* Counting pieces: how often each distinct piece of a text occurs. What a BPE trainer reads of a
 * corpus of any size is this table.
 *
 * Open addressing over 24-byte entries: a piece of up to 15 bytes lies in its entry, a longer one
 * in a pool.
 */
#ifndef MOE2_TEXT_BPE_COUNT_H
#define MOE2_TEXT_BPE_COUNT_H

#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

/* The key is a piece of up to 15 bytes and its length, as in piece_cache.h; or the hash of a longer
 * one, and 0xff << 56 | length << 40 | place in the pool. */
struct counted {
    uint64_t key[2];
    int64_t count; /* 0: the entry is empty */
};

struct piece_counts {
    struct counted *entries;
    size_t mask, n, n_max; /* n_max: more distinct pieces are MOE2_ELIMIT */
    uint8_t *pool;
    size_t n_pool, n_pool_max;
};

int piece_counts_init(struct piece_counts *c, size_t n_max, struct err *err);
void piece_counts_release(struct piece_counts *c);

/* Adds count to the piece of 1 to 65,535 bytes at p, of which n_room ≥ n bytes can be read. */
int piece_counts_add(struct piece_counts *c, const uint8_t *p, size_t n, size_t n_room,
                     int64_t count, struct err *err);

/* Adds everything of other. */
int piece_counts_join(struct piece_counts *c, const struct piece_counts *other, struct err *err);

/* The bytes of an entry; short ones lie in the entry itself. */
const uint8_t *counted_bytes(const struct piece_counts *c, const struct counted *e, size_t *n);

#endif
