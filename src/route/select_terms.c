/* The number of right answers as a sum of terms [mask ⊆ U], U being the experts left out.
 *
 * Expert i answers a prompt exactly when it is in and the set B of those called before it is out: [B ⊆ U] − [B ∪ {i} ⊆ U]. So a
 * right cell is two terms. With coverage a prompt with the right ones R is 1 − [R ⊆ U]. Which are called before which is one
 * comparison a pair of experts and prompt, many prompts at a time: nothing is sorted.
 */
#include <stdlib.h>
#include <string.h>

#include "route/select_search.h"

/* Where the terms of a tile go. */
struct sink {
    void *table; /* or NULL: the list */
    bool wide;
    struct select_entry *list; /* sorted and merged up to n_sorted */
    int64_t n, n_sorted, capacity;
    int bits;
};

enum { MAX_UNSORTED = 1 << 22 };

/* ---- the list ---- */

/* Sorts by mask, least significant digit first. */
static void radix_sort(struct select_entry *x, struct select_entry *other, int64_t n, int bits)
{
    enum { DIGIT = 11, N_DIGITS = 1 << DIGIT };
    struct select_entry *from = x, *to = other;
    for (int shift = 0; shift < bits; shift += DIGIT) {
        int64_t at[N_DIGITS] = {0}, sum = 0;
        for (int64_t k = 0; k < n; k++)
            at[from[k].mask >> shift & (N_DIGITS - 1)]++;
        for (int d = 0; d < N_DIGITS; d++) {
            int64_t count = at[d];
            at[d] = sum;
            sum += count;
        }
        for (int64_t k = 0; k < n; k++)
            to[at[from[k].mask >> shift & (N_DIGITS - 1)]++] = from[k];
        struct select_entry *t = from;
        from = to;
        to = t;
    }
    if (from != x)
        memcpy(x, from, (size_t)n * sizeof *x);
}

/* Adds up what has one mask and drops what came to nothing; returns how many are left. */
static int64_t add_up(struct select_entry *x, int64_t n)
{
    int64_t kept = 0;
    for (int64_t k = 0; k < n;) {
        struct select_entry e = x[k++];
        for (; k < n && x[k].mask == e.mask; k++)
            e.weight += x[k].weight;
        if (e.weight)
            x[kept++] = e;
    }
    return kept;
}

static int tidy(struct sink *s, struct err *err)
{
    struct select_entry *other = malloc((size_t)(s->n ? s->n : 1) * sizeof *other);
    if (!other)
        return err_set(err, MOE2_ELIMIT, "no memory for %lld terms", (long long)s->n);
    radix_sort(s->list, other, s->n, s->bits);
    s->n = s->n_sorted = add_up(s->list, s->n);
    free(other);
    return 0;
}

static int make_room(struct sink *s, int64_t n_more, struct err *err)
{
    int rc = s->n - s->n_sorted > MAX_UNSORTED + s->n_sorted ? tidy(s, err) : 0;
    if (rc || s->table || s->n + n_more <= s->capacity)
        return rc;
    int64_t capacity = 2 * s->capacity + n_more;
    struct select_entry *list = realloc(s->list, (size_t)capacity * sizeof *list);
    if (!list)
        return err_set(err, MOE2_ELIMIT, "no memory for %lld terms", (long long)capacity);
    s->list = list;
    s->capacity = capacity;
    return 0;
}

/* ---- terms ---- */

static inline void put(struct sink *s, uint64_t mask, int64_t weight)
{
    s->list[s->n++] = (struct select_entry){mask, weight};
}

/* The cells of one expert, mask[q] those called before it. */
static void put_cells32(struct sink *s, const uint32_t *mask, const uint8_t *right, uint32_t own,
                        int64_t n)
{
    uint16_t *t16 = s->table;
    uint32_t *t32 = s->table;
    for (int64_t q = 0; q < n && t16 && !s->wide; q++) {
        t16[mask[q]] = (uint16_t)(t16[mask[q]] + right[q]);
        t16[mask[q] | own] = (uint16_t)(t16[mask[q] | own] - right[q]);
    }
    for (int64_t q = 0; q < n && t32 && s->wide; q++) {
        t32[mask[q]] += right[q];
        t32[mask[q] | own] -= right[q];
    }
    for (int64_t q = 0; q < n && !s->table; q++)
        if (right[q]) {
            put(s, mask[q], 1);
            put(s, mask[q] | own, -1);
        }
}

static void put_cells64(struct sink *s, const uint64_t *mask, const uint8_t *right, uint64_t own,
                        int64_t n)
{
    for (int64_t q = 0; q < n; q++)
        if (right[q]) {
            put(s, mask[q], 1);
            put(s, mask[q] | own, -1);
        }
}

static void put_tile(struct sink *s, const struct select_tile *t, int N, const int *pos,
                     const struct select_ops *ops)
{
    union {
        uint64_t wide[SELECT_TILE];
        uint32_t narrow[SELECT_TILE];
    } mask;
    for (int i = 0; i < N; i++) {
        const float *own = t->score + i * SELECT_STRIDE;
        const uint8_t *right = t->right + i * SELECT_STRIDE;
        memset(&mask, 0, sizeof mask);
        for (int j = 0; j < N; j++) {
            if (j == i)
                continue;
            const float *other = t->score + j * SELECT_STRIDE;
            if (N <= 32)
                ops->above32(mask.narrow, 1u << pos[j], own, other, j < i, t->n);
            else
                ops->above64(mask.wide, 1ull << pos[j], own, other, j < i, t->n);
        }
        if (N <= 32)
            put_cells32(s, mask.narrow, right, 1u << pos[i], t->n);
        else
            put_cells64(s, mask.wide, right, 1ull << pos[i], t->n);
    }
}

static void put_covered(struct sink *s, const struct select_tile *t, int N, const int *pos)
{
    for (int64_t q = 0; q < t->n; q++) {
        uint64_t right = 0;
        for (int i = 0; i < N; i++)
            right |= (uint64_t)t->right[i * SELECT_STRIDE + q] << pos[i];
        if (!s->table) {
            put(s, 0, 1);
            put(s, right, -1);
        } else if (s->wide) {
            ((uint32_t *)s->table)[0]++;
            ((uint32_t *)s->table)[right]--;
        } else {
            ((uint16_t *)s->table)[0]++;
            ((uint16_t *)s->table)[right]--;
        }
    }
}

static int put_all(struct sink *s, const struct select_state *state, const int *pos,
                   const struct select_ops *ops, struct err *err)
{
    const struct select_problem *p = state->p;
    struct select_tile t = {0};
    int rc = select_tile_init(&t, p->N, err);
    for (int64_t first = 0; first < p->n && !rc; first += SELECT_TILE) {
        select_tile_load(&t, state, first);
        rc = make_room(s, s->table ? 0 : 2 * SELECT_TILE * (int64_t)p->N, err);
        if (!rc && p->objective == SELECT_COVERAGE)
            put_covered(s, &t, p->N, pos);
        else if (!rc)
            put_tile(s, &t, p->N, pos, ops);
    }
    select_tile_release(&t);
    return rc;
}

int select_terms_table(void *table, bool wide, const struct select_state *s, const int *pos,
                       const struct select_ops *ops, struct err *err)
{
    struct sink sink = {.table = table, .wide = wide, .bits = s->p->N};
    return put_all(&sink, s, pos, ops, err);
}

int select_terms_list(struct select_entry **list, int64_t *n, const struct select_state *s,
                      const int *pos, const struct select_ops *ops, struct err *err)
{
    struct sink sink = {.bits = s->p->N};
    int rc = put_all(&sink, s, pos, ops, err);
    if (!rc)
        rc = tidy(&sink, err);
    if (rc) {
        free(sink.list);
        return rc;
    }
    *list = sink.list;
    *n = sink.n;
    return 0;
}
