/* The row WordPiece of text_model.h: "model" of a BERT's tokenizer.json, and its pieces.
 *
 *     {"type": "WordPiece", "unk_token": "[UNK]", "continuing_subword_prefix": "##",
 *      "max_input_chars_per_word": 100, "vocab": {"[PAD]": 0, …}}
 */
#include <string.h>

#include "text/text_model.h"
#include "text/tokenizer_json.h"
#include "text/tokenizer_parts.h"

static int read_max_chars(size_t *out, const json_t *model, struct err *err)
{
    const json_t *v = json_object_get(model, "max_input_chars_per_word");
    *out = 100;
    if (!v || json_is_null(v))
        return 0;
    if (!json_is_integer(v) || json_integer_value(v) < 0)
        return err_set(err, MOE2_EFORMAT,
                       "model.max_input_chars_per_word is no whole number from 0 on");
    *out = (size_t)json_integer_value(v);
    return 0;
}

static int read_wordpiece(struct tokenizer *t, json_t *model, json_t *added, struct err *err)
{
    const json_t *prefix = json_object_get(model, "continuing_subword_prefix");
    const char *unk = json_text_or(model, "unk_token", "[UNK]");
    size_t max_chars;
    int rc = read_max_chars(&max_chars, model, err);
    if (!rc)
        rc = read_vocab(t, json_object_get(model, "vocab"), added, err);
    if (rc)
        return rc;
    int32_t unk_id = vocab_find(&t->vocab, unk, strlen(unk));
    if (unk_id < 0)
        return err_set(err, MOE2_EFORMAT, "model.unk_token \"%.60s\" is not in the vocabulary",
                       unk);
    const char *text = json_is_string(prefix) ? json_string_value(prefix) : "##";
    return wordpiece_init(&t->wordpiece, &t->vocab, text, strlen(text), unk_id, max_chars, err);
}

static int encode(int32_t *out, size_t *n_out, const struct tokenizer *t,
                  struct tokenizer_scratch *s, const uint8_t *piece, size_t n, struct err *err)
{
    (void)s;
    (void)err;
    *n_out = wordpiece_encode(out, &t->wordpiece, piece, n);
    return 0;
}

static void release(struct tokenizer *t)
{
    wordpiece_release(&t->wordpiece);
}

const struct text_model model_wordpiece = {"WordPiece", false, read_wordpiece, encode, release};
