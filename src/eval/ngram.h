/* A 5-gram model of bytes: the plain yardstick beside a neural model's bits per byte.
 *
 *     struct ngram *m;
 *     ngram_new(&m, 0, err);
 *     ngram_count(m, train, n_train, err);             any number of times, one text after the other
 *     ngram_estimate(m, err);
 *     double bits = ngram_bits(m, test, n_test);       bits / n_test: bits per byte
 *     ngram_free(m);
 *
 * Interpolated modified Kneser–Ney smoothing (Chen & Goodman, "An empirical study of smoothing
 * techniques for language modeling", 1999, section 4): for a context h of n − 1 bytes
 *
 *     p_n(w | h) = max(c(hw) − D(c(hw)), 0) / c(h·) + (D1·N1 + D2·N2 + D3·N3) / c(h·) · p_{n−1}(w | h')
 *
 * c is the count at order 5 and, below, the number of different bytes seen before; N_k counts the
 * bytes seen k (3: and more) times behind h, h' lacks h's first byte, p_0 = 1/256; where h was never
 * seen p_n = p_{n−1}. D1, D2, D3 are estimated from counts of counts at each order; where these say
 * nothing they are 0.5, 1, 1.5. Invariant: the 256 probabilities of a context sum to 1.
 *
 * A text is taken as preceded by four line ends.
 */
#ifndef MOE2_EVAL_NGRAM_H
#define MOE2_EVAL_NGRAM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

enum { NGRAM_ORDER = 5, NGRAM_CONTEXT = NGRAM_ORDER - 1 };

struct ngram;

/* An empty model, the caller's. max_grams bounds the different 5-grams that are kept (0: 16 million,
 * about 1.5 GB with all orders at the worst; Italian text of 5 MB has 0.2 million). Behind the bound
 * counting stops for good. MOE2_ELIMIT. */
int ngram_new(struct ngram **out, int64_t max_grams, struct err *err);
void ngram_free(struct ngram *m); /* NULL is fine */

/* Counts n more bytes, which follow those of the last call. Before ngram_estimate only. */
int ngram_count(struct ngram *m, const char *text, size_t n, struct err *err);

/* Makes the model of the counts. */
int ngram_estimate(struct ngram *m, struct err *err);

/* Of next behind context, the four bytes before it, oldest first. After ngram_estimate; any number of
 * threads. Above 0. */
double ngram_probability(const struct ngram *m, const uint8_t context[NGRAM_CONTEXT], uint8_t next);

/* −Σ log2 of the probabilities of a text. */
double ngram_bits(const struct ngram *m, const char *text, size_t n);

int64_t ngram_n_bytes(const struct ngram *m); /* counted */
int64_t ngram_n_grams(const struct ngram *m); /* different 5-grams */
bool ngram_is_full(const struct ngram *m);    /* counting stopped at max_grams */

#endif
