/* Who answers: a small interface between the walk of a question (forward.h) and the experts behind it. Recorded answers
 * here; live experts, asked side by side over HTTP, in expert_live.h.
 */
#ifndef MOE2_PIPELINE_EXPERT_SOURCE_H
#define MOE2_PIPELINE_EXPERT_SOURCE_H

#include <stdint.h>

#include "base/err.h"
#include "pipeline/answers.h"

struct expert_reply {
    int8_t option; /* the answered option, −1: it answered nothing that is one */
    int8_t right;  /* 1, 0; −1: not known, or the expert did not run */
};

struct expert_source {
    /* Asks experts [n] about a question, all at once; replies [n] in the same order. An expert that fails gives option −1, right −1; an error
     * is for what ends the whole walk. Called from one thread. */
    int (*ask)(struct expert_reply *replies, void *ctx, int64_t question, const int *experts, int n,
               struct err *err);
    void *ctx;
};

/* Recorded answers as a source: question is a row of a, which is borrowed. Without predictions an option is 0 for right, 1 for wrong: all
 * wrong answers are taken to agree. */
struct expert_source expert_source_recorded(const struct answers *a);

#endif
