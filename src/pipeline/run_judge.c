/* Judging a trained run: see run_judge.h. metrics.json is composed in memory and written in one
 * go. */
#include "pipeline/run_judge.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/machine.h"
#include "eval/overlap.h"
#include "eval/routing_stats.h"
#include "eval/sample.h"
#include "io/json_util.h"
#include "train/checkpoint.h"
#include "train/metrics.h"

/* What was found out, before it is printed. */
struct findings {
    struct perplexity test, look_ahead;
    bool has_look_ahead;
    struct routing_stats *routing;
    struct balance_result *results; /* [MoE layers] */
    struct train_state state;       /* of checkpoints/last */
    bool is_trained;
    struct evaluation last;    /* the last evaluation in metrics.jsonl */
    double routing_s, steps_s; /* sums over the steps in metrics.jsonl */
    struct buf before, after;  /* samples */
    struct overlap overlap;    /* with the choices before the first step */
    double latency_ms;
};

enum { OVERLAP_TOKENS = 4096 }; /* of the test text */

static void findings_release(struct findings *f)
{
    routing_stats_free(f->routing);
    free(f->results);
    overlap_close(&f->overlap);
    buf_release(&f->before);
    buf_release(&f->after);
}

/* ---- measuring ---- */

/* The routing that the checkpoint was trained with, which evaluation uses whatever the
 * configuration says now. */
static const struct router_config *routing_of(const struct run_judged *j)
{
    for (int64_t l = 0; l < decoder_config(j->dec)->num_hidden_layers; l++)
        if (decoder_router(j->dec, l))
            return router_config(decoder_router(j->dec, l));
    return &j->rc->routing;
}

/* The test text once through the model: scored, and its routing counted. */
static int score_test(struct findings *f, const struct run_judged *j, struct err *err)
{
    struct perplexity_options o = j->eval;
    const struct tokens *test = &j->data->test.tokens;
    int rc = routing_stats_new(&f->routing, j->dec, j->data->tokenizer, 0, err);
    if (rc)
        return rc;
    bool once =
        o.stride ==
        o.window; /* else tokens pass more than once, and are counted in a pass of their own */
    o.seen = once ? routing_stats_seen : NULL;
    o.seen_ctx = f->routing;
    rc = perplexity_run(&f->test, j->dec, test, &o, err);
    if (!rc && !once) {
        struct perplexity ignored;
        o.stride = o.window;
        o.seen = routing_stats_seen;
        rc = perplexity_run(&ignored, j->dec, test, &o, err);
    }
    f->has_look_ahead = routing_of(j)->pick == PICK_EXPERT_CHOICE;
    if (!rc && f->has_look_ahead) {
        o = j->eval;
        o.mode = DECODER_LOOKAHEAD;
        rc = perplexity_run(&f->look_ahead, j->dec, test, &o, err);
    }
    if (rc)
        err_prefix(err, "test");
    return rc;
}

/* The measures of each layer, with what training and the clock add to them. */
static int measure(struct findings *f, const struct run_judged *j, struct err *err)
{
    struct measures m = {0};
    int64_t n = routing_stats_n_layers(f->routing);
    f->results = calloc((size_t)n + 1, sizeof *f->results);
    int rc = f->results ? 0 : err_set(err, MOE2_ELIMIT, "no memory for measures");
    if (!rc && f->is_trained) {
        rc = measures_init(&m, j->dec, j->rc->train.steps, err);
        if (!rc)
            rc = checkpoint_read_measures(&m, j->last, err);
    }
    for (int64_t i = 0; i < n && !rc; i++) {
        rc = routing_stats_result(&f->results[i], f->routing, i, err);
        if (!rc && f->is_trained)
            rc = matthew_result(&f->results[i], m.layers[routing_stats_layer(f->routing, i)], err);
        f->results[i].routing_share = f->steps_s > 0 ? f->routing_s / f->steps_s : NAN;
    }
    measures_release(&m);
    return rc;
}

/* A line of metrics.jsonl: the time that routing took, the last evaluation. */
static int read_line(void *ctx, const json_t *line, struct err *err)
{
    struct findings *f = ctx;
    double share = 0, seconds = 0;
    int rc = 0;
    if (!json_object_get(line, "eval")) {
        rc = json_opt_real(&share, 0, line, "metrics.jsonl", "routing_share", 0, INFINITY, err);
        if (!rc)
            rc = json_opt_real(&seconds, 0, line, "metrics.jsonl", "step_s", 0, INFINITY, err);
        f->routing_s += share * seconds;
        f->steps_s += seconds;
        return rc;
    }
    rc = json_need_int(&f->last.step, line, "metrics.jsonl", "step", 0, INT64_MAX, err);
    if (!rc)
        rc = json_need_real(&f->last.loss, line, "metrics.jsonl", "loss", -INFINITY, INFINITY, err);
    if (!rc)
        rc = json_opt_real(&f->last.bits_per_byte, NAN, line, "metrics.jsonl", "bits_per_byte",
                           -INFINITY, INFINITY, err);
    return rc;
}

/* The model as it was before its first step. */
static int open_first(struct decoder **out, const struct run_judged *j, struct err *err)
{
    const struct run_config *rc = j->rc;
    bool is_new = !run_config_start(rc);
    struct decoder_options o = {
        .dir = run_config_start(rc),
        .config = is_new ? decoder_config(j->dec) : NULL,
        .seed = (uint64_t)rc->seed,
        .router = &rc->routing,
        .compute = rc->train.dtype ? DT_BF16 : DT_F32,
    };
    return decoder_open(out, &o, decoder_device(j->dec), err);
}

/* What the model writes now and wrote before its first step, and how many of its choices are still
 * those of then. */
static int look_back(struct findings *f, const struct run_judged *j, struct err *err)
{
    struct sample_options o = {j->rc->eval.sample_tokens, 0.8, (uint64_t)j->rc->seed,
                               j->eval.prefix};
    struct perplexity_options window = {.window = j->eval.window,
                                        .stride = j->eval.window,
                                        .prefix = j->eval.prefix,
                                        .max_tokens = OVERLAP_TOKENS};
    const char *prompt = j->rc->eval.prompt;
    struct decoder *first = NULL;
    int rc = open_first(&first, j, err);
    if (!rc && o.n_tokens)
        rc = sample_text(&f->after, j->dec, j->data->tokenizer, prompt, &o, err);
    if (!rc && o.n_tokens)
        rc = sample_text(&f->before, first, j->data->tokenizer, prompt, &o, err);
    if (!rc)
        rc = overlap_begin(&f->overlap, j->dec, first, "the first model", err);
    if (!rc)
        rc = overlap_run(&f->overlap, j->dec, &j->data->test.tokens, &window, err);
    f->overlap.other = NULL;
    decoder_free(first);
    if (rc)
        err_prefix(err, "looking back");
    return rc;
}

static int find_out(struct findings *f, const struct run_judged *j, struct err *err)
{
    int rc = 0;
    f->last.step = -1;
    if (checkpoint_exists(j->last)) {
        rc = checkpoint_read_state(&f->state, NULL, j->last, err);
        f->is_trained = !rc;
    }
    if (!rc && file_exists(j->jsonl))
        rc = metrics_read(j->jsonl, read_line, f, err);
    if (!rc)
        rc = score_test(f, j, err);
    if (!rc)
        rc = measure(f, j, err);
    if (!rc)
        rc = sample_latency_ms(&f->latency_ms, j->dec, j->eval.window, err);
    if (!rc)
        rc = look_back(f, j, err);
    return rc;
}

/* ---- metrics.json ---- */

static void print_config(struct json_writer *w, const struct run_config *rc)
{
    int n = 0;
    const struct yaml_key *keys = run_config_keys(&n);
    struct buf text = {0};
    jw_object(w, "config");
    for (int i = 0; i < n; i++) {
        const void *p = (const char *)rc + keys[i].offset;
        buf_clear(&text);
        switch (keys[i].type) {
        case YAML_KEY_INT:
            jw_int(w, keys[i].name, *(const int64_t *)p);
            break;
        case YAML_KEY_REAL:
            jw_real(w, keys[i].name, *(const double *)p);
            break;
        case YAML_KEY_BOOL:
            jw_bool(w, keys[i].name, *(const bool *)p);
            break;
        case YAML_KEY_TEXT:
            jw_text(w, keys[i].name, *(const char *const *)p);
            break;
        default:
            if (!yaml_dump_value(&text, rc, &keys[i], NULL))
                jw_text(w, keys[i].name, text.bytes);
        }
    }
    jw_end(w);
    buf_release(&text);
}

static void print_model(struct json_writer *w, const struct run_judged *j)
{
    const struct model_config *c = decoder_config(j->dec);
    struct model_size size = model_size(c);
    jw_object(w, "model");
    jw_int(w, "n_params", size.n_params);
    jw_int(w, "n_active_params", size.n_active_params);
    jw_real(w, "flops_per_token", model_forward_flops(c, (double)j->rc->train.sequence / 2));
    jw_end(w);
}

static void print_train(struct json_writer *w, const struct findings *f)
{
    jw_object(w, "train");
    if (f->is_trained) {
        jw_int(w, "steps", f->state.step);
        jw_int(w, "tokens", f->state.tokens);
        jw_real(w, "seconds", f->state.seconds);
        jw_real(w, "tokens_per_s", (double)f->state.tokens / f->state.seconds);
        jw_int(w, "peak_rss_bytes", f->state.peak_rss_bytes);
        if (f->state.peak_device_bytes)
            jw_int(w, "peak_device_bytes", f->state.peak_device_bytes);
        if (isfinite(f->state.joules)) {
            jw_real(w, "joules", f->state.joules);
            jw_real(w, "joules_per_token", f->state.joules / (double)f->state.tokens);
        }
        jw_real(w, "final_loss", f->state.loss);
    }
    jw_end(w);
}

struct curve {
    struct json_writer *w;
    int64_t batch_tokens;
};

static int print_curve_line(void *ctx, const json_t *line, struct err *err)
{
    const struct curve *c = ctx;
    struct findings f = {0};
    if (!json_object_get(line, "eval"))
        return 0;
    int rc = read_line(&f, line, err);
    if (rc)
        return rc;
    jw_object(c->w, NULL);
    jw_int(c->w, "step", f.last.step);
    jw_int(c->w, "tokens", f.last.step * c->batch_tokens);
    jw_real(c->w, "loss", f.last.loss);
    jw_real(c->w, "bits_per_byte", f.last.bits_per_byte);
    jw_end(c->w);
    return 0;
}

static void print_evaluation(struct json_writer *w, const char *key, const struct evaluation *e)
{
    jw_object(w, key);
    jw_int(w, "step", e->step);
    jw_real(w, "loss", e->loss);
    jw_real(w, "bits_per_byte", e->bits_per_byte);
    jw_end(w);
}

static int print_validation(struct json_writer *w, const struct run_judged *j,
                            const struct findings *f, struct err *err)
{
    int rc = 0;
    jw_object(w, "validation");
    if (f->is_trained && isfinite(f->state.best.loss))
        print_evaluation(w, "best", &f->state.best);
    if (f->last.step >= 0)
        print_evaluation(w, "last", &f->last);
    if (file_exists(j->jsonl)) {
        jw_array(w, "curve");
        rc = metrics_read(j->jsonl, print_curve_line, &(struct curve){w, j->rc->train.batch_tokens},
                          err);
        jw_end(w);
    }
    jw_end(w);
    return rc;
}

static void print_perplexity(struct json_writer *w, const struct perplexity *p)
{
    double loss = p->nll / (double)p->tokens;
    jw_int(w, "tokens", p->tokens);
    jw_int(w, "bytes", p->bytes);
    jw_real(w, "nll", p->nll);
    jw_real(w, "loss", loss);
    jw_real(w, "ppl", exp(loss));
    jw_real(w, "bits_per_byte", bits_per_byte(p->nll, p->bytes));
    jw_real(w, "accuracy", (double)p->n_right / (double)p->tokens);
    jw_real(w, "seconds", p->seconds);
}

static void print_machine(struct json_writer *w, const struct run_judged *j)
{
    char name[128];
    machine_cpu(name, sizeof name);
    jw_object(w, "machine");
    jw_text(w, "cpu", name);
    jw_text(w, "kernels", decoder_device(j->dec)->k->name);
    jw_int(w, "threads", decoder_device(j->dec)->n_threads);
    jw_end(w);
}

static int print(struct buf *out, const struct run_judged *j, const struct findings *f,
                 struct err *err)
{
    struct json_writer w;
    json_writer_init(&w, out, 2);
    jw_object(&w, NULL);
    jw_text(&w, "name", j->rc->name);
    jw_int(&w, "seed", j->rc->seed);
    jw_text(&w, "router", run_config_label(routing_of(j)));
    jw_text(&w, "checkpoint", j->checkpoint);
    print_config(&w, j->rc);
    jw_array(&w, "commands");
    if (j->command)
        jw_text(&w, NULL, j->command);
    jw_end(&w);
    print_model(&w, j);
    print_train(&w, f);
    int rc = print_validation(&w, j, f, err);
    jw_object(&w, "test");
    print_perplexity(&w, &f->test);
    if (f->has_look_ahead) {
        jw_object(&w, "look_ahead");
        print_perplexity(&w, &f->look_ahead);
        jw_end(&w);
    }
    jw_end(&w);
    routing_stats_print(&w, "routing", f->routing, f->results);
    jw_reals(&w, "picks_overlap_with_start", f->overlap.mean, f->overlap.n_layers);
    jw_real(&w, "latency_ms_per_token", f->latency_ms);
    print_machine(&w, j);
    if (j->rc->eval.sample_tokens) {
        jw_object(&w, "samples");
        jw_text(&w, "prompt", j->rc->eval.prompt);
        jw_text(&w, "before", f->before.bytes ? f->before.bytes : "");
        jw_text(&w, "after", f->after.bytes ? f->after.bytes : "");
        jw_end(&w);
    }
    jw_end(&w);
    return rc ? rc : json_writer_end(&w, err);
}

int run_judge(const struct run_judged *j, struct err *err)
{
    struct findings f = {0};
    struct buf text = {0};
    char *path = path_join(j->folder, "metrics.json");
    int rc = path ? 0 : err_set(err, MOE2_ELIMIT, "no memory for a name");
    if (!rc)
        rc = find_out(&f, j, err);
    if (!rc)
        rc = print(&text, j, &f, err);
    if (!rc)
        rc = file_write(path, text.bytes, text.n, err);
    if (!rc)
        log_line(j->log, LOG_INFO,
                 "test: loss %.4f, perplexity %.2f, %.4f bits per byte over %" PRId64
                 " tokens; written to %s",
                 f.test.nll / (double)f.test.tokens, exp(f.test.nll / (double)f.test.tokens),
                 bits_per_byte(f.test.nll, f.test.bytes), f.test.tokens, path);
    buf_release(&text);
    findings_release(&f);
    free(path);
    return rc;
}
