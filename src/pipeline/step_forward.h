/* The step "forward": a question file through gate, experts and combination. Behind moe2 forward.
 *
 *     struct forward_step step = {.outcomes = "outcomes.csv", .predictions = "predictions.csv", .gate_scores = "scores.npy",
 *                                 .subset = "a,b,c", .k = 3, .combine = FORWARD_VOTE, .out_dir = "results/forward"};
 *     struct forward_report report;
 *     forward_run(&report, &step, err);              OUT/answers.jsonl, OUT/forward.json
 *     forward_report_release(&report);
 */
#ifndef MOE2_PIPELINE_STEP_FORWARD_H
#define MOE2_PIPELINE_STEP_FORWARD_H

#include <stdbool.h>

#include "base/log.h"
#include "base/stats.h"
#include "base/table.h"
#include "pipeline/answer_set.h"
#include "pipeline/forward.h"

enum { FORWARD_MAX_QUESTION_BYTES = 1 << 22 };

struct forward_step {
    const char *
        questions; /* JSON lines with id or question_id: which questions, in which order; NULL: all of the outcomes */
    const char *
        live; /* the endpoint of a running fleet, http://host:port, in place of recorded answers; NULL: those */
    int64_t limit;         /* live: the first so many questions; 0: all */
    enum answer_form form; /* live: letters, or the options' texts */
    double timeout_s;      /* live: of one answer; 0: 120 */
    const char *outcomes,
        *predictions; /* answers.h; predictions may be NULL: wrong answers are taken to agree */
    const char *
        gate_scores; /* .npy [rows, experts]; rows are the outcomes', or the questions' where only they are as many */
    const char *subset; /* names with commas; NULL: all, or the learned combination's */
    int64_t k;
    enum forward_combine combine;
    const char *learned; /* the combination's file: read with FORWARD_LEARNED, written with fit */
    bool fit;            /* fit it on these questions instead of answering them */
    bool
        text_free; /* with fit: no gate scores in the weights, only who said what, and the category */
    const char *out_dir; /* NULL: no files */
    const struct log_sink *sink;
    const volatile int *stop; /* live: not 0: MOE2_ESTOP; or NULL */
};

struct forward_report {
    int64_t n, n_right;
    bool
        partial; /* live, and not all in service were asked: best_single, gain and oracle are not known */
    double asked; /* experts asked a question */
    struct stats_share accuracy, best_single;
    struct stats_interval gain; /* paired, over the best single of the subset on these questions */
    char best_name[80];
    double oracle; /* share of questions that some expert of the subset has right */
    double loss;   /* fit: cross-entropy a question */
    struct table *by_category, *by_expert; /* owned */
};

/* Errors: those of the files; MOE2_ECONFIG for an unknown expert, k out of range, top1 with k > 1, a combination that does not fit. Nothing
 * is written then. */
int forward_run(struct forward_report *report, const struct forward_step *step, struct err *err);
void forward_report_release(struct forward_report *report);

#endif
