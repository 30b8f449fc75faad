/* Frozen weights: see frozen.h. The plan is made twice, first over nothing to count the bytes. */
#include "model/frozen.h"

#include <assert.h>
#include <math.h>
#include <omp.h>
#include <stdlib.h>
#include <string.h>

#include "model/source.h"

enum { PIECE = 1 << 18 }; /* numbers read at a time: whole blocks of NF4 and of its absmaxes */

enum { MAP_BYTES = NF4_MAP_SIZE * (int)sizeof(float) }; /* a multiple of 64 */

enum base_type frozen_type(const struct param *p, enum base_type base)
{
    switch (p->kind) {
    case PARAM_MATRIX:
        return base;
    case PARAM_EMBED:
    case PARAM_HEAD:
        return base == BASE_NF4 ? BASE_BF16 : base;
    default:
        return BASE_F32;
    }
}

static int64_t up64(int64_t n)
{
    return (n + 63) / 64 * 64;
}

static int64_t n_blocks(int64_t n)
{
    return (n + NF4_BLOCK_SIZE - 1) / NF4_BLOCK_SIZE;
}

static int64_t n_nested(int64_t n)
{
    return (n_blocks(n) + NF4_NESTED_BLOCK_SIZE - 1) / NF4_NESTED_BLOCK_SIZE;
}

int64_t frozen_bytes(int64_t n, enum base_type type)
{
    if (type == BASE_NF4)
        return up64((n + 1) / 2) + up64(n_blocks(n)) + up64(n_nested(n) * (int64_t)sizeof(float));
    return n * (type == BASE_F32 ? 4 : 2);
}

/* What fills the memory. */
struct filler {
    struct frozen_weights *f;
    struct param_list *list;
    const struct source *source;
    const struct nf4_maker *maker;
    struct device *dev;
    enum base_type base;
    float *piece,
        *absmax;     /* [threads, PIECE] and as many in bf16; absmaxes of the largest tensor */
    uint8_t *staged; /* a tensor's codes, on a device that the host can't write to */
    struct err *err;
};

static int blame(const struct filler *w, const float *piece, const struct param *p, int64_t first,
                 int64_t n, struct err *err)
{
    for (int64_t i = 0; i < n; i++)
        if (!isfinite(piece[i]))
            return param_blame(w->source, p, first + i, err);
    return 0;
}

static int read_piece(const struct filler *w, float *piece, const struct param *p, int64_t first,
                      int64_t n, struct err *err)
{
    int rc = source_read(piece, source_find(w->source, p->name), first, n, err);
    return rc ? rc : blame(w, piece, p, first, n, err);
}

/* Thread i's piece in bf16, behind all pieces. */
static uint16_t *half_of(const struct filler *w, int64_t i)
{
    return (uint16_t *)(void *)(w->piece + (int64_t)w->dev->n_threads * PIECE) + i * PIECE;
}

/* float32 or bf16 numbers, as many pieces at a time as there are threads; one thread writes. */
static int fill_plain(const struct filler *w, struct param *p, char *to, enum base_type type)
{
    int64_t size = type == BASE_F32 ? 4 : 2, n_threads = w->dev->n_threads;
    struct err first_err = {0};
    for (int64_t begin = 0; begin < p->n && !first_err.code; begin += n_threads * PIECE) {
        int64_t left = (p->n - begin + PIECE - 1) / PIECE,
                n_pieces = left < n_threads ? left : n_threads;
#pragma omp parallel for schedule(static, 1) num_threads(n_threads)
        for (int64_t i = 0; i < n_pieces; i++) {
            struct err err = {0};
            float *piece = w->piece + i * PIECE;
            int64_t first = begin + i * PIECE, n = p->n - first < PIECE ? p->n - first : PIECE;
            if (!read_piece(w, piece, p, first, n, &err) && type == BASE_BF16)
                dtype_from_f32(half_of(w, i), piece, DT_BF16, n);
#pragma omp critical(frozen_plain)
            if (err.code && !first_err.code)
                first_err = err;
        }
        for (int64_t i = 0; i < n_pieces && !first_err.code; i++) {
            int64_t first = begin + i * PIECE, n = p->n - first < PIECE ? p->n - first : PIECE;
            const void *from = type == BASE_BF16 ? (void *)half_of(w, i) : w->piece + i * PIECE;
            w->dev->ops->write(w->dev, to + first * size, from, (size_t)(n * size));
        }
    }
    if (type == BASE_F32)
        p->data = (float *)(void *)to;
    else
        p->half = (uint16_t *)(void *)to;
    return first_err.code ? err_set(w->err, first_err.code, "%s", first_err.msg) : 0;
}

/* The codes and absmaxes of a tensor, its pieces side by side. */
static int encode(const struct filler *w, const struct param *p, uint8_t *codes)
{
    int64_t n_pieces = (p->n + PIECE - 1) / PIECE;
    struct err first_err = {0};
#pragma omp parallel for schedule(dynamic) num_threads(w->dev->n_threads)
    for (int64_t i = 0; i < n_pieces; i++) {
        struct err err = {0};
        float *piece = w->piece + (int64_t)omp_get_thread_num() * PIECE;
        int64_t first = i * PIECE, n = p->n - first < PIECE ? p->n - first : PIECE;
        if (!read_piece(w, piece, p, first, n, &err))
            w->maker->encode(codes + first / 2, w->absmax + first / NF4_BLOCK_SIZE, piece, n,
                             NF4_BLOCK_SIZE);
#pragma omp critical(frozen_encode)
        if (err.code && !first_err.code)
            first_err = err;
    }
    return first_err.code ? err_set(w->err, first_err.code, "%s", first_err.msg) : 0;
}

/* Codes, then codes of absmaxes, then their absmaxes. */
static int fill_nf4(const struct filler *w, struct param *p, char *to)
{
    int64_t at_nested = up64((p->n + 1) / 2), at_absmax = at_nested + up64(n_blocks(p->n));
    uint8_t *host = w->staged ? w->staged : (uint8_t *)to, *bytes = (uint8_t *)to;
    struct nf4 *q = &w->f->nf4[p - w->list->params];
    float offset = 0;
    const struct source_tensor *t = source_find(w->source, p->name);
    int rc = t->kind == STORED_RANDOM ? 0 : encode(w, p, host);
    if (rc)
        return rc;
    if (t->kind == STORED_RANDOM)
        source_draw_nf4(host, w->absmax, t);
    w->maker->nest(host + at_nested, (float *)(void *)(host + at_absmax), &offset, w->absmax,
                   n_blocks(p->n), w->f->map);
    if (w->staged)
        w->dev->ops->write(w->dev, to, host, (size_t)frozen_bytes(p->n, BASE_NF4));
    *q = (struct nf4){.n = p->n,
                      .block_size = NF4_BLOCK_SIZE,
                      .codes = bytes,
                      .absmax_codes = bytes + at_nested,
                      .nested_absmax = (float *)(void *)(bytes + at_absmax),
                      .map = w->f->device_map,
                      .nested_block_size = NF4_NESTED_BLOCK_SIZE,
                      .nested_offset = offset};
    p->nf4 = q;
    return 0;
}

/* Whether a tensor lies in the file as plain numbers of that type, in their order. */
static bool is_plain(const struct source_tensor *t, enum dtype type)
{
    return t->kind == STORED_PLAIN && t->dtype == type && t->bytes && !t->head_rows;
}

/* Whether the params first … end − 1 lie in the file one behind the other in that type. */
static bool maps(const struct filler *w, int64_t first, int64_t end, enum base_type type)
{
    const struct source_tensor *t = source_find(w->source, w->list->params[first].name);
    enum dtype wanted = type == BASE_F32 ? DT_F32 : DT_BF16;
    enum param_kind kind = w->list->params[first].kind;
    bool big = kind == PARAM_MATRIX || kind == PARAM_EMBED || kind == PARAM_HEAD;
    if (!w->dev->host_memory || type == BASE_NF4 || !big || !is_plain(t, wanted) ||
        (uintptr_t)t->bytes % 4)
        return false;
    for (int64_t i = first + 1; i < end; i++) {
        const struct source_tensor *next = source_find(w->source, w->list->params[i].name);
        if (!is_plain(next, wanted) || next->bytes != t->bytes + t->n_bytes)
            return false;
        t = next;
    }
    return true;
}

/* An NF4 tensor of the file, as it is. */
static bool is_nf4(const struct filler *w, const struct param *p, enum base_type type)
{
    return type == BASE_NF4 && source_find(w->source, p->name)->kind == STORED_NF4;
}

/* Bytes that its parts take on a device that can't read the file. */
static int64_t uploaded_bytes(const struct nf4 *q)
{
    int64_t blocks = nf4_n_blocks(q),
            nested = (blocks + q->nested_block_size - 1) / q->nested_block_size;
    return up64((q->n + 1) / 2) + (q->absmax ? up64(blocks * 4) : up64(blocks) + up64(nested * 4)) +
           (q->absmax ? 0 : MAP_BYTES);
}

static const void *upload(const struct filler *w, char **to, const void *from, int64_t n_bytes)
{
    void *at = *to;
    w->dev->ops->write(w->dev, at, from, (size_t)n_bytes);
    *to += up64(n_bytes);
    return at;
}

static void bind_nf4(const struct filler *w, struct param *p, char *to)
{
    struct nf4 *q = &w->f->nf4[p - w->list->params];
    *q = source_find(w->source, p->name)->nf4;
    p->nf4 = q;
    if (w->dev->host_memory)
        return;
    int64_t blocks = nf4_n_blocks(q),
            nested = (blocks + q->nested_block_size - 1) / q->nested_block_size;
    q->codes = upload(w, &to, q->codes, (q->n + 1) / 2);
    if (q->absmax) {
        q->absmax = upload(w, &to, q->absmax, blocks * 4);
        return;
    }
    q->absmax_codes = upload(w, &to, q->absmax_codes, blocks);
    q->nested_absmax = upload(w, &to, q->nested_absmax, nested * 4);
    q->map = upload(w, &to, q->map, MAP_BYTES);
}

static int bind_mapped(const struct filler *w, struct param *p, enum base_type type)
{
    const struct source_tensor *t = source_find(w->source, p->name);
    void *at = (void *)(uintptr_t)t->bytes;
    int rc = 0;
    for (int64_t first = 0; first < p->n && !rc; first += PIECE)
        rc = read_piece(w, w->piece, p, first, p->n - first < PIECE ? p->n - first : PIECE, w->err);
    if (type == BASE_F32)
        p->data = at;
    else
        p->half = at;
    return rc;
}

/* Every tensor's place; base NULL only counts. */
static int fill_all(const struct filler *w, char *base, size_t *n_bytes, struct progress *progress)
{
    int rc = 0;
    *n_bytes = 0;
    for (int64_t i = 0, end; i < w->list->n && !rc; i = end) {
        for (end = i + 1; end < w->list->n && w->list->params[end].follows;)
            end++;
        enum base_type type = frozen_type(&w->list->params[i], w->base);
        bool mapped = maps(w, i, end, type);
        for (int64_t j = i; j < end && !rc; j++) {
            struct param *p = &w->list->params[j];
            if (mapped) {
                if (base)
                    rc = bind_mapped(w, p, type);
                else
                    w->f->n_mapped += frozen_bytes(p->n, type);
                continue;
            }
            if (is_nf4(w, p, type)) {
                const struct nf4 *q = &source_find(w->source, p->name)->nf4;
                bool stays = w->dev->host_memory;
                w->f->n_mapped += base || !stays ? 0 : frozen_bytes(p->n, type);
                if (base)
                    bind_nf4(w, p, base + *n_bytes);
                *n_bytes += stays ? 0 : (size_t)uploaded_bytes(q);
                continue;
            }
            if (base && type == BASE_NF4)
                rc = fill_nf4(w, p, base + *n_bytes);
            else if (base)
                rc = fill_plain(w, p, base + *n_bytes, type);
            if (base)
                source_let_go(source_find(w->source, p->name));
            *n_bytes += (size_t)frozen_bytes(p->n, type);
        }
        *n_bytes = (size_t)up64((int64_t)*n_bytes);
        if (progress)
            progress_set(progress, (double)(w->list->offset[end - 1] + w->list->params[end - 1].n));
    }
    return rc;
}

/* The map of absmaxes' codes where the device reads it, behind everything else. */
static void place_map(struct frozen_weights *f, struct device *dev)
{
    f->device_map = (float *)(void *)(f->bytes + f->n_bytes);
    dev->ops->write(dev, f->device_map, f->map, MAP_BYTES);
}

static int fill(struct filler *w, const struct log_sink *log, bool plan_only)
{
    struct progress progress;
    size_t filled = 0;
    int64_t most = 1;
    for (int64_t i = 0; i < w->list->n; i++)
        most = w->list->params[i].n > most ? w->list->params[i].n : most;
    bool near = w->dev->host_memory || w->base != BASE_NF4;
    w->piece = malloc((size_t)w->dev->n_threads * PIECE * (sizeof *w->piece + sizeof(uint16_t)));
    w->absmax = malloc((size_t)n_blocks(most) * sizeof *w->absmax);
    w->staged = near || plan_only ? NULL : malloc((size_t)frozen_bytes(most, BASE_NF4));
    int rc = w->piece && w->absmax && (near || plan_only || w->staged)
                 ? 0
                 : err_set(w->err, MOE2_ELIMIT, "no memory for a tensor");
    if (!rc)
        rc = fill_all(w, NULL, &w->f->n_bytes, NULL);
    if (rc || plan_only)
        goto done;
    if (!(w->f->bytes = device_alloc(w->dev, w->f->n_bytes + MAP_BYTES, w->err)))
        rc = MOE2_ELIMIT;
    else
        place_map(w->f, w->dev);
    progress_begin(&progress, log, w->base == BASE_NF4 ? "quantising" : "loading",
                   (double)w->list->n_elements, "numbers");
    if (!rc)
        rc = fill_all(w, w->f->bytes, &filled, &progress);
    progress_end(&progress);
done:
    free(w->piece);
    free(w->absmax);
    free(w->staged);
    return rc;
}

static void unbind(struct param_list *list)
{
    for (int64_t i = 0; i < list->n; i++) {
        list->params[i].data = NULL;
        list->params[i].half = NULL;
        list->params[i].nf4 = NULL;
    }
}

int frozen_open(struct frozen_weights *out, struct param_list *list,
                const struct decoder_options *o, const struct model_config *config,
                struct device *dev, struct err *err)
{
    struct source *st = NULL;
    assert(o->base != BASE_NF4 || o->maker);
    int rc = o->dir ? param_list_check(&st, list, o->dir, config, err)
                    : source_open_random(&st, config, o->seed, err);
    if (rc)
        return rc;
    *out = (struct frozen_weights){.file = st, .nf4 = calloc((size_t)list->n, sizeof *out->nf4)};
    nf4_dynamic_map(out->map, 1);
    struct filler w = {.f = out,
                       .list = list,
                       .source = st,
                       .maker = o->maker,
                       .dev = dev,
                       .base = o->base,
                       .err = err};
    rc = out->nf4 ? fill(&w, o->log, o->plan_only)
                  : err_set(err, MOE2_ELIMIT, "no memory for %lld tensors", (long long)list->n);
    if (rc) {
        unbind(list);
        frozen_close(out, dev);
    }
    return rc;
}

void frozen_close(struct frozen_weights *f, struct device *dev)
{
    if (f->bytes)
        device_free(dev, f->bytes, f->n_bytes + MAP_BYTES);
    source_close(f->file);
    free(f->nf4);
    *f = (struct frozen_weights){0};
}
