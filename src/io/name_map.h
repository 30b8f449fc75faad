/* Names to numbers: the first name added is 0, the next new one 1, and so on. Names are borrowed.
 * For checkpoints of 10^5 tensors. */
#ifndef MOE2_IO_NAME_MAP_H
#define MOE2_IO_NAME_MAP_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"

struct name_map {
    const char **names; /* owned array of borrowed strings, in order of adding */
    int64_t n, capacity;
    uint32_t *slots; /* index + 1 into names, 0 empty; a power of two of them, at most half full */
    uint64_t n_slots;
};

/* Adds name if it is new. *idx is its number, *is_new whether it was added. MOE2_ELIMIT without
 * memory. */
int name_map_add(struct name_map *m, int64_t *idx, bool *is_new, const char *name, struct err *err);

/* The number of a name, or −1. */
int64_t name_map_find(const struct name_map *m, const char *name);

void name_map_release(struct name_map *m); /* a zeroed map is fine */

#endif
