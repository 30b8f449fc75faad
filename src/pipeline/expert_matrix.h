/* Who is good at what: accuracy of every expert on every subject, as a table and a figure.
 *
 *     struct expert_matrix m = {0};
 *     expert_matrix_add(&m, "results/accuracy/outcomes.csv", sink, err);
 *     expert_matrix_add(&m, "results/accuracy/asked_bases/train/outcomes.csv", sink, err);    more rows, the same subjects
 *     expert_matrix_table(&table, &m, err);
 *     expert_matrix_figure(&m, &figures, "expert_matrix");
 *     expert_matrix_release(&m);
 *
 * Files about the same experts add up: questions of two sides, say.
 */
#ifndef MOE2_PIPELINE_EXPERT_MATRIX_H
#define MOE2_PIPELINE_EXPERT_MATRIX_H

#include "base/table.h"
#include "io/outcomes.h"
#include "report/figures.h"

enum { EXPERT_MATRIX_MAX = 62 /* experts, and subjects */ };

struct expert_matrix {
    struct name_table experts, subjects;
    int64_t n[EXPERT_MATRIX_MAX][EXPERT_MATRIX_MAX]; /* [expert][subject] questions answered */
    int64_t n_right[EXPERT_MATRIX_MAX][EXPERT_MATRIX_MAX];
};

/* Counts a file's answers. MOE2_EFORMAT for one without categories; MOE2_ELIMIT for more experts or subjects than there is room
 * for; those of outcomes_read. */
int expert_matrix_add(struct expert_matrix *m, const char *outcomes, const struct log_sink *sink,
                      struct err *err);
void expert_matrix_release(struct expert_matrix *m); /* a zeroed one is fine */

/* Per cent by expert and subject, and over all questions with Wilson's 95 % interval. The table is the caller's. */
int expert_matrix_table(struct table **out, const struct expert_matrix *m, struct err *err);

/* NAME.svg; returns whether it was drawn. */
bool expert_matrix_figure(const struct expert_matrix *m, struct figure_set *s, const char *name);

#endif
