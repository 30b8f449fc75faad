/* Arenas: see arena.h. A list of blocks, each at least twice the last; a request larger than that gets a block of its own size. */
#include "base/arena.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

enum { ALIGN = 64, FIRST_BLOCK = 1 << 16 };

struct arena_block {
    struct arena_block *next;
    size_t size, used;
    char pad[ALIGN - sizeof(void *) - 2 * sizeof(size_t)];
    char bytes[];
};

_Static_assert(sizeof(struct arena_block) == ALIGN, "the bytes of a block must be aligned");

static struct arena_block *block_new(size_t size)
{
    if (size > SIZE_MAX - sizeof(struct arena_block) - ALIGN)
        return NULL;
    size_t total = (sizeof(struct arena_block) + size + ALIGN - 1) / ALIGN * ALIGN;
    struct arena_block *b = aligned_alloc(ALIGN, total);
    if (!b)
        return NULL;
    b->next = NULL;
    b->size = total - sizeof *b;
    b->used = 0;
    return b;
}

/* A block after current that has room: an old one kept by reset, or a new one linked in. */
static struct arena_block *block_with_room(struct arena *a, size_t n_bytes)
{
    while (a->current && a->current->next) {
        a->current = a->current->next;
        a->current->used = 0;
        if (a->current->size >= n_bytes)
            return a->current;
    }
    size_t size = a->current ? 2 * a->current->size : FIRST_BLOCK;
    struct arena_block *b = block_new(size > n_bytes ? size : n_bytes);
    if (!b)
        b = block_new(n_bytes);
    if (!b)
        return NULL;
    if (a->current)
        a->current->next = b;
    else
        a->first = b;
    return a->current = b;
}

void *arena_alloc(struct arena *a, size_t n_bytes, struct err *err)
{
    if (n_bytes > SIZE_MAX / 2) {
        err_set(err, MOE2_ELIMIT, "an allocation of %zu bytes is more than any memory", n_bytes);
        return NULL;
    }
    size_t rounded = (n_bytes + ALIGN - 1) / ALIGN * ALIGN;
    if (a->limit_bytes && (rounded > a->limit_bytes || a->used_bytes > a->limit_bytes - rounded)) {
        err_set(err, MOE2_ELIMIT, "%zu bytes more than the %zu in use pass the limit of %zu bytes",
                rounded, a->used_bytes, a->limit_bytes);
        return NULL;
    }
    struct arena_block *b = a->current;
    if (!b || b->size - b->used < rounded)
        b = block_with_room(a, rounded);
    if (!b) {
        err_set(err, MOE2_ELIMIT, "no memory for %zu bytes beside the %zu in use", n_bytes,
                a->used_bytes);
        return NULL;
    }
    void *p = b->bytes + b->used;
    b->used += rounded;
    a->used_bytes += rounded;
    if (a->used_bytes > a->peak_bytes)
        a->peak_bytes = a->used_bytes;
    return p;
}

void *arena_calloc(struct arena *a, size_t n_bytes, struct err *err)
{
    void *p = arena_alloc(a, n_bytes, err);
    return p ? memset(p, 0, n_bytes) : NULL;
}

char *arena_strdup(struct arena *a, const char *s, struct err *err)
{
    size_t n = strlen(s) + 1;
    char *p = arena_alloc(a, n, err);
    return p ? memcpy(p, s, n) : NULL;
}

void arena_reset(struct arena *a)
{
    a->current = a->first;
    if (a->first)
        a->first->used = 0;
    a->used_bytes = 0;
}

void arena_release(struct arena *a)
{
    for (struct arena_block *b = a->first, *next; b; b = next) {
        next = b->next;
        free(b);
    }
    *a = (struct arena){0};
}
