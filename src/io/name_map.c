/* Names to numbers: see name_map.h. Open addressing with linear probing over FNV-1a. */
#include "io/name_map.h"

#include <stdlib.h>
#include <string.h>

static uint64_t hash_of(const char *s)
{
    uint64_t h = 0xcbf29ce484222325u;
    for (; *s; s++)
        h = (h ^ (uint8_t)*s) * 0x100000001b3u;
    return h ^ h >> 32;
}

/* The slot that holds name, or the empty one where it belongs. */
static uint64_t slot_of(const struct name_map *m, const char *name)
{
    uint64_t i = hash_of(name) & (m->n_slots - 1);
    while (m->slots[i] && strcmp(m->names[m->slots[i] - 1], name) != 0)
        i = (i + 1) & (m->n_slots - 1);
    return i;
}

static int grow(struct name_map *m, struct err *err)
{
    int64_t capacity = m->capacity ? 2 * m->capacity : 64;
    uint64_t n_slots = 2 * (uint64_t)capacity;
    if (capacity >= UINT32_MAX / 2)
        return err_set(err, MOE2_ELIMIT, "more than %lld names", (long long)m->capacity);
    const char **names = realloc(m->names, (size_t)capacity * sizeof *names);
    if (names)
        m->names = names;
    uint32_t *slots = names ? calloc(n_slots, sizeof *slots) : NULL;
    if (!slots)
        return err_set(err, MOE2_ELIMIT, "no memory for %lld names", (long long)capacity);
    free(m->slots);
    m->capacity = capacity;
    m->slots = slots;
    m->n_slots = n_slots;
    for (int64_t i = 0; i < m->n; i++)
        m->slots[slot_of(m, m->names[i])] = (uint32_t)i + 1;
    return 0;
}

int name_map_add(struct name_map *m, int64_t *idx, bool *is_new, const char *name, struct err *err)
{
    if (m->n == m->capacity) {
        int rc = grow(m, err);
        if (rc)
            return rc;
    }
    uint64_t slot = slot_of(m, name);
    *is_new = m->slots[slot] == 0;
    if (*is_new) {
        m->names[m->n++] = name;
        m->slots[slot] = (uint32_t)m->n;
    }
    *idx = (int64_t)m->slots[slot] - 1;
    return 0;
}

int64_t name_map_find(const struct name_map *m, const char *name)
{
    return m->n_slots ? (int64_t)m->slots[slot_of(m, name)] - 1 : -1;
}

void name_map_release(struct name_map *m)
{
    free(m->names);
    free(m->slots);
    *m = (struct name_map){0};
}
