/* Accuracy of every expert on every subject: see expert_matrix.h. */
#include "pipeline/expert_matrix.h"

#include <math.h>
#include <string.h>

#include "base/stats.h"

static int index_of(int *out, struct name_table *names, const char *name, const char *what,
                    struct err *err)
{
    int64_t at = 0;
    int rc = name_table_add(names, &at, NULL, name, strlen(name), err);
    if (!rc && at >= EXPERT_MATRIX_MAX)
        rc = err_set(err, MOE2_ELIMIT, "there are more than %d %s", EXPERT_MATRIX_MAX, what);
    *out = (int)at;
    return rc;
}

static int count(struct expert_matrix *m, const struct outcomes *o, struct err *err)
{
    int experts[EXPERT_MATRIX_MAX], subjects[EXPERT_MATRIX_MAX], rc = 0;
    int64_t n[EXPERT_MATRIX_MAX * EXPERT_MATRIX_MAX] = {0};
    int64_t n_right[EXPERT_MATRIX_MAX * EXPERT_MATRIX_MAX] = {0};
    if (!o->category)
        return err_set(err, MOE2_EFORMAT, "%s has no column category", o->path);
    if (o->n_experts > EXPERT_MATRIX_MAX || o->categories.n > EXPERT_MATRIX_MAX)
        return err_set(err, MOE2_ELIMIT, "%s has %d experts and %lld subjects, wanted at most %d",
                       o->path, o->n_experts, (long long)o->categories.n, EXPERT_MATRIX_MAX);
    for (int e = 0; e < o->n_experts && !rc; e++)
        rc = index_of(&experts[e], &m->experts, name_table_text(&o->experts, e), "experts", err);
    for (int c = 0; c < o->categories.n && !rc; c++)
        rc = index_of(&subjects[c], &m->subjects, name_table_text(&o->categories, c), "subjects",
                      err);
    if (!rc)
        outcomes_tally(n, n_right, o);
    for (int e = 0; e < o->n_experts && !rc; e++)
        for (int64_t c = 0; c < o->categories.n; c++) {
            m->n[experts[e]][subjects[c]] += n[e * o->categories.n + c];
            m->n_right[experts[e]][subjects[c]] += n_right[e * o->categories.n + c];
        }
    return rc;
}

int expert_matrix_add(struct expert_matrix *m, const char *outcomes, const struct log_sink *sink,
                      struct err *err)
{
    struct outcomes o = {0};
    int rc = outcomes_read(&o, outcomes, sink, err);
    if (!rc)
        rc = count(m, &o, err);
    outcomes_release(&o);
    return rc;
}

void expert_matrix_release(struct expert_matrix *m)
{
    name_table_release(&m->experts);
    name_table_release(&m->subjects);
    *m = (struct expert_matrix){0};
}

static double share(const struct expert_matrix *m, int64_t e, int64_t c)
{
    return m->n[e][c] ? 100.0 * (double)m->n_right[e][c] / (double)m->n[e][c] : NAN;
}

static void put_row(struct table *t, const struct expert_matrix *m, int64_t e)
{
    int64_t n = 0, n_right = 0;
    table_cell(t, "%s", name_table_text(&m->experts, e));
    for (int64_t c = 0; c < m->subjects.n; c++) {
        n += m->n[e][c];
        n_right += m->n_right[e][c];
        if (m->n[e][c])
            table_cell(t, "%.0f", share(m, e, c));
        else
            table_cell(t, "–");
    }
    struct stats_share s = stats_share95(n_right, n);
    table_cell(t, "%.1f (%.1f–%.1f)", 100 * s.value, 100 * s.low, 100 * s.high);
    table_cell(t, "%lld", (long long)n);
}

int expert_matrix_table(struct table **out, const struct expert_matrix *m, struct err *err)
{
    struct table_column columns[EXPERT_MATRIX_MAX + 3] = {{"expert", TABLE_LEFT}};
    int n = 1;
    for (int64_t c = 0; c < m->subjects.n && n < TABLE_MAX_COLUMNS - 2; c++)
        columns[n++] = (struct table_column){name_table_text(&m->subjects, c), TABLE_RIGHT};
    columns[n++] = (struct table_column){"all (95 %)", TABLE_RIGHT};
    columns[n++] = (struct table_column){"questions", TABLE_RIGHT};
    int rc = table_new(out, columns, n, err);
    for (int64_t e = 0; e < m->experts.n && !rc; e++)
        put_row(*out, m, e);
    return rc;
}

bool expert_matrix_figure(const struct expert_matrix *m, struct figure_set *s, const char *name)
{
    double cells[EXPERT_MATRIX_MAX * EXPERT_MATRIX_MAX];
    const char *rows[EXPERT_MATRIX_MAX], *columns[EXPERT_MATRIX_MAX];
    int n_rows = (int)m->experts.n, n_columns = (int)m->subjects.n;
    for (int e = 0; e < n_rows; e++)
        rows[e] = name_table_text(&m->experts, e);
    for (int c = 0; c < n_columns; c++)
        columns[c] = name_table_text(&m->subjects, c);
    for (int e = 0; e < n_rows; e++)
        for (int c = 0; c < n_columns; c++)
            cells[e * n_columns + c] = share(m, e, c);
    struct chart chart = {.kind = CHART_HEAT,
                          .cells = cells,
                          .n_cell_rows = n_rows,
                          .n_cell_columns = n_columns,
                          .row_names = rows,
                          .column_names = columns,
                          .value_title = "right (%)",
                          .low = 0,
                          .middle = NAN,
                          .high = 100};
    struct figure f = {.title = "Who is good at what: answers right by expert and subject",
                       .width_px =
                           n_columns > 8 ? 120 + 100 * n_columns : 960, /* every name has room */
                       .charts = &chart,
                       .n_charts = 1};
    return n_rows && n_columns && figure_set_draw(s, &f, name);
}
