/* The measures of balance: each against a case that can be counted by hand. */
#include "test_route_common.h"

#include "route/balance.h"

enum { E = 4, K = 2 };

static struct balance *make(int64_t n_types, int64_t n_domains)
{
    struct balance *b = NULL;
    assert_int_equal(0, balance_new(&b, E, K, n_types, n_domains, NULL));
    return b;
}

static struct balance_result result_of(const struct balance *b)
{
    struct balance_result result;
    assert_int_equal(0, balance_result(&result, b, NULL));
    return result;
}

static void equal_loads_score_the_best_of_everything(void **state)
{
    (void)state;
    struct balance *b = make(0, 0);
    balance_add_counts(b, (int64_t[]){10, 10, 10, 10}, 20, 0);
    struct balance_result r = result_of(b);
    assert_near(r.max_vio_batch, 0, 1e-12);
    assert_near(r.max_vio_global, 0, 1e-12);
    assert_near(r.load_variance, 0, 1e-12);
    assert_near(r.load_cv, 0, 1e-12);
    assert_near(r.load_entropy, 1, 1e-12);
    assert_near(r.load_gini, 0, 1e-12);
    assert_near(r.dead_experts, 0, 0);
    assert_near(r.top_tenth_share, 0.25, 1e-12);
    balance_free(b);
}

static void unequal_loads_are_measured_as_defined(void **state)
{
    (void)state;
    struct balance *b = make(0, 0);
    double activation[E], load[E];
    balance_add_counts(b, (int64_t[]){20, 12, 8, 0}, 20, 5);
    struct balance_result r = result_of(b); /* l = 2, 1.2, 0.8, 0 */
    assert_near(r.max_vio_global, 1, 1e-12);
    assert_near(r.load_variance, (1 + 0.04 + 0.04 + 1) / 4, 1e-12);
    assert_near(r.load_cv, sqrt(0.52), 1e-12);
    assert_near(r.load_entropy, -(0.5 * log(0.5) + 0.3 * log(0.3) + 0.2 * log(0.2)) / log(4),
                1e-12);
    assert_near(r.load_gini, (-3 * 0 - 1 * 0.8 + 1 * 1.2 + 3 * 2.0) / (4 * 4.0), 1e-12);
    assert_near(r.dead_experts, 1, 0);
    assert_near(r.drop_rate, 5.0 / 40, 1e-12);
    assert_near(r.top_tenth_share, 0.5, 1e-12);
    balance_activation(activation, b);
    balance_loads(load, b);
    assert_near(activation[0], 1, 1e-12);
    assert_near(activation[1], 0.6, 1e-12);
    assert_near(load[2], 0.8, 1e-12);
    balance_free(b);
}

static void imbalances_that_cancel_show_in_the_batch_but_not_over_all(void **state)
{
    (void)state;
    struct balance *b = make(0, 0);
    balance_add_counts(b, (int64_t[]){20, 20, 0, 0}, 20, 0);
    balance_add_counts(b, (int64_t[]){0, 0, 20, 20}, 20, 0);
    balance_add_counts(b, (int64_t[]){0, 0, 0, 0}, 0, 0); /* nothing but padding */
    struct balance_result r = result_of(b);
    assert_near(r.max_vio_batch, 1, 1e-12);
    assert_near(r.max_vio_global, 0, 1e-12);
    balance_free(b);
}

static void mutual_information_is_zero_for_independence_and_ln_n_for_a_bijection(void **state)
{
    (void)state;
    uint32_t independent[] = {2, 4, 6, 3, 6, 9}, bijection[] = {7, 0, 0, 7}, empty[4] = {0};
    assert_near(mutual_information(independent, 2, 3), 0, 1e-12);
    assert_near(mutual_information(bijection, 2, 2), log(2), 1e-12);
    assert_true(isnan(mutual_information(empty, 2, 2)));
    uint32_t table[] = {3, 1, 1, 3}; /* 2·(3/8·ln 1.5 + 1/8·ln 0.5) */
    assert_near(mutual_information(table, 2, 2), 0.75 * log(1.5) + 0.25 * log(0.5), 1e-12);
}

static void specialisation_is_read_off_the_picks_of_every_token(void **state)
{
    (void)state;
    enum { T = 40 };
    struct router_config config = config_of(E, K, "none");
    struct bench bench;
    int32_t type[T], domain[T];
    uint8_t valid[T];
    bench_open(&bench, &config, T);
    for (int t = 0; t < T; t++) { /* even tokens go to experts 0, 1 and odd ones to 2, 3 */
        for (int i = 0; i < E; i++)
            bench.logits[t * E + i] = i / 2 == t % 2 ? 2 : -2;
        type[t] = t % 2;
        domain[t] = t == 0 ? -1 : t < T / 2; /* the first has none */
        valid[t] = t != 39;
    }
    bench_pick(&bench, (struct route_batch){.mode = ROUTE_EVAL, .valid = valid});
    struct balance *b = make(2, 2);
    balance_add(b, &bench.route, type, domain);
    struct balance_result r = result_of(b);
    double p = 20.0 / 39;
    assert_near(r.token_expert_mi, -p * log(p) - (1 - p) * log(1 - p), 1e-9);
    assert_near(r.domain_expert_mi, 0, 1e-2);
    assert_int_equal(balance_by_type(b)[0 * E + 0], 20);
    assert_int_equal(balance_by_type(b)[1 * E + 0], 0);
    assert_int_equal(balance_by_domain(b)[1 * E + 0], 9);
    balance_free(b);
    bench_close(&bench);
}

static void expert_choice_is_counted_by_its_lists(void **state)
{
    (void)state;
    enum { T = 16 };
    struct router_config config = config_of(E, K, "none");
    struct bench bench;
    int32_t type[T];
    config.pick = PICK_EXPERT_CHOICE;
    bench_open(&bench, &config, T);
    for (int t = 0; t < T; t++)
        type[t] = 0;
    bench_mode(&bench, ROUTE_TRAIN);
    struct balance *b = make(1, 0);
    balance_add(b, &bench.route, type, NULL);
    struct balance_result r = result_of(b);
    assert_near(r.max_vio_global, 0, 1e-12);
    assert_near(r.token_expert_mi, 0, 1e-12);
    assert_int_equal(balance_by_type(b)[0], K * T / E);
    assert_true(isnan(r.domain_expert_mi));
    balance_free(b);
    bench_close(&bench);
}

static void the_mean_over_layers_leaves_out_what_is_not_known(void **state)
{
    (void)state;
    struct balance_result layers[2], mean;
    for (int f = 0; f < BALANCE_N_FIELDS; f++)
        for (int l = 0; l < 2; l++)
            *(double *)((char *)&layers[l] + balance_fields[f].offset) = l + f;
    layers[1].matthew_load = NAN;
    layers[0].routing_share = layers[1].routing_share = NAN;
    balance_mean(&mean, layers, 2);
    assert_near(mean.max_vio_batch, 0.5, 1e-12);
    assert_near(mean.matthew_load, layers[0].matthew_load, 0);
    assert_true(isnan(mean.routing_share));
    assert_string_equal(balance_fields[0].key, "max_vio_batch");
    assert_string_equal(balance_fields[13].key, "routing_share");
}

static void overlap_is_one_for_the_same_picks_and_counts_common_experts(void **state)
{
    (void)state;
    enum { T = 30 };
    struct router_config config = config_of(E, K, "none");
    struct bench a, b;
    int32_t experts_a[T * K], experts_b[T * K];
    bench_open(&a, &config, T);
    bench_open(&b, &config, T);
    bench_mode(&a, ROUTE_EVAL);
    bench_mode(&b, ROUTE_EVAL);
    route_token_experts(experts_a, &a.route);
    route_token_experts(experts_b, &b.route);
    assert_near(
        picks_overlap(a.route.token_offsets, experts_a, b.route.token_offsets, experts_b, T), 1, 0);
    for (int t = 0; t < T; t++) /* the best expert is now the worst */
        b.logits[t * E + a.route.idx[t * K]] = -40;
    bench_mode(&b, ROUTE_EVAL);
    route_token_experts(experts_b, &b.route);
    assert_near(
        picks_overlap(a.route.token_offsets, experts_a, b.route.token_offsets, experts_b, T), 0.5,
        1e-12);
    int64_t none[2] = {0, 0};
    assert_true(isnan(picks_overlap(none, experts_a, none, experts_b, 1)));
    bench_close(&a);
    bench_close(&b);
}

/* 100 steps in which the loads go by `early` at first and by `late` from the middle on. */
static struct matthew *history(const int64_t *early, const int64_t *late, const float *R)
{
    struct matthew *m = NULL;
    assert_int_equal(0, matthew_new(&m, E, 100, NULL));
    for (int step = 0; step < 100; step++)
        matthew_step(m, step, step < 50 ? early : late, 10, R);
    return m;
}

static void who_stays_rich_has_a_rank_correlation_of_one(void **state)
{
    (void)state;
    int64_t up[] = {1, 2, 5, 12}, down[] = {9, 6, 4, 1};
    float R[] = {0.1f, 0.4f, 0.2f, 0.3f};
    struct balance_result r;
    struct matthew *same = history(up, up, R), *turned = history(up, down, NULL);
    assert_int_equal(0, matthew_result(&r, same, NULL));
    assert_near(r.matthew_load, 1, 1e-12);
    assert_near(r.matthew_reputation, 1, 1e-12);
    assert_int_equal(0, matthew_result(&r, turned, NULL));
    assert_near(r.matthew_load, -1, 1e-12);
    assert_true(isnan(r.matthew_reputation));
    matthew_free(same);
    matthew_free(turned);
}

static void a_history_goes_on_from_its_saved_sums(void **state)
{
    (void)state;
    int64_t up[] = {1, 2, 5, 12}, mixed[] = {2, 1, 9, 8};
    struct balance_result a, b;
    struct route_state_item from[ROUTE_STATE_MAX], to[ROUTE_STATE_MAX];
    struct matthew *straight = history(up, mixed, NULL), *first, *second;
    assert_int_equal(0, matthew_new(&first, E, 100, NULL));
    assert_int_equal(0, matthew_new(&second, E, 100, NULL));
    for (int step = 0; step < 95; step++)
        matthew_step(first, step, step < 50 ? up : mixed, 10, NULL);
    int n = matthew_state(first, from);
    assert_int_equal(n, matthew_state(second, to));
    for (int i = 0; i < n; i++)
        memcpy(to[i].values, from[i].values, sizeof(float) * (size_t)from[i].n);
    for (int step = 95; step < 100; step++)
        matthew_step(second, step, mixed, 10, NULL);
    assert_int_equal(0, matthew_result(&a, straight, NULL));
    assert_int_equal(0, matthew_result(&b, second, NULL));
    assert_true(a.matthew_load == b.matthew_load);
    matthew_free(straight);
    matthew_free(first);
    matthew_free(second);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(equal_loads_score_the_best_of_everything),
        cmocka_unit_test(unequal_loads_are_measured_as_defined),
        cmocka_unit_test(imbalances_that_cancel_show_in_the_batch_but_not_over_all),
        cmocka_unit_test(mutual_information_is_zero_for_independence_and_ln_n_for_a_bijection),
        cmocka_unit_test(specialisation_is_read_off_the_picks_of_every_token),
        cmocka_unit_test(expert_choice_is_counted_by_its_lists),
        cmocka_unit_test(the_mean_over_layers_leaves_out_what_is_not_known),
        cmocka_unit_test(overlap_is_one_for_the_same_picks_and_counts_common_experts),
        cmocka_unit_test(who_stays_rich_has_a_rank_correlation_of_one),
        cmocka_unit_test(a_history_goes_on_from_its_saved_sums),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
