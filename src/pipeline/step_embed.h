/* From rows of text to embeddings.npy: the step behind moe2 embed.
 *
 *     struct embed_step step = embed_step_default();
 *     step.in = "data/gating_train.jsonl"; step.out = "data/embeddings.npy";
 *     step.hashed = true; step.fit = step.in;
 *     struct embed_report report;
 *     embed_step_run(&report, &step, err);
 *     …
 *     embed_report_release(&report);
 *
 * A row is {"text": …}, or a question: {"question": …, "choices" or "options": […]}, whose text is the
 * question, then its options one a line. OUT is float32 [rows, dim] in the rows' order. Rows go by in
 * pieces, so memory does not grow with the file. What is done lies in OUT.part until OUT is whole; a
 * run that was killed or stopped is continued there by the next one with the same rows and the same
 * embedder, and gives the same bytes as one that never stopped.
 */
#ifndef MOE2_PIPELINE_STEP_EMBED_H
#define MOE2_PIPELINE_STEP_EMBED_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/log.h"
#include "eval/embedder.h"
#include "io/records.h"

struct embed_step {
    const char *in, *out; /* borrowed, as all strings here */
    const char *model;    /* an encoder's folder; or NULL: */
    bool hashed;          /* hashed features */
    const char *fit;      /* rows that their idf is counted on; NULL: they are read from state */
    const char *state; /* their file, written after a fit; NULL: OUT with ".hashed.safetensors" */
    int64_t dim;       /* of a fit */
    uint64_t seed;
    bool bf16;                   /* an encoder's products in bf16 */
    int64_t batch_tokens;        /* of an encoder; 0: 4096 */
    struct device_choice device; /* that an encoder runs on; hashed features are the host's */
    int n_threads;               /* 0: all cores */
    const struct log_sink *sink; /* or NULL */
    const volatile int *stop;    /* not 0: stop at the next piece; or NULL */
};

/* The defaults of moe2 embed; in and out are empty. */
struct embed_step embed_step_default(void);

struct embed_report {
    int64_t n_rows, dim;
    int64_t n_resumed;           /* rows that an earlier run had done */
    struct embedder_tally tally; /* of this run */
    char *embedder;              /* its name */
    double open_s, embed_s;
};

/* Errors: MOE2_ECONFIG for options that make no sense, MOE2_ESTOP with OUT.part kept; those of
 * reading, embedding and writing. OUT is as before unless all went well. */
int embed_step_run(struct embed_report *report, const struct embed_step *step, struct err *err);
void embed_report_release(struct embed_report *report);

/* Appends the text that is embedded for the current row. MOE2_EFORMAT, naming file and line, for a
 * row without a text. */
int embed_row_text(struct buf *out, const struct records *rows, struct err *err);

#endif
