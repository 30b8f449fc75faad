/* A sample of what a model writes: for reports, short and slow. Every new token runs the whole text
 * so far through the model, which needs no cache and is the same code that was trained. */
#ifndef MOE2_EVAL_SAMPLE_H
#define MOE2_EVAL_SAMPLE_H

#include "base/buf.h"
#include "model/decoder.h"
#include "text/tokenizer.h"

struct sample_options {
    int64_t n_tokens;
    double temperature; /* 0: always the likeliest */
    uint64_t seed;
    int32_t prefix; /* id in front of the prompt, −1: none */
};

/* Appends the continuation of prompt (without it) to out; it ends early at EOS. Ids that have no
 * token (padded rows of the vocabulary) and special tokens other than EOS are never drawn. Errors:
 * MOE2_EFORMAT for a prompt that is no text, MOE2_ENUMERIC. */
int sample_text(struct buf *out, struct decoder *dec, const struct tokenizer *tok,
                const char *prompt, const struct sample_options *options, struct err *err);

/* Milliseconds to score one window of n tokens and so know the next one; the median of several
 * runs. */
int sample_latency_ms(double *ms, struct decoder *dec, int64_t n, struct err *err);

#endif
