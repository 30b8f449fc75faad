/* The search over deployed subsets, one expert called or coverage, any number of experts: exact, or with a true bound when time ends.
 *
 * Internal to route.
 */
#ifndef MOE2_ROUTE_SELECT_SEARCH_H
#define MOE2_ROUTE_SELECT_SEARCH_H

#include "route/select_ops.h"
#include "route/select_parts.h"

/* Prompts as bits: who is right where, and who is called before whom. */
struct select_bits {
    const struct select_ops *ops;
    int N;
    int64_t n_words;
    uint64_t *
        right; /* [N, n_words] right and callable; NULL where there are too many prompts for bits */
    uint64_t *above;   /* [N, N, n_words] [i][j]: j is called before i; NULL for coverage */
    uint64_t *scratch; /* [n_words] */
};

enum { SELECT_MAX_BITS_BYTES = 1 << 29 };

int select_bits_init(struct select_bits *b, const struct select_state *s,
                     const struct select_ops *ops, struct err *err);
void select_bits_release(struct select_bits *b);

/* How many prompts members answer right. */
int64_t select_bits_correct(struct select_bits *b, uint64_t members);

/* A term of the sum that is the number of right answers: weight · [mask ⊆ U]. */
struct select_entry {
    uint64_t mask;
    int64_t weight;
};

/* SELECT_TILE prompts turned: scores an expert (−infinity where not callable), right and callable as 0 or 1. */
enum {
    SELECT_TILE = 1024,
    SELECT_STRIDE = SELECT_TILE + 64
}; /* rows a multiple of 4 KiB apart share a place in the cache */
struct select_tile {
    float *score;   /* [N, SELECT_STRIDE] */
    uint8_t *right; /* [N, SELECT_STRIDE] */
    int64_t n;
};
int select_tile_init(struct select_tile *t, int N, struct err *err);
void select_tile_load(struct select_tile *t, const struct select_state *s, int64_t first);
void select_tile_release(struct select_tile *t);

/* The terms of all prompts, experts as bits pos[i]: added to a table of all 2^N masks (16 or 32 bits wide), or as a list sorted by
 * mask, every mask once, the caller's. */
int select_terms_table(void *table, bool wide, const struct select_state *s, const int *pos,
                       const struct select_ops *ops, struct err *err);
int select_terms_list(struct select_entry **list, int64_t *n, const struct select_state *s,
                      const int *pos, const struct select_ops *ops, struct err *err);

/* Solves all cells of r: answers, baselines and counts, and the frontier if it is wanted. */
int select_search(struct select_result *r, struct select_state *s, struct err *err);

#endif
