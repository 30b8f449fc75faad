/* What the tests of routing share: a router with its route, logits of a given make, a step. */
#ifndef MOE2_TEST_ROUTE_COMMON_H
#define MOE2_TEST_ROUTE_COMMON_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <math.h>

#include "base/rng.h"
#include "route/router.h"

struct bench {
    struct router_config config;
    struct router *router;
    struct route route;
    void *memory;
    float *logits; /* [T, E] */
    int64_t T;
};

static inline struct router_config config_of(int E, int K, const char *incentive)
{
    struct router_config config;
    router_config_init(&config);
    config.n_experts = E;
    config.n_picks = K;
    config.seed = 7;
    config.incentive.name = incentive;
    return config;
}

/* Normal logits of deviation 1, plus skew·(E/2 − i)/E, so that early experts are liked better. */
static inline void fill_logits(float *logits, int64_t T, int E, uint64_t seed, double skew)
{
    struct rng rng;
    rng_init(&rng, seed);
    for (int64_t k = 0; k < T * E; k++)
        logits[k] = (float)(rng_normal(&rng) + skew * (E / 2.0 - (double)(k % E)) / E);
}

static inline void bench_open(struct bench *b, const struct router_config *config, int64_t T)
{
    struct err err = {0};
    *b = (struct bench){.config = *config, .T = T};
    router_config_resolve(&b->config, 1000);
    if (router_new(&b->router, &b->config, 3, &err))
        fail_msg("%s", err.msg);
    b->memory = aligned_alloc(64, route_bytes(&b->config, T) + 64);
    route_bind(&b->route, &b->config, T, b->memory);
    b->logits = malloc(sizeof(float) * (size_t)(T * b->config.n_experts + 1));
    fill_logits(b->logits, T, b->config.n_experts, 1, 0);
}

static inline void bench_close(struct bench *b)
{
    router_free(b->router);
    free(b->memory);
    free(b->logits);
}

static inline void bench_pick(struct bench *b, struct route_batch batch)
{
    struct err err = {0};
    if (router_pick(b->router, &b->route, b->logits, &batch, &err))
        fail_msg("%s", err.msg);
}

static inline void bench_mode(struct bench *b, enum route_mode mode)
{
    bench_pick(b, (struct route_batch){.mode = mode});
}

/* A training step without performance. */
static inline void bench_step(struct bench *b, struct route_step *out)
{
    bench_mode(b, ROUTE_TRAIN);
    router_step(b->router, out);
}

static inline const float *state_of(struct bench *b, const char *name)
{
    const float *values = incentive_state_find(router_incentive(b->router), name);
    assert_non_null(values);
    return values;
}

static inline void assert_near(double seen, double wanted, double limit)
{
    if (!(fabs(seen - wanted) <= limit))
        fail_msg("%.9g is not within %g of %.9g", seen, limit, wanted);
}

#endif
