/* The tokens of a tokenizer: see vocab.h. An open-addressed table of ids; the keys are the written
 * forms themselves. */
#include "text/vocab.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "text/unicode.h"

uint64_t hash_bytes(const void *bytes, size_t n)
{
    /* Eight bytes at a time through a 128-bit product (the folding multiply of wyhash). */
    const uint8_t *p = bytes;
    uint64_t h = 0x9e3779b97f4a7c15u ^ n;
    for (; n >= 8; p += 8, n -= 8) {
        uint64_t w;
        memcpy(&w, p, 8);
        unsigned __int128 x = (unsigned __int128)(h ^ w) * 0xa0761d6478bd642fu;
        h = (uint64_t)x ^ (uint64_t)(x >> 64);
    }
    uint64_t w = 0;
    memcpy(&w, p, n);
    unsigned __int128 x = (unsigned __int128)(h ^ w ^ 0xe7037ed1a0b428dbu) * 0x8ebc6af09c88c6e3u;
    return (uint64_t)x ^ (uint64_t)(x >> 64);
}

int vocab_init(struct vocab *v, int32_t n, size_t n_text_bytes, struct err *err)
{
    memset(v, 0, sizeof *v);
    size_t n_slots = 16;
    while (n_slots < 2 * (size_t)n)
        n_slots *= 2;
    v->n = n;
    v->mask = n_slots - 1;
    v->n_text_max = 2 * n_text_bytes + 1; /* the bytes are never longer than the written form */
    v->written = calloc((size_t)n + 1, sizeof *v->written);
    v->bytes = calloc((size_t)n + 1, sizeof *v->bytes);
    v->flags = calloc((size_t)n + 1, 1);
    v->slots = calloc(n_slots, sizeof *v->slots);
    v->text = malloc(v->n_text_max);
    if (v->written && v->bytes && v->flags && v->slots && v->text)
        return 0;
    vocab_release(v);
    return err_set(err, MOE2_ELIMIT, "no memory for a vocabulary of %d tokens", n);
}

void vocab_release(struct vocab *v)
{
    free(v->written);
    free(v->bytes);
    free(v->flags);
    free(v->slots);
    free(v->text);
    memset(v, 0, sizeof *v);
}

/* The slot that holds the written form, or the empty one where it would go. */
static size_t slot_of(const struct vocab *v, const char *written, size_t n)
{
    size_t at = hash_bytes(written, n) & v->mask;
    while (v->slots[at]) {
        struct span s = v->written[v->slots[at] - 1];
        if (s.n == n && memcmp(s.p, written, n) == 0)
            break;
        at = (at + 1) & v->mask;
    }
    return at;
}

int32_t vocab_find(const struct vocab *v, const char *written, size_t n)
{
    if (!v->slots)
        return -1;
    return (int32_t)v->slots[slot_of(v, written, n)] - 1;
}

/* The bytes of a written form: through the alphabet if every character is in it (then true), else,
 * and always in a plain vocabulary, as they stand. */
static bool to_bytes(char *out, size_t *n_out, const struct vocab *v, const char *written, size_t n)
{
    const uint8_t *p = (const uint8_t *)written;
    size_t length, k = 0;
    for (size_t at = 0; at < n; at += length) {
        int byte = v->plain ? -1 : visible_to_byte(utf8_get(p + at, &length));
        if (byte < 0) {
            memcpy(out, written, n);
            *n_out = n;
            return false;
        }
        out[k++] = (char)byte;
    }
    *n_out = k;
    return true;
}

void vocab_stand_for(struct vocab *v, int32_t id, const char *written, size_t n)
{
    assert(v->n_text + n <= v->n_text_max);
    char *text = v->text + v->n_text;
    size_t n_bytes;
    to_bytes(text, &n_bytes, v, written, n);
    v->n_text += n_bytes;
    v->bytes[id] = (struct span){text, (uint32_t)n_bytes};
}

/* The byte of "<0x0A>", or −1. */
static int fallback_byte(const char *p, size_t n)
{
    static const char digits[] = "0123456789ABCDEF";
    if (n != 6 || memcmp(p, "<0x", 3) != 0 || p[5] != '>')
        return -1;
    const char *high = memchr(digits, p[3], 16), *low = memchr(digits, p[4], 16);
    return high && low ? (int)((high - digits) << 4 | (low - digits)) : -1;
}

void vocab_sentencepiece(struct vocab *v)
{
    static const char sign[] = "\xe2\x96\x81";
    for (int32_t id = 0; id < v->n; id++) {
        struct span *s = &v->bytes[id];
        char *text = v->text + (s->p ? s->p - v->text : 0);
        int byte = s->p ? fallback_byte(s->p, s->n) : -1;
        uint32_t n = 0;
        if (byte >= 0)
            text[n++] = (char)byte;
        for (uint32_t at = 0; at < s->n && byte < 0;) {
            bool space = s->n - at >= 3 && memcmp(text + at, sign, 3) == 0;
            text[n++] = space ? ' ' : text[at];
            at += space ? 3 : 1;
        }
        s->n = n;
    }
}

int vocab_add(struct vocab *v, int32_t id, const char *written, size_t n, uint8_t flags,
              struct err *err)
{
    assert(id >= 0 && id < v->n && v->n_text + 2 * n <= v->n_text_max);
    if (v->flags[id])
        return err_set(err, MOE2_EFORMAT, "\"%.*s\" and \"%.40s\" have the same id, %d",
                       (int)v->written[id].n, v->written[id].p, written, id);
    size_t slot = slot_of(v, written, n);
    if (v->slots[slot])
        return err_set(err, MOE2_EFORMAT, "token \"%.40s\" stands there twice", written);
    char *text = v->text + v->n_text;
    memcpy(text, written, n);
    size_t n_bytes;
    if (to_bytes(text + n, &n_bytes, v, written, n))
        flags |= VOCAB_VISIBLE;
    v->n_text += n + n_bytes;
    v->written[id] = (struct span){text, (uint32_t)n};
    v->bytes[id] = (struct span){text + n, (uint32_t)n_bytes};
    v->flags[id] = flags | VOCAB_PRESENT;
    v->slots[slot] = (uint32_t)id + 1;
    return 0;
}
