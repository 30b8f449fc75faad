/* UTF-8 for the text steps: one code point in, one out, and old encodings turned into it. Overlong
 * forms, surrogates and what lies above U+10FFFF are no UTF-8 (RFC 3629). */
#include "pipeline/text_markup.h"

int text_get_char(uint32_t *c, const char *bytes, size_t n)
{
    const uint8_t *s = (const uint8_t *)bytes;
    if (s[0] < 0x80) {
        *c = s[0];
        return 1;
    }
    int more = s[0] >= 0xF0 ? 3 : s[0] >= 0xE0 ? 2 : 1;
    if (s[0] < 0xC2 || s[0] > 0xF4 || n <= (size_t)more)
        return 0;
    uint32_t v = s[0] & (0x3Fu >> more);
    for (int i = 1; i <= more; i++) {
        if ((s[i] & 0xC0) != 0x80)
            return 0;
        v = v << 6 | (s[i] & 0x3Fu);
    }
    static const uint32_t least[4] = {0, 0x80, 0x800, 0x10000};
    if (v < least[more] || v > 0x10FFFF || (v >= 0xD800 && v <= 0xDFFF))
        return 0;
    *c = v;
    return 1 + more;
}

int text_put_char(struct buf *out, uint32_t c, struct err *err)
{
    if (c > 0x10FFFF || (c >= 0xD800 && c <= 0xDFFF))
        c = 0xFFFD;
    char s[4];
    size_t n = 0;
    if (c < 0x80) {
        s[n++] = (char)c;
    } else if (c < 0x800) {
        s[n++] = (char)(0xC0 | c >> 6);
        s[n++] = (char)(0x80 | (c & 0x3F));
    } else if (c < 0x10000) {
        s[n++] = (char)(0xE0 | c >> 12);
        s[n++] = (char)(0x80 | (c >> 6 & 0x3F));
        s[n++] = (char)(0x80 | (c & 0x3F));
    } else {
        s[n++] = (char)(0xF0 | c >> 18);
        s[n++] = (char)(0x80 | (c >> 12 & 0x3F));
        s[n++] = (char)(0x80 | (c >> 6 & 0x3F));
        s[n++] = (char)(0x80 | (c & 0x3F));
    }
    return buf_append(out, s, n, err);
}

static bool is_utf8(const char *bytes, size_t n)
{
    for (size_t i = 0; i < n;) {
        uint32_t c;
        int length = text_get_char(&c, bytes + i, n - i);
        if (length == 0)
            return false;
        i += (size_t)length;
    }
    return true;
}

/* Windows-1252's bytes 0x80 … 0x9F; 0 where it has none. The others are Latin-1. */
static const uint16_t WINDOWS_1252[32] = {
    0x20AC, 0,      0x201A, 0x0192, 0x201E, 0x2026, 0x2020, 0x2021, 0x02C6, 0x2030, 0x0160,
    0x2039, 0x0152, 0,      0x017D, 0,      0,      0x2018, 0x2019, 0x201C, 0x201D, 0x2022,
    0x2013, 0x2014, 0x02DC, 0x2122, 0x0161, 0x203A, 0x0153, 0,      0x017E, 0x0178};

int text_to_utf8(struct buf *out, const char *bytes, size_t n, struct err *err)
{
    if (is_utf8(bytes, n))
        return buf_append(out, bytes, n, err);
    int rc = buf_reserve(out, 2 * n, err);
    for (size_t i = 0; i < n && !rc; i++) {
        uint8_t c = (uint8_t)bytes[i];
        uint32_t code = c >= 0x80 && c < 0xA0 ? WINDOWS_1252[c - 0x80] : c;
        rc = text_put_char(out, code || !c ? code : 0xFFFD, err);
    }
    return rc;
}
