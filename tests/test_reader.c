/* What reading lines and records promises, one sentence a test. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <zlib.h>
#include <zstd.h>

#include "base/buf.h"
#include "base/file.h"
#include "io/records.h"

/* ---- making packed data ---- */

static void gzip_append(struct buf *out, const void *bytes, size_t n)
{
    z_stream z = {0};
    uint8_t *packed = malloc(n + 1000);
    assert_int_equal(Z_OK, deflateInit2(&z, 6, Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY));
    z.next_in = (Bytef *)(uintptr_t)bytes;
    z.avail_in = (uInt)n;
    z.next_out = packed;
    z.avail_out = (uInt)(n + 1000);
    assert_int_equal(Z_STREAM_END, deflate(&z, Z_FINISH));
    buf_append(out, packed, z.total_out, NULL);
    deflateEnd(&z);
    free(packed);
}

static void zstd_append(struct buf *out, const void *bytes, size_t n)
{
    size_t bound = ZSTD_compressBound(n);
    uint8_t *packed = malloc(bound);
    size_t done = ZSTD_compress(packed, bound, bytes, n, 3);
    assert_false(ZSTD_isError(done));
    buf_append(out, packed, done, NULL);
    free(packed);
}

/* Half a megabyte of lines of many lengths. */
static void make_text(struct buf *b)
{
    for (int i = 0; b->n < 500000; i++)
        buf_printf(
            b, NULL, "line %d %.*s\n", i, i % 70,
            "abcdefghijklmnopqrstuvwxyzabcdefghijklmnopqrstuvwxyzabcdefghijklmnopqrstuvwxyz");
}

static struct reader *open_buf(const struct buf *b)
{
    struct reader *r = NULL;
    struct err err = {0};
    if (reader_open_bytes(&r, "x", b->bytes, b->n, &err))
        fail_msg("%s", err.msg);
    return r;
}

static void expect_text(const struct buf *packed, const struct buf *wanted,
                        enum reader_packing packing)
{
    struct reader *r = open_buf(packed);
    char *all = malloc(wanted->n + 10);
    size_t n = 0;
    assert_int_equal(packing, reader_packing(r));
    assert_int_equal(0, reader_read(r, all, &n, wanted->n + 10, NULL));
    assert_int_equal(wanted->n, n);
    assert_memory_equal(wanted->bytes, all, n);
    assert_int_equal((int64_t)packed->n, reader_bytes_consumed(r));
    assert_int_equal((int64_t)packed->n, reader_file_bytes(r));
    free(all);
    reader_close(r);
}

static void packed_files_are_known_by_their_bytes_and_read_like_plain_ones(void **state)
{
    (void)state;
    struct buf text = {0}, gz = {0}, zst = {0};
    make_text(&text);
    gzip_append(&gz, text.bytes, 300000);
    gzip_append(&gz, text.bytes + 300000, text.n - 300000);
    buf_append(&gz, "\0\0\0", 3, NULL);
    zstd_append(&zst, text.bytes, 1000);
    zstd_append(&zst, text.bytes + 1000, text.n - 1000);
    expect_text(&text, &text, READER_PLAIN);
    expect_text(&gz, &text, READER_GZIP);
    expect_text(&zst, &text, READER_ZSTD);
    buf_release(&text);
    buf_release(&gz);
    buf_release(&zst);
}

static void expect_cuts_to_fail(const struct buf *whole, const char *message)
{
    char bytes[16];
    for (size_t cut = 4; cut < whole->n; cut++) {
        uint8_t *exact = malloc(cut);
        struct reader *r = NULL;
        struct err err = {0};
        char wanted[100];
        size_t n = 0;
        memcpy(exact, whole->bytes, cut);
        assert_int_equal(0, reader_open_bytes(&r, "x", exact, cut, NULL));
        int rc = 0;
        do
            rc = reader_read(r, bytes, &n, sizeof bytes, &err);
        while (!rc && n);
        snprintf(wanted, sizeof wanted, message, cut);
        assert_int_equal(MOE2_EFORMAT, rc);
        assert_string_equal(wanted, err.msg);
        reader_close(r);
        free(exact);
    }
}

static void every_truncation_of_packed_data_is_an_error(void **state)
{
    (void)state;
    struct buf gz = {0}, zst = {0};
    gzip_append(&gz, "some text, some text, some text", 31);
    zstd_append(&zst, "some text, some text, some text", 31);
    expect_cuts_to_fail(&gz, "x: the gzip data are cut off after %zu bytes");
    expect_cuts_to_fail(&zst, "x: the zstd data are cut off after %zu bytes");
    buf_release(&gz);
    buf_release(&zst);
}

static void expect_read_error(const struct buf *b, const char *message)
{
    struct reader *r = open_buf(b);
    struct err err = {0};
    char bytes[4096];
    size_t n = 0;
    int rc = 0;
    do
        rc = reader_read(r, bytes, &n, sizeof bytes, &err);
    while (!rc && n);
    assert_int_equal(MOE2_EFORMAT, rc);
    assert_string_equal(message, err.msg);
    reader_close(r);
}

static void broken_packed_data_is_an_error(void **state)
{
    (void)state;
    struct buf gz = {0}, zst = {0};
    gzip_append(&gz, "some text, some text, some text", 31);
    gz.bytes[gz.n - 6] ^= 1; /* the checksum */
    expect_read_error(&gz, "x: the gzip data are broken: incorrect data check");
    gz.bytes[gz.n - 6] ^= 1;
    buf_append(&gz, "rest", 4, NULL);
    expect_read_error(&gz, "x: something that is no gzip stands behind the gzip data");
    zstd_append(&zst, "some text, some text, some text", 31);
    buf_append(&zst, "rest", 4, NULL);
    expect_read_error(&zst, "x: the zstd data are broken: Unknown frame descriptor");
    buf_release(&gz);
    buf_release(&zst);
}

static void zstd_data_may_not_ask_for_a_large_window(void **state)
{
    (void)state;
    /* RFC 8878: magic, no content size, a window of 2^28 bytes, one raw block of one byte */
    uint8_t frame[] = {0x28, 0xb5, 0x2f, 0xfd, 0, 0x90, 9, 0, 0, 'x'};
    struct reader *r = NULL;
    struct err err = {0};
    char byte;
    size_t n;
    assert_int_equal(0, reader_open_bytes(&r, "x", frame, sizeof frame, NULL));
    assert_int_equal(MOE2_ELIMIT, reader_read(r, &byte, &n, 1, &err));
    assert_string_equal(err.msg, "x: the zstd data need more than 128 MiB to unpack");
    reader_close(r);
    frame[5] = 0x88; /* 2^27 */
    assert_int_equal(0, reader_open_bytes(&r, "x", frame, sizeof frame, NULL));
    assert_int_equal(0, reader_read(r, &byte, &n, 1, NULL));
    assert_int_equal('x', byte);
    reader_close(r);
}

static void lines_come_without_their_ends_and_across_every_buffer(void **state)
{
    (void)state;
    struct buf text = {0}, gz = {0};
    make_text(&text);
    gzip_append(&gz, text.bytes, text.n);
    struct reader *r = open_buf(&gz);
    const char *line, *at = text.bytes;
    size_t n;
    int64_t count = 0;
    while (!reader_line(r, &line, &n, 200, NULL) && line) {
        assert_memory_equal(line, at, n);
        assert_int_equal('\n', at[n]);
        assert_int_equal(0, line[n]);
        at += n + 1;
        count++;
        assert_int_equal(count, reader_line_number(r));
    }
    assert_ptr_equal(text.bytes + text.n, at);
    reader_close(r);
    buf_release(&text);
    buf_release(&gz);
}

static void a_last_line_needs_no_end_and_a_cr_belongs_to_the_end(void **state)
{
    (void)state;
    struct buf b = {0};
    buf_puts(&b, "one\r\n\r\ntwo\rx", NULL);
    struct reader *r = open_buf(&b);
    const char *line;
    size_t n;
    assert_int_equal(0, reader_line(r, &line, &n, 5, NULL));
    assert_string_equal("one", line);
    assert_int_equal(0, reader_line(r, &line, &n, 5, NULL));
    assert_string_equal("", line);
    assert_int_equal(0, reader_line(r, &line, &n, 5, NULL));
    assert_string_equal("two\rx", line);
    assert_int_equal(0, reader_line(r, &line, &n, 5, NULL));
    assert_null(line);
    reader_close(r);
    buf_release(&b);
}

static void a_line_above_its_limit_is_named(void **state)
{
    (void)state;
    struct buf b = {0};
    struct err err = {0};
    const char *line;
    size_t n;
    buf_puts(&b, "12345\n123456\n", NULL);
    struct reader *r = open_buf(&b);
    assert_int_equal(0, reader_line(r, &line, &n, 5, NULL));
    assert_int_equal(MOE2_ELIMIT, reader_line(r, &line, &n, 5, &err));
    assert_string_equal(err.msg, "x:2: a line has more than 5 bytes");
    reader_close(r);
    buf_release(&b);
}

static void a_file_that_is_missing_or_a_folder_is_named(void **state)
{
    (void)state;
    struct reader *r = NULL;
    struct err err = {0};
    assert_int_equal(MOE2_EIO, reader_open(&r, "none.gz", &err));
    assert_string_equal(err.msg, "none.gz: can't be opened: No such file or directory");
    memset(&err, 0, sizeof err);
    assert_int_equal(MOE2_EIO, reader_open(&r, "/", &err));
    assert_string_equal(err.msg, "/: is a folder, wanted a file");
    assert_null(r);
}

/* ---- records ---- */

static struct records *open_records(const char *text, const struct records_options *options)
{
    struct reader *reader = NULL;
    struct records *r = NULL;
    struct err err = {0};
    assert_int_equal(0, reader_open_bytes(&reader, "x", text, strlen(text), NULL));
    if (records_open_reader(&r, reader, options, &err))
        fail_msg("%s", err.msg);
    return r;
}

static void expect_field(const struct records *r, const char *name, const char *value)
{
    size_t n = 99;
    const char *s = records_field(r, name, &n);
    assert_non_null(s);
    assert_string_equal(value, s);
    assert_int_equal(strlen(value), n);
}

static bool next(struct records *r)
{
    bool got;
    struct err err = {0};
    if (records_next(r, &got, &err))
        fail_msg("%s", err.msg);
    return got;
}

static void json_lines_give_strings_resolved_and_other_values_as_they_stand(void **state)
{
    (void)state;
    struct records *r =
        open_records("\xef\xbb\xbf{\"text\": \"a\\n\\u00e8\\ud83d\\ude00\\\"\", \"n\": -1.5e3}\r\n"
                     "  \n"
                     "{\"text\":\"\",\"list\":[1, {\"a\":\"b\"}],\"none\":null}",
                     NULL);
    assert_int_equal(RECORDS_JSONL, records_form(r));
    assert_true(next(r));
    expect_field(r, "text", "a\nè😀\"");
    expect_field(r, "n", "-1.5e3");
    assert_null(records_field(r, "url", NULL));
    assert_int_equal(1, records_line_number(r));
    assert_true(next(r));
    expect_field(r, "text", "");
    expect_field(r, "list", "[1, {\"a\":\"b\"}]");
    assert_null(records_field(r, "none", NULL));
    assert_int_equal(3, records_line_number(r));
    assert_int_equal(2, records_number(r));
    assert_false(next(r));
    assert_false(next(r));
    records_close(r);
}

static void csv_follows_the_rfc(void **state)
{
    (void)state;
    struct records *r =
        open_records("text,timestamp,url\r\n"
                     "\"a \"\"quoted\"\" one,\r\nwith a line end\",2020,http://x\r\n"
                     "\n"
                     ",\"\",\n"
                     "last,è,z",
                     NULL);
    assert_int_equal(RECORDS_CSV, records_form(r));
    assert_null(records_field(r, "text", NULL));
    assert_true(next(r));
    expect_field(r, "text", "a \"quoted\" one,\r\nwith a line end");
    expect_field(r, "timestamp", "2020");
    expect_field(r, "url", "http://x");
    assert_int_equal(2, records_line_number(r));
    assert_true(next(r));
    expect_field(r, "text", "");
    expect_field(r, "timestamp", "");
    expect_field(r, "url", "");
    assert_int_equal(5, records_line_number(r));
    assert_true(next(r));
    expect_field(r, "timestamp", "è");
    expect_field(r, "url", "z");
    assert_int_equal(3, records_number(r));
    assert_false(next(r));
    records_close(r);
}

static void csv_without_a_header_takes_the_names_it_is_given(void **state)
{
    (void)state;
    const char *names[] = {"question", "answer", NULL};
    struct records_options o = {.names = names};
    struct records *r = open_records("{what?,42\n", &o);
    assert_true(next(r));
    expect_field(r, "question", "{what?");
    expect_field(r, "answer", "42");
    assert_false(next(r));
    records_close(r);
}

static const struct {
    const char *text, *message;
    bool goes_on; /* whether the record behind is read all the same */
} BROKEN[] = {
    {"{\"a\":1}\n{\"a\":\n{\"a\":2}\n", "x:2: the JSON ends at byte 5, wanted a value", true},
    {"{\"a\":1}\n[1]\n{\"a\":2}\n", "x:2: byte 0 is '[', wanted '{'", true},
    {"{\"a\":1}\n{\"a\":1,\"a\":2}\n{\"a\":2}\n", "x:2: the field \"a\" stands twice", true},
    {"{\"a\":1}\n{\"a\":1} x\n{\"a\":2}\n", "x:2: byte 8 is 'x', wanted the end", true},
    {"{\"a\":1}\n{\"a\":\"\xe8\"}\n{\"a\":2}\n", "x:2: byte 6 is 0xe8, wanted UTF-8", true},
    {"{\"a\":1}\n{\"a\":\"\xed\xa0\x80\"}\n{\"a\":2}\n", "x:2: byte 6 is 0xed, wanted UTF-8", true},
    {"{\"a\":1}\n{\"a\":01}\n{\"a\":2}\n", "x:2: byte 7 is '}', wanted a number", true},
    {"{\"a\":1}\n{\"a\":tru}\n{\"a\":2}\n", "x:2: byte 5 is 't', wanted a value", true},
    {"{\"a\":1}\n{\"a\":\"\\x\"}\n{\"a\":2}\n",
     "x:2: byte 7 is 'x', wanted one of \"\\/bfnrtu behind a backslash", true},
    {"{\"a\":1}\n{\"a\":\"\t\"}\n{\"a\":2}\n", "x:2: byte 6 is 0x09, wanted the end of a string",
     true},
    {"a\n1\n2,3\n2\n", "x:3: the row has 2 fields, wanted 1", true},
    {"a,b\n1,\n2\n2,\n", "x:3: the row has 1 fields, wanted 2", true},
    {"a,b\n1,\n\xff,\n2,\n", "x:3: field 1 of the row is not UTF-8 (byte 0xff)", true},
    {"a,b\n1,\n2,\xc3\n2,\n", "x:3: field 2 of the row is not UTF-8 (byte 0xc3)", true},
    {"a\n1\n\"\n\n2\n", "x:3: a quote is never closed", false},
    {"a\n1\n\"x\"y\n2\n", "x:3: text stands behind a closing quote, wanted a comma", false},
    {"a\n1\nx\"y\"\n2\n", "x:3: a quote stands inside a field that does not begin with one", false},
    {"a\n1\nx\ry\n2\n", "x:3: a carriage return stands without its line feed", false},
    {"a\n1\nx\r", "x:3: a carriage return stands without its line feed", false},
};

static void every_broken_record_is_named_and_the_next_is_read_where_it_can_be(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof BROKEN / sizeof *BROKEN; i++) {
        struct records *r = open_records(BROKEN[i].text, NULL);
        struct err err = {0};
        bool got = true;
        assert_true(next(r));
        expect_field(r, "a", "1");
        int rc = records_next(r, &got, &err);
        assert_string_equal(BROKEN[i].message, err.msg);
        assert_int_equal(MOE2_EFORMAT, rc);
        assert_false(got);
        assert_null(records_field(r, "a", NULL));
        if (BROKEN[i].goes_on) {
            assert_true(next(r));
            expect_field(r, "a", "2");
        } else {
            memset(&err, 0, sizeof err);
            assert_int_equal(MOE2_EFORMAT, records_next(r, &got, &err));
            assert_string_equal(err.msg, "x: can't be read on after the error in line 3");
        }
        records_close(r);
    }
}

static void expect_open_error(const char *text, size_t n, enum records_form form,
                              const char *message)
{
    struct reader *reader = NULL;
    struct records *r = NULL;
    struct err err = {0};
    struct records_options o = {.form = form};
    assert_int_equal(0, reader_open_bytes(&reader, "x", text, n, NULL));
    assert_int_equal(MOE2_EFORMAT, records_open_reader(&r, reader, &o, &err));
    assert_string_equal(message, err.msg);
    assert_null(r);
}

static void a_bad_header_row_is_refused(void **state)
{
    (void)state;
    expect_open_error("a,b,a\n", 6, RECORDS_AUTO, "x:1: the header row names \"a\" twice");
    expect_open_error("\n\n", 2, RECORDS_AUTO, "x: has no header row");
    expect_open_error("", 0, RECORDS_CSV, "x: has no header row");
    expect_open_error("a\0b\n", 4, RECORDS_AUTO, "x:1: a NUL byte stands in the text");
    expect_open_error("\"a", 2, RECORDS_AUTO, "x:1: a quote is never closed");
}

static void a_json_array_gives_its_objects(void **state)
{
    (void)state;
    struct records *r =
        open_records(" [\n{\"a\": \"]}\\\"{\", \"b\": [{\"c\": 1}]},\n {\"a\": 2}\n]\n", NULL);
    assert_int_equal(RECORDS_JSON, records_form(r));
    assert_true(next(r));
    assert_string_equal("]}\"{", records_field(r, "a", NULL));
    assert_string_equal("[{\"c\": 1}]", records_field(r, "b", NULL));
    assert_true(next(r));
    assert_string_equal("2", records_field(r, "a", NULL));
    assert_int_equal(3, records_line_number(r));
    assert_false(next(r));
    assert_false(next(r));
    records_close(r);
    r = open_records("[ ]", NULL);
    assert_false(next(r));
    records_close(r);
}

static void a_broken_json_array_names_the_line(void **state)
{
    (void)state;
    static const struct {
        const char *text, *message;
        bool goes_on;
    } cases[] = {
        {"[", "x:1: an item of the array is no object", false},
        {"[\n1]", "x:2: an item of the array is no object", false},
        {"[,]", "x:1: an item of the array is no object", false},
        {"[\n{\"a\":", "x:2: the array ends inside an object", false},
        {"[{\"a\" 1},{}]", "x:1: byte 5 is '1', wanted ':'", true},
        {"[{\"a\":1,\"a\":2}]", "x:1: the field \"a\" stands twice", true},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct records *r = open_records(cases[i].text, NULL);
        struct err err = {0};
        bool got = true;
        assert_int_equal(MOE2_EFORMAT, records_next(r, &got, &err));
        assert_string_equal(cases[i].message, err.msg);
        assert_int_equal(cases[i].goes_on ? 0 : MOE2_EFORMAT, records_next(r, &got, NULL));
        records_close(r);
    }
    static const char *const behind_an_object[][2] = {
        {"[{}", "x:1: the array is never closed"},
        {"[{} {}]", "x:1: wanted a comma or ] behind an object of the array"},
        {"[{},]", "x:1: an item of the array is no object"},
        {"[{}]\nx", "x:2: text stands behind the array"},
    };
    for (int i = 0; i < 4; i++) {
        struct records *r = open_records(behind_an_object[i][0], NULL);
        struct err err = {0};
        bool got = false;
        assert_true(next(r));
        assert_int_equal(MOE2_EFORMAT, records_next(r, &got, &err));
        assert_string_equal(behind_an_object[i][1], err.msg);
        records_close(r);
    }
}

static void an_empty_file_has_no_records(void **state)
{
    (void)state;
    struct records *r = open_records("", NULL);
    assert_false(next(r));
    records_close(r);
}

static void a_record_above_its_limit_is_refused(void **state)
{
    (void)state;
    struct records_options o = {.max_record_bytes = 20};
    struct records *r = open_records("{\"a\":\"12345678901234567890\"}\n{}\n", &o);
    struct err err = {0};
    bool got;
    assert_int_equal(MOE2_ELIMIT, records_next(r, &got, &err));
    assert_string_equal(err.msg, "x:1: a line has more than 20 bytes");
    records_close(r);
    r = open_records("a\n\"1234567890\n12345678901\"\n", &o);
    memset(&err, 0, sizeof err);
    assert_int_equal(MOE2_ELIMIT, records_next(r, &got, &err));
    assert_string_equal(err.msg, "x:2: the record has more than 20 bytes");
    records_close(r);
}

static void a_field_that_must_be_there_is_named_with_its_nearest(void **state)
{
    (void)state;
    struct records *r = open_records("{\"txet\":\"\",\"url\":null}\n", NULL);
    struct err err = {0};
    const char *text;
    assert_true(next(r));
    assert_int_equal(MOE2_EFORMAT, records_need(&text, NULL, r, "text", &err));
    assert_string_equal(err.msg, "x:1: there is no field \"text\", the nearest is \"txet\"");
    memset(&err, 0, sizeof err);
    assert_int_equal(MOE2_EFORMAT, records_need(&text, NULL, r, "url", &err));
    assert_string_equal(err.msg, "x:1: there is no field \"url\", it is null");
    memset(&err, 0, sizeof err);
    assert_int_equal(MOE2_EFORMAT, records_need(&text, NULL, r, "timestamp", &err));
    assert_string_equal(err.msg, "x:1: there is no field \"timestamp\"");
    records_close(r);
}

/* Packs a CSV and cuts the text anywhere: what was read before the cut is whole rows of the
 * original. */
static void rows_do_not_depend_on_where_the_buffers_end(void **state)
{
    (void)state;
    struct buf b = {0}, gz = {0};
    bool got;
    buf_puts(&b, "a,b\n", NULL);
    for (int i = 0; i < 20000; i++)
        buf_printf(&b, NULL, "\"%d \"\"x\"\"\r\ny,\",è%d\r\n", i, i);
    gzip_append(&gz, b.bytes, b.n);
    struct reader *reader = open_buf(&gz);
    struct records *r = NULL;
    assert_int_equal(0, records_open_reader(&r, reader, NULL, NULL));
    int64_t n = 0;
    for (; !records_next(r, &got, NULL) && got; n++) {
        char text[64];
        snprintf(text, sizeof text, "%d \"x\"\r\ny,", (int)n);
        expect_field(r, "a", text);
        snprintf(text, sizeof text, "è%d", (int)n);
        expect_field(r, "b", text);
        assert_int_equal(2 + 2 * n, records_line_number(r));
    }
    assert_int_equal(20000, n);
    records_close(r);
    buf_release(&b);
    buf_release(&gz);
}

static void the_sample_of_clean_mc4_it_has_its_600_documents(void **state)
{
    (void)state;
    const char *data = getenv("MOE2_DATA");
    char path[4096];
    snprintf(path, sizeof path, "%s/clean_mc4_it/sample.csv",
             data ? data : SOURCE_DIR "/../shared/data");
    if (!file_exists(path)) {
        print_message("skipped: there is no %s\n", path);
        skip();
    }
    struct records *r = NULL;
    struct err err = {0};
    assert_int_equal(0, records_open(&r, path, NULL, &err));
    while (next(r)) {
        const char *text, *url;
        size_t n;
        assert_int_equal(0, records_need(&text, &n, r, "text", NULL));
        assert_int_equal(0, records_need(&url, NULL, r, "url", NULL));
        assert_true(n > 0 && strncmp(url, "http", 4) == 0);
    }
    assert_int_equal(600, records_number(r));
    assert_int_equal(reader_file_bytes(records_reader(r)),
                     reader_bytes_consumed(records_reader(r)));
    records_close(r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(packed_files_are_known_by_their_bytes_and_read_like_plain_ones),
        cmocka_unit_test(every_truncation_of_packed_data_is_an_error),
        cmocka_unit_test(broken_packed_data_is_an_error),
        cmocka_unit_test(zstd_data_may_not_ask_for_a_large_window),
        cmocka_unit_test(lines_come_without_their_ends_and_across_every_buffer),
        cmocka_unit_test(a_last_line_needs_no_end_and_a_cr_belongs_to_the_end),
        cmocka_unit_test(a_line_above_its_limit_is_named),
        cmocka_unit_test(a_file_that_is_missing_or_a_folder_is_named),
        cmocka_unit_test(json_lines_give_strings_resolved_and_other_values_as_they_stand),
        cmocka_unit_test(csv_follows_the_rfc),
        cmocka_unit_test(csv_without_a_header_takes_the_names_it_is_given),
        cmocka_unit_test(every_broken_record_is_named_and_the_next_is_read_where_it_can_be),
        cmocka_unit_test(a_bad_header_row_is_refused),
        cmocka_unit_test(an_empty_file_has_no_records),
        cmocka_unit_test(a_json_array_gives_its_objects),
        cmocka_unit_test(a_broken_json_array_names_the_line),
        cmocka_unit_test(a_record_above_its_limit_is_refused),
        cmocka_unit_test(a_field_that_must_be_there_is_named_with_its_nearest),
        cmocka_unit_test(rows_do_not_depend_on_where_the_buffers_end),
        cmocka_unit_test(the_sample_of_clean_mc4_it_has_its_600_documents),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
