/* What a router keeps from step to step: its one move per optimizer step, its state as arrays for
 * a checkpoint, and the plain bias that another runtime can use. */
#include "route/router_parts.h"

#include <math.h>
#include <string.h>

#include "route/rd_esi.h"

enum { STATE_VERSION = 1 };

void router_step_drop(struct router *r)
{
    size_t E = (size_t)r->config.n_experts;
    struct route_sums *s = &r->sums;
    memset(s->items, 0, sizeof *s->items * E);
    memset(s->performed, 0, sizeof *s->performed * E);
    memset(s->performance, 0, sizeof *s->performance * E);
    memset(s->share, 0, sizeof *s->share * E);
    s->n_items = s->n_dropped = 0;
    s->score_sum = s->score_square = 0;
    memset(r->threshold_sum, 0, sizeof *r->threshold_sum * E);
    r->n_forwards = r->n_margins = 0;
    r->bias_max = 0;
}

static void step_stats(struct route_step *out, const struct router *r)
{
    const struct route_sums *s = &r->sums;
    int E = r->config.n_experts;
    double n = (double)s->n_items * E, picks = 0, most = 0;
    *out = (struct route_step){.n_items = s->n_items};
    if (!s->n_items)
        return;
    for (int i = 0; i < E; i++) {
        picks += (double)s->items[i];
        most = fmax(most, (double)s->items[i]);
    }
    double mean = s->score_sum / n;
    double spread = sqrt(fmax(0, s->score_square / n - mean * mean));
    out->max_vio = picks > 0 ? most * E / picks - 1 : 0;
    out->drop_rate = picks > 0 ? (double)s->n_dropped / picks : 0;
    /* Scores all equal: any bias decides alone. */
    out->bias_ratio = r->bias_max == 0 ? 0 : fmin((double)r->bias_max / spread, 1e9);
}

static void step_incentive(struct router *r)
{
    const struct route_sums *s = &r->sums;
    struct route_feedback feedback = {.items = s->items,
                                      .n_items = s->n_items,
                                      .n_picks = r->config.n_picks,
                                      .performed = s->performed,
                                      .margins = r->n_margins ? r->margins : NULL,
                                      .margin_stride = r->margin_stride,
                                      .elapsed = 1};
    if (incentive_performance(r->incentive)) {
        for (int i = 0; i < r->config.n_experts; i++)
            r->work[i] = s->share[i] > 0 ? (float)(s->performance[i] / s->share[i]) : NAN;
        feedback.performance = r->work;
    }
    if (!incentive_is_raw(r->incentive))
        incentive_update(r->incentive, &feedback);
    if (r->config.native_bias == NATIVE_BIAS_KEEP)
        loss_free_move(r->native, &feedback, r->config.native_bias_rate, r->config.n_experts);
}

void router_step(struct router *r, struct route_step *out)
{
    if (out)
        step_stats(out, r);
    if (r->sums.n_items > 0) {
        step_incentive(r);
        expert_choice_step(r);
    }
    router_step_drop(r);
}

void router_bias(const struct router *r, float *bias)
{
    incentive_bias(r->incentive, bias, NULL);
    if (r->config.native_bias != NATIVE_BIAS_REPLACE)
        r->ops->add(bias, bias, r->native, r->config.n_experts);
}

int router_set_native_bias(struct router *r, const float *b, struct err *err)
{
    for (int i = 0; i < r->config.n_experts; i++)
        if (!isfinite(b[i]))
            return err_set(err, MOE2_ENUMERIC,
                           "e_score_correction_bias of layer %d: expert %d is %g, wanted a finite "
                           "number",
                           r->layer, i, (double)b[i]);
    memcpy(r->native, b, sizeof *b * (size_t)r->config.n_experts);
    return 0;
}

const float *router_native_bias(const struct router *r)
{
    return r->native;
}

/* ---- the state as arrays ---- */

int router_state(struct router *r, struct route_state_item items[ROUTE_STATE_MAX])
{
    int n = incentive_state(r->incentive, items);
    if (r->config.pick == PICK_EXPERT_CHOICE) {
        items[n++] =
            (struct route_state_item){"expert_choice.threshold", r->threshold, r->config.n_experts};
        items[n++] =
            (struct route_state_item){"expert_choice.threshold_seen", &r->threshold_seen, 1};
    }
    r->version = STATE_VERSION;
    items[n++] = (struct route_state_item){"version", &r->version, 1};
    return n;
}

static const struct route_state_item *item_find(const struct route_state_item *items, int n,
                                                const char *name)
{
    for (int i = 0; i < n; i++)
        if (strcmp(items[i].name, name) == 0)
            return &items[i];
    return NULL;
}

static int item_check(const struct route_state_item *own, const struct route_state_item *given,
                      int layer, struct err *err)
{
    if (!given)
        return err_set(err, MOE2_EFORMAT, "router state of layer %d has no %s", layer, own->name);
    if (given->n != own->n)
        return err_set(err, MOE2_EFORMAT,
                       "router state of layer %d: %s has %lld numbers, wanted %lld", layer,
                       own->name, (long long)given->n, (long long)own->n);
    for (int64_t i = 0; i < given->n; i++)
        if (!isfinite(given->values[i]))
            return err_set(err, MOE2_ENUMERIC,
                           "router state of layer %d: %s holds %g at %lld, wanted a finite number",
                           layer, own->name, (double)given->values[i], (long long)i);
    return 0;
}

static int version_check(const struct route_state_item *items, int n_items, int layer,
                         struct err *err)
{
    const struct route_state_item *version = item_find(items, n_items, "version");
    if (version && version->n == 1 && version->values[0] != STATE_VERSION)
        return err_set(err, MOE2_EFORMAT, "router state of layer %d is of version %g, wanted %d",
                       layer, (double)version->values[0], STATE_VERSION);
    return 0;
}

int router_state_load(struct router *r, const struct route_state_item *items, int n_items,
                      struct err *err)
{
    struct route_state_item own[ROUTE_STATE_MAX];
    int n = router_state(r, own), rc = version_check(items, n_items, r->layer, err);
    for (int i = 0; i < n_items && !rc; i++)
        if (!item_find(own, n, items[i].name))
            rc = err_set(err, MOE2_EFORMAT,
                         "router state of layer %d holds %.60s, which incentive %s with pick %s "
                         "does not have",
                         r->layer, items[i].name, r->config.incentive.name,
                         pick_words.words[r->config.pick]);
    for (int i = 0; i < n && !rc; i++)
        rc = item_check(&own[i], item_find(items, n_items, own[i].name), r->layer, err);
    if (rc)
        return rc;
    for (int i = 0; i < n; i++)
        memmove(own[i].values, item_find(items, n_items, own[i].name)->values,
                sizeof(float) * (size_t)own[i].n);
    router_step_drop(r);
    return 0;
}

/* ---- export ---- */

int router_export_bias(const struct router *r, float *bias, struct err *err)
{
    const struct router_config *c = &r->config;
    const char *why = NULL;
    if (c->pick == PICK_EXPERT_CHOICE)
        why = "expert_choice: there experts pick tokens, which no bias can express";
    else if (c->pick == PICK_RANDOM)
        why = "random picks: they see no bias";
    else if (incentive_is_raw(r->incentive))
        why = "normalise: false: the raw variant's state moves while it evaluates";
    else if (c->score == SCORE_SOFTMAX)
        why = "softmax scores: DeepSeek-V2's public formats have no e_score_correction_bias";
    else if (c->combine == COMBINE_SELECTION)
        why = "combine: selection: a plain DeepSeek-V3 weighs by unbiased scores";
    if (why)
        return err_set(err, MOE2_ECONFIG, "layer %d can't be exported with %s", r->layer, why);
    router_bias(r, bias);
    return 0;
}
