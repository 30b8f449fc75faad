/* What the statistics promise, one sentence a test. Reference values: scipy 1.x (stats.t.ppf,
 * stats.t.cdf, spearmanr), numpy.quantile. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/stats.h"

static void near(double wanted, double seen, double relative)
{
    if (!(fabs(seen - wanted) <= relative * fabs(wanted)))
        fail_msg("%.17g, wanted %.17g", seen, wanted);
}

static void mean_deviation_and_variance_are_those_of_the_textbook(void **state)
{
    (void)state;
    double x[] = {2, 4, 4, 4, 5, 5, 7, 9};
    near(5, stats_mean(x, 8), 1e-15);
    near(4, stats_variance(x, 8), 1e-15);
    near(sqrt(32.0 / 7), stats_deviation(x, 8), 1e-15);
    near(0.4, stats_cv(x, 8), 1e-15);
    double far[] = {1e9 + 4, 1e9 + 7, 1e9 + 13, 1e9 + 16};
    near(30, stats_deviation(far, 4) * stats_deviation(far, 4), 1e-12);
}

static void what_is_not_defined_is_nan(void **state)
{
    (void)state;
    double x[] = {3}, zeros[] = {0, 0};
    assert_true(isnan(stats_mean(x, 0)) && isnan(stats_variance(x, 0)) &&
                isnan(stats_median(x, 0)));
    assert_true(isnan(stats_deviation(x, 1)) && isnan(stats_quantile(x, 0, 0.5)));
    assert_true(isnan(stats_gini(zeros, 2)) && isnan(stats_entropy(zeros, 2)) &&
                isnan(stats_cv(zeros, 2)));
    assert_true(isnan(stats_t_quantile(1, 5)) && isnan(stats_t_quantile(0, 5)));
    assert_true(isnan(stats_t_quantile(0.5, 0)) && isnan(stats_t_cdf(1, -1)));
    double rho = 0, same[] = {1, 1}, other[] = {1, 2};
    assert_int_equal(0, stats_spearman(&rho, same, other, 2, NULL));
    assert_true(isnan(rho));
    assert_int_equal(0, stats_spearman(&rho, other, other, 1, NULL));
    assert_true(isnan(rho));
}

static void median_and_quantiles_sort_and_interpolate(void **state)
{
    (void)state;
    double x[] = {3, 1, 2, 10}, odd[] = {9, 1, 5};
    near(2.5, stats_median(x, 4), 0);
    near(5, stats_median(odd, 3), 0);
    near(1, stats_quantile(x, 4, 0), 0);
    near(1.3, stats_quantile(x, 4, 0.1), 1e-15);
    near(7.9, stats_quantile(x, 4, 0.9), 1e-15);
    near(10, stats_quantile(x, 4, 1), 0);
}

static void quantiles_of_student_t_are_right_for_any_degrees_of_freedom(void **state)
{
    (void)state;
    static const struct {
        double df, quantile, cdf_of_1_3;
    } known[] = {
        {0.1, 1682362288745.0078, 0.5940436103160935},
        {0.5, 164.55767348048818, 0.7296926732774399},
        {1, 12.706204736174694, 0.7912855998398473},
        {2, 4.302652729749462, 0.8383764840919798},
        {2.5, 3.5746548420036817, 0.8497566053646458},
        {4, 2.7764451051977934, 0.868274201764388},
        {9, 2.262157162798205, 0.8870468136634754},
        {10, 2.228138851986274, 0.8886170913965777},
        {30, 2.0422724563012378, 0.8982495207309416},
        {1000, 1.9623390808264083, 0.9030497357922713},
        {1e6, 1.959966356814107, 0.9031993655954373},
    };
    for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
        near(known[i].quantile, stats_t_quantile(0.975, known[i].df), 1e-8);
        near(known[i].cdf_of_1_3, stats_t_cdf(1.3, known[i].df), 1e-9);
        near(1 - known[i].cdf_of_1_3, stats_t_cdf(-1.3, known[i].df), 1e-8);
        near(-known[i].quantile, stats_t_quantile(0.025, known[i].df), 1e-8);
    }
    near(-1033.1096745038078, stats_t_quantile(1e-9, 3), 1e-9);
    near(0.2631668613520229, stats_t_quantile(0.6, 7), 1e-9);
    near(0, stats_t_quantile(0.5, 7), 0);
}

static void a_paired_interval_is_that_of_the_differences(void **state)
{
    (void)state;
    double a[] = {2.1, 2.4, 2.2, 2.6, 2.3}, b[] = {2.0, 2.1, 2.2, 2.3, 2.4};
    struct stats_interval s = stats_paired95(a, b, 5);
    near(0.12, s.mean, 1e-12);
    near(-0.10211560841582348, s.low, 1e-10);
    near(0.34211560841582356, s.high, 1e-10);
    assert_int_equal(5, s.n);
    double d[5];
    for (int i = 0; i < 5; i++)
        d[i] = a[i] - b[i];
    near(s.half_width, stats_interval95(d, 5).half_width, 1e-12);
    s = stats_paired95(a, b, 1);
    assert_true(isinf(s.half_width) && s.low < 0 && isinf(s.low) && isinf(s.high));
    near(0.1, s.mean, 1e-12);
    s = stats_paired95(a, b, 0);
    assert_true(isnan(s.mean) && isnan(s.low));
}

static void spearman_gives_ties_their_mean_rank(void **state)
{
    (void)state;
    double x[] = {1, 2, 2, 3, 5}, y[] = {2, 1, 4, 4, 9}, rho = 0;
    assert_int_equal(0, stats_spearman(&rho, x, y, 5, NULL));
    near(0.7631578947368421, rho, 1e-14);
    double up[] = {1, 10, 100}, down[] = {3, 2, 1};
    assert_int_equal(0, stats_spearman(&rho, up, down, 3, NULL));
    near(-1, rho, 1e-15);
}

static void inequality_runs_from_equal_to_all_at_one(void **state)
{
    (void)state;
    double equal[] = {5, 5, 5, 5}, one[] = {0, 0, 8, 0}, some[] = {1, 3};
    near(0, stats_gini(equal, 4), 0);
    near(0.75, stats_gini(one, 4), 1e-15);
    near(0.25, stats_gini(some, 2), 1e-15); /* |1 − 3|·2 / (2·4·mean 2) */
    near(1, stats_entropy(equal, 4), 1e-15);
    assert_true(stats_entropy(one, 4) == 0);
    near(-(0.25 * log2(0.25) + 0.75 * log2(0.75)), stats_entropy(some, 2), 1e-15);
    near(1, stats_entropy(equal, 1), 0);
    near(0, stats_cv(equal, 4), 0);
    near(sqrt(3), stats_cv(one, 4), 1e-15);
}

static void a_share_has_wilsons_interval(void **state)
{
    (void)state;
    struct stats_share s = stats_share95(8, 10); /* by hand from Wilson's formula */
    assert_float_equal(s.value, 0.8, 1e-12);
    assert_float_equal(s.low, 0.490162, 1e-5);
    assert_float_equal(s.high, 0.943318, 1e-5);
    s = stats_share95(0, 5);
    assert_true(s.low == 0 && s.high > 0.3 && s.high < 0.5);
    for (int64_t n = 1; n < 5000; n++) { /* the ends are exact, whatever was rounded */
        assert_true(stats_share95(0, n).low == 0 && stats_share95(0, n).high < 1);
        assert_true(stats_share95(n, n).high == 1 && stats_share95(n, n).low > 0);
    }
    assert_true(isnan(stats_share95(0, 0).value));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(mean_deviation_and_variance_are_those_of_the_textbook),
        cmocka_unit_test(what_is_not_defined_is_nan),
        cmocka_unit_test(median_and_quantiles_sort_and_interpolate),
        cmocka_unit_test(quantiles_of_student_t_are_right_for_any_degrees_of_freedom),
        cmocka_unit_test(a_paired_interval_is_that_of_the_differences),
        cmocka_unit_test(spearman_gives_ties_their_mean_rank),
        cmocka_unit_test(inequality_runs_from_equal_to_all_at_one),
        cmocka_unit_test(a_share_has_wilsons_interval),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
