/* What the walk of a question promises: who is picked, how votes are counted and tied, what recorded files must look like, and that a learned
 * combination survives its file. */
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
#include "io/npy.h"
#include "pipeline/learned_file.h"
#include "pipeline/step_forward.h"
#include "route/vote.h"

static char folder[] = "/tmp/moe2-forward-XXXXXX";

static const char *in_folder(const char *name)
{
    static char path[16][256];
    static int n;
    char *p = path[n++ % 16];
    snprintf(p, sizeof path[0], "%s/%s", folder, name);
    return p;
}

static const char *put(const char *name, const char *text)
{
    const char *p = in_folder(name);
    assert_int_equal(0, file_write(p, text, strlen(text), NULL));
    return p;
}

static const char OUTCOMES[] = "question_id,category,answer,a,b,c,d\n"
                               "q1,x,A,1,0,0,1\nq2,y,B,0,1,1,0\nq3,x,C,0,0,,1\n";
static const char PREDICTIONS[] = "question_id,d,c,b,a\nq3,C,D,B,A\nq1,A,C,B,A\nq2,,B,B,D\n";

static void the_largest_scores_of_the_subset_are_asked_ties_to_the_lower_number(void **state)
{
    (void)state;
    struct rng r;
    rng_init(&r, 5);
    float scores[] = {0.5f, 0.9f, 0.5f, 0.1f, 0.9f};
    int asked[8];
    assert_int_equal(3, vote_call(asked, scores, 5, 31, 3));
    assert_true(asked[0] == 1 && asked[1] == 4 && asked[2] == 0);
    assert_int_equal(2, vote_call(asked, scores, 5, 12, 7));
    assert_true(asked[0] == 2 && asked[1] == 3);
    assert_int_equal(0, vote_call(asked, scores, 5, 0, 3));
    for (int round = 0; round < 200; round++) { /* against sorting all */
        float s[8];
        int all[8], some[8];
        for (int e = 0; e < 8; e++)
            s[e] = (float)rng_below(&r, 4);
        int n = vote_call(all, s, 8, 255, 8), k = 1 + (int)rng_below(&r, 8);
        assert_int_equal(8, n);
        for (int i = 1; i < 8; i++)
            assert_true(s[all[i - 1]] > s[all[i]] ||
                        (s[all[i - 1]] == s[all[i]] && all[i - 1] < all[i]));
        assert_int_equal(k, vote_call(some, s, 8, 255, k));
        assert_memory_equal(all, some, (size_t)k * sizeof *all);
    }
}

static struct forward_walk walk_with(struct answers *a, int64_t q, const float *scores, int k,
                                     enum forward_combine combine)
{
    struct forward f = {.source = expert_source_recorded(a),
                        .N = a->n_experts,
                        .subset = 15,
                        .k = k,
                        .combine = combine};
    struct forward_walk walk;
    struct err err = {0};
    if (forward_question(&walk, &f, q, q, scores, &err))
        fail_msg("%s", err.msg);
    return walk;
}

static void votes_are_counted_by_answer_and_ties_go_to_scores_then_to_the_first(void **state)
{
    (void)state;
    struct answers a;
    struct err err = {0};
    if (answers_read(&a, put("o.csv", OUTCOMES), put("p.csv", PREDICTIONS), &err))
        fail_msg("%s", err.msg);
    float scores[] = {0.2f, 0.9f, 0.3f, 0.1f};
    struct forward_walk w = walk_with(&a, 0, scores, 4, FORWARD_VOTE); /* A B C A */
    assert_true(w.option == 0 && w.right == 1 && w.totals[0] == 2);
    w = walk_with(&a, 0, scores, 4, FORWARD_WEIGHTED); /* 0.3 against 0.9 */
    assert_true(w.option == 1 && w.right == 0);
    w = walk_with(&a, 0, scores, 1, FORWARD_TOP1);
    assert_true(w.n_asked == 1 && w.asked[0] == 1 && w.right == 0);
    w = walk_with(&a, 1, scores, 2, FORWARD_VOTE); /* b and c say B */
    assert_true(w.option == 1 && w.right == 1);
    float equal[] = {0.5f, 0.5f, 0.5f, 0.5f};
    w = walk_with(&a, 2, equal, 4, FORWARD_VOTE); /* A B - C: c did not run */
    assert_true(w.option == 0 && w.right == 0 && w.replies[2].option == -1);
    answers_release(&a);
}

static void without_predictions_the_wrong_ones_agree(void **state)
{
    (void)state;
    struct answers a;
    assert_int_equal(0, answers_read(&a, put("o.csv", OUTCOMES), NULL, NULL));
    float scores[] = {0.4f, 0.3f, 0.2f, 0.3f};
    assert_int_equal(1, walk_with(&a, 0, scores, 4, FORWARD_VOTE).right); /* 2 : 2, 0.7 : 0.5 */
    assert_int_equal(0, walk_with(&a, 0, scores, 3, FORWARD_TOP1).option == 1);
    float other[] = {0.1f, 0.3f, 0.3f, 0.1f};
    assert_int_equal(0, walk_with(&a, 0, other, 4, FORWARD_VOTE).right);
    answers_release(&a);
}

static void recorded_files_that_are_off_are_refused_with_their_place(void **state)
{
    (void)state;
    static const struct {
        const char *outcomes, *predictions, *why;
    } CASES[] = {
        {"question_id,a\n", NULL, "has no row"},
        {"name,a\nq,1\n", NULL, "the first column is \"name\""},
        {"id,category\nq,1\n", NULL, "0 columns are experts, wanted 1 to 64"},
        {"id,a\nq,2\n", NULL, ":2: column \"a\" is \"2\", wanted 1, 0 or nothing"},
        {"id,a\nq,yes\n", NULL, "column \"a\" is \"yes\""},
        {"id,a\nq,1\nq,0\n", NULL, "column \"id\" is \"q\", wanted every id once"},
        {"id,a,a\nq,1,1\n", NULL, "\"a\" twice"},
        {"id,a\nq,1,1\n", NULL, "3 fields, wanted 2"},
        {"id,answer,a\nq,ZZ,1\n", NULL, "an answer is \"ZZ\", wanted a letter"},
        {"id,answer,a\nq,A,1\n", "id,b\nq,A\n", "has no column \"a\""},
        {"id,answer,a\nq,A,1\n", "id,a\nr,A\n", "has no row of the question_id \"q\""},
        {"id,answer,a\nq,A,1\n", "id,a\nq,B\n", "wanted the right option"},
        {"id,answer,a\nq,A,0\n", "id,a\nq,A\n", "wanted not the right option"},
        {"id,answer,a\nq,A,0\n", "id,a\nq,B\nq,B\n", "wanted every id once"},
        {"id,answer,a\nq,A,0\n", "id,a\nq,-\n", "an answer is \"-\", wanted a letter"},
    };
    for (size_t i = 0; i < sizeof CASES / sizeof *CASES; i++) {
        struct answers a;
        struct err err = {0};
        const char *p = CASES[i].predictions ? put("bad_p.csv", CASES[i].predictions) : NULL;
        assert_int_equal(MOE2_EFORMAT,
                         answers_read(&a, put("bad.csv", CASES[i].outcomes), p, &err));
        if (!strstr(err.msg, CASES[i].why))
            fail_msg("\"%s\", wanted \"%s\"", err.msg, CASES[i].why);
    }
}

static void make_scores(const char *name, const float *scores, int64_t rows, int64_t columns)
{
    int64_t shape[2] = {rows, columns};
    assert_int_equal(0, npy_write(in_folder(name), DT_F32, shape, 2, scores, NULL));
}

static void the_step_walks_the_questions_in_their_order_and_says_who_was_asked(void **state)
{
    (void)state;
    float scores[] = {0.9f, 0.1f, 0.2f, 0.3f, 0.1f, 0.9f, 0.8f, 0.2f, 0.1f, 0.2f, 0.3f, 0.9f};
    make_scores("s.npy", scores, 3, 4);
    struct forward_step step = {.questions = put("q.jsonl", "{\"id\": \"q3\"}\n{\"id\": \"q1\"}\n"),
                                .outcomes = put("o.csv", OUTCOMES),
                                .predictions = put("p.csv", PREDICTIONS),
                                .gate_scores = in_folder("s.npy"),
                                .subset = "a,b,d",
                                .k = 1,
                                .combine = FORWARD_TOP1,
                                .out_dir = in_folder("out")};
    struct forward_report r;
    struct err err = {0};
    if (forward_run(&r, &step, &err))
        fail_msg("%s", err.msg);
    assert_int_equal(2, r.n);
    assert_int_equal(2, r.n_right); /* d on q3, a on q1 */
    assert_string_equal("d", r.best_name);
    assert_true(r.oracle == 1 && r.asked == 1);
    assert_true(r.accuracy.high == 1 && r.accuracy.low > 0.3 && r.accuracy.low < 0.4);
    struct buf text = {0};
    assert_int_equal(0, file_read(&text, in_folder("out/answers.jsonl"), NULL));
    assert_non_null(strstr(
        text.bytes, "{\"id\":\"q3\",\"category\":\"x\",\"asked\":[{\"expert\":\"d\",\"rank\":1,"
                    "\"score\":0.9,\"answer\":\"C\",\"right\":true}],\"why\":\"the 1 of 3 in "
                    "service with the largest gate scores\""));
    buf_release(&text);
    forward_report_release(&r);
}

/* 400 questions: expert 0 is right in category x, expert 1 in y, the other two are wrong together. */
static void a_fitted_combination_learns_categories_and_is_read_back(void **state)
{
    (void)state;
    struct buf o = {0}, p = {0};
    buf_puts(&o, "id,category,answer,a,b,c,d\n", NULL);
    buf_puts(&p, "id,a,b,c,d\n", NULL);
    for (int q = 0; q < 400; q++) {
        bool x = q % 2;
        buf_printf(&o, NULL, "%d,%c,%c,%d,%d,0,0\n", q, x ? 'x' : 'y', 'A' + q % 3, x, !x);
        char right = (char)('A' + q % 3), wrong = (char)('A' + (q + 1) % 3);
        buf_printf(&p, NULL, "%d,%c,%c,%c,%c\n", q, x ? right : wrong, x ? wrong : right, wrong,
                   wrong);
    }
    struct forward_step step = {.outcomes = put("big.csv", o.bytes),
                                .predictions = put("big_p.csv", p.bytes),
                                .k = 4,
                                .combine = FORWARD_VOTE};
    struct forward_report r;
    struct err err = {0};
    assert_int_equal(0, forward_run(&r, &step, &err));
    assert_int_equal(0, r.n_right);
    forward_report_release(&r);
    step.learned = in_folder("l.json");
    step.fit = true;
    if (forward_run(&r, &step, &err))
        fail_msg("%s", err.msg);
    assert_true(r.loss < 0.8);
    forward_report_release(&r);
    step.fit = false;
    step.combine = FORWARD_LEARNED;
    step.k = 0; /* the file's */
    if (forward_run(&r, &step, &err))
        fail_msg("%s", err.msg);
    assert_int_equal(400, r.n_right);
    assert_true(fabs(r.gain.mean - 0.5) < 1e-12 && fabs(r.best_single.value - 0.5) < 1e-12);
    forward_report_release(&r);
    struct learned_file f;
    assert_int_equal(0, learned_file_read(&f, step.learned, NULL));
    assert_int_equal(4, f.k);
    assert_int_equal(15, f.subset);
    assert_string_equal("y", f.parts[0][0]);
    assert_int_equal(0, learned_file_write(in_folder("l2.json"), &f, NULL));
    struct buf one = {0}, two = {0};
    assert_int_equal(0, file_read(&one, step.learned, NULL));
    assert_int_equal(0, file_read(&two, in_folder("l2.json"), NULL));
    assert_string_equal(one.bytes, two.bytes);
    for (size_t n = 0; n < one.n - 2; n += 7) { /* every truncation is refused */
        struct learned_file cut;
        assert_int_equal(0, file_write(in_folder("cut.json"), one.bytes, n, NULL));
        assert_int_not_equal(0, learned_file_read(&cut, in_folder("cut.json"), NULL));
    }
    buf_release(&one);
    buf_release(&two);
    learned_file_release(&f);
    buf_release(&o);
    buf_release(&p);
}

static void a_step_that_makes_no_sense_is_refused(void **state)
{
    (void)state;
    float nan[] = {NAN, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0}, minus[12] = {-1};
    make_scores("nan.npy", nan, 3, 4);
    make_scores("minus.npy", minus, 3, 4);
    make_scores("wide.npy", minus, 2, 6);
    const struct forward_step base = {
        .outcomes = put("o.csv", OUTCOMES), .k = 4, .combine = FORWARD_VOTE};
    struct {
        struct forward_step step;
        const char *why;
    } cases[8];
    for (int i = 0; i < 8; i++)
        cases[i].step = base;
    cases[0].step.subset = "a,z";
    cases[0].why = "o.csv has no \"z\", did you mean \"a\"?";
    cases[1].step.k = 2;
    cases[1].why = "--gate-scores is missing";
    cases[2].step.combine = FORWARD_TOP1;
    cases[2].why = "top1 asks one expert";
    cases[3].step.gate_scores = in_folder("nan.npy");
    cases[3].why = "row 0, column 0 is not finite";
    cases[4].step.gate_scores = in_folder("wide.npy");
    cases[4].why = "has the shape [2, 6], wanted [3 questions, 4 experts]";
    cases[5].step.gate_scores = in_folder("minus.npy");
    cases[5].step.combine = FORWARD_WEIGHTED;
    cases[5].why = "wanted at least 0 for weighted votes";
    cases[6].step.questions = put("other.jsonl", "{\"id\": \"q9\"}\n");
    cases[6].why = "question \"q9\" has no row in the outcomes";
    cases[7].step.combine = FORWARD_LEARNED;
    cases[7].why = "needs --learned and --predictions";
    for (int i = 0; i < 8; i++) {
        struct forward_report r;
        struct err err = {0};
        assert_int_not_equal(0, forward_run(&r, &cases[i].step, &err));
        if (!strstr(err.msg, cases[i].why))
            fail_msg("\"%s\", wanted \"%s\"", err.msg, cases[i].why);
    }
}

/* Wilson's, 1 of 1: 1 / (1 + z²) to 1; none of 1 is its mirror. */
static void one_question_has_an_interval_within_0_and_1(void **state)
{
    (void)state;
    struct forward_step step = {.questions = put("one.jsonl", "{\"id\": \"q3\"}\n"),
                                .outcomes = put("o.csv", OUTCOMES),
                                .k = 4,
                                .combine = FORWARD_VOTE};
    struct forward_report r;
    struct err err = {0};
    if (forward_run(&r, &step, &err))
        fail_msg("%s", err.msg);
    const struct stats_share *shares[] = {&r.accuracy, &r.best_single};
    for (int i = 0; i < 2; i++) {
        bool right = shares[i]->value == 1;
        assert_true(right || shares[i]->value == 0);
        assert_true(fabs(shares[i]->low - (right ? 0.206549 : 0)) < 1e-6);
        assert_true(fabs(shares[i]->high - (right ? 1 : 0.793451)) < 1e-6);
    }
    forward_report_release(&r);
}

static int make_folder(void **state)
{
    (void)state;
    return mkdtemp(folder) ? 0 : -1;
}

static int remove_folder(void **state)
{
    (void)state;
    return file_remove_all(folder, NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_largest_scores_of_the_subset_are_asked_ties_to_the_lower_number),
        cmocka_unit_test(votes_are_counted_by_answer_and_ties_go_to_scores_then_to_the_first),
        cmocka_unit_test(without_predictions_the_wrong_ones_agree),
        cmocka_unit_test(recorded_files_that_are_off_are_refused_with_their_place),
        cmocka_unit_test(the_step_walks_the_questions_in_their_order_and_says_who_was_asked),
        cmocka_unit_test(one_question_has_an_interval_within_0_and_1),
        cmocka_unit_test(a_fitted_combination_learns_categories_and_is_read_back),
        cmocka_unit_test(a_step_that_makes_no_sense_is_refused),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
