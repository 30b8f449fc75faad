/* Answers in words: normal forms, exact match and F1 as Python computes them
 * (tests/golden/make_squad_golden.py); what is refused. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <math.h>

#include <cmocka.h>

#include "eval/squad.h"
#include "io/json_util.h"
#include "io/records.h"

static double number(const struct records *r, const char *prefix, const char *name)
{
    char field[64];
    snprintf(field, sizeof field, "%s_%s", prefix, name);
    const char *text = records_field(r, field, NULL);
    assert_non_null(text);
    return strtod(text, NULL);
}

static void check_row(const struct records *r, enum squad_rules rules)
{
    const char *name = squad_rules_names[rules], *right[8], *answer, *text;
    struct squad_score s;
    struct buf normal = {0};
    json_t *list = NULL;
    size_t n = 0;
    answer = records_field(r, "answer", NULL);
    text = records_field(r, "right", &n);
    assert_int_equal(0, json_read_bytes(&list, "right", text, n, NULL));
    n = json_array_size(list);
    assert_true(n <= 8);
    for (size_t i = 0; i < n; i++)
        right[i] = json_string_value(json_array_get(list, i));
    assert_int_equal(0, squad_normalise(&normal, answer, rules, NULL));
    assert_string_equal(normal.bytes, records_field(r, name, NULL));
    assert_int_equal(0, squad_score(&s, answer, right, (int)n, rules, NULL));
    assert_true(s.exact == number(r, name, "exact"));
    if (fabs(s.f1 - number(r, name, "f1")) > 1e-12)
        fail_msg("%s: F1 of \"%s\" is %.6f, Python has %.6f", name, answer, s.f1,
                 number(r, name, "f1"));
    json_decref(list);
    buf_release(&normal);
}

static void answers_score_as_in_python(void **state)
{
    (void)state;
    struct records *r = NULL;
    bool got = false;
    int n = 0;
    assert_int_equal(0, records_open(&r, TEST_DIR "/fixtures/squad_cases.jsonl", NULL, NULL));
    while (!records_next(r, &got, NULL) && got) {
        check_row(r, SQUAD_OFFICIAL);
        check_row(r, SQUAD_ITALIAN);
        n++;
    }
    records_close(r);
    assert_int_equal(n, 20);
}

static void without_a_right_answer_the_score_is_zero(void **state)
{
    (void)state;
    struct squad_score s = {9, 9};
    assert_int_equal(0, squad_score(&s, "x", NULL, 0, SQUAD_OFFICIAL, NULL));
    assert_true(s.exact == 0 && s.f1 == 0);
}

static void what_is_no_text_is_refused(void **state)
{
    (void)state;
    struct buf out = {0};
    struct err err = {0};
    assert_int_equal(MOE2_EFORMAT, squad_normalise(&out, "ab\xff", SQUAD_ITALIAN, &err));
    assert_string_equal(err.msg, "an answer is not UTF-8 at byte 2");
    char *text = malloc(SQUAD_MAX_ANSWER_BYTES + 2);
    assert_non_null(text);
    memset(text, 'x', SQUAD_MAX_ANSWER_BYTES + 1);
    text[SQUAD_MAX_ANSWER_BYTES + 1] = 0;
    err = (struct err){0};
    assert_int_equal(MOE2_ELIMIT, squad_normalise(&out, text, SQUAD_OFFICIAL, &err));
    assert_string_equal(err.msg, "an answer has 65537 bytes, wanted at most 65536");
    free(text);
    buf_release(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(answers_score_as_in_python),
        cmocka_unit_test(without_a_right_answer_the_score_is_zero),
        cmocka_unit_test(what_is_no_text_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
