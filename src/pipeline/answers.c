/* Recorded answers: see answers.h. Rows are gathered into growing arrays and moved into the arena once their number is known. */
#include "pipeline/answers.h"

#include <stdlib.h>
#include <string.h>

#include "io/records.h"

/* A column of the outcomes that is no expert. */
enum column { COLUMN_ID, COLUMN_CATEGORY, COLUMN_ANSWER, COLUMN_TOKENS, COLUMN_EXPERT };

struct gather {
    struct answers *a;
    struct records *r;
    const char *path;
    int *expert; /* [columns] number of the expert, −1: another column */
    int category_column, answer_column;
    int64_t capacity;
    const char **ids;
    int32_t *category;
    int8_t *right, *outcomes;
};

static enum column column_kind(const char *name, int i)
{
    if (i == 0)
        return COLUMN_ID;
    if (strcmp(name, "category") == 0)
        return COLUMN_CATEGORY;
    if (strcmp(name, "answer") == 0)
        return COLUMN_ANSWER;
    if (strcmp(name, "prompt_tokens") == 0 || strcmp(name, "output_tokens") == 0)
        return COLUMN_TOKENS;
    return COLUMN_EXPERT;
}

int answers_option(const char *text)
{
    if (!*text)
        return -1;
    if (text[0] >= 'A' && text[0] <= 'Z' && !text[1])
        return text[0] - 'A';
    if (text[0] >= '0' && text[0] <= '9' &&
        (!text[1] || (text[1] >= '0' && text[1] <= '9' && !text[2]))) {
        int value = text[1] ? 10 * (text[0] - '0') + text[1] - '0' : text[0] - '0';
        return value <= 25 ? value : -2;
    }
    return -2;
}

static int cell_error(const struct records *r, int column, const char *wanted, struct err *err)
{
    return err_set(err, MOE2_EFORMAT, "%s:%lld: column %s is \"%.40s\", wanted %s",
                   reader_path(records_reader(r)), (long long)records_line_number(r),
                   records_column(r, column), records_cell(r, column, NULL), wanted);
}

/* ---- growing ---- */

static int grow(void **array, size_t size, int64_t n, struct err *err)
{
    void *more = realloc(*array, (size_t)n * size);
    if (!more)
        return err_set(err, MOE2_ELIMIT, "no memory for %lld questions", (long long)n);
    *array = more;
    return 0;
}

static int make_room(struct gather *g, struct err *err)
{
    if (g->a->n < g->capacity)
        return 0;
    if (g->a->n == ANSWERS_MAX_ROWS)
        return err_set(err, MOE2_ELIMIT, "%s: more than %d questions", g->path, ANSWERS_MAX_ROWS);
    int64_t n = g->capacity ? 2 * g->capacity : 1024;
    int rc = grow((void **)&g->ids, sizeof *g->ids, n, err);
    if (!rc)
        rc = grow((void **)&g->category, sizeof *g->category, n, err);
    if (!rc)
        rc = grow((void **)&g->right, sizeof *g->right, n, err);
    if (!rc)
        rc = grow((void **)&g->outcomes, (size_t)g->a->n_experts, n, err);
    if (!rc)
        g->capacity = n;
    return rc;
}

/* ---- outcomes ---- */

static int take_header(struct gather *g, struct err *err)
{
    struct answers *a = g->a;
    int n = records_n_columns(g->r);
    const char *first = records_column(g->r, 0);
    if (strcmp(first, "question_id") != 0 && strcmp(first, "id") != 0)
        return err_set(err, MOE2_EFORMAT, "%s:1: the first column is \"%.40s\", wanted question_id",
                       g->path, first);
    g->expert = calloc((size_t)n, sizeof *g->expert);
    a->names = arena_alloc(&a->memory, ANSWERS_MAX_EXPERTS * sizeof *a->names, err);
    a->categories = arena_alloc(&a->memory, ANSWERS_MAX_CATEGORIES * sizeof *a->categories, err);
    if (!g->expert || !a->names || !a->categories)
        return err_set(err, MOE2_ELIMIT, "no memory for the columns of %s", g->path);
    for (int i = 0; i < n; i++) {
        const char *name = records_column(g->r, i);
        enum column kind = column_kind(name, i);
        g->expert[i] = -1;
        if (kind == COLUMN_CATEGORY)
            g->category_column = i;
        if (kind == COLUMN_ANSWER)
            g->answer_column = i;
        if (kind != COLUMN_EXPERT)
            continue;
        if (a->n_experts == ANSWERS_MAX_EXPERTS)
            return err_set(err, MOE2_ELIMIT, "%s: more than %d experts", g->path,
                           ANSWERS_MAX_EXPERTS);
        g->expert[i] = a->n_experts;
        a->names[a->n_experts] = arena_strdup(&a->memory, name, err);
        if (!a->names[a->n_experts++])
            return MOE2_ELIMIT;
    }
    return a->n_experts ? 0 : err_set(err, MOE2_EFORMAT, "%s:1: has no expert's column", g->path);
}

static int take_category(int32_t *out, struct gather *g, struct err *err)
{
    struct answers *a = g->a;
    const char *text = g->category_column ? records_cell(g->r, g->category_column, NULL) : "";
    *out = -1;
    if (!*text)
        return 0;
    for (int c = 0; c < a->n_categories; c++)
        if (strcmp(a->categories[c], text) == 0) {
            *out = c;
            return 0;
        }
    if (a->n_categories == ANSWERS_MAX_CATEGORIES)
        return err_set(err, MOE2_ELIMIT, "%s: more than %d categories", g->path,
                       ANSWERS_MAX_CATEGORIES);
    a->categories[a->n_categories] = arena_strdup(&a->memory, text, err);
    if (!a->categories[a->n_categories])
        return MOE2_ELIMIT;
    *out = a->n_categories++;
    return 0;
}

static int take_outcome(int8_t *out, const struct records *r, int i, struct err *err)
{
    const char *text = records_cell(r, i, NULL);
    if (!*text)
        *out = -1;
    else if (strcmp(text, "1") == 0 || strcmp(text, "1.0") == 0)
        *out = 1;
    else if (strcmp(text, "0") == 0 || strcmp(text, "0.0") == 0)
        *out = 0;
    else
        return cell_error(r, i, "1, 0 or nothing", err);
    return 0;
}

static int take_row(struct gather *g, struct err *err)
{
    struct answers *a = g->a;
    int64_t q = a->n;
    int rc = make_room(g, err);
    if (rc)
        return rc;
    g->ids[q] = arena_strdup(&a->memory, records_cell(g->r, 0, NULL), err);
    if (!g->ids[q])
        return MOE2_ELIMIT;
    rc = take_category(&g->category[q], g, err);
    g->right[q] = -1;
    if (!rc && g->answer_column) {
        int option = answers_option(records_cell(g->r, g->answer_column, NULL));
        if (option < -1)
            return cell_error(g->r, g->answer_column, "a letter from A to Z or a number to 25",
                              err);
        g->right[q] = (int8_t)option;
    }
    for (int i = 0; i < records_n_columns(g->r) && !rc; i++)
        if (g->expert[i] >= 0)
            rc = take_outcome(&g->outcomes[q * a->n_experts + g->expert[i]], g->r, i, err);
    if (!rc)
        a->n++;
    return rc;
}

static int keep(void **out, struct arena *memory, const void *from, size_t n_bytes, struct err *err)
{
    *out = arena_alloc(memory, n_bytes ? n_bytes : 1, err);
    if (!*out)
        return MOE2_ELIMIT;
    memcpy(*out, from, n_bytes);
    return 0;
}

static int by_text(const void *x, const void *y, void *ctx)
{
    const struct answers *a = ctx;
    int64_t i = *(const int64_t *)x, j = *(const int64_t *)y;
    int order = strcmp(a->ids[i], a->ids[j]);
    return order ? order : (i > j) - (i < j);
}

static int sort_ids(struct answers *a, const char *path, struct err *err)
{
    a->by_id = arena_alloc(&a->memory, (size_t)a->n * sizeof *a->by_id, err);
    if (!a->by_id)
        return MOE2_ELIMIT;
    for (int64_t i = 0; i < a->n; i++)
        a->by_id[i] = i;
    qsort_r(a->by_id, (size_t)a->n, sizeof *a->by_id, by_text, a);
    for (int64_t i = 1; i < a->n; i++)
        if (strcmp(a->ids[a->by_id[i]], a->ids[a->by_id[i - 1]]) == 0)
            return err_set(err, MOE2_EFORMAT,
                           "%s: question \"%.60s\" stands there twice (rows %lld "
                           "and %lld)",
                           path, a->ids[a->by_id[i]], (long long)a->by_id[i - 1] + 1,
                           (long long)a->by_id[i] + 1);
    return 0;
}

static int read_outcomes(struct answers *a, const char *path, struct err *err)
{
    struct records_options form = {.form = RECORDS_CSV, .max_record_bytes = 1 << 20};
    struct gather g = {.a = a, .path = path};
    size_t E = 0;
    bool got = false;
    int rc = records_open(&g.r, path, &form, err);
    if (!rc)
        rc = take_header(&g, err);
    while (!rc && !(rc = records_next(g.r, &got, err)) && got)
        rc = take_row(&g, err);
    if (!rc && a->n == 0)
        rc = err_set(err, MOE2_EFORMAT, "%s: has no row", path);
    E = (size_t)a->n_experts;
    if (!rc)
        rc = keep((void **)&a->ids, &a->memory, g.ids, (size_t)a->n * sizeof *g.ids, err);
    if (!rc)
        rc = keep((void **)&a->category, &a->memory, g.category, (size_t)a->n * sizeof *g.category,
                  err);
    if (!rc)
        rc = keep((void **)&a->right, &a->memory, g.right, (size_t)a->n, err);
    if (!rc)
        rc = keep((void **)&a->outcomes, &a->memory, g.outcomes, (size_t)a->n * E, err);
    if (!rc)
        rc = sort_ids(a, path, err);
    free(g.ids);
    free(g.category);
    free(g.right);
    free(g.outcomes);
    free(g.expert);
    records_close(g.r);
    return rc;
}

/* ---- predictions ---- */

/* The column of each expert in r. */
static int find_columns(int *column, const struct answers *a, const struct records *r,
                        struct err *err)
{
    for (int e = 0; e < a->n_experts; e++) {
        column[e] = -1;
        for (int i = 1; i < records_n_columns(r) && column[e] < 0; i++)
            if (strcmp(records_column(r, i), a->names[e]) == 0)
                column[e] = i;
        if (column[e] < 0)
            return err_set(err, MOE2_EFORMAT, "%s: has no column for expert \"%.60s\"",
                           reader_path(records_reader(r)), a->names[e]);
    }
    return 0;
}

static int take_options(struct answers *a, bool *seen, const int *column, const struct records *r,
                        struct err *err)
{
    int64_t q = answers_row(a, records_cell(r, 0, NULL));
    if (q < 0)
        return 0; /* a question of another set */
    if (seen[q])
        return err_set(err, MOE2_EFORMAT, "%s:%lld: question \"%.60s\" stands there twice",
                       reader_path(records_reader(r)), (long long)records_line_number(r),
                       a->ids[q]);
    seen[q] = true;
    for (int e = 0; e < a->n_experts; e++) {
        int64_t at = q * a->n_experts + e;
        int option = answers_option(records_cell(r, column[e], NULL));
        if (option < -1)
            return cell_error(r, column[e], "a letter from A to Z, a number to 25 or nothing", err);
        a->options[at] = (int8_t)(a->outcomes[at] < 0 ? -1 : option);
        bool is_right = option >= 0 && option == a->right[q];
        if (a->right[q] >= 0 && a->outcomes[at] >= 0 && is_right != (a->outcomes[at] == 1))
            return cell_error(r, column[e],
                              a->outcomes[at] ? "the right option, for the outcome is 1"
                                              : "not the right option, for the outcome is 0",
                              err);
    }
    return 0;
}

static int read_predictions(struct answers *a, const char *path, struct err *err)
{
    struct records_options form = {.form = RECORDS_CSV, .max_record_bytes = 1 << 20};
    struct records *r = NULL;
    int column[ANSWERS_MAX_EXPERTS];
    bool got = false, *seen = calloc((size_t)a->n, sizeof *seen);
    size_t n_bytes = (size_t)a->n * (size_t)a->n_experts;
    a->options = arena_alloc(&a->memory, n_bytes, err);
    int rc = seen && a->options ? records_open(&r, path, &form, err)
                                : err_set(err, MOE2_ELIMIT, "no memory for the predictions");
    if (!rc)
        memset(a->options, -1, n_bytes);
    if (!rc)
        rc = find_columns(column, a, r, err);
    while (!rc && !(rc = records_next(r, &got, err)) && got)
        rc = take_options(a, seen, column, r, err);
    for (int64_t q = 0; q < a->n && !rc; q++)
        if (!seen[q])
            rc = err_set(err, MOE2_EFORMAT, "%s: has no row for question \"%.60s\"", path,
                         a->ids[q]);
    records_close(r);
    free(seen);
    return rc;
}

int answers_read(struct answers *a, const char *outcomes, const char *predictions, struct err *err)
{
    *a = (struct answers){0};
    int rc = read_outcomes(a, outcomes, err);
    if (!rc && predictions)
        rc = read_predictions(a, predictions, err);
    if (rc)
        answers_release(a);
    return rc;
}

void answers_release(struct answers *a)
{
    arena_release(&a->memory);
    *a = (struct answers){0};
}

int64_t answers_row(const struct answers *a, const char *id)
{
    int64_t low = 0, high = a->n;
    while (low < high) {
        int64_t middle = low + (high - low) / 2;
        int order = strcmp(a->ids[a->by_id[middle]], id);
        if (order == 0)
            return a->by_id[middle];
        if (order < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return -1;
}

int answers_expert(const struct answers *a, const char *name)
{
    for (int e = 0; e < a->n_experts; e++)
        if (strcmp(a->names[e], name) == 0)
            return e;
    return -1;
}
