/* outcomes.csv: see outcomes.h. The header says what each column is; then every row appends to arrays that grow together. */
#include "io/outcomes.h"

#include <stdlib.h>
#include <string.h>

#include "io/outcomes_cells.h"
#include "io/records.h"

enum column_kind {
    COLUMN_ID,
    COLUMN_CATEGORY,
    COLUMN_ANSWER,
    COLUMN_PROMPT_TOKENS,
    COLUMN_OUTPUT_TOKENS,
    COLUMN_EXPERT,
};

struct reading {
    struct outcomes *o; /* borrowed */
    struct records *r;
    enum column_kind kind[RECORDS_MAX_FIELDS];
    int64_t capacity; /* rows that the arrays hold */
};

bool outcomes_is_id(const char *name)
{
    return strcmp(name, "question_id") == 0 || strcmp(name, "id") == 0;
}

int outcomes_bad_cell(const struct records *r, int column, const char *text, const char *wanted,
                      struct err *err)
{
    return err_set(err, MOE2_EFORMAT, "%s:%lld: column \"%.60s\" is \"%.40s\", wanted %s",
                   reader_path(records_reader(r)), (long long)records_line_number(r),
                   records_column(r, column), text, wanted);
}

int outcomes_tokens(int32_t *out, const struct records *r, int column, struct err *err)
{
    size_t n = 0;
    const char *text = records_cell(r, column, &n);
    if (n == 0) {
        *out = OUTCOME_EMPTY;
        return 0;
    }
    int64_t v = 0;
    size_t i = 0;
    for (; i < n && i < 10 && text[i] >= '0' && text[i] <= '9'; i++)
        v = 10 * v + (text[i] - '0');
    bool whole = i == n || (i > 0 && strcmp(text + i, ".0") == 0);
    if (!whole || v > INT32_MAX)
        return outcomes_bad_cell(r, column, text, "a whole number from 0 to 2147483647", err);
    *out = (int32_t)v;
    return 0;
}

static int right_cell(int8_t *out, const struct records *r, int column, struct err *err)
{
    size_t n = 0;
    const char *text = records_cell(r, column, &n);
    if (n == 0)
        *out = OUTCOME_EMPTY;
    else if ((*text == '0' || *text == '1') && (n == 1 || strcmp(text + 1, ".0") == 0))
        *out = *text == '1';
    else
        return outcomes_bad_cell(r, column, text, "1, 0 or nothing", err);
    return 0;
}

/* ---- the header ---- */

static enum column_kind kind_of(const char *name)
{
    return strcmp(name, "category") == 0        ? COLUMN_CATEGORY
           : strcmp(name, "answer") == 0        ? COLUMN_ANSWER
           : strcmp(name, "prompt_tokens") == 0 ? COLUMN_PROMPT_TOKENS
           : strcmp(name, "output_tokens") == 0 ? COLUMN_OUTPUT_TOKENS
                                                : COLUMN_EXPERT;
}

static int read_header(struct reading *g, struct err *err)
{
    const char *path = reader_path(records_reader(g->r));
    int n = records_n_columns(g->r), n_experts = 0, rc = 0;
    if (!outcomes_is_id(records_column(g->r, 0)))
        return err_set(err, MOE2_EFORMAT,
                       "%s:1: the first column is \"%.60s\", wanted question_id or id", path,
                       records_column(g->r, 0));
    for (int i = 1; i < n && !rc; i++) {
        const char *name = records_column(g->r, i);
        int64_t idx;
        g->kind[i] = kind_of(name);
        if (g->kind[i] != COLUMN_EXPERT)
            continue;
        n_experts++;
        if (!*name)
            rc = err_set(err, MOE2_EFORMAT, "%s:1: column %d has no name", path, i + 1);
        else
            rc = name_table_add(&g->o->experts, &idx, NULL, name, strlen(name), err);
    }
    if (!rc && (n_experts < 1 || n_experts > OUTCOMES_MAX_EXPERTS))
        rc = err_set(err, n_experts ? MOE2_ELIMIT : MOE2_EFORMAT,
                     "%s:1: %d columns are experts, wanted 1 to %d", path, n_experts,
                     OUTCOMES_MAX_EXPERTS);
    g->o->n_experts = n_experts;
    return rc;
}

/* ---- rows ---- */

static int grow_array(void **array, int64_t capacity, size_t bytes, struct err *err)
{
    void *grown = realloc(*array, (size_t)capacity * bytes);
    if (!grown)
        return err_set(err, MOE2_ELIMIT, "no memory for %lld rows", (long long)capacity);
    *array = grown;
    return 0;
}

static int grow(struct reading *g, struct err *err)
{
    struct outcomes *o = g->o;
    int64_t capacity = g->capacity ? 2 * g->capacity : 1024;
    if (g->capacity == OUTCOMES_MAX_ROWS)
        return err_set(err, MOE2_ELIMIT, "more than %d rows", OUTCOMES_MAX_ROWS);
    int rc = grow_array((void **)&o->right, capacity, (size_t)o->n_experts, err);
    for (int i = 0; i < records_n_columns(g->r) && !rc; i++) {
        int32_t **array = g->kind[i] == COLUMN_CATEGORY        ? &o->category
                          : g->kind[i] == COLUMN_ANSWER        ? &o->answer
                          : g->kind[i] == COLUMN_PROMPT_TOKENS ? &o->prompt_tokens
                          : g->kind[i] == COLUMN_OUTPUT_TOKENS ? &o->output_tokens
                                                               : NULL;
        if (array)
            rc = grow_array((void **)array, capacity, sizeof **array, err);
    }
    if (!rc)
        g->capacity = capacity;
    return rc;
}

static int put_id(struct reading *g, struct err *err)
{
    size_t n = 0;
    const char *text = records_cell(g->r, 0, &n);
    int64_t idx;
    bool is_new = false;
    if (n == 0)
        return outcomes_bad_cell(g->r, 0, text, "an id", err);
    int rc = name_table_add(&g->o->ids, &idx, &is_new, text, n, err);
    return rc || is_new ? rc : outcomes_bad_cell(g->r, 0, text, "every id once", err);
}

static int put_text(int32_t *out, struct name_table *t, const struct records *r, int column,
                    struct err *err)
{
    size_t n = 0;
    const char *text = records_cell(r, column, &n);
    int64_t idx = 0;
    int rc = name_table_add(t, &idx, NULL, text, n, err);
    *out = (int32_t)idx;
    return rc;
}

static int put_row(struct reading *g, struct err *err)
{
    struct outcomes *o = g->o;
    int64_t q = o->n_rows;
    int rc = q == g->capacity ? grow(g, err) : 0;
    int8_t *right = rc ? NULL : o->right + q * o->n_experts;
    for (int i = 0; i < records_n_columns(g->r) && !rc; i++)
        switch (g->kind[i]) {
        case COLUMN_ID:
            rc = put_id(g, err);
            break;
        case COLUMN_CATEGORY:
            rc = put_text(&o->category[q], &o->categories, g->r, i, err);
            break;
        case COLUMN_ANSWER:
            rc = put_text(&o->answer[q], &o->answers, g->r, i, err);
            break;
        case COLUMN_PROMPT_TOKENS:
            rc = outcomes_tokens(&o->prompt_tokens[q], g->r, i, err);
            break;
        case COLUMN_OUTPUT_TOKENS:
            rc = outcomes_tokens(&o->output_tokens[q], g->r, i, err);
            break;
        case COLUMN_EXPERT:
            rc = right_cell(right++, g->r, i, err);
            break;
        }
    o->n_rows += !rc;
    return rc;
}

static int read_rows(struct reading *g, const struct log_sink *sink, struct err *err)
{
    const struct reader *reader = records_reader(g->r);
    struct progress progress;
    progress_begin(&progress, sink, "outcomes", (double)reader_file_bytes(reader), "B");
    bool got = false;
    int rc = records_next(g->r, &got, err);
    while (!rc && got) {
        rc = put_row(g, err);
        if (rc == MOE2_ELIMIT)
            err_prefix(err, "%s:%lld", reader_path(reader), (long long)records_line_number(g->r));
        if (g->o->n_rows % 4096 == 0)
            progress_set(&progress, (double)reader_bytes_consumed(reader));
        if (!rc)
            rc = records_next(g->r, &got, err);
    }
    progress_end(&progress);
    if (!rc && g->o->n_rows == 0)
        rc = err_set(err, MOE2_EFORMAT, "%s: has no row behind its header", reader_path(reader));
    return rc;
}

int outcomes_read_from(struct outcomes *o, struct reader *reader, const struct log_sink *sink,
                       struct err *err)
{
    struct records_options options = {.form = RECORDS_CSV,
                                      .max_record_bytes = OUTCOMES_MAX_ROW_BYTES};
    struct reading g = {.o = o};
    o->path = strdup(reader_path(reader));
    int rc = records_open_reader(&g.r, reader, &options, err);
    if (!rc && !o->path)
        rc = err_set(err, MOE2_ELIMIT, "no memory for a name");
    if (!rc)
        rc = read_header(&g, err);
    if (!rc)
        rc = read_rows(&g, sink, err);
    records_close(g.r);
    return rc;
}

int outcomes_read(struct outcomes *o, const char *path, const struct log_sink *sink,
                  struct err *err)
{
    struct reader *reader = NULL;
    int rc = reader_open(&reader, path, err);
    return rc ? rc : outcomes_read_from(o, reader, sink, err);
}

void outcomes_release(struct outcomes *o)
{
    name_table_release(&o->experts);
    name_table_release(&o->ids);
    name_table_release(&o->categories);
    name_table_release(&o->answers);
    free(o->right);
    free(o->category);
    free(o->answer);
    free(o->prompt_tokens);
    free(o->output_tokens);
    free(o->path);
    *o = (struct outcomes){0};
}

void outcomes_tally(int64_t *n, int64_t *n_right, const struct outcomes *o)
{
    int64_t n_columns = o->category ? o->categories.n : 1;
    for (int64_t q = 0; q < o->n_rows; q++)
        for (int e = 0; e < o->n_experts; e++) {
            int8_t right = o->right[q * o->n_experts + e];
            if (right == OUTCOME_EMPTY)
                continue;
            int64_t at = e * n_columns + (o->category ? o->category[q] : 0);
            n[at]++;
            n_right[at] += right;
        }
}
