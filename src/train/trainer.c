/* The trainer: see trainer.h. */
#include "train/trainer.h"

#include <assert.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/stats.h"

int trainer_init(struct trainer *t, const struct trainer_options *options, struct decoder *dec,
                 struct optimizer *opt, struct err *err)
{
    assert(options->batch >= 1 && options->micro_batch >= 1);
    *t = (struct trainer){.o = *options, .dec = dec, .opt = opt, .saved_step = -1};
    t->state.seed = options->seed;
    t->state.best.loss = INFINITY;
    if (!decoder_device(dec)->host_memory)
        nvml_open(&t->meter, NULL);
    if (t->o.micro_batch > t->o.batch)
        t->o.micro_batch = t->o.batch;
    const struct model_config *c = decoder_config(dec);
    size_t n = (size_t)(t->o.micro_batch * t->o.data.sequence);
    t->in.ids = malloc(n * sizeof *t->in.ids);
    t->in.targets = malloc(n * sizeof *t->in.targets);
    t->in.offset = malloc((n + 1) * sizeof *t->in.offset);
    t->in.scratch = malloc(((size_t)t->o.data.sequence + 1) * sizeof *t->in.scratch);
    t->loads = calloc((size_t)(c->num_hidden_layers * c->n_routed_experts) + 1, sizeof *t->loads);
    int rc = 0;
    if (!t->in.ids || !t->in.targets || !t->in.offset || !t->in.scratch || !t->loads)
        rc = err_set(err, MOE2_ELIMIT, "no memory for a micro-batch of %zu tokens", n);
    if (!rc)
        rc = measures_init(&t->measures, dec, t->o.schedule.steps, err);
    if (rc)
        trainer_release(t);
    return rc;
}

void trainer_release(struct trainer *t)
{
    measures_release(&t->measures);
    nvml_close(t->meter);
    free(t->in.ids);
    free(t->in.targets);
    free(t->in.offset);
    free(t->in.scratch);
    free(t->loads);
    *t = (struct trainer){0};
}

/* ---- one step ---- */

/* What a step showed, for the line in metrics.jsonl. */
struct step_report {
    double loss, aux, norm, lr, seconds;
    int64_t n_targets;
    double max_vio, load_cv, load_entropy, load_gini, dead_experts,
        drop_rate;     /* means over layers */
    double bias_ratio; /* the largest */
    struct decoder_times times;
};

/* Forgets a step that was broken off: the routers' counts; gradients are cleared by the next
 * one. */
static void drop_step(struct trainer *t)
{
    for (int64_t l = 0; l < decoder_config(t->dec)->num_hidden_layers; l++)
        if (decoder_router(t->dec, l))
            router_step_drop(decoder_router(t->dec, l));
}

/* Sequences first … first + n − 1 of the step: forward and backward of their part of the mean
 * loss. */
static int micro_batch(struct trainer *t, struct step_report *r, int64_t first, int64_t n,
                       float scale, struct err *err)
{
    int rc = dataset_read(&t->in, &t->o.data, t->state.samples + first, n, err);
    if (rc)
        return rc;
    struct batch batch = {
        .ids = t->in.ids,
        .targets = t->in.targets,
        .offset = t->in.offset,
        .B = t->in.B,
        .T = t->in.T,
        .step = t->state.step + 1,
        .first_token = first * t->o.data.sequence,
    };
    struct loss_result loss = {0};
    rc = decoder_forward(t->dec, &batch, DECODER_TRAIN, err);
    if (!rc)
        rc = decoder_loss(t->dec, &batch, scale, &loss, err);
    if (!rc && !isfinite(loss.nll)) {
        decoder_find_nonfinite(t->dec, false, err);
        rc = err_set(err, MOE2_ENUMERIC, "the loss is %g", loss.nll);
    }
    if (!rc)
        rc = decoder_backward(t->dec, &batch, scale, err);
    r->loss += loss.nll;
    r->aux += loss.aux * (double)n / (double)t->o.batch;
    r->n_targets += loss.n_targets;
    return rc;
}

/* Loads of one layer as multiples of a fair share, and what they come to. Before router_step, which
 * clears the counts. */
static void measure_loads(struct step_report *r, double *loads, struct router *router,
                          int64_t n_moe)
{
    const struct route_sums *sums = router_sums(router);
    int E = router_config(router)->n_experts;
    double weight = 1 / (double)n_moe, n_picks = 0;
    for (int i = 0; i < E; i++)
        n_picks += (double)sums->items[i];
    double sorted[E];
    for (int i = 0; i < E; i++) {
        loads[i] = n_picks > 0 ? (double)sums->items[i] * E / n_picks : 0;
        r->dead_experts += weight * (sums->items[i] == 0);
    }
    r->load_cv += weight * stats_cv(loads, E);
    r->load_entropy += weight * stats_entropy(loads, E);
    memcpy(sorted, loads, sizeof sorted);
    r->load_gini += weight * stats_gini(sorted, E);
}

/* The line's array of layers: loads of the step, reputation and bias as the step left them. */
static void print_layers(struct json_writer *w, struct trainer *t)
{
    int64_t E = decoder_config(t->dec)->n_routed_experts;
    jw_array(w, "layers");
    for (int64_t l = 0; l < decoder_config(t->dec)->num_hidden_layers; l++) {
        struct router *router = decoder_router(t->dec, l);
        if (!router)
            continue;
        const double *loads = t->loads + l * E;
        double most = 0;
        float bias[E];
        for (int64_t i = 0; i < E; i++)
            most = loads[i] > most ? loads[i] : most;
        router_bias(router, bias);
        const float *R = incentive_state_find(router_incentive(router), "R");
        jw_object(w, NULL);
        jw_int(w, "layer", l);
        jw_real(w, "max_vio_batch", most - 1);
        jw_reals(w, "load", loads, E);
        if (R)
            jw_f32s(w, "reputation", R, E);
        jw_f32s(w, "bias", bias, E);
        jw_end(w);
    }
    jw_end(w);
}

static void print_step(struct json_writer *w, const struct trainer *t, const struct step_report *r)
{
    jw_int(w, "step", t->state.step);
    jw_int(w, "tokens", t->state.tokens);
    jw_real(w, "loss", r->loss);
    jw_real(w, "lr", r->lr);
    jw_real(w, "grad_norm", r->norm);
    jw_real(w, "step_s", r->seconds);
    jw_real(w, "tokens_per_s", (double)r->n_targets / r->seconds);
    jw_real(w, "max_vio_batch", r->max_vio);
    jw_real(w, "load_cv", r->load_cv);
    jw_real(w, "load_entropy", r->load_entropy);
    jw_real(w, "load_gini", r->load_gini);
    jw_real(w, "dead_experts", r->dead_experts);
    jw_real(w, "drop_rate", r->drop_rate);
    jw_real(w, "aux_loss", r->aux);
    jw_real(w, "bias_ratio", r->bias_ratio);
    jw_real(w, "routing_share", r->times.routing_s / r->seconds);
}

/* Ends the step for the routers: the only place where their state moves. */
static void step_routers(struct trainer *t, struct step_report *r)
{
    int64_t n_layers = decoder_config(t->dec)->num_hidden_layers, n_moe = 0;
    for (int64_t l = 0; l < n_layers; l++)
        n_moe += decoder_router(t->dec, l) != NULL;
    for (int64_t l = 0; l < n_layers; l++) {
        struct router *router = decoder_router(t->dec, l);
        struct route_step s;
        if (!router)
            continue;
        int E = router_config(router)->n_experts;
        int64_t items[E], n_items = router_sums(router)->n_items;
        memcpy(items, router_sums(router)->items, sizeof items); /* router_step clears them */
        measure_loads(r, t->loads + l * E, router, n_moe);
        router_step(router, &s);
        matthew_step(t->measures.layers[l], t->state.step, items, n_items,
                     incentive_state_find(router_incentive(router), "R"));
        r->max_vio += s.max_vio / (double)n_moe;
        r->drop_rate += s.drop_rate / (double)n_moe;
        r->bias_ratio = s.bias_ratio > r->bias_ratio ? s.bias_ratio : r->bias_ratio;
    }
}

/* Forward and backward of all micro-batches and the norm of the gradient: what can fail, before
 * anything has moved. */
static int step_gradient(struct trainer *t, struct step_report *r, struct err *err)
{
    int rc = 0;
    int64_t n_targets = dataset_targets(&t->o.data, t->state.samples, t->o.batch);
    float scale = (float)(1 / (double)n_targets);
    decoder_zero_grad(t->dec);
    for (int64_t i = 0; i < t->o.batch && !rc; i += t->o.micro_batch) {
        int64_t left = t->o.batch - i;
        rc = micro_batch(t, r, i, left < t->o.micro_batch ? left : t->o.micro_batch, scale, err);
    }
    r->loss /= (double)r->n_targets;
    return rc ? rc : optimizer_grad_norm(&r->norm, t->opt, err);
}

static int report_step(struct trainer *t, const struct step_report *r, struct err *err)
{
    int64_t step = t->state.step, n_steps = t->o.schedule.steps;
    bool in_detail = step % t->o.log_every == 0 || step == n_steps || step == 1;
    int rc = 0;
    if (t->o.metrics) {
        struct json_writer *w = metrics_begin(t->o.metrics);
        print_step(w, t, r);
        if (in_detail)
            print_layers(w, t);
        rc = metrics_end(t->o.metrics, err);
    }
    if (in_detail)
        log_line(t->o.log, LOG_INFO,
                 "step %" PRId64 " of %" PRId64
                 ": loss %.4f, lr %.2e, gradient %.3f, MaxVio %.2f, %.0f tokens/s",
                 step, n_steps, r->loss, r->lr, r->norm, r->max_vio,
                 (double)r->n_targets / r->seconds);
    if (r->bias_ratio > ROUTE_BIAS_RATIO_WARN && !t->has_warned) {
        t->has_warned = true;
        log_line(t->o.log, LOG_WARN,
                 "step %" PRId64
                 ": the largest bias is %.1f times the deviation of the scores; above "
                 "%d the gate hardly has a say",
                 step, r->bias_ratio, (int)ROUTE_BIAS_RATIO_WARN);
    }
    return rc;
}

int trainer_step(struct trainer *t, struct err *err)
{
    struct step_report r = {0};
    const struct device *dev = decoder_device(t->dec);
    double begun = clock_s(), joules = nvml_energy_j(t->meter, dev->ordinal);
    decoder_take_times(t->dec);
    int rc = step_gradient(t, &r, err);
    if (rc) {
        drop_step(t);
        if (rc == MOE2_ENUMERIC)
            err_prefix(err, "step %" PRId64, t->state.step + 1);
        return rc;
    }
    r.lr = schedule_lr(&t->o.schedule, t->state.step + 1);
    optimizer_step(t->opt, r.lr, r.norm);
    step_routers(t, &r);
    device_sync(decoder_device(t->dec));
    if ((rc = device_check(decoder_device(t->dec), err)))
        return err_prefix(err, "step %" PRId64, t->state.step + 1);
    r.times = decoder_take_times(t->dec);
    r.seconds = clock_s() - begun;
    t->state.step++;
    t->state.samples += t->o.batch;
    t->state.tokens += r.n_targets;
    t->state.seconds += r.seconds;
    joules = nvml_energy_j(t->meter, dev->ordinal) - joules;
    t->state.joules = t->state.step == 1 ? joules : t->state.joules + joules;
    if (!dev->host_memory && (int64_t)dev->peak_bytes > t->state.peak_device_bytes)
        t->state.peak_device_bytes = (int64_t)dev->peak_bytes;
    t->state.loss = r.loss;
    int64_t rss = peak_rss_bytes();
    t->state.peak_rss_bytes = rss > t->state.peak_rss_bytes ? rss : t->state.peak_rss_bytes;
    return report_step(t, &r, err);
}

/* ---- between the steps ---- */

static int checkpoint_path(char **path, const struct trainer *t, const char *name, struct err *err)
{
    *path = path_join(t->o.checkpoints, name);
    return *path ? 0 : err_set(err, MOE2_ELIMIT, "%s: no memory for its name", t->o.checkpoints);
}

int trainer_save(struct trainer *t, struct err *err)
{
    if (!t->o.checkpoints || t->saved_step == t->state.step)
        return 0;
    char *last = NULL;
    int64_t n_params = 0;
    const struct param *params = decoder_trained(t->dec, &n_params);
    int rc = params_check_finite(params, n_params, decoder_device(t->dec), err);
    if (rc) /* the last good checkpoint stays */
        return err_prefix(err, "step %" PRId64 ": the checkpoint is not written", t->state.step);
    rc = checkpoint_path(&last, t, "last", err);
    if (!rc)
        rc = checkpoint_save(last,
                             &(struct checkpoint_parts){t->dec, t->opt, &t->measures, &t->state,
                                                        t->o.config, t->o.tokenizer, t->o.base},
                             err);
    if (!rc)
        t->saved_step = t->state.step;
    free(last);
    return rc;
}

static int save_best(struct trainer *t, struct err *err)
{
    char *best = NULL, *last = NULL;
    int rc = trainer_save(t, err);
    if (!rc)
        rc = checkpoint_path(&best, t, "best", err);
    if (!rc)
        rc = checkpoint_path(&last, t, "last", err);
    if (!rc)
        rc = checkpoint_copy(best, last, err);
    free(best);
    free(last);
    return rc;
}

/* The validation examples, a micro-batch of packs at a time. */
static int score_packs(struct perplexity *out, struct trainer *t, struct err *err)
{
    const struct packs *packs = t->o.validation_packs;
    struct perplexity sum = {0};
    double begun_s = clock_s();
    int rc = 0;
    for (int64_t k = 0; k < packs->n && !rc;) {
        struct loss_result loss = {0};
        t->in.T = t->in.B = 0;
        t->in.offset[0] = 0;
        for (int64_t i = 0; i < t->o.micro_batch && k < packs->n; i++)
            packs_append(t->in.ids, t->in.targets, t->in.offset, &t->in.T, &t->in.B, packs, k++);
        struct batch batch = {.ids = t->in.ids,
                              .targets = t->in.targets,
                              .offset = t->in.offset,
                              .B = t->in.B,
                              .T = t->in.T};
        rc = decoder_forward(t->dec, &batch, DECODER_EVAL, err);
        if (!rc)
            rc = decoder_loss(t->dec, &batch, 0, &loss, err);
        sum.nll += loss.nll;
        sum.tokens += loss.n_targets;
        sum.n_right += loss.n_right;
    }
    sum.seconds = clock_s() - begun_s;
    *out = sum;
    return rc;
}

int trainer_evaluate(struct trainer *t, struct err *err)
{
    struct perplexity p;
    int rc = t->o.validation_packs ? score_packs(&p, t, err)
                                   : perplexity_run(&p, t->dec, &t->o.validation, &t->o.eval, err);
    if (rc == MOE2_ENUMERIC)
        err_prefix(err, "step %" PRId64 ": validation", t->state.step);
    if (rc)
        return rc;
    struct evaluation e = {t->state.step, p.nll / (double)p.tokens,
                           p.bytes ? bits_per_byte(p.nll, p.bytes) : NAN};
    if (t->o.metrics) {
        struct json_writer *w = metrics_begin(t->o.metrics);
        jw_int(w, "step", e.step);
        jw_text(w, "eval", "validation");
        jw_int(w, "tokens", p.tokens);
        jw_real(w, "nll", p.nll);
        jw_real(w, "loss", e.loss);
        jw_real(w, "ppl", exp(e.loss));
        jw_real(w, "bits_per_byte", e.bits_per_byte);
        if (t->o.validation_packs)
            jw_real(w, "accuracy", (double)p.n_right / (double)p.tokens);
        jw_real(w, "seconds", p.seconds);
        rc = metrics_end(t->o.metrics, err);
    }
    bool is_best = e.loss < t->state.best.loss;
    char more[64];
    if (t->o.validation_packs)
        snprintf(more, sizeof more, "%.1f %% of tokens right",
                 100 * (double)p.n_right / (double)p.tokens);
    else
        snprintf(more, sizeof more, "%.4f bits per byte", e.bits_per_byte);
    log_line(t->o.log, LOG_INFO, "step %" PRId64 ": validation loss %.4f, perplexity %.2f, %s%s",
             e.step, e.loss, exp(e.loss), more, is_best ? ", the best so far" : "");
    if (!is_best)
        return rc;
    t->state.best = e;
    return rc || !t->o.checkpoints ? rc : save_best(t, err);
}

static bool is_due(int64_t step, int64_t every, int64_t n_steps)
{
    return every && (step % every == 0 || step == n_steps);
}

int trainer_run(struct trainer *t, struct err *err)
{
    int64_t n_steps = t->o.schedule.steps;
    struct progress progress;
    int rc = 0;
    progress_begin(&progress, t->o.log, "training", (double)n_steps, "steps");
    while (t->state.step < n_steps && !rc) {
        bool stops = t->o.stop && *t->o.stop;
        if (!stops)
            rc = trainer_step(t, err);
        progress_set(&progress, (double)t->state.step);
        if (!rc && !stops && is_due(t->state.step, t->o.eval_every, n_steps))
            rc = trainer_evaluate(t, err);
        if (!rc && (stops || is_due(t->state.step, t->o.save_every, n_steps)))
            rc = trainer_save(t, err);
        if (!rc && stops)
            rc = err_set(err, MOE2_ESTOP, "stopped after step %" PRId64 " of %" PRId64,
                         t->state.step, n_steps);
    }
    progress_end(&progress);
    return rc;
}
