/* The 5-gram model: see ngram.h.
 *
 * Two hash tables an order n: grams, from n bytes to their count, and contexts, from n − 1 bytes to
 * the sums that the formula wants. Keys are the bytes as one number, oldest highest, so that a
 * context is its gram shifted right and a shorter history is a mask.
 */
#include "eval/ngram.h"

#include <assert.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

struct gram {
    uint64_t key; /* plus one; 0: free */
    int64_t count;
};

struct context {
    uint64_t key; /* plus one */
    int64_t sum;
    int64_t n_with[3]; /* bytes seen once, twice, oftener */
};

struct grams {
    struct gram *slots;
    size_t n_slots, n_used;
};

struct contexts {
    struct context *slots;
    size_t n_slots, n_used;
};

struct order {
    struct grams grams;
    struct contexts contexts;
    double discount[3];
};

struct ngram {
    struct order orders[NGRAM_ORDER]; /* [n − 1] */
    int64_t n_bytes, max_grams;
    uint64_t history; /* the last five bytes counted */
    bool full, estimated;
};

static const uint64_t LINE_ENDS = 0x0A0A0A0A;
static const int64_t MAX_GRAMS = (int64_t)1 << 24;

static size_t slot_of(uint64_t key, size_t n_slots)
{
    return (size_t)((key * 0x9E3779B97F4A7C15u) >> 20) & (n_slots - 1);
}

/* The slot of key, or the free one where it belongs. */
static struct gram *find_gram(const struct grams *g, uint64_t key)
{
    size_t i = slot_of(key, g->n_slots);
    while (g->slots[i].key && g->slots[i].key != key + 1)
        i = (i + 1) & (g->n_slots - 1);
    return &g->slots[i];
}

static struct context *find_context(const struct contexts *c, uint64_t key)
{
    size_t i = slot_of(key, c->n_slots);
    while (c->slots[i].key && c->slots[i].key != key + 1)
        i = (i + 1) & (c->n_slots - 1);
    return &c->slots[i];
}

static int resize_grams(struct grams *g, size_t n_slots, struct err *err)
{
    struct grams larger = {calloc(n_slots, sizeof *larger.slots), n_slots, g->n_used};
    if (!larger.slots)
        return err_set(err, MOE2_ELIMIT, "no memory for %zu n-grams", n_slots);
    for (size_t i = 0; i < g->n_slots; i++)
        if (g->slots[i].key)
            *find_gram(&larger, g->slots[i].key - 1) = g->slots[i];
    free(g->slots);
    *g = larger;
    return 0;
}

/* Counts one more; half full is full enough. */
static int add_gram(struct grams *g, uint64_t key, struct err *err)
{
    if (2 * (g->n_used + 1) > g->n_slots) {
        int rc = resize_grams(g, 2 * g->n_slots, err);
        if (rc)
            return rc;
    }
    struct gram *slot = find_gram(g, key);
    g->n_used += slot->key == 0;
    slot->key = key + 1;
    slot->count++;
    return 0;
}

/* ---- life ---- */

int ngram_new(struct ngram **out, int64_t max_grams, struct err *err)
{
    struct ngram *m = calloc(1, sizeof *m);
    if (!m)
        return err_set(err, MOE2_ELIMIT, "no memory for an n-gram model");
    m->max_grams = max_grams ? max_grams : MAX_GRAMS;
    m->history = LINE_ENDS;
    for (int i = 0; i < NGRAM_ORDER; i++) {
        int rc = resize_grams(&m->orders[i].grams, 1024, err);
        if (rc) {
            ngram_free(m);
            return rc;
        }
    }
    *out = m;
    return 0;
}

void ngram_free(struct ngram *m)
{
    if (!m)
        return;
    for (int i = 0; i < NGRAM_ORDER; i++) {
        free(m->orders[i].grams.slots);
        free(m->orders[i].contexts.slots);
    }
    free(m);
}

/* ---- counting ---- */

static uint64_t mask(int n_bytes)
{
    return ((uint64_t)1 << 8 * n_bytes) - 1;
}

int ngram_count(struct ngram *m, const char *text, size_t n, struct err *err)
{
    assert(!m->estimated);
    struct grams *g = &m->orders[NGRAM_ORDER - 1].grams;
    for (size_t i = 0; i < n && !m->full; i++) {
        uint64_t history = (m->history << 8 | (uint8_t)text[i]) & mask(NGRAM_ORDER);
        if ((int64_t)g->n_used >= m->max_grams && !find_gram(g, history)->key) {
            m->full = true;
            break;
        }
        int rc = add_gram(g, history, err);
        if (rc)
            return rc;
        m->history = history;
        m->n_bytes++;
    }
    return 0;
}

/* ---- estimating ---- */

/* The counts of an order below from the different grams of the one above: each tells one byte that
 * stood before. */
static int count_continuations(struct grams *below, const struct grams *above, int n,
                               struct err *err)
{
    int rc = 0;
    for (size_t i = 0; i < above->n_slots && !rc; i++)
        if (above->slots[i].key)
            rc = add_gram(below, (above->slots[i].key - 1) & mask(n), err);
    return rc;
}

static int sum_contexts(struct contexts *c, const struct grams *g, struct err *err)
{
    size_t n_slots = 1024;
    while (n_slots < 2 * g->n_used) /* there are no more contexts than grams */
        n_slots *= 2;
    c->slots = calloc(n_slots, sizeof *c->slots);
    if (!c->slots)
        return err_set(err, MOE2_ELIMIT, "no memory for %zu contexts", n_slots);
    c->n_slots = n_slots;
    for (size_t i = 0; i < g->n_slots; i++) {
        if (!g->slots[i].key)
            continue;
        int64_t count = g->slots[i].count;
        struct context *slot = find_context(c, (g->slots[i].key - 1) >> 8);
        c->n_used += slot->key == 0;
        slot->key = ((g->slots[i].key - 1) >> 8) + 1;
        slot->sum += count;
        slot->n_with[count > 2 ? 2 : count - 1]++;
    }
    return 0;
}

/* D_k = k − (k + 1)·Y·n_{k+1}/n_k with Y = n_1/(n_1 + 2·n_2), n_k the number of grams seen k times. */
static void estimate_discounts(double discount[3], const struct grams *g)
{
    int64_t n[5] = {0};
    for (size_t i = 0; i < g->n_slots; i++)
        if (g->slots[i].key && g->slots[i].count <= 4)
            n[g->slots[i].count]++;
    double y = n[1] > 0 ? (double)n[1] / (double)(n[1] + 2 * n[2]) : 0;
    for (int k = 1; k <= 3; k++) {
        double d = n[k] > 0 && n[k + 1] > 0 && y > 0
                       ? k - (k + 1) * y * (double)n[k + 1] / (double)n[k]
                       : 0.5 * k;
        discount[k - 1] = d > 0.01 && d <= k ? d : 0.5 * k;
    }
}

int ngram_estimate(struct ngram *m, struct err *err)
{
    assert(!m->estimated);
    int rc = 0;
    for (int n = NGRAM_ORDER; n >= 1 && !rc; n--) {
        struct order *o = &m->orders[n - 1];
        if (n < NGRAM_ORDER)
            rc = count_continuations(&o->grams, &m->orders[n].grams, n, err);
        if (!rc)
            rc = sum_contexts(&o->contexts, &o->grams, err);
        if (!rc)
            estimate_discounts(o->discount, &o->grams);
    }
    m->estimated = !rc;
    return rc;
}

/* ---- asking ---- */

/* The probability of the last byte of history behind the ones before, from order 1 upwards. */
static double probability(const struct ngram *m, uint64_t history)
{
    double p = 1.0 / 256;
    for (int n = 1; n <= NGRAM_ORDER; n++) {
        const struct order *o = &m->orders[n - 1];
        uint64_t key = history & mask(n);
        const struct context *c = find_context(&o->contexts, key >> 8);
        if (!c->key)
            break; /* nor is a longer one there */
        const struct gram *g = find_gram(&o->grams, key);
        int64_t count = g->key ? g->count : 0;
        double own = count ? (double)count - o->discount[count > 2 ? 2 : count - 1] : 0;
        double rest = 0;
        for (int k = 0; k < 3; k++)
            rest += o->discount[k] * (double)c->n_with[k];
        p = (own + rest * p) / (double)c->sum;
    }
    return p;
}

double ngram_probability(const struct ngram *m, const uint8_t context[NGRAM_CONTEXT], uint8_t next)
{
    assert(m->estimated);
    uint64_t history = 0;
    for (int i = 0; i < NGRAM_CONTEXT; i++)
        history = history << 8 | context[i];
    return probability(m, history << 8 | next);
}

double ngram_bits(const struct ngram *m, const char *text, size_t n)
{
    assert(m->estimated);
    uint64_t history = LINE_ENDS;
    double bits = 0;
    for (size_t i = 0; i < n; i++) {
        history = (history << 8 | (uint8_t)text[i]) & mask(NGRAM_ORDER);
        bits -= log2(probability(m, history));
    }
    return bits;
}

int64_t ngram_n_bytes(const struct ngram *m)
{
    return m->n_bytes;
}

int64_t ngram_n_grams(const struct ngram *m)
{
    return (int64_t)m->orders[NGRAM_ORDER - 1].grams.n_used;
}

bool ngram_is_full(const struct ngram *m)
{
    return m->full;
}
