/* Italian tasks that a model or its answers are measured on.
 *
 * XCOPA: which of two sentences is the cause or the effect of a third; the premise without its full
 * stop, "perché" or "quindi", and the sentence with a small first letter are scored by
 * log-likelihood (lm-evaluation-harness's xcopa_it). SQuAD-it: answers in words, made by any tool,
 * as the official script takes them ({id: answer}), scored by squad.h in both normal forms.
 */
#ifndef MOE2_PIPELINE_EVAL_TASKS_H
#define MOE2_PIPELINE_EVAL_TASKS_H

#include "base/log.h"
#include "eval/squad.h"
#include "pipeline/answer_model.h"

enum {
    EVAL_MAX_SQUAD_BYTES = 256 << 20, /* unpacked; also of the predictions */
    EVAL_MAX_XCOPA_ROWS = 1 << 20,
};

struct xcopa_report {
    int64_t n, n_right;   /* by the sum of ln p */
    int64_t n_right_norm; /* by the sum over the characters */
};

/* Scores the first `limit` rows (0: all) of a file of lines {premise, choice1, choice2, question:
 * cause | effect, label: 0 | 1}. Errors name file and line; those of choice.h; MOE2_ESTOP. */
int eval_xcopa(struct xcopa_report *out, struct choice *choice, const char *path, int64_t limit,
               const struct log_sink *sink, const volatile int *stop, struct err *err);

struct squad_report {
    int64_t n, n_missing; /* questions; of them without an answer, which count 0 */
    int64_t n_unknown;    /* answers to no question of the file */
    double exact[SQUAD_N_RULES], f1[SQUAD_N_RULES]; /* means in percent */
};

/* Scores a JSON object {id: answer} against a file of SQuAD 1.1's form, plain or packed. Errors:
 * MOE2_EIO, MOE2_EFORMAT naming the file and what is missing, MOE2_ELIMIT. */
int eval_squad(struct squad_report *out, const char *path, const char *predictions,
               struct err *err);

#endif
