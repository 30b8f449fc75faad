/* The page of a comparison: see report.h. Sections that have no data do not appear. */
#include "report/report.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/table.h"
#include "report/comparison.h"
#include "report/figures.h"
#include "report/html.h"
#include "report/page_compare.h"
#include "report/page_parts.h"

enum { MAX_REFERENCES = 8 };

bool report_is_comparison(const char *dir)
{
    char *path = path_join(dir, "compare.json");
    bool is = path && file_exists(path);
    free(path);
    return is;
}

static void make_groups(struct page *p)
{
    for (int i = 0; i < p->c->n_routers; i++) {
        const struct comparison_entry *e = &p->c->routers[i];
        p->groups[i] = (struct run_group){e->label, router_color(e->label, i),
                                          router_dashed(e->label), e->have, e->n_runs};
    }
    p->n_groups = p->c->n_routers;
}

/* Any finished run, the ablated router's or the baseline's first. */
static const struct run_metrics *some_run(const struct comparison *c)
{
    const struct run_metrics *found = NULL;
    for (int i = 0; i < c->n_routers; i++)
        for (int r = 0; r < c->routers[i].n_runs; r++) {
            const struct run_metrics *m = c->routers[i].have[r];
            if (m && m->finished && (!found || (i == c->baseline && r == 0)))
                found = m;
        }
    return found;
}

/* ---- the answer ---- */

static void count_runs(const struct comparison *c, int *finished, int *wanted)
{
    *finished = *wanted = 0;
    for (int i = 0; i < c->n_routers; i++) {
        *finished += c->routers[i].n_finished;
        *wanted += c->routers[i].n_runs;
    }
}

static void head(struct page *p)
{
    const struct comparison *c = p->c;
    const struct run_metrics *m = some_run(c);
    struct buf finding = {0};
    int finished, wanted;
    count_runs(c, &finished, &wanted);
    if (!p->h->rc)
        p->h->rc = comparison_finding(&finding, c, p->h->err);
    if (finding.n)
        html_lead(p->h, "%s", finding.bytes);
    buf_release(&finding);
    if (finished < wanted)
        html_paragraph(p->h, "%d of %d runs are finished; this page shows what is there so far.",
                       finished, wanted);
    html_paragraph(p->h,
                   "%d routers, %d seed%s. Under one seed all routers begin from the same weights "
                   "and see the same "
                   "data in the same order; only the router differs.",
                   c->n_routers, c->n_seeds, c->n_seeds == 1 ? "" : "s");
    if (m)
        page_setup(p->h, m);
    if (c->broken.n)
        html_details(p->h, "Runs that could not be read", c->broken.bytes);
    if (!p->figures->able)
        html_paragraph(p->h, "gnuplot was not found, so this page has no figures.");
}

static void put_table(struct page *p, int which)
{
    struct table *t = NULL;
    if (p->h->rc || (p->h->rc = comparison_table(&t, p->c, which, p->h->err)))
        return;
    html_table(p->h, t, COMPARISON_TABLE_NOTES[which]);
    table_free(t);
}

/* Expert choice sees the rest of the sequence when it picks; how much that flatters it is said, and kept out of the table. */
static void look_ahead(struct page *p)
{
    for (int i = 0; i < p->c->n_routers; i++) {
        const struct comparison_entry *e = &p->c->routers[i];
        double losses[COMPARISON_MAX_SEEDS];
        char ahead[MEASURE_TEXT_BYTES], causal[MEASURE_TEXT_BYTES];
        int n = 0;
        for (int r = 0; r < e->n_runs; r++) {
            double v = e->have[r] ? run_number(e->have[r], "test.look_ahead.loss") : NAN;
            if (isfinite(v))
                losses[n++] = v;
        }
        struct stats_interval v = stats_interval95(losses, n);
        if (n)
            html_paragraph(p->h,
                           "Looking ahead in the text as in training, %s reaches %s nats a token; "
                           "a model that "
                           "writes can't do that, so the table holds its causal evaluation, %s.",
                           e->label, measure_text(ahead, &v, 4, 0),
                           measure_text(causal, &e->value[MEASURE_TEST_LOSS], 4, 0));
    }
}

static void result_section(struct page *p)
{
    const struct comparison *c = p->c;
    char title[128];
    html_section(p->h, "Result");
    put_table(p, 0);
    look_ahead(p);
    if (c->baseline < 0)
        return;
    snprintf(title, sizeof title, "Test loss minus that of %.60s", c->routers[c->baseline].label);
    if (page_entries(p, c->routers, c->n_routers, c->baseline, &c->routers[c->baseline], title,
                     "difference of test loss (nats a token)", "difference"))
        page_figure(p->h, p->dir, "difference",
                    "Differences of test loss, paired by seed: the mean with its 95 % interval, "
                    "and every seed as a "
                    "ring. An interval across the dashed line tells no difference.");
}

/* ---- loss ---- */

static int references(struct chart_mark *marks, const struct comparison *c)
{
    const json_t *list = json_object_get(c->plan, "references");
    int n = 0;
    for (size_t i = 0; i < json_array_size(list) && n < MAX_REFERENCES; i++) {
        const json_t *o = json_array_get(list, i);
        double bits = json_number_at(o, "bits_per_byte");
        if (isfinite(bits))
            marks[n++] = (struct chart_mark){bits, json_text_at(o, "label")};
    }
    return n;
}

static void reference_table(struct page *p)
{
    static const struct table_column columns[] = {
        {"what", TABLE_LEFT}, {"bits per byte of the test text", TABLE_RIGHT}, {"how", TABLE_LEFT}};
    const json_t *list = json_object_get(p->c->plan, "references");
    struct table *t = NULL;
    char text[MEASURE_TEXT_BYTES];
    if (json_array_size(list) == 0 || p->h->rc || (p->h->rc = table_new(&t, columns, 3, p->h->err)))
        return;
    for (size_t i = 0; i < json_array_size(list); i++) {
        const json_t *o = json_array_get(list, i);
        const char *label = json_text_at(o, "label"), *note = json_text_at(o, "note");
        table_cell(t, "%s", label ? label : "?");
        table_cell(t, "%s", measure_number(text, json_number_at(o, "bits_per_byte"), 4));
        table_cell(t, "%s", note ? note : "");
    }
    for (int i = 0; i < p->c->n_routers; i++) {
        table_cell(t, "%s", p->c->routers[i].label);
        table_cell(t, "%s",
                   measure_text(text, &p->c->routers[i].value[MEASURE_BITS_PER_BYTE], 4, 0));
        table_cell(t, "this comparison");
    }
    html_table(p->h, t,
               "Plain yardsticks beside the models on the same test text. A model that is not "
               "clearly below the 5-gram has "
               "learnt little more than which letters and words follow each other.");
    table_free(t);
}

static void loss_section(struct page *p)
{
    struct chart_mark marks[MAX_REFERENCES];
    int n_marks = references(marks, p->c);
    bool loss = figure_loss(p->figures, p->groups, p->n_groups);
    bool bits = figure_bits(p->figures, p->groups, p->n_groups, marks, n_marks);
    bool minus = p->c->baseline >= 0 && p->n_groups > 1 &&
                 figure_loss_difference(p->figures, p->groups, p->n_groups, p->c->baseline);
    if (!loss && !bits && !minus && n_marks == 0)
        return;
    html_section(p->h, "Loss");
    if (loss)
        page_figure(p->h, p->dir, "loss",
                    "Validation loss in nats a token against the tokens trained on: means over the "
                    "seeds, bands (from three seeds on) are 95 % intervals.");
    if (minus)
        page_figure(p->h, p->dir, "loss_difference",
                    "The same minus the baseline's loss at the same step and seed, which shows "
                    "what the figure "
                    "above can't: below 0 a router is ahead.");
    if (bits)
        page_figure(p->h, p->dir, "bits_per_byte",
                    "Validation loss in bits per byte; dashed, where there are any, the yardsticks "
                    "on the test "
                    "text.");
    reference_table(p);
}

/* ---- balance, experts, cost ---- */

static void balance_section(struct page *p)
{
    html_section(p->h, "Balance");
    put_table(p, 1);
    if (figure_max_vio(p->figures, p->groups, p->n_groups))
        page_figure(
            p->h, p->dir, "max_vio",
            "How far the busiest expert of a batch is above its fair share (MaxVio, mean "
            "over layers, logarithmic) during training: geometric means over the seeds with "
            "their 95 % intervals. A router whose value is exactly 0 has no line: expert "
            "choice while it trains.");
    if (figure_load_by_rank(p->figures, p->groups, p->n_groups))
        page_figure(p->h, p->dir, "load_by_rank",
                    "Loads on the evaluated text, sorted within each layer, mean over layers and "
                    "seeds: a flat line at "
                    "1 is perfect balance.");
    if (figure_loads(p->figures, p->groups, p->n_groups))
        page_figure(p->h, p->dir, "loads",
                    "Load of every expert of every layer on the evaluated text, first seed of each "
                    "router: grey is a "
                    "fair share, orange more, blue less.");
}

static void reputation_section(struct page *p)
{
    bool begun = false;
    for (int i = 0; i < p->n_groups; i++) {
        const struct run_metrics *m = NULL;
        char name[64], caption[256];
        for (int r = 0; r < p->groups[i].n_runs && !m; r++)
            m = p->groups[i].runs[r];
        snprintf(name, sizeof name, "reputation_%d", i);
        if (!m || !figure_reputation(p->figures, m, name))
            continue;
        if (!begun)
            html_section(p->h, "Reputation");
        begun = true;
        snprintf(caption, sizeof caption,
                 "Reputation R of every expert under %.60s, seed %lld, by layer: the two highest "
                 "and the two "
                 "lowest at the end are named.",
                 p->groups[i].label, (long long)m->seed);
        page_figure(p->h, p->dir, name, caption);
    }
}

/* A table of some measures; columns without a number anywhere are left out. False when none is left. */
static bool measure_table(struct page *p, const enum measure_kind *kinds, int n, const char *note)
{
    struct table_column columns[16] = {{"router", TABLE_LEFT}};
    enum measure_kind used[16];
    struct table *t = NULL;
    char text[MEASURE_TEXT_BYTES];
    int n_used = 0;
    for (int k = 0; k < n; k++) {
        bool any = false;
        for (int i = 0; i < p->c->n_routers; i++)
            any = any || p->c->routers[i].value[kinds[k]].n > 0;
        if (any) {
            used[n_used++] = kinds[k];
            columns[n_used] = (struct table_column){MEASURES[kinds[k]].title, TABLE_RIGHT};
        }
    }
    if (n_used == 0 || p->h->rc || (p->h->rc = table_new(&t, columns, n_used + 1, p->h->err)))
        return false;
    for (int i = 0; i < p->c->n_routers; i++) {
        table_cell(t, "%s", p->c->routers[i].label);
        for (int k = 0; k < n_used; k++)
            table_cell(t, "%s",
                       measure_text(text, &p->c->routers[i].value[used[k]],
                                    MEASURES[used[k]].decimals, 0));
    }
    html_table(p->h, t, note);
    table_free(t);
    return true;
}

static bool has_values(const struct page *p, const enum measure_kind *kinds, int n)
{
    for (int k = 0; k < n; k++)
        for (int i = 0; i < p->c->n_routers; i++)
            if (p->c->routers[i].value[kinds[k]].n > 0)
                return true;
    return false;
}

static void specialisation_section(struct page *p)
{
    static const enum measure_kind kinds[] = {MEASURE_TOKEN_EXPERT_MI, MEASURE_DOMAIN_EXPERT_MI};
    bool drawn = figure_token_types(p->figures, p->groups, p->n_groups);
    if (!drawn && !has_values(p, kinds, 2))
        return;
    html_section(p->h, "Specialisation");
    measure_table(p, kinds, 2,
                  "Mutual information between the token (or its domain) and the chosen expert, in "
                  "nats: 0 where experts are "
                  "chosen without regard to the token. The plain estimate is biased upwards; the "
                  "row of the random router, where "
                  "there is one, shows by how much.");
    if (drawn)
        page_figure(p->h, p->dir, "token_types",
                    "Which experts work on which kinds of tokens, first seed of each router, "
                    "middle layer: in each "
                    "row 1 (grey) is an expert's fair share of that kind, and an empty row a kind "
                    "that the text does not have.");
}

static void matthew_section(struct page *p)
{
    static const enum measure_kind kinds[] = {MEASURE_MATTHEW_LOAD, MEASURE_MATTHEW_REPUTATION,
                                              MEASURE_TOP_TENTH_SHARE};
    if (!has_values(p, kinds, 3))
        return;
    html_section(p->h, "The Matthew effect");
    html_paragraph(p->h,
                   "Do the rich get richer? Ranks of the experts early and late in training: 1 "
                   "means that who was busy (or "
                   "reputed) early still is late, 0 that nothing is left of the early order.");
    measure_table(p, kinds, 3,
                  "Rank correlations between the first and the last tenth of training, and the "
                  "share of all picks at the busiest "
                  "tenth of the experts (10 % would be fair).");
}

static void cost_section(struct page *p)
{
    const struct comparison *c = p->c;
    html_section(p->h, "Cost");
    put_table(p, 2);
    for (int i = 0; i < c->n_routers && c->baseline >= 0; i++) {
        const struct comparison_entry *e = &c->routers[i];
        char a[MEASURE_TEXT_BYTES], b[MEASURE_TEXT_BYTES];
        if (strcmp(e->label, "rd_esi") != 0 || i == c->baseline || e->step_difference.n == 0)
            continue;
        html_paragraph(
            p->h, "RD-ESI's overhead: a step takes %s ms more than under %s, whose step is %s ms%s",
            measure_text(a, &e->step_difference, 2, 1), c->routers[c->baseline].label,
            measure_text(b, &c->routers[c->baseline].value[MEASURE_STEP_MS], 1, 0),
            e->step_difference.n > 1 && !comparison_differs(&e->step_difference)
                ? "; the runs' own scatter covers that difference."
                : ".");
    }
}

/* ---- how it was made ---- */

static void sample_section(struct page *p)
{
    const struct run_metrics *m = NULL;
    for (int i = p->c->n_routers; i-- > 0;)
        for (int r = p->c->routers[i].n_runs; r-- > 0;) {
            const struct run_metrics *run = p->c->routers[i].have[r];
            if (run && page_has_sample(run) &&
                (!m || strcmp(m->router, "rd_esi") != 0 || strcmp(run->router, "rd_esi") == 0))
                m = run;
        }
    if (!m)
        return;
    html_section(p->h, "A sample of text");
    html_paragraph(p->h, "Written by the model under %s, seed %lld.", m->router,
                   (long long)m->seed);
    page_sample(p->h, m);
}

static void put_settings(struct buf *out, const json_t *router, const char *dir, struct err *err)
{
    const json_t *settings = json_object_get(router, "settings");
    const json_t *runs = json_object_get(router, "runs");
    const char *label = json_text_at(router, "label"), *config = json_text_at(router, "config");
    buf_printf(out, err, "%s: %s", label ? label : "?", config ? config : "");
    for (size_t i = 0; i < json_array_size(settings); i++) {
        const char *word = json_string_value(json_array_get(settings, i));
        buf_printf(out, err, " %s", word ? word : "?");
    }
    buf_puts(out, "\n", err);
    for (size_t i = 0; i < json_array_size(runs); i++) {
        const char *run = json_string_value(json_array_get(runs, i));
        buf_printf(out, err, "    %s/%s\n", dir, run ? run : "?");
    }
}

static void data_table(struct page *p)
{
    static const struct table_column columns[] = {{"source of the text", TABLE_LEFT},
                                                  {"version", TABLE_LEFT},
                                                  {"documents", TABLE_RIGHT},
                                                  {"bytes", TABLE_RIGHT}};
    const json_t *list = json_object_get(p->c->plan, "data");
    struct table *t = NULL;
    if (json_array_size(list) == 0 || p->h->rc || (p->h->rc = table_new(&t, columns, 4, p->h->err)))
        return;
    for (size_t i = 0; i < json_array_size(list); i++) {
        const json_t *o = json_array_get(list, i);
        const char *source = json_text_at(o, "source"), *version = json_text_at(o, "version");
        char text[48];
        table_cell(t, "%s", source ? source : "?");
        table_cell(t, "%s", version ? version : "");
        table_cell(t, "%s", page_count(text, json_number_at(o, "documents")));
        table_cell(t, "%s", page_count(text, json_number_at(o, "bytes")));
    }
    html_table(p->h, t, "What the text was made of, as the manifest of the packed folder says.");
    table_free(t);
}

static void made_section(struct page *p)
{
    const json_t *plan = p->c->plan, *routers = json_object_get(plan, "routers");
    const json_t *commands = json_object_get(plan, "commands");
    const char *command = json_text_at(plan, "command");
    const struct run_metrics *m = some_run(p->c);
    struct buf text = {0};
    html_section(p->h, "How it was made");
    if (command)
        html_quote(p->h, "The command:", command);
    for (size_t i = 0; i < json_array_size(commands); i++) {
        const char *line = json_string_value(json_array_get(commands, i));
        buf_printf(&text, NULL, "%s\n", line ? line : "?");
    }
    if (text.n)
        html_details(p->h, "Exact command of every run", text.bytes);
    buf_clear(&text);
    for (size_t i = 0; i < json_array_size(routers); i++)
        put_settings(&text, json_array_get(routers, i), p->dir, NULL);
    if (text.n)
        html_details(p->h, "Configurations and result folders", text.bytes);
    buf_clear(&text);
    data_table(p);
    if (json_is_object(json_object_get(plan, "machine")) &&
        page_json_lines(&text, json_object_get(plan, "machine"), NULL) == 0 && text.n)
        html_details(p->h, "System and versions", text.bytes);
    if (m)
        page_machine(p->h, m);
    buf_release(&text);
    for (int i = 0; i < p->c->n_routers; i++) {
        const struct comparison_entry *e = &p->c->routers[i];
        char summary[128];
        if (e->n_runs == 0 || !e->have[0] || !json_value_at(e->have[0]->summary, "config"))
            continue;
        struct buf lines = {0};
        snprintf(summary, sizeof summary, "Resolved configuration of %.60s, first seed", e->label);
        if (page_json_lines(&lines, json_value_at(e->have[0]->summary, "config"), NULL) == 0 &&
            lines.n)
            html_details(p->h, summary, lines.bytes);
        buf_release(&lines);
    }
}

/* ---- the files ---- */

static int write_page(const struct comparison *c, const char *dir,
                      const struct report_options *options, struct err *err)
{
    struct figure_set figures;
    struct buf out = {0};
    struct html h;
    char *path = path_join(dir, "report.html"), *folder = path_join(dir, "figures");
    int rc = path && folder ? 0 : err_set(err, MOE2_ELIMIT, "%s: no memory for its name", dir);
    if (!rc) {
        struct page p = {.h = &h, .figures = &figures, .c = c, .dir = dir};
        html_begin(&h, &out, err);
        figure_set_open(&figures, options->gnuplot ? options->gnuplot : "gnuplot", folder,
                        options->sink);
        make_groups(&p);
        head(&p);
        result_section(&p);
        loss_section(&p);
        balance_section(&p);
        specialisation_section(&p);
        reputation_section(&p);
        matthew_section(&p);
        cost_section(&p);
        page_tuning(&p);
        page_ablation(&p);
        page_sweep(&p);
        sample_section(&p);
        made_section(&p);
        figure_set_close(&figures);
        rc = html_end(&h, "moe2: comparison of routers");
    }
    if (!rc)
        rc = file_write(path, out.bytes, out.n, err);
    buf_release(&out);
    free(path);
    free(folder);
    return rc;
}

static int write_text(const char *dir, const char *name, const struct buf *text, struct err *err)
{
    char *path = path_join(dir, name);
    int rc = path ? file_write(path, text->bytes ? text->bytes : "", text->n, err)
                  : err_set(err, MOE2_ELIMIT, "%s: no memory for its name", name);
    free(path);
    return rc;
}

typedef int table_printer(struct buf *out, const struct table *t, struct err *err);

/* All tables of a comparison through one of table_text and table_markdown, then the finding. */
static int print_all(struct buf *out, const struct comparison *c, table_printer *print,
                     struct err *err)
{
    int rc = 0;
    for (int which = 0; which < COMPARISON_N_TABLES + 2 && !rc; which++) {
        struct table *t = NULL;
        rc = which < COMPARISON_N_TABLES    ? comparison_table(&t, c, which, err)
             : which == COMPARISON_N_TABLES ? comparison_ablation_table(&t, c, err)
                                            : comparison_sweep_table(&t, c, err);
        if (!rc && table_n_rows(t) > 0) {
            rc = print(out, t, err);
            if (!rc && which < COMPARISON_N_TABLES)
                rc = buf_printf(out, err, "\n%s\n\n", COMPARISON_TABLE_NOTES[which]);
            else if (!rc)
                rc = buf_puts(out, "\n", err);
        }
        table_free(t);
    }
    if (!rc)
        rc = comparison_finding(out, c, err);
    return rc ? rc : buf_puts(out, "\n", err);
}

int report_compare(struct buf *table_text_out, const char *dir,
                   const struct report_options *options, struct err *err)
{
    struct comparison c = {0};
    struct buf text = {0}, markdown = {0}, json = {0};
    int rc = comparison_read(&c, dir, options->sink, err);
    if (!rc)
        rc = print_all(&text, &c, table_text, err);
    if (!rc)
        rc = print_all(&markdown, &c, table_markdown, err);
    if (!rc)
        rc = comparison_json(&json, &c, err);
    if (!rc)
        rc = write_text(dir, "table.txt", &text, err);
    if (!rc)
        rc = write_text(dir, "comparison.md", &markdown, err);
    if (!rc)
        rc = write_text(dir, "comparison.json", &json, err);
    if (!rc)
        rc = write_page(&c, dir, options, err);
    if (!rc && table_text_out)
        rc = buf_append(table_text_out, text.bytes, text.n, err);
    buf_release(&text);
    buf_release(&markdown);
    buf_release(&json);
    comparison_release(&c);
    return rc;
}
