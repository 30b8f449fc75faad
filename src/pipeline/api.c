/* The public interface of libmoe2 (include/moe2): thin handles over the rooms. Nothing here computes. */
#include "moe2/moe2.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "eval/model_tokenizer.h"
#include "model/decoder.h"
#include "text/tokenizer.h"

const char *moe2_version(void)
{
    return MOE2_VERSION;
}

/* ---- tokenizer: the handle is the tokenizer itself ---- */

static const struct tokenizer *tokenizer_of(const struct moe2_tokenizer *tok)
{
    return (const struct tokenizer *)tok;
}

int moe2_tokenizer_open(struct moe2_tokenizer **out, const char *path, struct err *err)
{
    struct tokenizer *t = NULL;
    int rc = strcmp(path, "bytes") == 0 ? tokenizer_bytes_new(&t, err)
                                        : model_tokenizer_open(&t, path, err);
    if (!rc)
        *out = (struct moe2_tokenizer *)t;
    return rc;
}

void moe2_tokenizer_close(struct moe2_tokenizer *tok)
{
    tokenizer_free((struct tokenizer *)tok);
}

int moe2_tokenizer_encode(const struct moe2_tokenizer *tok, int32_t **ids, size_t *n,
                          const char *text, size_t n_bytes, struct err *err)
{
    struct ids list = {0};
    int rc = tokenizer_encode(tokenizer_of(tok), NULL, &list, text, n_bytes, 0, err);
    if (rc) {
        ids_release(&list);
        return rc;
    }
    *ids = list.v;
    *n = list.n;
    return 0;
}

int moe2_tokenizer_decode(const struct moe2_tokenizer *tok, char **text, const int32_t *ids,
                          size_t n, struct err *err)
{
    struct buf b = {0};
    int rc = buf_append(&b, "", 0, err);
    if (!rc)
        rc = tokenizer_decode(tokenizer_of(tok), &b, ids, n, 0, err);
    if (rc) {
        buf_release(&b);
        return rc;
    }
    *text = b.bytes;
    return 0;
}

int32_t moe2_tokenizer_n_vocab(const struct moe2_tokenizer *tok)
{
    return tokenizer_n_vocab(tokenizer_of(tok));
}

/* ---- model ---- */

struct moe2_model {
    struct device *dev;
    struct decoder *dec;
    bool has_picks; /* the last moe2_model_logits went well */
};

int moe2_model_open(struct moe2_model **out, const char *dir, const struct moe2_options *options,
                    struct err *err)
{
    static const struct moe2_options plain = {0};
    const struct moe2_options *o = options ? options : &plain;
    struct moe2_model *m = calloc(1, sizeof *m);
    if (!m)
        return err_set(err, MOE2_ELIMIT, "no memory for a model");
    int rc = device_open(&m->dev, o->device ? o->device : "cpu", o->n_threads, err);
    if (!rc) {
        struct decoder_options d = {.dir = dir, .compute = o->bf16 ? DT_BF16 : DT_F32};
        rc = decoder_open(&m->dec, &d, m->dev, err);
    }
    if (rc)
        moe2_model_close(m);
    else
        *out = m;
    return rc;
}

void moe2_model_close(struct moe2_model *model)
{
    if (!model)
        return;
    decoder_free(model->dec);
    device_close(model->dev);
    free(model);
}

int64_t moe2_model_vocab_size(const struct moe2_model *model)
{
    return decoder_config(model->dec)->vocab_size;
}

int64_t moe2_model_max_positions(const struct moe2_model *model)
{
    return decoder_config(model->dec)->max_position_embeddings;
}

int moe2_model_n_layers(const struct moe2_model *model)
{
    return (int)decoder_config(model->dec)->num_hidden_layers;
}

int moe2_model_n_experts(const struct moe2_model *model)
{
    return (int)decoder_config(model->dec)->n_routed_experts;
}

int moe2_model_logits(struct moe2_model *model, float *logits, const int32_t *ids, int64_t n,
                      struct err *err)
{
    const struct model_config *c = decoder_config(model->dec);
    if (n < 1 || n > c->max_position_embeddings)
        return err_set(err, MOE2_ECONFIG, "%lld ids, wanted 1 to %lld", (long long)n,
                       (long long)c->max_position_embeddings);
    for (int64_t i = 0; i < n; i++)
        if (ids[i] < 0 || ids[i] >= c->vocab_size)
            return err_set(err, MOE2_ECONFIG, "id %d at place %lld, wanted 0 to %lld", ids[i],
                           (long long)i, (long long)c->vocab_size - 1);
    int32_t offset[2] = {0, (int32_t)n};
    struct batch batch = {.ids = ids, .offset = offset, .B = 1, .T = n};
    model->has_picks = false;
    int rc = decoder_forward(model->dec, &batch, DECODER_EVAL, err);
    if (!rc)
        rc = decoder_logits(model->dec, 0, n, logits, err);
    model->has_picks = !rc;
    return rc;
}

int moe2_model_expert_counts(const struct moe2_model *model, int64_t *n_picks, int layer,
                             struct err *err)
{
    int n_layers = moe2_model_n_layers(model);
    if (layer < 0 || layer >= n_layers)
        return err_set(err, MOE2_ECONFIG, "layer is %d, wanted 0 to %d", layer, n_layers - 1);
    const struct route *route = decoder_picks(model->dec, layer);
    if (!route)
        return err_set(err, MOE2_ECONFIG, "layer %d is dense: it has no experts", layer);
    if (!model->has_picks)
        return err_set(err, MOE2_ECONFIG, "no picks to count: no logits were computed before");
    memcpy(n_picks, route->picks, (size_t)route->E * sizeof *n_picks);
    return 0;
}
