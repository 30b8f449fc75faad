/* Who is picked, with which weight, and in which lists: against a plain oracle. */
#include "test_route_common.h"

#include <omp.h>

#include "route/rd_esi.h"
#include "route/router_parts.h"

enum { E_MAX = 64 };

/* The i-th best of c under the rule "larger first, then lower index", by counting. */
static void oracle_topk(int *best, const double *c, int E, int K)
{
    for (int i = 0; i < E; i++) {
        int before = 0;
        for (int j = 0; j < E; j++)
            before += c[j] > c[i] || (c[j] == c[i] && j < i);
        if (before < K)
            best[before] = i;
    }
}

static void oracle_groups(double *c, const struct router_config *config)
{
    int n = config->n_experts / config->n_group, chosen[E_MAX];
    double value[E_MAX];
    for (int g = 0; g < config->n_group; g++) {
        int best[2];
        oracle_topk(best, c + g * n, n, n < 2 ? n : 2);
        value[g] = c[g * n + best[0]];
        if (config->group_score == GROUP_SCORE_SUM2 && n > 1)
            value[g] = (float)value[g] + (float)c[g * n + best[1]];
    }
    oracle_topk(chosen, value, config->n_group, config->topk_group);
    for (int g = 0; g < config->n_group; g++) {
        bool open = false;
        for (int k = 0; k < config->topk_group; k++)
            open |= chosen[k] == g;
        for (int i = 0; i < n && !open; i++)
            c[g * n + i] = -INFINITY;
    }
}

/* Checks idx and weights of every token, from the scores that the route holds. */
static void check_against_oracle(const struct bench *b, const uint8_t *valid)
{
    int E = b->config.n_experts, K = b->config.n_picks;
    for (int64_t t = 0; t < b->T; t++) {
        const int32_t *idx = b->route.idx + t * K;
        const float *s = b->route.scores + t * E;
        double c[E_MAX], sum = 0;
        int best[E_MAX];
        if (valid && !valid[t]) {
            for (int k = 0; k < K; k++)
                assert_int_equal(idx[k], -1);
            continue;
        }
        for (int i = 0; i < E; i++)
            c[i] = s[i] + b->route.bias[i];
        if (b->config.pick == PICK_GROUP_TOPK)
            oracle_groups(c, &b->config);
        oracle_topk(best, c, E, K);
        for (int k = 0; k < K; k++) {
            assert_int_equal(idx[k], best[k]);
            sum += s[best[k]];
        }
        for (int k = 0; k < K; k++) {
            double w = s[best[k]] * (double)b->config.routed_scaling_factor;
            assert_near(b->route.pick_weight[t * K + k],
                        b->config.norm_topk_prob ? w / (sum + 1e-20) : w, 1e-6);
        }
    }
}

/* The lists say the same as idx, in their promised order. */
static void check_lists(const struct route *r)
{
    int64_t n = 0;
    for (int64_t k = 0; k < r->T * r->K; k++)
        n += r->pick_position[k] >= 0;
    assert_int_equal(n, r->n);
    assert_int_equal(r->expert_offsets[0], 0);
    assert_int_equal(r->expert_offsets[r->E], n);
    for (int i = 0; i < r->E; i++)
        for (int64_t p = r->expert_offsets[i]; p < r->expert_offsets[i + 1]; p++) {
            assert_int_equal(r->expert[p], i);
            assert_true(p == r->expert_offsets[i] || r->token[p] > r->token[p - 1]);
        }
    for (int64_t t = 0; t < r->T; t++) {
        int64_t kept = 0;
        for (int64_t k = t * r->K; k < (t + 1) * r->K; k++) {
            int32_t p = r->pick_position[k];
            if (p < 0)
                continue;
            kept++;
            assert_int_equal(r->token[p], t);
            assert_int_equal(r->expert[p], r->idx[k]);
            assert_true(r->weight[p] == r->pick_weight[k]);
        }
        assert_int_equal(r->token_offsets[t + 1] - r->token_offsets[t], kept);
        for (int64_t j = r->token_offsets[t]; j < r->token_offsets[t + 1]; j++) {
            assert_int_equal(r->token[r->position[j]], t);
            assert_true(j == r->token_offsets[t] || r->position[j] > r->position[j - 1]);
        }
    }
}

/* Logits of few values, so that scores tie everywhere. */
static void fill_tied(float *logits, int64_t n, uint64_t seed)
{
    struct rng rng;
    rng_init(&rng, seed);
    for (int64_t k = 0; k < n; k++)
        logits[k] = (float)rng_below(&rng, 4) - 2;
}

static void picks_and_lists_are_the_oracles_at_odd_sizes_with_ties_and_biases(void **state)
{
    (void)state;
    struct {
        int E, K, T;
        enum score_kind score;
        int n_group, topk_group;
        enum group_score group_score;
    } cases[] = {
        {1, 1, 5, SCORE_SIGMOID, 1, 1, 0},
        {7, 3, 1, SCORE_SIGMOID, 1, 1, 0},
        {5, 5, 33, SCORE_SOFTMAX, 1, 1, 0},
        {32, 4, 200, SCORE_SIGMOID, 1, 1, 0},
        {33, 8, 65, SCORE_SOFTMAX, 1, 1, 0},
        {16, 4, 130, SCORE_SIGMOID, 4, 2, 0},
        {16, 3, 70, SCORE_SOFTMAX, 8, 3, GROUP_SCORE_MAX},
        {12, 2, 64, SCORE_SIGMOID, 12, 5, 0},
        {64, 8, 96, SCORE_SIGMOID, 8, 4, 0},
        {6, 2, 0, SCORE_SIGMOID, 1, 1, 0},
    };
    for (size_t c = 0; c < sizeof cases / sizeof *cases; c++)
        for (int kind = 0; kind < 4; kind++) {
            struct router_config config = config_of(cases[c].E, cases[c].K, "none");
            struct bench b;
            float bias[E_MAX];
            config.score = cases[c].score;
            config.n_group = cases[c].n_group;
            config.topk_group = cases[c].topk_group;
            config.group_score = cases[c].group_score;
            config.norm_topk_prob = kind & 1;
            config.routed_scaling_factor = 2.5f;
            config.native_bias = NATIVE_BIAS_FREEZE;
            bench_open(&b, &config, cases[c].T);
            for (int i = 0; i < cases[c].E; i++)
                bias[i] = kind & 2 ? 0.25f * (float)(i % 3) - 1.5f : 0;
            assert_int_equal(0, router_set_native_bias(b.router, bias, NULL));
            if (kind == 1)
                fill_tied(b.logits, b.T * cases[c].E, c);
            bench_mode(&b, ROUTE_EVAL);
            check_against_oracle(&b, NULL);
            check_lists(&b.route);
            bench_close(&b);
        }
}

static void masked_groups_stay_out_when_every_biased_score_is_negative(void **state)
{
    (void)state;
    struct router_config config = config_of(4, 2, "none");
    struct bench b;
    config.n_group = 2;
    config.topk_group = 1;
    config.native_bias = NATIVE_BIAS_FREEZE;
    bench_open(&b, &config, 1);
    memcpy(b.logits, ((float[]){0, 0, -1, -1}), sizeof(float) * 4);
    router_set_native_bias(b.router, (float[]){-5, -5, -4, -4}, NULL);
    bench_mode(&b, ROUTE_EVAL);
    /* A mask of 0 instead of −infinity would let experts 0 and 1 in. */
    assert_int_equal(b.route.idx[0], 2);
    assert_int_equal(b.route.idx[1], 3);
    bench_close(&b);
}

static void biased_scores_choose_but_never_weigh(void **state)
{
    (void)state;
    struct router_config config = config_of(4, 2, "none");
    struct bench b;
    config.native_bias = NATIVE_BIAS_FREEZE;
    bench_open(&b, &config, 1);
    memcpy(b.logits, ((float[]){2, 1, 0, -1}), sizeof(float) * 4);
    router_set_native_bias(b.router, (float[]){0, 0, 0, 10}, NULL);
    bench_mode(&b, ROUTE_EVAL);
    double s0 = 1 / (1 + exp(-2)), s3 = 1 / (1 + exp(1));
    assert_int_equal(b.route.idx[0], 3);
    assert_int_equal(b.route.idx[1], 0);
    assert_near(b.route.pick_weight[0], s3 / (s0 + s3), 1e-6);
    assert_near(b.route.pick_weight[1], s0 / (s0 + s3), 1e-6);
    bench_close(&b);
}

static void padding_gets_no_expert_and_is_not_counted(void **state)
{
    (void)state;
    enum { E = 16, K = 3, T = 150 };
    struct router_config config = config_of(E, K, "loss_free");
    struct bench b;
    uint8_t valid[T];
    int n = 0;
    bench_open(&b, &config, T);
    for (int t = 0; t < T; t++) {
        n += valid[t] = t % 7 != 0 && t < 140;
        for (int i = 0; i < E && !valid[t]; i++)
            b.logits[t * E + i] = NAN; /* nobody looks at it */
    }
    bench_pick(&b, (struct route_batch){.mode = ROUTE_TRAIN, .valid = valid});
    check_against_oracle(&b, valid);
    check_lists(&b.route);
    assert_int_equal(b.route.n_valid, n);
    assert_int_equal(b.route.n, (int64_t)n * K);
    assert_int_equal(router_sums(b.router)->n_items, n);
    bench_close(&b);
}

static void a_forward_of_padding_alone_moves_nothing(void **state)
{
    (void)state;
    struct router_config config = config_of(8, 2, "rd_esi");
    struct bench b;
    uint8_t valid[20] = {0};
    struct route_step stats;
    bench_open(&b, &config, 20);
    bench_pick(&b, (struct route_batch){.mode = ROUTE_TRAIN, .valid = valid});
    assert_int_equal(b.route.n, 0);
    router_step(b.router, &stats);
    assert_int_equal(stats.n_items, 0);
    assert_true(state_of(&b, "t")[0] == 0);
    bench_close(&b);
}

static void a_logit_that_is_no_number_is_refused_by_token_and_expert(void **state)
{
    (void)state;
    struct router_config config = config_of(8, 2, "rd_esi");
    struct bench b;
    struct err err = {0}, infinite = {0};
    bench_open(&b, &config, 100);
    b.logits[70 * 8 + 5] = NAN;
    struct route_batch batch = {.mode = ROUTE_TRAIN};
    assert_int_equal(MOE2_ENUMERIC, router_pick(b.router, &b.route, b.logits, &batch, &err));
    assert_string_equal(err.msg, "layer 3: the router's logit of expert 5 for token 70 is NaN, "
                                 "wanted a finite number");
    assert_int_equal(router_sums(b.router)->n_items, 0);
    b.logits[70 * 8 + 5] = -INFINITY;
    assert_int_equal(MOE2_ENUMERIC, router_pick(b.router, &b.route, b.logits, &batch, &infinite));
    assert_non_null(strstr(infinite.msg, "is infinite"));
    bench_close(&b);
}

static void recomputation_keeps_the_picks_and_counts_nothing(void **state)
{
    (void)state;
    enum { E = 16, K = 4, T = 90 };
    enum combine_kind combines[] = {COMBINE_GATE, COMBINE_SELECTION};
    for (int c = 0; c < 2; c++) {
        struct router_config config = config_of(E, K, "rd_esi");
        struct bench b;
        float weight[T * K];
        int32_t idx[T * K];
        config.combine = combines[c];
        config.incentive.exploration = EXPLORE_NOISE;
        bench_open(&b, &config, T);
        struct route_batch batch = {.mode = ROUTE_TRAIN, .step = 3};
        bench_pick(&b, batch);
        memcpy(weight, b.route.weight, sizeof weight);
        memcpy(idx, b.route.idx, sizeof idx);
        memset(b.route.weight, 0, sizeof weight);
        batch.mode = ROUTE_RECOMPUTE;
        bench_pick(&b, batch);
        assert_memory_equal(idx, b.route.idx, sizeof idx);
        assert_memory_equal(weight, b.route.weight, sizeof weight);
        assert_int_equal(router_sums(b.router)->n_items, T);
        for (int64_t k = 0; k < T * E; k++) /* even where other experts look better now */
            b.logits[k] = -b.logits[k];
        bench_pick(&b, batch);
        assert_memory_equal(idx, b.route.idx, sizeof idx);
        assert_true(memcmp(weight, b.route.weight, sizeof weight) != 0);
        bench_close(&b);
    }
}

static void selection_weighs_by_the_softmax_of_what_chose(void **state)
{
    (void)state;
    enum { E = 8, K = 3, T = 40 };
    struct router_config config = config_of(E, K, "none");
    struct bench b;
    config.combine = COMBINE_SELECTION;
    config.native_bias = NATIVE_BIAS_FREEZE;
    config.routed_scaling_factor = 1.5f;
    config.n_group = 4;
    config.topk_group = 2;
    bench_open(&b, &config, T);
    float bias[E] = {0.3f, -0.2f, 0.1f, 0, 0.5f, -1, 0.2f, 0.05f};
    router_set_native_bias(b.router, bias, NULL);
    bench_mode(&b, ROUTE_EVAL);
    for (int t = 0; t < T; t++) {
        double sum = 0;
        const int32_t *idx = b.route.idx + t * K;
        const float *s = b.route.scores + t * E;
        for (int k = 0; k < K; k++)
            sum += exp((double)s[idx[k]] + bias[idx[k]]);
        for (int k = 0; k < K; k++)
            assert_near(b.route.pick_weight[t * K + k],
                        1.5 * exp((double)s[idx[k]] + bias[idx[k]]) / sum, 1e-6);
    }
    bench_close(&b);
}

static void random_picks_are_even_and_distinct(void **state)
{
    (void)state;
    enum { E = 10, K = 3, T = 20000 };
    struct router_config config = config_of(E, K, "none");
    struct bench b;
    config.pick = PICK_RANDOM;
    bench_open(&b, &config, T);
    fill_logits(b.logits, T, E, 1, 30); /* the gate has no say */
    bench_mode(&b, ROUTE_TRAIN);
    check_lists(&b.route);
    for (int i = 0; i < E; i++)
        assert_near((double)b.route.picks[i] * E / (K * T), 1, 0.04);
    for (int t = 0; t < T; t++)
        assert_true(b.route.idx[t * K] < b.route.idx[t * K + 1] &&
                    b.route.idx[t * K + 1] < b.route.idx[t * K + 2]);
    bench_close(&b);
}

static void random_picks_follow_seed_step_layer_and_token_alone(void **state)
{
    (void)state;
    enum { E = 16, K = 2, T = 100, N = T * K };
    struct router_config config = config_of(E, K, "none");
    struct bench b;
    int32_t first[N];
    config.pick = PICK_RANDOM;
    bench_open(&b, &config, T);
    bench_pick(&b, (struct route_batch){.mode = ROUTE_TRAIN, .step = 4});
    memcpy(first, b.route.idx, sizeof first);
    bench_pick(&b, (struct route_batch){.mode = ROUTE_TRAIN, .step = 5});
    assert_true(memcmp(first, b.route.idx, sizeof first) != 0);
    bench_pick(&b, (struct route_batch){.mode = ROUTE_TRAIN, .step = 4});
    assert_memory_equal(first, b.route.idx, sizeof first);
    /* From token 60 on: the same tokens draw the same. */
    bench_pick(&b, (struct route_batch){.mode = ROUTE_TRAIN, .step = 4, .first_token = 60});
    assert_memory_equal(first + 60 * K, b.route.idx, sizeof(int32_t) * 40 * K);
    /* Evaluation is step 0, whatever step it is. */
    bench_pick(&b, (struct route_batch){.mode = ROUTE_EVAL, .step = 4});
    memcpy(first, b.route.idx, sizeof first);
    bench_pick(&b, (struct route_batch){.mode = ROUTE_TRAIN, .step = 0});
    assert_memory_equal(first, b.route.idx, sizeof first);
    bench_close(&b);
}

static void capacity_drops_the_lowest_scores_and_of_equal_ones_the_later_token(void **state)
{
    (void)state;
    enum { E = 4, K = 1, T = 8 };
    struct router_config config = config_of(E, K, "none");
    struct bench b;
    struct route_step stats;
    config.capacity_factor = 1.5f; /* C = 3 */
    config.norm_topk_prob = 0;
    bench_open(&b, &config, T);
    float own[T] = {1, 3, 2, 2, 5, 2, 0.5f, 1};
    for (int t = 0; t < T; t++)
        for (int i = 0; i < E; i++)
            b.logits[t * E + i] = i == 0 ? own[t] : -2;
    bench_mode(&b, ROUTE_TRAIN);
    check_lists(&b.route);
    assert_int_equal(b.route.n, 3);
    assert_int_equal(b.route.n_dropped, 5);
    assert_int_equal(b.route.picks[0], 8);
    assert_int_equal(b.route.token[0], 1);
    assert_int_equal(b.route.token[1], 2); /* 2, 3 and 5 score the same */
    assert_int_equal(b.route.token[2], 4);
    router_step(b.router, &stats);
    assert_near(stats.drop_rate, 5.0 / 8, 1e-9);
    assert_near(stats.max_vio, 3, 1e-9);
    bench_mode(&b, ROUTE_EVAL); /* would look ahead: not in plain evaluation */
    assert_int_equal(b.route.n_dropped, 0);
    bench_mode(&b, ROUTE_EVAL_LOOKAHEAD);
    assert_int_equal(b.route.n_dropped, 5);
    bench_close(&b);
}

static void capacity_keeps_every_pick_of_a_balanced_batch(void **state)
{
    (void)state;
    struct router_config config = config_of(10, 1, "none");
    struct bench b;
    config.capacity_factor = 1.1f; /* ⌈1.1·100/10⌉ is 11, also when 1.1 is a float */
    bench_open(&b, &config, 100);
    for (int t = 0; t < 100; t++)
        for (int i = 0; i < 10; i++)
            b.logits[t * 10 + i] = t % 9 == i ? 2 : -2; /* 9 experts, at most 12 each */
    bench_mode(&b, ROUTE_TRAIN);
    assert_int_equal(route_capacity(1.1f, 1, 100, 10), 11);
    assert_int_equal(b.route.n_dropped, 1);
    assert_int_equal(b.route.expert_offsets[1], 11);
    bench_close(&b);
}

static void the_bits_do_not_depend_on_the_number_of_threads(void **state)
{
    (void)state;
    enum { E = 32, K = 4, T = 1000, N = T * K };
    const char *incentives[] = {"rd_esi", "quantile", "loss_free"};
    for (int k = 0; k < 3; k++) {
        struct bench b[2];
        static float dweight[N], dlogits[2][T * E];
        struct aux_losses losses[2];
        for (int n = 0; n < 2; n++) {
            struct router_config config = config_of(E, K, incentives[k]);
            config.capacity_factor = 1;
            config.aux.coef = 0.01f;
            config.aux.z_coef = 0.001f;
            config.aux.sequence_coef = 0.001f;
            omp_set_num_threads(1 + 3 * n);
            bench_open(&b[n], &config, T);
            memset(dlogits[n], 0, sizeof dlogits[n]);
            for (int step = 0; step < 3; step++) {
                struct route_batch batch = {.mode = ROUTE_TRAIN, .step = (uint64_t)step};
                bench_pick(&b[n], batch);
                for (int p = 0; p < N; p++)
                    dweight[p] = (float)sin(p);
                router_backward(b[n].router, dlogits[n], dweight, &b[n].route, 1);
                router_aux(b[n].router, dlogits[n], &losses[n], &b[n].route, b[n].logits, &batch,
                           NULL, 1);
                router_step(b[n].router, NULL);
            }
        }
        assert_int_equal(b[0].route.n, b[1].route.n);
        assert_memory_equal(b[0].route.token, b[1].route.token,
                            sizeof(int32_t) * (size_t)b[0].route.n);
        assert_memory_equal(b[0].route.weight, b[1].route.weight,
                            sizeof(float) * (size_t)b[0].route.n);
        assert_memory_equal(dlogits[0], dlogits[1], sizeof dlogits[0]);
        assert_memory_equal(&losses[0], &losses[1], sizeof losses[0]);
        float bias[2][E];
        router_bias(b[0].router, bias[0]);
        router_bias(b[1].router, bias[1]);
        assert_memory_equal(bias[0], bias[1], sizeof bias[0]);
        bench_close(&b[0]);
        bench_close(&b[1]);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(picks_and_lists_are_the_oracles_at_odd_sizes_with_ties_and_biases),
        cmocka_unit_test(masked_groups_stay_out_when_every_biased_score_is_negative),
        cmocka_unit_test(biased_scores_choose_but_never_weigh),
        cmocka_unit_test(padding_gets_no_expert_and_is_not_counted),
        cmocka_unit_test(a_forward_of_padding_alone_moves_nothing),
        cmocka_unit_test(a_logit_that_is_no_number_is_refused_by_token_and_expert),
        cmocka_unit_test(recomputation_keeps_the_picks_and_counts_nothing),
        cmocka_unit_test(selection_weighs_by_the_softmax_of_what_chose),
        cmocka_unit_test(random_picks_are_even_and_distinct),
        cmocka_unit_test(random_picks_follow_seed_step_layer_and_token_alone),
        cmocka_unit_test(capacity_drops_the_lowest_scores_and_of_equal_ones_the_later_token),
        cmocka_unit_test(capacity_keeps_every_pick_of_a_balanced_batch),
        cmocka_unit_test(the_bits_do_not_depend_on_the_number_of_threads),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
