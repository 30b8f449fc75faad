/* What every expert answered on every question: outcomes.csv, and predictions.csv beside it (io/outcomes.h), with answers as options 0 … 25.
 *
 *     struct answers a;
 *     answers_read(&a, "outcomes.csv", "predictions.csv", err);
 *     answers_release(&a);
 *
 * An answer is a letter from A to Z or a number to 25. Where the right one is told, what an expert answered and its outcome must agree.
 */
#ifndef MOE2_PIPELINE_ANSWERS_H
#define MOE2_PIPELINE_ANSWERS_H

#include <stdint.h>

#include "base/arena.h"
#include "io/outcomes.h"

enum { ANSWERS_MAX_EXPERTS = OUTCOMES_MAX_EXPERTS, ANSWERS_MAX_CATEGORIES = 4096 };

struct answers {
    struct outcomes read; /* the file; with memory it owns everything below */
    struct arena memory;
    int64_t n;
    int n_experts, n_categories;
    const char **names;      /* [n_experts] */
    const char **categories; /* [n_categories], in order of first appearance */
    const char **ids;        /* [n] */
    int32_t *category;       /* [n]; −1: none */
    int8_t *right;           /* [n] the right option; −1: not told */
    int8_t *outcomes;        /* [n, n_experts] 1, 0, −1: not run */
    int8_t *options; /* [n, n_experts] the answered option, −1: none; NULL without predictions */
};

/* Reads both files; predictions may be NULL. Errors: MOE2_EIO; those of outcomes_read and predictions_read; MOE2_EFORMAT naming the file and the answer that is
 * no option, or the question and expert whose answer and outcome do not agree; MOE2_ELIMIT. a is the caller's to release after success only. */
int answers_read(struct answers *a, const char *outcomes, const char *predictions, struct err *err);
void answers_release(struct answers *a); /* a zeroed one is fine */

int64_t answers_row(const struct answers *a, const char *id);  /* −1: not there */
int answers_expert(const struct answers *a, const char *name); /* −1: not there */

/* "A" … "Z" or "0" … "25" as an option; −1 for an empty text, −2 for anything else. */
int answers_option(const char *text);

#endif
