/* Which texts have been seen: a set of 128-bit hashes in bounded memory.
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

#endif
