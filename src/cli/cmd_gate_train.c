/* moe2 gate train: learns from outcomes which expert answers which prompt right. */
#include <stdio.h>
#include <string.h>

#include "cli/cli.h"
#include "cli/device_flags.h"
#include "pipeline/gate_report.h"

static const char HELP[] =
    "usage: moe2 gate train --embeddings E.npy --outcomes O.csv --out DIR [--kind KIND] [--folds "
    "5]\n"
    "                       [--seed 1] [--epochs 50] [--hidden 256] [--batch 128] [--lr 0.001]\n"
    "                       [--weight-decay 0.01] [--bf16] [--experts a,b] [--threads N]\n"
    "                       [--device NAME] [--memory-limit S] [--json]\n\n"
    "Learns from the outcomes (question_id, category, answer, then one column an expert: 1, 0 or\n"
    "nothing) what each expert's chances are on a prompt, given its vector. Settings are chosen "
    "by\n"
    "scores out of fold; outcomes that are missing are neither right nor wrong. DIR gets\n"
    "gating.safetensors, oof_scores.npy (what moe2 select wants as gate scores), gate.json, and "
    "the\n"
    "reliability diagram.\n\n"
    "  --kind sigmoid   two layers, a sigmoid head an expert (the default)\n"
    "         softmax   two layers, one expert out of all\n"
    "         knn       the nearest training prompts by cosine\n"
    "         kmeans    accuracy in the nearest cluster\n"
    "         category  accuracy in the prompt's category\n"
    "         ensemble  knn, sigmoid, kmeans and category, stacked\n"
    "  --folds N        2 to 50 (5); equal vectors stay together, categories are spread evenly\n"
    "  --epochs N       of sigmoid and softmax, at most: how many is chosen out of fold (50)\n"
    "  --hidden N, --batch N, --lr X, --weight-decay X    of sigmoid and softmax, with AdamW\n"
    "  --bf16           their large products in bf16\n"
    "  --experts a,b    the report's routing figures are of these experts only\n"
    "  --gnuplot PROG   draws the diagram (gnuplot)\n"
    "  --seed N         of folds, weights and batches (1)\n"
    "  --threads N      all cores unless said\n" DEVICE_FLAGS_HELP
    "                   Steps of sigmoid and softmax, cosines and k-means run there; the loss of a "
    "batch, votes of\n"
    "                   neighbours and the stacking of an ensemble are the host's.\n"
    "  --json           gate.json on standard output instead of a table\n\n"
    "examples:\n"
    "  moe2 gate train --embeddings train.npy --outcomes train.csv --out gating\n"
    "  moe2 gate train --embeddings train.npy --outcomes train.csv --out gating --kind ensemble "
    "--json\n";

static int run(int argc, char **argv)
{
    struct gate_step step = gate_step_default();
    struct gate_step_report report = {0};
    struct buf out = {0};
    struct err err = {0};
    int64_t threads = 0, seed = 1;
    bool json = false, bf16 = false;
    struct device_flags device = {0};
    step.gnuplot = "gnuplot";
    const struct cli_flag flags[] = {
        {"--embeddings", FLAG_TEXT, &step.embeddings, true},
        {"--outcomes", FLAG_TEXT, &step.outcomes, true},
        {"--out", FLAG_TEXT, &step.out_dir, true},
        {"--kind", FLAG_TEXT, &step.kind, false},
        {"--experts", FLAG_TEXT, &step.experts, false},
        {"--gnuplot", FLAG_TEXT, &step.gnuplot, false},
        {"--folds", FLAG_INT, &step.train.folds, false},
        {"--epochs", FLAG_INT, &step.train.epochs, false},
        {"--hidden", FLAG_INT, &step.train.hidden, false},
        {"--batch", FLAG_INT, &step.train.batch, false},
        {"--lr", FLAG_REAL, &step.train.lr, false},
        {"--weight-decay", FLAG_REAL, &step.train.weight_decay, false},
        {"--bf16", FLAG_BOOL, &bf16, false},
        {"--seed", FLAG_INT, &seed, false},
        {"--threads", FLAG_INT, &threads, false},
        DEVICE_FLAGS(&device),
        {"--json", FLAG_BOOL, &json, false},
    };
    int rc = cli_parse(argc, argv, flags, COUNT_OF(flags), NULL, &err);
    if (!rc && (threads < 0 || threads > 256))
        rc = err_set(&err, MOE2_ECONFIG, "--threads is %lld, wanted 0 (all cores) to 256",
                     (long long)threads);
    if (!rc)
        rc = device_flags_read(&step.device, &device, &err);
    step.n_threads = (int)threads;
    step.train.seed = (uint64_t)seed;
    step.train.compute = bf16 ? DT_BF16 : DT_F32;
    step.train.sink = cli_sink();
    step.train.stop = cli_stop_flag();
    if (!rc)
        rc = gate_step_train(&report, &step, &err);
    if (!rc)
        rc = json ? gate_report_json(&out, &report, &err) : gate_report_text(&out, &report, &err);
    if (!rc && !json)
        rc = buf_printf(&out, &err, "folds %.2f s, last fit %.2f s; written to %s\n", report.fold_s,
                        report.fit_s, step.out_dir);
    if (!rc)
        fwrite(out.bytes, 1, out.n, stdout);
    buf_release(&out);
    gate_step_report_release(&report);
    return rc ? cli_fail("gate train", &err) : 0;
}

const struct command cmd_gate_train = {
    "gate train",
    "learns who answers what from outcomes and vectors",
    HELP,
    run,
};
