/* What every expert answered on every question: outcomes.csv, and predictions.csv beside it.
 *
 *     struct answers a;
 *     answers_read(&a, "outcomes.csv", "predictions.csv", err);
 *     answers_release(&a);
 *
 * outcomes.csv: question_id (or id), then in any place category, answer, prompt_tokens, output_tokens, and a column an expert with 1, 0 or
 * nothing. predictions.csv: the same ids and experts with the answered letter, or nothing. Letters are kept as options 0 … 25.
 */
#ifndef MOE2_PIPELINE_ANSWERS_H
#define MOE2_PIPELINE_ANSWERS_H

#include <stdint.h>

#include "base/arena.h"
#include "base/err.h"

enum { ANSWERS_MAX_EXPERTS = 64, ANSWERS_MAX_ROWS = 20000000, ANSWERS_MAX_CATEGORIES = 4096 };

struct answers {
    struct arena memory; /* owns everything below */
    int64_t n;
    int n_experts, n_categories;
    const char **names;      /* [n_experts] */
    const char **categories; /* [n_categories], in order of first appearance */
    const char **ids;        /* [n] */
    int32_t *category;       /* [n]; −1: none */
    int8_t *right;           /* [n] the right option; −1: not told */
    int8_t *outcomes;        /* [n, n_experts] 1, 0, −1: not run */
    int8_t *options; /* [n, n_experts] the answered option, −1: none; NULL without predictions */
    int64_t *by_id;  /* [n] rows in the order of their ids */
};

/* Reads both files; predictions may be NULL. Errors: MOE2_EIO; MOE2_EFORMAT naming file, line and column for a cell out of form, an id or a
 * name twice, a row that is missing in the predictions; MOE2_ELIMIT. a is the caller's to release after success only. */
int answers_read(struct answers *a, const char *outcomes, const char *predictions, struct err *err);
void answers_release(struct answers *a); /* a zeroed one is fine */

int64_t answers_row(const struct answers *a, const char *id);  /* −1: not there */
int answers_expert(const struct answers *a, const char *name); /* −1: not there */

/* "A" … "Z" or "0" … "25" as an option; −1 for an empty text, −2 for anything else. */
int answers_option(const char *text);

#endif
