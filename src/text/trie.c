/* Building the tree of trie.h, and the longest match. The table is made once, for as many edges as
 * the tokens have bytes, so that it never grows and is at most half full. */
#include "text/trie.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

int trie_init(struct trie *t, size_t n_bytes, struct err *err)
{
    memset(t, 0, sizeof *t);
    if (n_bytes + TRIE_N_ROOTS > TRIE_MAX_NODES)
        return err_set(err, MOE2_ELIMIT, "the tokens have %zu bytes in all, wanted at most %d",
                       n_bytes, TRIE_MAX_NODES - TRIE_N_ROOTS);
    size_t n_slots = 16;
    while (n_slots < 2 * n_bytes)
        n_slots *= 2;
    t->mask = n_slots - 1;
    t->n_nodes_max = (int32_t)n_bytes + TRIE_N_ROOTS;
    t->edges = calloc(n_slots, sizeof *t->edges);
    t->ids = malloc((size_t)t->n_nodes_max * sizeof *t->ids);
    if (!t->edges || !t->ids) {
        trie_release(t);
        return err_set(err, MOE2_ELIMIT, "no memory for a tree of %zu bytes of tokens", n_bytes);
    }
    for (int32_t i = 0; i < t->n_nodes_max; i++)
        t->ids[i] = TRIE_NONE;
    t->n_nodes = TRIE_N_ROOTS;
    return 0;
}

void trie_release(struct trie *t)
{
    free(t->edges);
    free(t->ids);
    memset(t, 0, sizeof *t);
}

/* The node one byte further, made if it is not there. */
static int32_t step_or_make(struct trie *t, int32_t node, uint8_t byte)
{
    int32_t next = trie_step(t, node, byte);
    if (next != TRIE_NONE)
        return next;
    assert(t->n_nodes < t->n_nodes_max);
    uint32_t key = (uint32_t)node << 8 | byte;
    size_t slot = trie_hash(key) & t->mask;
    while (t->edges[slot])
        slot = (slot + 1) & t->mask;
    t->edges[slot] = (uint64_t)key << 32 | (uint32_t)t->n_nodes;
    return t->n_nodes++;
}

void trie_add(struct trie *t, int32_t root, const char *token, size_t n, int32_t id)
{
    assert(n > 0);
    int32_t node = root;
    for (size_t i = 0; i < n; i++)
        node = step_or_make(t, node, (uint8_t)token[i]);
    t->ids[node] = id;
}

int32_t trie_longest(const struct trie *t, int32_t root, const uint8_t *text, size_t n,
                     size_t *length)
{
    int32_t node = root, found = TRIE_NONE;
    for (size_t i = 0; i < n; i++) {
        node = trie_step(t, node, text[i]);
        if (node == TRIE_NONE)
            break;
        if (t->ids[node] != TRIE_NONE) {
            found = t->ids[node];
            *length = i + 1;
        }
    }
    return found;
}
