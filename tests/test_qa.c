/* Questions: every published form gives the same row, labels and letters, what is the same question, the
 * split, recorded answers cut to a file. All questions here are our own. */
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
#include "pipeline/qa_forms.h"
#include "pipeline/qa_leak.h"
#include "pipeline/qa_outcomes.h"
#include "pipeline/qa_split.h"

/* ---- forms ---- */

static const char *const mmlu_columns[] = {"question", "A", "B", "C", "D", "answer", NULL};

/* Reads the only record of a text; returns the code. */
static int read_one(struct qa_row *row, enum qa_source source, const char *text,
                    const char *const *names, struct err *err)
{
    struct reader *reader = NULL;
    struct records *r = NULL;
    struct records_options o = {.names = names};
    struct qa_context c = {source, "stem", 7};
    bool got = false;
    assert_int_equal(0, reader_open_bytes(&reader, "x", text, strlen(text), NULL));
    assert_int_equal(0, records_open_reader(&r, reader, &o, NULL));
    assert_int_equal(0, records_next(r, &got, NULL));
    assert_true(got);
    int rc = qa_read_row(row, r, &c, err);
    records_close(r);
    return rc;
}

static void expect_json(enum qa_source source, const char *text, const char *const *names,
                        const char *wanted)
{
    struct qa_row row = {0};
    struct buf out = {0};
    struct err err = {0};
    if (read_one(&row, source, text, names, &err))
        fail_msg("%s: %s", text, err.msg);
    if (!row.id)
        row.id = "?";
    assert_int_equal(0, qa_row_json(&out, &row, NULL));
    assert_string_equal(wanted, out.bytes);
    buf_release(&out);
    qa_row_release(&row);
}

#define SKY(id, source, subject, rest)                                                             \
    "{\"id\":\"" id "\",\"source\":\"" source "\",\"subject\":\"" subject                          \
    "\",\"kind\":\"choice\",\"question\":\"What colour is the sky, \\\"mostly\\\"?\",\"choices\""  \
    ":[\"red\",\"green, dark\",\"blue\",\"none\"],\"answer\":2" rest "}\n"
#define Q "\"question\": \"What colour is the sky, \\\"mostly\\\"?\""
#define OPTIONS "[\"red\", \"green, dark\", \" blue\\n\", \"none\"]"

static void every_published_form_gives_the_same_row(void **state)
{
    (void)state;
    const char *mmlu = SKY("?", "mmlu", "stem", "");
    expect_json(QA_MMLU,
                "\"What colour is the sky, \"\"mostly\"\"?\",red,\"green, dark\",blue,none,C\n",
                mmlu_columns, mmlu);
    expect_json(QA_MMLU, "{" Q ", \"subject\": \"\", \"choices\": " OPTIONS ", \"answer\": 2}",
                NULL, mmlu);
    expect_json(QA_MMLU,
                "[{" Q ", \"subject\": null, \"choices\": " OPTIONS ", \"answer\": \"C\"}]", NULL,
                mmlu);
    expect_json(QA_MMLU_PRO,
                "{\"question_id\": 70, " Q ", \"options\": " OPTIONS
                ", \"answer\": \"C\", \"answer_index\": 2, \"cot_content\": \"\", \"category\": "
                "\"physics\", \"src\": \"ori_mmlu-sky\"}",
                NULL, SKY("70", "mmlu_pro", "physics", ",\"src\":\"ori_mmlu-sky\""));
    const char *arc = SKY("Mercury_1", "arc", "stem", "");
    expect_json(
        QA_ARC,
        "{\"id\": \"Mercury_1\", \"question\": {\"stem\": \"What colour is the sky, "
        "\\\"mostly\\\"?\", \"choices\": [{\"text\": \"red\", \"label\": \"A\"}, {\"text\": "
        "\"green, dark\", \"label\": \"B\"}, {\"text\": \"blue\", \"label\": \"C\"}, "
        "{\"text\": \"none\", \"label\": \"D\"}]}, \"answerKey\": \"C\"}",
        NULL, arc);
    expect_json(QA_ARC,
                "{\"id\": \"Mercury_1\", " Q ", \"choices\": {\"text\": " OPTIONS
                ", \"label\": [\"1\", \"2\", \"3\", \"4\"]}, \"answerKey\": \"3\"}",
                NULL, arc);
    expect_json(QA_ARC,
                "questionID,AnswerKey,question\nMercury_1,C,\"What colour is the sky, "
                "\"\"mostly\"\"? (A) red (B) green, dark (C) blue (D) none\"\n",
                NULL, arc);
    expect_json(QA_AGIEVAL,
                "{\"passage\": \"\", " Q ", \"options\": [\"(A)red\", \"(B) green, dark\", "
                "\"(C)blue\", \"(D)none\"], \"label\": \"C\", \"answer\": null, \"other\": {}}",
                NULL, SKY("?", "agieval", "stem", ""));
    expect_json(QA_ARC,
                "{\"query\": \"Question: What colour is the sky, \\\"mostly\\\"?\\nAnswer:\", "
                "\"choices\": " OPTIONS ", \"gold\": 2}",
                NULL, SKY("?", "arc", "stem", ""));
    expect_json(QA_AGIEVAL, SKY("a/1", "own", "s", ",\"context\":\"c\""), NULL,
                SKY("a/1", "own", "s", ",\"context\":\"c\""));
}

static void a_set_that_names_the_right_option_apart_gets_a_place_for_it(void **state)
{
    (void)state;
    static const char form[] = "{\"question\": \"Number %d?\", \"distractor1\": \"a\", "
                               "\"distractor2\": \"b\", \"distractor3\": \"c\", "
                               "\"correct_answer\": \"right\", \"support\": \"text\"}";
    struct qa_row row = {0};
    int n_at[4] = {0};
    for (int i = 0; i < 400; i++) {
        char text[256];
        snprintf(text, sizeof text, form, i);
        assert_int_equal(0, read_one(&row, QA_SCIQ, text, NULL, NULL));
        assert_string_equal("right", row.choices[row.answers[0]]);
        assert_string_equal("text", row.context);
        n_at[row.answers[0]]++;
    }
    for (int i = 0; i < 4; i++)
        assert_in_range(n_at[i], 70, 130);
    qa_row_release(&row);
}

static void cloze_rows_and_rows_with_several_right_options_are_marked(void **state)
{
    (void)state;
    expect_json(
        QA_AGIEVAL,
        "{\"passage\": null, \"question\": \"1 + 1 =\", \"options\": null, \"label\": null, "
        "\"answer\": \"2\"}",
        NULL,
        "{\"id\":\"?\",\"source\":\"agieval\",\"subject\":\"stem\",\"kind\":\"cloze\","
        "\"question\":\"1 + 1 =\",\"choices\":[],\"answer\":null,\"answer_text\":\"2\"}\n");
    static const char *const labels[] = {"[\"A\", \"C\"]", "\"A C\"", "\"AC\"",
                                         "[\"A\",\"C\",\"。\"]"};
    for (int i = 0; i < 4; i++) {
        char text[256];
        snprintf(text, sizeof text,
                 "{\"question\": \"Which?\", \"options\": [\"A．x\", \"B．y\", \"C．z\"], "
                 "\"label\": %s}",
                 labels[i]);
        expect_json(
            QA_AGIEVAL, text, NULL,
            "{\"id\":\"?\",\"source\":\"agieval\",\"subject\":\"stem\",\"kind\":\"several\","
            "\"question\":\"Which?\",\"choices\":[\"x\",\"y\",\"z\"],\"answer\":null,"
            "\"answers\":[0,2]}\n");
    }
}

static void a_row_in_no_form_says_what_was_wanted(void **state)
{
    (void)state;
    static const struct {
        enum qa_source source;
        const char *text, *message;
    } cases[] = {
        {QA_ARC, "{\"frage\": 1}",
         "x:1: is in no form of arc that is known, wanted {question, answerKey} or {question, "
         "AnswerKey}"},
        {QA_MMLU_PRO, "{\"question\": \"q\", \"options\": [\"a\", \"b\"], \"answer\": \"E\"}",
         "x:1: the answer is option 4 of 2, counted from 0"},
        {QA_MMLU_PRO, "{\"question\": \"q\", \"options\": [\"a\", 2], \"answer\": \"A\"}",
         "x:1: an option is no text"},
        {QA_MMLU_PRO, "{\"question\": \"q\", \"options\": \"ab\", \"answer\": \"A\"}",
         "x:1: options:1:2: is no JSON: invalid token near 'ab'"},
        {QA_MMLU_PRO,
         "{\"question\": \"q\", \"options\": [\"a\", \"b\"], \"answer\": \"A\", \"answer_index\": "
         "1}",
         "x:1: answer_index is 1, but answer is option 0"},
        {QA_MMLU, "{\"question\": \" \", \"choices\": [\"a\", \"b\"], \"answer\": 0}",
         "x:1: the question is empty"},
        {QA_MMLU, "{\"question\": \"q\", \"choices\": [], \"answer\": 0}",
         "x:1: the answer is option 0 of 0, counted from 0"},
        {QA_MMLU, "{\"question\": \"q\", \"choices\": [\"a\", \"b\"], \"answer\": \"yes\"}",
         "x:1: the answer is \"yes\", wanted a letter or a number from 0"},
        {QA_ARC,
         "{\"question\": \"q\", \"choices\": {\"text\": [\"a\", \"b\"], \"label\": [\"A\", "
         "\"B\"]}, "
         "\"answerKey\": \"Z\"}",
         "x:1: answerKey is \"Z\", no option has that label"},
        {QA_ARC,
         "{\"question\": \"q\", \"choices\": {\"text\": [\"a\", \"b\"], \"label\": [\"A\"]}, "
         "\"answerKey\": \"A\"}",
         "x:1: there are 1 labels for 2 options"},
        {QA_AGIEVAL, "{\"question\": \"q\", \"options\": [\"a\", \"b\"], \"label\": \"\"}",
         "x:1: there are 0 right options, wanted one"},
        {QA_AGIEVAL, "{\"question\": \"q\", \"options\": [\"a\", \"b\"], \"label\": \"AA\"}",
         "x:1: option 0 is named as right twice"},
        {QA_SCIQ, "{\"question\": \"q\", \"correct_answer\": \"a\", \"distractor1\": \"b\"}",
         "x:1: there is no \"distractor2\""},
        {QA_SCIQ, "{\"query\": \"q\", \"choices\": [\"a\"], \"gold\": 0.5}",
         "x:1: gold is no whole number"},
    };
    struct qa_row row = {0};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct err err = {0};
        int rc = read_one(&row, cases[i].source, cases[i].text, NULL, &err);
        if (i != 12) /* distractor3 or 2: whichever place comes first */
            assert_string_equal(cases[i].message, err.msg);
        assert_int_equal(MOE2_EFORMAT, rc);
    }
    qa_row_release(&row);
}

static void more_than_26_options_are_refused(void **state)
{
    (void)state;
    struct qa_row row = {0};
    struct buf b = {0};
    struct err err = {0};
    buf_puts(&b, "{\"question\": \"q\", \"answer\": \"A\", \"options\": [\"\"", NULL);
    for (int i = 0; i < 26; i++)
        buf_puts(&b, ",\"x\"", NULL);
    buf_puts(&b, "]}", NULL);
    assert_int_equal(MOE2_ELIMIT, read_one(&row, QA_MMLU_PRO, b.bytes, NULL, &err));
    assert_string_equal("x:1: more than 26 options", err.msg);
    buf_release(&b);
    qa_row_release(&row);
}

/* ---- the same question ---- */

static void expect_normal(const char *text, const char *wanted, int n_words)
{
    struct buf b = {0};
    int n = -1;
    assert_int_equal(0, qa_normalise(&b, &n, text, NULL));
    assert_string_equal(wanted, b.bytes ? b.bytes : "");
    assert_int_equal(n_words, n);
    buf_release(&b);
}

static void case_width_signs_and_blanks_do_not_make_another_question(void **state)
{
    (void)state;
    expect_normal("  Which of THESE,\n is (not) true?", "which of these is not true", 6);
    expect_normal("ﬁne Straße — ＡＢＣ１", "fine strasse abc1", 3);
    expect_normal("caf\u00e9", "café", 1);
    expect_normal("cafe\u0301", "café", 1);
    expect_normal("≤", "≤", 0);
    expect_normal("", "", 0);
    expect_normal("已知(1)酶", "已知 1 酶", 3);
}

static struct qa_row question(const char *text, const char *a, const char *b, const char *src)
{
    return (struct qa_row){.id = text,
                           .source = "mmlu",
                           .subject = "s",
                           .question = text,
                           .src = src,
                           .n_choices = 2,
                           .choices = {a, b},
                           .n_answers = 1};
}

static void eight_words_or_two_shared_options_make_an_overlap(void **state)
{
    (void)state;
    static const struct {
        const char *question, *a, *b, *src;
        enum qa_leak wanted;
    } cases[] = {
        {"one two three four five six seven EIGHT!", "new", "newer", NULL, QA_LEAK_WORDS},
        {"one two three four five six seven", "new", "newer", NULL, QA_LEAK_NONE},
        {"Which is true?", "Red.", "blue", NULL, QA_LEAK_OPTIONS},
        {"which is true", "red", "green", NULL, QA_LEAK_NONE},
        {"which is true", "red", "red", NULL, QA_LEAK_NONE},
        {"which is true", "red", "green", "ori_mmlu-colours", QA_LEAK_SRC},
        {"which is false", "red", "blue", "ori_mmlu-colours", QA_LEAK_NONE},
        {"sign of x", "+", "-", NULL, QA_LEAK_OPTIONS},
        {"sign of x", "+", "0", NULL, QA_LEAK_NONE},
    };
    struct qa_index *x = NULL;
    assert_int_equal(0, qa_index_new(&x, NULL));
    const struct qa_row gating[] = {
        question("One two three four five six seven eight", "a", "b", NULL),
        question("one two three four five six seven", "a", "b", NULL),
        question("Which is true?", "x", "y", NULL),
        question("Which is true?", "blue", "red", NULL),
        question("sign of x", "-", "+", NULL),
    };
    for (size_t i = 0; i < sizeof gating / sizeof *gating; i++)
        assert_int_equal(0, qa_index_add(x, &gating[i], NULL));
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct qa_row row = question(cases[i].question, cases[i].a, cases[i].b, cases[i].src);
        enum qa_leak leak;
        assert_int_equal(0, qa_index_find(&leak, x, &row, NULL));
        assert_int_equal(cases[i].wanted, leak);
    }
    qa_index_free(x);
}

static void every_row_of_the_index_is_found_again(void **state)
{
    (void)state;
    struct qa_index *x = NULL;
    char text[64], a[32], b[32];
    assert_int_equal(0, qa_index_new(&x, NULL));
    for (int pass = 0; pass < 2; pass++)
        for (int i = 0; i < 5000; i++) {
            snprintf(text, sizeof text, "question %d", i % 1700);
            snprintf(a, sizeof a, "%d", i);
            snprintf(b, sizeof b, "not %d", i);
            struct qa_row row = question(text, a, b, NULL);
            enum qa_leak leak = QA_LEAK_OPTIONS;
            assert_int_equal(0, pass ? qa_index_find(&leak, x, &row, NULL)
                                     : qa_index_add(x, &row, NULL));
            assert_int_equal(QA_LEAK_OPTIONS, leak);
        }
    assert_int_equal(5000, qa_index_size(x));
    qa_index_free(x);
}

/* ---- the split ---- */

static struct qa_split *deal(int n, uint64_t seed)
{
    static const char *const subjects[] = {"a", "b", "c"};
    struct qa_split *s = NULL;
    assert_int_equal(0, qa_split_new(&s, NULL));
    for (int i = 0; i < n; i++) {
        char id[32], text[32];
        snprintf(id, sizeof id, "%d", i);
        snprintf(text, sizeof text, i % 10 == 9 ? "Question %d!" : "question %d",
                 i % 10 == 9 ? i - 3 : i);
        struct qa_row row = question(text, "x", "y", NULL);
        row.id = id;
        row.subject = subjects[i % 3];
        assert_int_equal(0, qa_split_add(s, &row, NULL));
    }
    assert_int_equal(0, qa_split_deal(s, 0.2, seed, NULL));
    return s;
}

static void the_split_keeps_shares_and_never_parts_a_question(void **state)
{
    (void)state;
    struct qa_split *s = deal(3000, 1), *again = deal(3000, 1), *other = deal(3000, 2);
    int n_of[3] = {0}, n_same = 0;
    for (int i = 0; i < 3000; i++) {
        n_of[i % 3] += qa_split_is_test(s, i);
        assert_int_equal(qa_split_is_test(s, i), qa_split_is_test(again, i));
        n_same += qa_split_is_test(s, i) == qa_split_is_test(other, i);
        if (i % 10 == 9)
            assert_int_equal(qa_split_is_test(s, i), qa_split_is_test(s, i - 3));
    }
    assert_int_equal(600, qa_split_n_test(s));
    for (int k = 0; k < 3; k++)
        assert_int_equal(200, n_of[k]);
    assert_in_range(n_same, 1900, 2200);
    assert_int_equal(300, qa_split_n_repeated(s));
    assert_int_equal(3, qa_split_n_subjects(s));
    qa_split_free(s);
    qa_split_free(again);
    qa_split_free(other);
}

static void an_id_twice_is_refused(void **state)
{
    (void)state;
    struct qa_split *s = NULL;
    struct err err = {0};
    struct qa_row row = question("q", "x", "y", NULL);
    assert_int_equal(0, qa_split_new(&s, NULL));
    assert_int_equal(0, qa_split_add(s, &row, NULL));
    assert_int_equal(MOE2_EFORMAT, qa_split_add(s, &row, &err));
    assert_string_equal("the id \"q\" stands twice in the gating set", err.msg);
    assert_int_equal(MOE2_ECONFIG, qa_split_deal(s, 1.0, 1, NULL));
    qa_split_free(s);
}

/* ---- recorded answers ---- */

static int cut(const char *questions, const char *csv, const char *out, const char *expert,
               struct err *err)
{
    struct qa_outcomes_report r;
    struct qa_outcomes c = {.questions = "qa_cut.jsonl", .in = "qa_cut.csv", .out = out};
    c.experts = (struct yaml_texts){&expert, expert ? 1 : 0};
    assert_int_equal(0, file_write("qa_cut.jsonl", questions, strlen(questions), NULL));
    assert_int_equal(0, file_write("qa_cut.csv", csv, strlen(csv), NULL));
    return qa_outcomes_cut(&r, &c, err);
}

static void recorded_answers_come_in_the_order_of_the_questions(void **state)
{
    (void)state;
    struct buf b = {0};
    const char *csv = "question_id,category,m1,m2\n1,a,1,0\n2,\"b, c\",0,\n3,a,1,1\n";
    assert_int_equal(0, cut("{\"id\": \"3\"}\n{\"id\": 2}\n", csv, "qa_cut_out.csv", NULL, NULL));
    assert_int_equal(0, file_read(&b, "qa_cut_out.csv", NULL));
    assert_string_equal("question_id,category,m1,m2\n3,a,1,1\n2,\"b, c\",0,\n", b.bytes);
    buf_clear(&b);
    assert_int_equal(0, cut("{\"question_id\": 1}\n", csv, "qa_cut_out.csv", "m2", NULL));
    assert_int_equal(0, file_read(&b, "qa_cut_out.csv", NULL));
    assert_string_equal("question_id,category,m2\n1,a,0\n", b.bytes);
    buf_release(&b);
}

static void recorded_answers_that_do_not_fit_are_refused(void **state)
{
    (void)state;
    static const struct {
        const char *questions, *csv, *expert, *message;
    } cases[] = {
        {"{\"id\": \"1\"}\n{\"id\": \"9\"}\n{\"id\": \"8\"}", "question_id,m1\n1,1\n", NULL,
         "qa_cut.csv: 2 of the 3 questions of qa_cut.jsonl have no row, the first is \"9\""},
        {"{\"id\": \"1\"}\n{\"id\": \"1\"}", "question_id,m1\n1,1\n", NULL,
         "qa_cut.jsonl:2: the id \"1\" stands twice"},
        {"{\"id\": \"1\"}", "question_id,m1\n1,1\n1,1\n", NULL,
         "qa_cut.csv:3: the id \"1\" stands twice"},
        {"{\"id\": \"1\"}", "row,m1\n1,1\n", NULL,
         "qa_cut.csv: the first column is \"row\", wanted question_id"},
        {"{\"id\": \"1\"}", "question_id,gemma-7b\n1,1\n", "gemma-7B",
         "qa_cut.csv: has no expert \"gemma-7B\", the nearest is gemma-7b"},
        {"", "question_id,m1\n1,1\n", NULL, "qa_cut.jsonl: has no question"},
        {"{\"x\": 1}", "question_id,m1\n1,1\n", NULL,
         "qa_cut.jsonl:1: there is no field \"question_id\""},
    };
    unlink("qa_cut_bad.csv");
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct err err = {0};
        assert_true(cut(cases[i].questions, cases[i].csv, "qa_cut_bad.csv", cases[i].expert, &err) <
                    0);
        assert_string_equal(cases[i].message, err.msg);
        assert_false(file_exists("qa_cut_bad.csv"));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_published_form_gives_the_same_row),
        cmocka_unit_test(a_set_that_names_the_right_option_apart_gets_a_place_for_it),
        cmocka_unit_test(cloze_rows_and_rows_with_several_right_options_are_marked),
        cmocka_unit_test(a_row_in_no_form_says_what_was_wanted),
        cmocka_unit_test(more_than_26_options_are_refused),
        cmocka_unit_test(case_width_signs_and_blanks_do_not_make_another_question),
        cmocka_unit_test(eight_words_or_two_shared_options_make_an_overlap),
        cmocka_unit_test(every_row_of_the_index_is_found_again),
        cmocka_unit_test(the_split_keeps_shares_and_never_parts_a_question),
        cmocka_unit_test(an_id_twice_is_refused),
        cmocka_unit_test(recorded_answers_come_in_the_order_of_the_questions),
        cmocka_unit_test(recorded_answers_that_do_not_fit_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
