/* moe2 forward: a question file through gate, experts and combination. */
#include <stdio.h>
#include <string.h>

#include "cli/cli.h"
#include "io/json_util.h"
#include "pipeline/step_forward.h"

static const char HELP[] =
    "usage: moe2 forward --outcomes O.csv [--predictions P.csv] [--gate-scores G.npy] [options]\n"
    "       moe2 forward --live URL --questions F.jsonl [--gate-scores G.npy] [options]\n"
    "       moe2 forward --fit --learned L.json --outcomes O.csv --predictions P.csv [options]\n\n"
    "For every question the gate picks k of the experts in service, their recorded answers are "
    "gathered and combined; with\n"
    "--live they are asked now, side by side, at the endpoint of moe2 fleet up or moe2 serve.\n"
    "Prints the accuracy with its 95 % interval beside the best single expert and the oracle; "
    "DIR/answers.jsonl says\n"
    "for each question who was asked and why.\n\n"
    "options:\n"
    "  --questions F.jsonl   which questions, in which order (id or question_id); without it all "
    "of the outcomes\n"
    "  --live URL            running experts, http://host:port, in place of --outcomes; DIR "
    "then gets\n"
    "                        outcomes.csv, predictions.csv, lengths.csv and runs.csv too (moe2 "
    "help fleet)\n"
    "  --answer FORM         live: letter, or text, as moe2 answer asks (letter)\n"
    "  --limit N             live: the first N questions only\n"
    "  --timeout S           live: seconds for one answer (120)\n"
    "  --outcomes F.csv      question_id, category, answer, and a column an expert: 1, 0 or "
    "nothing\n"
    "  --predictions F.csv   the letters answered; without it all wrong answers are taken to "
    "agree\n"
    "  --gate-scores F.npy   [questions, experts]; rows as in the outcomes, or in the question "
    "file\n"
    "  --subset a,b,c        experts in service (all)\n"
    "  --k K                 asked a question (1)\n"
    "  --combine HOW         top1, vote, weighted or learned (vote; top1 for --k 1)\n"
    "  --learned F.json      the learned combination\n"
    "  --fit                 fit it on these questions and write it: on training questions, with "
    "out-of-fold scores\n"
    "  --text-free           with --fit: weights look at who answered and the category, not at "
    "gate scores\n"
    "  --out DIR             answers.jsonl and forward.json\n"
    "  --json                print forward.json's numbers instead of text\n\n"
    "examples:\n"
    "  moe2 forward --live http://127.0.0.1:8080 --questions gating_test.jsonl --k 3 --out "
    "results/live\n"
    "  moe2 forward --outcomes test.csv --predictions predictions.csv --gate-scores test.npy --k "
    "3 --out results/forward\n"
    "  moe2 forward --fit --learned l.json --outcomes train.csv --predictions predictions.csv "
    "--gate-scores oof.npy --k 8\n"
    "  moe2 forward --combine learned --learned l.json --outcomes test.csv --predictions "
    "predictions.csv --gate-scores test.npy\n";

static void print_interval(const char *what, double mean, double low, double high)
{
    printf("%-12s %5.1f %%  (%.1f to %.1f)\n", what, 100 * mean, 100 * low, 100 * high);
}

static int print_text(const struct forward_report *r, struct err *err)
{
    struct buf text = {0};
    int rc = table_text(&text, r->by_expert, err);
    if (!rc && table_n_rows(r->by_category)) {
        rc = buf_puts(&text, "\n", err);
        if (!rc)
            rc = table_text(&text, r->by_category, err);
    }
    if (!rc) {
        printf("%s\n%lld questions, %.2f experts asked each, 95 %% intervals\n", text.bytes,
               (long long)r->n, r->asked);
        print_interval("accuracy", r->accuracy.value, r->accuracy.low, r->accuracy.high);
        if (r->partial) {
            puts("not all in service were asked: the best single one and the oracle are not known");
        } else {
            print_interval("best single", r->best_single.value, r->best_single.low,
                           r->best_single.high);
            print_interval("gain", r->gain.mean, r->gain.low, r->gain.high);
            printf("%-12s %5.1f %%  some expert in service is right\n", "oracle", 100 * r->oracle);
            printf("best single: %s\n", r->best_name);
        }
    }
    buf_release(&text);
    return rc;
}

static int print_json(const struct forward_report *r, struct err *err)
{
    struct buf text = {0};
    struct json_writer w;
    json_writer_init(&w, &text, 0);
    jw_object(&w, NULL);
    jw_int(&w, "questions", r->n);
    jw_int(&w, "correct", r->n_right);
    jw_real(&w, "accuracy", r->accuracy.value);
    jw_real(&w, "low", r->accuracy.low);
    jw_real(&w, "high", r->accuracy.high);
    jw_real(&w, "asked", r->asked);
    if (!r->partial) {
        jw_text(&w, "best_single", r->best_name);
        jw_real(&w, "best_single_accuracy", r->best_single.value);
        jw_real(&w, "gain", r->gain.mean);
        jw_real(&w, "gain_low", r->gain.low);
        jw_real(&w, "gain_high", r->gain.high);
        jw_real(&w, "oracle", r->oracle);
    }
    jw_end(&w);
    int rc = json_writer_end(&w, err);
    if (!rc)
        printf("%s\n", text.bytes);
    buf_release(&text);
    return rc;
}

static int choose_combine(struct forward_step *step, const char *name, struct err *err)
{
    int found = name ? forward_combine_find(name) : -1;
    if (name && found < 0)
        return err_set(err, MOE2_ECONFIG,
                       "--combine is \"%.40s\", wanted top1, vote, weighted or learned", name);
    step->combine = name ? (enum forward_combine)found : step->k > 1 ? FORWARD_VOTE : FORWARD_TOP1;
    return 0;
}

static int choose_form(struct forward_step *step, const char *name, struct err *err)
{
    for (int i = 0; i < ANSWER_N_FORMS && name; i++)
        if (strcmp(name, answer_form_names[i]) == 0) {
            step->form = (enum answer_form)i;
            return 0;
        }
    return name ? err_set(err, MOE2_ECONFIG, "--answer is \"%.40s\", wanted letter or text", name)
                : 0;
}

static int check_timeout(double timeout_s, struct err *err)
{
    if (timeout_s == 0 || (timeout_s >= 0.1 && timeout_s <= 86400)) /* 0: not said */
        return 0;
    return err_set(err, MOE2_ECONFIG, "--timeout is %g, wanted 0.1 to 86400 seconds", timeout_s);
}

static int run(int argc, char **argv)
{
    struct err err = {0};
    struct forward_step step = {.sink = cli_sink()};
    struct forward_report report = {0};
    const char *combine = NULL;
    const char *form = NULL;
    bool json = false;
    const struct cli_flag flags[] = {
        {"--questions", FLAG_TEXT, &step.questions, false},
        {"--live", FLAG_TEXT, &step.live, false},
        {"--answer", FLAG_TEXT, &form, false},
        {"--limit", FLAG_INT, &step.limit, false},
        {"--timeout", FLAG_REAL, &step.timeout_s, false},
        {"--outcomes", FLAG_TEXT, &step.outcomes, false},
        {"--predictions", FLAG_TEXT, &step.predictions, false},
        {"--gate-scores", FLAG_TEXT, &step.gate_scores, false},
        {"--subset", FLAG_TEXT, &step.subset, false},
        {"--k", FLAG_INT, &step.k, false},
        {"--combine", FLAG_TEXT, &combine, false},
        {"--learned", FLAG_TEXT, &step.learned, false},
        {"--fit", FLAG_BOOL, &step.fit, false},
        {"--text-free", FLAG_BOOL, &step.text_free, false},
        {"--out", FLAG_TEXT, &step.out_dir, false},
        {"--json", FLAG_BOOL, &json, false},
    };
    int rc = cli_parse(argc, argv, flags, COUNT_OF(flags), NULL, &err);
    if (step.live)
        step.stop = cli_stop_flag();
    if (!rc)
        rc = choose_form(&step, form, &err);
    if (!rc)
        rc = check_timeout(step.timeout_s, &err);
    if (!rc)
        rc = choose_combine(&step, combine, &err);
    if (!rc)
        rc = forward_run(&report, &step, &err);
    if (!rc && step.fit)
        printf("%s: fitted on %lld questions, %.4f nats a question\n", step.learned,
               (long long)report.n, report.loss);
    else if (!rc)
        rc = json ? print_json(&report, &err) : print_text(&report, &err);
    forward_report_release(&report);
    return rc ? cli_fail("forward", &err) : 0;
}

const struct command cmd_forward = {
    "forward",
    "answers questions by a fleet, recorded or live: gate, top-k, vote",
    HELP,
    run,
};
