/* From files of text to a packed folder (io/shards.h): the step behind moe2 data text and moe2 data
 * italian.
 *
 *     struct text_step step = text_step_default();
 *     step.inputs = …; step.out_dir = "data/italian"; step.vocab_size = 4096;
 *     struct text_report report;
 *     text_step_run(&report, &step, err);
 *
 * The corpus goes by once, or twice when a tokenizer is trained on its train split first. Everything
 * is written into OUT.tmp, which takes OUT's place at the end (train/folder.h): an interrupted run
 * leaves no OUT (or the old one), and is begun anew. The same inputs and options give the same bytes,
 * whatever the threads.
 *
 * Memory: that of the stream (text_stream.h), ids of one batch (at most four bytes a byte of text),
 * the tokenizer, eight bytes a document of the open shard; for training see text/bpe_train.h.
 */
#ifndef MOE2_PIPELINE_STEP_TEXT_H
#define MOE2_PIPELINE_STEP_TEXT_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "base/log.h"
#include "pipeline/text_stream.h"

struct text_step {
    const struct text_input *inputs; /* borrowed */
    int n_inputs;
    const char *out_dir;
    const char
        *tokenizer;     /* "bytes", or a folder with tokenizer.json; not read when vocab_size > 0 */
    int64_t vocab_size; /* above 0: train a BPE of that size on the train split first */
    const char *pre_tokenizer; /* of the trained one: a row of text/bpe_train.h's table */
    int64_t tokenizer_bytes;   /* at most so much train text is counted for it */
    int64_t shard_tokens;      /* longest shard */
    bool replace;              /* an OUT that moe2 data text made */
    struct text_stream_options stream;
    const struct log_sink *sink; /* or NULL */
};

/* The defaults of moe2 data text: inputs and out_dir are empty. */
struct text_step text_step_default(void);

struct text_report {
    struct text_tally total;
    struct text_clean_counts lines;
    struct {
        int64_t n_tokens, n_documents, n_text_bytes, n_shards;
    } splits[SHARDS_N_SPLITS];
    int64_t n_files, n_broken, n_bytes_on_disk;
    struct err first_broken;       /* its code and message, where some are */
    int64_t n_bytes_for_tokenizer; /* 0: none was trained */
    int32_t vocab_size;
    bool dedup_full;
    double train_tokenizer_s, pack_s;
};

/* Errors: MOE2_ECONFIG for options that make no sense or an OUT that is there; MOE2_ESTOP; those of
 * reading, tokenizing and writing. Whatever fails, OUT is as before and OUT.tmp is gone. */
int text_step_run(struct text_report *report, const struct text_step *step, struct err *err);

#endif
