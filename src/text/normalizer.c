/* The kinds of normalizers and how a list of them is read and run: see normalizer.h. */
#include "text/normalizer.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "text/tokenizer_json.h"
#include "text/unicode.h"

/* ---- kinds ---- */

static int run_nfc(struct buf *out, const struct normalizer_step *step, const struct normalizer *n,
                   const uint8_t *text, size_t n_text, struct err *err)
{
    (void)step;
    return unicode_nfc(out, text, n_text, n->tables->classes, err);
}

static int run_nfkc(struct buf *out, const struct normalizer_step *step, const struct normalizer *n,
                    const uint8_t *text, size_t n_text, struct err *err)
{
    (void)step;
    return unicode_nfkc(out, text, n_text, n->tables->classes, err);
}

static int read_bert(struct normalizer_step *step, struct normalizer *n, const json_t *json,
                     struct err *err)
{
    static const char where[] = "normalizer: BertNormalizer";
    struct bert_rules *rules = &step->bert;
    int rc = json_flag(&rules->clean, json, where, "clean_text", true, err);
    if (!rc)
        rc = json_flag(&rules->chinese, json, where, "handle_chinese_chars", true, err);
    if (!rc)
        rc = json_flag(&rules->lowercase, json, where, "lowercase", true, err);
    if (!rc)
        rc = json_flag(&rules->strip_accents, json, where, "strip_accents", rules->lowercase, err);
    step->moves_begin = true;
    return rc ? rc : char_tables_bert(n->tables, err);
}

static int run_bert(struct buf *out, const struct normalizer_step *step, const struct normalizer *n,
                    const uint8_t *text, size_t n_text, struct err *err)
{
    return bert_normalize(out, text, n_text, &step->bert, n->tables->bert, err);
}

static int read_lowercase(struct normalizer_step *step, struct normalizer *n, const json_t *json,
                          struct err *err)
{
    (void)json;
    step->bert.lowercase = true;
    return char_tables_bert(n->tables, err);
}

static int read_precompiled(struct normalizer_step *step, struct normalizer *n, const json_t *json,
                            struct err *err)
{
    (void)n;
    const json_t *map = json_object_get(json, "precompiled_charsmap");
    if (!json_is_string(map))
        return err_set(err, MOE2_EFORMAT, "normalizer: Precompiled has no precompiled_charsmap");
    return charsmap_read(&step->map, json_string_value(map), json_string_length(map), err);
}

static int run_precompiled(struct buf *out, const struct normalizer_step *step,
                           const struct normalizer *n, const uint8_t *text, size_t n_text,
                           struct err *err)
{
    (void)n;
    return charsmap_apply(out, &step->map, text, n_text, err);
}

static int read_replace(struct normalizer_step *step, struct normalizer *n, const json_t *json,
                        struct err *err)
{
    (void)n;
    const json_t *pattern = json_object_get(json, "pattern"),
                 *regex = json_object_get(pattern, "Regex"),
                 *text = regex ? regex : json_object_get(pattern, "String");
    if (!json_string_length(text))
        return err_set(
            err, MOE2_EFORMAT,
            "normalizer: Replace has no pattern, wanted {\"Regex\": …} or {\"String\": …}");
    int rc = buf_puts(&step->content, json_text_or(json, "content", ""), err);
    if (rc || (regex && strcmp(json_string_value(regex), " {2,}") == 0))
        return rc; /* run_replace knows this one */
    if (!regex && json_string_length(text) == 1) {
        step->byte = json_string_value(text)[0];
        return 0;
    }
    step->moves_begin = true;
    return split_regex_new(&step->regex, json_string_value(text), json_string_length(text), !regex,
                           err);
}

/* The next run of two spaces or more from at on, or false: what " {2,}" matches, without PCRE2. */
static bool next_spaces(size_t *begin, size_t *end, const uint8_t *text, size_t at, size_t n)
{
    const uint8_t *found = at < n ? memmem(text + at, n - at, "  ", 2) : NULL;
    if (!found)
        return false;
    *begin = *end = (size_t)(found - text);
    while (*end < n && text[*end] == ' ')
        (*end)++;
    return true;
}

static int next_match(size_t *begin, size_t *end, struct split_search *search,
                      const struct normalizer_step *step, struct split_scratch *scratch,
                      const uint8_t *text, size_t n, struct err *err)
{
    if (step->regex)
        return split_regex_next(begin, end, search, step->regex, scratch, text, n, err);
    if (step->byte) {
        const uint8_t *at =
            search->at < n ? memchr(text + search->at, step->byte, n - search->at) : NULL;
        *begin = at ? (size_t)(at - text) : n;
        *end = search->at = at ? *begin + 1 : n;
        return at != NULL;
    }
    bool found = next_spaces(begin, end, text, search->at, n);
    search->at = found ? *end : n;
    return found;
}

static int run_replace(struct buf *out, const struct normalizer_step *step,
                       const struct normalizer *n, const uint8_t *text, size_t n_text,
                       struct err *err)
{
    (void)n;
    struct split_scratch scratch = {0};
    struct split_search search = {0};
    size_t done = 0, begin, end;
    int rc = 0, found;
    while (!rc &&
           (found = next_match(&begin, &end, &search, step, &scratch, text, n_text, err)) != 0) {
        rc = found < 0 ? found : buf_append(out, text + done, begin - done, err);
        if (!rc)
            rc = buf_append(out, step->content.bytes, step->content.n, err);
        done = end;
    }
    split_scratch_release(&scratch);
    return rc ? rc : buf_append(out, text + done, n_text - done, err);
}

static int read_prepend(struct normalizer_step *step, struct normalizer *n, const json_t *json,
                        struct err *err)
{
    (void)n;
    step->moves_begin = true;
    return buf_puts(&step->content, json_text_or(json, "prepend", ""), err);
}

static int run_prepend(struct buf *out, const struct normalizer_step *step,
                       const struct normalizer *n, const uint8_t *text, size_t n_text,
                       struct err *err)
{
    (void)n;
    int rc = n_text ? buf_append(out, step->content.bytes, step->content.n, err) : 0;
    return rc ? rc : buf_append(out, text, n_text, err);
}

static int read_strip(struct normalizer_step *step, struct normalizer *n, const json_t *json,
                      struct err *err)
{
    (void)n;
    int rc = json_flag(&step->left, json, "normalizer: Strip", "strip_left", true, err);
    step->moves_begin = step->left;
    return rc ? rc : json_flag(&step->right, json, "normalizer: Strip", "strip_right", true, err);
}

static int run_strip(struct buf *out, const struct normalizer_step *step,
                     const struct normalizer *n, const uint8_t *text, size_t n_text,
                     struct err *err)
{
    const uint8_t *classes = n->tables->classes;
    size_t begin = 0, length;
    while (step->left && begin < n_text && classes[utf8_get(text + begin, &length)] & UNICODE_SPACE)
        begin += length;
    while (step->right && n_text > begin &&
           classes[utf8_last(text, n_text, &length)] & UNICODE_SPACE)
        n_text -= length;
    return buf_append(out, text + begin, n_text - begin, err);
}

static const struct normalizer_kind normalizer_kinds[] = {
    {"Precompiled", 0, read_precompiled, run_precompiled},
    {"Replace", 0, read_replace, run_replace},
    {"Strip", 0, read_strip, run_strip},
    {"Prepend", 0, read_prepend, run_prepend},
    {"NFC", UNICODE_NFC_SLOW, NULL, run_nfc},
    {"NFKC", UNICODE_NFC_KNOWN, NULL, run_nfkc},
    {"BertNormalizer", 0, read_bert, run_bert},
    {"Lowercase", 0, read_lowercase, run_bert},
};

enum { N_KINDS = sizeof normalizer_kinds / sizeof *normalizer_kinds };

static const struct normalizer_kind *kind_of(const char *name)
{
    for (size_t i = 0; i < N_KINDS; i++)
        if (strcmp(name, normalizer_kinds[i].name) == 0)
            return &normalizer_kinds[i];
    return NULL;
}

/* ---- reading ---- */

/* "NFC, BertNormalizer, Lowercase" */
static void name_kinds(char *out, size_t n)
{
    size_t at = 0;
    for (size_t i = 0; i < N_KINDS && at < n; i++)
        at += (size_t)snprintf(out + at, n - at, "%s%s", i ? ", " : "", normalizer_kinds[i].name);
}

static int read_step(struct normalizer *n, const json_t *json, struct err *err)
{
    const struct normalizer_kind *kind = kind_of(json_type_of(json));
    char known[256];
    name_kinds(known, sizeof known);
    if (!kind)
        return err_set(err, MOE2_EFORMAT,
                       "normalizer is %.40s, wanted none, %s or a Sequence of them",
                       json_type_of(json), known);
    if (n->n_steps == NORMALIZER_MAX_STEPS)
        return err_set(err, MOE2_ELIMIT, "normalizer has more than %d parts", NORMALIZER_MAX_STEPS);
    struct normalizer_step *step = &n->steps[n->n_steps++];
    step->kind = kind;
    return kind->read ? kind->read(step, n, json, err) : 0;
}

int read_normalizer(struct normalizer *n, const json_t *json, struct err *err)
{
    if (!json || json_is_null(json))
        return 0;
    if (strcmp(json_type_of(json), "Sequence") != 0)
        return read_step(n, json, err);
    const json_t *list = json_object_get(json, "normalizers");
    int rc = 0;
    for (size_t i = 0; i < json_array_size(list) && !rc; i++) {
        const json_t *step = json_array_get(list, i);
        rc = strcmp(json_type_of(step), "Sequence") == 0
                 ? err_set(err, MOE2_EFORMAT, "normalizer is a Sequence within a Sequence")
                 : read_step(n, step, err);
    }
    return rc;
}

void normalizer_release(struct normalizer *n)
{
    for (int i = 0; i < n->n_steps; i++) {
        charsmap_release(&n->steps[i].map);
        split_regex_free(n->steps[i].regex);
        buf_release(&n->steps[i].content);
    }
    memset(n, 0, sizeof *n);
}

/* ---- running ---- */

static bool has_any(const uint8_t *text, size_t n_text, const struct normalizer *n, uint8_t classes)
{
    uint8_t seen = 0;
    utf8_scan(text, n_text, n->tables->classes, &seen);
    return seen & classes;
}

int normalizer_run(const uint8_t **text, size_t *n_text, const struct normalizer *n,
                   struct buf scratch[2], uint8_t seen, struct err *err)
{
    int into = 0;
    for (int i = 0; i < n->n_steps; i++) {
        const struct normalizer_step *step = &n->steps[i];
        uint8_t needs = step->kind->needs;
        if (needs && (!(seen & needs) || !has_any(*text, *n_text, n, needs)))
            continue;
        struct buf *out = &scratch[into];
        buf_clear(out);
        int rc = step->kind->run(out, step, n, *text, *n_text, err);
        if (rc)
            return rc;
        *text = (const uint8_t *)(out->bytes ? out->bytes : "");
        *n_text = out->n;
        into = !into;
        seen = 0xff;
    }
    return 0;
}
