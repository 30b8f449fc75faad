/* A tokenizer out of a GGUF file's arrays: see tokenizer_arrays.h. Both kinds are written as the
 * tokenizer.json that Hugging Face has for such models, and read back; SentencePiece's merges are
 * listed best score first, all pairs that give one token beside each other, which
 * bpe_init_by_token reads as one rank.
 */
#include "text/tokenizer_arrays.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "text/split.h"
#include "text/tokenizer_parts.h"
#include "text/unicode.h"

enum { MAX_JSON_BYTES = 512 << 20 };

/* ---- JSON ---- */

/* Appends n bytes as a JSON string; what is not UTF-8 becomes U+FFFD. */
static int quote(struct buf *out, const char *s, size_t n, struct err *err)
{
    struct buf fixed = {.max_bytes = MAX_JSON_BYTES};
    int rc = utf8_repair(&fixed, (const uint8_t *)s, n, err);
    if (!rc)
        rc = buf_puts(out, "\"", err);
    for (size_t i = 0; i < fixed.n && !rc; i++) {
        unsigned char c = (unsigned char)fixed.bytes[i];
        if (c == '"' || c == '\\')
            rc = buf_printf(out, err, "\\%c", c);
        else if (c < ' ' || c == 0x7f)
            rc = buf_printf(out, err, "\\u%04x", c);
        else
            rc = buf_append(out, &fixed.bytes[i], 1, err);
    }
    buf_release(&fixed);
    return rc ? rc : buf_puts(out, "\"", err);
}

static int quote_text(struct buf *out, const char *s, struct err *err)
{
    return quote(out, s, strlen(s), err);
}

static int64_t kind_of(const struct tokenizer_arrays *a, int64_t id)
{
    return a->kinds ? a->kinds[id] : TOKEN_KIND_NORMAL;
}

static bool is_added(const struct tokenizer_arrays *a, int64_t id)
{
    int64_t kind = kind_of(a, id);
    return kind == TOKEN_KIND_CONTROL || kind == TOKEN_KIND_USER || kind == TOKEN_KIND_UNKNOWN;
}

static int put_added(struct buf *out, const struct tokenizer_arrays *a, struct err *err)
{
    bool first = true;
    int rc = buf_puts(out, "\"added_tokens\": [", err);
    for (int64_t id = 0; id < a->n && !rc; id++) {
        if (!is_added(a, id) || !a->tokens[id].n)
            continue;
        rc = buf_printf(out, err, "%s\n{\"id\": %" PRId64 ", \"content\": ", first ? "" : ",", id);
        if (!rc)
            rc = quote(out, a->tokens[id].p, a->tokens[id].n, err);
        if (!rc)
            rc = buf_printf(out, err,
                            ", \"single_word\": false, \"lstrip\": false, \"rstrip\": false, "
                            "\"normalized\": false, \"special\": %s}",
                            kind_of(a, id) == TOKEN_KIND_USER ? "false" : "true");
        first = false;
    }
    return rc ? rc : buf_puts(out, "],\n", err);
}

static int put_vocab(struct buf *out, const struct tokenizer_arrays *a, struct err *err)
{
    int rc = buf_puts(out, "\"vocab\": {", err);
    for (int64_t id = 0; id < a->n && !rc; id++) {
        rc = buf_puts(out, id ? ",\n" : "\n", err);
        if (!rc)
            rc = quote(out, a->tokens[id].p, a->tokens[id].n, err);
        if (!rc)
            rc = buf_printf(out, err, ": %" PRId64, id);
    }
    return rc ? rc : buf_puts(out, "},\n", err);
}

static int check_id(int64_t id, const char *what, const struct tokenizer_arrays *a, struct err *err)
{
    return id < a->n
               ? 0
               : err_set(err, MOE2_EFORMAT, "the %s token is %" PRId64 ", wanted one of %" PRId64,
                         what, id, a->n);
}

/* A template with BOS in front or EOS behind; null where neither is added. */
static int put_post(struct buf *out, const struct tokenizer_arrays *a, bool bos, bool eos,
                    struct err *err)
{
    const int64_t ids[2] = {bos ? a->bos_id : -1, eos ? a->eos_id : -1};
    int rc = 0;
    if (ids[0] < 0 && ids[1] < 0)
        return buf_puts(out, "\"post_processor\": null,\n", err);
    rc = buf_puts(out, "\"post_processor\": {\"type\": \"TemplateProcessing\", \"single\": [", err);
    for (int i = 0; i < 3 && !rc; i++) {
        int64_t id = i == 1 ? -1 : ids[i / 2];
        if (i == 1)
            rc = buf_puts(out, "{\"Sequence\": {\"id\": \"A\", \"type_id\": 0}}", err);
        if (id < 0)
            continue;
        rc = buf_puts(out,
                      i ? ", {\"SpecialToken\": {\"id\": " : "{\"SpecialToken\": {\"id\": ", err);
        if (!rc)
            rc = quote(out, a->tokens[id].p, a->tokens[id].n, err);
        if (!rc)
            rc = buf_puts(out, i ? ", \"type_id\": 0}}" : ", \"type_id\": 0}}, ", err);
    }
    if (!rc)
        rc = buf_puts(out,
                      "], \"pair\": [{\"Sequence\": {\"id\": \"A\", \"type_id\": 0}}, "
                      "{\"Sequence\": {\"id\": \"B\", \"type_id\": 1}}], \"special_tokens\": {",
                      err);
    for (int i = 0, n = 0; i < 2 && !rc; i++) {
        if (ids[i] < 0 || (i == 1 && ids[0] == ids[1]))
            continue;
        const struct span *s = &a->tokens[ids[i]];
        rc = buf_puts(out, n++ ? ", " : "", err);
        if (!rc)
            rc = quote(out, s->p, s->n, err);
        if (!rc)
            rc = buf_puts(out, ": {\"id\": ", err);
        if (!rc)
            rc = quote(out, s->p, s->n, err);
        if (!rc)
            rc = buf_printf(out, err, ", \"ids\": [%" PRId64 "], \"tokens\": [", ids[i]);
        if (!rc)
            rc = quote(out, s->p, s->n, err);
        if (!rc)
            rc = buf_puts(out, "]}", err);
    }
    return rc ? rc : buf_puts(out, "}},\n", err);
}

/* ---- byte-level BPE ---- */

static const struct pre {
    const char *name; /* tokenizer.ggml.pre */
    const char *patterns[3];
    bool digits; /* each digit first */
    bool nfc, ignore_merges, add_bos;
} pres[] = {
    {"gpt-2", {SPLIT_GPT2}, false, false, false, false},
    {"smollm", {SPLIT_GPT2}, true, false, false, false},
    {"qwen2", {SPLIT_QWEN2}, false, true, false, false},
    {"deepseek-r1-qwen", {SPLIT_QWEN2}, false, true, false, false},
    {"llama-bpe", {SPLIT_LLAMA3}, false, false, true, true},
    {"llama3", {SPLIT_LLAMA3}, false, false, true, true},
    {"llama-v3", {SPLIT_LLAMA3}, false, false, true, true},
    {"deepseek-v3",
     {SPLIT_DEEPSEEK_NUMBERS, SPLIT_DEEPSEEK_HAN, SPLIT_DEEPSEEK_REST},
     false,
     false,
     false,
     false},
};

enum { N_PRES = sizeof pres / sizeof *pres };

static int find_pre(const struct pre **out, const struct tokenizer_arrays *a, struct err *err)
{
    for (int i = 0; i < N_PRES && a->pre; i++)
        if (strcmp(a->pre, pres[i].name) == 0) {
            *out = &pres[i];
            return 0;
        }
    return err_set(err, MOE2_EFORMAT,
                   "tokenizer.ggml.pre is %.40s, wanted gpt-2, smollm, qwen2, deepseek-r1-qwen, "
                   "llama-bpe or deepseek-v3",
                   a->pre ? a->pre : "missing");
}

static int put_split(struct buf *out, const char *pattern, struct err *err)
{
    int rc = buf_puts(out, "{\"type\": \"Split\", \"pattern\": {\"Regex\": ", err);
    if (!rc)
        rc = quote_text(out, pattern, err);
    return rc ? rc : buf_puts(out, "}, \"behavior\": \"Isolated\", \"invert\": false},\n", err);
}

static int put_pretokenizer(struct buf *out, const struct pre *pre, struct err *err)
{
    bool gpt2 = strcmp(pre->patterns[0], SPLIT_GPT2) == 0;
    int rc =
        buf_puts(out, "\"pre_tokenizer\": {\"type\": \"Sequence\", \"pretokenizers\": [\n", err);
    if (!rc && pre->digits)
        rc = buf_puts(out, "{\"type\": \"Digits\", \"individual_digits\": true},\n", err);
    for (int i = 0; i < 3 && pre->patterns[i] && !gpt2 && !rc; i++)
        rc = put_split(out, pre->patterns[i], err);
    return rc ? rc
              : buf_printf(out, err,
                           "{\"type\": \"ByteLevel\", \"add_prefix_space\": false, "
                           "\"trim_offsets\": true, \"use_regex\": %s}]},\n",
                           gpt2 ? "true" : "false");
}

static int put_merges(struct buf *out, const struct tokenizer_arrays *a, struct err *err)
{
    int rc = buf_puts(out, "\"merges\": [", err);
    for (int64_t i = 0; i < a->n_merges && !rc; i++) {
        rc = buf_puts(out, i ? ",\n" : "\n", err);
        if (!rc)
            rc = quote(out, a->merges[i].p, a->merges[i].n, err);
    }
    return rc ? rc : buf_puts(out, "]}}\n", err);
}

static int put_byte_level(struct buf *out, const struct tokenizer_arrays *a, struct err *err)
{
    const struct pre *pre = NULL;
    int rc = find_pre(&pre, a, err);
    if (rc)
        return rc;
    bool bos = a->add_bos < 0 ? pre->add_bos : a->add_bos;
    rc = put_added(out, a, err);
    if (!rc)
        rc = buf_puts(
            out, pre->nfc ? "\"normalizer\": {\"type\": \"NFC\"},\n" : "\"normalizer\": null,\n",
            err);
    if (!rc)
        rc = put_pretokenizer(out, pre, err);
    if (!rc)
        rc = put_post(out, a, bos, a->add_eos > 0, err);
    if (!rc)
        rc = buf_printf(
            out, err,
            "\"decoder\": {\"type\": \"ByteLevel\", \"add_prefix_space\": true, "
            "\"trim_offsets\": true, \"use_regex\": true},\n\"model\": {\"type\": \"BPE\", "
            "\"dropout\": null, \"unk_token\": null, \"continuing_subword_prefix\": \"\", "
            "\"end_of_word_suffix\": \"\", \"fuse_unk\": false, \"byte_fallback\": false, "
            "\"ignore_merges\": %s,\n",
            pre->ignore_merges ? "true" : "false");
    if (!rc)
        rc = put_vocab(out, a, err);
    return rc ? rc : put_merges(out, a, err);
}

/* ---- SentencePiece ---- */

struct ranked {
    float score;
    int32_t id;
};

static int by_score(const void *a, const void *b)
{
    const struct ranked *x = a, *y = b;
    if (x->score != y->score)
        return x->score > y->score ? -1 : 1;
    return (x->id > y->id) - (x->id < y->id);
}

/* All ways to put a token together out of two, for all tokens that the text can become. */
static int put_pairs(struct buf *out, const struct tokenizer_arrays *a, const struct vocab *v,
                     struct ranked *order, struct err *err)
{
    int64_t n = 0;
    bool first = true;
    for (int64_t id = 0; id < a->n; id++)
        if (kind_of(a, id) == TOKEN_KIND_NORMAL || kind_of(a, id) == TOKEN_KIND_USER)
            order[n++] = (struct ranked){a->scores[id], (int32_t)id};
    qsort(order, (size_t)n, sizeof *order, by_score);
    int rc = buf_puts(out, "\"merges\": [", err);
    for (int64_t i = 0; i < n; i++) {
        struct span s = a->tokens[order[i].id];
        for (uint32_t cut = 1; cut < s.n && !rc; cut++) {
            if (((uint8_t)s.p[cut] & 0xc0) == 0x80 || vocab_find(v, s.p, cut) < 0 ||
                vocab_find(v, s.p + cut, s.n - cut) < 0)
                continue;
            rc = buf_puts(out, first ? "\n[" : ",\n[", err);
            if (!rc)
                rc = quote(out, s.p, cut, err);
            if (!rc)
                rc = buf_puts(out, ", ", err);
            if (!rc)
                rc = quote(out, s.p + cut, s.n - cut, err);
            if (!rc)
                rc = buf_puts(out, "]", err);
            first = false;
        }
    }
    return rc ? rc : buf_puts(out, "]}}\n", err);
}

static int put_score_merges(struct buf *out, const struct tokenizer_arrays *a, struct err *err)
{
    struct vocab v = {0};
    size_t n_text = 0;
    for (int64_t id = 0; id < a->n; id++)
        n_text += a->tokens[id].n;
    struct ranked *order = malloc(((size_t)a->n + 1) * sizeof *order);
    int rc = order
                 ? vocab_init(&v, (int32_t)a->n, n_text, err)
                 : err_set(err, MOE2_ELIMIT, "no memory for the order of %" PRId64 " tokens", a->n);
    v.plain = true;
    for (int64_t id = 0; id < a->n && !rc; id++)
        if (a->tokens[id].n && vocab_find(&v, a->tokens[id].p, a->tokens[id].n) < 0)
            rc = vocab_add(&v, (int32_t)id, a->tokens[id].p, a->tokens[id].n, 0, err);
    if (!rc)
        rc = put_pairs(out, a, &v, order, err);
    vocab_release(&v);
    free(order);
    return rc;
}

static int put_unknown(struct buf *out, const struct tokenizer_arrays *a, struct err *err)
{
    int rc = buf_puts(out, "\"unk_token\": ", err);
    if (!rc)
        rc = a->unk_id >= 0 ? quote(out, a->tokens[a->unk_id].p, a->tokens[a->unk_id].n, err)
                            : buf_puts(out, "null", err);
    return rc ? rc : buf_puts(out, ",\n", err);
}

static int put_sentencepiece(struct buf *out, const struct tokenizer_arrays *a, struct err *err)
{
    static const char sign[] = "\xe2\x96\x81";
    bool prefix = a->add_space_prefix != 0, bos = a->add_bos != 0;
    if (!a->scores)
        return err_set(err, MOE2_EFORMAT, "tokenizer.ggml.scores is missing");
    int rc = put_added(out, a, err);
    if (!rc)
        rc = buf_printf(out, err,
                        "\"normalizer\": {\"type\": \"Sequence\", \"normalizers\": [%s%s%s"
                        "{\"type\": \"Replace\", \"pattern\": {\"String\": \" \"}, "
                        "\"content\": \"%s\"}]},\n\"pre_tokenizer\": null,\n",
                        prefix ? "{\"type\": \"Prepend\", \"prepend\": \"" : "", prefix ? sign : "",
                        prefix ? "\"}, " : "", sign);
    if (!rc)
        rc = put_post(out, a, bos, a->add_eos > 0, err);
    if (!rc)
        rc = buf_printf(
            out, err,
            "\"decoder\": {\"type\": \"Sequence\", \"decoders\": [{\"type\": "
            "\"Replace\", \"pattern\": {\"String\": \"%s\"}, \"content\": \" \"}, "
            "{\"type\": \"ByteFallback\"}, {\"type\": \"Fuse\"}%s]},\n"
            "\"model\": {\"type\": \"BPE\", \"dropout\": null, "
            "\"continuing_subword_prefix\": null, \"end_of_word_suffix\": null, "
            "\"fuse_unk\": true, \"byte_fallback\": true, "
            "\"ignore_merges\": false,\n",
            sign,
            prefix ? ", {\"type\": \"Strip\", \"content\": \" \", \"start\": 1, \"stop\": 0}" : "");
    if (!rc)
        rc = put_unknown(out, a, err);
    if (!rc)
        rc = put_vocab(out, a, err);
    return rc ? rc : put_score_merges(out, a, err);
}

/* ---- the whole ---- */

static int put_token(struct buf *out, const char *key, const struct tokenizer_arrays *a, int64_t id,
                     struct err *err)
{
    int rc = id < 0 ? 0 : buf_printf(out, err, ",\n\"%s\": ", key);
    return rc || id < 0 ? rc : quote(out, a->tokens[id].p, a->tokens[id].n, err);
}

static int put_config(struct buf *out, const struct tokenizer_arrays *a, struct err *err)
{
    int rc = buf_puts(out, "{\"tokenizer_class\": \"PreTrainedTokenizerFast\"", err);
    if (!rc)
        rc = put_token(out, "bos_token", a, a->bos_id, err);
    if (!rc)
        rc = put_token(out, "eos_token", a, a->eos_id, err);
    if (!rc)
        rc = put_token(out, "unk_token", a, a->unk_id, err);
    if (!rc && a->chat_template)
        rc = buf_puts(out, ",\n\"chat_template\": ", err);
    if (!rc && a->chat_template)
        rc = quote_text(out, a->chat_template, err);
    return rc ? rc : buf_puts(out, "}\n", err);
}

static int check(const struct tokenizer_arrays *a, struct err *err)
{
    if (a->n < 1 || a->n > TOKENIZER_MAX_VOCAB)
        return err_set(err, MOE2_ELIMIT,
                       "tokenizer.ggml.tokens has %" PRId64 " tokens, wanted 1 to %d", a->n,
                       TOKENIZER_MAX_VOCAB);
    int rc = check_id(a->bos_id, "BOS", a, err);
    if (!rc)
        rc = check_id(a->eos_id, "EOS", a, err);
    return rc ? rc : check_id(a->unk_id, "unknown", a, err);
}

int tokenizer_arrays_json(struct buf *json, struct buf *config, const struct tokenizer_arrays *a,
                          struct err *err)
{
    bool bytes = strcmp(a->model, "gpt2") == 0, pieces = strcmp(a->model, "llama") == 0;
    int rc = check(a, err);
    if (!rc && !bytes && !pieces)
        rc = err_set(err, MOE2_EFORMAT, "tokenizer.ggml.model is %.40s, wanted gpt2 or llama",
                     a->model);
    if (!rc)
        rc = buf_puts(json, "{\"version\": \"1.0\",\n\"truncation\": null,\n\"padding\": null,\n",
                      err);
    if (!rc)
        rc = bytes ? put_byte_level(json, a, err) : put_sentencepiece(json, a, err);
    return rc ? rc : put_config(config, a, err);
}

int tokenizer_from_arrays(struct tokenizer **out, const struct tokenizer_arrays *a, struct err *err)
{
    struct buf json = {.max_bytes = MAX_JSON_BYTES}, config = {.max_bytes = MAX_JSON_BYTES};
    struct tokenizer *t = calloc(1, sizeof *t);
    int rc = t ? tokenizer_arrays_json(&json, &config, a, err)
               : err_set(err, MOE2_ELIMIT, "no memory for a tokenizer");
    if (!rc) {
        t->ranks_by_token = strcmp(a->model, "llama") == 0;
        rc = tokenizer_read(t, json.bytes, json.n, false, config.bytes, config.n, err);
    }
    buf_release(&json);
    buf_release(&config);
    if (rc) {
        tokenizer_free(t);
        return rc;
    }
    *out = t;
    return 0;
}
