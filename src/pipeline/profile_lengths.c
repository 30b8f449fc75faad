/* Characters generated to output tokens: lengths.csv. See step_profile.h. A token of English is about four characters. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "pipeline/step_profile.h"

enum { CHARS_A_TOKEN = 4, MAX_CHARS = 1000000000 };

/* The columns of lengths.csv: the id and the experts. */
static bool is_kept(const char *column, int i)
{
    return i == 0 || (strcmp(column, "category") != 0 && strcmp(column, "answer") != 0);
}

static void put_cell(FILE *f, const char *text, bool first)
{
    if (!first)
        fputc(',', f);
    if (!strpbrk(text, ",\"\r\n")) {
        fputs(text, f);
        return;
    }
    fputc('"', f);
    for (; *text; text++) {
        if (*text == '"')
            fputc('"', f);
        fputc(*text, f);
    }
    fputc('"', f);
}

static int put_tokens(FILE *f, const struct records *r, int i, struct err *err)
{
    const char *text = records_cell(r, i, NULL);
    if (!*text) {
        fputc(',', f);
        return 0;
    }
    char *end = NULL;
    errno = 0;
    long long chars = strtoll(text, &end, 10);
    if (*end || errno || chars < 0 || chars > MAX_CHARS)
        return err_set(err, MOE2_EFORMAT,
                       "%s:%lld: %s has \"%.40s\" characters, wanted a whole number from 0 to %d",
                       reader_path(records_reader(r)), (long long)records_line_number(r),
                       records_column(r, i), text, MAX_CHARS);
    fprintf(f, ",%lld", (chars + CHARS_A_TOKEN - 1) / CHARS_A_TOKEN);
    return 0;
}

static int put_row(FILE *f, const struct records *r, struct err *err)
{
    int rc = 0;
    put_cell(f, records_cell(r, 0, NULL), true);
    for (int i = 1; i < records_n_columns(r) && !rc; i++)
        if (is_kept(records_column(r, i), i))
            rc = put_tokens(f, r, i, err);
    fputc('\n', f);
    return rc;
}

int profile_lengths(const char *out_path, const char *chars_path, const struct log_sink *sink,
                    struct err *err)
{
    struct records_options form = {.form = RECORDS_CSV, .max_record_bytes = 1 << 20};
    struct records *r = NULL;
    struct file_writer w = {0};
    struct progress p;
    int rc = records_open(&r, chars_path, &form, err);
    if (!rc && strcmp(records_column(r, 0), "question_id") != 0)
        rc = err_set(err, MOE2_EFORMAT, "%s: the first column is \"%.40s\", wanted question_id",
                     chars_path, records_column(r, 0));
    if (!rc)
        rc = file_begin(&w, out_path, err);
    progress_begin(&p, rc ? NULL : sink, "lengths", 0, "rows");
    for (int i = 0; !rc && i < records_n_columns(r); i++)
        if (is_kept(records_column(r, i), i))
            put_cell(w.f, records_column(r, i), i == 0);
    if (!rc)
        fputc('\n', w.f);
    bool got = false;
    while (!rc && !(rc = records_next(r, &got, err)) && got) {
        rc = put_row(w.f, r, err);
        progress_set(&p, (double)records_number(r));
    }
    progress_end(&p);
    if (!rc && records_number(r) == 0)
        rc = err_set(err, MOE2_EFORMAT, "%s: has no row", chars_path);
    if (!rc)
        rc = file_commit(&w, err);
    file_abort(&w);
    records_close(r);
    return rc;
}
