/* Packed examples: see packs.h. */
#include "train/packs.h"

#include <assert.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/rng.h"

enum { OPEN = 64 }; /* packs that are looked at for room */

static int grow(int64_t **list, int64_t capacity, struct err *err)
{
    int64_t *grown = realloc(*list, (size_t)capacity * sizeof *grown);
    if (!grown)
        return err_set(err, MOE2_ELIMIT, "no memory for %" PRId64 " examples", capacity);
    *list = grown;
    return 0;
}

int examples_add(struct examples *x, const int32_t *ids, int64_t n, int64_t n_prompt,
                 struct err *err)
{
    if (x->n == x->capacity) {
        int64_t capacity = x->capacity ? 2 * x->capacity : 256;
        int rc = grow(&x->end, capacity, err);
        if (!rc)
            rc = grow(&x->n_prompt, capacity, err);
        if (rc)
            return rc;
        x->capacity = capacity;
    }
    int rc = ids_append(&x->ids, ids, (size_t)n, err);
    if (rc)
        return rc;
    x->end[x->n] = (int64_t)x->ids.n;
    x->n_prompt[x->n++] = n_prompt;
    return 0;
}

void examples_release(struct examples *x)
{
    ids_release(&x->ids);
    free(x->end);
    free(x->n_prompt);
    *x = (struct examples){0};
}

static int64_t begin_of(const struct examples *x, int64_t i)
{
    return i ? x->end[i - 1] : 0;
}

/* Inputs of example i within a sequence: all ids but the last. */
static int64_t n_inputs(const struct examples *x, int64_t i, int64_t sequence)
{
    int64_t n = x->end[i] - begin_of(x, i) - 1;
    return n < sequence ? n : sequence;
}

/* Targets among them: ids behind the prompt. The first id is never one. */
static int64_t n_scored(const struct examples *x, int64_t i, int64_t sequence)
{
    int64_t prompt = x->n_prompt[i] > 0 ? x->n_prompt[i] : 1;
    int64_t n = n_inputs(x, i, sequence) + 1 - prompt;
    return n > 0 ? n : 0;
}

static void shuffle(int64_t *order, int64_t n, uint64_t seed)
{
    struct rng r;
    rng_init(&r, seed);
    for (int64_t i = 0; i < n; i++)
        order[i] = i;
    for (int64_t i = n - 1; i > 0; i--) {
        int64_t j = (int64_t)rng_below(&r, (uint64_t)i + 1), t = order[i];
        order[i] = order[j];
        order[j] = t;
    }
}

/* The pack of each example in pack_of, −1 for those left out; returns the number of packs. */
static int64_t assign(int64_t *pack_of, struct packs *p, const int64_t *order)
{
    const struct examples *x = p->examples;
    int64_t pack[OPEN] = {0}, room[OPEN] = {0}, n_open = 0, n = 0;
    for (int64_t k = 0; k < x->n; k++) {
        int64_t i = order[k], size = n_inputs(x, i, p->sequence), best = -1;
        pack_of[i] = -1;
        if (n_scored(x, i, p->sequence) < 1) {
            p->n_dropped++;
            continue;
        }
        p->n_cut += x->end[i] - begin_of(x, i) - 1 > p->sequence;
        for (int64_t j = 0; j < n_open; j++)
            if (room[j] >= size && (best < 0 || room[j] < room[best]))
                best = j;
        if (best < 0 && n_open == OPEN) { /* the fullest one closes */
            best = 0;
            for (int64_t j = 1; j < OPEN; j++)
                best = room[j] < room[best] ? j : best;
        } else if (best < 0) {
            best = n_open++;
        } else {
            room[best] -= size;
            pack_of[i] = pack[best];
            continue;
        }
        pack[best] = n++;
        room[best] = p->sequence - size;
        pack_of[i] = pack[best];
    }
    return n;
}

/* first and list from pack_of: examples by pack, in the order of the file. */
static void fill_lists(struct packs *p, const int64_t *pack_of)
{
    const struct examples *x = p->examples;
    for (int64_t i = 0; i < x->n; i++)
        if (pack_of[i] >= 0) {
            p->first[pack_of[i] + 1]++;
            p->n_targets[pack_of[i]] += n_scored(x, i, p->sequence);
        }
    for (int64_t k = 0; k < p->n; k++)
        p->first[k + 1] += p->first[k];
    for (int64_t i = 0; i < x->n; i++)
        if (pack_of[i] >= 0)
            p->list[p->first[pack_of[i]]++] = i;
    for (int64_t k = p->n; k > 0; k--)
        p->first[k] = p->first[k - 1];
    p->first[0] = 0;
}

int packs_make(struct packs *out, const struct examples *examples, int64_t sequence, uint64_t seed,
               struct err *err)
{
    struct packs p = {.examples = examples, .sequence = sequence};
    size_t n = (size_t)examples->n + 1;
    int64_t *order = malloc(n * sizeof *order), *pack_of = malloc(n * sizeof *pack_of);
    p.list = malloc(n * sizeof *p.list);
    int rc = order && pack_of && p.list ? 0 : MOE2_ELIMIT;
    if (!rc) {
        shuffle(order, examples->n, seed);
        p.n = assign(pack_of, &p, order);
        p.first = calloc((size_t)p.n + 1, sizeof *p.first);
        p.n_targets = calloc((size_t)p.n + 1, sizeof *p.n_targets);
        rc = p.first && p.n_targets ? 0 : MOE2_ELIMIT;
    }
    if (rc)
        err_set(err, rc, "no memory for packs of %" PRId64 " examples", examples->n);
    else if (!p.n)
        rc = err_set(err, MOE2_ECONFIG,
                     "none of %" PRId64 " examples has an answer within %" PRId64 " tokens",
                     examples->n, sequence);
    else
        fill_lists(&p, pack_of);
    free(order);
    free(pack_of);
    if (rc)
        packs_release(&p);
    else
        *out = p;
    return rc;
}

void packs_release(struct packs *p)
{
    free(p->first);
    free(p->list);
    free(p->n_targets);
    *p = (struct packs){0};
}

void packs_append(int32_t *ids, int32_t *targets, int32_t *offset, int64_t *T, int64_t *B,
                  const struct packs *p, int64_t k)
{
    const struct examples *x = p->examples;
    assert(k >= 0 && k < p->n);
    for (int64_t j = p->first[k]; j < p->first[k + 1]; j++) {
        int64_t i = p->list[j], n = n_inputs(x, i, p->sequence);
        const int32_t *from = x->ids.v + begin_of(x, i);
        memcpy(ids + *T, from, (size_t)n * sizeof *ids);
        for (int64_t t = 0; t < n; t++)
            targets[*T + t] = t + 1 < x->n_prompt[i] ? -1 : from[t + 1];
        *T += n;
        offset[++*B] = (int32_t)*T;
    }
}
