/* The forms in which sets of questions are published, as a table: one row reads one form. Which form a
 * record has, its fields say, among the forms of the set that it belongs to.
 *
 *     mmlu      CSV without a header: question, A, B, C, D, letter; the hub's rows {question, subject, choices, answer}
 *     mmlu_pro  {question_id, question, options, answer (letter), answer_index?, category, src?}
 *     arc       {id, question: {stem, choices: [{text, label}]}, answerKey}; the hub's rows {id, question,
 *               choices: {text: […], label: […]}, answerKey}; the CSV with "(A) … (B) …" in its question
 *     sciq      {question, distractor1, distractor2, distractor3, correct_answer, support}
 *     agieval   {passage, question, options, label, answer, other}
 *     any       {query, choices, gold}, as evaluation harnesses keep them; a line that moe2 wrote
 */
#ifndef MOE2_PIPELINE_QA_FORMS_H
#define MOE2_PIPELINE_QA_FORMS_H

#include "io/records.h"
#include "pipeline/qa_row.h"

enum qa_source { QA_MMLU, QA_MMLU_PRO, QA_ARC, QA_SCIQ, QA_AGIEVAL, QA_N_SOURCES };
extern const char *const qa_source_names[QA_N_SOURCES]; /* "mmlu", … */

struct qa_context {
    enum qa_source source;
    const char *stem; /* of the file's name: the subject where the rows name none */
    uint64_t seed;    /* places the right option where a set names it apart (sciq) */
};

/* Reads the current record into the row, which is reset before; the row's id stays NULL where the set
 * publishes none. MOE2_EFORMAT, naming file and line, for a record in no form of that set or with
 * something missing. */
int qa_read_row(struct qa_row *row, const struct records *r, const struct qa_context *context,
                struct err *err);

#endif
