/* The raw variant: the mechanism exactly as first written down, and each of its faults. */
#include "test_route_common.h"

enum { E = 8, K = 2, T = 256 };

static struct router_config raw(void)
{
    struct router_config config = config_of(E, K, "rd_esi");
    config.incentive.normalise = 0;
    return config;
}

/* One forward with outputs of the given norms by expert. */
static void forward(struct bench *b, enum route_mode mode, const float *norm_of)
{
    static float norm[T * K];
    bench_mode(b, mode);
    for (int64_t p = 0; p < b->route.n; p++)
        norm[p] = norm_of[b->route.expert[p]];
    router_feed_norms(b->router, &b->route, norm);
}

static const float ones[E] = {1, 1, 1, 1, 1, 1, 1, 1};

static void its_formula_is_the_one_first_written_down(void **state)
{
    (void)state;
    struct router_config config = raw();
    struct bench b;
    bench_open(&b, &config, T);
    double R[E] = {0}, L[E] = {0}, N[E] = {0}, all = 0;
    float norm_of[E];
    for (int step = 0; step < 4; step++) {
        for (int i = 0; i < E; i++)
            norm_of[i] = (float)(1 + (i + step) % 3);
        forward(&b, ROUTE_TRAIN, norm_of);
        router_step(b.router, NULL);
        for (int i = 0; i < E; i++) {
            double n = (double)b.route.picks[i];
            R[i] = (0.1 * (n > 0 ? norm_of[i] : 0) + 0.9 * R[i]) * 0.99;
            L[i] = 0.1 * n + 0.9 * L[i];
            N[i] += n;
            all += n;
        }
        float bias[E];
        router_bias(b.router, bias);
        for (int i = 0; i < E; i++) {
            double own = N[i] > 0 ? N[i] : 1e-10;
            double wanted = 0.01 * R[i] - 0.5 * L[i] + 0.01 * sqrt(log(all) / own);
            assert_near(bias[i], wanted, 1e-5 * (1 + fabs(wanted)));
        }
    }
    bench_close(&b);
}

static void weights_are_the_softmax_of_the_chosen_selection_scores(void **state)
{
    (void)state;
    struct router_config config = raw();
    struct bench b;
    bench_open(&b, &config, T);
    forward(&b, ROUTE_TRAIN, ones);
    bench_mode(&b, ROUTE_EVAL);
    for (int64_t t = 0; t < T; t++) {
        const int32_t *idx = b.route.idx + t * K;
        const float *s = b.route.scores + t * E, *bias = b.route.bias;
        double a = (double)s[idx[0]] + bias[idx[0]], c = (double)s[idx[1]] + bias[idx[1]];
        assert_near(b.route.pick_weight[t * K], 1 / (1 + exp(c - a)), 1e-5);
    }
    bench_close(&b);
}

static void the_load_term_swamps_the_gate(void **state)
{
    (void)state;
    struct router_config config = raw();
    struct bench b;
    struct route_step stats;
    bench_open(&b, &config, T);
    for (int step = 0; step < 30; step++) {
        forward(&b, ROUTE_TRAIN, ones);
        router_step(b.router, &stats);
    }
    double most = 0;
    for (int i = 0; i < E; i++)
        most = fmax(most, 0.5 * (double)state_of(&b, "L")[i]);
    assert_true(most > 10); /* the gate is below 1 */
    assert_true(stats.bias_ratio > 30);
    bench_close(&b);
}

static void whole_batches_swing_from_expert_to_expert(void **state)
{
    (void)state;
    struct router_config config = raw();
    struct bench b;
    bench_open(&b, &config, T);
    int moved = 0, alone = 0, last = -1;
    for (int step = 0; step < 40; step++) {
        forward(&b, ROUTE_TRAIN, ones);
        router_step(b.router, NULL);
        int most = 0;
        for (int i = 1; i < E; i++)
            most = b.route.picks[i] > b.route.picks[most] ? i : most;
        alone += b.route.picks[most] == T;
        moved += most != last;
        last = most;
    }
    assert_true(alone >= 30); /* K experts take every token of the batch … */
    assert_true(moved >= 30); /* … and other ones the next time */
    bench_close(&b);
}

static void a_never_used_experts_bonus_is_thousands_of_times_the_gate(void **state)
{
    (void)state;
    struct router_config config = raw();
    struct bench b;
    float bias[E];
    bench_open(&b, &config, T);
    for (int64_t t = 0; t < T; t++)
        b.logits[t * E + 7] = -50;
    forward(&b, ROUTE_TRAIN, ones);
    assert_int_equal(b.route.picks[7], 0);
    router_bias(b.router, bias);
    assert_true(bias[7] > 1000);
    bench_close(&b);
}

static void an_expert_without_tokens_loses_its_reputation_for_ever(void **state)
{
    (void)state;
    struct router_config config = raw();
    config.incentive.gamma = config.incentive.C = 0; /* the gate alone decides */
    struct bench b;
    bench_open(&b, &config, T);
    forward(&b, ROUTE_TRAIN, ones);
    float before = state_of(&b, "R")[7];
    for (int64_t t = 0; t < T; t++)
        b.logits[t * E + 7] = -50;
    for (int step = 0; step < 100; step++)
        forward(&b, ROUTE_TRAIN, ones);
    assert_true(before > 0);
    assert_true(state_of(&b, "R")[7] < before * 1e-4f);
    assert_true(state_of(&b, "R")[0] > before);
    bench_close(&b);
}

static void an_evaluation_depends_on_the_order_of_its_batches(void **state)
{
    (void)state;
    struct router_config config = raw();
    int64_t picks[2][E];
    for (int order = 0; order < 2; order++) {
        struct bench b;
        bench_open(&b, &config, T);
        forward(&b, ROUTE_TRAIN, ones);
        memset(picks[order], 0, sizeof picks[order]);
        for (int k = 0; k < 2; k++) {
            fill_logits(b.logits, T, E, k == order ? 21 : 22, k == order ? 3 : -3);
            forward(&b, ROUTE_EVAL, ones);
            for (int i = 0; i < E; i++)
                picks[order][i] += b.route.picks[i];
        }
        bench_close(&b);
    }
    assert_true(memcmp(picks[0], picks[1], sizeof picks[0]) != 0);
}

static void evaluation_moves_its_state_but_recomputation_does_not(void **state)
{
    (void)state;
    struct router_config config = raw();
    struct bench b;
    bench_open(&b, &config, T);
    assert_int_equal(router_wants(b.router, ROUTE_EVAL), PERFORMANCE_NORM);
    assert_int_equal(router_wants(b.router, ROUTE_RECOMPUTE), PERFORMANCE_AUTO);
    forward(&b, ROUTE_EVAL, ones);
    float once = state_of(&b, "N")[0];
    assert_true(once > 0);
    forward(&b, ROUTE_RECOMPUTE, ones);
    assert_true(state_of(&b, "N")[0] == once);
    router_step(b.router, NULL);
    assert_true(state_of(&b, "N")[0] == once);
    bench_close(&b);
}

static void other_choices_beside_it_are_refused(void **state)
{
    (void)state;
    struct err err[4] = {{0}};
    struct router_config config = raw();
    struct router *r = NULL;
    config.incentive.performance = PERFORMANCE_LOSS;
    router_config_resolve(&config, 10);
    assert_int_equal(MOE2_ECONFIG, router_new(&r, &config, 0, &err[0]));
    assert_string_equal(err[0].msg, "rd_esi: normalise: false is the mechanism as first written "
                                    "down, wanted performance: norm with it");
    config = raw();
    config.combine = COMBINE_GATE;
    router_config_resolve(&config, 10);
    assert_int_equal(MOE2_ECONFIG, router_new(&r, &config, 0, &err[1]));
    assert_string_equal(err[1].msg, "rd_esi: normalise: false weighs by its selection scores, "
                                    "wanted combine: selection");
    assert_null(r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(its_formula_is_the_one_first_written_down),
        cmocka_unit_test(weights_are_the_softmax_of_the_chosen_selection_scores),
        cmocka_unit_test(the_load_term_swamps_the_gate),
        cmocka_unit_test(whole_batches_swing_from_expert_to_expert),
        cmocka_unit_test(a_never_used_experts_bonus_is_thousands_of_times_the_gate),
        cmocka_unit_test(an_expert_without_tokens_loses_its_reputation_for_ever),
        cmocka_unit_test(an_evaluation_depends_on_the_order_of_its_batches),
        cmocka_unit_test(evaluation_moves_its_state_but_recomputation_does_not),
        cmocka_unit_test(other_choices_beside_it_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
