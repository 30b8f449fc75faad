/* moe2 pipeline: the two-level build, step by step. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/file.h"
#include "base/process.h"
#include "base/table.h"
#include "cli/cli.h"
#include "cli/device_flags.h"
#include "io/json_util.h"
#include "pipeline/pipeline_steps.h"

static const char HELP[] =
    "usage: moe2 pipeline --config FILE.yaml [--from STEP] [--to STEP] [--force STEP] [--status] "
    "[--set "
    "key=value]…\n\n"
    "Runs the steps of the two-level build in their order: gating_set, corpus, embed, cluster, "
    "experts, "
    "quantize,\n"
    "outcomes, gate, profile, live, select, report. A step that is done is not done again unless "
    "its "
    "inputs "
    "or its\n"
    "configuration changed; an interrupted run goes on where it was when the same command is given "
    "again. What was\n"
    "done stands in OUT/pipeline.json. Where no real data lies, questions, answers and costs are "
    "made "
    "from the seed and\n"
    "called synthetic everywhere.\n\n"
    "  --config FILE     configs/moe2.yaml; without it, the defaults\n"
    "  --from STEP       begin with this step; the ones before are taken as they are\n"
    "  --to STEP         end with this step\n"
    "  --force STEP      do this step again, done or not\n"
    "  --status          say what is done and what is not, and do nothing\n"
    "  --data DIR        instead of data.root\n"
    "  --out DIR         instead of out\n" DEVICE_FLAGS_HELP
    "                    (device, memory_gb): of all steps that "
    "compute with tensors\n"
    "  --set key=value   instead of what the file says, any number of times\n"
    "  --help-config     all keys\n"
    "  --json            one JSON object instead of a table\n\n"
    "See moe2 help building.\n\n"
    "examples:\n"
    "  moe2 pipeline --config configs/moe2.yaml\n"
    "  moe2 pipeline --config configs/moe2.yaml --status\n"
    "  moe2 pipeline --config configs/moe2.yaml --from gate --set gate.kind=knn\n";

enum { MAX_WORDS = 128, N_MADE = 4 };

struct words {
    const char *config, *from, *to, *force, *data, *out;
    bool status, json, help_config;
    struct device_flags device;
    const char *set[MAX_WORDS + N_MADE];
    int n_set;
    char *made[N_MADE]; /* "data.root=…", "out=…", "device=…", "memory_gb=…", owned */
};

/* ---- words ---- */

static int add_made(struct words *w, int i, const char *key, const char *value, struct err *err)
{
    struct buf b = {0};
    int rc = value ? buf_printf(&b, err, "%s=%s", key, value) : 0;
    w->made[i] = b.bytes;
    if (value && !rc)
        w->set[w->n_set++] = b.bytes;
    return rc;
}

static int add_device(struct words *w, struct err *err)
{
    struct device_choice choice;
    char gb[32];
    int rc = device_flags_read(&choice, &w->device, err);
    if (rc)
        return rc;
    snprintf(gb, sizeof gb, "%.12g", (double)choice.limit_bytes * 1e-9);
    rc = add_made(w, 2, "device", choice.name, err);
    return rc ? rc : add_made(w, 3, "memory_gb", w->device.limit ? gb : NULL, err);
}

static int read_words(struct words *w, int argc, char **argv, struct err *err)
{
    const struct cli_flag flags[] = {
        {"--config", FLAG_TEXT, &w->config, false},
        {"--from", FLAG_TEXT, &w->from, false},
        {"--to", FLAG_TEXT, &w->to, false},
        {"--force", FLAG_TEXT, &w->force, false},
        {"--data", FLAG_TEXT, &w->data, false},
        {"--out", FLAG_TEXT, &w->out, false},
        {"--status", FLAG_BOOL, &w->status, false},
        {"--json", FLAG_BOOL, &w->json, false},
        DEVICE_FLAGS(&w->device),
        {"--help-config", FLAG_BOOL, &w->help_config, false},
        {"--set", FLAG_TEXT, &w->set[0], false}, /* gone from argv; here to be suggested */
    };
    int n = 0, rc;
    *w = (struct words){0};
    argc = cli_drop_set(argc, argv);
    rc = cli_parse(argc, argv, flags, COUNT_OF(flags), &n, err);
    if (!rc && n > MAX_WORDS)
        rc = err_set(err, MOE2_ECONFIG, "more than %d overrides", MAX_WORDS);
    for (int i = 0; i < n && !rc; i++) {
        if (!strchr(argv[i], '='))
            rc = err_set(err, MOE2_ECONFIG, "\"%s\" is no key=value (see --help)", argv[i]);
        w->set[w->n_set++] = argv[i];
    }
    if (!rc)
        rc = add_made(w, 0, "data.root", w->data, err);
    if (!rc)
        rc = add_made(w, 1, "out", w->out, err);
    return rc ? rc : add_device(w, err);
}

/* ---- what comes out ---- */

static const char *when(char text[32], int64_t finished)
{
    time_t t = (time_t)finished;
    struct tm tm;
    text[0] = 0;
    if (finished && localtime_r(&t, &tm))
        strftime(text, 32, "%Y-%m-%d %H:%M", &tm);
    return text;
}

static int print_table(struct buf *out, const struct steps_report *r, const struct step *steps,
                       struct err *err)
{
    struct table *t = NULL;
    char text[32];
    int rc = table_new(&t,
                       (struct table_column[]){{"step", TABLE_LEFT},
                                               {"state", TABLE_LEFT},
                                               {"seconds", TABLE_RIGHT},
                                               {"finished", TABLE_LEFT},
                                               {"", TABLE_LEFT}},
                       5, err);
    if (rc)
        return rc;
    for (int i = 0; i < r->n_steps; i++) {
        const struct step_result *s = &r->results[i];
        table_cell(t, "%s", steps[i].name);
        table_cell(t, "%s", step_state_name(s->state));
        if (s->finished)
            table_cell(t, "%.2f", s->seconds);
        else
            table_cell(t, "%s", "");
        table_cell(t, "%s", when(text, s->finished));
        table_cell(t, "%s", s->reason[0] ? s->reason : s->said ? s->said : "");
    }
    rc = table_text(out, t, err);
    table_free(t);
    return rc;
}

static void write_step(struct json_writer *w, const struct step *step, const struct step_result *s)
{
    jw_object(w, NULL);
    jw_text(w, "step", step->name);
    jw_text(w, "state", step_state_name(s->state));
    if (s->reason[0])
        jw_text(w, "reason", s->reason);
    jw_text(w, "said", s->said);
    if (s->finished) {
        jw_int(w, "finished", s->finished);
        jw_real(w, "seconds", s->seconds);
    }
    jw_end(w);
}

static int print_json(struct buf *out, const struct steps_report *r, const struct step *steps,
                      const struct pipeline *p, struct err *err)
{
    struct json_writer w;
    json_writer_init(&w, out, 1);
    jw_object(&w, NULL);
    jw_text(&w, "out", p->config->out);
    jw_bool(&w, "synthetic", p->synthetic);
    jw_text(&w, "note", p->note);
    jw_int(&w, "ran", r->n_ran);
    jw_array(&w, "steps");
    for (int i = 0; i < r->n_steps; i++)
        write_step(&w, &steps[i], &r->results[i]);
    jw_end(&w);
    jw_end(&w);
    int rc = json_writer_end(&w, err);
    return rc ? rc : buf_puts(out, "\n", err);
}

static int print(const struct words *w, const struct steps_report *r, const struct step *steps,
                 const struct pipeline *p, struct err *err)
{
    struct buf out = {0};
    int rc = w->json ? print_json(&out, r, steps, p, err) : print_table(&out, r, steps, err);
    if (!rc && !w->json && p->note)
        rc = buf_printf(&out, err, "note: %s\n", p->note);
    if (!rc && !w->json)
        rc = buf_printf(&out, err, "everything is under %s\n", p->config->out);
    if (!rc)
        fwrite(out.bytes, 1, out.n, stdout);
    buf_release(&out);
    return rc;
}

/* ---- the command ---- */

static int run_steps(const struct words *w, struct pipeline *p, struct err *err)
{
    struct steps_report report = {0};
    int n = 0;
    const struct step *steps = pipeline_steps(&n, p);
    struct steps_options o = {.steps = steps,
                              .n_steps = n,
                              .ctx = p,
                              .manifest = pipeline_path(p, "pipeline.json", err),
                              .from = w->from,
                              .to = w->to,
                              .force = w->force,
                              .status = w->status,
                              .note = p->note,
                              .sink = cli_sink(),
                              .stop = p->stop};
    int rc = o.manifest ? steps_run(&report, &o, err) : MOE2_ELIMIT;
    if (!rc)
        rc = print(w, &report, steps, p, err);
    if (rc == MOE2_ESTOP)
        log_line(cli_sink(), LOG_INFO,
                 "what was done is kept; to go on, give the same command again");
    steps_report_release(&report);
    return rc;
}

static int help_config(void)
{
    struct buf text = {0};
    struct err err = {0};
    int rc = pipeline_config_help(&text, &err);
    if (!rc)
        fwrite(text.bytes, 1, text.n, stdout);
    buf_release(&text);
    return rc ? cli_fail("pipeline", &err) : 0;
}

/* OUT is of one pipeline at a time; a look at its state takes nothing. */
static int take_out(int *lock, const struct words *w, const char *out, struct err *err)
{
    int rc = w->status ? 0 : dir_make(out, err);
    return rc || w->status ? rc : process_lock(lock, out, "pipeline.pid", err);
}

static int run(int argc, char **argv)
{
    struct err err = {0};
    int lock = -1;
    struct words w;
    struct pipeline_config config = {0};
    struct pipeline p = {0};
    int rc = read_words(&w, argc, argv, &err);
    if (!rc && w.help_config)
        return help_config();
    if (!rc)
        rc = pipeline_config_read(&config, w.config, w.set, w.n_set, &err);
    if (!rc)
        rc = take_out(&lock, &w, config.out, &err);
    if (!rc)
        rc = pipeline_open(&p, &config, cli_sink(), cli_stop_flag(), &err);
    p.program = "/proc/self/exe";
    if (!rc)
        rc = run_steps(&w, &p, &err);
    pipeline_close(&p);
    if (lock >= 0)
        close(lock);
    pipeline_config_release(&config);
    for (int i = 0; i < N_MADE; i++)
        free(w.made[i]);
    return rc ? cli_fail("pipeline", &err) : 0;
}

const struct command cmd_pipeline = {
    "pipeline",
    "the two-level build: all its steps, each only when needed",
    HELP,
    run,
};
