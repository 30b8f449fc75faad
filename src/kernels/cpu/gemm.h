/* Our own matrix products: C[m,n] (+)= Σ_k A(m,k) · B(k,n), for the small and middling sizes of a mixture of experts.
 *
 * A product is cut into tasks, blocks of C that one thread computes from beginning to end; tasks are all that threads share out, so
 * no sum depends on who works. A task walks over k in fixed steps, packs B's part into panels nr wide and A's into panels mr high
 * (gathering rows, widening bf16 or rounding to it while the numbers are in hand) and calls a register tile for each pair of panels.
 * An instruction set brings the tile and the packing (struct gemm_ops); the walk is the same for all (gemm.c).
 * Source of the scheme: Goto & van de Geijn, ACM TOMS 34 (2008); Van Zee & van de Geijn, ACM TOMS 41 (2015).
 *
 * Packed numbers are 32-bit units: one float32, or a pair of bf16 that are neighbours in k.
 */
#ifndef MOE2_KERNELS_CPU_GEMM_H
#define MOE2_KERNELS_CPU_GEMM_H

#include "kernels/kernels.h"

enum {
    GEMM_UNITS = 256, /* units of k in a packed panel, at most */
    GEMM_PITCH =
        GEMM_UNITS +
        16, /* units from row to row of A packed by rows; not a power of two, so that rows spread over the cache */
};

/* One operand. A(m,k) lies at p[row(m)·ld + k] if k_inner, else at p[row(k)·ld + m]; likewise B(k,n) with n for m. */
struct gemm_side {
    const void *p;
    enum dtype type; /* DT_F32 or DT_BF16 */
    bool k_inner;
    int64_t ld;
    const int32_t *rows; /* row(i) = rows[i], or i if NULL */
};

/* Where row or column i begins, in numbers from p. */
static inline int64_t gemm_row(const struct gemm_side *s, int64_t i)
{
    return (s->rows ? s->rows[i] : i) * s->ld;
}

struct gemm {
    struct gemm_side a, b;
    float *c;
    int64_t ldc, M, N, K;
    bool accumulate;
};

struct gemm_ops {
    int mr, nr;  /* the register tile */
    int k_unit;  /* numbers in a unit: 1 float32, 2 bf16 */
    int a_block; /* panels of A packed before they are multiplied */
    /* Packs rows m0 … m0+m−1 of A, k0 … k0+k−1: as rows [m][GEMM_PITCH] if a->k_inner, else as panels [m/mr][units][mr]. */
    void (*pack_a)(uint32_t *to, const struct gemm_side *a, int64_t m0, int64_t m, int64_t k0,
                   int64_t k);
    /* Packs columns n0 … n0+n−1 of B, k0 … k0+k−1, as panels [n/nr][panel][nr] whose first units it fills; the last panel is filled
     * up with zeros to whole vectors. */
    void (*pack_b)(uint32_t *to, const struct gemm_side *b, int64_t n0, int64_t n, int64_t k0,
                   int64_t k, int64_t panel);
    /* C tile [m ≤ mr, n ≤ nr] (+)= packed A · B, whose rows of nr units are b_row apart (nr if packed). */
    void (*tile)(float *c, int64_t ldc, const uint32_t *a, const uint32_t *b, int64_t b_row,
                 int64_t units, int m, int n, bool a_by_rows, bool add);
};

extern const struct gemm_ops gemm_avx2, gemm_avx512, gemm_avx512bf16;

/* The rows of kernels.h, in the ops that the device's table chose. */
void gemm_linear_forward(struct device *dev, const struct linear_args *a);
void gemm_linear_backward_input(struct device *dev, const struct linear_args *a);
void gemm_linear_backward_weight(struct device *dev, const struct linear_args *a);
void gemm_grouped_forward(struct device *dev, const struct grouped_args *a);
void gemm_grouped_backward_input(struct device *dev, const struct grouped_args *a);
void gemm_grouped_backward_weight(struct device *dev, const struct grouped_args *a);

/* Sizes of blocks. */
static inline int64_t min64(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

static inline int64_t max64(int64_t a, int64_t b)
{
    return a > b ? a : b;
}

static inline int64_t ceil_div(int64_t n, int64_t by)
{
    return (n + by - 1) / by;
}

static inline int64_t round_up(int64_t n, int64_t to)
{
    return ceil_div(n, to) * to;
}

#endif
