/* Pieces seen before: see piece_cache.h. */
#include "text/piece_cache.h"

#include <stdbool.h>
#include <stdlib.h>

#include "text/vocab.h"

int piece_cache_init(struct piece_cache *c, struct err *err)
{
    memset(c, 0, sizeof *c);
    c->mask = ((size_t)1 << PIECE_START_BITS) - 1;
    c->pieces = calloc(c->mask + 1, sizeof *c->pieces);
    c->ids = malloc(PIECE_POOL_IDS * sizeof *c->ids);
    c->bytes = malloc(PIECE_POOL_BYTES);
    if (c->pieces && c->ids && c->bytes)
        return 0;
    piece_cache_release(c);
    return err_set(err, MOE2_ELIMIT, "no memory for a cache of words");
}

void piece_cache_release(struct piece_cache *c)
{
    free(c->pieces);
    free(c->ids);
    free(c->bytes);
    memset(c, 0, sizeof *c);
}

static bool is_long(const struct piece *e)
{
    return e->key[1] >> 56 == 0xff;
}

const struct piece *piece_find_long(const struct piece_cache *c, const uint8_t *p, size_t n,
                                    uint64_t *hash)
{
    *hash = hash_bytes(p, n);
    for (size_t i = 0; i < PIECE_PROBES; i++) {
        const struct piece *e = &c->pieces[(*hash + i) & c->mask];
        if (!e->n_ids)
            return NULL;
        if (e->key[0] == *hash && is_long(e) && (e->key[1] >> 32 & 0xffffff) == n &&
            memcmp(c->bytes + (uint32_t)e->key[1], p, n) == 0)
            return e;
    }
    return NULL;
}

/* Where an entry with this hash goes: the first free place, or the last one looked at. */
static struct piece *place_for(struct piece *pieces, size_t mask, uint64_t hash)
{
    struct piece *e = NULL;
    for (size_t i = 0; i < PIECE_PROBES; i++) {
        e = &pieces[(hash + i) & mask];
        if (!e->n_ids)
            return e;
    }
    return e;
}

static void empty(struct piece_cache *c)
{
    memset(c->pieces, 0, (c->mask + 1) * sizeof *c->pieces);
    c->n = c->n_ids = c->n_bytes = 0;
}

static void grow(struct piece_cache *c)
{
    size_t mask = 4 * (c->mask + 1) - 1;
    if (mask >= (size_t)1 << PIECE_MAX_BITS)
        mask = ((size_t)1 << PIECE_MAX_BITS) - 1;
    struct piece *pieces = mask > c->mask ? calloc(mask + 1, sizeof *pieces) : NULL;
    if (!pieces) {
        empty(c);
        return;
    }
    for (size_t i = 0; i <= c->mask; i++) {
        const struct piece *e = &c->pieces[i];
        if (e->n_ids)
            *place_for(pieces, mask, is_long(e) ? e->key[0] : piece_hash(e->key)) = *e;
    }
    free(c->pieces);
    c->pieces = pieces;
    c->mask = mask;
}

void piece_keep(struct piece_cache *c, const uint64_t key[2], uint64_t hash, const uint8_t *p,
                size_t n, const int32_t *ids, size_t n_ids)
{
    if (n_ids == 0 || n_ids > PIECE_MAX_IDS)
        return;
    if (c->n > c->mask / 2)
        grow(c);
    if (c->n_ids + n_ids > PIECE_POOL_IDS || c->n_bytes + n > PIECE_POOL_BYTES)
        empty(c);
    struct piece *e = place_for(c->pieces, c->mask, hash);
    c->n += !e->n_ids;
    if (key) {
        e->key[0] = key[0];
        e->key[1] = key[1];
    } else {
        e->key[0] = hash;
        e->key[1] = (uint64_t)0xff << 56 | (uint64_t)n << 32 | c->n_bytes;
        memcpy(c->bytes + c->n_bytes, p, n);
        c->n_bytes += n;
    }
    e->n_ids = (uint32_t)n_ids;
    if (n_ids <= PIECE_INLINE_IDS) {
        memcpy(e->ids, ids, n_ids * sizeof *ids);
    } else {
        e->ids[0] = (int32_t)c->n_ids;
        memcpy(c->ids + c->n_ids, ids, n_ids * sizeof *ids);
        c->n_ids += n_ids;
    }
}
