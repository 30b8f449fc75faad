/* Packed text: what is written comes back, and what is broken is told word by word. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/file.h"
#include "base/rng.h"
#include "io/shards.h"

enum { N_DOCUMENTS = 37, VOCAB = 300, EOS = 299 };

static char dir[64];

static int make_dir(void **state)
{
    (void)state;
    snprintf(dir, sizeof dir, "/tmp/test_shards_%ld", (long)getpid());
    return dir_make(dir, NULL);
}

static int remove_dir(void **state)
{
    (void)state;
    return file_remove_all(dir, NULL);
}

static char *path_of(const char *name)
{
    static char path[128];
    snprintf(path, sizeof path, "%s/%s", dir, name);
    return path;
}

/* Document i has 1 + 7·i mod 20 ids and an EOS. */
static int64_t document(int32_t ids[32], int64_t i)
{
    int64_t n = 1 + 7 * i % 20;
    for (int64_t j = 0; j < n; j++)
        ids[j] = (int32_t)(rng_at(5, (uint64_t)i, (uint64_t)j, 0) % EOS);
    ids[n] = EOS;
    return n + 1;
}

/* A folder whose train split has 37 documents in shards of at most max_tokens. */
static void write_folder(int id_bytes, int64_t max_tokens)
{
    struct err err = {0};
    struct shards_manifest m = {.tokenizer = "bytes",
                                .fingerprint = 0xABCDEF0123456789u,
                                .vocab_size = VOCAB,
                                .eos_id = EOS,
                                .bos_id = -1,
                                .id_bytes = id_bytes,
                                .seed = 7};
    struct shards_writer *w = NULL;
    file_remove_all(dir, NULL);
    assert_int_equal(0, dir_make(dir, &err));
    for (int split = 0; split < SHARDS_N_SPLITS; split++) {
        assert_int_equal(
            0, shards_writer_new(&w, dir, (enum shards_split)split, id_bytes, max_tokens, &err));
        for (int64_t i = 0; i < N_DOCUMENTS && split == SHARDS_TRAIN; i++) {
            int32_t ids[32];
            int64_t n = document(ids, i);
            assert_int_equal(0, shards_writer_put(w, ids, n, 3 * n, &err));
        }
        assert_int_equal(0, shards_writer_commit(&m.splits[split], w, &err));
    }
    m.more = json_pack("{s:{s:i}}", "dropped", "too_short", 12);
    assert_int_equal(0, shards_manifest_write(dir, &m, &err));
    shards_manifest_release(&m);
}

static void check_folder(int id_bytes, int64_t max_tokens)
{
    write_folder(id_bytes, max_tokens);
    struct err err = {0};
    struct shards *s = NULL;
    assert_int_equal(0, shards_open(&s, dir, "train", &err));
    int32_t wanted[N_DOCUMENTS * 32], seen[N_DOCUMENTS * 32];
    int64_t n = 0;
    assert_int_equal(shards_n_documents(s), N_DOCUMENTS);
    for (int64_t i = 0; i < N_DOCUMENTS; i++) {
        assert_int_equal(shards_document(s, i), n);
        n += document(wanted + n, i);
    }
    assert_int_equal(shards_document(s, N_DOCUMENTS), n);
    assert_int_equal(shards_n_tokens(s), n);
    assert_int_equal(shards_n_text_bytes(s), 3 * n);
    assert_int_equal(0, shards_read(seen, s, 0, n, &err));
    assert_memory_equal(seen, wanted, sizeof *seen * (size_t)n);
    for (int64_t first = 0; first < n; first += 13) {
        int64_t count = n - first < 29 ? n - first : 29;
        assert_int_equal(0, shards_read(seen, s, first, count, &err));
        assert_memory_equal(seen, wanted + first, sizeof *seen * (size_t)count);
    }
    assert_int_equal(0, shards_read(seen, s, n, 0, &err));
    assert_int_equal(shards_vocab_size(s), VOCAB);
    assert_int_equal(shards_eos_id(s), EOS);
    assert_int_equal(shards_bos_id(s), -1);
    assert_string_equal(shards_tokenizer(s), "bytes");
    assert_null(shards_text_path(s));
    shards_close(s);
}

static void documents_come_back_whatever_the_width_and_the_length_of_a_shard(void **state)
{
    (void)state;
    check_folder(2, 1 << 20);
    check_folder(4, 1 << 20);
    check_folder(2, 64);
    check_folder(4, 100);
    check_folder(2, 1);
}

static void no_shard_is_longer_than_asked_unless_one_document_is(void **state)
{
    (void)state;
    struct err err = {0};
    struct shards_manifest m;
    write_folder(2, 64);
    assert_int_equal(0, shards_manifest_read(&m, dir, &err));
    assert_true(m.splits[SHARDS_TRAIN].n_files > 3);
    for (int64_t i = 0; i < m.splits[SHARDS_TRAIN].n_files; i++)
        assert_true(m.splits[SHARDS_TRAIN].files[i].n_tokens <= 64);
    shards_manifest_release(&m);
    write_folder(2, 1);
    assert_int_equal(0, shards_manifest_read(&m, dir, &err));
    assert_int_equal(m.splits[SHARDS_TRAIN].n_files, N_DOCUMENTS);
    shards_manifest_release(&m);
}

static void the_manifest_keeps_what_it_was_given(void **state)
{
    (void)state;
    struct err err = {0};
    struct shards_manifest m;
    write_folder(2, 64);
    assert_int_equal(0, shards_manifest_read(&m, dir, &err));
    assert_int_equal(m.seed, 7);
    assert_true(m.fingerprint == 0xABCDEF0123456789u);
    assert_int_equal(
        json_integer_value(json_object_get(json_object_get(m.more, "dropped"), "too_short")), 12);
    assert_int_equal(json_object_size(m.more), 1);
    assert_int_equal(0, shards_manifest_write(dir, &m, &err));
    shards_manifest_release(&m);
    assert_int_equal(0, shards_manifest_read(&m, dir, &err));
    assert_int_equal(json_object_size(m.more), 1);
    shards_manifest_release(&m);
}

static void an_empty_split_opens_and_has_a_text_path(void **state)
{
    (void)state;
    struct err err = {0};
    struct shards *s = NULL;
    write_folder(2, 64);
    assert_int_equal(0, shards_open(&s, dir, "test", &err));
    assert_int_equal(shards_n_tokens(s), 0);
    assert_int_equal(shards_n_documents(s), 0);
    assert_int_equal(shards_document(s, 0), 0);
    assert_int_equal(0, shards_read(NULL, s, 0, 0, &err));
    assert_string_equal(shards_text_path(s), path_of("test.txt"));
    shards_close(s);
}

static void a_writer_that_is_given_up_leaves_no_open_shard(void **state)
{
    (void)state;
    struct err err = {0};
    struct shards_writer *w = NULL;
    file_remove_all(dir, NULL);
    assert_int_equal(0, dir_make(dir, &err));
    assert_int_equal(0, shards_writer_new(&w, dir, SHARDS_TRAIN, 2, 100, &err));
    assert_int_equal(0, shards_writer_put(w, (int32_t[]){1, 2}, 2, 5, &err));
    shards_writer_abort(w);
    char **names = NULL;
    size_t n = 1;
    assert_int_equal(0, dir_names(&names, &n, dir, &err));
    assert_int_equal(n, 0);
    dir_names_free(names, n);
}

/* Replaces the bytes at a place of a file. */
static void poke(const char *name, long at, const void *bytes, size_t n)
{
    FILE *f = fopen(path_of(name), "r+b");
    assert_non_null(f);
    assert_int_equal(0, fseek(f, at, SEEK_SET));
    assert_int_equal(n, fwrite(bytes, 1, n, f));
    fclose(f);
}

static void expect_open_fails(const char *split, int code, const char *message)
{
    struct err err = {0};
    struct shards *s = NULL;
    char wanted[1024], *at = wanted;
    for (const char *m = message; *m; m++) { /* @ stands for the folder */
        if (*m == '@')
            at += sprintf(at, "%s", dir);
        else
            *at++ = *m;
    }
    *at = 0;
    assert_int_equal(code, shards_open(&s, dir, split, &err));
    assert_string_equal(err.msg, wanted);
    assert_null(s);
}

static void a_broken_shard_is_named_with_what_was_wanted(void **state)
{
    (void)state;
    static const struct {
        long at;
        uint64_t value;
        size_t n;
        const char *message;
    } cases[] = {
        {0, 'X', 1, "@/train-00000.bin: does not begin with \"MOE2TOK1\": not packed text"},
        {8, 2, 4, "@/train-00000.bin: is of version 2, wanted 1"},
        {12, 3, 4, "@/train-00000.bin: an id has 3 bytes, wanted 2 or 4"},
        {50, 9, 1, "@/train-00000.bin: byte 50 of the header is 9, wanted 0"},
        {16, UINT64_MAX, 8,
         "@/train-00000.bin: claims 18446744073709551615 tokens, 37 documents and 1248 bytes of "
         "text, which can't be"},
        {24, 38, 8,
         "@/train-00000.bin: has 1192 bytes, wanted 1200 for 416 tokens in 38 documents: it is cut "
         "off"},
        {24, 36, 8,
         "@/train-00000.bin: has 1192 bytes, wanted 1184 for 416 tokens in 36 documents"},
        {24, 0, 8, "@/train-00000.bin: has 416 tokens but no document"},
        {64 + 832, 1, 8, "@/train-00000.bin: the first document begins at token 1, wanted 0"},
        {64 + 832 + 8, 0, 8,
         "@/train-00000.bin: document 1 begins at token 0, wanted above 0 and below 416"},
        {64 + 832 + 8, 416, 8,
         "@/train-00000.bin: document 1 begins at token 416, wanted above 0 and below 416"},
        {32, 5, 8,
         "@/train-00000.bin: has 416 ids of 2 bytes, 37 documents and 5 bytes of text, wanted 416, "
         "2, 37 and 1248 as in manifest.json"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        write_folder(2, 1 << 20);
        poke("train-00000.bin", cases[i].at, &cases[i].value, cases[i].n);
        expect_open_fails("train", MOE2_EFORMAT, cases[i].message);
    }
}

static void an_id_beyond_the_vocabulary_is_found_when_it_is_read(void **state)
{
    (void)state;
    struct err err = {0};
    struct shards *s = NULL;
    int32_t ids[32];
    char message[256];
    write_folder(2, 64);
    uint16_t bad = VOCAB;
    poke("train-00001.bin", 64 + 2 * 5, &bad, sizeof bad);
    assert_int_equal(0, shards_open(&s, dir, "train", &err));
    assert_int_equal(0, shards_read(ids, s, 0, 32, &err));
    int64_t first = 0;
    while (!shards_read(ids, s, first, 16, &err))
        first++;
    snprintf(message, sizeof message, "%s/train-00001.bin: token 5 is 300, wanted below 300", dir);
    assert_string_equal(err.msg, message);
    shards_close(s);
}

static void every_cut_of_a_shard_is_an_error(void **state)
{
    (void)state;
    write_folder(2, 1 << 20);
    struct buf b = {0};
    struct err err = {0};
    assert_int_equal(0, file_read(&b, path_of("train-00000.bin"), &err));
    struct shard_view v;
    for (size_t n = 0; n < b.n; n++) {
        struct err cut = {0};
        uint8_t *exact = malloc(n + 1);
        memcpy(exact, b.bytes, n);
        assert_int_equal(MOE2_EFORMAT, shard_parse(&v, "cut", exact, n, &cut));
        free(exact);
    }
    assert_int_equal(0, shard_parse(&v, "whole", (const uint8_t *)b.bytes, b.n, &err));
    buf_release(&b);
}

static void every_cut_of_a_manifest_is_an_error(void **state)
{
    (void)state;
    write_folder(2, 128);
    struct buf b = {0};
    struct err err = {0};
    assert_int_equal(0, file_read(&b, path_of("manifest.json"), &err));
    struct shards_manifest m;
    for (size_t n = 0; n + 1 < b.n; n++) {
        struct err cut = {0};
        assert_true(shards_manifest_parse(&m, "cut", b.bytes, n, &cut) < 0);
        assert_true(cut.msg[0]);
    }
    assert_int_equal(0, shards_manifest_parse(&m, "whole", b.bytes, b.n, &err));
    shards_manifest_release(&m);
    buf_release(&b);
}

/* The manifest of write_folder with one passage replaced. */
static void change_manifest(const char *from, const char *to)
{
    struct buf b = {0}, changed = {0};
    assert_int_equal(0, file_read(&b, path_of("manifest.json"), NULL));
    char *at = strstr(b.bytes, from);
    assert_non_null(at);
    buf_append(&changed, b.bytes, (size_t)(at - b.bytes), NULL);
    buf_puts(&changed, to, NULL);
    buf_puts(&changed, at + strlen(from), NULL);
    assert_int_equal(0, file_write(path_of("manifest.json"), changed.bytes, changed.n, NULL));
    buf_release(&b);
    buf_release(&changed);
}

static void a_manifest_that_does_not_fit_its_shards_is_refused(void **state)
{
    (void)state;
    static const struct {
        const char *from, *to, *message;
    } cases[] = {
        {"moe2 packed text", "parquet",
         "@/manifest.json: format is \"parquet\", wanted \"moe2 packed text\""},
        {"\"tokenizer\": \"bytes\"", "\"tokenizer\": \"../../etc\"",
         "@/manifest.json: tokenizer is \"../../etc\", wanted \"bytes\" or \"tokenizer\""},
        {"train-00000.bin", "../secret.bin",
         "@/manifest.json: shard 0 of train is \"../secret.bin\", wanted \"train-00000.bin\""},
        {"\"id_bytes\": 2", "\"id_bytes\": 3", "@/manifest.json: id_bytes is 3, wanted 2 or 4"},
        {"\"tokens\": 416,\n   \"documents\": 37,\n   \"text_bytes\": 1248,\n   \"shards\"",
         "\"tokens\": 415,\n   \"documents\": 37,\n   \"text_bytes\": 1248,\n   \"shards\"",
         "@/manifest.json: train has 415 tokens, but its shards have 416"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        write_folder(2, 1 << 20);
        change_manifest(cases[i].from, cases[i].to);
        expect_open_fails("train", MOE2_EFORMAT, cases[i].message);
    }
}

static void what_is_missing_is_named(void **state)
{
    (void)state;
    write_folder(2, 64);
    expect_open_fails("tests", MOE2_ECONFIG,
                      "split \"tests\" is unknown, wanted train, validation or test");
    unlink(path_of("train-00002.bin"));
    expect_open_fails("train", MOE2_EIO,
                      "@/train-00002.bin: can't be opened: No such file or directory");
    unlink(path_of("manifest.json"));
    expect_open_fails("train", MOE2_EIO,
                      "@/manifest.json: is not there; @ is no folder that moe2 data text made");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(documents_come_back_whatever_the_width_and_the_length_of_a_shard),
        cmocka_unit_test(no_shard_is_longer_than_asked_unless_one_document_is),
        cmocka_unit_test(the_manifest_keeps_what_it_was_given),
        cmocka_unit_test(an_empty_split_opens_and_has_a_text_path),
        cmocka_unit_test(a_writer_that_is_given_up_leaves_no_open_shard),
        cmocka_unit_test(a_broken_shard_is_named_with_what_was_wanted),
        cmocka_unit_test(an_id_beyond_the_vocabulary_is_found_when_it_is_read),
        cmocka_unit_test(every_cut_of_a_shard_is_an_error),
        cmocka_unit_test(every_cut_of_a_manifest_is_an_error),
        cmocka_unit_test(a_manifest_that_does_not_fit_its_shards_is_refused),
        cmocka_unit_test(what_is_missing_is_named),
    };
    return cmocka_run_group_tests(tests, make_dir, remove_dir);
}
