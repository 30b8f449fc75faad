/* Arenas: memory that is given back all at once.
 *
 * moe2 knows three lifetimes (the model, the training step or session, the request), and each has an arena. Nothing in an arena is
 * freed alone; a mark remembers a fill level and reset goes back to it, keeping the memory for the next step.
 *
 *     struct arena a = {0};
 *     float *x = arena_alloc(&a, n * sizeof *x, err);      64-byte aligned, not zeroed; NULL with err filled
 *     arena_reset(&a);                                     everything is free again, nothing is returned to the system
 *     arena_release(&a);
 */
#ifndef MOE2_BASE_ARENA_H
#define MOE2_BASE_ARENA_H

#include <stddef.h>

#include "base/err.h"

struct arena_block;

struct arena {
    struct arena_block *first, *current;
    size_t used_bytes;  /* handed out since the last reset */
    size_t peak_bytes;  /* largest used_bytes ever */
    size_t limit_bytes; /* 0: none */
};

/* n_bytes bytes aligned to 64, valid until the arena is reset or released. NULL and MOE2_ELIMIT when memory or limit_bytes end. */
void *arena_alloc(struct arena *a, size_t n_bytes, struct err *err);

/* The same, zeroed. */
void *arena_calloc(struct arena *a, size_t n_bytes, struct err *err);

/* A copy of the string s that lives as long as the arena. */
char *arena_strdup(struct arena *a, const char *s, struct err *err);

/* Makes every byte available again and keeps the blocks. Pointers handed out before are dead. */
void arena_reset(struct arena *a);

/* Returns everything to the system. A zeroed arena is fine; so is a second call. */
void arena_release(struct arena *a);

#endif
