/* The figures of runs over training tokens: see figures.h. Those of experts are in figures_experts.c. */
#include "report/figures.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/stats.h"

/* At one deviation the interval of two runs is 3.6 times as wide as that of three (t 12.7/√2 against 4.3/√3): a band that hides the lines. */
enum { N_WINDOWS = 40, N_TRAIN_POINTS = 600, BAND_RUNS = 3 };

void figure_set_open(struct figure_set *s, const char *gnuplot, const char *dir,
                     const struct log_sink *sink)
{
    *s = (struct figure_set){.gnuplot = gnuplot, .dir = dir, .sink = sink};
    s->able = gnuplot_found(gnuplot);
    if (!s->able)
        log_line(sink, LOG_WARN, "%s was not found: the report goes on without figures", gnuplot);
}

void figure_set_close(struct figure_set *s)
{
    arena_release(&s->arena);
}

bool figure_set_draw(struct figure_set *s, const struct figure *f, const char *name)
{
    struct err err = {0};
    if (!s->able)
        return false;
    if (figure_draw(f, s->gnuplot, s->dir, name, &err) == 0)
        return true;
    log_line(s->sink, LOG_WARN, "figure %s is left out: %s", name, err.msg);
    return false;
}

struct look {
    const char *label;
    enum chart_color color;
    bool dashed;
};

static const struct look LOOKS[] = {
    {"none", CHART_INK, false},        {"aux", CHART_BLUE, false},
    {"aux_global", CHART_SKY, true},   {"loss_free", CHART_GREEN, false},
    {"quantile", CHART_OLIVE, false},  {"expert_choice", CHART_VIOLET, false},
    {"random", CHART_TAUPE, true},     {"rd_esi", CHART_VERMILLION, false},
    {"rd_esi_raw", CHART_PINK, false}, {"rd_esi_integral", CHART_ORANGE, true},
};

enum chart_color router_color(const char *label, int i)
{
    for (size_t k = 0; k < sizeof LOOKS / sizeof *LOOKS; k++)
        if (strcmp(LOOKS[k].label, label) == 0)
            return LOOKS[k].color;
    return (enum chart_color)(1 + (unsigned)i % (CHART_N_COLORS - 1));
}

bool router_dashed(const char *label)
{
    for (size_t k = 0; k < sizeof LOOKS / sizeof *LOOKS; k++)
        if (strcmp(LOOKS[k].label, label) == 0)
            return LOOKS[k].dashed;
    return false;
}

/* ---- curves: a group's runs as one line with a band ---- */

struct curve {
    int64_t n;
    double *x, *mean, *low, *high;
    int most; /* runs behind the best covered point */
};

static double *numbers(struct figure_set *s, int64_t n)
{
    return arena_alloc(&s->arena, sizeof(double) * (size_t)(n > 0 ? n : 1), NULL);
}

static bool curve_new(struct figure_set *s, struct curve *c, int64_t n)
{
    *c = (struct curve){n, numbers(s, n), numbers(s, n), numbers(s, n), numbers(s, n), 0};
    return c->x && c->mean && c->low && c->high;
}

/* Point i from the values of the runs that have one. */
static void curve_point(struct curve *c, int64_t i, const double *values, int n_values)
{
    struct stats_interval v = stats_interval95(values, n_values);
    bool wide = n_values >= BAND_RUNS && isfinite(v.half_width);
    c->mean[i] = n_values ? v.mean : NAN;
    c->low[i] = wide ? v.low : c->mean[i];
    c->high[i] = wide ? v.high : c->mean[i];
    c->most = n_values > c->most ? n_values : c->most;
}

enum eval_column { EVAL_LOSS, EVAL_BITS };

static double eval_value(const struct run_metrics *m, enum eval_column column, double step)
{
    const double *list = column == EVAL_LOSS ? m->evals.loss : m->evals.bits_per_byte;
    for (int64_t i = 0; i < m->evals.n; i++)
        if (m->evals.step[i] == step)
            return list[i];
    return NAN;
}

/* The run of a group with the most evaluations: its steps are the curve's. */
static const struct run_metrics *longest_run(const struct run_group *g)
{
    const struct run_metrics *best = NULL;
    for (int r = 0; r < g->n_runs; r++)
        if (g->runs[r] && (!best || g->runs[r]->evals.n > best->evals.n))
            best = g->runs[r];
    return best;
}

/* Evaluations of a group; minus, when given, is subtracted seed by seed. */
static bool curve_of_evals(struct figure_set *s, struct curve *c, const struct run_group *g,
                           const struct run_group *minus, enum eval_column column)
{
    const struct run_metrics *base = longest_run(g);
    if (!base || base->evals.n == 0 || !curve_new(s, c, base->evals.n))
        return false;
    for (int64_t i = 0; i < c->n; i++) {
        double values[FIGURES_MAX_RUNS], step = base->evals.step[i];
        int n = 0;
        for (int r = 0; r < g->n_runs && r < FIGURES_MAX_RUNS; r++) {
            const struct run_metrics *other = minus && r < minus->n_runs ? minus->runs[r] : NULL;
            if (!g->runs[r] || (minus && !other))
                continue;
            double v = eval_value(g->runs[r], column, step);
            if (minus)
                v -= eval_value(other, column, step);
            if (isfinite(v))
                values[n++] = v;
        }
        c->x[i] = base->evals.tokens[i];
        curve_point(c, i, values, n);
    }
    return c->most > 0;
}

static double last_tokens(const struct run_metrics *m)
{
    return m->steps.n ? m->steps.column[RUN_TOKENS][m->steps.n - 1] : 0;
}

/* The mean of a column over the steps whose tokens lie in (from, to]. first says where to go on looking. */
static double window_mean(const struct run_steps *s, enum run_column column, double to,
                          int64_t *first)
{
    double sum = 0;
    int64_t n = 0;
    for (; *first < s->n && s->column[RUN_TOKENS][*first] <= to; ++*first)
        if (isfinite(s->column[column][*first])) {
            sum += s->column[column][*first];
            n++;
        }
    return n ? sum / (double)n : NAN;
}

/* Means and intervals of logarithms are those of factors: right for a logarithmic axis, where they can't reach 0. */
static void curve_exp(struct curve *c)
{
    for (int64_t i = 0; i < c->n; i++) {
        c->mean[i] = exp(c->mean[i]);
        c->low[i] = exp(c->low[i]);
        c->high[i] = exp(c->high[i]);
    }
}

/* The logarithm of a column of the training steps in equal windows of tokens, back as factors. */
static bool curve_of_steps(struct figure_set *s, struct curve *c, const struct run_group *g,
                           enum run_column column)
{
    double end = 0;
    int64_t most = 0, first[FIGURES_MAX_RUNS] = {0};
    for (int r = 0; r < g->n_runs; r++)
        if (g->runs[r]) {
            end = fmax(end, last_tokens(g->runs[r]));
            most = g->runs[r]->steps.n > most ? g->runs[r]->steps.n : most;
        }
    int64_t n_windows = most < N_WINDOWS ? most : N_WINDOWS;
    if (n_windows == 0 || !(end > 0) || !curve_new(s, c, n_windows))
        return false;
    for (int64_t i = 0; i < n_windows; i++) {
        double values[FIGURES_MAX_RUNS], to = end * (double)(i + 1) / (double)n_windows;
        int n = 0;
        for (int r = 0; r < g->n_runs && r < FIGURES_MAX_RUNS; r++) {
            double v = g->runs[r]
                           ? window_mean(&g->runs[r]->steps, column, to * (1 + 1e-12), &first[r])
                           : NAN;
            if (v > 0)
                values[n++] = log(v);
        }
        c->x[i] = to;
        curve_point(c, i, values, n);
    }
    curve_exp(c);
    return c->most > 0;
}

static struct chart_series curve_series(const struct curve *c, const struct run_group *g,
                                        bool labelled)
{
    return (struct chart_series){.label = labelled ? g->label : NULL,
                                 .x = c->x,
                                 .y = c->mean,
                                 .low = c->most >= BAND_RUNS ? c->low : NULL,
                                 .high = c->most >= BAND_RUNS ? c->high : NULL,
                                 .n = c->n,
                                 .color = g->color,
                                 .dashed = g->dashed};
}

/* Brings the x of all lines, in tokens, to thousands or millions; returns the axis title. */
static const char *scale_tokens(struct chart_series *series, int n)
{
    double end = 0, unit = 1;
    for (int i = 0; i < n; i++)
        for (int64_t k = 0; k < series[i].n; k++)
            end = fmax(end, series[i].x[k]);
    if (end >= 2e6)
        unit = 1e6;
    else if (end >= 2e3)
        unit = 1e3;
    for (int i = 0; i < n; i++) {
        double *x = (double *)(uintptr_t)series[i].x; /* the arena's: made for this figure */
        for (int64_t k = 0; k < series[i].n; k++)
            x[k] /= unit;
    }
    return unit == 1e6   ? "training tokens (millions)"
           : unit == 1e3 ? "training tokens (thousands)"
                         : "training tokens";
}

static bool draw_lines(struct figure_set *s, struct chart *c, struct chart_series *series, int n,
                       const char *title, const char *name)
{
    if (n == 0)
        return false;
    c->kind = CHART_LINES;
    c->x_title = scale_tokens(series, n);
    c->series = series;
    c->n_series = n;
    return figure_set_draw(s, &(struct figure){.title = title, .charts = c, .n_charts = 1}, name);
}

/* ---- the figures ---- */

/* The training loss of a single run: every step pale, and nothing else, for the validation loss tells the trend. */
static bool train_line(struct figure_set *s, struct chart_series *out, const struct run_metrics *m)
{
    int64_t n = m->steps.n;
    double *x = numbers(s, n), *y = numbers(s, n);
    if (n == 0 || !x || !y)
        return false;
    memcpy(x, m->steps.column[RUN_TOKENS], sizeof *x * (size_t)n);
    memcpy(y, m->steps.column[RUN_LOSS], sizeof *y * (size_t)n);
    n = chart_thin(x, y, n, N_TRAIN_POINTS);
    *out = (struct chart_series){
        .label = "training", .x = x, .y = y, .n = n, .color = CHART_GREY, .faint = true};
    return true;
}

bool figure_loss(struct figure_set *s, const struct run_group *groups, int n)
{
    struct chart_series series[FIGURES_MAX_GROUPS + 1];
    bool single = n == 1 && groups[0].n_runs == 1 && groups[0].runs[0];
    int n_series = 0;
    if (single && train_line(s, &series[0], groups[0].runs[0]))
        n_series = 1;
    for (int g = 0; g < n && g < FIGURES_MAX_GROUPS; g++) {
        struct curve c;
        if (!curve_of_evals(s, &c, &groups[g], NULL, EVAL_LOSS))
            continue;
        series[n_series++] = curve_series(&c, &groups[g], true);
        if (single)
            series[n_series - 1].label = "validation";
    }
    struct chart c = {.y_title = "loss (nats a token)"};
    return draw_lines(s, &c, series, n_series, single ? "Loss" : "Validation loss", "loss");
}

bool figure_bits(struct figure_set *s, const struct run_group *groups, int n,
                 const struct chart_mark *references, int n_references)
{
    struct chart_series series[FIGURES_MAX_GROUPS];
    int n_series = 0;
    for (int g = 0; g < n && g < FIGURES_MAX_GROUPS; g++) {
        struct curve c;
        if (curve_of_evals(s, &c, &groups[g], NULL, EVAL_BITS))
            series[n_series++] = curve_series(&c, &groups[g], n > 1);
    }
    struct chart c = {.y_title = "bits per byte", .marks = references, .n_marks = n_references};
    return draw_lines(s, &c, series, n_series, "Bits per byte of validation text", "bits_per_byte");
}

bool figure_loss_difference(struct figure_set *s, const struct run_group *groups, int n,
                            int baseline)
{
    struct chart_series series[FIGURES_MAX_GROUPS];
    struct chart_mark zero = {0, groups[baseline].label};
    int n_series = 0;
    for (int g = 0; g < n && g < FIGURES_MAX_GROUPS; g++) {
        struct curve c;
        if (g != baseline && curve_of_evals(s, &c, &groups[g], &groups[baseline], EVAL_LOSS))
            series[n_series++] = curve_series(&c, &groups[g], true);
    }
    struct chart c = {.y_title = "difference of loss (nats a token)", .marks = &zero, .n_marks = 1};
    return draw_lines(s, &c, series, n_series, "Validation loss minus the baseline's, by seed",
                      "loss_difference");
}

bool figure_max_vio(struct figure_set *s, const struct run_group *groups, int n)
{
    struct chart_series series[FIGURES_MAX_GROUPS];
    int n_series = 0;
    for (int g = 0; g < n && g < FIGURES_MAX_GROUPS; g++) {
        struct curve c;
        if (curve_of_steps(s, &c, &groups[g], RUN_MAX_VIO))
            series[n_series++] = curve_series(&c, &groups[g], n > 1);
    }
    struct chart c = {.y_title = "MaxVio of the batch (0: balanced)", .log_y = true};
    return draw_lines(s, &c, series, n_series, "Imbalance over training", "max_vio");
}
