/* Reference lines beside a model's bits per byte on a packed folder's test text: what a 5-gram model
 * and xz make of the same bytes.
 *
 * The text is test.txt of the folder, as it is (documents with an empty line between); the training
 * text is the train split, decoded, joined the same way. Every figure is bits over the bytes of
 * test.txt. Lines:
 *   "5-gram": the model of ngram.h, trained on the train split;
 *   "xz -9": 8 · bytes of `xz -9` of the test text alone: a compressor that has seen nothing before;
 *   "xz -9 after train": 8 · (bytes of train and test together − bytes of train): what xz adds for the
 *   test text when it has just read the train text (its last 63 MiB, the reach of -9).
 * A line whose program is not there is left out.
 */
#ifndef MOE2_EVAL_NGRAM_REFERENCE_H
#define MOE2_EVAL_NGRAM_REFERENCE_H

#include "base/err.h"
#include "base/log.h"

enum { REFERENCE_MAX_LINES = 3 };

struct reference_line {
    const char *label; /* a constant */
    double bits_per_byte;
    char note[160];
};

struct reference {
    struct reference_line lines[REFERENCE_MAX_LINES];
    int n_lines;
    int64_t n_test_bytes, n_train_bytes;
    double seconds;
};

/* Measures on the packed folder data_dir; temporary files (as large as the train text) go into
 * temp_dir. Errors: those of shards_open and tokenizer_open, MOE2_EIO, MOE2_EFORMAT for an empty test
 * text, MOE2_ESTOP. */
int reference_measure(struct reference *out, const char *data_dir, const char *temp_dir,
                      const struct log_sink *sink, const volatile int *stop, struct err *err);

#endif
