/* A vector for a text without any model: hashed n-grams, TF-IDF, a random projection.
 *
 *     struct hashed_features *h = NULL;
 *     hashed_features_new(&h, &(struct hashed_options){.dim = 768, .seed = 1}, err);
 *     hashed_features_count(h, text, n, err);              every text of the training side
 *     hashed_features_fit(h);
 *     hashed_features_embed(out, h, scratch, text, n);     any text, from any thread
 *
 * Three families of features: words, pairs of neighbouring words, and runs of 3 to 5 characters of a
 * word with its borders. Each is hashed into buckets of its family, weighs (1 + ln count) · idf with
 * idf = ln((1 + texts) / (1 + texts with it)) + 1, and each family is brought to its share of the
 * length. The projection gives a feature a sign in one dimension of each of PROJECTION_SIGNS equal
 * blocks (Kane & Nelson, Sparser Johnson–Lindenstrauss Transforms, JACM 2014); place and sign come
 * from the seed and the bucket alone, so that nothing but the idf is stored.
 */
#ifndef MOE2_EVAL_HASHED_FEATURES_H
#define MOE2_EVAL_HASHED_FEATURES_H

#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

enum {
    HASHED_MAX_DIM = 65536,
    HASHED_MIN_DIM = 16,
    HASHED_MAX_CHARS = 1 << 20, /* of one text; what lies behind is not looked at */
};

struct hashed_options {
    int64_t dim;
    uint64_t seed;
};

struct hashed_features;
struct hashed_scratch;

/* Empty features, the caller's, to be freed with hashed_features_free (NULL is fine). MOE2_ECONFIG
 * for a dim outside HASHED_MIN_DIM … HASHED_MAX_DIM; MOE2_ELIMIT. */
int hashed_features_new(struct hashed_features **out, const struct hashed_options *options,
                        struct err *err);
void hashed_features_free(struct hashed_features *h);

/* Counts which features a text of n bytes has. One thread at a time. Invalid UTF-8 counts as spaces. */
void hashed_features_count(struct hashed_features *h, const char *text, size_t n);

/* Turns what was counted into the idf. To be called once, after the last count. */
void hashed_features_fit(struct hashed_features *h);

/* Writes and reads a fitted one (safetensors: idf [buckets] float32; dim, seed and the number of
 * texts as metadata). The result of open is the caller's. Errors: MOE2_EIO, MOE2_EFORMAT. */
int hashed_features_save(const struct hashed_features *h, const char *path, struct err *err);
int hashed_features_open(struct hashed_features **out, const char *path, struct err *err);

int64_t hashed_features_dim(const struct hashed_features *h);
int64_t hashed_features_n_texts(const struct hashed_features *h); /* that the idf was counted on */

/* A 64-bit number that differs between features that give different vectors. */
uint64_t hashed_features_fingerprint(const struct hashed_features *h);

/* What one thread needs to embed; NULL is fine for free. */
int hashed_scratch_new(struct hashed_scratch **out, struct err *err);
void hashed_scratch_free(struct hashed_scratch *s);

/* out [dim]: the text's vector, of length 1; zeros for a text without any feature. h must be fitted;
 * it does not change, so that any number of threads may use it, each with its own scratch. */
void hashed_features_embed(float *out, const struct hashed_features *h, struct hashed_scratch *s,
                           const char *text, size_t n);

#endif
