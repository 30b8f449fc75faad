/* What UTF-8, classes and NFC promise, one sentence a test. */
#include "text_fixture.h"

static uint8_t *classes;

static void bytes_that_are_no_utf8_are_found_where_they_stand(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        size_t good;
    } cases[] = {
        {"ciao", 4},
        {"perch\xc3\xa9", 7},
        {"a\xc3", 1},            /* cut */
        {"ab\x80", 2},           /* a continuation alone */
        {"abc\xc0\xaf", 3},      /* overlong */
        {"\xe0\x9f\xbf", 0},     /* overlong */
        {"x\xed\xa0\x80", 1},    /* a surrogate */
        {"\xf4\x90\x80\x80", 0}, /* past U+10FFFF */
        {"\xf5", 0},
        {"0123456789012345678901234567890123456789\xff", 40},
        {"01234567890123456789012345678901\xe2\x82\xac "
         "456789012345678901234567890123456789\xe2\x82",
         72},
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        uint8_t seen = 0;
        assert_int_equal(cases[i].good, utf8_scan((const uint8_t *)cases[i].text,
                                                  strlen(cases[i].text), classes, &seen));
    }
}

static void every_code_point_comes_back_from_its_bytes(void **state)
{
    (void)state;
    for (uint32_t c = 0; c < UNICODE_N_CODE_POINTS; c++) {
        uint8_t b[4];
        size_t n = utf8_put(b, c), length, n_bad;
        bool surrogate = c >= 0xd800 && c < 0xe000;
        assert_int_equal(surrogate ? 0 : n, utf8_check(b, n, &n_bad, NULL));
        if (!surrogate) {
            assert_int_equal(c, utf8_get(b, &length));
            assert_int_equal(c, utf8_last(b, n, &length));
            assert_int_equal(n, length);
        }
    }
}

static void each_broken_part_becomes_one_replacement_character(void **state)
{
    (void)state;
    static const char *const cases[][2] = {
        {"a\xffz", "a\xef\xbf\xbdz"},
        {"\xe2\x82", "\xef\xbf\xbd"}, /* one, not two */
        {"\xe2\x82\xe2\x82\xac", "\xef\xbf\xbd\xe2\x82\xac"},
        {"\xed\xa0\x80", "\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd"}, /* no beginning of a character */
        {"\xf0\x9f\x99x\xf0", "\xef\xbf\xbdx\xef\xbf\xbd"},
        {"good", "good"},
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct buf b = {0};
        assert_int_equal(0,
                         utf8_repair(&b, (const uint8_t *)cases[i][0], strlen(cases[i][0]), NULL));
        assert_string_equal(cases[i][1], b.bytes);
        buf_release(&b);
    }
}

static void classes_are_those_of_the_regular_expressions_of_hf(void **state)
{
    (void)state;
    assert_int_equal(UNICODE_L, classes['a'] & 63);
    assert_int_equal(UNICODE_N, classes[0xbd] & 63); /* ½ */
    assert_int_equal(UNICODE_M, classes[0x301] & 63);
    assert_int_equal(UNICODE_SPACE, classes[0x3000] & 63);
    assert_int_equal(UNICODE_SPACE, classes[0x85] & 63);
    assert_int_equal(0, classes[0x180e] & 63); /* no white space since Unicode 6.3 */
    assert_int_equal(0,
                     classes[0x1c] & 63); /* Python's isspace says yes, a regular expression no */
    assert_int_equal(UNICODE_L, classes[0x1c89] & 63); /* of Unicode 16 */
    assert_true(unicode_is_word('_') && unicode_is_word(0x200d) && !unicode_is_word('-'));
    assert_true(unicode_is_numeric(0x2167) && !unicode_is_numeric('a'));
}

static void nfc_joins_what_unicode_9_joins_and_leaves_younger_characters_alone(void **state)
{
    (void)state;
    static const char *const cases[][2] = {
        {"plain", "plain"},
        {"e\xcc\x81", "\xc3\xa9"},                                /* e + acute */
        {"a\xcc\x82\xcc\xa3", "\xe1\xba\xad"},                    /* reordered, then joined twice */
        {"\xe1\x84\x80\xe1\x85\xa1\xe1\x86\xa8", "\xea\xb0\x81"}, /* Hangul */
        {"\xe2\x84\xab", "\xc3\x85"},                             /* Ångström sign */
        {"\xe0\xa5\x98", "\xe0\xa4\x95\xe0\xa4\xbc"},             /* excluded from composition */
        {"x\xcc\x81y", "x\xcc\x81y"},
        {"\xcc\x81", "\xcc\x81"}, /* a mark alone */
        {"\xf0\x91\xa4\xb5\xf0\x91\xa4\xb0",
         "\xf0\x91\xa4\xb5\xf0\x91\xa4\xb0"},       /* U+11935 U+11930, Unicode 13 */
        {"a\xdf\xbd\xcc\xa3", "a\xdf\xbd\xcc\xa3"}, /* U+07FD, Unicode 11: nothing moves past it */
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct buf b = {0};
        const char *in = cases[i][0];
        assert_int_equal(0, unicode_nfc(&b, (const uint8_t *)in, strlen(in), classes, NULL));
        assert_string_equal(cases[i][1], b.bytes);
        buf_release(&b);
    }
}

static void text_without_a_slow_character_is_its_own_nfc(void **state)
{
    (void)state;
    struct rng r;
    rng_init(&r, 7);
    for (int i = 0; i < 2000; i++) {
        uint8_t text[512], seen = 0;
        size_t n = random_text(text, &r, 20, 0x110000);
        utf8_scan(text, n, classes, &seen);
        struct buf b = {0}, twice = {0};
        assert_int_equal(0, unicode_nfc(&b, text, n, classes, NULL));
        if (!(seen & UNICODE_NFC_SLOW)) {
            assert_int_equal(n, b.n);
            assert_memory_equal(text, b.bytes, n);
        }
        assert_int_equal(0, unicode_nfc(&twice, (uint8_t *)b.bytes, b.n, classes, NULL));
        assert_int_equal(b.n, twice.n);
        assert_memory_equal(b.bytes, twice.bytes, b.n);
        buf_release(&b);
        buf_release(&twice);
    }
}

static void the_byte_alphabet_is_a_bijection(void **state)
{
    (void)state;
    int seen = 0;
    for (int byte = 0; byte < 256; byte++)
        assert_int_equal(byte, visible_to_byte(byte_to_visible((uint8_t)byte)));
    for (uint32_t c = 0; c < 0x1000; c++)
        seen += visible_to_byte(c) >= 0;
    assert_int_equal(256, seen);
    assert_int_equal(0x120, byte_to_visible(' '));  /* Ġ */
    assert_int_equal(0x10a, byte_to_visible('\n')); /* Ċ */
}

static int set_up(void **state)
{
    (void)state;
    return unicode_table_new(&classes, NULL);
}

static int tear_down(void **state)
{
    (void)state;
    free(classes);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bytes_that_are_no_utf8_are_found_where_they_stand),
        cmocka_unit_test(every_code_point_comes_back_from_its_bytes),
        cmocka_unit_test(each_broken_part_becomes_one_replacement_character),
        cmocka_unit_test(classes_are_those_of_the_regular_expressions_of_hf),
        cmocka_unit_test(nfc_joins_what_unicode_9_joins_and_leaves_younger_characters_alone),
        cmocka_unit_test(text_without_a_slow_character_is_its_own_nfc),
        cmocka_unit_test(the_byte_alphabet_is_a_bijection),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
