/* Hashed n-grams, TF-IDF, a sparse random projection: see hashed_features.h.
 *
 * A walk over the text finds words (runs of letters, digits and marks, in lower case; any other
 * visible character is a word of its own) and tells their features' buckets to a tally, which counts
 * each bucket and remembers the order in which new ones came: the sums that follow run in that order,
 * which depends on nothing but the text.
 */
#include "eval/hashed_features.h"

#include <assert.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <utf8proc.h>

#include "base/rng.h"
#include "io/safetensors.h"
#include "text/unicode.h"

enum { WORDS, PAIRS, RUNS, N_FAMILIES };
enum {
    FAMILY_BUCKETS = 1 << 18,
    N_BUCKETS = N_FAMILIES * FAMILY_BUCKETS,
    PROJECTION_SIGNS = 16, /* dimensions that a feature touches */
    MAX_WORD = 64,         /* characters of a word that are looked at */
    RUN_MIN = 3,
    RUN_MAX = 5,
};

/* A family's share of the vector's squared length: found on the categories of MMLU-Pro with nearest
 * neighbours (docs/embedding.md). */
static const double family_share[N_FAMILIES] = {[WORDS] = 0.25, [PAIRS] = 0.05, [RUNS] = 0.7};

struct hashed_scratch {
    int32_t *count; /* [N_BUCKETS], all zero between texts */
    int32_t *seen;  /* buckets in the order of their first coming */
    int64_t n_seen;
    float *value; /* [N_BUCKETS], beside seen */
};

struct hashed_features {
    struct hashed_options options;
    float *idf; /* [N_BUCKETS]; before the fit, in how many texts a bucket was */
    int64_t n_texts;
    struct hashed_scratch *own; /* of count */
    bool fitted;
};

/* ---- the walk ---- */

static void add(struct hashed_scratch *s, int family, uint64_t hash)
{
    int32_t b =
        family * FAMILY_BUCKETS + (int32_t)(rng_at(hash, (uint64_t)family, 0, 0) % FAMILY_BUCKETS);
    if (s->count[b]++ == 0)
        s->seen[s->n_seen++] = b;
}

static uint64_t hash_of(const uint32_t *c, int n)
{
    uint64_t h = 0xcbf29ce484222325;
    for (int i = 0; i < n; i++)
        h = (h ^ c[i]) * 0x100000001b3;
    return h ^ h >> 29;
}

/* One word c[1] … c[n], with room for a border on either side. */
static void add_word(struct hashed_scratch *s, uint32_t *c, int n, uint64_t *previous)
{
    uint64_t word = hash_of(c + 1, n);
    add(s, WORDS, word);
    if (*previous)
        add(s, PAIRS, *previous * 31 + word);
    *previous = word;
    c[0] = c[n + 1] = ' ';
    for (int length = RUN_MIN; length <= RUN_MAX; length++)
        for (int i = 0; i + length <= n + 2; i++)
            add(s, RUNS, hash_of(c + i, length));
}

/* The next character in lower case, a space for a byte that is none; *n is its length. */
static uint32_t next_char(const uint8_t *p, size_t n_left, size_t *n)
{
    if (*p < 0x80) {
        *n = 1;
        return *p >= 'A' && *p <= 'Z' ? *p + 32u : *p;
    }
    size_t n_bad;
    *n = utf8_check(p, n_left, &n_bad, NULL);
    if (!*n) {
        *n = n_bad;
        return ' ';
    }
    return (uint32_t)utf8proc_tolower((utf8proc_int32_t)utf8_get(p, n));
}

static bool is_word(uint32_t c)
{
    if (c < 0x80)
        return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9');
    return unicode_is_word(c);
}

static bool is_visible(uint32_t c)
{
    return c < 0x80 ? c > ' ' && c != 0x7f : utf8proc_charwidth((utf8proc_int32_t)c) > 0;
}

static void walk(struct hashed_scratch *s, const char *text, size_t n_bytes)
{
    uint32_t word[MAX_WORD + 2];
    uint64_t previous = 0;
    const uint8_t *p = (const uint8_t *)text, *end = p + n_bytes;
    int length = 0;
    for (int64_t i = 0; i < HASHED_MAX_CHARS && p < end; i++) {
        size_t n;
        uint32_t c = next_char(p, (size_t)(end - p), &n);
        p += n;
        if (is_word(c)) {
            if (length < MAX_WORD)
                word[++length] = c;
            continue;
        }
        if (length)
            add_word(s, word, length, &previous);
        length = 0;
        if (is_visible(c))
            add(s, WORDS, hash_of(&c, 1));
    }
    if (length)
        add_word(s, word, length, &previous);
}

static void forget(struct hashed_scratch *s)
{
    for (int64_t i = 0; i < s->n_seen; i++)
        s->count[s->seen[i]] = 0;
    s->n_seen = 0;
}

/* ---- life ---- */

int hashed_scratch_new(struct hashed_scratch **out, struct err *err)
{
    struct hashed_scratch *s = calloc(1, sizeof *s);
    if (s) {
        s->count = calloc(N_BUCKETS, sizeof *s->count);
        s->seen = calloc(N_BUCKETS, sizeof *s->seen);
        s->value = calloc(N_BUCKETS, sizeof *s->value);
    }
    if (!s || !s->count || !s->seen || !s->value) {
        hashed_scratch_free(s);
        return err_set(err, MOE2_ELIMIT, "no memory to hash texts");
    }
    *out = s;
    return 0;
}

void hashed_scratch_free(struct hashed_scratch *s)
{
    if (!s)
        return;
    free(s->count);
    free(s->seen);
    free(s->value);
    free(s);
}

int hashed_features_new(struct hashed_features **out, const struct hashed_options *options,
                        struct err *err)
{
    if (options->dim < HASHED_MIN_DIM || options->dim > HASHED_MAX_DIM)
        return err_set(err, MOE2_ECONFIG, "hashed features of %lld dimensions, wanted %d to %d",
                       (long long)options->dim, HASHED_MIN_DIM, HASHED_MAX_DIM);
    struct hashed_features *h = calloc(1, sizeof *h);
    if (h)
        h->idf = calloc(N_BUCKETS, sizeof *h->idf);
    if (!h || !h->idf) {
        hashed_features_free(h);
        return err_set(err, MOE2_ELIMIT, "no memory for hashed features");
    }
    int rc = hashed_scratch_new(&h->own, err);
    if (rc) {
        hashed_features_free(h);
        return rc;
    }
    h->options = *options;
    *out = h;
    return 0;
}

void hashed_features_free(struct hashed_features *h)
{
    if (!h)
        return;
    hashed_scratch_free(h->own);
    free(h->idf);
    free(h);
}

int64_t hashed_features_dim(const struct hashed_features *h)
{
    return h->options.dim;
}

int64_t hashed_features_n_texts(const struct hashed_features *h)
{
    return h->n_texts;
}

uint64_t hashed_features_fingerprint(const struct hashed_features *h)
{
    uint64_t sum = rng_at(h->options.seed, (uint64_t)h->options.dim, (uint64_t)h->n_texts, 0);
    for (int i = 0; i < N_BUCKETS; i++) {
        uint32_t bits;
        memcpy(&bits, &h->idf[i], sizeof bits);
        sum = sum * 0x9e3779b97f4a7c15 + bits;
    }
    return sum;
}

/* ---- fitting ---- */

void hashed_features_count(struct hashed_features *h, const char *text, size_t n)
{
    assert(!h->fitted);
    walk(h->own, text, n);
    for (int64_t i = 0; i < h->own->n_seen; i++)
        h->idf[h->own->seen[i]]++;
    h->n_texts++;
    forget(h->own);
}

void hashed_features_fit(struct hashed_features *h)
{
    assert(!h->fitted);
    for (int i = 0; i < N_BUCKETS; i++)
        h->idf[i] = (float)(log((1.0 + (double)h->n_texts) / (1.0 + (double)h->idf[i])) + 1);
    h->fitted = true;
}

/* ---- a vector ---- */

/* Values of all features seen, each family brought to its share. */
static void weigh(struct hashed_scratch *s, const float *idf)
{
    double squares[N_FAMILIES] = {0};
    for (int64_t i = 0; i < s->n_seen; i++) {
        int32_t b = s->seen[i];
        double v = (1 + log(s->count[b])) * (double)idf[b];
        s->value[i] = (float)v;
        squares[b / FAMILY_BUCKETS] += v * v;
    }
    float factor[N_FAMILIES];
    for (int f = 0; f < N_FAMILIES; f++)
        factor[f] = squares[f] > 0 ? (float)sqrt(family_share[f] / squares[f]) : 0;
    for (int64_t i = 0; i < s->n_seen; i++)
        s->value[i] *= factor[s->seen[i] / FAMILY_BUCKETS];
}

static void project(float *out, const struct hashed_scratch *s, const struct hashed_options *o)
{
    for (int64_t i = 0; i < s->n_seen; i++) {
        float v = s->value[i];
        uint64_t r = 0; /* 16 random bits a block */
        for (int j = 0; j < PROJECTION_SIGNS; j++, r >>= 16) {
            if (j % 4 == 0)
                r = rng_at(o->seed, (uint64_t)s->seen[i], (uint64_t)j, 0);
            int64_t from = o->dim * j / PROJECTION_SIGNS, to = o->dim * (j + 1) / PROJECTION_SIGNS;
            int64_t at = from + ((int64_t)(r >> 1 & 0x7fff) * (to - from) >> 15);
            out[at] += r & 1 ? v : -v;
        }
    }
}

void hashed_features_embed(float *out, const struct hashed_features *h, struct hashed_scratch *s,
                           const char *text, size_t n)
{
    assert(h->fitted);
    walk(s, text, n);
    weigh(s, h->idf);
    int64_t dim = h->options.dim;
    memset(out, 0, (size_t)dim * sizeof *out);
    project(out, s, &h->options);
    forget(s);
    double squares = 0;
    for (int64_t i = 0; i < dim; i++)
        squares += (double)out[i] * (double)out[i];
    float factor = squares > 0 ? (float)(1 / sqrt(squares)) : 0;
    for (int64_t i = 0; i < dim; i++)
        out[i] *= factor;
}

/* ---- files ---- */

static const char FORMAT[] = "moe2 hashed features 1";

int hashed_features_save(const struct hashed_features *h, const char *path, struct err *err)
{
    assert(h->fitted);
    char dim[32], seed[32], n_texts[32];
    snprintf(dim, sizeof dim, "%" PRId64, h->options.dim);
    snprintf(seed, sizeof seed, "%" PRIu64, h->options.seed);
    snprintf(n_texts, sizeof n_texts, "%" PRId64, h->n_texts);
    const char *metadata[] = {"kind", FORMAT, "dim", dim, "seed", seed, "n_texts", n_texts, NULL};
    struct safetensors_decl decl = {"idf", DT_F32, 1, {N_BUCKETS}};
    struct safetensors_writer *w = NULL;
    int rc = safetensors_create(&w, path, &decl, 1,
                                &(struct safetensors_options){.metadata = metadata}, err);
    if (!rc && (rc = safetensors_put_f32(w, h->idf, N_BUCKETS, err)))
        safetensors_abort(w);
    else if (!rc)
        rc = safetensors_commit(w, err);
    return rc;
}

static int whole_number(int64_t *out, const struct safetensors *st, const char *key, int64_t min,
                        struct err *err)
{
    const char *text = safetensors_metadata(st, key);
    char *end = NULL;
    long long v = text ? strtoll(text, &end, 10) : -1;
    if (!text || end == text || *end || v < min)
        return err_set(err, MOE2_EFORMAT, "%s: %s is %s, wanted a whole number from %lld",
                       safetensors_path(st), key, text ? text : "missing", (long long)min);
    *out = v;
    return 0;
}

static int read_idf(struct hashed_features *h, const struct safetensors *st, struct err *err)
{
    const struct safetensor *t = NULL;
    char seen[64];
    int rc = safetensors_get(&t, st, "idf", err);
    if (!rc && (t->n_dims != 1 || t->shape[0] != N_BUCKETS || t->dtype != DT_F32))
        rc = err_set(err, MOE2_EFORMAT, "%s: idf is %s of %s, wanted [%d] of F32",
                     safetensors_path(st),
                     safetensors_shape_text(seen, sizeof seen, t->shape, t->n_dims), t->dtype_name,
                     N_BUCKETS);
    if (!rc)
        rc = safetensors_to_f32(h->idf, t, 0, N_BUCKETS, err);
    for (int i = 0; i < N_BUCKETS && !rc; i++)
        if (!(h->idf[i] >= 0 && h->idf[i] < 1e6f))
            rc = err_set(err, MOE2_EFORMAT, "%s: idf of bucket %d is %g, wanted 0 to 1e6",
                         safetensors_path(st), i, (double)h->idf[i]);
    return rc;
}

int hashed_features_open(struct hashed_features **out, const char *path, struct err *err)
{
    struct safetensors *st = NULL;
    struct hashed_features *h = NULL;
    struct hashed_options o = {0};
    int64_t n_texts = 0;
    int rc = safetensors_open(&st, path, err);
    if (rc)
        return rc;
    const char *kind = safetensors_metadata(st, "kind"), *seed = safetensors_metadata(st, "seed");
    if (!kind || !seed || strcmp(kind, FORMAT) != 0)
        rc = err_set(err, MOE2_EFORMAT,
                     "%s: holds no hashed features (moe2 embed --fit makes them)", path);
    if (!rc)
        rc = whole_number(&o.dim, st, "dim", 1, err);
    if (!rc)
        rc = whole_number(&n_texts, st, "n_texts", 0, err);
    if (!rc) {
        o.seed = strtoull(seed, NULL, 10);
        rc = hashed_features_new(&h, &o, err);
    }
    if (!rc && !(rc = read_idf(h, st, err))) {
        h->n_texts = n_texts;
        h->fitted = true;
        *out = h;
        h = NULL;
    }
    hashed_features_free(h);
    safetensors_close(st);
    return rc;
}
