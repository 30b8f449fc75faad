/* The sections of a comparison's page about runs beside the comparison itself: tuning, ablation, sensitivity; and the chart of differences that
 * they share with the result. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/table.h"
#include "report/page_compare.h"

bool page_entries(struct page *p, const struct comparison_entry *list, int n, int skip,
                  const struct comparison_entry *base, const char *title, const char *x_title,
                  const char *name)
{
    struct chart_row rows[COMPARISON_MAX_ROUTERS];
    static const struct chart_mark zero = {0, NULL};
    struct arena *a = &p->figures->arena;
    int n_rows = 0;
    for (int i = 0; i < n; i++) {
        const struct comparison_entry *e = &list[i];
        char text[MEASURE_TEXT_BYTES];
        double *dots = arena_alloc(a, sizeof *dots * (size_t)(e->n_runs + 1), NULL);
        if (!dots || i == skip || e->loss_difference.n == 0)
            continue;
        int n_dots = 0;
        for (int r = 0; r < e->n_runs && r < base->n_runs; r++)
            dots[n_dots++] = e->values[MEASURE_TEST_LOSS][r] - base->values[MEASURE_TEST_LOSS][r];
        measure_text(text, &e->loss_difference, 4, 1);
        rows[n_rows++] = (struct chart_row){.label = e->label,
                                            .note = arena_strdup(a, text, NULL),
                                            .mean = e->loss_difference.mean,
                                            .low = e->loss_difference.low,
                                            .high = e->loss_difference.high,
                                            .dots = dots,
                                            .n_dots = n_dots,
                                            .color = router_color(e->label, i)};
    }
    struct chart c = {.kind = CHART_INTERVALS,
                      .x_title = x_title,
                      .rows = rows,
                      .n_rows = n_rows,
                      .marks = &zero,
                      .n_marks = 1};
    return n_rows > 0 &&
           figure_set_draw(p->figures,
                           &(struct figure){.title = title, .charts = &c, .n_charts = 1}, name);
}

static void tuning_rows(struct table *t, const json_t *router)
{
    const json_t *trials = json_object_get(router, "trials");
    const char *label = json_text_at(router, "label");
    double best = json_number_at(router, "best");
    char text[MEASURE_TEXT_BYTES];
    for (size_t k = 0; k < json_array_size(trials); k++) {
        const json_t *trial = json_array_get(trials, k),
                     *settings = json_object_get(trial, "settings");
        struct buf words = {0};
        for (size_t i = 0; i < json_array_size(settings); i++) {
            const char *word = json_string_value(json_array_get(settings, i));
            buf_printf(&words, NULL, "%s%s", i ? " " : "", word ? word : "?");
        }
        table_cell(t, "%s", k == 0 && label ? label : "");
        table_cell(t, "%s", words.n ? words.bytes : "start values");
        table_cell(t, "%s", measure_number(text, json_number_at(trial, "loss"), 4));
        table_cell(t, "%s", best == (double)k ? "chosen" : "");
        buf_release(&words);
    }
}

void page_tuning(struct page *p)
{
    static const struct table_column columns[] = {{"router", TABLE_LEFT},
                                                  {"coefficients", TABLE_LEFT},
                                                  {"validation loss", TABLE_RIGHT},
                                                  {"", TABLE_LEFT}};
    const json_t *tuning = json_object_get(p->c->plan, "tuning");
    const json_t *routers = json_object_get(tuning, "routers");
    const char *method = json_text_at(tuning, "method");
    struct table *t = NULL;
    if (!json_is_object(tuning))
        return;
    html_section(p->h, "Tuning");
    html_paragraph(p->h,
                   "Every router's coefficients were tuned with %.0f runs on the validation text, "
                   "then fixed for all seeds. %s",
                   json_number_at(tuning, "runs"), method ? method : "");
    if (p->h->rc || (p->h->rc = table_new(&t, columns, 4, p->h->err)))
        return;
    for (size_t i = 0; i < json_array_size(routers); i++)
        tuning_rows(t, json_array_get(routers, i));
    html_table(p->h, t, "Every trial of the tuning.");
    table_free(t);
}

void page_ablation(struct page *p)
{
    const struct comparison *c = p->c;
    struct table *t = NULL;
    if (c->n_variants == 0 || p->h->rc || (p->h->rc = comparison_ablation_table(&t, c, p->h->err)))
        return;
    html_section(p->h, "Ablation");
    html_paragraph(p->h,
                   "One term of %s taken away, or exchanged, at a time. Differences are paired by "
                   "seed, against the whole.",
                   c->ablated.label);
    html_table(p->h, t,
               "A positive difference means that the loss is higher without what was taken away.");
    table_free(t);
    if (page_entries(p, c->variants, c->n_variants, -1, &c->ablated,
                     "Ablation: test loss minus that of the whole",
                     "difference of test loss (nats a token)", "ablation"))
        page_figure(p->h, p->dir, "ablation",
                    "Each variant's test loss minus the whole router's: means, 95 % intervals and "
                    "the seeds as "
                    "rings.");
}

/* One panel a parameter: a measure against its values. */
static bool draw_sweep(struct page *p, enum measure_kind kind, const char *title,
                       const char *y_title, const char *name)
{
    struct chart charts[16];
    struct chart_series lines[16];
    const struct comparison *c = p->c;
    struct arena *a = &p->figures->arena;
    double low = INFINITY, high = -INFINITY;
    bool log_y = kind == MEASURE_MAX_VIO_GLOBAL;
    for (int i = 0; i < c->n_sweeps; i++) {
        const struct comparison_sweep *s = &c->sweeps[i];
        char text[96];
        bool log_x = s->n > 2 && s->values[0] > 0 && s->values[s->n - 1] / s->values[0] > 8;
        for (int k = 0; k < s->n; k++) {
            double v = s->entry.values[kind][k];
            low = isfinite(v) ? fmin(low, v) : low;
            high = isfinite(v) ? fmax(high, v) : high;
        }
        snprintf(text, sizeof text, isfinite(s->initial) ? "%.40s (start value %g)" : "%.40s",
                 s->key, s->initial);
        lines[i] = (struct chart_series){.x = s->values,
                                         .y = s->entry.values[kind],
                                         .n = s->n,
                                         .color = CHART_VERMILLION,
                                         .points = true};
        charts[i] = (struct chart){.kind = CHART_LINES,
                                   .title = arena_strdup(a, text, NULL),
                                   .y_title = i % 3 ? NULL : y_title,
                                   .x_title = s->key,
                                   .log_x = log_x,
                                   .log_y = log_y,
                                   .series = &lines[i],
                                   .n_series = 1};
    }
    for (int i = 0; i < c->n_sweeps; i++) { /* one range, so that a flat panel looks flat */
        charts[i].y_low = low;
        charts[i].y_high = high;
    }
    return isfinite(low) &&
           figure_set_draw(p->figures,
                           &(struct figure){.title = title,
                                            .charts = charts,
                                            .n_charts = c->n_sweeps,
                                            .n_columns = c->n_sweeps < 3 ? c->n_sweeps : 3,
                                            .width_px = 900},
                           name);
}

void page_sweep(struct page *p)
{
    struct table *t = NULL;
    if (p->c->n_sweeps == 0 || p->h->rc || (p->h->rc = comparison_sweep_table(&t, p->c, p->h->err)))
        return;
    html_section(p->h, "Sensitivity");
    html_paragraph(p->h, "One parameter at a time, the others at the values of the comparison, one "
                         "seed: differences of the size that "
                         "seeds make say nothing.");
    if (draw_sweep(p, MEASURE_TEST_LOSS, "Sensitivity of the test loss", "test loss", "sweep_loss"))
        page_figure(p->h, p->dir, "sweep_loss",
                    "Test loss (nats a token) against each parameter; all panels share one range.");
    if (draw_sweep(p, MEASURE_MAX_VIO_GLOBAL, "Sensitivity of the balance", "MaxVio, global",
                   "sweep_max_vio"))
        page_figure(p->h, p->dir, "sweep_max_vio",
                    "MaxVio on the evaluated text (logarithmic) against each parameter.");
    html_table(p->h, t, "The numbers of the figures.");
    table_free(t);
}
