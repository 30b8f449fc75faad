/* Perplexity: the mean surprise of a text's tokens, each scored exactly once.
 *
 * A window of W tokens goes over the text in steps of the stride S ≤ W. Window k begins at token
 * k·S, reads W tokens and scores, of the W that follow them one by one, those that no earlier
 * window scored: W in the first, S in each later one, with at least W − S tokens of context. So S =
 * W cuts the text into disjoint windows whose first scored token is conditioned on the token before
 * it (the rolling windows of lm-evaluation-harness), and S < W gives every token more context for
 * more work. With a prefix (BOS, else EOS) in front the text's first token is scored too; without
 * one it is not.
 *
 * Sums are over tokens, never means of means: nll Σ −ln p, ppl = exp(nll/tokens), bits per byte =
 * nll / (ln 2 · bytes of the text).
 */
#ifndef MOE2_EVAL_PERPLEXITY_H
#define MOE2_EVAL_PERPLEXITY_H

#include "eval/tokens.h"
#include "model/decoder.h"

/* One window over `n` ids, the prefix counted: reads ids [begin, begin + n_inputs), scores targets
 * at places [first_target, begin + n_inputs]. */
struct score_window {
    int64_t begin, n_inputs, first_target;
};

/* The number of windows over n ids, and the k-th. 1 ≤ stride ≤ window. Nothing is scored for n <
 * 2. */
int64_t score_windows(int64_t n, int64_t window, int64_t stride);
struct score_window score_window_at(int64_t k, int64_t n, int64_t window, int64_t stride);

struct perplexity_options {
    int64_t window, stride;
    int64_t max_tokens;         /* of the text that are scored; 0: all */
    int32_t prefix;             /* id in front of the text; −1: none */
    int64_t batch_tokens;       /* of a forward; 0: 2,048 */
    enum decoder_mode mode;     /* DECODER_EVAL, or expert choice's look-ahead */
    const int32_t *token_bytes; /* [V] as token_bytes_new gives; NULL: bytes stays 0 */
    const volatile int *stop;   /* NULL: never */
    const struct log_sink *log; /* progress; NULL: none */
    /* Called after each forward: for routing measures. NULL: not. */
    int (*seen)(void *ctx, struct decoder *dec, const struct batch *batch, struct err *err);
    void *seen_ctx;
};

struct perplexity {
    int64_t tokens, n_right;
    int64_t bytes; /* of the scored tokens */
    double nll, seconds;
};

/* Errors: MOE2_ECONFIG when nothing can be scored or an id is not in the model's vocabulary,
 * MOE2_ENUMERIC when the loss is no number, MOE2_ESTOP. */
int perplexity_run(struct perplexity *out, struct decoder *dec, const struct tokens *tokens,
                   const struct perplexity_options *options, struct err *err);

static inline double bits_per_byte(double nll, int64_t bytes)
{
    return nll / (0.69314718055994530942 * (double)bytes);
}

#endif
