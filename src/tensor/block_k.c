/* Blocks of 256 values with scales of their own inside: ggml's Q4_K, Q5_K and Q6_K.
 *
 *     Q4_K  f16 d, dmin; 12 bytes of 6-bit scales and minima of 8 × 32 values; 128 bytes of nibbles
 *     Q5_K  the same with 32 bytes of fifth bits before the nibbles
 *           w = d · scale · q − dmin · minimum; each 64 values use 32 bytes, the first 32 in the low
 *           nibbles; bit 2k (then 2k + 1) of fifth-bit byte j belongs to value j of group k's halves
 *     Q6_K  128 bytes of low nibbles, 64 of upper bit pairs, 16 signed scales of 16 values, f16 d
 *           w = d · scale · (q − 32); each 128 values use 64 and 32 bytes
 */
#include "tensor/block.h"
#include "tensor/dtype.h"

enum { N = 256, N_SUB = 32 };

static float half_at(const uint8_t *p)
{
    return f16_to_f32((uint16_t)(p[0] | p[1] << 8));
}

/* The 6-bit scale and minimum of sub-block j, 0 ≤ j < 8, out of 12 bytes: the last four pairs are
 * split between the nibbles of bytes 8–11 and the upper bits of bytes 0–7. */
static void sub_scale(int *scale, int *minimum, const uint8_t *s, int j)
{
    if (j < 4) {
        *scale = s[j] & 63;
        *minimum = s[j + 4] & 63;
    } else {
        *scale = (s[j + 4] & 15) | s[j - 4] >> 6 << 4;
        *minimum = s[j + 4] >> 4 | s[j] >> 6 << 4;
    }
}

/* Sub-block j of Q4_K or Q5_K; high is the fifth bits, or NULL. */
static void decode_sub(float *out, const uint8_t *head, const uint8_t *high, const uint8_t *nibbles,
                       int j)
{
    int scale, minimum;
    sub_scale(&scale, &minimum, head + 4, j);
    float d = half_at(head) * (float)scale, m = half_at(head + 2) * (float)minimum;
    const uint8_t *q = nibbles + j / 2 * N_SUB;
    for (int l = 0; l < N_SUB; l++) {
        int low = j % 2 ? q[l] >> 4 : q[l] & 15;
        out[l] = d * (float)(low + (high ? (high[l] >> j & 1) << 4 : 0)) - m;
    }
}

void block_q4_k_decode(float *out, const void *blocks, int64_t n_blocks)
{
    const uint8_t *b = blocks;
    for (int64_t i = 0; i < n_blocks; i++, b += 144, out += N)
        for (int j = 0; j < N / N_SUB; j++)
            decode_sub(out + j * N_SUB, b, NULL, b + 16, j);
}

void block_q5_k_decode(float *out, const void *blocks, int64_t n_blocks)
{
    const uint8_t *b = blocks;
    for (int64_t i = 0; i < n_blocks; i++, b += 176, out += N)
        for (int j = 0; j < N / N_SUB; j++)
            decode_sub(out + j * N_SUB, b, b + 16, b + 48, j);
}

/* 128 values: four runs of 32, run r in nibble r / 2 of byte half r % 2 and bit pair r. */
static void decode_q6_half(float *out, const uint8_t *low, const uint8_t *high,
                           const uint8_t *scales, float d)
{
    for (int r = 0; r < 4; r++)
        for (int l = 0; l < N_SUB; l++) {
            int byte = low[r % 2 * N_SUB + l];
            int q = (r / 2 ? byte >> 4 : byte & 15) | (high[l] >> 2 * r & 3) << 4;
            out[r * N_SUB + l] = d * (float)(int8_t)scales[2 * r + l / 16] * (float)(q - 32);
        }
}

void block_q6_k_decode(float *out, const void *blocks, int64_t n_blocks)
{
    const uint8_t *b = blocks;
    for (int64_t i = 0; i < n_blocks; i++, b += 210, out += N) {
        float d = half_at(b + 208);
        for (int h = 0; h < 2; h++)
            decode_q6_half(out + h * 128, b + h * 64, b + 128 + h * 32, b + 192 + h * 8, d);
    }
}
