/* What non-negative least squares promises: the conditions of Karush, Kuhn and Tucker on random problems, and the awkward shapes. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/nnls.h"
#include "base/rng.h"

static void an_exact_line_is_found(void **state)
{
    (void)state;
    double A[] = {1, 10, 1, 1, 20, 5, 1, 30, 7, 1, 500, 2}, b[4], x[3];
    for (int i = 0; i < 4; i++)
        b[i] = 0.25 * A[3 * i] + 0.001 * A[3 * i + 1] + 0.03 * A[3 * i + 2];
    assert_int_equal(0, nnls(x, A, b, 4, 3, NULL));
    assert_true(fabs(x[0] - 0.25) < 1e-12 && fabs(x[1] - 0.001) < 1e-14 &&
                fabs(x[2] - 0.03) < 1e-13);
}

static void a_negative_coefficient_becomes_zero_and_the_rest_is_refitted(void **state)
{
    (void)state;
    double A[] = {1, 0, 1, 1, 1, 2, 1, 3}, b[] = {4, 3, 2, 1}, x[2]; /* plain: 4 − 1·t */
    assert_int_equal(0, nnls(x, A, b, 4, 2, NULL));
    assert_true(fabs(x[0] - 2.5) < 1e-14);
    assert_true(x[1] == 0);
}

/* x is best exactly when x ≥ 0, the gradient g = Aᵀ(Ax − b) ≥ 0 and x·g = 0. */
static void random_problems_meet_the_conditions_of_the_optimum(void **state)
{
    (void)state;
    struct rng r;
    rng_init(&r, 7);
    for (int round = 0; round < 400; round++) {
        int M = 1 + (int)rng_below(&r, 12), N = 1 + (int)rng_below(&r, NNLS_MAX_COLUMNS);
        double A[12 * NNLS_MAX_COLUMNS], b[12], x[NNLS_MAX_COLUMNS];
        for (int i = 0; i < M * N; i++)
            A[i] = rng_normal(&r) * (i % N == 0 ? 1000 : 1);
        for (int i = 0; i < M; i++)
            b[i] = rng_normal(&r);
        assert_int_equal(0, nnls(x, A, b, M, N, NULL));
        for (int j = 0; j < N; j++) {
            double g = 0, size = 0;
            for (int i = 0; i < M; i++) {
                double rest = -b[i];
                for (int k = 0; k < N; k++)
                    rest += A[i * N + k] * x[k];
                g += A[i * N + j] * rest;
                size += fabs(A[i * N + j]) * 4;
            }
            assert_true(x[j] >= 0);
            assert_true(g >= -1e-7 * size);
            assert_true(x[j] == 0 || fabs(g) <= 1e-7 * size);
        }
    }
}

static void equal_columns_and_columns_of_zeros_do_no_harm(void **state)
{
    (void)state;
    double A[] = {1, 1, 0, 2, 2, 0, 3, 3, 0}, b[] = {2, 4, 6}, x[3];
    assert_int_equal(0, nnls(x, A, b, 3, 3, NULL));
    assert_true(fabs(x[0] + x[1] - 2) < 1e-12);
    assert_true(x[2] == 0);
    double one[] = {512}, value[] = {0.25}, y[1];
    assert_int_equal(0, nnls(y, one, value, 1, 1, NULL));
    assert_true(fabs(y[0] - 0.25 / 512) < 1e-18);
}

static void what_is_not_finite_or_too_wide_is_refused(void **state)
{
    (void)state;
    struct err err = {0};
    double A[] = {1, NAN}, b[] = {1, 2}, x[1] = {-7};
    assert_int_equal(MOE2_ENUMERIC, nnls(x, A, b, 2, 1, &err));
    assert_string_equal("a fit of values that are not finite", err.msg);
    assert_true(x[0] == -7);
    err = (struct err){0};
    assert_int_equal(MOE2_ELIMIT, nnls(x, b, b, 1, NNLS_MAX_COLUMNS + 1, &err));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_exact_line_is_found),
        cmocka_unit_test(a_negative_coefficient_becomes_zero_and_the_rest_is_refitted),
        cmocka_unit_test(random_problems_meet_the_conditions_of_the_optimum),
        cmocka_unit_test(equal_columns_and_columns_of_zeros_do_no_harm),
        cmocka_unit_test(what_is_not_finite_or_too_wide_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
