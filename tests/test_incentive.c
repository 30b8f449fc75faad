/* What an incentive promises, one sentence a test. RD-ESI has files of its own. */
#include "test_route_common.h"

#include "route/incentive.h"

enum { E = 4 };

static struct incentive_config config_named(const char *name)
{
    struct incentive_config config;
    incentive_config_init(&config);
    config.name = name;
    return config;
}

static struct incentive *make(struct incentive_config config)
{
    struct incentive *inc = NULL;
    struct err err = {0};
    incentive_config_resolve(&config, 1, 1000);
    if (incentive_new(&inc, &config, E, &err))
        fail_msg("%s", err.msg);
    return inc;
}

static struct incentive *loss_free(float update_rate, int recentre)
{
    struct incentive_config config = config_named("loss_free");
    config.update_rate = update_rate;
    config.recentre = recentre;
    return make(config);
}

static void feed(struct incentive *inc, int64_t a, int64_t b, int64_t c, int64_t d)
{
    int64_t items[E] = {a, b, c, d};
    incentive_update(
        inc, &(struct route_feedback){
                 .items = items, .n_items = (a + b + c + d) / 2, .n_picks = 2, .elapsed = 1});
}

static void without_incentive_every_bias_stays_zero(void **state)
{
    (void)state;
    const char *names[] = {"none", "aux"};
    for (int i = 0; i < 2; i++) {
        struct incentive *inc = make(config_named(names[i]));
        float bias[E] = {1, 1, 1, 1};
        feed(inc, 8, 4, 4, 0);
        incentive_bias(inc, bias, NULL);
        assert_memory_equal(bias, ((float[E]){0}), sizeof bias);
        incentive_free(inc);
    }
}

static void an_overloaded_expert_loses_what_the_idle_ones_gain(void **state)
{
    (void)state;
    struct incentive *inc = loss_free(0.1f, 0);
    float bias[E];
    feed(inc, 8, 4, 4, 0);
    incentive_bias(inc, bias, NULL);
    assert_float_equal(bias[0], -0.1f, 1e-6f);
    assert_float_equal(bias[1], 0, 0);
    assert_float_equal(bias[3], 0.1f, 1e-6f);
    incentive_free(inc);
}

static void a_load_of_exactly_the_fair_share_moves_nothing(void **state)
{
    (void)state;
    struct incentive *inc = loss_free(0.1f, 0);
    float bias[E];
    feed(inc, 3333333, 3333333, 3333333, 3333333);
    incentive_bias(inc, bias, NULL);
    assert_memory_equal(bias, ((float[E]){0}), sizeof bias);
    incentive_free(inc);
}

static void recentred_biases_always_have_zero_mean(void **state)
{
    (void)state;
    struct incentive *inc = loss_free(0.1f, 1), *paper = loss_free(0.1f, 0);
    float bias[E];
    for (int step = 0; step < 100; step++) {
        feed(inc, 10, 2, 2, 2);
        feed(paper, 10, 2, 2, 2);
    }
    incentive_bias(inc, bias, NULL);
    assert_near(bias[0] + bias[1] + bias[2] + bias[3], 0, 1e-4);
    incentive_bias(paper, bias, NULL);
    assert_near(bias[0] + bias[1] + bias[2] + bias[3], 20, 1e-3);
    incentive_free(inc);
    incentive_free(paper);
}

static void a_step_without_items_changes_nothing(void **state)
{
    (void)state;
    const char *names[] = {"loss_free", "rd_esi"};
    for (int i = 0; i < 2; i++) {
        struct incentive *inc = make(config_named(names[i]));
        struct route_state_item items[ROUTE_STATE_MAX];
        float before[64], after[64];
        feed(inc, 8, 4, 4, 0);
        int n = incentive_state(inc, items), at = 0;
        for (int k = 0; k < n; at += (int)items[k++].n)
            memcpy(before + at, items[k].values, sizeof(float) * (size_t)items[k].n);
        feed(inc, 0, 0, 0, 0);
        for (int k = at = 0; k < n; at += (int)items[k++].n)
            memcpy(after + at, items[k].values, sizeof(float) * (size_t)items[k].n);
        assert_memory_equal(before, after, sizeof(float) * (size_t)at);
        incentive_free(inc);
    }
}

/* Picks of the K best of s + b, counted. */
static void count_picks(int64_t *n, const float *s, const float *b, int T, int n_experts)
{
    memset(n, 0, sizeof *n * (size_t)n_experts);
    for (int t = 0; t < T; t++) {
        int best[2] = {-1, -1};
        for (int m = 0; m < 2; m++)
            for (int i = 0; i < n_experts; i++)
                if (i != best[0] && (best[m] < 0 || s[t * n_experts + i] + b[i] >
                                                        s[t * n_experts + best[m]] + b[best[m]]))
                    best[m] = i;
        n[best[0]]++;
        n[best[1]]++;
    }
}

static void quantile_balances_a_skewed_gate_in_a_few_steps_without_a_step_size(void **state)
{
    (void)state;
    enum { T = 512, EXPERTS = 8 };
    struct router_config config = config_of(EXPERTS, 2, "quantile");
    struct bench b;
    struct route_step first, last;
    bench_open(&b, &config, T);
    fill_logits(b.logits, T, EXPERTS, 2, 4);
    bench_step(&b, &first);
    for (int step = 0; step < 6; step++)
        bench_step(&b, &last);
    assert_true(first.max_vio > 1);
    assert_true(last.max_vio < 0.1);
    bench_close(&b);
}

static void quantile_moves_the_fair_shares_next_margin_to_zero(void **state)
{
    (void)state;
    enum { T = 12, EXPERTS = 6 };
    struct router_config config = config_of(EXPERTS, 2, "quantile");
    struct bench b;
    bench_open(&b, &config, T);
    fill_logits(b.logits, T, EXPERTS, 4, 3);
    bench_step(&b, NULL);
    float bias[EXPERTS], wanted[EXPERTS] = {0}, mean = 0;
    router_bias(b.router, bias);
    for (int i = 0; i < EXPERTS; i++) { /* from the definition, b = 0 before */
        float m[T];
        for (int t = 0; t < T; t++) {
            const float *s = b.route.scores + t * EXPERTS;
            float alpha = 0;
            for (int j = 0; j < EXPERTS; j++) {
                int above = 0;
                for (int h = 0; h < EXPERTS; h++)
                    above += s[h] > s[j];
                alpha = above == 2 ? s[j] : alpha;
            }
            m[t] = s[i] - alpha;
        }
        for (int t = 0; t < T; t++) {
            int above = 0, reached = 0;
            for (int u = 0; u < T; u++) {
                above += m[u] > m[t];
                reached += m[u] >= m[t];
            }
            if (above <= 2 * T / EXPERTS && reached > 2 * T / EXPERTS)
                wanted[i] = -m[t];
        }
        mean += wanted[i] / EXPERTS;
    }
    for (int i = 0; i < EXPERTS; i++)
        assert_near(bias[i], wanted[i] - mean, 1e-6);
    bench_close(&b);
}

static void quantile_sees_the_same_step_however_it_is_split(void **state)
{
    (void)state;
    enum { T = 96, EXPERTS = 8, PART = 24 };
    struct router_config config = config_of(EXPERTS, 2, "quantile");
    struct bench whole, parts;
    bench_open(&whole, &config, T);
    bench_open(&parts, &config, PART);
    for (int step = 0; step < 3; step++) {
        fill_logits(whole.logits, T, EXPERTS, (uint64_t)step, 2);
        bench_step(&whole, NULL);
        for (int part = 0; part < T / PART; part++) {
            memcpy(parts.logits, whole.logits + part * PART * EXPERTS,
                   sizeof(float) * PART * EXPERTS);
            bench_pick(&parts, (struct route_batch){.first_token = part * PART});
        }
        router_step(parts.router, NULL);
    }
    float a[EXPERTS], b[EXPERTS];
    router_bias(whole.router, a);
    router_bias(parts.router, b);
    assert_memory_equal(a, b, sizeof a);
    bench_close(&whole);
    bench_close(&parts);
}

static void loss_free_balances_a_skewed_gate(void **state)
{
    (void)state;
    enum { T = 512, EXPERTS = 8 };
    struct router_config config = config_of(EXPERTS, 2, "loss_free");
    config.incentive.update_rate = 0.01f;
    struct bench b;
    struct route_step first, last;
    bench_open(&b, &config, T);
    fill_logits(b.logits, T, EXPERTS, 2, 4);
    bench_step(&b, &first);
    for (int step = 0; step < 200; step++)
        bench_step(&b, &last);
    assert_true(first.max_vio > 1);
    assert_true(last.max_vio < 0.15);
    int64_t n[EXPERTS];
    float bias[EXPERTS];
    router_bias(b.router, bias);
    count_picks(n, b.route.scores, bias, T, EXPERTS);
    for (int i = 0; i < EXPERTS; i++)
        assert_near((double)n[i] * EXPERTS / (2 * T), 1, 0.15);
    bench_close(&b);
}

static void softmax_scores_start_with_two_over_e_of_every_step_size(void **state)
{
    (void)state;
    struct router_config config = config_of(16, 2, "rd_esi_integral");
    config.score = SCORE_SOFTMAX;
    router_config_resolve(&config, 1000);
    const struct incentive_config *c = &config.incentive;
    assert_near(c->update_rate, 1e-3 / 8, 1e-9);
    assert_near(c->beta, 0.01 / 8, 1e-9);
    assert_near(c->gamma, 0.2 / 8, 1e-8);
    assert_near(c->C, 0.01 / 8, 1e-9);
    assert_near(c->integral, 0.01 / 8, 1e-9);
    assert_near(c->noise_std, 0.01 / 8, 1e-9);
    assert_near(c->alpha, 0.1, 1e-8);
    assert_near(c->decay_rate, 0.99, 1e-7);
    assert_near(c->exploration_until, 500, 0);
}

static void what_was_said_is_kept_when_the_rest_is_filled_in(void **state)
{
    (void)state;
    struct router_config config = config_of(16, 2, "rd_esi");
    config.incentive.gamma = 0.05f;
    config.incentive.exploration = EXPLORE_NOISE;
    config.incentive.min_tokens = 0;
    router_config_resolve(&config, 1000);
    assert_true(config.incentive.gamma == 0.05f);
    assert_int_equal(config.incentive.exploration, EXPLORE_NOISE);
    assert_int_equal(config.incentive.min_tokens, 0);
    assert_int_equal(config.incentive.performance, PERFORMANCE_LOSS);
}

static void an_unknown_name_is_answered_with_the_known_ones(void **state)
{
    (void)state;
    struct incentive *inc = NULL;
    struct err err = {0};
    struct incentive_config config = config_named("lossfree");
    incentive_config_resolve(&config, 1, 0);
    assert_int_equal(MOE2_ECONFIG, incentive_new(&inc, &config, E, &err));
    assert_string_equal(err.msg, "incentive is \"lossfree\", wanted one of: none, aux, loss_free, "
                                 "quantile, rd_esi, rd_esi_integral (did you mean loss_free?)");
    assert_null(inc);
}

static void a_number_out_of_range_is_refused_by_its_key(void **state)
{
    (void)state;
    struct incentive *inc = NULL;
    struct err err = {0}, other = {0};
    struct incentive_config config = config_named("rd_esi");
    config.alpha = 1.5f;
    incentive_config_resolve(&config, 1, 0);
    assert_int_equal(MOE2_ECONFIG, incentive_new(&inc, &config, E, &err));
    assert_string_equal(err.msg, "rd_esi: alpha is 1.5, wanted 0 to 1");
    config = config_named("loss_free");
    config.update_rate = 0;
    incentive_config_resolve(&config, 1, 0);
    assert_int_equal(MOE2_ECONFIG, incentive_new(&inc, &config, E, &other));
    assert_string_equal(other.msg, "loss_free: update_rate is 0, wanted above 0 and at most 1");
    assert_null(inc);
}

static void words_become_values_and_unknown_words_are_answered(void **state)
{
    (void)state;
    struct err err = {0};
    int value = -1;
    assert_int_equal(0, route_word_parse(&value, &load_words, "queue", &err));
    assert_int_equal(value, LOAD_QUEUE);
    assert_int_equal(MOE2_ECONFIG, route_word_parse(&value, &load_words, "que", &err));
    assert_string_equal(err.msg, "load is \"que\", wanted one of: auto, ema, queue, capacity");
    assert_int_equal(value, LOAD_QUEUE);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(without_incentive_every_bias_stays_zero),
        cmocka_unit_test(an_overloaded_expert_loses_what_the_idle_ones_gain),
        cmocka_unit_test(a_load_of_exactly_the_fair_share_moves_nothing),
        cmocka_unit_test(recentred_biases_always_have_zero_mean),
        cmocka_unit_test(a_step_without_items_changes_nothing),
        cmocka_unit_test(quantile_balances_a_skewed_gate_in_a_few_steps_without_a_step_size),
        cmocka_unit_test(quantile_moves_the_fair_shares_next_margin_to_zero),
        cmocka_unit_test(quantile_sees_the_same_step_however_it_is_split),
        cmocka_unit_test(loss_free_balances_a_skewed_gate),
        cmocka_unit_test(softmax_scores_start_with_two_over_e_of_every_step_size),
        cmocka_unit_test(what_was_said_is_kept_when_the_rest_is_filled_in),
        cmocka_unit_test(an_unknown_name_is_answered_with_the_known_ones),
        cmocka_unit_test(a_number_out_of_range_is_refused_by_its_key),
        cmocka_unit_test(words_become_values_and_unknown_words_are_answered),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
