/* moe2 study: who answers best within a budget, on recorded answers of real models. */
#include <stdio.h>

#include "cli/cli.h"
#include "cli/device_flags.h"
#include "pipeline/study.h"

static const char HELP[] =
    "usage: moe2 study --train T.jsonl --test S.jsonl --train-embeddings T.npy --test-embeddings "
    "S.npy\n"
    "                  --outcomes O.csv --predictions P.csv [--chars C.csv] --devices DIR --out "
    "DIR\n\n"
    "Fits gates and the learned combination of answers on the training questions, chooses who is "
    "in service, how many\n"
    "are asked and how their answers are combined within each budget, and judges it on the test "
    "questions: DIR/report.html,\n"
    "DIR/verification.md, tables II to IV and frontiers in DIR/smo_tables, DIR/accuracy/study.md, "
    "DIR/figures.\n\n"
    "options:\n"
    "  --train, --test F        question files (moe2 data qa)\n"
    "  --train-embeddings, --test-embeddings F.npy    moe2 embed of the two\n"
    "  --embedder TEXT          what made them, for the report\n"
    "  --outcomes, --predictions F.csv    of all these questions: right or wrong, and the letters\n"
    "  --chars F.csv            characters generated: four make an output token\n"
    "  --devices DIR            published tables of devices (moe2 help costs)\n"
    "  --models F.csv           models and their sizes (configs/fleet/mmlu_pro_models.csv)\n"
    "  --fleet F.yaml           the test bed of tables II to IV (configs/fleet/demo.yaml)\n"
    "  --fleets F.yaml          the lists small and mixed (configs/fleet/study.yaml)\n"
    "  --gates A,B              kinds of gates (category,kmeans,knn,sigmoid)\n"
    "  --output-tokens N        of an answer in the tables (32)\n"
    "  --time-limit S           of each search beyond 20 experts (5)\n"
    "  --seed N                 of folds and fits (1)\n"
    "  --quick                  the first fleet and the tables only\n"
    "  --note TEXT              shown with everything, for data that is not real\n"
    "  --out DIR                (results)\n"
    "  --gnuplot PROGRAM        draws the figures\n" DEVICE_FLAGS_HELP
    "                   Gates are trained and asked there (moe2 gate train); searches and votes "
    "are the host's.\n\n"
    "examples:\n"
    "  moe2 study --train train.jsonl --test test.jsonl --train-embeddings train.npy "
    "--test-embeddings test.npy \\\n"
    "      --outcomes outcomes.csv --predictions predictions.csv --chars chars.csv --devices "
    "../shared/data/devices\n"
    "All commands from published files to the report: moe2 help best-within-budget\n";

static int run(int argc, char **argv)
{
    struct err err = {0};
    struct study_options o = study_default();
    struct study_summary sum = {0};
    struct device_flags device = {0};
    const struct cli_flag flags[] = {
        DEVICE_FLAGS(&device), /* before --devices: the nearest of --devicex */
        {"--train", FLAG_TEXT, &o.files.train, true},
        {"--test", FLAG_TEXT, &o.files.test, true},
        {"--train-embeddings", FLAG_TEXT, &o.files.train_embeddings, true},
        {"--test-embeddings", FLAG_TEXT, &o.files.test_embeddings, true},
        {"--embedder", FLAG_TEXT, &o.embedder, false},
        {"--outcomes", FLAG_TEXT, &o.files.outcomes, true},
        {"--predictions", FLAG_TEXT, &o.files.predictions, true},
        {"--chars", FLAG_TEXT, &o.files.chars, false},
        {"--devices", FLAG_TEXT, &o.devices, true},
        {"--models", FLAG_TEXT, &o.models, false},
        {"--fleet", FLAG_TEXT, &o.fleet, false},
        {"--fleets", FLAG_TEXT, &o.fleets, false},
        {"--gates", FLAG_TEXT, &o.gates, false},
        {"--output-tokens", FLAG_INT, &o.output_tokens, false},
        {"--time-limit", FLAG_REAL, &o.time_limit_s, false},
        {"--seed", FLAG_INT, &o.seed, false},
        {"--quick", FLAG_BOOL, &o.quick, false},
        {"--note", FLAG_TEXT, &o.note, false},
        {"--out", FLAG_TEXT, &o.out_dir, false},
        {"--gnuplot", FLAG_TEXT, &o.gnuplot, false},
    };
    o.files.sink = cli_sink();
    o.stop = cli_stop_flag();
    int rc = cli_parse(argc, argv, flags, COUNT_OF(flags), NULL, &err);
    if (!rc && (o.output_tokens < 0 || o.output_tokens > 1000000))
        rc = err_set(&err, MOE2_ECONFIG, "--output-tokens is %lld, wanted 0 to 1000000",
                     (long long)o.output_tokens);
    if (!rc)
        rc = device_flags_read(&o.device, &device, &err);
    if (!rc)
        rc = study_run(&sum, &o, &err);
    if (rc)
        return cli_fail("study", &err);
    printf("%s\n\n%s/report.html, after %.0f s\n", sum.sentence, o.out_dir, sum.seconds);
    return 0;
}

const struct command cmd_study = {
    "study",
    "who answers best within a budget: gates, votes, tables, report",
    HELP,
    run,
};
