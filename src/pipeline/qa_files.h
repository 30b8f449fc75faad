/* The rows of a set of questions, over all its files, one at a time.
 *
 *     struct qa_files *f;
 *     qa_files_open(&f, &options, err);
 *     while (!(rc = qa_files_next(f, &row, err)) && row) …
 *     qa_files_close(f);
 *
 * A path is a file or a folder; of a folder its .jsonl, .json and .csv files (also .gz, .zst) are read in
 * the order of their names. Of a folder of MMLU with test/ and dev/ inside, test/ are the questions and dev/
 * the few-shot examples; elsewhere a file's name says so (…_dev, dev…; …_val, val… and auxiliary… are
 * never read). A set that publishes no ids gets source/subject/number, counted from 0 within the subject, so
 * MMLU's CSV files and the hub's rows of the same questions give the same ids.
 */
#ifndef MOE2_PIPELINE_QA_FILES_H
#define MOE2_PIPELINE_QA_FILES_H

#include "base/log.h"
#include "pipeline/qa_forms.h"

enum {
    QA_MAX_FILES = 1 << 16,
    QA_MAX_SUBJECTS = 1 << 16, /* of one set */
};

struct qa_paths {
    const char *const *paths; /* borrowed */
    int64_t n;
};

struct qa_files_options {
    enum qa_source source;
    struct qa_paths paths;
    bool few_shot; /* the few-shot examples instead of the questions */
    bool skip_broken;
    uint64_t seed;
    const struct log_sink *sink; /* or NULL */
    const volatile int *stop;    /* not 0: MOE2_ESTOP at the next row; or NULL */
};

struct qa_files;

/* The result is the caller's; paths are copied. MOE2_EIO for a path that is not there; MOE2_EFORMAT
 * for parquet, which comes later. */
int qa_files_open(struct qa_files **out, const struct qa_files_options *options, struct err *err);
void qa_files_close(struct qa_files *f); /* NULL is fine */

/* The next row, borrowed until the next call; NULL at the end. Errors name file and line. Broken rows
 * are passed over and counted with skip_broken, except where nobody knows where the next row begins. */
int qa_files_next(struct qa_files *f, const struct qa_row **row, struct err *err);

int64_t qa_files_n_files(const struct qa_files *f);
int64_t qa_files_n_broken(const struct qa_files *f); /* so far */

#endif
