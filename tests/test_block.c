/* What ggml's block formats promise, one sentence a test. The fixture is gguf's own reading. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "format_fixture.h"
#include "quant/block_encode.h"
#include "tensor/dtype.h"
#include "tensor/fp8.h"

static void every_format_reads_the_bits_that_ggml_reads(void **state)
{
    (void)state;
    struct safetensors *st = fixture_open("format_blocks");
    for (int t = 0; t < BLOCK_COUNT; t++) {
        const struct block_format *f = &block_formats[t];
        const struct safetensor *bytes = fixture_find(st, f->name, ".bytes");
        const struct safetensor *values = fixture_find(st, f->name, ".values");
        float *out = malloc((size_t)values->n_bytes);
        assert_int_equal(values->n_elements * f->n_bytes, bytes->n_bytes * f->n_values);
        f->decode(out, bytes->bytes, bytes->n_bytes / f->n_bytes);
        assert_memory_equal(out, values->bytes, values->n_bytes);
        free(out);
    }
    safetensors_close(st);
}

static void any_range_of_values_can_be_read(void **state)
{
    (void)state;
    struct safetensors *st = fixture_open("format_blocks");
    for (int t = 0; t < BLOCK_COUNT; t++) {
        const struct safetensor *bytes = fixture_find(st, block_formats[t].name, ".bytes");
        const struct safetensor *values = fixture_find(st, block_formats[t].name, ".values");
        float part[400];
        for (int64_t first = 0; first < values->n_elements; first += 29)
            for (int64_t n = 0; n < 400 && first + n <= values->n_elements; n += 57) {
                block_decode(part, bytes->bytes, (enum block_type)t, first, n);
                assert_memory_equal(part, values->bytes + first * 4, n * 4);
            }
    }
    safetensors_close(st);
}

static void codes_are_those_that_ggml_chooses(void **state)
{
    (void)state;
    struct safetensors *st = fixture_open("format_blocks");
    int64_t n = 0;
    float *x = fixture_floats(st, "x", &n);
    for (int t = 0; t < BLOCK_COUNT; t++) {
        if (!block_can_encode((enum block_type)t))
            continue;
        const struct safetensor *codes = fixture_find(st, block_formats[t].name, ".codes");
        uint8_t *out = malloc((size_t)codes->n_bytes);
        assert_int_equal(codes->n_bytes, block_bytes((enum block_type)t, n));
        block_encode(out, (enum block_type)t, x, n);
        assert_memory_equal(out, codes->bytes, codes->n_bytes);
        free(out);
    }
    free(x);
    safetensors_close(st);
}

static void formats_are_found_by_name_and_by_number(void **state)
{
    (void)state;
    for (int t = 0; t < BLOCK_COUNT; t++) {
        assert_int_equal(t, block_from_name(block_formats[t].name));
        assert_int_equal(t, block_from_ggml(block_formats[t].ggml_type));
        assert_true(block_formats[t].n_values <= BLOCK_MAX_VALUES);
        assert_true(block_formats[t].n_bytes <= BLOCK_MAX_BYTES);
    }
    assert_int_equal(BLOCK_Q4_K, block_from_name("q4_k"));
    assert_int_equal(-1, block_from_name("Q2_K"));
    assert_int_equal(-1, block_from_ggml(0));
}

/* 130 × 131 values in 2 × 2 tiles, the lower and right ones narrow. */
static void fp8_tiles_scale_their_values_to_the_last_row_and_column(void **state)
{
    (void)state;
    enum { ROWS = 130, COLUMNS = 131, N = ROWS * COLUMNS };
    static uint8_t codes[N];
    static float out[N], plain[N];
    float scale[4] = {2, 0.5F, 4, 0.25F};
    for (int i = 0; i < N; i++)
        codes[i] = (uint8_t)(i * 7 % 126);
    dtype_to_f32(plain, codes, DT_F8_E4M3, N);
    struct fp8 w = {.rows = ROWS, .columns = COLUMNS, .codes = codes, .scale = scale};
    fp8_decode(out, &w, 0, N);
    for (int r = 0; r < ROWS; r++)
        for (int c = 0; c < COLUMNS; c++)
            assert_true(out[r * COLUMNS + c] ==
                        plain[r * COLUMNS + c] * scale[r / 128 * 2 + c / 128]);
    float part[300];
    for (int first = 0; first < N - 300; first += 291) {
        fp8_decode(part, &w, first, 300);
        assert_memory_equal(part, out + first, sizeof part);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_format_reads_the_bits_that_ggml_reads),
        cmocka_unit_test(any_range_of_values_can_be_read),
        cmocka_unit_test(codes_are_those_that_ggml_chooses),
        cmocka_unit_test(formats_are_found_by_name_and_by_number),
        cmocka_unit_test(fp8_tiles_scale_their_values_to_the_last_row_and_column),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
