/* Embedders: from texts to vectors of length 1, whatever makes them.
 *
 *     struct embedder *e = NULL;
 *     embedder_open_hashed(&e, "features.safetensors", 0, err);
 *     embedder_texts(out, &tally, e, texts, n, err);                out [n, embedder_dim(e)]
 *     embedder_free(e);
 *
 * One embedder is used by one thread at a time; it brings its own threads. A text's vector does not
 * depend on its neighbours or on the number of threads.
 */
#ifndef MOE2_EVAL_EMBEDDER_H
#define MOE2_EVAL_EMBEDDER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/log.h"
#include "kernels/device.h"

struct embedder;
struct hashed_features;

struct embedder_text {
    const char *text; /* UTF-8, borrowed */
    size_t n_bytes;
};

/* What was met so far; embedder_texts adds to it. */
struct embedder_tally {
    int64_t n_texts, n_bytes;
    int64_t n_tokens;     /* that went through an encoder, special ones included; 0 without one */
    int64_t n_cut;        /* texts that were longer than the encoder's max_seq_length */
    int64_t n_cut_tokens; /* what was cut off them */
};

/* Hashed features (eval/hashed_features.h) out of a file, or fitted ones, which the embedder then
 * owns whatever comes out. n_threads 0: all cores. Errors: as hashed_features_open, MOE2_ECONFIG for
 * a number of threads below 0 or above 256. */
int embedder_open_hashed(struct embedder **out, const char *path, int n_threads, struct err *err);
int embedder_of_hashed(struct embedder **out, struct hashed_features *h, int n_threads,
                       struct err *err);

/* An encoder's folder (model/encoder.h) with its tokenizer (text/tokenizer.h). Texts longer than its max_seq_length lose what is
 * behind, special tokens stay. bf16: products in bf16. batch_tokens 0: 4096. Errors: those of both and of device_open. */
int embedder_open_encoder(struct embedder **out, const char *dir,
                          const struct device_choice *device, int n_threads, bool bf16,
                          int64_t batch_tokens, const struct log_sink *log, struct err *err);

void embedder_free(struct embedder *e); /* NULL is fine */

int64_t embedder_dim(const struct embedder *e);

/* How many texts a call of embedder_texts likes to get: enough to keep its threads busy, few enough to be done in seconds. */
int64_t embedder_piece(const struct embedder *e);

/* What made the vectors, for people: "hashed features, 768 dimensions, seed 1, idf of 9,600 texts". */
const char *embedder_name(const struct embedder *e);

/* A number that differs between embedders that give different vectors. */
uint64_t embedder_fingerprint(const struct embedder *e);

/* Vectors of n texts into out [n, dim]. tally may be NULL. Errors: MOE2_EFORMAT for a text that is
 * no UTF-8 (naming its number among the n), MOE2_ELIMIT. */
int embedder_texts(float *out, struct embedder_tally *tally, struct embedder *e,
                   const struct embedder_text *texts, int64_t n, struct err *err);

#endif
