/* Packed weights inside the CPU device: how they lie in memory, and what an instruction set brings to read them.
 *
 * Lanes are rows of w. A panel holds 16 rows with all of their K; along K an integer form goes in steps of 32: eight vectors of 64
 * bytes in which byte 4·r + i is number 4·j + i of row r in vector j, what one instruction of the byte units multiplies and adds up.
 * 4 bits: vectors 2v and 2v + 1 share 64 bytes, in the lower and the higher halves; a fifth and sixth bit follow as masks of 64 bits
 * a vector. Behind all codes of the panel stand its scales, [step][16] (I6: two a step), then its mins. A float form has pairs
 * (2p, 2p + 1) of each of 16 rows side by side. So a product with one row of x reads the weight from its first byte to its last.
 * A gated weight has panels of gate and of up in turns.
 *
 * Rows of x are prepared in blocks of at most MOST rows: for integers 32 bytes a step and row, then for each step [4][rows] of: the
 * scale; −zero times the sum of the codes of the first 16 and of the other 16 (or of all 32 and 0); the sum of the numbers, for mins.
 */
#ifndef MOE2_KERNELS_CPU_PACKED_H
#define MOE2_KERNELS_CPU_PACKED_H

#include "kernels/kernels.h"

enum { PANEL = 16, STEP = 32, MOST = 16 };

struct packed_layout {
    int bits;  /* of a code; 0: a float form */
    int group; /* numbers that share a scale */
    int zero;
    bool min;
    enum dtype type; /* of a float form */
};

struct packed_ops {
    int most; /* rows of a block in a float form; integers take MOST */
    /* m rows of K numbers become a block. */
    void (*prepare)(void *to, const float *const *rows, int m, const struct packed_weight *w);
    /* strip [m][PANEL] = block · panelᵀ, m a power of two. */
    void (*tile)(float *strip, const void *panel, const void *block, int m,
                 const struct packed_weight *w);
    /* y[0 … n−1] (+)= sums + bias, n ≤ PANEL; bias may be NULL. */
    void (*finish)(float *y, const float *sums, const float *bias, int n, bool add);
    void (*finish_gated)(float *y, const float *gate, const float *up, int n, bool add);
};

/* Every form; and the float forms in bf16, whose finish and finish_gated are NULL. */
extern const struct packed_ops packed_avx2, packed_avx512vnni, packed_avx512bf16;

static const struct packed_layout packed_layouts[PACKED_FORMS] = {
    [PACKED_F32] = {0, 2, 0, false, DT_F32},   [PACKED_F16] = {0, 2, 0, false, DT_F16},
    [PACKED_BF16] = {0, 2, 0, false, DT_BF16}, [PACKED_I4] = {4, 32, 8, false, DT_U8},
    [PACKED_I4_MIN] = {4, 32, 0, true, DT_U8}, [PACKED_I5] = {5, 32, 16, false, DT_U8},
    [PACKED_I5_MIN] = {5, 32, 0, true, DT_U8}, [PACKED_I6] = {6, 16, 32, false, DT_U8},
    [PACKED_I8] = {8, 32, 128, false, DT_U8},  [PACKED_NF4] = {4, 64, 128, false, DT_U8},
};

/* NF4's numbers times 112.03 to the nearest whole number: the factor below 127 of least squared error, 0.0017 in the mean of ±1. */
#define PACKED_NF4_SCALE (1 / 112.03f)
static const int8_t packed_nf4[16] = {-112, -78, -59, -44, -32, -21, -10, 0,
                                      9,    18,  28,  38,  49,  63,  81,  112};

static inline int64_t packed_steps(const struct packed_weight *w)
{
    return packed_layouts[w->form].bits ? w->K / STEP : (w->K + 1) / 2;
}

/* Bytes of the codes of one step of a panel, or of a pair of a float form. */
static inline int64_t packed_step_bytes(enum packed_form form)
{
    const struct packed_layout *l = &packed_layouts[form];
    return l->bits ? PANEL * STEP / 8 * l->bits : PANEL * 2 * (l->type == DT_F32 ? 4 : 2);
}

/* Where the scales of step s begin in a panel. */
static inline int64_t packed_scales_at(const struct packed_weight *w, int64_t s)
{
    int64_t each = w->form == PACKED_I6 ? 64 : 32;
    return packed_steps(w) * packed_step_bytes(w->form) + s * each;
}

static inline int64_t packed_mins_at(const struct packed_weight *w, int64_t s)
{
    return packed_scales_at(w, packed_steps(w)) + s * 32;
}

static inline int64_t packed_panel_bytes(const struct packed_weight *w)
{
    int64_t n = packed_steps(w) * packed_step_bytes(w->form);
    if (packed_layouts[w->form].bits)
        n = packed_mins_at(w, packed_layouts[w->form].min ? packed_steps(w) : 0);
    return (n + 63) / 64 * 64;
}

/* Bytes of a block of m prepared rows. */
static inline int64_t packed_block_bytes(const struct packed_weight *w, int64_t m)
{
    if (packed_layouts[w->form].bits)
        return (packed_steps(w) * m * (STEP + 16) + 63) / 64 * 64;
    return (packed_steps(w) * m * 8 + 63) / 64 * 64;
}

size_t packed_bytes(struct device *dev, const struct packed_weight *w);
void packed_pack(struct device *dev, const struct packed_weight *w, int64_t first, int64_t n,
                 const struct packed_source *rows);
void packed_forward(struct device *dev, const struct packed_args *a);
void packed_rows(struct device *dev, float *y, const struct packed_weight *w, const int32_t *ids,
                 int64_t T);

#endif
