/* What the tokenizers need to know of Unicode: UTF-8 in and out, classes of code points, NFC.
 *
 * The classes are those of Hugging Face's tokenizers (see tools/make_unicode_tables.py), not those
 * of whichever Unicode version a library of this machine carries: equal ids are the point. A table
 * of one byte a code point makes a class a single load.
 */
#ifndef MOE2_TEXT_UNICODE_H
#define MOE2_TEXT_UNICODE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"

enum {
    UNICODE_L = 1, /* letters, numbers, punctuation, symbols, marks: the general categories */
    UNICODE_N = 2,
    UNICODE_P = 4,
    UNICODE_S = 8,
    UNICODE_M = 16,
    UNICODE_SPACE = 32,      /* White_Space */
    UNICODE_NFC_SLOW = 64,   /* may change, move or join its neighbour under NFC */
    UNICODE_NFC_KNOWN = 128, /* HF's NFC (Unicode 9.0) knows it; it leaves others alone */
    UNICODE_N_CODE_POINTS = 0x110000,
};

/* unicode_tables.c */
extern const uint32_t unicode_runs[], unicode_word[], unicode_numeric[];
extern const int n_unicode_runs, n_unicode_word, n_unicode_numeric;

/* Makes the table of classes: UNICODE_N_CODE_POINTS bytes, the caller's, to be freed with free. */
int unicode_table_new(uint8_t **out, struct err *err);

/* The same from other runs: code point << 8 | bits that hold from there to the next entry. */
int unicode_runs_new(uint8_t **out, const uint32_t *runs, int n_runs, struct err *err);

bool unicode_is_word(uint32_t code_point);    /* \w of Rust's regex crate */
bool unicode_is_numeric(uint32_t code_point); /* char::is_numeric of Rust */

/* The code point at p, where p is the start of a character of valid UTF-8, and its length. */
static inline uint32_t utf8_get(const uint8_t *p, size_t *n_bytes)
{
    if (p[0] < 0x80) {
        *n_bytes = 1;
        return p[0];
    }
    if (p[0] < 0xe0) {
        *n_bytes = 2;
        return (uint32_t)(p[0] & 31) << 6 | (p[1] & 63);
    }
    if (p[0] < 0xf0) {
        *n_bytes = 3;
        return (uint32_t)(p[0] & 15) << 12 | (uint32_t)(p[1] & 63) << 6 | (p[2] & 63);
    }
    *n_bytes = 4;
    return (uint32_t)(p[0] & 7) << 18 | (uint32_t)(p[1] & 63) << 12 | (uint32_t)(p[2] & 63) << 6 |
           (p[3] & 63);
}

/* The last code point of valid UTF-8 text[0 … end), end ≥ 1, and its length. */
uint32_t utf8_last(const uint8_t *text, size_t end, size_t *n_bytes);

/* Writes a code point's 1–4 bytes and returns their number. */
size_t utf8_put(uint8_t *out, uint32_t code_point);

/* The length of the character at p if it is whole and valid (1–4); else 0, and *n_bad is the length
 * of the part that one U+FFFD stands for: the longest beginning of a valid character, at least 1
 * byte. *cut (NULL is fine) says that the text ends within what could still become a character. n ≥
 * 1. */
size_t utf8_check(const uint8_t *p, size_t n, size_t *n_bad, bool *cut);

/* Where valid UTF-8 ends: n, or the offset of the first invalid byte. Adds the classes of the code
 * points before it to *seen, ASCII left out; table is that of unicode_table_new. */
size_t utf8_scan(const uint8_t *text, size_t n, const uint8_t *table, uint8_t *seen);

/* Appends text with every invalid part as U+FFFD. */
int utf8_repair(struct buf *out, const uint8_t *text, size_t n, struct err *err);

/* Appends the NFC of valid UTF-8, as HF tokenizers makes it: characters younger than Unicode 9.0
 * stay as they are, and nothing joins them or moves past them. */
int unicode_nfc(struct buf *out, const uint8_t *text, size_t n, const uint8_t *table,
                struct err *err);

/* The same for NFKC. */
int unicode_nfkc(struct buf *out, const uint8_t *text, size_t n, const uint8_t *table,
                 struct err *err);

/* The byte-level alphabet of GPT-2: every byte as a visible code point (33–126, 161–172 and 174–255
 * as themselves, the other 68 in increasing order as 256 + n). */
uint32_t byte_to_visible(uint8_t byte);
int visible_to_byte(uint32_t code_point); /* −1: not in the alphabet */

#endif
