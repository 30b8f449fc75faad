/* What the writers of gnuplot scripts share (chart_script.c, chart_heat.c): the script being written, places in pixels, the look. For
 * this room only. */
#ifndef MOE2_REPORT_CHART_SCRIPT_H
#define MOE2_REPORT_CHART_SCRIPT_H

#include "report/chart.h"

/* The colours of a figure that a page may replace by its own (svg.c), and of enum chart_color. */
#define CHART_INK_COLOR "#333333"
#define CHART_MUTED_COLOR "#666666"
#define CHART_GRID_COLOR "#E2E4E7"
#define CHART_GREY_COLOR "#9AA0A6"
extern const char *const CHART_COLORS[CHART_N_COLORS + 1];

/* Sizes in pixels of the SVG; the PNG has twice as many. A character of the font is CHART_CHAR_PX wide at most, on average. */
enum { CHART_FONT_PX = 13, CHART_LINE_PX = 17 };
#define CHART_CHAR_PX 7.3

struct box {
    double left, right, top, bottom; /* y from the top */
};

struct script {
    struct buf *out;
    struct err *err;
    int rc;               /* the first error; after it nothing is written */
    double width, height; /* of the figure */
    int n_labels;
};

void script_put(struct script *s, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* A pixel as a screen coordinate of gnuplot. */
double script_x(const struct script *s, double px);
double script_y(const struct script *s, double px);

/* A text at a place; how is "left", "right", "center" and what else gnuplot takes there. A label is cut like a name. */
void script_label(struct script *s, const char *name, double x, double y, const char *how,
                  const char *color);
void script_title(struct script *s, const char *title, double x, double y, const char *how,
                  const char *color);
double script_name_px(const char *name);

/* A fresh panel whose plot fills b, with the titles above it and below its x axis. */
void script_frame(struct script *s, const struct chart *c, const struct box *b);

void script_heat_data(struct script *s, const struct chart *c, int panel);
void script_heat(struct script *s, const struct chart *c, int panel, const struct box *cell);

#endif
