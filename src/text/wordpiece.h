/* WordPiece: which ids one word becomes (BERT, MiniLM).
 *
 * The rule (HF tokenizers, BERT's own code): the longest token that the word begins with, then the
 * longest one with the prefix "##" that the rest begins with, and so on; a word that does not come
 * out, or has more characters than a limit, is the unknown token as a whole. The tokens lie in a
 * tree of bytes, so a word costs its length times the longest token, whatever the limit.
 */
#ifndef MOE2_TEXT_WORDPIECE_H
#define MOE2_TEXT_WORDPIECE_H

#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "text/trie.h"
#include "text/vocab.h"

struct wordpiece {
    struct trie
        trie; /* root 0: tokens that begin a word; 1: that continue one, without the prefix */
    int32_t unk_id;
    size_t max_chars; /* of a word */
};

/* Of vocab nothing is kept. prefix has n_prefix bytes. MOE2_ELIMIT: as trie_init. */
int wordpiece_init(struct wordpiece *w, const struct vocab *vocab, const char *prefix,
                   size_t n_prefix, int32_t unk_id, size_t max_chars, struct err *err);
void wordpiece_release(struct wordpiece *w);

/* Writes the ids of a word of n ≥ 1 bytes of valid UTF-8 to out, which has room for n, and returns
 * their number. */
size_t wordpiece_encode(int32_t *out, const struct wordpiece *w, const uint8_t *word, size_t n);

#endif
