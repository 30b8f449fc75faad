/* The embedding table, the plain reference.
 *
 * Shapes:      y, dy [T,D]; table, dtable [V,D]; ids [T], each in 0 … V−1
 * Definition:  y[t] = table[ids[t]];   dtable[ids[t]] += dy[t], t rising, so that a token seen twice adds up in one order
 */
#include "kernels/cpu/cpu.h"

void ref_embed_forward(struct device *dev, float *y, const void *table, enum dtype type,
                       const int32_t *ids, int64_t T, int64_t D)
{
    (void)dev;
    for (int64_t t = 0; t < T; t++)
        dtype_to_f32(y + t * D, (const uint8_t *)table + (size_t)(ids[t] * D) * dtype_bytes(type),
                     type, D);
}

void ref_embed_backward(struct device *dev, float *dtable, const float *dy, const int32_t *ids,
                        int64_t T, int64_t D, int64_t V)
{
    (void)dev;
    (void)V;
    for (int64_t t = 0; t < T; t++)
        for (int64_t d = 0; d < D; d++)
            dtable[ids[t] * D + d] += dy[t * D + d];
}
