/* What NF4 promises, one sentence a test. The fixture is what bitsandbytes makes of the values. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "format_fixture.h"
#include "quant/nf4_encode.h"

enum { TAIL = 4000 };

/* The fixture's tensors, copied to where float32 may be read. */
struct fixture {
    struct safetensors *st;
    float *x, *absmax, *nested, *map;
    struct nf4 plain, twice;
};

static struct fixture open_fixture(void)
{
    struct fixture f = {.st = fixture_open("format_nf4")};
    int64_t n = 0;
    f.x = fixture_floats(f.st, "x", &n);
    f.absmax = fixture_floats(f.st, "absmax", NULL);
    f.nested = fixture_floats(f.st, "nested.absmax", NULL);
    f.map = fixture_floats(f.st, "map.signed", NULL);
    const uint8_t *codes = fixture_find(f.st, "codes", "")->bytes;
    float *offset = fixture_floats(f.st, "nested.offset", NULL);
    f.plain =
        (struct nf4){.n = n, .block_size = NF4_BLOCK_SIZE, .codes = codes, .absmax = f.absmax};
    f.twice = (struct nf4){.n = n,
                           .block_size = NF4_BLOCK_SIZE,
                           .codes = codes,
                           .absmax_codes = fixture_find(f.st, "nested.codes", "")->bytes,
                           .nested_absmax = f.nested,
                           .map = f.map,
                           .nested_block_size = NF4_NESTED_BLOCK_SIZE,
                           .nested_offset = *offset};
    free(offset);
    return f;
}

static void close_fixture(struct fixture *f)
{
    free(f->x);
    free(f->absmax);
    free(f->nested);
    free(f->map);
    safetensors_close(f->st);
}

static void values_read_back_to_the_bits_of_bitsandbytes(void **state)
{
    (void)state;
    struct fixture f = open_fixture();
    float out[TAIL];
    nf4_decode(out, &f.plain, f.plain.n - TAIL, TAIL);
    assert_memory_equal(out, fixture_find(f.st, "tail", "")->bytes, sizeof out);
    nf4_decode(out, &f.twice, f.twice.n - TAIL, TAIL);
    assert_memory_equal(out, fixture_find(f.st, "nested.tail", "")->bytes, sizeof out);
    close_fixture(&f);
}

static void any_range_reads_the_same_values(void **state)
{
    (void)state;
    struct fixture f = open_fixture();
    float *all = malloc((size_t)f.plain.n * sizeof *all), part[200];
    nf4_decode(all, &f.twice, 0, f.twice.n);
    for (int64_t first = 0; first + 200 <= f.plain.n; first += 37)
        for (int64_t n = 0; n <= 200; n += 39) {
            nf4_decode(part, &f.twice, first, n);
            assert_memory_equal(part, all + first, n * 4);
        }
    free(all);
    close_fixture(&f);
}

static void codes_and_scales_are_those_of_bitsandbytes(void **state)
{
    (void)state;
    struct fixture f = open_fixture();
    int64_t n_blocks = nf4_n_blocks(&f.plain);
    uint8_t *codes = malloc((size_t)f.plain.n / 2 + 1);
    float *absmax = malloc((size_t)n_blocks * sizeof *absmax);
    nf4_encode(codes, absmax, f.x, f.plain.n, NF4_BLOCK_SIZE);
    assert_memory_equal(codes, f.plain.codes, (f.plain.n + 1) / 2);
    assert_memory_equal(absmax, f.absmax, n_blocks * 4);
    free(codes);
    free(absmax);
    close_fixture(&f);
}

static void double_quantisation_is_that_of_bitsandbytes(void **state)
{
    (void)state;
    struct fixture f = open_fixture();
    int64_t n_blocks = nf4_n_blocks(&f.plain), n_nested = (n_blocks + 255) / 256;
    uint8_t *codes = malloc((size_t)n_blocks);
    float nested[8], offset = 0;
    assert_in_range(n_nested, 2, 8);
    nf4_nest(codes, nested, &offset, f.absmax, n_blocks, f.map);
    assert_float_equal(offset, f.twice.nested_offset, 1e-6);
    for (int64_t i = 0; i < n_nested; i++)
        assert_float_equal(nested[i], f.nested[i], 1e-6);
    assert_memory_equal(codes, f.twice.absmax_codes, n_blocks);
    free(codes);
    close_fixture(&f);
}

static void the_dynamic_maps_are_those_of_bitsandbytes(void **state)
{
    (void)state;
    struct safetensors *st = fixture_open("format_nf4");
    float map[NF4_MAP_SIZE];
    nf4_dynamic_map(map, 1);
    assert_memory_equal(map, fixture_find(st, "map.signed", "")->bytes, sizeof map);
    nf4_dynamic_map(map, 0);
    assert_memory_equal(map, fixture_find(st, "map.unsigned", "")->bytes, sizeof map);
    safetensors_close(st);
}

static void a_block_of_zeros_reads_as_zeros_and_pieces_are_the_whole(void **state)
{
    (void)state;
    enum { N = 64 * 5 + 3 };
    float x[N] = {0}, absmax[6], piece_absmax[6], out[N];
    uint8_t codes[N / 2 + 1], pieces[N / 2 + 1];
    for (int i = 64; i < N; i++)
        x[i] = (float)(i * 37 % 101) - 50;
    nf4_encode(codes, absmax, x, N, 64);
    nf4_encode(pieces, piece_absmax, x, 128, 64);
    nf4_encode(pieces + 64, piece_absmax + 2, x + 128, N - 128, 64);
    assert_memory_equal(codes, pieces, sizeof codes);
    assert_memory_equal(absmax, piece_absmax, sizeof absmax);
    nf4_decode(out, &(struct nf4){.n = N, .block_size = 64, .codes = codes, .absmax = absmax}, 0,
               N);
    for (int i = 0; i < 64; i++)
        assert_true(out[i] == 0);
    for (int i = 64; i < N; i++) /* half the widest gap between levels, 0.152 */
        assert_float_equal(out[i], x[i], 0.1521 * absmax[i / 64]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(values_read_back_to_the_bits_of_bitsandbytes),
        cmocka_unit_test(any_range_reads_the_same_values),
        cmocka_unit_test(codes_and_scales_are_those_of_bitsandbytes),
        cmocka_unit_test(double_quantisation_is_that_of_bitsandbytes),
        cmocka_unit_test(the_dynamic_maps_are_those_of_bitsandbytes),
        cmocka_unit_test(a_block_of_zeros_reads_as_zeros_and_pieces_are_the_whole),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
