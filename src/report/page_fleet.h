/* The page of a fleet's study: sections of text, tables and figures that the study has made, in one HTML file without network.
 *
 *     struct fleet_section s[] = {{.title = "Without budgets", .text = "…", .table = t, .caption = "…", .figure = "accuracy_small"}};
 *     page_fleet_write("results/report.html", "results/figures", "Who answers best", lead, s, n, err);
 */
#ifndef MOE2_REPORT_PAGE_FLEET_H
#define MOE2_REPORT_PAGE_FLEET_H

#include "report/figures.h"
#include "report/html.h"

struct fleet_section {
    const char *title; /* NULL: goes on in the section before */
    const char *text;  /* a paragraph; NULL: none */
    const struct table *table;
    const char *caption; /* of the table */
    const char *figure;  /* its name in the folder of figures; NULL: none */
    const char *figure_caption;
};

/* Writes the page, atomically. All is borrowed. A figure that was not drawn is left out. */
int page_fleet_write(const char *path, const char *figures, const char *title, const char *lead,
                     const struct fleet_section *sections, int n, struct err *err);

/* One line of a frontier: a fleet, accuracies on test at what it costs; all [n]. */
struct frontier_line {
    const char *label;
    const double *cost, *accuracy, *low, *high;
    int64_t n;
    bool dashed;
    int color; /* of enum chart_color */
};

/* NAME.svg: accuracy in per cent against a cost, logarithmic. Returns whether it was drawn. */
bool figure_frontier(struct figure_set *s, const struct frontier_line *lines, int n,
                     const char *title, const char *x_title, const char *name);

/* NAME.svg: accuracies with their 95 % intervals, from top to bottom; marks: vertical lines. */
bool figure_accuracies(struct figure_set *s, const struct chart_row *rows, int n,
                       const struct chart_mark *marks, int n_marks, const char *title,
                       const char *name);

#endif
