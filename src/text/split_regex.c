/* Splitting by any regular expression, with PCRE2: see split.h.
 *
 * HF tokenizers uses Oniguruma in Ruby's syntax. For what tokenizers write the two agree, but for:
 * classes with && and \h (hexadecimal in Ruby), which are refused; ^ and $, which Ruby always reads
 * line by line (PCRE2_MULTILINE does the same); and characters younger than PCRE2's own Unicode
 * tables, which count as unassigned here.
 */
#include <stdlib.h>
#include <string.h>

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#include "text/split.h"
#include "text/unicode.h"

struct split_regex {
    pcre2_code *code;
    bool jit;
};

enum {
    JIT_STACK_START = 32 << 10,
    JIT_STACK_MAX = 64 << 20,
    MATCH_LIMIT = 10000000, /* steps of one match before an expression counts as runaway */
    HEAP_LIMIT_KIB = 1 << 20,
};

/* How many bytes from pattern[at] on go together: an escape, the opening of a class with a ] that
 * is meant literally, [:alpha:]. */
static size_t unit(const char *pattern, size_t n, size_t at, bool in_class)
{
    const char *p = pattern + at;
    size_t left = n - at, length = 1;
    if (*p == '\\')
        return left > 1 ? 2 : 1;
    if (*p != '[')
        return 1;
    if (in_class) {
        const char *close = left > 1 && p[1] == ':' ? memmem(p, left, ":]", 2) : NULL;
        return close ? (size_t)(close - p) + 2 : 1;
    }
    length += length < left && p[length] == '^';
    length += length < left && p[length] == ']';
    return length;
}

/* What Oniguruma reads otherwise; NULL if nothing. */
static const char *foreign(const char *pattern, size_t n)
{
    bool in_class = false;
    for (size_t at = 0, length; at < n; at += length) {
        const char *p = pattern + at;
        length = unit(pattern, n, at, in_class);
        if (length == 2 && (memcmp(p, "\\h", 2) == 0 || memcmp(p, "\\H", 2) == 0))
            return "\\h";
        if (in_class && *p == '&' && at + 1 < n && p[1] == '&')
            return "&& in a class";
        in_class = *p == '[' || (in_class && *p != ']');
    }
    return NULL;
}

/* White_Space, as Oniguruma's \s has it; PCRE2's also takes U+180E in. */
#define SPACES                                                                                     \
    "\\x{9}-\\x{d}\\x{20}\\x{85}\\x{a0}\\x{1680}\\x{2000}-\\x{200a}\\x{2028}\\x{2029}\\x{202f}"    \
    "\\x{205f}\\x{3000}"

/* The pattern with \s and, outside of classes, \S spelt out. */
static int spell_spaces(struct buf *out, const char *pattern, size_t n, struct err *err)
{
    bool in_class = false;
    int rc = 0;
    for (size_t at = 0, length; at < n && !rc; at += length) {
        const char *p = pattern + at;
        length = unit(pattern, n, at, in_class);
        if (length == 2 && memcmp(p, "\\s", 2) == 0)
            rc = buf_puts(out, in_class ? SPACES : "[" SPACES "]", err);
        else if (length == 2 && memcmp(p, "\\S", 2) == 0 && !in_class)
            rc = buf_puts(out, "[^" SPACES "]", err);
        else
            rc = buf_append(out, p, length, err);
        in_class = *p == '[' || (in_class && *p != ']');
    }
    return rc;
}

static pcre2_code *compile(const char *pattern, size_t n, bool literal, struct err *err)
{
    struct buf spelt = {0};
    int code = literal ? 0 : spell_spaces(&spelt, pattern, n, err);
    if (code)
        return NULL;
    size_t at;
    uint32_t options = PCRE2_UTF | (literal ? PCRE2_LITERAL : PCRE2_UCP | PCRE2_MULTILINE);
    pcre2_code *made = pcre2_compile((PCRE2_SPTR)(literal ? pattern : spelt.bytes),
                                     literal ? n : spelt.n, options, &code, &at, NULL);
    buf_release(&spelt);
    if (made)
        return made;
    char why[160];
    pcre2_get_error_message(code, (PCRE2_UCHAR *)why, sizeof why);
    err_set(err, MOE2_EFORMAT, "pattern \"%.100s\": %s", pattern, why);
    return NULL;
}

int split_regex_new(struct split_regex **out, const char *pattern, size_t n, bool literal,
                    struct err *err)
{
    if (n == 0 || n > SPLIT_MAX_PATTERN_BYTES)
        return err_set(err, MOE2_EFORMAT, "a pattern of %zu bytes, wanted 1 to %d", n,
                       SPLIT_MAX_PATTERN_BYTES);
    const char *odd = literal ? NULL : foreign(pattern, n);
    if (odd)
        return err_set(err, MOE2_EFORMAT,
                       "pattern \"%.100s\" uses %s, which is not understood here", pattern, odd);
    struct split_regex *r = calloc(1, sizeof *r);
    if (!r)
        return err_set(err, MOE2_ELIMIT, "no memory for a pattern");
    r->code = compile(pattern, n, literal, err);
    if (!r->code) {
        free(r);
        return MOE2_EFORMAT;
    }
    r->jit = pcre2_jit_compile(r->code, PCRE2_JIT_COMPLETE) == 0;
    *out = r;
    return 0;
}

void split_regex_free(struct split_regex *r)
{
    if (!r)
        return;
    pcre2_code_free(r->code);
    free(r);
}

void split_scratch_release(struct split_scratch *s)
{
    pcre2_match_data_free(s->match);
    pcre2_match_context_free(s->context);
    pcre2_jit_stack_free(s->stack);
    buf_release(&s->prefixed);
    memset(s, 0, sizeof *s);
}

static int scratch_ready(struct split_scratch *s, struct err *err)
{
    if (s->match)
        return 0;
    s->context = pcre2_match_context_create(NULL);
    s->stack = pcre2_jit_stack_create(JIT_STACK_START, JIT_STACK_MAX, NULL);
    s->match = pcre2_match_data_create(1, NULL);
    if (!s->match || !s->context || !s->stack) {
        split_scratch_release(s);
        return err_set(err, MOE2_ELIMIT, "no memory to match a pattern");
    }
    pcre2_jit_stack_assign(s->context, NULL, s->stack);
    pcre2_set_match_limit(s->context, MATCH_LIMIT);
    pcre2_set_heap_limit(s->context, HEAP_LIMIT_KIB);
    return 0;
}

static int match_once(const struct split_regex *r, struct split_scratch *s, const uint8_t *text,
                      size_t n, size_t at, struct err *err)
{
    int rc = pcre2_match(r->code, text, n, at, PCRE2_NO_UTF_CHECK, s->match, s->context);
    if (rc == PCRE2_ERROR_JIT_STACKLIMIT)
        rc = pcre2_match(r->code, text, n, at, PCRE2_NO_UTF_CHECK | PCRE2_NO_JIT, s->match,
                         s->context);
    if (rc >= 0)
        return 1;
    if (rc == PCRE2_ERROR_NOMATCH)
        return 0;
    char why[160];
    pcre2_get_error_message(rc, (PCRE2_UCHAR *)why, sizeof why);
    return err_set(err, MOE2_ELIMIT, "splitting the text by a pattern: %s", why);
}

int split_regex_next(size_t *begin, size_t *end, struct split_search *search,
                     const struct split_regex *r, struct split_scratch *s, const uint8_t *text,
                     size_t n, struct err *err)
{
    int rc = scratch_ready(s, err);
    while (!rc && search->at <= n) {
        rc = match_once(r, s, text, n, search->at, err);
        if (rc <= 0)
            return rc;
        const size_t *found = pcre2_get_ovector_pointer(s->match);
        *begin = found[0];
        *end = found[1];
        if (*begin < *end || !search->begun || search->last_end < *end) {
            *search = (struct split_search){.at = *end, .last_end = *end, .begun = true};
            return 1;
        }
        /* Nothing, right behind the last match: go on one character further. */
        size_t length = 1;
        if (search->at < n)
            utf8_get(text + search->at, &length);
        search->at += length;
        rc = 0;
    }
    return rc;
}
