/* Tokenizing a stream of documents and writing it as a packed folder: the second half of step_text. */
#ifndef MOE2_PIPELINE_TEXT_PACK_H
#define MOE2_PIPELINE_TEXT_PACK_H

#include "base/err.h"
#include "pipeline/step_text.h"
#include "text/tokenizer.h"

/* Fills report but for the tokenizer's training. dir is there and holds the tokenizer's copy, if it
 * has one. MOE2_EFORMAT when the tokenizer names no EOS. */
int text_pack(struct text_report *report, const struct text_step *step, const struct tokenizer *t,
              const char *dir, struct err *err);

#endif
