/* Kernels of routing: the bits of the plain reference on every table, and those of the router itself; ties, groups, padding, logits that
 * are no numbers. A router whose picks were made by kernels must go on as one that made them.
 */
#include "route/route_rows.h"
#include "route/router_parts.h"
#include "test_kernels.h"

struct shape {
    int64_t E, K, T, n_group, topk_group;
    bool softmax, group_max, normed, shared;
};

static const struct shape shapes[] = {
    {1, 1, 5, 1, 1, .normed = true},
    {7, 3, 1, 1, 1, .softmax = true},
    {7, 7, 70, 1, 1, .softmax = true, .normed = true, .shared = true},
    {64, 6, 131, 1, 1, .normed = true, .shared = true},
    {64, 8, 33, 8, 4, .normed = true},
    {160, 6, 20, 8, 3, .softmax = true, .group_max = true},
    {12, 2, 64, 12, 5, .shared = true},
    {256, 8, 65, 8, 4, .normed = true},
    {257, 33, 9, 1, 1, .softmax = true, .normed = true},
    {1024, 40, 3, 1024, 50, .group_max = true},
    {1030, 256, 2, 2, 1, .softmax = true},
    {5000, 5, 2, 1, 1, .normed = true},
    {32, 4, 0, 1, 1, .shared = true},
};
enum { N_SHAPES = sizeof shapes / sizeof *shapes };

/* How logits are made. */
enum make { SPREAD, FEW_VALUES, ALL_EQUAL, LARGE, BROKEN, MAKES };

struct lists {
    int32_t *offset, *token, *position, *first, *slot;
    float *slot_weight;
};

/* One input and what a table made of it. */
struct run {
    struct route_args a;
    struct lists l;
    float *bias, *logits, *dweight, *dlogits;
    uint8_t *valid;
    int64_t S;
};

static float logit_of(enum make make, struct rng *rng, int64_t i)
{
    float x = (float)rng_normal(rng);
    if (make == FEW_VALUES)
        return (float)rng_below(rng, 4) - 2;
    if (make == ALL_EQUAL)
        return 0.25f;
    if (make == LARGE)
        return 200 * x;
    if (make == BROKEN && i % 97 == 11)
        return i % 2 ? INFINITY : NAN;
    return x;
}

static void run_open(struct run *r, const struct shape *s, enum make make, uint64_t seed)
{
    struct rng rng;
    int64_t E = s->E, K = s->K, T = s->T;
    rng_init(&rng, seed);
    *r = (struct run){.S = T * K + (s->shared ? T : 0)};
    r->bias = randoms(E, seed + 1);
    r->logits = randoms(T * E, seed + 2);
    r->dweight = randoms(r->S, seed + 3);
    r->dlogits = randoms(T * E, seed + 4);
    r->valid = malloc((size_t)T + 1);
    for (int64_t i = 0; i < E; i++)
        r->bias[i] = make == ALL_EQUAL ? 0 : r->bias[i] * 0.2f;
    for (int64_t i = 0; i < T * E; i++)
        r->logits[i] = logit_of(make, &rng, i);
    for (int64_t t = 0; t < T; t++)
        r->valid[t] = t % 7 != 2;
    r->a = (struct route_args){
        .scores = randoms(T * E, 5),
        .idx = (int32_t *)randoms(T * K, 6),
        .weight = randoms(T * K, 7),
        .moments = malloc((size_t)(T / 64 + 1) * 2 * sizeof(double)),
        .logits = r->logits,
        .bias = r->bias,
        .valid = make == SPREAD ? NULL : r->valid,
        .T = T,
        .E = E,
        .K = K,
        .n_group = s->n_group,
        .topk_group = s->topk_group,
        .softmax = s->softmax,
        .group_max = s->group_max,
        .normed = s->normed,
        .factor = 2.5f,
    };
    r->l = (struct lists){.offset = (int32_t *)randoms(E + 2 + s->shared, 8),
                          .token = (int32_t *)randoms(r->S, 9),
                          .position = (int32_t *)randoms(T * K, 10),
                          .first = (int32_t *)randoms(T + 1, 11),
                          .slot = (int32_t *)randoms(r->S, 12),
                          .slot_weight = randoms(r->S, 13)};
}

static void run_close(struct run *r)
{
    free(r->bias);
    free(r->logits);
    free(r->dweight);
    free(r->dlogits);
    free(r->valid);
    free(r->a.scores);
    free(r->a.idx);
    free(r->a.weight);
    free(r->a.moments);
    free(r->l.offset);
    free(r->l.token);
    free(r->l.position);
    free(r->l.first);
    free(r->l.slot);
    free(r->l.slot_weight);
}

static void run_on(struct device *dev, struct run *r, bool shared)
{
    struct route_lists_args lists = {.offset = r->l.offset,
                                     .token = r->l.token,
                                     .slot_weight = r->l.slot_weight,
                                     .position = r->l.position,
                                     .first = r->l.first,
                                     .slot = r->l.slot,
                                     .idx = r->a.idx,
                                     .weight = r->a.weight,
                                     .T = r->a.T,
                                     .E = r->a.E,
                                     .K = r->a.K,
                                     .shared = shared};
    dev->k->route_pick(dev, &r->a);
    dev->k->route_lists(dev, &lists);
    dev->k->route_backward(dev, r->dlogits, r->dweight, r->l.position, &r->a);
    device_sync(dev);
}

static void same(const char *what, const char *where, const void *got, const void *want, int64_t n)
{
    if (memcmp(got, want, (size_t)n * 4) != 0)
        fail_msg("%s: other %s than the reference", where, what);
    check_guard(got, n);
}

static void same_runs(const char *where, const struct run *got, const struct run *want, bool shared)
{
    int64_t T = want->a.T, E = want->a.E, K = want->a.K, n = want->l.offset[E + shared];
    same("scores", where, got->a.scores, want->a.scores, T * E);
    same("picks", where, got->a.idx, want->a.idx, T * K);
    same("weights", where, got->a.weight, want->a.weight, T * K);
    same("offsets", where, got->l.offset, want->l.offset, E + 2 + shared);
    same("positions", where, got->l.position, want->l.position, T * K);
    same("beginnings", where, got->l.first, want->l.first, T + 1);
    same("gradient", where, got->dlogits, want->dlogits, T * E);
    assert_memory_equal(got->a.moments, want->a.moments,
                        (size_t)((T + 63) / 64 * 2) * sizeof(double));
    assert_memory_equal(got->l.token, want->l.token, (size_t)n * 4);
    assert_memory_equal(got->l.slot, want->l.slot, (size_t)n * 4);
    assert_memory_equal(got->l.slot_weight, want->l.slot_weight, (size_t)n * 4);
    check_guard((float *)got->l.token, got->S);
    check_guard((float *)got->l.slot, got->S);
    check_guard(got->l.slot_weight, got->S);
}

static void picks_lists_and_gradients_have_the_same_bits_on_every_table(void **state)
{
    (void)state;
    struct device *plain = open_table(0, 1);
    for (int table = 1; table < N_ALL_TABLES; table++) {
        struct device *dev = open_table(table, 2);
        for (int i = 0; dev && i < N_SHAPES; i++)
            for (int make = 0; make < MAKES; make++) {
                const struct shape *s = &shapes[i];
                char where[128];
                struct run want, got;
                snprintf(where, sizeof where, "%s, E %d, K %d, T %d, logits %d", table_names[table],
                         (int)s->E, (int)s->K, (int)s->T, make);
                run_open(&want, s, (enum make)make, 3);
                run_open(&got, s, (enum make)make, 3);
                run_on(plain, &want, s->shared);
                run_on(dev, &got, s->shared);
                same_runs(where, &got, &want, s->shared);
                run_close(&want);
                run_close(&got);
            }
        device_close(dev);
    }
    device_close(plain);
}

static void a_row_with_a_logit_that_is_no_number_picks_nobody_and_is_counted(void **state)
{
    (void)state;
    const struct shape s = {9, 3, 40, 1, 1, .normed = true};
    for (int table = 0; table < N_ALL_TABLES; table++) {
        struct device *dev = open_table(table, 1);
        struct run r;
        if (!dev)
            continue;
        run_open(&r, &s, SPREAD, 4);
        r.a.valid = r.valid; /* 2 is padding */
        r.logits[2 * 9] = r.logits[5 * 9 + 8] = r.logits[39 * 9 + 4] = NAN;
        r.logits[33 * 9] = -INFINITY;
        run_on(dev, &r, false);
        assert_int_equal(r.l.offset[9 + 1], 3);
        assert_int_equal(r.a.idx[2 * 3], -1);
        assert_int_equal(r.a.idx[5 * 3 + 2], -2);
        assert_int_equal(r.a.idx[33 * 3], -2);
        assert_int_equal(r.a.idx[39 * 3 + 1], -2);
        assert_int_equal(r.l.position[5 * 3], -1);
        assert_int_equal(r.l.offset[9], r.l.first[40]);
        assert_int_equal(r.l.offset[9], (40 - 6 - 3) * 3);
        run_close(&r);
        device_close(dev);
    }
}

/* ---- beside the router ---- */

struct side {
    struct router *router;
    struct route route;
    void *memory;
};

static struct router_config config_of(const struct shape *s, const char *incentive)
{
    struct router_config c;
    router_config_init(&c);
    c.n_experts = (int)s->E;
    c.n_picks = (int)s->K;
    c.score = s->softmax ? SCORE_SOFTMAX : SCORE_SIGMOID;
    c.n_group = (int)s->n_group;
    c.topk_group = (int)s->topk_group;
    c.group_score = s->group_max ? GROUP_SCORE_MAX : GROUP_SCORE_SUM2;
    c.norm_topk_prob = s->normed;
    c.routed_scaling_factor = 2.5f;
    c.incentive.name = incentive;
    router_config_resolve(&c, 1000);
    return c;
}

static void side_open(struct side *s, const struct router_config *config, int64_t T)
{
    struct err err = {0};
    if (router_new(&s->router, config, 3, &err))
        fail_msg("%s", err.msg);
    s->memory = aligned_alloc(64, route_bytes(config, T) + 64);
    route_bind(&s->route, config, T, s->memory);
}

static void side_close(struct side *s)
{
    router_free(s->router);
    heap_free(s->memory);
}

/* What kernels made is what the router made. */
static void check_route(const struct route *route, const struct run *r, int64_t n)
{
    int64_t T = r->a.T, E = r->a.E, K = r->a.K;
    assert_int_equal(route->n, n);
    assert_memory_equal(route->scores, r->a.scores, (size_t)(T * E) * 4);
    assert_memory_equal(route->idx, r->a.idx, (size_t)(T * K) * 4);
    assert_memory_equal(route->pick_weight, r->a.weight, (size_t)(T * K) * 4);
    assert_memory_equal(route->pick_position, r->l.position, (size_t)(T * K) * 4);
    assert_memory_equal(route->token, r->l.token, (size_t)n * 4);
    assert_memory_equal(route->weight, r->l.slot_weight, (size_t)n * 4);
    assert_memory_equal(route->position, r->l.slot, (size_t)n * 4);
    for (int64_t t = 0; t <= T; t++)
        assert_int_equal(route->token_offsets[t], r->l.first[t]);
}

static void check_sums(struct router *a, struct router *b, const struct shape *s)
{
    const struct route_sums *x = router_sums(a), *y = router_sums(b);
    assert_int_equal(x->n_items, y->n_items);
    assert_memory_equal(x->items, y->items, (size_t)s->E * sizeof *x->items);
    assert_memory_equal(&x->score_sum, &y->score_sum, sizeof x->score_sum);
    assert_memory_equal(&x->score_square, &y->score_square, sizeof x->score_square);
    assert_memory_equal(x->performance, y->performance, (size_t)s->E * sizeof(double));
    assert_memory_equal(x->share, y->share, (size_t)s->E * sizeof(double));
    assert_memory_equal(x->performed, y->performed, (size_t)s->E * sizeof *x->performed);
}

/* Some steps of a router, and of one that leaves its picks to kernels. */
static void two_routers(struct device *dev, const struct shape *s, const char *incentive)
{
    struct router_config config = config_of(s, incentive);
    struct side near, far;
    struct err err = {0};
    side_open(&near, &config, s->T);
    side_open(&far, &config, s->T);
    for (int step = 0; step < 4; step++) {
        struct run r;
        run_open(&r, s, step % 2 ? FEW_VALUES : SPREAD, 20 + (uint64_t)step);
        struct route_batch batch = {.mode = step == 2 ? ROUTE_EVAL : ROUTE_TRAIN,
                                    .valid = r.a.valid};
        assert_true(router_picks_far(far.router, batch.mode));
        assert_int_equal(router_pick(near.router, &near.route, r.logits, &batch, &err), 0);
        router_far_begin(far.router, &far.route, &batch);
        assert_memory_equal(far.route.bias, near.route.bias, (size_t)s->E * sizeof(float));
        memcpy(r.bias, far.route.bias, (size_t)s->E * sizeof(float));
        float *wanted = copy_of(r.dlogits, s->T * s->E);
        run_on(dev, &r, false);
        router_far_end(far.router, &far.route, r.l.offset, r.a.moments, &batch);
        check_route(&near.route, &r, far.route.n);
        router_backward(near.router, wanted, r.dweight, &near.route, 0.5f);
        memcpy(far.route.weight, r.l.slot_weight, (size_t)far.route.n * sizeof(float));
        router_feed_loss(far.router, &far.route, r.dweight, 0.5f);
        same("gradient", dev->k->name, r.dlogits, wanted, s->T * s->E);
        check_sums(near.router, far.router, s);
        if (batch.mode == ROUTE_TRAIN) {
            router_step(near.router, NULL);
            router_step(far.router, NULL);
        }
        free(wanted);
        run_close(&r);
    }
    side_close(&near);
    side_close(&far);
}

static void a_router_that_leaves_its_picks_to_kernels_goes_on_as_one_that_made_them(void **state)
{
    (void)state;
    static const char *const incentives[] = {"none", "loss_free", "rd_esi"};
    static const struct shape few[] = {{7, 3, 100, 1, 1, .softmax = true, .normed = true},
                                       {16, 4, 70, 4, 2, .normed = true},
                                       {24, 3, 40, 4, 2, .softmax = true, .group_max = true}};
    for (int table = 0; table < N_ALL_TABLES; table++) {
        struct device *dev = open_table(table, 1);
        for (size_t i = 0; dev && i < 9; i++)
            two_routers(dev, &few[i / 3], incentives[i % 3]);
        device_close(dev);
    }
}

static void a_router_that_draws_drops_or_remembers_tokens_makes_its_picks_itself(void **state)
{
    (void)state;
    const struct shape s = {8, 2, 4, 1, 1, .normed = true};
    struct router_config plain = config_of(&s, "none"), c[5];
    for (int i = 0; i < 5; i++)
        c[i] = plain;
    c[0].pick = PICK_RANDOM;
    c[1].capacity_factor = 1;
    c[2].combine = COMBINE_SELECTION;
    c[3] = config_of(&s, "quantile");
    c[4] = config_of(&s, "rd_esi");
    c[4].incentive.exploration = EXPLORE_NOISE;
    c[4].incentive.noise_std = 0.1f;
    for (int i = 0; i < 5; i++) {
        struct side one;
        side_open(&one, &c[i], s.T);
        assert_false(router_picks_far(one.router, ROUTE_TRAIN));
        assert_int_equal(router_picks_far(one.router, ROUTE_EVAL), i != 0 && i != 2);
        side_close(&one);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(picks_lists_and_gradients_have_the_same_bits_on_every_table),
        cmocka_unit_test(a_row_with_a_logit_that_is_no_number_picks_nobody_and_is_counted),
        cmocka_unit_test(a_router_that_leaves_its_picks_to_kernels_goes_on_as_one_that_made_them),
        cmocka_unit_test(a_router_that_draws_drops_or_remembers_tokens_makes_its_picks_itself),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
