/* The configuration of a run: see run_config.h.
 *
 * The router's rows have the names of model/router_file.h's fields, and pass into struct
 * router_config as text, field by field, when the file gives them. What it does not give is
 * resolved by route, whose starting values depend on the score and the number of experts, and
 * written back into the rows, so that config.yaml of a run says what really ran.
 */
#include "pipeline/run_config.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "model/router_file.h"
#include "pipeline/answer_set.h"

/* A choice's word 0, "auto", leaves it to the model or to the rest of the configuration. */
static const char *const SCORES[] = {"auto", "sigmoid", "softmax", NULL};
static const char *const PICKS[] = {"auto", "topk", "group_topk", "expert_choice", "random", NULL};
static const char *const INCENTIVES[] = {
    "none", "aux", "loss_free", "quantile", "rd_esi", "rd_esi_integral", NULL};
static const char *const COMBINES[] = {"auto", "gate", "selection", NULL};
static const char *const NATIVE[] = {"auto", "replace", "keep", "freeze", NULL};
static const char *const AUX_FORMS[] = {"auto", "batch", "global", "hf", NULL};
static const char *const SEQUENCE_F[] = {"auto", "unbiased", "routed", NULL};
static const char *const PERFORMANCES[] = {"auto", "loss", "norm", "accuracy", NULL};
static const char *const LOADS[] = {"auto", "ema", "queue", "capacity", NULL};
static const char *const EXPLORATIONS[] = {"auto", "ucb", "epsilon", "noise", NULL};
static const char *const DECAYS[] = {"auto", "time", "inactivity", NULL};
static const char *const SCHEDULES[] = {"cosine", "wsd", NULL};
static const char *const OFFLOADS[] = {"none", "memory", "disk", NULL};
static const char *const DTYPES[] = {"f32", "bf16", NULL};
static const char *const BASES[] = {"f32", "bf16", "nf4", NULL};
static const char *const ROUTERS[] = {"frozen", "trained", NULL};
static const char *const OPTIMIZERS[] = {"adamw", "adamw8bit", NULL};

#define AT(field) offsetof(struct run_config, field)
#define INT(name, field, initial, min, max, help)                                                  \
    {                                                                                              \
        name, YAML_KEY_INT, AT(field), initial, min, max, NULL, help                               \
    }
#define REAL(name, field, initial, min, max, help)                                                 \
    {                                                                                              \
        name, YAML_KEY_REAL, AT(field), initial, min, max, NULL, help                              \
    }
#define BOOL(name, field, initial, help)                                                           \
    {                                                                                              \
        name, YAML_KEY_BOOL, AT(field), initial, 0, 0, NULL, help                                  \
    }
#define TEXT(name, field, initial, help)                                                           \
    {                                                                                              \
        name, YAML_KEY_TEXT, AT(field), initial, 0, 0, NULL, help                                  \
    }
#define PICK(name, field, initial, words, help)                                                    \
    {                                                                                              \
        name, YAML_KEY_CHOICE, AT(field), initial, 0, 0, words, help                               \
    }

static const struct yaml_key KEYS[] = {
    TEXT("name", name, NULL, "of the run; its results go to RESULTS_DIR/NAME"),
    INT("seed", seed, "1", 0, 1e15, "of initial weights, data order and drawn routing"),
    TEXT("results_dir", results_dir, "results", "folder of the results folders"),

    TEXT("data.dir", data.dir, "", "packed text, as moe2 data text makes it"),
    {"data.text", YAML_KEY_TEXT_LIST, AT(data.text), "[]", 0, 0, NULL,
     "instead of data.dir: plain text files, split and tokenized in memory"},
    TEXT("data.examples", data.examples, "",
         "instead: JSON lines: prompt and completion, instruction and output, text, "
         "or multiple choice as moe2 data qa writes it"),
    TEXT("data.examples_validation", data.examples_validation, "",
         "the same for validation; not given: one in twenty is held out"),
    PICK("data.choices", data.choices, "letter", answer_form_names,
         "examples of multiple choice as moe2 answer asks them: for the letter, or for the text"),
    TEXT("data.tokenizer", data.tokenizer, "bytes",
         "for data.text and data.examples: bytes, or a tokenizer.json or its folder; not given: "
         "base.path's"),

    TEXT("model.config", model.config, "configs/model/small.json",
         "shape of a new model: config.json, a preset or a folder"),
    TEXT("model.checkpoint", model.checkpoint, "", "start from the weights of this folder instead"),
    INT("model.vocab_size", model.vocab_size, "0", 0, 1 << 24,
        "instead of the one in model.config; 0: as it says there"),

    TEXT("base.path", base.path, "",
         "fine-tune adapters on this checkpoint, whose weights stay as they are"),
    PICK("base.dtype", base.dtype, "f32", BASES,
         "its weights in memory; nf4: the matrices of products in 4 bits (QLoRA)"),
    INT("lora.r", lora.r, "16", 1, 4096, "rank of adapters"),
    REAL("lora.alpha", lora.alpha, "32", -1e6, 1e6, "they are scaled by alpha/r"),
    REAL("lora.dropout", lora.dropout, "0", 0, 0.99, "of their inputs"),
    BOOL("lora.rslora", lora.rslora, "false", "scale by alpha/sqrt(r) instead"),
    {"lora.target_modules", YAML_KEY_TEXT_LIST, AT(lora.target_modules), "[all-linear]", 0, 0, NULL,
     "names of modules, their ends (q_proj, mlp.gate, lm_head), expressions, or all-linear"},
    {"lora.rank_pattern", YAML_KEY_TEXT_LIST, AT(lora.rank_pattern), "[]", 0, 0, NULL,
     "other ranks: PATTERN=RANK, the first that matches"},
    {"lora.alpha_pattern", YAML_KEY_TEXT_LIST, AT(lora.alpha_pattern), "[]", 0, 0, NULL,
     "other alphas: PATTERN=ALPHA"},
    PICK("lora.router", lora.router, "frozen", ROUTERS,
         "trained: the routers' own weights train too, whole"),
    TEXT("lora.adapter", lora.adapter, "", "begin with the adapters of this folder"),

    PICK("router.score", router.score, "auto", SCORES,
         "auto: the model's; softmax for expert_choice"),
    PICK("router.pick", router.pick, "auto", PICKS,
         "auto: topk, by groups where the model has them"),
    PICK("router.incentive", router.incentive, "none", INCENTIVES,
         "what is added to the scores when experts are chosen"),
    PICK("router.combine", router.combine, "auto", COMBINES,
         "weights: gate from the unbiased scores; selection as in the raw variant"),
    PICK("router.native_bias", router.native_bias, "auto", NATIVE,
         "the model's own bias; auto: replace, freeze when fine-tuning"),
    REAL("router.native_bias_rate", router.native_bias_rate, "0.001", 0, 1, "its step under keep"),
    REAL("router.capacity_factor", router.capacity_factor, "0", 0, 1000,
         "most picks of an expert over its fair share, the rest is dropped; 0: no limit"),
    PICK("router.aux_form", router.aux_form, "auto", AUX_FORMS,
         "over which tokens the balance loss counts: batch, global (the step), hf (all layers)"),
    REAL("router.aux_coef", router.aux_coef, "0.001", 0, 100,
         "balance loss; not given: 0.001 for incentive aux, else 0"),
    PICK("router.sequence_f", router.sequence_f, "auto", SEQUENCE_F,
         "which picks DeepSeek-V3's sequence loss counts"),
    REAL("router.sequence_coef", router.sequence_coef, "0", 0, 100, "sequence-wise balance loss"),
    REAL("router.z_loss", router.z_loss, "0", 0, 100, "loss on the size of the router's logits"),
    REAL("router.update_rate", router.update_rate, "0.001", 0, 1,
         "loss_free: bias moved a step (times 2/E for softmax)"),
    BOOL("router.recentre", router.recentre, "false", "loss_free: keep the biases' mean at 0"),
    REAL("router.quantile_rate", router.quantile_rate, "1", 0, 1,
         "quantile: part of the correction"),
    PICK("router.performance", router.performance, "auto", PERFORMANCES,
         "rd_esi: what reputation is made of"),
    PICK("router.load", router.load, "auto", LOADS, "rd_esi: what load is"),
    PICK("router.exploration", router.exploration, "auto", EXPLORATIONS, "rd_esi: how it explores"),
    PICK("router.decay", router.decay, "auto", DECAYS, "rd_esi: when reputation decays"),
    BOOL("router.normalise", router.normalise, "true", "rd_esi: false is the raw variant"),
    REAL("router.alpha", router.alpha, "0.1", 0, 1, "rd_esi: smoothing of reputation"),
    REAL("router.beta", router.beta, "0.01", 0, 1e6,
         "rd_esi: weight of reputation (2/E for softmax)"),
    REAL("router.gamma", router.gamma, "0.5", 0, 1e6, "rd_esi: weight of load (2/E for softmax)"),
    REAL("router.C", router.C, "0.01", 0, 1e6, "rd_esi: size of the bonus (2/E for softmax)"),
    REAL("router.decay_rate", router.decay_rate, "0.99", 0, 1, "rd_esi: reputation kept a step"),
    REAL("router.load_ema_alpha", router.load_ema_alpha, "0.1", 0, 1, "rd_esi: smoothing of load"),
    REAL("router.integral", router.integral, "0", 0, 1e6,
         "rd_esi: weight of the load's integral (2/E for softmax)"),
    REAL("router.load_capacity_factor", router.load_capacity_factor, "1.25", 0, 1000,
         "rd_esi, load capacity: capacity over the fair share"),
    REAL("router.epsilon", router.epsilon, "0.05", 0, 1, "rd_esi: share of random picks"),
    REAL("router.noise_std", router.noise_std, "0.01", 0, 1e6,
         "rd_esi: deviation of the noise (2/E for softmax)"),
    REAL("router.exploration_until", router.exploration_until, "0", 0, 1e15,
         "rd_esi: step at which it ends; not given: half of the steps"),
    INT("router.min_tokens", router.min_tokens, "1", 0, 1e15,
        "rd_esi: tokens that make a step count for an expert"),
    INT("router.decay_after", router.decay_after, "100", 0, 1e15,
        "rd_esi, decay inactivity: idle steps before it"),

    INT("train.tokens", train.tokens, "0", 0, 1e15, "scored in training; or give train.steps"),
    INT("train.steps", train.steps, "0", 0, 1e12, "optimizer steps; or give train.tokens"),
    REAL("train.epochs", train.epochs, "0", 0, 1e6, "passes over the data; or give one of those"),
    PICK("train.optimizer", train.optimizer, "adamw", OPTIMIZERS,
         "adamw8bit: moments in 8 bits, blocks of 256"),
    REAL("train.memory_gb", train.memory_gb, "0", 0, 1e6,
         "fine-tuning that would need more is refused; 0: what the machine has free"),
    INT("train.batch_tokens", train.batch_tokens, "2048", 1, 1 << 30, "of one step"),
    INT("train.sequence", train.sequence, "128", 1, 1 << 24, "tokens of one sequence"),
    INT("train.micro_batch", train.micro_batch, "0", 0, 1 << 24,
        "sequences that go through the model at once; 0: the whole batch"),
    REAL("train.lr", train.lr, "0.003", 0, 100, "largest learning rate"),
    REAL("train.min_lr", train.min_lr, "0.0003", 0, 100, "at the last step"),
    INT("train.warmup", train.warmup, "0", 0, 1e12, "steps; not given: a tenth of all"),
    PICK("train.schedule", train.schedule, "cosine", SCHEDULES, "cosine, or warm-up-stable-decay"),
    INT("train.decay_steps", train.decay_steps, "0", 0, 1e12, "wsd; not given: a fifth of all"),
    {"train.betas", YAML_KEY_REAL_LIST, AT(train.betas), "[0.9, 0.95]", 0, 1, NULL, "AdamW's two"},
    REAL("train.eps", train.eps, "1e-8", 0, 1, "AdamW's"),
    REAL("train.weight_decay", train.weight_decay, "0.1", 0, 10,
         "decoupled; of matrices (the gate too), not of norms and biases"),
    REAL("train.clip", train.clip, "1", 0, 1e9, "largest norm of the gradient; 0: no limit"),
    PICK("train.dtype", train.dtype, "f32", DTYPES,
         "of the products; master weights are f32 always"),
    BOOL("train.checkpoint_activations", train.checkpoint_activations, "false",
         "keep each block's input only and compute it again: less memory, a third more time"),
    PICK("train.offload", train.offload, "none", OFFLOADS,
         "where blocks' inputs wait for the backward: on the device, in the host's memory, in a "
         "file "
         "in the results; needs train.checkpoint_activations"),
    INT("train.eval_every", train.eval_every, "0", 0, 1e12,
        "steps between evaluations; not given: a fifth of all"),
    INT("train.save_every", train.save_every, "0", 0, 1e12,
        "steps between writing checkpoints/last; 0: with every evaluation"),
    INT("train.log_every", train.log_every, "10", 1, 1e12,
        "steps between lines in the log, with the loads of every layer in metrics.jsonl"),
    INT("train.threads", train.threads, "0", 0, 4096, "0: every core"),
    TEXT("train.device", train.device, "cpu",
         "cpu, or one of its tables such as cpu:avx2; cuda, cuda:N"),

    INT("eval.window", eval.window, "0", 0, 1 << 24, "tokens seen at once; 0: train.sequence"),
    INT("eval.stride", eval.stride, "0", 0, 1 << 24, "tokens scored a window; 0: the window"),
    INT("eval.tokens", eval.tokens, "16384", 0, 1e15, "of validation text scored; 0: all"),
    INT("eval.test_tokens", eval.test_tokens, "0", 0, 1e15, "of test text scored; 0: all"),
    TEXT("eval.prompt", eval.prompt, "Il ", "of the sample in the report"),
    INT("eval.sample_tokens", eval.sample_tokens, "48", 0, 4096, "of the sample; 0: none"),
};
enum { N_KEYS = sizeof KEYS / sizeof *KEYS };

const struct yaml_key *run_config_keys(int *n)
{
    *n = N_KEYS;
    return KEYS;
}

/* ---- reading ---- */

/* Contradictions that show without a model. */
static int check(const struct run_config *rc, struct err *err)
{
    if (rc->train.offload && !rc->train.checkpoint_activations)
        return err_set(err, MOE2_ECONFIG,
                       "train.offload is %s, but without train.checkpoint_activations there is "
                       "nothing to off-load",
                       OFFLOADS[rc->train.offload]);
    if (!*rc->name || strchr(rc->name, '/') || *rc->name == '.')
        return err_set(err, MOE2_ECONFIG,
                       "name is \"%s\", wanted a word without / that does not begin with a dot",
                       rc->name);
    int n_data = (*rc->data.dir != 0) + (rc->data.text.n > 0) + (*rc->data.examples != 0);
    if (n_data != 1)
        return err_set(err, MOE2_ECONFIG, "%s, wanted one of data.dir, data.text and data.examples",
                       n_data ? "several are given" : "no data is given");
    if (*rc->base.path && *rc->model.checkpoint)
        return err_set(err, MOE2_ECONFIG,
                       "both base.path and model.checkpoint are given, wanted base.path to train "
                       "adapters or model.checkpoint to train all weights");
    int64_t batch = rc->train.batch_tokens, steps = (rc->train.tokens + batch - 1) / batch;
    if (!rc->train.steps && !rc->train.tokens && !(rc->train.epochs > 0))
        return err_set(err, MOE2_ECONFIG,
                       "none of train.tokens, train.steps and train.epochs is given");
    if (rc->train.steps && rc->train.tokens && rc->train.steps != steps)
        return err_set(err, MOE2_ECONFIG,
                       "train.tokens is %" PRId64 ", which is %" PRId64
                       " steps, and train.steps is %" PRId64
                       ", wanted one of the two (the other 0)",
                       rc->train.tokens, steps, rc->train.steps);
    if (rc->train.batch_tokens % rc->train.sequence)
        return err_set(err, MOE2_ECONFIG,
                       "train.batch_tokens is %" PRId64
                       ", wanted a multiple of train.sequence, which is %" PRId64,
                       rc->train.batch_tokens, rc->train.sequence);
    if (rc->train.betas.n != 2)
        return err_set(err, MOE2_ECONFIG, "train.betas has %" PRId64 " numbers, wanted 2",
                       rc->train.betas.n);
    int64_t window = rc->eval.window ? rc->eval.window : rc->train.sequence;
    if (rc->eval.stride > window)
        return err_set(err, MOE2_ECONFIG,
                       "eval.stride is %" PRId64 ", wanted at most the window, which is %" PRId64,
                       rc->eval.stride, window);
    return 0;
}

static int config_read(struct run_config *out, const struct yaml_source *source, struct err *err)
{
    struct run_config rc = {0};
    int rc_code = yaml_read(&rc.yaml, &rc, KEYS, N_KEYS, source, err);
    if (rc_code)
        return rc_code;
    rc.path = strdup(source->path ? source->path : "(no file)");
    rc_code = rc.path ? check(&rc, err) : err_set(err, MOE2_ELIMIT, "no memory for a name");
    if (rc_code)
        err_prefix(err, "%s", source->path ? source->path : "configuration");
    if (rc_code)
        run_config_release(&rc);
    else
        *out = rc;
    return rc_code;
}

int run_config_read(struct run_config *out, const char *path, const char *const *overrides,
                    int n_overrides, struct err *err)
{
    return config_read(
        out,
        &(struct yaml_source){.path = path, .overrides = overrides, .n_overrides = n_overrides},
        err);
}

int run_config_parse(struct run_config *out, const char *name, const char *text, size_t n_text,
                     const char *const *overrides, int n_overrides, struct err *err)
{
    return config_read(out,
                       &(struct yaml_source){.path = name,
                                             .text = text,
                                             .n_text = n_text,
                                             .overrides = overrides,
                                             .n_overrides = n_overrides},
                       err);
}

void run_config_release(struct run_config *rc)
{
    yaml_config_free(rc->yaml);
    free(rc->path);
    *rc = (struct run_config){0};
}

int run_config_set(struct run_config *rc, const char *override, struct err *err)
{
    int code = yaml_set(rc->yaml, rc, override, err);
    return code ? code : check(rc, err);
}

/* ---- resolving ---- */

static const struct yaml_key *key_find(const char *section, const char *name)
{
    for (int i = 0; i < N_KEYS; i++) {
        size_t n = strlen(section);
        if (strncmp(KEYS[i].name, section, n) == 0 && strcmp(KEYS[i].name + n, name) == 0)
            return &KEYS[i];
    }
    return NULL;
}

/* Given keys of the section "router." into the fields of the same names. */
static int router_from_keys(struct router_config *out, const struct run_config *rc, struct err *err)
{
    int n = 0, code = 0;
    const struct router_field *fields = router_fields(&n);
    struct buf text = {0};
    for (int i = 0; i < n && !code; i++) {
        const struct yaml_key *key = key_find("router.", fields[i].name);
        if (!key || (!yaml_given(rc->yaml, key->name) && key->type != YAML_KEY_CHOICE))
            continue;
        buf_clear(&text);
        code = yaml_dump_value(&text, rc, key, err);
        if (code || strcmp(text.bytes, "auto") == 0)
            continue;
        if (key->type == YAML_KEY_BOOL)
            code = router_field_parse(out, &fields[i], strcmp(text.bytes, "true") == 0 ? "1" : "0",
                                      err);
        else
            code = router_field_parse(out, &fields[i], text.bytes, err);
    }
    buf_release(&text);
    return code;
}

/* The resolved fields back into the keys. */
static int router_to_keys(struct run_config *rc, struct err *err)
{
    int n = 0, code = 0;
    const struct router_field *fields = router_fields(&n);
    struct buf text = {0};
    for (int i = 0; i < n && !code; i++) {
        const struct yaml_key *key = key_find("router.", fields[i].name);
        if (!key)
            continue;
        buf_clear(&text);
        code = buf_printf(&text, err, "%s=", key->name);
        if (!code && key->type == YAML_KEY_BOOL)
            code = buf_puts(&text,
                            *(const int *)((const char *)&rc->routing + fields[i].offset) ? "true"
                                                                                          : "false",
                            err);
        else if (!code)
            code = router_field_print(&text, &fields[i], &rc->routing, err);
        if (!code)
            code = yaml_set(rc->yaml, rc, text.bytes, err);
    }
    buf_release(&text);
    return code;
}

static int resolve_router(struct run_config *rc, const struct model_config *model, struct err *err)
{
    struct router_config r;
    model_router_config(&r, model);
    enum score_kind model_score = r.score;
    r.score = SCORE_AUTO;
    r.group_score = GROUP_SCORE_AUTO;
    r.combine = COMBINE_AUTO;
    r.native_bias = run_config_start(rc) ? NATIVE_BIAS_FREEZE : NATIVE_BIAS_REPLACE;
    r.seed = (uint64_t)rc->seed;
    int code = router_from_keys(&r, rc, err);
    if (code)
        return code;
    if (r.score == SCORE_AUTO && r.pick != PICK_EXPERT_CHOICE)
        r.score = model_score;
    router_config_resolve(&r, rc->train.steps);
    code = model->n_routed_experts > 0 ? router_config_check(&r, err) : 0;
    if (code)
        return code;
    rc->routing = r;
    return router_to_keys(rc, err);
}

static int set_int(struct run_config *rc, const char *key, int64_t value, struct err *err)
{
    char text[YAML_MAX_NAME + 32];
    snprintf(text, sizeof text, "%s=%" PRId64, key, value);
    return yaml_set(rc->yaml, rc, text, err);
}

static int resolve_train(struct run_config *rc, struct err *err)
{
    const struct run_train *t = &rc->train;
    bool has_warmup = yaml_given(rc->yaml, "train.warmup");
    bool has_decay = yaml_given(rc->yaml, "train.decay_steps");
    bool has_eval = yaml_given(rc->yaml, "train.eval_every");
    int code = 0;
    if (!t->steps)
        code = set_int(rc, "train.steps", (t->tokens + t->batch_tokens - 1) / t->batch_tokens, err);
    if (!code)
        code = set_int(rc, "train.tokens", t->steps * t->batch_tokens, err);
    if (!code && !has_warmup)
        code = set_int(rc, "train.warmup", t->steps / 10, err);
    if (!code && !has_decay)
        code = set_int(rc, "train.decay_steps", t->steps / 5, err);
    if (!code && !has_eval)
        code = set_int(rc, "train.eval_every", t->steps > 5 ? (t->steps + 4) / 5 : 1, err);
    if (!code && !t->micro_batch)
        code = set_int(rc, "train.micro_batch", t->batch_tokens / t->sequence, err);
    if (!code && !t->save_every)
        code = set_int(rc, "train.save_every", t->eval_every ? t->eval_every : t->steps, err);
    if (!code && !rc->eval.window)
        code = set_int(rc, "eval.window", t->sequence, err);
    if (!code && !rc->eval.stride)
        code = set_int(rc, "eval.stride", rc->eval.window, err);
    return code;
}

int run_config_resolve(struct run_config *rc, const struct model_config *model, struct err *err)
{
    struct schedule schedule;
    if (rc->resolved)
        return 0;
    int code = resolve_train(rc, err);
    if (!code)
        code = resolve_router(rc, model, err);
    if (!code) {
        rc->resolved = true;
        schedule = run_config_schedule(rc);
        code = schedule_check(&schedule, err);
    }
    int64_t longest = rc->train.sequence > rc->eval.window ? rc->train.sequence : rc->eval.window;
    if (!code && model->max_position_embeddings && longest > model->max_position_embeddings)
        code = err_set(err, MOE2_ECONFIG,
                       "train.sequence or eval.window is %" PRId64
                       ", wanted at most the model's max_position_embeddings, which is %" PRId64,
                       longest, model->max_position_embeddings);
    if (code)
        err_prefix(err, "%s", rc->path);
    return code;
}

/* ---- what others need of it ---- */

const char *run_config_label(const struct router_config *c)
{
    if (c->pick == PICK_EXPERT_CHOICE)
        return "expert_choice";
    if (c->pick == PICK_RANDOM)
        return "random";
    if (strcmp(c->incentive.name, "aux") == 0)
        return c->aux.form == AUX_GLOBAL ? "aux_global" : "aux";
    if (strcmp(c->incentive.name, "rd_esi") == 0 ||
        strcmp(c->incentive.name, "rd_esi_integral") == 0) {
        if (incentive_config_is_raw(&c->incentive))
            return "rd_esi_raw";
        return c->incentive.integral > 0 ? "rd_esi_integral" : "rd_esi";
    }
    return c->incentive.name;
}

const char *run_config_start(const struct run_config *rc)
{
    if (*rc->base.path)
        return rc->base.path;
    return *rc->model.checkpoint ? rc->model.checkpoint : NULL;
}

struct schedule run_config_schedule(const struct run_config *rc)
{
    const struct run_train *t = &rc->train;
    return (struct schedule){
        .kind = t->schedule ? SCHEDULE_WSD : SCHEDULE_COSINE,
        .lr = t->lr,
        .min_lr = t->min_lr,
        .steps = t->steps,
        .warmup = t->warmup,
        .decay_steps = t->decay_steps,
    };
}

struct optimizer_config run_config_optimizer(const struct run_config *rc)
{
    const struct run_train *t = &rc->train;
    return (struct optimizer_config){.beta1 = t->betas.values[0],
                                     .beta2 = t->betas.values[1],
                                     .eps = t->eps,
                                     .weight_decay = t->weight_decay,
                                     .clip = t->clip,
                                     .eight_bits = t->optimizer == 1};
}

int run_config_print(struct buf *out, const struct run_config *rc, struct err *err)
{
    return yaml_dump(out, rc, KEYS, N_KEYS, err);
}

int run_config_help(struct buf *out, struct err *err)
{
    return yaml_help(out, KEYS, N_KEYS, err);
}

static bool may_differ(const struct yaml_key *key)
{
    static const char *const free_keys[] = {
        "name",
        "results_dir",
        "train.save_every",
        "train.log_every",
        "eval.test_tokens",
        "eval.prompt",
        "eval.sample_tokens",
        "train.memory_gb",
        "train.offload",
    };
    for (size_t i = 0; i < sizeof free_keys / sizeof *free_keys; i++)
        if (strcmp(key->name, free_keys[i]) == 0)
            return true;
    return false;
}

const struct yaml_key *run_config_difference(const struct run_config *a, const struct run_config *b)
{
    struct buf x = {0}, y = {0};
    const struct yaml_key *found = NULL;
    for (int i = 0; i < N_KEYS && !found; i++) {
        buf_clear(&x);
        buf_clear(&y);
        if (yaml_dump_value(&x, a, &KEYS[i], NULL) || yaml_dump_value(&y, b, &KEYS[i], NULL) ||
            (strcmp(x.bytes, y.bytes) != 0 && !may_differ(&KEYS[i])))
            found = &KEYS[i];
    }
    buf_release(&x);
    buf_release(&y);
    return found;
}
