/* A tokenizer.json as a GGUF file's arrays: see tokenizer_export.h. */
#include "text/tokenizer_export.h"

#include <jansson.h>
#include <stdio.h>
#include <string.h>

#include "text/split.h"
#include "text/tokenizer_json.h"

struct exporter {
    struct arena *arena;
    json_t *model;
    struct span *tokens;
    int64_t *kinds;
    float *scores;
    int64_t n;
    struct err *err;
};

static struct span keep(struct arena *a, const char *s, size_t n, struct err *err)
{
    char *copy = arena_alloc(a, n + 1, err);
    if (copy)
        memcpy(copy, s, n);
    return (struct span){copy, (uint32_t)n};
}

static int no_name(struct err *err, const char *what)
{
    return err_set(
        err, MOE2_EFORMAT,
        "tokenizer.json: %s has no name in GGUF; known are those of gpt-2, smollm, qwen2, "
        "llama-bpe, deepseek-v3 and SentencePiece's BPE",
        what);
}

/* ---- which pre-tokenizer it is ---- */

struct pre_seen {
    bool digits, byte_level, use_regex;
    const char *patterns[4];
    int n;
};

static void look_at(struct pre_seen *seen, const json_t *pre, int depth)
{
    const char *type = json_type_of(pre);
    const json_t *list = json_object_get(pre, "pretokenizers");
    for (size_t i = 0; i < json_array_size(list) && depth < 8; i++)
        look_at(seen, json_array_get(list, i), depth + 1);
    if (strcmp(type, "Digits") == 0)
        seen->digits = json_is_true(json_object_get(pre, "individual_digits"));
    if (strcmp(type, "Split") == 0 && seen->n < 4)
        seen->patterns[seen->n++] = json_text_or(json_object_get(pre, "pattern"), "Regex", "");
    if (strcmp(type, "ByteLevel") == 0) {
        seen->byte_level = true;
        seen->use_regex = !json_is_false(json_object_get(pre, "use_regex"));
    }
}

static int name_pre(const char **out, const json_t *root, struct err *err)
{
    struct pre_seen seen = {0};
    look_at(&seen, json_object_get(root, "pre_tokenizer"), 0);
    const char *first = seen.n ? seen.patterns[0] : "";
    bool alone = seen.n == 1 && !seen.use_regex && !seen.digits;
    *out = NULL;
    if (seen.n == 0 && seen.use_regex)
        *out = seen.digits ? "smollm" : "gpt-2";
    else if (alone && strcmp(first, SPLIT_GPT2) == 0)
        *out = "gpt-2";
    else if (alone && strcmp(first, SPLIT_QWEN2) == 0)
        *out = "qwen2";
    else if (alone && strcmp(first, SPLIT_LLAMA3) == 0)
        *out = "llama-bpe";
    else if (seen.n == 3 && strcmp(first, SPLIT_DEEPSEEK_NUMBERS) == 0 &&
             strcmp(seen.patterns[1], SPLIT_DEEPSEEK_HAN) == 0)
        *out = "deepseek-v3";
    return *out ? 0 : no_name(err, "its pre_tokenizer");
}

/* ---- tokens ---- */

static int put(struct exporter *x, int64_t id, const char *s, size_t n, int64_t kind)
{
    if (id < 0 || id >= TOKENIZER_MAX_VOCAB || id >= x->n)
        return err_set(x->err, MOE2_EFORMAT, "tokenizer.json: token \"%.40s\" has id %lld", s,
                       (long long)id);
    x->tokens[id] = keep(x->arena, s, n, x->err);
    x->kinds[id] = kind;
    return x->tokens[id].p ? 0 : MOE2_ELIMIT;
}

static int64_t largest_id(json_t *vocab, json_t *added)
{
    int64_t most = -1;
    const char *token;
    json_t *v;
    size_t i;
    json_object_foreach(vocab, token, v) most =
        json_integer_value(v) > most ? json_integer_value(v) : most;
    json_array_foreach(added, i, v)
    {
        int64_t id = json_integer_value(json_object_get(v, "id"));
        most = id > most ? id : most;
    }
    return most;
}

/* An id without a token gets one that no text becomes. */
static int fill_holes(struct exporter *x)
{
    char name[32];
    for (int64_t id = 0; id < x->n; id++) {
        if (x->tokens[id].p)
            continue;
        int n = snprintf(name, sizeof name, "[PAD%lld]", (long long)id);
        int rc = put(x, id, name, (size_t)n, TOKEN_KIND_UNUSED);
        if (rc)
            return rc;
    }
    return 0;
}

static bool is_byte_token(const char *s)
{
    return strlen(s) == 6 && strncmp(s, "<0x", 3) == 0 && s[5] == '>';
}

static int read_tokens(struct exporter *x, const json_t *root, bool bytes)
{
    json_t *vocab = json_object_get(x->model, "vocab"),
           *added = json_object_get(root, "added_tokens"), *v;
    const char *token, *unk = json_text_or(x->model, "unk_token", "");
    size_t i;
    int rc = 0;
    int64_t n = largest_id(vocab, added) + 1;
    x->n = n > x->n ? n : x->n;
    if (x->n < 1 || x->n > TOKENIZER_MAX_VOCAB)
        return err_set(x->err, MOE2_ELIMIT, "tokenizer.json: has ids up to %lld, wanted 0 to %d",
                       (long long)x->n - 1, TOKENIZER_MAX_VOCAB - 1);
    x->tokens = arena_calloc(x->arena, (size_t)x->n * sizeof *x->tokens, x->err);
    x->kinds = arena_calloc(x->arena, (size_t)x->n * sizeof *x->kinds, x->err);
    if (!x->tokens || !x->kinds)
        return MOE2_ELIMIT;
    json_object_foreach(vocab, token, v)
    {
        if (rc)
            return rc;
        rc = put(x, json_integer_value(v), token, strlen(token),
                 !bytes && is_byte_token(token) ? TOKEN_KIND_BYTE : TOKEN_KIND_NORMAL);
    }
    json_array_foreach(added, i, v)
    {
        const char *content = json_text_or(v, "content", "");
        bool special = json_is_true(json_object_get(v, "special"));
        if (rc)
            return rc;
        rc = put(x, json_integer_value(json_object_get(v, "id")), content, strlen(content),
                 !bytes && strcmp(content, unk) == 0 ? TOKEN_KIND_UNKNOWN
                 : special                           ? TOKEN_KIND_CONTROL
                                                     : TOKEN_KIND_USER);
    }
    return rc ? rc : fill_holes(x);
}

/* ---- merges ---- */

/* "a b" of either spelling. */
static int merge_text(struct span *out, struct exporter *x, const json_t *merge)
{
    const char *whole = json_string_value(merge),
               *left = json_string_value(json_array_get(merge, 0)),
               *right = json_string_value(json_array_get(merge, 1));
    if (whole) {
        *out = keep(x->arena, whole, strlen(whole), x->err);
        return out->p ? 0 : MOE2_ELIMIT;
    }
    if (!left || !right)
        return err_set(x->err, MOE2_EFORMAT, "tokenizer.json: a merge is no pair of texts");
    size_t a = strlen(left), b = strlen(right);
    char *s = arena_alloc(x->arena, a + b + 2, x->err);
    if (!s)
        return MOE2_ELIMIT;
    memcpy(s, left, a);
    s[a] = ' ';
    memcpy(s + a + 1, right, b + 1);
    *out = (struct span){s, (uint32_t)(a + b + 1)};
    return 0;
}

static int read_merges_as_texts(struct tokenizer_arrays *out, struct exporter *x)
{
    const json_t *merges = json_object_get(x->model, "merges");
    size_t n = json_array_size(merges);
    struct span *list = arena_calloc(x->arena, (n + 1) * sizeof *list, x->err);
    int rc = list ? 0 : MOE2_ELIMIT;
    for (size_t i = 0; i < n && !rc; i++)
        rc = merge_text(&list[i], x, json_array_get(merges, i));
    out->merges = list;
    out->n_merges = (int64_t)n;
    return rc;
}

/* Scores out of the merges' places; what no merge gives is a character or never comes of a text. */
static int make_scores(struct exporter *x)
{
    const json_t *merges = json_object_get(x->model, "merges"),
                 *vocab = json_object_get(x->model, "vocab");
    struct buf joined = {0};
    int rc = 0;
    x->scores = arena_calloc(x->arena, (size_t)x->n * sizeof *x->scores, x->err);
    if (!x->scores)
        return MOE2_ELIMIT;
    for (size_t i = json_array_size(merges); i-- > 0 && !rc;) { /* the first of equals comes last */
        struct span s;
        rc = merge_text(&s, x, json_array_get(merges, i));
        const char *space = rc ? NULL : memchr(s.p, ' ', s.n);
        buf_clear(&joined);
        if (!rc && space)
            rc = buf_append(&joined, s.p, (size_t)(space - s.p), x->err);
        if (!rc && space)
            rc = buf_puts(&joined, space + 1, x->err);
        const json_t *id = rc || !space ? NULL : json_object_get(vocab, joined.bytes);
        if (id && json_integer_value(id) < x->n)
            x->scores[json_integer_value(id)] = -(float)(i + 1);
    }
    for (int64_t id = 0; id < x->n; id++) /* below every token that a merge gives */
        if (x->scores[id] == 0 && x->kinds[id] == TOKEN_KIND_NORMAL)
            x->scores[id] = -1e9F;
    buf_release(&joined);
    return rc;
}

/* ---- the whole ---- */

static int64_t named_id(const struct exporter *x, const json_t *config, const char *key)
{
    const json_t *v = json_object_get(config, key);
    const char *token = json_string_value(json_is_object(v) ? json_object_get(v, "content") : v);
    for (int64_t id = 0; id < x->n && token; id++)
        if (x->tokens[id].n == strlen(token) &&
            memcmp(x->tokens[id].p, token, x->tokens[id].n) == 0)
            return id;
    return -1;
}

/* Whether the template puts something in front (or behind), or tokenizer_config.json asks for it. */
static int adds(const json_t *post, const json_t *config, const char *key, bool front)
{
    const json_t *list = json_object_get(post, "processors");
    for (size_t i = 0; i < json_array_size(list); i++)
        if (adds(json_array_get(list, i), NULL, key, front))
            return 1;
    const json_t *single = json_object_get(post, "single");
    size_t n = json_array_size(single);
    if (n && json_object_get(json_array_get(single, front ? 0 : n - 1), "SpecialToken"))
        return 1;
    return json_is_true(json_object_get(config, key));
}

static int read_config(struct tokenizer_arrays *out, struct exporter *x, const json_t *root,
                       const json_t *config)
{
    const json_t *post = json_object_get(root, "post_processor");
    const char *template = json_string_value(json_object_get(config, "chat_template")),
               *unk = json_text_or(x->model, "unk_token", NULL);
    out->bos_id = named_id(x, config, "bos_token");
    out->eos_id = named_id(x, config, "eos_token");
    out->unk_id = named_id(x, config, "unk_token");
    for (int64_t id = 0; id < x->n && unk && out->unk_id < 0; id++)
        if (x->tokens[id].n == strlen(unk) && memcmp(x->tokens[id].p, unk, x->tokens[id].n) == 0)
            out->unk_id = id;
    out->add_bos = adds(post, config, "add_bos_token", true);
    out->add_eos = adds(post, config, "add_eos_token", false);
    out->chat_template = template ? arena_strdup(x->arena, template, x->err) : NULL;
    return template && !out->chat_template ? MOE2_ELIMIT : 0;
}

/* Whether a SentencePiece model puts a sign in front of a text. */
static int adds_prefix(const json_t *root)
{
    const json_t *normalizer = json_object_get(root, "normalizer"),
                 *steps = json_object_get(normalizer, "normalizers"),
                 *pre = json_object_get(root, "pre_tokenizer");
    for (size_t i = 0; i < json_array_size(steps); i++)
        if (strcmp(json_type_of(json_array_get(steps, i)), "Prepend") == 0)
            return 1;
    return strcmp(json_type_of(normalizer), "Prepend") == 0 ||
           (strcmp(json_type_of(pre), "Metaspace") == 0 &&
            strcmp(json_text_or(pre, "prepend_scheme", "always"), "never") != 0);
}

static int fill(struct tokenizer_arrays *out, struct exporter *x, const json_t *root,
                const json_t *config)
{
    struct pre_seen seen = {0};
    x->model = json_object_get(root, "model");
    look_at(&seen, json_object_get(root, "pre_tokenizer"), 0);
    bool pieces = !seen.byte_level && json_is_true(json_object_get(x->model, "byte_fallback"));
    if (!json_object_get(x->model, "merges") || (!seen.byte_level && !pieces))
        return no_name(x->err, "its model");
    *out = (struct tokenizer_arrays){.model = pieces ? "llama" : "gpt2", .add_space_prefix = -1};
    int rc = pieces ? 0 : name_pre(&out->pre, root, x->err);
    if (!rc)
        rc = read_tokens(x, root, !pieces);
    if (!rc)
        rc = pieces ? make_scores(x) : read_merges_as_texts(out, x);
    if (pieces) {
        out->pre = "default";
        out->add_space_prefix = adds_prefix(root);
    }
    out->tokens = x->tokens;
    out->kinds = x->kinds;
    out->scores = x->scores;
    out->n = x->n;
    return rc ? rc : read_config(out, x, root, config);
}

int tokenizer_to_arrays(struct tokenizer_arrays *out, struct arena *arena, const char *json,
                        size_t n_json, const char *config, size_t n_config, int64_t n_rows,
                        struct err *err)
{
    struct exporter x = {.arena = arena, .n = n_rows, .err = err};
    json_error_t e = {0};
    json_t *root = json_loadb(json, n_json, 0, &e);
    json_t *config_root =
        config ? json_loadb(config, n_config, JSON_DECODE_INT_AS_REAL, NULL) : NULL;
    int rc = root ? fill(out, &x, root, config_root)
                  : err_set(err, MOE2_EFORMAT, "tokenizer.json, line %d: %s", e.line, e.text);
    json_decref(root);
    json_decref(config_root);
    return rc;
}
