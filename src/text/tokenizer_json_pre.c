/* Reading the pre_tokenizer of a tokenizer.json: a tree of Sequences is laid flat, well-known
 * expressions get their hand-written splitter, the others go to PCRE2. ByteLevel must come last:
 * what it makes are no longer characters.
 */
#include <string.h>

#include "text/tokenizer_json.h"

/* One pre-tokenizer as the file has it. */
struct item {
    const char *pattern; /* of a Split, borrowed from the JSON; else NULL */
    size_t n_pattern;
    bool literal, invert;
    enum split_behavior behavior;
    split_next *digits; /* of a Digits; else NULL */
};

struct reader {
    struct item items[SPLIT_MAX_STAGES];
    int n;
    bool byte_level; /* seen */
    struct pretokenizer *p;
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

static int read_split(struct item *item, const json_t *json, struct err *err)
{
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

static int read_digits(struct item *item, const json_t *json, struct err *err)
{
    bool each = false;
    int rc = json_flag(&each, json, "pre_tokenizer: Digits", "individual_digits", false, err);
    item->digits = each ? split_digits_each : split_digits_runs;
    return rc;
}

static int read_byte_level(struct reader *r, const json_t *json, struct err *err)
{
    r->byte_level = true;
    int rc = json_flag(&r->p->add_prefix_space, json, "pre_tokenizer: ByteLevel",
                       "add_prefix_space", true, err);
    return rc ? rc
              : json_flag(&r->p->use_regex, json, "pre_tokenizer: ByteLevel", "use_regex", true,
                          err);
}

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
    if (r->byte_level)
        return err_set(err, MOE2_EFORMAT,
                       "pre_tokenizer: %.40s comes after ByteLevel, which must be last", type);
    if (strcmp(type, "ByteLevel") == 0)
        return read_byte_level(r, json, err);
    if (r->n == SPLIT_MAX_STAGES)
        return err_set(err, MOE2_ELIMIT, "pre_tokenizer has more than %d parts", SPLIT_MAX_STAGES);
    struct item *item = &r->items[r->n++];
    if (strcmp(type, "Split") == 0)
        return read_split(item, json, err);
    if (strcmp(type, "Digits") == 0)
        return read_digits(item, json, err);
    return err_set(err, MOE2_EFORMAT,
                   "pre_tokenizer is %.40s, wanted ByteLevel, Split, Digits or a Sequence of them",
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
    if (i->digits)
        return i->digits;
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
        *stage = (struct split_stage){.behavior = item->behavior, .invert = item->invert};
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

int read_pretokenizer(struct pretokenizer *p, const json_t *json, struct err *err)
{
    struct reader r = {.p = p};
    int rc = !json || json_is_null(json) ? 0 : read_one(&r, json, 0, err);
    if (!rc && !r.byte_level)
        rc = err_set(err, MOE2_EFORMAT,
                     "pre_tokenizer has no ByteLevel: only byte-level BPE is understood");
    return rc ? rc : make_stages(&r, err);
}
