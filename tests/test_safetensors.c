/* What opening and writing checkpoints promises, one sentence a test. Files are made in a folder of
 * the build tree. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <signal.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/file.h"
#include "io/safetensors.h"

#define DIR "test_safetensors.tmp"
#include "folder_fixture.h"

/* A file of header text and n_data zero bytes in a new buffer. */
static uint8_t *file_of(const char *header, size_t n_data, size_t *n)
{
    size_t n_header = strlen(header);
    uint8_t *b = calloc(1, 8 + n_header + n_data);
    for (int i = 0; i < 8; i++)
        b[i] = (uint8_t)((uint64_t)n_header >> (8 * i));
    memcpy(b + 8, header, n_header);
    *n = 8 + n_header + n_data;
    return b;
}

static void put_file(const char *path, const char *header, size_t n_data)
{
    size_t n;
    uint8_t *b = file_of(header, n_data, &n);
    assert_int_equal(0, file_write(path, b, n, NULL));
    free(b);
}

static void put_text(const char *path, const char *text)
{
    assert_int_equal(0, file_write(path, text, strlen(text), NULL));
}

#define ONE "\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8]}"

static const struct {
    const char *header;
    size_t n_data;
    const char *message; /* behind "x: " */
} BROKEN[] = {
    {"", 0, "the header does not begin with '{': no safetensors file"},
    {" {}", 0, "the header does not begin with '{': no safetensors file"},
    {"[]", 0, "the header does not begin with '{': no safetensors file"},
    {"{", 0, "the JSON ends at byte 1, wanted a string"},
    {"{}}", 0, "byte 2 is '}', wanted the end"},
    {"{}", 3, "bytes 0 to 3 of the data belong to no tensor"},
    {"{" ONE "}", 7, "tensor a lies at bytes 0 to 8 of the data, which has 7"},
    {"{" ONE "}", 9, "bytes 8 to 9 of the data belong to no tensor"},
    {"{" ONE "," ONE "}", 8, "tensor a stands twice in the header"},
    {"{" ONE ",}", 8, "byte 54 is '}', wanted another item behind ','"},
    {"{\"\":{\"dtype\":\"U8\",\"shape\":[],\"data_offsets\":[0,1]}}", 1,
     "a tensor has an empty name"},
    {"{\"a\":1}", 0, "byte 5 is '1', wanted '{'"},
    {"{\"a\":{\"dtype\":\"F32\",\"shape\":[2]}}", 8, "tensor a has no data_offsets"},
    {"{\"a\":{\"dtype\":\"F32\",\"data_offsets\":[0,8]}}", 8, "tensor a has no shape"},
    {"{\"a\":{\"shape\":[2],\"data_offsets\":[0,8]}}", 8, "tensor a has no dtype"},
    {"{\"a\":{\"shape\":[2],\"shape\":[2],\"data_offsets\":[0,8]}}", 8, "tensor a has shape twice"},
    {"{\"a\":{\"dtype\":\"F33\",\"shape\":[2],\"data_offsets\":[0,8]}}", 8,
     "tensor a is of type \"F33\", wanted one of the format's types"},
    {"{\"a\":{\"dtype\":\"F32\",\"shape\":[3],\"data_offsets\":[0,8]}}", 8,
     "tensor a is F32 [3] and has 8 bytes, wanted 12"},
    {"{\"a\":{\"dtype\":\"F4\",\"shape\":[3],\"data_offsets\":[0,1]}}", 1,
     "tensor a is F4 [3] and has 1 bytes, wanted 1 and a part of a byte"},
    {"{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[8,0]}}", 8,
     "tensor a lies at bytes 8 to 0 of the data, which has 8"},
    {"{\"a\":{\"dtype\":\"F32\",\"shape\":[-2],\"data_offsets\":[0,8]}}", 8,
     "byte 29 is '-', wanted a whole number of at least 0"},
    {"{\"a\":{\"dtype\":\"F32\",\"shape\":[2.0],\"data_offsets\":[0,8]}}", 8,
     "the number at byte 29 is no plain whole number"},
    {"{\"a\":{\"dtype\":\"F32\",\"shape\":[99999999999999999999],\"data_offsets\":[0,8]}}", 8,
     "the number at byte 29 is above 2^63 - 1"},
    {"{\"a\":{\"dtype\":\"F32\",\"shape\":[4294967296,4294967296],\"data_offsets\":[0,8]}}", 8,
     "tensor a of shape [4294967296, 4294967296] is larger than any file"},
    {"{\"a\":{\"dtype\":\"F32\",\"shape\":[1,1,1,1,1,1,1,1,2],\"data_offsets\":[0,8]}}", 8,
     "tensor a has more than 8 dimensions"},
    {"{\"a\":{\"dtype\":\"U8\",\"shape\":[4],\"data_offsets\":[0,4]},"
     "\"b\":{\"dtype\":\"U8\",\"shape\":[4],\"data_offsets\":[2,6]}}",
     6, "tensor b begins at byte 2 of the data, inside a"},
    {"{\"a\":{\"dtype\":\"U8\",\"shape\":[2],\"data_offsets\":[0,2]},"
     "\"b\":{\"dtype\":\"U8\",\"shape\":[2],\"data_offsets\":[4,6]}}",
     6, "bytes 2 to 4 of the data belong to no tensor"},
    {"{\"__metadata__\":{\"k\":1}}", 0, "byte 21 is '1', wanted a string"},
    {"{\"__metadata__\":{\"k\":\"1\",\"k\":\"2\"}}", 0, "__metadata__ has the key \"k\" twice"},
    {"{\"__metadata__\":{},\"__metadata__\":{}}", 0, "__metadata__ stands twice in the header"},
    {"{\"a\xff\":{}}", 0, "byte 3 is 0xff, wanted UTF-8"},
    {"{\"a\\u0000\":{}}", 0, "byte 3 writes a NUL, wanted text"},
    {"{\"a\\ud800x\":{}}", 0, "byte 3 writes half a surrogate pair, wanted a whole one"},
    {"{\"a\nb\":{}}", 0, "byte 3 is 0x0a, wanted the end of a string"},
};

static void every_broken_header_is_refused_with_its_own_sentence(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof BROKEN / sizeof *BROKEN; i++) {
        struct safetensors *st = NULL;
        struct err err = {0};
        char wanted[600];
        size_t n;
        uint8_t *b = file_of(BROKEN[i].header, BROKEN[i].n_data, &n);
        snprintf(wanted, sizeof wanted, "x: %s", BROKEN[i].message);
        assert_int_equal(MOE2_EFORMAT, safetensors_open_bytes(&st, "x", b, n, &err));
        assert_string_equal(wanted, err.msg);
        assert_null(st);
        free(b);
    }
}

static void a_header_length_beyond_the_file_or_the_limit_is_refused(void **state)
{
    (void)state;
    struct safetensors *st = NULL;
    struct err err = {0};
    uint8_t b[10] = {0x64, 0, 0, 0, 0, 0, 0, 0, '{', '}'};
    assert_int_equal(MOE2_EFORMAT, safetensors_open_bytes(&st, "x", b, 10, &err));
    assert_string_equal(err.msg,
                        "x: the header says it has 100 bytes, the file has 2 behind its first 8");
    memset(&err, 0, sizeof err);
    memset(b, 0xff, 8);
    assert_int_equal(MOE2_ELIMIT, safetensors_open_bytes(&st, "x", b, 10, &err));
    assert_string_equal(
        err.msg, "x: the header says it has 18446744073709551615 bytes, wanted at most 100000000");
    memset(&err, 0, sizeof err);
    assert_int_equal(MOE2_EFORMAT, safetensors_open_bytes(&st, "x", b, 7, &err));
    assert_string_equal(err.msg, "x: the file has 7 bytes, wanted at least 8");
}

static void every_truncation_of_a_file_is_an_error(void **state)
{
    (void)state;
    size_t n;
    uint8_t *b = file_of("{\"__metadata__\":{\"format\":\"pt\"}," ONE
                         ",\"b\":{\"dtype\":\"BF16\",\"shape\":[2,3],\"data_offsets\":[8,20]}}",
                         20, &n);
    for (size_t cut = 0; cut <= n; cut++) {
        uint8_t *exact = malloc(cut ? cut : 1);
        struct safetensors *st = NULL;
        struct err err = {0};
        memcpy(exact, b, cut);
        int rc = safetensors_open_bytes(&st, "x", exact, cut, &err);
        assert_int_equal(rc == 0, cut == n);
        assert_int_equal(err.code, rc);
        safetensors_close(st);
        free(exact);
    }
    free(b);
}

static void fields_and_types_that_the_format_may_gain_do_no_harm(void **state)
{
    (void)state;
    struct safetensors *st = NULL;
    size_t n;
    float f;
    struct err err = {0};
    uint8_t *b =
        file_of("{\"a\":{\"dtype\":\"F8_E5M2\",\"new\":[{\"x\":[1e5,null]},true],\"shape\":[2],"
                "\"data_offsets\":[0,2]},\"z\":{\"dtype\":\"F16\",\"shape\":[0,7],"
                "\"data_offsets\":[2,2]}}  ",
                2, &n);
    assert_int_equal(0, safetensors_open_bytes(&st, "x", b, n, NULL));
    const struct safetensor *t = safetensors_find(st, "a");
    assert_int_equal(-1, t->dtype);
    assert_string_equal("F8_E5M2", t->dtype_name);
    assert_int_equal(MOE2_EFORMAT, safetensors_to_f32(&f, t, 0, 1, &err));
    assert_string_equal(err.msg, "tensor a is F8_E5M2, which moe2 does not compute with");
    assert_null(safetensors_find(st, "z")->bytes);
    assert_int_equal(0, safetensors_find(st, "z")->n_elements);
    safetensors_close(st);
    free(b);
}

static void tensors_come_in_the_order_of_their_data_and_are_found_by_name(void **state)
{
    (void)state;
    struct safetensors *st = NULL;
    const struct safetensor *t = NULL;
    struct err err = {0};
    put_file(DIR "/x.safetensors",
             "{\"b.weight\":{\"dtype\":\"U8\",\"shape\":[2],\"data_offsets\":[4,6]},"
             "\"a.weight\":{\"dtype\":\"U8\",\"shape\":[2,2],\"data_offsets\":[0,4]},"
             "\"__metadata__\":{\"loss\":\"2.5\"}}",
             6);
    assert_int_equal(0, safetensors_open(&st, DIR "/x.safetensors", NULL));
    assert_int_equal(2, safetensors_count(st));
    assert_int_equal(6, safetensors_total_bytes(st));
    assert_string_equal("a.weight", safetensors_at(st, 0)->name);
    assert_string_equal("b.weight", safetensors_at(st, 1)->name);
    assert_int_equal(0, safetensors_get(&t, st, "b.weight", NULL));
    assert_ptr_equal(t, safetensors_at(st, 1));
    assert_string_equal("2.5", safetensors_metadata(st, "loss"));
    assert_null(safetensors_metadata(st, "format"));
    assert_int_equal(MOE2_EFORMAT, safetensors_get(&t, st, "b.wieght", &err));
    assert_string_equal(err.msg,
                        DIR "/x.safetensors: there is no tensor b.wieght, the nearest is b.weight");
    safetensors_close(st);
}

static void values_at_any_alignment_read_the_same(void **state)
{
    (void)state;
    enum { N = 1500 };
    struct safetensors *st = NULL;
    size_t n;
    char header[200];
    for (int shift = 0; shift < 4; shift++) {
        snprintf(header, sizeof header,
                 "{\"s\":{\"dtype\":\"U8\",\"shape\":[%d],\"data_offsets\":[0,%d]},"
                 "\"x\":{\"dtype\":\"BF16\",\"shape\":[%d],\"data_offsets\":[%d,%d]}}",
                 shift, shift, N, shift, shift + 2 * N);
        uint8_t *b = file_of(header, (size_t)shift + 2 * N, &n);
        for (int i = 0; i < N; i++) {
            uint16_t h = f32_to_bf16((float)i);
            memcpy(b + n - 2 * N + 2 * i, &h, 2);
        }
        float *out = malloc(N * sizeof *out);
        assert_int_equal(0, safetensors_open_bytes(&st, "x", b, n, NULL));
        assert_int_equal(0, safetensors_to_f32(out, safetensors_find(st, "x"), 1, N - 1, NULL));
        for (int i = 1; i < N; i++)
            assert_true(out[i - 1] == bf16_to_f32(f32_to_bf16((float)i)));
        safetensors_close(st);
        free(out);
        free(b);
    }
}

static void a_file_of_the_python_package_reads_as_it_was_meant(void **state)
{
    (void)state;
    struct safetensors *st = NULL;
    struct err err = {0};
    float v[6];
    if (safetensors_open(&st, TEST_DIR "/fixtures/io_python.safetensors", &err))
        fail_msg("%s", err.msg);
    assert_int_equal(8, safetensors_count(st));
    assert_string_equal("è", safetensors_metadata(st, "città"));
    assert_int_equal(0, safetensors_to_f32(v, safetensors_find(st, "a.weight"), 0, 6, NULL));
    assert_true(v[1] == 0.25f && v[5] == 1.25f && safetensors_find(st, "a.weight")->shape[0] == 2);
    assert_int_equal(0, safetensors_to_f32(v, safetensors_find(st, "b"), 0, 2, NULL));
    assert_true(v[0] == 1.5f && v[1] == -2.25f);
    assert_int_equal(0, safetensors_to_f32(v, safetensors_find(st, "c"), 0, 1, NULL));
    assert_true(v[0] == 0x1.998p-4f);
    assert_int_equal(0, safetensors_to_f32(v, safetensors_find(st, "e"), 0, 2, NULL));
    assert_true(v[0] == 448 && v[1] == -0.5f);
    assert_int_equal(0, safetensors_to_f32(v, safetensors_find(st, "ids"), 0, 1, NULL));
    assert_true(v[0] == -5 && safetensors_find(st, "ids")->n_dims == 0);
    assert_memory_equal("\1\2\3", safetensors_find(st, "odd")->bytes, 3);
    assert_int_equal(DT_BOOL, safetensors_find(st, "flag")->dtype);
    assert_int_equal(0, safetensors_find(st, "empty")->n_elements);
    safetensors_close(st);
}

/* ---- folders ---- */

static void shards(void)
{
    put_file(DIR "/s1.safetensors",
             "{\"b\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[0,1]}}", 1);
    put_file(DIR "/s2.safetensors",
             "{\"a\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[0,1]}}", 1);
}

static void expect_folder_error(const char *index, int code, const char *message)
{
    struct safetensors *st = NULL;
    struct err err = {0};
    put_text(DIR "/model.safetensors.index.json", index);
    assert_int_equal(code, safetensors_open(&st, DIR, &err));
    assert_string_equal(message, err.msg);
    assert_null(st);
}

static void a_folder_of_shards_opens_as_one(void **state)
{
    (void)state;
    struct safetensors *st = NULL;
    shards();
    put_text(DIR "/model.safetensors.index.json",
             "{\"metadata\":{\"total_size\":2},\"weight_map\":"
             "{\"a\":\"s2.safetensors\",\"b\":\"s1.safetensors\"}}");
    assert_int_equal(0, safetensors_open(&st, DIR, NULL));
    assert_int_equal(2, safetensors_n_shards(st));
    assert_string_equal("b", safetensors_at(st, 0)->name);
    assert_string_equal("a", safetensors_at(st, 1)->name);
    assert_string_equal(DIR "/s2.safetensors",
                        safetensors_shard_path(st, safetensors_at(st, 1)->shard_idx));
    safetensors_close(st);
}

#define INDEX DIR "/model.safetensors.index.json: "

static void an_index_that_lies_is_refused(void **state)
{
    (void)state;
    shards();
    expect_folder_error(
        "{\"weight_map\":{\"a\":\"../s2.safetensors\"}}", MOE2_EFORMAT,
        INDEX "tensor a lies in \"../s2.safetensors\", wanted the name of a file in this folder");
    expect_folder_error("{\"weight_map\":{\"a\":\"..\"}}", MOE2_EFORMAT,
                        INDEX "tensor a lies in \"..\", wanted the name of a file in this folder");
    expect_folder_error("{\"weight_map\":{\"a\":\"s1.safetensors\"}}", MOE2_EFORMAT,
                        INDEX "puts tensor a into s1.safetensors, which does not have it");
    expect_folder_error("{\"weight_map\":{\"a\":\"s1.safetensors\",\"b\":\"s2.safetensors\"}}",
                        MOE2_EFORMAT,
                        INDEX "puts tensor a into s1.safetensors, it is in s2.safetensors");
    expect_folder_error("{\"weight_map\":{\"a\":\"s3.safetensors\"}}", MOE2_EIO,
                        DIR "/s3.safetensors: can't be opened: No such file or directory");
    expect_folder_error("{\"weight_map\":{\"a\":\"s2.safetensors\",\"a\":\"s2.safetensors\"}}",
                        MOE2_EFORMAT, INDEX "weight_map has the key \"a\" twice");
    expect_folder_error("{\"weight_map\":{},\"weight_map\":{}}", MOE2_EFORMAT,
                        INDEX "weight_map stands twice");
    expect_folder_error("{\"weight_map\":[]}", MOE2_EFORMAT, INDEX "byte 14 is '[', wanted '{'");
    expect_folder_error("{\"metadata\":{}}", MOE2_EFORMAT, INDEX "there is no weight_map");
    expect_folder_error("", MOE2_EFORMAT, INDEX "the JSON ends at byte 0, wanted '{'");
}

static void a_tensor_in_two_shards_is_refused(void **state)
{
    (void)state;
    shards();
    put_file(DIR "/s1.safetensors",
             "{\"a\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[0,1]}}", 1);
    expect_folder_error(
        "{\"weight_map\":{\"a\":\"s1.safetensors\",\"b\":\"s2.safetensors\"}}", MOE2_EFORMAT,
        DIR "/s2.safetensors: tensor a is in this file and in " DIR "/s1.safetensors");
}

static void a_folder_without_a_checkpoint_and_a_missing_path_say_so(void **state)
{
    (void)state;
    struct safetensors *st = NULL;
    struct err err = {0};
    assert_int_equal(MOE2_EIO, safetensors_open(&st, DIR, &err));
    assert_string_equal(err.msg,
                        DIR ": has neither model.safetensors nor model.safetensors.index.json");
    memset(&err, 0, sizeof err);
    assert_int_equal(MOE2_EIO, safetensors_open(&st, DIR "/none", &err));
    assert_string_equal(err.msg, DIR "/none: can't be opened: No such file or directory");
}

/* ---- writing ---- */

static const struct safetensors_decl DECLS[] = {
    {"small", DT_U8, 1, {3}},    {"w", DT_F32, 2, {2, 3}},   {"h", DT_BF16, 1, {5}},
    {"none", DT_F32, 2, {0, 4}}, {"scalar", DT_I64, 0, {0}},
};

enum { N_DECLS = sizeof DECLS / sizeof *DECLS };

static void put_all(struct safetensors_writer *w)
{
    float v[6] = {1, 2, 3, 4, 5, 6};
    int64_t s = -7;
    assert_int_equal(0, safetensors_put(w, "abc", 3, NULL));
    assert_int_equal(0, safetensors_put(w, v, 24, NULL));
    assert_int_equal(0, safetensors_put_f32(w, v, 5, NULL));
    assert_int_equal(0, safetensors_put(w, NULL, 0, NULL));
    assert_int_equal(0, safetensors_put(w, &s, 8, NULL));
}

static void check_all(const char *path)
{
    struct safetensors *st = NULL;
    struct err err = {0};
    float v[6];
    int64_t s;
    if (safetensors_open(&st, path, &err))
        fail_msg("%s", err.msg);
    assert_int_equal(N_DECLS, safetensors_count(st));
    assert_string_equal("pt", safetensors_metadata(st, "format"));
    assert_memory_equal("abc", safetensors_find(st, "small")->bytes, 3);
    const struct safetensor *w = safetensors_find(st, "w");
    assert_int_equal(3, w->shape[1]);
    assert_int_equal(0, (uintptr_t)w->bytes % 4);
    assert_int_equal(0, safetensors_to_f32(v, w, 0, 6, NULL));
    assert_true(v[0] == 1 && v[5] == 6);
    assert_int_equal(0, safetensors_to_f32(v, safetensors_find(st, "h"), 0, 5, NULL));
    assert_true(v[4] == 5);
    assert_int_equal(0, safetensors_find(st, "scalar")->n_dims);
    memcpy(&s, safetensors_find(st, "scalar")->bytes, 8);
    assert_int_equal(-7, s);
    safetensors_close(st);
}

static void what_is_written_reads_back_and_nothing_is_seen_before_the_commit(void **state)
{
    (void)state;
    struct safetensors_writer *w = NULL;
    struct safetensors *st = NULL;
    const char *metadata[] = {"loss", "2.5 \"è\"", NULL};
    struct safetensors_options o = {.metadata = metadata};
    assert_int_equal(0, safetensors_create(&w, DIR "/w.safetensors", DECLS, N_DECLS, &o, NULL));
    put_all(w);
    assert_false(file_exists(DIR "/w.safetensors"));
    assert_int_equal(0, safetensors_commit(w, NULL));
    check_all(DIR "/w.safetensors");
    assert_int_equal(0, safetensors_open(&st, DIR "/w.safetensors", NULL));
    assert_string_equal("2.5 \"è\"", safetensors_metadata(st, "loss"));
    safetensors_close(st);
}

static size_t count_names(void)
{
    char **names;
    size_t n;
    assert_int_equal(0, dir_names(&names, &n, DIR, NULL));
    dir_names_free(names, n);
    return n;
}

static void a_large_folder_is_sharded_and_a_later_small_one_replaces_it(void **state)
{
    (void)state;
    struct safetensors_writer *w = NULL;
    struct safetensors_options o = {.max_shard_bytes = 16};
    assert_int_equal(0, safetensors_create_folder(&w, DIR "/m", DECLS, N_DECLS, &o, NULL));
    put_all(w);
    assert_int_equal(0, safetensors_commit(w, NULL));
    assert_true(file_exists(DIR "/m/model-00002-of-00004.safetensors"));
    assert_true(file_exists(DIR "/m/model.safetensors.index.json"));
    check_all(DIR "/m");
    assert_int_equal(0, safetensors_create_folder(&w, DIR "/m", DECLS, N_DECLS, NULL, NULL));
    put_all(w);
    assert_int_equal(0, safetensors_commit(w, NULL));
    check_all(DIR "/m");
    assert_false(file_exists(DIR "/m/model-00002-of-00004.safetensors"));
    assert_false(file_exists(DIR "/m/model.safetensors.index.json"));
    assert_int_equal(0, safetensors_create_folder(&w, DIR "/m", DECLS, N_DECLS, &o, NULL));
    put_all(w);
    assert_int_equal(0, safetensors_commit(w, NULL));
    check_all(DIR "/m");
    assert_false(file_exists(DIR "/m/model.safetensors"));
}

static void tensors_and_pieces_may_come_in_any_order_of_tensors(void **state)
{
    (void)state;
    struct safetensors_writer *w = NULL;
    struct safetensors_options o = {.max_shard_bytes = 16};
    float v[6] = {1, 2, 3, 4, 5, 6};
    uint16_t h[5];
    int64_t s = -7;
    dtype_from_f32(h, v, DT_BF16, 5);
    assert_int_equal(0, safetensors_create_folder(&w, DIR "/m", DECLS, N_DECLS, &o, NULL));
    assert_int_equal(0, safetensors_put_at(w, 4, &s, 8, NULL));
    assert_int_equal(0, safetensors_put_piece(w, 1, 0, v, 8, NULL));
    assert_int_equal(0, safetensors_put_at(w, 2, h, 10, NULL));
    assert_int_equal(0, safetensors_put_at(w, 0, "abc", 3, NULL));
    assert_int_equal(0, safetensors_put_piece(w, 1, 8, v + 2, 16, NULL));
    assert_int_equal(0, safetensors_commit(w, NULL));
    check_all(DIR "/m");
}

static void a_commit_with_bytes_missing_leaves_the_old_file(void **state)
{
    (void)state;
    struct safetensors_writer *w = NULL;
    struct err err = {0};
    assert_int_equal(0, safetensors_create(&w, DIR "/w.safetensors", DECLS, N_DECLS, NULL, NULL));
    put_all(w);
    assert_int_equal(0, safetensors_commit(w, NULL));
    assert_int_equal(0, safetensors_create(&w, DIR "/w.safetensors", DECLS, N_DECLS, NULL, NULL));
    assert_int_equal(0, safetensors_put(w, "abc", 3, NULL));
    assert_int_equal(MOE2_EFORMAT, safetensors_commit(w, &err));
    assert_string_equal(err.msg, DIR "/w.safetensors: tensor w has 0 of its 24 bytes");
    check_all(DIR "/w.safetensors");
    assert_int_equal(1, count_names());
}

static void names_that_no_reader_would_take_are_refused(void **state)
{
    (void)state;
    struct safetensors_writer *w = NULL;
    struct err err = {0};
    struct safetensors_decl twice[] = {{"a", DT_U8, 1, {1}}, {"a", DT_U8, 1, {1}}};
    assert_int_equal(MOE2_EFORMAT, safetensors_create(&w, DIR "/w", twice, 2, NULL, &err));
    assert_string_equal(err.msg, DIR "/w: tensor a is declared twice");
    memset(&err, 0, sizeof err);
    twice[0].name = "__metadata__";
    assert_int_equal(MOE2_EFORMAT, safetensors_create(&w, DIR "/w", twice, 1, NULL, &err));
    assert_string_equal(err.msg, DIR "/w: \"__metadata__\" is no name for a tensor");
    memset(&err, 0, sizeof err);
    twice[0] = (struct safetensors_decl){"a", DT_F32, 2, {INT64_MAX, 2}};
    assert_int_equal(MOE2_EFORMAT, safetensors_create(&w, DIR "/w", twice, 1, NULL, &err));
    assert_string_equal(err.msg, DIR "/w: tensor a is larger than any file");
    assert_int_equal(0, count_names());
}

static void a_missing_folder_a_full_disk_and_a_size_limit_leave_nothing_behind(void **state)
{
    (void)state;
    struct safetensors_writer *w = NULL;
    struct err err = {0};
    char temp[200];
    assert_int_equal(MOE2_EIO, safetensors_create(&w, DIR "/no/w", DECLS, N_DECLS, NULL, &err));
    assert_string_equal(err.msg, DIR "/no/w: can't be written: No such file or directory");
    memset(&err, 0, sizeof err);
    snprintf(temp, sizeof temp, DIR "/w.tmp-%ld", (long)getpid());
    assert_int_equal(0, symlink("/dev/full", temp));
    assert_int_equal(MOE2_EIO, safetensors_create(&w, DIR "/w", DECLS, N_DECLS, NULL, &err));
    assert_string_equal(err.msg, DIR "/w: can't be written: No space left on device");
    assert_int_equal(0, count_names());
    memset(&err, 0, sizeof err);
    struct rlimit old, small;
    getrlimit(RLIMIT_FSIZE, &old);
    small = old;
    small.rlim_cur = 100;
    signal(SIGXFSZ, SIG_IGN);
    setrlimit(RLIMIT_FSIZE, &small);
    int rc = safetensors_create(&w, DIR "/w", DECLS, N_DECLS, NULL, &err);
    setrlimit(RLIMIT_FSIZE, &old);
    assert_int_equal(MOE2_EIO, rc);
    assert_non_null(strstr(err.msg, "can't be written: File too large"));
    assert_int_equal(0, count_names());
}

static void an_aborted_writer_leaves_nothing_behind(void **state)
{
    (void)state;
    struct safetensors_writer *w = NULL;
    assert_int_equal(0, safetensors_create(&w, DIR "/w", DECLS, N_DECLS, NULL, NULL));
    assert_int_equal(1, count_names());
    safetensors_abort(w);
    safetensors_abort(NULL);
    assert_int_equal(0, count_names());
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_broken_header_is_refused_with_its_own_sentence),
        cmocka_unit_test(a_header_length_beyond_the_file_or_the_limit_is_refused),
        cmocka_unit_test(every_truncation_of_a_file_is_an_error),
        cmocka_unit_test(fields_and_types_that_the_format_may_gain_do_no_harm),
        cmocka_unit_test_setup_teardown(
            tensors_come_in_the_order_of_their_data_and_are_found_by_name, setup, teardown),
        cmocka_unit_test(values_at_any_alignment_read_the_same),
        cmocka_unit_test(a_file_of_the_python_package_reads_as_it_was_meant),
        cmocka_unit_test_setup_teardown(a_folder_of_shards_opens_as_one, setup, teardown),
        cmocka_unit_test_setup_teardown(an_index_that_lies_is_refused, setup, teardown),
        cmocka_unit_test_setup_teardown(a_tensor_in_two_shards_is_refused, setup, teardown),
        cmocka_unit_test_setup_teardown(a_folder_without_a_checkpoint_and_a_missing_path_say_so,
                                        setup, teardown),
        cmocka_unit_test_setup_teardown(
            what_is_written_reads_back_and_nothing_is_seen_before_the_commit, setup, teardown),
        cmocka_unit_test_setup_teardown(a_large_folder_is_sharded_and_a_later_small_one_replaces_it,
                                        setup, teardown),
        cmocka_unit_test_setup_teardown(tensors_and_pieces_may_come_in_any_order_of_tensors, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(a_commit_with_bytes_missing_leaves_the_old_file, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(names_that_no_reader_would_take_are_refused, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(
            a_missing_folder_a_full_disk_and_a_size_limit_leave_nothing_behind, setup, teardown),
        cmocka_unit_test_setup_teardown(an_aborted_writer_leaves_nothing_behind, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
