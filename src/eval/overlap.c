/* Overlap: see overlap.h. Each forward of the one model is followed by the other's over the same
 * batch. */
#include "eval/overlap.h"

#include <math.h>
#include <stdlib.h>

#include "route/balance.h"

int overlap_begin(struct overlap *o, struct decoder *dec, struct decoder *other, const char *name,
                  struct err *err)
{
    const struct model_config *a = decoder_config(dec), *b = decoder_config(other);
    if (a->vocab_size != b->vocab_size || a->num_hidden_layers != b->num_hidden_layers ||
        a->n_routed_experts != b->n_routed_experts ||
        a->first_k_dense_replace != b->first_k_dense_replace)
        return err_set(err, MOE2_ECONFIG,
                       "%s has another vocabulary or other experts, so that their choices can't be "
                       "compared",
                       name);
    size_t n = (size_t)a->num_hidden_layers + 1;
    *o = (struct overlap){
        .other = other, .mean = calloc(n, sizeof *o->mean), .sums = calloc(n, sizeof *o->sums)};
    if (o->mean && o->sums)
        return 0;
    overlap_close(o);
    return err_set(err, MOE2_ELIMIT, "no memory for overlaps");
}

int overlap_open(struct overlap *o, struct decoder *dec, const char *dir, struct err *err)
{
    struct decoder *other = NULL;
    int rc = decoder_open(&other, &(struct decoder_options){.dir = dir}, decoder_device(dec), err);
    if (!rc)
        rc = overlap_begin(o, dec, other, dir, err);
    if (rc)
        decoder_free(other);
    else
        o->owns = true;
    return rc;
}

void overlap_close(struct overlap *o)
{
    if (o->owns)
        decoder_free(o->other);
    free(o->mean);
    free(o->sums);
    *o = (struct overlap){0};
}

static int seen(void *ctx, struct decoder *dec, const struct batch *batch, struct err *err)
{
    struct overlap *o = ctx;
    int rc = decoder_forward(o->other, batch, DECODER_EVAL, err);
    int64_t n = 0;
    for (int64_t l = 0; l < decoder_config(dec)->num_hidden_layers && !rc; l++) {
        const struct route *a = decoder_picks(dec, l), *b = decoder_picks(o->other, l);
        if (!a)
            continue;
        int32_t *x = malloc(((size_t)a->n + 1) * sizeof *x),
                *y = malloc(((size_t)b->n + 1) * sizeof *y);
        if (x && y) {
            route_token_experts(x, a);
            route_token_experts(y, b);
            double common = picks_overlap(a->token_offsets, x, b->token_offsets, y, batch->T);
            o->sums[n++] += isnan(common) ? 0 : common * (double)batch->T;
        } else {
            rc = err_set(err, MOE2_ELIMIT, "no memory for overlaps");
        }
        free(x);
        free(y);
    }
    o->n_layers = n;
    o->n_tokens += batch->T;
    return rc;
}

int overlap_run(struct overlap *o, struct decoder *dec, const struct tokens *tokens,
                const struct perplexity_options *options, struct err *err)
{
    struct perplexity_options with = *options;
    struct perplexity ignored;
    with.seen = seen;
    with.seen_ctx = o;
    int rc = perplexity_run(&ignored, dec, tokens, &with, err);
    for (int64_t i = 0; i < o->n_layers && !rc; i++)
        o->mean[i] = o->sums[i] / (double)o->n_tokens;
    return rc;
}
