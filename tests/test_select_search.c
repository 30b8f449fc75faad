/* What the selector's search promises at sizes that brute force does not reach, one sentence a test: the search agrees with the table of all
 * subsets, and every instruction set gives the same. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/log.h"
#include "base/rng.h"
#include "route/select.h"
#include "route/select_ops.h"
#include "route/select_parts.h"

enum { MAX_LIMITS = 12 };

struct world {
    struct select_problem p;
    int8_t *right;
    float *score;
    struct select_limits limits[MAX_LIMITS];
};

static void make(struct world *w, int64_t n, int N, uint64_t seed)
{
    struct rng r;
    rng_init(&r, seed);
    w->right = malloc((size_t)(n * N));
    w->score = malloc((size_t)(n * N) * sizeof *w->score);
    w->p = (struct select_problem){.n = n,
                                   .N = N,
                                   .right = w->right,
                                   .score = w->score,
                                   .k = 1,
                                   .max_experts = N,
                                   .limits = w->limits,
                                   .n_limits = MAX_LIMITS};
    for (int64_t q = 0; q < n; q++) {
        double hard = rng_uniform(&r);
        for (int i = 0; i < N; i++) {
            double p = (double)(i % 7) / 12 + 0.6 * rng_uniform(&r);
            w->right[q * N + i] = p > hard;
            w->score[q * N + i] = (float)(int)(8 * (p + 0.2 * rng_normal(&r))) / 8; /* ties */
        }
    }
    for (int i = 0; i < N; i++) {
        w->p.latency_us.constant[i] = (int64_t)rng_below(&r, 4);
        w->p.energy_uj.constant[i] = 1 + (int64_t)rng_below(&r, 9);
    }
    for (int g = 0; g < MAX_LIMITS; g++)
        w->limits[g] = (struct select_limits){g % 3 == 2 ? SELECT_NO_LIMIT : 1 + g % 3,
                                              g / 3 == 3 ? SELECT_NO_LIMIT : 5 + 10 * (g / 3)};
}

static void release(struct world *w)
{
    free(w->right);
    free(w->score);
}

static void same_answers(const struct select_result *a, const struct select_result *b)
{
    for (int64_t g = 0; g < a->n_answers; g++) {
        const struct select_answer *x = &a->answers[g], *y = &b->answers[g];
        assert_true(x->optimal && y->optimal && x->feasible == y->feasible);
        assert_memory_equal(&x->best, &y->best, sizeof x->best);
        assert_memory_equal(&x->single, &y->single, sizeof x->single);
        assert_memory_equal(&x->greedy, &y->greedy, sizeof x->greedy);
        assert_memory_equal(&x->all, &y->all, sizeof x->all);
        assert_int_equal(x->oracle_subset, y->oracle_subset);
        assert_int_equal(x->upper_bound, y->upper_bound);
        assert_int_equal(x->n_feasible, y->n_feasible);
    }
    assert_true(a->frontier_complete == b->frontier_complete && a->n_frontier == b->n_frontier);
    for (int64_t k = 0; k < a->n_frontier; k++)
        assert_memory_equal(&a->frontier[k], &b->frontier[k], sizeof *a->frontier);
}

static void search_and_table_agree(int64_t n, int N, uint64_t seed, enum select_objective objective)
{
    struct world w;
    struct select_result table = {0}, search = {0};
    make(&w, n, N, seed);
    w.p.objective = objective;
    w.p.frontier = true;
    w.p.method = SELECT_ENUMERATE;
    assert_int_equal(0, select_solve(&table, &w.p, NULL));
    w.p.method = SELECT_AUTO;
    assert_int_equal(0, select_solve(&search, &w.p, NULL)); /* one table of 16 or 32 bits */
    same_answers(&table, &search);
    select_result_release(&search);
    w.p.table_experts = 3;
    for (int bits = 4; bits <= 9; bits += 5) { /* blocks, with the bound and without */
        w.p.block_bits = bits;
        assert_int_equal(0, select_solve(&search, &w.p, NULL));
        same_answers(&table, &search);
        select_result_release(&search);
    }
    w.p.block_bits = 0;
    assert_int_equal(0, select_solve(&search, &w.p, NULL));
    same_answers(&table, &search);
    select_result_release(&search);
    select_result_release(&table);
    release(&w);
}

static void sixteen_experts_are_searched_as_they_are_enumerated(void **state)
{
    (void)state;
    search_and_table_agree(1500, 16, 1, SELECT_ACCURACY);
    search_and_table_agree(700, 15, 2, SELECT_ACCURACY);
    search_and_table_agree(700, 15, 3, SELECT_COVERAGE);
}

static void more_than_65535_prompts_are_counted_right(void **state)
{
    (void)state;
    search_and_table_agree(70000, 9, 4, SELECT_ACCURACY);
    search_and_table_agree(70000, 9, 5, SELECT_COVERAGE);
}

static void when_time_ends_the_bound_is_true(void **state)
{
    (void)state;
    struct world w;
    struct select_result whole = {0}, cut = {0};
    make(&w, 2000, 40, 6);
    for (int g = 0; g < MAX_LIMITS; g++)
        w.limits[g].energy_uj = g < 6 ? 4 : SELECT_NO_LIMIT;
    w.p.time_limit_s = 1;
    assert_int_equal(0, select_solve(&whole, &w.p, NULL));
    for (int g = 0; g < 6; g++)
        assert_true(
            whole.answers[g].optimal); /* small limits are proven whatever the others need */
    w.p.time_limit_s = 0.01;
    assert_int_equal(0, select_solve(&cut, &w.p, NULL));
    for (int g = 0; g < MAX_LIMITS; g++) {
        const struct select_answer *a = &cut.answers[g];
        assert_true(a->feasible && a->upper_bound >= a->best.correct);
        assert_true(a->upper_bound >= whole.answers[g].best.correct);
        assert_true(!a->optimal || a->upper_bound == a->best.correct);
    }
    select_result_release(&whole);
    select_result_release(&cut);
    release(&w);
}

/* Counted the other way round: subsets of the experts that are fast enough, by how many have which summed energy. */
static int64_t count_by_sums(const struct world *w, const struct select_limits *l)
{
    enum { MOST = 512 };
    static int64_t ways[MOST];
    int64_t count = 0;
    memset(ways, 0, sizeof ways);
    ways[0] = 1;
    for (int i = 0; i < w->p.N; i++)
        for (int e = MOST - 1; e >= w->p.energy_uj.constant[i]; e--)
            if (w->p.latency_us.constant[i] <= l->latency_us)
                ways[e] += ways[e - w->p.energy_uj.constant[i]];
    for (int64_t e = 0; e < MOST && e <= l->energy_uj; e++)
        count += ways[e];
    return count - 1;
}

static void feasible_subsets_are_counted_beyond_what_is_looked_at(void **state)
{
    (void)state;
    struct world w;
    struct select_result r = {0};
    make(&w, 50, 38, 7);
    w.p.time_limit_s = 0.01;
    assert_int_equal(0, select_solve(&r, &w.p, NULL));
    for (int g = 0; g < MAX_LIMITS; g++)
        assert_int_equal(count_by_sums(&w, &w.limits[g]), r.answers[g].n_feasible);
    select_result_release(&r);
    release(&w);
}

static void beyond_what_can_be_counted_it_says_so(void **state)
{
    (void)state;
    struct world w;
    struct select_result r = {0};
    make(&w, 20, 64, 8);
    w.p.time_limit_s = 0.01;
    w.limits[1] = (struct select_limits){SELECT_NO_LIMIT, SELECT_NO_LIMIT};
    w.p.n_limits = 2;
    assert_int_equal(0, select_solve(&r, &w.p, NULL));
    assert_int_equal(-1, r.answers[0].n_feasible); /* energy binds on more than 40 experts */
    assert_int_equal(-1, r.answers[1].n_feasible); /* 2^64 - 1 */
    select_result_release(&r);
    w.p.max_experts = 2;
    assert_int_equal(0, select_solve(&r, &w.p, NULL));
    assert_int_equal(64 + 64 * 63 / 2, r.answers[1].n_feasible);
    select_result_release(&r);
    release(&w);
}

static void a_set_stop_flag_ends_it(void **state)
{
    (void)state;
    struct world w;
    struct select_result r = {0};
    volatile int stop = 1;
    make(&w, 500, 30, 7);
    w.p.stop = &stop;
    assert_int_equal(MOE2_ESTOP, select_solve(&r, &w.p, NULL));
    select_result_release(&r);
    release(&w);
}

/* ---- loops ---- */

static void same_loops(const struct select_ops *a, const struct select_ops *b)
{
    enum { n = 1000, bits = 14 };
    static float x[n], y[n];
    static uint32_t m32[2][n], s32[2][1 << bits], most[2][1 << 6];
    static uint64_t m64[2][n], above[2][(n + 63) / 64];
    static uint16_t s16[2][1 << bits];
    struct rng r;
    rng_init(&r, 9);
    for (int k = 0; k < n; k++) {
        x[k] = (float)rng_below(&r, 5);
        y[k] = (float)rng_below(&r, 5);
    }
    for (int k = 0; k < 1 << bits; k++) {
        s16[0][k] = s16[1][k] = (uint16_t)rng_next(&r);
        s32[0][k] = s32[1][k] = (uint32_t)rng_next(&r);
    }
    const struct select_ops *ops[2] = {a, b};
    for (int equal = 0; equal < 2; equal++)
        for (int k = 0; k < 2; k++) {
            ops[k]->above32(m32[k], 1u << equal, x, y, equal, n);
            ops[k]->above64(m64[k], 1ull << (40 + equal), x, y, equal, n);
            ops[k]->above_bits(above[k], x, y, equal, n);
        }
    assert_memory_equal(m32[0], m32[1], sizeof m32[0]);
    assert_memory_equal(m64[0], m64[1], sizeof m64[0]);
    assert_memory_equal(above[0], above[1], sizeof above[0]);
    for (int q = 0; q < n; q++)
        assert_int_equal(y[q] >= x[q], above[0][q / 64] >> q % 64 & 1);
    assert_int_equal(a->count_hit(m64[0], 3ull << 40, n), b->count_hit(m64[0], 3ull << 40, n));
    assert_int_equal(a->count(m64[0], n), b->count(m64[0], n));
    assert_int_equal(a->count_without(m64[0], above[0], 16),
                     b->count_without(m64[0], above[0], 16));
    for (int k = 0; k < 2; k++) {
        ops[k]->sums16(s16[k], bits);
        ops[k]->sums32(s32[k], bits);
        for (int small = 0; small < 7; small++) {
            ops[k]->sums16(s16[k], small);
            ops[k]->sums32(s32[k], small);
        }
    }
    assert_memory_equal(s16[0], s16[1], sizeof s16[0]);
    assert_memory_equal(s32[0], s32[1], sizeof s32[0]);
    for (int k = 0; k < 2; k++)
        ops[k]->most16(most[k], s16[k], 1 << bits, 1 << 8);
    assert_memory_equal(most[0], most[1], sizeof most[0]);
}

static void sums_over_subsets_are_sums_over_subsets(void **state)
{
    (void)state;
    for (int bits = 0; bits <= 13; bits += bits < 8 ? 1 : 5) {
        static uint16_t x[1 << 13], from[1 << 13];
        struct rng r;
        rng_init(&r, (uint64_t)bits);
        for (int k = 0; k < 1 << bits; k++)
            x[k] = from[k] = (uint16_t)rng_below(&r, 7);
        select_ops_plain.sums16(x, bits);
        for (int u = 0; u < 1 << bits; u += 1 + u / 64) {
            uint16_t sum = 0;
            for (int v = 0; v <= u; v++)
                sum = (uint16_t)(sum + ((v & u) == v ? from[v] : 0));
            assert_int_equal(sum, x[u]);
        }
    }
}

static void every_instruction_set_gives_the_same(void **state)
{
    (void)state;
#if defined(__x86_64__)
    if (__builtin_cpu_supports("avx2"))
        same_loops(&select_ops_plain, &select_ops_avx2);
    if (select_ops_best() == &select_ops_avx512)
        same_loops(&select_ops_plain, &select_ops_avx512);
#endif
    same_loops(&select_ops_plain, select_ops_best());
}

/* What costs more is right more often, mostly, and there are few values: many points are equal but for their members. */
static void a_frontier_is_the_same_in_whatever_parts_it_grows(void **state)
{
    (void)state;
    enum { N = 600 };
    static const int64_t PARTS[] = {N, 1, 7, 250};
    struct select_point points[N];
    struct select_result whole = {0};
    struct rng rng;
    rng_init(&rng, 29);
    for (int i = 0; i < N; i++) {
        int64_t energy = (int64_t)rng_below(&rng, 20), latency = (int64_t)rng_below(&rng, 6);
        int64_t correct = energy + 3 * latency + (int64_t)rng_below(&rng, 3);
        points[i] = (struct select_point){(uint64_t)(i + 1), correct, energy, latency};
    }
    assert_int_equal(0, select_frontier_add(&whole, points, N, NULL));
    assert_true(whole.has_frontier && whole.n_frontier > 5 && whole.n_frontier < N);
    for (size_t k = 0; k < sizeof PARTS / sizeof *PARTS; k++) {
        struct select_result grown = {0};
        for (int64_t end = N, n; end > 0; end -= n) { /* the last first */
            n = end < PARTS[k] ? end : PARTS[k];
            assert_int_equal(0, select_frontier_add(&grown, points + end - n, n, NULL));
        }
        assert_int_equal(0, select_frontier_add(&grown, NULL, 0, NULL));
        assert_int_equal(whole.n_frontier, grown.n_frontier);
        assert_memory_equal(whole.frontier, grown.frontier,
                            (size_t)whole.n_frontier * sizeof *points);
        select_result_release(&grown);
    }
    select_result_release(&whole);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sixteen_experts_are_searched_as_they_are_enumerated),
        cmocka_unit_test(more_than_65535_prompts_are_counted_right),
        cmocka_unit_test(when_time_ends_the_bound_is_true),
        cmocka_unit_test(a_frontier_is_the_same_in_whatever_parts_it_grows),
        cmocka_unit_test(feasible_subsets_are_counted_beyond_what_is_looked_at),
        cmocka_unit_test(beyond_what_can_be_counted_it_says_so),
        cmocka_unit_test(a_set_stop_flag_ends_it),
        cmocka_unit_test(sums_over_subsets_are_sums_over_subsets),
        cmocka_unit_test(every_instruction_set_gives_the_same),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
