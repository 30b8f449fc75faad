/* Records: JSON lines, a JSON array of objects and CSV behind one interface, over plain, gzip or
 * zstd files, with bounded memory.
 *
 *     struct records *r;
 *     records_open(&r, "sample.csv", NULL, err);
 *     for (bool got; !(rc = records_next(r, &got, err)) && got;) {
 *         size_t n;
 *         const char *text = records_field(r, "text", &n);
 *         …
 *     }
 *     records_close(r);
 *
 * JSON lines: an object a line; blank lines are passed over. A string field gives its text with the
 * escapes resolved; any other value gives its JSON text; null gives NULL, as if the field were not
 * there. A JSON array is read an object at a time, by the same rules. CSV (RFC 4180): comma, quotes doubled inside quotes, line breaks inside quotes, LF or CR
 * LF, the first row names the fields; every row has as many fields as the first. A byte order mark
 * at the start is passed over.
 */
#ifndef MOE2_IO_RECORDS_H
#define MOE2_IO_RECORDS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "io/reader.h"

enum records_form { RECORDS_AUTO, RECORDS_JSONL, RECORDS_CSV, RECORDS_JSON };

enum {
    RECORDS_MAX_FIELDS = 1024,
    RECORDS_MAX_RECORD_BYTES = 64 << 20, /* the default limit of one record */
};

struct records_options {
    enum records_form
        form; /* RECORDS_AUTO: JSON lines when the first byte that is no space is '{', an array for '[' */
    size_t max_record_bytes; /* 0: RECORDS_MAX_RECORD_BYTES */
    /* CSV without a header row: the fields' names, NULL-ended, borrowed until records_close */
    const char *const *names;
};

struct records;

/* Opens a file; options may be NULL. The result is the caller's. Errors: as reader_open;
 * MOE2_EFORMAT for a bad header row. */
int records_open(struct records **out, const char *path, const struct records_options *options,
                 struct err *err);

/* The same over a reader, which the records then own, also on failure. */
int records_open_reader(struct records **out, struct reader *reader,
                        const struct records_options *options, struct err *err);

void records_close(struct records *r); /* NULL is fine */

/* Goes to the next record; *got is false at the end. Errors name file, line and what is wrong:
 * MOE2_EFORMAT for broken JSON, text that is not UTF-8, a NUL byte, a field twice, a quote that is
 * never closed or stands where none may, a row of another length; MOE2_ELIMIT for a record above
 * the limit; MOE2_EIO. After a MOE2_EFORMAT that leaves no doubt where the next record begins (any
 * in a JSON line; a row of another length or not UTF-8) the next call goes on behind the bad
 * record; after any other error it fails again. */
int records_next(struct records *r, bool *got, struct err *err);

/* The field of the current record as NUL-ended UTF-8, borrowed until the next call; NULL when the
 * record has none of that name. n may be NULL. */
const char *records_field(const struct records *r, const char *name, size_t *n);

/* The same for a field that must be there: MOE2_EFORMAT naming file, line and field. */
int records_need(const char **text, size_t *n, const struct records *r, const char *name,
                 struct err *err);

/* The columns of a CSV file in the order of the file: how many, their names (borrowed until records_close), and the current
 * record's text in column i (as records_field). For files whose columns are data: an expert each. */
int records_n_columns(const struct records *r);
const char *records_column(const struct records *r, int i);
const char *records_cell(const struct records *r, int i, size_t *n);

enum records_form records_form(const struct records *r);
int64_t records_number(const struct records *r);              /* of the current record, from 1 */
int64_t records_line_number(const struct records *r);         /* where it begins, from 1 */
const struct reader *records_reader(const struct records *r); /* for progress; borrowed */

#endif
