/* Perplexity: see perplexity.h. Windows are scored several at a time, laid end to end: attention
 * does not cross from one to the next. */
#include "eval/perplexity.h"

#include <assert.h>
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

int64_t score_windows(int64_t n, int64_t window, int64_t stride)
{
    assert(stride >= 1 && stride <= window);
    int64_t n_targets = n - 1;
    if (n_targets < 1)
        return 0;
    return n_targets <= window ? 1 : 1 + (n_targets - window + stride - 1) / stride;
}

struct score_window score_window_at(int64_t k, int64_t n, int64_t window, int64_t stride)
{
    struct score_window w = {.begin = k * stride};
    w.n_inputs = n - 1 - w.begin < window ? n - 1 - w.begin : window;
    w.first_target = k ? (k - 1) * stride + window + 1 : 1;
    return w;
}

/* The text with its prefix, as one array that begins at place 0. */
struct text {
    const struct tokens *tokens;
    int32_t prefix;
    int64_t n, n_vocab;
};

static int text_read(int32_t *out, const struct text *t, int64_t first, int64_t n, struct err *err)
{
    int64_t shift = t->prefix >= 0;
    int32_t *to = out;
    int64_t from = first - shift, left = n;
    if (from < 0) {
        *to++ = t->prefix;
        from++, left--;
    }
    int rc = tokens_read(to, t->tokens, from, left, err);
    for (int64_t i = 0; i < n && !rc; i++)
        if (out[i] < 0 || out[i] >= t->n_vocab)
            rc = err_set(err, MOE2_ECONFIG,
                         "token %" PRId64 " of the text is %" PRId32
                         ", which is not in the model's vocabulary of %" PRId64,
                         first + i - shift, out[i], t->n_vocab);
    return rc;
}

struct work {
    int32_t *ids, *targets, *offset, *scratch;
    struct batch batch;
};

/* Lays the windows k, k + 1, … end to end, until batch_tokens are full; *n_windows says how
 * many. */
static int fill(struct work *w, int64_t *n_windows, int64_t k, int64_t n_all, const struct text *t,
                const struct perplexity_options *o, int64_t batch_tokens, struct err *err)
{
    int64_t T = 0, B = 0;
    w->offset[0] = 0;
    while (k + B < n_all) {
        struct score_window s = score_window_at(k + B, t->n, o->window, o->stride);
        if (B && T + s.n_inputs > batch_tokens)
            break;
        int rc = text_read(w->scratch, t, s.begin, s.n_inputs + 1, err);
        if (rc)
            return rc;
        for (int64_t i = 0; i < s.n_inputs; i++) {
            w->ids[T + i] = w->scratch[i];
            w->targets[T + i] = s.begin + i + 1 >= s.first_target ? w->scratch[i + 1] : -1;
        }
        T += s.n_inputs;
        w->offset[++B] = (int32_t)T;
    }
    w->batch =
        (struct batch){.ids = w->ids, .targets = w->targets, .offset = w->offset, .B = B, .T = T};
    *n_windows = B;
    return 0;
}

static int score(struct perplexity *sum, struct decoder *dec, const struct work *w,
                 const struct perplexity_options *o, struct err *err)
{
    struct loss_result loss = {0};
    int rc = decoder_forward(dec, &w->batch, o->mode, err);
    if (!rc)
        rc = decoder_loss(dec, &w->batch, 0, &loss, err);
    if (rc)
        return rc;
    if (!isfinite(loss.nll)) {
        decoder_find_nonfinite(dec, false, err);
        return err_set(err, MOE2_ENUMERIC, "the loss is %g", loss.nll);
    }
    sum->nll += loss.nll;
    sum->tokens += loss.n_targets;
    sum->n_right += loss.n_right;
    for (int64_t i = 0; o->token_bytes && i < w->batch.T; i++)
        if (w->targets[i] >= 0)
            sum->bytes += o->token_bytes[w->targets[i]];
    return o->seen ? o->seen(o->seen_ctx, dec, &w->batch, err) : 0;
}

int perplexity_run(struct perplexity *out, struct decoder *dec, const struct tokens *tokens,
                   const struct perplexity_options *options, struct err *err)
{
    const struct perplexity_options *o = options;
    assert(o->stride >= 1 && o->stride <= o->window);
    int64_t n_text = o->max_tokens && o->max_tokens < tokens->n ? o->max_tokens : tokens->n;
    struct text text = {tokens, o->prefix, n_text + (o->prefix >= 0),
                        decoder_config(dec)->vocab_size};
    int64_t n_windows = score_windows(text.n, o->window, o->stride), n_now = 0;
    int64_t batch_tokens = o->batch_tokens ? o->batch_tokens : 2048;
    int64_t room = batch_tokens > o->window ? batch_tokens : o->window;
    if (!n_windows)
        return err_set(err, MOE2_ECONFIG,
                       "the text has %" PRId64 " tokens%s, so that none can be scored", n_text,
                       o->prefix < 0 ? " and the model no BOS or EOS to put in front" : "");
    double begun = clock_s();
    struct perplexity sum = {0};
    struct progress progress;
    struct work w = {0};
    size_t n = (size_t)room + 1;
    w.ids = malloc(n * sizeof *w.ids);
    w.targets = malloc(n * sizeof *w.targets);
    w.offset = malloc((n + 1) * sizeof *w.offset);
    w.scratch = malloc((n + 1) * sizeof *w.scratch);
    int rc =
        w.ids && w.targets && w.offset && w.scratch
            ? 0
            : err_set(err, MOE2_ELIMIT, "no memory for windows of %" PRId64 " tokens", o->window);
    progress_begin(&progress, o->log, "scoring", (double)n_windows, "windows");
    for (int64_t k = 0; k < n_windows && !rc; k += n_now) {
        if (o->stop && *o->stop)
            rc = err_set(err, MOE2_ESTOP, "stopped after scoring %" PRId64 " tokens", sum.tokens);
        if (!rc)
            rc = fill(&w, &n_now, k, n_windows, &text, o, batch_tokens, err);
        if (!rc)
            rc = score(&sum, dec, &w, o, err);
        progress_set(&progress, (double)(k + n_now));
    }
    progress_end(&progress);
    sum.seconds = clock_s() - begun;
    if (!rc)
        *out = sum;
    free(w.ids);
    free(w.targets);
    free(w.offset);
    free(w.scratch);
    return rc;
}
