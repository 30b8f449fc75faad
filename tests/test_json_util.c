/* What reading and writing JSON promises, one sentence a test. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/file.h"
#include "base/rng.h"
#include "io/json_scan.h"
#include "io/json_util.h"

static json_t *parse(const char *text)
{
    json_t *root = NULL;
    struct err err = {0};
    if (json_read_bytes(&root, "x", text, strlen(text), &err))
        fail_msg("%s", err.msg);
    return root;
}

static void values_of_the_right_kind_and_range_are_read(void **state)
{
    (void)state;
    json_t *o = parse(
        "{\"i\": 5, \"r\": 2.5, \"b\": true, \"t\": \"è\", \"o\": {}, \"a\": [1], \"n\": null}");
    int64_t i = 0;
    double r = 0;
    bool b = false;
    const char *t = NULL;
    const json_t *v = NULL;
    assert_int_equal(0, json_need_int(&i, o, "x", "i", 5, 5, NULL));
    assert_int_equal(5, i);
    assert_int_equal(0, json_need_real(&r, o, "x", "r", 0, 2.5, NULL));
    assert_true(r == 2.5);
    assert_int_equal(0, json_need_real(&r, o, "x", "i", 0, INFINITY, NULL));
    assert_true(r == 5);
    assert_int_equal(0, json_need_bool(&b, o, "x", "b", NULL));
    assert_true(b);
    assert_int_equal(0, json_need_text(&t, o, "x", "t", NULL));
    assert_string_equal("è", t);
    assert_int_equal(0, json_need_object(&v, o, "x", "o", NULL));
    assert_true(json_is_object(v));
    assert_int_equal(0, json_need_array(&v, o, "x", "a", NULL));
    assert_int_equal(1, json_array_size(v));
    json_decref(o);
}

static void a_missing_key_or_null_gives_the_fallback(void **state)
{
    (void)state;
    json_t *o = parse("{\"n\": null, \"i\": 3}");
    static const char *const keys[] = {"n", "none"};
    for (int k = 0; k < 2; k++) {
        int64_t i = 0;
        double r = 0;
        bool b = false;
        const char *t = NULL;
        const json_t *v = o;
        assert_int_equal(0, json_opt_int(&i, 7, o, "x", keys[k], 0, 1, NULL));
        assert_int_equal(7, i);
        assert_int_equal(0, json_opt_real(&r, 0.5, o, "x", keys[k], 0, 1, NULL));
        assert_true(r == 0.5);
        assert_int_equal(0, json_opt_bool(&b, true, o, "x", keys[k], NULL));
        assert_true(b);
        assert_int_equal(0, json_opt_text(&t, "t", o, "x", keys[k], NULL));
        assert_string_equal("t", t);
        assert_int_equal(0, json_opt_object(&v, o, "x", keys[k], NULL));
        assert_null(v);
        assert_int_equal(0, json_opt_array(&v, o, "x", keys[k], NULL));
        assert_null(v);
    }
    int64_t i = 0;
    assert_int_equal(0, json_opt_int(&i, 7, o, "x", "i", 0, 9, NULL));
    assert_int_equal(3, i);
    json_decref(o);
}

static void expect(int rc, struct err *err, const char *message)
{
    assert_int_equal(MOE2_EFORMAT, rc);
    assert_string_equal(message, err->msg);
    memset(err, 0, sizeof *err);
}

static void what_is_wrong_is_named_with_what_was_seen_and_wanted(void **state)
{
    (void)state;
    json_t *o =
        parse("{\"i\": 5, \"r\": 2.5, \"t\": \"abc\", \"a\": [1, 2], \"o\": {}, \"n\": null}");
    struct err err = {0};
    int64_t i;
    double r;
    bool b;
    const char *t;
    const json_t *v;
    expect(json_need_int(&i, o, "c.json", "i", 6, 9, &err), &err,
           "c.json: i is 5, wanted a whole number from 6 to 9");
    expect(json_need_int(&i, o, "c.json", "t", 1, INT64_MAX, &err), &err,
           "c.json: t is \"abc\", wanted a whole number of at least 1");
    expect(json_need_int(&i, o, "c.json", "r", INT64_MIN, INT64_MAX, &err), &err,
           "c.json: r is 2.5, wanted a whole number");
    expect(json_need_int(&i, o, "c.json", "n", 0, 1, &err), &err,
           "c.json: n is missing, wanted a whole number from 0 to 1");
    expect(json_need_real(&r, o, "c.json", "a", 0, 1, &err), &err,
           "c.json: a is an array of 2, wanted a number from 0 to 1");
    expect(json_opt_real(&r, 0, o, "c.json", "r", -INFINITY, 1, &err), &err,
           "c.json: r is 2.5, wanted a number of at most 1");
    expect(json_need_bool(&b, o, "c.json", "o", &err), &err,
           "c.json: o is an object, wanted true or false");
    expect(json_need_text(&t, o, "c.json", "i", &err), &err, "c.json: i is 5, wanted a string");
    expect(json_need_object(&v, o, "c.json", "i", &err), &err, "c.json: i is 5, wanted an object");
    expect(json_opt_array(&v, o, "c.json", "t", &err), &err,
           "c.json: t is \"abc\", wanted an array");
    expect(json_need_int(&i, json_object_get(o, "a"), "c.json", "i", 0, 1, &err), &err,
           "c.json: is no object, wanted one with the key i");
    expect(json_opt_int(&i, 0, NULL, "c.json", "i", 0, 1, &err), &err,
           "c.json: is no object, wanted one with the key i");
    json_decref(o);
}

static void a_text_that_is_no_json_is_named_with_its_place(void **state)
{
    (void)state;
    json_t *root = NULL;
    struct err err = {0};
    assert_int_equal(MOE2_EFORMAT, json_read_bytes(&root, "x", "{\n\"a\": }", 8, &err));
    assert_string_equal(err.msg, "x:2:6: is no JSON: unexpected token near '}'");
    memset(&err, 0, sizeof err);
    assert_int_equal(MOE2_EFORMAT, json_read_bytes(&root, "x", "{\"a\":1,\"a\":2}", 13, &err));
    assert_string_equal(err.msg, "x:1:10: is no JSON: duplicate object key near '\"a\"'");
    memset(&err, 0, sizeof err);
    assert_int_equal(MOE2_EFORMAT, json_read_bytes(&root, "x", NULL, 0, &err));
    memset(&err, 0, sizeof err);
    assert_int_equal(MOE2_EIO, json_read_file(&root, "none.json", 100, &err));
    assert_string_equal(err.msg, "none.json: can't be opened: No such file or directory");
    assert_int_equal(0, file_write("test_json.tmp", "[1, 2, 3]", 9, NULL));
    memset(&err, 0, sizeof err);
    assert_int_equal(MOE2_ELIMIT, json_read_file(&root, "test_json.tmp", 8, &err));
    assert_string_equal(err.msg, "test_json.tmp: has 9 bytes, wanted at most 8");
    assert_int_equal(0, json_read_file(&root, "test_json.tmp", 9, NULL));
    assert_int_equal(3, json_array_size(root));
    json_decref(root);
    file_remove_all("test_json.tmp", NULL);
}

static void a_document_is_written_in_lines_or_in_one(void **state)
{
    (void)state;
    struct buf b = {0};
    for (int indent = 0; indent <= 2; indent += 2) {
        struct json_writer w;
        buf_clear(&b);
        json_writer_init(&w, &b, indent);
        jw_object(&w, NULL);
        jw_int(&w, "i", -3);
        jw_array(&w, "list");
        jw_text(&w, NULL, "a\"\\\n\x01");
        jw_null(&w, NULL);
        jw_object(&w, NULL);
        jw_end(&w);
        jw_end(&w);
        jw_ints(&w, "ints", (int64_t[]){1, 2}, 2);
        jw_f32s(&w, "loss", (float[]){0.1f, NAN, INFINITY}, 3);
        jw_reals(&w, "none", NULL, 0);
        jw_bool(&w, "b", true);
        jw_text(&w, "t", NULL);
        jw_end(&w);
        assert_int_equal(0, json_writer_end(&w, NULL));
        if (indent == 0)
            assert_string_equal(
                b.bytes, "{\"i\":-3,\"list\":[\"a\\\"\\\\\\n\\u0001\",null,{}],\"ints\":[1,2],"
                         "\"loss\":[0.1,null,null],\"none\":[],\"b\":true,\"t\":null}");
        else
            assert_string_equal(
                b.bytes, "{\n  \"i\": -3,\n  \"list\": [\n    \"a\\\"\\\\\\n\\u0001\",\n    null,\n"
                         "    {}\n  ],\n  \"ints\": [1, 2],\n  \"loss\": [0.1, null, null],\n"
                         "  \"none\": [],\n  \"b\": true,\n  \"t\": null\n}");
    }
    buf_release(&b);
}

static void numbers_are_the_shortest_that_read_back_the_same(void **state)
{
    (void)state;
    char text[32];
    struct rng r;
    rng_init(&r, 3);
    assert_string_equal("0.1", json_f32_text(text, 0.1f));
    assert_string_equal("1e-07", json_f32_text(text, 1e-7f));
    assert_string_equal("16777216", json_f32_text(text, 16777216));
    assert_string_equal("-0", json_f32_text(text, -0.0f));
    assert_string_equal("null", json_f32_text(text, NAN));
    assert_string_equal("0.1", json_real_text(text, 0.1));
    assert_string_equal("0.30000000000000004", json_real_text(text, 0.1 + 0.2));
    assert_string_equal("null", json_real_text(text, -INFINITY));
    for (int i = 0; i < 100000; i++) {
        uint64_t bits = rng_next(&r);
        uint32_t half = (uint32_t)bits;
        float f;
        double d;
        memcpy(&f, &half, 4);
        memcpy(&d, &bits, 8);
        assert_true(!isfinite(f) || strtof(json_f32_text(text, f), NULL) == f);
        assert_true(!isfinite(d) || strtod(json_real_text(text, d), NULL) == d);
    }
}

static void a_text_that_is_not_utf_8_is_written_as_utf_8_all_the_same(void **state)
{
    (void)state;
    struct buf b = {0};
    assert_int_equal(0, json_quote(&b, "a\xff\xc3(\xe8", 5, NULL));
    assert_string_equal(b.bytes, "\"a\xef\xbf\xbd\xef\xbf\xbd(\xef\xbf\xbd\"");
    buf_release(&b);
}

static void a_writer_without_room_says_so_at_the_end(void **state)
{
    (void)state;
    struct buf b = {.max_bytes = 10};
    struct json_writer w;
    struct err err = {0};
    json_writer_init(&w, &b, 0);
    jw_array(&w, NULL);
    for (int i = 0; i < 100; i++)
        jw_int(&w, NULL, i);
    jw_end(&w);
    assert_int_equal(MOE2_ELIMIT, json_writer_end(&w, &err));
    assert_string_equal(err.msg, "a buffer of 10 bytes would grow by 1, past its limit of 10");
    buf_release(&b);
}

static void a_document_becomes_a_file_as_a_whole_or_not_at_all(void **state)
{
    (void)state;
    static const char path[] = "test_json_util.json";
    struct buf b = {0}, room_for_ten = {.max_bytes = 10}, seen = {0};
    struct json_writer w;
    struct err err = {0};
    json_writer_init(&w, &b, 0);
    jw_ints(&w, NULL, (int64_t[]){1, 2}, 2);
    assert_int_equal(0, json_writer_file(&w, path, &err));
    json_writer_init(&w, &room_for_ten, 0);
    jw_text(&w, NULL, "more than ten bytes");
    assert_int_equal(MOE2_ELIMIT, json_writer_file(&w, path, &err));
    assert_int_equal(0, file_read(&seen, path, NULL));
    assert_string_equal("[1,2]\n", seen.bytes);
    assert_int_equal(0, file_remove_all(path, NULL));
    buf_release(&b);
    buf_release(&room_for_ten);
    buf_release(&seen);
}

static void only_valid_utf_8_counts_as_such(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        size_t valid;
    } known[] = {
        {"plain ascii, more than eight bytes", 34},
        {"\xc3\xa8", 2},
        {"\xe2\x82\xac", 3},
        {"\xf0\x9f\x98\x80", 4},
        {"\xf4\x8f\xbf\xbf", 4},
        {"\xc0\x80", 0},
        {"\xc1\xbf", 0},
        {"\xe0\x80\x80", 0},
        {"\xe0\x9f\xbf", 0},
        {"\xed\x9f\xbf", 3},
        {"\xed\xa0\x80", 0},
        {"\xf0\x80\x80\x80", 0},
        {"\xf0\x8f\xbf\xbf", 0},
        {"\xf4\x90\x80\x80", 0},
        {"\xf5\x80\x80\x80", 0},
        {"\x80", 0},
        {"a\xc3", 1},
        {"ab\xe2\x82", 2},
        {"abcdefg\xf0\x9f\x98", 7},
        {"abcdefgh\xe2\x28\xa1", 8},
    };
    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        assert_int_equal(known[i].valid,
                         utf8_valid_bytes((const uint8_t *)known[i].text, strlen(known[i].text)));
}

static void nesting_has_a_limit_and_no_recursion(void **state)
{
    (void)state;
    struct json_scan s;
    struct err err = {0};
    char deep[1000];
    memset(deep, '[', sizeof deep);
    json_scan_init(&s, deep, sizeof deep);
    assert_int_equal(MOE2_ELIMIT, json_scan_skip(&s, &err));
    assert_string_equal(err.msg, "byte 64 nests deeper than 64 levels");
    memset(deep + 64, ']', 64);
    json_scan_init(&s, deep, 128);
    assert_int_equal(0, json_scan_skip(&s, NULL));
    assert_int_equal(0, json_scan_need_end(&s, NULL));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(values_of_the_right_kind_and_range_are_read),
        cmocka_unit_test(a_missing_key_or_null_gives_the_fallback),
        cmocka_unit_test(what_is_wrong_is_named_with_what_was_seen_and_wanted),
        cmocka_unit_test(a_text_that_is_no_json_is_named_with_its_place),
        cmocka_unit_test(a_document_is_written_in_lines_or_in_one),
        cmocka_unit_test(numbers_are_the_shortest_that_read_back_the_same),
        cmocka_unit_test(a_text_that_is_not_utf_8_is_written_as_utf_8_all_the_same),
        cmocka_unit_test(a_writer_without_room_says_so_at_the_end),
        cmocka_unit_test(a_document_becomes_a_file_as_a_whole_or_not_at_all),
        cmocka_unit_test(only_valid_utf_8_counts_as_such),
        cmocka_unit_test(nesting_has_a_limit_and_no_recursion),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
