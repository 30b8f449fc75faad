/* moe2 data text: files of text become a packed folder to train on. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/cli.h"
#include "cli/data_report.h"

static const char HELP[] =
    "usage: moe2 data text --input FILE|DIR... --out DIR [options]\n\n"
    "Reads JSON lines, CSV, HTML, manual pages and plain text (also .gz, .zst; folders with all "
    "in\n"
    "them), cleans each document, drops what is too short, in the wrong language or seen before, "
    "deals\n"
    "the rest to train, validation and test by a hash of the text, tokenizes with all threads and\n"
    "writes mapped shards with a manifest. OUT appears whole or not at all; an interrupted run is "
    "begun\n"
    "anew.\n\n" DATA_TEXT_HELP "\nexamples:\n"
    "  moe2 data text --input clean_mc4_it/*.json.gz --out data/gsarti_clean_mc4_it \\\n"
    "      --language it --tokenizer deepseek_v3/\n"
    "  moe2 data text --input book.txt --out data/book --vocab-size 4096 --min-chars 100\n";

/* --input may stand once or before each name: what is left is the names. */
static int drop_input_flags(int argc, char **argv)
{
    int n = 0;
    for (int i = 0; i < argc; i++) {
        if (strcmp(argv[i], "--input") == 0)
            continue;
        argv[n++] = strncmp(argv[i], "--input=", 8) == 0 ? argv[i] + 8 : argv[i];
    }
    return n;
}

static int run(int argc, char **argv)
{
    struct err err = {0};
    struct data_text_words words;
    struct cli_flag flags[DATA_TEXT_N_FLAGS + 1];
    const char *out_dir = NULL;
    data_text_flags(flags, &words);
    flags[DATA_TEXT_N_FLAGS] = (struct cli_flag){"--out", FLAG_TEXT, &out_dir, true};
    int n_inputs = 0;
    if (cli_parse(drop_input_flags(argc, argv), argv, flags, COUNT_OF(flags), &n_inputs, &err))
        return cli_fail("data text", &err);
    if (n_inputs == 0) {
        err_set(&err, MOE2_ECONFIG, "--input is missing (see --help)");
        return cli_fail("data text", &err);
    }
    struct text_input *inputs = calloc((size_t)n_inputs, sizeof *inputs);
    if (!inputs) {
        err_set(&err, MOE2_ELIMIT, "no memory for %d inputs", n_inputs);
        return cli_fail("data text", &err);
    }
    for (int i = 0; i < n_inputs; i++)
        inputs[i].path = argv[i];
    struct text_step step;
    struct text_report report;
    int rc = words.vocab_size && words.tokenizer != text_step_default().tokenizer
                 ? err_set(&err, MOE2_ECONFIG, "--tokenizer and --vocab-size contradict each other")
                 : data_text_step(&step, &words, &err);
    if (!rc) {
        step.inputs = inputs;
        step.n_inputs = n_inputs;
        step.out_dir = out_dir;
        rc = text_step_run(&report, &step, &err);
    }
    if (!rc)
        rc = data_text_print(&report, &step, NULL, words.json, &err);
    free(inputs);
    return rc ? cli_fail("data text", &err) : 0;
}

const struct command cmd_data_text = {
    "data text",
    "cleans, splits, tokenizes and packs text to train on",
    HELP,
    run,
};
