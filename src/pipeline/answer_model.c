/* A model to score options: see answer_model.h. */
#include "pipeline/answer_model.h"

#include <inttypes.h>

#include "pipeline/run_data.h"

enum { DEFAULT_WINDOW = 2048 };

static int open_choice(struct answer_model *m, const struct answer_model_options *o,
                       struct err *err)
{
    const struct model_config *c = m->session ? session_config(m->session) : decoder_config(m->dec);
    int64_t longest = c->max_position_embeddings, window = o->window;
    if (window && longest && window > longest)
        return err_set(err, MOE2_ECONFIG,
                       "%s: the window is %" PRId64
                       " tokens, wanted at most the model's max_position_embeddings, %" PRId64,
                       o->dir, window, longest);
    if (!window)
        window = longest && longest < DEFAULT_WINDOW ? longest : DEFAULT_WINDOW;
    if (m->session && window > session_capacity(m->session))
        window = session_capacity(m->session);
    int32_t prefix = run_model_prefix(m->tokenizer, c);
    if (o->bos && prefix < 0)
        return err_set(err, MOE2_ECONFIG, "%s: has neither BOS nor EOS to put in front", o->dir);
    struct choice_options options = {.max_length = window,
                                     .batch_tokens = o->batch_tokens,
                                     .prefix = prefix,
                                     .bos = o->bos ? prefix : -1};
    return m->session ? choice_new_kept(&m->choice, m->session, m->tokenizer, &options, err)
                      : choice_new(&m->choice, m->dec, m->tokenizer, &options, err);
}

int answer_model_open(struct answer_model *m, const struct answer_model_options *o, struct err *err)
{
    struct decoder_options d = {
        .dir = o->dir, .adapter = o->adapter, .compute = o->bf16 ? DT_BF16 : DT_F32};
    int rc = device_open_choice(&m->dev, &o->device, o->n_threads, err);
    if (!rc)
        rc = run_model_tokenizer(&m->tokenizer, o->dir, o->tokenizer, err);
    struct session_options s = {.model = o->dir, .capacity = o->window, .compute = d.compute};
    if (!rc && o->keeps && !o->adapter)
        rc = session_open(&m->session, &s, m->dev, err);
    else if (!rc)
        rc = decoder_open(&m->dec, &d, m->dev, err);
    return rc ? rc : open_choice(m, o, err);
}

void answer_model_close(struct answer_model *m)
{
    choice_free(m->choice);
    decoder_free(m->dec);
    session_free(m->session);
    tokenizer_free(m->tokenizer);
    device_close(m->dev);
    *m = (struct answer_model){0};
}
