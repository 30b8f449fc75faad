/* What solving costs: seconds of select_solve, proofs included, for the sizes of the goals.
 *
 *     bench_select [--runs N] [--only N_EXPERTS]
 *
 * Synthetic prompts and experts by a fixed seed (abilities, difficulties, a noisy gate), limits 1, 2, 3 s by 5, 10, …, 50 J; and the
 * 29 real experts of MMLU-Pro where ../shared/data or $MOE2_DATA has them, the gate each expert's accuracy in the question's category
 * plus seeded noise; the frontier of these, too. Median and best of the runs; one thread.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/rng.h"
#include "base/stats.h"
#include "io/outcomes.h"
#include "route/select.h"

static int runs = 21, only;

struct data {
    int64_t n;
    int N;
    int8_t *right;
    float *score;
    struct select_costs latency, energy;
    bool frontier;
};

static void stop(const char *message)
{
    fprintf(stderr, "bench_select: %s\n", message);
    exit(1);
}

static void new_data(struct data *d, int64_t n, int N)
{
    *d = (struct data){.n = n, .N = N};
    d->right = malloc((size_t)(n * N));
    d->score = malloc((size_t)(n * N) * sizeof *d->score);
    if (!d->right || !d->score)
        stop("no memory");
}

static double logistic(double x)
{
    return 1 / (1 + exp(-x));
}

static void random_costs(struct data *d, struct rng *r, double most_s, double most_j)
{
    for (int i = 0; i < d->N; i++) {
        d->latency.constant[i] = (int64_t)(1e6 * (0.2 + most_s * rng_uniform(r)));
        d->energy.constant[i] = (int64_t)(1e6 * (1 + most_j * rng_uniform(r)));
    }
}

/* A gate that sees part of what decides: ability, difficulty and liking of a prompt, and noise. */
static void make_synthetic(struct data *d, int64_t n, int N)
{
    struct rng r;
    double ability[OUTCOMES_MAX_EXPERTS];
    new_data(d, n, N);
    rng_init(&r, (uint64_t)N);
    for (int i = 0; i < N; i++)
        ability[i] = 2 * rng_uniform(&r) - 1;
    for (int64_t q = 0; q < n; q++) {
        double hard = rng_normal(&r);
        for (int i = 0; i < N; i++) {
            double p = logistic(ability[i] + rng_normal(&r) - hard);
            d->right[q * N + i] = rng_uniform(&r) < p;
            d->score[q * N + i] = (float)(p + 0.15 * rng_normal(&r));
        }
    }
    random_costs(d, &r, 3.3, 19);
}

/* The 29 models; false when the data is not there. */
static int make_real(struct data *d)
{
    const char *root = getenv("MOE2_DATA");
    char path[4096];
    struct outcomes o = {0};
    struct rng r;
    snprintf(path, sizeof path, "%s/mmlu_pro/outcomes_correct.csv", root ? root : "../shared/data");
    if (outcomes_read(&o, path, NULL, NULL))
        return 0;
    new_data(d, o.n_rows, o.n_experts);
    double(*sum)[2] = calloc((size_t)(o.categories.n * d->N), sizeof *sum);
    rng_init(&r, 29);
    for (int64_t q = 0; q < d->n; q++)
        for (int i = 0; i < d->N; i++) {
            d->right[q * d->N + i] = o.right[q * d->N + i];
            if (o.right[q * d->N + i] < 0)
                continue;
            sum[o.category[q] * d->N + i][0] += o.right[q * d->N + i];
            sum[o.category[q] * d->N + i][1]++;
        }
    for (int64_t q = 0; q < d->n; q++)
        for (int i = 0; i < d->N; i++) {
            const double *s = sum[o.category[q] * d->N + i];
            d->score[q * d->N + i] = (float)(s[0] / s[1] + 0.1 * rng_normal(&r));
        }
    random_costs(d, &r, 3.3, 19);
    free(sum);
    outcomes_release(&o);
    return 1;
}

static void measure(const char *name, struct data *d, int n_energies, double time_limit_s,
                    int n_runs)
{
    struct select_limits limits[64];
    struct select_problem p = {.n = d->n,
                               .N = d->N,
                               .score = d->score,
                               .right = d->right,
                               .latency_us = d->latency,
                               .energy_uj = d->energy,
                               .k = 1,
                               .max_experts = d->N,
                               .limits = limits,
                               .frontier = d->frontier,
                               .time_limit_s = time_limit_s};
    double seconds[1000];
    int n_optimal = 0;
    int64_t evaluated = 0;
    struct err err = {0};
    for (int t = 0; t < 3; t++)
        for (int e = 0; e < n_energies; e++)
            limits[p.n_limits++] = (struct select_limits){(t + 1) * 1000000, (e + 1) * 5000000};
    for (int k = 0; k < n_runs; k++) {
        struct select_result r = {0};
        double begun = clock_s();
        if (select_solve(&r, &p, &err))
            stop(err.msg);
        seconds[k] = clock_s() - begun;
        n_optimal = 0;
        for (int64_t g = 0; g < r.n_answers; g++)
            n_optimal += r.answers[g].optimal;
        evaluated = r.answers[r.n_answers - 1].evaluated;
        select_result_release(&r);
    }
    double median_s = stats_median(seconds, n_runs);
    printf("%-22s %7lld %3d %7lld %9.3f %9.3f %7d %14lld\n", name, (long long)d->n, d->N,
           (long long)p.n_limits, 1e3 * median_s, 1e3 * seconds[0], n_optimal,
           (long long)evaluated);
    fflush(stdout);
}

static void release(struct data *d)
{
    free(d->right);
    free(d->score);
}

int main(int argc, char **argv)
{
    static const int sizes[] = {8, 20, 24};
    struct data d;
    for (int i = 1; i + 1 < argc; i += 2)
        if (strcmp(argv[i], "--runs") == 0)
            runs = (int)strtol(argv[i + 1], NULL, 10);
        else if (strcmp(argv[i], "--only") == 0)
            only = (int)strtol(argv[i + 1], NULL, 10);
    if (runs < 1 || runs > 1000)
        stop("--runs wants 1 to 1000");
    printf("%-22s %7s %3s %7s %9s %9s %7s %14s\n", "experts", "prompts", "N", "limits", "median ms",
           "best ms", "proven", "evaluated");
    for (int k = 0; k < 3; k++) {
        if (only && only != sizes[k])
            continue;
        make_synthetic(&d, 14042, sizes[k]);
        measure("synthetic", &d, 10, 60, runs);
        release(&d);
    }
    if ((!only || only == 29) && make_real(&d)) {
        measure("MMLU-Pro's 29", &d, 10, 60, runs);
        for (int i = 0; i < d.N; i++)
            d.energy.constant[i] /= 1000; /* every limit fits everybody */
        measure("the same, no limit", &d, 1, 60, runs);
        d.frontier = true;
        measure("their whole frontier", &d, 1, 60, 1);
        release(&d);
    }
    if (!only || only == 51) {
        make_synthetic(&d, 14042, 51);
        measure("synthetic, to 15 J", &d, 3, 60, 1);
        measure("synthetic, to 50 J", &d, 10, 20, 1);
        release(&d);
    }
    return 0;
}
