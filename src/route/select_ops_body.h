/* The loops of select_ops.h, compiled once per instruction set; SELECT_OPS is the name of the table, SELECT_OPS_NAME its text.
 *
 * Plain loops that the compiler makes vectors of, but for two places: bits of comparisons (a mask register or a movemask), and the
 * lowest levels of the subset sums, where both halves lie in one vector and are moved by a shuffle.
 */
#include "route/select_ops.h"

#include <string.h>

#if defined(__x86_64__)
#include <immintrin.h>
#endif

static void above32(uint32_t *restrict mask, uint32_t bit, const float *restrict a,
                    const float *restrict b, int equal, int64_t n)
{
    if (equal)
        for (int64_t q = 0; q < n; q++)
            mask[q] |= b[q] >= a[q] ? bit : 0;
    else
        for (int64_t q = 0; q < n; q++)
            mask[q] |= b[q] > a[q] ? bit : 0;
}

static void above64(uint64_t *restrict mask, uint64_t bit, const float *restrict a,
                    const float *restrict b, int equal, int64_t n)
{
    if (equal)
        for (int64_t q = 0; q < n; q++)
            mask[q] |= b[q] >= a[q] ? bit : 0;
    else
        for (int64_t q = 0; q < n; q++)
            mask[q] |= b[q] > a[q] ? bit : 0;
}

/* 64 comparisons. */
static inline uint64_t word_above(const float *a, const float *b, int equal)
{
    uint64_t w = 0;
#if defined(__AVX512F__)
    for (int k = 0; k < 64; k += 16) {
        __m512 x = _mm512_loadu_ps(b + k), y = _mm512_loadu_ps(a + k);
        uint64_t m =
            equal ? _mm512_cmp_ps_mask(x, y, _CMP_GE_OQ) : _mm512_cmp_ps_mask(x, y, _CMP_GT_OQ);
        w |= m << k;
    }
#elif defined(__AVX2__)
    for (int k = 0; k < 64; k += 8) {
        __m256 x = _mm256_loadu_ps(b + k), y = _mm256_loadu_ps(a + k);
        __m256 c = equal ? _mm256_cmp_ps(x, y, _CMP_GE_OQ) : _mm256_cmp_ps(x, y, _CMP_GT_OQ);
        w |= (uint64_t)(uint32_t)_mm256_movemask_ps(c) << k;
    }
#else
    for (int k = 0; k < 64; k++)
        w |= (uint64_t)(equal ? b[k] >= a[k] : b[k] > a[k]) << k;
#endif
    return w;
}

static void above_bits(uint64_t *out, const float *a, const float *b, int equal, int64_t n)
{
    int64_t q = 0;
    for (; q + 64 <= n; q += 64)
        *out++ = word_above(a + q, b + q, equal);
    uint64_t w = 0;
    for (int64_t k = q; k < n; k++)
        w |= (uint64_t)(equal ? b[k] >= a[k] : b[k] > a[k]) << (k - q);
    if (q < n)
        *out = w;
}

static int64_t count_hit(const uint64_t *mask, uint64_t members, int64_t n)
{
    int64_t hit = 0;
    for (int64_t q = 0; q < n; q++)
        hit += (mask[q] & members) != 0;
    return hit;
}

static void and_not(uint64_t *out, const uint64_t *x, const uint64_t *y, int64_t n)
{
    for (int64_t k = 0; k < n; k++)
        out[k] = x[k] & ~y[k];
}

static void or_into(uint64_t *restrict x, const uint64_t *restrict y, int64_t n)
{
    for (int64_t k = 0; k < n; k++)
        x[k] |= y[k];
}

/* Bits of a word by pairs, quads and bytes: vectors of words do it without a popcount instruction. */
static inline uint64_t bits_of(uint64_t v)
{
    v -= v >> 1 & 0x5555555555555555u;
    v = (v & 0x3333333333333333u) + (v >> 2 & 0x3333333333333333u);
    v = (v + (v >> 4)) & 0x0f0f0f0f0f0f0f0fu;
    v += v >> 8;
    v += v >> 16;
    return (v + (v >> 32)) & 0x7f;
}

static int64_t count(const uint64_t *x, int64_t n)
{
    uint64_t sum = 0;
    for (int64_t k = 0; k < n; k++)
        sum += bits_of(x[k]);
    return (int64_t)sum;
}

static int64_t count_without(const uint64_t *x, const uint64_t *y, int64_t n)
{
    uint64_t sum = 0;
    for (int64_t k = 0; k < n; k++)
        sum += bits_of(x[k] & ~y[k]);
    return (int64_t)sum;
}

#if defined(__clang__)
#define MOVED(v, zero, ...) __builtin_shufflevector(v, zero, __VA_ARGS__)
#else
#define MOVED(v, zero, ...) __builtin_shuffle(v, zero, (__typeof__(v)){__VA_ARGS__})
#endif

typedef uint16_t half16 __attribute__((vector_size(32)));
typedef uint32_t word8 __attribute__((vector_size(32)));

/* The four lowest levels of 16 entries: index 16 takes a zero. */
static void lowest16(uint16_t *x, int64_t n)
{
    const half16 zero = {0};
    for (int64_t j = 0; j < n; j += 16) {
        half16 v;
        memcpy(&v, x + j, sizeof v);
        v += MOVED(v, zero, 16, 0, 16, 2, 16, 4, 16, 6, 16, 8, 16, 10, 16, 12, 16, 14);
        v += MOVED(v, zero, 16, 16, 0, 1, 16, 16, 4, 5, 16, 16, 8, 9, 16, 16, 12, 13);
        v += MOVED(v, zero, 16, 16, 16, 16, 0, 1, 2, 3, 16, 16, 16, 16, 8, 9, 10, 11);
        v += MOVED(v, zero, 16, 16, 16, 16, 16, 16, 16, 16, 0, 1, 2, 3, 4, 5, 6, 7);
        memcpy(x + j, &v, sizeof v);
    }
}

static void lowest32(uint32_t *x, int64_t n)
{
    const word8 zero = {0};
    for (int64_t j = 0; j < n; j += 8) {
        word8 v;
        memcpy(&v, x + j, sizeof v);
        v += MOVED(v, zero, 8, 0, 8, 2, 8, 4, 8, 6);
        v += MOVED(v, zero, 8, 8, 0, 1, 8, 8, 4, 5);
        v += MOVED(v, zero, 8, 8, 8, 8, 0, 1, 2, 3);
        memcpy(x + j, &v, sizeof v);
    }
}

/* Two levels at once: of four quarters of h entries. */
#define TWO_LEVELS(T, x, h)                                                                        \
    do {                                                                                           \
        T *restrict a = x, *restrict b = x + h, *restrict c = x + 2 * h, *restrict d = x + 3 * h;  \
        for (int64_t e = 0; e < h; e++) {                                                          \
            T ab = (T)(a[e] + b[e]);                                                               \
            d[e] = (T)(ab + c[e] + d[e]);                                                          \
            c[e] = (T)(a[e] + c[e]);                                                               \
            b[e] = ab;                                                                             \
        }                                                                                          \
    } while (0)

#define ONE_LEVEL(T, x, h)                                                                         \
    do {                                                                                           \
        T *restrict a = x, *restrict b = x + h;                                                    \
        for (int64_t j = 0; j < h; j++)                                                            \
            b[j] = (T)(b[j] + a[j]);                                                               \
    } while (0)

/* Small tables level by level; larger ones quarter by quarter, so that each quarter is done while it lies in the cache. */
#define DEFINE_SUMS(T, NAME, LOWEST, LOW_BITS)                                                     \
    static void NAME(T *x, int bits)                                                               \
    {                                                                                              \
        int64_t n = (int64_t)1 << bits;                                                            \
        if (bits >= LOW_BITS + 2 && bits > 12) {                                                   \
            for (int k = 0; k < 4; k++)                                                            \
                NAME(x + k * (n / 4), bits - 2);                                                   \
            TWO_LEVELS(T, x, (n / 4));                                                             \
            return;                                                                                \
        }                                                                                          \
        int64_t h = 1;                                                                             \
        if (bits >= LOW_BITS) {                                                                    \
            LOWEST(x, n);                                                                          \
            h = (int64_t)1 << LOW_BITS;                                                            \
        }                                                                                          \
        for (; 4 * h <= n; h *= 4)                                                                 \
            for (int64_t j = 0; j < n; j += 4 * h)                                                 \
                TWO_LEVELS(T, (x + j), h);                                                         \
        if (2 * h <= n)                                                                            \
            ONE_LEVEL(T, x, h);                                                                    \
    }

DEFINE_SUMS(uint16_t, sums16, lowest16, 4)
DEFINE_SUMS(uint32_t, sums32, lowest32, 3)

static void most16(uint32_t *most, const uint16_t *x, int64_t n, int64_t width)
{
    for (int64_t k = 0; k < n; k += width) {
        uint16_t m = 0;
        for (int64_t j = 0; j < width; j++)
            m = x[k + j] > m ? x[k + j] : m;
        *most++ = m;
    }
}

static void most32(uint32_t *most, const uint32_t *x, int64_t n, int64_t width)
{
    for (int64_t k = 0; k < n; k += width) {
        uint32_t m = 0;
        for (int64_t j = 0; j < width; j++)
            m = x[k + j] > m ? x[k + j] : m;
        *most++ = m;
    }
}

const struct select_ops SELECT_OPS = {SELECT_OPS_NAME, above32, above64, above_bits,    count_hit,
                                      and_not,         or_into, count,   count_without, sums16,
                                      sums32,          most16,  most32};
