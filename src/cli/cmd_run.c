/* moe2 run, train, evaluate, train_eval: one configuration trained, judged, or both. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/cli.h"
#include "cli/device_flags.h"
#include "pipeline/run.h"
#include "report/report.h"

static const char *const mode_names[] = {"train", "evaluate", "train_eval"};

static int find_mode(enum run_mode *mode, const char *word, struct err *err)
{
    for (size_t i = 0; i < COUNT_OF(mode_names); i++)
        if (strcmp(word, mode_names[i]) == 0) {
            *mode = (enum run_mode)i;
            return 0;
        }
    return err_set(err, MOE2_ECONFIG, "--mode is \"%s\", wanted train, evaluate or train_eval",
                   word);
}

/* The words as they were typed, for metrics.json; the caller's. NULL without memory. */
static char *join(const char *command, int argc, char **argv)
{
    struct buf text = {0};
    int rc = buf_printf(&text, NULL, "moe2 %s", command);
    for (int i = 0; i < argc && !rc; i++)
        rc = buf_printf(&text, NULL, strpbrk(argv[i], " '\"\\$*") ? " '%s'" : " %s", argv[i]);
    if (rc)
        buf_release(&text);
    return text.bytes;
}

static int print_help_config(const char *command)
{
    struct buf text = {0};
    struct err err = {0};
    int rc = run_config_help(&text, &err);
    if (!rc)
        fwrite(text.bytes, 1, text.n, stdout);
    buf_release(&text);
    return rc ? cli_fail(command, &err) : 0;
}

static void say_how_to_resume(const struct run_config *rc, int n_words, char **words)
{
    fprintf(stderr, "everything is saved; to go on: moe2 train --config %s", rc->path);
    for (int i = 0; i < n_words; i++)
        fprintf(stderr, " --set %s", words[i]);
    fputs(" --resume\n", stderr);
}

/* Figures and a page of the run. It is finished without them: what goes wrong here is a warning. */
static void make_report(const struct run_config *rc)
{
    struct err err = {0};
    const struct report_options options = {.sink = cli_sink()};
    char *folder = run_folder(rc);
    if (folder && report_run(folder, &options, &err) == 0)
        log_line(cli_sink(), LOG_INFO, "report: %s/report.html", folder);
    else
        log_line(cli_sink(), LOG_WARN, "no report: %s", err.msg);
    free(folder);
}

/* mode is NULL where --mode says it. */
static int run_as(const char *command, const char *mode, int argc, char **argv)
{
    struct err err = {0};
    const char *config = NULL, *config_file = NULL, *checkpoint = NULL;
    struct device_flags device = {0};
    bool resume = false, restart = false, help_config = false, no_report = false;
    struct cli_flag flags[] = {
        {"--config", FLAG_TEXT, &config, false},
        {"--config_file", FLAG_TEXT, &config_file, false},
        {"--checkpoint_path", FLAG_TEXT, &checkpoint, false},
        {"--resume", FLAG_BOOL, &resume, false},
        {"--restart", FLAG_BOOL, &restart, false},
        {"--help-config", FLAG_BOOL, &help_config, false},
        {"--no-report", FLAG_BOOL, &no_report, false},
        DEVICE_FLAGS(&device),
        {"--mode", FLAG_TEXT, &mode, false},
    };
    int n_flags = (int)COUNT_OF(flags) - (mode ? 1 : 0), n_words = 0;
    char *typed = join(command, argc, argv);
    struct run_config rc = {0};
    struct run_options o = {
        .command = typed, .checkpoint = checkpoint, .log = cli_sink(), .stop = NULL};
    argc = cli_drop_set(argc, argv);
    int code = cli_parse(argc, argv, flags, n_flags, &n_words, &err);
    if (!code && help_config) {
        free(typed);
        return print_help_config(command);
    }
    config = config ? config : config_file;
    if (!code && !config)
        code = err_set(&err, MOE2_ECONFIG, "--config is missing (see --help)");
    if (!code)
        code = find_mode(&o.mode, mode ? mode : "train_eval", &err);
    if (!code && resume && restart)
        code = err_set(&err, MOE2_ECONFIG, "--resume and --restart contradict each other");
    if (!code && checkpoint && o.mode != RUN_EVALUATE)
        code =
            err_set(&err, MOE2_ECONFIG,
                    "--checkpoint_path is for evaluation; training starts from model.checkpoint");
    if (!code)
        code = run_config_read(&rc, config, (const char *const *)argv, n_words, &err);
    if (!code)
        code = device_flags_set(&device, &rc, &err);
    o.checkpoint = checkpoint;
    o.resume = resume ? RUN_RESUME_MUST : restart ? RUN_RESTART : RUN_RESUME;
    if (!code) {
        o.stop = cli_stop_flag();
        code = run_do(&rc, &o, &err);
    }
    if (!code && o.mode != RUN_TRAIN && !no_report)
        make_report(&rc);
    int status = code ? cli_fail(command, &err) : 0;
    if (code == MOE2_ESTOP && o.mode != RUN_EVALUATE)
        say_how_to_resume(&rc, n_words, argv);
    run_config_release(&rc);
    free(typed);
    return status;
}

static int run(int argc, char **argv)
{
    return run_as("run", NULL, argc, argv);
}

static int train(int argc, char **argv)
{
    return run_as("train", "train", argc, argv);
}

static int evaluate(int argc, char **argv)
{
    return run_as("evaluate", "evaluate", argc, argv);
}

static int train_eval(int argc, char **argv)
{
    return run_as("train_eval", "train_eval", argc, argv);
}

#define OPTIONS                                                                                    \
    "options:\n"                                                                                   \
    "  --config F, --config_file F  the run: data, model, router, training, evaluation (YAML)\n"   \
    "  --set KEY=VALUE …            change keys of the file\n"                                   \
    "  --device NAME                cpu, cpu:avx2, …, cuda, cuda:N: train.device\n"              \
    "  --memory-limit S             use at most so much of the device's memory: 24GiB, 900MB\n"    \
    "  --resume                     go on from checkpoints/last, which must be there; without "    \
    "it\n"                                                                                         \
    "                               a run goes on by itself where there is something to go on "    \
    "from\n"                                                                                       \
    "  --restart                    remove the results of this name and begin anew\n"              \
    "  --checkpoint_path D          evaluate this checkpoint instead of checkpoints/best\n"        \
    "  --no-report                  without figures and report.html\n"                             \
    "  --help-config                print every key with its range, default and meaning\n\n"       \
    "Results go to results/NAME/: logs.txt, config.yaml, metrics.jsonl (a line a step), "          \
    "metrics.json\n"                                                                               \
    "(the summary), checkpoints/best and checkpoints/last, figures/. Ctrl-C finishes the step, "   \
    "saves, and\n"                                                                                 \
    "says how to go on; a run that goes on has the same bits as one that never stopped.\n\n"

const struct command cmd_run = {
    "run",
    "train, evaluate or both, as a configuration says",
    "usage: moe2 run --config_file F --mode train|evaluate|train_eval [--checkpoint_path D] [--set "
    "KEY=VALUE …]\n\n" OPTIONS
    "example:\n  moe2 run --config_file configs/rd_esi_config.yaml --mode train_eval\n",
    run,
};

const struct command cmd_train = {
    "train",
    "train a model with a router",
    "usage: moe2 train --config F [--set KEY=VALUE …] [--resume | --restart]\n\n" OPTIONS
    "example:\n  moe2 train --config configs/rd_esi_config.yaml --set train.lr=0.002 --set "
    "seed=2\n",
    train,
};

const struct command cmd_evaluate = {
    "evaluate",
    "score a trained model on the test text, measure its routers",
    "usage: moe2 evaluate --config F [--checkpoint_path D]\n\n" OPTIONS
    "example:\n  moe2 evaluate --config configs/rd_esi_config.yaml\n",
    evaluate,
};

const struct command cmd_train_eval = {
    "train_eval",
    "train, then evaluate",
    "usage: moe2 train_eval --config F [--set KEY=VALUE …]\n\n" OPTIONS
    "example:\n  moe2 train_eval --config configs/top_k_baseline_config.yaml\n",
    train_eval,
};
