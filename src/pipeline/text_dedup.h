/* Which texts have been seen: a set of 128-bit hashes in bounded memory; and which number of the
 * caller's goes with a text's hash (text_index).
 *
 * Exact duplicates only: texts that are equal after ASCII letters are lowered and every run of white
 * space is one blank. The hash is ours (two lanes of multiply-and-fold, as in wyhash; not meant
 * against an adversary): among 10⁹ different texts the chance that any two collide is below 10⁻²⁰.
 *
 * When the set is full, new texts are still compared with those it holds, but no longer remembered;
 * text_seen_is_full says so.
 */
#ifndef MOE2_PIPELINE_TEXT_DEDUP_H
#define MOE2_PIPELINE_TEXT_DEDUP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

struct text_hash {
    uint64_t a, b;
};

/* The hash of n bytes of text after that normalisation. Same on every machine. */
struct text_hash text_hash(const char *text, size_t n);

struct text_seen;

/* An empty set that grows up to max_bytes (16 bytes an entry, at most three quarters full); at least
 * 4096. The caller's. */
int text_seen_new(struct text_seen **out, int64_t max_bytes, struct err *err);
void text_seen_free(struct text_seen *s); /* NULL is fine */

/* *seen says whether h was there; it is afterwards, unless the set is full. MOE2_ELIMIT without
 * memory. */
int text_seen_add(bool *seen, struct text_seen *s, struct text_hash h, struct err *err);

bool text_seen_is_full(const struct text_seen *s);
int64_t text_seen_bytes(const struct text_seen *s);

/* A number above 0 for each of any number of hashes. All zero is an empty index. */
struct text_index {
    struct text_index_slot *slots; /* a power of two of them, at most half full */
    uint64_t n_slots, n_used;
};

/* *number is where the number of h lies, valid until the next call: 0 when h is new, and the caller
 * must then write one there. MOE2_ELIMIT without memory. */
int text_index_at(uint32_t **number, struct text_index *x, struct text_hash h, struct err *err);

/* The number of h, 0 when it has none. Any number of threads may read. */
uint32_t text_index_find(const struct text_index *x, struct text_hash h);

void text_index_release(struct text_index *x);

#endif
