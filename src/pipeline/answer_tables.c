/* Tables of answers: see answer_tables.h. */
#include "pipeline/answer_tables.h"

#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "io/csv_write.h"

enum { OUTCOMES, PREDICTIONS, LENGTHS, N_TABLES };
static const char *const files[N_TABLES] = {"outcomes.csv", "predictions.csv", "lengths.csv"};

static int put_header(struct buf *out, const struct answer_tables *t, int table, struct err *err)
{
    int rc = buf_puts(
        out, table == OUTCOMES ? "question_id,category,answer,prompt_tokens" : "question_id", err);
    for (int i = 0; i < t->n_experts && !rc; i++)
        rc = csv_cell(out, t->experts[i], strlen(t->experts[i]), false, err);
    return rc ? rc : buf_append(out, "\n", 1, err);
}

/* A number as a cell, an empty one below 0. */
static int put_number(struct buf *out, int value, struct err *err)
{
    return value < 0 ? buf_puts(out, ",", err) : buf_printf(out, err, ",%d", value);
}

static int put_row(struct buf *out, const struct answer_tables *t, int64_t n, int table,
                   struct err *err)
{
    const struct answer_question *q = &t->questions->v[n];
    int rc = csv_cell(out, q->id, strlen(q->id), true, err);
    if (!rc && table == OUTCOMES) {
        rc = csv_cell(out, q->subject, strlen(q->subject), false, err);
        if (!rc)
            rc = buf_printf(out, err, ",%c", 'A' + q->answer);
        if (!rc)
            rc = put_number(out, t->prompt_tokens[n], err);
    }
    for (int i = 0; i < t->n_experts && !rc; i++) {
        int64_t at = n * t->n_experts + i;
        int option = t->options[at], right = option < 0 ? -1 : option == q->answer;
        if (table == OUTCOMES)
            rc = put_number(out, t->outcomes ? t->outcomes[at] : right, err);
        else if (table == LENGTHS)
            rc = put_number(out, t->tokens[at], err);
        else if (option < 0)
            rc = buf_puts(out, ",", err);
        else
            rc = buf_printf(out, err, ",%c", 'A' + option);
    }
    return rc ? rc : buf_append(out, "\n", 1, err);
}

static int write_table(const char *dir, const struct answer_tables *t, int table, struct err *err)
{
    struct file_writer w = {0};
    struct buf line = {0};
    char *path = path_join(dir, files[table]);
    int rc = path ? file_begin(&w, path, err) : err_set(err, MOE2_ELIMIT, "no memory for a path");
    if (!rc)
        rc = put_header(&line, t, table, err);
    if (!rc)
        rc = file_put(&w, line.bytes, line.n, err);
    for (int64_t q = 0; q < t->questions->n && !rc; q++) {
        buf_clear(&line);
        rc = put_row(&line, t, q, table, err);
        if (!rc)
            rc = file_put(&w, line.bytes, line.n, err);
    }
    if (!rc)
        rc = file_commit(&w, err);
    file_abort(&w);
    buf_release(&line);
    free(path);
    return rc;
}

int answer_tables_write(const char *dir, const struct answer_tables *t, struct err *err)
{
    int rc = 0;
    for (int table = 0; table < N_TABLES && !rc; table++)
        rc = write_table(dir, t, table, err);
    return rc;
}
