/* Blocks as whole numbers: scale · (code − zero) + min is what the decoders of tensor/block.h give, for random bytes of every format,
 * and likewise for NF4. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/rng.h"
#include "tensor/codes.h"

enum { N_BLOCKS = 37 };

/* Random bytes, with the float16 numbers among them small and finite. */
static void random_blocks(uint8_t *p, enum block_type type, uint64_t seed)
{
    struct rng r;
    int n = block_formats[type].n_bytes;
    rng_init(&r, seed);
    for (int i = 0; i < N_BLOCKS * n; i++)
        p[i] = (uint8_t)rng_below(&r, 256);
    for (int i = 0; i < N_BLOCKS; i++) {
        uint8_t *scale = p + i * n + (type == BLOCK_Q6_K ? n - 2 : 0);
        scale[1] = (uint8_t)((scale[1] & 0x83) | 0x28);
        if (type != BLOCK_Q6_K && codes_formats[type].min)
            scale[3] = (uint8_t)((scale[3] & 0x83) | 0x28);
    }
}

static void codes_scales_and_mins_make_up_what_blocks_decode_to(void **state)
{
    (void)state;
    for (int type = 0; type < BLOCK_COUNT; type++) {
        const struct codes_format *f = &codes_formats[type];
        int64_t n = (int64_t)N_BLOCKS * block_formats[type].n_values;
        uint8_t *blocks = malloc((size_t)(N_BLOCKS * block_formats[type].n_bytes)),
                *codes = malloc((size_t)n);
        float *want = malloc((size_t)n * sizeof *want), *scale = malloc((size_t)n * sizeof *scale),
              *min = calloc((size_t)n, sizeof *min);
        random_blocks(blocks, (enum block_type)type, 7);
        block_formats[type].decode(want, blocks, N_BLOCKS);
        codes_of_blocks(codes, scale, min, blocks, (enum block_type)type, N_BLOCKS);
        for (int64_t i = 0; i < n; i++) {
            float got = scale[i / f->group] * (float)(codes[i] - f->zero) + min[i / f->group];
            if (codes[i] >> f->bits || !(fabsf(got - want[i]) <= 1e-6f * fabsf(want[i]) + 1e-6f))
                fail_msg("%s: value %lld is %g, decoded %g", block_formats[type].name, (long long)i,
                         (double)got, (double)want[i]);
        }
        free(blocks);
        free(codes);
        free(want);
        free(scale);
        free(min);
    }
}

static void nf4_codes_and_scales_are_what_it_decodes_to(void **state)
{
    (void)state;
    enum { N = 1024, FIRST = 128, LEN = 640 };
    uint8_t bytes[N / 2], codes[LEN];
    float absmax[N / 128], want[LEN], scale[LEN / 64];
    struct rng r;
    rng_init(&r, 3);
    for (int i = 0; i < N / 2; i++)
        bytes[i] = (uint8_t)rng_below(&r, 256);
    for (int i = 0; i < N / 128; i++)
        absmax[i] = (float)rng_uniform(&r);
    struct nf4 q = {.n = N, .block_size = 128, .codes = bytes, .absmax = absmax};
    nf4_decode(want, &q, FIRST, LEN);
    codes_of_nf4(codes, scale, &q, FIRST, LEN);
    for (int i = 0; i < LEN; i++)
        if (scale[i / 64] * nf4_levels[codes[i]] != want[i])
            fail_msg("value %d is %g, decoded %g", i,
                     (double)(scale[i / 64] * nf4_levels[codes[i]]), (double)want[i]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(codes_scales_and_mins_make_up_what_blocks_decode_to),
        cmocka_unit_test(nf4_codes_and_scales_are_what_it_decodes_to),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
