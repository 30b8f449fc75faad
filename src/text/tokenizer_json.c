/* Reading tokenizer.json (and of tokenizer_config.json what concerns BOS and EOS): see tokenizer.h
 * for what is understood.
 *
 * Format: the serialised form of Hugging Face's tokenizers, version "1.0". Ids of added tokens are
 * checked against the ones that HF would give: it ignores what the file says (a token of the
 * vocabulary keeps its id, others are numbered behind it), so a file in which the two differ
 * contradicts itself and is refused. The pre-tokenizer is tokenizer_json_pre.c's.
 */
#include "text/tokenizer_json.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "text/text_model.h"
#include "text/tokenizer_parts.h"
#include "text/unicode.h"
#include "text/vocab_txt.h"

/* ---- fields ---- */

int json_flag(bool *out, const json_t *object, const char *where, const char *key, bool or_else,
              struct err *err)
{
    const json_t *v = json_object_get(object, key);
    if (v && !json_is_null(v) && !json_is_boolean(v))
        return err_set(err, MOE2_EFORMAT, "%s: %s is neither true nor false", where, key);
    *out = v && !json_is_null(v) ? json_is_true(v) : or_else;
    return 0;
}

const char *json_text_or(const json_t *object, const char *key, const char *or_else)
{
    const char *text = json_string_value(json_object_get(object, key));
    return text ? text : or_else;
}

const char *json_type_of(const json_t *object)
{
    const char *type = json_string_value(json_object_get(object, "type"));
    return type ? type : "without a type";
}

/* ---- vocabulary and model ---- */

static int read_id(int32_t *out, const json_t *v, const char *token, struct err *err)
{
    if (!json_is_integer(v))
        return err_set(err, MOE2_EFORMAT, "the id of \"%.60s\" is not a whole number", token);
    json_int_t id = json_integer_value(v);
    if (id < 0 || id >= TOKENIZER_MAX_VOCAB)
        return err_set(err, MOE2_ELIMIT, "the id of \"%.60s\" is %lld, wanted 0 to %d", token,
                       (long long)id, TOKENIZER_MAX_VOCAB - 1);
    *out = (int32_t)id;
    return 0;
}

/* The largest id plus one and the bytes of all written forms. */
static int measure(int32_t *n, size_t *n_text, json_t *vocab, json_t *added, struct err *err)
{
    const char *token;
    json_t *value;
    size_t i;
    *n = 0;
    *n_text = 0;
    json_object_foreach(vocab, token, value)
    {
        int32_t id = 0;
        int rc = read_id(&id, value, token, err);
        if (rc)
            return rc;
        *n = id >= *n ? id + 1 : *n;
        *n_text += strlen(token);
    }
    if (json_array_size(vocab) > TOKENIZER_MAX_VOCAB)
        return err_set(err, MOE2_ELIMIT, "model.vocab has %zu tokens, wanted at most %d",
                       json_array_size(vocab), TOKENIZER_MAX_VOCAB);
    json_array_foreach(vocab, i, value)
    {
        if (!json_is_string(json_array_get(value, 0)))
            return err_set(err, MOE2_EFORMAT, "model.vocab[%zu] does not begin with a token", i);
        *n = (int32_t)i + 1;
        *n_text += json_string_length(json_array_get(value, 0));
    }
    json_array_foreach(added, i, value)
    {
        token = json_string_value(json_object_get(value, "content"));
        if (!token)
            return err_set(err, MOE2_EFORMAT, "added_tokens[%zu] has no content", i);
        int32_t id = 0;
        int rc = read_id(&id, json_object_get(value, "id"), token, err);
        if (rc)
            return rc;
        *n = id >= *n ? id + 1 : *n;
        *n_text += 4 * strlen(token); /* and its normal form, which is at most 3 times as long */
    }
    return 0;
}

int read_vocab(struct tokenizer *t, json_t *vocab, json_t *added, struct err *err)
{
    bool is_list = t->model == &model_unigram;
    if ((is_list ? json_array_size(vocab) : json_object_size(vocab)) == 0)
        return err_set(err, MOE2_EFORMAT, "model.vocab is missing or empty");
    int32_t n;
    size_t n_text;
    int rc = measure(&n, &n_text, vocab, added, err);
    if (!rc)
        rc = vocab_init(&t->vocab, n, n_text, err);
    t->vocab.plain = !t->model->byte_level;
    const char *token;
    json_t *value;
    json_object_foreach(vocab, token, value)
    {
        if (rc)
            return rc;
        rc = vocab_add(&t->vocab, (int32_t)json_integer_value(value), token, strlen(token), 0, err);
    }
    for (size_t i = 0; i < json_array_size(vocab) && !rc; i++) {
        token = json_string_value(json_array_get(json_array_get(vocab, i), 0));
        rc = vocab_add(&t->vocab, (int32_t)i, token, strlen(token), 0, err);
    }
    return rc;
}

static const struct text_model *const models[] = {&model_bpe, &model_wordpiece, &model_unigram};

const struct text_model *text_model_named(const char *name)
{
    for (size_t i = 0; i < sizeof models / sizeof *models; i++)
        if (strcmp(name, models[i]->name) == 0)
            return models[i];
    return NULL;
}

/* The row of the file's model; one without a type is BPE. */
static int find_model(struct tokenizer *t, const json_t *model, struct err *err)
{
    if (!json_is_object(model))
        return err_set(err, MOE2_EFORMAT, "model is missing");
    t->model = json_object_get(model, "type") ? text_model_named(json_type_of(model)) : &model_bpe;
    if (t->model == &model_bpe && t->pre.last != SPLIT_LAST_BYTE_LEVEL &&
        json_is_true(json_object_get(model, "byte_fallback")))
        t->model = &model_bpe_chars;
    return t->model ? 0
                    : err_set(err, MOE2_EFORMAT, "model is %.40s, wanted BPE, WordPiece or Unigram",
                              json_type_of(model));
}

/* ---- added tokens ---- */

/* Gives one added token its id, and notes it in the vocabulary. next_id is HF's count. */
static int place_added(struct tokenizer *t, int32_t *next_id, const json_t *json,
                       const char *content, bool special, struct err *err)
{
    struct vocab *v = &t->vocab;
    int32_t stated = (int32_t)json_integer_value(json_object_get(json, "id"));
    int32_t id = vocab_find(v, content, strlen(content));
    uint8_t flags = VOCAB_ADDED | (special ? VOCAB_SPECIAL : 0);
    if (id >= 0 && v->flags[id] & VOCAB_ADDED)
        return err_set(err, MOE2_EFORMAT, "added token \"%.60s\" stands there twice", content);
    int32_t wanted = id >= 0 ? id : *next_id;
    if (stated != wanted)
        return err_set(err, MOE2_EFORMAT, "added token \"%.60s\" has id %d, but its place is %d",
                       content, stated, wanted);
    if (id >= 0) {
        v->flags[id] |= flags;
        *next_id = id >= *next_id ? id + 1 : *next_id;
        return 0;
    }
    *next_id = wanted + 1;
    return vocab_add(v, wanted, content, strlen(content), flags, err);
}

static int index_added(struct tokenizer *t, const char *content, int flags, bool normalized,
                       struct err *err)
{
    int32_t id = vocab_find(&t->vocab, content, strlen(content));
    if (!normalized)
        return added_put(&t->added_raw, content, strlen(content), id, flags, err);
    struct buf scratch[2] = {{0}};
    const uint8_t *text = (const uint8_t *)content;
    size_t n = strlen(content);
    int rc = normalizer_run(&text, &n, &t->normalizer, scratch, 0xff, err);
    if (!rc && n > 3 * strlen(content))
        rc = err_set(err, MOE2_ELIMIT,
                     "the normal form of added token \"%.40s\" has %zu bytes, wanted at most %zu",
                     content, n, 3 * strlen(content));
    if (!rc && n)
        rc = added_put(&t->added_normalized, (const char *)text, n, id, flags, err);
    if (!rc && (n != strlen(content) || memcmp(text, content, n) != 0))
        vocab_stand_for(&t->vocab, id, (const char *)text, n); /* HF decodes it so */
    buf_release(&scratch[0]);
    buf_release(&scratch[1]);
    return rc;
}

static int read_added_token(struct tokenizer *t, int32_t *next_id, const json_t *json,
                            struct err *err)
{
    const char *content = json_string_value(json_object_get(json, "content"));
    if (!*content)
        return 0; /* HF passes over an empty one */
    if (strlen(content) > ADDED_MAX_BYTES)
        return err_set(err, MOE2_ELIMIT, "added token \"%.40s…\" has %zu bytes, wanted at most %d",
                       content, strlen(content), ADDED_MAX_BYTES);
    bool special = false, normalized = false, lstrip = false, rstrip = false, single_word = false;
    char where[96];
    snprintf(where, sizeof where, "added token \"%.60s\"", content);
    int rc = json_flag(&special, json, where, "special", false, err);
    if (!rc)
        rc = json_flag(&normalized, json, where, "normalized", !special, err);
    if (!rc)
        rc = json_flag(&lstrip, json, where, "lstrip", false, err);
    if (!rc)
        rc = json_flag(&rstrip, json, where, "rstrip", false, err);
    if (!rc)
        rc = json_flag(&single_word, json, where, "single_word", false, err);
    if (!rc)
        rc = place_added(t, next_id, json, content, special, err);
    if (rc)
        return rc;
    int flags = (lstrip ? ADDED_LSTRIP : 0) | (rstrip ? ADDED_RSTRIP : 0) |
                (single_word ? ADDED_SINGLE_WORD : 0);
    return index_added(t, content, flags, normalized, err);
}

static int read_added(struct tokenizer *t, json_t *added, size_t n_model, struct err *err)
{
    size_t i;
    json_t *value;
    int32_t next_id = (int32_t)n_model;
    int rc = 0;
    json_array_foreach(added, i, value)
    {
        rc = read_added_token(t, &next_id, value, err);
        if (rc)
            break;
    }
    return rc;
}

/* ---- decoder ---- */

static int read_wordpiece_decoder(struct tokenizer *t, const json_t *json, struct err *err)
{
    const char *prefix = json_text_or(json, "prefix", "##");
    t->decoder.kind = DECODER_WORDPIECE;
    t->decoder.n_prefix = strlen(prefix);
    if (t->decoder.n_prefix >= sizeof t->decoder.prefix)
        return err_set(err, MOE2_ELIMIT, "decoder: the prefix has %zu bytes, wanted at most %zu",
                       t->decoder.n_prefix, sizeof t->decoder.prefix - 1);
    memcpy(t->decoder.prefix, prefix, t->decoder.n_prefix + 1);
    return json_flag(&t->decoder.cleanup, json, "decoder: WordPiece", "cleanup", true, err);
}

static int read_metaspace_decoder(struct tokenizer *t, const json_t *json, struct err *err)
{
    struct split_metaspace m;
    int rc = read_metaspace_fields(&m, json, "decoder: Metaspace", err);
    if (rc)
        return rc;
    t->decoder.kind = DECODER_METASPACE;
    t->decoder.n_prefix = m.n_sign;
    memcpy(t->decoder.prefix, m.sign, m.n_sign);
    t->decoder.cleanup = m.prepend != SPLIT_PREPEND_NEVER;
    if (t->model == &model_bpe_chars)
        t->decoder.kind = DECODER_SENTENCEPIECE;
    return 0;
}

/* One part of the Sequence of a SentencePiece model: signs to spaces, bytes to characters, all joined,
 * a space in front taken away. */
static int read_sequence_part(struct tokenizer *t, const json_t *json, struct err *err)
{
    const char *type = json_type_of(json), *content = json_text_or(json, "content", ""),
               *pattern = json_text_or(json_object_get(json, "pattern"), "String", "");
    if (strcmp(type, "ByteFallback") == 0 || strcmp(type, "Fuse") == 0)
        return 0;
    if (strcmp(type, "Replace") == 0 && strcmp(pattern, "\xe2\x96\x81") == 0 &&
        strcmp(content, " ") == 0)
        return 0;
    if (strcmp(type, "Strip") == 0 && strcmp(content, " ") == 0 &&
        json_integer_value(json_object_get(json, "stop")) == 0 &&
        json_integer_value(json_object_get(json, "start")) <= 1) {
        t->decoder.cleanup = json_integer_value(json_object_get(json, "start")) == 1;
        return 0;
    }
    return err_set(err, MOE2_EFORMAT,
                   "decoder: %.40s in a Sequence, wanted Replace of \"\xe2\x96\x81\" by a space, "
                   "ByteFallback, Fuse and Strip of a space in front",
                   type);
}

static int read_sentencepiece_decoder(struct tokenizer *t, const json_t *json, struct err *err)
{
    const json_t *parts = json_object_get(json, "decoders");
    int rc = 0;
    t->decoder.kind = DECODER_SENTENCEPIECE;
    for (size_t i = 0; i < json_array_size(parts) && !rc; i++)
        rc = read_sequence_part(t, json_array_get(parts, i), err);
    return rc;
}

static int read_decoder(struct tokenizer *t, const json_t *json, struct err *err)
{
    if (!json || json_is_null(json))
        return 0;
    const char *type = json_type_of(json);
    if (strcmp(type, "WordPiece") == 0)
        return read_wordpiece_decoder(t, json, err);
    if (strcmp(type, "Metaspace") == 0)
        return read_metaspace_decoder(t, json, err);
    if (strcmp(type, "Sequence") == 0 && t->model == &model_bpe_chars)
        return read_sentencepiece_decoder(t, json, err);
    if (strcmp(type, "ByteLevel") != 0 || !t->model->byte_level)
        return err_set(err, MOE2_EFORMAT,
                       "decoder is %.40s, wanted none, ByteLevel, WordPiece or Metaspace", type);
    t->decoder.kind = DECODER_BYTE_LEVEL;
    return 0;
}

/* ---- post-processor ---- */

/* One more id outside of what is there already: in front, or behind. */
static int put_around(struct tokenizer *t, bool front, json_int_t id, struct err *err)
{
    int *n = front ? &t->n_before : &t->n_after;
    int32_t *ids = front ? t->before : t->after;
    if (id < 0 || id >= t->vocab.n || !(t->vocab.flags[id] & VOCAB_PRESENT))
        return err_set(err, MOE2_EFORMAT, "post_processor adds id %lld, which has no token",
                       (long long)id);
    if (*n == TOKENIZER_MAX_AROUND)
        return err_set(err, MOE2_ELIMIT, "post_processor adds more than %d tokens",
                       TOKENIZER_MAX_AROUND);
    if (front)
        memmove(ids + 1, ids, (size_t)*n * sizeof *ids);
    ids[front ? 0 : *n] = (int32_t)id;
    (*n)++;
    return 0;
}

/* The ids that a template's special token stands for; in front the last one goes first, since each
 * goes outside. */
static int put_special(struct tokenizer *t, bool front, const json_t *specials, const char *name,
                       struct err *err)
{
    const json_t *ids = json_object_get(json_object_get(specials, name), "ids");
    size_t n = json_array_size(ids);
    if (!n)
        return err_set(err, MOE2_EFORMAT, "post_processor: special token \"%.60s\" has no ids",
                       name);
    int rc = 0;
    for (size_t i = 0; i < n && !rc; i++) {
        const json_t *id = json_array_get(ids, front ? n - 1 - i : i);
        rc = json_is_integer(id) ? put_around(t, front, json_integer_value(id), err)
                                 : err_set(err, MOE2_EFORMAT,
                                           "post_processor: an id of \"%.60s\" is no number", name);
    }
    return rc;
}

/* Where the text stands in a template: the index of {"Sequence": {"id": "A"}}, which must be there
 * once. */
static int find_sequence(size_t *place, const json_t *single, struct err *err)
{
    size_t n_found = 0;
    for (size_t i = 0; i < json_array_size(single); i++) {
        const json_t *item = json_array_get(single, i),
                     *sequence = json_object_get(item, "Sequence");
        const char *id = json_string_value(json_object_get(sequence, "id"));
        if (sequence && id && strcmp(id, "A") == 0) {
            *place = i;
            n_found++;
        } else if (!json_string_value(
                       json_object_get(json_object_get(item, "SpecialToken"), "id"))) {
            return err_set(err, MOE2_EFORMAT,
                           "post_processor: single[%zu] is neither Sequence A nor a SpecialToken",
                           i);
        }
    }
    if (n_found != 1)
        return err_set(err, MOE2_EFORMAT,
                       "post_processor: the template has the text %zu times, wanted once", n_found);
    return 0;
}

static const char *special_name(const json_t *single, size_t i)
{
    return json_string_value(
        json_object_get(json_object_get(json_array_get(single, i), "SpecialToken"), "id"));
}

static int read_template(struct tokenizer *t, const json_t *json, struct err *err)
{
    const json_t *single = json_object_get(json, "single"),
                 *specials = json_object_get(json, "special_tokens");
    size_t place = 0, n = json_array_size(single);
    int rc = find_sequence(&place, single, err);
    for (size_t i = place; i-- > 0 && !rc;)
        rc = put_special(t, true, specials, special_name(single, i), err);
    for (size_t i = place + 1; i < n && !rc; i++)
        rc = put_special(t, false, specials, special_name(single, i), err);
    return rc;
}

/* RobertaProcessing and BertProcessing: "cls": ["<s>", 0] in front, "sep": ["</s>", 2] behind. */
static int read_cls_sep(struct tokenizer *t, const json_t *json, struct err *err)
{
    const json_t *cls = json_array_get(json_object_get(json, "cls"), 1);
    const json_t *sep = json_array_get(json_object_get(json, "sep"), 1);
    if (!json_is_integer(cls) || !json_is_integer(sep))
        return err_set(err, MOE2_EFORMAT, "post_processor: cls or sep is not [token, id]");
    int rc = put_around(t, true, json_integer_value(cls), err);
    return rc ? rc : put_around(t, false, json_integer_value(sep), err);
}

static int read_post(struct tokenizer *t, const json_t *json, int depth, struct err *err)
{
    if (!json || json_is_null(json))
        return 0;
    const char *type = json_type_of(json);
    if (strcmp(type, "ByteLevel") == 0)
        return 0;
    if (strcmp(type, "TemplateProcessing") == 0)
        return read_template(t, json, err);
    if (strcmp(type, "RobertaProcessing") == 0 || strcmp(type, "BertProcessing") == 0)
        return read_cls_sep(t, json, err);
    if (strcmp(type, "Sequence") != 0 || depth > 4)
        return err_set(err, MOE2_EFORMAT,
                       "post_processor is %.40s, wanted ByteLevel, TemplateProcessing, "
                       "RobertaProcessing, BertProcessing or a Sequence of them",
                       type);
    json_t *list = json_object_get(json, "processors"), *value;
    size_t i;
    int rc = 0;
    json_array_foreach(list, i, value)
    {
        rc = read_post(t, value, depth + 1, err);
        if (rc)
            break;
    }
    return rc;
}

/* ---- tokenizer_config.json ---- */

/* The id of bos_token or eos_token: a string, or an object with content; −1 for none. */
static int32_t named_id(const struct tokenizer *t, const json_t *config, const char *key)
{
    const json_t *v = json_object_get(config, key);
    const char *token = json_string_value(json_is_object(v) ? json_object_get(v, "content") : v);
    return token ? tokenizer_id(t, token) : -1;
}

static int read_config(struct tokenizer *t, const json_t *config, struct err *err)
{
    bool add_bos = false, add_eos = false;
    int rc = json_flag(&add_bos, config, "tokenizer_config.json", "add_bos_token", false, err);
    if (!rc)
        rc = json_flag(&add_eos, config, "tokenizer_config.json", "add_eos_token", false, err);
    if (rc)
        return rc;
    t->bos_id = named_id(t, config, "bos_token");
    t->eos_id = named_id(t, config, "eos_token");
    if (t->n_before + t->n_after > 0)
        return 0;
    if ((add_bos && t->bos_id < 0) || (add_eos && t->eos_id < 0))
        return err_set(err, MOE2_EFORMAT,
                       "tokenizer_config.json: add_%s_token is true, but %s_token is no token of "
                       "the vocabulary",
                       t->bos_id < 0 && add_bos ? "bos" : "eos",
                       t->bos_id < 0 && add_bos ? "bos" : "eos");
    if (add_bos)
        t->before[t->n_before++] = t->bos_id;
    if (add_eos)
        t->after[t->n_after++] = t->eos_id;
    return 0;
}

/* ---- the whole ---- */

/* flags are jansson's: a config is read with whole numbers as reals, because transformers writes
 * 10^30 for "no limit". */
static int load(json_t **out, const char *text, size_t n, size_t flags, const char *name,
                struct err *err)
{
    json_error_t e;
    *out = json_loadb(text, n, flags, &e);
    if (!*out)
        return err_set(err, MOE2_EFORMAT, "%s, line %d: %s", name, e.line, e.text);
    if (!json_is_object(*out))
        return err_set(err, MOE2_EFORMAT, "%s is no JSON object", name);
    return 0;
}

/* HF puts a sign in front of what begins at the first character of the text as it came, which is
 * not kept here: steps that may take it away or move it are refused. */
static int check_first(const struct tokenizer *t, struct err *err)
{
    if (t->pre.last != SPLIT_LAST_METASPACE || t->pre.metaspace.prepend != SPLIT_PREPEND_FIRST)
        return 0;
    for (int i = 0; i < t->normalizer.n_steps; i++)
        if (t->normalizer.steps[i].moves_begin)
            return err_set(
                err, MOE2_EFORMAT,
                "pre_tokenizer: Metaspace has prepend_scheme \"first\" behind normalizer "
                "%s, wanted always or never there",
                t->normalizer.steps[i].kind->name);
    return 0;
}

/* Bytes go to BPE, characters to the others. */
static int check_last(const struct tokenizer *t, struct err *err)
{
    bool byte_level = t->pre.last == SPLIT_LAST_BYTE_LEVEL;
    if (t->model->byte_level && !byte_level)
        return err_set(err, MOE2_EFORMAT,
                       "pre_tokenizer has no ByteLevel: only byte-level BPE and BPE with "
                       "byte_fallback are understood");
    if (!t->model->byte_level && byte_level)
        return err_set(err, MOE2_EFORMAT, "pre_tokenizer has ByteLevel, which %s does not take",
                       t->model->name);
    return check_first(t, err);
}

static void set_fast(struct tokenizer *t)
{
    const struct split_stage *stage = &t->pre.stages[0];
    t->fast = pretokenizer_fast(&t->pre);
    t->fast_classes = stage->classes ? stage->classes : t->tables.classes;
    t->fast_drops = stage->drops;
}

static int read_root(struct tokenizer *t, const json_t *root, const json_t *config, struct err *err)
{
    json_t *model = json_object_get(root, "model"), *added = json_object_get(root, "added_tokens"),
           *vocab = json_object_get(model, "vocab");
    t->bos_id = t->eos_id = -1;
    if (added && !json_is_null(added) && !json_is_array(added))
        return err_set(err, MOE2_EFORMAT, "added_tokens is no list");
    t->normalizer.tables = &t->tables;
    int rc = char_tables_init(&t->tables, err);
    if (!rc)
        rc = read_normalizer(&t->normalizer, json_object_get(root, "normalizer"), err);
    if (!rc)
        rc = read_pretokenizer(&t->pre, &t->tables, json_object_get(root, "pre_tokenizer"), err);
    if (!rc)
        rc = find_model(t, model, err);
    if (!rc)
        rc = check_last(t, err);
    if (!rc)
        rc = t->model->read(t, model, added, err);
    if (!rc)
        rc = read_added(t, added, json_object_size(vocab) + json_array_size(vocab), err);
    if (!rc)
        rc = read_decoder(t, json_object_get(root, "decoder"), err);
    if (!rc)
        rc = read_post(t, json_object_get(root, "post_processor"), 0, err);
    if (!rc && config)
        rc = read_config(t, config, err);
    set_fast(t);
    return rc;
}

int tokenizer_read(struct tokenizer *t, const char *text, size_t n, bool is_vocab_txt,
                   const char *config, size_t n_config, struct err *err)
{
    json_t *root = NULL, *config_root = NULL;
    int rc = is_vocab_txt ? 0 : load(&root, text, n, 0, "tokenizer.json", err);
    if (!rc && config)
        rc = load(&config_root, config, n_config, JSON_DECODE_INT_AS_REAL, "tokenizer_config.json",
                  err);
    if (!rc && is_vocab_txt)
        rc = vocab_txt_to_json(&root, text, n, config_root, err);
    if (!rc)
        rc = read_root(t, root, config_root, err);
    json_decref(root);
    json_decref(config_root);
    if (rc)
        return rc;
    int32_t rest[4] = {t->bos_id, t->eos_id, t->n_before ? t->before[0] : -1,
                       t->n_after ? t->after[0] : -1};
    t->fingerprint = hash_bytes(text, n) ^ hash_bytes(rest, sizeof rest);
    if (is_vocab_txt) /* the same words in another normal form are another tokenizer */
        t->fingerprint ^= hash_bytes(&t->normalizer.steps[0].bert, sizeof(struct bert_rules));
    return 0;
}
