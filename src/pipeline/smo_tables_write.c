/* The three tables as Markdown, CSV and JSON: see smo_tables.h. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "io/csv_write.h"
#include "io/json_util.h"
#include "pipeline/smo_tables.h"

static const char *const titles[SMO_N_TABLES] = {"Table II: accuracy under latency limits",
                                                 "Table III: accuracy under energy limits",
                                                 "Table IV: accuracy under both"};

/* ---- for people ---- */

static void limit_cell(struct table *t, double limit)
{
    if (isfinite(limit))
        table_cell(t, "%g", limit);
    else
        table_cell(t, "none");
}

static void row_cells(struct table *t, const struct smo_row *row)
{
    const struct smo_trial *b = &row->test, *s = &row->single_test;
    limit_cell(t, row->latency_limit_s);
    limit_cell(t, row->energy_limit_j);
    if (row->n_feasible >= 0)
        table_cell(t, "%lld", (long long)row->n_feasible);
    else
        table_cell(t, "-");
    if (!row->train.there) {
        table_cell(t, "none fits");
        table_end_row(t);
        return;
    }
    struct stats_share share = stats_share95(b->n_right, b->n);
    table_cell(t, "%.1f", 100 * b->accuracy);
    table_cell(t, "%.1f to %.1f", 100 * share.low, 100 * share.high);
    table_cell(t, "%.1f", 100 * row->train.accuracy);
    if (s->there)
        table_cell(t, "%.1f", 100 * s->accuracy);
    else
        table_cell(t, "-");
    table_cell(t, "%.1f", 100 * (double)b->n_oracle / (double)b->n);
    table_cell(t, "%.2f", row->train.latency_s);
    table_cell(t, "%.2f", b->latency_s);
    table_cell(t, "%.2f", row->train.energy_j);
    table_cell(t, "%.2f", b->energy_j);
    table_cell(t, "%s", row->optimal ? "yes" : "no");
    table_cell(t, "%s", row->train.subset);
}

int smo_table_new(struct table **out, const struct smo_report *r, enum smo_table table,
                  struct err *err)
{
    static const struct table_column columns[] = {{"latency <= s", TABLE_RIGHT},
                                                  {"energy <= J", TABLE_RIGHT},
                                                  {"subsets that fit", TABLE_RIGHT},
                                                  {"test %", TABLE_RIGHT},
                                                  {"95 %", TABLE_LEFT},
                                                  {"train %", TABLE_RIGHT},
                                                  {"best single %", TABLE_RIGHT},
                                                  {"some member %", TABLE_RIGHT},
                                                  {"train s", TABLE_RIGHT},
                                                  {"test s", TABLE_RIGHT},
                                                  {"train J", TABLE_RIGHT},
                                                  {"test J", TABLE_RIGHT},
                                                  {"proven", TABLE_LEFT},
                                                  {"in service", TABLE_LEFT}};
    int rc = table_new(out, columns, (int)(sizeof columns / sizeof *columns), err);
    for (int64_t i = 0; i < r->n_rows[table] && !rc; i++)
        row_cells(*out, &r->rows[table][i]);
    return rc;
}

static int put_head(struct buf *out, const struct smo_report *r, const struct smo_options *o,
                    enum smo_table table, struct err *err)
{
    int rc = buf_printf(out, err, "# %s\n\n", titles[table]);
    if (!rc && r->note)
        rc = buf_printf(out, err, "**%s.**\n\n", r->note);
    return rc ? rc
              : buf_printf(
                    out, err,
                    "Subsets are chosen on gating_train with out-of-fold gate scores; "
                    "\"test\", \"best single\" "
                    "and \"some member\" are\naccuracies on gating_test (%lld questions), "
                    "which nothing was fitted "
                    "to or chosen on. Cost: %s. Answers: %s of\nk = %lld, %lld tokens each%s. "
                    "All %lld experts "
                    "together, no limits: %.1f %% on test.\n\n",
                    (long long)r->all_test.n,
                    o->cost == SELECT_DEPLOYED ? "deployed (all in service are charged)"
                                               : "routed (those called are charged)",
                    o->combine, (long long)o->k, (long long)o->output_tokens,
                    o->test.output_tokens ? " (on test as they came)" : "", (long long)r->n_experts,
                    100 * r->all_test.accuracy);
}

int smo_counts(struct buf *out, const struct smo_report *r, struct err *err)
{
    int64_t seen[3 * SMO_MAX_LIMITS] = {0}, n_seen = 0, n_budgets = 0;
    bool counted = true;
    for (int t = 0; t < SMO_N_TABLES; t++)
        for (int64_t i = 0; i < r->n_rows[t]; i++) {
            int64_t k = 0, n = r->rows[t][i].n_feasible;
            while (k < n_seen && seen[k] != n)
                k++;
            if (k == n_seen)
                seen[n_seen++] = n;
            counted &= n >= 0;
            n_budgets++;
        }
    int rc = buf_printf(
        out, err, "%lld different subsets are chosen over the %lld budgets of the three tables",
        (long long)r->n_subsets, (long long)n_budgets);
    if (rc || n_seen == 0 || r->n_subsets >= 3 || !counted)
        return rc ? rc : buf_puts(out, ".", err);
    rc = buf_puts(
        out, ", no more, because the limits fall between few costs: the subsets that fit number",
        err);
    for (int64_t k = 0; k < n_seen && !rc; k++)
        rc = buf_printf(out, err, "%s %lld",
                        k == 0           ? ""
                        : k + 1 < n_seen ? ","
                                         : " or",
                        (long long)seen[k]);
    return rc ? rc : buf_puts(out, " in every row.", err);
}

static int make_markdown(struct buf *out, const struct smo_report *r, const struct smo_options *o,
                         enum smo_table table, struct err *err)
{
    struct table *t = NULL;
    int rc = put_head(out, r, o, table, err);
    if (!rc)
        rc = smo_counts(out, r, err);
    if (!rc)
        rc = buf_puts(out, "\n\n", err);
    if (!rc)
        rc = smo_table_new(&t, r, table, err);
    if (!rc)
        rc = table_markdown(out, t, err);
    table_free(t);
    return rc;
}

/* ---- for machines ---- */

static const char *number(char text[32], double x)
{
    return isfinite(x) ? json_real_text(text, x) : "";
}

static int put_csv_row(struct buf *out, const struct smo_row *row, struct err *err)
{
    char text[11][32];
    const struct smo_trial *b = &row->test;
    bool there = row->train.there, single = row->single_test.there;
    struct stats_share share = stats_share95(b->n_right, b->n);
    const double values[] = {row->latency_limit_s,
                             row->energy_limit_j,
                             there ? b->accuracy : NAN,
                             there ? share.low : NAN,
                             there ? share.high : NAN,
                             there ? row->train.accuracy : NAN,
                             single ? row->single_test.accuracy : NAN,
                             there ? row->train.latency_s : NAN,
                             there ? b->latency_s : NAN,
                             there ? row->train.energy_j : NAN,
                             there ? b->energy_j : NAN};
    int rc = 0;
    for (int i = 0; i < 11 && !rc; i++)
        rc = buf_printf(out, err, "%s,", number(text[i], values[i]));
    if (!rc && row->n_feasible >= 0)
        rc = buf_printf(out, err, "%lld", (long long)row->n_feasible);
    if (!rc)
        rc = buf_printf(out, err, ",%d", row->optimal);
    if (!rc)
        rc = csv_cell(out, row->train.subset, strlen(row->train.subset), false, err);
    return rc ? rc : buf_puts(out, "\n", err);
}

static int make_csv(struct buf *out, const struct smo_report *r, enum smo_table table,
                    struct err *err)
{
    int rc = buf_puts(out,
                      "latency_limit_s,energy_limit_j,test_accuracy,low95,high95,train_accuracy,"
                      "best_single_test_accuracy,train_latency_s,test_latency_s,train_energy_j,"
                      "test_energy_j,feasible_subsets,proven,subset\n",
                      err);
    for (int64_t i = 0; i < r->n_rows[table] && !rc; i++)
        rc = put_csv_row(out, &r->rows[table][i], err);
    return rc;
}

static void put_trial(struct json_writer *w, const char *key, const struct smo_trial *t)
{
    if (!t->there) {
        jw_null(w, key);
        return;
    }
    struct stats_share share = stats_share95(t->n_right, t->n);
    jw_object(w, key);
    jw_text(w, "subset", t->subset);
    jw_int(w, "questions", t->n);
    jw_int(w, "right", t->n_right);
    jw_real(w, "accuracy", t->accuracy);
    jw_real(w, "low95", share.low);
    jw_real(w, "high95", share.high);
    jw_int(w, "some_member_right", t->n_oracle);
    jw_real(w, "latency_s", t->latency_s);
    jw_real(w, "energy_j", t->energy_j);
    jw_end(w);
}

static int make_json(struct buf *out, const struct smo_report *r, const struct smo_options *o,
                     enum smo_table table, struct err *err)
{
    struct json_writer w;
    json_writer_init(&w, out, 1);
    jw_object(&w, NULL);
    jw_text(&w, "table", titles[table]);
    jw_text(&w, "note", r->note);
    jw_text(&w, "cost", o->cost == SELECT_DEPLOYED ? "deployed" : "routed");
    jw_int(&w, "k", o->k);
    jw_text(&w, "combine", o->combine);
    jw_int(&w, "output_tokens", o->output_tokens);
    put_trial(&w, "all_test", &r->all_test);
    jw_array(&w, "rows");
    for (int64_t i = 0; i < r->n_rows[table]; i++) {
        const struct smo_row *row = &r->rows[table][i];
        jw_object(&w, NULL);
        jw_real(&w, "latency_limit_s", row->latency_limit_s);
        jw_real(&w, "energy_limit_j", row->energy_limit_j);
        if (row->n_feasible >= 0)
            jw_int(&w, "feasible_subsets", row->n_feasible);
        else
            jw_null(&w, "feasible_subsets");
        jw_bool(&w, "proven", row->optimal);
        jw_real(&w, "random_single_train_accuracy", row->random);
        put_trial(&w, "train", &row->train);
        put_trial(&w, "test", &row->test);
        put_trial(&w, "best_single_test", &row->single_test);
        jw_end(&w);
    }
    jw_end(&w);
    jw_end(&w);
    int rc = json_writer_end(&w, err);
    return rc ? rc : buf_puts(out, "\n", err);
}

static int write_file(const struct smo_options *o, enum smo_table table, const char *ending,
                      const struct buf *text, struct err *err)
{
    struct buf path = {0};
    int rc = buf_printf(&path, err, "%s/%s%s.%s", o->out_dir, o->prefix ? o->prefix : "",
                        smo_table_names[table], ending);
    if (!rc)
        rc = file_write(path.bytes, text->bytes, text->n, err);
    buf_release(&path);
    return rc;
}

int smo_tables_write(const struct smo_report *r, const struct smo_options *o, struct err *err)
{
    int rc = dir_make(o->out_dir, err);
    for (int t = 0; t < SMO_N_TABLES && !rc; t++) {
        struct buf md = {0}, csv = {0}, json = {0};
        rc = make_markdown(&md, r, o, (enum smo_table)t, err);
        if (!rc)
            rc = make_csv(&csv, r, (enum smo_table)t, err);
        if (!rc)
            rc = make_json(&json, r, o, (enum smo_table)t, err);
        if (!rc)
            rc = write_file(o, (enum smo_table)t, "md", &md, err);
        if (!rc)
            rc = write_file(o, (enum smo_table)t, "csv", &csv, err);
        if (!rc)
            rc = write_file(o, (enum smo_table)t, "json", &json, err);
        buf_release(&md);
        buf_release(&csv);
        buf_release(&json);
    }
    return rc;
}
