/* The gradient of a narrow weight in float32, a router's: some thousand rows make a matrix of a few tiles.
 *
 * Rows are cut into pieces, which are to tiles.h what experts are: each makes a gradient of its own in scratch, and these are added in
 * order. The pieces depend on the sizes alone, so that every card adds alike.
 */
#include "kernels/cuda/narrow.h"
#include "kernels/cuda/tiles.h"

enum {
    SIDE = 64,         /* of a tile */
    MOST_TILES = 32,   /* more keep a card busy by themselves */
    ENOUGH = 512,      /* blocks */
    LEAST_PIECE = 256, /* rows */
};

bool narrow_weight_f32(struct device *dev, const struct linear_args *a)
{
    int64_t n_tiles = (int64_t)blocks_for(a->N, SIDE) * blocks_for(a->K, SIDE), n = a->N * a->K;
    if (!n || min(a->N, a->K) > NARROW_MOST || n_tiles > MOST_TILES || a->M > INT32_MAX)
        return false;
    int64_t piece = max((int64_t)LEAST_PIECE, (int64_t)blocks_for(a->M, ENOUGH / n_tiles)),
            n_pieces = blocks_for(a->M, piece);
    if (n_pieces <= 1)
        return false;
    float *part = (float *)cuda_scratch(dev, (size_t)(n_pieces * n) * sizeof *part);
    if (!part)
        return true;
    struct tiles t;
    t.n_experts = (int32_t)n_pieces;
    for (int64_t i = 0; i <= n_pieces; i++)
        t.offset[i] = (int32_t)min(i * piece, a->M);
    for (int64_t i = 0; i < n_pieces; i++)
        t.w[i] = part + i * n;
    t.a = a->y, t.lda = a->ldy;
    t.b = a->x, t.ldb = a->ldx;
    t.c = NULL, t.ldc = 0, t.ldw = a->K;
    t.inner = 0, t.side = a->N, t.across = a->K;
    t.accumulate = false, t.pairs = false;
    tiles_f32(dev, BACKWARD_WEIGHT, &t, DT_F32);
    narrow_add_pieces(dev, (float *)a->w, a->ldw, part, n_pieces, a->N, a->K, a->accumulate);
    return true;
}
