/* From a figure to a gnuplot script. Everything that a terminal would guess (margins, ranges, ticks, the places of labels) is
 * computed here in pixels and written as screen coordinates, so that the SVG and the PNG agree and nothing overlaps by chance.
 *
 * A script holds its data blocks first, then one loop over the two terminals around the panels of a multiplot. Names are only ever
 * written through gnuplot_quote. */
#include "report/chart.h"

#include <assert.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "report/axis.h"
#include "report/chart_script.h"

const char *const CHART_COLORS[CHART_N_COLORS + 1] = {
    "#333333", "#0072B2", "#D55E00", "#009E73", "#CF8A00", "#4AA3DF",
    "#C566A0", "#7A5AA6", "#8F8A2A", "#8B6B57", "#9AA0A6",
};

enum { WIDTH_PX = 760, TITLE_PX = 16 };

void script_put(struct script *s, const char *fmt, ...)
{
    if (s->rc)
        return;
    char text[1024];
    va_list args;
    va_start(args, fmt);
    int n = vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    assert(n >= 0 && n < (int)sizeof text);
    s->rc = buf_append(s->out, text, (size_t)n, s->err);
}

static void put_name(struct script *s, const char *name)
{
    if (!s->rc)
        s->rc = gnuplot_quote(s->out, name, CHART_MAX_NAME, s->err);
}

double script_x(const struct script *s, double px)
{
    return px / s->width;
}

double script_y(const struct script *s, double px)
{
    return 1 - px / s->height;
}

/* A text at a place; how is "left", "right", "center" and what else gnuplot takes there. */
static void put_text(struct script *s, const char *text, int max_chars, double x, double y,
                     const char *how, const char *color)
{
    script_put(s, "set label %d ", ++s->n_labels);
    if (!s->rc)
        s->rc = gnuplot_quote(s->out, text, max_chars, s->err);
    script_put(s, " at screen %.5f, screen %.5f %s tc rgb '%s' front\n", script_x(s, x),
               script_y(s, y), how, color);
}

void script_label(struct script *s, const char *name, double x, double y, const char *how,
                  const char *color)
{
    put_text(s, name, CHART_MAX_NAME, x, y, how, color);
}

void script_title(struct script *s, const char *title, double x, double y, const char *how,
                  const char *color)
{
    put_text(s, title, CHART_MAX_TITLE, x, y, how, color);
}

double script_name_px(const char *name)
{
    return name && *name ? CHART_CHAR_PX * chart_name_columns(name) : 0;
}

/* ---- data ---- */

/* Rows of up to four columns; a row with a NaN, or a value ≤ 0 on a logarithmic axis, becomes a gap. */
static void put_columns(struct script *s, const char *name, int panel, int series, int n_columns,
                        const double *const *columns, int64_t n, bool log_x, bool log_y)
{
    script_put(s, "$%s%d_%d << EOD\n", name, panel, series);
    for (int64_t i = 0; i < n && !s->rc; i++) {
        bool fine = true;
        for (int c = 0; c < n_columns; c++) {
            double v = columns[c][i];
            fine = fine && isfinite(v) && !((c ? log_y : log_x) && v <= 0);
        }
        if (!fine) {
            script_put(s, "\n");
            continue;
        }
        for (int c = 0; c < n_columns; c++)
            script_put(s, "%.9g%s", columns[c][i], c + 1 < n_columns ? " " : "\n");
    }
    script_put(s, "EOD\n");
}

static void put_line_data(struct script *s, const struct chart *c, int panel)
{
    for (int i = 0; i < c->n_series; i++) {
        const struct chart_series *l = &c->series[i];
        put_columns(s, "line", panel, i, 2, (const double *const[]){l->x, l->y}, l->n, c->log_x,
                    c->log_y);
        if (l->low && l->high)
            put_columns(s, "band", panel, i, 3, (const double *const[]){l->x, l->low, l->high},
                        l->n, c->log_x, c->log_y);
    }
}

static double or_else(double v, double fallback)
{
    return isfinite(v) ? v : fallback;
}

static unsigned color_number(enum chart_color color)
{
    return (unsigned)strtoul(CHART_COLORS[color] + 1, NULL, 16);
}

static void put_row_data(struct script *s, const struct chart *c, int panel)
{
    script_put(s, "$rows%d << EOD\n", panel);
    for (int i = 0; i < c->n_rows; i++) {
        const struct chart_row *r = &c->rows[i];
        if (isfinite(r->mean))
            script_put(s, "%.9g %d %.9g %.9g %u\n", r->mean, -i, or_else(r->low, r->mean),
                       or_else(r->high, r->mean), color_number(r->color));
    }
    script_put(s, "EOD\n$dots%d << EOD\n", panel);
    for (int i = 0; i < c->n_rows; i++)
        for (int64_t k = 0; k < c->rows[i].n_dots; k++)
            if (isfinite(c->rows[i].dots[k]))
                script_put(s, "%.9g %d %u\n", c->rows[i].dots[k], -i,
                           color_number(c->rows[i].color));
    script_put(s, "EOD\n");
}

/* ---- what every panel has ---- */

void script_frame(struct script *s, const struct chart *c, const struct box *b)
{
    script_put(s, "unset label\nunset arrow\nunset object\nunset key\nunset logscale\nunset grid\n"
                  "unset xtics\nunset ytics\n");
    script_put(s, "set lmargin at screen %.5f\nset rmargin at screen %.5f\n", script_x(s, b->left),
               script_x(s, b->right));
    script_put(s, "set tmargin at screen %.5f\nset bmargin at screen %.5f\n", script_y(s, b->top),
               script_y(s, b->bottom));
    if (c->title)
        script_title(s, c->title, b->left, b->top - 11, "left", CHART_INK_COLOR);
    if (c->x_title)
        script_title(s, c->x_title, (b->left + b->right) / 2, b->bottom + 39, "center",
                     CHART_MUTED_COLOR);
}

/* Ticks with their texts; along names the axis: 'x' or 'y'. Those outside the range are left out. */
static void put_ticks(struct script *s, char along, const struct axis *a)
{
    char text[AXIS_TEXT_BYTES];
    int n = 0;
    script_put(s, "set %ctics out nomirror scale 0.4 tc rgb '%s' (", along, CHART_MUTED_COLOR);
    for (int i = 0; i < a->n_ticks; i++) {
        double slack = 1e-9 * (fabs(a->high) + fabs(a->low));
        if (a->ticks[i] < a->low - slack || a->ticks[i] > a->high + slack)
            continue;
        script_put(s, "%s'%s' %.9g", n++ ? ", " : "", axis_text(text, a, i), a->ticks[i]);
    }
    script_put(s, ")\n");
}

static double ticks_px(const struct axis *a)
{
    char text[AXIS_TEXT_BYTES];
    int n = 1;
    for (int i = 0; i < a->n_ticks; i++) {
        int columns = chart_name_columns(axis_text(text, a, i));
        n = columns > n ? columns : n;
    }
    return CHART_CHAR_PX * n;
}

/* Widens low … high by the finite values of v (positive ones, when log). */
static void widen(double *low, double *high, const double *v, int64_t n, bool log)
{
    for (int64_t i = 0; i < n; i++)
        if (isfinite(v[i]) && !(log && v[i] <= 0)) {
            *low = fmin(*low, v[i]);
            *high = fmax(*high, v[i]);
        }
}

/* ---- lines ---- */

static void line_range(double *low, double *high, const struct chart *c)
{
    double l = INFINITY, h = -INFINITY, bl = INFINITY, bh = -INFINITY;
    for (int i = 0; i < c->n_series; i++) {
        const struct chart_series *s = &c->series[i];
        if (!s->faint || c->n_series == 1)
            widen(&l, &h, s->y, s->n, c->log_y);
        if (s->low && s->high) {
            widen(&bl, &bh, s->low, s->n, c->log_y);
            widen(&bl, &bh, s->high, s->n, c->log_y);
        }
    }
    for (int i = 0; i < c->n_marks; i++)
        widen(&l, &h, &c->marks[i].value, 1, c->log_y);
    /* An interval of two seeds may be huge: a band may widen the picture, but not flatten the lines. */
    if (bl < l)
        l = c->log_y ? fmax(bl, l / 3) : fmax(bl, l - 0.5 * (h - l));
    if (bh > h)
        h = c->log_y ? fmin(bh, h * 3) : fmin(bh, h + 0.5 * (h - l));
    if (c->y_low < c->y_high) {
        l = fmin(l, c->y_low);
        h = fmax(h, c->y_high);
    }
    *low = l;
    *high = h;
}

static double line_end(const struct chart_series *s)
{
    for (int64_t i = s->n; i-- > 0;)
        if (isfinite(s->y[i]))
            return s->y[i];
    return NAN;
}

static double line_labels_px(const struct chart *c)
{
    double px = 0;
    for (int i = 0; i < c->n_series; i++)
        px = fmax(px, script_name_px(c->series[i].label));
    return px > 0 ? px + 12 : 14;
}

/* Names at the ends of the lines, pushed apart. */
static void put_line_labels(struct script *s, const struct chart *c, const struct axis *y,
                            const struct box *b)
{
    double at[CHART_MAX_SERIES], height = b->bottom - b->top;
    for (int i = 0; i < c->n_series; i++) {
        const char *name = c->series[i].label;
        double v = line_end(&c->series[i]);
        bool shown = name && *name && isfinite(v) && !(c->log_y && v <= 0);
        at[i] = shown ? fmin(fmax(axis_place(y, v), 0), 1) : NAN;
    }
    axis_spread(at, c->n_series, (CHART_FONT_PX + 1.0) / height, 0, 1);
    for (int i = 0; i < c->n_series; i++)
        if (!isnan(at[i]))
            script_label(s, c->series[i].label, b->right + 7, b->bottom - at[i] * height, "left",
                         CHART_COLORS[c->series[i].color]);
}

/* Dashed lines across, each named above its left end: the side that falling curves leave free. */
static void put_line_marks(struct script *s, const struct chart *c, const struct axis *y,
                           const struct box *b)
{
    double at[CHART_MAX_ROWS], height = b->bottom - b->top;
    for (int i = 0; i < c->n_marks; i++) {
        double v = c->marks[i].value;
        bool shown = isfinite(v) && !(c->log_y && v <= 0);
        at[i] = shown ? axis_place(y, v) + 9 / height : NAN;
        if (shown)
            script_put(
                s,
                "set arrow from graph 0, first %.9g to graph 1, first %.9g nohead dt 2 lw 1.2 "
                "lc rgb '%s' back\n",
                v, v, CHART_MUTED_COLOR);
    }
    axis_spread(at, c->n_marks, (CHART_FONT_PX + 1.0) / height, 0, 1);
    for (int i = 0; i < c->n_marks; i++)
        if (!isnan(at[i]) && c->marks[i].label)
            script_label(s, c->marks[i].label, b->left + 6, b->bottom - at[i] * height, "left",
                         CHART_MUTED_COLOR);
}

static void put_line(struct script *s, const struct chart_series *l, int panel, int i, bool first)
{
    const char *width = l->faint || l->color == CHART_GREY ? "0.9" : "1.8";
    script_put(s, "%s$line%d_%d using 1:2 with %s lw %s dt %s lc rgb '%s%s'%s title ",
               first ? "" : ", \\\n  ", panel, i, l->points ? "linespoints" : "lines", width,
               l->dashed ? "(9,4)" : "1", l->faint && l->color != CHART_GREY ? "#A0" : "#",
               CHART_COLORS[l->color] + 1, l->points ? " pt 7 ps 0.5" : "");
    put_name(s, l->label ? l->label : "");
}

/* Bands lie under every line, grey lines under coloured ones. */
static void put_lines_plot(struct script *s, const struct chart *c, int panel)
{
    int n = 0, n_bands = 0;
    for (int i = 0; i < c->n_series; i++)
        n_bands += c->series[i].low && c->series[i].high;
    script_put(s, "plot ");
    for (int i = 0; i < c->n_series; i++)
        if (c->series[i].low && c->series[i].high)
            script_put(
                s,
                "%s$band%d_%d using 1:2:3 with filledcurves fs transparent solid %s noborder "
                "lc rgb '%s' notitle",
                n++ ? ", \\\n  " : "", panel, i, n_bands > 4 ? "0.09" : "0.15",
                CHART_COLORS[c->series[i].color]);
    for (int grey = 1; grey >= 0; grey--)
        for (int i = 0; i < c->n_series; i++)
            if ((c->series[i].color == CHART_GREY) == grey)
                put_line(s, &c->series[i], panel, i, n++ == 0);
    if (!n)
        script_put(s, "NaN notitle");
    script_put(s, "\n");
}

static void put_lines(struct script *s, const struct chart *c, int panel, const struct box *cell)
{
    double xl = INFINITY, xh = -INFINITY, yl, yh;
    struct axis x, y;
    for (int i = 0; i < c->n_series; i++)
        widen(&xl, &xh, c->series[i].x, c->series[i].n, c->log_x);
    line_range(&yl, &yh, c);
    struct box b = {0, cell->right - line_labels_px(c), cell->top + (c->title ? 22 : 8),
                    cell->bottom - (c->x_title ? 50 : 26)};
    axis_fit(&y, yl, yh, (int)fmax(2, (b.bottom - b.top) / 45), c->log_y);
    b.left = cell->left + ticks_px(&y) + (c->y_title ? 34 : 16);
    axis_fit(&x, xl, xh, (int)fmax(2, (b.right - b.left) / 90), c->log_x);
    if (xl < xh) { /* the lines end where the labels begin */
        x.low = xl;
        x.high = xh;
    }
    script_frame(s, c, &b);
    if (c->y_title)
        script_title(s, c->y_title, cell->left + 10, (b.top + b.bottom) / 2, "center rotate by 90",
                     CHART_MUTED_COLOR);
    put_line_labels(s, c, &y, &b);
    put_line_marks(s, c, &y, &b);
    script_put(s, "set border 1 lw 0.8 lc rgb '%s'\n", CHART_COLORS[CHART_GREY]);
    put_ticks(s, 'x', &x);
    put_ticks(s, 'y', &y);
    script_put(s, "set grid ytics lt 1 lw 0.8 lc rgb '%s' back\n", CHART_GRID_COLOR);
    script_put(s, "%s%sset xrange [%.9g:%.9g]\nset yrange [%.9g:%.9g]\n",
               c->log_x ? "set logscale x\n" : "", c->log_y ? "set logscale y\n" : "", x.low,
               x.high, y.low, y.high);
    put_lines_plot(s, c, panel);
}

/* ---- intervals ---- */

static void interval_range(double *low, double *high, const struct chart *c)
{
    double l = INFINITY, h = -INFINITY, il = INFINITY, ih = -INFINITY;
    for (int i = 0; i < c->n_rows; i++) {
        const struct chart_row *r = &c->rows[i];
        widen(&l, &h, &r->mean, 1, c->log_x);
        widen(&l, &h, r->dots, r->n_dots, c->log_x);
        widen(&il, &ih, &r->low, 1, c->log_x);
        widen(&il, &ih, &r->high, 1, c->log_x);
    }
    for (int i = 0; i < c->n_marks; i++)
        widen(&l, &h, &c->marks[i].value, 1, c->log_x);
    double room = h > l ? 2 * (h - l) : INFINITY;
    *low = il < l ? fmax(il, c->log_x ? l / 10 : l - room) : l;
    *high = ih > h ? fmin(ih, c->log_x ? h * 10 : h + room) : h;
}

static void put_intervals(struct script *s, const struct chart *c, int panel,
                          const struct box *cell)
{
    double low, high, names = 0, notes = 0;
    struct axis x;
    for (int i = 0; i < c->n_rows; i++) {
        names = fmax(names, script_name_px(c->rows[i].label));
        notes = fmax(notes, script_name_px(c->rows[i].note));
    }
    struct box b = {cell->left + names + 18, cell->right - (notes > 0 ? notes + 14 : 18),
                    cell->top + (c->title ? 22 : 8), cell->bottom - (c->x_title ? 50 : 26)};
    interval_range(&low, &high, c);
    axis_fit(&x, low, high, (int)fmax(2, (b.right - b.left) / 80), c->log_x);
    if (low < high && !c->log_x) { /* no dot on the edge, and no empty quarter to reach a tick */
        x.low = low - 0.05 * (high - low);
        x.high = high + 0.05 * (high - low);
    }
    script_frame(s, c, &b);
    double step = (b.bottom - b.top) / fmax(1, c->n_rows);
    for (int i = 0; i < c->n_rows; i++) {
        double y = b.top + (i + 0.5) * step;
        script_label(s, c->rows[i].label, b.left - 10, y, "right", CHART_INK_COLOR);
        if (c->rows[i].note)
            script_label(s, c->rows[i].note, b.right + 10, y, "left", CHART_MUTED_COLOR);
    }
    script_put(s, "set border 1 lw 0.8 lc rgb '%s'\n", CHART_COLORS[CHART_GREY]);
    put_ticks(s, 'x', &x);
    script_put(s, "set grid xtics lt 1 lw 0.8 lc rgb '%s' back\n", CHART_GRID_COLOR);
    for (int i = 0; i < c->n_marks; i++)
        if (isfinite(c->marks[i].value))
            script_put(
                s,
                "set arrow from first %.9g, graph 0 to first %.9g, graph 1 nohead dt 2 lw 1.2 "
                "lc rgb '%s' back\n",
                c->marks[i].value, c->marks[i].value, CHART_MUTED_COLOR);
    script_put(s, "%sset xrange [%.9g:%.9g]\nset yrange [%.9g:0.5]\n",
               c->log_x ? "set logscale x\n" : "", x.low, x.high, 0.5 - fmax(1, c->n_rows));
    bool any = false, dots = false;
    for (int i = 0; i < c->n_rows; i++) {
        any = any || isfinite(c->rows[i].mean);
        for (int64_t k = 0; k < c->rows[i].n_dots; k++)
            dots = dots || isfinite(c->rows[i].dots[k]);
    }
    script_put(s, "plot ");
    if (dots)
        script_put(
            s,
            "$dots%d using 1:2:3 with points pt 6 ps 0.55 lw 0.9 lc rgb variable notitle, \\\n  ",
            panel);
    if (any)
        script_put(
            s, "$rows%d using 1:2:3:4:5 with xerrorbars pt 7 ps 0.9 lw 2 lc rgb variable notitle\n",
            panel);
    else
        script_put(s, "NaN notitle\n");
}

/* ---- the figure ---- */

static double panel_height(const struct chart *c, int n_columns)
{
    double around = 8 + (c->title ? 16 : 0) + (c->x_title ? 50 : 26);
    if (c->kind == CHART_INTERVALS)
        return around + 26.0 * (c->n_rows < 1 ? 1 : c->n_rows);
    if (c->kind == CHART_HEAT) {
        double row = c->n_cell_rows > 40 ? 7 : n_columns > 2 ? 12 : 22;
        return around + fmax(row * c->n_cell_rows, c->value_title ? 110 : 40);
    }
    return around + (n_columns == 1 ? 320 : n_columns == 2 ? 190 : 150);
}

static int check_figure(const struct figure *f, struct err *err)
{
    if (f->n_charts < 1 || f->n_charts > CHART_MAX_PANELS)
        return err_set(err, MOE2_ELIMIT, "figure \"%s\" has %d panels, wanted 1 to %d", f->title,
                       f->n_charts, CHART_MAX_PANELS);
    for (int i = 0; i < f->n_charts; i++) {
        const struct chart *c = &f->charts[i];
        int64_t n_cells = (int64_t)c->n_cell_rows * c->n_cell_columns;
        if (c->kind == CHART_LINES &&
            (c->n_series > CHART_MAX_SERIES || c->n_marks > CHART_MAX_ROWS))
            return err_set(err, MOE2_ELIMIT, "figure \"%s\" has %d lines, wanted at most %d",
                           f->title, c->n_series, CHART_MAX_SERIES);
        if (c->kind == CHART_INTERVALS && c->n_rows > CHART_MAX_ROWS)
            return err_set(err, MOE2_ELIMIT, "figure \"%s\" has %d rows, wanted at most %d",
                           f->title, c->n_rows, CHART_MAX_ROWS);
        if (c->kind == CHART_HEAT && (n_cells < 1 || n_cells > CHART_MAX_CELLS))
            return err_set(err, MOE2_ELIMIT, "figure \"%s\" has %lld cells, wanted 1 to %d",
                           f->title, (long long)n_cells, CHART_MAX_CELLS);
        for (int k = 0; c->kind == CHART_LINES && k < c->n_series; k++)
            if (c->series[k].n > CHART_MAX_POINTS)
                return err_set(err, MOE2_ELIMIT,
                               "figure \"%s\" has a line of %lld points, wanted at most %d",
                               f->title, (long long)c->series[k].n, CHART_MAX_POINTS);
    }
    return 0;
}

static void put_terminals(struct script *s, const char *name)
{
    script_put(s, "do for [t = 0:1] {\nif (t == 0) {\n");
    script_put(s,
               "set terminal svg noenhanced size %d,%d font 'sans-serif,%d' linewidth 1 "
               "background rgb 'white'\n",
               (int)s->width, (int)s->height, CHART_FONT_PX);
    script_put(s, "set output ");
    put_name(s, name);
    script_put(s, ".'.svg'.suffix\n} else {\nif (strstrt(GPVAL_TERMINALS, 'pngcairo')) {\n");
    script_put(s,
               "set terminal pngcairo noenhanced size %d,%d font 'sans-serif,%d' fontscale 1.5 "
               "linewidth 2 pointscale 2 background rgb 'white'\n} else {\n",
               2 * (int)s->width, 2 * (int)s->height, CHART_FONT_PX);
    script_put(
        s,
        "set terminal png noenhanced size %d,%d linewidth 2 giant background rgb 'white'\n}\n"
        "set output ",
        2 * (int)s->width, 2 * (int)s->height);
    put_name(s, name);
    script_put(s, ".'.png'.suffix\n}\n");
}

static bool row_has_x_title(const struct figure *f, int row, int n_columns)
{
    for (int i = row * n_columns; i < (row + 1) * n_columns && i < f->n_charts; i++)
        if (f->charts[i].x_title)
            return true;
    return false;
}

int figure_script(struct buf *out, const struct figure *f, const char *name, struct err *err)
{
    int rc = check_figure(f, err);
    if (rc)
        return rc;
    int n_columns = f->n_columns > 0 ? f->n_columns : 1;
    int n_rows = (f->n_charts + n_columns - 1) / n_columns;
    double top = f->title ? TITLE_PX + 22 : 6, heights[CHART_MAX_PANELS] = {0}, sum = 0;
    for (int i = 0; i < f->n_charts; i++)
        heights[i / n_columns] =
            fmax(heights[i / n_columns], panel_height(&f->charts[i], n_columns));
    for (int r = 0; r < n_rows; r++)
        sum += heights[r] + (r ? 10 : 0);
    double stretch = f->height_px > top ? (f->height_px - top) / sum : 1;
    struct script s = {
        out, err, 0, f->width_px > 0 ? f->width_px : WIDTH_PX, ceil(top + sum * stretch + 4), 0};
    script_put(&s,
               "# Drawn by moe2; again with: gnuplot -d %s.gp\n"
               "if (!exists('suffix')) suffix = ''\nset encoding utf8\n",
               name);
    for (int i = 0; i < f->n_charts; i++)
        switch (f->charts[i].kind) {
        case CHART_LINES:
            put_line_data(&s, &f->charts[i], i);
            break;
        case CHART_INTERVALS:
            put_row_data(&s, &f->charts[i], i);
            break;
        case CHART_HEAT:
            script_heat_data(&s, &f->charts[i], i);
            break;
        }
    put_terminals(&s, name);
    script_put(&s, "set multiplot\nset bars 0.4\n");
    double y = top, width = s.width / n_columns;
    for (int i = 0; i < f->n_charts; i++) {
        int r = i / n_columns, col = i % n_columns;
        if (i && col == 0)
            y += (heights[r - 1] + 10) * stretch;
        struct box cell = {width * col + 8, width * (col + 1) - 8, y, y + heights[r] * stretch};
        if (!f->charts[i].x_title && row_has_x_title(f, r, n_columns))
            cell.bottom -= 24; /* as deep as its neighbours, whose axes have titles */
        switch (f->charts[i].kind) {
        case CHART_LINES:
            put_lines(&s, &f->charts[i], i, &cell);
            break;
        case CHART_INTERVALS:
            put_intervals(&s, &f->charts[i], i, &cell);
            break;
        case CHART_HEAT:
            script_heat(&s, &f->charts[i], i, &cell);
            break;
        }
    }
    script_put(&s,
               "unset label\nunset arrow\nunset object\nunset border\nunset xtics\nunset ytics\n"
               "unset grid\nunset logscale\nset xrange [0:1]\nset yrange [0:1]\n");
    if (f->title) {
        script_title(&s, f->title, 14, 20, "left font 'sans-serif,16'", CHART_INK_COLOR);
        script_put(&s, "plot NaN notitle\n");
    }
    script_put(&s, "unset multiplot\nset output\n}\n");
    return s.rc;
}
