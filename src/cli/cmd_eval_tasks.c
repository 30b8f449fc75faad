/* moe2 eval-tasks: Italian tasks, by log-likelihood or by the answers of any tool. */
#include <stdio.h>
#include <stdlib.h>

#include "base/stats.h"
#include "base/table.h"
#include "cli/cli.h"
#include "cli/device_flags.h"
#include "io/json_util.h"
#include "pipeline/eval_tasks.h"

static const char HELP[] =
    "usage: moe2 eval-tasks --xcopa FILE.jsonl --model DIR [options]\n"
    "       moe2 eval-tasks --squad FILE.json --predictions FILE.json [--json]\n\n"
    "XCOPA-it: which of two sentences is the cause or the effect, by log-likelihood as\n"
    "lm-evaluation-harness asks it. SQuAD-it: exact match and F1 of answers {id: answer} that any\n"
    "tool gave, by the official script's normal form and by an Italian one. Both may be asked at "
    "once.\n\n"
    "  --xcopa FILE        lines of premise, choice1, choice2, question, label\n"
    "  --squad FILE        SQuAD 1.1's form; also .gz, .zst\n"
    "  --predictions FILE  a JSON object: an answer a question id\n"
    "  --model DIR         a checkpoint folder\n"
    "  --tokenizer T       a tokenizer.json, its folder, or bytes; without it the model folder's\n"
    "  --limit N           only the first N rows of XCOPA\n"
    "  --bos               BOS in front of every sentence (the harness has none)\n"
    "  --bf16              products in bf16 instead of float32\n" DEVICE_FLAGS_HELP
    "  --threads N         0: every core this process may use\n"
    "  --json              one JSON object instead of tables\n\n"
    "See moe2 help answering.\n\n"
    "examples:\n"
    "  moe2 eval-tasks --model out/tiny --xcopa xcopa_it/test.it.jsonl\n"
    "  moe2 eval-tasks --squad SQuAD_it-test.json.gz --predictions answers.json --json\n";

struct words {
    const char *xcopa, *squad, *predictions;
    struct answer_model_options model;
    struct device_flags device;
    int64_t limit, threads;
    bool json;
};

struct result {
    struct xcopa_report xcopa;
    struct squad_report squad;
};

static int read_words(struct words *w, int argc, char **argv, struct err *err)
{
    const struct cli_flag flags[] = {
        {"--xcopa", FLAG_TEXT, &w->xcopa, false},
        {"--squad", FLAG_TEXT, &w->squad, false},
        {"--predictions", FLAG_TEXT, &w->predictions, false},
        {"--model", FLAG_TEXT, &w->model.dir, false},
        {"--tokenizer", FLAG_TEXT, &w->model.tokenizer, false},
        {"--limit", FLAG_INT, &w->limit, false},
        {"--bos", FLAG_BOOL, &w->model.bos, false},
        {"--bf16", FLAG_BOOL, &w->model.bf16, false},
        DEVICE_FLAGS(&w->device),
        {"--threads", FLAG_INT, &w->threads, false},
        {"--json", FLAG_BOOL, &w->json, false},
    };
    int rc = cli_parse(argc, argv, flags, COUNT_OF(flags), NULL, err);
    w->model.n_threads = (int)w->threads;
    if (!rc)
        rc = device_flags_read(&w->model.device, &w->device, err);
    if (rc)
        return rc;
    if (!w->xcopa && !w->squad)
        return err_set(err, MOE2_ECONFIG, "there is no task, wanted --xcopa or --squad");
    if (w->xcopa && !w->model.dir)
        return err_set(err, MOE2_ECONFIG, "--model is missing: XCOPA is asked of a model");
    if (w->squad && !w->predictions)
        return err_set(err, MOE2_ECONFIG, "--predictions is missing: the answers to SQuAD");
    if (w->limit < 0 || w->threads < 0 || w->threads > 1024)
        return err_set(err, MOE2_ECONFIG, "--limit and --threads want 0 or more");
    return 0;
}

static int measure(struct result *r, const struct words *w, struct err *err)
{
    struct answer_model model = {0};
    int rc = w->squad ? eval_squad(&r->squad, w->squad, w->predictions, err) : 0;
    if (!rc && w->xcopa)
        rc = answer_model_open(&model, &w->model, err);
    if (!rc && w->xcopa)
        rc = eval_xcopa(&r->xcopa, model.choice, w->xcopa, w->limit, cli_sink(), cli_stop_flag(),
                        err);
    answer_model_close(&model);
    return rc;
}

static int print_text(struct buf *out, const struct result *r, struct err *err)
{
    struct table *t = NULL;
    const struct squad_report *s = &r->squad;
    int rc = table_new(&t,
                       (struct table_column[]){{"task", TABLE_LEFT},
                                               {"rows", TABLE_RIGHT},
                                               {"measure", TABLE_LEFT},
                                               {"value", TABLE_RIGHT},
                                               {"95 %", TABLE_LEFT}},
                       5, err);
    if (rc)
        return rc;
    for (int k = 0; k < 2 && r->xcopa.n; k++) {
        struct stats_share x =
            stats_share95(k ? r->xcopa.n_right_norm : r->xcopa.n_right, r->xcopa.n);
        table_cell(t, "xcopa_it");
        table_cell(t, "%lld", (long long)r->xcopa.n);
        table_cell(t, "%s", k ? "acc_norm" : "acc");
        table_cell(t, "%.4f", x.value);
        table_cell(t, "%.4f … %.4f", x.low, x.high);
    }
    for (int k = 0; k < SQUAD_N_RULES && s->n; k++)
        for (int f = 0; f < 2; f++) {
            table_cell(t, "squad_it");
            table_cell(t, "%lld", (long long)s->n);
            table_cell(t, "%s, %s", f ? "F1" : "exact match", squad_rules_names[k]);
            table_cell(t, "%.2f", f ? s->f1[k] : s->exact[k]);
            table_end_row(t);
        }
    rc = table_text(out, t, err);
    table_free(t);
    if (!rc && s->n_missing)
        rc = buf_printf(out, err, "%lld questions have no answer and count 0\n",
                        (long long)s->n_missing);
    return rc;
}

static int print_json(struct buf *out, const struct result *r, struct err *err)
{
    struct json_writer w;
    json_writer_init(&w, out, 1);
    jw_object(&w, NULL);
    if (r->xcopa.n) {
        jw_object(&w, "xcopa_it");
        jw_int(&w, "rows", r->xcopa.n);
        jw_real(&w, "acc", (double)r->xcopa.n_right / (double)r->xcopa.n);
        jw_real(&w, "acc_norm", (double)r->xcopa.n_right_norm / (double)r->xcopa.n);
        jw_end(&w);
    }
    if (r->squad.n) {
        jw_object(&w, "squad_it");
        jw_int(&w, "questions", r->squad.n);
        jw_int(&w, "unanswered", r->squad.n_missing);
        jw_int(&w, "unknown", r->squad.n_unknown);
        for (int k = 0; k < SQUAD_N_RULES; k++) {
            jw_object(&w, squad_rules_names[k]);
            jw_real(&w, "exact_match", r->squad.exact[k]);
            jw_real(&w, "f1", r->squad.f1[k]);
            jw_end(&w);
        }
        jw_end(&w);
    }
    jw_end(&w);
    int rc = json_writer_end(&w, err);
    return rc ? rc : buf_puts(out, "\n", err);
}

static int run(int argc, char **argv)
{
    struct err err = {0};
    struct words w = {0};
    struct result r = {0};
    struct buf out = {0};
    int rc = read_words(&w, argc, argv, &err);
    if (!rc)
        rc = measure(&r, &w, &err);
    if (!rc)
        rc = w.json ? print_json(&out, &r, &err) : print_text(&out, &r, &err);
    if (!rc)
        fwrite(out.bytes, 1, out.n, stdout);
    buf_release(&out);
    return rc ? cli_fail("eval-tasks", &err) : 0;
}

const struct command cmd_eval_tasks = {
    "eval-tasks",
    "Italian tasks: XCOPA by log-likelihood, SQuAD's exact match and F1",
    HELP,
    run,
};
