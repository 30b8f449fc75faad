/* The data of the study: see study_data.h. */
#include "pipeline/study_data.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "io/records.h"
#include "pipeline/select_run.h"
#include "pipeline/step_embed.h"

enum { CHARS_A_TOKEN = 4, MAX_QUESTION_BYTES = 1 << 22 };

/* ---- questions ---- */

static int take_question(struct study_side *s, struct study_data *d, const struct records *r,
                         struct buf *text, struct err *err)
{
    const struct answers *a = &d->answers;
    const char *id = records_field(r, "id", NULL);
    int64_t i = s->n, N = a->n_experts, row = id ? answers_row(a, id) : -1;
    if (row < 0 || a->right[row] < 0)
        return err_set(
            err, MOE2_EFORMAT, "%s:%lld: question \"%.60s\" has no answer in the outcomes",
            reader_path(records_reader(r)), (long long)records_line_number(r), id ? id : "");
    if (i == a->n)
        return err_set(err, MOE2_EFORMAT, "%s: more questions than the outcomes have",
                       reader_path(records_reader(r)));
    buf_clear(text);
    int rc = embed_row_text(text, r, err);
    if (rc)
        return rc;
    memcpy(s->right + i * N, a->outcomes + row * N, (size_t)N);
    memcpy(s->options + i * N, a->options + row * N, (size_t)N);
    s->truth[i] = a->right[row];
    s->category[i] = a->category[row];
    s->prompt_tokens[i] = (int32_t)((text->n + CHARS_A_TOKEN - 1) / CHARS_A_TOKEN);
    s->n++;
    return 0;
}

static int make_side(struct study_side *s, struct study_data *d, struct err *err)
{
    size_t n = (size_t)d->answers.n, cells = n * (size_t)d->answers.n_experts;
    s->right = arena_alloc(&d->memory, cells, err);
    s->options = arena_alloc(&d->memory, cells, err);
    s->truth = arena_alloc(&d->memory, n, err);
    s->category = arena_alloc(&d->memory, n * sizeof *s->category, err);
    s->prompt_tokens = arena_alloc(&d->memory, n * sizeof *s->prompt_tokens, err);
    s->output_tokens = arena_alloc(&d->memory, cells * sizeof *s->output_tokens, err);
    if (!s->right || !s->options || !s->truth || !s->category || !s->prompt_tokens ||
        !s->output_tokens)
        return MOE2_ELIMIT;
    memset(s->output_tokens, -1, cells * sizeof *s->output_tokens);
    return 0;
}

static int read_side(struct study_side *s, struct study_data *d, const char *questions,
                     const char *embeddings, int64_t *row_of, struct err *err)
{
    struct records_options form = {.max_record_bytes = MAX_QUESTION_BYTES};
    struct records *r = NULL;
    struct buf text = {.max_bytes = MAX_QUESTION_BYTES};
    bool got = false;
    int rc = make_side(s, d, err);
    if (!rc)
        rc = records_open(&r, questions, &form, err);
    while (!rc && !(rc = records_next(r, &got, err)) && got) {
        rc = take_question(s, d, r, &text, err);
        if (!rc)
            row_of[answers_row(&d->answers, records_field(r, "id", NULL))] = s->n - 1;
    }
    records_close(r);
    buf_release(&text);
    if (!rc)
        rc = npy_open(&s->file, embeddings, err);
    if (!rc && (s->file.dtype != DT_F32 || s->file.n_dims != 2 || s->file.shape[0] != s->n))
        rc = err_set(err, MOE2_EFORMAT,
                     "%s: is no float32 array of a row for each of %lld questions", embeddings,
                     (long long)s->n);
    s->x = s->file.data;
    s->D = rc ? 0 : s->file.shape[1];
    return rc;
}

/* ---- lengths ---- */

static int take_chars(struct study_data *d, int64_t *const *row_of, const int *expert,
                      const struct records *r, struct err *err)
{
    int64_t row = answers_row(&d->answers, records_cell(r, 0, NULL));
    for (int i = 1; row >= 0 && i < records_n_columns(r); i++) {
        const char *text = records_cell(r, i, NULL);
        char *end = NULL;
        if (expert[i] < 0 || !*text)
            continue;
        errno = 0;
        long long chars = strtoll(text, &end, 10);
        if (*end || errno || chars < 0 || chars > INT32_MAX)
            return err_set(err, MOE2_EFORMAT, "%s:%lld: column %s is \"%.40s\", wanted characters",
                           reader_path(records_reader(r)), (long long)records_line_number(r),
                           records_column(r, i), text);
        for (int k = 0; k < STUDY_N_SIDES; k++)
            if (row_of[k][row] >= 0)
                d->sides[k].output_tokens[row_of[k][row] * d->answers.n_experts + expert[i]] =
                    (int32_t)((chars + CHARS_A_TOKEN - 1) / CHARS_A_TOKEN);
    }
    return 0;
}

static int read_chars(struct study_data *d, int64_t *const *row_of, const char *path,
                      struct err *err)
{
    struct records_options form = {.form = RECORDS_CSV, .max_record_bytes = 1 << 20};
    struct records *r = NULL;
    int expert[RECORDS_MAX_FIELDS];
    bool got = false;
    int rc = records_open(&r, path, &form, err);
    for (int i = 0; !rc && i < records_n_columns(r); i++)
        expert[i] = answers_expert(&d->answers, records_column(r, i));
    while (!rc && !(rc = records_next(r, &got, err)) && got)
        rc = take_chars(d, row_of, expert, r, err);
    records_close(r);
    return rc;
}

int study_data_read(struct study_data *d, const struct study_files *f, struct err *err)
{
    const char *questions[] = {f->train, f->test};
    const char *embeddings[] = {f->train_embeddings, f->test_embeddings};
    int64_t *row_of[STUDY_N_SIDES] = {NULL, NULL};
    int rc = answers_read(&d->answers, f->outcomes, f->predictions, err);
    for (int k = 0; k < STUDY_N_SIDES && !rc; k++) {
        row_of[k] = malloc((size_t)d->answers.n * sizeof **row_of);
        rc = row_of[k] ? 0 : err_set(err, MOE2_ELIMIT, "no memory for the questions");
        for (int64_t i = 0; i < d->answers.n && !rc; i++)
            row_of[k][i] = -1;
        if (!rc)
            rc = read_side(&d->sides[k], d, questions[k], embeddings[k], row_of[k], err);
        if (!rc && d->sides[k].n == 0)
            rc = err_set(err, MOE2_EFORMAT, "%s: has no question", questions[k]);
    }
    for (int64_t i = 0; i < d->answers.n && !rc; i++)
        if (row_of[0][i] >= 0 && row_of[1][i] >= 0)
            rc = err_set(err, MOE2_EFORMAT, "question \"%.60s\" stands in train and in test",
                         d->answers.ids[i]);
    if (!rc && d->sides[0].D != d->sides[1].D)
        rc = err_set(err, MOE2_EFORMAT, "embeddings of %lld and of %lld numbers",
                     (long long)d->sides[0].D, (long long)d->sides[1].D);
    if (!rc && f->chars)
        rc = read_chars(d, row_of, f->chars, err);
    free(row_of[0]);
    free(row_of[1]);
    return rc;
}

void study_data_release(struct study_data *d)
{
    for (int k = 0; k < STUDY_N_SIDES; k++)
        npy_close(&d->sides[k].file);
    answers_release(&d->answers);
    arena_release(&d->memory);
    *d = (struct study_data){0};
}

/* ---- fleets ---- */

/* The mean length of an expert's answers on the side, rounded: for questions that it was not run on. */
static int32_t mean_tokens(const struct study_side *s, int64_t N, int column)
{
    double sum = 0;
    int64_t n = 0;
    for (int64_t i = 0; i < s->n; i++)
        if (s->output_tokens[i * N + column] >= 0) {
            sum += s->output_tokens[i * N + column];
            n++;
        }
    return n ? (int32_t)round(sum / (double)n) : 0;
}

static void fill_costs(int64_t *out, const struct study_side *s, const struct study_fleet *f,
                       int64_t columns, int e, const struct curve *c, int output_tokens)
{
    double unit = c->unit && c->unit[0] == 'm' ? 1e-3 : 1;
    int32_t mean = mean_tokens(s, columns, f->column[e]);
    for (int64_t i = 0; i < s->n; i++) {
        int32_t own = s->output_tokens[i * columns + f->column[e]];
        int32_t o = output_tokens >= 0 ? output_tokens : own >= 0 ? own : mean;
        out[i * f->N + e] = select_micro(unit * curve_value(&c->fit, s->prompt_tokens[i], o));
    }
}

static int make_costs(struct study_fleet *f, struct study_data *d, int k,
                      const struct profile_set *costs, int output_tokens, struct err *err)
{
    const struct study_side *s = &d->sides[k];
    size_t bytes = (size_t)(s->n * f->N) * sizeof(int64_t);
    f->sides[k].latency_us = arena_alloc(&d->memory, bytes, err);
    f->sides[k].energy_uj = arena_alloc(&d->memory, bytes, err);
    if (!f->sides[k].latency_us || !f->sides[k].energy_uj)
        return MOE2_ELIMIT;
    for (int e = 0; e < f->N; e++) {
        const char *name = d->answers.names[f->column[e]];
        fill_costs(f->sides[k].latency_us, s, f, d->answers.n_experts, e,
                   curves_find(&costs->latency, name), output_tokens);
        fill_costs(f->sides[k].energy_uj, s, f, d->answers.n_experts, e,
                   curves_find(&costs->energy, name), output_tokens);
    }
    return 0;
}

static int make_slices(struct study_fleet *f, struct study_data *d, int k, struct err *err)
{
    const struct study_side *s = &d->sides[k];
    size_t cells = (size_t)(s->n * f->N);
    f->sides[k].right = arena_alloc(&d->memory, cells, err);
    f->sides[k].options = arena_alloc(&d->memory, cells, err);
    f->sides[k].answer = arena_alloc(&d->memory, cells * sizeof(int32_t), err);
    if (!f->sides[k].right || !f->sides[k].options || !f->sides[k].answer)
        return MOE2_ELIMIT;
    for (int64_t i = 0; i < s->n; i++)
        for (int e = 0; e < f->N; e++) {
            int64_t from = i * d->answers.n_experts + f->column[e], to = i * f->N + e;
            f->sides[k].right[to] = s->right[from];
            f->sides[k].options[to] = s->options[from];
            f->sides[k].answer[to] = s->options[from];
        }
    return 0;
}

int study_fleet_make(struct study_fleet *f, struct study_data *d, const char *name,
                     const char *const *experts, int n, const struct profile_set *costs,
                     int output_tokens, struct err *err)
{
    *f = (struct study_fleet){.name = name, .N = n, .has_costs = costs != NULL};
    if (n < 1 || n > SELECT_MAX_EXPERTS)
        return err_set(err, MOE2_ECONFIG, "the fleet \"%.60s\" has %d experts, wanted 1 to %d",
                       name, n, SELECT_MAX_EXPERTS);
    for (int e = 0; e < n; e++) {
        f->column[e] = answers_expert(&d->answers, experts[e]);
        if (f->column[e] < 0)
            return err_set(err, MOE2_ECONFIG,
                           "the fleet \"%.60s\" wants \"%.60s\", which the "
                           "outcomes lack",
                           name, experts[e]);
        if (costs &&
            (!curves_find(&costs->latency, experts[e]) || !curves_find(&costs->energy, experts[e])))
            f->has_costs = false;
    }
    int rc = 0;
    for (int k = 0; k < STUDY_N_SIDES && !rc; k++) {
        rc = make_slices(f, d, k, err);
        if (!rc && f->has_costs)
            rc = make_costs(f, d, k, costs, output_tokens, err);
    }
    return rc;
}
