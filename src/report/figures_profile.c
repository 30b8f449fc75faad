/* Figures 4 and 5: see figures_profile.h. Two panels: at one answer length against the prompt, at one prompt length against the answer;
 * the published points lie in the second. */
#include "report/figures_profile.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

enum { MAX_LINES = 40, N_STEPS = 33, DEFAULT_PROMPT = 512, DEFAULT_OUTPUT = 32, LABEL = 64 };

struct lines {
    const struct curve *curve[MAX_LINES];
    char label[MAX_LINES][LABEL];
    int n;
    bool any[CURVE_N_SOURCES];
    double prompt, output; /* where the panels cut */
    double most_prompt, most_output;
};

static bool same(const struct curve *a, const struct curve *b)
{
    return a->source == b->source && a->fit.t0 == b->fit.t0 && a->fit.prefill == b->fit.prefill &&
           a->fit.decode == b->fit.decode;
}

/* Whether the curve that c borrows is borrowed unchanged: then its name says more than the expert's. */
static bool is_unscaled(const struct curves *all, const struct curve *c)
{
    int n = 0;
    for (int i = 0; i < all->n; i++) {
        if (!c->curve || !all->list[i].curve || strcmp(all->list[i].curve, c->curve) != 0)
            continue;
        n++;
        if (!same(&all->list[i], c))
            return false;
    }
    return n > 1;
}

/* "Qwen2.5-7B-Instruct/AWQ@agx-orin" as "Qwen2.5-7B AWQ, agx-orin". */
static void shorten(char out[LABEL], const char *name)
{
    const char *at = strchr(name, '@'), *slash = strchr(name, '/');
    const char *instruct = strstr(name, "-Instruct/");
    if (!at || !slash || slash > at) {
        snprintf(out, LABEL, "%s", name);
        return;
    }
    const char *end = instruct ? instruct : slash;
    snprintf(out, LABEL, "%.*s %.*s, %s", (int)(end - name), name, (int)(at - slash - 1), slash + 1,
             at + 1);
}

/* The name of a line: the borrowed curve's, or the first expert's and how many more have it. */
static void label_of(char out[LABEL], const struct curves *all, const struct curve *c)
{
    int n_more = 0;
    for (int i = 0; i < all->n; i++)
        n_more += &all->list[i] != c && same(&all->list[i], c);
    shorten(out, is_unscaled(all, c) ? c->curve : c->expert);
    size_t n = strlen(out);
    if (n_more && !is_unscaled(all, c))
        snprintf(out + n, LABEL - n, " +%d", n_more);
}

static void gather(struct lines *l, const struct curves *c)
{
    *l = (struct lines){.prompt = DEFAULT_PROMPT, .output = DEFAULT_OUTPUT, .most_prompt = 2048};
    bool found = false;
    for (int i = 0; i < c->n; i++) {
        bool seen = false;
        for (int j = 0; j < l->n && !seen; j++)
            seen = same(l->curve[j], &c->list[i]);
        if (seen || l->n == MAX_LINES)
            continue;
        const struct curve *one = &c->list[i];
        label_of(l->label[l->n], c, one);
        l->curve[l->n++] = one;
        l->any[one->source] = true;
        for (int64_t k = 0; k < one->n_points; k++) {
            if (!found)
                l->prompt = one->points[k].prompt_tokens;
            found = true;
            l->most_prompt = fmax(l->most_prompt, one->points[k].prompt_tokens);
            l->most_output = fmax(l->most_output, one->points[k].output_tokens);
        }
    }
    l->most_output = fmax(128, l->most_output);
}

static double *numbers(struct figure_set *s, int64_t n)
{
    return arena_alloc(&s->arena, (size_t)n * sizeof(double), NULL);
}

static double unit_of(const struct curve *c)
{
    return c->unit && c->unit[0] == 'm' ? 1e-3 : 1;
}

/* The prompt length of the second panel for a curve: that of its own points where they lie near the panel's. */
static double prompt_of(const struct lines *l, const struct curve *c)
{
    for (int64_t k = 0; k < c->n_points; k++)
        if (fabs(c->points[k].prompt_tokens - l->prompt) <= 0.2 * l->prompt)
            return c->points[k].prompt_tokens;
    return l->prompt;
}

/* The line of curve i against the prompt or the answer. */
static bool line_of(struct figure_set *s, struct chart_series *out, const struct lines *l, int i,
                    bool against_output)
{
    double *x = numbers(s, N_STEPS), *y = numbers(s, N_STEPS);
    if (!x || !y)
        return false;
    const struct curve *c = l->curve[i];
    for (int k = 0; k < N_STEPS; k++) {
        double part = (double)k / (N_STEPS - 1);
        x[k] = part * (against_output ? l->most_output : l->most_prompt);
        y[k] = unit_of(c) * (against_output ? curve_value(&c->fit, prompt_of(l, c), x[k])
                                            : curve_value(&c->fit, x[k], l->output));
    }
    *out = (struct chart_series){.label = l->label[i],
                                 .x = x,
                                 .y = y,
                                 .n = N_STEPS,
                                 .color = (enum chart_color)(1 + i % (CHART_N_COLORS - 1)),
                                 .dashed = c->source == CURVE_ESTIMATED};
    return true;
}

/* The points of curve i at the panel's prompt length; none: false. */
static bool dots_of(struct figure_set *s, struct chart_series *out, const struct lines *l, int i)
{
    const struct curve *c = l->curve[i];
    double *x = numbers(s, c->n_points + 1), *y = numbers(s, c->n_points + 1);
    int64_t n = 0;
    for (int64_t k = 0; x && y && k < c->n_points; k++)
        if (c->points[k].prompt_tokens == prompt_of(l, c)) {
            x[n] = c->points[k].output_tokens;
            y[n++] = unit_of(c) * c->points[k].value;
        }
    *out = (struct chart_series){.x = x,
                                 .y = y,
                                 .n = n,
                                 .color = (enum chart_color)(1 + i % (CHART_N_COLORS - 1)),
                                 .points = true,
                                 .faint = true};
    return n > 0;
}

/* What measured curves are called: their note where all have the same one (which machine, which day). */
static const char *label_of_measured(const struct lines *l)
{
    const char *note = NULL;
    for (int i = 0; i < l->n; i++) {
        const struct curve *c = l->curve[i];
        if (c->source != CURVE_MEASURED)
            continue;
        if (!c->note || (note && strcmp(note, c->note) != 0))
            return curve_source_label(CURVE_MEASURED);
        note = c->note;
    }
    return note ? note : curve_source_label(CURVE_MEASURED);
}

static void title_of(char out[CHART_MAX_TITLE], const struct lines *l, const char *what)
{
    static const enum curve_source ORDER[] = {CURVE_PUBLISHED, CURVE_ESTIMATED, CURVE_MEASURED};
    const char *gap = "";
    int n_kinds = l->any[CURVE_MEASURED] + l->any[CURVE_PUBLISHED] + l->any[CURVE_ESTIMATED];
    int n = snprintf(out, CHART_MAX_TITLE, "%s (", what);
    for (int i = 0; i < CURVE_N_SOURCES; i++) {
        if (!l->any[ORDER[i]] || n >= CHART_MAX_TITLE)
            continue;
        const char *line = n_kinds < 2 ? "" : ORDER[i] == CURVE_ESTIMATED ? "dashed: " : "full: ";
        n += snprintf(out + n, (size_t)(CHART_MAX_TITLE - n), "%s%s%s", gap, line,
                      ORDER[i] == CURVE_MEASURED ? label_of_measured(l)
                                                 : curve_source_label(ORDER[i]));
        gap = "; ";
    }
    if (n < CHART_MAX_TITLE)
        snprintf(out + n, (size_t)(CHART_MAX_TITLE - n), ")");
}

static bool draw(struct figure_set *s, const struct curves *c, const char *what, const char *unit,
                 const char *name)
{
    struct lines l;
    struct chart_series first[MAX_LINES], second[2 * MAX_LINES];
    char title[CHART_MAX_TITLE], panel[2][CHART_MAX_TITLE];
    int n = 0, n_second = 0;
    gather(&l, c);
    for (int i = 0; i < l.n; i++) {
        n += line_of(s, &first[n], &l, i, false);
        n_second += line_of(s, &second[n_second], &l, i, true);
    }
    for (int i = 0; i < l.n; i++)
        n_second += dots_of(s, &second[n_second], &l, i);
    if (n == 0)
        return false;
    title_of(title, &l, what);
    snprintf(panel[0], sizeof panel[0], "against the prompt, %g tokens of answer", l.output);
    snprintf(panel[1], sizeof panel[1], "against the answer, about %g tokens of prompt", l.prompt);
    const struct chart charts[2] = {
        {.kind = CHART_LINES,
         .title = panel[0],
         .x_title = "prompt tokens",
         .y_title = unit,
         .series = first,
         .n_series = n},
        {.kind = CHART_LINES,
         .title = panel[1],
         .x_title = "output tokens",
         .y_title = unit,
         .series = second,
         .n_series = n_second},
    };
    struct figure f = {.title = title, .charts = charts, .n_charts = 2, .n_columns = 1};
    return figure_set_draw(s, &f, name);
}

bool figure_latency_curves(struct figure_set *s, const struct curves *c)
{
    return draw(s, c, "Figure 4: latency of an answer", "seconds", "figure4_latency");
}

bool figure_energy_curves(struct figure_set *s, const struct curves *c)
{
    return draw(s, c, "Figure 5: energy of an answer", "joules", "figure5_energy");
}
