/* What GGUF files promise, one sentence a test. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/file.h"
#include "io/gguf_write.h"
#include "quant/block_encode.h"

#define DIR "test_gguf.tmp"
#include "folder_fixture.h"

/* Keys of every kind, a float32 tensor of odd size and one of two Q8_0 rows. */
static void write_sample(const char *path)
{
    struct gguf_writer *w = NULL;
    struct gguf_string texts[3] = {{"a", 1}, {"", 0}, {"\xe2\x96\x81 b", 5}};
    float x[64], odd[3] = {1, -2, 3.5F};
    uint8_t blocks[68];
    for (int i = 0; i < 64; i++)
        x[i] = (float)(i - 20) / 7;
    block_encode(blocks, BLOCK_Q8_0, x, 64);
    assert_int_equal(0, gguf_create(&w, path, NULL));
    gguf_put_text(w, "general.architecture", "llama");
    gguf_put_u32(w, "llama.block_count", 7);
    gguf_put_f32(w, "theta", 0.25F);
    gguf_put_bool(w, "yes", true);
    gguf_put_texts(w, "texts", texts, 3);
    gguf_put_i32s(w, "ints", (int32_t[]){-1, 2}, 2);
    gguf_put_f32s(w, "reals", (float[]){0.5F, -3}, 2);
    gguf_declare(w, "odd", 0, (int64_t[]){3}, 1);
    gguf_declare(w, "blocks", 8, (int64_t[]){2, 32}, 2);
    assert_int_equal(0, gguf_begin_data(w, NULL));
    assert_int_equal(0, gguf_put(w, odd, sizeof odd, NULL));
    assert_int_equal(0, gguf_put(w, blocks, 30, NULL));
    assert_int_equal(0, gguf_put(w, blocks + 30, 38, NULL));
    assert_int_equal(0, gguf_commit(w, NULL));
}

static void what_is_written_reads_back(void **state)
{
    (void)state;
    struct gguf *g = NULL;
    struct gguf_string texts[3];
    const char *arch = NULL;
    int64_t n = 0, ints[2];
    double theta = 0;
    bool yes = false;
    float reals[2], x[64];
    write_sample(DIR "/x.gguf");
    assert_true(gguf_is(DIR "/x.gguf"));
    assert_int_equal(0, gguf_open(&g, DIR "/x.gguf", NULL));
    assert_true(gguf_version(g) == 3 && gguf_n_tensors(g) == 2 && gguf_n_keys(g) == 7);
    assert_true(!gguf_text(&arch, g, "general.architecture", NULL) && !strcmp(arch, "llama"));
    assert_true(!gguf_int(&n, g, "llama.block_count", 1, 9, NULL) && n == 7);
    assert_true(!gguf_real(&theta, g, "theta", NULL) && theta == 0.25);
    assert_true(!gguf_bool(&yes, g, "yes", NULL) && yes);
    assert_true(!gguf_texts(texts, &n, g, "texts", NULL) && n == 3 && texts[2].n == 5);
    assert_memory_equal(texts[2].s, "\xe2\x96\x81 b", 5);
    assert_true(!gguf_ints(ints, &n, g, "ints", NULL) && n == 2 && ints[0] == -1 && ints[1] == 2);
    assert_true(!gguf_reals(reals, &n, g, "reals", NULL) && reals[1] == -3);
    const struct gguf_tensor *t = gguf_find(g, "blocks");
    assert_true(t && t->n_dims == 2 && t->shape[0] == 2 && t->shape[1] == 32 && t->n_bytes == 68);
    assert_int_equal(0, gguf_to_f32(x, t, 0, 64, NULL));
    for (int i = 0; i < 64; i++)
        assert_float_equal(x[i], (float)(i - 20) / 7, 0.03);
    gguf_close(g);
}

static uint8_t *load(size_t *n)
{
    struct buf b = {0};
    write_sample(DIR "/x.gguf");
    assert_int_equal(0, file_read(&b, DIR "/x.gguf", NULL));
    *n = b.n;
    return (uint8_t *)b.bytes;
}

static void every_truncation_is_refused(void **state)
{
    (void)state;
    size_t n = 0, last_data = 0;
    uint8_t *bytes = load(&n);
    last_data = n - (96 - 68); /* padding behind the last tensor may be missing */
    for (size_t cut = 0; cut < last_data; cut++) {
        struct gguf *g = NULL;
        struct err err = {0};
        uint8_t *exact = malloc(cut + 1);
        memcpy(exact, bytes, cut);
        int rc = gguf_open_bytes(&g, "x", exact, cut, &err);
        assert_true(rc == MOE2_EFORMAT && rc == err.code && !g);
        assert_memory_equal("x: ", err.msg, 3);
        free(exact);
    }
    free(bytes);
}

/* Every byte of the header changed in turn: an error or a readable file, never a fault. */
static void every_changed_byte_gives_an_error_or_a_file(void **state)
{
    (void)state;
    size_t n = 0;
    uint8_t *bytes = load(&n);
    for (size_t i = 0; i < n - 128; i++)
        for (int k = 0; k < 3; k++) {
            struct gguf *g = NULL;
            struct err err = {0};
            uint8_t was = bytes[i];
            bytes[i] = (uint8_t)(k == 0 ? 0xff : k == 1 ? was + 1 : 0);
            int rc = gguf_open_bytes(&g, "x", bytes, n, &err);
            assert_true(rc == err.code && !rc == !!g);
            gguf_close(g);
            bytes[i] = was;
        }
    free(bytes);
}

static void put(struct buf *b, uint64_t value, size_t n)
{
    for (size_t i = 0; i < n; i++)
        assert_int_equal(0, buf_append(b, &(uint8_t){(uint8_t)(value >> 8 * i)}, 1, NULL));
}

static void put_text(struct buf *b, const char *s)
{
    put(b, strlen(s), 8);
    assert_int_equal(0, buf_puts(b, s, NULL));
}

static void put_head(struct buf *b, uint32_t version, uint64_t tensors, uint64_t keys)
{
    buf_clear(b);
    assert_int_equal(0, buf_puts(b, "GGUF", NULL));
    put(b, version, 4);
    put(b, tensors, 8);
    put(b, keys, 8);
}

static void refused(const struct buf *b, int code, const char *message)
{
    struct gguf *g = NULL;
    struct err err = {0};
    assert_int_equal(code, gguf_open_bytes(&g, "x", b->bytes, b->n, &err));
    if (!strstr(err.msg, message))
        fail_msg("\"%s\" has no \"%s\"", err.msg, message);
}

static void put_tensor(struct buf *b, const char *name, uint64_t columns, uint64_t rows,
                       uint32_t type, uint64_t offset)
{
    put_text(b, name);
    put(b, 2, 4);
    put(b, columns, 8);
    put(b, rows, 8);
    put(b, type, 4);
    put(b, offset, 8);
}

static void broken_files_are_refused_with_their_own_sentence(void **state)
{
    (void)state;
    struct buf b = {0};
    put_head(&b, 1, 0, 0);
    refused(&b, MOE2_EFORMAT, "is GGUF version 1, wanted 2 or 3");
    put_head(&b, 3, 0, UINT64_MAX);
    refused(&b, MOE2_ELIMIT, "18446744073709551615 keys, wanted at most 65536");
    put_head(&b, 3, 1000, 0);
    refused(&b, MOE2_EFORMAT, "claims 1000 tensors, more than its 24 bytes can hold");
    put_head(&b, 3, 0, 1);
    put_text(&b, "k");
    put(&b, 13, 4);
    put(&b, 0, 8);
    refused(&b, MOE2_EFORMAT, "key k is of type 13, wanted 0 to 12");
    put_head(&b, 3, 0, 1);
    put_text(&b, "k");
    put(&b, GGUF_ARRAY, 4);
    put(&b, GGUF_U8, 4);
    put(&b, UINT64_MAX / 2, 8);
    refused(&b, MOE2_ELIMIT, "key k has 9223372036854775807 items");
    put_head(&b, 3, 2, 0);
    put_tensor(&b, "a", 32, 1, 8, 0);
    put_tensor(&b, "a", 32, 1, 8, 64);
    refused(&b, MOE2_EFORMAT, "tensor a stands twice");
    put_head(&b, 3, 1, 0);
    put_tensor(&b, "a", 33, 1, 8, 0);
    refused(&b, MOE2_EFORMAT,
            "tensor a is Q8_0 and has rows of 33 values, wanted a multiple of 32");
    put_head(&b, 3, 1, 0);
    put_tensor(&b, "a", 1ull << 40, 1ull << 40, 0, 0);
    refused(&b, MOE2_EFORMAT, "tensor a is larger than any file");
    put_head(&b, 3, 1, 0);
    put_tensor(&b, "a", 32, 1, 999, 0);
    refused(&b, MOE2_EFORMAT, "tensor a is of type 999");
    put_head(&b, 3, 1, 0);
    put_tensor(&b, "a", 32, 1, 8, 7);
    refused(&b, MOE2_EFORMAT, "begins at byte 7 of the data, wanted a multiple of 32");
    put_head(&b, 3, 2, 0);
    put_tensor(&b, "a", 16, 4, 0, 0);
    put_tensor(&b, "b", 16, 4, 0, 32);
    put(&b, 0, 8);
    for (int i = 0; i < 64; i++)
        put(&b, 0, 8);
    refused(&b, MOE2_EFORMAT, "tensor b begins inside a");
    buf_release(&b);
}

static void a_wrong_question_is_answered_with_what_is_there(void **state)
{
    (void)state;
    struct gguf *g = NULL;
    struct err err = {0};
    int64_t n = 0;
    const char *text = NULL;
    write_sample(DIR "/x.gguf");
    assert_int_equal(0, gguf_open(&g, DIR "/x.gguf", NULL));
    assert_int_equal(MOE2_EFORMAT, gguf_int(&n, g, "llama.block_cuont", 0, 9, &err));
    assert_string_equal(err.msg, DIR "/x.gguf: has no key llama.block_cuont; did it mean "
                                     "llama.block_count?");
    err = (struct err){0};
    assert_int_equal(MOE2_EFORMAT, gguf_int(&n, g, "llama.block_count", 0, 6, &err));
    assert_string_equal(err.msg, DIR "/x.gguf: key llama.block_count is 7, wanted 0 to 6");
    err = (struct err){0};
    assert_int_equal(MOE2_EFORMAT, gguf_text(&text, g, "ints", &err));
    assert_string_equal(err.msg, DIR "/x.gguf: key ints is an array of i32, wanted a text");
    gguf_close(g);
}

static void a_writer_refuses_what_no_reader_takes_and_leaves_nothing(void **state)
{
    (void)state;
    struct gguf_writer *w = NULL;
    struct err err = {0};
    assert_int_equal(0, gguf_create(&w, DIR "/y.gguf", NULL));
    gguf_declare(w, "a", 2, (int64_t[]){1, 48}, 2);
    assert_int_equal(MOE2_EFORMAT, gguf_begin_data(w, &err));
    assert_non_null(strstr(err.msg, "tensor a has rows of 48 values, which Q4_0 can't hold"));
    gguf_abort(w);
    err = (struct err){0};
    assert_int_equal(0, gguf_create(&w, DIR "/y.gguf", NULL));
    gguf_declare(w, "a", 0, (int64_t[]){4}, 1);
    gguf_declare(w, "a", 0, (int64_t[]){4}, 1);
    assert_int_equal(MOE2_EFORMAT, gguf_begin_data(w, &err));
    assert_non_null(strstr(err.msg, "tensor a is written twice"));
    gguf_abort(w);
    assert_false(file_exists(DIR "/y.gguf"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_written_reads_back),
        cmocka_unit_test(every_truncation_is_refused),
        cmocka_unit_test(every_changed_byte_gives_an_error_or_a_file),
        cmocka_unit_test(broken_files_are_refused_with_their_own_sentence),
        cmocka_unit_test(a_wrong_question_is_answered_with_what_is_there),
        cmocka_unit_test(a_writer_refuses_what_no_reader_takes_and_leaves_nothing),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
