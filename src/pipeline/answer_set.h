/* Questions to be answered, and the prompts they become.
 *
 *     letter   "The following are multiple choice questions (with answers) about SUBJECT.\n\n"
 *              and then the question, its options under their letters, "Answer:"; the options
 *              asked about are " A", " B", …
 *     text     "Question: …\nAnswer:"; the options asked about are their whole texts
 *
 * Examples stand before the question in the same form with their answers, a blank line behind each:
 * the first n of the same subject. A row's context stands before its question. These are the forms
 * that lm-evaluation-harness gives MMLU, and ARC and SciQ.
 */
#ifndef MOE2_PIPELINE_ANSWER_SET_H
#define MOE2_PIPELINE_ANSWER_SET_H

#include "base/arena.h"
#include "base/buf.h"
#include "base/log.h"
#include "eval/choice.h"

enum {
    ANSWER_MAX_QUESTIONS = 1 << 22,
    ANSWER_MAX_SET_BYTES = 1 << 30, /* of all texts */
    ANSWER_MAX_SHOTS = 64,
};

enum answer_form { ANSWER_LETTER, ANSWER_TEXT, ANSWER_N_FORMS };
extern const char *const answer_form_names[ANSWER_N_FORMS + 1]; /* NULL-ended */

struct answer_question {
    const char *id, *subject, *question, *context; /* context NULL: none */
    const char *const *choices;                    /* [n_choices] */
    int n_choices, answer;
    int64_t first; /* options of the questions before it */
};

struct answer_set {
    struct answer_question *v;
    int64_t n, n_options;
    int64_t n_left_out; /* rows without exactly one right option */
    struct arena memory;
    int64_t capacity;
};

/* Reads lines of the schema of qa_row.h into a zeroed set, the first `most` of them (0: all); the
 * caller releases it, also after an error. Errors name file and line; MOE2_EFORMAT for an id that
 * stands twice; MOE2_ELIMIT; MOE2_ESTOP. */
int answer_set_read(struct answer_set *s, const char *path, int64_t most,
                    const struct log_sink *sink, const volatile int *stop, struct err *err);
void answer_set_release(struct answer_set *s); /* a zeroed one is fine */

struct answer_form_options {
    enum answer_form form;
    const struct answer_set *examples; /* NULL: none */
    int n_shots;
};

/* A question as it is asked. Zero it before the first; made new by each answer_prompt_make. */
struct answer_prompt {
    struct buf context;
    struct buf text; /* the options with their delimiter, NUL-ended */
    const char *options[CHOICE_MAX_OPTIONS], *bare[CHOICE_MAX_OPTIONS]; /* with and without it */
};

/* MOE2_ECONFIG when the examples have fewer than n_shots of the question's subject. */
int answer_prompt_make(struct answer_prompt *p, const struct answer_question *q,
                       const struct answer_form_options *o, struct err *err);
void answer_prompt_release(struct answer_prompt *p);

#endif
