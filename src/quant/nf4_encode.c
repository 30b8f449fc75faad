/* NF4 codes of weights: see nf4_encode.h. The order of multiplications and comparisons is that of
 * bitsandbytes, backends/default/ops.py, because a value in the middle of two levels shows it.
 */
#include "quant/nf4_encode.h"

#include <math.h>
#include <stdbool.h>
#include <string.h>

enum { GROUP = NF4_MIN_BLOCK_SIZE }; /* values whose levels are found side by side */

/* The largest magnitude of finite numbers: magnitudes are ordered as their bits are. */
static float largest(const float *x, int64_t n)
{
    int32_t most = 0;
    for (int64_t i = 0; i < n; i++) {
        int32_t bits;
        memcpy(&bits, &x[i], sizeof bits);
        bits &= INT32_MAX;
        most = bits > most ? bits : most;
    }
    float out;
    memcpy(&out, &most, sizeof out);
    return out;
}

/* How many thresholds lie below each of GROUP values: the levels' numbers. */
static void find_levels(int32_t level[GROUP], const float v[GROUP])
{
    for (int i = 0; i < GROUP; i++) {
        int32_t k = 0;
        for (int t = 0; t < NF4_LEVELS - 1; t++)
            k += v[i] > nf4_thresholds[t];
        level[i] = k;
    }
}

/* One block: m values, each times `scale`, or over it. */
static void encode_block(uint8_t *codes, const float *x, int64_t m, float scale, bool over)
{
    for (int64_t first = 0; first < m; first += GROUP) {
        int n = m - first < GROUP ? (int)(m - first) : GROUP;
        float v[GROUP] = {0}; /* the nibble behind an odd end is that of 0 */
        int32_t level[GROUP];
        for (int i = 0; i < n; i++)
            v[i] = over ? x[first + i] / scale : x[first + i] * scale;
        find_levels(level, v);
        for (int i = 0; i < n; i += 2)
            codes[(first + i) / 2] = (uint8_t)(level[i] << 4 | level[i + 1]);
    }
}

void nf4_encode(uint8_t *codes, float *absmax, const float *x, int64_t n, int64_t block_size)
{
    for (int64_t first = 0; first < n; first += block_size) {
        int64_t m = n - first < block_size ? n - first : block_size;
        float most = largest(x + first, m), guarded = fmaxf(most, 1e-38F);
        absmax[first / block_size] = most;
        encode_block(codes + first / 2, x + first, m, m < block_size ? guarded : 1 / guarded,
                     m < block_size);
    }
}

/* The entry of an ascending map nearest to v. */
static int nearest(float v, const float map[NF4_MAP_SIZE])
{
    int low = 0, high = NF4_MAP_SIZE - 1; /* the first i with v ≤ the middle of i and i + 1 */
    while (low < high) {
        int middle = (low + high) / 2;
        if (v <= (map[middle] + map[middle + 1]) / 2)
            high = middle;
        else
            low = middle + 1;
    }
    return low;
}

/* One nested block: n ≤ 256 distances from the mean. */
static float nest_block(uint8_t *codes, const float *absmax, float mean, int64_t n,
                        const float map[NF4_MAP_SIZE])
{
    float most = 0;
    for (int64_t i = 0; i < n; i++)
        most = fmaxf(most, fabsf(absmax[i] - mean));
    float guarded = fmaxf(most, 1e-38F), inverse = 1 / guarded;
    for (int64_t i = 0; i < n; i++) {
        float r = absmax[i] - mean;
        codes[i] = (uint8_t)nearest(n < NF4_NESTED_BLOCK_SIZE ? r / guarded : r * inverse, map);
    }
    return most;
}

void nf4_nest(uint8_t *absmax_codes, float *nested_absmax, float *offset, const float *absmax,
              int64_t n, const float map[NF4_MAP_SIZE])
{
    double sum = 0;
    for (int64_t i = 0; i < n; i++)
        sum += absmax[i];
    *offset = n ? (float)(sum / (double)n) : 0;
    for (int64_t first = 0; first < n; first += NF4_NESTED_BLOCK_SIZE) {
        int64_t m = n - first < NF4_NESTED_BLOCK_SIZE ? n - first : NF4_NESTED_BLOCK_SIZE;
        nested_absmax[first / NF4_NESTED_BLOCK_SIZE] =
            nest_block(absmax_codes + first, absmax + first, *offset, m, map);
    }
}
