/* Packing: see packing.h. Rows go through a buffer of some hundred kilobytes, filled by all threads. */
#include "model/packing.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/rng.h"
#include "tensor/codes.h"

enum { BUFFER_NUMBERS = 1 << 20 };

static const enum packed_form block_forms[BLOCK_COUNT] = {
    [BLOCK_Q4_0] = PACKED_I4,     [BLOCK_Q4_1] = PACKED_I4_MIN, [BLOCK_Q5_0] = PACKED_I5,
    [BLOCK_Q5_1] = PACKED_I5_MIN, [BLOCK_Q8_0] = PACKED_I8,     [BLOCK_Q4_K] = PACKED_I4_MIN,
    [BLOCK_Q5_K] = PACKED_I5_MIN, [BLOCK_Q6_K] = PACKED_I6,
};

static enum packed_form plain_form(enum dtype t)
{
    return t == DT_F32 ? PACKED_F32 : t == DT_F16 ? PACKED_F16 : PACKED_BF16;
}

/* Numbers that a scale serves, in the packed form. */
static int64_t group_of(enum packed_form form)
{
    return form == PACKED_NF4 ? 64 : form == PACKED_I6 ? 16 : form >= PACKED_I4 ? 32 : 1;
}

enum packed_form piece_form(const struct piece *p, int64_t K, enum packed_form random)
{
    const struct source_tensor *t = p->tensor;
    if (p->blocks)
        return block_forms[p->block];
    if (p->eight_bits && K % 32 == 0)
        return PACKED_I8;
    if (!t)
        return PACKED_F32;
    if (t->kind == STORED_RANDOM)
        return random < PACKED_I4 || (K % group_of(random) == 0 && K % 32 == 0) ? random
                                                                                : PACKED_BF16;
    if (t->kind == STORED_BLOCKS)
        return block_forms[t->block];
    if (t->kind == STORED_NF4 && K % 64 == 0 && t->nf4.block_size >= 64)
        return PACKED_NF4;
    return t->kind == STORED_PLAIN || t->kind == STORED_JOINED ? plain_form(t->dtype) : PACKED_BF16;
}

struct buffer {
    float *f32, *scale, *min;
    uint8_t *codes;
};

/* K numbers to codes with zero 128, the largest of each 32 becoming ±127. */
static void round_row(uint8_t *codes, float *scale, const float *x, int64_t K)
{
    for (int64_t g = 0; g < K / 32; g++) {
        float most = 0;
        for (int64_t k = g * 32; k < g * 32 + 32; k++)
            most = fmaxf(most, fabsf(x[k]));
        scale[g] = f16_to_f32(f32_to_f16(most / 127));
        float up = scale[g] > 0 ? 1 / scale[g] : 0;
        for (int64_t k = g * 32; k < g * 32 + 32; k++)
            codes[k] = (uint8_t)(128 + lrintf(fmaxf(-127, fminf(127, x[k] * up))));
    }
}

/* Row r of a piece as numbers. */
static int read_numbers(float *out, const struct piece *p, int64_t r, int64_t K, struct err *err)
{
    if (p->numbers) {
        memcpy(out, p->numbers + r * K, (size_t)K * sizeof *out);
        return 0;
    }
    if (p->blocks) {
        block_decode(out, p->blocks, p->block, r * K, K);
        return 0;
    }
    return source_read(out, p->tensor, (p->first + r) * K, K, err);
}

/* Row r of a tensor that is in no file: codes (or numbers) of equal likelihood and of one scale, weights of about ±0.035. */
static void random_row(struct buffer *b, int64_t i, const struct source_tensor *t, int64_t r,
                       const struct packed_weight *w)
{
    static const float scale[PACKED_FORMS] = {0,      0,       0,       0.005F,   0.005F,
                                              0.002F, 0.0022F, 0.0011F, 0.00027F, 0.035F};
    static const uint8_t most[PACKED_FORMS] = {0, 0, 0, 15, 15, 31, 31, 63, 255, 15};
    int64_t groups = w->K / group_of(w->form);
    struct rng rng;
    rng_init(&rng, (uint64_t)t->param_idx << 32 ^ (uint64_t)r);
    for (int64_t k = 0; k < w->K; k += 8) {
        uint64_t bits = rng_next(&rng);
        for (int64_t j = k; j < k + 8 && j < w->K; j++, bits >>= 8) {
            if (w->form < PACKED_I4)
                b->f32[i * w->K + j] = ((float)(bits & 255) - 127.5F) * scale[PACKED_I8];
            else
                b->codes[i * w->K + j] = (uint8_t)(bits & most[w->form]);
        }
    }
    for (int64_t g = 0; g < groups && w->form >= PACKED_I4; g++) {
        b->scale[i * groups + g] = scale[w->form];
        b->min[i * groups + g] = -0.5F * scale[w->form] * (float)most[w->form];
    }
}

/* Row r of a piece into row i of the buffer. */
static int fill_row(struct buffer *b, int64_t i, const struct piece *p, int64_t r,
                    const struct packed_weight *w, struct err *err)
{
    int64_t K = w->K, groups = K / group_of(w->form);
    uint8_t *codes = b->codes + i * K;
    float *scale = b->scale + i * groups, *min = b->min + i * groups, *f32 = b->f32 + i * K;
    const struct source_tensor *t = p->tensor;
    if (t && t->kind == STORED_RANDOM) {
        random_row(b, i, t, p->first + r, w);
        return 0;
    }
    if (w->form == PACKED_NF4) {
        codes_of_nf4(codes, scale, &t->nf4, (p->first + r) * K, K);
        return 0;
    }
    if (w->form < PACKED_I4)
        return read_numbers(f32, p, r, K, err);
    if (p->blocks || (t && t->kind == STORED_BLOCKS && !p->eight_bits)) {
        enum block_type type = p->blocks ? p->block : t->block;
        const uint8_t *row = p->blocks ? (const uint8_t *)p->blocks + r * block_bytes(type, K)
                                       : source_row(t, p->first + r);
        codes_of_blocks(codes, scale, min, row, type, K / block_formats[type].n_values);
        return 0;
    }
    int rc = read_numbers(f32, p, r, K, err);
    if (!rc)
        round_row(codes, scale, f32, K);
    return rc;
}

static int buffer_make(struct buffer *b, const struct packed_weight *w, int64_t n, struct err *err)
{
    int64_t groups = w->K / group_of(w->form) + 1;
    b->f32 = malloc((size_t)(n * w->K) * sizeof(float));
    b->codes = malloc((size_t)(n * w->K));
    b->scale = malloc((size_t)(n * groups) * sizeof(float));
    b->min = calloc((size_t)(n * groups), sizeof(float));
    if (b->f32 && b->codes && b->scale && b->min)
        return 0;
    return err_set(err, MOE2_ELIMIT, "no memory to pack %lld rows of a weight", (long long)n);
}

static void buffer_release(struct buffer *b)
{
    free(b->f32);
    free(b->codes);
    free(b->scale);
    free(b->min);
}

/* The piece that row i of the whole lies in; *i becomes its row there. */
static const struct piece *piece_at(const struct piece *pieces, int64_t *i)
{
    while (*i >= pieces->n)
        *i -= pieces++->n;
    return pieces;
}

static int fill(struct buffer *b, const struct packed_weight *w, const struct piece *pieces,
                int64_t first, int64_t n, int n_threads, struct err *err)
{
    int failed = 0;
#pragma omp parallel for schedule(static) num_threads(n_threads)
    for (int64_t i = 0; i < n; i++) {
        struct err why = {0};
        int64_t r = first + i;
        const struct piece *p = piece_at(pieces, &r);
        int rc = fill_row(b, i, p, r, w, &why);
#pragma omp critical(packing)
        if (rc && !failed)
            failed = err_set(err, rc, "%s", why.msg);
    }
    return failed;
}

int pieces_pack(const struct packed_weight *w, const struct piece *pieces, int n,
                struct device *dev, struct err *err)
{
    struct buffer b = {0};
    int64_t total = 0, step = BUFFER_NUMBERS / w->K / 64 * 64;
    for (int i = 0; i < n; i++)
        total += pieces[i].n;
    step = step < 64 ? 64 : step;
    if (step > total)
        step = (total + 63) / 64 * 64;
    int rc = buffer_make(&b, w, step, err);
    for (int64_t first = 0; first < total && !rc; first += step) {
        int64_t rows = total - first < step ? total - first : step;
        rc = fill(&b, w, pieces, first, rows, dev->n_threads, err);
        if (!rc)
            dev->k->packed_pack(dev, w, first, rows,
                                &(struct packed_source){b.f32, b.codes, b.scale, b.min});
    }
    buffer_release(&b);
    for (int i = 0; i < n; i++)
        if (pieces[i].tensor)
            source_let_go(pieces[i].tensor);
    return rc;
}
