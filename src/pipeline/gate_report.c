/* What is said about a gate: see gate_report.h. */
#include "pipeline/gate_report.h"

#include <math.h>

#include "base/table.h"
#include "io/json_util.h"
#include "report/chart.h"

/* ---- JSON ---- */

static void put_share(struct json_writer *w, const char *key, struct stats_share s,
                      const char *expert)
{
    jw_object(w, key);
    if (expert)
        jw_text(w, "expert", expert);
    jw_real(w, "value", s.value);
    jw_real(w, "low", s.low);
    jw_real(w, "high", s.high);
    jw_end(w);
}

static void put_routing(struct json_writer *w, const struct gate_step_report *r)
{
    const struct gate_measures *m = &r->m;
    put_share(w, "top1", m->top1, NULL);
    put_share(w, "best_single", m->single, r->experts[m->single_expert]);
    put_share(w, "best_single_in_hindsight", m->hindsight, r->experts[m->hindsight_expert]);
    jw_real(w, "random", m->random);
    put_share(w, "oracle", m->oracle, NULL);
    put_share(w, "gain_over_best_single", m->gain, NULL);
    jw_real(w, "gap_closed", m->gap_closed);
    jw_int(w, "missing_cells", m->missing_cells);
    jw_int(w, "called_but_not_run", m->called_missing);
}

static void put_calibration(struct json_writer *w, const struct gate_measures *m)
{
    jw_object(w, "calibration");
    jw_int(w, "cells", m->cells);
    jw_real(w, "brier", m->brier);
    jw_real(w, "brier_of_constant_rates", m->brier_constant);
    jw_real(w, "log_loss", m->log_loss);
    jw_real(w, "ece", m->ece);
    jw_array(w, "bins");
    for (int b = 0; b < GATE_BINS; b++) {
        jw_object(w, NULL);
        jw_real(w, "from", (double)b / GATE_BINS);
        jw_int(w, "cells", m->bins[b].n);
        jw_real(w, "mean_score", m->bins[b].n ? m->bins[b].score : NAN);
        jw_real(w, "right", m->bins[b].n ? m->bins[b].right : NAN);
        jw_end(w);
    }
    jw_end(w);
    jw_end(w);
}

static void put_experts(struct json_writer *w, const struct gate_step_report *r)
{
    jw_array(w, "experts");
    for (int64_t e = 0; e < r->n_experts; e++) {
        jw_object(w, NULL);
        jw_text(w, "name", r->experts[e]);
        if (r->measured) {
            jw_real(w, "accuracy", r->m.accuracy[e]);
            jw_real(w, "called", r->m.called[e]);
            if (r->m.probabilities)
                jw_real(w, "brier", r->m.brier_expert[e]);
        }
        jw_end(w);
    }
    jw_end(w);
}

static void put_training(struct json_writer *w, const struct gate_step_report *r)
{
    jw_array(w, "settings_tried");
    for (int v = 0; v < r->n_variants; v++) {
        jw_object(w, NULL);
        jw_text(w, "setting", r->variants[v].text);
        jw_real(w, "loss", r->variants[v].loss);
        jw_bool(w, "chosen", v == r->chosen);
        jw_end(w);
    }
    jw_end(w);
    jw_real(w, "folds_s", r->fold_s);
    jw_real(w, "fit_s", r->fit_s);
}

int gate_report_json(struct buf *out, const struct gate_step_report *r, struct err *err)
{
    struct json_writer w;
    json_writer_init(&w, out, 1);
    jw_object(&w, NULL);
    jw_text(&w, "kind", r->kind);
    jw_text(&w, "scores_are", r->trained ? "out of fold" : "of rows given to eval");
    jw_int(&w, "rows", r->rows);
    jw_int(&w, "dim", r->dim);
    if (r->measured)
        put_routing(&w, r);
    if (r->measured && r->m.probabilities)
        put_calibration(&w, &r->m);
    put_experts(&w, r);
    jw_array(&w, "parts");
    for (int i = 0; i < r->n_parts; i++) {
        jw_object(&w, NULL);
        jw_text(&w, "kind", r->parts[i]);
        jw_real(&w, "weight", r->weights[i]);
        jw_end(&w);
    }
    jw_end(&w);
    if (r->trained)
        put_training(&w, r);
    else
        jw_real(&w, "score_s", r->score_s);
    jw_end(&w);
    int rc = json_writer_end(&w, err);
    return rc ? rc : buf_puts(out, "\n", err);
}

/* ---- text ---- */

static void share_row(struct table *t, const char *what, struct stats_share s, const char *note)
{
    table_cell(t, "%s", what);
    table_cell(t, "%.2f", 100 * s.value);
    table_cell(t, "%.2f – %.2f", 100 * s.low, 100 * s.high);
    table_cell(t, "%s", note);
}

static int routing_table(struct buf *out, const struct gate_step_report *r, struct err *err)
{
    const struct gate_measures *m = &r->m;
    struct table *t = NULL;
    int rc = table_new(&t,
                       (struct table_column[]){{"accuracy, %", TABLE_LEFT},
                                               {"", TABLE_RIGHT},
                                               {"95 % interval", TABLE_LEFT},
                                               {"", TABLE_LEFT}},
                       4, err);
    if (rc)
        return rc;
    share_row(t, "the gate's first choice", m->top1, r->kind);
    share_row(t, "best single expert", m->single, r->experts[m->single_expert]);
    if (m->hindsight_expert != m->single_expert)
        share_row(t, "best single in hindsight", m->hindsight, r->experts[m->hindsight_expert]);
    table_cell(t, "an expert at random");
    table_cell(t, "%.2f", 100 * m->random);
    table_end_row(t);
    share_row(t, "some expert is right", m->oracle, "oracle");
    share_row(t, "gain over the best single", m->gain, "points, paired");
    rc = table_text(out, t, err);
    table_free(t);
    if (!rc && !isnan(m->gap_closed))
        rc = buf_printf(out, err, "\n%.1f %% of the gap between best single and oracle closed\n",
                        100 * m->gap_closed);
    return rc;
}

static int notes(struct buf *out, const struct gate_step_report *r, struct err *err)
{
    const struct gate_measures *m = &r->m;
    int rc = 0;
    if (m->probabilities)
        rc = buf_printf(out, err,
                        "Brier score %.4f (%.4f of constant rates), log-loss %.4f, "
                        "calibration error (ECE, %d bins) %.4f\n",
                        m->brier, m->brier_constant, m->log_loss, GATE_BINS, m->ece);
    if (!rc && m->missing_cells)
        rc = buf_printf(out, err,
                        "%lld outcomes are missing: not trained on, counted as wrong when called "
                        "(%lld times)\n",
                        (long long)m->missing_cells, (long long)m->called_missing);
    return rc;
}

int gate_report_text(struct buf *out, const struct gate_step_report *r, struct err *err)
{
    int rc = buf_printf(out, err, "%s gate, %lld rows of %lld dimensions, %lld experts%s\n",
                        r->kind, (long long)r->rows, (long long)r->dim, (long long)r->n_experts,
                        r->trained ? ", judged out of fold" : "");
    if (!rc && r->n_parts) {
        rc = buf_puts(out, "parts:", err);
        for (int i = 0; i < r->n_parts && !rc; i++)
            rc = buf_printf(out, err, "%s %s × %.3f", i ? "," : "", r->parts[i], r->weights[i]);
        if (!rc)
            rc = buf_puts(out, "\n", err);
    } else if (!rc && r->trained) {
        rc = buf_printf(out, err, "chosen out of fold among %d settings: %s\n", r->n_variants,
                        r->variants[r->chosen].text);
    }
    if (!rc && r->n_outside)
        rc = buf_printf(out, err, "%lld experts of the gate are not among the outcomes\n",
                        (long long)r->n_outside);
    if (rc || !r->measured)
        return rc;
    rc = buf_puts(out, "\n", err);
    if (!rc)
        rc = routing_table(out, r, err);
    return rc ? rc : notes(out, r, err);
}

/* ---- the reliability diagram ---- */

int gate_report_figure(const struct gate_step_report *r, const char *gnuplot, const char *dir,
                       struct err *err)
{
    double x[GATE_BINS], y[GATE_BINS], low[GATE_BINS], high[GATE_BINS], share[GATE_BINS];
    double at[GATE_BINS], ends[2] = {0, 1};
    int64_t n = 0;
    for (int b = 0; b < GATE_BINS; b++) {
        const struct gate_bin *bin = &r->m.bins[b];
        at[b] = (b + 0.5) / GATE_BINS;
        share[b] = (double)bin->n / (double)r->m.cells;
        if (!bin->n)
            continue;
        double half = 1.96 * sqrt(bin->right * (1 - bin->right) / (double)bin->n);
        x[n] = bin->score;
        y[n] = bin->right;
        low[n] = fmax(0, bin->right - half);
        high[n++] = fmin(1, bin->right + half);
    }
    struct chart_series lines[] = {
        {.label = "perfect", .x = ends, .y = ends, .n = 2, .color = CHART_GREY, .dashed = true},
        {.label = r->kind, .x = x, .y = y, .low = low, .high = high, .n = n},
    };
    lines[1].color = CHART_BLUE;
    lines[1].points = true;
    struct chart_series cells = {.x = at, .y = share, .n = GATE_BINS, .color = CHART_VERMILLION};
    cells.points = true;
    struct chart charts[] = {
        {.kind = CHART_LINES, .x_title = "score", .y_title = "share right", .series = lines},
        {.kind = CHART_LINES,
         .x_title = "score",
         .y_title = "share of the cells",
         .series = &cells},
    };
    charts[0].n_series = 2, charts[0].y_high = 1;
    charts[1].n_series = 1;
    struct figure f = {.title = r->trained ? "Reliability of the gate's scores, out of fold"
                                           : "Reliability of the gate's scores",
                       .charts = charts,
                       .n_charts = 2,
                       .n_columns = 2};
    f.width_px = 1000;
    return figure_draw(&f, gnuplot, dir, "reliability", err);
}
