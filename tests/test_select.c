/* What the selector promises, one sentence a test: on thousands of random problems, full of ties, under every option, it says what
 * select_oracle.h says. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "base/rng.h"
#include "select_oracle.h"

enum { MAX_N = 10, MAX_CELLS = 6 };

struct instance {
    struct select_problem p;
    float score[ORACLE_MAX_PROMPTS * MAX_N];
    int8_t right[ORACLE_MAX_PROMPTS * MAX_N];
    int32_t answer[ORACLE_MAX_PROMPTS * MAX_N], category[ORACLE_MAX_PROMPTS];
    int64_t latency[ORACLE_MAX_PROMPTS * MAX_N], energy[ORACLE_MAX_PROMPTS * MAX_N];
    struct select_limits limits[MAX_CELLS], category_limits[ORACLE_MAX_CATEGORIES];
};

static int below(struct rng *r, int n)
{
    return (int)rng_below(r, (uint64_t)n);
}

static struct select_limits random_limits(struct rng *r, int most_latency, int most_energy)
{
    struct select_limits x = {SELECT_NO_LIMIT, SELECT_NO_LIMIT};
    if (below(r, 3))
        x.latency_us = below(r, most_latency + 1);
    if (below(r, 3))
        x.energy_uj = below(r, most_energy + 1);
    return x;
}

static void random_cells(struct instance *t, struct rng *r, bool negative)
{
    struct select_problem *p = &t->p;
    int levels = 1 + below(r, 6), most = 1 + below(r, 5), missing = below(r, 4);
    for (int64_t k = 0; k < p->n * p->N; k++) {
        t->score[k] = (float)(below(r, levels) - (negative ? levels / 2 : 0)) * 0.1f;
        t->right[k] = below(r, 10) < missing ? -1 : (int8_t)below(r, 2);
        /* answer 0 is right, the others are not; now and then none was given */
        t->answer[k] = t->right[k] == 1 ? 0 : t->right[k] == 0 ? 1 + below(r, 2) : below(r, 3);
        if (below(r, 12) == 0)
            t->answer[k] = -1;
        t->latency[k] = below(r, most + 1);
        t->energy[k] = below(r, most + 1);
    }
    for (int i = 0; i < p->N; i++) {
        p->latency_us.constant[i] = below(r, most + 1);
        p->energy_uj.constant[i] = below(r, most + 1);
    }
}

/* A problem with every option at random; ways: whether it may be routed, vote, …, or is one for the search beyond tables. */
static void random_instance(struct instance *t, struct rng *r, bool plain)
{
    struct select_problem *p = &t->p;
    *p = (struct select_problem){.n = 1 + below(r, below(r, 2) ? 8 : 40), .N = 1 + below(r, 6)};
    p->combine = plain ? VOTE_TOP1 : (enum vote_kind)below(r, VOTE_N_KINDS);
    p->k = p->combine == VOTE_TOP1 ? 1 : 1 + below(r, p->N + 1);
    p->k = p->k > p->N ? p->N : p->k;
    random_cells(t, r, p->combine != VOTE_WEIGHTED && below(r, 2));
    p->score = t->score;
    p->right = t->right;
    p->answer = below(r, 2) && p->combine != VOTE_TOP1 ? t->answer : NULL;
    p->latency_us.each = below(r, 2) ? t->latency : NULL;
    p->energy_uj.each = below(r, 2) ? t->energy : NULL;
    p->objective = below(r, 5) == 0 ? SELECT_COVERAGE : SELECT_ACCURACY;
    p->cost =
        p->objective == SELECT_COVERAGE || plain || below(r, 2) ? SELECT_DEPLOYED : SELECT_ROUTED;
    p->method = below(r, 2) ? SELECT_AUTO : SELECT_ENUMERATE;
    p->avoid = below(r, 2);
    p->stat = (enum select_stat)below(r, STAT_N);
    p->aggregation_us = below(r, 3);
    p->max_experts = below(r, 3) ? p->N : 1 + below(r, p->N);
    p->limits = t->limits;
    p->n_limits = 1 + below(r, MAX_CELLS);
    for (int g = 0; g < p->n_limits; g++)
        t->limits[g] = random_limits(r, 6, 5 * p->N / 2);
    if (below(r, 3) == 0) {
        p->category = t->category;
        p->n_categories = 1 + below(r, ORACLE_MAX_CATEGORIES);
        p->category_limits = t->category_limits;
        for (int64_t q = 0; q < p->n; q++)
            t->category[q] = below(r, p->n_categories);
        for (int c = 0; c < p->n_categories; c++)
            t->category_limits[c] = random_limits(r, 6, 5 * p->N / 2);
    }
    p->frontier = below(r, 2);
}

static void same_point(const struct select_point *x, const struct worth *w, unsigned S)
{
    assert_int_equal(S, x->members);
    assert_int_equal(w[S].correct, x->correct);
    assert_int_equal(w[S].energy, x->energy);
    assert_int_equal(w[S].latency, x->latency);
}

static void same_shares(const struct select_share *s, const struct select_problem *p,
                        const struct worth *w)
{
    for (int c = 0; c < p->n_categories; c++) {
        assert_int_equal(w->c_prompts[c], s[c].prompts);
        assert_int_equal(w->c_correct[c], s[c].correct);
        assert_int_equal(w->c_energy[c], s[c].energy);
        assert_int_equal(w->c_latency[c], s[c].latency);
    }
}

static void same_baselines(const struct select_answer *a, const struct select_problem *p,
                           const struct worth *w, const struct select_limits *limit)
{
    unsigned single = o_answer(p, w, limit, 1), all = (1u << p->N) - 1;
    double sum = 0;
    int n = 0;
    assert_int_equal(single != 0, a->has_single);
    if (single) {
        same_point(&a->single, w, single);
        same_point(&a->greedy, w, o_greedy(p, w, limit));
    }
    same_point(&a->all, w, all);
    assert_int_equal(o_feasible(p, w, all, limit), a->all_feasible);
    for (int i = 0; i < p->N; i++)
        if (o_feasible(p, w, 1u << i, limit)) {
            sum += (double)w[1u << i].correct / (double)p->n;
            n++;
        }
    if (n)
        assert_true(fabs(sum / n - a->random) < 1e-12);
}

static void check(const struct select_problem *p, bool certain)
{
    static struct worth w[1 << MAX_N];
    struct select_result r = {0};
    struct err err = {0};
    for (unsigned S = 1; S < 1u << p->N; S++)
        w[S] = o_worth(p, S);
    int rc = select_solve(&r, p, &err);
    assert_string_equal("", err.msg);
    assert_int_equal(0, rc);
    assert_int_equal(p->n_limits, r.n_answers);
    assert_int_equal(o_oracle(p, (1u << p->N) - 1), r.oracle);
    for (int64_t g = 0; g < p->n_limits; g++) {
        const struct select_answer *a = &r.answers[g];
        unsigned best = o_answer(p, w, &p->limits[g], p->max_experts);
        assert_true(a->optimal || !certain);
        if (a->optimal) {
            assert_int_equal(best != 0, a->feasible);
            assert_int_equal(best ? w[best].correct : -1, a->upper_bound);
        } else {
            assert_true(!best || a->upper_bound >= w[best].correct);
        }
        if (a->feasible && a->optimal)
            same_point(&a->best, w, best);
        if (a->n_feasible >= 0)
            assert_int_equal(o_count(p, w, &p->limits[g]), a->n_feasible);
        assert_true(a->n_feasible >= 0 || !certain);
        if (a->feasible)
            assert_int_equal(o_oracle(p, (unsigned)a->best.members), a->oracle_subset);
        if (a->feasible && p->n_categories)
            same_shares(r.shares + g * p->n_categories, p, &w[a->best.members]);
        same_baselines(a, p, w, &p->limits[g]);
    }
    assert_int_equal(p->frontier, r.has_frontier);
    if (certain && p->frontier && (p->cost == SELECT_DEPLOYED || p->stat == STAT_MEAN))
        assert_true(r.frontier_complete);
    int64_t n = 0;
    for (unsigned S = 1; S < 1u << p->N && r.frontier_complete; S++)
        if (o_on_frontier(p, w, S)) {
            int64_t k = 0;
            while (k < r.n_frontier && r.frontier[k].members != S)
                k++;
            assert_true(k < r.n_frontier);
            same_point(&r.frontier[k], w, S);
            n++;
        }
    if (r.frontier_complete)
        assert_int_equal(n, r.n_frontier);
    for (int64_t k = 1; k < r.n_frontier; k++)
        assert_true(r.frontier[k - 1].energy < r.frontier[k].energy ||
                    (r.frontier[k - 1].energy == r.frontier[k].energy &&
                     r.frontier[k - 1].latency < r.frontier[k].latency));
    select_result_release(&r);
}

static void every_option_agrees_with_brute_force(void **state)
{
    (void)state;
    static struct instance t;
    struct rng r;
    rng_init(&r, 1);
    for (int k = 0; k < 6000; k++) {
        random_instance(&t, &r, false);
        check(&t.p, true);
    }
}

static void the_search_agrees_with_brute_force(void **state)
{
    (void)state;
    static struct instance t;
    struct rng r;
    rng_init(&r, 2);
    for (int k = 0; k < 4000; k++) {
        random_instance(&t, &r, true);
        t.p.method = SELECT_AUTO;
        t.p.table_experts = 1 + below(&r, 3);
        t.p.block_bits = 1 + below(&r, 5);
        check(&t.p, true);
    }
}

static void beyond_one_table_every_option_agrees_with_brute_force(void **state)
{
    (void)state;
    static struct instance t;
    struct rng r;
    rng_init(&r, 3);
    for (int k = 0; k < 2000; k++) {
        random_instance(&t, &r, false);
        t.p.method = SELECT_AUTO;
        t.p.table_experts = 2;
        t.p.block_bits = 1 + below(&r, 3);
        check(&t.p, true);
    }
}

static void too_many_experts_to_enumerate_are_refused(void **state)
{
    (void)state;
    struct select_result r = {0};
    struct err err = {0};
    int8_t right[21] = {0};
    float score[21] = {0};
    struct select_limits none = {SELECT_NO_LIMIT, SELECT_NO_LIMIT};
    struct select_problem p = {.n = 1,
                               .N = 21,
                               .score = score,
                               .right = right,
                               .k = 1,
                               .method = SELECT_ENUMERATE,
                               .max_experts = 21,
                               .limits = &none,
                               .n_limits = 1};
    assert_int_equal(MOE2_ECONFIG, select_solve(&r, &p, &err));
    assert_string_equal("enumerating 21 experts, wanted at most 20", err.msg);
    select_result_release(&r);
}

static void sums_beyond_63_bits_are_refused(void **state)
{
    (void)state;
    enum { n = 20000 };
    static int8_t right[n * 10];
    static float score[n * 10];
    static int64_t cost[n * 10];
    struct select_result r = {0};
    struct err err = {0};
    struct select_limits none = {SELECT_NO_LIMIT, SELECT_NO_LIMIT};
    struct select_problem p = {.n = n,
                               .N = 10,
                               .score = score,
                               .right = right,
                               .k = 1,
                               .max_experts = 10,
                               .limits = &none,
                               .n_limits = 1};
    for (int k = 0; k < n * 10; k++)
        cost[k] = 100000000000000;
    p.energy_uj.each = cost;
    assert_int_equal(MOE2_ELIMIT, select_solve(&r, &p, &err));
    select_result_release(&r);
    for (int k = 0; k < n * 10; k++)
        cost[k] = 1000000000000;
    assert_int_equal(0, select_solve(&r, &p, &err)); /* the largest cost allowed */
    assert_true(r.answers[0].best.energy == (int64_t)n * 1000000000000);
    select_result_release(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_option_agrees_with_brute_force),
        cmocka_unit_test(the_search_agrees_with_brute_force),
        cmocka_unit_test(beyond_one_table_every_option_agrees_with_brute_force),
        cmocka_unit_test(too_many_experts_to_enumerate_are_refused),
        cmocka_unit_test(sums_beyond_63_bits_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
