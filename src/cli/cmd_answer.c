/* moe2 answer: models answer multiple-choice questions by log-likelihood. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/stats.h"
#include "base/table.h"
#include "base/words.h"
#include "cli/cli.h"
#include "cli/device_flags.h"
#include "pipeline/step_answer.h"

enum { MAX_SUBJECT_ROWS = 64 };

static const char HELP[] =
    "usage: moe2 answer --models [NAME=]DIR[+ADAPTER],… --questions FILE.jsonl --out DIR "
    "[options]\n\n"
    "Asks every model every multiple-choice question and takes the option that it finds most\n"
    "probable, by the conventions of lm-evaluation-harness. Writes DIR/outcomes.csv, "
    "predictions.csv\n"
    "and lengths.csv, which gate train, select and forward read, answers.json, and every option's\n"
    "score in DIR/answers/NAME.jsonl. The same command goes on where a run was stopped.\n\n"
    "  --models A,B,…      checkpoint folders; a model is called as its folder unless NAME= says;\n"
    "                      BASE+ADAPTER is a folder with a folder of PEFT's adapters on it\n"
    "  --questions FILE    lines as moe2 data qa and moe2 data synth write them\n"
    "  --out DIR           made if it is not there\n"
    "  --answer FORM       letter (options stand in the prompt; the default), or text\n"
    "  --normalize HOW     none (the default), chars or bytes: what scores are divided by\n"
    "  --few-shot N        examples of the same subject before each question (0) …\n"
    "  --dev FILE          … and where they are, few_shot.jsonl of moe2 data qa\n"
    "  --limit N           only the first N questions\n"
    "  --bos               BOS in front of every prompt (the harness has none)\n"
    "  --jobs N            models at a time (as many as cores; one on a GPU)\n"
    "  --threads N         of all together (every core that this process may use)\n"
    "  --window W          tokens seen at once: max_position_embeddings and at most 2,048\n"
    "  --batch-tokens N    of a forward (2,048)\n"
    "  --tokenizer T       for all models: a tokenizer.json, its folder, or bytes\n"
    "  --bf16              products in bf16 instead of float32\n" DEVICE_FLAGS_HELP
    "  --json              one JSON object instead of tables\n\n"
    "See moe2 help answering.\n\n"
    "examples:\n"
    "  moe2 answer --models experts/a,experts/b --questions data/gating_train.jsonl \\\n"
    "      --out results/accuracy\n"
    "  moe2 answer --models small=out/tiny --questions data/gating_test.jsonl --answer text \\\n"
    "      --normalize chars --few-shot 5 --dev data/few_shot.jsonl --out results/tiny\n";

struct words {
    struct answer_step step;
    struct answer_expert experts[OUTCOMES_MAX_EXPERTS];
    const char *models, *form, *norm;
    struct device_flags device;
    char *copy; /* of --models, cut into names and folders */
    bool json;
};

/* ---- words ---- */

static int choose(int *out, const char *flag, const char *text, const char *const *names, int n,
                  struct err *err)
{
    if (!text)
        return 0;
    for (int i = 0; i < n; i++)
        if (strcmp(names[i], text) == 0) {
            *out = i;
            return 0;
        }
    const char *nearest = words_nearest(text, names, (size_t)n);
    return err_set(err, MOE2_ECONFIG, "%s is \"%.40s\", %s%s", flag, text,
                   nearest ? "the nearest is " : "wanted one of --help", nearest ? nearest : "");
}

/* BASE+ADAPTER, unless something of that whole name is there. Returns the adapter's path; NULL: none. */
static char *split_adapter(struct answer_expert *e, char *path)
{
    char *plus = strrchr(path, '+');
    e->dir = path;
    if (!plus || file_exists(path) || file_is_dir(path))
        return NULL;
    *plus = 0;
    e->adapter = plus + 1;
    return plus + 1;
}

static int read_models(struct words *w, struct err *err)
{
    w->copy = strdup(w->models);
    if (!w->copy)
        return err_set(err, MOE2_ELIMIT, "no memory for names");
    for (char *rest = w->copy, *p; (p = words_cut(&rest));) {
        if (w->step.n_experts == OUTCOMES_MAX_EXPERTS || !*p)
            return err_set(err, MOE2_ECONFIG, "--models wants 1 to %d folders with commas between",
                           OUTCOMES_MAX_EXPERTS);
        char *equals = strchr(p, '=');
        if (equals)
            *equals = 0;
        struct answer_expert *e = &w->experts[w->step.n_experts++];
        char *adapter = split_adapter(e, equals ? equals + 1 : p);
        e->name = equals ? p : path_last(adapter ? adapter : p);
    }
    return 0;
}

static int read_words(struct words *w, int argc, char **argv, struct err *err)
{
    struct answer_step *s = &w->step;
    const struct cli_flag flags[] = {
        {"--models", FLAG_TEXT, &w->models, true},
        {"--questions", FLAG_TEXT, &s->questions, true},
        {"--out", FLAG_TEXT, &s->out_dir, true},
        {"--answer", FLAG_TEXT, &w->form, false},
        {"--normalize", FLAG_TEXT, &w->norm, false},
        {"--few-shot", FLAG_INT, &s->n_shots, false},
        {"--dev", FLAG_TEXT, &s->examples, false},
        {"--limit", FLAG_INT, &s->limit, false},
        {"--bos", FLAG_BOOL, &s->bos, false},
        {"--jobs", FLAG_INT, &s->jobs, false},
        {"--threads", FLAG_INT, &s->threads, false},
        {"--window", FLAG_INT, &s->window, false},
        {"--batch-tokens", FLAG_INT, &s->batch_tokens, false},
        {"--tokenizer", FLAG_TEXT, &s->tokenizer, false},
        {"--bf16", FLAG_BOOL, &s->bf16, false},
        DEVICE_FLAGS(&w->device),
        {"--json", FLAG_BOOL, &w->json, false},
    };
    int form = ANSWER_LETTER, norm = CHOICE_SUM;
    int rc = cli_parse(argc, argv, flags, COUNT_OF(flags), NULL, err);
    if (!rc)
        rc = device_flags_read(&s->device, &w->device, err);
    if (!rc)
        rc = choose(&form, "--answer", w->form, answer_form_names, ANSWER_N_FORMS, err);
    if (!rc)
        rc = choose(&norm, "--normalize", w->norm, choice_norm_names, CHOICE_N_NORMS, err);
    if (!rc)
        rc = read_models(w, err);
    s->form = (enum answer_form)form;
    s->norm = (enum choice_norm)norm;
    s->experts = w->experts;
    s->sink = cli_sink();
    s->stop = cli_stop_flag();
    return rc;
}

/* ---- what comes out ---- */

static int experts_table(struct buf *out, const struct answer_report *r,
                         const struct answer_step *step, struct err *err)
{
    struct table *t = NULL;
    int rc = table_new(&t,
                       (struct table_column[]){{"expert", TABLE_LEFT},
                                               {"questions", TABLE_RIGHT},
                                               {"acc", TABLE_RIGHT},
                                               {"95 %", TABLE_LEFT},
                                               {"acc_norm", TABLE_RIGHT},
                                               {"acc_bytes", TABLE_RIGHT},
                                               {"from before", TABLE_RIGHT},
                                               {"seconds", TABLE_RIGHT}},
                       8, err);
    for (int e = 0; e < r->n_experts && !rc; e++) {
        const struct answer_expert_report *x = &r->experts[e];
        struct stats_share s = stats_share95(x->n_right[CHOICE_SUM], r->n);
        table_cell(t, "%s", step->experts[e].name);
        table_cell(t, "%lld", (long long)r->n);
        table_cell(t, "%.4f", s.value);
        table_cell(t, "%.4f … %.4f", s.low, s.high);
        for (int m = CHOICE_CHARS; m < CHOICE_N_NORMS; m++)
            table_cell(t, "%.4f", (double)x->n_right[m] / (double)r->n);
        table_cell(t, "%lld", (long long)x->n_resumed);
        table_cell(t, "%.1f", x->seconds);
    }
    if (!rc)
        rc = table_text(out, t, err);
    table_free(t);
    return rc;
}

/* Subjects down, experts across: who is good at what. */
static int subjects_table(struct buf *out, const struct answer_report *r,
                          const struct answer_step *step, struct err *err)
{
    struct table_column columns[TABLE_MAX_COLUMNS] = {{"subject", TABLE_LEFT},
                                                      {"questions", TABLE_RIGHT}};
    struct table *t = NULL;
    int n = r->n_experts;
    if (r->subjects.n < 2 || r->subjects.n > MAX_SUBJECT_ROWS || n + 2 > TABLE_MAX_COLUMNS)
        return 0;
    for (int e = 0; e < n; e++)
        columns[2 + e] = (struct table_column){step->experts[e].name, TABLE_RIGHT};
    int rc = table_new(&t, columns, n + 2, err);
    for (int64_t s = 0; s < r->subjects.n && !rc; s++) {
        table_cell(t, "%s", name_table_text(&r->subjects, s));
        table_cell(t, "%lld", (long long)r->n_subject[s]);
        for (int e = 0; e < n; e++)
            table_cell(t, "%.3f",
                       (double)r->n_subject_right[e * r->subjects.n + s] / (double)r->n_subject[s]);
    }
    if (!rc)
        rc = buf_puts(out, "\n", err);
    if (!rc)
        rc = table_text(out, t, err);
    table_free(t);
    return rc;
}

static int print_text(struct buf *out, const struct answer_report *r,
                      const struct answer_step *step, struct err *err)
{
    int rc = experts_table(out, r, step, err);
    if (!rc)
        rc = subjects_table(out, r, step, err);
    if (!rc && r->n_left_out)
        rc = buf_printf(out, err, "%lld rows do not have exactly one right option: left out\n",
                        (long long)r->n_left_out);
    return rc ? rc
              : buf_printf(out, err, "%s has outcomes.csv, predictions.csv, lengths.csv\n",
                           step->out_dir);
}

static int print_json(struct buf *out, const struct answer_report *r,
                      const struct answer_step *step, struct err *err)
{
    struct json_writer w;
    json_writer_init(&w, out, 1);
    jw_object(&w, NULL);
    jw_text(&w, "out", step->out_dir);
    answer_json(&w, r, step);
    jw_end(&w);
    int rc = json_writer_end(&w, err);
    return rc ? rc : buf_puts(out, "\n", err);
}

static int run(int argc, char **argv)
{
    struct err err = {0};
    struct words w = {.step = answer_step_default()};
    struct answer_report report = {0};
    struct buf out = {0};
    int rc = read_words(&w, argc, argv, &err);
    if (!rc)
        rc = answer_run(&report, &w.step, &err);
    if (!rc)
        rc = w.json ? print_json(&out, &report, &w.step, &err)
                    : print_text(&out, &report, &w.step, &err);
    if (!rc)
        fwrite(out.bytes, 1, out.n, stdout);
    buf_release(&out);
    answer_report_release(&report);
    free(w.copy);
    return rc ? cli_fail("answer", &err) : 0;
}

const struct command cmd_answer = {
    "answer",
    "models answer multiple-choice questions by log-likelihood",
    HELP,
    run,
};
