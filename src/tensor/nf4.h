/* NF4: four bits a weight, for weights that are normally distributed, with one scale a block; as
 * bitsandbytes stores it and QLoRA (arXiv 2305.14314) describes it.
 *
 * A weight is flattened row-major and cut into blocks of 64 (32 … 4096) values, whatever its rows
 * are; the last block may be short. A block has one absmax, its largest magnitude, and each value is
 * the nearest of sixteen levels times it. Byte j holds value 2j in its HIGH and 2j + 1 in its low
 * nibble. Double quantisation stores the absmaxes in 8 bits:
 *
 *     absmax[b] = map[absmax_codes[b]] · nested_absmax[b / nested_block_size] + nested_offset
 *
 * 4.5 bits a weight, or 4.127. This is how the values are read; quant/nf4_encode.h makes them.
 * Source: bitsandbytes, functional.py and backends/default/ops.py.
 */
#ifndef MOE2_TENSOR_NF4_H
#define MOE2_TENSOR_NF4_H

#include <stdint.h>

enum {
    NF4_LEVELS = 16,
    NF4_MAP_SIZE = 256,
    NF4_BLOCK_SIZE = 64,         /* the default */
    NF4_NESTED_BLOCK_SIZE = 256, /* the only one that bitsandbytes writes */
    NF4_MIN_BLOCK_SIZE = 32,
    NF4_MAX_BLOCK_SIZE = 4096,
};

extern const float nf4_levels[NF4_LEVELS];

/* What bitsandbytes stores beside a weight's codes, X: the tensors X.absmax and so on, of which those
 * of double quantisation may be missing. The state's bytes are JSON. */
enum nf4_part { NF4_ABSMAX, NF4_NESTED_ABSMAX, NF4_NESTED_MAP, NF4_MAP, NF4_STATE, NF4_N_PARTS };
extern const char *const nf4_part_suffix[NF4_N_PARTS];

/* A value x / absmax above thresholds[i] takes a level above i. */
extern const float nf4_thresholds[NF4_LEVELS - 1];

/* A quantised tensor: all arrays borrowed. Exactly one of absmax and absmax_codes is there. */
struct nf4 {
    int64_t n;                   /* values */
    int64_t block_size;          /* a power of two, 32 … 4096 */
    const uint8_t *codes;        /* [(n + 1) / 2] */
    const float *absmax;         /* [n_blocks], or NULL: doubly quantised */
    const uint8_t *absmax_codes; /* [n_blocks] */
    const float *nested_absmax;  /* [ceil(n_blocks / nested_block_size)] */
    const float *map;            /* [256], of the 8-bit codes */
    int64_t nested_block_size;
    float nested_offset;
};

static inline int64_t nf4_n_blocks(const struct nf4 *q)
{
    return (q->n + q->block_size - 1) / q->block_size;
}

/* The scale of a block, in float32 as bitsandbytes computes it. */
static inline float nf4_absmax(const struct nf4 *q, int64_t block)
{
    if (q->absmax)
        return q->absmax[block];
    float scaled = q->map[q->absmax_codes[block]] * q->nested_absmax[block / q->nested_block_size];
    return scaled + q->nested_offset;
}

/* Values [first, first + n) to out [n], from any first on: level · absmax in float32. Any number of
 * threads may read. */
void nf4_decode(float *out, const struct nf4 *q, int64_t first, int64_t n);

/* The 256 values of bitsandbytes' 8-bit "dynamic map", ascending: is_signed −0.99… to 1 (absmaxes, and
 * the first moment of 8-bit Adam), otherwise 0 to 1 (its second moment). In each of seven decades the
 * midpoints of 2^i (or 2^(i + 1)) equal parts of [0.1, 1], and 0 and 1. */
void nf4_dynamic_map(float out[NF4_MAP_SIZE], int is_signed);

#endif
