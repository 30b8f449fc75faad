/* The inner loops of the selector: comparing scores, counting bits, subset sums.
 *
 * One source, select_ops_body.h, is compiled for the plain machine, AVX2 and AVX-512; which one runs is chosen at run time. All are
 * whole numbers or comparisons: every machine gives the same.
 */
#ifndef MOE2_ROUTE_SELECT_OPS_H
#define MOE2_ROUTE_SELECT_OPS_H

#include <stdint.h>

struct select_ops {
    const char *name;

    /* mask[q] |= bit where b[q] > a[q], or, with equal, b[q] >= a[q]. */
    void (*above32)(uint32_t *mask, uint32_t bit, const float *a, const float *b, int equal,
                    int64_t n);
    void (*above64)(uint64_t *mask, uint64_t bit, const float *a, const float *b, int equal,
                    int64_t n);

    /* The same comparisons as bits: bit q of out, n of them, the rest of the last word 0. */
    void (*above_bits)(uint64_t *out, const float *a, const float *b, int equal, int64_t n);

    /* How many masks have a bit of members. */
    int64_t (*count_hit)(const uint64_t *mask, uint64_t members, int64_t n);

    /* x &= ~y; x |= y; how many bits of x are set; of x without y. */
    void (*and_not)(uint64_t *out, const uint64_t *x, const uint64_t *y, int64_t n);
    void (*or_into)(uint64_t *x, const uint64_t *y, int64_t n);
    int64_t (*count)(const uint64_t *x, int64_t n);
    int64_t (*count_without)(const uint64_t *x, const uint64_t *y, int64_t n);

    /* x[U] = Σ over X ⊆ U of x[X], for all U of 2^bits, modulo 2^16 or 2^32. */
    void (*sums16)(uint16_t *x, int bits);
    void (*sums32)(uint32_t *x, int bits);

    /* most[k] is the largest of x[k·width … (k + 1)·width). */
    void (*most16)(uint32_t *most, const uint16_t *x, int64_t n, int64_t width);
    void (*most32)(uint32_t *most, const uint32_t *x, int64_t n, int64_t width);
};

/* The fastest that this machine can run. */
const struct select_ops *select_ops_best(void);

extern const struct select_ops select_ops_plain;
#if defined(__x86_64__)
extern const struct select_ops select_ops_avx2, select_ops_avx512;
#endif

#endif
