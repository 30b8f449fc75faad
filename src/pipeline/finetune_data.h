/* Examples to fine-tune on, from JSON lines (plain, gzip or zstd). A line is one of
 *
 *     {"prompt": "…", "completion": "…"}                         only the completion is scored
 *     {"instruction": "…", "input": "…", "output": "…"}          input may be missing; joined by
 *                                                                blank lines
 *     {"question": "…", "choices": ["…", "…"], "answer": 1}      as moe2 data qa writes it, in the
 *                                                                form in which it will be asked
 *                                                                (answer_set.h): the right letter
 *                                                                is scored, or its text
 *     {"text": "…"}                                              every token is scored
 *
 * EOS ends an answer (behind a letter nothing does: its score is the letter's). Prompt and answer are
 * tokenized apart, as they are when a model is asked.
 */
#ifndef MOE2_PIPELINE_FINETUNE_DATA_H
#define MOE2_PIPELINE_FINETUNE_DATA_H

#include "pipeline/answer_set.h"
#include "text/tokenizer.h"
#include "train/packs.h"

enum { FINETUNE_MAX_TOKENS = 1 << 30, FINETUNE_MAX_LINE_BYTES = 16 << 20 };

/* Appends the file's examples, choices in that form. MOE2_EFORMAT names file, line and field; MOE2_ELIMIT. */
int finetune_examples_read(struct examples *out, const char *path, const struct tokenizer *tok,
                           enum answer_form form, struct err *err);

/* Moves one example in twenty, chosen by seed and place, from all to held_out, one at least. Leaves
 * all in train's place. MOE2_ECONFIG for fewer than two. */
int finetune_hold_out(struct examples *all, struct examples *held_out, uint64_t seed,
                      struct err *err);

#endif
