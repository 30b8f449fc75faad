/* Any bytes as outcomes.csv. What is read must be of the shape and range that outcomes.h promises. */
#include <assert.h>
#include <stddef.h>
#include <stdint.h>

#include "io/outcomes.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n);

static void check(const struct outcomes *o)
{
    assert(o->n_rows >= 1 && o->n_rows == o->ids.n);
    assert(o->n_experts >= 1 && o->n_experts == o->experts.n);
    for (int64_t k = 0; k < o->n_rows * o->n_experts; k++)
        assert(o->right[k] >= OUTCOME_EMPTY && o->right[k] <= 1);
    for (int64_t q = 0; q < o->n_rows; q++) {
        const char *id = name_table_text(&o->ids, q);
        assert(name_table_find(&o->ids, id, __builtin_strlen(id)) == q);
        assert(!o->category || (o->category[q] >= 0 && o->category[q] < o->categories.n));
        assert(!o->answer || (o->answer[q] >= 0 && o->answer[q] < o->answers.n));
        assert(!o->prompt_tokens || o->prompt_tokens[q] >= OUTCOME_EMPTY);
        assert(!o->output_tokens || o->output_tokens[q] >= OUTCOME_EMPTY);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
    struct reader *reader = NULL;
    struct outcomes o = {0};
    struct err err = {0};
    if (reader_open_bytes(&reader, "x", bytes, n, &err))
        return 0;
    int rc = outcomes_read_from(&o, reader, NULL, &err);
    assert(rc == err.code);
    if (!rc)
        check(&o);
    outcomes_release(&o);
    return 0;
}
