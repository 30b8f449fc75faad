/* NF4 codes of weights: see nf4_encode.h. The order of multiplications and comparisons is that of
 * bitsandbytes, backends/default/ops.py, because a value in the middle of two levels shows it.
 */
#include "quant/nf4_encode.h"

#include <math.h>

static float largest(const float *x, int64_t n)
{
    float most = 0;
    for (int64_t i = 0; i < n; i++)
        most = fmaxf(most, fabsf(x[i]));
    return most;
}

/* How many thresholds lie below v: the level's number. */
static int level_of(float v)
{
    int k = 0;
    for (int i = 0; i < NF4_LEVELS - 1; i++)
        k += v > nf4_thresholds[i];
    return k;
}

void nf4_encode(uint8_t *codes, float *absmax, const float *x, int64_t n, int64_t block_size)
{
    for (int64_t first = 0; first < n; first += block_size) {
        int64_t m = n - first < block_size ? n - first : block_size;
        float most = largest(x + first, m), guarded = fmaxf(most, 1e-38F), inverse = 1 / guarded;
        absmax[first / block_size] = most;
        for (int64_t i = first; i < first + m; i++) {
            float v = m < block_size ? x[i] / guarded : x[i] * inverse;
            int k = level_of(v);
            codes[i / 2] = (uint8_t)(i % 2 ? codes[i / 2] | k : k << 4);
        }
    }
    if (n % 2)
        codes[n / 2] = (uint8_t)(codes[n / 2] | level_of(0));
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
