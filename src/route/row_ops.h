/* The inner loops of routing: a few numbers per expert, very often.
 *
 * One source, row_ops_body.h, is compiled for the plain machine, AVX2 and AVX-512; which one runs is
 * chosen at run time. All three give the same bits: every sum has 16 fixed lanes that are folded
 * in one order, and no product is fused into a sum.
 */
#ifndef MOE2_ROUTE_ROWS_H
#define MOE2_ROUTE_ROWS_H

#include <stdbool.h>
#include <stdint.h>

struct row_ops {
    const char *name;

    /* s[i] = 1 / (1 + e^−x[i]), within 3 units in the last place for |x| < 87. */
    void (*sigmoid)(float *s, const float *x, int64_t n);

    /* s = e^(x − max x) / Σ, one row; terms below e^−87 of the largest count as e^−87. */
    void (*softmax)(float *s, const float *x, int64_t n);

    /* Whether all of x are numbers and finite. */
    bool (*finite)(const float *x, int64_t n);

    /* Adds Σ s and Σ s² to out. */
    void (*moments)(double out[2], const float *s, int64_t n);

    /* c = a + b; c may be a or b. */
    void (*add)(float *c, const float *a, const float *b, int64_t n);

    /* y += k·x */
    void (*scale_add)(float *y, const float *x, float k, int64_t n);

    double (*dot)(const float *a, const float *b, int64_t n);

    /* For each row of c [rows, n] the indices of its k largest, idx [rows, k], the largest first,
     * ties to the lower index. Each row must be above −infinity in k places at least. */
    void (*topk)(int32_t *idx, const float *c, int64_t rows, int64_t n, int k);

    /* How many of x are at least pivot. */
    int64_t (*count)(const float *x, int64_t n, float pivot);
};

/* The fastest that this machine can run. */
const struct row_ops *row_ops_best(void);

extern const struct row_ops row_ops_plain;
#if defined(__x86_64__)
extern const struct row_ops row_ops_avx2, row_ops_avx512;
#endif

/* The k-th largest of n finite numbers, 1 ≤ k ≤ n, by bisection on the bits of the value: no copy,
 * no random access, 32 vector passes. */
float order_kth(const struct row_ops *ops, const float *x, int64_t n, int64_t k);

/* Tokens whose work is one unit of parallelism; sums are made within a block, then over blocks in
 * order, whatever thread worked on which. */
enum { ROUTE_BLOCK = 64, ROUTE_LANES = 16, ROUTE_TOPK_MAX = 257 };

#endif
