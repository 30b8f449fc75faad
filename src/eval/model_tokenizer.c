/* The tokenizer of a model: see model_tokenizer.h. Here a GGUF file's arrays meet text's rules. */
#include "eval/model_tokenizer.h"

#include <stdlib.h>
#include <string.h>

#include "io/gguf.h"
#include "model/source.h"
#include "text/tokenizer_arrays.h"

/* The arrays of a file, owned, and what points into them and into the file. */
struct parts {
    struct span *tokens, *merges;
    int64_t *kinds;
    float *scores;
    struct tokenizer_arrays a;
};

static void release(struct parts *p)
{
    free(p->tokens);
    free(p->merges);
    free(p->kinds);
    free(p->scores);
}

static int no_memory(const struct gguf *g, struct err *err)
{
    return err_set(err, MOE2_ELIMIT, "%s: no memory for its tokenizer", gguf_path(g));
}

/* An array of texts as spans; one that is missing is none, unless it is needed. */
static int read_spans(struct span **out, int64_t *n, const struct gguf *g, const char *key,
                      bool needed, struct err *err)
{
    if (!needed && !gguf_key(g, key))
        return 0;
    int rc = gguf_texts(NULL, n, g, key, err);
    if (rc)
        return rc;
    struct gguf_string *texts = malloc(((size_t)*n + 1) * sizeof *texts);
    *out = malloc(((size_t)*n + 1) * sizeof **out);
    rc = texts && *out ? gguf_texts(texts, n, g, key, err) : no_memory(g, err);
    for (int64_t i = 0; i < *n && !rc; i++)
        (*out)[i] = (struct span){texts[i].s, (uint32_t)texts[i].n};
    free(texts);
    return rc;
}

static int wrong_length(const struct gguf *g, const char *key, int64_t n, int64_t wanted,
                        struct err *err)
{
    return err_set(err, MOE2_EFORMAT, "%s: key %s has %lld items, wanted %lld, as many as tokens",
                   gguf_path(g), key, (long long)n, (long long)wanted);
}

static int read_kinds(struct parts *p, const struct gguf *g, struct err *err)
{
    static const char key[] = "tokenizer.ggml.token_type";
    int64_t n = 0;
    if (!gguf_key(g, key))
        return 0;
    int rc = gguf_ints(NULL, &n, g, key, err);
    if (!rc && n != p->a.n)
        rc = wrong_length(g, key, n, p->a.n, err);
    if (!rc && !(p->kinds = malloc(((size_t)n + 1) * sizeof *p->kinds)))
        rc = no_memory(g, err);
    return rc ? rc : gguf_ints(p->kinds, &n, g, key, err);
}

static int read_scores(struct parts *p, const struct gguf *g, struct err *err)
{
    static const char key[] = "tokenizer.ggml.scores";
    int64_t n = 0;
    if (!gguf_key(g, key))
        return 0;
    int rc = gguf_reals(NULL, &n, g, key, err);
    if (!rc && n != p->a.n)
        rc = wrong_length(g, key, n, p->a.n, err);
    if (!rc && !(p->scores = malloc(((size_t)n + 1) * sizeof *p->scores)))
        rc = no_memory(g, err);
    return rc ? rc : gguf_reals(p->scores, &n, g, key, err);
}

static int read_id(int64_t *out, const struct gguf *g, const char *key, struct err *err)
{
    *out = -1;
    return gguf_key(g, key) ? gguf_int(out, g, key, 0, INT32_MAX, err) : 0;
}

static int read_flag(int *out, const struct gguf *g, const char *key, struct err *err)
{
    bool value = false;
    *out = -1;
    if (!gguf_key(g, key))
        return 0;
    int rc = gguf_bool(&value, g, key, err);
    *out = value;
    return rc;
}

static int read_text(const char **out, const struct gguf *g, const char *key, struct err *err)
{
    *out = NULL;
    return gguf_key(g, key) ? gguf_text(out, g, key, err) : 0;
}

bool model_tokenizer_in(const struct gguf *g)
{
    const char *model = NULL;
    return gguf_key(g, "tokenizer.ggml.model") &&
           (gguf_text(&model, g, "tokenizer.ggml.model", NULL) || strcmp(model, "none") != 0);
}

static int read_parts(struct parts *p, const struct gguf *g, struct err *err)
{
    struct tokenizer_arrays *a = &p->a;
    int rc = gguf_text(&a->model, g, "tokenizer.ggml.model", err);
    if (!rc)
        rc = read_text(&a->pre, g, "tokenizer.ggml.pre", err);
    if (!rc)
        rc = read_text(&a->chat_template, g, "tokenizer.chat_template", err);
    if (!rc)
        rc = read_spans(&p->tokens, &a->n, g, "tokenizer.ggml.tokens", true, err);
    if (!rc)
        rc = read_spans(&p->merges, &a->n_merges, g, "tokenizer.ggml.merges", false, err);
    if (!rc)
        rc = read_kinds(p, g, err);
    if (!rc)
        rc = read_scores(p, g, err);
    if (!rc)
        rc = read_id(&a->bos_id, g, "tokenizer.ggml.bos_token_id", err);
    if (!rc)
        rc = read_id(&a->eos_id, g, "tokenizer.ggml.eos_token_id", err);
    if (!rc)
        rc = read_id(&a->unk_id, g, "tokenizer.ggml.unknown_token_id", err);
    if (!rc)
        rc = read_flag(&a->add_bos, g, "tokenizer.ggml.add_bos_token", err);
    if (!rc)
        rc = read_flag(&a->add_eos, g, "tokenizer.ggml.add_eos_token", err);
    if (!rc)
        rc = read_flag(&a->add_space_prefix, g, "tokenizer.ggml.add_space_prefix", err);
    a->tokens = p->tokens;
    a->merges = p->merges;
    a->kinds = p->kinds;
    a->scores = p->scores;
    return rc;
}

int model_tokenizer_json(struct buf *json, struct buf *config, const struct gguf *g,
                         struct err *err)
{
    struct parts p = {0};
    int rc = read_parts(&p, g, err);
    if (!rc && (rc = tokenizer_arrays_json(json, config, &p.a, err)))
        err_prefix(err, "%s", gguf_path(g));
    release(&p);
    return rc;
}

static int open_gguf(struct tokenizer **out, const char *path, struct err *err)
{
    struct gguf *g = NULL;
    struct parts p = {0};
    int rc = gguf_open(&g, path, err);
    if (!rc && !model_tokenizer_in(g))
        rc = err_set(err, MOE2_EFORMAT, "%s: holds no tokenizer", path);
    if (!rc)
        rc = read_parts(&p, g, err);
    if (!rc && (rc = tokenizer_from_arrays(out, &p.a, err)))
        err_prefix(err, "%s", path);
    release(&p);
    gguf_close(g);
    return rc;
}

int model_tokenizer_open(struct tokenizer **out, const char *path, struct err *err)
{
    if (gguf_is(path))
        return open_gguf(out, path, err);
    return source_is_file(path) ? err_set(err, MOE2_EFORMAT,
                                          "%s: is a llama2.c model, which holds no tokenizer", path)
                                : tokenizer_open(out, path, err);
}
