/* Blocks of 32 values: ggml's Q4_0, Q4_1, Q5_0, Q5_1 and Q8_0.
 *
 *     Q4_0  f16 d; 16 bytes                      w = (q − 8) d
 *     Q4_1  f16 d, m; 16 bytes                   w = q d + m
 *     Q5_0  f16 d; u32 fifth bits; 16 bytes      w = (q − 16) d
 *     Q5_1  f16 d, m; u32 fifth bits; 16 bytes   w = q d + m
 *     Q8_0  f16 d; 32 signed bytes               w = q d
 *
 * Byte j of the 16 holds value j in its low and value j + 16 in its high nibble; bit j of the fifth
 * bits is value j's. All numbers are little-endian.
 */
#include "tensor/block.h"
#include "tensor/dtype.h"

enum { N = 32, HALF = N / 2 };

static float half_at(const uint8_t *p)
{
    return f16_to_f32((uint16_t)(p[0] | p[1] << 8));
}

static uint32_t word_at(const uint8_t *p)
{
    return (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}

void block_q4_0_decode(float *out, const void *blocks, int64_t n_blocks)
{
    const uint8_t *b = blocks;
    for (int64_t i = 0; i < n_blocks; i++, b += 18, out += N) {
        float d = half_at(b);
        for (int j = 0; j < HALF; j++) {
            out[j] = (float)((b[2 + j] & 15) - 8) * d;
            out[j + HALF] = (float)((b[2 + j] >> 4) - 8) * d;
        }
    }
}

void block_q4_1_decode(float *out, const void *blocks, int64_t n_blocks)
{
    const uint8_t *b = blocks;
    for (int64_t i = 0; i < n_blocks; i++, b += 20, out += N) {
        float d = half_at(b), m = half_at(b + 2);
        for (int j = 0; j < HALF; j++) {
            out[j] = (float)(b[4 + j] & 15) * d + m;
            out[j + HALF] = (float)(b[4 + j] >> 4) * d + m;
        }
    }
}

void block_q5_0_decode(float *out, const void *blocks, int64_t n_blocks)
{
    const uint8_t *b = blocks;
    for (int64_t i = 0; i < n_blocks; i++, b += 22, out += N) {
        float d = half_at(b);
        uint32_t high = word_at(b + 2);
        for (int j = 0; j < HALF; j++) {
            out[j] = (float)((int)((b[6 + j] & 15) | (high >> j & 1) << 4) - 16) * d;
            out[j + HALF] = (float)((int)(b[6 + j] >> 4 | (high >> (j + HALF) & 1) << 4) - 16) * d;
        }
    }
}

void block_q5_1_decode(float *out, const void *blocks, int64_t n_blocks)
{
    const uint8_t *b = blocks;
    for (int64_t i = 0; i < n_blocks; i++, b += 24, out += N) {
        float d = half_at(b), m = half_at(b + 2);
        uint32_t high = word_at(b + 4);
        for (int j = 0; j < HALF; j++) {
            out[j] = (float)((b[8 + j] & 15) | (high >> j & 1) << 4) * d + m;
            out[j + HALF] = (float)(b[8 + j] >> 4 | (high >> (j + HALF) & 1) << 4) * d + m;
        }
    }
}

void block_q8_0_decode(float *out, const void *blocks, int64_t n_blocks)
{
    const uint8_t *b = blocks;
    for (int64_t i = 0; i < n_blocks; i++, b += 34, out += N) {
        float d = half_at(b);
        for (int j = 0; j < N; j++)
            out[j] = (float)(int8_t)b[2 + j] * d;
    }
}
