/* The leak filter: see qa_leak.h. Chains of rows hang on an index of questions. */
#include "pipeline/qa_leak.h"

#include <stdlib.h>
#include <string.h>

#include <utf8proc.h>

#include "base/rng.h"

const char *const qa_leak_names[QA_N_LEAKS] = {"none", "words", "options", "src"};

/* ---- normal form ---- */

static bool is_kept(utf8proc_int32_t c)
{
    if (c < 0x80)
        return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z');
    switch (utf8proc_category(c)) {
    case UTF8PROC_CATEGORY_LU:
    case UTF8PROC_CATEGORY_LL:
    case UTF8PROC_CATEGORY_LT:
    case UTF8PROC_CATEGORY_LM:
    case UTF8PROC_CATEGORY_LO:
    case UTF8PROC_CATEGORY_MN:
    case UTF8PROC_CATEGORY_MC:
    case UTF8PROC_CATEGORY_ME:
    case UTF8PROC_CATEGORY_ND:
    case UTF8PROC_CATEGORY_NL:
    case UTF8PROC_CATEGORY_NO:
        return true;
    default:
        return false;
    }
}

/* Appends folded UTF-8 with everything but words turned into single blanks. */
static int put_words(struct buf *out, int *n_words, const uint8_t *text, size_t n, struct err *err)
{
    size_t from = out->n;
    bool in_word = false;
    int rc = buf_reserve(out, n + 1, err);
    for (size_t i = 0; i < n && !rc;) {
        utf8proc_int32_t c = 0;
        utf8proc_ssize_t length = utf8proc_iterate(text + i, (utf8proc_ssize_t)(n - i), &c);
        if (length < 1)
            return err_set(err, MOE2_EFORMAT, "a text is no UTF-8");
        bool kept = is_kept(c);
        if (kept && !in_word) {
            ++*n_words;
            if (out->n > from)
                rc = buf_append(out, " ", 1, err);
        }
        if (kept && !rc)
            rc = buf_append(out, text + i, (size_t)length, err);
        in_word = kept;
        i += (size_t)length;
    }
    return rc;
}

static bool is_ascii(const char *text)
{
    for (; *text; text++)
        if ((unsigned char)*text >= 0x80)
            return false;
    return true;
}

static int put_ascii(struct buf *out, int *n_words, const char *text, struct err *err)
{
    size_t n = strlen(text), from = out->n;
    int rc = buf_reserve(out, n + 1, err);
    if (rc)
        return rc;
    char *to = out->bytes + out->n;
    bool in_word = false;
    for (const char *p = text; *p; p++) {
        bool kept = is_kept((unsigned char)*p);
        if (kept && !in_word) {
            ++*n_words;
            if (to > out->bytes + from)
                *to++ = ' ';
        }
        if (kept)
            *to++ = *p >= 'A' && *p <= 'Z' ? (char)(*p + 32) : *p;
        in_word = kept;
    }
    *to = 0;
    out->n = (size_t)(to - out->bytes);
    return 0;
}

static int put_unicode(struct buf *out, int *n_words, const char *text, struct err *err)
{
    utf8proc_uint8_t *folded = NULL;
    utf8proc_ssize_t n = utf8proc_map(
        (const utf8proc_uint8_t *)text, (utf8proc_ssize_t)strlen(text), &folded,
        UTF8PROC_STABLE | UTF8PROC_COMPAT | UTF8PROC_COMPOSE | UTF8PROC_CASEFOLD | UTF8PROC_IGNORE);
    if (n < 0)
        return err_set(err, n == UTF8PROC_ERROR_NOMEM ? MOE2_ELIMIT : MOE2_EFORMAT,
                       "a text can't be normalised: %s", utf8proc_errmsg(n));
    int rc = put_words(out, n_words, folded, (size_t)n, err);
    free(folded);
    return rc;
}

int qa_normalise(struct buf *out, int *n_words, const char *text, struct err *err)
{
    size_t from = out->n;
    int words = 0;
    int rc =
        is_ascii(text) ? put_ascii(out, &words, text, err) : put_unicode(out, &words, text, err);
    if (!rc && out->n == from)
        rc = buf_puts(out, text, err);
    if (!rc && n_words)
        *n_words = words;
    return rc;
}

int qa_text_key(struct text_hash *key, int *n_words, struct buf *scratch, const char *text,
                struct err *err)
{
    buf_clear(scratch);
    int rc = qa_normalise(scratch, n_words, text, err);
    if (!rc)
        *key = text_hash(scratch->n ? scratch->bytes : "", scratch->n);
    return rc;
}

/* Two lanes of FNV-1a, mixed at the end. */
struct text_hash qa_id_key(const char *id)
{
    uint64_t a = 0xcbf29ce484222325u, b = 0x9e3779b97f4a7c15u;
    for (const char *p = id; *p; p++) {
        a = (a ^ (unsigned char)*p) * 0x100000001b3u;
        b = (b + (unsigned char)*p) * 0xd6e8feb86659fd93u;
        b ^= b >> 32;
    }
    return (struct text_hash){rng_at(a, b, 1, 0), rng_at(b, a, 2, 0)};
}

/* ---- the index ---- */

struct entry {
    int64_t options_at; /* into options */
    int32_t n_options;
    uint32_t next; /* entry + 1 with the same question; 0: none */
    bool is_mmlu;
};

struct qa_index {
    struct entry *entries;
    int64_t n, capacity;
    uint64_t *options;
    int64_t n_options, options_capacity;
    struct text_index questions; /* first entry + 1 of a question */
    struct buf scratch;
};

int qa_index_new(struct qa_index **out, struct err *err)
{
    struct qa_index *x = calloc(1, sizeof *x);
    if (!x)
        return err_set(err, MOE2_ELIMIT, "no memory for an index of questions");
    *out = x;
    return 0;
}

void qa_index_free(struct qa_index *x)
{
    if (!x)
        return;
    free(x->entries);
    free(x->options);
    text_index_release(&x->questions);
    buf_release(&x->scratch);
    free(x);
}

int64_t qa_index_size(const struct qa_index *x)
{
    return x->n;
}

static int grow(struct qa_index *x, int n_options, struct err *err)
{
    if (x->n == QA_MAX_GATING_ROWS)
        return err_set(err, MOE2_ELIMIT, "the gating set has more than %d rows",
                       QA_MAX_GATING_ROWS);
    if (x->n == x->capacity) {
        int64_t capacity = x->capacity ? 2 * x->capacity : 1024;
        struct entry *grown = realloc(x->entries, (size_t)capacity * sizeof *grown);
        if (!grown)
            return err_set(err, MOE2_ELIMIT, "no memory for %lld questions", (long long)capacity);
        x->entries = grown;
        x->capacity = capacity;
    }
    if (x->n_options + n_options > x->options_capacity) {
        int64_t capacity = 2 * x->options_capacity + 4096;
        uint64_t *grown = realloc(x->options, (size_t)capacity * sizeof *grown);
        if (!grown)
            return err_set(err, MOE2_ELIMIT, "no memory for %lld options", (long long)capacity);
        x->options = grown;
        x->options_capacity = capacity;
    }
    return 0;
}

/* The hashes of the row's different options. */
static int option_keys(uint64_t keys[QA_MAX_CHOICES], int *n, struct qa_index *x,
                       const struct qa_row *row, struct err *err)
{
    *n = 0;
    for (int i = 0; i < row->n_choices; i++) {
        struct text_hash h;
        int rc = qa_text_key(&h, NULL, &x->scratch, row->choices[i], err), k = 0;
        if (rc)
            return rc;
        while (k < *n && keys[k] != h.a)
            k++;
        if (k == *n)
            keys[(*n)++] = h.a;
    }
    return 0;
}

int qa_index_add(struct qa_index *x, const struct qa_row *row, struct err *err)
{
    uint64_t keys[QA_MAX_CHOICES];
    struct text_hash question;
    uint32_t *first = NULL;
    int n = 0;
    int rc = qa_text_key(&question, NULL, &x->scratch, row->question, err);
    if (!rc)
        rc = option_keys(keys, &n, x, row, err);
    if (!rc)
        rc = grow(x, n, err);
    if (!rc)
        rc = text_index_at(&first, &x->questions, question, err);
    if (rc)
        return rc;
    x->entries[x->n] = (struct entry){.options_at = x->n_options,
                                      .n_options = n,
                                      .next = *first,
                                      .is_mmlu = strcmp(row->source, "mmlu") == 0};
    if (n)
        memcpy(x->options + x->n_options, keys, (size_t)n * sizeof *keys);
    x->n_options += n;
    *first = (uint32_t)++x->n;
    return 0;
}

static int n_shared(const struct qa_index *x, const struct entry *e, const uint64_t *keys, int n)
{
    int shared = 0;
    for (int i = 0; i < n; i++)
        for (int k = 0; k < e->n_options; k++)
            shared += keys[i] == x->options[e->options_at + k];
    return shared;
}

int qa_index_find(enum qa_leak *leak, struct qa_index *x, const struct qa_row *row, struct err *err)
{
    uint64_t keys[QA_MAX_CHOICES];
    struct text_hash question;
    int n_words = 0, n = 0;
    *leak = QA_LEAK_NONE;
    int rc = qa_text_key(&question, &n_words, &x->scratch, row->question, err);
    uint32_t at = rc ? 0 : text_index_find(&x->questions, question);
    if (rc || !at)
        return rc;
    if (n_words >= QA_LEAK_MIN_WORDS) {
        *leak = QA_LEAK_WORDS;
        return 0;
    }
    rc = option_keys(keys, &n, x, row, err);
    bool from_mmlu = row->src && strncmp(row->src, "ori_mmlu", 8) == 0;
    for (; at && !rc && *leak != QA_LEAK_OPTIONS; at = x->entries[at - 1].next) {
        const struct entry *e = &x->entries[at - 1];
        int shared = n_shared(x, e, keys, n);
        bool all = n && shared == n && n == e->n_options; /* all may be one, normalised */
        if (shared >= QA_LEAK_MIN_OPTIONS || all)
            *leak = QA_LEAK_OPTIONS;
        else if (from_mmlu && e->is_mmlu)
            *leak = QA_LEAK_SRC;
    }
    return rc;
}
