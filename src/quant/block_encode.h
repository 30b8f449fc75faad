/* Codes of ggml's plain block formats for float32 rows: the same that ggml's reference gives. */
#ifndef MOE2_QUANT_BLOCK_ENCODE_H
#define MOE2_QUANT_BLOCK_ENCODE_H

#include <stdbool.h>

#include "tensor/block.h"

/* Whether moe2 can make blocks of this type (it can read all of enum block_type). */
bool block_can_encode(enum block_type type);

/* n finite values, a multiple of the format's, to block_bytes(type, n) bytes. Q8_0: d = absmax / 127,
 * q = round(x / d). Q4_0: d = the value of largest magnitude / −8, q = min(15, trunc(x / d + 8.5)).
 * Scales are stored in float16, codes are chosen with the unrounded ones. */
void block_encode(void *blocks, enum block_type type, const float *x, int64_t n);

#endif
