/* The page of a fleet's study: see page_fleet.h. */
#include "report/page_fleet.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/file.h"

enum { MAX_LINES = 40 };

static void put_figure(struct html *h, const char *figures, const struct fleet_section *s)
{
    char *file = NULL;
    if (asprintf(&file, "%s/%s.svg", figures, s->figure) < 0)
        return;
    if (file_exists(file))
        html_figure(h, file, s->figure_caption);
    free(file);
}

int page_fleet_write(const char *path, const char *figures, const char *title, const char *lead,
                     const struct fleet_section *sections, int n, struct err *err)
{
    struct buf page = {0};
    struct html h;
    html_begin(&h, &page, err);
    html_lead(&h, "%s", lead);
    for (int i = 0; i < n; i++) {
        const struct fleet_section *s = &sections[i];
        if (s->title)
            html_section(&h, s->title);
        if (s->text)
            html_paragraph(&h, "%s", s->text);
        if (s->figure)
            put_figure(&h, figures, s);
        if (s->table)
            html_table(&h, s->table, s->caption);
    }
    int rc = html_end(&h, title);
    if (!rc)
        rc = file_write(path, page.bytes, page.n, err);
    buf_release(&page);
    return rc;
}

bool figure_frontier(struct figure_set *s, const struct frontier_line *lines, int n,
                     const char *title, const char *x_title, const char *name)
{
    struct chart_series series[MAX_LINES];
    int n_series = 0;
    for (int i = 0; i < n && n_series < MAX_LINES; i++)
        if (lines[i].n > 0)
            series[n_series++] = (struct chart_series){.label = lines[i].label,
                                                       .x = lines[i].cost,
                                                       .y = lines[i].accuracy,
                                                       .low = lines[i].low,
                                                       .high = lines[i].high,
                                                       .n = lines[i].n,
                                                       .color = (enum chart_color)lines[i].color,
                                                       .dashed = lines[i].dashed,
                                                       .points = true};
    if (n_series == 0)
        return false;
    struct chart c = {.kind = CHART_LINES,
                      .x_title = x_title,
                      .y_title = "right on test (%)",
                      .log_x = true,
                      .series = series,
                      .n_series = n_series};
    return figure_set_draw(s, &(struct figure){.title = title, .charts = &c, .n_charts = 1}, name);
}

bool figure_accuracies(struct figure_set *s, const struct chart_row *rows, int n,
                       const struct chart_mark *marks, int n_marks, const char *title,
                       const char *name)
{
    struct chart c = {.kind = CHART_INTERVALS,
                      .x_title = "right on test (%), 95 % intervals",
                      .rows = rows,
                      .n_rows = n,
                      .marks = marks,
                      .n_marks = n_marks};
    return n > 0 &&
           figure_set_draw(s, &(struct figure){.title = title, .charts = &c, .n_charts = 1}, name);
}
