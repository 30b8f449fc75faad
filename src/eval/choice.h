/* Multiple choice by log-likelihood: how probable a model finds each option behind a question.
 *
 * The conventions of lm-evaluation-harness: context and option are tokenized together, the option's
 * tokens are those behind the number of tokens that the context alone has, blanks at the context's
 * end belong to the option; a score is Σ ln p of the option's tokens; what is longer than
 * max_length loses tokens at its left; an empty context is one prefix token (BOS, else EOS).
 *
 *     struct choice *c;
 *     choice_new(&c, dec, tokenizer, &options, err);
 *     choice_score(scores, c, asks, n_asks, err);              many questions at a time
 *     int best = choice_best(scores, texts, n, CHOICE_CHARS);
 *     choice_free(c);
 *
 * Options go through the model as sequences of one batch. Where every option of a question is one
 * token (letters), the context goes through once and the options are read from its last row of
 * logits. With a session in the decoder's place (choice_new_kept) questions go through one by one: the
 * context once, each option behind what is kept of it.
 */
#ifndef MOE2_EVAL_CHOICE_H
#define MOE2_EVAL_CHOICE_H

#include "model/decoder.h"
#include "model/session.h"
#include "text/tokenizer.h"

enum {
    CHOICE_MAX_OPTIONS = 26,
    CHOICE_MAX_TEXT_BYTES = 4 << 20, /* of a context with an option */
};

struct choice_options {
    int64_t max_length;   /* tokens that the model reads at once */
    int64_t batch_tokens; /* of a forward; 0: 2,048. A longer sequence is a batch of its own */
    int32_t prefix;       /* in place of an empty context; −1: an empty context is refused */
    int32_t bos;          /* in front of every context; −1: none, as the harness does */
};

/* A question: what stands before the options, and the options with their delimiter in front (" A",
 * " four days"). */
struct choice_ask {
    const char *context;
    const char *const *options; /* [n_options] */
    int n_options;
};

struct choice_score {
    double ll;         /* Σ ln p of the option's tokens, nats */
    int32_t n_tokens;  /* of the option */
    int32_t n_context; /* tokens before it, before any is cut */
};

struct choice;

/* dec and tok are borrowed until choice_free; the scorer is one thread's. */
int choice_new(struct choice **out, struct decoder *dec, const struct tokenizer *tok,
               const struct choice_options *options, struct err *err);

/* The same with a session, whose capacity is max_length or more; batch_tokens is not looked at. */
int choice_new_kept(struct choice **out, struct session *session, const struct tokenizer *tok,
                    const struct choice_options *options, struct err *err);
void choice_free(struct choice *c); /* NULL is fine */

/* The scores of n questions' options, one behind the other, into scores [Σ n_options]. Errors name
 * the question's place among asks: MOE2_EFORMAT for an option that adds no token, MOE2_ECONFIG for
 * an id beyond the model's vocabulary or an empty context without a prefix, MOE2_ELIMIT for an
 * option longer than max_length; MOE2_ENUMERIC. */
int choice_score(struct choice_score *scores, struct choice *c, const struct choice_ask *asks,
                 int64_t n, struct err *err);

/* What a score is divided by: nothing, the option's characters, its bytes (texts without delimiter;
 * empty ones count one). */
enum choice_norm { CHOICE_SUM, CHOICE_CHARS, CHOICE_BYTES, CHOICE_N_NORMS };
extern const char *const choice_norm_names[CHOICE_N_NORMS]; /* none, chars, bytes */

/* The option with the largest score, the first of equals. */
int choice_best(const struct choice_score *scores, const char *const *texts, int n,
                enum choice_norm norm);

#endif
