/* Block formats: rows of weights stored a block at a time, a few bits a value, as ggml lays them out.
 *
 * A block is a fixed number of neighbouring values of a row with its own scale (and offset); a row
 * is a whole number of blocks, rows follow each other without a gap. This is how a block is read;
 * finding good codes for values is quant's.
 *
 *     const struct block_format *f = &block_formats[BLOCK_Q4_K];
 *     f->decode(out, row, n_columns / f->n_values);          float32, block by block
 *     block_decode(out, tensor, BLOCK_Q4_K, first, n);       any range of values
 *
 * Source: ggml, src/ggml-common.h (layouts) and src/ggml-quants.c (what they mean).
 */
#ifndef MOE2_TENSOR_BLOCK_H
#define MOE2_TENSOR_BLOCK_H

#include <stddef.h>
#include <stdint.h>

enum block_type {
    BLOCK_Q4_0,
    BLOCK_Q4_1,
    BLOCK_Q5_0,
    BLOCK_Q5_1,
    BLOCK_Q8_0,
    BLOCK_Q4_K,
    BLOCK_Q5_K,
    BLOCK_Q6_K,
    BLOCK_COUNT
};

enum { BLOCK_MAX_VALUES = 256, BLOCK_MAX_BYTES = 210 };

struct block_format {
    const char *name;   /* ggml's, "Q4_K" */
    uint32_t ggml_type; /* its number in a GGUF file */
    int n_values, n_bytes;
    /* n_blocks blocks, of any alignment, to n_blocks · n_values float32: the same bits as ggml's
     * plain C gives. */
    void (*decode)(float *out, const void *blocks, int64_t n_blocks);
};

extern const struct block_format block_formats[BLOCK_COUNT];

/* An enum block_type by name (any case) or by ggml's number, or −1. */
int block_from_name(const char *name);
int block_from_ggml(uint32_t ggml_type);

/* Bytes of n values, a multiple of the format's. */
int64_t block_bytes(enum block_type type, int64_t n);

/* Values [first, first + n) of blocks that begin at value 0, to out [n]; first and n need not be
 * whole blocks. */
void block_decode(float *out, const void *blocks, enum block_type type, int64_t first, int64_t n);

/* The decoders, for the table. */
void block_q4_0_decode(float *out, const void *blocks, int64_t n_blocks);
void block_q4_1_decode(float *out, const void *blocks, int64_t n_blocks);
void block_q5_0_decode(float *out, const void *blocks, int64_t n_blocks);
void block_q5_1_decode(float *out, const void *blocks, int64_t n_blocks);
void block_q8_0_decode(float *out, const void *blocks, int64_t n_blocks);
void block_q4_k_decode(float *out, const void *blocks, int64_t n_blocks);
void block_q5_k_decode(float *out, const void *blocks, int64_t n_blocks);
void block_q6_k_decode(float *out, const void *blocks, int64_t n_blocks);

#endif
