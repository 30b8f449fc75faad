/* What an answer costs, in whole microseconds and microjoules: 10⁶·u·(t0 + prefill·p + decode·o) in float64 from left to right,
 * rounded half up, as docs/selecting.md fixes it. Products are never fused into sums here: the last bit is part of the contract.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "pipeline/select_input.h"

#if defined(__clang__)
#pragma STDC FP_CONTRACT OFF
#else
#pragma GCC optimize("fp-contract=off")
#endif

#define MAX_COST 1e12

static double round_half_up(double x)
{
    double whole = floor(x);
    return whole + (x - whole >= 0.5);
}

int64_t select_micro(double x)
{
    return (int64_t)round_half_up(1e6 * x);
}

/* A length of the row; OUTCOME_EMPTY where it is not given. */
static int32_t length_at(const struct length_source *l, const struct outcomes *o, int64_t row,
                         int expert)
{
    if (l->from == LENGTH_NUMBER)
        return l->number;
    return l->tokens[l->by_expert ? row * o->n_experts + expert : row];
}

/* An expert's mean length over the rows, rounded; OUTCOME_EMPTY when none is given. */
static int32_t mean_length(const struct length_source *l, const struct outcomes *o,
                           const int64_t *rows, int64_t n, int expert)
{
    int64_t sum = 0, count = 0;
    for (int64_t k = 0; k < n; k++) {
        int32_t v = length_at(l, o, rows[k], expert);
        sum += v >= 0 ? v : 0;
        count += v >= 0;
    }
    return count ? (int32_t)((2 * sum + count) / (2 * count)) : OUTCOME_EMPTY;
}

/* One expert's lengths of one kind: what stands in for an empty one is found out when it is met. */
struct lane {
    const struct length_source *source;
    int32_t mean;
    bool has_mean;
};

static int take_length(double *out, struct lane *lane, const struct select_input *in,
                       const int64_t *rows, int64_t n, int64_t k, int expert, struct err *err)
{
    const struct outcomes *o = &in->report->outcomes;
    const struct length_source *l = lane->source;
    int32_t v = length_at(l, o, rows[k], expert);
    if (v < 0) {
        const char *name = name_table_text(&o->experts, expert);
        if (o->right[rows[k] * o->n_experts + expert] >= 0)
            return err_set(err, MOE2_EFORMAT,
                           "%s: question_id \"%.60s\" has no length for \"%.60s\", which answered "
                           "it: wanted a number of tokens (%s)",
                           l->path, name_table_text(&o->ids, rows[k]), name, l->flag);
        if (!lane->has_mean)
            lane->mean = mean_length(l, o, rows, n, expert);
        lane->has_mean = true;
        v = lane->mean;
        if (v < 0)
            return err_set(err, MOE2_ECONFIG, "%s: no length of \"%.60s\" is given anywhere: %s",
                           l->path, name, l->flag);
    }
    *out = v;
    return 0;
}

static int cost_of(int64_t *out, const struct cost_fit *f, double prompt, double output,
                   const char *name, const char *unit, struct err *err)
{
    double v = 1e6 * f->unit * (f->fit.t0 + f->fit.prefill * prompt + f->fit.decode * output);
    v = round_half_up(v);
    if (!(v <= MAX_COST))
        return err_set(err, MOE2_ELIMIT,
                       "an answer of \"%.60s\" (%.0f prompt tokens, %.0f output tokens) costs %g "
                       "%s, wanted at most %g",
                       name, prompt, output, v / 1e6, unit, MAX_COST / 1e6);
    *out = (int64_t)v;
    return 0;
}

/* The costs of expert number i of the run on all rows, with stride N. */
static int fill_expert(int64_t *out, const struct select_input *in, enum cost_kind kind, int i,
                       const int64_t *rows, int64_t n, struct err *err)
{
    const struct cost_fit *f = &in->fits[kind][i];
    struct lane prompt = {.source = &in->prompt}, output = {.source = &in->output};
    int rc = 0, expert = in->report->expert[i], N = in->report->n_experts;
    for (int64_t k = 0; k < n && !rc; k++) {
        double p = 0, o = 0;
        if (f->fit.prefill > 0)
            rc = take_length(&p, &prompt, in, rows, n, k, expert, err);
        if (!rc && f->fit.decode > 0)
            rc = take_length(&o, &output, in, rows, n, k, expert, err);
        if (!rc)
            rc = cost_of(&out[k * N], f, p, o, in->names[i], kind == COST_LATENCY ? "s" : "J", err);
    }
    return rc;
}

static int need_length(const struct length_source *l, const char *name, struct err *err)
{
    if (l->from != LENGTH_NOWHERE)
        return 0;
    return err_set(err, MOE2_ECONFIG,
                   "the cost of \"%.60s\" grows with a length that is nowhere given: %s, or a "
                   "column %s in the outcomes",
                   name, l->flag, l->flag[2] == 'p' ? "prompt_tokens" : "output_tokens");
}

int select_costs_fill(struct select_costs *c, int64_t **each, const struct select_input *in,
                      enum cost_kind kind, const int64_t *rows, int64_t n, struct err *err)
{
    int rc = 0, N = in->report->n_experts;
    bool vary = false;
    *c = (struct select_costs){0};
    if (!in->has_fits[kind])
        return 0;
    for (int i = 0; i < N && !rc; i++) {
        const struct curve_fit *f = &in->fits[kind][i].fit;
        if (f->prefill > 0)
            rc = need_length(&in->prompt, in->names[i], err);
        if (!rc && f->decode > 0)
            rc = need_length(&in->output, in->names[i], err);
        vary = vary || (f->prefill > 0 && in->prompt.from != LENGTH_NUMBER) ||
               (f->decode > 0 && in->output.from != LENGTH_NUMBER);
    }
    if (rc)
        return rc;
    if (!vary) {
        for (int i = 0; i < N && !rc; i++)
            rc = fill_expert(&c->constant[i], in, kind, i, rows, 1, err);
        return rc;
    }
    *each = malloc((size_t)(n * N) * sizeof **each);
    if (!*each)
        return err_set(err, MOE2_ELIMIT, "no memory for the costs of %lld prompts", (long long)n);
    for (int i = 0; i < N && !rc; i++)
        rc = fill_expert(*each + i, in, kind, i, rows, n, err);
    c->each = *each;
    return rc;
}
