/* Steps, saved states, DeepSeek-V3's own bias, export, and what configurations are refused. */
#include "test_route_common.h"

enum { E = 8, K = 2, T = 128 };

static void a_step_reports_loads_and_clears_its_sums(void **state)
{
    (void)state;
    struct router_config config = config_of(E, K, "loss_free");
    struct bench b;
    struct route_step stats;
    bench_open(&b, &config, T);
    fill_logits(b.logits, T, E, 2, 4);
    bench_mode(&b, ROUTE_TRAIN);
    int64_t most = 0;
    for (int i = 0; i < E; i++)
        most = b.route.picks[i] > most ? b.route.picks[i] : most;
    router_step(b.router, &stats);
    assert_int_equal(stats.n_items, T);
    assert_near(stats.max_vio, (double)most * E / (K * T) - 1, 1e-12);
    assert_near(stats.drop_rate, 0, 0);
    router_step(b.router, &stats);
    assert_int_equal(stats.n_items, 0);
    bench_close(&b);
}

static void a_dropped_step_leaves_no_trace(void **state)
{
    (void)state;
    const char *names[] = {"loss_free", "quantile", "rd_esi"};
    for (int k = 0; k < 3; k++) {
        struct router_config config = config_of(E, K, names[k]);
        struct bench a, b;
        float bias[2][E];
        bench_open(&a, &config, T);
        bench_open(&b, &config, T);
        fill_logits(b.logits, T, E, 9, 4);
        bench_mode(&b, ROUTE_TRAIN);
        router_step_drop(b.router);
        memcpy(b.logits, a.logits, sizeof(float) * T * E);
        bench_step(&a, NULL);
        bench_step(&b, NULL);
        router_bias(a.router, bias[0]);
        router_bias(b.router, bias[1]);
        assert_memory_equal(bias[0], bias[1], sizeof bias[0]);
        bench_close(&a);
        bench_close(&b);
    }
}

static void every_kinds_state_goes_round_with_the_same_bits(void **state)
{
    (void)state;
    const char *names[] = {"none", "loss_free", "quantile", "rd_esi", "expert_choice", "raw"};
    for (int k = 0; k < 6; k++) {
        struct router_config config = config_of(E, K,
                                                k < 4    ? names[k]
                                                : k == 4 ? "none"
                                                         : "rd_esi");
        struct bench a, b;
        struct route_state_item from[ROUTE_STATE_MAX], to[ROUTE_STATE_MAX];
        float norm[T * K];
        config.pick = k == 4 ? PICK_EXPERT_CHOICE : PICK_AUTO;
        config.incentive.normalise = k == 5 ? 0 : -1;
        bench_open(&a, &config, T);
        bench_open(&b, &config, T);
        for (int p = 0; p < T * K; p++)
            norm[p] = 1 + (float)p;
        for (int step = 0; step < 3; step++) {
            fill_logits(a.logits, T, E, (uint64_t)step, 3);
            bench_mode(&a, ROUTE_TRAIN);
            router_feed_norms(a.router, &a.route, norm);
            router_step(a.router, NULL);
        }
        int n = router_state(a.router, from);
        assert_int_equal(0, router_state_load(b.router, from, n, NULL));
        assert_int_equal(n, router_state(b.router, to));
        for (int i = 0; i < n; i++) {
            assert_string_equal(from[i].name, to[i].name);
            assert_memory_equal(from[i].values, to[i].values, sizeof(float) * (size_t)from[i].n);
        }
        memcpy(b.logits, a.logits, sizeof(float) * T * E);
        bench_mode(&a, ROUTE_EVAL);
        bench_mode(&b, ROUTE_EVAL);
        assert_int_equal(a.route.n, b.route.n);
        assert_memory_equal(a.route.token, b.route.token, sizeof(int32_t) * (size_t)a.route.n);
        assert_memory_equal(a.route.weight, b.route.weight, sizeof(float) * (size_t)a.route.n);
        bench_close(&a);
        bench_close(&b);
    }
}

/* Loads a changed copy of a good state; the message must be the one wanted, and nothing may move. */
static void refused_state(struct bench *b, struct route_state_item *items, int n, int code,
                          const char *message)
{
    struct err err = {0};
    float before[E], after[E];
    router_bias(b->router, before);
    assert_int_equal(code, router_state_load(b->router, items, n, &err));
    assert_string_equal(err.msg, message);
    router_bias(b->router, after);
    assert_memory_equal(before, after, sizeof before);
}

static void a_broken_state_is_refused_and_nothing_is_lost(void **state)
{
    (void)state;
    struct router_config config = config_of(E, K, "loss_free");
    struct bench b;
    float values[E] = {1, 2, 3, 4, 5, 6, 7, 8}, version = 1, newer = 2;
    struct route_state_item good[] = {{"loss_free.b", values, E}, {"version", &version, 1}};
    struct route_state_item item[2];
    bench_open(&b, &config, T);
    bench_step(&b, NULL);
    refused_state(&b, good + 1, 1, MOE2_EFORMAT, "router state of layer 3 has no loss_free.b");
    memcpy(item, good, sizeof good);
    item[0].n = E - 1;
    refused_state(&b, item, 2, MOE2_EFORMAT,
                  "router state of layer 3: loss_free.b has 7 numbers, wanted 8");
    memcpy(item, good, sizeof good);
    item[0].name = "rd_esi.R";
    refused_state(&b, item, 2, MOE2_EFORMAT,
                  "router state of layer 3 holds rd_esi.R, which incentive loss_free with pick "
                  "topk does not have");
    memcpy(item, good, sizeof good);
    item[1].values = &newer;
    refused_state(&b, item, 2, MOE2_EFORMAT, "router state of layer 3 is of version 2, wanted 1");
    values[5] = NAN;
    refused_state(&b, good, 2, MOE2_ENUMERIC,
                  "router state of layer 3: loss_free.b holds nan at 5, wanted a finite number");
    values[5] = 6;
    assert_int_equal(0, router_state_load(b.router, good, 2, NULL));
    float bias[E];
    router_bias(b.router, bias);
    assert_memory_equal(bias, values, sizeof bias);
    bench_close(&b);
}

static void native_bias_is_kept_frozen_or_replaced(void **state)
{
    (void)state;
    enum native_bias kinds[] = {NATIVE_BIAS_KEEP, NATIVE_BIAS_FREEZE, NATIVE_BIAS_REPLACE};
    for (int k = 0; k < 3; k++) {
        struct router_config config = config_of(E, K, "rd_esi");
        struct bench b;
        float native[E], bias[E], own[E];
        config.native_bias = kinds[k];
        config.native_bias_rate = 0.01f;
        for (int i = 0; i < E; i++)
            native[i] = 0.1f * (float)i;
        bench_open(&b, &config, T);
        assert_int_equal(0, router_set_native_bias(b.router, native, NULL));
        int64_t picks[E];
        bench_step(&b, NULL);
        memcpy(picks, b.route.picks, sizeof picks);
        router_bias(b.router, bias);
        incentive_bias(router_incentive(b.router), own, NULL);
        bench_mode(&b, ROUTE_EVAL);
        assert_memory_equal(b.route.bias, bias, sizeof bias);
        for (int i = 0; i < E; i++) {
            int64_t fair = K * T, load = picks[i] * E;
            float moved = native[i] + 0.01f * (float)((load < fair) - (load > fair));
            float wanted = kinds[k] == NATIVE_BIAS_KEEP ? moved : native[i];
            assert_near(router_native_bias(b.router)[i], wanted, 1e-7);
            assert_near(bias[i] - own[i], kinds[k] == NATIVE_BIAS_REPLACE ? 0 : wanted, 1e-6);
        }
        bench_close(&b);
    }
}

static void a_native_bias_that_is_no_number_is_refused(void **state)
{
    (void)state;
    struct router_config config = config_of(E, K, "none");
    struct bench b;
    struct err err = {0};
    float native[E] = {0, 0, NAN};
    bench_open(&b, &config, T);
    assert_int_equal(MOE2_ENUMERIC, router_set_native_bias(b.router, native, &err));
    assert_string_equal(err.msg, "e_score_correction_bias of layer 3: expert 2 is nan, wanted a "
                                 "finite number");
    assert_true(router_native_bias(b.router)[2] == 0);
    bench_close(&b);
}

static void the_exported_bias_is_the_one_that_evaluation_adds(void **state)
{
    (void)state;
    const char *names[] = {"none", "aux", "loss_free", "quantile", "rd_esi", "rd_esi_integral"};
    for (int k = 0; k < 6; k++) {
        struct router_config config = config_of(E, K, names[k]);
        struct bench b, plain;
        float native[E], bias[E];
        config.native_bias = NATIVE_BIAS_FREEZE;
        for (int i = 0; i < E; i++)
            native[i] = 0.03f * (float)(i % 3);
        bench_open(&b, &config, T);
        router_set_native_bias(b.router, native, NULL);
        for (int step = 0; step < 4; step++)
            bench_step(&b, NULL);
        assert_int_equal(0, router_export_bias(b.router, bias, NULL));
        bench_mode(&b, ROUTE_EVAL);
        assert_memory_equal(bias, b.route.bias, sizeof bias);
        struct router_config deepseek = config_of(E, K, "none");
        deepseek.native_bias = NATIVE_BIAS_FREEZE;
        bench_open(&plain, &deepseek, T); /* a plain DeepSeek-V3 router picks the same */
        router_set_native_bias(plain.router, bias, NULL);
        bench_mode(&plain, ROUTE_EVAL);
        assert_memory_equal(b.route.idx, plain.route.idx, sizeof(int32_t) * T * K);
        assert_memory_equal(b.route.pick_weight, plain.route.pick_weight, sizeof(float) * T * K);
        bench_close(&b);
        bench_close(&plain);
    }
}

static void export_is_refused_where_a_plain_checkpoint_cant_say_it(void **state)
{
    (void)state;
    struct {
        struct router_config config;
        const char *message;
    } cases[5];
    for (int k = 0; k < 5; k++)
        cases[k].config = config_of(E, K, k == 2 ? "rd_esi" : "none");
    cases[0].config.score = SCORE_SOFTMAX;
    cases[0].message =
        "layer 3 can't be exported with softmax scores: DeepSeek-V2's public formats "
        "have no e_score_correction_bias";
    cases[1].config.combine = COMBINE_SELECTION;
    cases[1].message = "layer 3 can't be exported with combine: selection: a plain DeepSeek-V3 "
                       "weighs by unbiased scores";
    cases[2].config.incentive.normalise = 0;
    cases[2].message = "layer 3 can't be exported with normalise: false: the raw variant's state "
                       "moves while it evaluates";
    cases[3].config.pick = PICK_RANDOM;
    cases[3].message = "layer 3 can't be exported with random picks: they see no bias";
    cases[4].config.pick = PICK_EXPERT_CHOICE;
    cases[4].message = "layer 3 can't be exported with expert_choice: there experts pick tokens, "
                       "which no bias can express";
    for (int k = 0; k < 5; k++) {
        struct bench b;
        struct err err = {0};
        float bias[E] = {9};
        bench_open(&b, &cases[k].config, T);
        assert_int_equal(MOE2_ECONFIG, router_export_bias(b.router, bias, &err));
        assert_string_equal(err.msg, cases[k].message);
        assert_true(bias[0] == 9);
        bench_close(&b);
    }
}

static void refused(struct router_config config, const char *message)
{
    struct router *r = NULL;
    struct err err = {0};
    router_config_resolve(&config, 100);
    assert_int_equal(MOE2_ECONFIG, router_new(&r, &config, 0, &err));
    assert_string_equal(err.msg, message);
    assert_null(r);
}

static void what_does_not_go_together_is_refused_with_the_key_and_the_reason(void **state)
{
    (void)state;
    refused(config_of(0, 1, "none"), "router: n_experts is 0, wanted 1 to 65536");
    refused(config_of(8, 9, "none"), "router: n_picks is 9, wanted 1 to 8");
    struct router_config config = config_of(8, 3, "none");
    config.n_group = 4;
    refused(config, "router: n_picks is 3, wanted at most 2, the experts of 1 of 4 groups");
    config.n_group = 3;
    refused(config, "router: 8 experts in 3 groups, wanted equal groups");
    config.n_group = 4;
    config.topk_group = 5;
    refused(config, "router: topk_group is 5, wanted 1 to 4");
    config = config_of(8, 2, "none");
    config.routed_scaling_factor = INFINITY;
    refused(config, "router: routed_scaling_factor is inf, wanted 1e-06 to 1e+06");
    config = config_of(8, 2, "none");
    config.capacity_factor = -1;
    refused(config, "router: capacity_factor is -1, wanted 0 to 1e+06");
    config = config_of(8, 2, "loss_free");
    config.pick = PICK_RANDOM;
    refused(config, "random: incentive is loss_free, wanted none: random picks see no score");
    refused(config_of(8, 8, "quantile"), "quantile: n_picks is 8, wanted less than 8 experts");
    config = config_of(8, 2, "quantile");
    config.n_group = 4;
    config.topk_group = 2;
    refused(config, "quantile: a token sees only 2 of 4 groups, so that no threshold is common to "
                    "all experts; wanted pick: topk");
}

static void every_key_starts_where_the_specification_says(void **state)
{
    (void)state;
    struct router_config c = config_of(16, 2, "rd_esi");
    router_config_resolve(&c, 600);
    const struct incentive_config *i = &c.incentive;
    assert_int_equal(c.score, SCORE_SIGMOID);
    assert_int_equal(c.pick, PICK_TOPK);
    assert_int_equal(c.combine, COMBINE_GATE);
    assert_int_equal(c.native_bias, NATIVE_BIAS_REPLACE);
    assert_true(i->alpha == 0.1f && i->beta == 0.01f && i->gamma == 0.5f && i->C == 0.01f);
    assert_true(i->decay_rate == 0.99f && i->load_ema_alpha == 0.1f && i->integral == 0);
    assert_true(i->epsilon == 0.05f && i->noise_std == 0.01f && i->exploration_until == 300);
    assert_true(i->min_tokens == 1 && i->decay_after == 100 && i->normalise == 1);
    assert_true(i->load == LOAD_EMA && i->exploration == EXPLORE_UCB && i->decay == DECAY_TIME);
    c = config_of(16, 2, "aux");
    router_config_resolve(&c, 600);
    assert_true(c.aux.coef == 1e-3f && c.aux.form == AUX_BATCH && c.aux.z_coef == 0);
    c = config_of(16, 2, "rd_esi_integral");
    router_config_resolve(&c, 600);
    assert_true(c.incentive.gamma == 0.2f && c.incentive.integral == 0.01f);
    c = config_of(16, 2, "rd_esi");
    c.incentive.normalise = 0;
    router_config_resolve(&c, 600);
    assert_int_equal(c.combine, COMBINE_SELECTION);
    assert_int_equal(c.incentive.performance, PERFORMANCE_NORM);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_step_reports_loads_and_clears_its_sums),
        cmocka_unit_test(a_dropped_step_leaves_no_trace),
        cmocka_unit_test(every_kinds_state_goes_round_with_the_same_bits),
        cmocka_unit_test(a_broken_state_is_refused_and_nothing_is_lost),
        cmocka_unit_test(native_bias_is_kept_frozen_or_replaced),
        cmocka_unit_test(a_native_bias_that_is_no_number_is_refused),
        cmocka_unit_test(the_exported_bias_is_the_one_that_evaluation_adds),
        cmocka_unit_test(export_is_refused_where_a_plain_checkpoint_cant_say_it),
        cmocka_unit_test(what_does_not_go_together_is_refused_with_the_key_and_the_reason),
        cmocka_unit_test(every_key_starts_where_the_specification_says),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
