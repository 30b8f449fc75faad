/* A sample of what a model writes: see sample.h. */
#include "eval/sample.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/rng.h"
#include "base/stats.h"

static bool may_be_drawn(const struct tokenizer *tok, int32_t id)
{
    size_t n = 0;
    if (id == tokenizer_eos_id(tok))
        return true;
    return id < tokenizer_n_vocab(tok) && !tokenizer_is_special(tok, id) &&
           tokenizer_token(tok, id, &n);
}

/* One id from softmax(logits / temperature) over the ids that may be drawn; −1 if a logit is no
 * number. */
static int32_t draw(const float *logits, int64_t V, const struct tokenizer *tok, double temperature,
                    struct rng *rng)
{
    double most = -INFINITY, sum = 0;
    int32_t best = -1;
    for (int32_t v = 0; v < V; v++) {
        if (isnan(logits[v]))
            return -1;
        if (logits[v] > most && may_be_drawn(tok, v)) {
            most = logits[v];
            best = v;
        }
    }
    if (!(temperature > 0))
        return best;
    for (int32_t v = 0; v < V; v++)
        sum += may_be_drawn(tok, v) ? exp((logits[v] - most) / temperature) : 0;
    double left = rng_uniform(rng) * sum;
    for (int32_t v = 0; v < V; v++) {
        left -= may_be_drawn(tok, v) ? exp((logits[v] - most) / temperature) : 0;
        if (left < 0)
            return v;
    }
    return best;
}

/* Runs the ids so far and draws the next. */
static int next_id(int32_t *out, struct decoder *dec, const struct ids *ids, float *logits,
                   const struct tokenizer *tok, double temperature, struct rng *rng,
                   struct err *err)
{
    int32_t offset[2] = {0, (int32_t)ids->n};
    struct batch batch = {.ids = ids->v, .offset = offset, .B = 1, .T = (int64_t)ids->n};
    int rc = decoder_forward(dec, &batch, DECODER_EVAL, err);
    if (!rc)
        rc = decoder_logits(dec, batch.T - 1, 1, logits, err);
    if (rc)
        return rc;
    *out = draw(logits, decoder_config(dec)->vocab_size, tok, temperature, rng);
    return *out < 0 ? err_set(err, MOE2_ENUMERIC, "a logit of the sample is NaN") : 0;
}

int sample_text(struct buf *out, struct decoder *dec, const struct tokenizer *tok,
                const char *prompt, const struct sample_options *o, struct err *err)
{
    const struct model_config *c = decoder_config(dec);
    struct ids ids = {0};
    struct rng rng;
    size_t n_prompt = 0;
    float *logits = malloc((size_t)c->vocab_size * sizeof *logits);
    int rc = logits ? 0 : err_set(err, MOE2_ELIMIT, "no memory for the logits of a sample");
    rng_init(&rng, o->seed);
    if (!rc && o->prefix >= 0)
        rc = ids_append(&ids, &o->prefix, 1, err);
    if (!rc)
        rc = tokenizer_encode(tok, NULL, &ids, prompt, strlen(prompt), TOKENIZER_PLAIN, err);
    n_prompt = ids.n;
    for (int64_t i = 0; i < o->n_tokens && !rc && ids.n; i++) {
        int32_t id = -1;
        if (c->max_position_embeddings && (int64_t)ids.n >= c->max_position_embeddings)
            break;
        rc = next_id(&id, dec, &ids, logits, tok, o->temperature, &rng, err);
        if (rc || id == tokenizer_eos_id(tok))
            break;
        rc = ids_append(&ids, &id, 1, err);
    }
    if (!rc)
        rc = tokenizer_decode(tok, out, ids.v + n_prompt, ids.n - n_prompt, TOKENIZER_SKIP_SPECIAL,
                              err);
    ids_release(&ids);
    free(logits);
    return rc;
}

int sample_latency_ms(double *ms, struct decoder *dec, int64_t n, struct err *err)
{
    enum { RUNS = 5 };
    double seconds[RUNS];
    float *logits = malloc((size_t)decoder_config(dec)->vocab_size * sizeof *logits);
    int32_t *ids = calloc((size_t)n, sizeof *ids), offset[2] = {0, (int32_t)n};
    int rc = ids && logits ? 0 : err_set(err, MOE2_ELIMIT, "no memory for a window of tokens");
    struct batch batch = {.ids = ids, .offset = offset, .B = 1, .T = n};
    for (int64_t i = 0; i < n && !rc; i++)
        ids[i] = (int32_t)(i % decoder_config(dec)->vocab_size);
    for (int i = 0; i < RUNS && !rc; i++) {
        double begun = clock_s();
        rc = decoder_forward(dec, &batch, DECODER_EVAL, err);
        if (!rc)
            rc = decoder_logits(dec, n - 1, 1, logits, err);
        seconds[i] = clock_s() - begun;
    }
    if (!rc)
        *ms = 1000 * stats_median(seconds, RUNS);
    free(ids);
    free(logits);
    return rc;
}
