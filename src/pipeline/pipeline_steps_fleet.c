/* The steps from recorded answers to the gate and the costs: see pipeline_steps.h. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/stats.h"
#include "io/csv_write.h"
#include "io/outcomes.h"
#include "pipeline/pipeline_steps.h"
#include "pipeline/qa_outcomes.h"
#include "pipeline/step_gate.h"
#include "pipeline/step_gating_set.h"
#include "pipeline/step_profile.h"
#include "pipeline/synthetic.h"

/* ---- outcomes ---- */

static const char *const sides[] = {"train", "test"};
static const char *const side_files[] = {"data/" GATING_TRAIN_FILE, "data/" GATING_TEST_FILE, NULL};

enum { ANSWERS, PREDICTIONS, LENGTHS, N_TABLES };
static const char *const tables[N_TABLES] = {"outcomes", "predictions", "lengths"};

static const char *recorded(const struct pipeline *p, int table)
{
    return table == ANSWERS ? p->answers : table == PREDICTIONS ? p->predictions : p->chars;
}

/* Whether there is such a table: experts of our own make all three. */
static bool has_table(const struct pipeline *p, int table)
{
    return p->trains || recorded(p, table);
}

/* "results/accuracy/outcomes_train.csv"; side NULL: the whole. */
static const char *table_path(struct pipeline *p, int table, const char *side, struct err *err)
{
    char name[96];
    snprintf(name, sizeof name, "results/accuracy/%s%s%s.csv", tables[table], side ? "_" : "",
             side ? side : "");
    return pipeline_path(p, name, err);
}

/* What they are made of: recorded tables, or the experts themselves. */
static int declare_sources(struct step_needs *needs, struct pipeline *p, struct err *err)
{
    int rc = 0;
    if (!p->trains && !p->answers)
        return err_set(
            err, MOE2_ECONFIG,
            "outcomes.answers is empty, and there are no experts to ask (experts.train)");
    for (int t = 0; t < N_TABLES && !rc; t++)
        if (recorded(p, t))
            rc = step_input(needs, recorded(p, t), err);
    for (int64_t i = 0; i < p->fleet.experts.n && !rc && p->trains; i++)
        rc = step_input(needs, pipeline_expert(p, i, true, err), err);
    if (!rc && p->trains)
        rc = pipeline_config_values(&needs->config, p->config, "experts.answer", err);
    return rc;
}

int declare_outcomes(struct step_needs *needs, void *ctx, struct err *err)
{
    struct pipeline *p = ctx;
    int rc = declare_sources(needs, p, err);
    for (int t = 0; t < N_TABLES && !rc; t++) {
        if (!has_table(p, t))
            continue;
        rc = step_output(needs, table_path(p, t, NULL, err), err);
        for (int s = 0; s < 2 && !rc; s++)
            rc = step_output(needs, table_path(p, t, sides[s], err), err);
    }
    if (!rc && p->trains)
        rc = pipeline_needs(needs, p, STEP_NAMES(),
                            STEP_NAMES("results/accuracy/asked_bases/outcomes.csv"), STEP_NAMES(),
                            err);
    if (!rc)
        rc = pipeline_needs_experts(needs, &p->columns, err);
    return rc ? rc
              : pipeline_needs(needs, p, side_files, STEP_NAMES("results/accuracy/by_subject.csv"),
                               STEP_NAMES(), err);
}

/* The rows of both sides behind each other: the whole gating set. */
static int join_sides(struct pipeline *p, int table, struct err *err)
{
    struct file_writer w = {0};
    const char *out = table_path(p, table, NULL, err);
    int rc = out ? file_begin(&w, out, err) : MOE2_ELIMIT;
    for (int s = 0; s < 2 && !rc; s++) {
        struct file_map map = {0};
        const char *path = table_path(p, table, sides[s], err);
        rc = path ? file_map(&map, path, err) : MOE2_ELIMIT;
        if (rc)
            break;
        const uint8_t *line = s ? memchr(map.bytes, '\n', map.n_bytes) : NULL;
        size_t from = line ? (size_t)(line + 1 - map.bytes) : 0;
        rc = file_put(&w, map.bytes + from, map.n_bytes - from, err);
        file_unmap(&map);
    }
    if (!rc)
        rc = file_commit(&w, err);
    file_abort(&w);
    return rc;
}

static int cut_table(struct pipeline *p, int table, const char *in, struct err *err)
{
    int rc = 0;
    for (int s = 0; s < 2 && !rc; s++) {
        struct qa_outcomes_report r;
        struct qa_outcomes cut = {.questions = pipeline_path(p, side_files[s], err),
                                  .in = in,
                                  .out = table_path(p, table, sides[s], err),
                                  .experts = p->columns,
                                  .prompt_tokens = table == ANSWERS,
                                  .sink = p->sink};
        rc = cut.questions && cut.out ? qa_outcomes_cut(&r, &cut, err) : MOE2_ELIMIT;
    }
    return rc ? rc : join_sides(p, table, err);
}

/* Characters become tokens before the rows are chosen. */
static int cut_lengths(struct pipeline *p, struct err *err)
{
    const char *all = pipeline_path(p, "results/accuracy/lengths_all.csv", err);
    int rc = all ? profile_lengths(all, p->chars, p->sink, err) : MOE2_ELIMIT;
    if (!rc)
        rc = cut_table(p, LENGTHS, all, err);
    if (all)
        file_remove_all(all, NULL);
    return rc;
}

/* One line: an expert on a subject, or on all. Empty cells where it was never run. */
static int put_share(struct buf *out, const char *expert, const char *subject, int64_t n,
                     int64_t n_right, struct err *err)
{
    struct stats_share s = stats_share95(n_right, n);
    int rc = csv_cell(out, expert, strlen(expert), true, err);
    if (!rc)
        rc = csv_cell(out, subject, strlen(subject), false, err);
    if (!rc)
        rc = buf_printf(out, err, ",%lld,%lld", (long long)n, (long long)n_right);
    if (!rc && n)
        rc = buf_printf(out, err, ",%.4f,%.4f,%.4f\n", s.value, s.low, s.high);
    else if (!rc)
        rc = buf_puts(out, ",,,\n", err);
    return rc;
}

/* An expert's lines: all questions, then each subject. n and n_right [max(1, categories)]. */
static int put_expert(struct buf *out, const struct outcomes *o, int expert, const int64_t *n,
                      const int64_t *n_right, struct err *err)
{
    const char *name = name_table_text(&o->experts, expert);
    int64_t n_subjects = o->category ? o->categories.n : 0, n_all = *n, n_all_right = *n_right;
    for (int64_t c = 1; c < n_subjects; c++) {
        n_all += n[c];
        n_all_right += n_right[c];
    }
    int rc = put_share(out, name, "all", n_all, n_all_right, err);
    for (int64_t c = 0; c < n_subjects && !rc; c++)
        rc = put_share(out, name, name_table_text(&o->categories, c), n[c], n_right[c], err);
    return rc;
}

/* The lines of by_subject.csv. */
static int put_experts(struct buf *out, const struct outcomes *o, struct err *err)
{
    int64_t n_columns = o->category ? o->categories.n : 1, n_cells = o->n_experts * n_columns;
    int64_t *n = calloc((size_t)n_cells * 2, sizeof *n);
    if (!n)
        return err_set(err, MOE2_ELIMIT, "no memory for %d experts on %lld subjects", o->n_experts,
                       (long long)n_columns);
    outcomes_tally(n, n + n_cells, o);
    int rc = buf_puts(out, "expert,subject,questions,right,accuracy,low95,high95\n", err);
    for (int e = 0; e < o->n_experts && !rc; e++)
        rc = put_expert(out, o, e, n + e * n_columns, n + n_cells + e * n_columns, err);
    free(n);
    return rc;
}

/* results/accuracy/by_subject.csv; said gets how many experts and questions it is about. */
static int by_subject(struct buf *said, struct pipeline *p, struct err *err)
{
    struct outcomes o = {0};
    struct buf out = {0};
    const char *in = table_path(p, ANSWERS, NULL, err);
    const char *path = pipeline_path(p, "results/accuracy/by_subject.csv", err);
    int rc = in && path ? outcomes_read(&o, in, p->sink, err) : MOE2_ELIMIT;
    if (!rc)
        rc = put_experts(&out, &o, err);
    if (!rc)
        rc = file_write(path, out.bytes, out.n, err);
    if (!rc)
        rc =
            buf_printf(said, err, "%d experts on %lld questions", o.n_experts, (long long)o.n_rows);
    if (!rc && p->note)
        rc = buf_printf(said, err, "; %s", p->note);
    buf_release(&out);
    outcomes_release(&o);
    return rc;
}

/* Experts of our own: every one on every question of both sides. */
static int ask_experts(struct pipeline *p, struct err *err)
{
    int rc = 0;
    for (int s = 0; s < 2 && !rc; s++) {
        char name[96];
        const char *questions = pipeline_path(p, side_files[s], err);
        snprintf(name, sizeof name, "results/accuracy/asked_%s", sides[s]);
        const char *dir = pipeline_path(p, name, err);
        rc = questions && dir ? pipeline_ask(p, questions, dir, err) : MOE2_ELIMIT;
        for (int t = 0; t < N_TABLES && !rc; t++) {
            snprintf(name, sizeof name, "results/accuracy/asked_%s/%s.csv", sides[s], tables[t]);
            const char *from = pipeline_path(p, name, err), *to = table_path(p, t, sides[s], err);
            rc = from && to ? file_copy(to, from, err) : MOE2_ELIMIT;
        }
    }
    for (int t = 0; t < N_TABLES && !rc; t++)
        rc = join_sides(p, t, err);
    const char *test = pipeline_path(p, side_files[1], err);
    const char *bases = pipeline_path(p, "results/accuracy/asked_bases", err);
    if (!rc)
        rc = test && bases ? pipeline_ask_bases(p, test, bases, err) : MOE2_ELIMIT;
    return rc;
}

int run_outcomes(struct buf *said, void *ctx, struct err *err)
{
    struct pipeline *p = ctx;
    const char *dir = pipeline_path(p, "results/accuracy", err);
    int rc = dir ? dir_make(dir, err) : MOE2_ELIMIT;
    if (!rc && p->trains)
        rc = ask_experts(p, err);
    for (int t = 0; t < LENGTHS && !rc; t++)
        if (recorded(p, t))
            rc = cut_table(p, t, recorded(p, t), err);
    if (!rc && p->chars)
        rc = cut_lengths(p, err);
    return rc ? rc : by_subject(said, p, err);
}

/* ---- gate ---- */

int declare_gate(struct step_needs *needs, void *ctx, struct err *err)
{
    return pipeline_needs(
        needs, ctx,
        STEP_NAMES("data/gating_train.npy", "data/gating_test.npy",
                   "results/accuracy/outcomes_train.csv", "results/accuracy/outcomes_test.csv"),
        STEP_NAMES("gating/gating.safetensors", "gating/oof_scores.npy", "gating/gate.json",
                   "gating/test_scores.npy", "gating/test/gate.json"),
        STEP_NAMES("seed", "gate."), err);
}

static struct gate_step gate_of(struct pipeline *p, const char *side, struct err *err)
{
    char vectors[64], outcomes[64];
    struct gate_step step = gate_step_default();
    snprintf(vectors, sizeof vectors, "data/gating_%s.npy", side);
    snprintf(outcomes, sizeof outcomes, "results/accuracy/outcomes_%s.csv", side);
    step.embeddings = pipeline_path(p, vectors, err);
    step.outcomes = pipeline_path(p, outcomes, err);
    step.kind = p->config->gate.kind;
    step.gnuplot = "gnuplot";
    step.device = pipeline_device(p->config);
    step.n_threads = (int)p->config->threads;
    step.train.folds = p->config->gate.folds;
    step.train.hidden = p->config->gate.hidden;
    step.train.epochs = p->config->gate.epochs;
    step.train.seed = (uint64_t)p->config->seed;
    step.train.sink = p->sink;
    step.train.stop = p->stop;
    return step;
}

static int say_gate(struct buf *said, const struct gate_step_report *r, const char *where,
                    struct err *err)
{
    return buf_printf(said, err, "%s%s %.1f %% (best single %.1f, oracle %.1f)",
                      said->n ? "; " : "", where, 100 * r->m.top1.value, 100 * r->m.single.value,
                      100 * r->m.oracle.value);
}

/* Trained and scored out of fold on gating_train, then scored on gating_test, which it never saw. */
int run_gate(struct buf *said, void *ctx, struct err *err)
{
    struct pipeline *p = ctx;
    struct gate_step_report r = {0};
    struct gate_step train = gate_of(p, sides[0], err), test = gate_of(p, sides[1], err);
    train.out_dir = test.gate = pipeline_path(p, "gating", err);
    test.out_dir = pipeline_path(p, "gating/test", err);
    test.scores = pipeline_path(p, "gating/test_scores.npy", err);
    int rc = train.embeddings && train.outcomes && train.out_dir && test.embeddings &&
                     test.outcomes && test.out_dir && test.scores
                 ? gate_step_train(&r, &train, err)
                 : MOE2_ELIMIT;
    if (!rc)
        rc = say_gate(said, &r, "out of fold", err);
    gate_step_report_release(&r);
    r = (struct gate_step_report){0};
    if (!rc)
        rc = gate_step_eval(&r, &test, err);
    if (!rc)
        rc = say_gate(said, &r, "test", err);
    gate_step_report_release(&r);
    return rc;
}

/* ---- profile ---- */

/* Curves of nobody: with synthetic answers, and where questions by rules need no other data and none is there. */
static bool has_made_curves(const struct pipeline *p)
{
    return p->synthetic || (!p->config->profile.measure && p->config->data.by_rules &&
                            (!p->import || !file_exists(p->import)));
}

static bool has_measured_curves(const struct pipeline *p)
{
    return !p->synthetic && p->config->profile.measure;
}

int declare_profile(struct step_needs *needs, void *ctx, struct err *err)
{
    struct pipeline *p = ctx;
    int rc = 0;
    for (int64_t i = 0; i < p->fleet.experts.n && has_measured_curves(p) && !rc; i++)
        rc = step_input(needs, pipeline_expert(p, i, true, err), err);
    if (!rc && has_measured_curves(p))
        rc = pipeline_needs(needs, p, STEP_NAMES(), STEP_NAMES(), STEP_NAMES("threads", "device"),
                            err);
    if (!rc && has_made_curves(p))
        rc = pipeline_needs_experts(needs, &p->columns, err);
    if (!rc && !has_made_curves(p) && !has_measured_curves(p)) {
        rc = p->import ? step_input(needs, p->import, err)
                       : err_set(err, MOE2_ECONFIG, "profile.import is empty");
        if (!rc)
            rc = step_input(needs, p->config->fleet, err);
    }
    return rc ? rc
              : pipeline_needs(
                    needs, p, STEP_NAMES(),
                    STEP_NAMES("results/latency/latency.json", "results/energy/energy.json"),
                    has_made_curves(p) ? STEP_NAMES("data.synthetic", "fleet")
                                       : STEP_NAMES("profile.", "fleet"),
                    err);
}

static int synthetic_profile(struct pipeline *p, struct err *err)
{
    static const char *const dirs[] = {"results/latency", "results/energy"};
    const char *latency = pipeline_path(p, "results/latency/latency.json", err);
    const char *energy = pipeline_path(p, "results/energy/energy.json", err);
    int rc = latency && energy ? 0 : MOE2_ELIMIT;
    for (int i = 0; i < 2 && !rc; i++) {
        const char *dir = pipeline_path(p, dirs[i], err);
        rc = dir ? dir_make(dir, err) : MOE2_ELIMIT;
    }
    return rc ? rc : synthetic_curves(latency, energy, &p->columns, err);
}

static int take_lengths(int64_t *list, int *n, const struct yaml_ints *from, const char *key,
                        struct err *err)
{
    if (from->n < 1 || from->n > PROFILE_MAX_LENGTHS)
        return err_set(err, MOE2_ECONFIG, "%s has %lld lengths, wanted 1 to %d", key,
                       (long long)from->n, PROFILE_MAX_LENGTHS);
    memcpy(list, from->values, (size_t)from->n * sizeof *list);
    *n = (int)from->n;
    return 0;
}

/* The last of the notes of profile_models tells why there are none. */
static int no_joules(const struct buf *notes, struct err *err)
{
    size_t end = notes->n, first;
    while (end > 0 && notes->bytes[end - 1] == '\n')
        end--;
    for (first = end; first > 0 && notes->bytes[first - 1] != '\n';)
        first--;
    return err_set(err, MOE2_ECONFIG, "wanted a meter (profile.meter) or profile.watts: %.*s",
                   (int)(end - first), end ? notes->bytes + first : "");
}

/* The experts in 4 bits, timed and metered here. Without joules there is nothing to choose by: that is an error, which a key mends. */
static int measured_profile(struct profile_set *set, struct pipeline *p, struct err *err)
{
    const struct pipeline_config *c = p->config;
    struct profile_model models[FLEET_MAX_EXPERTS];
    struct profile_models m = {.models = models,
                               .n_models = (int)p->fleet.experts.n,
                               .out_dir = pipeline_path(p, "results", err),
                               .plan = profile_plan_default(),
                               .meter = c->profile.meter,
                               .sysfs = c->profile.sysfs,
                               .watts = c->profile.watts,
                               .device = pipeline_device(c),
                               .threads = (int)c->threads,
                               .sink = p->sink,
                               .stop = p->stop};
    const struct profile_step step = {.measured = &m, .out_dir = m.out_dir, .sink = p->sink};
    int rc = m.out_dir ? take_lengths(m.plan.prompts, &m.plan.n_prompts, &c->profile.prompts,
                                      "profile.prompts", err)
                       : MOE2_ELIMIT;
    if (!rc)
        rc = take_lengths(m.plan.outputs, &m.plan.n_outputs, &c->profile.outputs, "profile.outputs",
                          err);
    for (int64_t i = 0; i < p->fleet.experts.n && !rc; i++) {
        models[i] =
            (struct profile_model){p->fleet.experts.values[i], pipeline_expert(p, i, true, err)};
        rc = models[i].path ? 0 : MOE2_ELIMIT;
    }
    if (!rc)
        rc = profile_run(set, &step, err);
    if (!rc && set->energy.n < set->latency.n)
        rc = no_joules(&set->notes, err);
    return rc;
}

static int imported_profile(struct profile_set *set, struct pipeline *p, struct err *err)
{
    const struct profile_step step = {.import = p->import,
                                      .fleet = p->config->fleet,
                                      .out_dir = pipeline_path(p, "results", err),
                                      .sink = p->sink};
    return step.out_dir ? profile_run(set, &step, err) : MOE2_ELIMIT;
}

/* " 8 measured", or " 3 measured, 5 estimated". */
static int say_sources(struct buf *said, const struct curves *c, struct err *err)
{
    int rc = 0, n_of[CURVE_N_SOURCES] = {0};
    for (int i = 0; i < c->n; i++)
        n_of[c->list[i].source]++;
    for (int s = 0, first = 1; s < CURVE_N_SOURCES && !rc; s++)
        if (n_of[s]) {
            rc = buf_printf(said, err, "%s %d %s", first ? "" : ",", n_of[s],
                            curve_source_label((enum curve_source)s));
            first = 0;
        }
    return rc;
}

int run_profile(struct buf *said, void *ctx, struct err *err)
{
    struct pipeline *p = ctx;
    struct profile_set set = {0};
    if (has_made_curves(p)) {
        int rc = synthetic_profile(p, err);
        return rc ? rc
                  : buf_printf(said, err, "%lld curves; " SYNTHETIC_CURVES_NOTE,
                               (long long)p->columns.n);
    }
    int rc =
        has_measured_curves(p) ? measured_profile(&set, p, err) : imported_profile(&set, p, err);
    if (!rc)
        rc = buf_printf(said, err, "%d curves:", set.latency.n);
    if (!rc)
        rc = say_sources(said, &set.latency, err);
    if (!rc)
        rc = buf_puts(said, "; joules:", err);
    if (!rc)
        rc = say_sources(said, &set.energy, err);
    profile_set_release(&set);
    return rc;
}
