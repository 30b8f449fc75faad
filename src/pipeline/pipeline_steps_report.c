/* The last step: the build on one page, and the study of the recorded answers. See pipeline_steps.h.
 *
 * results/report.html shows tables II to IV as the step select chose them, those of the running fleet where it was asked, and the devices' curves. Where answers of real models are
 * recorded, the study (study.h) is made beside it, under results/study, and its sentence heads the page; of synthetic answers there is
 * nothing to study.
 */
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>

#include "pipeline/expert_matrix.h"
#include "pipeline/pipeline_steps.h"
#include "pipeline/smo_tables.h"
#include "pipeline/study.h"
#include "report/page_fleet.h"

enum { MAX_SECTIONS = 12 };

static bool has_study(const struct pipeline *p)
{
    return !p->synthetic && *p->config->report.fleets && p->predictions;
}

int declare_report(struct step_needs *needs, void *ctx, struct err *err)
{
    struct pipeline *p = ctx;
    int rc = pipeline_needs(
        needs, p,
        STEP_NAMES("results/accuracy/outcomes.csv", "results/accuracy/outcomes_train.csv",
                   "results/accuracy/outcomes_test.csv", "gating/oof_scores.npy",
                   "gating/test_scores.npy", "results/latency/latency.json",
                   "results/energy/energy.json", "results/smo_tables/table4_both.json"),
        STEP_NAMES("results/report.html"), STEP_NAMES("report.", "select.", "seed"), err);
    if (!rc && p->trains)
        rc = pipeline_needs(needs, p, STEP_NAMES("results/accuracy/asked_bases/outcomes.csv"),
                            STEP_NAMES(), STEP_NAMES(), err);
    if (!rc && pipeline_has_live(p))
        rc = pipeline_needs(needs, p, STEP_NAMES("results/smo_tables/live_table4_both.json"),
                            STEP_NAMES(), STEP_NAMES(), err);
    if (rc || !has_study(p))
        return rc;
    rc = pipeline_needs(needs, p,
                        STEP_NAMES("data/gating_train.jsonl", "data/gating_test.jsonl",
                                   "data/gating_train.npy", "data/gating_test.npy"),
                        STEP_NAMES("results/verification.md", "results/study/report.html",
                                   "results/study/accuracy/study.md"),
                        STEP_NAMES("embed.", "fleet"), err);
    const char *recorded[] = {p->answers, p->predictions, p->chars, p->config->report.fleets};
    for (size_t i = 0; i < sizeof recorded / sizeof *recorded && !rc; i++)
        rc = recorded[i] ? step_input(needs, recorded[i], err) : 0;
    return rc;
}

static int make_study(struct study_summary *sum, struct pipeline *p, struct err *err)
{
    const struct pipeline_config *c = p->config;
    struct study_options o = study_default();
    o.files =
        (struct study_files){.train = pipeline_path(p, "data/gating_train.jsonl", err),
                             .test = pipeline_path(p, "data/gating_test.jsonl", err),
                             .train_embeddings = pipeline_path(p, "data/gating_train.npy", err),
                             .test_embeddings = pipeline_path(p, "data/gating_test.npy", err),
                             .outcomes = p->answers,
                             .predictions = p->predictions,
                             .chars = p->chars,
                             .sink = p->sink};
    o.embedder = c->embed.model;
    o.devices = p->import;
    o.fleet = c->fleet;
    o.fleets = c->report.fleets;
    o.gates = c->report.gates;
    o.device = pipeline_device(c);
    o.output_tokens = c->select.output_tokens;
    o.seed = c->seed;
    o.time_limit_s = c->report.time_limit_s;
    o.quick = c->report.quick;
    o.stop = p->stop;
    o.out_dir = pipeline_path(p, "results/study", err);
    o.verification = pipeline_path(p, "results/verification.md", err);
    bool ready = o.files.train && o.files.test && o.files.train_embeddings &&
                 o.files.test_embeddings && o.out_dir && o.verification;
    return ready ? study_run(sum, &o, err) : MOE2_ELIMIT;
}

/* Who is good at what, of all questions; bases too, of the test's. */
static int make_matrix(struct table **out, struct pipeline *p, const char *figures, struct err *err)
{
    struct expert_matrix m = {0};
    struct figure_set set;
    const char *all = pipeline_path(p, "results/accuracy/outcomes.csv", err);
    const char *bases = pipeline_path(p, "results/accuracy/asked_bases/outcomes.csv", err);
    int rc = all && bases ? expert_matrix_add(&m, all, p->sink, err) : MOE2_ELIMIT;
    if (!rc && p->trains)
        rc = expert_matrix_add(&m, bases, p->sink, err);
    if (!rc)
        rc = expert_matrix_table(out, &m, err);
    if (!rc) {
        figure_set_open(&set, "gnuplot", figures, p->sink);
        expert_matrix_figure(&m, &set, "expert_matrix");
        figure_set_close(&set);
    }
    expert_matrix_release(&m);
    return rc;
}

/* The three tables of one report as sections; tables are the caller's, also after errors. text: before the first one. */
static int put_tables(struct fleet_section *sections, int *n, struct table **tables,
                      const struct smo_report *r, const char *const *titles, const char *text,
                      const char *caption, struct err *err)
{
    int rc = 0;
    for (int t = 0; t < SMO_N_TABLES && !rc; t++) {
        rc = smo_table_new(&tables[t], r, (enum smo_table)t, err);
        sections[(*n)++] = (struct fleet_section){.title = titles[t],
                                                  .text = t == 0 ? text : NULL,
                                                  .table = tables[t],
                                                  .caption = caption};
    }
    return rc;
}

/* The page of the build. live: of the running fleet, without rows where there was none. lead: its first sentence. */
static int make_page(struct pipeline *p, const struct smo_report *r, const struct smo_report *live,
                     const char *lead, struct err *err)
{
    static const char *const titles[] = {"Table II: limits of latency",
                                         "Table III: limits of energy", "Table IV: both limits"};
    static const char *const live_titles[] = {"Table II, live", "Table III, live",
                                              "Table IV, live"};
    struct fleet_section sections[MAX_SECTIONS];
    struct table *tables[2 * SMO_N_TABLES] = {NULL}, *matrix = NULL;
    const char *figures = pipeline_path(p, "results/figures", err);
    const char *page = pipeline_path(p, "results/report.html", err);
    struct buf counts = {0};
    int n = 0, rc = figures && page ? 0 : MOE2_ELIMIT;
    if (!rc && p->note)
        rc = buf_printf(&counts, err, "Note: %s. ", p->note);
    if (!rc)
        rc = smo_counts(&counts, r, err);
    if (!rc)
        rc = make_matrix(&matrix, p, figures, err);
    sections[n++] = (struct fleet_section){
        .title = "Who is good at what",
        .text = p->trains ? "Every expert was trained on one cluster of the corpus; the bases are "
                            "what they were trained from, asked the test questions only."
                          : NULL,
        .table = matrix,
        .caption = "Per cent of the gating questions answered right.",
        .figure = "expert_matrix",
        .figure_caption = "Answers right by expert and subject."};
    if (!rc)
        rc = put_tables(sections, &n, tables, r, titles, counts.bytes,
                        "Subsets are chosen on gating_train by out-of-fold gate scores, exactly "
                        "and with proof; test, best single and some member are measured on "
                        "gating_test, which nothing was fitted to or chosen on.",
                        err);
    if (!rc && pipeline_has_live(p))
        rc =
            put_tables(sections, &n, tables + SMO_N_TABLES, live, live_titles, live->note,
                       "The same subsets, chosen on gating_train by the curves; test % is what the "
                       "running experts answered, test s and test J what those answers took.",
                       err);
    sections[n++] = (struct fleet_section){
        .title = "What an answer costs",
        .text =
            "Curves of the devices: what is measured, published, estimated or made up is said at "
            "each (moe2 help costs).",
        .figure = "figure4_latency",
        .figure_caption = "Figure 4: latency against the lengths of prompt and answer."};
    sections[n++] = (struct fleet_section){
        .figure = "figure5_energy",
        .figure_caption = "Figure 5: energy against the lengths of prompt and answer."};
    if (!rc)
        rc = page_fleet_write(page, figures, "moe2: the two-level build", lead, sections, n, err);
    for (int t = 0; t < 2 * SMO_N_TABLES; t++)
        table_free(tables[t]);
    table_free(matrix);
    buf_release(&counts);
    return rc;
}

int run_report(struct buf *said, void *ctx, struct err *err)
{
    struct pipeline *p = ctx;
    struct smo_report r = {0}, live = {0};
    struct study_summary sum = {0};
    int rc = pipeline_tables(&r, p, err);
    if (!rc && pipeline_has_live(p))
        rc = pipeline_live_tables(&live, p, err);
    if (!rc && has_study(p))
        rc = make_study(&sum, p, err);
    if (!rc && !*sum.sentence)
        snprintf(sum.sentence, sizeof sum.sentence,
                 "%s%sAll experts together are right on %.1f %% of the test questions.",
                 p->note ? p->note : "", p->note ? ". " : "", 100 * r.all_test.accuracy);
    sum.sentence[0] = (char)toupper((unsigned char)sum.sentence[0]);
    if (!rc)
        rc = make_page(p, &r, &live, sum.sentence, err);
    if (!rc && has_study(p))
        rc = buf_printf(said, err, "study: %.1f %% on test, best single %.1f", 100 * sum.accuracy,
                        100 * sum.single);
    else if (!rc)
        rc = buf_puts(said, "one page", err);
    smo_report_release(&r);
    smo_report_release(&live);
    return rc;
}
