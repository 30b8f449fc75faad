/* Codes of ggml's plain block formats: see block_encode.h. Source of the formulas: ggml,
 * src/ggml-quants.c, quantize_row_q8_0_ref and quantize_row_q4_0_ref. */
#include "quant/block_encode.h"

#include <assert.h>
#include <math.h>

#include "tensor/dtype.h"

enum { N = 32 };

static void put_half(uint8_t *p, float d)
{
    uint16_t h = f32_to_f16(d);
    p[0] = (uint8_t)h;
    p[1] = (uint8_t)(h >> 8);
}

/* The value of largest magnitude, the first of equals. */
static float extreme(const float *x)
{
    float most = 0, value = 0;
    for (int j = 0; j < N; j++)
        if (fabsf(x[j]) > most) {
            most = fabsf(x[j]);
            value = x[j];
        }
    return value;
}

static void encode_q8_0(uint8_t *b, const float *x)
{
    float d = fabsf(extreme(x)) / 127, inverse = d > 0 ? 1 / d : 0;
    put_half(b, d);
    for (int j = 0; j < N; j++)
        b[2 + j] = (uint8_t)(int8_t)roundf(x[j] * inverse);
}

static int q4_0_code(float scaled)
{
    int q = (int)(scaled + 8.5F);
    return q < 15 ? q : 15;
}

static void encode_q4_0(uint8_t *b, const float *x)
{
    float d = extreme(x) / -8, inverse = d != 0 ? 1 / d : 0;
    put_half(b, d);
    for (int j = 0; j < N / 2; j++) {
        int low = q4_0_code(x[j] * inverse), high = q4_0_code(x[j + N / 2] * inverse);
        b[2 + j] = (uint8_t)(low | high << 4);
    }
}

static const struct {
    void (*encode)(uint8_t *block, const float *x);
} encoders[BLOCK_COUNT] = {
    [BLOCK_Q8_0] = {encode_q8_0},
    [BLOCK_Q4_0] = {encode_q4_0},
};

bool block_can_encode(enum block_type type)
{
    return encoders[type].encode != NULL;
}

void block_encode(void *blocks, enum block_type type, const float *x, int64_t n)
{
    const struct block_format *f = &block_formats[type];
    assert(block_can_encode(type) && n >= 0 && n % f->n_values == 0);
    for (int64_t i = 0; i < n / f->n_values; i++)
        encoders[type].encode((uint8_t *)blocks + i * f->n_bytes, x + i * f->n_values);
}
