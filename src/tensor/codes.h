/* Block formats as whole numbers: what products of 4 to 8 bits read, instead of the float32 that tensor/block.h decodes to.
 *
 *     value[i] = scale[i / group] · (codes[i] − zero) + min[i / group]
 * with the group and zero of block_codes_formats; min only where the format has one.
 */
#ifndef MOE2_TENSOR_CODES_H
#define MOE2_TENSOR_CODES_H

#include <stdbool.h>
#include <stdint.h>

#include "tensor/block.h"
#include "tensor/nf4.h"

struct codes_format {
    int bits;  /* codes are below 2^bits */
    int group; /* values that share a scale */
    int zero;
    bool min;
};

extern const struct codes_format codes_formats[BLOCK_COUNT];

/* n_blocks blocks to codes [n], scale [n / group] and min (not written where the format has none); n = n_blocks · the format's n_values. */
void codes_of_blocks(uint8_t *codes, float *scale, float *min, const void *blocks,
                     enum block_type type, int64_t n_blocks);

/* Values first … first+n−1 of an NF4 tensor as levels' numbers [n] and scale [n / 64]: first and n are multiples of 64, its block size
 * of 64 or more. */
void codes_of_nf4(uint8_t *codes, float *scale, const struct nf4 *q, int64_t first, int64_t n);

#endif
