/* Generation's common part: see generating.h. */
#include "cli/generating.h"

#include <stdio.h>
#include <string.h>

#include "cli/cli.h"
#include "eval/model_tokenizer.h"
#include "model/source.h"

static int compute_of(enum dtype *out, const struct generating *g, struct err *err)
{
    if (strcmp(g->compute, "auto") == 0)
        *out = g->dev->bf16_units && source_is_narrow(g->model) ? DT_BF16 : DT_F32;
    else if (strcmp(g->compute, "bf16") == 0)
        *out = DT_BF16;
    else if (strcmp(g->compute, "f32") == 0)
        *out = DT_F32;
    else
        return err_set(err, MOE2_ECONFIG, "--compute \"%s\" is unknown, wanted auto, f32 or bf16",
                       g->compute);
    return 0;
}

/* Ids that have a token, below the model's padded rows. */
static int64_t ids_with_tokens(const struct generating *g)
{
    int64_t V = session_config(g->session)->vocab_size;
    int64_t n = g->tok ? tokenizer_n_vocab(g->tok) : V;
    return n < V ? n : V;
}

int generating_open(struct generating *g, bool with_tokenizer, struct err *err)
{
    struct session_options o = {.model = g->model, .capacity = g->context, .log = cli_sink()};
    if (g->max_tokens < 0)
        return err_set(err, MOE2_ECONFIG, "--max-tokens %lld, wanted 0 or more",
                       (long long)g->max_tokens);
    int rc = device_flags_open(&g->dev, &g->device, (int)g->threads, err);
    if (!rc)
        rc = compute_of(&o.compute, g, err);
    if (!rc && with_tokenizer)
        rc = g->tokenizer_path ? tokenizer_open(&g->tok, g->tokenizer_path, err)
                               : model_tokenizer_open(&g->tok, g->model, err);
    if (!rc)
        rc = session_open(&g->session, &o, g->dev, err);
    if (rc)
        return rc;
    g->sampling.n_vocab = ids_with_tokens(g);
    g->sampling.seed = (uint64_t)g->seed;
    return sampler_new(&g->sampler, &g->sampling, session_config(g->session)->vocab_size, err);
}

void generating_close(struct generating *g)
{
    sampler_free(g->sampler);
    session_free(g->session);
    tokenizer_free(g->tok);
    device_close(g->dev);
}

static void show(void *ctx, const char *text, size_t n)
{
    (void)ctx;
    fwrite(text, 1, n, stdout);
    fflush(stdout);
}

static void add_end(struct generator *g, int64_t id)
{
    for (int i = 0; i < g->n_ends; i++)
        if (g->ends[i] == id)
            return;
    if (id >= 0 && g->n_ends < GENERATE_MAX_ENDS)
        g->ends[g->n_ends++] = (int32_t)id;
}

void generating_setup(struct generating *g, struct generator *out, bool shown)
{
    *out = (struct generator){.session = g->session,
                              .sampler = g->sampler,
                              .tokenizer = g->tok,
                              .max_tokens = g->max_tokens,
                              .stop_flag = cli_stop_flag(),
                              .show = shown ? show : NULL};
    add_end(out, session_config(g->session)->eos_token_id);
    if (g->tok)
        add_end(out, tokenizer_eos_id(g->tok));
    if (g->stop && *g->stop)
        out->stops[out->n_stops++] = g->stop;
}

int generating_prompt(struct ids *out, const struct generating *g, const char *text,
                      struct err *err)
{
    int rc = tokenizer_encode(g->tok, NULL, out, text, strlen(text), TOKENIZER_SPECIAL, err);
    int32_t eos = tokenizer_eos_id(g->tok), bos = tokenizer_bos_id(g->tok);
    while (!rc && out->n > 1 && eos >= 0 && out->v[out->n - 1] == eos)
        out->n--; /* a text that goes on has no end */
    if (!rc && !out->n && bos >= 0)
        rc = ids_append(out, &bos, 1, err);
    return rc;
}

void generating_report(const struct generated *r)
{
    double n_decoded = (double)r->ids.n;
    fprintf(stderr,
            "prompt: %lld tokens, %.1f tokens/s; generated: %zu tokens, %.1f tokens/s (%s)\n",
            (long long)r->n_prompt, (double)r->n_prompt / r->prompt_s, r->ids.n,
            r->decode_s > 0 ? n_decoded / r->decode_s : 0, finish_name(r->finish));
}
