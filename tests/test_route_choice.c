/* Expert choice: equal loads, a look at the future, and an evaluation without one. */
#include "test_route_common.h"

enum { E = 8, K = 2, T = 64 };

static struct router_config choice(void)
{
    struct router_config config = config_of(E, K, "none");
    config.pick = PICK_EXPERT_CHOICE;
    return config;
}

static void every_expert_takes_its_best_tokens_and_all_loads_are_equal(void **state)
{
    (void)state;
    struct router_config config = choice();
    struct bench b;
    config.routed_scaling_factor = 2;
    bench_open(&b, &config, T);
    fill_logits(b.logits, T, E, 5, 4);
    bench_mode(&b, ROUTE_TRAIN);
    int64_t C = K * T / E;
    for (int i = 0; i < E; i++) {
        assert_int_equal(b.route.picks[i], C);
        for (int64_t p = b.route.expert_offsets[i]; p < b.route.expert_offsets[i + 1]; p++) {
            int t = b.route.token[p], before = 0;
            const float *s = b.route.scores;
            for (int u = 0; u < T; u++)
                before += s[u * E + i] > s[t * E + i] || (s[u * E + i] == s[t * E + i] && u < t);
            assert_true(before < C);
            assert_true(b.route.weight[p] == s[t * E + i] * 2);
            assert_int_equal(b.route.expert[p], i);
            assert_true(p == b.route.expert_offsets[i] || b.route.token[p] > b.route.token[p - 1]);
        }
    }
    bench_close(&b);
}

static void the_lists_by_token_point_at_every_pick_once(void **state)
{
    (void)state;
    struct router_config config = choice();
    struct bench b;
    bench_open(&b, &config, T);
    bench_mode(&b, ROUTE_TRAIN);
    int64_t n = 0;
    for (int64_t t = 0; t < T; t++)
        for (int64_t j = b.route.token_offsets[t]; j < b.route.token_offsets[t + 1]; j++, n++) {
            assert_int_equal(b.route.token[b.route.position[j]], t);
            assert_true(j == b.route.token_offsets[t] ||
                        b.route.position[j] > b.route.position[j - 1]);
        }
    assert_int_equal(n, b.route.n);
    assert_int_equal(b.route.token_offsets[T], n);
    bench_close(&b);
}

static void ties_go_to_the_earlier_token(void **state)
{
    (void)state;
    struct router_config config = choice();
    struct bench b;
    bench_open(&b, &config, T);
    memset(b.logits, 0, sizeof(float) * T * E);
    bench_mode(&b, ROUTE_TRAIN);
    for (int i = 0; i < E; i++)
        for (int64_t k = 0; k < K * T / E; k++)
            assert_int_equal(b.route.token[b.route.expert_offsets[i] + k], k);
    bench_close(&b);
}

static void a_better_late_token_goes_before_the_last_of_the_equal_ones(void **state)
{
    (void)state;
    struct router_config config = choice();
    struct bench b;
    int64_t C = K * T / E;
    bench_open(&b, &config, T);
    memset(b.logits, 0, sizeof(float) * T * E);
    b.logits[(T - 1) * E] = 1;
    bench_mode(&b, ROUTE_TRAIN);
    for (int64_t k = 0; k < C; k++)
        assert_int_equal(b.route.token[k], k < C - 1 ? k : T - 1);
    bench_close(&b);
}

static void places_are_counted_from_real_tokens_and_rounded_up(void **state)
{
    (void)state;
    struct router_config config = choice();
    struct bench b;
    uint8_t valid[T];
    for (int t = 0; t < T; t++)
        valid[t] = t >= 31; /* 33 real tokens: ⌈2·33/8⌉ = 9 */
    bench_open(&b, &config, T);
    bench_pick(&b, (struct route_batch){.mode = ROUTE_TRAIN, .valid = valid});
    for (int i = 0; i < E; i++)
        assert_int_equal(b.route.picks[i], 9);
    for (int64_t p = 0; p < b.route.n; p++)
        assert_true(valid[b.route.token[p]]);
    bench_close(&b);
}

/* Picks of token 0 as a bit set. */
static unsigned first_tokens_experts(const struct bench *b)
{
    unsigned set = 0;
    for (int64_t j = b->route.token_offsets[0]; j < b->route.token_offsets[1]; j++)
        set |= 1u << b->route.expert[b->route.position[j]];
    return set;
}

/* How often token 0's experts change when only later tokens do. */
static int leaks(struct bench *b, enum route_mode mode)
{
    int changed = 0;
    unsigned before = 0;
    for (uint64_t trial = 0; trial < 20; trial++) {
        fill_logits(b->logits + E, T - 1, E, 100 + trial, 0);
        bench_mode(b, mode);
        changed += trial && first_tokens_experts(b) != before;
        before = first_tokens_experts(b);
    }
    return changed;
}

static void it_leaks_the_future_and_its_causal_evaluation_does_not(void **state)
{
    (void)state;
    struct router_config config = choice();
    struct bench b;
    bench_open(&b, &config, T);
    assert_int_equal(leaks(&b, ROUTE_EVAL), 0); /* before any threshold */
    bench_step(&b, NULL);
    assert_true(leaks(&b, ROUTE_EVAL_LOOKAHEAD) > 0);
    assert_int_equal(leaks(&b, ROUTE_EVAL), 0);
    assert_true(first_tokens_experts(&b) != 0 || b.route.n > 0);
    bench_close(&b);
}

/* The C-th best score of every expert in the forward just made. */
static void cth_best(double *limit, const struct bench *b)
{
    for (int i = 0; i < E; i++) {
        limit[i] = 1;
        for (int64_t p = b->route.expert_offsets[i]; p < b->route.expert_offsets[i + 1]; p++)
            limit[i] = fmin(limit[i], (double)b->route.scores[b->route.token[p] * E + i]);
    }
}

static void a_threshold_is_the_ema_of_the_cth_best_begun_at_the_first_steps_mean(void **state)
{
    (void)state;
    struct router_config config = choice();
    struct bench b;
    struct route_state_item items[ROUTE_STATE_MAX];
    double wanted[E] = {0}, limit[E], mean[E];
    bench_open(&b, &config, T);
    router_state(b.router, items);
    assert_string_equal(items[0].name, "expert_choice.threshold");
    for (int step = 0; step < 3; step++) {
        memset(mean, 0, sizeof mean);
        for (int part = 0; part < 2; part++) { /* two micro-batches */
            fill_logits(b.logits, T, E, (uint64_t)(10 * step + part), 2);
            bench_mode(&b, ROUTE_TRAIN);
            cth_best(limit, &b);
            for (int i = 0; i < E; i++)
                mean[i] += limit[i] / 2;
        }
        router_step(b.router, NULL);
        for (int i = 0; i < E; i++) {
            wanted[i] = step ? 0.1 * mean[i] + 0.9 * wanted[i] : mean[i];
            assert_near(items[0].values[i], wanted[i], 1e-6);
        }
    }
    bench_mode(&b, ROUTE_EVAL);
    for (int64_t t = 0; t < T; t++) {
        int64_t reached = 0;
        for (int i = 0; i < E; i++)
            reached += b.route.scores[t * E + i] >= items[0].values[i];
        assert_int_equal(b.route.token_offsets[t + 1] - b.route.token_offsets[t], reached);
    }
    bench_close(&b);
}

static void recomputation_keeps_picks_weights_and_thresholds(void **state)
{
    (void)state;
    struct router_config config = choice();
    struct bench b, once;
    struct route_state_item items[ROUTE_STATE_MAX], plain[ROUTE_STATE_MAX];
    float weight[K * T];
    bench_open(&b, &config, T);
    bench_open(&once, &config, T);
    bench_mode(&b, ROUTE_TRAIN);
    assert_int_equal(b.route.n, K * T);
    memcpy(weight, b.route.weight, sizeof weight);
    bench_mode(&b, ROUTE_RECOMPUTE);
    assert_memory_equal(weight, b.route.weight, sizeof weight);
    router_step(b.router, NULL);
    bench_step(&once, NULL);
    router_state(b.router, items);
    router_state(once.router, plain);
    assert_memory_equal(items[0].values, plain[0].values, sizeof(float) * E);
    bench_close(&b);
    bench_close(&once);
}

static void what_it_cannot_do_is_refused(void **state)
{
    (void)state;
    struct err err[3] = {{0}};
    struct router *r = NULL;
    struct router_config config = choice();
    config.incentive.name = "loss_free";
    router_config_resolve(&config, 10);
    assert_int_equal(MOE2_ECONFIG, router_new(&r, &config, 0, &err[0]));
    assert_string_equal(err[0].msg, "expert_choice: incentive is loss_free, wanted none: a bias "
                                    "per expert can't change the order of an expert's tokens");
    config = choice();
    config.score = SCORE_SIGMOID;
    router_config_resolve(&config, 10);
    assert_int_equal(MOE2_ECONFIG, router_new(&r, &config, 0, &err[1]));
    assert_string_equal(err[1].msg, "expert_choice: score is sigmoid, wanted softmax");
    assert_null(r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_expert_takes_its_best_tokens_and_all_loads_are_equal),
        cmocka_unit_test(the_lists_by_token_point_at_every_pick_once),
        cmocka_unit_test(ties_go_to_the_earlier_token),
        cmocka_unit_test(a_better_late_token_goes_before_the_last_of_the_equal_ones),
        cmocka_unit_test(places_are_counted_from_real_tokens_and_rounded_up),
        cmocka_unit_test(it_leaks_the_future_and_its_causal_evaluation_does_not),
        cmocka_unit_test(a_threshold_is_the_ema_of_the_cth_best_begun_at_the_first_steps_mean),
        cmocka_unit_test(recomputation_keeps_picks_weights_and_thresholds),
        cmocka_unit_test(what_it_cannot_do_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
