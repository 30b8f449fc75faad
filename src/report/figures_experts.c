/* The figures that show single experts: loads, kinds of tokens, reputation. Experts have no names that last from seed to seed, so
 * these show one run of each group, but for the loads by rank. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "report/figures.h"

enum { MAX_PANELS = 12, REPUTATION_PANELS = 6, N_SHOWN = 200 };

static double *numbers(struct figure_set *s, int64_t n)
{
    return arena_calloc(&s->arena, sizeof(double) * (size_t)(n > 0 ? n : 1), NULL);
}

static const struct run_metrics *first_run(const struct run_group *g)
{
    for (int r = 0; r < g->n_runs; r++)
        if (g->runs[r] && g->runs[r]->finished)
            return g->runs[r];
    return NULL;
}

/* The loads of a layer on the evaluated text, 1 is a fair share, into out [n_experts]. */
static bool layer_loads(double *out, const struct run_metrics *m, int layer, int n_experts)
{
    const json_t *layers = json_value_at(m->summary, "routing.layers");
    const json_t *list =
        json_object_get(json_array_get(layers, (size_t)layer), "activation_frequency");
    double sum = 0;
    if ((int)json_array_size(list) != n_experts)
        return false;
    for (int e = 0; e < n_experts; e++) {
        const json_t *v = json_array_get(list, (size_t)e);
        out[e] = json_is_number(v) ? json_number_value(v) : 0;
        sum += out[e];
    }
    for (int e = 0; e < n_experts; e++)
        out[e] = sum > 0 ? out[e] * n_experts / sum : NAN;
    return sum > 0;
}

/* The sizes of the load table of a run; false when it has none. */
static bool load_sizes(int *n_layers, int *n_experts, const struct run_metrics *m)
{
    const json_t *layers = m ? json_value_at(m->summary, "routing.layers") : NULL;
    const json_t *first = json_array_get(layers, 0);
    *n_layers = (int)json_array_size(layers);
    *n_experts = (int)json_array_size(json_object_get(first, "activation_frequency"));
    return *n_layers > 0 && *n_layers <= RUN_MAX_LAYERS && *n_experts > 0 &&
           *n_experts <= RUN_MAX_EXPERTS;
}

/* The number of a layer in the model, for a title. */
static int layer_index(const struct run_metrics *m, int i)
{
    const json_t *layers = json_value_at(m->summary, "routing.layers");
    double index = json_number_at(json_array_get(layers, (size_t)i), "layer");
    if (isfinite(index))
        return (int)index;
    return m->layers.layer && i < m->layers.n_layers ? m->layers.layer[i] : i;
}

/* ---- loads ---- */

static int falling(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x < y) - (x > y);
}

/* Adds the sorted loads of every layer of a run to sum [n_experts]; how many layers were added. */
static int add_sorted(double *sum, const struct run_metrics *m, int n_layers, int n_experts)
{
    double loads[RUN_MAX_EXPERTS];
    int n = 0;
    for (int l = 0; l < n_layers; l++) {
        if (!layer_loads(loads, m, l, n_experts))
            continue;
        qsort(loads, (size_t)n_experts, sizeof *loads, falling);
        for (int e = 0; e < n_experts; e++)
            sum[e] += loads[e];
        n++;
    }
    return n;
}

bool figure_load_by_rank(struct figure_set *s, const struct run_group *groups, int n)
{
    struct chart_series series[FIGURES_MAX_GROUPS];
    int n_series = 0;
    for (int g = 0; g < n && g < FIGURES_MAX_GROUPS; g++) {
        int n_layers, n_experts, n_added = 0;
        if (!load_sizes(&n_layers, &n_experts, first_run(&groups[g])))
            continue;
        double *x = numbers(s, n_experts), *y = numbers(s, n_experts);
        if (!x || !y)
            return false;
        for (int r = 0; r < groups[g].n_runs; r++)
            if (groups[g].runs[r])
                n_added += add_sorted(y, groups[g].runs[r], n_layers, n_experts);
        if (n_added == 0)
            continue;
        for (int e = 0; e < n_experts; e++) {
            x[e] = e + 1;
            y[e] /= n_added;
        }
        series[n_series++] = (struct chart_series){.label = n > 1 ? groups[g].label : NULL,
                                                   .x = x,
                                                   .y = y,
                                                   .n = n_experts,
                                                   .color = groups[g].color,
                                                   .dashed = groups[g].dashed,
                                                   .points = n_experts <= 32};
    }
    struct chart_mark fair = {1, "fair share"};
    struct chart c = {.kind = CHART_LINES,
                      .x_title = "expert, from the busiest to the idlest",
                      .y_title = "load (1: fair share)",
                      .y_high = 1e-9,
                      .series = series,
                      .n_series = n_series,
                      .marks = &fair,
                      .n_marks = 1};
    return n_series > 0 &&
           figure_set_draw(s,
                           &(struct figure){.title = "Load by rank on the evaluated text",
                                            .charts = &c,
                                            .n_charts = 1},
                           "load_by_rank");
}

static int panel_columns(int n_panels)
{
    return n_panels < 2 ? 1 : n_panels <= 4 ? 2 : 3;
}

/* The largest cell of all panels, so that they share one scale; at least 2. */
static double largest_cell(const struct chart *charts, int n)
{
    double high = 2;
    for (int p = 0; p < n; p++)
        for (int i = 0; i < charts[p].n_cell_rows * charts[p].n_cell_columns; i++)
            if (isfinite(charts[p].cells[i]))
                high = fmax(high, charts[p].cells[i]);
    return high;
}

/* Heat maps of shares, side by side under one scale around 1; the scale stands beside the last of a row. */
static bool draw_shares(struct figure_set *s, struct chart *charts, int n, const char *title,
                        const char *name)
{
    int columns = panel_columns(n);
    double high = largest_cell(charts, n);
    for (int p = 0; p < n; p++) {
        charts[p].kind = CHART_HEAT;
        charts[p].low = 0;
        charts[p].middle = 1;
        charts[p].high = high;
        charts[p].value_title = "load (1: fair)";
        charts[p].x_title = p + columns >= n ? "expert" : NULL;
    }
    return n > 0 && figure_set_draw(s,
                                    &(struct figure){.title = title,
                                                     .charts = charts,
                                                     .n_charts = n,
                                                     .n_columns = columns,
                                                     .width_px = columns == 3 ? 1000 : 0},
                                    name);
}

static const char **layer_names(struct figure_set *s, const struct run_metrics *m, int n_layers)
{
    const char **names = arena_alloc(&s->arena, sizeof *names * (size_t)n_layers, NULL);
    char text[32];
    for (int l = 0; names && l < n_layers; l++) {
        snprintf(text, sizeof text, "layer %d", layer_index(m, l));
        names[l] = arena_strdup(&s->arena, text, NULL);
        if (!names[l])
            return NULL;
    }
    return names;
}

bool figure_loads(struct figure_set *s, const struct run_group *groups, int n)
{
    struct chart charts[MAX_PANELS];
    int n_charts = 0;
    for (int g = 0; g < n && n_charts < MAX_PANELS; g++) {
        const struct run_metrics *m = first_run(&groups[g]);
        int n_layers, n_experts;
        if (!load_sizes(&n_layers, &n_experts, m) || n_layers * n_experts > CHART_MAX_CELLS)
            continue;
        double *cells = numbers(s, (int64_t)n_layers * n_experts);
        const char **names = layer_names(s, m, n_layers);
        if (!cells || !names)
            return false;
        for (int l = 0; l < n_layers; l++)
            if (!layer_loads(cells + l * n_experts, m, l, n_experts))
                for (int e = 0; e < n_experts; e++)
                    cells[l * n_experts + e] = NAN;
        charts[n_charts++] = (struct chart){.title = n > 1 ? groups[g].label : NULL,
                                            .cells = cells,
                                            .n_cell_rows = n_layers,
                                            .n_cell_columns = n_experts,
                                            .row_names = names};
    }
    return draw_shares(s, charts, n_charts, "Load of every expert on the evaluated text", "loads");
}

/* ---- kinds of tokens ---- */

/* One layer's table [n_types][n_experts], each row against its own fair share. */
static bool type_cells(struct figure_set *s, struct chart *c, const struct run_metrics *m,
                       int layer)
{
    const json_t *names = json_value_at(m->summary, "token_types.names");
    const json_t *table =
        json_array_get(json_value_at(m->summary, "token_types.layers"), (size_t)layer);
    int n_types = (int)json_array_size(table);
    int n_experts = (int)json_array_size(json_array_get(table, 0));
    if (n_types < 1 || n_experts < 1 || n_experts > RUN_MAX_EXPERTS ||
        n_types * n_experts > CHART_MAX_CELLS || (int)json_array_size(names) != n_types)
        return false;
    double *cells = numbers(s, (int64_t)n_types * n_experts);
    const char **rows = arena_alloc(&s->arena, sizeof *rows * (size_t)n_types, NULL);
    if (!cells || !rows)
        return false;
    for (int t = 0; t < n_types; t++) {
        const json_t *row = json_array_get(table, (size_t)t);
        const char *name = json_string_value(json_array_get(names, (size_t)t));
        double sum = 0;
        rows[t] = name ? name : "?";
        for (int e = 0; e < n_experts; e++) {
            const json_t *v = json_array_get(row, (size_t)e);
            cells[t * n_experts + e] = json_is_number(v) ? json_number_value(v) : 0;
            sum += cells[t * n_experts + e];
        }
        for (int e = 0; e < n_experts; e++)
            cells[t * n_experts + e] = sum > 0 ? cells[t * n_experts + e] * n_experts / sum : NAN;
    }
    *c = (struct chart){
        .cells = cells, .n_cell_rows = n_types, .n_cell_columns = n_experts, .row_names = rows};
    return true;
}

static char *panel_title(struct figure_set *s, const char *label, int layer)
{
    char text[160];
    snprintf(text, sizeof text, "%s%slayer %d", label ? label : "", label ? ", " : "", layer);
    return arena_strdup(&s->arena, text, NULL);
}

bool figure_token_types(struct figure_set *s, const struct run_group *groups, int n)
{
    struct chart charts[MAX_PANELS];
    int n_charts = 0;
    for (int g = 0; g < n; g++) {
        const struct run_metrics *m = first_run(&groups[g]);
        const json_t *layers = m ? json_value_at(m->summary, "token_types.layers") : NULL;
        int n_layers = (int)json_array_size(layers);
        int wanted = n > 1 ? 1 : n_layers < REPUTATION_PANELS ? n_layers : REPUTATION_PANELS;
        for (int i = 0; i < wanted && n_charts < MAX_PANELS; i++) {
            int l = wanted == 1 ? n_layers / 2 : i * (n_layers - 1) / (wanted - 1);
            if (!type_cells(s, &charts[n_charts], m, l))
                continue;
            charts[n_charts++].title =
                panel_title(s, n > 1 ? groups[g].label : NULL, layer_index(m, l));
        }
    }
    return draw_shares(s, charts, n_charts, "Experts by kind of token", "token_types");
}

/* ---- reputation ---- */

struct rank {
    double value;
    int expert;
};

static int rising_rank(const void *a, const void *b)
{
    const struct rank *x = a, *y = b;
    return (x->value > y->value) - (x->value < y->value);
}

/* The lines of one layer: all grey, the two highest and the two lowest at the end coloured and named. */
static struct chart_series *reputation_lines(struct figure_set *s, const struct run_layers *l,
                                             int layer, const double *x, const int64_t *rows,
                                             int64_t n)
{
    static const enum chart_color ends[4] = {CHART_SKY, CHART_BLUE, CHART_ORANGE, CHART_VERMILLION};
    struct chart_series *series =
        arena_calloc(&s->arena, sizeof *series * (size_t)l->n_experts, NULL);
    struct rank *rank = arena_calloc(&s->arena, sizeof *rank * (size_t)l->n_experts, NULL);
    double *all = numbers(s, n * l->n_experts);
    if (!series || !rank || !all)
        return NULL;
    for (int e = 0; e < l->n_experts; e++) {
        double *y = all + e * n;
        for (int64_t i = 0; i < n; i++)
            y[i] = l->reputation[(rows[i] * l->n_layers + layer) * l->n_experts + e];
        series[e] = (struct chart_series){.x = x, .y = y, .n = n, .color = CHART_GREY};
        rank[e] = (struct rank){isfinite(y[n - 1]) ? y[n - 1] : -INFINITY, e};
    }
    qsort(rank, (size_t)l->n_experts, sizeof *rank, rising_rank);
    for (int i = 0; i < 4 && l->n_experts >= 4; i++) {
        int at = i < 2 ? i : l->n_experts - 4 + i;
        char name[16];
        snprintf(name, sizeof name, "e%d", rank[at].expert);
        series[rank[at].expert].color = ends[i];
        series[rank[at].expert].label = arena_strdup(&s->arena, name, NULL);
    }
    return series;
}

bool figure_reputation(struct figure_set *s, const struct run_metrics *m, const char *name)
{
    const struct run_layers *l = &m->layers;
    struct chart charts[REPUTATION_PANELS];
    int n_panels = l->n_layers < REPUTATION_PANELS ? l->n_layers : REPUTATION_PANELS;
    int columns = panel_columns(n_panels);
    if (!l->reputation || l->n < 2 || l->n_experts > CHART_MAX_SERIES)
        return false;
    int64_t n = l->n < N_SHOWN ? l->n : N_SHOWN, rows[N_SHOWN];
    double *x = numbers(s, n), unit = l->tokens[l->n - 1] >= 2e6 ? 1e6 : 1e3;
    if (!x)
        return false;
    for (int64_t i = 0; i < n; i++) {
        rows[i] = n == 1 ? 0 : i * (l->n - 1) / (n - 1);
        x[i] = l->tokens[rows[i]] / unit;
    }
    for (int p = 0; p < n_panels; p++) {
        int layer = n_panels == 1 ? 0 : p * (l->n_layers - 1) / (n_panels - 1);
        struct chart_series *series = reputation_lines(s, l, layer, x, rows, n);
        if (!series)
            return false;
        charts[p] = (struct chart){.kind = CHART_LINES,
                                   .title = panel_title(s, NULL, l->layer[layer]),
                                   .x_title = p + columns < n_panels ? NULL
                                              : unit == 1e6          ? "training tokens (millions)"
                                                            : "training tokens (thousands)",
                                   .y_title = p % columns ? NULL : "reputation R",
                                   .series = series,
                                   .n_series = l->n_experts};
    }
    return figure_set_draw(s,
                           &(struct figure){.title = "Reputation of every expert",
                                            .charts = charts,
                                            .n_charts = n_panels,
                                            .n_columns = columns,
                                            .width_px = columns == 3 ? 900 : 0},
                           name);
}
