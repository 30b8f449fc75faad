/* What the readers of outcomes, predictions, lengths and limits promise, one sentence a test. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/file.h"
#include "io/outcomes.h"

#define DIR "test_outcomes.tmp"
#include "folder_fixture.h"

static void put(const char *path, const char *text)
{
    assert_int_equal(0, file_write(path, text, strlen(text), NULL));
}

static int read_text(struct outcomes *o, const char *text, struct err *err)
{
    struct reader *reader = NULL;
    *o = (struct outcomes){0};
    assert_int_equal(0, reader_open_bytes(&reader, "o.csv", text, strlen(text), NULL));
    return outcomes_read_from(o, reader, NULL, err);
}

static void every_column_is_found_in_any_place(void **state)
{
    (void)state;
    struct outcomes o;
    struct err err = {0};
    int rc = read_text(&o,
                       "question_id,b,category,output_tokens,\"a,\"\"x\",answer,prompt_tokens\r\n"
                       "q1,1,math,7,0.0,C,12\r\n"
                       "q2,,law,,1.0,\"D\nE\",3.0\r\n"
                       "\"q3\",0,math,9,1,C,0",
                       &err);
    assert_string_equal("", err.msg);
    assert_int_equal(0, rc);
    assert_true(o.n_rows == 3 && o.n_experts == 2 && o.categories.n == 2 && o.answers.n == 2);
    assert_string_equal("b", name_table_text(&o.experts, 0));
    assert_string_equal("a,\"x", name_table_text(&o.experts, 1));
    assert_memory_equal(((int8_t[]){1, 0, -1, 1, 0, 1}), o.right, 6);
    assert_memory_equal(((int32_t[]){0, 1, 0}), o.category, 12);
    assert_memory_equal(((int32_t[]){7, -1, 9}), o.output_tokens, 12);
    assert_memory_equal(((int32_t[]){12, 3, 0}), o.prompt_tokens, 12);
    assert_string_equal("D\nE", name_table_text(&o.answers, o.answer[1]));
    assert_int_equal(2, name_table_find(&o.ids, "q3", 2));
    outcomes_release(&o);
    outcomes_release(&o);
}

static const struct {
    const char *text, *message;
} BROKEN[] = {
    {"", "o.csv: has no header row"},
    {"question_id,a\n", "o.csv: has no row behind its header"},
    {"question_id,category\n1,x\n", "o.csv:1: 0 columns are experts, wanted 1 to 64"},
    {"a,question_id\n1,2\n", "o.csv:1: the first column is \"a\", wanted question_id or id"},
    {"id,a,a\n1,1,1\n", "o.csv:1: the header row names \"a\" twice"},
    {"id,a,\n1,1,1\n", "o.csv:1: column 3 has no name"},
    {"id,a\n1,1\n1,0\n", "o.csv:3: column \"id\" is \"1\", wanted every id once"},
    {"id,a\n,1\n", "o.csv:2: column \"id\" is \"\", wanted an id"},
    {"id,a\n1,1,0\n", "o.csv:2: the row has 3 fields, wanted 2"},
    {"id,a,b\n1,1\n", "o.csv:2: the row has 2 fields, wanted 3"},
    {"id,a\n1,B\n", "o.csv:2: column \"a\" is \"B\", wanted 1, 0 or nothing"},
    {"id,a\n1,2\n", "o.csv:2: column \"a\" is \"2\", wanted 1, 0 or nothing"},
    {"id,a\n1,1.5\n", "o.csv:2: column \"a\" is \"1.5\", wanted 1, 0 or nothing"},
    {"id,a\n1,-0\n", "o.csv:2: column \"a\" is \"-0\", wanted 1, 0 or nothing"},
    {"id,a\n1, 1\n", "o.csv:2: column \"a\" is \" 1\", wanted 1, 0 or nothing"},
    {"id,a\n1,\"1\n", "o.csv:2: a quote is never closed"},
    {"id,a,prompt_tokens\n1,1,-3\n",
     "o.csv:2: column \"prompt_tokens\" is \"-3\", wanted a whole number from 0 to 2147483647"},
    {"id,a,output_tokens\n1,1,2147483648\n", "o.csv:2: column \"output_tokens\" is \"2147483648\", "
                                             "wanted a whole number from 0 to 2147483647"},
    {"id,a,output_tokens\n1,1,2.5\n",
     "o.csv:2: column \"output_tokens\" is \"2.5\", wanted a whole number from 0 to 2147483647"},
    {"id,a,output_tokens\n1,1,.0\n",
     "o.csv:2: column \"output_tokens\" is \".0\", wanted a whole number from 0 to 2147483647"},
};

static void every_broken_file_is_refused_with_its_own_sentence(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof BROKEN / sizeof *BROKEN; i++) {
        struct outcomes o;
        struct err err = {0};
        assert_int_not_equal(0, read_text(&o, BROKEN[i].text, &err));
        assert_string_equal(BROKEN[i].message, err.msg);
        outcomes_release(&o);
    }
}

static void sixty_four_experts_are_read_and_more_are_refused(void **state)
{
    (void)state;
    for (int n = 64; n <= 200; n += 136) {
        struct buf b = {0};
        struct outcomes o;
        struct err err = {0};
        buf_puts(&b, "id", NULL);
        for (int i = 0; i < n; i++)
            buf_printf(&b, NULL, ",e%d", i);
        buf_puts(&b, "\n1", NULL);
        for (int i = 0; i < n; i++)
            buf_puts(&b, ",1", NULL);
        int rc = read_text(&o, b.bytes, &err);
        assert_int_equal(n == 64 ? 0 : MOE2_ELIMIT, rc);
        if (n == 200)
            assert_string_equal("o.csv:1: 200 columns are experts, wanted 1 to 64", err.msg);
        outcomes_release(&o);
        buf_release(&b);
    }
}

static void every_truncation_is_read_or_refused_but_never_kills(void **state)
{
    (void)state;
    char text[] = "id,a,category,b\n1,1,\"x, y\",0\n2,,z,1.0\n";
    for (size_t n = strlen(text); n > 0; n--) {
        struct outcomes o;
        struct err err = {0};
        text[n - 1] = 0;
        int rc = read_text(&o, text, &err);
        assert_int_equal(rc, err.code);
        outcomes_release(&o);
    }
}

static const char OUTCOMES[] = "id,a,b,c\n1,1,0,\n2,0,1,1\n3,1,1,0\n";

static void predictions_are_matched_by_id_and_name(void **state)
{
    (void)state;
    struct outcomes o;
    struct predictions p = {0};
    struct err err = {0};
    assert_int_equal(0, read_text(&o, OUTCOMES, NULL));
    put(DIR "/p.csv", "question_id,c,other,b,a\n9,A,A,A,A\n2,A,B,A,\n3,D,B,B,B\n1,C,x,D,C\n");
    assert_int_equal(0, predictions_read(&p, DIR "/p.csv", &o, 7, &err));
    assert_true(p.cell[0] == p.cell[2] && p.cell[0] >= 0 && p.cell[1] != p.cell[0]);
    assert_true(p.cell[3] == OUTCOME_EMPTY && p.cell[4] == p.cell[5]);
    assert_string_equal("B", name_table_text(&p.answers, p.cell[6]));
    predictions_release(&p);
    put(DIR "/p.csv", "question_id,a,b,c\n1,C,C,C\n2,A,B,B\n3,A,A,B\n");
    assert_int_equal(MOE2_EFORMAT, predictions_read(&p, DIR "/p.csv", &o, 7, &err));
    assert_string_equal(DIR "/p.csv:2: \"a\" and \"b\" both answered \"C\", and o.csv calls one of "
                            "them right and the other wrong",
                        err.msg);
    predictions_release(&p);
    memset(&err, 0, sizeof err);
    assert_int_equal(0, predictions_read(&p, DIR "/p.csv", &o, 5, &err)); /* b is not wanted */
    predictions_release(&p);
    put(DIR "/p.csv", "question_id,a,b,c\n1,C,B,C\n2,A,B,B\n");
    assert_int_equal(MOE2_EFORMAT, predictions_read(&p, DIR "/p.csv", &o, 7, &err));
    assert_string_equal(DIR "/p.csv: has no row of the question_id \"3\", which o.csv has",
                        err.msg);
    predictions_release(&p);
    memset(&err, 0, sizeof err);
    put(DIR "/p.csv", "question_id,a,c\n1,C,C\n");
    assert_int_equal(MOE2_EFORMAT, predictions_read(&p, DIR "/p.csv", &o, 7, &err));
    assert_string_equal(DIR "/p.csv:1: has no column \"b\"", err.msg);
    predictions_release(&p);
    outcomes_release(&o);
}

static void lengths_are_one_a_prompt_or_one_an_expert(void **state)
{
    (void)state;
    struct outcomes o;
    struct lengths l = {0};
    struct err err = {0};
    assert_int_equal(0, read_text(&o, OUTCOMES, NULL));
    put(DIR "/l.csv", "question_id,tokens\n3,30\n1,10\n2,\n");
    assert_int_equal(0, lengths_read(&l, DIR "/l.csv", &o, 7, &err));
    assert_false(l.by_expert);
    assert_memory_equal(((int32_t[]){10, -1, 30}), l.tokens, 12);
    lengths_release(&l);
    put(DIR "/l.csv", "question_id,b,a\n1,2,1\n2,4,3\n3,6,5\n");
    assert_int_equal(0, lengths_read(&l, DIR "/l.csv", &o, 3, &err));
    assert_true(l.by_expert);
    assert_memory_equal(((int32_t[]){1, 2, -1, 3, 4, -1, 5, 6, -1}), l.tokens, 36);
    lengths_release(&l);
    assert_int_equal(MOE2_EFORMAT, lengths_read(&l, DIR "/l.csv", &o, 7, &err));
    assert_string_equal(DIR "/l.csv:1: has no column \"c\" and no column tokens", err.msg);
    lengths_release(&l);
    memset(&err, 0, sizeof err);
    put(DIR "/l.csv", "question_id,tokens\n1,2\n1,4\n");
    assert_int_equal(MOE2_EFORMAT, lengths_read(&l, DIR "/l.csv", &o, 7, &err));
    assert_string_equal(DIR "/l.csv:3: column \"question_id\" is \"1\", wanted every id once",
                        err.msg);
    lengths_release(&l);
    outcomes_release(&o);
}

static void limits_of_categories_are_numbers_inf_or_nothing(void **state)
{
    (void)state;
    struct category_limits l = {0};
    struct err err = {0};
    put(DIR "/c.csv", "category,energy_j,latency_s\nmath,5,\nlaw,inf,0.5\n");
    assert_int_equal(0, category_limits_read(&l, DIR "/c.csv", &err));
    assert_true(l.categories.n == 2 && l.energy_j[0] == 5 && isnan(l.latency_s[0]));
    assert_true(isinf(l.energy_j[1]) && l.latency_s[1] == 0.5);
    category_limits_release(&l);
    const char *bad[] = {"-1", "nan", "1e999", "0x", "5 s", " 3"};
    for (int i = 0; i < 6; i++) {
        char text[100], wanted[200];
        snprintf(text, sizeof text, "category,latency_s,energy_j\nmath,%s,\n", bad[i]);
        snprintf(wanted, sizeof wanted,
                 DIR "/c.csv:2: column \"latency_s\" is \"%s\", wanted a number of at least 0, inf "
                     "or nothing",
                 bad[i]);
        put(DIR "/c.csv", text);
        memset(&err, 0, sizeof err);
        assert_int_equal(MOE2_EFORMAT, category_limits_read(&l, DIR "/c.csv", &err));
        assert_string_equal(wanted, err.msg);
        category_limits_release(&l);
    }
    put(DIR "/c.csv", "category,latency_s,energy_j\nmath,1,\nmath,2,\n");
    memset(&err, 0, sizeof err);
    assert_int_equal(MOE2_EFORMAT, category_limits_read(&l, DIR "/c.csv", &err));
    assert_string_equal(DIR "/c.csv:3: column \"category\" is \"math\", wanted every category once",
                        err.msg);
    category_limits_release(&l);
}

static void a_tally_counts_what_was_run_by_category(void **state)
{
    (void)state;
    struct outcomes o;
    struct err err = {0};
    assert_int_equal(
        0, read_text(&o, "id,category,a,b,c\n1,x,1,0,\n2,y,1,,\n3,x,0,1,\n4,y,1,1,\n", &err));
    int64_t n[6] = {0}, n_right[6] = {0};
    outcomes_tally(n, n_right, &o);
    assert_memory_equal(((int64_t[]){2, 2, 2, 1, 0, 0}), n, sizeof n);
    assert_memory_equal(((int64_t[]){1, 2, 1, 1, 0, 0}), n_right, sizeof n_right);
    outcomes_tally(n, n_right, &o); /* added to */
    assert_memory_equal(((int64_t[]){4, 4, 4, 2, 0, 0}), n, sizeof n);
    outcomes_release(&o);
}

static void a_tally_without_categories_has_one_column(void **state)
{
    (void)state;
    struct outcomes o;
    struct err err = {0};
    assert_int_equal(0, read_text(&o, "id,a,b\n1,1,\n2,1,0\n", &err));
    int64_t n[2] = {0}, n_right[2] = {0};
    outcomes_tally(n, n_right, &o);
    assert_memory_equal(((int64_t[]){2, 1}), n, sizeof n);
    assert_memory_equal(((int64_t[]){2, 0}), n_right, sizeof n_right);
    outcomes_release(&o);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_column_is_found_in_any_place),
        cmocka_unit_test(every_broken_file_is_refused_with_its_own_sentence),
        cmocka_unit_test(sixty_four_experts_are_read_and_more_are_refused),
        cmocka_unit_test(every_truncation_is_read_or_refused_but_never_kills),
        cmocka_unit_test(a_tally_counts_what_was_run_by_category),
        cmocka_unit_test(a_tally_without_categories_has_one_column),
        cmocka_unit_test_setup_teardown(predictions_are_matched_by_id_and_name, setup, teardown),
        cmocka_unit_test_setup_teardown(lengths_are_one_a_prompt_or_one_an_expert, setup, teardown),
        cmocka_unit_test_setup_teardown(limits_of_categories_are_numbers_inf_or_nothing, setup,
                                        teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
