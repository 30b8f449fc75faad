/* What the learned combination promises: its pick and ties, a gradient that finite differences confirm, a fit that finds who is reliable,
 * the same bits twice, and what it refuses. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/rng.h"
#include "train/vote_fit.h"

enum { N = 600, E = 5, OPTIONS = 4, PARTS = 3 };

/* Expert 0 is right on 80 % of part 0 and on 20 % of the rest; the others agree with one another on 45 % everywhere. */
struct world {
    int8_t answers[N * E], right[N], n_options[N];
    float gate[N * E];
    int32_t part[N];
    int64_t rows[N];
    struct vote_view view;
    struct vote_shape shape;
    struct vote_fit_data data;
};

static void make(struct world *w, uint64_t seed)
{
    struct rng r;
    rng_init(&r, seed);
    for (int q = 0; q < N; q++) {
        w->rows[q] = q;
        w->right[q] = (int8_t)rng_below(&r, OPTIONS);
        w->n_options[q] = OPTIONS;
        w->part[q] = (int32_t)rng_below(&r, PARTS);
        for (int e = 0; e < E; e++) {
            double p = e ? 0.45 : w->part[q] == 0 ? 0.8 : 0.2;
            int8_t other = (int8_t)rng_below(&r, OPTIONS);
            w->answers[q * E + e] = rng_uniform(&r) < p ? w->right[q] : other;
            if (rng_uniform(&r) < 0.05)
                w->answers[q * E + e] = -1;
            w->gate[q * E + e] = (float)(p + 0.1 * rng_normal(&r));
        }
    }
    w->view = (struct vote_view){N, w->answers, {w->gate}, {w->part}};
    w->shape = (struct vote_shape){E, 1, 1, {PARTS}};
    w->data = (struct vote_fit_data){&w->view, w->rows, N, w->right, w->n_options, 31, NULL};
}

static void the_option_with_the_largest_sum_wins_and_ties_go_to_the_first_giver(void **state)
{
    (void)state;
    int8_t answers[] = {2, 1, 1, 3};
    struct vote_view view = {1, answers, {NULL}, {NULL}};
    double theta[] = {1, 0.5, 0.5, 3}, scores[VOTE_MAX_OPTIONS];
    struct vote_learned v = {{4, 0, 0, {0}}, theta};
    assert_int_equal(3, vote_learned_pick(scores, &v, &view, 0, 15));
    assert_true(scores[1] == 1 && scores[2] == 1 && scores[3] == 3 && scores[0] == -INFINITY);
    assert_int_equal(2, vote_learned_pick(NULL, &v, &view, 0, 7)); /* 1 against 1 */
    assert_int_equal(1, vote_learned_pick(NULL, &v, &view, 0, 6));
    assert_int_equal(-1, vote_learned_pick(NULL, &v, &view, 0, 0));
    answers[3] = -1;
    assert_int_equal(-1, vote_learned_pick(NULL, &v, &view, 0, 8));
}

static void a_weight_is_the_sum_of_its_terms(void **state)
{
    (void)state;
    int8_t answers[] = {0, 0};
    float gate[] = {0.5f, 2};
    int32_t part[] = {1}, none[] = {-1};
    double theta[] = {1, 10, 2, 20, 100, 200, 1000, 2000};
    struct vote_learned v = {{2, 1, 1, {2}}, theta};
    struct vote_view view = {1, answers, {gate}, {part}};
    assert_true(vote_learned_weight(&v, &view, 0, 0) == 1 + 2 * 0.5 + 1000);
    assert_true(vote_learned_weight(&v, &view, 0, 1) == 10 + 20 * 2 + 2000);
    view.parts[0] = none;
    assert_true(vote_learned_weight(&v, &view, 0, 1) == 50);
}

static void the_gradient_is_that_of_finite_differences(void **state)
{
    (void)state;
    struct world *w = malloc(sizeof *w);
    struct rng r;
    make(w, 3);
    rng_init(&r, 4);
    enum { SIZE = (2 + PARTS) * E };
    double theta[SIZE], g[SIZE], unused[SIZE], direction[SIZE], moved[SIZE];
    struct vote_fit_options o = {0.01, 0.1, 1, 0};
    assert_int_equal(2 + PARTS, vote_shape_rows(&w->shape));
    double slope = 0, h = 1e-5;
    for (int i = 0; i < SIZE; i++) {
        theta[i] = rng_normal(&r);
        direction[i] = rng_normal(&r);
    }
    vote_fit_loss(g, theta, &w->shape, &w->data, &o);
    for (int i = 0; i < SIZE; i++)
        slope += g[i] * direction[i];
    double side[2];
    for (int k = 0; k < 2; k++) {
        for (int i = 0; i < SIZE; i++)
            moved[i] = theta[i] + (k ? h : -h) * direction[i];
        side[k] = vote_fit_loss(unused, moved, &w->shape, &w->data, &o);
    }
    assert_true(fabs((side[1] - side[0]) / (2 * h) - slope) < 1e-7 * (1 + fabs(slope)));
    free(w);
}

static void a_fit_learns_who_is_reliable_where_and_beats_the_majority(void **state)
{
    (void)state;
    struct world *w = malloc(sizeof *w), *fresh = malloc(sizeof *fresh);
    make(w, 1);
    make(fresh, 2);
    double theta[(2 + PARTS) * E], again[(2 + PARTS) * E], loss = 0, equal[(2 + PARTS) * E] = {0};
    struct vote_fit_options o = vote_fit_default();
    struct err err = {0};
    if (vote_fit(theta, &loss, &w->shape, &w->data, &o, &err))
        fail_msg("%s", err.msg);
    assert_true(loss < log(OPTIONS));
    for (int e = 0; e < E; e++)
        equal[e] = 1;
    int64_t learned = vote_fit_correct(theta, &w->shape, &fresh->data);
    int64_t majority = vote_fit_correct(equal, &w->shape, &fresh->data);
    assert_true(learned > majority + N / 50);
    double in_part = 0, out = 0;
    struct vote_learned v = {w->shape, theta};
    for (int q = 0; q < N; q++)
        *(w->part[q] == 0 ? &in_part : &out) += vote_learned_weight(&v, &w->view, q, 0);
    assert_true(in_part > 0 && in_part > out);
    assert_int_equal(0, vote_fit(again, NULL, &w->shape, &w->data, &o, NULL));
    assert_memory_equal(theta, again, sizeof theta);
    free(w);
    free(fresh);
}

static void a_mask_a_question_counts_only_those_asked(void **state)
{
    (void)state;
    struct world *w = malloc(sizeof *w);
    uint64_t *asked = malloc(N * sizeof *asked);
    make(w, 1);
    for (int q = 0; q < N; q++)
        asked[q] = w->part[q] == 0 ? 1 : 30;
    double theta[(2 + PARTS) * E];
    struct vote_fit_options o = vote_fit_default();
    w->data.asked_by_question = asked;
    assert_int_equal(0, vote_fit(theta, NULL, &w->shape, &w->data, &o, NULL));
    int64_t by_hand = 0;
    struct vote_learned v = {w->shape, theta};
    for (int q = 0; q < N; q++)
        by_hand += vote_learned_pick(NULL, &v, &w->view, q, asked[q]) == w->right[q];
    assert_int_equal(by_hand, vote_fit_correct(theta, &w->shape, &w->data));
    /* b of expert 0 outside its part is never moved */
    assert_true(theta[3 * E] == 0 && theta[4 * E] == 0);
    free(asked);
    free(w);
}

static void what_makes_no_sense_is_refused(void **state)
{
    (void)state;
    struct world *w = malloc(sizeof *w);
    double theta[(2 + PARTS) * E];
    struct vote_fit_options o = vote_fit_default();
    struct err err = {0};
    make(w, 1);
    w->answers[7] = OPTIONS;
    assert_int_equal(MOE2_EFORMAT, vote_fit(theta, NULL, &w->shape, &w->data, &o, &err));
    assert_string_equal("question 1: expert 2 answered 4 of 4 options", err.msg);
    make(w, 1);
    w->gate[0] = NAN;
    assert_int_equal(MOE2_ENUMERIC, vote_fit(theta, NULL, &w->shape, &w->data, &o, NULL));
    make(w, 1);
    w->right[5] = -1;
    assert_int_equal(MOE2_EFORMAT, vote_fit(theta, NULL, &w->shape, &w->data, &o, NULL));
    make(w, 1);
    w->part[5] = PARTS;
    assert_int_equal(MOE2_EFORMAT, vote_fit(theta, NULL, &w->shape, &w->data, &o, NULL));
    make(w, 1);
    w->data.n_rows = 0;
    assert_int_equal(MOE2_ELIMIT, vote_fit(theta, NULL, &w->shape, &w->data, &o, NULL));
    free(w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_option_with_the_largest_sum_wins_and_ties_go_to_the_first_giver),
        cmocka_unit_test(a_weight_is_the_sum_of_its_terms),
        cmocka_unit_test(the_gradient_is_that_of_finite_differences),
        cmocka_unit_test(a_fit_learns_who_is_reliable_where_and_beats_the_majority),
        cmocka_unit_test(a_mask_a_question_counts_only_those_asked),
        cmocka_unit_test(what_makes_no_sense_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
