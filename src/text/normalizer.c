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

static const struct normalizer_kind normalizer_kinds[] = {
    {"NFC", UNICODE_NFC_SLOW, NULL, run_nfc},
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
