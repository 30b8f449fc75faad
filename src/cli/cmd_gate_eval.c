/* moe2 gate eval: a gate's scores of other rows, and how good they are. */
#include <stdio.h>

#include "cli/cli.h"
#include "cli/device_flags.h"
#include "pipeline/gate_report.h"

static const char HELP[] =
    "usage: moe2 gate eval --gate DIR --embeddings E.npy --outcomes O.csv [--scores S.npy] "
    "[--out DIR]\n"
    "                      [--experts a,b] [--threads N] [--device NAME] [--memory-limit S] "
    "[--json]\n\n"
    "Scores the rows of E.npy by a gate that moe2 gate train made, and tells what routing each\n"
    "prompt to the expert with the highest score would have got right, beside the best single\n"
    "expert (by training), a random one, and the oracle that knows who is right; and how true the\n"
    "scores are as probabilities. Experts and categories are matched by name.\n\n"
    "  --gate DIR        with gating.safetensors, or that file\n"
    "  --embeddings E    npy [rows, dim], as in training\n"
    "  --outcomes O.csv  as in training; without it only --scores is written\n"
    "  --scores S.npy    float32 [rows, experts], in the outcomes' order, for moe2 select\n"
    "  --out DIR         gate.json and the reliability diagram\n"
    "  --experts a,b     routing among these experts only\n"
    "  --gnuplot PROG    draws the diagram (gnuplot)\n"
    "  --threads N       all cores unless said\n" DEVICE_FLAGS_HELP
    "                   Products and cosines run there, votes of neighbours by the host.\n"
    "  --json            one JSON object instead of a table\n\n"
    "examples:\n"
    "  moe2 gate eval --gate gating --embeddings test.npy --outcomes test.csv --scores "
    "test_scores.npy\n"
    "  moe2 gate eval --gate gating --embeddings new.npy --scores new_scores.npy\n";

static int run(int argc, char **argv)
{
    struct gate_step step = gate_step_default();
    struct gate_step_report report = {0};
    struct buf out = {0};
    struct err err = {0};
    int64_t threads = 0;
    bool json = false;
    struct device_flags device = {0};
    step.gnuplot = "gnuplot";
    const struct cli_flag flags[] = {
        {"--gate", FLAG_TEXT, &step.gate, true},
        {"--embeddings", FLAG_TEXT, &step.embeddings, true},
        {"--outcomes", FLAG_TEXT, &step.outcomes, false},
        {"--scores", FLAG_TEXT, &step.scores, false},
        {"--out", FLAG_TEXT, &step.out_dir, false},
        {"--experts", FLAG_TEXT, &step.experts, false},
        {"--gnuplot", FLAG_TEXT, &step.gnuplot, false},
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
    step.train.sink = cli_sink();
    if (!rc)
        rc = gate_step_eval(&report, &step, &err);
    if (!rc)
        rc = json ? gate_report_json(&out, &report, &err) : gate_report_text(&out, &report, &err);
    if (!rc && !json && step.scores)
        rc = buf_printf(&out, &err, "scores written to %s\n", step.scores);
    if (!rc)
        fwrite(out.bytes, 1, out.n, stdout);
    buf_release(&out);
    gate_step_report_release(&report);
    return rc ? cli_fail("gate eval", &err) : 0;
}

const struct command cmd_gate_eval = {
    "gate eval",
    "a gate's scores of other rows, and how good they are",
    HELP,
    run,
};
