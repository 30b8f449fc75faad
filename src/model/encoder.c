/* The pass of a sentence encoder: see encoder.h.
 *
 *     x = LN(word + position + type)
 *     x = LN(x + o(attention(qkv(x))))         each layer, as BERT has it: the norm stands behind the residual
 *     x = LN(x + down(act(up(x))))
 *     text = mean of its rows of x, or the first of them, brought to length 1
 *
 * Sources: Devlin et al., arXiv 1810.04805; Reimers & Gurevych, arXiv 1908.10084; Zhang et al., arXiv 2407.19669 (gte).
 */
#include "model/encoder.h"

#include <assert.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/rng.h"
#include "model/encoder_parts.h"

enum { DEFAULT_TOKENS = 4096, MAX_TOKENS = 1 << 20 };

struct encoder {
    struct encoder_config config;
    struct encoder_weights weights;
    struct device *dev;
    char dir[4096]; /* of the weights */
    enum dtype compute;
    bool
        firsts_only; /* behind the last layer's attention only the first row of each text goes on */
    int64_t max_tokens;
    /* One allocation for the rows of a batch: */
    float *memory, *x, *sum, *qkv, *mixed, *inner;
    size_t memory_bytes;
    /* The host's side: */
    float *near;       /* [max_tokens, D] rows on their way in: x itself where the host reads it */
    int32_t *position; /* [2 · max_tokens + 1] of each token in its text; or as index */
    int32_t *index; /* [2 · max_tokens + 1] the device's: positions, or rows to gather and sum */
};

static size_t index_bytes(const struct encoder *e)
{
    return (size_t)(2 * e->max_tokens + 1) * sizeof(int32_t);
}

static size_t near_bytes(const struct encoder *e)
{
    return (size_t)(e->max_tokens * e->config.hidden_size) * sizeof(float);
}

static int allocate(struct encoder *e, int64_t max_tokens, struct err *err)
{
    const struct encoder_config *c = &e->config;
    int64_t D = c->hidden_size, T = max_tokens ? max_tokens : DEFAULT_TOKENS;
    T = T < c->max_seq_length ? c->max_seq_length : T < MAX_TOKENS ? T : MAX_TOKENS;
    e->max_tokens = T;
    e->memory_bytes = (size_t)(T * (6 * D + c->intermediate_size)) * sizeof(float);
    e->memory = device_alloc(e->dev, e->memory_bytes, err);
    e->index = e->memory ? device_alloc(e->dev, index_bytes(e), err) : NULL;
    if (!e->index)
        return MOE2_ELIMIT;
    e->x = e->memory;
    e->near = e->dev->host_memory ? e->x : e->dev->ops->host_alloc(e->dev, near_bytes(e));
    e->position = malloc((size_t)(2 * T + 1) * sizeof *e->position);
    if (!e->near || !e->position)
        return err_set(err, MOE2_ELIMIT, "no memory for batches of %lld tokens", (long long)T);
    e->sum = e->x + T * D;
    e->qkv = e->sum + T * D;
    e->mixed = e->qkv + 3 * T * D;
    e->inner = e->mixed + T * D;
    return 0;
}

int encoder_open(struct encoder **out, const char *dir, struct device *dev,
                 const struct encoder_options *options, const struct log_sink *log, struct err *err)
{
    struct encoder *e = calloc(1, sizeof *e);
    if (!e)
        return err_set(err, MOE2_ELIMIT, "%s: no memory for an encoder", dir);
    e->dev = dev;
    e->compute = options->compute;
    int rc = encoder_config_read(&e->config, e->dir, sizeof e->dir, dir, err);
    if (!rc)
        rc = encoder_weights_load(&e->weights, &e->config, e->dir, dev, e->compute, log, err);
    if (!rc)
        rc = allocate(e, options->max_tokens, err);
    e->firsts_only = e->config.pooling == POOLING_CLS && !options->keep_rows;
    if (rc)
        encoder_close(e);
    else
        *out = e;
    return rc;
}

void encoder_close(struct encoder *e)
{
    if (!e)
        return;
    device_sync(e->dev);
    encoder_weights_release(&e->weights, e->dev);
    if (e->near && e->near != e->x)
        e->dev->ops->host_free(e->dev, e->near, near_bytes(e));
    device_free(e->dev, e->index, index_bytes(e));
    device_free(e->dev, e->memory, e->memory_bytes);
    free(e->position);
    free(e);
}

const struct encoder_config *encoder_config(const struct encoder *e)
{
    return &e->config;
}

const char *encoder_dir(const struct encoder *e)
{
    return e->dir;
}

uint64_t encoder_fingerprint(const struct encoder *e)
{
    const struct encoder_config *c = &e->config;
    const struct safetensors *st = e->weights.file;
    uint64_t h = rng_at((uint64_t)c->family, (uint64_t)c->pooling, (uint64_t)c->max_seq_length,
                        (uint64_t)e->compute);
    for (int64_t i = 0; i < safetensors_count(st); i++) {
        const struct safetensor *t = safetensors_at(st, i);
        uint64_t first = 0;
        memcpy(&first, t->bytes, t->n_bytes < 8 ? (size_t)t->n_bytes : 8);
        h = rng_at(h, first, (uint64_t)t->n_bytes, (uint64_t)t->dtype);
    }
    return e->dev->host_memory ? h : rng_at(h, 0x677075, 0, 0); /* a GPU adds up in another order */
}

int64_t encoder_max_tokens(const struct encoder *e)
{
    return e->max_tokens;
}

const float *encoder_hidden(const struct encoder *e)
{
    return e->x;
}

double encoder_flops(const struct encoder_config *c, int64_t n)
{
    double D = (double)c->hidden_size, F = (double)c->intermediate_size, T = (double)n;
    double matrices = 4 * D * D + (c->family == ENCODER_GTE ? 3 : 2) * D * F;
    return (double)c->num_hidden_layers * 2 * T * (matrices + 2 * T * D);
}

/* ---- the pass ---- */

static int check_ids(const struct encoder *e, const int32_t *ids, const int32_t *offset, int64_t B,
                     struct err *err)
{
    assert(offset[0] == 0 && offset[B] <= e->max_tokens);
    for (int64_t b = 0; b < B; b++)
        assert(offset[b + 1] >= offset[b] && offset[b + 1] - offset[b] <= e->config.max_seq_length);
    for (int64_t t = 0; t < offset[B]; t++)
        if (ids[t] < 0 || ids[t] >= e->config.vocab_size)
            return err_set(err, MOE2_EFORMAT,
                           "token id %d, wanted 0 to %lld: is the tokenizer of "
                           "another model?",
                           ids[t], (long long)e->config.vocab_size - 1);
    return 0;
}

static void add_to(float *x, const float *what, int64_t n)
{
    for (int64_t i = 0; i < n; i++)
        x[i] += what[i];
}

static int embed(struct encoder *e, const int32_t *ids, const int32_t *offset, int64_t B,
                 struct err *err)
{
    const struct encoder_weights *w = &e->weights;
    int64_t D = e->config.hidden_size,
            first = e->config.family == ENCODER_XLM_R ? e->config.pad_token_id + 1 : 0;
    int rc = 0;
    for (int64_t b = 0; b < B && !rc; b++)
        for (int64_t t = offset[b]; t < offset[b + 1] && !rc; t++) {
            float *x = e->near + t * D;
            e->position[t] = (int32_t)(t - offset[b]);
            rc = safetensors_to_f32(x, w->words, ids[t] * D, D, err);
            if (w->positions)
                add_to(x, w->positions + (first + e->position[t]) * D, D);
            if (w->type)
                add_to(x, w->type, D);
        }
    if (e->near != e->x)
        e->dev->ops->write(e->dev, e->x, e->near, (size_t)(offset[B] * D) * sizeof *e->x);
    if (w->cos)
        e->dev->ops->write(e->dev, e->index, e->position, (size_t)offset[B] * sizeof *e->position);
    e->dev->k->layernorm_forward(e->dev, e->x, e->x, w->norm, w->norm_bias, offset[B], D,
                                 (float)e->config.layer_norm_eps);
    return rc;
}

/* y [T, ·] = act(x · w + bias) + add, rows without gaps. */
static void dense(struct encoder *e, float *y, const float *x, const struct dense_weight *w,
                  const float *bias, const float *add, int64_t T, enum dense_act act)
{
    int64_t N = w->gated ? w->N / 2 : w->N;
    struct dense_args a = {.y = y, .x = x, .w = w, .bias = bias, .add = add, .M = T, .act = act};
    a.ldy = a.ldadd = N;
    a.ldx = w->K;
    e->dev->k->dense_forward(e->dev, &a);
}

static void attend(struct encoder *e, const int32_t *offset, int64_t B)
{
    const struct encoder_config *c = &e->config;
    int64_t D = c->hidden_size, H = c->num_attention_heads, d = D / H;
    if (e->weights.cos) /* the heads of q and k lie one behind the other */
        e->dev->k->rope(e->dev, e->qkv, e->index, e->weights.cos, e->weights.sin, offset[B], 2 * H,
                        d, 3 * D, d, 1);
    struct encoder_attention_args a = {
        .o = e->mixed, .q = e->qkv, .k = e->qkv + D, .v = e->qkv + 2 * D};
    a.ldo = D;
    a.ldqkv = 3 * D;
    a.offset = offset;
    a.B = B;
    a.H = H;
    a.d = d;
    a.scale = (float)(1 / sqrt((double)d));
    e->dev->k->encoder_attention(e->dev, &a);
}

/* The part of a layer behind attention, for T rows of mixed and x. */
static void finish_layer(struct encoder *e, const struct encoder_layer *y, int64_t T)
{
    const struct kernels *k = e->dev->k;
    int64_t D = e->config.hidden_size;
    float eps = (float)e->config.layer_norm_eps;
    dense(e, e->sum, e->mixed, &y->o, y->o_bias, e->x, T, DENSE_PLAIN);
    k->layernorm_forward(e->dev, e->x, e->sum, y->attn_norm, y->attn_norm_bias, T, D, eps);
    dense(e, e->inner, e->x, &y->up, y->up_bias, NULL, T, DENSE_GELU);
    dense(e, e->sum, e->inner, &y->down, y->down_bias, e->x, T, DENSE_PLAIN);
    k->layernorm_forward(e->dev, e->x, e->sum, y->ffn_norm, y->ffn_norm_bias, T, D, eps);
}

/* The first rows of all texts that have one, moved together by way of the room of q, k and v; returns how many. */
static int64_t take_firsts(struct encoder *e, const int32_t *offset, int64_t B)
{
    const struct kernels *k = e->dev->k;
    int64_t D = e->config.hidden_size, n = 0;
    for (int64_t b = 0; b < B; b++)
        if (offset[b + 1] > offset[b])
            e->position[n++] = offset[b];
    e->dev->ops->write(e->dev, e->index, e->position, (size_t)n * sizeof *e->index);
    k->embed_forward(e->dev, e->qkv, e->x, DT_F32, e->index, n, D);
    k->embed_forward(e->dev, e->qkv + n * D, e->mixed, DT_F32, e->index, n, D);
    k->copy(e->dev, e->x, e->qkv, n * D);
    k->copy(e->dev, e->mixed, e->qkv + n * D, n * D);
    return n;
}

static void run_layers(struct encoder *e, const int32_t *offset, int64_t B)
{
    int64_t L = e->config.num_hidden_layers, T = offset[B];
    for (int64_t i = 0; i < L; i++) {
        const struct encoder_layer *y = &e->weights.layers[i];
        dense(e, e->qkv, e->x, &y->qkv, y->qkv_bias, NULL, T, DENSE_PLAIN);
        attend(e, offset, B);
        finish_layer(e, y, i == L - 1 && e->firsts_only ? take_firsts(e, offset, B) : T);
    }
}

/* A sum of rows to length 1. */
static int to_length_one(float *out, int64_t D, struct err *err)
{
    double squares = 0;
    for (int64_t i = 0; i < D; i++)
        squares += (double)out[i] * (double)out[i];
    if (!isfinite(squares))
        return err_set(err, MOE2_ENUMERIC,
                       "the encoder made a NaN or an infinity: its embedding "
                       "of tokens may hold one");
    float factor = squares > 0 ? (float)(1 / sqrt(squares)) : 0;
    for (int64_t i = 0; i < D; i++)
        out[i] *= factor;
    return 0;
}

/* out [B, D]: for each text the sum of the rows that make its vector, in their order; texts without rows take no room on the device. */
static void sum_rows(float *out, struct encoder *e, const int32_t *offset, int64_t B)
{
    const struct device_ops *ops = e->dev->ops;
    int64_t D = e->config.hidden_size, row = 0, n = 0, texts = 0, t = 0;
    for (int64_t b = 0; b < B; b++)
        texts += offset[b + 1] > offset[b];
    int32_t *first = e->position, *slot = first + texts + 1; /* as of combine */
    for (int64_t b = 0; b < B; b++) {
        int64_t rows = offset[b + 1] - offset[b];
        if (!rows)
            continue;
        first[t++] = (int32_t)n;
        for (int64_t i = 0; i < (e->config.pooling == POOLING_CLS ? 1 : rows); i++)
            slot[n++] = (int32_t)(row + i);
        row += e->firsts_only ? 1 : rows;
    }
    first[texts] = (int32_t)n;
    ops->write(e->dev, e->index, first, (size_t)(texts + 1 + n) * sizeof *first);
    e->dev->k->fill(e->dev, e->sum, 0, texts * D);
    e->dev->k->combine(e->dev, e->sum, e->x, NULL, e->index, e->index + texts + 1, texts, D);
    ops->read(e->dev, out, e->sum, (size_t)(texts * D) * sizeof *out);
    for (int64_t b = B; b-- > 0;)
        if (offset[b + 1] > offset[b])
            memmove(out + b * D, out + --texts * D, (size_t)D * sizeof *out);
        else
            memset(out + b * D, 0, (size_t)D * sizeof *out);
}

int encoder_forward(float *out, struct encoder *e, const int32_t *ids, const int32_t *offset,
                    int64_t B, struct err *err)
{
    int rc = check_ids(e, ids, offset, B, err);
    if (!rc)
        rc = embed(e, ids, offset, B, err);
    if (rc)
        return rc;
    run_layers(e, offset, B);
    sum_rows(out, e, offset, B);
    rc = device_check(e->dev, err);
    for (int64_t b = 0; b < B && !rc; b++)
        rc = to_length_one(out + b * e->config.hidden_size, e->config.hidden_size, err);
    return rc;
}
