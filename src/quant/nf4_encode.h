/* NF4 codes of weights, the ones that bitsandbytes chooses: see tensor/nf4.h for the format.
 *
 *     nf4_encode(codes, absmax, x, n, NF4_BLOCK_SIZE);
 *     nf4_dynamic_map(map, 1);
 *     nf4_nest(absmax_codes, nested, &offset, absmax, n_blocks, map);       double quantisation
 */
#ifndef MOE2_QUANT_NF4_ENCODE_H
#define MOE2_QUANT_NF4_ENCODE_H

#include "tensor/nf4.h"

/* n finite values x to codes [(n + 1) / 2] and absmax [ceil(n / block_size)]. The nearest level of x
 * times 1 / absmax (of a short last block: x / absmax), the lower one exactly in the middle; a block
 * of zeros gets absmax 0; the nibble behind an odd end is that of 0. Pieces of whole blocks may be
 * encoded one by one. */
void nf4_encode(uint8_t *codes, float *absmax, const float *x, int64_t n, int64_t block_size);

/* Quantises absmaxes to 8 bits: offset becomes their mean, rounded once (bitsandbytes sums in float32,
 * so its last digit may differ), nested_absmax [ceil(n / 256)] the largest distance from it in each
 * 256, absmax_codes [n] the nearest entries of the ascending map [256]. */
void nf4_nest(uint8_t *absmax_codes, float *nested_absmax, float *offset, const float *absmax,
              int64_t n, const float map[NF4_MAP_SIZE]);

#endif
