/* Room off the device for the inputs of blocks, which a backward that recomputes its activations needs again: the host's memory, or a
 * file without a name that the system may write out.
 *
 *     store_reserve(&s, L, n_bytes, &err);      room for L inputs
 *     store_put(&s, l, x, n_bytes);             forward, block by block
 *     store_get(&s, l, x, n_bytes);             backward
 *
 * Copies are in the device's order and wait for nothing but the disk.
 */
#ifndef MOE2_MODEL_STORE_H
#define MOE2_MODEL_STORE_H

#include "kernels/device.h"

struct store {
    struct device *dev; /* NULL: not used */
    const char *dir;    /* of the file; NULL: memory */
    char *bytes;
    size_t n_bytes, each;
};

/* Makes or grows it: what it held is lost. MOE2_ELIMIT, MOE2_EIO. */
int store_reserve(struct store *s, int64_t n, size_t each, struct err *err);
void store_release(struct store *s); /* a zeroed one is fine */

void store_put(struct store *s, int64_t i, const void *from, size_t n_bytes);
void store_get(struct store *s, int64_t i, void *to, size_t n_bytes);

#endif
