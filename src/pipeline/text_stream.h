/* A corpus as a stream of clean documents, each with its split: read, cleaned, compared with those
 * seen before, and dealt to train, validation or test, in batches of bounded size.
 *
 * Order and outcome never depend on the threads: workers only clean; what needs the order (duplicates,
 * counts) is done by one. While a caller works on a batch the next one is read (with two threads and
 * more).
 *
 * A document's split is decided by its hash and the seed alone: u = hash(seed, document) in [0, 1) is
 * below test: test; below test + validation: validation; else train. Documents that are added
 * elsewhere in the corpus never move it. With unique_lines the hash is that of the document before
 * lines went, so that this still holds; which lines go depends on what came before.
 *
 * Memory: two batches of TEXT_BATCH_BYTES (and a document each), what they become, and the set of
 * hashes (dedup_bytes).
 */
#ifndef MOE2_PIPELINE_TEXT_STREAM_H
#define MOE2_PIPELINE_TEXT_STREAM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/log.h"
#include "io/shards.h"
#include "pipeline/text_clean.h"
#include "pipeline/text_source.h"

enum {
    TEXT_BATCH_BYTES = 8 << 20,
    TEXT_BATCH_DOCUMENTS = 16384,
    TEXT_MAX_THREADS = 256,
    TEXT_UNIQUE_BYTES = 40,
};

struct text_stream_options {
    struct text_source_options source;
    struct text_clean_options clean;
    double validation, test; /* shares, each in [0, 1), together below 1 */
    uint64_t seed;
    bool keep_duplicates;
    bool unique_lines;   /* lines of TEXT_UNIQUE_BYTES and more go that an earlier document had */
    int64_t dedup_bytes; /* for documents, and as much again for lines */
    int n_threads;
    const volatile int *stop; /* set from outside to end with MOE2_ESTOP; or NULL */
};

/* A kept document. */
struct text_item {
    const char *text; /* borrowed until the next call of text_stream_next */
    size_t n_bytes;
    enum shards_split split;
    int input_idx;
};

/* What came of the documents of one input. */
struct text_tally {
    int64_t n_documents[TEXT_N_VERDICTS]; /* [TEXT_KEPT]: kept */
    int64_t n_bytes_read;                 /* of the documents, before cleaning */
    int64_t n_bytes_kept;
};

struct text_stream;

/* Inputs are borrowed until text_stream_close. Errors as text_source_open. */
int text_stream_open(struct text_stream **out, const struct text_input *inputs, int n_inputs,
                     const struct text_stream_options *options, struct err *err);
void text_stream_close(struct text_stream *s); /* NULL is fine; waits for the reader */

/* The kept documents of the next batch, in order; *n may be 0 in the middle (all were dropped); *more
 * is false behind the last. Borrowed until the next call. Errors of any stage; the first in order. */
int text_stream_next(const struct text_item **items, size_t *n, bool *more, struct text_stream *s,
                     struct err *err);

/* Of what was handed out so far. */
const struct text_tally *text_stream_tally(const struct text_stream *s, int input_idx);
struct text_clean_counts text_stream_lines(const struct text_stream *s);
bool text_stream_dedup_is_full(const struct text_stream *s);
int64_t text_stream_done_bytes(const struct text_stream *s); /* of total_bytes, on disk */
int64_t text_stream_total_bytes(const struct text_stream *s);
int64_t text_stream_n_files(const struct text_stream *s);
int64_t text_stream_n_broken(const struct text_stream *s);
const char *text_stream_first_broken(const struct text_stream *s); /* its message, or "" */

/* Calls work(ctx, thread_idx, i) once for each i in [0, n) from up to n_threads threads, in any order;
 * thread_idx < n_threads. Returns when all are done. */
void text_parallel(int n_threads, size_t n, void (*work)(void *ctx, int thread_idx, size_t i),
                   void *ctx);

#endif
