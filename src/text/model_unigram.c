/* The row Unigram of text_model.h: "model" of an XLM-R's tokenizer.json, and its pieces.
 *
 *     {"type": "Unigram", "unk_id": 3, "byte_fallback": false, "vocab": [["<s>", 0.0], …]}
 */
#include <stdlib.h>

#include "text/text_model.h"
#include "text/tokenizer_json.h"
#include "text/tokenizer_parts.h"

static int read_unk(int32_t *out, const json_t *model, size_t n, struct err *err)
{
    const json_t *v = json_object_get(model, "unk_id");
    *out = -1;
    if (!v || json_is_null(v))
        return 0;
    json_int_t id = json_integer_value(v);
    if (!json_is_integer(v) || id < 0 || id >= (json_int_t)n)
        return err_set(err, MOE2_EFORMAT, "model.unk_id is no id of its %zu tokens", n);
    *out = (int32_t)id;
    return 0;
}

static int read_scores(double **out, const json_t *vocab, struct err *err)
{
    size_t n = json_array_size(vocab);
    double *scores = malloc((n + 1) * sizeof *scores);
    if (!scores)
        return err_set(err, MOE2_ELIMIT, "no memory for %zu scores", n);
    for (size_t i = 0; i < n; i++) {
        const json_t *score = json_array_get(json_array_get(vocab, i), 1);
        if (!json_is_number(score)) {
            free(scores);
            return err_set(err, MOE2_EFORMAT, "model.vocab[%zu] is not [token, score]", i);
        }
        scores[i] = json_number_value(score);
    }
    *out = scores;
    return 0;
}

static int read_unigram(struct tokenizer *t, json_t *model, json_t *added, struct err *err)
{
    json_t *vocab = json_object_get(model, "vocab");
    if (!json_is_array(vocab))
        return err_set(err, MOE2_EFORMAT, "model.vocab is missing or no list of [token, score]");
    bool byte_fallback = false;
    int32_t unk_id = -1;
    double *scores = NULL;
    int rc = json_flag(&byte_fallback, model, "model", "byte_fallback", false, err);
    if (!rc)
        rc = read_unk(&unk_id, model, json_array_size(vocab), err);
    if (!rc)
        rc = read_vocab(t, vocab, added, err);
    if (!rc)
        rc = read_scores(&scores, vocab, err);
    return rc ? rc
              : unigram_init(&t->unigram, &t->vocab, scores, (int32_t)json_array_size(vocab),
                             unk_id, byte_fallback, err);
}

static int encode(int32_t *out, size_t *n_out, const struct tokenizer *t,
                  struct tokenizer_scratch *s, const uint8_t *piece, size_t n, struct err *err)
{
    return unigram_encode(out, n_out, &t->unigram, &s->unigram, piece, n, err);
}

static void release(struct tokenizer *t)
{
    unigram_release(&t->unigram);
}

const struct text_model model_unigram = {"Unigram", false, read_unigram, encode, release};
