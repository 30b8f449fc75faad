/* Reading the pre_tokenizer of a tokenizer.json: a tree of Sequences is laid flat, well-known
 * expressions get their hand-written splitter, the others go to PCRE2. ByteLevel and Metaspace must
 * come last: what they make is no longer the text. Both spellings of Metaspace are read:
 *
 *     {"replacement": "▁", "add_prefix_space": true, "str_rep": "▁"}
 *     {"replacement": "▁", "prepend_scheme": "always", "split": true}
 */
#include <string.h>

#include "text/bert.h"
#include "text/tokenizer_json.h"
#include "text/unicode.h"

/* One pre-tokenizer as the file has it. */
struct item {
    const char *pattern; /* of a Split, borrowed from the JSON; else NULL */
    size_t n_pattern;
    bool literal, invert;
    enum split_behavior behavior;
    split_next *fast; /* of a kind that is no expression; else NULL */
    const uint8_t *classes;
    uint8_t drops;
};

struct reader {
    struct item items[SPLIT_MAX_STAGES];
    int n;
    const char *last; /* ByteLevel or Metaspace, once seen */
    struct pretokenizer *p;
    struct char_tables *tables;
};

static int read_behavior(enum split_behavior *out, const json_t *json, struct err *err)
{
    static const struct {
        const char *name;
        enum split_behavior behavior;
    } names[] = {
        {"Isolated", SPLIT_ISOLATED},
        {"Removed", SPLIT_REMOVED},
        {"MergedWithPrevious", SPLIT_MERGED_WITH_PREVIOUS},
        {"MergedWithNext", SPLIT_MERGED_WITH_NEXT},
        {"Contiguous", SPLIT_CONTIGUOUS},
    };
    const char *name = json_string_value(json_object_get(json, "behavior"));
    for (size_t i = 0; i < sizeof names / sizeof *names && name; i++)
        if (strcmp(name, names[i].name) == 0) {
            *out = names[i].behavior;
            return 0;
        }
    return err_set(err, MOE2_EFORMAT,
                   "pre_tokenizer: Split has behavior \"%.40s\", wanted Isolated, Removed, "
                   "MergedWithPrevious, MergedWithNext or Contiguous",
                   name ? name : "");
}

static int read_split(struct reader *r, struct item *item, const json_t *json, struct err *err)
{
    (void)r;
    const json_t *pattern = json_object_get(json, "pattern"),
                 *text = json_object_get(pattern, "Regex");
    if (!text) {
        text = json_object_get(pattern, "String");
        item->literal = true;
    }
    if (!json_is_string(text))
        return err_set(
            err, MOE2_EFORMAT,
            "pre_tokenizer: Split has no pattern, wanted {\"Regex\": …} or {\"String\": …}");
    item->pattern = json_string_value(text);
    item->n_pattern = json_string_length(text);
    int rc = json_flag(&item->invert, json, "pre_tokenizer: Split", "invert", false, err);
    return rc ? rc : read_behavior(&item->behavior, json, err);
}

static int read_digits(struct reader *r, struct item *item, const json_t *json, struct err *err)
{
    (void)r;
    bool each = false;
    int rc = json_flag(&each, json, "pre_tokenizer: Digits", "individual_digits", false, err);
    item->fast = each ? split_digits_each : split_digits_runs;
    return rc;
}

static int read_bert_words(struct reader *r, struct item *item, const json_t *json, struct err *err)
{
    (void)json;
    int rc = char_tables_bert(r->tables, err);
    item->fast = split_bert;
    item->classes = r->tables->bert;
    item->drops = BERT_SPACE;
    return rc;
}

static int read_whitespace_split(struct reader *r, struct item *item, const json_t *json,
                                 struct err *err)
{
    (void)r, (void)json, (void)err;
    item->fast = split_spaces;
    item->drops = UNICODE_SPACE;
    return 0;
}

static int read_byte_level(struct reader *r, const json_t *json, struct err *err)
{
    r->p->last = SPLIT_LAST_BYTE_LEVEL;
    int rc = json_flag(&r->p->add_prefix_space, json, "pre_tokenizer: ByteLevel",
                       "add_prefix_space", true, err);
    return rc ? rc
              : json_flag(&r->p->use_regex, json, "pre_tokenizer: ByteLevel", "use_regex", true,
                          err);
}

static int read_sign(struct split_metaspace *m, const json_t *json, const char *where,
                     struct err *err)
{
    const char *sign = json_text_or(json, "replacement", "");
    size_t n = strlen(sign), length = 0;
    if (n)
        utf8_get((const uint8_t *)sign, &length);
    if (!n || n != length)
        return err_set(err, MOE2_EFORMAT, "%s has replacement \"%.20s\", wanted one character",
                       where, sign);
    memcpy(m->sign, sign, n);
    m->n_sign = (uint8_t)n;
    return 0;
}

int read_metaspace_fields(struct split_metaspace *m, const json_t *json, const char *where,
                          struct err *err)
{
    static const char *const schemes[] = {"always", "first", "never"};
    bool old = true;
    int rc = read_sign(m, json, where, err);
    if (!rc)
        rc = json_flag(&m->cut, json, where, "split", true, err);
    if (!rc)
        rc = json_flag(&old, json, where, "add_prefix_space", true, err);
    if (rc)
        return rc;
    const char *scheme = json_text_or(json, "prepend_scheme", old ? "always" : "never");
    for (int i = 0; i < 3; i++)
        if (strcmp(scheme, schemes[i]) == 0 && (old || i == SPLIT_PREPEND_NEVER)) {
            m->prepend = (enum split_prepend)i;
            return 0;
        }
    return err_set(err, MOE2_EFORMAT, "%s has prepend_scheme \"%.20s\", wanted %s", where, scheme,
                   old ? "always, first or never" : "never, since add_prefix_space is false");
}

static int read_metaspace(struct reader *r, const json_t *json, struct err *err)
{
    r->p->last = SPLIT_LAST_METASPACE;
    return read_metaspace_fields(&r->p->metaspace, json, "pre_tokenizer: Metaspace", err);
}

/* What a file may name, and how it is read: stages, of which there may be many, and what comes last.
 */
static const struct {
    const char *name;
    int (*stage)(struct reader *r, struct item *item, const json_t *json, struct err *err);
    int (*last)(struct reader *r, const json_t *json, struct err *err);
} kinds[] = {
    {"ByteLevel", NULL, read_byte_level},
    {"Metaspace", NULL, read_metaspace},
    {"Split", read_split, NULL},
    {"Digits", read_digits, NULL},
    {"BertPreTokenizer", read_bert_words, NULL},
    {"WhitespaceSplit", read_whitespace_split, NULL},
};

static int read_one(struct reader *r, const json_t *json, int depth, struct err *err)
{
    const char *type = json_type_of(json);
    if (strcmp(type, "Sequence") == 0 && depth < 8) {
        const json_t *list = json_object_get(json, "pretokenizers");
        int rc = 0;
        for (size_t i = 0; i < json_array_size(list) && !rc; i++)
            rc = read_one(r, json_array_get(list, i), depth + 1, err);
        return rc;
    }
    if (r->last)
        return err_set(err, MOE2_EFORMAT, "pre_tokenizer: %.40s comes after %s, which must be last",
                       type, r->last);
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
        if (strcmp(type, kinds[i].name) != 0)
            continue;
        if (kinds[i].last) {
            r->last = kinds[i].name;
            return kinds[i].last(r, json, err);
        }
        if (r->n == SPLIT_MAX_STAGES)
            return err_set(err, MOE2_ELIMIT, "pre_tokenizer has more than %d parts",
                           SPLIT_MAX_STAGES);
        return kinds[i].stage(r, &r->items[r->n++], json, err);
    }
    return err_set(err, MOE2_EFORMAT,
                   "pre_tokenizer is %.40s, wanted ByteLevel, Metaspace, Split, Digits, "
                   "BertPreTokenizer, WhitespaceSplit or a Sequence of them",
                   type);
}

static bool is_isolated(const struct item *i, const char *pattern)
{
    return i->pattern && !i->literal && i->behavior == SPLIT_ISOLATED &&
           strcmp(i->pattern, pattern) == 0;
}

/* The hand-written splitter of one item, or NULL. These expressions match everywhere, so that
 * removing what does not match (Removed with invert) leaves all of it. */
static split_next *fast_for(const struct item *i)
{
    if (i->fast)
        return i->fast;
    if (i->literal ||
        !(i->behavior == SPLIT_ISOLATED || (i->behavior == SPLIT_REMOVED && i->invert)))
        return NULL;
    return strcmp(i->pattern, SPLIT_QWEN2) == 0    ? split_qwen2
           : strcmp(i->pattern, SPLIT_LLAMA3) == 0 ? split_llama3
           : strcmp(i->pattern, SPLIT_GPT2) == 0   ? split_gpt2
                                                   : NULL;
}

static int make_stages(struct reader *r, struct err *err)
{
    int rc = 0;
    for (int i = 0; i < r->n && !rc; i++) {
        struct item *item = &r->items[i];
        struct split_stage *stage = &r->p->stages[r->p->n_stages++];
        *stage = (struct split_stage){.behavior = item->behavior,
                                      .invert = item->invert,
                                      .classes = item->classes,
                                      .drops = item->drops};
        if (i + 2 < r->n && is_isolated(item, SPLIT_DEEPSEEK_NUMBERS) &&
            is_isolated(item + 1, SPLIT_DEEPSEEK_HAN) &&
            is_isolated(item + 2, SPLIT_DEEPSEEK_REST)) {
            stage->fast = split_deepseek;
            i += 2;
            continue;
        }
        stage->fast = fast_for(item);
        if (!stage->fast)
            rc = split_regex_new(&stage->regex, item->pattern, item->n_pattern, item->literal, err);
    }
    return rc ? err_prefix(err, "pre_tokenizer") : 0;
}

int read_pretokenizer(struct pretokenizer *p, struct char_tables *tables, const json_t *json,
                      struct err *err)
{
    struct reader r = {.p = p, .tables = tables};
    int rc = !json || json_is_null(json) ? 0 : read_one(&r, json, 0, err);
    return rc ? rc : make_stages(&r, err);
}
