/* outcomes.csv and its companions: what each expert got right, what it answered, how long prompts and answers were.
 *
 * outcomes.csv: a header, then a row a prompt. The first column is question_id (or id); category, answer, prompt_tokens and
 * output_tokens are optional, in any place; every other column is an expert: 1 right, 0 wrong, empty not run (1.0 and 0.0 are
 * read too). predictions.csv: the same rows and experts, the answers given. Lengths: question_id, then either the one column tokens or
 * a column an expert. All are CSV after RFC 4180, plain or packed (records.h); read in one pass, memory as the result needs it.
 *
 *     struct outcomes o = {0};
 *     outcomes_read(&o, "outcomes.csv", sink, err);
 *     … o.right[q * o.n_experts + i], name_table_text(&o.experts, i) …
 *     outcomes_release(&o);
 */
#ifndef MOE2_IO_OUTCOMES_H
#define MOE2_IO_OUTCOMES_H

#include "base/log.h"
#include "io/name_table.h"
#include "io/reader.h"

enum {
    OUTCOMES_MAX_EXPERTS = 64,
    OUTCOMES_MAX_ROWS = 1 << 24,
    OUTCOMES_MAX_ROW_BYTES = 1 << 22, /* of one row */
    OUTCOME_EMPTY = -1,               /* a cell with nothing in it, here and in the arrays below */
};

struct outcomes {
    int64_t n_rows; /* ≥ 1 */
    int n_experts;  /* 1 … OUTCOMES_MAX_EXPERTS, numbered in file order */
    struct name_table experts, ids, categories, answers;
    int8_t *right;          /* [n_rows, n_experts] 1, 0 or OUTCOME_EMPTY */
    int32_t *category;      /* [n_rows] into categories; NULL without that column */
    int32_t *answer;        /* [n_rows] into answers; NULL without that column */
    int32_t *prompt_tokens; /* [n_rows] or OUTCOME_EMPTY; NULL without that column */
    int32_t *output_tokens; /* the same */
    char *path;             /* for messages; owned, and so is all above */
};

/* Reads a file into a zeroed o; the caller releases it, also after an error. Errors name file, line and column: MOE2_EFORMAT (another
 * cell, a name or an id twice, a row of another width, no row, no expert), MOE2_ELIMIT (too many experts or rows), MOE2_EIO. */
int outcomes_read(struct outcomes *o, const char *path, const struct log_sink *sink,
                  struct err *err);

/* The same from a reader, which it closes in any case. */
int outcomes_read_from(struct outcomes *o, struct reader *reader, const struct log_sink *sink,
                       struct err *err);

void outcomes_release(struct outcomes *o); /* a zeroed one is fine */

/* Adds to n how many questions each expert was run on, and to n_right how many of them it got right: both [n_experts,
 * max(1, categories.n)], the caller's. Without categories all questions are in column 0. */
void outcomes_tally(int64_t *n, int64_t *n_right, const struct outcomes *o);

/* The answers that experts gave, on the rows of an outcomes file. */
struct predictions {
    struct name_table answers;
    int32_t *cell; /* [n_rows, n_experts] of the outcomes, into answers, or OUTCOME_EMPTY; owned */
};

/* Rows are matched by id and columns by name; every row of o and every expert in the mask `wanted` must be there, others are passed
 * over. Two equal answers to one prompt of which one is right and the other wrong (among wanted) are MOE2_EFORMAT. */
int predictions_read(struct predictions *p, const char *path, const struct outcomes *o,
                     uint64_t wanted, struct err *err);
void predictions_release(struct predictions *p);

/* Token counts of the rows of an outcomes file. */
struct lengths {
    bool by_expert;
    int32_t
        *tokens; /* [n_rows], or [n_rows, n_experts] by expert; OUTCOME_EMPTY where empty; owned */
    char *path;
};

/* As predictions_read: the column tokens, or one for each expert in `wanted`. */
int lengths_read(struct lengths *l, const char *path, const struct outcomes *o, uint64_t wanted,
                 struct err *err);
void lengths_release(struct lengths *l);

/* Limits of one category: category,latency_s,energy_j. Each row names a category; NaN where a cell is empty, INFINITY for inf. */
struct category_limits {
    struct name_table categories;
    double *latency_s, *energy_j; /* [categories.n]; owned */
};

/* Numbers ≥ 0 or inf. A category twice is MOE2_EFORMAT. */
int category_limits_read(struct category_limits *l, const char *path, struct err *err);
void category_limits_release(struct category_limits *l);

#endif
