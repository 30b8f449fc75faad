/* The set of seen texts and the index of texts: see text_dedup.h. Both are tables with open addressing; the set is doubled when three
 * quarters full, the index when half full. */
#include "pipeline/text_dedup.h"

#include <stdlib.h>
#include <string.h>

/* ---- the hash ---- */

static uint64_t fold(uint64_t a, uint64_t b)
{
    __uint128_t p = (__uint128_t)a * b;
    return (uint64_t)p ^ (uint64_t)(p >> 64);
}

/* Digits of pi's fraction, odd: any constants without structure would do. */
static const uint64_t K0 = 0x243F6A8885A308D3u, K1 = 0x13198A2E03707345u, K2 = 0xA4093822299F31D1u,
                      K3 = 0x082EFA98EC4E6C89u;

struct lanes {
    uint64_t a, b;
    uint64_t word; /* bytes not mixed in yet */
    uint64_t n_bytes;
};

static void put_word(struct lanes *l)
{
    l->a = fold(l->a ^ l->word, K0);
    l->b = fold(l->b + l->word, K1 ^ l->b);
    l->word = 0;
}

static inline void put_byte(struct lanes *l, uint64_t c)
{
    l->word |= c << 8 * (l->n_bytes & 7);
    if ((++l->n_bytes & 7) == 0)
        put_word(l);
}

struct text_hash text_hash(const char *text, size_t n)
{
    struct lanes l = {.a = K2, .b = K3};
    bool blank = false;
    for (size_t i = 0; i < n; i++) {
        uint8_t c = (uint8_t)text[i];
        if (c == ' ' || (c >= '\t' && c <= '\r')) {
            blank = true;
            continue;
        }
        if (blank && l.n_bytes)
            put_byte(&l, ' ');
        blank = false;
        put_byte(&l, c >= 'A' && c <= 'Z' ? c + 32u : c);
    }
    put_word(&l);
    l.word = l.n_bytes;
    put_word(&l);
    return (struct text_hash){fold(l.a ^ K1, l.b ^ K3), fold(l.b ^ K0, l.a ^ K2)};
}

/* ---- the set ---- */

struct text_seen {
    struct text_hash *slots; /* {0, 0}: free */
    size_t n_slots, n_used, max_slots;
    bool full;
};

int text_seen_new(struct text_seen **out, int64_t max_bytes, struct err *err)
{
    if (max_bytes < 4096)
        return err_set(err, MOE2_ECONFIG,
                       "memory against duplicates is %lld bytes, wanted at least 4096",
                       (long long)max_bytes);
    struct text_seen *s = calloc(1, sizeof *s);
    if (!s)
        return err_set(err, MOE2_ELIMIT, "no memory against duplicates");
    s->max_slots = 256;
    while (s->max_slots <= (size_t)max_bytes / sizeof *s->slots / 2)
        s->max_slots *= 2;
    s->n_slots = 256;
    s->slots = calloc(s->n_slots, sizeof *s->slots);
    if (!s->slots) {
        free(s);
        return err_set(err, MOE2_ELIMIT, "no memory against duplicates");
    }
    *out = s;
    return 0;
}

void text_seen_free(struct text_seen *s)
{
    if (s)
        free(s->slots);
    free(s);
}

/* The slot that holds h, or the free one where it belongs. */
static size_t find(const struct text_hash *slots, size_t n_slots, struct text_hash h)
{
    size_t i = h.a & (n_slots - 1);
    while ((slots[i].a || slots[i].b) && (slots[i].a != h.a || slots[i].b != h.b))
        i = (i + 1) & (n_slots - 1);
    return i;
}

static int grow(struct text_seen *s, struct err *err)
{
    size_t n_slots = 2 * s->n_slots;
    struct text_hash *slots = calloc(n_slots, sizeof *slots);
    if (!slots)
        return err_set(err, MOE2_ELIMIT, "no memory for %zu hashes against duplicates", n_slots);
    for (size_t i = 0; i < s->n_slots; i++)
        if (s->slots[i].a || s->slots[i].b)
            slots[find(slots, n_slots, s->slots[i])] = s->slots[i];
    free(s->slots);
    s->slots = slots;
    s->n_slots = n_slots;
    return 0;
}

int text_seen_add(bool *seen, struct text_seen *s, struct text_hash h, struct err *err)
{
    if (!h.a && !h.b)
        h.a = 1;
    if (4 * (s->n_used + 1) > 3 * s->n_slots && s->n_slots < s->max_slots) {
        int rc = grow(s, err);
        if (rc)
            return rc;
    }
    size_t i = find(s->slots, s->n_slots, h);
    *seen = s->slots[i].a || s->slots[i].b;
    if (*seen)
        return 0;
    if (4 * (s->n_used + 1) > 3 * s->n_slots) {
        s->full = true;
        return 0;
    }
    s->slots[i] = h;
    s->n_used++;
    return 0;
}

bool text_seen_is_full(const struct text_seen *s)
{
    return s->full;
}

int64_t text_seen_bytes(const struct text_seen *s)
{
    return (int64_t)(s->n_slots * sizeof *s->slots);
}

/* ---- the index ---- */

struct text_index_slot {
    struct text_hash hash;
    uint32_t number; /* 0: free */
};

/* The slot that holds h, or the free one where it belongs. */
static struct text_index_slot *slot_of(struct text_index_slot *slots, uint64_t n_slots,
                                       struct text_hash h)
{
    uint64_t i = h.a & (n_slots - 1);
    while (slots[i].number && (slots[i].hash.a != h.a || slots[i].hash.b != h.b))
        i = (i + 1) & (n_slots - 1);
    return &slots[i];
}

static int grow_index(struct text_index *x, struct err *err)
{
    uint64_t n = x->n_slots ? 2 * x->n_slots : 1024;
    struct text_index_slot *slots = calloc(n, sizeof *slots);
    if (!slots)
        return err_set(err, MOE2_ELIMIT, "no memory for an index of %llu texts",
                       (unsigned long long)n / 2);
    for (uint64_t i = 0; i < x->n_slots; i++)
        if (x->slots[i].number)
            *slot_of(slots, n, x->slots[i].hash) = x->slots[i];
    free(x->slots);
    x->slots = slots;
    x->n_slots = n;
    return 0;
}

int text_index_at(uint32_t **number, struct text_index *x, struct text_hash h, struct err *err)
{
    int rc = 2 * (x->n_used + 1) > x->n_slots ? grow_index(x, err) : 0;
    if (rc)
        return rc;
    struct text_index_slot *slot = slot_of(x->slots, x->n_slots, h);
    if (!slot->number) {
        slot->hash = h;
        x->n_used++;
    }
    *number = &slot->number;
    return 0;
}

uint32_t text_index_find(const struct text_index *x, struct text_hash h)
{
    return x->n_slots ? slot_of(x->slots, x->n_slots, h)->number : 0;
}

void text_index_release(struct text_index *x)
{
    free(x->slots);
    *x = (struct text_index){0};
}
