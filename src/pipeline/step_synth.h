/* Procedural questions as sets to train, gate and test on: the step behind moe2 data synth.
 *
 *     struct synth_step step = synth_step_default();
 *     step.out_dir = "data";
 *     struct synth_report report;
 *     synth_run(&report, &step, err);
 *
 * A question's text alone decides, by its hash, which of the sets it may stand in. So no question
 * stands in two sets, whatever their seeds and sizes: a test set of one seed is apart from the
 * training set of any other. Within a set no question stands twice. Row i comes from (seed, set,
 * i): a longer set begins with the shorter one.
 */
#ifndef MOE2_PIPELINE_STEP_SYNTH_H
#define MOE2_PIPELINE_STEP_SYNTH_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "base/log.h"
#include "io/json_util.h"
#include "pipeline/synth_family.h"

enum synth_set {
    SYNTH_TRAIN,        /* combined_train.jsonl */
    SYNTH_GATING_TRAIN, /* gating_train.jsonl */
    SYNTH_GATING_TEST,  /* gating_test.jsonl */
    SYNTH_FEW_SHOT,     /* few_shot.jsonl */
    SYNTH_N_SETS
};
extern const char *const synth_set_files[SYNTH_N_SETS];

enum { SYNTH_MAX_ROWS = 1 << 26 }; /* of a set */

struct synth_step {
    const char *out_dir; /* made if it is not there */
    int64_t n_rows[SYNTH_N_SETS];
    uint32_t families; /* a bit each; at least one */
    uint64_t seed;
    bool once; /* nothing is done when out_dir has what this step makes; the report is zeros then */
    bool italian; /* the same questions in Italian (synth_italian.h), in the same sets */
    const struct log_sink *sink; /* or NULL */
    const volatile int *stop;    /* not 0: MOE2_ESTOP at the next row; or NULL */
};

/* 8,000, 1,600, 400 and 40 rows of all families, seed 1. */
struct synth_step synth_step_default(void);

struct synth_report {
    int64_t n[SYNTH_N_SETS][SYNTH_N_FAMILIES];
    int64_t n_repeated; /* questions that were drawn and stood in their set already */
};

/* Writes the four files and synth.json, which is the last. The same step gives the same bytes.
 * Errors: MOE2_ECONFIG for sizes that make no sense; MOE2_ELIMIT for a family that has no more new
 * questions; MOE2_EIO; MOE2_ESTOP. */
int synth_run(struct synth_report *report, const struct synth_step *step, struct err *err);

/* The counts as members of the open object. */
void synth_json(struct json_writer *w, const struct synth_report *r);

#endif
