/* The study's tables: accuracies without budgets, and the plan of each budget, as text, CSV and JSON. See study_parts.h. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/file.h"
#include "io/json_util.h"
#include "pipeline/study_parts.h"

static void interval_cell(struct table *t, const struct stats_interval *s)
{
    table_cell(t, "%.1f (%.1f to %.1f)", 100 * s->mean, 100 * s->low, 100 * s->high);
}

int study_rows_table(struct table **out, const struct study_result *r, struct err *err)
{
    const struct table_column columns[] = {{"who answers", TABLE_LEFT},
                                           {"how", TABLE_LEFT},
                                           {"train %", TABLE_RIGHT},
                                           {"test % (95 %)", TABLE_RIGHT},
                                           {"gain, points (95 %)", TABLE_RIGHT},
                                           {"gap closed %", TABLE_RIGHT}};
    int rc = table_new(out, columns, 6, err);
    for (int i = 0; i < r->n_rows && !rc; i++) {
        const struct study_row *row = &r->rows[i];
        table_cell(*out, "%s", row->label);
        table_cell(*out, "%s", row->how);
        table_cell(*out, "%.1f", 100 * (double)row->worth.correct[0] / (double)row->worth.n[0]);
        interval_cell(*out, &row->worth.test);
        interval_cell(*out, &row->gain);
        table_cell(*out, "%.1f", 100 * study_gap(r, row->worth.test.mean));
    }
    if (rc)
        return rc;
    table_cell(*out, "oracle");
    table_cell(*out, "some expert of the fleet is right");
    table_cell(*out, "-");
    table_cell(*out, "%.1f", 100 * r->oracle);
    table_cell(*out, "%.1f", 100 * (r->oracle - r->single));
    table_cell(*out, "100.0");
    return 0;
}

int study_members(struct buf *out, const struct study_fitted *w, uint64_t members, struct err *err)
{
    int rc = 0;
    const char *gap = "";
    int n = __builtin_popcountll(members);
    if (n == w->fleet->N && n > 8)
        return buf_printf(out, err, "all %d", n);
    for (int e = 0; e < w->fleet->N && !rc; e++)
        if (members >> e & 1) {
            rc = buf_printf(out, err, "%s%s", gap, w->data->answers.names[w->fleet->column[e]]);
            gap = ", ";
        }
    return rc;
}

static void limit_cell(struct table *t, int64_t limit)
{
    if (limit == SELECT_NO_LIMIT)
        table_cell(t, "none");
    else
        table_cell(t, "%.3g", 1e-6 * (double)limit);
}

static void worth_cell(struct table *t, bool there, const struct study_worth *w)
{
    if (there)
        table_cell(t, "%.1f", 100 * w->test.mean);
    else
        table_cell(t, "-");
}

static int plan_cells(struct table *t, const struct study_cell *c, const struct study_fitted *w,
                      struct err *err)
{
    struct buf names = {0};
    if (c->plan.gate < 0) {
        table_cell(t, "-");
        table_cell(t, "none fits");
        table_end_row(t);
        return 0;
    }
    table_cell(t, "%d", c->plan.k);
    table_cell(t, "%s, %s", w->gates.list[c->plan.gate].kind,
               forward_combine_name(c->plan.combine));
    table_cell(t, "%.1f", 100 * (double)c->worth.correct[0] / (double)c->worth.n[0]);
    interval_cell(t, &c->worth.test);
    table_cell(t, "%.2f", c->worth.latency_s[STUDY_TEST]);
    table_cell(t, "%.1f", c->worth.energy_j[STUDY_TEST]);
    worth_cell(t, c->has_single, &c->single_worth);
    if (c->has_single)
        table_cell(t, "%.1f", 100 * c->random);
    else
        table_cell(t, "-");
    worth_cell(t, c->has_single, &c->greedy_worth);
    table_cell(t, "%.1f%s", 100 * c->all_worth.test.mean, c->all_feasible ? "" : " (too dear)");
    table_cell(t, "%.1f", 100 * c->oracle);
    table_cell(t, c->plan.combine != FORWARD_LEARNED && c->optimal ? "optimal" : "best found");
    int rc = study_members(&names, w, c->plan.members, err);
    if (!rc)
        table_cell(t, "%s", names.bytes ? names.bytes : "");
    buf_release(&names);
    return rc;
}

int study_cells_table(struct table **out, const struct study_cell *cells, int n,
                      const struct study_fitted *w, struct err *err)
{
    const struct table_column columns[] = {{"latency s", TABLE_RIGHT},
                                           {"energy J", TABLE_RIGHT},
                                           {"feasible subsets", TABLE_RIGHT},
                                           {"k", TABLE_RIGHT},
                                           {"gate, votes", TABLE_LEFT},
                                           {"train %", TABLE_RIGHT},
                                           {"test % (95 %)", TABLE_RIGHT},
                                           {"s on test", TABLE_RIGHT},
                                           {"J on test", TABLE_RIGHT},
                                           {"best single %", TABLE_RIGHT},
                                           {"random %", TABLE_RIGHT},
                                           {"greedy %", TABLE_RIGHT},
                                           {"all %", TABLE_RIGHT},
                                           {"oracle %", TABLE_RIGHT},
                                           {"search", TABLE_LEFT},
                                           {"in service", TABLE_LEFT}};
    int rc = table_new(out, columns, sizeof columns / sizeof *columns, err);
    for (int i = 0; i < n && !rc; i++) {
        limit_cell(*out, cells[i].limits.latency_us);
        limit_cell(*out, cells[i].limits.energy_uj);
        if (cells[i].n_feasible < 0)
            table_cell(*out, "-");
        else
            table_cell(*out, "%lld", (long long)cells[i].n_feasible);
        rc = plan_cells(*out, &cells[i], w, err);
    }
    return rc;
}

/* ---- files ---- */

static void write_worth(struct json_writer *j, const char *key, const struct study_worth *x)
{
    jw_object(j, key);
    jw_real(j, "train", (double)x->correct[0] / (double)x->n[0]);
    jw_real(j, "test", x->test.mean);
    jw_real(j, "test_low", x->test.low);
    jw_real(j, "test_high", x->test.high);
    jw_real(j, "latency_s_train", x->latency_s[0]);
    jw_real(j, "energy_j_train", x->energy_j[0]);
    jw_real(j, "latency_s_test", x->latency_s[1]);
    jw_real(j, "energy_j_test", x->energy_j[1]);
    jw_end(j);
}

static void write_cell(struct json_writer *j, const struct study_cell *c,
                       const struct study_fitted *w)
{
    const struct select_limits *l = &c->limits;
    jw_object(j, NULL);
    jw_real(j, "latency_limit_s",
            l->latency_us == SELECT_NO_LIMIT ? NAN : 1e-6 * (double)l->latency_us);
    jw_real(j, "energy_limit_j",
            l->energy_uj == SELECT_NO_LIMIT ? NAN : 1e-6 * (double)l->energy_uj);
    if (c->n_feasible >= 0)
        jw_int(j, "feasible_subsets", c->n_feasible);
    jw_bool(j, "feasible", c->plan.gate >= 0);
    if (c->plan.gate >= 0) {
        jw_array(j, "subset");
        for (int e = 0; e < w->fleet->N; e++)
            if (c->plan.members >> e & 1)
                jw_text(j, NULL, w->data->answers.names[w->fleet->column[e]]);
        jw_end(j);
        jw_int(j, "k", c->plan.k);
        jw_text(j, "combine", forward_combine_name(c->plan.combine));
        jw_text(j, "gate", w->gates.list[c->plan.gate].kind);
        jw_bool(j, "optimal", c->optimal);
        write_worth(j, "chosen", &c->worth);
        if (c->has_single) {
            write_worth(j, "best_single", &c->single_worth);
            write_worth(j, "greedy", &c->greedy_worth);
            jw_real(j, "random_feasible_train", c->random);
        }
        write_worth(j, "all", &c->all_worth);
        jw_bool(j, "all_feasible", c->all_feasible);
    }
    jw_real(j, "oracle_test", c->oracle);
    jw_end(j);
}

static int cells_json(struct buf *out, const struct study_cell *cells, int n,
                      const struct study_fitted *w, enum select_cost cost, const char *head,
                      struct err *err)
{
    struct json_writer j;
    json_writer_init(&j, out, 1);
    jw_object(&j, NULL);
    jw_text(&j, "note", head);
    jw_text(&j, "cost", cost == SELECT_DEPLOYED ? "deployed" : "routed");
    jw_text(&j, "cost_source", w->fleet->cost_note);
    jw_array(&j, "rows");
    for (int i = 0; i < n; i++)
        write_cell(&j, &cells[i], w);
    jw_end(&j);
    jw_end(&j);
    int rc = json_writer_end(&j, err);
    return rc ? rc : buf_puts(out, "\n", err);
}

static int csv_limit(struct buf *out, int64_t limit, struct err *err)
{
    return limit == SELECT_NO_LIMIT ? buf_puts(out, "inf,", err)
                                    : buf_printf(out, err, "%.6g,", 1e-6 * (double)limit);
}

static int cells_csv(struct buf *out, const struct study_cell *cells, int n,
                     const struct study_fitted *w, struct err *err)
{
    int rc = buf_puts(out,
                      "latency_limit_s,energy_limit_j,feasible_subsets,subset,k,combine,gate,train,"
                      "test,test_low,test_high,latency_s_test,energy_j_test,best_single_test,"
                      "oracle_test\n",
                      err);
    for (int i = 0; i < n && !rc; i++) {
        const struct study_cell *c = &cells[i];
        rc = csv_limit(out, c->limits.latency_us, err);
        if (!rc)
            rc = csv_limit(out, c->limits.energy_uj, err);
        if (!rc && c->n_feasible >= 0)
            rc = buf_printf(out, err, "%lld", (long long)c->n_feasible);
        if (!rc && c->plan.gate < 0)
            rc = buf_puts(out, ",none fits,,,,,,,,,,,\n", err);
        if (rc || c->plan.gate < 0)
            continue;
        rc = buf_puts(out, ",\"", err);
        if (!rc)
            rc = study_members(out, w, c->plan.members, err);
        if (!rc)
            rc = buf_printf(out, err, "\",%d,%s,%s,%.4f,%.4f,%.4f,%.4f,%.4f,%.4f,", c->plan.k,
                            forward_combine_name(c->plan.combine), w->gates.list[c->plan.gate].kind,
                            (double)c->worth.correct[0] / (double)c->worth.n[0], c->worth.test.mean,
                            c->worth.test.low, c->worth.test.high, c->worth.latency_s[1],
                            c->worth.energy_j[1]);
        if (!rc && c->has_single)
            rc = buf_printf(out, err, "%.4f", c->single_worth.test.mean);
        if (!rc)
            rc = buf_printf(out, err, ",%.4f\n", c->oracle);
    }
    return rc;
}

static int put(const char *dir, const char *name, const char *end, const struct buf *text,
               struct err *err)
{
    char *path = NULL;
    if (asprintf(&path, "%s/%s.%s", dir, name, end) < 0)
        return err_set(err, MOE2_ELIMIT, "no memory for a name");
    int rc = file_write(path, text->bytes, text->n, err);
    free(path);
    return rc;
}

int study_cells_write(const struct study_cell *cells, int n, const struct study_fitted *w,
                      enum select_cost cost, const char *dir, const char *name, const char *head,
                      struct err *err)
{
    struct buf md = {0}, csv = {0}, json = {0};
    struct table *t = NULL;
    int rc = dir_make(dir, err);
    if (!rc)
        rc = study_cells_table(&t, cells, n, w, err);
    if (!rc)
        rc = buf_printf(&md, err, "%s\n\n", head);
    if (!rc)
        rc = table_markdown(&md, t, err);
    if (!rc)
        rc = cells_csv(&csv, cells, n, w, err);
    if (!rc)
        rc = cells_json(&json, cells, n, w, cost, head, err);
    if (!rc)
        rc = put(dir, name, "md", &md, err);
    if (!rc)
        rc = put(dir, name, "csv", &csv, err);
    if (!rc)
        rc = put(dir, name, "json", &json, err);
    table_free(t);
    buf_release(&md);
    buf_release(&csv);
    buf_release(&json);
    return rc;
}

int study_n_subsets(const struct study_cell *cells, int n)
{
    int different = 0;
    for (int i = 0; i < n; i++) {
        bool is_new = cells[i].plan.gate >= 0;
        for (int k = 0; k < i && is_new; k++)
            is_new = cells[k].plan.gate < 0 || cells[k].plan.members != cells[i].plan.members;
        different += is_new;
    }
    return different;
}
