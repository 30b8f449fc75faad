/* Files beside outcomes.csv whose rows are matched to it by id: predictions, lengths; and limits of categories. See outcomes.h. */
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "io/outcomes.h"
#include "io/outcomes_cells.h"

/* A file whose columns belong to experts of the outcomes. */
struct match {
    struct records *r;
    const struct outcomes *o;
    int column[OUTCOMES_MAX_EXPERTS]; /* of each expert; 0: none */
    int tokens;                       /* the column of that name; 0: none */
    uint8_t *seen;                    /* [n_rows] whether the row was met */
    int64_t n_seen, next;             /* rows met; where the next one probably is */
};

static void match_release(struct match *m)
{
    records_close(m->r);
    free(m->seen);
}

static int match_open(struct match *m, const char *path, const struct outcomes *o, struct err *err)
{
    struct records_options options = {.form = RECORDS_CSV,
                                      .max_record_bytes = OUTCOMES_MAX_ROW_BYTES};
    *m = (struct match){.o = o};
    int rc = records_open(&m->r, path, &options, err);
    if (rc)
        return rc;
    m->seen = calloc((size_t)o->n_rows, 1);
    if (!m->seen)
        return err_set(err, MOE2_ELIMIT, "no memory for %lld rows", (long long)o->n_rows);
    if (!outcomes_is_id(records_column(m->r, 0)))
        return err_set(err, MOE2_EFORMAT, "%s:1: the first column is \"%.60s\", wanted question_id",
                       path, records_column(m->r, 0));
    for (int i = 1; i < records_n_columns(m->r); i++) {
        const char *name = records_column(m->r, i);
        int64_t expert = name_table_find(&o->experts, name, strlen(name));
        if (expert >= 0)
            m->column[expert] = i;
        else if (strcmp(name, "tokens") == 0)
            m->tokens = i;
    }
    return 0;
}

/* The first expert of wanted that has no column, or −1. */
static int first_missing(const struct match *m, uint64_t wanted)
{
    for (int i = 0; i < m->o->n_experts; i++)
        if (wanted >> i & 1 && !m->column[i])
            return i;
    return -1;
}

static int no_column(const struct match *m, int expert, const char *or_else, struct err *err)
{
    return err_set(err, MOE2_EFORMAT, "%s:1: has no column \"%.60s\"%s",
                   reader_path(records_reader(m->r)), name_table_text(&m->o->experts, expert),
                   or_else);
}

/* Goes to the next row whose id is one of the outcomes'; *row is −1 at the end. */
static int match_next(struct match *m, int64_t *row, struct err *err)
{
    const struct name_table *ids = &m->o->ids;
    for (;;) {
        bool got = false;
        size_t n = 0;
        int rc = records_next(m->r, &got, err);
        *row = -1;
        if (rc || !got)
            return rc;
        const char *id = records_cell(m->r, 0, &n);
        if (m->next < ids->n && strcmp(name_table_text(ids, m->next), id) == 0)
            *row = m->next;
        else
            *row = name_table_find(ids, id, n);
        if (*row < 0)
            continue;
        if (m->seen[*row])
            return outcomes_bad_cell(m->r, 0, id, "every id once", err);
        m->seen[*row] = 1;
        m->n_seen++;
        m->next = *row + 1;
        return 0;
    }
}

/* Every row of the outcomes must have been met. */
static int match_end(const struct match *m, struct err *err)
{
    if (m->n_seen == m->o->n_rows)
        return 0;
    int64_t q = 0;
    while (m->seen[q])
        q++;
    return err_set(err, MOE2_EFORMAT, "%s: has no row of the question_id \"%.60s\", which %s has",
                   reader_path(records_reader(m->r)), name_table_text(&m->o->ids, q), m->o->path);
}

static int32_t *new_cells(int64_t n, struct err *err)
{
    int32_t *cells = malloc((size_t)n * sizeof *cells);
    if (!cells) {
        err_set(err, MOE2_ELIMIT, "no memory for %lld cells", (long long)n);
        return NULL;
    }
    memset(cells, 0xff, (size_t)n * sizeof *cells); /* OUTCOME_EMPTY */
    return cells;
}

/* ---- predictions ---- */

/* Whether the answers of a row agree with its outcomes: one answer can't be right and wrong. */
static int check_answers(const struct match *m, const int32_t *cell, const int8_t *right,
                         uint64_t wanted, struct err *err)
{
    for (int i = 0; i < m->o->n_experts; i++)
        for (int j = i + 1; j < m->o->n_experts; j++)
            if ((wanted >> i & wanted >> j & 1) && cell[i] >= 0 && cell[i] == cell[j] &&
                right[i] >= 0 && right[j] >= 0 && right[i] != right[j]) {
                size_t n;
                return err_set(
                    err, MOE2_EFORMAT,
                    "%s:%lld: \"%.60s\" and \"%.60s\" both answered \"%.40s\", and %s "
                    "calls one of them right and the other wrong",
                    reader_path(records_reader(m->r)), (long long)records_line_number(m->r),
                    name_table_text(&m->o->experts, i), name_table_text(&m->o->experts, j),
                    records_cell(m->r, m->column[i], &n), m->o->path);
            }
    return 0;
}

static int prediction_row(struct predictions *p, struct match *m, int64_t q, uint64_t wanted,
                          struct err *err)
{
    int rc = 0, N = m->o->n_experts;
    int32_t *cell = p->cell + q * N;
    for (int i = 0; i < N && !rc; i++) {
        size_t n = 0;
        const char *text = m->column[i] ? records_cell(m->r, m->column[i], &n) : NULL;
        int64_t idx = OUTCOME_EMPTY;
        if (n)
            rc = name_table_add(&p->answers, &idx, NULL, text, n, err);
        cell[i] = (int32_t)idx;
    }
    return rc ? rc : check_answers(m, cell, m->o->right + q * N, wanted, err);
}

int predictions_read(struct predictions *p, const char *path, const struct outcomes *o,
                     uint64_t wanted, struct err *err)
{
    struct match m;
    int64_t q = 0;
    int rc = match_open(&m, path, o, err);
    if (!rc && first_missing(&m, wanted) >= 0)
        rc = no_column(&m, first_missing(&m, wanted), "", err);
    if (!rc && !(p->cell = new_cells(o->n_rows * o->n_experts, err)))
        rc = MOE2_ELIMIT;
    while (!rc && !(rc = match_next(&m, &q, err)) && q >= 0)
        rc = prediction_row(p, &m, q, wanted, err);
    if (!rc)
        rc = match_end(&m, err);
    match_release(&m);
    return rc;
}

void predictions_release(struct predictions *p)
{
    name_table_release(&p->answers);
    free(p->cell);
    *p = (struct predictions){0};
}

/* ---- lengths ---- */

static int length_row(struct lengths *l, struct match *m, int64_t q, struct err *err)
{
    int rc = 0, N = m->o->n_experts;
    if (!l->by_expert)
        return outcomes_tokens(&l->tokens[q], m->r, m->tokens, err);
    for (int i = 0; i < N && !rc; i++)
        if (m->column[i])
            rc = outcomes_tokens(&l->tokens[q * N + i], m->r, m->column[i], err);
    return rc;
}

int lengths_read(struct lengths *l, const char *path, const struct outcomes *o, uint64_t wanted,
                 struct err *err)
{
    struct match m;
    int64_t q = 0;
    int rc = match_open(&m, path, o, err), missing = rc ? -1 : first_missing(&m, wanted);
    l->by_expert = missing < 0;
    if (!rc && missing >= 0 && !m.tokens)
        rc = no_column(&m, missing, " and no column tokens", err);
    if (!rc && !(l->path = strdup(path)))
        rc = err_set(err, MOE2_ELIMIT, "no memory for a name");
    if (!rc && !(l->tokens = new_cells(o->n_rows * (l->by_expert ? o->n_experts : 1), err)))
        rc = MOE2_ELIMIT;
    while (!rc && !(rc = match_next(&m, &q, err)) && q >= 0)
        rc = length_row(l, &m, q, err);
    if (!rc)
        rc = match_end(&m, err);
    match_release(&m);
    return rc;
}

void lengths_release(struct lengths *l)
{
    free(l->tokens);
    free(l->path);
    *l = (struct lengths){0};
}

/* ---- limits of categories ---- */

static int limit_cell(double *out, const struct records *r, int column, struct err *err)
{
    size_t n = 0;
    const char *text = column ? records_cell(r, column, &n) : NULL;
    *out = NAN;
    if (n == 0)
        return 0;
    char *end = NULL;
    errno = 0;
    double v = strtod(text, &end);
    bool plain = (*text >= '0' && *text <= '9') || *text == '.' || strcmp(text, "inf") == 0;
    if (!plain || *end || (isinf(v) && *text != 'i') || !(v >= 0))
        return outcomes_bad_cell(r, column, text, "a number of at least 0, inf or nothing", err);
    *out = v;
    return 0;
}

/* The columns of latency_s and energy_j. */
static int limit_columns(int column[2], const struct records *r, struct err *err)
{
    static const char *const names[] = {"latency_s", "energy_j"};
    const char *path = reader_path(records_reader(r));
    if (strcmp(records_column(r, 0), "category") != 0)
        return err_set(err, MOE2_EFORMAT, "%s:1: the first column is \"%.60s\", wanted category",
                       path, records_column(r, 0));
    for (int i = 1; i < records_n_columns(r); i++) {
        int k = 0;
        while (k < 2 && strcmp(records_column(r, i), names[k]) != 0)
            k++;
        if (k == 2)
            return err_set(err, MOE2_EFORMAT,
                           "%s:1: column \"%.60s\" is not known, wanted latency_s and energy_j",
                           path, records_column(r, i));
        column[k] = i;
    }
    return 0;
}

static int limit_row(struct category_limits *l, const struct records *r, const int column[2],
                     struct err *err)
{
    size_t n = 0, count = (size_t)l->categories.n;
    const char *name = records_cell(r, 0, &n);
    bool is_new = false;
    int64_t idx = 0;
    double *latency = realloc(l->latency_s, (count + 1) * sizeof *latency);
    l->latency_s = latency ? latency : l->latency_s;
    double *energy = realloc(l->energy_j, (count + 1) * sizeof *energy);
    l->energy_j = energy ? energy : l->energy_j;
    if (!latency || !energy)
        return err_set(err, MOE2_ELIMIT, "no memory for %zu categories", count);
    int rc = name_table_add(&l->categories, &idx, &is_new, name, n, err);
    if (!rc && !is_new)
        rc = outcomes_bad_cell(r, 0, name, "every category once", err);
    if (!rc)
        rc = limit_cell(&l->latency_s[idx], r, column[0], err);
    if (!rc)
        rc = limit_cell(&l->energy_j[idx], r, column[1], err);
    return rc;
}

int category_limits_read(struct category_limits *l, const char *path, struct err *err)
{
    struct records_options options = {.form = RECORDS_CSV,
                                      .max_record_bytes = OUTCOMES_MAX_ROW_BYTES};
    struct records *r = NULL;
    int column[2] = {0};
    bool got = false;
    int rc = records_open(&r, path, &options, err);
    if (!rc)
        rc = limit_columns(column, r, err);
    while (!rc && !(rc = records_next(r, &got, err)) && got)
        rc = limit_row(l, r, column, err);
    records_close(r);
    return rc;
}

void category_limits_release(struct category_limits *l)
{
    name_table_release(&l->categories);
    free(l->latency_s);
    free(l->energy_j);
    *l = (struct category_limits){0};
}
