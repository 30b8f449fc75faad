/* Hand-written splitters for the well-known regular expressions: see split.h.
 *
 * Each alternative of an expression is a few lines here, tried in its order at the place where a
 * piece begins. Two facts make that short: every expression but DeepSeek's matches at every
 * character, so pieces follow each other without gaps; and none looks back. Long runs of ASCII
 * letters are measured sixteen bytes at a time. The one look-ahead, \s+(?!\S), means: a run of
 * white space leaves its last character to what follows, unless nothing follows or it is the only
 * one.
 */
#include "text/split.h"

#include <string.h>
#ifdef __SSE2__
#include <emmintrin.h>
#endif

#include "text/unicode.h"

enum {
    LETTER = UNICODE_L,
    NUMBER = UNICODE_N,
    SPACE = UNICODE_SPACE,
    LETTER_NUMBER_SPACE = LETTER | NUMBER | SPACE
};

/* The classes of the character at at, and its length. */
static inline uint8_t class_at(const uint8_t *text, size_t at, const uint8_t *classes,
                               size_t *length)
{
    return classes[utf8_get(text + at, length)];
}

/* The end of the run of ASCII letters that begins at at. */
static inline size_t ascii_letters(const uint8_t *text, size_t at, size_t end)
{
#ifdef __SSE2__
    while (end - at >= 16) {
        __m128i x =
            _mm_or_si128(_mm_loadu_si128((const __m128i *)(text + at)), _mm_set1_epi8(0x20));
        /* x − 'a' < 26 without sign: shifted by 128, since the compare is signed */
        x = _mm_add_epi8(x, _mm_set1_epi8((char)(128 - 'a')));
        unsigned letters =
            (unsigned)_mm_movemask_epi8(_mm_cmplt_epi8(x, _mm_set1_epi8((char)(26 - 128))));
        if (letters != 0xffff)
            return at + (unsigned)__builtin_ctz(~letters);
        at += 16;
    }
#endif
    while (at < end && (uint8_t)((text[at] | 0x20) - 'a') < 26)
        at++;
    return at;
}

/* The end of the run of letters that begins at at (which may be empty). */
static inline size_t letters(const uint8_t *text, size_t at, size_t end, const uint8_t *classes)
{
    for (;;) {
        at = ascii_letters(text, at, end);
        size_t length;
        if (at == end || text[at] < 0x80 || !(class_at(text, at, classes, &length) & LETTER))
            return at;
        at += length;
    }
}

/* The end of the run of characters that have none of the bits. */
static size_t run_without(uint8_t bits, const uint8_t *text, size_t at, size_t end,
                          const uint8_t *classes)
{
    size_t length;
    while (at < end && !(class_at(text, at, classes, &length) & bits))
        at += length;
    return at;
}

static size_t newlines(const uint8_t *text, size_t at, size_t end)
{
    while (at < end && (text[at] == '\r' || text[at] == '\n'))
        at++;
    return at;
}

/* 's 't 'm 'd 're 've 'll: the end of one that begins at the apostrophe at at, or at. With any_case
 * also in capitals, and ſ (U+017F), which is an s to a regular expression without regard to case.
 */
static size_t contraction(const uint8_t *text, size_t at, size_t end, bool any_case)
{
    if (end - at < 2)
        return at;
    uint8_t fold = any_case ? 0x20 : 0, a = text[at + 1] | fold,
            b = end - at > 2 ? text[at + 2] | fold : 0;
    if (a == 's' || a == 't' || a == 'm' || a == 'd')
        return at + 2;
    if ((a == 'r' && b == 'e') || (a == 'v' && b == 'e') || (a == 'l' && b == 'l'))
        return at + 3;
    if (any_case && end - at > 2 && text[at + 1] == 0xc5 && text[at + 2] == 0xbf)
        return at + 3;
    return at;
}

/* \s+(?!\S)|\s+ where white space stands at at. */
static size_t spaces(const uint8_t *text, size_t at, size_t end, const uint8_t *classes)
{
    size_t length, last = at, here = at;
    while (here < end && class_at(text, here, classes, &length) & SPACE) {
        last = here;
        here += length;
    }
    return here < end && last > at ? last : here;
}

/* \s*[\r\n]+|\s+(?!\S)|\s+ where white space stands at at. */
static size_t spaces_and_newlines(const uint8_t *text, size_t at, size_t end,
                                  const uint8_t *classes)
{
    size_t length, last = at, here = at, after_newline = 0;
    while (here < end && class_at(text, here, classes, &length) & SPACE) {
        last = here;
        here += length;
        if (text[last] == '\r' || text[last] == '\n')
            after_newline = here;
    }
    if (after_newline)
        return after_newline;
    return here < end && last > at ? last : here;
}

size_t split_gpt2(const uint8_t *text, size_t at, size_t end, const uint8_t *classes)
{
    size_t length, from = at;
    if (text[at] == '\'') {
        size_t stop = contraction(text, at, end, false);
        if (stop > at)
            return stop;
    } else if (text[at] == ' ' && at + 1 < end) {
        from = at + 1; /* the optional space before any of the three runs */
    }
    uint8_t bits = class_at(text, from, classes, &length);
    if (bits & SPACE)
        return spaces(text, at, end, classes);
    if (bits & LETTER)
        return letters(text, from + length, end, classes);
    if (!(bits & NUMBER))
        return run_without(LETTER_NUMBER_SPACE, text, from + length, end, classes);
    from += length;
    while (from < end && class_at(text, from, classes, &length) & NUMBER)
        from += length;
    return from;
}

/* Qwen2 and Llama 3 differ in how many digits stay together. */
static inline size_t split_contractions(const uint8_t *text, size_t at, size_t end,
                                        const uint8_t *classes, int max_digits)
{
    size_t length, next_length;
    if (text[at] == '\'') {
        size_t stop = contraction(text, at, end, true);
        if (stop > at)
            return stop;
    }
    uint8_t bits = class_at(text, at, classes, &length);
    size_t next = at + length;
    if (bits & LETTER)
        return letters(text, next, end, classes);
    if (bits & NUMBER) {
        for (int i = 1;
             i < max_digits && next < end && class_at(text, next, classes, &length) & NUMBER; i++)
            next += length;
        return next;
    }
    uint8_t next_bits = next < end ? class_at(text, next, classes, &next_length) : SPACE;
    if (next_bits & LETTER && text[at] != '\r' && text[at] != '\n')
        return letters(text, next + next_length, end, classes);
    if (bits & SPACE && (text[at] != ' ' || next_bits & LETTER_NUMBER_SPACE))
        return spaces_and_newlines(text, at, end, classes);
    return newlines(text, run_without(LETTER_NUMBER_SPACE, text, next, end, classes), end);
}

size_t split_qwen2(const uint8_t *text, size_t at, size_t end, const uint8_t *classes)
{
    return split_contractions(text, at, end, classes, 1);
}

size_t split_llama3(const uint8_t *text, size_t at, size_t end, const uint8_t *classes)
{
    return split_contractions(text, at, end, classes, 3);
}

/* ---- DeepSeek-V3: three expressions, each within the pieces of the one before ----
 *
 * Numbers, then runs of Han and kana, are cut out first; the third expression sees the stretches
 * between, and those runs, as texts of their own. So it is written here with an end that comes
 * early: a number, or a change between Han or kana and anything else. */

enum { LETTER_MARK = UNICODE_L | UNICODE_M, PUNCT_SYMBOL = UNICODE_P | UNICODE_S };

static bool is_han_kana(uint32_t c)
{
    return (c >= 0x4e00 && c <= 0x9fa5) || (c >= 0x3040 && c <= 0x30ff);
}

/* The classes of the character at at if it lies in the same stretch (han says in which kind), else
 * 0 with *length 0. */
static inline uint8_t stretch_class(const uint8_t *text, size_t at, size_t end,
                                    const uint8_t *classes, bool han, size_t *length)
{
    if (at < end) {
        uint32_t c = utf8_get(text + at, length);
        if (!(classes[c] & NUMBER) && is_han_kana(c) == han)
            return classes[c];
    }
    *length = 0;
    return 0;
}

static size_t stretch_run(uint8_t bits, const uint8_t *text, size_t at, size_t end,
                          const uint8_t *classes, bool han)
{
    size_t length;
    while (stretch_class(text, at, end, classes, han, &length) & bits)
        at += length;
    return at;
}

static size_t letters_marks(const uint8_t *text, size_t at, size_t end, const uint8_t *classes,
                            bool han)
{
    if (han)
        return stretch_run(LETTER_MARK, text, at, end, classes, han);
    for (;;) {
        at = ascii_letters(text, at, end);
        size_t length;
        if (at == end || text[at] < 0x80 ||
            !(stretch_class(text, at, end, classes, han, &length) & LETTER_MARK))
            return at;
        at += length;
    }
}

/* \s*[\r\n]+|\s+(?!\S)|\s+ within a stretch; Han and kana hold no white space. */
static size_t stretch_spaces(const uint8_t *text, size_t at, size_t end, const uint8_t *classes)
{
    size_t length, last = at, here = at, after_newline = 0;
    while (stretch_class(text, here, end, classes, false, &length) & SPACE) {
        last = here;
        here += length;
        if (text[last] == '\r' || text[last] == '\n')
            after_newline = here;
    }
    if (after_newline)
        return after_newline;
    stretch_class(text, here, end, classes, false, &length);
    return length && last > at ? last : here;
}

/* Characters that no alternative takes: up to where one does, or the stretch ends. */
static size_t deepseek_gap(const uint8_t *text, size_t at, size_t end, const uint8_t *classes,
                           bool han)
{
    size_t length, next_length;
    for (;; at += length) {
        uint8_t bits = stretch_class(text, at, end, classes, han, &length);
        if (!length || bits & (LETTER_MARK | PUNCT_SYMBOL | SPACE) ||
            stretch_class(text, at + length, end, classes, han, &next_length) & LETTER_MARK)
            return at;
    }
}

size_t split_deepseek(const uint8_t *text, size_t at, size_t end, const uint8_t *classes)
{
    size_t length, next_length;
    uint32_t c = utf8_get(text + at, &length);
    uint8_t bits = classes[c];
    size_t next = at + length;
    if (bits & NUMBER) {
        for (int i = 1; i < 3 && next < end && class_at(text, next, classes, &length) & NUMBER; i++)
            next += length;
        return next;
    }
    bool han = is_han_kana(c);
    if (c < 0x80 && bits & PUNCT_SYMBOL) {
        size_t stop = ascii_letters(text, next, end);
        if (stop > next)
            return stop;
    }
    if (bits & LETTER_MARK)
        return letters_marks(text, next, end, classes, han);
    uint8_t next_bits = stretch_class(text, next, end, classes, han, &next_length);
    if (next_bits & LETTER_MARK && !(bits & PUNCT_SYMBOL) && c != '\r' && c != '\n')
        return letters_marks(text, next + next_length, end, classes, han);
    if (bits & PUNCT_SYMBOL || (c == ' ' && next_bits & PUNCT_SYMBOL)) {
        size_t stop = stretch_run(PUNCT_SYMBOL, text, next, end, classes, han);
        return han ? stop : newlines(text, stop, end);
    }
    if (bits & SPACE)
        return stretch_spaces(text, at, end, classes);
    return deepseek_gap(text, next, end, classes, han);
}

/* ---- digits ---- */

static size_t until_numeric(const uint8_t *text, size_t at, size_t end)
{
    size_t length;
    while (at < end) {
        if (text[at] < 0x80) {
            if ((uint8_t)(text[at] - '0') < 10)
                break;
            at++;
        } else {
            if (unicode_is_numeric(utf8_get(text + at, &length)))
                break;
            at += length;
        }
    }
    return at;
}

size_t split_digits_each(const uint8_t *text, size_t at, size_t end, const uint8_t *classes)
{
    (void)classes;
    size_t stop = until_numeric(text, at, end), length;
    if (stop > at)
        return stop;
    utf8_get(text + at, &length);
    return at + length;
}

size_t split_digits_runs(const uint8_t *text, size_t at, size_t end, const uint8_t *classes)
{
    (void)classes;
    size_t stop = until_numeric(text, at, end), length;
    if (stop > at)
        return stop;
    while (stop < end && unicode_is_numeric(utf8_get(text + stop, &length)))
        stop += length;
    return stop;
}

size_t split_spaces(const uint8_t *text, size_t at, size_t end, const uint8_t *classes)
{
    size_t length;
    uint8_t kind = class_at(text, at, classes, &length) & SPACE;
    do
        at += length;
    while (at < end && (class_at(text, at, classes, &length) & SPACE) == kind);
    return at;
}

size_t split_none(const uint8_t *text, size_t at, size_t end, const uint8_t *classes)
{
    (void)text, (void)at, (void)classes;
    return end;
}
