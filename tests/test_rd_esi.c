/* RD-ESI's mechanism, one sentence a test. */
#include "test_route_common.h"

enum { E = 8, K = 2, T = 256 };

/* rd_esi with every term off; tests turn on what they are about. */
static struct router_config bare(void)
{
    struct router_config config = config_of(E, K, "rd_esi");
    config.incentive.beta = config.incentive.gamma = config.incentive.C = 0;
    config.incentive.integral = 0;
    return config;
}

static double share_of(const struct bench *b, int i)
{
    return (double)b->route.picks[i] * E / (K * T);
}

/* A training step in which expert `good` lowers the loss by 1 a token and weight, the others by 0. */
static void step_with_good_expert(struct bench *b, int good)
{
    static float dweight[T * K];
    bench_mode(b, ROUTE_TRAIN);
    for (int64_t p = 0; p < b->route.n; p++)
        dweight[p] = b->route.expert[p] == good ? -1 : 0;
    router_backward(b->router, NULL, dweight, &b->route, 1);
    router_step(b->router, NULL);
}

static void a_more_reputable_expert_is_chosen_more(void **state)
{
    (void)state;
    struct router_config config = bare();
    config.incentive.beta = 0.05f;
    struct bench b;
    bench_open(&b, &config, T);
    bench_mode(&b, ROUTE_EVAL);
    double before = share_of(&b, 5);
    for (int step = 0; step < 10; step++)
        step_with_good_expert(&b, 5);
    bench_mode(&b, ROUTE_EVAL);
    assert_true(share_of(&b, 5) > before * 1.1);
    bench_close(&b);
}

static void load_falls_with_gamma(void **state)
{
    (void)state;
    double last = 10;
    float gammas[] = {0, 0.05f, 0.2f, 0.5f};
    for (int g = 0; g < 4; g++) {
        struct router_config config = bare();
        config.incentive.gamma = gammas[g];
        struct bench b;
        struct route_step stats;
        bench_open(&b, &config, T);
        fill_logits(b.logits, T, E, 2, 4);
        for (int step = 0; step < 100; step++)
            bench_step(&b, &stats);
        assert_true(stats.max_vio < last * 0.8);
        last = stats.max_vio;
        bench_close(&b);
    }
}

static void an_integral_removes_what_the_load_term_leaves(void **state)
{
    (void)state;
    double vio[2];
    for (int k = 0; k < 2; k++) {
        struct router_config config = bare();
        config.incentive.gamma = 0.05f;
        config.incentive.integral = k ? 0.01f : 0;
        struct bench b;
        struct route_step stats;
        bench_open(&b, &config, T);
        fill_logits(b.logits, T, E, 2, 4);
        for (int step = 0; step < 300; step++)
            bench_step(&b, &stats);
        vio[k] = stats.max_vio;
        bench_close(&b);
    }
    assert_true(vio[0] > 0.3);
    assert_true(vio[1] < 0.1);
}

/* Expert E − 1 is behind all others by the given gap, in units of the score, for every token. */
static bool comes_back(float gap, float C)
{
    struct router_config config = bare();
    config.incentive.C = C;
    config.incentive.exploration_until = 100000;
    struct bench b;
    bool back = false;
    bench_open(&b, &config, T);
    for (int64_t t = 0; t < T; t++)
        for (int i = 0; i < E; i++) {
            double s = i == E - 1 ? 0.5 - (double)gap : 0.5 + 0.001 * (double)((t + i) % (E - 1));
            b.logits[t * E + i] = (float)log(s / (1 - s));
        }
    for (int step = 0; step < 400 && !back; step++) {
        bench_step(&b, NULL);
        back = b.route.picks[E - 1] > 0;
    }
    bench_close(&b);
    return back;
}

static void an_expert_unused_by_a_gap_below_C_comes_back_through_exploration(void **state)
{
    (void)state;
    assert_true(comes_back(0.03f, 0.05f));
    assert_false(comes_back(0.08f, 0.05f));
    assert_false(comes_back(0.03f, 0));
}

static void exploration_fades_to_nothing_at_its_end(void **state)
{
    (void)state;
    struct router_config config = bare();
    config.incentive.C = 0.01f;
    config.incentive.exploration_until = 5;
    struct bench b;
    float bias[E];
    bench_open(&b, &config, T);
    for (int step = 0; step < 5; step++) {
        router_bias(b.router, bias);
        assert_true(step == 0 ? bias[0] == 0 : bias[0] > 0);
        bench_step(&b, NULL);
    }
    router_bias(b.router, bias);
    assert_memory_equal(bias, ((float[E]){0}), sizeof bias);
    bench_close(&b);
}

static void the_bonus_is_its_formula(void **state)
{
    (void)state;
    struct router_config config = bare();
    config.incentive.C = 0.01f;
    struct bench b;
    float bias[E];
    bench_open(&b, &config, T);
    bench_step(&b, NULL);
    bench_step(&b, NULL);
    router_bias(b.router, bias);
    for (int i = 0; i < E; i++) {
        double load = share_of(&b, i), N = 0.999 * load + load;
        double bonus = fmin(0.01, 0.01 * sqrt(log(3) / (1 + N))) * (1 - 2.0 / 500);
        assert_near(bias[i], bonus, 1e-8);
    }
    bench_close(&b);
}

static void decay_forgets_towards_the_mean(void **state)
{
    (void)state;
    struct router_config config = bare();
    config.incentive.decay_rate = 0.9f;
    struct bench b;
    bench_open(&b, &config, T);
    step_with_good_expert(&b, 5);
    const float *R = state_of(&b, "R");
    double spread = R[5] - R[0];
    assert_true(spread > 0);
    for (int step = 0; step < 20; step++) /* steps without any performance */
        bench_step(&b, NULL);
    assert_near((R[5] - R[0]) / spread, pow(0.9, 20), 1e-4);
    bench_close(&b);
}

static void decay_by_inactivity_touches_only_the_idle(void **state)
{
    (void)state;
    struct router_config config = bare();
    config.incentive.decay_rate = 0.5f;
    config.incentive.decay = DECAY_INACTIVITY;
    config.incentive.decay_after = 3;
    struct bench b;
    bench_open(&b, &config, T);
    step_with_good_expert(&b, 5);
    float before[E];
    const float *R = state_of(&b, "R");
    memcpy(before, R, sizeof before);
    for (int64_t t = 0; t < T; t++) /* from now on nobody picks expert 5 */
        b.logits[t * E + 5] = -50;
    for (int step = 0; step < 2; step++)
        bench_step(&b, NULL);
    assert_memory_equal(R, before, sizeof before);
    bench_step(&b, NULL);
    assert_true(R[5] < before[5]);
    for (int i = 0; i < E; i++)
        if (i != 5)
            assert_true(R[i] == before[i]);
    bench_close(&b);
}

static void the_first_performance_is_taken_whole_and_later_ones_by_alpha(void **state)
{
    (void)state;
    struct incentive_config config;
    incentive_config_init(&config);
    config.name = "rd_esi";
    config.decay_rate = 1;
    config.min_tokens = 5;
    incentive_config_resolve(&config, 1, 100);
    struct incentive *inc;
    assert_int_equal(0, incentive_new(&inc, &config, 3, NULL));
    const float *R = incentive_state_find(inc, "R"), *seen = incentive_state_find(inc, "seen");
    struct route_feedback f = {.items = (int64_t[]){5, 4, 11},
                               .n_items = 10,
                               .n_picks = 2,
                               .performance = (float[]){2, 9, 4},
                               .elapsed = 1};
    incentive_update(inc, &f);
    assert_near(R[0], 2, 0);
    assert_near(R[2], 4, 0);
    assert_true(seen[0] == 1 && seen[1] == 0 && seen[2] == 1);
    f.performance = (float[]){3, 9, 4};
    incentive_update(inc, &f);
    assert_near(R[0], 0.1 * 3 + 0.9 * 2, 1e-6);
    incentive_free(inc);
}

static void an_expert_never_seen_is_left_out_of_mean_and_spread(void **state)
{
    (void)state;
    struct router_config config = bare();
    config.incentive.beta = 0.01f;
    config.incentive.decay_rate = 1;
    struct bench b;
    float bias[E];
    bench_open(&b, &config, T);
    for (int64_t t = 0; t < T; t++)
        b.logits[t * E + 7] = -50; /* never picked */
    step_with_good_expert(&b, 5);
    router_bias(b.router, bias);
    /* One of 7 seen experts has all the reputation: z is (1 − 1/7)/sd, sd = sqrt(6)/7, clipped. */
    assert_near(bias[5], 0.01 * 2, 1e-7);
    assert_near(bias[0], 0.01 * -1 / sqrt(6), 1e-7);
    assert_true(bias[7] == 0);
    bench_close(&b);
}

static void equal_reputations_say_nothing(void **state)
{
    (void)state;
    struct router_config config = bare();
    config.incentive.beta = 0.01f;
    config.incentive.performance = PERFORMANCE_NORM;
    struct bench b;
    static float norm[T * K];
    float bias[E];
    bench_open(&b, &config, T);
    for (int k = 0; k < T * K; k++)
        norm[k] = 0.7f;
    for (int step = 0; step < 5; step++) {
        bench_mode(&b, ROUTE_TRAIN);
        router_feed_norms(b.router, &b.route, norm);
        router_step(b.router, NULL);
    }
    router_bias(b.router, bias);
    assert_memory_equal(bias, ((float[E]){0}), sizeof bias);
    bench_close(&b);
}

/* R after one step is the mean performance itself: what `loss`, `norm` and `accuracy` mean. */
static void performance_is_the_mean_of_its_definition(void **state)
{
    (void)state;
    enum performance_kind kinds[] = {PERFORMANCE_LOSS, PERFORMANCE_NORM, PERFORMANCE_ACCURACY};
    for (int k = 0; k < 3; k++) {
        struct router_config config = bare();
        config.incentive.performance = kinds[k];
        config.incentive.decay_rate = 1;
        struct bench b;
        static float per_pick[T * K];
        static int8_t right[T];
        double sum[E] = {0}, share[E] = {0};
        bench_open(&b, &config, T);
        bench_mode(&b, ROUTE_TRAIN);
        assert_int_equal(router_wants(b.router, ROUTE_TRAIN), kinds[k]);
        assert_int_equal(router_wants(b.router, ROUTE_EVAL), PERFORMANCE_AUTO);
        for (int t = 0; t < T; t++)
            right[t] = (int8_t)(t % 5 == 0 ? -1 : t % 3 == 0);
        for (int64_t p = 0; p < b.route.n; p++) {
            int i = b.route.expert[p];
            int8_t seen = right[b.route.token[p]];
            per_pick[p] = (float)sin((double)p);
            double w = b.route.weight[p];
            if (kinds[k] == PERFORMANCE_LOSS)
                sum[i] -= w * per_pick[p] / 0.25; /* the loss was scaled by a quarter */
            else if (kinds[k] == PERFORMANCE_NORM)
                sum[i] += per_pick[p];
            else
                sum[i] += seen > 0 ? w : 0;
            share[i] += kinds[k] != PERFORMANCE_ACCURACY ? 1 : seen >= 0 ? w : 0;
        }
        router_feed_norms(b.router, &b.route, per_pick);
        router_feed_right(b.router, &b.route, right);
        router_backward(b.router, NULL, per_pick, &b.route, 0.25f);
        router_step(b.router, NULL);
        for (int i = 0; i < E; i++)
            assert_near(state_of(&b, "R")[i], sum[i] / share[i], 1e-5);
        bench_close(&b);
    }
}

static void queue_counts_earlier_micro_batches_of_the_step_only(void **state)
{
    (void)state;
    struct router_config config = bare();
    config.incentive.gamma = 0.1f;
    config.incentive.load = LOAD_QUEUE;
    struct bench b;
    float eval[E];
    bench_open(&b, &config, T);
    fill_logits(b.logits, T, E, 2, 4);
    bench_mode(&b, ROUTE_TRAIN);
    assert_memory_equal(b.route.bias, ((float[E]){0}), sizeof(float) * E);
    int64_t first[E];
    memcpy(first, b.route.picks, sizeof first);
    bench_mode(&b, ROUTE_TRAIN);
    for (int i = 0; i < E; i++)
        assert_near(b.route.bias[i], -0.1 * ((double)first[i] * E / (K * T) - 1), 1e-6);
    router_bias(b.router, eval);
    assert_memory_equal(eval, ((float[E]){0}), sizeof eval);
    router_step(b.router, NULL);
    bench_mode(&b, ROUTE_TRAIN);
    assert_memory_equal(b.route.bias, ((float[E]){0}), sizeof(float) * E);
    bench_close(&b);
}

static void queue_without_accumulation_is_warned_about(void **state)
{
    (void)state;
    struct router_config config = bare();
    config.incentive.load = LOAD_QUEUE;
    router_config_resolve(&config, 10);
    assert_non_null(strstr(router_config_warning(&config, 1), "always 0 with one a step"));
    assert_null(router_config_warning(&config, 2));
}

static void capacity_load_is_the_last_steps_picks_over_the_places(void **state)
{
    (void)state;
    struct router_config config = bare();
    config.incentive.gamma = 0.1f;
    config.incentive.load = LOAD_CAPACITY;
    struct bench b;
    float bias[E];
    bench_open(&b, &config, 250);
    fill_logits(b.logits, 250, E, 2, 4);
    bench_step(&b, NULL);
    router_bias(b.router, bias);
    for (int i = 0; i < E; i++) /* C = ⌈1.25·2·250/8⌉ = ⌈78.125⌉ */
        assert_near(bias[i], -0.1 * (double)b.route.picks[i] / 79, 1e-7);
    bench_close(&b);
}

static void the_load_ema_begins_at_zero(void **state)
{
    (void)state;
    struct router_config config = bare();
    config.incentive.load_ema_alpha = 0.25f;
    struct bench b;
    double L[E] = {0};
    bench_open(&b, &config, T);
    for (int step = 0; step < 3; step++) {
        fill_logits(b.logits, T, E, (uint64_t)step, 3);
        bench_step(&b, NULL);
        for (int i = 0; i < E; i++) {
            L[i] = 0.25 * (share_of(&b, i) - 1) + 0.75 * L[i];
            assert_near(state_of(&b, "L")[i], L[i], 1e-6);
        }
    }
    bench_close(&b);
}

/* How many tokens get other experts in training than in evaluation. */
static int changed_by_exploration(struct bench *b, uint64_t step)
{
    static int32_t plain[T * K];
    int n = 0;
    bench_mode(b, ROUTE_EVAL);
    memcpy(plain, b->route.idx, sizeof plain);
    bench_pick(b, (struct route_batch){.mode = ROUTE_TRAIN, .step = step});
    router_step_drop(b->router);
    for (int t = 0; t < T; t++)
        n += memcmp(plain + t * K, b->route.idx + t * K, sizeof(int32_t) * K) != 0;
    return n;
}

static void epsilon_gives_a_share_of_tokens_random_experts_in_training(void **state)
{
    (void)state;
    struct router_config config = bare();
    config.incentive.exploration = EXPLORE_EPSILON;
    config.incentive.epsilon = 0.3f;
    struct bench b;
    bench_open(&b, &config, T);
    int n = 0;
    for (uint64_t step = 0; step < 20; step++)
        n += changed_by_exploration(&b, step);
    assert_near(n / (20.0 * T), 0.3, 0.03);
    bench_close(&b);
}

static void noise_moves_scores_in_training_and_never_weighs(void **state)
{
    (void)state;
    struct router_config config = bare();
    config.incentive.exploration = EXPLORE_NOISE;
    config.incentive.noise_std = 0.1f;
    struct bench b;
    bench_open(&b, &config, T);
    int n = changed_by_exploration(&b, 0);
    assert_true(n > T / 10 && n < T);
    for (int t = 0; t < T; t++) {
        const int32_t *idx = b.route.idx + t * K;
        const float *s = b.route.scores + t * E;
        assert_near(b.route.pick_weight[t * K], s[idx[0]] / (s[idx[0]] + s[idx[1]]), 1e-6);
    }
    bench_close(&b);
}

static void noise_has_the_deviation_it_is_told(void **state)
{
    (void)state;
    struct router_config config = config_of(2, 1, "rd_esi");
    config.incentive.beta = config.incentive.gamma = 0;
    config.incentive.exploration = EXPLORE_NOISE;
    config.incentive.noise_std = 0.02f;
    struct bench b;
    enum { MANY = 20000 };
    bench_open(&b, &config, MANY);
    for (int64_t t = 0; t < MANY; t++) { /* scores 0.02·√2 apart: one deviation of the difference */
        double s = 0.5 + 0.02 * sqrt(2);
        b.logits[2 * t] = (float)log(s / (1 - s));
        b.logits[2 * t + 1] = 0;
    }
    bench_mode(&b, ROUTE_TRAIN);
    assert_near((double)b.route.picks[1] / MANY, 0.1587, 0.01);
    bench_close(&b);
}

static void draws_do_not_depend_on_how_a_batch_is_split(void **state)
{
    (void)state;
    enum explore_kind kinds[] = {EXPLORE_EPSILON, EXPLORE_NOISE};
    for (int k = 0; k < 2; k++) {
        struct router_config config = bare();
        config.incentive.exploration = kinds[k];
        config.incentive.epsilon = 0.5f;
        config.incentive.noise_std = 0.1f;
        struct bench whole, part;
        bench_open(&whole, &config, T);
        bench_open(&part, &config, 40);
        bench_pick(&whole, (struct route_batch){.mode = ROUTE_TRAIN, .step = 9});
        for (int64_t first = 0; first + 40 <= T; first += 40) {
            memcpy(part.logits, whole.logits + first * E, sizeof(float) * 40 * E);
            bench_pick(&part,
                       (struct route_batch){.mode = ROUTE_TRAIN, .step = 9, .first_token = first});
            assert_memory_equal(part.route.idx, whole.route.idx + first * K,
                                sizeof(int32_t) * 40 * K);
        }
        bench_close(&whole);
        bench_close(&part);
    }
}

static void one_update_per_step_even_with_accumulation_and_recomputation(void **state)
{
    (void)state;
    struct router_config config = config_of(E, K, "rd_esi");
    struct bench whole, parts;
    static float dweight[T * K];
    enum { PART = 64 };
    bench_open(&whole, &config, T);
    bench_open(&parts, &config, PART);
    for (int step = 0; step < 3; step++) {
        fill_logits(whole.logits, T, E, (uint64_t)step, 2);
        bench_mode(&whole, ROUTE_TRAIN);
        for (int64_t p = 0; p < whole.route.n; p++)
            dweight[p] = (float)whole.route.expert[p] - 3;
        router_backward(whole.router, NULL, dweight, &whole.route, 1);
        router_step(whole.router, NULL);
        for (int64_t first = 0; first < T; first += PART) {
            memcpy(parts.logits, whole.logits + first * E, sizeof(float) * PART * E);
            bench_pick(&parts, (struct route_batch){.mode = ROUTE_TRAIN, .first_token = first});
            bench_pick(&parts, (struct route_batch){.mode = ROUTE_RECOMPUTE, .first_token = first});
            for (int64_t p = 0; p < parts.route.n; p++)
                dweight[p] = (float)parts.route.expert[p] - 3;
            router_backward(parts.router, NULL, dweight, &parts.route, 1);
        }
        router_step(parts.router, NULL);
    }
    assert_true(state_of(&parts, "t")[0] == 3);
    const char *exact[] = {"L", "N", "I", "last_used", "seen"};
    for (int k = 0; k < 5; k++)
        assert_memory_equal(state_of(&whole, exact[k]), state_of(&parts, exact[k]),
                            sizeof(float) * E);
    for (int i = 0; i < E; i++) /* sums over micro-batches round differently */
        assert_near(state_of(&whole, "R")[i], state_of(&parts, "R")[i], 1e-6);
    bench_close(&whole);
    bench_close(&parts);
}

static void a_resumed_run_goes_on_with_the_same_bits(void **state)
{
    (void)state;
    struct router_config config = config_of(E, K, "rd_esi_integral");
    struct bench straight, resumed;
    struct route_state_item items[ROUTE_STATE_MAX], kept[ROUTE_STATE_MAX];
    struct err err = {0};
    float a[E], b[E];
    bench_open(&straight, &config, T);
    config.incentive.exploration_until = 123; /* the state's own number must win */
    bench_open(&resumed, &config, T);
    for (int step = 0; step < 7; step++)
        step_with_good_expert(&straight, step % E);
    int n = router_state(straight.router, items);
    for (int k = 0; k < n; k++) { /* through bytes, as a file would */
        kept[k] = items[k];
        kept[k].values = malloc(sizeof(float) * (size_t)items[k].n);
        memcpy(kept[k].values, items[k].values, sizeof(float) * (size_t)items[k].n);
    }
    assert_int_equal(0, router_state_load(resumed.router, kept, n, &err));
    for (int step = 0; step < 5; step++) {
        step_with_good_expert(&straight, step);
        step_with_good_expert(&resumed, step);
    }
    router_bias(straight.router, a);
    router_bias(resumed.router, b);
    assert_memory_equal(a, b, sizeof a);
    assert_true(state_of(&resumed, "exploration_until")[0] == 500);
    for (int k = 0; k < n; k++)
        free(kept[k].values);
    bench_close(&straight);
    bench_close(&resumed);
}

static void the_largest_bias_is_told_in_deviations_of_the_score(void **state)
{
    (void)state;
    struct router_config config = bare();
    config.incentive.gamma = 5;
    struct bench b;
    struct route_step stats;
    bench_open(&b, &config, T);
    fill_logits(b.logits, T, E, 2, 4);
    bench_step(&b, &stats);
    assert_true(stats.bias_ratio == 0);
    bench_mode(&b, ROUTE_TRAIN);
    double sum = 0, square = 0, most = 0;
    for (int k = 0; k < T * E; k++) {
        sum += b.route.scores[k];
        square += (double)b.route.scores[k] * b.route.scores[k];
    }
    for (int i = 0; i < E; i++)
        most = fmax(most, fabs((double)b.route.bias[i]));
    double mean = sum / (T * E), deviation = sqrt(square / (T * E) - mean * mean);
    router_step(b.router, &stats);
    assert_near(stats.bias_ratio, most / deviation, 1e-6);
    assert_true(stats.bias_ratio > ROUTE_BIAS_RATIO_WARN);
    bench_close(&b);
}

static void evaluation_leaves_the_state_alone_and_its_order_does_not_matter(void **state)
{
    (void)state;
    struct router_config config = config_of(E, K, "rd_esi");
    struct bench b;
    static float first[T * E], second[T * E];
    int32_t *seen[2];
    bench_open(&b, &config, T);
    step_with_good_expert(&b, 2);
    fill_logits(first, T, E, 11, 2);
    fill_logits(second, T, E, 12, -2);
    for (int order = 0; order < 2; order++) {
        const float *batches[] = {order ? second : first, order ? first : second, second};
        for (int k = 0; k < 3; k++) {
            memcpy(b.logits, batches[k], sizeof first);
            bench_mode(&b, ROUTE_EVAL);
        }
        seen[order] = malloc(sizeof(int32_t) * T * K);
        memcpy(seen[order], b.route.idx, sizeof(int32_t) * T * K);
    }
    assert_memory_equal(seen[0], seen[1], sizeof(int32_t) * T * K);
    assert_true(state_of(&b, "t")[0] == 1);
    assert_int_equal(router_sums(b.router)->n_items, 0);
    free(seen[0]);
    free(seen[1]);
    bench_close(&b);
}

/* In a fleet one item is a prompt, the queue is live, and decay runs on the clock. */
static void a_fleet_gives_its_own_queue_and_its_own_clock(void **state)
{
    (void)state;
    struct incentive_config config;
    incentive_config_init(&config);
    config.name = "rd_esi";
    config.load = LOAD_QUEUE;
    config.gamma = 0.1f;
    config.beta = config.C = 0;
    config.decay_rate = 0.5f; /* a half-life */
    incentive_config_resolve(&config, 1, 100);
    struct incentive *inc;
    assert_int_equal(0, incentive_new(&inc, &config, 3, NULL));
    float bias[3];
    incentive_bias(inc, bias, &(struct incentive_now){.queue = (float[]){2, 0, -1}});
    assert_near(bias[0], -0.2, 1e-7);
    assert_near(bias[2], 0.1, 1e-7);
    struct route_feedback f = {.items = (int64_t[]){1, 0, 0},
                               .n_items = 1,
                               .n_picks = 1,
                               .performance = (float[]){1, 0, 0},
                               .elapsed = 0};
    incentive_update(inc, &f);
    f.items = (int64_t[]){0, 1, 0};
    f.performance = (float[]){0, 0, 0};
    incentive_update(inc, &f);
    const float *R = incentive_state_find(inc, "R");
    assert_near(R[0] - R[1], 1, 1e-6);
    f.performed = (int64_t[]){0, 0, 0};
    f.elapsed = 2; /* two half-lives pass */
    incentive_update(inc, &f);
    assert_near(R[0] - R[1], 0.25, 1e-6);
    incentive_free(inc);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_more_reputable_expert_is_chosen_more),
        cmocka_unit_test(load_falls_with_gamma),
        cmocka_unit_test(an_integral_removes_what_the_load_term_leaves),
        cmocka_unit_test(an_expert_unused_by_a_gap_below_C_comes_back_through_exploration),
        cmocka_unit_test(exploration_fades_to_nothing_at_its_end),
        cmocka_unit_test(the_bonus_is_its_formula),
        cmocka_unit_test(decay_forgets_towards_the_mean),
        cmocka_unit_test(decay_by_inactivity_touches_only_the_idle),
        cmocka_unit_test(the_first_performance_is_taken_whole_and_later_ones_by_alpha),
        cmocka_unit_test(an_expert_never_seen_is_left_out_of_mean_and_spread),
        cmocka_unit_test(equal_reputations_say_nothing),
        cmocka_unit_test(performance_is_the_mean_of_its_definition),
        cmocka_unit_test(queue_counts_earlier_micro_batches_of_the_step_only),
        cmocka_unit_test(queue_without_accumulation_is_warned_about),
        cmocka_unit_test(capacity_load_is_the_last_steps_picks_over_the_places),
        cmocka_unit_test(the_load_ema_begins_at_zero),
        cmocka_unit_test(epsilon_gives_a_share_of_tokens_random_experts_in_training),
        cmocka_unit_test(noise_moves_scores_in_training_and_never_weighs),
        cmocka_unit_test(noise_has_the_deviation_it_is_told),
        cmocka_unit_test(draws_do_not_depend_on_how_a_batch_is_split),
        cmocka_unit_test(one_update_per_step_even_with_accumulation_and_recomputation),
        cmocka_unit_test(a_resumed_run_goes_on_with_the_same_bits),
        cmocka_unit_test(the_largest_bias_is_told_in_deviations_of_the_score),
        cmocka_unit_test(evaluation_leaves_the_state_alone_and_its_order_does_not_matter),
        cmocka_unit_test(a_fleet_gives_its_own_queue_and_its_own_clock),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
