/* Embedders: see embedder.h. */
#include "eval/embedder.h"

#include <omp.h>
#include <stdio.h>
#include <stdlib.h>

#include "eval/hashed_features.h"

enum { MAX_THREADS = 256 };

struct embedder {
    struct hashed_features *hashed;
    struct hashed_scratch **scratch; /* [n_threads] */
    int n_threads;
    char name[160];
};

int embedder_of_hashed(struct embedder **out, struct hashed_features *h, int n_threads,
                       struct err *err)
{
    if (n_threads < 0 || n_threads > MAX_THREADS) {
        hashed_features_free(h);
        return err_set(err, MOE2_ECONFIG, "%d threads are asked for, wanted 0 (all cores) to %d",
                       n_threads, MAX_THREADS);
    }
    struct embedder *e = calloc(1, sizeof *e);
    if (!e) {
        hashed_features_free(h);
        return err_set(err, MOE2_ELIMIT, "no memory for an embedder");
    }
    e->hashed = h;
    e->n_threads = n_threads ? n_threads : omp_get_num_procs();
    e->scratch = calloc((size_t)e->n_threads, sizeof *e->scratch);
    int rc = e->scratch ? 0 : err_set(err, MOE2_ELIMIT, "no memory for an embedder");
    for (int i = 0; i < e->n_threads && !rc; i++)
        rc = hashed_scratch_new(&e->scratch[i], err);
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

void embedder_free(struct embedder *e)
{
    if (!e)
        return;
    for (int i = 0; e->scratch && i < e->n_threads; i++)
        hashed_scratch_free(e->scratch[i]);
    free(e->scratch);
    hashed_features_free(e->hashed);
    free(e);
}

int64_t embedder_dim(const struct embedder *e)
{
    return hashed_features_dim(e->hashed);
}

const char *embedder_name(const struct embedder *e)
{
    return e->name;
}

uint64_t embedder_fingerprint(const struct embedder *e)
{
    return hashed_features_fingerprint(e->hashed);
}

int embedder_texts(float *out, struct embedder_tally *tally, struct embedder *e,
                   const struct embedder_text *texts, int64_t n, struct err *err)
{
    (void)err;
    int64_t dim = embedder_dim(e);
#pragma omp parallel for schedule(dynamic, 4) num_threads(e->n_threads) if (n > 1)
    for (int64_t i = 0; i < n; i++)
        hashed_features_embed(out + i * dim, e->hashed, e->scratch[omp_get_thread_num()],
                              texts[i].text, texts[i].n_bytes);
    for (int64_t i = 0; i < n && tally; i++) {
        tally->n_texts++;
        tally->n_bytes += (int64_t)texts[i].n_bytes;
    }
    return 0;
}
