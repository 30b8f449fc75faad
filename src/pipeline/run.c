/* A run: see run.h. */
#include "pipeline/run.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "base/process.h"
#include "pipeline/finetune_data.h"
#include "pipeline/finetune_plan.h"
#include "pipeline/run_data.h"
#include "pipeline/run_judge.h"
#include "pipeline/run_log.h"
#include "quant/nf4_encode.h"
#include "route/router.h"
#include "train/folder.h"
#include "train/trainer.h"

static const char PID_FILE[] = "run.pid";

/* Everything that a run holds, released in one place. */
struct run {
    struct run_config *rc;
    const struct run_options *o;
    char *folder, *checkpoints, *last, *best, *adapter, *jsonl;
    int lock; /* of the folder, while it trains; -1: none */
    struct run_log log;
    struct device *dev;
    struct run_data_set data;
    struct examples examples, held_out; /* instead of text */
    struct packs packs, held_out_packs;
    struct finetune_memory memory; /* as planned */
    struct model_config model;
    int32_t *token_bytes;
    struct buf config; /* the resolved configuration as text */
    struct decoder *dec;
    struct optimizer *opt;
    struct metrics metrics;
    struct trainer trainer;
    bool resumes;
};

char *run_folder(const struct run_config *rc)
{
    return path_join(rc->results_dir, rc->name);
}

static void run_release(struct run *r)
{
    trainer_release(&r->trainer);
    metrics_close(&r->metrics);
    optimizer_free(r->opt);
    decoder_free(r->dec);
    buf_release(&r->config);
    free(r->token_bytes);
    packs_release(&r->packs);
    packs_release(&r->held_out_packs);
    examples_release(&r->examples);
    examples_release(&r->held_out);
    run_data_close(&r->data);
    device_close(r->dev);
    run_log_close(&r->log, NULL);
    if (r->lock >= 0)
        close(r->lock);
    free(r->folder);
    free(r->checkpoints);
    free(r->last);
    free(r->best);
    free(r->adapter);
    free(r->jsonl);
}

/* ---- setting up ---- */

static int name_paths(struct run *r, struct err *err)
{
    r->folder = run_folder(r->rc);
    r->checkpoints = r->folder ? path_join(r->folder, "checkpoints") : NULL;
    r->last = r->checkpoints ? path_join(r->checkpoints, "last") : NULL;
    r->best = r->checkpoints ? path_join(r->checkpoints, "best") : NULL;
    r->adapter = r->folder ? path_join(r->folder, "adapter") : NULL;
    r->jsonl = r->folder ? path_join(r->folder, "metrics.jsonl") : NULL;
    bool all = r->last && r->best && r->adapter && r->jsonl;
    return all ? 0 : err_set(err, MOE2_ELIMIT, "no memory for names");
}

/* The model's shape, with the vocabulary and the special ids of the data. */
static int read_model(struct run *r, struct err *err)
{
    const struct run_model *m = &r->rc->model;
    const char *start = run_config_start(r->rc), *path = start ? start : m->config;
    int rc = model_config_read(&r->model, path, err);
    if (rc)
        return rc;
    if (m->vocab_size && !start)
        r->model.vocab_size = m->vocab_size;
    if (r->data.n_vocab > r->model.vocab_size)
        return err_set(err, MOE2_ECONFIG,
                       "the text's tokenizer has %" PRId32
                       " ids, but the model of %s a vocabulary of %" PRId64
                       "; model.vocab_size can change it",
                       r->data.n_vocab, path, r->model.vocab_size);
    if (!start) {
        r->model.bos_token_id = r->data.bos_id;
        r->model.eos_token_id = r->data.eos_id;
    }
    return 0;
}

/* Where the keys name no tokenizer, the base model's own. */
static struct run_data data_of(const struct run *r)
{
    struct run_data data = r->rc->data;
    char *own = path_join(r->rc->base.path, "tokenizer.json");
    if (*r->rc->base.path && !yaml_given(r->rc->yaml, "data.tokenizer") && own && file_exists(own))
        data.tokenizer = r->rc->base.path;
    free(own);
    return data;
}

static int open_examples(struct run *r, const struct run_data *data, struct err *err)
{
    const char *more = data->examples_validation;
    uint64_t seed = (uint64_t)r->rc->seed;
    int64_t S = r->rc->train.sequence;
    enum answer_form form = (enum answer_form)data->choices;
    int rc = finetune_examples_read(&r->examples, data->examples, r->data.tokenizer, form, err);
    if (!rc)
        rc = *more ? finetune_examples_read(&r->held_out, more, r->data.tokenizer, form, err)
                   : finetune_hold_out(&r->examples, &r->held_out, seed, err);
    if (!rc)
        rc = packs_make(&r->packs, &r->examples, S, seed, err);
    return rc ? rc : packs_make(&r->held_out_packs, &r->held_out, S, seed, err);
}

/* train.epochs as steps. */
static int count_steps(struct run *r, struct err *err)
{
    const struct run_train *t = &r->rc->train;
    if (t->steps || t->tokens)
        return 0;
    int64_t windows = r->packs.n ? r->packs.n : (r->data.train.tokens.n - 1) / t->sequence,
            batch = t->batch_tokens / t->sequence;
    char text[64];
    snprintf(text, sizeof text, "train.steps=%" PRId64,
             (int64_t)ceil(t->epochs * (double)windows / (double)batch));
    return run_config_set(r->rc, text, err);
}

static int open_data(struct run *r, struct err *err)
{
    struct run_data data = data_of(r);
    int rc = run_data_open(&r->data, &data, err);
    if (!rc && *data.examples)
        rc = open_examples(r, &data, err);
    return rc ? rc : count_steps(r, err);
}

static int set_up(struct run *r, struct err *err)
{
    int rc = name_paths(r, err);
    if (!rc)
        rc = open_data(r, err);
    if (!rc)
        rc = read_model(r, err);
    if (!rc)
        rc = run_config_resolve(r->rc, &r->model, err);
    if (!rc)
        rc = run_config_print(&r->config, r->rc, err);
    if (!rc)
        rc = token_bytes_new(&r->token_bytes, r->data.tokenizer, r->model.vocab_size, err);
    if (!rc)
        rc = device_open(&r->dev, r->rc->train.device, (int)r->rc->train.threads, err);
    if (!rc && !r->dev->host_memory) /* on a CPU the plan keeps to it */
        r->dev->limit_bytes = (size_t)(r->rc->train.memory_gb * 1e9);
    return rc;
}

/* What a checkpoint's configuration says against going on from it. */
static int compare_configs(struct run *r, const struct buf *saved, struct err *err)
{
    struct run_config before = {0};
    int rc = run_config_parse(&before, r->last, saved->bytes, saved->n, NULL, 0, err);
    if (!rc)
        rc = run_config_resolve(&before, &r->model, err);
    const struct yaml_key *key = rc ? NULL : run_config_difference(&before, r->rc);
    if (key) {
        struct buf then = {0}, now = {0};
        yaml_dump_value(&then, &before, key, NULL);
        yaml_dump_value(&now, r->rc, key, NULL);
        rc =
            err_set(err, MOE2_ECONFIG,
                    "%s was begun with %s = %s, now it is %s; give it another name, or --restart "
                    "to begin anew",
                    r->folder, key->name, then.bytes ? then.bytes : "", now.bytes ? now.bytes : "");
        buf_release(&then);
        buf_release(&now);
    }
    run_config_release(&before);
    return rc;
}

/* A checkpoint is put in place as a whole: one that lacks a part was broken by others, and beginning
 * anew would write over what is left. */
static int check_remains(const struct run *r, struct err *err)
{
    bool best = file_exists(r->best);
    if (!best && !file_exists(r->last))
        return 0;
    return err_set(err, MOE2_EFORMAT, "%s: is no whole checkpoint%s; --restart begins anew",
                   r->last, best ? ", though there is a best one" : "");
}

/* Empties the folder, but for the lock that this process holds in it. */
static int clear_folder(const struct run *r, struct err *err)
{
    char **names = NULL;
    size_t n = 0;
    int rc = dir_names(&names, &n, r->folder, err);
    for (size_t i = 0; i < n && !rc; i++) {
        if (strcmp(names[i], PID_FILE) == 0)
            continue;
        char *path = path_join(r->folder, names[i]);
        rc = path ? file_remove_all(path, err) : err_set(err, MOE2_ELIMIT, "no memory for names");
        free(path);
    }
    dir_names_free(names, n);
    return rc;
}

/* Takes the folder for this process, and puts right what the death of another left in it. */
static int take_folder(struct run *r, struct err *err)
{
    int rc = dir_make(r->folder, err);
    if (!rc)
        rc = process_lock(&r->lock, r->folder, PID_FILE, err);
    if (!rc && r->o->resume == RUN_RESTART)
        rc = clear_folder(r, err);
    if (!rc)
        rc = folder_recover(r->last, err);
    return rc ? rc : folder_recover(r->best, err);
}

/* Finds out whether there is something to go on from. A run that must go on makes no folder. */
static int begin_training(struct run *r, struct err *err)
{
    bool must = r->o->resume == RUN_RESUME_MUST;
    int rc = must && !file_is_dir(r->folder) ? 0 : take_folder(r, err);
    r->resumes = !rc && checkpoint_exists(r->last);
    if (!rc && !r->resumes)
        rc = check_remains(r, err);
    if (!rc && !r->resumes && must)
        rc = err_set(err, MOE2_ECONFIG, "%s: there is no checkpoint to go on from", r->last);
    return rc;
}

/* Only looks, as another process may be training there. */
static int begin_evaluating(const struct run *r, struct err *err)
{
    if (r->o->checkpoint || checkpoint_exists(r->best) || checkpoint_exists(r->last))
        return 0;
    return err_set(err, MOE2_ECONFIG,
                   "%s has no checkpoint to evaluate; train it first, or say --checkpoint_path",
                   r->folder);
}

/* Makes the folder and what lies in it from the start; *state is that of the checkpoint which training goes on from. */
static int prepare_folder(struct run *r, struct train_state *state, struct err *err)
{
    struct buf saved = {0};
    bool trains = r->o->mode != RUN_EVALUATE;
    int rc = trains ? begin_training(r, err) : begin_evaluating(r, err);
    if (!rc)
        rc = dir_make(r->checkpoints, err);
    char *figures = path_join(r->folder, "figures"), *config = path_join(r->folder, "config.yaml");
    char *log = path_join(r->folder, "logs.txt");
    if (!rc && !(figures && config && log))
        rc = err_set(err, MOE2_ELIMIT, "no memory for names");
    if (!rc)
        rc = dir_make(figures, err);
    if (!rc && r->resumes) {
        rc = checkpoint_read_state(state, &saved, r->last, err);
        if (!rc)
            rc = compare_configs(r, &saved, err);
    }
    if (!rc)
        rc = run_log_open(&r->log, log, r->o->log, err);
    if (!rc && trains)
        rc = file_write(config, r->config.bytes, r->config.n, err);
    free(figures);
    free(config);
    free(log);
    buf_release(&saved);
    return rc;
}

static const struct router_config *first_router(const struct run *r)
{
    for (int64_t l = 0; l < r->model.num_hidden_layers; l++)
        if (decoder_router(r->dec, l))
            return router_config(decoder_router(r->dec, l));
    return NULL;
}

/* What a run saved must come with its routers, and be what the configuration says: figures under the name of another router would be
 * worse than none. A folder of others may have no state of a router. */
static int check_router(const struct run *r, const char *dir, struct err *err)
{
    const struct router_config *c = first_router(r);
    char *path = path_join(dir, "router_state.safetensors");
    int rc = path ? 0 : err_set(err, MOE2_ELIMIT, "%s: no memory for its name", dir);
    if (!rc && c && file_exists(path)) {
        const char *saved = run_config_label(c), *wanted = run_config_label(&r->rc->routing);
        if (strcmp(saved, wanted) != 0)
            rc = err_set(err, MOE2_ECONFIG,
                         "%s was trained with router %s, the configuration says %s", dir, saved,
                         wanted);
    } else if (!rc && c && dir != r->o->checkpoint) {
        rc = err_set(err, MOE2_EFORMAT, "%s: is not there, the state of the routers is lost", path);
    }
    free(path);
    return rc;
}

static const struct nf4_maker nf4_maker = {nf4_encode, nf4_nest};

/* Adapters on base.path: new ones, those of lora.adapter, or a checkpoint's. */
static int open_adapted(struct run *r, struct decoder_options o, const char *dir, struct err *err)
{
    struct finetune_lora lora = {0};
    int rc = finetune_lora_make(&lora, r->rc, err);
    if (rc)
        return rc;
    o.dir = r->rc->base.path;
    o.config = NULL;
    o.lora = &lora.config;
    o.adapter = dir ? dir : *r->rc->lora.adapter ? r->rc->lora.adapter : NULL;
    o.base = (enum base_type)r->rc->base.dtype;
    o.maker = &nf4_maker;
    rc = decoder_open(&r->dec, &o, r->dev, err);
    finetune_lora_release(&lora);
    return rc;
}

static struct decoder_options model_options(const struct run *r, const char *dir, bool train)
{
    const struct run_train *t = &r->rc->train;
    const char *start = run_config_start(r->rc);
    return (struct decoder_options){
        .dir = dir ? dir : start,
        .config = dir || start ? NULL : &r->model,
        .seed = (uint64_t)r->rc->seed,
        .router = dir ? NULL : &r->rc->routing, /* a checkpoint brings its own, which is the same */
        .compute = t->dtype ? DT_BF16 : DT_F32,
        .train = train,
        .checkpoint_activations = t->checkpoint_activations,
        .offload = (enum offload)t->offload,
        .offload_to = r->checkpoints,
        .log = &r->log.sink,
    };
}

static int open_model(struct run *r, const char *dir, bool train, struct err *err)
{
    struct decoder_options o = model_options(r, dir, train);
    int rc =
        *r->rc->base.path ? open_adapted(r, o, dir, err) : decoder_open(&r->dec, &o, r->dev, err);
    return rc || !dir ? rc : check_router(r, dir, err);
}

/* ---- the plan of fine-tuning ---- */

static void say_lines(const struct run *r, const char *text)
{
    for (const char *end; *text; text = *end ? end + 1 : end) {
        end = strchrnul(text, '\n');
        log_line(&r->log.sink, LOG_INFO, "%.*s", (int)(end - text), text);
    }
}

static int plan(struct run *r, struct err *err)
{
    struct decoder_options o = model_options(r, NULL, true);
    struct buf text = {0}, *out = r->o->plan ? r->o->plan : &text;
    o.plan_only = true;
    int rc = open_adapted(r, o, NULL, err);
    if (!rc)
        rc = finetune_plan(out, &r->memory, r->dec, r->rc, err);
    decoder_free(r->dec);
    r->dec = NULL;
    if (!rc && r->packs.n)
        rc = buf_printf(out, err,
                        "%" PRId64 " examples in %" PRId64 " sequences (%" PRId64 " cut, %" PRId64
                        " left out), %" PRId64 " for validation; %" PRId64 " steps\n",
                        r->examples.n, r->packs.n, r->packs.n_cut, r->packs.n_dropped,
                        r->held_out.n, r->rc->train.steps);
    if (!rc && out == &text)
        say_lines(r, text.bytes);
    buf_release(&text);
    return rc ? rc : finetune_fits(&r->memory, r->rc, err);
}

/* results/NAME/adapter: the best checkpoint's adapters and their routers. */
static int write_adapter(struct run *r, struct err *err)
{
    static const char *const names[] = {"adapter_config.json", "adapter_model.safetensors",
                                        "router_state.safetensors"};
    const char *from = checkpoint_exists(r->best) ? r->best : r->last;
    char *temp = NULL;
    int rc = folder_begin(&temp, r->adapter, err);
    for (size_t i = 0; i < sizeof names / sizeof *names && !rc; i++) {
        char *a = path_join(from, names[i]), *b = temp ? path_join(temp, names[i]) : NULL;
        bool wanted = a && (i < 2 || r->model.n_routed_experts) && file_exists(a);
        if (!a || !b)
            rc = err_set(err, MOE2_ELIMIT, "no memory for names");
        else if (wanted)
            rc = file_copy(b, a, err);
        free(a);
        free(b);
    }
    if (!rc && r->data.tokenizer_path)
        rc = checkpoint_copy_tokenizer(temp, r->data.tokenizer_path, err);
    if (!rc)
        rc = folder_commit(r->adapter, err);
    else
        folder_abort(r->adapter);
    if (!rc)
        log_line(&r->log.sink, LOG_INFO, "the adapter is in %s", r->adapter);
    free(temp);
    return rc;
}

static struct perplexity_options eval_options(const struct run *r, int64_t max_tokens)
{
    return (struct perplexity_options){
        .window = r->rc->eval.window,
        .stride = r->rc->eval.stride,
        .max_tokens = max_tokens,
        .prefix = r->data.eos_id, /* what stands in front of every document of the training text */
        .mode = DECODER_EVAL,
        .token_bytes = r->token_bytes,
    };
}

/* ---- training ---- */

static int set_up_trainer(struct run *r, const struct train_state *state, struct err *err)
{
    const struct run_train *t = &r->rc->train;
    int64_t n_params = 0;
    struct param *params = decoder_trained(r->dec, &n_params);
    struct optimizer_config oc = run_config_optimizer(r->rc);
    struct trainer_options o = {
        .schedule = run_config_schedule(r->rc),
        .batch = t->batch_tokens / t->sequence,
        .micro_batch = t->micro_batch,
        .eval_every = t->eval_every,
        .save_every = t->save_every,
        .log_every = t->log_every,
        .validation = r->data.validation.tokens,
        .eval = eval_options(r, r->rc->eval.tokens),
        .seed = (uint64_t)r->rc->seed,
        .checkpoints = r->checkpoints,
        .config = r->config.bytes,
        .tokenizer = r->data.tokenizer_path,
        .validation_packs = r->packs.n ? &r->held_out_packs : NULL,
        .base = r->rc->base.path,
        .metrics = &r->metrics,
        .log = &r->log.sink,
        .stop = r->o->stop,
    };
    int rc = 0;
    if (r->packs.n)
        dataset_init_packs(&o.data, &r->packs, o.seed);
    else
        rc = dataset_init(&o.data, &r->data.train.tokens, t->sequence, o.seed, err);
    if (!rc)
        rc = optimizer_new(&r->opt, params, n_params, &oc, r->dev, err);
    if (!rc && r->resumes)
        rc = checkpoint_read_optimizer(r->opt, r->last, err);
    if (!rc && r->resumes && optimizer_n_steps(r->opt) != state->step)
        rc = err_set(err, MOE2_EFORMAT,
                     "%s: train_state.json is of step %" PRId64 ", the optimizer of step %" PRId64,
                     r->last, state->step, optimizer_n_steps(r->opt));
    if (!rc)
        rc = metrics_open(&r->metrics, r->jsonl, r->resumes ? state->step : 0, err);
    if (!rc)
        rc = trainer_init(&r->trainer, &o, r->dec, r->opt, err);
    if (!rc && r->resumes) {
        r->trainer.state = *state;
        r->trainer.saved_step = state->step;
        rc = checkpoint_read_measures(&r->trainer.measures, r->last, err);
        if (!rc)
            rc = checkpoint_mend_best(r->best, r->last, err);
    }
    return rc;
}

static void say_model(const struct run *r)
{
    struct model_size size = model_size(&r->model);
    log_line(&r->log.sink, LOG_INFO,
             "%s: %.2fM parameters, %.2fM active, router %s, %" PRId64 " steps of %" PRId64
             " tokens, %s on %s with %d threads",
             r->rc->name, (double)size.n_params / 1e6, (double)size.n_active_params / 1e6,
             run_config_label(&r->rc->routing), r->rc->train.steps, r->rc->train.batch_tokens,
             r->rc->train.dtype ? "bf16" : "f32", r->dev->k->name, r->dev->n_threads);
}

static void warn_of_router(const struct run *r)
{
    const struct run_train *t = &r->rc->train;
    int64_t n_windows = t->batch_tokens / t->sequence,
            n_forwards = (n_windows + t->micro_batch - 1) / t->micro_batch;
    const char *warning = router_config_warning(&r->rc->routing, n_forwards);
    if (warning)
        log_line(&r->log.sink, LOG_WARN, "%s; train.micro_batch makes it several", warning);
}

static void say_memory(const struct run *r)
{
    int64_t peak = r->dev->host_memory ? peak_rss_bytes() : (int64_t)r->dev->peak_bytes;
    log_line(&r->log.sink, LOG_INFO, "peak memory %.2f GiB, planned %.2f GiB",
             (double)peak / (1 << 30), (double)r->memory.peak / (1 << 30));
}

static int train(struct run *r, const struct train_state *state, struct err *err)
{
    int rc = *r->rc->base.path ? plan(r, err) : 0;
    if (rc)
        return rc;
    rc = open_model(r, r->resumes ? r->last : NULL, true, err);
    if (!rc)
        rc = set_up_trainer(r, state, err);
    if (rc)
        return rc;
    say_model(r);
    warn_of_router(r);
    if (r->resumes)
        log_line(&r->log.sink, LOG_INFO, "going on from step %" PRId64 " of %" PRId64, state->step,
                 r->rc->train.steps);
    rc = trainer_run(&r->trainer, err);
    if (!rc)
        rc = trainer_save(&r->trainer, err); /* a run of evaluations only has saved nothing yet */
    if (!rc && *r->rc->base.path) {
        say_memory(r);
        rc = write_adapter(r, err);
    }
    trainer_release(&r->trainer);
    metrics_close(&r->metrics);
    optimizer_free(r->opt);
    r->opt = NULL;
    decoder_free(r->dec);
    r->dec = NULL;
    return rc;
}

/* Of a run whose steps are done. One that died before its adapter was in place gets it now. */
static int train_no_more(struct run *r, const struct train_state *state, struct err *err)
{
    log_line(&r->log.sink, LOG_INFO, "%s: its %" PRId64 " steps are done already", r->folder,
             state->step);
    int rc = checkpoint_mend_best(r->best, r->last, err);
    return rc || !*r->rc->base.path || file_is_dir(r->adapter) ? rc : write_adapter(r, err);
}

/* ---- judging ---- */

static int judge(struct run *r, struct err *err)
{
    if (*r->rc->data.examples)
        return err_set(err, MOE2_ECONFIG,
                       "data.examples has no test text, wanted --mode train (moe2 finetune), and "
                       "moe2 perplexity --adapter on a text");
    const char *dir = r->o->checkpoint             ? r->o->checkpoint
                      : checkpoint_exists(r->best) ? r->best
                                                   : r->last;
    int rc = open_model(r, dir, false, err);
    if (!rc && decoder_config(r->dec)->vocab_size < r->data.n_vocab)
        rc = err_set(err, MOE2_ECONFIG,
                     "%s has a vocabulary of %" PRId64 ", the text's tokenizer %" PRId32 " ids",
                     dir, decoder_config(r->dec)->vocab_size, r->data.n_vocab);
    if (rc)
        return rc;
    struct run_judged j = {
        .rc = r->rc,
        .dec = r->dec,
        .data = &r->data,
        .folder = r->folder,
        .checkpoint = dir,
        .last = r->last,
        .jsonl = r->jsonl,
        .command = r->o->command,
        .eval = eval_options(r, r->rc->eval.test_tokens),
        .log = &r->log.sink,
    };
    j.eval.stop = r->o->stop;
    j.eval.log = &r->log.sink;
    return run_judge(&j, err);
}

int run_do(struct run_config *rc, const struct run_options *options, struct err *err)
{
    struct run r = {.rc = rc, .o = options, .lock = -1};
    struct train_state state = {0};
    int code = set_up(&r, err);
    if (!code && options->dry_run) {
        code = plan(&r, err);
        run_release(&r);
        return code;
    }
    if (!code)
        code = prepare_folder(&r, &state, err);
    bool is_done = r.resumes && state.step >= rc->train.steps;
    if (!code && options->mode != RUN_EVALUATE)
        code = is_done ? train_no_more(&r, &state, err) : train(&r, &state, err);
    if (!code && options->mode != RUN_TRAIN)
        code = judge(&r, err);
    if (code && r.log.f && err)
        log_line(&(struct log_sink){r.log.sink.line, NULL, &(struct run_log){.f = r.log.f}},
                 LOG_ERROR, "%s", err->msg);
    if (!code)
        code = run_log_close(&r.log, err);
    run_release(&r);
    return code;
}

int run_train(struct run_config *rc, enum run_mode mode, const struct log_sink *log,
              const volatile int *stop, struct err *err)
{
    return run_do(rc, &(struct run_options){.mode = mode, .log = log, .stop = stop}, err);
}
