/* Picking the next token from logits: greedy, or by chance within what top-k, top-p and min-p leave.
 *
 * In this order, as transformers does: the repetition penalty (arXiv 1909.05858: a logit of a token
 * that was there before is divided by it where positive, multiplied where negative), temperature,
 * top-k, top-p (arXiv 1904.09751: the fewest best tokens whose probabilities reach p), min-p
 * (arXiv 2407.01082: tokens of at least p times the best one's probability). At temperature 0 the
 * largest logit wins, the lower id where two are equal. Ids from n_vocab on are never picked.
 */
#ifndef MOE2_MODEL_SAMPLER_H
#define MOE2_MODEL_SAMPLER_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"

struct sampling {
    double temperature;        /* 0: greedy */
    int64_t top_k;             /* 0: all */
    double top_p, min_p;       /* 1 and 0: all */
    double repetition_penalty; /* 1: none */
    uint64_t seed;
    int64_t n_vocab; /* ids that have a token, at most the logits' number; 0: all of them */
};

static const struct sampling sampling_default = {1, 0, 1, 0, 1, 0, 0};

struct sampler;

/* For logits [V]. The caller's. Errors: MOE2_ECONFIG with the value and its range; MOE2_ELIMIT. */
int sampler_new(struct sampler **out, const struct sampling *config, int64_t V, struct err *err);
void sampler_free(struct sampler *s); /* NULL is fine */

/* Tells it of tokens that are there (the prompt), for the repetition penalty. */
void sampler_see(struct sampler *s, const int32_t *ids, int64_t n);

/* The next id, which counts as seen from then on. logits are changed. MOE2_ENUMERIC when the largest is no finite number. */
int sampler_pick(int32_t *id, struct sampler *s, float *logits, struct err *err);

#endif
