/* The page of one run: see report.h. */
#include "report/report.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/file.h"
#include "base/table.h"
#include "report/figures.h"
#include "report/html.h"
#include "report/run_measures.h"
#include "report/page_parts.h"

static void lead(struct html *h, const struct run_metrics *m)
{
    char tokens[48];
    double loss = run_number(m, "test.loss");
    page_count(tokens, m->steps.n ? m->steps.column[RUN_TOKENS][m->steps.n - 1] : NAN);
    if (!m->finished)
        html_lead(h, "This run is not finished: %lld steps, %s tokens so far.",
                  (long long)m->steps.n, tokens);
    else if (isfinite(loss))
        html_lead(h,
                  "Router %s, seed %lld: %.4f nats a token on the test text (%.4f bits per byte, "
                  "perplexity %.2f) after training on %s tokens.",
                  m->router, (long long)m->seed, loss, run_number(m, "test.bits_per_byte"),
                  run_number(m, "test.ppl"), tokens);
    else
        html_lead(
            h, "Router %s, seed %lld, trained on %s tokens; it was not evaluated on the test text.",
            m->router, (long long)m->seed, tokens);
}

static void measures(struct html *h, const struct run_metrics *m)
{
    static const struct table_column columns[] = {{"measure", TABLE_LEFT}, {"value", TABLE_RIGHT}};
    struct table *t = NULL;
    char text[MEASURE_TEXT_BYTES];
    if (h->rc || (h->rc = table_new(&t, columns, 2, h->err)))
        return;
    for (int k = 0; k < MEASURE_N; k++) {
        double v = measure_of(m, (enum measure_kind)k);
        if (isnan(v))
            continue;
        table_cell(t, "%s", MEASURES[k].title);
        table_cell(t, "%s", measure_number(text, v, MEASURES[k].decimals));
    }
    html_table(h, t, "Routing measures are means over the layers, on the evaluated text.");
    table_free(t);
}

static void layer_table(struct html *h, const struct run_metrics *m)
{
    static const struct {
        const char *title, *key;
        int decimals;
    } list[] = {{"MaxVio, batch", "max_vio_batch", 3},
                {"MaxVio, global", "max_vio_global", 3},
                {"CV", "load_cv", 3},
                {"entropy", "load_entropy", 4},
                {"Gini", "load_gini", 3},
                {"dead", "dead_experts", 1},
                {"token–expert MI", "token_expert_mi", 4},
                {"top tenth", "top_tenth_share", 3}};
    enum { N = sizeof list / sizeof *list };
    const json_t *layers = json_value_at(m->summary, "routing.layers");
    struct table_column columns[N + 1] = {{"layer", TABLE_RIGHT}};
    struct table *t = NULL;
    char text[MEASURE_TEXT_BYTES];
    for (int k = 0; k < N; k++)
        columns[k + 1] = (struct table_column){list[k].title, TABLE_RIGHT};
    if (h->rc || (h->rc = table_new(&t, columns, N + 1, h->err)))
        return;
    for (size_t l = 0; l < json_array_size(layers) && l < RUN_MAX_LAYERS; l++) {
        const json_t *layer = json_array_get(layers, l);
        double index = json_number_at(layer, "layer");
        table_cell(t, "%.0f", isfinite(index) ? index : (double)l);
        for (int k = 0; k < N; k++)
            table_cell(t, "%s",
                       measure_number(text, json_number_at(layer, list[k].key), list[k].decimals));
    }
    html_table(h, t, "The same by layer.");
    table_free(t);
}

static void loss_section(struct html *h, struct figure_set *s, const struct run_group *g,
                         const char *dir)
{
    bool loss = figure_loss(s, g, 1), bits = figure_bits(s, g, 1, NULL, 0);
    if (loss || bits)
        html_section(h, "Loss");
    if (loss)
        page_figure(h, dir, "loss",
                    "Loss in nats a token against the tokens trained on: every step of training "
                    "in grey, the validation text as a line.");
    if (bits)
        page_figure(h, dir, "bits_per_byte",
                    "The validation loss counted in bits per byte of text, which does "
                    "not depend on the tokenizer.");
}

static void balance_section(struct html *h, struct figure_set *s, const struct run_group *g,
                            const char *dir)
{
    bool vio = figure_max_vio(s, g, 1), loads = figure_loads(s, g, 1);
    bool rank = figure_load_by_rank(s, g, 1);
    html_section(h, "Balance");
    if (vio)
        page_figure(h, dir, "max_vio",
                    "How far the busiest expert of a batch is above its fair share (MaxVio, "
                    "mean over layers, logarithmic), in windows of training.");
    if (loads)
        page_figure(h, dir, "loads",
                    "Load of every expert of every layer on the evaluated text: grey is a "
                    "fair share, orange more, blue less.");
    if (rank)
        page_figure(h, dir, "load_by_rank",
                    "The same loads sorted within each layer, mean over the layers: a "
                    "flat line is perfect balance.");
    layer_table(h, g->runs[0]);
}

static void expert_sections(struct html *h, struct figure_set *s, const struct run_group *g,
                            const char *dir)
{
    if (figure_reputation(s, g->runs[0], "reputation")) {
        html_section(h, "Reputation");
        page_figure(h, dir, "reputation",
                    "Reputation R of every expert over training, by layer: the two highest "
                    "and the two lowest at the end are named.");
    }
    if (figure_token_types(s, g, 1)) {
        html_section(h, "Specialisation");
        page_figure(h, dir, "token_types",
                    "Which experts work on which kinds of tokens: in each row 1 (grey) is "
                    "an expert's fair share of that kind.");
    }
}

static void write_body(struct html *h, const struct run_metrics *m, const char *dir,
                       const struct report_options *options, const char *figures)
{
    struct figure_set s;
    const struct run_group g = {m->router, router_color(m->router, 0), false, &m, 1};
    figure_set_open(&s, options->gnuplot ? options->gnuplot : "gnuplot", figures, options->sink);
    lead(h, m);
    page_setup(h, m);
    if (!s.able)
        html_paragraph(h, "gnuplot was not found, so this page has no figures.");
    html_section(h, "Measures");
    measures(h, m);
    loss_section(h, &s, &g, dir);
    balance_section(h, &s, &g, dir);
    expert_sections(h, &s, &g, dir);
    if (page_has_sample(m)) {
        html_section(h, "A sample of text");
        page_sample(h, m);
    }
    html_section(h, "How it was made");
    page_config(h, m);
    page_machine(h, m);
    figure_set_close(&s);
}

int report_run(const char *dir, const struct report_options *options, struct err *err)
{
    struct run_metrics m = {0};
    struct buf page = {0};
    struct html h;
    char title[256], *path = path_join(dir, "report.html"), *figures = path_join(dir, "figures");
    int rc = path && figures ? 0 : err_set(err, MOE2_ELIMIT, "%s: no memory for its name", dir);
    if (!rc)
        rc = run_metrics_read(&m, dir, err);
    if (rc)
        goto done;
    html_begin(&h, &page, err);
    write_body(&h, &m, dir, options, figures);
    snprintf(title, sizeof title, "moe2: run %.200s", m.name);
    rc = html_end(&h, title);
    if (!rc)
        rc = file_write(path, page.bytes, page.n, err);
done:
    run_metrics_release(&m);
    buf_release(&page);
    free(path);
    free(figures);
    return rc;
}
