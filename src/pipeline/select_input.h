/* What was read for a selection, and the problem made of some of its rows. Internal to the step "select". */
#ifndef MOE2_PIPELINE_SELECT_INPUT_H
#define MOE2_PIPELINE_SELECT_INPUT_H

#include "io/cost_fits.h"
#include "pipeline/select_run.h"

/* Where a length comes from. */
struct length_source {
    enum { LENGTH_NOWHERE, LENGTH_NUMBER, LENGTH_FILE, LENGTH_COLUMN } from;
    const char *flag, *path; /* for messages */
    int32_t number;
    struct lengths file;
    const int32_t *tokens; /* of file or of the outcomes' column */
    bool by_expert;
};

struct select_input {
    const struct select_options *options; /* borrowed, as is the report */
    struct select_report *report;
    const char *names[OUTCOMES_MAX_EXPERTS]; /* [n_experts] of the run */
    uint64_t wanted;                         /* the run's experts, numbers of the file */
    float *score;                            /* [n_rows, N of the file]; NULL */
    struct predictions predictions;
    struct category_limits limits;
    struct cost_fit fits[2][OUTCOMES_MAX_EXPERTS]; /* by cost_kind */
    bool has_fits[2];
    struct length_source prompt, output;
    int64_t *rows, n_rows; /* the prompts of the run, rows of the file */
};

int select_input_read(struct select_input *in, struct err *err);
void select_input_release(struct select_input *in);

/* The arrays of a problem: right, score, answers, costs. */
struct select_arrays {
    int8_t *right;
    float *score;
    int32_t *answer, *category;
    int64_t *cost[2];
    struct select_limits *limits, *category_limits;
};
void select_arrays_release(struct select_arrays *a);

/* The problem of those rows; its arrays are a's. category: whose limits are the problem's own, −1 for none. */
int select_input_problem(struct select_problem *p, struct select_arrays *a,
                         const struct select_input *in, const int64_t *rows, int64_t n,
                         int32_t category, struct err *err);

/* The costs of those rows in millionths: constant ones, or *each [n, N of the run], the caller's. */
int select_costs_fill(struct select_costs *c, int64_t **each, const struct select_input *in,
                      enum cost_kind kind, const int64_t *rows, int64_t n, struct err *err);

#endif
