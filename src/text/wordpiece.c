/* The greedy walk of wordpiece.h over two trees. A match always ends where a character does, since
 * tokens are whole characters. */
#include "text/wordpiece.h"

#include <stdbool.h>
#include <string.h>

static bool continues(struct span token, const char *prefix, size_t n_prefix)
{
    return token.n > n_prefix && memcmp(token.p, prefix, n_prefix) == 0;
}

int wordpiece_init(struct wordpiece *w, const struct vocab *vocab, const char *prefix,
                   size_t n_prefix, int32_t unk_id, size_t max_chars, struct err *err)
{
    size_t n_bytes = 0;
    for (int32_t id = 0; id < vocab->n; id++)
        n_bytes += 2 * (size_t)vocab->written[id].n;
    int rc = trie_init(&w->trie, n_bytes, err);
    if (rc)
        return rc;
    w->unk_id = unk_id;
    w->max_chars = max_chars;
    for (int32_t id = 0; id < vocab->n; id++) {
        struct span token = vocab->written[id];
        if (token.n)
            trie_add(&w->trie, 0, token.p, token.n, id);
        if (continues(token, prefix, n_prefix))
            trie_add(&w->trie, 1, token.p + n_prefix, token.n - n_prefix, id);
    }
    return 0;
}

void wordpiece_release(struct wordpiece *w)
{
    trie_release(&w->trie);
}

static bool too_long(const uint8_t *word, size_t n, size_t max_chars)
{
    size_t n_chars = 0;
    for (size_t i = 0; i < n && n > max_chars; i++)
        n_chars += (word[i] & 0xc0) != 0x80;
    return n_chars > max_chars;
}

size_t wordpiece_encode(int32_t *out, const struct wordpiece *w, const uint8_t *word, size_t n)
{
    size_t n_out = 0, length = 0;
    bool known = !too_long(word, n, w->max_chars);
    for (size_t at = 0; at < n && known; at += length) {
        int32_t id = trie_longest(&w->trie, at > 0, word + at, n - at, &length);
        known = id != TRIE_NONE;
        if (known)
            out[n_out++] = id;
    }
    if (!known) {
        out[0] = w->unk_id;
        n_out = 1;
    }
    return n_out;
}
