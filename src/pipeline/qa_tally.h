/* What became of the rows of a set: counted by the steps that read questions, shown as a table and as
 * JSON. read = broken + kept + left out as overlap, as not one of several options (gating only). */
#ifndef MOE2_PIPELINE_QA_TALLY_H
#define MOE2_PIPELINE_QA_TALLY_H

#include "io/json_util.h"
#include "pipeline/qa_leak.h"

struct qa_tally {
    int64_t n_files, n_read, n_broken;
    int64_t n_kinds[QA_N_KINDS]; /* of the rows that are not broken */
    int64_t n_listed;            /* several: the right letters are a list … */
    int64_t n_listed_single;     /* … of one letter only */
    int64_t n_listed_none;       /* … without any */
    int64_t n_leaks[QA_N_LEAKS]; /* rows that stand in the gating set, by the reason */
    int64_t n_repeated;          /* rows that stood in the set before, word for word */
    int64_t n_kept;
};

/* Counts a row's kind. */
void qa_tally_row(struct qa_tally *t, const struct qa_row *row);

/* Rows that stand in the gating set. */
int64_t qa_tally_overlap(const struct qa_tally *t);

/* The counts as members of the open object. */
void qa_tally_json(struct json_writer *w, const struct qa_tally *t);

#endif
