/* What the readers of outcomes and of their companions share. Internal to io. */
#ifndef MOE2_IO_OUTCOMES_CELLS_H
#define MOE2_IO_OUTCOMES_CELLS_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "io/records.h"

/* Whether a first column of that name holds ids. */
bool outcomes_is_id(const char *name);

/* MOE2_EFORMAT: file, line, column, the text that stands there and what was wanted. */
int outcomes_bad_cell(const struct records *r, int column, const char *text, const char *wanted,
                      struct err *err);

/* A whole number of the current record, OUTCOME_EMPTY for an empty field. */
int outcomes_tokens(int32_t *out, const struct records *r, int column, struct err *err);

#endif
