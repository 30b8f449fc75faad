/* Judging a trained run: see run_judge.h. metrics.json is composed in memory and written in one go. */
#include "pipeline/run_judge.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "io/json_util.h"
#include "train/checkpoint.h"
#include "train/metrics.h"

/* What was found out, before it is printed. */
struct findings {
    struct perplexity test, look_ahead;
    bool has_look_ahead;
    struct train_state state; /* of checkpoints/last */
    bool is_trained;
};

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
        jw_int(w, "peak_rss_bytes", peak_rss_bytes());
        jw_real(w, "final_loss", f->state.loss);
    }
    jw_end(w);
}

static int print_curve_line(void *ctx, const json_t *line, struct err *err)
{
    struct json_writer *w = ctx;
    int64_t step = 0;
    double loss = 0, bits = 0;
    if (!json_object_get(line, "eval"))
        return 0;
    int rc = json_need_int(&step, line, "metrics.jsonl", "step", 0, INT64_MAX, err);
    if (!rc)
        rc = json_need_real(&loss, line, "metrics.jsonl", "loss", -INFINITY, INFINITY, err);
    if (!rc)
        rc = json_opt_real(&bits, NAN, line, "metrics.jsonl", "bits_per_byte", -INFINITY, INFINITY,
                           err);
    if (rc)
        return rc;
    jw_object(w, NULL);
    jw_int(w, "step", step);
    jw_real(w, "loss", loss);
    jw_real(w, "bits_per_byte", bits);
    jw_end(w);
    return 0;
}

static int print_validation(struct json_writer *w, const struct run_judged *j,
                            const struct findings *f, struct err *err)
{
    int rc = 0;
    jw_object(w, "validation");
    if (f->is_trained && isfinite(f->state.best.loss)) {
        jw_object(w, "best");
        jw_int(w, "step", f->state.best.step);
        jw_real(w, "loss", f->state.best.loss);
        jw_real(w, "bits_per_byte", f->state.best.bits_per_byte);
        jw_end(w);
    }
    if (j->jsonl && file_exists(j->jsonl)) {
        jw_array(w, "curve");
        rc = metrics_read(j->jsonl, print_curve_line, w, err);
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

static int print(struct buf *out, const struct run_judged *j, const struct findings *f,
                 struct err *err)
{
    struct json_writer w;
    json_writer_init(&w, out, 2);
    jw_object(&w, NULL);
    jw_text(&w, "name", j->rc->name);
    jw_int(&w, "seed", j->rc->seed);
    jw_text(&w, "router", run_config_label(&j->rc->routing));
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
    jw_object(&w, "machine");
    jw_text(&w, "kernels", decoder_device(j->dec)->k->name);
    jw_int(&w, "threads", decoder_device(j->dec)->n_threads);
    jw_end(&w);
    jw_end(&w);
    return rc ? rc : json_writer_end(&w, err);
}

int run_judge(const struct run_judged *j, struct err *err)
{
    struct findings f = {0};
    struct buf text = {0};
    char *path = path_join(j->folder, "metrics.json");
    int rc = path ? 0 : err_set(err, MOE2_ELIMIT, "no memory for a name");
    if (!rc && checkpoint_exists(j->last)) {
        rc = checkpoint_read_state(&f.state, NULL, j->last, err);
        f.is_trained = !rc;
    }
    if (!rc)
        rc = perplexity_run(&f.test, j->dec, &j->data->test.tokens, &j->eval, err);
    if (!rc)
        rc = print(&text, j, &f, err);
    if (!rc)
        rc = file_write(path, text.bytes, text.n, err);
    if (!rc)
        log_line(j->log, LOG_INFO,
                 "test: loss %.4f, perplexity %.2f, %.4f bits per byte over %" PRId64 " tokens",
                 f.test.nll / (double)f.test.tokens, exp(f.test.nll / (double)f.test.tokens),
                 bits_per_byte(f.test.nll, f.test.bytes), f.test.tokens);
    buf_release(&text);
    free(path);
    return rc;
}
