/* Counting pieces: see bpe_count.h. */
#include "text/bpe_count.h"

#include <assert.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "text/piece_cache.h"
#include "text/vocab.h"

enum { START_BITS = 14, LONG = 0xff, POOL_BITS = 40 };

int piece_counts_init(struct piece_counts *c, size_t n_max, struct err *err)
{
    memset(c, 0, sizeof *c);
    c->mask = ((size_t)1 << START_BITS) - 1;
    c->n_max = n_max;
    c->entries = calloc(c->mask + 1, sizeof *c->entries);
    return c->entries ? 0 : err_set(err, MOE2_ELIMIT, "no memory to count pieces");
}

void piece_counts_release(struct piece_counts *c)
{
    free(c->entries);
    free(c->pool);
    memset(c, 0, sizeof *c);
}

static bool is_long(const struct counted *e)
{
    return e->key[1] >> 56 == LONG;
}

static size_t long_length(const struct counted *e)
{
    return e->key[1] >> POOL_BITS & 0xffff;
}

static const uint8_t *long_bytes(const struct piece_counts *c, const struct counted *e)
{
    return c->pool + (e->key[1] & (((uint64_t)1 << POOL_BITS) - 1));
}

const uint8_t *counted_bytes(const struct piece_counts *c, const struct counted *e, size_t *n)
{
    *n = is_long(e) ? long_length(e) : e->key[1] >> 56;
    return is_long(e) ? long_bytes(c, e) : (const uint8_t *)e->key;
}

static int grow(struct piece_counts *c, struct err *err)
{
    size_t mask = 2 * c->mask + 1;
    struct counted *entries = calloc(mask + 1, sizeof *entries);
    if (!entries)
        return err_set(err, MOE2_ELIMIT, "no memory for %zu distinct pieces", c->n);
    for (size_t i = 0; i <= c->mask; i++) {
        const struct counted *e = &c->entries[i];
        if (!e->count)
            continue;
        size_t at = (is_long(e) ? e->key[0] : piece_hash(e->key)) & mask;
        while (entries[at].count)
            at = (at + 1) & mask;
        entries[at] = *e;
    }
    free(c->entries);
    c->entries = entries;
    c->mask = mask;
    return 0;
}

/* Makes room for one more entry before a place is looked for. */
static int make_room(struct piece_counts *c, struct err *err)
{
    if (c->n >= c->n_max)
        return err_set(err, MOE2_ELIMIT, "more than %zu distinct pieces: train on less text",
                       c->n_max);
    return c->n > c->mask / 2 ? grow(c, err) : 0;
}

static int pool_put(struct piece_counts *c, const uint8_t *p, size_t n, struct err *err)
{
    if (c->n_pool + n > c->n_pool_max) {
        size_t size = c->n_pool_max ? 2 * c->n_pool_max : 1 << 16;
        while (size < c->n_pool + n)
            size *= 2;
        uint8_t *pool = realloc(c->pool, size);
        if (!pool)
            return err_set(err, MOE2_ELIMIT, "no memory for %zu bytes of long pieces", size);
        c->pool = pool;
        c->n_pool_max = size;
    }
    memcpy(c->pool + c->n_pool, p, n);
    c->n_pool += n;
    return 0;
}

static int add_long(struct piece_counts *c, const uint8_t *p, size_t n, int64_t count,
                    struct err *err)
{
    uint64_t hash = hash_bytes(p, n);
    size_t at = hash & c->mask;
    for (; c->entries[at].count; at = (at + 1) & c->mask) {
        struct counted *e = &c->entries[at];
        if (e->key[0] == hash && is_long(e) && long_length(e) == n &&
            memcmp(long_bytes(c, e), p, n) == 0) {
            e->count += count;
            return 0;
        }
    }
    uint64_t place = c->n_pool;
    int rc = pool_put(c, p, n, err);
    if (rc)
        return rc;
    c->entries[at] =
        (struct counted){{hash, (uint64_t)LONG << 56 | (uint64_t)n << POOL_BITS | place}, count};
    c->n++;
    return make_room(c, err);
}

int piece_counts_add(struct piece_counts *c, const uint8_t *p, size_t n, size_t n_room,
                     int64_t count, struct err *err)
{
    assert(n > 0 && n <= 0xffff && n_room >= n);
    if (n > PIECE_INLINE)
        return add_long(c, p, n, count, err);
    uint64_t key[2];
    piece_key(key, p, n, n_room);
    size_t at = piece_hash(key) & c->mask;
    for (; c->entries[at].count; at = (at + 1) & c->mask) {
        struct counted *e = &c->entries[at];
        if (e->key[0] == key[0] && e->key[1] == key[1]) {
            e->count += count;
            return 0;
        }
    }
    c->entries[at] = (struct counted){{key[0], key[1]}, count};
    c->n++;
    return make_room(c, err);
}

int piece_counts_join(struct piece_counts *c, const struct piece_counts *other, struct err *err)
{
    int rc = 0;
    for (size_t i = 0; i <= other->mask && !rc; i++) {
        const struct counted *e = &other->entries[i];
        if (!e->count)
            continue;
        size_t n;
        const uint8_t *p = counted_bytes(other, e, &n);
        rc = piece_counts_add(c, p, n, n, e->count, err);
    }
    return rc;
}
