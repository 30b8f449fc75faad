/* The configuration of a run: one YAML file for data, model, router, training and evaluation, under
 * one table of keys.
 *
 *     struct run_config rc;
 *     run_config_read(&rc, "configs/rd_esi_config.yaml", words, n, err);    words: "train.lr=1e-3"
 *     run_config_resolve(&rc, &model, err);        every automatic value becomes a number
 *     run_config_release(&rc);
 *
 * A resolved configuration written by run_config_print reads back as itself, and two runs are the
 * same run when no key differs but those that only say where and how often something is
 * written. */
#ifndef MOE2_PIPELINE_RUN_CONFIG_H
#define MOE2_PIPELINE_RUN_CONFIG_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "io/yaml.h"
#include "model/config.h"
#include "route/router.h"
#include "train/optimizer.h"
#include "train/schedule.h"

struct run_data {
    const char *dir;
    struct yaml_texts text;
    const char *examples, *examples_validation;
    const char *tokenizer;
    int choices; /* enum answer_form: how examples of multiple choice are asked */
};

/* A model that is only read while adapters on it train: moe2 finetune. */
struct run_base {
    const char *path;
    int dtype; /* enum base_type */
};

struct run_lora {
    int64_t r;
    double alpha, dropout;
    bool rslora;
    struct yaml_texts target_modules, rank_pattern, alpha_pattern; /* "PATTERN=NUMBER" */
    int router;                                                    /* 0 frozen, 1 trained */
    const char *adapter;
};

struct run_model {
    const char *config, *checkpoint;
    int64_t vocab_size;
};

/* The values of the router's keys as YAML holds them; what counts is struct router_config
 * (run_config.routing). */
struct run_router {
    int score, pick, incentive, combine, native_bias;
    double native_bias_rate, capacity_factor;
    int aux_form, sequence_f;
    double aux_coef, sequence_coef, z_loss;
    double update_rate, quantile_rate;
    bool recentre;
    int performance, load, exploration, decay;
    bool normalise;
    double alpha, beta, gamma, C, decay_rate, load_ema_alpha, integral, load_capacity_factor;
    double epsilon, noise_std, exploration_until;
    int64_t min_tokens, decay_after;
};

struct run_train {
    int64_t tokens, steps, batch_tokens, sequence, micro_batch;
    double lr, min_lr;
    double epochs, memory_gb;
    int optimizer; /* 0 adamw, 1 adamw8bit */
    int64_t warmup, decay_steps;
    int schedule; /* enum schedule_kind */
    struct yaml_reals betas;
    double eps, weight_decay, clip;
    int dtype; /* 0 f32, 1 bf16 */
    bool checkpoint_activations;
    int64_t eval_every, save_every, log_every, threads;
    const char *device;
    int offload; /* enum offload */
};

struct run_eval {
    int64_t window, stride, tokens, test_tokens;
    const char *prompt;
    int64_t sample_tokens;
};

struct run_config {
    const char *name, *results_dir;
    int64_t seed;
    struct run_data data;
    struct run_model model;
    struct run_base base;
    struct run_lora lora;
    struct run_router router;
    struct run_train train;
    struct run_eval eval;

    char *path;                   /* the file it was read from, owned */
    struct yaml_config *yaml;     /* owns the texts and lists above */
    struct router_config routing; /* valid once resolved */
    bool resolved;
};

/* Reads path and n overrides "key=value". Errors: as yaml_read, and MOE2_ECONFIG for keys that
 * contradict each other. */
int run_config_read(struct run_config *out, const char *path, const char *const *overrides,
                    int n_overrides, struct err *err);

/* The same from text in memory; name stands in messages. */
int run_config_parse(struct run_config *out, const char *name, const char *text, size_t n_text,
                     const char *const *overrides, int n_overrides, struct err *err);
void run_config_release(struct run_config *rc); /* a zeroed one is fine */

/* One more override of an unresolved configuration, through the same checks: for tuning and
 * sweeps. */
int run_config_set(struct run_config *rc, const char *override, struct err *err);

/* Fills in what depends on the model and on other keys: steps, warm-up, the router's starting
 * values. */
int run_config_resolve(struct run_config *rc, const struct model_config *model, struct err *err);

/* none, aux, aux_global, loss_free, quantile, expert_choice, random, rd_esi, rd_esi_integral or
 * rd_esi_raw: what tables call the router. */
const char *run_config_label(const struct router_config *config);

/* Where the weights come from: base.path, model.checkpoint, or NULL for new ones. */
const char *run_config_start(const struct run_config *rc);

struct schedule run_config_schedule(const struct run_config *rc);
struct optimizer_config run_config_optimizer(const struct run_config *rc);

/* Appends the configuration as YAML with all keys. */
int run_config_print(struct buf *out, const struct run_config *rc, struct err *err);

/* Appends the table of keys for --help-config. */
int run_config_help(struct buf *out, struct err *err);

/* The rows, and the struct that their offsets count from is run_config. */
const struct yaml_key *run_config_keys(int *n);

/* The first key that keeps b from being the run that a began, both resolved; NULL if there is none.
 * Not counted: name, results_dir, train.save_every, train.log_every, eval.test_tokens, eval.prompt,
 * eval.sample_tokens. */
const struct yaml_key *run_config_difference(const struct run_config *a,
                                             const struct run_config *b);

#endif
