/* Codes, scales and mins out of blocks; layouts as in block_32.c and block_k.c. */
#include "tensor/codes.h"

#include <string.h>

#include "tensor/dtype.h"

const struct codes_format codes_formats[BLOCK_COUNT] = {
    [BLOCK_Q4_0] = {4, 32, 8, false},   [BLOCK_Q4_1] = {4, 32, 0, true},
    [BLOCK_Q5_0] = {5, 32, 16, false},  [BLOCK_Q5_1] = {5, 32, 0, true},
    [BLOCK_Q8_0] = {8, 32, 128, false}, [BLOCK_Q4_K] = {4, 32, 0, true},
    [BLOCK_Q5_K] = {5, 32, 0, true},    [BLOCK_Q6_K] = {6, 16, 32, false},
};

static float half_at(const uint8_t *p)
{
    uint16_t h;
    memcpy(&h, p, sizeof h);
    return f16_to_f32(h);
}

/* 16 bytes: value j in the lower half of byte j, j + 16 in the higher; a fifth bit from 32. */
static void codes_of_nibbles(uint8_t *codes, const uint8_t *nibbles, uint32_t fifth)
{
    for (int j = 0; j < 16; j++) {
        codes[j] = (uint8_t)((nibbles[j] & 15) | (fifth >> j & 1) << 4);
        codes[j + 16] = (uint8_t)(nibbles[j] >> 4 | (fifth >> (j + 16) & 1) << 4);
    }
}

/* Q4_0, Q4_1, Q5_0, Q5_1: scale, a min, fifth bits, nibbles. */
static void codes_32(uint8_t *codes, float *scale, float *min, const uint8_t *block,
                     const struct codes_format *f)
{
    uint32_t fifth = 0;
    *scale = half_at(block);
    block += 2;
    if (f->min) {
        *min = half_at(block);
        block += 2;
    }
    if (f->bits == 5) {
        memcpy(&fifth, block, sizeof fifth);
        block += 4;
    }
    codes_of_nibbles(codes, block, fifth);
}

static void codes_8(uint8_t *codes, float *scale, const uint8_t *block)
{
    *scale = half_at(block);
    for (int j = 0; j < 32; j++)
        codes[j] = block[2 + j] ^ 0x80;
}

/* Scale and min of sub-block j of Q4_K and Q5_K, 6 bits each. */
static void scale_of_k(int *scale, int *min, const uint8_t *s, int j)
{
    if (j < 4) {
        *scale = s[j] & 63;
        *min = s[j + 4] & 63;
    } else {
        *scale = (s[j + 4] & 15) | s[j - 4] >> 6 << 4;
        *min = s[j + 4] >> 4 | s[j] >> 6 << 4;
    }
}

/* d, dmin, 12 bytes of scales and mins; Q5_K: 32 bytes of fifth bits; 128 of nibbles, 64 values in each 32. */
static void codes_4k(uint8_t *codes, float *scale, float *min, const uint8_t *block, int bits)
{
    float d = half_at(block), dmin = half_at(block + 2);
    const uint8_t *fifth = block + 16, *nibbles = block + (bits == 5 ? 48 : 16);
    for (int j = 0; j < 8; j++) {
        int s, m;
        scale_of_k(&s, &m, block + 4, j);
        scale[j] = d * (float)s;
        min[j] = -dmin * (float)m;
        for (int i = 0; i < 32; i++) {
            unsigned code = nibbles[j / 2 * 32 + i] >> (j % 2 * 4) & 15u;
            if (bits == 5)
                code |= (fifth[i] >> j & 1u) << 4;
            codes[j * 32 + i] = (uint8_t)code;
        }
    }
}

/* 128 bytes of lower halves, 64 of two higher bits, 16 scales of 8 bits, d. */
static void codes_6k(uint8_t *codes, float *scale, const uint8_t *block)
{
    const uint8_t *low = block, *high = block + 128;
    const int8_t *scales = (const int8_t *)(block + 192);
    float d = half_at(block + 208);
    for (int i = 0; i < 16; i++)
        scale[i] = d * (float)scales[i];
    for (int i = 0; i < 256; i++) { /* halves of 128, quarters of 32 in each */
        int half = i / 128, quarter = i % 128 / 32, at = i % 32;
        unsigned code = low[half * 64 + quarter % 2 * 32 + at] >> (quarter / 2 * 4) & 15u;
        code |= (high[half * 32 + at] >> (quarter * 2) & 3u) << 4;
        codes[i] = (uint8_t)code;
    }
}

void codes_of_blocks(uint8_t *codes, float *scale, float *min, const void *blocks,
                     enum block_type type, int64_t n_blocks)
{
    const struct codes_format *f = &codes_formats[type];
    const struct block_format *b = &block_formats[type];
    const uint8_t *at = blocks;
    int64_t groups = b->n_values / f->group;
    for (int64_t i = 0; i < n_blocks; i++, at += b->n_bytes) {
        uint8_t *c = codes + i * b->n_values;
        float *s = scale + i * groups, *m = f->min ? min + i * groups : NULL;
        if (type == BLOCK_Q8_0)
            codes_8(c, s, at);
        else if (type == BLOCK_Q6_K)
            codes_6k(c, s, at);
        else if (b->n_values == 256)
            codes_4k(c, s, m, at, f->bits);
        else
            codes_32(c, s, m, at, f);
    }
}

void codes_of_nf4(uint8_t *codes, float *scale, const struct nf4 *q, int64_t first, int64_t n)
{
    for (int64_t i = 0; i < n; i += 2) {
        uint8_t both = q->codes[(first + i) / 2];
        codes[i] = both >> 4;
        codes[i + 1] = both & 15;
    }
    for (int64_t g = 0; g < n / 64; g++)
        scale[g] = nf4_absmax(q, (first + g * 64) / q->block_size);
}
