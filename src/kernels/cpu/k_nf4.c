/* NF4 weights widened for products, in pieces that threads share out.
 *
 * Shapes:      q holds q->n values; out [n] takes values first … first + n − 1
 * Definition:  tensor/nf4.h: level · absmax of the block, in float32
 * Sizes:       any.
 */
#include "kernels/cpu/cpu.h"

enum { PIECE = 1 << 15 };

void ref_nf4_to_f32(struct device *dev, float *out, const struct nf4 *q, int64_t first, int64_t n)
{
#pragma omp parallel for schedule(static) num_threads(dev->n_threads) if (n > PIECE)
    for (int64_t i = 0; i < n; i += PIECE)
        nf4_decode(out + i, q, first + i, n - i < PIECE ? n - i : PIECE);
}
