/* Cleaning a document: see text_clean.h for the rules and their order. */
#include "pipeline/text_clean.h"

#include <stdlib.h>
#include <string.h>

#include <utf8proc.h>

#include "pipeline/text_language.h"
#include "pipeline/text_markup.h"

const char *const text_verdict_names[TEXT_N_VERDICTS] = {"kept",     "too_short",      "too_long",
                                                         "not_text", "wrong_language", "duplicate"};

/* ---- characters ---- */

enum { TO_NOTHING = 0, TO_ITSELF = 1, TO_SPACE = 2, TO_LINE = 3 };

/* What becomes of a character. Control characters: Unicode's Cc; invisible ones: soft hyphen, zero
 * width space, direction marks, byte order mark, interlinear marks. The joiners U+200C and U+200D
 * stay: scripts and emoji need them. */
static int fate_of(uint32_t c)
{
    if (c < 0x20)
        return c == '\n' ? TO_LINE : c == '\t' || c == '\v' || c == '\f' ? TO_SPACE : TO_NOTHING;
    if (c == ' ' || c == 0xA0 || c == 0x1680 || (c >= 0x2000 && c <= 0x200A) || c == 0x202F ||
        c == 0x205F || c == 0x3000)
        return TO_SPACE;
    if (c == 0x85 || c == 0x2028 || c == 0x2029)
        return TO_LINE;
    if ((c >= 0x7F && c < 0xA0) || c == 0xAD || c == 0x200B || c == 0x200E || c == 0x200F ||
        (c >= 0x202A && c <= 0x202E) || (c >= 0x2060 && c <= 0x206F) || c == 0xFEFF ||
        (c >= 0xFFF9 && c <= 0xFFFB))
        return TO_NOTHING;
    return TO_ITSELF;
}

/* Characters that NFC never changes, whatever stands beside them: the common ones of our texts. */
static bool is_surely_nfc(uint32_t c)
{
    return c < 0x300 || (c >= 0x2002 && c <= 0x2125) || (c >= 0x410 && c <= 0x44F) ||
           (c >= 0x4E00 && c <= 0x9FFF);
}

static bool ends_with(const struct buf *b, size_t first, char c)
{
    return b->n > first && b->bytes[b->n - 1] == c;
}

/* A blank, unless a line begins here or one stands already. */
static int put_space(struct buf *out, size_t first, struct err *err)
{
    if (out->n == first || ends_with(out, first, ' ') || ends_with(out, first, '\n'))
        return 0;
    return buf_append(out, " ", 1, err);
}

/* A line end, unless an empty line stands already. */
static int put_line_end(struct buf *out, size_t first, struct err *err)
{
    if (ends_with(out, first, ' '))
        out->n--;
    size_t n = out->n;
    if (n == first || (n >= first + 2 && out->bytes[n - 1] == '\n' && out->bytes[n - 2] == '\n'))
        return 0;
    return buf_append(out, "\n", 1, err);
}

/* How many bytes from s on are plain: printable ASCII, and single blanks between. */
static size_t plain_run(const char *s, size_t n)
{
    size_t i = 0;
    while (i < n && ((s[i] > ' ' && s[i] < 0x7F) ||
                     (s[i] == ' ' && i > 0 && i + 1 < n && s[i + 1] > ' ' && s[i + 1] < 0x7F)))
        i++;
    return i;
}

/* How many bytes at s make one U+FFFD: the longest start of a character that could have been
 * (Unicode 15, section 3.9, table 3-8). */
static size_t broken_run(const char *s, size_t n)
{
    const uint8_t *b = (const uint8_t *)s;
    size_t wanted = b[0] >= 0xF0 && b[0] <= 0xF4   ? 4
                    : b[0] >= 0xE0 && b[0] <= 0xEF ? 3
                    : b[0] >= 0xC2 && b[0] <= 0xDF ? 2
                                                   : 1;
    size_t i = 1;
    for (; i < wanted && i < n && (b[i] & 0xC0) == 0x80; i++) {
        bool low = (b[0] == 0xE0 && b[1] < 0xA0) || (b[0] == 0xF0 && b[1] < 0x90);
        bool high = (b[0] == 0xED && b[1] > 0x9F) || (b[0] == 0xF4 && b[1] > 0x8F);
        if (low || high)
            break;
    }
    return i;
}

/* Replaces what out got from first on by its NFC. */
static int compose(struct buf *out, size_t first, struct err *err)
{
    utf8proc_uint8_t *nfc = NULL;
    utf8proc_ssize_t n =
        utf8proc_map((const utf8proc_uint8_t *)out->bytes + first,
                     (utf8proc_ssize_t)(out->n - first), &nfc, UTF8PROC_STABLE | UTF8PROC_COMPOSE);
    if (n < 0)
        return err_set(err, MOE2_ELIMIT, "no memory for the normal form of %zu bytes",
                       out->n - first);
    out->n = first;
    int rc = buf_append(out, nfc, (size_t)n, err);
    free(nfc);
    return rc;
}

int text_clean_chars(struct buf *out, const char *text, size_t n, struct err *err)
{
    size_t first = out->n;
    bool nfc = true;
    int rc = buf_reserve(out, n, err);
    for (size_t i = 0; i < n && !rc;) {
        size_t run = plain_run(text + i, n - i);
        if (run) {
            rc = buf_append(out, text + i, run, err);
            i += run;
            continue;
        }
        uint32_t c = 0xFFFD;
        int length = text_get_char(&c, text + i, n - i);
        switch (length ? fate_of(c) : TO_ITSELF) {
        case TO_SPACE:
            rc = put_space(out, first, err);
            break;
        case TO_LINE:
            rc = put_line_end(out, first, err);
            break;
        case TO_ITSELF:
            nfc = nfc && is_surely_nfc(c);
            rc = text_put_char(out, length ? c : 0xFFFD, err);
            break;
        case TO_NOTHING: /* a CR alone ends a line too */
            if (c == '\r' && !(i + 1 < n && text[i + 1] == '\n'))
                rc = put_line_end(out, first, err);
            break;
        }
        i += length ? (size_t)length : broken_run(text + i, n - i);
    }
    while (ends_with(out, first, '\n') || ends_with(out, first, ' '))
        out->n--;
    if (!rc && !nfc)
        rc = compose(out, first, err);
    if (out->bytes)
        out->bytes[out->n] = 0;
    return rc;
}

/* ---- a document ---- */

struct line {
    size_t first, n;
    bool dropped;
};

struct text_cleaner {
    struct text_clean_options options;
    struct text_language *language; /* or NULL */
    struct text_phrases phrases;
    struct buf chars; /* the document after step 1 */
    struct line *lines;
    size_t n_lines, lines_capacity;
};

int text_cleaner_new(struct text_cleaner **out, const struct text_clean_options *options,
                     struct err *err)
{
    struct text_cleaner *c = calloc(1, sizeof *c);
    if (!c)
        return err_set(err, MOE2_ELIMIT, "no memory to clean text");
    c->options = *options;
    c->options.language = NULL;
    text_phrases_init(&c->phrases);
    int rc = options->language ? text_language_new(&c->language, options->language, err) : 0;
    if (rc)
        text_cleaner_free(c);
    else
        *out = c;
    return rc;
}

void text_cleaner_free(struct text_cleaner *c)
{
    if (!c)
        return;
    text_language_free(c->language);
    buf_release(&c->chars);
    free(c->lines);
    free(c);
}

struct letter_counts {
    int64_t n_chars, n_letters, n_blank, n_broken;
};

/* What a byte adds to four counts of 16 bits: characters, letters, blanks, first bytes of what may be
 * U+FFFD. Letters are told by their first byte, which is right for the alphabets and nearly so for the
 * rest: C2 begins Latin-1's signs, E2 punctuation and symbols, F0 mostly pictures. */
#define ONE_CHAR ((uint64_t)1)
#define ONE_LETTER (ONE_CHAR | (uint64_t)1 << 16)
#define ONE_BLANK (ONE_CHAR | (uint64_t)1 << 32)
#define ONE_MAYBE_BROKEN (ONE_LETTER | (uint64_t)1 << 48)

static const uint64_t BYTE_COUNTS[256] = {
    [0 ... 9] = ONE_CHAR,         ['\n'] = ONE_BLANK,
    [11 ... 31] = ONE_CHAR,       [' '] = ONE_BLANK,
    ['!' ... '@'] = ONE_CHAR,     ['A' ... 'Z'] = ONE_LETTER,
    ['[' ... '`'] = ONE_CHAR,     ['a' ... 'z'] = ONE_LETTER,
    ['{' ... 0x7F] = ONE_CHAR,    [0xC0 ... 0xC2] = ONE_CHAR,
    [0xC3 ... 0xE1] = ONE_LETTER, [0xE2] = ONE_CHAR,
    [0xE3 ... 0xEE] = ONE_LETTER, [0xEF] = ONE_MAYBE_BROKEN,
    [0xF0 ... 0xFF] = ONE_CHAR,
};

static int64_t count_broken(const char *s, size_t n)
{
    int64_t n_broken = 0;
    for (size_t i = 0; i + 3 <= n; i++)
        n_broken += memcmp(s + i, "\xEF\xBF\xBD", 3) == 0;
    return n_broken;
}

static struct letter_counts count_letters(const char *s, size_t n)
{
    struct letter_counts k = {0};
    bool maybe_broken = false;
    for (size_t i = 0; i < n;) {
        uint64_t sum = 0;
        size_t end = n - i > UINT16_MAX ? i + UINT16_MAX : n;
        for (; i < end; i++)
            sum += BYTE_COUNTS[(uint8_t)s[i]];
        k.n_chars += (int64_t)(sum & UINT16_MAX);
        k.n_letters += (int64_t)(sum >> 16 & UINT16_MAX);
        k.n_blank += (int64_t)(sum >> 32 & UINT16_MAX);
        maybe_broken = maybe_broken || sum >> 48;
    }
    k.n_broken = maybe_broken ? count_broken(s, n) : 0;
    return k;
}

/* *share is that of the language, 1 without one. */
static enum text_verdict judge(double *share, const struct text_cleaner *c, const char *s, size_t n)
{
    *share = 1;
    struct letter_counts k = count_letters(s, n);
    if (k.n_chars < c->options.min_chars)
        return TEXT_TOO_SHORT;
    if (k.n_chars > c->options.max_chars)
        return TEXT_TOO_LONG;
    if (50 * k.n_broken > k.n_chars || 2 * k.n_letters < k.n_chars - k.n_blank)
        return TEXT_NOT_TEXT;
    if (c->language)
        *share = text_language_share(c->language, s, n);
    return *share < c->options.min_language_share ? TEXT_WRONG_LANGUAGE : TEXT_KEPT;
}

/* ---- lines ---- */

static int find_lines(struct text_cleaner *c, struct err *err)
{
    c->n_lines = 0;
    for (size_t i = 0; i <= c->chars.n;) {
        if (c->n_lines == c->lines_capacity) {
            size_t capacity = c->lines_capacity ? 2 * c->lines_capacity : 256;
            struct line *grown = realloc(c->lines, capacity * sizeof *grown);
            if (!grown)
                return err_set(err, MOE2_ELIMIT, "no memory for %zu lines", capacity);
            c->lines = grown;
            c->lines_capacity = capacity;
        }
        const char *end = memchr(c->chars.bytes + i, '\n', c->chars.n - i);
        size_t n = end ? (size_t)(end - c->chars.bytes) - i : c->chars.n - i;
        c->lines[c->n_lines++] = (struct line){i, n, false};
        i += n + 1;
    }
    return 0;
}

static bool has_letter(const char *s, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (((s[i] | 32) >= 'a' && (s[i] | 32) <= 'z') || (uint8_t)s[i] >= 0xC3)
            return true;
    return false;
}

static bool is_menu_entry(const char *s, size_t n)
{
    return n > 0 && n <= TEXT_MENU_BYTES && !memchr(".!?:;,)\"'", s[n - 1], 10);
}

/* Marks runs of menu entries and lines without letters. */
static void drop_menus(struct text_cleaner *c, struct text_clean_counts *counts)
{
    size_t run = 0;
    for (size_t i = 0; i <= c->n_lines; i++) {
        struct line *l = i < c->n_lines ? &c->lines[i] : NULL;
        if (l && !l->dropped && is_menu_entry(c->chars.bytes + l->first, l->n)) {
            run++;
            continue;
        }
        for (size_t j = i - run; j < i && run >= TEXT_MENU_LINES; j++) {
            c->lines[j].dropped = true;
            counts->n_menu++;
        }
        run = 0;
    }
    for (size_t i = 0; i < c->n_lines; i++) {
        struct line *l = &c->lines[i];
        if (!l->dropped && l->n && !has_letter(c->chars.bytes + l->first, l->n)) {
            l->dropped = true;
            counts->n_menu++;
        }
    }
}

/* The length of the sentence at s: up to a full stop, question or exclamation mark that a blank and
 * no small letter follows. The blank belongs to it. */
static size_t sentence_length(const char *s, size_t n)
{
    for (size_t i = 1; i + 1 < n; i++) {
        bool stop = s[i - 1] == '.' || s[i - 1] == '!' || s[i - 1] == '?' ||
                    (i >= 3 && memcmp(s + i - 3, "…", 3) == 0);
        if (stop && s[i] == ' ' && !(s[i + 1] >= 'a' && s[i + 1] <= 'z'))
            return i + 1;
    }
    return n;
}

/* Takes boilerplate sentences out of a long line, in place. */
static void drop_sentences(struct text_cleaner *c, struct line *l, struct text_clean_counts *counts)
{
    char *s = c->chars.bytes + l->first;
    size_t kept = 0;
    for (size_t i = 0; i < l->n;) {
        size_t n = sentence_length(s + i, l->n - i);
        size_t shown = n - (s[i + n - 1] == ' ');
        if (text_boilerplate(&c->phrases, s + i, shown)) {
            counts->n_boilerplate++;
        } else {
            memmove(s + kept, s + i, n);
            kept += n;
        }
        i += n;
    }
    while (kept && s[kept - 1] == ' ')
        kept--;
    l->n = kept;
}

static void drop_lines(struct text_cleaner *c, double share, struct text_clean_counts *counts)
{
    for (size_t i = 0; i < c->n_lines; i++) {
        struct line *l = &c->lines[i];
        const char *s = c->chars.bytes + l->first;
        if (l->n > TEXT_LONG_LINE_BYTES) {
            drop_sentences(c, l, counts);
        } else if (text_boilerplate(&c->phrases, s, l->n)) {
            l->dropped = true;
            counts->n_boilerplate++;
        }
        if (!l->dropped && l->n >= 40 && share < 1 &&
            text_language_is_foreign(c->language, s, l->n)) {
            l->dropped = true;
            counts->n_foreign++;
        }
    }
    drop_menus(c, counts);
}

/* Joins what is left, with at most one empty line between. */
static void join_lines(struct text_cleaner *c)
{
    char *s = c->chars.bytes;
    size_t n = 0;
    bool gap = false;
    for (size_t i = 0; i < c->n_lines; i++) {
        const struct line *l = &c->lines[i];
        if (l->dropped || l->n == 0) {
            gap = gap || !l->dropped;
            continue;
        }
        if (n > 0)
            s[n++] = '\n';
        if (n > 0 && gap)
            s[n++] = '\n';
        gap = false;
        memmove(s + n, s + l->first, l->n);
        n += l->n;
    }
    c->chars.n = n;
    s[n] = 0;
}

int text_clean(enum text_verdict *verdict, struct buf *out, struct text_cleaner *c,
               const char *text, size_t n, struct text_clean_counts *counts, struct err *err)
{
    struct text_clean_counts unused = {0};
    counts = counts ? counts : &unused;
    buf_clear(&c->chars);
    int rc = text_clean_chars(&c->chars, text, n, err);
    if (rc)
        return rc;
    double share;
    enum text_verdict v = judge(&share, c, c->chars.bytes, c->chars.n);
    if (v == TEXT_KEPT && !c->options.keep_lines && c->chars.n) {
        rc = find_lines(c, err);
        if (rc)
            return rc;
        drop_lines(c, share, counts);
        join_lines(c);
        if (count_letters(c->chars.bytes, c->chars.n).n_chars < c->options.min_chars)
            v = TEXT_TOO_SHORT;
    }
    if (v == TEXT_KEPT)
        rc = buf_append(out, c->chars.bytes, c->chars.n, err);
    if (!rc)
        *verdict = v;
    return rc;
}
