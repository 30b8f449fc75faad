/* moe2 data split-outcomes: recorded answers of the questions of one file, in its order. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/words.h"
#include "cli/cli.h"
#include "io/json_util.h"
#include "pipeline/qa_outcomes.h"

static const char HELP[] =
    "usage: moe2 data split-outcomes --questions FILE.jsonl --in FILE.csv --out FILE.csv "
    "[--experts "
    "a,b,…] [--json]\n\n"
    "Keeps of a CSV of recorded answers (outcomes.csv, predictions.csv, lengths.csv) the rows of "
    "the "
    "questions\n"
    "of one file, in that file's order, so that they line up with its embeddings. A question "
    "without "
    "a row is\n"
    "an error.\n\n"
    "  --questions FILE  JSON lines with an \"id\" (or \"question_id\") each, as moe2 data qa "
    "writes "
    "them\n"
    "  --in FILE         CSV whose first column is question_id (or id)\n"
    "  --out FILE        the rows that stay\n"
    "  --experts a,b,…   only these columns, in this order; category, answer and token counts "
    "always "
    "stay\n"
    "  --json            one JSON object instead of a line\n\n"
    "examples:\n"
    "  moe2 data qa --mmlu-pro questions.jsonl --gating mmlu_pro --out data\n"
    "  moe2 data split-outcomes --questions data/gating_train.jsonl --in outcomes_correct.csv "
    "--out "
    "data/outcomes_train.csv\n"
    "  moe2 data split-outcomes --questions data/gating_test.jsonl --in predictions.csv --out "
    "data/predictions_test.csv\n";

static int print_json(const struct qa_outcomes_report *r, const char *out, struct err *err)
{
    struct buf text = {0};
    struct json_writer w;
    json_writer_init(&w, &text, 2);
    jw_object(&w, NULL);
    jw_text(&w, "out", out);
    jw_int(&w, "rows", r->n_questions);
    jw_int(&w, "columns", r->n_columns);
    jw_int(&w, "left_out", r->n_left_out);
    jw_end(&w);
    int rc = json_writer_end(&w, err);
    if (!rc)
        puts(text.bytes);
    buf_release(&text);
    return rc;
}

/* Cuts "a,b" into pointers at its parts, which it ends with NUL in place. */
static int split_names(const char **names, int64_t *n, char *text, int max, struct err *err)
{
    for (char *p; (p = words_cut(&text));) {
        if (*n == max || !*p)
            return err_set(err, MOE2_ECONFIG, "--experts wants 1 to %d names with commas between",
                           max);
        names[(*n)++] = p;
    }
    return 0;
}

static int run(int argc, char **argv)
{
    struct err err = {0};
    struct qa_outcomes cut = {.sink = cli_sink()};
    struct qa_outcomes_report report;
    const char *experts = NULL, *names[512];
    bool json = false;
    const struct cli_flag flags[] = {
        {"--questions", FLAG_TEXT, &cut.questions, true},
        {"--in", FLAG_TEXT, &cut.in, true},
        {"--out", FLAG_TEXT, &cut.out, true},
        {"--experts", FLAG_TEXT, &experts, false},
        {"--json", FLAG_BOOL, &json, false},
    };
    if (cli_parse(argc, argv, flags, COUNT_OF(flags), NULL, &err))
        return cli_fail("data split-outcomes", &err);
    char *copy = experts ? strdup(experts) : NULL;
    int rc = experts && !copy ? err_set(&err, MOE2_ELIMIT, "no memory for names") : 0;
    if (!rc && copy)
        rc = split_names(names, &cut.experts.n, copy, COUNT_OF(names), &err);
    cut.experts.values = names;
    if (!rc)
        rc = qa_outcomes_cut(&report, &cut, &err);
    if (!rc && json)
        rc = print_json(&report, cut.out, &err);
    else if (!rc)
        printf("%s: %lld rows of %lld columns; %lld rows of %s are of other questions\n", cut.out,
               (long long)report.n_questions, (long long)report.n_columns,
               (long long)report.n_left_out, cut.in);
    free(copy);
    return rc ? cli_fail("data split-outcomes", &err) : 0;
}

const struct command cmd_data_split_outcomes = {
    "data split-outcomes",
    "recorded answers of one file of questions, in its order",
    HELP,
    run,
};
