/* One question in the one schema that every step reads, and its line of JSON:
 *
 *     {"id": "70", "source": "mmlu_pro", "subject": "business", "kind": "choice", "question": "…",
 *      "choices": ["…", "…"], "answer": 8, "context": "…", "src": "ori_mmlu-business_ethics"}
 *
 * kind is choice (one right option; answer is its place, from 0), several (several right options may
 * be: answers lists them, answer is null) or cloze (no options: answer_text is what is wanted, answer
 * is null). context and src stand only where the set has them. Only rows of kind choice take part in
 * multiple-choice training and scoring.
 */
#ifndef MOE2_PIPELINE_QA_ROW_H
#define MOE2_PIPELINE_QA_ROW_H

#include <stdbool.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/err.h"

enum {
    QA_MAX_CHOICES = 26,        /* letters A to Z */
    QA_MAX_ROW_BYTES = 1 << 20, /* of a row as it lies in its file */
};

enum qa_kind { QA_CHOICE, QA_SEVERAL, QA_CLOZE, QA_N_KINDS };
extern const char *const qa_kind_names[QA_N_KINDS];

struct qa_row {
    const char *id, *source, *subject, *question;
    const char *context, *src, *answer_text; /* NULL: none */
    enum qa_kind kind;
    int n_choices, n_answers; /* answers: one for choice, none for cloze */
    const char *choices[QA_MAX_CHOICES];
    int answers[QA_MAX_CHOICES];
    bool listed;       /* several: the set gave the right letters as a list, however many */
    struct arena text; /* owns every string above */
};

/* Empties the row and keeps its memory. */
void qa_row_reset(struct qa_row *row);
void qa_row_release(struct qa_row *row); /* a zeroed one is fine */

/* A copy of n bytes, without white space at both ends, that lives until the next reset. NULL and
 * MOE2_ELIMIT without memory. */
const char *qa_row_text(struct qa_row *row, const char *text, size_t n, struct err *err);

/* One more option, copied and trimmed. MOE2_ELIMIT beyond QA_MAX_CHOICES. */
int qa_row_choice(struct qa_row *row, const char *text, size_t n, struct err *err);

/* One more right option; MOE2_EFORMAT when it stands twice or is none of the options. */
int qa_row_answer(struct qa_row *row, int64_t answer, struct err *err);

/* Takes the labels in front of the options ("(A) …", "A．…") away if every option has its own. */
void qa_row_strip_labels(struct qa_row *row);

/* What every row must be: a question, and for its kind the right number of options and answers.
 * MOE2_EFORMAT says what is missing, without file and line. */
int qa_row_check(const struct qa_row *row, struct err *err);

/* Appends the row as a line of JSON. */
int qa_row_json(struct buf *out, const struct qa_row *row, struct err *err);

#endif
