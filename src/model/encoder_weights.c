/* An encoder's checkpoint: which tensors there must be, where each goes.
 *
 * One table names them: the part of a layer's name, its shape, the field that it fills. Vectors are copied into one allocation, in
 * the table's order, so that the biases of q, k and v lie one behind the other; matrices are packed into another, q, k and v as one.
 * Rotary heads: files rotate number i with number i + d/2, our kernel rotates neighbours, so rows of q and k (and their biases) are
 * shuffled once here; the products q·k stay what they were.
 */
#include <assert.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "model/encoder_parts.h"
#include "model/misfits.h"

enum { MAX_NAME = 128, ALIGN = 64 };
enum size { NONE, D1, D3, F1, F2, VOCAB, TYPES, POSITIONS };
enum { LEARNED = 1 << ENCODER_BERT | 1 << ENCODER_XLM_R, ROTARY = 1 << ENCODER_GTE };
enum { ALL = LEARNED | ROTARY };

struct part {
    int families;
    const char *name;
    enum size rows, cols; /* cols NONE: a vector */
    size_t field;         /* of struct encoder_layer, or of encoder_weights */
    int piece;            /* begins at row piece · D of the field */
};

#define LAYER(f) offsetof(struct encoder_layer, f)
#define WHOLE(f) offsetof(struct encoder_weights, f)

static const struct part layer_parts[] = {
    {LEARNED, "attention.self.query.weight", D1, D1, LAYER(qkv), 0},
    {LEARNED, "attention.self.key.weight", D1, D1, LAYER(qkv), 1},
    {LEARNED, "attention.self.value.weight", D1, D1, LAYER(qkv), 2},
    {LEARNED, "attention.self.query.bias", D1, NONE, LAYER(qkv_bias), 0},
    {LEARNED, "attention.self.key.bias", D1, NONE, LAYER(qkv_bias), 1},
    {LEARNED, "attention.self.value.bias", D1, NONE, LAYER(qkv_bias), 2},
    {LEARNED, "attention.output.dense.weight", D1, D1, LAYER(o), 0},
    {LEARNED, "attention.output.dense.bias", D1, NONE, LAYER(o_bias), 0},
    {LEARNED, "attention.output.LayerNorm.weight", D1, NONE, LAYER(attn_norm), 0},
    {LEARNED, "attention.output.LayerNorm.bias", D1, NONE, LAYER(attn_norm_bias), 0},
    {LEARNED, "intermediate.dense.weight", F1, D1, LAYER(up), 0},
    {LEARNED, "intermediate.dense.bias", F1, NONE, LAYER(up_bias), 0},
    {LEARNED, "output.dense.weight", D1, F1, LAYER(down), 0},
    {LEARNED, "output.dense.bias", D1, NONE, LAYER(down_bias), 0},
    {LEARNED, "output.LayerNorm.weight", D1, NONE, LAYER(ffn_norm), 0},
    {LEARNED, "output.LayerNorm.bias", D1, NONE, LAYER(ffn_norm_bias), 0},
    {ROTARY, "attention.qkv_proj.weight", D3, D1, LAYER(qkv), 0},
    {ROTARY, "attention.qkv_proj.bias", D3, NONE, LAYER(qkv_bias), 0},
    {ROTARY, "attention.o_proj.weight", D1, D1, LAYER(o), 0},
    {ROTARY, "attention.o_proj.bias", D1, NONE, LAYER(o_bias), 0},
    {ROTARY, "attn_ln.weight", D1, NONE, LAYER(attn_norm), 0},
    {ROTARY, "attn_ln.bias", D1, NONE, LAYER(attn_norm_bias), 0},
    {ROTARY, "mlp.up_gate_proj.weight", F2, D1, LAYER(up), 0},
    {ROTARY, "mlp.down_proj.weight", D1, F1, LAYER(down), 0},
    {ROTARY, "mlp.down_proj.bias", D1, NONE, LAYER(down_bias), 0},
    {ROTARY, "mlp_ln.weight", D1, NONE, LAYER(ffn_norm), 0},
    {ROTARY, "mlp_ln.bias", D1, NONE, LAYER(ffn_norm_bias), 0},
};

static const struct part whole_parts[] = {
    {ALL, "embeddings.word_embeddings.weight", VOCAB, D1, WHOLE(words), 0},
    {LEARNED, "embeddings.position_embeddings.weight", POSITIONS, D1, WHOLE(positions), 0},
    {ALL, "embeddings.token_type_embeddings.weight", TYPES, D1, WHOLE(type), 0},
    {ALL, "embeddings.LayerNorm.weight", D1, NONE, WHOLE(norm), 0},
    {ALL, "embeddings.LayerNorm.bias", D1, NONE, WHOLE(norm_bias), 0},
};
enum { N_LAYER_PARTS = sizeof layer_parts / sizeof *layer_parts };
enum { N_WHOLE_PARTS = sizeof whole_parts / sizeof *whole_parts };

/* Names may begin with the name of the model inside a larger one. */
static const char *const prefixes[] = {"", "bert.", "roberta.", "new.", "model."};
/* Parts of larger models that make no embedding. */
static const char *const left_out[] = {"pooler.",
                                       "cls.",
                                       "lm_head.",
                                       "classifier.",
                                       "embeddings.position_ids",
                                       "embeddings.token_type_ids"};

static int64_t size_of(const struct encoder_config *c, enum size size)
{
    const int64_t sizes[] = {[NONE] = 1,
                             [D1] = c->hidden_size,
                             [D3] = 3 * c->hidden_size,
                             [F1] = c->intermediate_size,
                             [F2] = 2 * c->intermediate_size,
                             [VOCAB] = c->vocab_size,
                             [TYPES] = c->type_vocab_size,
                             [POSITIONS] = c->max_position_embeddings};
    return sizes[size];
}

struct loader {
    struct encoder_weights *w;
    const struct encoder_config *config;
    const char *dir, *prefix;
    struct device *dev;
    enum dtype compute;
    float *rows;    /* one matrix in the making, and as much again to shuffle it */
    int64_t n_rows; /* numbers that it has room for */
    float *next;    /* free place for a vector, in w->near */
};

static bool has(const struct loader *l, const struct part *p)
{
    return (p->families >> l->config->family & 1) && size_of(l->config, p->rows) > 0;
}

static const char *name_of(char name[MAX_NAME], const struct loader *l, const struct part *p,
                           int64_t layer)
{
    if (layer < 0)
        snprintf(name, MAX_NAME, "%s%s", l->prefix, p->name);
    else
        snprintf(name, MAX_NAME, "%sencoder.layer.%lld.%s", l->prefix, (long long)layer, p->name);
    return name;
}

/* Calls look for every tensor there must be. */
static int each_part(struct loader *l,
                     int (*look)(struct loader *l, const struct part *p, int64_t layer, void *ctx,
                                 struct err *err),
                     void *ctx, struct err *err)
{
    int rc = 0;
    for (int i = 0; i < N_WHOLE_PARTS && !rc; i++)
        if (has(l, &whole_parts[i]))
            rc = look(l, &whole_parts[i], -1, ctx, err);
    for (int64_t layer = 0; layer < l->config->num_hidden_layers; layer++)
        for (int i = 0; i < N_LAYER_PARTS && !rc; i++)
            if (has(l, &layer_parts[i]))
                rc = look(l, &layer_parts[i], layer, ctx, err);
    return rc;
}

/* ---- does the file fit? ---- */

static void find_prefix(struct loader *l)
{
    char name[MAX_NAME];
    for (size_t i = 0; i < sizeof prefixes / sizeof *prefixes; i++) {
        l->prefix = prefixes[i];
        if (safetensors_find(l->w->file, name_of(name, l, &whole_parts[0], -1)))
            return;
    }
    l->prefix = "";
}

struct fit {
    struct misfits misfits;
    char (*names)[MAX_NAME];
    int64_t n;
};

static int look(struct loader *l, const struct part *p, int64_t layer, void *ctx, struct err *err)
{
    (void)err;
    struct fit *f = ctx;
    const int64_t shape[2] = {size_of(l->config, p->rows), size_of(l->config, p->cols)};
    const char *name = name_of(f->names[f->n++], l, p, layer);
    misfits_look_in(&f->misfits, l->w->file, name, shape, p->cols == NONE ? 1 : 2);
    return 0;
}

static bool is_left_out(const char *name)
{
    for (size_t i = 0; i < sizeof prefixes / sizeof *prefixes; i++) {
        size_t n = strlen(prefixes[i]);
        if (strncmp(name, prefixes[i], n) != 0)
            continue;
        for (size_t j = 0; j < sizeof left_out / sizeof *left_out; j++)
            if (strncmp(name + n, left_out[j], strlen(left_out[j])) == 0)
                return true;
    }
    return false;
}

static int by_name(const void *a, const void *b)
{
    return strcmp(a, b);
}

static int check_names(struct loader *l, struct err *err)
{
    struct fit f = {0};
    f.names = calloc((size_t)(N_WHOLE_PARTS + l->config->num_hidden_layers * N_LAYER_PARTS),
                     sizeof *f.names);
    if (!f.names)
        return err_set(err, MOE2_ELIMIT, "%s: no memory for the names of its tensors", l->dir);
    each_part(l, look, &f, err);
    qsort(f.names, (size_t)f.n, sizeof *f.names, by_name);
    for (int64_t i = 0; i < safetensors_count(l->w->file); i++) {
        const char *name = safetensors_at(l->w->file, i)->name;
        if (!bsearch(name, f.names, (size_t)f.n, sizeof *f.names, by_name) && !is_left_out(name))
            misfits_unknown(&f.misfits, name);
    }
    free(f.names);
    return misfits_tell(&f.misfits, l->dir, err);
}

/* ---- memory ---- */

static struct dense_weight *dense_at(struct encoder_layer *layer, const struct part *p)
{
    return (struct dense_weight *)((char *)layer + p->field);
}

static float **vector_at(struct loader *l, const struct part *p, int64_t layer)
{
    char *base = layer < 0 ? (char *)l->w : (char *)&l->w->layers[layer];
    return (float **)(base + p->field);
}

static bool is_matrix(const struct part *p, int64_t layer)
{
    return layer >= 0 && p->cols != NONE;
}

static size_t aligned(size_t n)
{
    return (n + ALIGN - 1) / ALIGN * ALIGN;
}

static void set_shapes(struct loader *l)
{
    int64_t D = l->config->hidden_size, F = l->config->intermediate_size;
    bool gated = l->config->family == ENCODER_GTE;
    for (int64_t i = 0; i < l->config->num_hidden_layers; i++) {
        struct encoder_layer *y = &l->w->layers[i];
        y->qkv = (struct dense_weight){NULL, 3 * D, D, l->compute, false};
        y->o = (struct dense_weight){NULL, D, D, l->compute, false};
        y->up = (struct dense_weight){NULL, gated ? 2 * F : F, D, l->compute, gated};
        y->down = (struct dense_weight){NULL, D, F, l->compute, false};
    }
}

/* Counts what every tensor takes. */
static int count(struct loader *l, const struct part *p, int64_t layer, void *ctx, struct err *err)
{
    (void)ctx;
    (void)err;
    int64_t D = l->config->hidden_size, rows = size_of(l->config, p->rows);
    if (is_matrix(p, layer)) {
        const struct dense_weight *w = dense_at(&l->w->layers[layer], p);
        l->n_rows = w->N * w->K > l->n_rows ? w->N * w->K : l->n_rows;
        if (p->piece == 0)
            l->w->packed_bytes += aligned(l->dev->k->dense_bytes(l->dev, w));
    } else if (p->rows == POSITIONS) {
        l->w->vectors_bytes += aligned((size_t)(rows * D) * sizeof(float));
    } else if (p->rows != VOCAB) {
        l->w->vectors_bytes += aligned((size_t)(p->cols == NONE ? rows : D) * sizeof(float));
    }
    return 0;
}

static int allocate(struct loader *l, struct err *err)
{
    struct encoder_weights *w = l->w;
    w->layers = calloc((size_t)l->config->num_hidden_layers, sizeof *w->layers);
    if (!w->layers)
        return err_set(err, MOE2_ELIMIT, "%s: no memory for its layers", l->dir);
    set_shapes(l);
    each_part(l, count, NULL, err);
    w->vectors = device_alloc(l->dev, w->vectors_bytes, err);
    w->packed = w->vectors ? device_alloc(l->dev, w->packed_bytes, err) : NULL;
    if (!w->packed)
        return MOE2_ELIMIT;
    w->near = l->dev->host_memory ? w->vectors : malloc(w->vectors_bytes);
    l->dev->ops->zero(l->dev, w->packed, w->packed_bytes);
    l->rows = malloc((size_t)(2 * l->n_rows) * sizeof *l->rows);
    if (!l->rows || !w->near)
        return err_set(err, MOE2_ELIMIT, "%s: no memory for one of its matrices", l->dir);
    l->next = w->near;
    uint8_t *at = w->packed;
    for (int64_t i = 0; i < l->config->num_hidden_layers; i++) {
        struct encoder_layer *y = &w->layers[i];
        struct dense_weight *all[] = {&y->qkv, &y->o, &y->up, &y->down};
        for (int j = 0; j < 4; j++) {
            all[j]->packed = at;
            at += aligned(l->dev->k->dense_bytes(l->dev, all[j]));
        }
    }
    return 0;
}

/* ---- reading ---- */

/* Rows first … first+n−1 (of width numbers) of every head of q and k: i of a head comes to 2i, i + d/2 to 2i + 1. */
static void shuffle(struct loader *l, float *x, int64_t width)
{
    int64_t D = l->config->hidden_size, d = D / l->config->num_attention_heads;
    float *spare = l->rows + l->n_rows;
    memcpy(spare, x, (size_t)(2 * D * width) * sizeof *x);
    for (int64_t r = 0; r < 2 * D; r++) {
        int64_t i = r % d, to = r - i + (i < d / 2 ? 2 * i : 2 * (i - d / 2) + 1);
        memcpy(x + to * width, spare + r * width, (size_t)width * sizeof *x);
    }
}

static int read_numbers(float *to, struct loader *l, const struct safetensor *t, int64_t n,
                        struct err *err)
{
    int rc = safetensors_to_f32(to, t, 0, n, err);
    for (int64_t i = 0; i < n && !rc; i++)
        if (!isfinite(to[i]))
            rc = err_set(err, MOE2_ENUMERIC,
                         "%s: tensor %s holds a NaN or an infinity at element %lld",
                         safetensors_shard_path(l->w->file, t->shard_idx), t->name, (long long)i);
    safetensors_rest(l->w->file, t);
    return rc;
}

static bool is_last_piece(const struct loader *l, const struct part *p)
{
    int i = (int)(p - layer_parts);
    for (i++; i < N_LAYER_PARTS; i++)
        if (has(l, &layer_parts[i]) && layer_parts[i].field == p->field)
            return false;
    return true;
}

static int load_matrix(struct loader *l, const struct part *p, int64_t layer,
                       const struct safetensor *t, struct err *err)
{
    struct dense_weight *w = dense_at(&l->w->layers[layer], p);
    int rc =
        read_numbers(l->rows + p->piece * l->config->hidden_size * w->K, l, t, t->n_elements, err);
    if (rc || !is_last_piece(l, p))
        return rc;
    if (p->field == LAYER(qkv) && l->config->family == ENCODER_GTE)
        shuffle(l, l->rows, w->K);
    l->dev->k->dense_pack(l->dev, w, l->rows);
    return 0;
}

static int load_part(struct loader *l, const struct part *p, int64_t layer, void *ctx,
                     struct err *err)
{
    char name[MAX_NAME];
    struct progress *progress = ctx;
    const struct safetensor *t = NULL;
    int rc = safetensors_get(&t, l->w->file, name_of(name, l, p, layer), err);
    if (rc)
        return rc;
    progress->done += (double)t->n_bytes;
    progress_set(progress, progress->done);
    if (p->rows == VOCAB) {
        l->w->words = t;
        return 0;
    }
    if (is_matrix(p, layer))
        return load_matrix(l, p, layer, t, err);
    int64_t n = p->rows == TYPES ? l->config->hidden_size : t->n_elements;
    float *to = l->next;
    if ((rc = read_numbers(to, l, t, n, err)))
        return rc;
    bool joined = layer >= 0 && p->field == LAYER(qkv_bias);
    if (joined && l->config->family == ENCODER_GTE)
        shuffle(l, to, 1);
    bool stays = layer < 0 && (p->field == WHOLE(positions) || p->field == WHOLE(type));
    float *there = l->w->vectors + (to - l->w->near);
    if (there != to && !stays)
        l->dev->ops->write(l->dev, there, to, (size_t)n * sizeof *to);
    l->next += joined ? (size_t)n : aligned((size_t)n * sizeof *to) / sizeof *to;
    if (p->piece == 0)
        *vector_at(l, p, layer) = stays ? to : there;
    return 0;
}

/* The angle of pair i at position t is t · (theta·factor)^(−2i/d) / factor^(2/d): NTK scaling as Alibaba-NLP/new-impl has it. */
static int make_rotation(struct encoder_weights *w, const struct encoder_config *c,
                         struct device *dev, struct err *err)
{
    int64_t half = c->hidden_size / c->num_attention_heads / 2, n = c->max_seq_length * half;
    size_t n_bytes = (size_t)n * sizeof(float);
    w->rotation_bytes = n_bytes;
    w->cos = device_alloc(dev, n_bytes, err);
    w->sin = w->cos ? device_alloc(dev, n_bytes, err) : NULL;
    if (!w->sin)
        return MOE2_ELIMIT;
    float *cosines = malloc(2 * n_bytes);
    if (!cosines)
        return err_set(err, MOE2_ELIMIT, "no memory for %lld angles", (long long)n);
    float *sines = cosines + n;
    for (int64_t i = 0; i < half; i++) {
        double d = 2 * (double)half, factor = c->rope_factor;
        double f = pow(c->rope_theta * factor, -2 * (double)i / d) / pow(factor, 2 / d);
        for (int64_t t = 0; t < c->max_seq_length; t++) {
            cosines[t * half + i] = (float)cos((double)t * (double)(float)f);
            sines[t * half + i] = (float)sin((double)t * (double)(float)f);
        }
    }
    dev->ops->write(dev, w->cos, cosines, n_bytes);
    dev->ops->write(dev, w->sin, sines, n_bytes);
    device_sync(dev);
    free(cosines);
    return 0;
}

int encoder_weights_load(struct encoder_weights *w, const struct encoder_config *config,
                         const char *dir, struct device *dev, enum dtype compute,
                         const struct log_sink *log, struct err *err)
{
    struct loader l = {w, config, dir, "", dev, compute, NULL, 0, NULL};
    int rc = safetensors_open(&w->file, dir, err);
    if (rc)
        return rc;
    find_prefix(&l);
    rc = check_names(&l, err);
    if (!rc)
        rc = allocate(&l, err);
    if (!rc) {
        struct progress progress;
        progress_begin(&progress, log, "loading", (double)safetensors_total_bytes(w->file), "B");
        rc = each_part(&l, load_part, &progress, err);
        progress_end(&progress);
    }
    if (!rc && config->family == ENCODER_GTE)
        rc = make_rotation(w, config, dev, err);
    assert(rc || (size_t)((char *)l.next - (char *)w->near) <= w->vectors_bytes);
    device_sync(dev);
    free(l.rows);
    return rc ? rc : device_check(dev, err);
}

void encoder_weights_release(struct encoder_weights *w, struct device *dev)
{
    if (w->near != w->vectors)
        free(w->near);
    device_free(dev, w->vectors, w->vectors_bytes);
    device_free(dev, w->packed, w->packed_bytes);
    device_free(dev, w->cos, w->rotation_bytes);
    device_free(dev, w->sin, w->rotation_bytes);
    free(w->layers);
    safetensors_close(w->file);
    *w = (struct encoder_weights){0};
}
