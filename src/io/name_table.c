/* Texts to numbers: see name_table.h. Open addressing with linear probing over FNV-1a. */
#include "io/name_table.h"

#include <stdlib.h>
#include <string.h>

static uint64_t hash_of(const char *s, size_t n)
{
    uint64_t h = 0xcbf29ce484222325u;
    for (size_t i = 0; i < n; i++)
        h = (h ^ (uint8_t)s[i]) * 0x100000001b3u;
    return h ^ h >> 32;
}

static bool is_text(const struct name_table *t, int64_t idx, const char *text, size_t n)
{
    const char *own = name_table_text(t, idx);
    return strncmp(own, text, n) == 0 && own[n] == 0;
}

/* The slot that holds the text, or the empty one where it belongs. */
static uint64_t slot_of(const struct name_table *t, const char *text, size_t n)
{
    uint64_t i = hash_of(text, n) & (t->n_slots - 1);
    while (t->slots[i] && !is_text(t, (int64_t)t->slots[i] - 1, text, n))
        i = (i + 1) & (t->n_slots - 1);
    return i;
}

static int grow(struct name_table *t, struct err *err)
{
    int64_t capacity = t->capacity ? 2 * t->capacity : 64;
    uint64_t n_slots = 2 * (uint64_t)capacity;
    if (capacity > NAME_TABLE_MAX)
        return err_set(err, MOE2_ELIMIT, "more than %d different texts", NAME_TABLE_MAX);
    size_t *at = realloc(t->at, (size_t)capacity * sizeof *at);
    if (at)
        t->at = at;
    uint32_t *slots = at ? calloc(n_slots, sizeof *slots) : NULL;
    if (!slots)
        return err_set(err, MOE2_ELIMIT, "no memory for %lld texts", (long long)capacity);
    free(t->slots);
    t->capacity = capacity;
    t->slots = slots;
    t->n_slots = n_slots;
    for (int64_t i = 0; i < t->n; i++) {
        const char *text = name_table_text(t, i);
        t->slots[slot_of(t, text, strlen(text))] = (uint32_t)i + 1;
    }
    return 0;
}

int name_table_add(struct name_table *t, int64_t *idx, bool *is_new, const char *text, size_t n,
                   struct err *err)
{
    int rc = t->n == t->capacity ? grow(t, err) : 0;
    if (rc)
        return rc;
    uint64_t slot = slot_of(t, text, n);
    bool fresh = t->slots[slot] == 0;
    if (fresh) {
        size_t at = t->text.n;
        rc = buf_reserve(&t->text, n + 1, err);
        if (!rc)
            rc = buf_append(&t->text, text, n, err);
        if (!rc)
            rc = buf_append(&t->text, "", 1, err);
        if (rc)
            return rc;
        t->at[t->n++] = at;
        t->slots[slot] = (uint32_t)t->n;
    }
    *idx = (int64_t)t->slots[slot] - 1;
    if (is_new)
        *is_new = fresh;
    return 0;
}

int64_t name_table_find(const struct name_table *t, const char *text, size_t n)
{
    return t->n_slots ? (int64_t)t->slots[slot_of(t, text, n)] - 1 : -1;
}

const char *name_table_text(const struct name_table *t, int64_t idx)
{
    return t->text.bytes + t->at[idx];
}

void name_table_release(struct name_table *t)
{
    buf_release(&t->text);
    free(t->at);
    free(t->slots);
    *t = (struct name_table){0};
}
