/* moe2 perplexity: how well a model predicts a text. */
#include <math.h>
#include <stdio.h>

#include "cli/cli.h"
#include "cli/scoring.h"
#include "io/json_util.h"

static int print_json(const struct perplexity *p, int64_t n_bytes, struct err *err)
{
    struct buf text = {0};
    struct json_writer w;
    json_writer_init(&w, &text, 2);
    jw_object(&w, NULL);
    jw_int(&w, "tokens", p->tokens);
    jw_real(&w, "nll", p->nll);
    jw_real(&w, "ppl", exp(p->nll / (double)p->tokens));
    jw_real(&w, "bits_per_byte", bits_per_byte(p->nll, n_bytes));
    jw_real(&w, "seconds", p->seconds);
    jw_end(&w);
    int rc = json_writer_end(&w, err);
    if (!rc)
        puts(text.bytes);
    buf_release(&text);
    return rc;
}

static int run(int argc, char **argv)
{
    struct scoring s = SCORING_INIT;
    const struct cli_flag flags[] = {SCORING_FLAGS(&s), {"--stride", FLAG_INT, &s.stride, false}};
    struct err err = {0};
    struct ids ids = {0};
    struct perplexity p = {0};
    int64_t n_bytes = 0;
    int rc = cli_parse(argc, argv, flags, COUNT_OF(flags), NULL, &err);
    if (!rc)
        rc = scoring_open(&s, &err);
    if (!rc)
        rc = scoring_read(&ids, &n_bytes, &s, s.text, &err);
    if (!rc)
        rc = perplexity_run(&p, s.dec, &(struct tokens){.ids = ids.v, .n = (int64_t)ids.n},
                            &s.options, &err);
    if (!rc && s.json)
        rc = print_json(&p, n_bytes, &err);
    else if (!rc)
        printf(
            "%lld tokens scored: perplexity %.4f, %.4f nats a token, %.4f bits per byte, %.1f s\n",
            (long long)p.tokens, exp(p.nll / (double)p.tokens), p.nll / (double)p.tokens,
            bits_per_byte(p.nll, n_bytes), p.seconds);
    ids_release(&ids);
    scoring_close(&s);
    return rc ? cli_fail("perplexity", &err) : 0;
}

const struct command cmd_perplexity = {
    "perplexity",
    "how well a model predicts a text",
    "usage: moe2 perplexity --model DIR --text FILE [--window W] [--stride S] [--tokenizer T] "
    "[--json]\n\n"
    "Every token is scored once, by a window that slides over the text; sums are over tokens. The "
    "text's first token is conditioned on BOS,\n"
    "else EOS, else it is not scored; no other special tokens are added. {tokens, nll (sum, nats), "
    "ppl, bits_per_byte, seconds}.\n\n" SCORING_HELP
    "  --stride S       tokens scored a window, at most W: smaller gives each token more context; "
    "the window unless said\n\n"
    "example:\n  moe2 perplexity --model results/rd_esi/checkpoints/best --text "
    "data/italian/test.txt --json\n",
    run,
};
