/* A tree of bytes over the tokens of a vocabulary, for the models that ask which tokens begin at a
 * place of a text: WordPiece wants the longest, unigram all of them.
 *
 * One hash table of edges, (node, byte) -> node, each a word of 64 bits; a step is one look-up
 * whatever the vocabulary. Nodes 0 and 1 are two roots, so that WordPiece can keep the pieces that
 * begin a word and those that continue one apart.
 */
#ifndef MOE2_TEXT_TRIE_H
#define MOE2_TEXT_TRIE_H

#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

enum {
    TRIE_MAX_NODES = 1 << 24,
    TRIE_N_ROOTS = 2,
    TRIE_NONE = -1, /* no such node, no token */
};

struct trie {
    uint64_t *edges; /* (node << 8 | byte) << 32 | child; a child is never 0, so 0 is empty */
    size_t mask;
    int32_t *ids; /* of each node the token that ends there, or TRIE_NONE */
    int32_t n_nodes, n_nodes_max;
};

/* Room for tokens of n_bytes bytes in all. MOE2_ELIMIT beyond TRIE_MAX_NODES or without memory. */
int trie_init(struct trie *t, size_t n_bytes, struct err *err);
void trie_release(struct trie *t);

/* Adds a token of n ≥ 1 bytes under a root; of two equal ones the last counts. */
void trie_add(struct trie *t, int32_t root, const char *token, size_t n, int32_t id);

static inline uint64_t trie_hash(uint32_t key)
{
    uint64_t x = (uint64_t)key * 0x9e3779b97f4a7c15u;
    return x ^ x >> 32;
}

/* The node one byte further, or TRIE_NONE. */
static inline int32_t trie_step(const struct trie *t, int32_t node, uint8_t byte)
{
    uint32_t key = (uint32_t)node << 8 | byte;
    for (size_t slot = trie_hash(key) & t->mask;; slot = (slot + 1) & t->mask) {
        uint64_t edge = t->edges[slot];
        if (!edge)
            return TRIE_NONE;
        if (edge >> 32 == key)
            return (int32_t)(edge & UINT32_MAX);
    }
}

/* The longest token under a root that text [0 … n) begins with and its length; TRIE_NONE if there
 * is none. */
int32_t trie_longest(const struct trie *t, int32_t root, const uint8_t *text, size_t n,
                     size_t *length);

#endif
