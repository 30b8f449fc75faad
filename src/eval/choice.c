/* Multiple choice by log-likelihood: see choice.h. Questions are encoded one by one into the open
 * batch; a full batch goes through the model and its scores are written where its sequences say. */
#include "eval/choice.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { DEFAULT_BATCH_TOKENS = 2048, ROWS_AT_ONCE = 16 /* of logits, from a session */ };

const char *const choice_norm_names[CHOICE_N_NORMS] = {"none", "chars", "bytes"};

/* What of a batch is which option's: the tokens [first, first + n) are scored for it; or, of a
 * shared context, one token behind row first. */
struct mark {
    int64_t first, n;
    int32_t token; /* −1: targets say */
    struct choice_score *score;
};

struct choice {
    struct decoder *dec;     /* or … */
    struct session *session; /* … NULL */
    int64_t V;
    const struct tokenizer *tok;
    struct tokenizer_scratch *scratch;
    struct choice_options options;
    int64_t capacity, marks_capacity, n_marks, B, T;
    int32_t *ids, *targets, *offset; /* [capacity], [capacity], [capacity + 1] */
    float *nll;                      /* [capacity] */
    float *logits;                   /* [V] */
    struct mark *marks;
    struct buf text;
    struct ids context, whole;
};

/* Everything but the model's own: n tokens of a batch, 0 with a session, and rows of logits. */
static int new_choice(struct choice **out, const struct choice *init, int64_t n, int64_t n_rows,
                      struct err *err)
{
    struct choice *c = calloc(1, sizeof *c);
    if (!c)
        return err_set(err, MOE2_ELIMIT, "no memory for scoring options");
    *c = *init;
    c->text.max_bytes = CHOICE_MAX_TEXT_BYTES;
    c->capacity = n;
    c->ids = malloc((size_t)(n + 1) * sizeof *c->ids);
    c->targets = malloc((size_t)(n + 1) * sizeof *c->targets);
    c->offset = calloc((size_t)n + 1, sizeof *c->offset);
    c->nll = malloc((size_t)(n + 1) * sizeof *c->nll);
    c->logits = malloc((size_t)(c->V * n_rows) * sizeof *c->logits);
    int rc = c->ids && c->targets && c->offset && c->nll && c->logits
                 ? tokenizer_scratch_new(&c->scratch, c->tok, err)
                 : err_set(err, MOE2_ELIMIT, "no memory for batches of %" PRId64 " tokens", n);
    if (rc)
        choice_free(c);
    else
        *out = c;
    return rc;
}

int choice_new(struct choice **out, struct decoder *dec, const struct tokenizer *tok,
               const struct choice_options *options, struct err *err)
{
    struct choice init = {
        .dec = dec, .tok = tok, .options = *options, .V = decoder_config(dec)->vocab_size};
    if (options->max_length < 1)
        return err_set(err, MOE2_ECONFIG, "%" PRId64 " tokens are read at once, wanted 1 or more",
                       options->max_length);
    if (!init.options.batch_tokens)
        init.options.batch_tokens = DEFAULT_BATCH_TOKENS;
    int64_t n = init.options.batch_tokens > options->max_length ? init.options.batch_tokens
                                                                : options->max_length;
    return new_choice(out, &init, n, 1, err);
}

int choice_new_kept(struct choice **out, struct session *session, const struct tokenizer *tok,
                    const struct choice_options *options, struct err *err)
{
    struct choice init = {.session = session,
                          .tok = tok,
                          .options = *options,
                          .V = session_config(session)->vocab_size};
    if (options->max_length < 1 || options->max_length > session_capacity(session))
        return err_set(err, MOE2_ECONFIG,
                       "%" PRId64 " tokens are read at once, wanted 1 to the session's %" PRId64,
                       options->max_length, session_capacity(session));
    return new_choice(out, &init, 0, ROWS_AT_ONCE + 1, err);
}

void choice_free(struct choice *c)
{
    if (!c)
        return;
    tokenizer_scratch_free(c->scratch);
    free(c->ids);
    free(c->targets);
    free(c->offset);
    free(c->nll);
    free(c->logits);
    free(c->marks);
    buf_release(&c->text);
    ids_release(&c->context);
    ids_release(&c->whole);
    free(c);
}

/* ---- a batch through the model ---- */

/* A row of logits, in double: ln p of a token is its logit less both. */
struct row {
    const float *logits;
    double most, ln_sum;
};

static struct row row_of(const float *logits, int64_t V)
{
    double most = -INFINITY, sum = 0;
    for (int64_t v = 0; v < V; v++)
        most = logits[v] > most ? logits[v] : most;
    for (int64_t v = 0; v < V; v++)
        sum += exp(logits[v] - most);
    return (struct row){logits, most, sum >= 1 ? log(sum) : NAN}; /* the largest term is exp(0) */
}

static double ln_share(const struct row *row, int32_t token)
{
    return row->logits[token] - row->most - row->ln_sum;
}

static int score_marks(struct choice *c, struct err *err)
{
    struct row row = {0};
    int64_t at = -1;
    for (int64_t k = 0; k < c->n_marks; k++) {
        const struct mark *m = &c->marks[k];
        double ll = 0;
        if (m->token < 0)
            for (int64_t i = m->first; i < m->first + m->n; i++)
                ll -= c->nll[i];
        else {
            int rc = at == m->first ? 0 : decoder_logits(c->dec, m->first, 1, c->logits, err);
            if (rc)
                return rc;
            if (at != m->first)
                row = row_of(c->logits, c->V);
            at = m->first;
            ll = ln_share(&row, m->token);
        }
        if (!isfinite(ll)) {
            int rc = decoder_find_nonfinite(c->dec, false, err);
            return rc ? rc : err_set(err, MOE2_ENUMERIC, "the log-likelihood is %g", ll);
        }
        m->score->ll = ll;
    }
    return 0;
}

static int flush(struct choice *c, struct err *err)
{
    struct batch batch = {
        .ids = c->ids, .targets = c->targets, .offset = c->offset, .B = c->B, .T = c->T};
    struct loss_result loss = {.token_nll = c->nll};
    bool with_loss = false;
    if (!c->B)
        return 0;
    for (int64_t k = 0; k < c->n_marks; k++)
        with_loss |= c->marks[k].token < 0;
    int rc = decoder_forward(c->dec, &batch, DECODER_EVAL, err);
    if (!rc && with_loss)
        rc = decoder_loss(c->dec, &batch, 0, &loss, err);
    if (!rc)
        rc = score_marks(c, err);
    c->B = c->T = c->n_marks = 0;
    return rc;
}

/* ---- questions into batches ---- */

static int add_mark(struct choice *c, struct mark mark, struct err *err)
{
    if (c->n_marks == c->marks_capacity) {
        int64_t capacity = c->marks_capacity ? 2 * c->marks_capacity : 256;
        struct mark *grown = realloc(c->marks, (size_t)capacity * sizeof *grown);
        if (!grown)
            return err_set(err, MOE2_ELIMIT, "no memory for %" PRId64 " options", capacity);
        c->marks = grown;
        c->marks_capacity = capacity;
    }
    c->marks[c->n_marks++] = mark;
    return 0;
}

/* Makes room for a sequence of n inputs and copies the last n of the context's and the option's ids
 * but the very last one. *first is where it begins. The targets are all unscored. */
static int put_sequence(int64_t *first, struct choice *c, const int32_t *option, int64_t n_option,
                        int64_t n, struct err *err)
{
    int64_t n_context = (int64_t)c->context.n, cut = n_context + n_option - 1 - n;
    if (c->B && c->T + n > c->options.batch_tokens) {
        int rc = flush(c, err);
        if (rc)
            return rc;
    }
    *first = c->T;
    for (int64_t i = cut; i < n_context + n_option - 1; i++) {
        c->ids[c->T] = i < n_context ? c->context.v[i] : option[i - n_context];
        c->targets[c->T++] = -1;
    }
    c->offset[++c->B] = (int32_t)c->T;
    return 0;
}

static int64_t n_inputs(const struct choice *c, int64_t n_option)
{
    int64_t n = (int64_t)c->context.n + n_option - 1;
    return n < c->options.max_length ? n : c->options.max_length;
}

static int too_long(const struct choice *c, int64_t n_option, struct err *err)
{
    return err_set(err, MOE2_ELIMIT,
                   "an option has %" PRId64 " tokens, wanted at most the %" PRId64
                   " that are read at once",
                   n_option, c->options.max_length);
}

/* An option with a sequence of its own. */
static int put_option(struct choice *c, struct choice_score *score, const int32_t *option,
                      int64_t n_option, struct err *err)
{
    int64_t first = 0, n = n_inputs(c, n_option);
    if (n_option > n)
        return too_long(c, n_option, err);
    int rc = put_sequence(&first, c, option, n_option, n, err);
    for (int64_t i = 0; i < n_option && !rc; i++)
        c->targets[first + n - n_option + i] = option[i];
    return rc ? rc : add_mark(c, (struct mark){first + n - n_option, n_option, -1, score}, err);
}

static int check_ids(const struct choice *c, const struct ids *ids, struct err *err)
{
    for (size_t i = 0; i < ids->n; i++)
        if (ids->v[i] < 0 || ids->v[i] >= c->V)
            return err_set(err, MOE2_ECONFIG,
                           "the tokenizer gives id %" PRId32
                           ", which is not in the model's vocabulary of %" PRId64,
                           ids->v[i], c->V);
    return 0;
}

/* The tokens of the context, which ends before its blanks; n_bytes is its length without them. */
static int encode_context(struct choice *c, size_t *n_bytes, const char *context, struct err *err)
{
    size_t n = strlen(context);
    while (n && (context[n - 1] == ' ' || (context[n - 1] >= '\t' && context[n - 1] <= '\r')))
        n--;
    *n_bytes = n;
    c->context.n = 0;
    int32_t front = c->options.bos >= 0 ? c->options.bos : n ? -1 : c->options.prefix;
    if (!n && front < 0)
        return err_set(err, MOE2_ECONFIG,
                       "the context is empty, and the model has neither BOS nor EOS to put there");
    int rc = front >= 0 ? ids_append(&c->context, &front, 1, err) : 0;
    if (!rc && n)
        rc = tokenizer_encode(c->tok, c->scratch, &c->context, context, n, 0, err);
    return rc ? rc : check_ids(c, &c->context, err);
}

/* Appends the option's tokens to whole; n_context of its encoding with the context are the
 * context's. */
static int encode_option(struct choice *c, int64_t *n_option, const char *context, size_t n_bytes,
                         const char *option, struct err *err)
{
    size_t before = c->whole.n, n_front = c->options.bos >= 0 || !n_bytes;
    size_t n_context = c->context.n - n_front;
    buf_clear(&c->text);
    int rc = buf_puts(&c->text, context, err);
    if (!rc)
        rc = buf_puts(&c->text, option, err);
    if (!rc)
        rc = tokenizer_encode(c->tok, c->scratch, &c->whole, c->text.bytes, c->text.n, 0, err);
    if (rc)
        return rc;
    if (c->whole.n - before <= n_context)
        return err_set(err, MOE2_EFORMAT, "the option \"%.60s\" adds no token", option);
    c->whole.n -= n_context;
    memmove(c->whole.v + before, c->whole.v + before + n_context,
            (c->whole.n - before) * sizeof *c->whole.v);
    *n_option = (int64_t)(c->whole.n - before);
    return 0;
}

/* Every option is one token: the context goes through once. */
static int put_shared(struct choice *c, struct choice_score *scores, int n, struct err *err)
{
    int64_t first = 0, n_now = n_inputs(c, 1);
    int rc = put_sequence(&first, c, c->whole.v, 1, n_now, err);
    for (int i = 0; i < n && !rc; i++)
        rc = add_mark(c, (struct mark){first + n_now - 1, 1, c->whole.v[i], &scores[i]}, err);
    return rc;
}

/* ---- a question through a session ---- */

static int add_share(struct choice_score *score, const struct row *row, int32_t token,
                     struct err *err)
{
    double ll = ln_share(row, token);
    if (!isfinite(ll))
        return err_set(err, MOE2_ENUMERIC, "the log-likelihood is %g", ll);
    score->ll += ll;
    return 0;
}

/* The session keeps the context, whose last row of logits is behind; the option is read behind it, some tokens at a time, and
 * forgotten again. */
static int read_option(struct choice *c, struct choice_score *score, const struct row *behind,
                       const int32_t *option, int64_t n_option, struct err *err)
{
    int64_t n_kept = session_length(c->session);
    int rc = add_share(score, behind, option[0], err);
    for (int64_t at = 0; at < n_option - 1 && !rc; at += ROWS_AT_ONCE) {
        int64_t n = n_option - 1 - at < ROWS_AT_ONCE ? n_option - 1 - at : ROWS_AT_ONCE;
        rc = session_forward(c->session, option + at, n, c->logits, n, err);
        for (int64_t i = 0; i < n && !rc; i++) {
            struct row row = row_of(c->logits + i * c->V, c->V);
            rc = add_share(score, &row, option[at + i + 1], err);
        }
    }
    session_rewind(c->session, n_kept);
    return rc;
}

/* The context goes through once, or again where an option leaves it less room. */
static int read_ask(struct choice *c, struct choice_score *scores, const int64_t *n_option, int n,
                    struct err *err)
{
    int64_t n_context = (int64_t)c->context.n, at = 0, cut = -1;
    float *logits = c->logits + ROWS_AT_ONCE * c->V;
    struct row behind = {0};
    int rc = 0;
    for (int i = 0; i < n && !rc; i++) {
        int64_t n_now = n_inputs(c, n_option[i]), cut_now = n_context + n_option[i] - 1 - n_now;
        if (n_option[i] > n_now)
            return too_long(c, n_option[i], err);
        if (cut_now != cut) {
            session_rewind(c->session, 0);
            rc = session_forward(c->session, c->context.v + cut_now, n_context - cut_now, logits, 1,
                                 err);
            if (!rc)
                behind = row_of(logits, c->V);
            cut = cut_now;
        }
        if (!rc)
            rc = read_option(c, &scores[i], &behind, c->whole.v + at, n_option[i], err);
        at += n_option[i];
    }
    return rc;
}

static int put_ask(struct choice *c, struct choice_score *scores, const struct choice_ask *ask,
                   struct err *err)
{
    int64_t n_option[CHOICE_MAX_OPTIONS], at = 0;
    size_t n_bytes = 0;
    bool shared = true;
    if (ask->n_options < 1 || ask->n_options > CHOICE_MAX_OPTIONS)
        return err_set(err, MOE2_ELIMIT, "there are %d options, wanted 1 to %d", ask->n_options,
                       CHOICE_MAX_OPTIONS);
    c->whole.n = 0;
    int rc = encode_context(c, &n_bytes, ask->context, err);
    for (int i = 0; i < ask->n_options && !rc; i++) {
        rc = encode_option(c, &n_option[i], ask->context, n_bytes, ask->options[i], err);
        shared &= !rc && n_option[i] == 1;
        if (!rc)
            scores[i] = (struct choice_score){.n_tokens = (int32_t)n_option[i],
                                              .n_context = (int32_t)c->context.n};
    }
    if (!rc)
        rc = check_ids(c, &c->whole, err);
    if (!rc && c->session)
        return read_ask(c, scores, n_option, ask->n_options, err);
    if (!rc && shared)
        return put_shared(c, scores, ask->n_options, err);
    for (int i = 0; i < ask->n_options && !rc; i++) {
        rc = put_option(c, &scores[i], c->whole.v + at, n_option[i], err);
        at += n_option[i];
    }
    return rc;
}

int choice_score(struct choice_score *scores, struct choice *c, const struct choice_ask *asks,
                 int64_t n, struct err *err)
{
    int rc = 0;
    c->B = c->T = c->n_marks = 0;
    for (int64_t q = 0; q < n && !rc; q++) {
        rc = put_ask(c, scores, &asks[q], err);
        if (rc)
            err_prefix(err, "question %" PRId64, q + 1);
        scores += asks[q].n_options;
    }
    return rc ? rc : flush(c, err);
}

/* ---- the answer ---- */

static double divisor(const char *text, enum choice_norm norm)
{
    double n = 0;
    for (const char *p = text; *p; p++)
        n += norm == CHOICE_BYTES || (*p & 0xc0) != 0x80;
    return norm == CHOICE_SUM || n < 1 ? 1 : n;
}

int choice_best(const struct choice_score *scores, const char *const *texts, int n,
                enum choice_norm norm)
{
    int best = 0;
    double most = -INFINITY;
    for (int i = 0; i < n; i++) {
        double value = scores[i].ll / divisor(texts[i], norm);
        if (value > most)
            most = value, best = i;
    }
    return best;
}
