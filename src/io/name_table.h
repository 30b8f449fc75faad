/* Texts to numbers, the texts kept: the first one added is 0, the next new one 1, and so on. All lie in one buffer, so that ten
 * million ids cost their bytes and sixteen more each. (name_map.h is for names that somebody else keeps.)
 */
#ifndef MOE2_IO_NAME_TABLE_H
#define MOE2_IO_NAME_TABLE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"

enum { NAME_TABLE_MAX = 1 << 28 };

struct name_table {
    struct buf text; /* every text with a NUL behind it */
    size_t *at;      /* [n] where each begins; owned */
    int64_t n, capacity;
    uint32_t *slots; /* index + 1, 0 empty; a power of two of them, at most half full; owned */
    uint64_t n_slots;
};

/* Adds the n bytes of text (no NUL among them) if they are new. *idx is their number, *is_new (NULL is fine) whether they were
 * added. MOE2_ELIMIT beyond NAME_TABLE_MAX texts, 2 GiB of them, or memory. A zeroed table is an empty one. */
int name_table_add(struct name_table *t, int64_t *idx, bool *is_new, const char *text, size_t n,
                   struct err *err);

/* The number of a text, or −1. */
int64_t name_table_find(const struct name_table *t, const char *text, size_t n);

/* Text number idx, NUL-ended; borrowed until the next add or the release. */
const char *name_table_text(const struct name_table *t, int64_t idx);

void name_table_release(struct name_table *t); /* a zeroed table is fine */

#endif
