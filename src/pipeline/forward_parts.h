/* Inside the step "forward": what is loaded, and the two files that share it. */
#ifndef MOE2_PIPELINE_FORWARD_PARTS_H
#define MOE2_PIPELINE_FORWARD_PARTS_H

#include "base/buf.h"
#include "pipeline/expert_live.h"
#include "pipeline/learned_file.h"
#include "pipeline/step_forward.h"

struct forward_work {
    struct answers answers;
    struct expert_live *live; /* owned; NULL: answers are recorded */
    int64_t *rows;            /* [n] of the answers, in the order of the questions */
    int64_t n;
    float *scores;   /* [n, N] */
    uint64_t subset; /* bit e: in service */
    int64_t k;
    enum forward_combine combine;
    struct learned_file file;
    int8_t *options; /* [n, N] for the learned combination */
    int32_t *part;   /* [n] */
    struct vote_view view;
    bool *right; /* [n] */
    int64_t n_asked[ANSWERS_MAX_EXPERTS];
};

/* Appends the line of question i for answers.jsonl. */
int forward_line(struct buf *out, const struct forward_work *w, const struct forward_walk *walk,
                 int64_t i, struct err *err);

/* Fills the report from what was counted. */
int forward_report_fill(struct forward_report *r, const struct forward_work *w, struct err *err);

/* forward.json in the step's folder. */
int forward_write(const struct forward_report *r, const struct forward_work *w,
                  const struct forward_step *step, struct err *err);

#endif
