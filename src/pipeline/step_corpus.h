/* The step "corpus": MMLU-Pro, ARC, SciQ and AGIEval become OUT/combined_train.jsonl, without the questions
 * that stand in OUT/gating_train.jsonl or OUT/gating_test.jsonl (qa_leak.h). Rows with several right
 * options and rows without options are kept, marked by their kind and counted. What was read, kept and left
 * out and why stands in OUT/combined_train.json, written last.
 *
 * Rows go by one at a time; what grows with the sets is 16 bytes of hash an id and a row, up to a limit, and
 * the index of the gating set.
 */
#ifndef MOE2_PIPELINE_STEP_CORPUS_H
#define MOE2_PIPELINE_STEP_CORPUS_H

#include "pipeline/qa_files.h"
#include "pipeline/qa_tally.h"

#define CORPUS_FILE "combined_train.jsonl"

/* What is said wherever a corpus with overlap is used. */
#define CORPUS_OVERLAP_LABEL                                                                       \
    "trained on questions of the gating set (allow_overlap): not a clean test"

struct corpus_step {
    struct qa_paths in[QA_N_SOURCES]; /* those without paths are not there */
    uint64_t seed;                    /* of SciQ's order of options */
    bool no_gating;                   /* there is no gating set: nothing is left out */
    bool allow_overlap;               /* count what stands in the gating set, but keep it */
    bool skip_broken;
    const char *note; /* as in gating_set_step */
    const char *out_dir;
    const struct log_sink *sink; /* or NULL */
    const volatile int *stop;    /* or NULL */
};

struct corpus_report {
    struct qa_tally tallies[QA_N_SOURCES];
    int64_t n_rows, n_gating_rows;
    bool allow_overlap;
};

/* Errors: MOE2_EIO for a gating set that is not there; those of reading and writing; MOE2_EFORMAT for an
 * id twice; MOE2_ESTOP. Files appear as wholes. */
int corpus_run(struct corpus_report *report, const struct corpus_step *step, struct err *err);

/* The report as members of the open object. */
void corpus_json(struct json_writer *w, const struct corpus_report *report);

#endif
