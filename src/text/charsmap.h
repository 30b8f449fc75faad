/* SentencePiece's "Precompiled" normaliser: a table of replacements, nmt_nfkc as a rule, that a
 * tokenizer.json carries in base64.
 *
 * Format, little-endian: u32 bytes of the trie; the trie, u32 units of a double array as Darts-clone
 * (Yata) writes them; then the replacements, UTF-8, each ended by a NUL. A unit has the byte that
 * leads to it in bits 0–7 (bit 31 set in a leaf, whose lower bits are the value, a place among the
 * replacements), bit 8 "a leaf is below", bit 9 and 10–30 the distance to its children. A place
 * outside of the replacements, or within a character of one, stands for nothing.
 *
 * Applied as HF tokenizers does: by grapheme clusters. A cluster under 6 bytes is replaced as a
 * whole by what its shortest known beginning stands for; otherwise each of its characters is.
 */
#ifndef MOE2_TEXT_CHARSMAP_H
#define MOE2_TEXT_CHARSMAP_H

#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"

enum { CHARSMAP_MAX_BYTES = 16 << 20 }; /* decoded; nmt_nfkc's has 237 thousand */

struct charsmap {
    uint8_t *bytes;       /* owned: all of it, decoded, and a NUL */
    const uint8_t *units; /* [n_units × 4], within */
    size_t n_units;
    const char *texts; /* [n_texts], within */
    size_t n_texts;
};

/* Decodes n bytes of base64 into a zeroed map, to be released with charsmap_release whatever comes
 * out. Errors: MOE2_EFORMAT (no base64, too short, replacements that are not UTF-8), MOE2_ELIMIT. */
int charsmap_read(struct charsmap *m, const char *base64, size_t n, struct err *err);
void charsmap_release(struct charsmap *m);

/* Appends the normal form of valid UTF-8. */
int charsmap_apply(struct buf *out, const struct charsmap *m, const uint8_t *text, size_t n,
                   struct err *err);

#endif
