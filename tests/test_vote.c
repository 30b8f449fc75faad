/* What votes promise, one sentence a test. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "route/vote.h"

static void more_right_than_wrong_wins_and_scores_break_a_tie(void **state)
{
    (void)state;
    const bool right[4] = {false, true, true, false};
    const float score[4] = {9, 5, 4, 1};
    assert_true(vote_by_outcome(VOTE_MAJORITY, right, score, 3));
    assert_false(vote_by_outcome(VOTE_MAJORITY, right, score, 2)); /* 5 against 9 */
    assert_false(vote_by_outcome(VOTE_MAJORITY, right, score, 4)); /* 9 against 10 */
    assert_true(vote_by_outcome(VOTE_MAJORITY, right, (float[]){9, 8, 7, 1}, 4));
    assert_false(vote_by_outcome(VOTE_MAJORITY, right, (float[]){2, 2, 2, 2}, 4)); /* strict */
    assert_false(vote_by_outcome(VOTE_WEIGHTED, right, score, 3)); /* 9 is not less than 9 */
    assert_true(vote_by_outcome(VOTE_WEIGHTED, right, (float[]){9, 5, 4.5f, 0}, 4));
    assert_false(vote_by_outcome(VOTE_TOP1, right, score, 1));
    for (int kind = 0; kind < VOTE_N_KINDS; kind++)
        assert_false(vote_by_outcome((enum vote_kind)kind, right, score, 0));
}

static void the_most_frequent_answer_wins_then_its_scores_then_who_was_called_first(void **state)
{
    (void)state;
    const int32_t answer[5] = {7, 2, 2, 7, -1};
    assert_int_equal(1, vote_by_answer(VOTE_MAJORITY, answer, (float[]){5, 4, 3, 1, 9}, 3));
    assert_int_equal(1, vote_by_answer(VOTE_MAJORITY, answer, (float[]){5, 4, 3, 1, 9}, 5));
    assert_int_equal(0, vote_by_answer(VOTE_MAJORITY, answer, (float[]){5, 4, 3, 2, 9}, 5));
    assert_int_equal(0, vote_by_answer(VOTE_WEIGHTED, answer, (float[]){9, 4, 3, 0, 0}, 3));
    assert_int_equal(0, vote_by_answer(VOTE_WEIGHTED, answer, (float[]){7, 4, 3, 0, 0}, 3));
    assert_int_equal(-1, vote_by_answer(VOTE_MAJORITY, answer + 4, (float[]){1}, 1));
    assert_int_equal(-1, vote_by_answer(VOTE_TOP1, answer + 4, (float[]){1}, 1));
    assert_int_equal(0, vote_by_answer(VOTE_TOP1, answer, (float[]){1}, 1));
    assert_int_equal(-1, vote_by_answer(VOTE_WEIGHTED, answer, NULL, 0));
}

static void negative_scores_count_in_a_tie(void **state)
{
    (void)state;
    assert_int_equal(1,
                     vote_by_answer(VOTE_MAJORITY, (int32_t[]){-1, 3, 4}, (float[]){0, -1, -2}, 3));
    assert_true(vote_by_outcome(VOTE_MAJORITY, (bool[]){true, false}, (float[]){-1, -2}, 2));
}

static void kinds_are_found_by_name(void **state)
{
    (void)state;
    struct err err = {0};
    enum vote_kind kind = VOTE_TOP1;
    assert_int_equal(0, vote_find(&kind, "weighted", "--combine", &err));
    assert_int_equal(VOTE_WEIGHTED, kind);
    assert_int_equal(MOE2_ECONFIG, vote_find(&kind, "most", "--combine", &err));
    assert_string_equal("--combine is \"most\", wanted top1, vote or weighted", err.msg);
}

static void everyone_is_every_expert_and_nobody_else(void **state)
{
    (void)state;
    assert_int_equal(0, vote_everyone(0));
    for (int n = 1; n <= VOTE_MAX; n++) {
        assert_int_equal(n, __builtin_popcountll(vote_everyone(n)));
        assert_int_equal(n - 1, 63 - __builtin_clzll(vote_everyone(n)));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(more_right_than_wrong_wins_and_scores_break_a_tie),
        cmocka_unit_test(the_most_frequent_answer_wins_then_its_scores_then_who_was_called_first),
        cmocka_unit_test(negative_scores_count_in_a_tie),
        cmocka_unit_test(kinds_are_found_by_name),
        cmocka_unit_test(everyone_is_every_expert_and_nobody_else),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
