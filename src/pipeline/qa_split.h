/* Dealing the gating set to train and test: stratified by subject, seeded, the same question never on
 * both sides.
 *
 *     struct qa_split *s;
 *     qa_split_new(&s, err);
 *     for each row:  qa_split_add(s, row, err);
 *     qa_split_deal(s, 0.2, seed, err);
 *     for each row i:  qa_split_is_test(s, i)
 *
 * Rows with equal normalised questions (qa_leak.h) form a group, which belongs to the subject of its first
 * row. Within a subject the groups are shuffled by the seed and the subject's name, and go to test in that
 * order as long as the subject's test side stays within its share, rounded to whole rows; so one subject's split
 * does not depend on what others are there.
 */
#ifndef MOE2_PIPELINE_QA_SPLIT_H
#define MOE2_PIPELINE_QA_SPLIT_H

#include "pipeline/qa_leak.h"

struct qa_split;

int qa_split_new(struct qa_split **out, struct err *err);
void qa_split_free(struct qa_split *s); /* NULL is fine */

/* The next row. MOE2_EFORMAT for an id that was there; MOE2_ELIMIT beyond QA_MAX_GATING_ROWS. */
int qa_split_add(struct qa_split *s, const struct qa_row *row, struct err *err);

/* Deals all rows. test_share is between 0 and 1. */
int qa_split_deal(struct qa_split *s, double test_share, uint64_t seed, struct err *err);

bool qa_split_is_test(const struct qa_split *s, int64_t row); /* after dealing */
int64_t qa_split_n_rows(const struct qa_split *s);
int64_t qa_split_n_test(const struct qa_split *s);
int64_t qa_split_n_repeated(const struct qa_split *s); /* rows whose question stood before */
int64_t qa_split_n_subjects(const struct qa_split *s);

#endif
