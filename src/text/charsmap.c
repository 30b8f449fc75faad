/* Reading and applying the table of charsmap.h. The trie comes from a stranger, so every step is
 * checked against its end. */
#include "text/charsmap.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <utf8proc.h>

#include "text/unicode.h"

enum { CLUSTER_MAX = 6 }; /* clusters of so many bytes or more are taken apart */

/* Marks of Unicode 15.1 to 17, first and last of each run, that HF tokenizers 0.23.3 joins to what
 * stands before them and utf8proc 2.8 does not know; asked of its Precompiled, code point by code
 * point. */
static const uint32_t young_marks[][2] = {
    {0x897, 0x897},     {0x1acf, 0x1add},   {0x1ae0, 0x1aeb},   {0x10d69, 0x10d6d},
    {0x10efa, 0x10efc}, {0x113b8, 0x113c0}, {0x113c2, 0x113c2}, {0x113c5, 0x113c5},
    {0x113c7, 0x113ca}, {0x113cc, 0x113d0}, {0x113d2, 0x113d2}, {0x113e1, 0x113e2},
    {0x11b60, 0x11b67}, {0x11f5a, 0x11f5a}, {0x1611e, 0x1612f}, {0x1e5ee, 0x1e5ef},
    {0x1e6e3, 0x1e6e3}, {0x1e6e6, 0x1e6e6}, {0x1e6ee, 0x1e6ef}, {0x1e6f5, 0x1e6f5},
};

/* ---- reading ---- */

static int sextet(char c)
{
    return c >= 'A' && c <= 'Z'   ? c - 'A'
           : c >= 'a' && c <= 'z' ? c - 'a' + 26
           : c >= '0' && c <= '9' ? c - '0' + 52
           : c == '+'             ? 62
           : c == '/'             ? 63
                                  : -1;
}

static int decode_base64(uint8_t *out, size_t *n_out, const char *text, size_t n, struct err *err)
{
    uint32_t bits = 0;
    size_t n_chars = n;
    while (n_chars > 0 && n - n_chars < 2 && text[n_chars - 1] == '=')
        n_chars--;
    *n_out = 0;
    for (size_t i = 0; i < n_chars; i++) {
        int six = sextet(text[i]);
        if (six < 0)
            return err_set(err, MOE2_EFORMAT, "precompiled_charsmap: character %zu is no base64",
                           i);
        bits = bits << 6 | (uint32_t)six;
        if (i % 4)
            out[(*n_out)++] = (uint8_t)(bits >> (6 - 2 * (i % 4)));
    }
    if (n % 4)
        return err_set(err, MOE2_EFORMAT, "precompiled_charsmap has %zu characters, wanted fours",
                       n);
    return 0;
}

static uint32_t unit_at(const struct charsmap *m, size_t idx)
{
    uint32_t unit;
    memcpy(&unit, m->units + 4 * idx, sizeof unit);
    return unit;
}

/* The parts of the decoded bytes. */
static int find_parts(struct charsmap *m, size_t n, struct err *err)
{
    uint32_t n_trie = 0;
    if (n >= 4)
        memcpy(&n_trie, m->bytes, 4);
    if (n < 4 || n_trie > n - 4 || n_trie < 4 || n_trie % 4)
        return err_set(err, MOE2_EFORMAT,
                       "precompiled_charsmap has %zu bytes and says %u of them are its trie", n,
                       n_trie);
    m->units = m->bytes + 4;
    m->n_units = n_trie / 4;
    m->texts = (const char *)m->bytes + 4 + n_trie;
    m->n_texts = n - 4 - n_trie;
    for (size_t at = 0, length, n_bad; at < m->n_texts; at += length) {
        length = utf8_check((const uint8_t *)m->texts + at, m->n_texts - at, &n_bad, NULL);
        if (!length)
            return err_set(err, MOE2_EFORMAT,
                           "precompiled_charsmap: its replacements are not UTF-8 at byte %zu", at);
    }
    return 0;
}

int charsmap_read(struct charsmap *m, const char *base64, size_t n, struct err *err)
{
    if (n / 4 * 3 > CHARSMAP_MAX_BYTES)
        return err_set(err, MOE2_ELIMIT, "precompiled_charsmap has %zu bytes, wanted at most %d",
                       n / 4 * 3, CHARSMAP_MAX_BYTES);
    m->bytes = malloc(n / 4 * 3 + 4);
    if (!m->bytes)
        return err_set(err, MOE2_ELIMIT, "no memory for precompiled_charsmap");
    size_t n_bytes = 0;
    int rc = decode_base64(m->bytes, &n_bytes, base64, n, err);
    m->bytes[n_bytes] = 0;
    return rc ? rc : find_parts(m, n_bytes, err);
}

void charsmap_release(struct charsmap *m)
{
    free(m->bytes);
    memset(m, 0, sizeof *m);
}

/* ---- applying ---- */

static size_t children_of(uint32_t unit)
{
    return (size_t)(unit >> 10) << ((unit & 1u << 9) >> 6);
}

/* The replacement at a place: none outside of them, and none within a character. */
static const char *text_at(const struct charsmap *m, size_t place)
{
    return place < m->n_texts && (m->texts[place] & 0xc0) != 0x80 ? m->texts + place : "";
}

/* What the shortest known beginning of text [0 … n) stands for; NULL if none is known. */
static const char *find(const struct charsmap *m, const uint8_t *text, size_t n)
{
    size_t node = children_of(unit_at(m, 0));
    for (size_t i = 0; i < n && text[i]; i++) {
        node ^= text[i];
        uint32_t unit = node < m->n_units ? unit_at(m, node) : 0;
        if ((unit & (1u << 31 | 0xff)) != text[i])
            return NULL;
        node ^= children_of(unit);
        if (!(unit >> 8 & 1))
            continue;
        size_t place = node < m->n_units ? unit_at(m, node) & ~(1u << 31) : m->n_texts;
        return text_at(m, place);
    }
    return NULL;
}

static int put_cluster(struct buf *out, const struct charsmap *m, const uint8_t *text, size_t n,
                       struct err *err)
{
    const char *whole = n < CLUSTER_MAX ? find(m, text, n) : NULL;
    if (whole)
        return buf_append(out, whole, strlen(whole), err);
    int rc = 0;
    for (size_t at = 0, length; at < n && !rc; at += length) {
        utf8_get(text + at, &length);
        const char *one = find(m, text + at, length);
        rc = one ? buf_append(out, one, strlen(one), err) : buf_append(out, text + at, length, err);
    }
    return rc;
}

/* Behind these no mark joins: what utf8proc says of a mark that it does know. */
static bool is_control(uint32_t c)
{
    return utf8proc_grapheme_break((int32_t)c, 0x300);
}

static bool is_young_mark(uint32_t c)
{
    bool is = false;
    for (size_t i = 0; i < sizeof young_marks / sizeof *young_marks && c >= young_marks[i][0]; i++)
        is |= c <= young_marks[i][1];
    return is;
}

/* The end of the grapheme cluster at at. Between two printable ASCII characters there is always a
 * border, which spares the look-up. */
static size_t cluster_end(const uint8_t *text, size_t at, size_t n)
{
    utf8proc_int32_t state = 0;
    size_t length;
    uint32_t before = utf8_get(text + at, &length);
    for (at += length; at < n; at += length) {
        if (before >= ' ' && before < 0x7f && text[at] < 0x80)
            return at;
        uint32_t after = utf8_get(text + at, &length);
        bool breaks = utf8proc_grapheme_break_stateful((int32_t)before, (int32_t)after, &state);
        if (breaks && (is_control(before) || !is_young_mark(after)))
            return at;
        before = after;
    }
    return n;
}

/* Where plain text ends: printable ASCII, each with another behind it, that the map leaves alone. */
static size_t plain_end(const struct charsmap *m, const uint8_t *text, size_t at, size_t n)
{
    while (at + 1 < n && text[at] >= ' ' && text[at] < 0x7f && text[at + 1] < 0x80 &&
           !find(m, text + at, 1))
        at++;
    return at;
}

int charsmap_apply(struct buf *out, const struct charsmap *m, const uint8_t *text, size_t n,
                   struct err *err)
{
    int rc = 0;
    for (size_t at = 0; at < n && !rc;) {
        size_t plain = plain_end(m, text, at, n);
        rc = buf_append(out, text + at, plain - at, err);
        if (rc || plain == n)
            break;
        size_t end = cluster_end(text, plain, n);
        rc = put_cluster(out, m, text + plain, end - plain, err);
        at = end;
    }
    return rc;
}
