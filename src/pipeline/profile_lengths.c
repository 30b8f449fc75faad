/* Characters generated to output tokens: lengths.csv. See step_profile.h. A token of English is about four characters. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "io/csv_write.h"
#include "pipeline/step_profile.h"

enum { CHARS_A_TOKEN = 4, MAX_CHARS = 1000000000 };

/* The columns of lengths.csv: the id and the experts. */
static bool is_kept(const char *column, int i)
{
    return i == 0 || (strcmp(column, "category") != 0 && strcmp(column, "answer") != 0);
}

static int put_tokens(struct buf *row, const struct records *r, int i, struct err *err)
{
    const char *text = records_cell(r, i, NULL);
    if (!*text)
        return buf_puts(row, ",", err);
    char *end = NULL;
    errno = 0;
    long long chars = strtoll(text, &end, 10);
    if (*end || errno || chars < 0 || chars > MAX_CHARS)
        return err_set(err, MOE2_EFORMAT,
                       "%s:%lld: %s has \"%.40s\" characters, wanted a whole number from 0 to %d",
                       reader_path(records_reader(r)), (long long)records_line_number(r),
                       records_column(r, i), text, MAX_CHARS);
    return buf_printf(row, err, ",%lld", (chars + CHARS_A_TOKEN - 1) / CHARS_A_TOKEN);
}

/* The line of a record, or of the columns' names. */
static int put_row(FILE *f, struct buf *row, const struct records *r, bool is_header,
                   struct err *err)
{
    int rc = 0;
    buf_clear(row);
    for (int i = 0; i < records_n_columns(r) && !rc; i++) {
        const char *text = is_header ? records_column(r, i) : records_cell(r, i, NULL);
        if (!is_kept(records_column(r, i), i))
            continue;
        rc = is_header || i == 0 ? csv_cell(row, text, strlen(text), i == 0, err)
                                 : put_tokens(row, r, i, err);
    }
    if (!rc && !(rc = buf_puts(row, "\n", err)))
        fwrite(row->bytes, 1, row->n, f); /* file_commit looks at the stream's errors */
    return rc;
}

int profile_lengths(const char *out_path, const char *chars_path, const struct log_sink *sink,
                    struct err *err)
{
    struct records_options form = {.form = RECORDS_CSV, .max_record_bytes = 1 << 20};
    struct records *r = NULL;
    struct file_writer w = {0};
    struct buf row = {0};
    struct progress p;
    int rc = records_open(&r, chars_path, &form, err);
    if (!rc && strcmp(records_column(r, 0), "question_id") != 0)
        rc = err_set(err, MOE2_EFORMAT, "%s: the first column is \"%.40s\", wanted question_id",
                     chars_path, records_column(r, 0));
    if (!rc)
        rc = file_begin(&w, out_path, err);
    progress_begin(&p, rc ? NULL : sink, "lengths", 0, "rows");
    if (!rc)
        rc = put_row(w.f, &row, r, true, err);
    bool got = false;
    while (!rc && !(rc = records_next(r, &got, err)) && got) {
        rc = put_row(w.f, &row, r, false, err);
        progress_set(&p, (double)records_number(r));
    }
    progress_end(&p);
    if (!rc && records_number(r) == 0)
        rc = err_set(err, MOE2_EFORMAT, "%s: has no row", chars_path);
    if (!rc)
        rc = file_commit(&w, err);
    file_abort(&w);
    buf_release(&row);
    records_close(r);
    return rc;
}
