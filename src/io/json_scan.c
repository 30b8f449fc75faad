/* The JSON scanner: see json_scan.h. */
#include "io/json_scan.h"

#include <string.h>

void json_scan_init(struct json_scan *s, const void *bytes, size_t n)
{
    static const uint8_t none[1];
    const uint8_t *p = n ? bytes : none;
    *s = (struct json_scan){p, p, p + n};
}

static bool is_space(uint8_t c)
{
    return c == ' ' || c == '\n' || c == '\r' || c == '\t';
}

int json_scan_peek(struct json_scan *s)
{
    while (s->p < s->end && is_space(*s->p))
        s->p++;
    return s->p < s->end ? *s->p : -1;
}

bool json_scan_take(struct json_scan *s, char c)
{
    if (json_scan_peek(s) != c)
        return false;
    s->p++;
    return true;
}

/* "byte 17 is 'x', wanted …" for the byte at p. */
static int unexpected(const struct json_scan *s, const char *wanted, struct err *err)
{
    long long at = (long long)(s->p - s->begin);
    if (s->p >= s->end)
        return err_set(err, MOE2_EFORMAT, "the JSON ends at byte %lld, wanted %s", at, wanted);
    if (*s->p > ' ' && *s->p < 127)
        return err_set(err, MOE2_EFORMAT, "byte %lld is '%c', wanted %s", at, *s->p, wanted);
    return err_set(err, MOE2_EFORMAT, "byte %lld is 0x%02x, wanted %s", at, *s->p, wanted);
}

int json_scan_need(struct json_scan *s, char c, struct err *err)
{
    if (json_scan_take(s, c))
        return 0;
    return unexpected(s, (char[]){'\'', c, '\'', 0}, err);
}

int json_scan_need_end(struct json_scan *s, struct err *err)
{
    if (json_scan_peek(s) < 0)
        return 0;
    return unexpected(s, "the end", err);
}

size_t utf8_valid_bytes(const uint8_t *bytes, size_t n)
{
    size_t i = 0;
    while (i < n) {
        uint64_t eight;
        if (n - i >= 8) {
            memcpy(&eight, bytes + i, 8);
            if (!(eight & 0x8080808080808080u)) {
                i += 8;
                continue;
            }
        }
        uint8_t c = bytes[i];
        if (c < 0x80) {
            i++;
            continue;
        }
        size_t more = c >= 0xf0 ? 3 : c >= 0xe0 ? 2 : 1;
        if (c < 0xc2 || c > 0xf4 || n - i <= more)
            return i;
        uint8_t low = c == 0xe0 ? 0xa0 : c == 0xf0 ? 0x90 : 0x80;
        uint8_t high = c == 0xed ? 0x9f : c == 0xf4 ? 0x8f : 0xbf;
        if (bytes[i + 1] < low || bytes[i + 1] > high)
            return i;
        for (size_t k = 2; k <= more; k++)
            if ((bytes[i + k] & 0xc0) != 0x80)
                return i;
        i += more + 1;
    }
    return i;
}

static int hex4(struct json_scan *s, uint32_t *out, struct err *err)
{
    uint32_t v = 0;
    for (int i = 0; i < 4; i++, s->p++) {
        uint8_t c = s->p < s->end ? *s->p : 0;
        if (c >= '0' && c <= '9')
            v = v << 4 | (uint32_t)(c - '0');
        else if ((c | 32) >= 'a' && (c | 32) <= 'f')
            v = v << 4 | (uint32_t)((c | 32) - 'a' + 10);
        else
            return unexpected(s, "four hexadecimal digits behind \\u", err);
    }
    *out = v;
    return 0;
}

/* The code point of a \u escape whose "\u" was taken; two escapes for one above U+FFFF. */
static int unicode_escape(struct json_scan *s, uint32_t *out, struct err *err)
{
    uint32_t c = 0, low = 0;
    long long at = (long long)(s->p - s->begin) - 2;
    int rc = hex4(s, &c, err);
    if (rc)
        return rc;
    if (c == 0)
        return err_set(err, MOE2_EFORMAT, "byte %lld writes a NUL, wanted text", at);
    if (c >= 0xd800 && c <= 0xdbff && s->end - s->p >= 2 && s->p[0] == '\\' && s->p[1] == 'u') {
        s->p += 2;
        rc = hex4(s, &low, err);
        if (rc)
            return rc;
        if (low >= 0xdc00 && low <= 0xdfff) {
            *out = 0x10000 + ((c - 0xd800) << 10) + (low - 0xdc00);
            return 0;
        }
    }
    if (c >= 0xd800 && c <= 0xdfff)
        return err_set(err, MOE2_EFORMAT,
                       "byte %lld writes half a surrogate pair, wanted a whole one", at);
    *out = c;
    return 0;
}

static int put_code_point(struct buf *out, uint32_t c, struct err *err)
{
    uint8_t u[4];
    size_t n;
    if (c < 0x80) {
        u[0] = (uint8_t)c;
        n = 1;
    } else if (c < 0x800) {
        u[0] = (uint8_t)(0xc0 | c >> 6);
        n = 2;
    } else if (c < 0x10000) {
        u[0] = (uint8_t)(0xe0 | c >> 12);
        n = 3;
    } else {
        u[0] = (uint8_t)(0xf0 | c >> 18);
        n = 4;
    }
    for (size_t i = 1; i < n; i++)
        u[i] = (uint8_t)(0x80 | (c >> (6 * (n - 1 - i)) & 0x3f));
    return buf_append(out, u, n, err);
}

static int escape(struct json_scan *s, struct buf *out, struct err *err)
{
    static const char from[] = "\"\\/bfnrt", to[] = "\"\\/\b\f\n\r\t";
    s->p++;
    if (s->p < s->end && *s->p == 'u') {
        uint32_t c = 0;
        s->p++;
        int rc = unicode_escape(s, &c, err);
        return rc ? rc : put_code_point(out, c, err);
    }
    const char *found = s->p < s->end && *s->p ? strchr(from, *s->p) : NULL;
    if (!found)
        return unexpected(s, "one of \"\\/bfnrtu behind a backslash", err);
    s->p++;
    return buf_append(out, &to[found - from], 1, err);
}

int json_scan_string(struct json_scan *s, struct buf *out, struct err *err)
{
    if (!json_scan_take(s, '"'))
        return unexpected(s, "a string", err);
    int rc = 0;
    while (!rc) {
        const uint8_t *from = s->p;
        while (s->p < s->end && *s->p != '"' && *s->p != '\\' && *s->p >= ' ')
            s->p++;
        size_t n = (size_t)(s->p - from), valid = utf8_valid_bytes(from, n);
        if (valid < n) {
            s->p = from + valid;
            return unexpected(s, "UTF-8", err);
        }
        rc = buf_append(out, from, n, err);
        if (rc)
            return rc;
        if (s->p >= s->end || *s->p < ' ')
            return unexpected(s, "the end of a string", err);
        if (*s->p == '"')
            break;
        rc = escape(s, out, err);
    }
    if (rc)
        return rc;
    s->p++;
    return buf_append(out, "", 1, err);
}

int json_scan_count(struct json_scan *s, int64_t *out, struct err *err)
{
    int c = json_scan_peek(s);
    if (c < '0' || c > '9')
        return unexpected(s, "a whole number of at least 0", err);
    const uint8_t *from = s->p;
    uint64_t v = 0;
    for (; s->p < s->end && *s->p >= '0' && *s->p <= '9'; s->p++) {
        uint64_t digit = (uint64_t)(*s->p - '0');
        if (v > ((uint64_t)INT64_MAX - digit) / 10)
            return err_set(err, MOE2_EFORMAT, "the number at byte %lld is above 2^63 - 1",
                           (long long)(from - s->begin));
        v = v * 10 + digit;
    }
    bool zero_first = *from == '0' && s->p - from > 1;
    if (zero_first || (s->p < s->end && (*s->p == '.' || (*s->p | 32) == 'e')))
        return err_set(err, MOE2_EFORMAT, "the number at byte %lld is no plain whole number",
                       (long long)(from - s->begin));
    *out = (int64_t)v;
    return 0;
}

static bool take_digits(struct json_scan *s)
{
    const uint8_t *from = s->p;
    while (s->p < s->end && *s->p >= '0' && *s->p <= '9')
        s->p++;
    return s->p > from;
}

static int skip_number(struct json_scan *s, struct err *err)
{
    if (*s->p == '-')
        s->p++;
    bool zero = s->p < s->end && *s->p == '0';
    const uint8_t *from = s->p;
    if (!take_digits(s) || (zero && s->p - from > 1))
        return unexpected(s, "a number", err);
    if (s->p < s->end && *s->p == '.') {
        s->p++;
        if (!take_digits(s))
            return unexpected(s, "a digit", err);
    }
    if (s->p < s->end && (*s->p | 32) == 'e') {
        s->p++;
        if (s->p < s->end && (*s->p == '+' || *s->p == '-'))
            s->p++;
        if (!take_digits(s))
            return unexpected(s, "a digit", err);
    }
    return 0;
}

static int skip_word(struct json_scan *s, struct err *err)
{
    static const char *const words[] = {"true", "false", "null"};
    for (int i = 0; i < 3; i++) {
        size_t n = strlen(words[i]);
        if ((size_t)(s->end - s->p) >= n && memcmp(s->p, words[i], n) == 0) {
            s->p += n;
            return 0;
        }
    }
    return unexpected(s, "a value", err);
}

/* A string, number or word; no bracket. */
static int skip_scalar(struct json_scan *s, struct err *err)
{
    int c = json_scan_peek(s);
    if (c == '"') {
        struct buf scratch = {.max_bytes = (size_t)(s->end - s->p) + 1};
        int rc = json_scan_string(s, &scratch, err);
        buf_release(&scratch);
        return rc;
    }
    if (c == '-' || (c >= '0' && c <= '9'))
        return skip_number(s, err);
    return skip_word(s, err);
}

static int skip_key(struct json_scan *s, struct err *err)
{
    if (json_scan_peek(s) != '"')
        return unexpected(s, "a string", err);
    int rc = skip_scalar(s, err);
    return rc ? rc : json_scan_need(s, ':', err);
}

int json_scan_skip(struct json_scan *s, struct err *err)
{
    char close[JSON_SCAN_MAX_DEPTH];
    int64_t n_items[JSON_SCAN_MAX_DEPTH];
    int depth = 0, rc = 0;
    do {
        int c = json_scan_peek(s);
        if (c == '{' || c == '[') {
            if (depth == JSON_SCAN_MAX_DEPTH)
                return err_set(err, MOE2_ELIMIT, "byte %lld nests deeper than %d levels",
                               (long long)(s->p - s->begin), JSON_SCAN_MAX_DEPTH);
            s->p++;
            close[depth] = c == '{' ? '}' : ']';
            n_items[depth++] = 0;
        } else {
            rc = skip_scalar(s, err);
        }
        bool more = false;
        while (!rc && depth > 0 && !more) {
            rc = json_scan_more(s, &more, &n_items[depth - 1], close[depth - 1], err);
            if (!more)
                depth--;
        }
        if (!rc && more && close[depth - 1] == '}')
            rc = skip_key(s, err);
    } while (!rc && depth > 0);
    return rc;
}

int json_scan_more(struct json_scan *s, bool *more, int64_t *n_items, char close, struct err *err)
{
    *more = false;
    if (json_scan_take(s, close))
        return 0;
    if (*n_items > 0 && !json_scan_take(s, ','))
        return unexpected(s, close == '}' ? "',' or '}'" : "',' or ']'", err);
    if (*n_items > 0 && json_scan_peek(s) == close)
        return unexpected(s, "another item behind ','", err);
    *n_items += 1;
    *more = true;
    return 0;
}
