/* Embedders: see embedder.h. */
#include "eval/embedder.h"

#include <omp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/process.h"
#include "base/rng.h"
#include "eval/hashed_features.h"
#include "model/encoder.h"
#include "text/tokenizer.h"

enum { MAX_THREADS = 256, HASHED_PIECE = 1024, ENCODER_PIECE = 128 };

struct embedder {
    int n_threads;
    char name[256];
    /* One of the two: */
    struct hashed_features *hashed;
    struct hashed_scratch **hashed_scratch; /* [n_threads] */

    struct encoder *encoder;
    struct device *dev;
    struct tokenizer *tokenizer;
    struct tokenizer_scratch **tokenizer_scratch; /* [n_threads] */
};

static int new_embedder(struct embedder **out, int n_threads, struct err *err)
{
    if (n_threads < 0 || n_threads > MAX_THREADS)
        return err_set(err, MOE2_ECONFIG, "%d threads are asked for, wanted 0 (all cores) to %d",
                       n_threads, MAX_THREADS);
    struct embedder *e = calloc(1, sizeof *e);
    if (!e)
        return err_set(err, MOE2_ELIMIT, "no memory for an embedder");
    e->n_threads = n_threads ? n_threads : process_cores();
    e->n_threads = e->n_threads < MAX_THREADS ? e->n_threads : MAX_THREADS;
    *out = e;
    return 0;
}

void embedder_free(struct embedder *e)
{
    if (!e)
        return;
    for (int i = 0; e->hashed_scratch && i < e->n_threads; i++)
        hashed_scratch_free(e->hashed_scratch[i]);
    for (int i = 0; e->tokenizer_scratch && i < e->n_threads; i++)
        tokenizer_scratch_free(e->tokenizer_scratch[i]);
    free(e->hashed_scratch);
    free(e->tokenizer_scratch);
    hashed_features_free(e->hashed);
    encoder_close(e->encoder);
    device_close(e->dev);
    tokenizer_free(e->tokenizer);
    free(e);
}

int64_t embedder_dim(const struct embedder *e)
{
    return e->hashed ? hashed_features_dim(e->hashed) : encoder_config(e->encoder)->hidden_size;
}

int64_t embedder_piece(const struct embedder *e)
{
    return e->hashed ? HASHED_PIECE : ENCODER_PIECE;
}

const char *embedder_name(const struct embedder *e)
{
    return e->name;
}

uint64_t embedder_fingerprint(const struct embedder *e)
{
    if (e->hashed)
        return hashed_features_fingerprint(e->hashed);
    return rng_at(encoder_fingerprint(e->encoder), tokenizer_fingerprint(e->tokenizer), 0, 0);
}

/* ---- hashed features ---- */

int embedder_of_hashed(struct embedder **out, struct hashed_features *h, int n_threads,
                       struct err *err)
{
    struct embedder *e = NULL;
    int rc = new_embedder(&e, n_threads, err);
    if (rc) {
        hashed_features_free(h);
        return rc;
    }
    e->hashed = h;
    e->hashed_scratch = calloc((size_t)e->n_threads, sizeof *e->hashed_scratch);
    rc = e->hashed_scratch ? 0 : err_set(err, MOE2_ELIMIT, "no memory for an embedder");
    for (int i = 0; i < e->n_threads && !rc; i++)
        rc = hashed_scratch_new(&e->hashed_scratch[i], err);
    if (rc) {
        embedder_free(e);
        return rc;
    }
    snprintf(e->name, sizeof e->name, "hashed features, %lld dimensions, idf of %lld texts",
             (long long)hashed_features_dim(h), (long long)hashed_features_n_texts(h));
    *out = e;
    return 0;
}

int embedder_open_hashed(struct embedder **out, const char *path, int n_threads, struct err *err)
{
    struct hashed_features *h = NULL;
    int rc = hashed_features_open(&h, path, err);
    return rc ? rc : embedder_of_hashed(out, h, n_threads, err);
}

static void hash_texts(float *out, struct embedder *e, const struct embedder_text *texts, int64_t n)
{
    int64_t dim = embedder_dim(e);
#pragma omp parallel for schedule(dynamic, 4) num_threads(e->n_threads) if (n > 1)
    for (int64_t i = 0; i < n; i++)
        hashed_features_embed(out + i * dim, e->hashed, e->hashed_scratch[omp_get_thread_num()],
                              texts[i].text, texts[i].n_bytes);
}

/* ---- encoders ---- */

static int open_tokenizer(struct embedder *e, struct err *err)
{
    const char *dir = encoder_dir(e->encoder);
    int64_t n_vocab = encoder_config(e->encoder)->vocab_size;
    int rc = tokenizer_open(&e->tokenizer, dir, err);
    if (!rc && tokenizer_n_vocab(e->tokenizer) > n_vocab)
        rc = err_set(err, MOE2_EFORMAT, "%s: the tokenizer has %d ids, the encoder %lld", dir,
                     tokenizer_n_vocab(e->tokenizer), (long long)n_vocab);
    e->tokenizer_scratch = calloc((size_t)e->n_threads, sizeof *e->tokenizer_scratch);
    if (!rc && !e->tokenizer_scratch)
        rc = err_set(err, MOE2_ELIMIT, "%s: no memory for an embedder", dir);
    for (int i = 0; i < e->n_threads && !rc; i++)
        rc = tokenizer_scratch_new(&e->tokenizer_scratch[i], e->tokenizer, err);
    return rc;
}

int embedder_open_encoder(struct embedder **out, const char *dir,
                          const struct device_choice *device, int n_threads, bool bf16,
                          int64_t batch_tokens, const struct log_sink *log, struct err *err)
{
    struct embedder *e = NULL;
    int rc = new_embedder(&e, n_threads, err);
    if (rc)
        return rc;
    struct encoder_options options = {bf16 ? DT_BF16 : DT_F32, batch_tokens, false};
    rc = device_open_choice(&e->dev, device, e->n_threads, err);
    if (!rc)
        rc = encoder_open(&e->encoder, dir, e->dev, &options, log, err);
    if (!rc)
        rc = open_tokenizer(e, err);
    if (rc) {
        embedder_free(e);
        return rc;
    }
    const struct encoder_config *c = encoder_config(e->encoder);
    snprintf(e->name, sizeof e->name, "%s of %lld layers, %s, texts cut at %lld tokens, %s",
             c->model_type, (long long)c->num_hidden_layers,
             c->pooling == POOLING_CLS ? "first token" : "mean of the tokens",
             (long long)c->max_seq_length, bf16 ? "bf16" : "float32");
    *out = e;
    return 0;
}

/* Cuts ids, which are those of a text with special tokens around it, to max: what goes is the end of the text. */
static int cut(struct ids *ids, struct embedder *e, const struct embedder_text *text, int thread,
               int64_t max, struct err *err)
{
    struct ids plain = {0};
    int rc = tokenizer_encode(e->tokenizer, e->tokenizer_scratch[thread], &plain, text->text,
                              text->n_bytes, 0, err);
    size_t before = 0, special = rc ? 0 : ids->n - plain.n;
    while (!rc && before < special &&
           memcmp(ids->v + before, plain.v, plain.n * sizeof *plain.v) != 0)
        before++;
    size_t behind = special - before, keep = (size_t)max > special ? (size_t)max - special : 0;
    if (!rc) {
        memmove(ids->v + before + keep, ids->v + before + plain.n, behind * sizeof *ids->v);
        ids->n = (size_t)max;
    }
    ids_release(&plain);
    return rc;
}

struct text_ids {
    struct ids ids;
    int64_t n_cut, i; /* tokens that were cut; its number among the texts */
    struct err err;
};

static void tokenize(struct text_ids *t, struct embedder *e, const struct embedder_text *texts,
                     int64_t n)
{
    int64_t max = encoder_config(e->encoder)->max_seq_length;
#pragma omp parallel for schedule(dynamic, 4) num_threads(e->n_threads) if (n > 1)
    for (int64_t i = 0; i < n; i++) {
        int thread = omp_get_thread_num();
        t[i].i = i;
        int rc =
            tokenizer_encode(e->tokenizer, e->tokenizer_scratch[thread], &t[i].ids, texts[i].text,
                             texts[i].n_bytes, TOKENIZER_SPECIAL | TOKENIZER_REPLACE, &t[i].err);
        if (rc || (int64_t)t[i].ids.n <= max)
            continue;
        t[i].n_cut = (int64_t)t[i].ids.n - max;
        cut(&t[i].ids, e, &texts[i], thread, max, &t[i].err);
    }
}

/* Short ones first, equal ones in their order. */
static int by_length(const void *a, const void *b)
{
    const struct text_ids *x = a, *y = b;
    if (x->ids.n != y->ids.n)
        return x->ids.n < y->ids.n ? -1 : 1;
    return x->i < y->i ? -1 : 1;
}

struct batch {
    int32_t *ids, *offset; /* [max_tokens], [n + 1] */
    float *vectors;        /* [n, dim] */
};

/* Texts first … of t, as many as go into a batch; returns how many. */
static int64_t fill(struct batch *b, const struct text_ids *t, int64_t n, int64_t max_tokens)
{
    int64_t i = 0;
    b->offset[0] = 0;
    for (; i < n && b->offset[i] + (int64_t)t[i].ids.n <= max_tokens; i++) {
        if (t[i].ids.n)
            memcpy(b->ids + b->offset[i], t[i].ids.v, t[i].ids.n * sizeof *b->ids);
        b->offset[i + 1] = b->offset[i] + (int32_t)t[i].ids.n;
    }
    return i;
}

static int run_batches(float *out, struct embedder *e, const struct text_ids *t, int64_t n,
                       struct err *err)
{
    int64_t dim = embedder_dim(e), max_tokens = encoder_max_tokens(e->encoder);
    struct batch b = {malloc((size_t)max_tokens * sizeof *b.ids),
                      malloc((size_t)(n + 1) * sizeof *b.offset),
                      malloc((size_t)(n * dim) * sizeof *b.vectors)};
    int rc = b.ids && b.offset && b.vectors
                 ? 0
                 : err_set(err, MOE2_ELIMIT, "no memory for a batch of %lld texts", (long long)n);
    for (int64_t first = 0; first < n && !rc;) {
        int64_t m = fill(&b, t + first, n - first, max_tokens);
        rc = encoder_forward(b.vectors, e->encoder, b.ids, b.offset, m, err);
        for (int64_t i = 0; i < m && !rc; i++)
            memcpy(out + t[first + i].i * dim, b.vectors + i * dim, (size_t)dim * sizeof *out);
        first += m;
    }
    free(b.ids);
    free(b.offset);
    free(b.vectors);
    return rc;
}

static int encode_texts(float *out, struct embedder_tally *tally, struct embedder *e,
                        const struct embedder_text *texts, int64_t n, struct err *err)
{
    struct text_ids *t = calloc((size_t)n + 1, sizeof *t);
    if (!t)
        return err_set(err, MOE2_ELIMIT, "no memory for the ids of %lld texts", (long long)n);
    tokenize(t, e, texts, n);
    int rc = 0;
    for (int64_t i = 0; i < n && !rc; i++) {
        if (t[i].err.code)
            rc = err_set(err, t[i].err.code, "text %lld: %s", (long long)i + 1, t[i].err.msg);
        tally->n_tokens += (int64_t)t[i].ids.n;
        tally->n_cut += t[i].n_cut > 0;
        tally->n_cut_tokens += t[i].n_cut;
    }
    qsort(t, (size_t)n, sizeof *t, by_length);
    if (!rc)
        rc = run_batches(out, e, t, n, err);
    for (int64_t i = 0; i < n; i++)
        ids_release(&t[i].ids);
    free(t);
    return rc;
}

int embedder_texts(float *out, struct embedder_tally *tally, struct embedder *e,
                   const struct embedder_text *texts, int64_t n, struct err *err)
{
    struct embedder_tally met = {.n_texts = n};
    int rc = 0;
    for (int64_t i = 0; i < n; i++)
        met.n_bytes += (int64_t)texts[i].n_bytes;
    if (e->hashed)
        hash_texts(out, e, texts, n);
    else
        rc = encode_texts(out, &met, e, texts, n, err);
    if (rc || !tally)
        return rc;
    tally->n_texts += met.n_texts;
    tally->n_bytes += met.n_bytes;
    tally->n_tokens += met.n_tokens;
    tally->n_cut += met.n_cut;
    tally->n_cut_tokens += met.n_cut_tokens;
    return 0;
}
