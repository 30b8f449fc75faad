/* moe2 finetune: adapters on a pretrained model. The same run as moe2 train's of a configuration
 * that names base.path; here the plan comes first and may be all. */
#include <stdio.h>
#include <string.h>

#include "cli/cli.h"
#include "cli/device_flags.h"
#include "pipeline/run.h"

struct flags {
    const char *config;
    bool resume, restart, dry_run, help_config;
    struct device_flags device;
};

static int finetune(const struct flags *f, int n_words, char **words, struct err *err)
{
    struct run_config rc = {0};
    struct buf plan = {0};
    int code = run_config_read(&rc, f->config, (const char *const *)words, n_words, err);
    if (!code)
        code = device_flags_set(&f->device, &rc, err);
    if (!code && !*rc.base.path)
        code = err_set(err, MOE2_ECONFIG,
                       "%s: base.path is not given, wanted the checkpoint to fine-tune", f->config);
    struct run_options o = {.mode = RUN_TRAIN,
                            .resume = f->resume    ? RUN_RESUME_MUST
                                      : f->restart ? RUN_RESTART
                                                   : RUN_RESUME,
                            .dry_run = f->dry_run,
                            .plan = f->dry_run ? &plan : NULL,
                            .log = cli_sink()};
    if (!code) {
        o.stop = cli_stop_flag();
        code = run_do(&rc, &o, err);
    }
    if (plan.n)
        fputs(plan.bytes, stdout);
    if (code == MOE2_ESTOP)
        fprintf(stderr,
                "everything is saved; to go on: moe2 finetune --config %s --resume, with the same "
                "--set words\n",
                rc.path);
    buf_release(&plan);
    run_config_release(&rc);
    return code;
}

static int print_help_config(void)
{
    struct buf text = {0};
    struct err err = {0};
    int rc = run_config_help(&text, &err);
    if (!rc)
        fwrite(text.bytes, 1, text.n, stdout);
    buf_release(&text);
    return rc ? cli_fail("finetune", &err) : 0;
}

static int run(int argc, char **argv)
{
    struct flags f = {0};
    const struct cli_flag flags[] = {
        {"--config", FLAG_TEXT, &f.config, false},
        {"--resume", FLAG_BOOL, &f.resume, false},
        {"--restart", FLAG_BOOL, &f.restart, false},
        {"--dry-run", FLAG_BOOL, &f.dry_run, false},
        {"--help-config", FLAG_BOOL, &f.help_config, false},
        DEVICE_FLAGS(&f.device),
    };
    struct err err = {0};
    int n_words = 0;
    argc = cli_drop_set(argc, argv);
    int rc = cli_parse(argc, argv, flags, COUNT_OF(flags), &n_words, &err);
    if (!rc && f.help_config)
        return print_help_config();
    if (!rc && !f.config)
        rc = err_set(&err, MOE2_ECONFIG, "--config is missing (see --help)");
    if (!rc && f.resume && f.restart)
        rc = err_set(&err, MOE2_ECONFIG, "--resume and --restart contradict each other");
    if (!rc)
        rc = finetune(&f, n_words, argv, &err);
    return rc ? cli_fail("finetune", &err) : 0;
}

const struct command cmd_finetune = {
    "finetune",
    "train adapters on a pretrained model (LoRA, QLoRA)",
    "usage: moe2 finetune --config F [--set KEY=VALUE …] [--dry-run] [--resume | --restart]\n\n"
    "Trains low-rank adapters on base.path, whose weights stay as they are, held in f32, bf16 or "
    "NF4. First one table\n"
    "says what is quantised, what carries an adapter and what trains, with bytes, and the memory "
    "that will be reached;\n"
    "what can't fit is refused with advice. The adapter goes to results/NAME/adapter in PEFT's "
    "layout.\n\n"
    "  --config F       the run (YAML): base, lora, data, train, router\n"
    "  --set KEY=VALUE  change keys of the file\n" DEVICE_FLAGS_HELP
    "  --dry-run        the table and the plan, nothing else\n"
    "  --resume         go on from checkpoints/last, which must be there\n"
    "  --restart        remove the results of this name and begin anew\n"
    "  --help-config    print every key with its range, default and meaning\n\n"
    "example:\n  moe2 finetune --config configs/finetune/lora.yaml --set base.path=Qwen2.5-0.5B "
    "--dry-run\n"
    "  moe2 finetune --config configs/finetune/qlora.yaml --device cuda --memory-limit 24GiB\n",
    run,
};
