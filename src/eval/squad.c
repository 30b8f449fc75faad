/* Exact match and F1: see squad.h. */
#include "eval/squad.h"

#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <utf8proc.h>

#include "text/unicode.h"

const char *const squad_rules_names[SQUAD_N_RULES] = {"official", "italian"};

static const char *const english_articles[] = {"a", "an", "the", NULL};
static const char *const italian_articles[] = {"il", "lo",  "la",  "i", "gli", "le",
                                               "un", "uno", "una", "l", NULL};
static const char *const elided[] = {"l",    "un",   "d",     "dell",  "all",  "nell", "sull",
                                     "dall", "c",    "s",     "m",     "t",    "v",    "n",
                                     "gl",   "coll", "quell", "quest", "bell", "sant", NULL};

static bool is_one_of(const char *const *words, const char *word, size_t n)
{
    for (; *words; words++)
        if (strlen(*words) == n && memcmp(*words, word, n) == 0)
            return true;
    return false;
}

/* ---- characters ---- */

static bool is_punctuation(uint32_t c, enum squad_rules rules)
{
    if (c < 128)
        return c > ' ' && c < 127 &&
               !((c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z'));
    utf8proc_category_t k = utf8proc_category((utf8proc_int32_t)c);
    return rules == SQUAD_ITALIAN && k >= UTF8PROC_CATEGORY_PC && k <= UTF8PROC_CATEGORY_PO;
}

/* str.isalnum; the underscore is gone with the punctuation. */
static bool is_word(uint32_t c)
{
    utf8proc_category_t k = utf8proc_category((utf8proc_int32_t)c);
    return (k >= UTF8PROC_CATEGORY_LU && k <= UTF8PROC_CATEGORY_LO) ||
           (k >= UTF8PROC_CATEGORY_ND && k <= UTF8PROC_CATEGORY_NO);
}

static bool is_blank(uint32_t c)
{
    utf8proc_category_t k = utf8proc_category((utf8proc_int32_t)c);
    return (c >= 9 && c <= 13) || (c >= 0x1c && c <= 0x1f) || c == 0x85 ||
           (k >= UTF8PROC_CATEGORY_ZS && k <= UTF8PROC_CATEGORY_ZP);
}

static bool is_apostrophe(uint32_t c)
{
    return c == '\'' || c == 0x2019;
}

/* ---- two passes ---- */

/* Lower case, without punctuation; an apostrophe behind an elided word becomes a blank. */
static int lower_words(struct buf *out, const char *text, size_t n, enum squad_rules rules,
                       struct err *err)
{
    size_t word = 0; /* where the run of letters at the end of out begins */
    int rc = 0;
    for (size_t at = 0, bytes = 0; at < n && !rc; at += bytes) {
        uint8_t small[4];
        uint32_t c = utf8_get((const uint8_t *)text + at, &bytes);
        if (rules == SQUAD_ITALIAN && is_apostrophe(c) && out->n > word &&
            is_one_of(elided, out->bytes + word, out->n - word))
            rc = buf_append(out, " ", 1, err);
        else if (!is_punctuation(c, rules))
            rc = buf_append(out, small,
                            utf8_put(small, (uint32_t)utf8proc_tolower((utf8proc_int32_t)c)), err);
        if (!is_word(c))
            word = out->n;
    }
    return rc;
}

/* Puts what is no article behind each other, a blank for every run of white space and articles. */
static int drop_articles(struct buf *out, const struct buf *in, enum squad_rules rules,
                         struct err *err)
{
    const char *const *articles = rules == SQUAD_ITALIAN ? italian_articles : english_articles;
    const uint8_t *text = (const uint8_t *)in->bytes;
    size_t begun = out->n, bytes = 0;
    bool blank = false;
    int rc = 0;
    for (size_t at = 0; at < in->n && !rc;) {
        size_t end = at;
        while (end < in->n && is_word(utf8_get(text + end, &bytes)))
            end += bytes;
        if (end == at) {
            uint32_t c = utf8_get(text + at, &bytes);
            end = at + bytes;
            if (is_blank(c)) {
                blank = true;
                at = end;
                continue;
            }
        } else if (is_one_of(articles, in->bytes + at, end - at)) {
            blank = true;
            at = end;
            continue;
        }
        if (blank && out->n > begun)
            rc = buf_append(out, " ", 1, err);
        blank = false;
        if (!rc)
            rc = buf_append(out, text + at, end - at, err);
        at = end;
    }
    return rc ? rc : buf_append(out, "", 0, err);
}

int squad_normalise(struct buf *out, const char *text, enum squad_rules rules, struct err *err)
{
    struct buf words = {0};
    utf8proc_uint8_t *composed = NULL;
    size_t n = strlen(text);
    if (n > SQUAD_MAX_ANSWER_BYTES)
        return err_set(err, MOE2_ELIMIT, "an answer has %zu bytes, wanted at most %d", n,
                       SQUAD_MAX_ANSWER_BYTES);
    for (size_t at = 0, bad = 0, good = 0; at < n; at += good)
        if (!(good = utf8_check((const uint8_t *)text + at, n - at, &bad, NULL)))
            return err_set(err, MOE2_EFORMAT, "an answer is not UTF-8 at byte %zu", at);
    if (rules == SQUAD_ITALIAN) {
        composed = utf8proc_NFC((const utf8proc_uint8_t *)text);
        if (!composed)
            return err_set(err, MOE2_ELIMIT, "no memory for an answer of %zu bytes", n);
        text = (const char *)composed;
        n = strlen(text);
    }
    int rc = lower_words(&words, text, n, rules, err);
    if (!rc)
        rc = drop_articles(out, &words, rules, err);
    free(composed);
    buf_release(&words);
    return rc;
}

/* ---- measures ---- */

/* The next word behind p, and its length; NULL at the end. */
static const char *next_word(const char *p, size_t *n)
{
    while (*p == ' ')
        p++;
    *n = strcspn(p, " ");
    return *n ? p : NULL;
}

static int count_words(const char *text)
{
    int count = 0;
    size_t n;
    for (const char *p = text; (p = next_word(p, &n)); p += n)
        count++;
    return count;
}

/* Words that both have, each as often as in the one that has it less often: those of a are struck
 * out as they are found. */
static int count_shared(char *a, const char *b)
{
    int shared = 0;
    size_t n, m;
    for (const char *p = b; (p = next_word(p, &n)); p += n) {
        char *q = a;
        while ((q = (char *)(uintptr_t)next_word(q, &m)) && (m != n || memcmp(p, q, n) != 0))
            q += m;
        if (q) {
            memset(q, ' ', m);
            shared++;
        }
    }
    return shared;
}

static double f1_of(char *a, const char *b)
{
    int n_a = count_words(a), n_b = count_words(b), shared = count_shared(a, b);
    return shared ? 2.0 * shared / (n_a + n_b) : 0;
}

int squad_score(struct squad_score *out, const char *answer, const char *const *right, int n,
                enum squad_rules rules, struct err *err)
{
    struct buf a = {0}, b = {0};
    struct squad_score best = {0};
    int rc = 0;
    for (int i = 0; i < n && !rc; i++) {
        buf_clear(&a);
        buf_clear(&b);
        rc = squad_normalise(&a, answer, rules, err);
        if (!rc)
            rc = squad_normalise(&b, right[i], rules, err);
        if (rc)
            break;
        if (strcmp(a.bytes, b.bytes) == 0)
            best.exact = 1;
        double f1 = f1_of(a.bytes, b.bytes);
        best.f1 = f1 > best.f1 ? f1 : best.f1;
    }
    if (!rc)
        *out = best;
    buf_release(&a);
    buf_release(&b);
    return rc;
}
