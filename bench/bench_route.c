/* What routing costs: nanoseconds a token for score, pick, lists (forward), for the way back and for
 * the update of a step, by size and by incentive; RD-ESI beside no incentive.
 *
 *     bench_route [--runs N]            threads as OMP_NUM_THREADS says
 *
 * Each number is the median of the runs. share is that of a training step of the medium model at
 * 2,850 tokens a second (7 routed layers), the speed that the issue asks for on two AVX2 cores.
 */
#include <omp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/rng.h"
#include "base/stats.h"
#include "route/router.h"
#include "route/row_ops.h"

static int runs = 41;

struct job {
    const char *name, *incentive;
    enum pick_kind pick;
    enum score_kind score;
    int64_t T;
    int E, K;
    float aux, z;
};

static void stop(const char *message)
{
    fprintf(stderr, "bench_route: %s\n", message);
    exit(1);
}

static struct router *open_router(const struct job *job)
{
    struct router_config config;
    struct router *r;
    struct err err = {0};
    router_config_init(&config);
    config.n_experts = job->E;
    config.n_picks = job->K;
    config.pick = job->pick;
    config.score = job->score;
    config.incentive.name = job->incentive;
    config.aux.coef = job->aux;
    config.aux.z_coef = job->z;
    if (job->pick == PICK_GROUP_TOPK) {
        config.n_group = 8;
        config.topk_group = 4;
    }
    router_config_resolve(&config, 10000);
    if (router_new(&r, &config, 0, &err))
        stop(err.msg);
    return r;
}

/* Seconds of one forward, one backward and one update; their sum is returned. */
static double measure(const struct job *job)
{
    struct router *r = open_router(job);
    size_t n = (size_t)(job->T * job->E);
    struct route route;
    void *memory = aligned_alloc(64, route_bytes(router_config(r), job->T));
    float *logits = malloc(n * sizeof *logits), *dlogits = calloc(n, sizeof *dlogits);
    float *dweight = malloc(n * sizeof *dweight);
    double *forward = calloc((size_t)(3 * runs), sizeof *forward), *back = forward + runs;
    double *step = back + runs;
    if (!memory || !logits || !dlogits || !dweight || !forward)
        stop("no memory");
    route_bind(&route, router_config(r), job->T, memory);
    struct rng rng;
    rng_init(&rng, 1);
    for (size_t i = 0; i < n; i++)
        logits[i] = dweight[i] = (float)rng_normal(&rng);
    for (int k = -3; k < runs; k++) {
        struct route_batch batch = {.mode = ROUTE_TRAIN, .step = (uint64_t)(k + 3)};
        struct aux_losses losses;
        double t0 = clock_s();
        if (router_pick(r, &route, logits, &batch, NULL))
            stop("pick failed");
        double t1 = clock_s();
        router_backward(r, dlogits, dweight, &route, 1);
        if (router_has_aux(r))
            router_aux(r, dlogits, &losses, &route, logits, &batch, NULL, 1);
        double t2 = clock_s();
        router_step(r, NULL);
        if (k < 0)
            continue;
        forward[k] = t1 - t0;
        back[k] = t2 - t1;
        step[k] = clock_s() - t2;
    }
    double T = (double)job->T, f = stats_median(forward, runs), b = stats_median(back, runs),
           s = stats_median(step, runs);
    double all = f + b + s;
    printf("%-28s %5lld %4d %2d %9.1f %9.1f %9.1f %9.3f %8.2f %%\n", job->name, (long long)job->T,
           job->E, job->K, f / T * 1e9, b / T * 1e9, s / T * 1e9, all * 1e3,
           100 * 7 * all / T * 2850);
    router_free(r);
    free(memory);
    free(logits);
    free(dlogits);
    free(dweight);
    free(forward);
    return all;
}

int main(int argc, char **argv)
{
    for (int i = 1; i + 1 < argc; i += 2)
        if (strcmp(argv[i], "--runs") == 0)
            runs = atoi(argv[i + 1]) > 0 ? atoi(argv[i + 1]) : runs;
    printf("routing, %s, %d thread(s), float32, median of %d\n", row_ops_best()->name,
           omp_get_max_threads(), runs);
    printf("%-28s %5s %4s %2s %9s %9s %9s %9s %8s\n", "", "T", "E", "K", "pick", "back", "step",
           "layer", "share");
    printf("%-28s %5s %4s %2s %9s %9s %9s %9s\n", "", "", "", "", "ns/token", "ns/token",
           "ns/token", "ms");
    const struct job jobs[] = {
        {"none", "none", 0, SCORE_SIGMOID, 2048, 32, 4, 0, 0},
        {"loss_free", "loss_free", 0, SCORE_SIGMOID, 2048, 32, 4, 0, 0},
        {"quantile", "quantile", 0, SCORE_SIGMOID, 2048, 32, 4, 0, 0},
        {"rd_esi", "rd_esi", 0, SCORE_SIGMOID, 2048, 32, 4, 0, 0},
        {"rd_esi_integral", "rd_esi_integral", 0, SCORE_SIGMOID, 2048, 32, 4, 0, 0},
        {"aux", "aux", 0, SCORE_SIGMOID, 2048, 32, 4, 0.001f, 0},
        {"aux and z", "aux", 0, SCORE_SIGMOID, 2048, 32, 4, 0.001f, 0.001f},
        {"random", "none", PICK_RANDOM, SCORE_SIGMOID, 2048, 32, 4, 0, 0},
        {"expert_choice", "none", PICK_EXPERT_CHOICE, SCORE_SOFTMAX, 2048, 32, 4, 0, 0},
        {"softmax, none", "none", 0, SCORE_SOFTMAX, 2048, 32, 4, 0, 0},
        {"none", "none", 0, SCORE_SIGMOID, 2048, 16, 2, 0, 0},
        {"none", "none", 0, SCORE_SIGMOID, 2048, 64, 6, 0, 0},
        {"none", "none", 0, SCORE_SIGMOID, 2048, 128, 8, 0, 0},
        {"none", "none", 0, SCORE_SIGMOID, 2048, 256, 8, 0, 0},
        {"group_topk 8 of which 4", "none", PICK_GROUP_TOPK, SCORE_SIGMOID, 2048, 256, 8, 0, 0},
        {"rd_esi", "rd_esi", 0, SCORE_SIGMOID, 2048, 256, 8, 0, 0},
        {"none, one token", "none", 0, SCORE_SIGMOID, 1, 32, 4, 0, 0},
    };
    double layer[sizeof jobs / sizeof *jobs];
    for (size_t i = 0; i < sizeof jobs / sizeof *jobs; i++)
        layer[i] = measure(&jobs[i]);
    printf("rd_esi costs %.3f ms a layer more than none: %.3f %% of the step\n",
           (layer[3] - layer[0]) * 1e3, 100 * 7 * (layer[3] - layer[0]) / 2048 * 2850);
    return 0;
}
