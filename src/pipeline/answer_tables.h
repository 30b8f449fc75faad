/* What experts answered, as the three tables that other steps read: outcomes.csv, predictions.csv, lengths.csv (io/outcomes.h). */
#ifndef MOE2_PIPELINE_ANSWER_TABLES_H
#define MOE2_PIPELINE_ANSWER_TABLES_H

#include "pipeline/answer_set.h"

struct answer_tables {
    const struct answer_set *questions; /* borrowed, as all here */
    const char *const *experts;         /* [n_experts] */
    int n_experts;
    const int8_t
        *options; /* [n, n_experts] answered; −1: not asked, or nothing that is an option */
    const int8_t *outcomes;       /* [n, n_experts] 1, 0; −1: did not run. NULL: as options say */
    const int32_t *prompt_tokens; /* [n]; −1: not known */
    const int32_t *tokens;        /* [n, n_experts] of the answer; −1: not known */
};

/* Writes them into the folder. MOE2_EIO, MOE2_ELIMIT. */
int answer_tables_write(const char *dir, const struct answer_tables *t, struct err *err);

#endif
