/* NF4 weights widened for products, in pieces that threads share out.
 *
 * Shapes:      q holds q->n values; out [n] takes values first … first + n − 1
 * Definition:  tensor/nf4.h: level · absmax of the block, in float32; nf4_to_bf16 rounds each of these to bf16
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

static void decode_bf16(uint16_t *out, const struct nf4 *q, int64_t first, int64_t n)
{
    enum { SOME = 256 };
    float values[SOME];
    for (int64_t i = 0; i < n; i += SOME) {
        int64_t some = n - i < SOME ? n - i : SOME;
        nf4_decode(values, q, first + i, some);
        dtype_from_f32(out + i, values, DT_BF16, some);
    }
}

void ref_nf4_to_bf16(struct device *dev, uint16_t *out, const struct nf4 *q, int64_t first,
                     int64_t n)
{
#pragma omp parallel for schedule(static) num_threads(dev->n_threads) if (n > PIECE)
    for (int64_t i = 0; i < n; i += PIECE)
        decode_bf16(out + i, q, first + i, n - i < PIECE ? n - i : PIECE);
}

void ref_nf4_list_to_bf16(struct device *dev, uint16_t *const *out, const struct nf4 *const *q,
                          int64_t n_tensors)
{
    for (int64_t i = 0; i < n_tensors; i++)
        ref_nf4_to_bf16(dev, out[i], q[i], 0, q[i]->n);
}
