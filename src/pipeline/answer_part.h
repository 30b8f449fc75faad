/* One expert's scores of all questions, in memory and in its file. Inside the step: see
 * step_answer.h. */
#ifndef MOE2_PIPELINE_ANSWER_PART_H
#define MOE2_PIPELINE_ANSWER_PART_H

#include <stdatomic.h>

#include "pipeline/step_answer.h"

struct answer_part {
    const struct answer_step *step; /* borrowed, as the next three */
    const struct answer_expert *expert;
    const struct answer_set *questions;
    const struct answer_form_options *form;
    char key[40];                /* hash of what was asked of whom */
    int n_threads, n_jobs;       /* of it; experts at work beside each other */
    struct choice_score *scores; /* [questions.n_options] owned */
    int64_t n_done, n_resumed;
    bool complete; /* its file is whole: nothing is left to ask */
    double seconds;
    atomic_llong *n_all_done; /* over all experts, for progress */
    struct err err;           /* of its run */
    int rc;
};

/* Fills key, reads what an earlier run left; part is zeroed but for the borrowed ones. MOE2_ELIMIT,
 * MOE2_EIO. */
int answer_part_open(struct answer_part *p, uint64_t asked_a, uint64_t asked_b, struct err *err);
void answer_part_release(struct answer_part *p);

/* Asks the rest. rc and err are the part's. */
void answer_part_run(struct answer_part *p);

#endif
