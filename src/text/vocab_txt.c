/* From vocab.txt to the object of a tokenizer.json, which is then read like any other: what
 * transformers' BertTokenizer makes of the same folder. Of two equal lines the last counts. */
#include "text/vocab_txt.h"

#include <string.h>

#include "text/tokenizer.h"

/* The names of the special tokens in tokenizer_config.json and what they are without it. */
static const struct {
    const char *key, *token;
} specials[] = {
    {"unk_token", "[UNK]"}, {"sep_token", "[SEP]"},   {"pad_token", "[PAD]"},
    {"cls_token", "[CLS]"}, {"mask_token", "[MASK]"},
};

static const char *special_named(const json_t *config, const char *key)
{
    const json_t *v = json_object_get(config, key);
    const char *name = json_string_value(json_is_object(v) ? json_object_get(v, "content") : v);
    for (size_t i = 0; i < sizeof specials / sizeof *specials && !name; i++)
        if (strcmp(specials[i].key, key) == 0)
            name = specials[i].token;
    return name;
}

static int read_lines(json_t *vocab, const char *text, size_t n, struct err *err)
{
    json_int_t id = 0;
    for (size_t at = 0, next; at < n; at = next + 1, id++) {
        const char *newline = memchr(text + at, '\n', n - at);
        next = newline ? (size_t)(newline - text) : n;
        size_t length = next - at;
        length -= length > 0 && text[at + length - 1] == '\r';
        if (id >= TOKENIZER_MAX_VOCAB)
            return err_set(err, MOE2_ELIMIT, "vocab.txt has more than %d lines",
                           TOKENIZER_MAX_VOCAB);
        json_t *token = json_stringn(text + at, length);
        if (!token || memchr(text + at, 0, length)) {
            json_decref(token);
            return err_set(err, MOE2_EFORMAT, "vocab.txt, line %lld is not UTF-8 text",
                           (long long)id + 1);
        }
        int failed = json_object_set_new(vocab, json_string_value(token), json_integer(id));
        json_decref(token);
        if (failed)
            return err_set(err, MOE2_ELIMIT, "no memory for the lines of vocab.txt");
    }
    return 0;
}

static json_t *make_added(const json_t *vocab, const json_t *config)
{
    json_t *list = json_array();
    for (size_t i = 0; i < sizeof specials / sizeof *specials; i++) {
        const char *name = special_named(config, specials[i].key);
        json_t *id = json_object_get(vocab, name);
        bool twice = false;
        for (size_t k = 0; k < json_array_size(list); k++)
            twice |=
                strcmp(name,
                       json_string_value(json_object_get(json_array_get(list, k), "content"))) == 0;
        if (id && !twice)
            json_array_append_new(list, json_pack("{s:O, s:s, s:b, s:b}", "id", id, "content", name,
                                                  "special", 1, "normalized", 0));
    }
    return list;
}

/* true, false or null of a config as it stands there; or_else where it is missing. */
static json_t *setting(const json_t *config, const char *key, json_t *or_else)
{
    json_t *v = json_object_get(config, key);
    return json_incref(v ? v : or_else);
}

static json_t *make_normalizer(const json_t *config)
{
    return json_pack("{s:s, s:b, s:o, s:o, s:o}", "type", "BertNormalizer", "clean_text", 1,
                     "handle_chinese_chars", setting(config, "tokenize_chinese_chars", json_true()),
                     "strip_accents", setting(config, "strip_accents", json_null()), "lowercase",
                     setting(config, "do_lower_case", json_true()));
}

int vocab_txt_to_json(json_t **out, const char *text, size_t n, const json_t *config,
                      struct err *err)
{
    json_t *vocab = json_object();
    int rc = read_lines(vocab, text, n, err);
    const char *cls = special_named(config, "cls_token"), *sep = special_named(config, "sep_token");
    json_t *cls_id = json_object_get(vocab, cls), *sep_id = json_object_get(vocab, sep);
    if (!rc && (!cls_id || !sep_id))
        rc = err_set(err, MOE2_EFORMAT, "vocab.txt has no token \"%.60s\"", cls_id ? sep : cls);
    if (!rc) {
        *out = json_pack(
            "{s:o, s:o, s:{s:s}, s:{s:s, s:[s, O], s:[s, O]}, s:{s:s}, s:{s:s, s:s, s:O}}",
            "added_tokens", make_added(vocab, config), "normalizer", make_normalizer(config),
            "pre_tokenizer", "type", "BertPreTokenizer", "post_processor", "type", "BertProcessing",
            "cls", cls, cls_id, "sep", sep, sep_id, "decoder", "type", "WordPiece", "model", "type",
            "WordPiece", "unk_token", special_named(config, "unk_token"), "vocab", vocab);
        rc = *out ? 0 : err_set(err, MOE2_ELIMIT, "no memory for the tokens of vocab.txt");
    }
    json_decref(vocab);
    return rc;
}
