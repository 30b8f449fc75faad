/* Pieces seen before and their ids: language repeats its words, and finding one here costs a tenth
 * of merging it again.
 *
 * A table of 32-byte entries with room for a piece of up to 15 bytes and 3 ids, which is nearly
 * every word; longer pieces and lists lie in two pools. It grows with the text to a fixed size;
 * when it or a pool is full it is emptied and begins anew. Nothing depends on it but speed, so that
 * running out of memory only stops its growth.
 */
#ifndef MOE2_TEXT_PIECE_CACHE_H
#define MOE2_TEXT_PIECE_CACHE_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "base/err.h"

enum {
    PIECE_INLINE = 15, /* bytes of a piece kept in its entry */
    PIECE_MAX = 128,   /* longer pieces are not kept */
    PIECE_MAX_IDS = 64,
    PIECE_INLINE_IDS = 3,
    PIECE_PROBES = 8, /* neighbours looked at, however a text may collide */
    PIECE_START_BITS = 12,
    PIECE_MAX_BITS = 17,
    PIECE_POOL_IDS = 1 << 18,
    PIECE_POOL_BYTES = 1 << 20,
};

/* The key is a piece of up to 15 bytes and its length in the last byte; or the hash of a longer one,
 * and 0xff << 56 | length << 32 | place in the pool. */
struct piece {
    uint64_t key[2];
    uint32_t n_ids;                /* 0: the entry is empty */
    int32_t ids[PIECE_INLINE_IDS]; /* or, of more, the place in the pool */
};

struct piece_cache {
    struct piece *pieces;
    size_t mask, n;
    int32_t *ids; /* pools */
    uint8_t *bytes;
    size_t n_ids, n_bytes;
};

int piece_cache_init(struct piece_cache *c, struct err *err);
void piece_cache_release(struct piece_cache *c);

/* The key of a piece of up to PIECE_INLINE bytes. n_room says how many bytes can be read at p, of
 * which n belong to the piece. */
static inline void piece_key(uint64_t key[2], const uint8_t *p, size_t n, size_t n_room)
{
    if (n_room >= 16) {
        memcpy(key, p, 16);
        /* keep n bytes: shifts by 64 are undefined, so n = 0 and n = 8 go by way of two halves */
        uint64_t low = n >= 8 ? UINT64_MAX : ((uint64_t)1 << (8 * n)) - 1;
        uint64_t high = n > 8 ? ((uint64_t)1 << (8 * (n - 8))) - 1 : 0;
        key[0] &= low;
        key[1] &= high;
    } else {
        key[0] = key[1] = 0;
        memcpy(key, p, n);
    }
    key[1] |= (uint64_t)n << 56;
}

static inline uint64_t piece_hash(const uint64_t key[2])
{
    unsigned __int128 x =
        (unsigned __int128)(key[0] ^ 0x9e3779b97f4a7c15u) * (key[1] ^ 0xa0761d6478bd642fu);
    return (uint64_t)x ^ (uint64_t)(x >> 64);
}

/* Asks for the memory that piece_find will look at. */
static inline void piece_prefetch(const struct piece_cache *c, uint64_t hash)
{
    __builtin_prefetch(&c->pieces[hash & c->mask]);
}

/* The entry of a short piece, or NULL. */
static inline const struct piece *piece_find(const struct piece_cache *c, const uint64_t key[2],
                                             uint64_t hash)
{
    for (size_t i = 0; i < PIECE_PROBES; i++) {
        const struct piece *e = &c->pieces[(hash + i) & c->mask];
        if (e->key[0] == key[0] && e->key[1] == key[1])
            return e;
        if (!e->n_ids)
            return NULL;
    }
    return NULL;
}

/* The entry of a piece of PIECE_INLINE + 1 to PIECE_MAX bytes, or NULL; its hash for piece_keep in
 * either case. */
const struct piece *piece_find_long(const struct piece_cache *c, const uint8_t *p, size_t n,
                                    uint64_t *hash);

static inline const int32_t *piece_ids(const struct piece_cache *c, const struct piece *e)
{
    return e->n_ids <= PIECE_INLINE_IDS ? e->ids : c->ids + e->ids[0];
}

/* Remembers the ids of a piece; key is NULL for a long one. */
void piece_keep(struct piece_cache *c, const uint64_t key[2], uint64_t hash, const uint8_t *p,
                size_t n, const int32_t *ids, size_t n_ids);

#endif
