/* The tokens of a tokenizer: for each id how it is written in the file and which bytes it stands
 * for, and the way back from the written form. Ids may have holes.
 */
#ifndef MOE2_TEXT_VOCAB_H
#define MOE2_TEXT_VOCAB_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

enum {
    VOCAB_PRESENT = 1,
    VOCAB_ADDED = 2,   /* stands in added_tokens */
    VOCAB_SPECIAL = 4, /* left out of a decoded text on request */
    VOCAB_VISIBLE = 8, /* written in the byte-level alphabet alone, so that its bytes are those */
};

struct span {
    const char *p;
    uint32_t n;
};

struct vocab {
    int32_t n;            /* the largest id plus one */
    struct span *written; /* [n], as in the file */
    struct span
        *bytes; /* [n], in a text: through the byte-level alphabet, or the written form itself */
    uint8_t *flags;  /* [n] */
    uint32_t *slots; /* written form -> id + 1; 0 is empty */
    size_t mask;     /* of slots, whose number is a power of two */
    bool plain;      /* set after vocab_init: written forms are text, not the byte-level alphabet */
    char *text;      /* what written and bytes point into */
    size_t n_text, n_text_max;
};

/* Room for ids below n and n_text_bytes of written forms in all, those given to vocab_stand_for
 * counted again. */
int vocab_init(struct vocab *v, int32_t n, size_t n_text_bytes, struct err *err);
void vocab_release(struct vocab *v);

/* Adds a token; 0 ≤ id < n. MOE2_EFORMAT when the id or the written form is taken. */
int vocab_add(struct vocab *v, int32_t id, const char *written, size_t n_bytes, uint8_t flags,
              struct err *err);

/* Makes a token stand for the bytes of another written form, of at most 3 times its length. */
void vocab_stand_for(struct vocab *v, int32_t id, const char *written, size_t n_bytes);

/* SentencePiece's forms: in the bytes of all tokens "▁" becomes a space and "<0x0A>" its byte. */
void vocab_sentencepiece(struct vocab *v);

/* The id of a written form, or −1. */
int32_t vocab_find(const struct vocab *v, const char *written, size_t n_bytes);

/* A hash of n bytes for tables whose keys come from a file: well mixed in its high and low bits. */
uint64_t hash_bytes(const void *bytes, size_t n);

#endif
