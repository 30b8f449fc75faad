/* What is written of the study: tables, figures, one page. See study_report.h. */
#include "pipeline/study_report.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "report/figures_profile.h"

enum { MAX_SECTIONS = 40 };

/* The page while it grows: sections and what they own. */
struct page_draft {
    struct fleet_section sections[MAX_SECTIONS];
    int n;
    struct table *tables[MAX_SECTIONS];
    char *texts[MAX_SECTIONS * 2];
    int n_tables, n_texts;
    struct figure_set figures;
};

static char *text_of(struct page_draft *p, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));

static char *text_of(struct page_draft *p, const char *fmt, ...)
{
    char *text = NULL;
    va_list args;
    va_start(args, fmt);
    if (vasprintf(&text, fmt, args) < 0 || p->n_texts == MAX_SECTIONS * 2)
        text = NULL;
    va_end(args);
    if (text)
        p->texts[p->n_texts++] = text;
    return text;
}

static void add(struct page_draft *p, struct fleet_section s)
{
    if (p->n < MAX_SECTIONS)
        p->sections[p->n++] = s;
}

static const struct study_row *row_of(const struct study_result *r, bool chosen)
{
    for (int i = 0; i < r->n_rows; i++)
        if (chosen ? r->rows[i].is_chosen : r->rows[i].is_single)
            return &r->rows[i];
    return &r->rows[0];
}

/* ---- sentences ---- */

static void sentence_of(char *out, size_t n_out, const struct study_result *r)
{
    const struct study_row *row = row_of(r, true);
    const char *verdict = row->gain.low > 0    ? "The fleet wins"
                          : row->gain.high < 0 ? "The best single model wins"
                                               : "Neither wins clearly";
    snprintf(
        out, n_out,
        "%s (%s): asked and combined as chosen on train, it is right on %.1f %% of the test "
        "questions, the best single model on %.1f %%: %+.1f points (95 %%: %.1f to %.1f), %.0f %% "
        "of the gap to the oracle's %.1f %%.",
        verdict, r->fleet.name, 100 * row->worth.test.mean, 100 * r->single, 100 * row->gain.mean,
        100 * row->gain.low, 100 * row->gain.high, 100 * study_gap(r, row->worth.test.mean),
        100 * r->oracle);
}

/* Why few subsets were chosen: how many fit in the rows, each number once; or how often the choice without limits still fits. */
static int say_why(struct buf *out, const struct study_cell *cells, int n, struct err *err)
{
    int same = 0, rc = 0;
    for (int i = 0; i < n; i++)
        same += cells[i].plan.gate >= 0 && cells[i].plan.members == cells[n - 1].plan.members;
    if (cells[0].n_feasible < 0)
        return buf_printf(out, err, " The widest budget's choice is that of %d rows.", same);
    rc = buf_puts(out, " The limits leave little choice: the numbers of subsets that fit are", err);
    for (int i = 0; i < n && !rc; i++) {
        bool seen = false;
        for (int k = 0; k < i && !seen; k++)
            seen = cells[k].n_feasible == cells[i].n_feasible;
        if (!seen)
            rc = buf_printf(out, err, "%s %lld", i ? "," : "", (long long)cells[i].n_feasible);
    }
    return rc ? rc : buf_puts(out, ".", err);
}

static const char *subsets_text(struct page_draft *p, const struct study_cell *cells, int n)
{
    struct buf why = {0};
    int different = study_n_subsets(cells, n), fit = 0;
    for (int i = 0; i < n; i++)
        fit += cells[i].plan.gate >= 0;
    if (different < 3 && say_why(&why, cells, n, NULL))
        buf_clear(&why);
    const char *text = text_of(p, "Something fits into %d of the %d budgets; subsets chosen: %d.%s",
                               fit, n, different, why.n ? why.bytes : "");
    buf_release(&why);
    return text;
}

/* ---- figures ---- */

static void draw_rows(struct page_draft *p, const struct study_result *r, const char *name)
{
    struct chart_row rows[STUDY_MAX_ROWS];
    for (int i = 0; i < r->n_rows; i++) {
        const struct stats_interval *t = &r->rows[i].worth.test;
        rows[i] = (struct chart_row){.label = r->rows[i].label,
                                     .mean = 100 * t->mean,
                                     .low = 100 * t->low,
                                     .high = 100 * t->high,
                                     .color = r->rows[i].is_chosen   ? CHART_VERMILLION
                                              : r->rows[i].is_single ? CHART_INK
                                                                     : CHART_BLUE};
    }
    struct chart_mark mark = {100 * r->single, "best single"};
    char title[120];
    snprintf(title, sizeof title, "%s: right on test, without budgets", r->fleet.name);
    figure_accuracies(&p->figures, rows, r->n_rows, &mark, 1, title, name);
}

struct frontier_points {
    double cost[STUDY_MAX_CELLS], mean[STUDY_MAX_CELLS], low[STUDY_MAX_CELLS],
        high[STUDY_MAX_CELLS];
    int64_t n;
};

/* Cells with no other limit than the one drawn, in the order of that limit; what they cost on test. */
static void gather(struct frontier_points *out, const struct study_result *r, bool latency,
                   bool single)
{
    out->n = 0;
    for (int i = 0; i < r->n_cells; i++) {
        const struct study_cell *c = &r->cells[i];
        bool own = latency ? c->limits.energy_uj == SELECT_NO_LIMIT
                           : c->limits.latency_us == SELECT_NO_LIMIT;
        const struct study_worth *w = single ? &c->single_worth : &c->worth;
        if (!own || c->plan.gate < 0 || (single && !c->has_single))
            continue;
        double cost = latency ? w->latency_s[1] : w->energy_j[1];
        int64_t at = out->n++;
        for (; at > 0 && out->cost[at - 1] > cost; at--) {
            out->cost[at] = out->cost[at - 1];
            out->mean[at] = out->mean[at - 1];
            out->low[at] = out->low[at - 1];
            out->high[at] = out->high[at - 1];
        }
        out->cost[at] = cost;
        out->mean[at] = 100 * w->test.mean;
        out->low[at] = 100 * w->test.low;
        out->high[at] = 100 * w->test.high;
    }
}

static void draw_frontier(struct page_draft *p, const struct study *s, bool latency)
{
    static const enum chart_color COLORS[] = {CHART_BLUE, CHART_VERMILLION, CHART_GREEN,
                                              CHART_PINK};
    struct frontier_points *points = calloc(2 * STUDY_MAX_FLEETS, sizeof *points);
    struct frontier_line lines[2 * STUDY_MAX_FLEETS];
    char labels[2 * STUDY_MAX_FLEETS][40];
    int n = 0;
    for (int i = 0; points && i < s->n_results; i++)
        for (int single = 0; single < 2 && s->results[i]->fleet.has_costs; single++) {
            gather(&points[n], s->results[i], latency, single);
            snprintf(labels[n], sizeof labels[n], "%s%s", s->results[i]->fleet.name,
                     single ? ", single" : "");
            lines[n] = (struct frontier_line){labels[n],
                                              points[n].cost,
                                              points[n].mean,
                                              single ? NULL : points[n].low,
                                              single ? NULL : points[n].high,
                                              points[n].n,
                                              single,
                                              (int)COLORS[i]};
            n++;
        }
    if (points)
        figure_frontier(&p->figures, lines, n,
                        latency ? "Accuracy against latency (costs estimated)"
                                : "Accuracy against energy (costs estimated)",
                        latency ? "seconds a question on test, estimated"
                                : "joules a question on test, estimated",
                        latency ? "frontier_latency" : "frontier_energy");
    free(points);
}

/* ---- sections ---- */

static int add_fleet(struct page_draft *p, const struct study_result *r, int i, struct err *err)
{
    char sentence[1000], name[40];
    struct table *t = NULL;
    int rc = study_rows_table(&t, r, err);
    if (rc)
        return rc;
    p->tables[p->n_tables++] = t;
    sentence_of(sentence, sizeof sentence, r);
    snprintf(name, sizeof name, "accuracy_fleet%d", i + 1);
    draw_rows(p, r, name);
    add(p, (struct fleet_section){
               .title = text_of(p, "%s, without budgets", r->fleet.name),
               .text = text_of(p, "%s", sentence),
               .table = t,
               .caption =
                   "Gates, k, votes, subset and the settings of the learned weights are chosen on "
                   "train by out-of-fold scores; test was not looked at. Gains are over the best "
                   "single model, the gap is that between it and the oracle, both on test.",
               .figure = text_of(p, "%s", name),
               .figure_caption = "Accuracy on the test questions with 95 % intervals."});
    return 0;
}

static int add_budgets(struct page_draft *p, const struct study_result *r, const char *dir, int i,
                       struct err *err)
{
    struct table *t = NULL;
    char name[40];
    if (!r->fleet.has_costs || r->n_cells < 2)
        return 0;
    int rc = study_cells_table(&t, r->cells, r->n_cells, &r->fitted, err);
    if (rc)
        return rc;
    p->tables[p->n_tables++] = t;
    snprintf(name, sizeof name, "frontier_fleet%d", i + 1);
    const char *head = text_of(p, "%s. Costs are routed (those asked are charged) and %s.",
                               r->fleet.name, r->fleet.cost_note);
    add(p,
        (struct fleet_section){.title = text_of(p, "%s, within budgets (estimated)", r->fleet.name),
                               .text = subsets_text(p, r->cells, r->n_cells),
                               .table = t,
                               .caption = head});
    return study_cells_write(r->cells, r->n_cells, &r->fitted, SELECT_ROUTED, dir, name, head, err);
}

static int add_table(struct page_draft *p, const struct study_cell *cells, int n,
                     const struct study *s, const char *dir, const char *name, const char *title,
                     const char *head, struct err *err)
{
    struct table *t = NULL;
    int rc = study_cells_table(&t, cells, n, &s->testbed_fitted, err);
    if (rc)
        return rc;
    p->tables[p->n_tables++] = t;
    add(p, (struct fleet_section){
               .title = title, .text = subsets_text(p, cells, n), .table = t, .caption = head});
    return study_cells_write(cells, n, &s->testbed_fitted, SELECT_DEPLOYED, dir, name, head, err);
}

static int add_tables(struct page_draft *p, const struct study *s, const struct study_options *o,
                      const char *dir, struct err *err)
{
    const char *head = text_of(p,
                               "Test bed: experts 0-2 on RTX-4090-like, 3-7 on AGX-Orin-like "
                               "curves (%s), %lld output tokens, "
                               "everything in service is charged (deployed). Recorded answers of "
                               "eight real models on MMLU-Pro stand "
                               "for the eight experts: strength is theirs, cost the curve's.",
                               s->testbed.cost_note, (long long)o->output_tokens);
    int rc = add_table(p, s->table2, STUDY_N_LATENCIES, s, dir, "table2_latency",
                       "Table II: latency limits", head, err);
    if (!rc)
        rc = add_table(p, s->table3, STUDY_N_ENERGIES, s, dir, "table3_energy",
                       "Table III: energy limits", head, err);
    if (!rc)
        rc = add_table(p, s->table4, STUDY_N_BOTH, s, dir, "table4_both", "Table IV: both limits",
                       head, err);
    return rc;
}

static void add_frontier(struct page_draft *p, const struct study *s)
{
    draw_frontier(p, s, false);
    draw_frontier(p, s, true);
    add(p, (struct fleet_section){.title = "Accuracy, latency and energy",
                                  .text = "Each point is the best plan within one limit, chosen on "
                                          "train and drawn at what it "
                                          "costs and gets right on test; dashed: the best single "
                                          "model within the same limit. "
                                          "All costs are estimated.",
                                  .figure = "frontier_energy",
                                  .figure_caption = "Against energy, without a latency limit."});
    add(p, (struct fleet_section){.figure = "frontier_latency",
                                  .figure_caption = "Against latency, without an energy limit."});
}

static void add_curves(struct page_draft *p, const struct study *s)
{
    figure_latency_curves(&p->figures, &s->testbed_costs.latency);
    figure_energy_curves(&p->figures, &s->testbed_costs.energy);
    add(p, (struct fleet_section){
               .title = "Curves of the devices",
               .text = "Published, not measured here, or estimated; docs/costs.md says from what.",
               .figure = "figure4_latency",
               .figure_caption = "Figure 4: latency against the lengths of prompt and answer."});
    add(p, (struct fleet_section){
               .figure = "figure5_energy",
               .figure_caption =
                   "Figure 5: energy. Joules of the AGX Orin are published per output token, "
                   "the prompt's share inside."});
}

static void add_method(struct page_draft *p, const struct study *s, const struct study_options *o)
{
    add(p, (struct fleet_section){
               .title = "How it was done",
               .text = text_of(
                   p,
                   "%s%s%lld questions of train and %lld of test, split by category, the same "
                   "question on one "
                   "side. Embeddings: %s, %lld numbers. Gates: %s, five folds. Votes are counted "
                   "by answer. "
                   "The learned combination weighs each expert's answer by its gate scores and the "
                   "question's category. Subsets of up to 20 experts are searched exactly for "
                   "votes; beyond, "
                   "and for learned weights on more than ten, the best found within %.0f s a "
                   "search stands. "
                   "Cross-validated choices use train only.",
                   o->note ? o->note : "", o->note ? " " : "", (long long)s->data.sides[0].n,
                   (long long)s->data.sides[1].n, o->embedder ? o->embedder : "not named",
                   (long long)s->data.sides[0].D, o->gates, o->time_limit_s)});
}

/* ---- files ---- */

static int write_curves(const struct study *s, const struct study_options *o, struct err *err)
{
    static const char *const FOLDERS[] = {"latency", "energy"};
    int rc = 0;
    for (int k = 0; k < 2 && !rc; k++) {
        char *dir = path_join(o->out_dir, FOLDERS[k]), *path = NULL;
        if (!dir || asprintf(&path, "%s/%s.json", dir, FOLDERS[k]) < 0)
            rc = err_set(err, MOE2_ELIMIT, "no memory for a name");
        if (!rc)
            rc = dir_make(dir, err);
        if (!rc)
            rc = curves_write(path, k ? &s->testbed_costs.energy : &s->testbed_costs.latency, err);
        free(dir);
        free(path);
    }
    return rc;
}

static int write_rows(const struct page_draft *p, const struct study *s,
                      const struct study_options *o, struct err *err)
{
    struct buf md = {0};
    char *dir = path_join(o->out_dir, "accuracy"), *path = dir ? path_join(dir, "study.md") : NULL;
    int rc = path ? dir_make(dir, err) : err_set(err, MOE2_ELIMIT, "no memory for a name");
    for (int i = 0; i < s->n_results && !rc; i++) {
        char sentence[1000];
        sentence_of(sentence, sizeof sentence, s->results[i]);
        rc = buf_printf(&md, err, "## %s\n\n%s%s%s\n\n", s->results[i]->fleet.name,
                        o->note ? o->note : "", o->note ? " " : "", sentence);
        if (!rc)
            rc = table_markdown(&md, p->tables[i], err);
        if (!rc)
            rc = buf_puts(&md, "\n", err);
    }
    if (!rc)
        rc = file_write(path, md.bytes, md.n, err);
    buf_release(&md);
    free(dir);
    free(path);
    return rc;
}

static int fill(struct page_draft *p, const struct study *s, const struct study_options *o,
                const char *tables, struct err *err)
{
    int rc = 0;
    for (int i = 0; i < s->n_results && !rc; i++)
        rc = add_fleet(p, s->results[i], i, err);
    if (!rc)
        rc = write_rows(p, s, o, err);
    if (!rc)
        add_frontier(p, s);
    for (int i = 0; i < s->n_results && !rc; i++)
        rc = add_budgets(p, s->results[i], tables, i, err);
    if (!rc)
        rc = add_tables(p, s, o, tables, err);
    if (!rc) {
        add_curves(p, s);
        add_method(p, s, o);
    }
    return rc;
}

int study_write(struct study_summary *out, const struct study *s, const struct study_options *o,
                struct err *err)
{
    struct page_draft *p = calloc(1, sizeof *p);
    char *tables = path_join(o->out_dir, "smo_tables"),
         *page = path_join(o->out_dir, "report.html");
    char *verification =
        o->verification ? strdup(o->verification) : path_join(o->out_dir, "verification.md");
    char *figures = path_join(o->out_dir, "figures");
    int rc = p && tables && page && verification && figures
                 ? 0
                 : err_set(err, MOE2_ELIMIT, "no memory for the report");
    if (rc)
        goto done;
    figure_set_open(&p->figures, o->gnuplot ? o->gnuplot : "gnuplot", figures, o->files.sink);
    sentence_of(out->sentence, sizeof out->sentence, s->results[0]);
    out->accuracy = row_of(s->results[0], true)->worth.test.mean;
    out->single = s->results[0]->single;
    rc = fill(p, s, o, tables, err);
    if (!rc)
        rc = write_curves(s, o, err);
    if (!rc)
        rc = study_verify(s, verification, o->note ? o->note : out->sentence, err);
    if (!rc)
        rc = page_fleet_write(page, figures, "moe2: who answers best within a budget",
                              out->sentence, p->sections, p->n, err);
    figure_set_close(&p->figures);
done:
    for (int i = 0; p && i < p->n_tables; i++)
        table_free(p->tables[i]);
    for (int i = 0; p && i < p->n_texts; i++)
        free(p->texts[i]);
    free(p);
    free(tables);
    free(page);
    free(verification);
    free(figures);
    return rc;
}
