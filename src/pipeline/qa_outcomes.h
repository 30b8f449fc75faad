/* Recorded answers cut to the questions of a file: outcomes.csv, predictions.csv, lengths.csv and their
 * like, of which only the rows stay whose first column is the id of a question, in the questions' order, so that they
 * line up with the embeddings of that file.
 *
 *     struct qa_outcomes cut = {.questions = "data/gating_train.jsonl", .in = "outcomes.csv", .out = "data/o.csv"};
 *     qa_outcomes_cut(&report, &cut, err);
 */
#ifndef MOE2_PIPELINE_QA_OUTCOMES_H
#define MOE2_PIPELINE_QA_OUTCOMES_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "base/log.h"
#include "io/yaml.h"

enum {
    QA_OUTCOMES_MAX_QUESTIONS = 1 << 24,
    QA_OUTCOMES_MAX_BYTES = 1 << 30, /* of the rows that stay */
};

struct qa_outcomes {
    const char *questions; /* lines with an id (or question_id) each */
    const char *in, *out;  /* CSV whose first column is question_id or id */
    struct yaml_texts
        experts; /* columns to keep, in this order; none: all. question_id, category, answer, prompt_tokens and output_tokens
                                  always stay */
    bool
        prompt_tokens; /* add the column prompt_tokens, estimated: a token for every four characters of the embedded text */
    const struct log_sink *sink; /* or NULL */
};

struct qa_outcomes_report {
    int64_t n_questions, n_columns; /* of OUT */
    int64_t n_left_out;             /* rows of IN that are no question of the file */
};

/* Errors: those of reading and writing; MOE2_EFORMAT for a question without a row, an id twice, a first column
 * of another name; MOE2_ECONFIG for an expert that IN lacks; MOE2_ELIMIT. OUT appears as a whole. */
int qa_outcomes_cut(struct qa_outcomes_report *report, const struct qa_outcomes *cut,
                    struct err *err);

#endif
