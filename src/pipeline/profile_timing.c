/* Timing answers: see profile_timing.h. */
#include "pipeline/profile_timing.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/rng.h"
#include "model/sampler.h"

enum { CHUNK = 512, MAX_AGAIN = 100000, WARM_PROMPT = 32 };

/* One clock reading of an answer. */
struct mark {
    double seconds, joules;
};

struct timer {
    const struct profile_timing *t;
    struct session *s;
    struct profile_answers *out;
    struct sampler *greedy;
    int32_t *ids;       /* of the longest prompt */
    float *logits;      /* [V] */
    int n_outputs;      /* lengths that are still asked for at this prompt */
    struct mark *marks; /* [repeat, PROFILE_MAX_LENGTHS] */
    struct progress progress;
    double done;
    double prefill_s;      /* of the answer before this */
    double last_prefill_s; /* of the last prompt that was measured */
    int64_t last_prompt;   /* 0: none */
};

static bool stopped(const struct timer *m)
{
    return m->t->stop && *m->t->stop;
}

/* Only the first n_left lengths of answer to a prompt of P tokens from here on; why the others are left out goes to people. */
static int leave_out(struct timer *m, int64_t P, int n_left, const char *why, struct err *err)
{
    const int64_t *o = m->t->plan.outputs;
    int n = m->n_outputs, rc = 0;
    if (n - n_left == 1)
        rc = buf_printf(&m->out->left_out, err,
                        "left out: a prompt of %" PRId64 " tokens with an answer of %" PRId64
                        ": %s\n",
                        P, o[n_left], why);
    else if (n - n_left > 1)
        rc = buf_printf(&m->out->left_out, err,
                        "left out: a prompt of %" PRId64 " tokens with answers of %" PRId64
                        " to %" PRId64 ": %s\n",
                        P, o[n_left], o[n - 1], why);
    m->n_outputs = n_left;
    return rc;
}

static int leave_slow(struct timer *m, int64_t P, int n_left, const char *verb, struct err *err)
{
    char why[64];
    snprintf(why, sizeof why, "%s more than %g s", verb, m->t->plan.most_s);
    return leave_out(m, P, n_left, why, err);
}

/* ---- one answer ---- */

/* Reads the prompt a piece at a time, so that one that takes too long is given up; *late then. */
static int read_prompt(struct timer *m, int64_t P, double begun_s, bool *late, struct err *err)
{
    session_rewind(m->s, 0);
    for (int64_t at = 0; at < P; at += CHUNK) {
        int64_t n = P - at < CHUNK ? P - at : CHUNK;
        bool last = at + n == P;
        int rc = session_forward(m->s, m->ids + at, n, last ? m->logits : NULL, last, err);
        if (!rc && stopped(m))
            rc = err_set(err, MOE2_ESTOP, "stopped");
        if (rc)
            return rc;
        *late = clock_s() - begun_s > m->t->plan.most_s;
        if (*late)
            return 0;
    }
    return 0;
}

/* Answers a prompt of P tokens with the first n_outputs lengths, a mark at each. *n_marks: how many were reached in time. */
static int answer(struct mark *marks, int *n_marks, struct timer *m, int64_t P, int n_outputs,
                  struct err *err)
{
    const struct profile_lengths_plan *plan = &m->t->plan;
    double begun_s = clock_s(), begun_j, now_j;
    bool late = false;
    *n_marks = 0;
    int rc = meter_joules(&begun_j, m->t->meter, err);
    if (!rc)
        rc = read_prompt(m, P, begun_s, &late, err);
    m->prefill_s = clock_s() - begun_s;
    for (int64_t o = 1; !rc && !late && *n_marks < n_outputs; o++) {
        int32_t id;
        rc = sampler_pick(&id, m->greedy, m->logits, err);
        if (!rc && o == plan->outputs[*n_marks]) {
            rc = meter_joules(&now_j, m->t->meter, err);
            marks[(*n_marks)++] = (struct mark){clock_s() - begun_s, now_j - begun_j};
        }
        if (!rc && stopped(m))
            rc = err_set(err, MOE2_ESTOP, "stopped");
        if (!rc && *n_marks < n_outputs)
            rc = session_forward(m->s, &id, 1, m->logits, 1, err);
        late = clock_s() - begun_s > plan->most_s;
    }
    return rc;
}

/* The joules of an answer that is too short for the meter: a share of many. */
static int meter_again(struct mark *mark, struct timer *m, int64_t P, int output, struct err *err)
{
    struct mark marks[PROFILE_MAX_LENGTHS];
    double begun_s = clock_s(), begun_j, now_j = 0;
    int n = 0, n_marks, rc = meter_joules(&begun_j, m->t->meter, err);
    while (!rc && n < MAX_AGAIN && (!n || clock_s() - begun_s < m->t->meter->kind->settle_s)) {
        rc = answer(marks, &n_marks, m, P, output + 1, err);
        n++;
    }
    if (!rc)
        rc = meter_joules(&now_j, m->t->meter, err);
    if (!rc)
        mark->joules = (now_j - begun_j) / n;
    return rc;
}

/* ---- one prompt length ---- */

static int repeat_once(struct timer *m, int64_t P, struct mark *marks, struct err *err)
{
    int n_marks = 0;
    int rc = answer(marks, &n_marks, m, P, m->n_outputs, err);
    if (!rc && n_marks < m->n_outputs)
        rc = leave_slow(m, P, n_marks, "takes", err);
    for (int k = 0; k < m->n_outputs && !rc && m->t->meter->kind; k++)
        if (marks[k].seconds < m->t->meter->kind->settle_s)
            rc = meter_again(&marks[k], m, P, k, err);
    return rc;
}

static void keep(struct timer *m, int64_t P)
{
    for (int64_t r = 0; r < m->t->plan.repeat; r++)
        for (int k = 0; k < m->n_outputs; k++) {
            const struct mark *mark = &m->marks[r * PROFILE_MAX_LENGTHS + k];
            m->out->list[m->out->n++] =
                (struct profile_answer){P, m->t->plan.outputs[k], mark->seconds, mark->joules};
        }
}

/* How many lengths of answer the model's window has room for behind the prompt; the others are told. */
static int fit_window(struct timer *m, int64_t P, struct err *err)
{
    int64_t window = session_config(m->s)->max_position_embeddings;
    char why[96];
    int n = m->n_outputs;
    snprintf(why, sizeof why, "more than the model's window of %" PRId64, window);
    while (window > 0 && n > 0 && P + m->t->plan.outputs[n - 1] > window)
        n--;
    return leave_out(m, P, n, why, err);
}

static int time_prompt(struct timer *m, int64_t P, struct err *err)
{
    const struct profile_lengths_plan *plan = &m->t->plan;
    int64_t planned = P + plan->outputs[plan->n_outputs - 1];
    int rc;
    m->n_outputs = plan->n_outputs;
    rc = fit_window(m, P, err);
    /* longer prompts take at least their share longer */
    if (!rc && m->n_outputs && m->last_prompt &&
        m->last_prefill_s * (double)P > plan->most_s * (double)m->last_prompt)
        rc = leave_slow(m, P, 0, "would take", err);
    for (int64_t r = 0; r < plan->repeat && !rc; r++) {
        if (m->n_outputs)
            rc = repeat_once(m, P, m->marks + r * PROFILE_MAX_LENGTHS, err);
        m->done += (double)planned;
        progress_set(&m->progress, m->done);
    }
    if (rc || !m->n_outputs)
        return rc;
    m->last_prefill_s = m->prefill_s;
    m->last_prompt = P;
    keep(m, P);
    return 0;
}

/* ---- all of them ---- */

static int timer_init(struct timer *m, struct err *err)
{
    const struct profile_lengths_plan *plan = &m->t->plan;
    struct sampling greedy = sampling_default;
    int64_t V = session_config(m->s)->vocab_size, most = plan->prompts[plan->n_prompts - 1];
    size_t n = (size_t)(plan->repeat * plan->n_prompts * plan->n_outputs);
    struct rng r;
    greedy.temperature = 0;
    m->ids = malloc((size_t)most * sizeof *m->ids);
    m->logits = malloc((size_t)V * sizeof *m->logits);
    m->marks = calloc((size_t)plan->repeat * PROFILE_MAX_LENGTHS, sizeof *m->marks);
    m->out->list = malloc(n * sizeof *m->out->list);
    if (!m->ids || !m->logits || !m->marks || !m->out->list)
        return err_set(err, MOE2_ELIMIT, "no memory for %zu answers", n);
    rng_init(&r, 1);
    for (int64_t i = 0; i < most; i++)
        m->ids[i] = (int32_t)rng_below(&r, (uint64_t)V);
    return sampler_new(&m->greedy, &greedy, V, err);
}

/* Weights are touched and threads are started before anything counts. */
static int warm_up(struct timer *m, struct err *err)
{
    int64_t P = m->t->plan.prompts[0] < WARM_PROMPT ? m->t->plan.prompts[0] : WARM_PROMPT;
    session_rewind(m->s, 0);
    int rc = session_forward(m->s, m->ids, P, m->logits, 1, err);
    if (!rc && session_length(m->s) < session_capacity(m->s))
        rc = session_forward(m->s, m->ids, 1, m->logits, 1, err);
    return rc;
}

static double all_tokens(const struct profile_lengths_plan *plan)
{
    double n = 0;
    for (int i = 0; i < plan->n_prompts; i++)
        n += (double)(plan->repeat * (plan->prompts[i] + plan->outputs[plan->n_outputs - 1]));
    return n;
}

int profile_time(struct profile_answers *out, struct session *s, const struct profile_timing *t,
                 struct err *err)
{
    struct timer m = {.t = t, .s = s, .out = out};
    int rc = timer_init(&m, err);
    if (!rc)
        rc = warm_up(&m, err);
    if (!rc) {
        progress_begin(&m.progress, t->sink, "profiling", all_tokens(&t->plan), "tokens");
        for (int i = 0; i < t->plan.n_prompts && !rc; i++)
            rc = time_prompt(&m, t->plan.prompts[i], err);
        progress_end(&m.progress);
    }
    if (!rc && out->n == 0)
        rc = err_set(err, MOE2_ECONFIG, "no length could be measured; %.*s",
                     (int)strcspn(out->left_out.bytes, "\n"), out->left_out.bytes);
    sampler_free(m.greedy);
    free(m.marks);
    free(m.logits);
    free(m.ids);
    return rc;
}

void profile_answers_release(struct profile_answers *a)
{
    free(a->list);
    buf_release(&a->left_out);
    *a = (struct profile_answers){0};
}
