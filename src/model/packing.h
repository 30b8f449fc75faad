/* From a checkpoint's tensors to packed weights: which form a stored type takes, and the packing itself, some rows at a time.
 *
 * A packed weight is made of pieces laid one below the other (q, k and v; gate and up). Block formats keep their own codes and scales
 * and are never decoded; what has no form of its own (FP8, NF4 of odd rows) is read as numbers and kept in bf16; joined tensors in
 * their type, or in 8 bits where the caller asks for it.
 */
#ifndef MOE2_MODEL_PACKING_H
#define MOE2_MODEL_PACKING_H

#include "kernels/kernels.h"
#include "model/source.h"

enum { PIECES_MAX = 4 };

/* n rows of K numbers, from one of: a tensor from row `first` on; blocks of that type; numbers. All borrowed. */
struct piece {
    const struct source_tensor *tensor;
    const void *blocks;
    enum block_type block;
    const float *numbers;
    int64_t first, n;
    bool eight_bits; /* round numbers to 8 bits with a scale for each 32, where K allows it */
};

/* The form of a stored tensor's own; of random weights, wherever K allows it, the one that is asked for. */
enum packed_form piece_form(const struct piece *p, int64_t K, enum packed_form random);

/* Packs n pieces into w, whose N, K, form, compute and gate are set and whose memory is there. Errors: those of source_read,
 * MOE2_ELIMIT. */
int pieces_pack(const struct packed_weight *w, const struct piece *pieces, int n,
                struct device *dev, struct err *err);

#endif
