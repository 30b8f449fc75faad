/* moe2 data synth: procedural questions in eight families. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/table.h"
#include "base/words.h"
#include "cli/cli.h"
#include "pipeline/step_synth.h"

static const char HELP[] =
    "usage: moe2 data synth --out DIR [options]\n\n"
    "Makes multiple-choice questions by rules: arithmetic, sequences, sorting, dates, units, "
    "bases,\n"
    "strings, logic. Any number of them, the same for the same seed; the options alone say "
    "nothing\n"
    "about which is right. Writes DIR/combined_train.jsonl (to train experts on), "
    "gating_train.jsonl,\n"
    "gating_test.jsonl, few_shot.jsonl and synth.json. No question stands in two of the files, of\n"
    "whatever seeds.\n\n"
    "  --out DIR          made if it is not there\n"
    "  --train N          rows of combined_train.jsonl (8000)\n"
    "  --gating-train N   rows of gating_train.jsonl (1600)\n"
    "  --gating-test N    rows of gating_test.jsonl (400)\n"
    "  --few-shot N       rows of few_shot.jsonl (40)\n"
    "  --families a,b,…   only these\n"
    "  --seed N           (1)\n"
    "  --language L       en, or it: the same questions in Italian, in the same files\n"
    "  --json             one JSON object instead of a table\n\n"
    "See moe2 help questions.\n\n"
    "examples:\n"
    "  moe2 data synth --out data\n"
    "  moe2 data synth --train 50000 --families arithmetic,dates --seed 7 --out data7\n";

static int read_families(uint32_t *mask, const char *text, struct err *err)
{
    const char *names[SYNTH_N_FAMILIES];
    uint64_t chosen = 0;
    for (int i = 0; i < SYNTH_N_FAMILIES; i++)
        names[i] = synth_families[i].name;
    int rc = words_mask(&chosen, text, names, SYNTH_N_FAMILIES, "--families", "moe2", err);
    if (!rc)
        *mask = (uint32_t)chosen;
    return rc;
}

static int print_table(struct buf *out, const struct synth_report *r, const char *dir,
                       struct err *err)
{
    struct table *t = NULL;
    int rc = table_new(&t,
                       (struct table_column[]){{"family", TABLE_LEFT},
                                               {"combined_train", TABLE_RIGHT},
                                               {"gating_train", TABLE_RIGHT},
                                               {"gating_test", TABLE_RIGHT},
                                               {"few_shot", TABLE_RIGHT}},
                       1 + SYNTH_N_SETS, err);
    if (rc)
        return rc;
    for (int f = 0; f < SYNTH_N_FAMILIES; f++) {
        if (!(r->n[0][f] | r->n[1][f] | r->n[2][f] | r->n[3][f]))
            continue;
        table_cell(t, "%s", synth_families[f].name);
        for (int s = 0; s < SYNTH_N_SETS; s++)
            table_cell(t, "%lld", (long long)r->n[s][f]);
    }
    rc = table_text(out, t, err);
    table_free(t);
    return rc ? rc : buf_printf(out, err, "%s is ready\n", dir);
}

static int print_json(struct buf *out, const struct synth_report *r, const struct synth_step *step,
                      struct err *err)
{
    struct json_writer w;
    json_writer_init(&w, out, 1);
    jw_object(&w, NULL);
    jw_text(&w, "out", step->out_dir);
    jw_int(&w, "seed", (int64_t)step->seed);
    synth_json(&w, r);
    jw_end(&w);
    int rc = json_writer_end(&w, err);
    return rc ? rc : buf_puts(out, "\n", err);
}

static int run(int argc, char **argv)
{
    struct err err = {0};
    struct synth_step step = synth_step_default();
    struct synth_report report;
    struct buf out = {0};
    const char *families = NULL, *language = "en";
    int64_t seed = 1;
    bool json = false;
    const struct cli_flag flags[] = {
        {"--out", FLAG_TEXT, &step.out_dir, true},
        {"--train", FLAG_INT, &step.n_rows[SYNTH_TRAIN], false},
        {"--gating-train", FLAG_INT, &step.n_rows[SYNTH_GATING_TRAIN], false},
        {"--gating-test", FLAG_INT, &step.n_rows[SYNTH_GATING_TEST], false},
        {"--few-shot", FLAG_INT, &step.n_rows[SYNTH_FEW_SHOT], false},
        {"--families", FLAG_TEXT, &families, false},
        {"--seed", FLAG_INT, &seed, false},
        {"--language", FLAG_TEXT, &language, false},
        {"--json", FLAG_BOOL, &json, false},
    };
    int rc = cli_parse(argc, argv, flags, COUNT_OF(flags), NULL, &err);
    if (!rc && families)
        rc = read_families(&step.families, families, &err);
    step.italian = strcmp(language, "it") == 0;
    if (!rc && !step.italian && strcmp(language, "en") != 0)
        rc = err_set(&err, MOE2_ECONFIG, "--language is \"%.40s\", wanted en or it", language);
    step.seed = (uint64_t)seed;
    step.sink = cli_sink();
    step.stop = cli_stop_flag();
    if (!rc)
        rc = synth_run(&report, &step, &err);
    if (!rc)
        rc = json ? print_json(&out, &report, &step, &err)
                  : print_table(&out, &report, step.out_dir, &err);
    if (!rc)
        fwrite(out.bytes, 1, out.n, stdout);
    buf_release(&out);
    return rc ? cli_fail("data synth", &err) : 0;
}

const struct command cmd_data_synth = {
    "data synth",
    "makes questions of eight families by rules, any number of them",
    HELP,
    run,
};
