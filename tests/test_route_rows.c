/* The inner loops: right against double precision, and the same bits on every instruction set. */
#include "test_route_common.h"

#include <float.h>

#include "route/row_ops.h"

static const struct row_ops *tables[3];
static int n_tables;

static void find_tables(void)
{
    tables[n_tables++] = &row_ops_plain;
#if defined(__x86_64__)
    if (__builtin_cpu_supports("avx2"))
        tables[n_tables++] = &row_ops_avx2;
    if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512vl"))
        tables[n_tables++] = &row_ops_avx512;
#endif
}

static double ulps(float seen, double wanted)
{
    float at = (float)wanted;
    return fabs(seen - wanted) / (nextafterf(fabsf(at), FLT_MAX) - fabsf(at));
}

static void sigmoid_is_within_three_units_in_the_last_place(void **state)
{
    (void)state;
    for (double x = -87; x <= 87; x += 0.00371) {
        float in = (float)x, out;
        row_ops_best()->sigmoid(&out, &in, 1);
        assert_true(ulps(out, 1 / (1 + exp(-(double)in))) <= 3);
    }
}

static void sigmoid_of_huge_logits_is_finite(void **state)
{
    (void)state;
    float in[4] = {-FLT_MAX, -1000, 1000, FLT_MAX}, out[4];
    row_ops_best()->sigmoid(out, in, 4);
    for (int i = 0; i < 4; i++)
        assert_near(out[i], i < 2 ? 0 : 1, 1e-37);
}

static void softmax_is_right_and_sums_to_one(void **state)
{
    (void)state;
    struct rng rng;
    rng_init(&rng, 3);
    for (int n = 1; n <= 70; n++) {
        float x[70], s[70];
        double total = 0, sum = 0;
        for (int i = 0; i < n; i++)
            total += exp(x[i] = (float)(5 * rng_normal(&rng)));
        row_ops_best()->softmax(s, x, n);
        for (int i = 0; i < n; i++) {
            assert_near(s[i] * total / exp(x[i]), 1, 2e-6);
            sum += s[i];
        }
        assert_near(sum, 1, 1e-6);
    }
}

static void softmax_of_one_giant_gives_it_everything(void **state)
{
    (void)state;
    float x[3] = {-1e30f, 1e30f, 0}, s[3];
    row_ops_best()->softmax(s, x, 3);
    assert_near(s[0], 0, 1e-37);
    assert_true(s[1] == 1);
}

static void only_finite_numbers_are_finite(void **state)
{
    (void)state;
    float x[37];
    for (int bad = 0; bad < 37; bad++)
        for (int kind = 0; kind < 4; kind++) {
            for (int i = 0; i < 37; i++)
                x[i] = FLT_MAX;
            assert_true(row_ops_best()->finite(x, 37));
            x[bad] = (float[]){NAN, -NAN, INFINITY, -INFINITY}[kind];
            assert_false(row_ops_best()->finite(x, 37));
        }
}

/* Draws from few values, so that ties are everywhere. */
static void fill_tied(float *c, int64_t n, struct rng *rng, uint64_t n_values)
{
    for (int64_t i = 0; i < n; i++)
        c[i] = (float)rng_below(rng, n_values) - 3;
}

static void topk_is_the_sort_of_all_with_ties_to_the_lower_index(void **state)
{
    (void)state;
    struct rng rng;
    rng_init(&rng, 5);
    for (int trial = 0; trial < 300; trial++) {
        int rows = 1 + (int)rng_below(&rng, 40), n = 1 + (int)rng_below(&rng, 150);
        int k = 1 + (int)rng_below(&rng, n < 12 ? (uint64_t)n : 12);
        float c[40 * 150];
        int32_t idx[40 * 12];
        fill_tied(c, (int64_t)rows * n, &rng, trial % 2 ? 4 : 1000000);
        row_ops_best()->topk(idx, c, rows, n, k);
        for (int r = 0; r < rows; r++)
            for (int m = 0; m < k; m++) {
                int i = idx[r * k + m], before = 0;
                for (int j = 0; j < n; j++)
                    before +=
                        c[r * n + j] > c[r * n + i] || (c[r * n + j] == c[r * n + i] && j < i);
                assert_int_equal(before, m);
            }
    }
}

static int descending(const void *a, const void *b)
{
    float x = *(const float *)a, y = *(const float *)b;
    return (x < y) - (x > y);
}

static void the_kth_largest_is_what_sorting_finds(void **state)
{
    (void)state;
    struct rng rng;
    rng_init(&rng, 6);
    for (int trial = 0; trial < 100; trial++) {
        float x[300], sorted[300];
        int n = 1 + (int)rng_below(&rng, 300);
        for (int i = 0; i < n; i++)
            sorted[i] = x[i] = trial % 3 ? (float)rng_normal(&rng) : (float)rng_below(&rng, 3) - 1;
        qsort(sorted, (size_t)n, sizeof *sorted, descending);
        int k = 1 + (int)rng_below(&rng, (uint64_t)n);
        assert_true(order_kth(row_ops_best(), x, n, k) == sorted[k - 1]);
    }
}

static void every_instruction_set_gives_the_same_bits(void **state)
{
    (void)state;
    struct rng rng;
    rng_init(&rng, 8);
    enum { N = 517 };
    float x[N], want[N], got[N];
    int32_t want_idx[16 * 5], got_idx[16 * 5];
    for (int i = 0; i < N; i++)
        x[i] = (float)(8 * rng_normal(&rng));
    for (int t = 1; t < n_tables; t++) {
        row_ops_plain.sigmoid(want, x, N);
        tables[t]->sigmoid(got, x, N);
        assert_memory_equal(want, got, sizeof want);
        row_ops_plain.softmax(want, x, N);
        tables[t]->softmax(got, x, N);
        assert_memory_equal(want, got, sizeof want);
        row_ops_plain.scale_add(want, x, 0.3f, N);
        tables[t]->scale_add(got, x, 0.3f, N);
        assert_memory_equal(want, got, sizeof want);
        double a[2] = {0}, b[2] = {0};
        row_ops_plain.moments(a, x, N);
        tables[t]->moments(b, x, N);
        assert_memory_equal(a, b, sizeof a);
        assert_true(row_ops_plain.dot(x, want, N) == tables[t]->dot(x, want, N));
        row_ops_plain.topk(want_idx, x, 16, 32, 5);
        tables[t]->topk(got_idx, x, 16, 32, 5);
        assert_memory_equal(want_idx, got_idx, sizeof want_idx);
        assert_int_equal(row_ops_plain.count(x, N, 0.5f), tables[t]->count(x, N, 0.5f));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sigmoid_is_within_three_units_in_the_last_place),
        cmocka_unit_test(sigmoid_of_huge_logits_is_finite),
        cmocka_unit_test(softmax_is_right_and_sums_to_one),
        cmocka_unit_test(softmax_of_one_giant_gives_it_everything),
        cmocka_unit_test(only_finite_numbers_are_finite),
        cmocka_unit_test(topk_is_the_sort_of_all_with_ties_to_the_lower_index),
        cmocka_unit_test(the_kth_largest_is_what_sorting_finds),
        cmocka_unit_test(every_instruction_set_gives_the_same_bits),
    };
    find_tables();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
