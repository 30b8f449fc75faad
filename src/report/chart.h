/* Charts: what a figure shows, as plain numbers, drawn by gnuplot as an SVG and a PNG that look the same everywhere.
 *
 *     struct chart_series s[] = {{.label = "rd_esi", .x = tokens, .y = loss, .n = n, .color = CHART_VERMILLION}};
 *     struct chart c = {.kind = CHART_LINES, .x_title = "training tokens", .y_title = "loss (nats a token)",
 *                       .series = s, .n_series = 1};
 *     struct figure f = {.title = "Loss", .charts = &c, .n_charts = 1};
 *     figure_draw(&f, "gnuplot", "results/a/figures", "loss", err);       loss.gp, loss.svg, loss.png
 *
 * One look: ten colours that people with any colour vision tell apart (Okabe & Ito's, some darkened for
 * white paper, and three more), thin axes, a light grid, each line named at its end instead of in a legend. A figure is a grid of
 * panels; their places are computed here, so that nothing depends on a terminal's own guess. Names may come from strangers:
 * they are quoted for gnuplot, cleaned and cut.
 */
#ifndef MOE2_REPORT_CHART_H
#define MOE2_REPORT_CHART_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"

enum chart_color {
    CHART_INK,
    CHART_BLUE,
    CHART_VERMILLION,
    CHART_GREEN,
    CHART_ORANGE,
    CHART_SKY,
    CHART_PINK,
    CHART_VIOLET,
    CHART_OLIVE,
    CHART_TAUPE,
    CHART_N_COLORS,
    CHART_GREY = CHART_N_COLORS, /* for what stays in the background */
};

enum {
    CHART_MAX_SERIES = 300, /* lines of a panel */
    CHART_MAX_PANELS = 36,
    CHART_MAX_ROWS = 64,     /* rows of an interval chart */
    CHART_MAX_CELLS = 16384, /* cells of a heat map */
    CHART_MAX_NAME = 32,     /* characters shown of the name of a line, a row or a column */
    CHART_MAX_TITLE = 120,   /* and of a title */
    CHART_MAX_POINTS = 4000, /* points of a line; longer ones are for chart_thin */
};

enum chart_kind {
    CHART_LINES,     /* series over x, with bands */
    CHART_INTERVALS, /* rows with a mean, an interval and single values */
    CHART_HEAT,      /* cells by rows and columns */
};

/* One line. All pointers are borrowed until figure_draw returns. A NaN in y breaks the line. */
struct chart_series {
    const char *label; /* written at the line's end; NULL or "": none */
    const double *x, *y;
    const double *low, *high; /* a band around it; NULL: none */
    int64_t n;
    enum chart_color color;
    bool dashed;
    bool faint;  /* thin and pale: raw values behind a smoothed line */
    bool points; /* a dot at each value too */
};

/* A horizontal line at a value of a line chart, a vertical one of an interval chart. */
struct chart_mark {
    double value;
    const char *label; /* NULL: none */
};

/* One row of an interval chart. A NaN mean leaves the row empty. */
struct chart_row {
    const char *label;
    const char *note; /* at the right edge; NULL: none */
    double mean, low, high;
    const double *dots; /* single values, drawn small */
    int64_t n_dots;
    enum chart_color color;
};

/* A panel. Fields of other kinds than its own are not read. */
struct chart {
    enum chart_kind kind;
    const char *title;             /* above the panel; NULL: none */
    const char *x_title, *y_title; /* with the unit; NULL: none */
    bool log_x, log_y;             /* values ≤ 0 are left out */
    /* The range that must be shown, for panels that are to be compared; both 0: what the values need. */
    double y_low, y_high;

    const struct chart_series *series; /* CHART_LINES */
    int n_series;
    const struct chart_row *rows; /* CHART_INTERVALS, from top to bottom */
    int n_rows;
    const struct chart_mark *marks;
    int n_marks;

    /* CHART_HEAT: cells [n_cell_rows][n_cell_columns]; a NaN cell stays empty. Colours go from `low` over `middle` to `high`;
     * low == high: from the cells. `middle` is where the colour is neutral; NaN: one hue from low to high. */
    const double *cells;
    int n_cell_rows, n_cell_columns;
    const char *const *row_names; /* NULL: 0, 1, 2 … */
    const char *const *column_names;
    const char *value_title;
    double low, middle, high;
};

struct figure {
    const char *title;
    const struct chart *charts; /* n_charts panels, row by row */
    int n_charts;
    int n_columns;           /* 0: 1 */
    int width_px, height_px; /* 0: 760, and what the kind needs */
};

/* Draws a figure as dir/name.svg and dir/name.png, and keeps the script as dir/name.gp. gnuplot is the program's name or path. dir is
 * made when it is not there. Errors: MOE2_EIO when gnuplot can't be started or fails (its own words stand in the message; no
 * image is left), or a file can't be written; MOE2_ELIMIT above a limit. Safe from several threads on different names. */
int figure_draw(const struct figure *f, const char *gnuplot, const char *dir, const char *name,
                struct err *err);

/* Appends the script that figure_draw runs. */
int figure_script(struct buf *out, const struct figure *f, const char *name, struct err *err);

/* Whether a program of that name or path runs and says that it is gnuplot. */
bool gnuplot_found(const char *gnuplot);

/* Appends text as a gnuplot string in single quotes, inside which gnuplot replaces nothing: control characters become spaces,
 * broken UTF-8 becomes U+FFFD, more than max_chars characters end in "…". */
int gnuplot_quote(struct buf *out, const char *text, int max_chars, struct err *err);

/* Replaces runs of values by their means until at most n_wanted are left, in place; returns how many. x and y have n values. */
int64_t chart_thin(double *x, double *y, int64_t n, int64_t n_wanted);

/* How wide a name is in columns of a terminal, at most CHART_MAX_NAME characters of it. */
int chart_name_columns(const char *name);

#endif
