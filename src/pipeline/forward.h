/* The way of one prompt: the gate picks k of the experts in service, they are asked, their answers become one.
 *
 *     struct forward f = {.source = source, .N = 8, .subset = mask, .k = 3, .combine = FORWARD_VOTE};
 *     struct forward_walk walk;
 *     forward_question(&walk, &f, question, row, scores, err);
 */
#ifndef MOE2_PIPELINE_FORWARD_H
#define MOE2_PIPELINE_FORWARD_H

#include "pipeline/expert_source.h"
#include "route/vote_learned.h"

enum forward_combine { FORWARD_TOP1, FORWARD_VOTE, FORWARD_WEIGHTED, FORWARD_LEARNED, FORWARD_N };
const char *forward_combine_name(enum forward_combine combine);
int forward_combine_find(const char *name); /* −1: unknown */

struct forward {
    struct expert_source source;
    int N;           /* experts that there are scores for */
    uint64_t subset; /* bit e: expert e is in service */
    int k;           /* how many are asked at most; top1 needs 1 */
    enum forward_combine combine;
    const struct vote_learned *learned; /* FORWARD_LEARNED: weights, and what they look at */
    const struct vote_view *view;
};

/* What happened to a question. */
struct forward_walk {
    int n_asked;
    int asked[VOTE_MAX_EXPERTS]; /* in the order of their scores */
    struct expert_reply replies[VOTE_MAX_EXPERTS];
    int8_t option;                   /* the answer given; −1: none */
    int8_t right;                    /* 1, 0; −1: nobody told */
    double totals[VOTE_MAX_OPTIONS]; /* votes, weights or scores by option; 0 where nobody voted */
};

/* Asks and combines. question is the source's number of it, row the view's. A vote goes to the option with the most votes (weighted: the largest summed score), equal ones to the larger summed
 * score, then to the one given first. Errors: those of the source; MOE2_ENUMERIC for a negative score with `weighted`. */
int forward_question(struct forward_walk *walk, const struct forward *f, int64_t question,
                     int64_t row, const float *scores, struct err *err);

#endif
