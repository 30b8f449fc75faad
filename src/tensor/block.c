/* The table of block formats, and reading a range that is not whole blocks: see block.h. */
#include "tensor/block.h"

#include <assert.h>
#include <string.h>
#include <strings.h>

const struct block_format block_formats[BLOCK_COUNT] = {
    [BLOCK_Q4_0] = {"Q4_0", 2, 32, 18, block_q4_0_decode},
    [BLOCK_Q4_1] = {"Q4_1", 3, 32, 20, block_q4_1_decode},
    [BLOCK_Q5_0] = {"Q5_0", 6, 32, 22, block_q5_0_decode},
    [BLOCK_Q5_1] = {"Q5_1", 7, 32, 24, block_q5_1_decode},
    [BLOCK_Q8_0] = {"Q8_0", 8, 32, 34, block_q8_0_decode},
    [BLOCK_Q4_K] = {"Q4_K", 12, 256, 144, block_q4_k_decode},
    [BLOCK_Q5_K] = {"Q5_K", 13, 256, 176, block_q5_k_decode},
    [BLOCK_Q6_K] = {"Q6_K", 14, 256, 210, block_q6_k_decode},
};

int block_from_name(const char *name)
{
    for (int t = 0; t < BLOCK_COUNT; t++)
        if (strcasecmp(block_formats[t].name, name) == 0)
            return t;
    return -1;
}

int block_from_ggml(uint32_t ggml_type)
{
    for (int t = 0; t < BLOCK_COUNT; t++)
        if (block_formats[t].ggml_type == ggml_type)
            return t;
    return -1;
}

int64_t block_bytes(enum block_type type, int64_t n)
{
    const struct block_format *f = &block_formats[type];
    assert(n >= 0 && n % f->n_values == 0);
    return n / f->n_values * f->n_bytes;
}

void block_decode(float *out, const void *blocks, enum block_type type, int64_t first, int64_t n)
{
    const struct block_format *f = &block_formats[type];
    const uint8_t *at = (const uint8_t *)blocks + first / f->n_values * f->n_bytes;
    float whole[BLOCK_MAX_VALUES];
    int64_t skip = first % f->n_values;
    assert(first >= 0 && n >= 0);
    if (skip && n) {
        int64_t m = f->n_values - skip < n ? f->n_values - skip : n;
        f->decode(whole, at, 1);
        memcpy(out, whole + skip, (size_t)m * sizeof *out);
        out += m, n -= m, at += f->n_bytes;
    }
    int64_t n_whole = n / f->n_values, tail = n % f->n_values;
    f->decode(out, at, n_whole);
    if (tail) {
        f->decode(whole, at + n_whole * f->n_bytes, 1);
        memcpy(out + n_whole * f->n_values, whole, (size_t)tail * sizeof *out);
    }
}
