/* The step "gating_set": one set of questions becomes OUT/gating_train.jsonl and OUT/gating_test.jsonl,
 * 80 / 20, stratified by subject (qa_split.h), and MMLU's dev questions OUT/few_shot.jsonl. What was read
 * and kept stands in OUT/gating_set.json, written last. The set goes by twice, a row at a time; the same
 * rows and seed give the same bytes.
 *
 *     struct gating_set_step step = gating_set_default();
 *     step.paths = …; step.out_dir = "data";
 *     gating_set_run(&report, &step, err);
 */
#ifndef MOE2_PIPELINE_STEP_GATING_SET_H
#define MOE2_PIPELINE_STEP_GATING_SET_H

#include "pipeline/qa_files.h"
#include "pipeline/qa_tally.h"

#define GATING_TRAIN_FILE "gating_train.jsonl"
#define GATING_TEST_FILE "gating_test.jsonl"
#define FEW_SHOT_FILE "few_shot.jsonl"

struct gating_set_step {
    enum qa_source source; /* QA_MMLU or QA_MMLU_PRO */
    struct qa_paths paths;
    double test_share;
    uint64_t seed;
    bool skip_broken;
    const char
        *note; /* what must be said wherever the set is shown ("synthetic …"); NULL: nothing */
    const char *out_dir;
    const struct log_sink *sink; /* or NULL */
    const volatile int *stop;    /* or NULL */
};

struct gating_set_step gating_set_default(void);

struct gating_set_report {
    enum qa_source source;
    struct qa_tally tally; /* kept: train and test together */
    int64_t n_train, n_test, n_few_shot, n_subjects;
    int64_t n_repeated; /* rows whose question stood before: on the side of the first */
};

/* Errors: MOE2_ECONFIG for a share out of range; those of reading and writing; MOE2_EFORMAT for an id
 * twice or a set without a row that has one right option; MOE2_ESTOP. Files appear as wholes. */
int gating_set_run(struct gating_set_report *report, const struct gating_set_step *step,
                   struct err *err);

/* The report as members of the open object. */
void gating_set_json(struct json_writer *w, const struct gating_set_report *report);

#endif
