/* What the tests of kernels share: every table that this CPU runs, random arrays, and the ONE table of limits.
 *
 * The oracle is the reference table, whose sums run in double; that one is tested by finite differences and by hand. A limit is for
 * the largest difference over the largest value of the oracle's output, or over 0.1 where that is larger: inputs have deviation 1,
 * and where they cancel their rounding remains.
 */
#ifndef MOE2_TESTS_TEST_KERNELS_H
#define MOE2_TESTS_TEST_KERNELS_H

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/rng.h"
#include "kernels/kernels.h"

enum limit {
    EXACT,
    PRODUCT,
    PRODUCT_BF16,
    ELEMENT,
    ROW,
    COLUMN,
    ATTENTION,
    ATTENTION_GRADIENT,
    ATTENTION_BF16,
    ATTENTION_GRADIENT_BF16,
    ATTENTION_SHARP,
    LAYERNORM,
    PACKED_GATED,
    PACKED_BYTES,
    PACKED_BYTES_GATED,
    PACKED_NF4_BYTES,
    PACKED_HALF
};

static const struct {
    double relative;
    const char *reason;
} limits[] = {
    [EXACT] = {0, "moves numbers, or rounds each once in the defined way"},
    [PRODUCT] = {2e-6, "float32 sums of up to 2,100 terms in blocks of 256: errors of random signs "
                       "grow as the root of that"},
    [PRODUCT_BF16] = {4e-6, "operands are rounded alike on both sides; what differs is the float32 "
                            "sum, taken in pairs"},
    [ELEMENT] = {4e-7, "a handful of float32 roundings; exp is good to 2 units in the last place"},
    [ROW] = {1e-6, "a float32 sum along a row in 8 to 32 parts"},
    [COLUMN] = {2e-6, "a float32 sum over rows in fixed parts"},
    [ATTENTION] = {5e-6, "two products, exp, and running rescaling by tiles"},
    [ATTENTION_GRADIENT] = {2e-5, "differences p·(dp − delta) cancel, then a product"},
    [ATTENTION_BF16] = {2e-2, "operands of the products rounded to bf16, 8 bits"},
    [ATTENTION_GRADIENT_BF16] = {5e-2, "dp of rounded operands less delta of unrounded ones: 2^-8 "
                                       "of |do||v|, not of p(dp - delta)"},
    [ATTENTION_SHARP] = {5e-5, "scores of some hundred: a rounding of 2^-24 of the score is one of "
                               "the exponential"},
    [LAYERNORM] = {3e-6, "x less its mean, where x has deviation 1 around 3, then two row sums"},
    [PACKED_GATED] = {8e-6, "a product of two products, the values of one as large as 60"},
    [PACKED_BYTES] = {2e-2, "x (or NF4's numbers) rounded to 8 bits: 2^-8 of the largest of "
                            "32 in each term"},
    [PACKED_BYTES_GATED] = {4e-2, "twice that, of two products"},
    [PACKED_NF4_BYTES] = {8e-3, "NF4's numbers off by up to 0.004 as whole ones, each alone"},
    [PACKED_HALF] = {2e-2, "operands rounded to bf16, 8 bits; gated both factors"},
};

/* The last four are CUDA's: its kernels emulated, and on a GPU, where there is one; then those with kernels for one kind of card or
 * without them, for the tests of kernels where that matters. */
static const char *const table_names[] = {
    "cpu:reference", "cpu:avx2",  "cpu:avx512",           "cpu:avx512vnni", "cpu:avx512bf16",
    "cuda:emulated", "cuda:host", "cuda:emulated:hopper", "cuda:host:plain"};
enum { N_CPU_TABLES = 5, N_TABLES = 5, N_ALL_TABLES = 7, N_CARD_TABLES = 9 };

/* Arrays that kernels are given: the heap's, or memory that a GPU can read where there is one. */
static struct device *test_memory;

static inline bool has_gpu(void)
{
    static bool tried;
    if (!tried)
        device_open(&test_memory, "cuda:host", 1, NULL);
    tried = true;
    return test_memory != NULL;
}

static inline void *kernel_malloc(size_t n)
{
    if (!has_gpu())
        return (malloc)(n);
    char *p = device_alloc(test_memory, n + 256, NULL);
    memcpy(p, &n, sizeof n);
    return p + 256;
}

static inline void *kernel_calloc(size_t n, size_t size)
{
    void *p = kernel_malloc(n * size);
    if (p)
        memset(p, 0, n * size);
    return p;
}

static inline void kernel_free(void *p)
{
    size_t n = 0;
    if (test_memory && p) {
        memcpy(&n, (char *)p - 256, sizeof n);
        device_free(test_memory, (char *)p - 256, n + 256);
    } else {
        (free)(p);
    }
}

/* Of what came from elsewhere: aligned_alloc, the library. */
static inline void heap_free(void *p)
{
    (free)(p);
}
#undef malloc
#undef calloc
#undef free
#define malloc kernel_malloc
#define calloc kernel_calloc
#define free kernel_free

/* A device with that table and threads, or NULL where the CPU can't run it. The emulated ones are always there on x86-64, but beside a GPU,
 * where nobody needs them. */
static inline struct device *open_table(int table, int n_threads)
{
    struct device *dev = NULL;
    struct err err = {0};
    if (device_open(&dev, table_names[table], n_threads, &err) == 0)
        return dev;
#ifdef __x86_64__
    if (strncmp(table_names[table], "cuda:emulated", 13) == 0 && !has_gpu())
        fail_msg("%s", err.msg);
#endif
    return NULL;
}

/* n ≥ 0 numbers of deviation 1 (the sum of two uniform ones, which costs little), with 64 bytes of guard behind them that check_guard looks at. */
static inline float *randoms(int64_t n, uint64_t seed)
{
    struct rng r;
    float *p = malloc((size_t)n * sizeof *p + 64);
    assert_non_null(p);
    rng_init(&r, seed);
    for (int64_t i = 0; i < n; i++)
        p[i] = (float)((rng_uniform(&r) + rng_uniform(&r) - 1) * 2.449489743);
    memset(p + n, 0x5a, 64);
    return p;
}

static inline float *copy_of(const float *p, int64_t n)
{
    float *q = malloc((size_t)n * sizeof *q + 64);
    assert_non_null(q);
    memcpy(q, p, (size_t)n * sizeof *q);
    memset(q + n, 0x5a, 64);
    return q;
}

static inline void check_guard(const float *p, int64_t n)
{
    for (int i = 0; i < 64; i++)
        if (((const uint8_t *)(p + n))[i] != 0x5a)
            fail_msg("byte %d behind an array of %lld numbers was written", i, (long long)n);
}

/* got agrees with want within the limit called what, relative to the largest number in want; NaN only where want has it. */
static inline void check_close(enum limit limit, const char *where, const float *got,
                               const float *want, int64_t n)
{
    double worst = 0, largest = 0.1;
    int64_t at = 0;
    for (int64_t i = 0; i < n; i++) {
        double d = fabs((double)got[i] - want[i]);
        if (isnan(got[i]) != isnan(want[i]))
            fail_msg("%s: [%lld] is %g, wanted %g", where, (long long)i, (double)got[i],
                     (double)want[i]);
        if (isnan(want[i]) || got[i] == want[i])
            continue;
        if (d > worst)
            worst = d, at = i;
        largest = fmax(largest, fabs((double)want[i]));
    }
    if (!(worst <= limits[limit].relative * largest))
        fail_msg("%s: [%lld] is %.9g, wanted %.9g: off by %.2g of the largest, limit %.2g (%s)",
                 where, (long long)at, (double)got[at], (double)want[at], worst / largest,
                 limits[limit].relative, limits[limit].reason);
}

static inline void check_same(const char *where, const float *a, const float *b, int64_t n)
{
    for (int64_t i = 0; i < n; i++)
        if (memcmp(&a[i], &b[i], sizeof *a) != 0)
            fail_msg("%s: [%lld] is %.9g once and %.9g then", where, (long long)i, (double)a[i],
                     (double)b[i]);
}

#endif
