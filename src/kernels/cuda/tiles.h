/* Products of experts in tiles: every tile of every expert is a block of one launch.
 *
 * The experts' sizes are known on the host, which counts tiles; a block finds its expert by a search over the counts. Tiles of one
 * expert that share a piece of its weight follow one another, so that it is read from memory once.
 *
 *     FORWARD          c [slot, n]  (+)= Σ_k a[slot, k] · w[e][n, k]         inner = K
 *     BACKWARD_INPUT   c [slot, k]  (+)= Σ_n a[slot, n] · w[e][n, k]         inner = N
 *     BACKWARD_WEIGHT  w[e][n, k]   (+)= Σ_slot a[slot, n] · b[slot, k]      inner = the expert's slots, side = N
 *
 * In each the output has `across` columns. Slots are counted from the first of a, b and c.
 */
#ifndef MOE2_KERNELS_CUDA_TILES_H
#define MOE2_KERNELS_CUDA_TILES_H

#include "kernels/cuda/cuda.h"

enum tiles_direction { FORWARD, BACKWARD_INPUT, BACKWARD_WEIGHT };

/* Of one launch: all goes by value, 8 KiB, of the 32 that a kernel may be given since CUDA 12.1. */
enum { TILES_EXPERTS = 512 };

struct tiles {
    void *w[TILES_EXPERTS];
    int32_t offset[TILES_EXPERTS + 1]; /* of slots */
    int32_t first[TILES_EXPERTS + 1];  /* tiles before this expert's */
    int32_t n_experts;
    bool accumulate;
    bool pairs; /* two neighbours of the output may be written at once */
    const void *a, *b;
    float *c;
    int64_t lda, ldb, ldc, ldw; /* those that the direction has; ldw also that of an output */
    int64_t inner, side, across;
};

/* One block's part: its operands from the first row of its expert (or slot) on. */
struct tile {
    const void *a, *b;
    float *c;
    int64_t ldb, ldc;
    int64_t inner, side; /* of this expert */
    int64_t row, column; /* the tile's first ones */
};

template <enum tiles_direction D, typename A, typename B>
static __device__ __forceinline__ struct tile tile_of(const struct tiles &t, int height, int width)
{
    int block = (int)blockIdx.x;
    int e = last_begun(t.n_experts, block, [&](int i) { return t.first[i]; });
    int64_t slot = t.offset[e], slots = t.offset[e + 1] - slot;
    struct tile one;
    one.a = (const A *)t.a + slot * t.lda;
    one.inner = D == BACKWARD_WEIGHT ? slots : t.inner;
    one.side = D == BACKWARD_WEIGHT ? t.side : slots;
    one.b = D == BACKWARD_WEIGHT ? (const B *)t.b + slot * t.ldb : (const B *)t.w[e];
    one.ldb = D == BACKWARD_WEIGHT ? t.ldb : t.ldw;
    one.c = D == BACKWARD_WEIGHT ? (float *)t.w[e] : t.c + slot * t.ldc;
    one.ldc = D == BACKWARD_WEIGHT ? t.ldw : t.ldc;
    int high_tiles = (int)((one.side + height - 1) / height), at = block - t.first[e];
    one.row = (int64_t)(at % high_tiles) * height;
    one.column = (int64_t)(at / high_tiles) * width;
    return one;
}

/* Fills t.first for tiles of that size, skipping experts without slots, and returns how many there are. */
template <enum tiles_direction D> static int64_t tiles_count(struct tiles *t, int height, int width)
{
    int64_t n = 0, across = (t->across + width - 1) / width;
    for (int e = 0; e < t->n_experts; e++) {
        int64_t slots = t->offset[e + 1] - t->offset[e],
                side = D == BACKWARD_WEIGHT ? (slots ? t->side : 0) : slots;
        t->first[e] = (int32_t)n;
        n += (side + height - 1) / height * across;
    }
    t->first[t->n_experts] = (int32_t)n;
    return n;
}

/* a (and b) float32; the weight that is read may be bf16. */
void tiles_f32(struct device *dev, enum tiles_direction d, struct tiles *t, enum dtype w_type);

/* All operands bf16, their rows beginning at 16 bytes and filled up with zeros to a multiple of 8. Sums in float32. */
void tiles_bf16(struct device *dev, enum tiles_direction d, struct tiles *t);

/* The same on a Hopper GPU. false, with nothing done, where the device is none or the product is too narrow to gain. */
bool tiles_hopper(struct device *dev, enum tiles_direction d, const struct tiles *t);

#endif
