/* What npy files promise, one sentence a test. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "io/npy.h"

#define DIR "test_npy.tmp"
#include "folder_fixture.h"

static void the_bytes_are_those_that_numpy_writes(void **state)
{
    (void)state;
    struct buf b = {0};
    float x[6] = {0, 1, 2, 3, 4, 5};
    assert_int_equal(0, npy_write(DIR "/x.npy", DT_F32, (int64_t[]){2, 3}, 2, x, NULL));
    assert_int_equal(0, file_read(&b, DIR "/x.npy", NULL));
    /* numpy.save of arange(6, dtype=float32).reshape(2, 3): a header of 118 bytes behind the first
     * ten */
    assert_int_equal(128 + 24, b.n);
    assert_memory_equal(
        "\x93NUMPY\x01\x00\x76\x00{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), }   ",
        b.bytes, 72);
    assert_int_equal('\n', b.bytes[127]);
    assert_memory_equal(x, b.bytes + 128, 24);
    buf_release(&b);
}

static void what_is_written_reads_back(void **state)
{
    (void)state;
    struct npy a = {0};
    int64_t ids[3] = {1, -2, INT64_MAX};
    assert_int_equal(0, npy_write(DIR "/x.npy", DT_I64, (int64_t[]){3}, 1, ids, NULL));
    assert_int_equal(0, npy_open(&a, DIR "/x.npy", NULL));
    assert_true(a.dtype == DT_I64 && a.n_dims == 1 && a.shape[0] == 3 && a.n_elements == 3);
    assert_memory_equal(ids, a.data, sizeof ids);
    npy_close(&a);
    assert_int_equal(0, npy_write(DIR "/x.npy", DT_U8, NULL, 0, "z", NULL));
    assert_int_equal(0, npy_open(&a, DIR "/x.npy", NULL));
    assert_true(a.n_dims == 0 && a.n_elements == 1 && *(const char *)a.data == 'z');
    npy_close(&a);
    assert_int_equal(0, npy_write(DIR "/x.npy", DT_F32, (int64_t[]){0, 4}, 2, NULL, NULL));
    assert_int_equal(0, npy_open(&a, DIR "/x.npy", NULL));
    assert_true(a.n_dims == 2 && a.n_elements == 0 && a.data == NULL);
    npy_close(&a);
    npy_close(&a);
}

static void a_file_of_numpy_reads_as_it_was_meant(void **state)
{
    (void)state;
    struct npy a = {0};
    assert_int_equal(0, npy_open(&a, TEST_DIR "/fixtures/io_python.npy", NULL));
    assert_true(a.dtype == DT_F64 && a.n_dims == 3 && a.shape[0] == 3 && a.shape[2] == 2);
    assert_true(((const double *)a.data)[11] == 11.0 / 3);
    npy_close(&a);
}

static void pieces_make_the_same_file_and_too_few_make_none(void **state)
{
    (void)state;
    struct npy_writer w;
    struct npy a = {0};
    struct err err = {0};
    float x[4] = {1, 2, 3, 4};
    assert_int_equal(0, npy_begin(&w, DIR "/x.npy", DT_F32, (int64_t[]){4}, 1, NULL));
    assert_int_equal(0, npy_put(&w, x, 4, NULL));
    assert_int_equal(0, npy_put(&w, x + 1, 12, NULL));
    assert_int_equal(0, npy_commit(&w, NULL));
    assert_int_equal(0, npy_open(&a, DIR "/x.npy", NULL));
    assert_memory_equal(x, a.data, sizeof x);
    npy_close(&a);
    assert_int_equal(0, npy_begin(&w, DIR "/y.npy", DT_F32, (int64_t[]){4}, 1, NULL));
    assert_int_equal(0, npy_put(&w, x, 4, NULL));
    assert_int_equal(MOE2_EFORMAT, npy_commit(&w, &err));
    assert_string_equal(err.msg, DIR "/y.npy: 12 bytes of the array were not written");
    assert_false(file_exists(DIR "/y.npy"));
}

/* A file of version 1.0 with that header and data. */
static void put_file(const char *header, size_t n_data)
{
    struct buf b = {0};
    size_t n = strlen(header);
    buf_append(&b, "\x93NUMPY\x01\x00", 8, NULL);
    buf_append(&b, (uint8_t[]){(uint8_t)n, (uint8_t)(n >> 8)}, 2, NULL);
    buf_append(&b, header, n, NULL);
    for (size_t i = 0; i < n_data; i++)
        buf_append(&b, "", 1, NULL);
    assert_int_equal(0, file_write(DIR "/x.npy", b.bytes, b.n, NULL));
    buf_release(&b);
}

#define HEAD "{'descr': '<f4', 'fortran_order': False, 'shape': "

static const struct {
    const char *header;
    size_t n_data;
    const char *message;
} BROKEN[] = {
    {"", 0, "its header does not begin with '{'"},
    {"{", 0, "its header is cut off or no dictionary"},
    {"{'descr': '<f4'}", 0, "its header has no fortran_order"},
    {HEAD "(2, 3)}", 23, "has 23 bytes of data, wanted 24 by its shape"},
    {HEAD "(2, 3)}", 25, "has 25 bytes of data, wanted 24 by its shape"},
    {HEAD "(2, 3), 'x': 1}", 24, "its header has the key 'x' too much"},
    {HEAD "(2, 3), 'shape': (2, 3)}", 24, "its header has the key 'shape' twice"},
    {HEAD "(2, 3", 24, "its header has no shape of the form (3, 4)"},
    {HEAD "(2, -3)}", 24, "its header has no shape of the form (3, 4)"},
    {HEAD "2}", 8, "its header has no shape of the form (3, 4)"},
    {HEAD "(9999999999999999999,)}", 8, "its header has no shape of the form (3, 4)"},
    {HEAD "(4294967296, 4294967296)}", 8, "has a shape larger than any file"},
    {HEAD "(1, 1, 1, 1, 1, 1, 1, 1, 1)}", 4, "has more than 8 dimensions"},
    {HEAD "(1,)}", 4, "its data begin at byte 65, wanted a multiple of 4"},
    {"{'descr': '>f4', 'fortran_order': False, 'shape': (1,)}", 4,
     "is of type '>f4', wanted little-endian numbers such as '<f4'"},
    {"{'descr': [('a', '<f4')], 'fortran_order': False, 'shape': (1,)}", 4,
     "has a structured or unnamed type, wanted one number each"},
    {"{'descr': '<f4', 'fortran_order': True, 'shape': (1,)}", 4,
     "is in Fortran order, wanted C order"},
    {"{'descr': '<f4', 'fortran_order': 0, 'shape': (1,)}", 4,
     "its fortran_order is neither True nor False"},
};

static void every_broken_header_is_refused_with_its_own_sentence(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof BROKEN / sizeof *BROKEN; i++) {
        struct npy a = {0};
        struct err err = {0};
        char wanted[200];
        put_file(BROKEN[i].header, BROKEN[i].n_data);
        snprintf(wanted, sizeof wanted, DIR "/x.npy: %s", BROKEN[i].message);
        assert_int_equal(MOE2_EFORMAT, npy_open(&a, DIR "/x.npy", &err));
        assert_string_equal(wanted, err.msg);
        assert_null(a.map.bytes);
    }
}

static void every_truncation_is_an_error(void **state)
{
    (void)state;
    struct buf b = {0};
    float x[6] = {0};
    assert_int_equal(0, npy_write(DIR "/x.npy", DT_F32, (int64_t[]){2, 3}, 2, x, NULL));
    assert_int_equal(0, file_read(&b, DIR "/x.npy", NULL));
    for (size_t cut = 0; cut < b.n; cut++) {
        struct npy a = {0};
        struct err err = {0};
        FILE *f = fopen(DIR "/x.npy", "wb");
        fwrite(b.bytes, 1, cut, f);
        fclose(f);
        assert_int_equal(MOE2_EFORMAT, npy_open(&a, DIR "/x.npy", &err));
        assert_int_equal(MOE2_EFORMAT, err.code);
    }
    buf_release(&b);
}

static void types_without_a_numpy_name_full_disks_and_missing_folders_are_errors(void **state)
{
    (void)state;
    struct err err = {0};
    char temp[200];
    float x[5000] = {0};
    assert_int_equal(MOE2_EFORMAT, npy_write(DIR "/x.npy", DT_BF16, (int64_t[]){1}, 1, x, &err));
    assert_string_equal(err.msg, DIR "/x.npy: BF16 has no name in npy files");
    memset(&err, 0, sizeof err);
    assert_int_equal(MOE2_EIO, npy_write(DIR "/no/x.npy", DT_F32, (int64_t[]){1}, 1, x, &err));
    assert_string_equal(err.msg, DIR "/no/x.npy: can't be written: No such file or directory");
    memset(&err, 0, sizeof err);
    snprintf(temp, sizeof temp, DIR "/x.npy.tmp-%ld", (long)getpid());
    assert_int_equal(0, symlink("/dev/full", temp));
    assert_int_equal(MOE2_EIO, npy_write(DIR "/x.npy", DT_F32, (int64_t[]){5000}, 1, x, &err));
    assert_string_equal(err.msg, DIR "/x.npy: can't be written: No space left on device");
    assert_false(file_exists(DIR "/x.npy"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(the_bytes_are_those_that_numpy_writes, setup, teardown),
        cmocka_unit_test_setup_teardown(what_is_written_reads_back, setup, teardown),
        cmocka_unit_test(a_file_of_numpy_reads_as_it_was_meant),
        cmocka_unit_test_setup_teardown(pieces_make_the_same_file_and_too_few_make_none, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(every_broken_header_is_refused_with_its_own_sentence, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(every_truncation_is_an_error, setup, teardown),
        cmocka_unit_test_setup_teardown(
            types_without_a_numpy_name_full_disks_and_missing_folders_are_errors, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
