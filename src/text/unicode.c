/* UTF-8, classes of code points and NFC: see unicode.h. UTF-8 is the table 3-7 of the Unicode
 * standard: no surrogates, no overlong forms, nothing above U+10FFFF. */
#include "text/unicode.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>
#include <utf8proc.h>

int unicode_runs_new(uint8_t **out, const uint32_t *runs, int n_runs, struct err *err)
{
    uint8_t *table = calloc(UNICODE_N_CODE_POINTS, 1);
    if (!table)
        return err_set(err, MOE2_ELIMIT, "no memory for a table of %d code points",
                       UNICODE_N_CODE_POINTS);
    for (int i = 0; i < n_runs; i++) {
        uint8_t bits = (uint8_t)(runs[i] & 0xff);
        uint32_t first = runs[i] >> 8;
        uint32_t end = i + 1 < n_runs ? runs[i + 1] >> 8 : UNICODE_N_CODE_POINTS;
        if (bits)
            memset(table + first, bits, end - first);
    }
    *out = table;
    return 0;
}

int unicode_table_new(uint8_t **out, struct err *err)
{
    return unicode_runs_new(out, unicode_runs, n_unicode_runs, err);
}

/* Whether an odd number of the n increasing toggles lies at or below code_point. */
static bool toggled(const uint32_t *toggles, int n, uint32_t code_point)
{
    int low = 0, high = n;
    while (low < high) {
        int middle = (low + high) / 2;
        if (toggles[middle] <= code_point)
            low = middle + 1;
        else
            high = middle;
    }
    return low & 1;
}

bool unicode_is_word(uint32_t code_point)
{
    return toggled(unicode_word, n_unicode_word, code_point);
}

bool unicode_is_numeric(uint32_t code_point)
{
    return toggled(unicode_numeric, n_unicode_numeric, code_point);
}

uint32_t utf8_last(const uint8_t *text, size_t end, size_t *n_bytes)
{
    size_t at = end - 1;
    while (at > 0 && (text[at] & 0xc0) == 0x80)
        at--;
    return utf8_get(text + at, n_bytes);
}

size_t utf8_put(uint8_t *out, uint32_t c)
{
    if (c < 0x80) {
        out[0] = (uint8_t)c;
        return 1;
    }
    if (c < 0x800) {
        out[0] = (uint8_t)(0xc0 | c >> 6);
        out[1] = (uint8_t)(0x80 | (c & 63));
        return 2;
    }
    if (c < 0x10000) {
        out[0] = (uint8_t)(0xe0 | c >> 12);
        out[1] = (uint8_t)(0x80 | (c >> 6 & 63));
        out[2] = (uint8_t)(0x80 | (c & 63));
        return 3;
    }
    out[0] = (uint8_t)(0xf0 | c >> 18);
    out[1] = (uint8_t)(0x80 | (c >> 12 & 63));
    out[2] = (uint8_t)(0x80 | (c >> 6 & 63));
    out[3] = (uint8_t)(0x80 | (c & 63));
    return 4;
}

size_t utf8_check(const uint8_t *p, size_t n, size_t *n_bad, bool *cut)
{
    uint8_t a = p[0];
    size_t want = a < 0x80 ? 1 : a < 0xc2 ? 0 : a < 0xe0 ? 2 : a < 0xf0 ? 3 : a < 0xf5 ? 4 : 0;
    /* Only the second byte has a range of its own: it keeps out overlong forms, surrogates and what
     * lies past U+10FFFF. */
    uint8_t low = a == 0xe0 ? 0xa0 : a == 0xf0 ? 0x90 : 0x80;
    uint8_t high = a == 0xed ? 0x9f : a == 0xf4 ? 0x8f : 0xbf;
    size_t good = want > 0;
    while (good > 0 && good < want && good < n && p[good] >= low && p[good] <= high) {
        good++;
        low = 0x80;
        high = 0xbf;
    }
    if (cut)
        *cut = good > 0 && good < want && good == n;
    if (want > 0 && good == want)
        return want;
    *n_bad = good ? good : 1;
    return 0;
}

size_t utf8_scan(const uint8_t *text, size_t n, const uint8_t *table, uint8_t *seen)
{
    uint8_t bits = 0;
    size_t at = 0, n_bad;
    while (at < n) {
        uint64_t word[4];
        while (n - at >= sizeof word) {
            memcpy(word, text + at, sizeof word);
            if ((word[0] | word[1] | word[2] | word[3]) & 0x8080808080808080u)
                break;
            at += sizeof word;
        }
        size_t stop = n - at > sizeof word ? at + sizeof word : n;
        while (at < stop) {
            if (text[at] < 0x80) {
                at++;
                continue;
            }
            size_t length = utf8_check(text + at, n - at, &n_bad, NULL);
            if (!length)
                goto done;
            bits |= table[utf8_get(text + at, &length)];
            at += length;
        }
    }
done:
    *seen |= bits;
    return at;
}

int utf8_repair(struct buf *out, const uint8_t *text, size_t n, struct err *err)
{
    size_t good_from = 0, at = 0, n_bad = 0;
    while (at < n) {
        size_t length = utf8_check(text + at, n - at, &n_bad, NULL);
        if (length) {
            at += length;
            continue;
        }
        int rc = buf_append(out, text + good_from, at - good_from, err);
        if (!rc)
            rc = buf_append(out, "\xef\xbf\xbd", 3, err);
        if (rc)
            return rc;
        at += n_bad;
        good_from = at;
    }
    return buf_append(out, text + good_from, n - good_from, err);
}

/* NFC of a stretch without young characters, by utf8proc; with UTF8PROC_COMPAT NFKC. */
static int compose_stretch(struct buf *out, const uint8_t *text, size_t n, int compat,
                           struct err *err)
{
    if (!n)
        return 0;
    utf8proc_uint8_t *made = NULL;
    utf8proc_ssize_t n_made =
        utf8proc_map(text, (utf8proc_ssize_t)n, &made,
                     (utf8proc_option_t)(UTF8PROC_STABLE | UTF8PROC_COMPOSE | compat));
    if (n_made < 0)
        return err_set(err, MOE2_ELIMIT, "normal form of %zu bytes: %s", n,
                       utf8proc_errmsg(n_made));
    int rc = buf_append(out, made, (size_t)n_made, err);
    free(made);
    return rc;
}

/* The first character from at on that can change, or n. */
static size_t next_slow(const uint8_t *text, size_t at, size_t n, const uint8_t *table)
{
    size_t length;
    while (at < n) {
        uint64_t word;
        if (n - at >= sizeof word) {
            memcpy(&word, text + at, sizeof word);
            if (!(word & 0x8080808080808080u)) {
                at += sizeof word;
                continue;
            }
        }
        if (table[utf8_get(text + at, &length)] & UNICODE_NFC_SLOW)
            return at;
        at += length;
    }
    return n;
}

int unicode_nfc(struct buf *out, const uint8_t *text, size_t n, const uint8_t *table,
                struct err *err)
{
    /* Only stretches of characters that can change are worked on, each with the character before
     * it, which they may join; one younger than Unicode 9.0 joins nothing. */
    size_t done = 0, length;
    int rc = 0;
    while (done < n && !rc) {
        size_t begin = next_slow(text, done, n, table), end = begin;
        while (end < n && table[utf8_get(text + end, &length)] & UNICODE_NFC_SLOW)
            end += length;
        if (begin < end && begin > done &&
            table[utf8_last(text, begin, &length)] & UNICODE_NFC_KNOWN)
            begin -= length;
        rc = buf_append(out, text + done, begin - done, err);
        if (!rc)
            rc = compose_stretch(out, text + begin, end - begin, 0, err);
        done = end;
    }
    return rc;
}

int unicode_nfkc(struct buf *out, const uint8_t *text, size_t n, const uint8_t *table,
                 struct err *err)
{
    int rc = 0;
    for (size_t at = 0, end, length; at < n && !rc; at = end) {
        end = at;
        while (end < n && table[utf8_get(text + end, &length)] & UNICODE_NFC_KNOWN)
            end += length;
        rc = compose_stretch(out, text + at, end - at, UTF8PROC_COMPAT, err);
        if (rc || end == n)
            break;
        utf8_get(text + end, &length);
        rc = buf_append(out, text + end, length, err);
        end += length;
    }
    return rc;
}

uint32_t byte_to_visible(uint8_t byte)
{
    if (byte < 33)
        return 256u + byte;
    if (byte >= 127 && byte <= 160)
        return 256u + 33 + (byte - 127u);
    return byte == 173 ? 256 + 67 : byte;
}

int visible_to_byte(uint32_t c)
{
    if (c < 256)
        return byte_to_visible((uint8_t)c) == c ? (int)c : -1;
    c -= 256;
    return c < 33 ? (int)c : c < 67 ? (int)(c - 33 + 127) : c == 67 ? 173 : -1;
}
