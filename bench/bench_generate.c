/* How fast a model reads and writes: the tokens a second of a prompt and of tokens one by one, as llama-bench measures them.
 *
 *     bench_generate MODEL [ROUNDS] [THREADS] [PROMPT] [GENERATED]
 * Each round begins with an empty session and random ids; the first, a warm-up, is not counted. Prints one line of JSON: every round's
 * tokens/s, the medians, the bytes of weights that a token reads and what share of the copy bandwidth, measured in the same
 * process, they make at the decoding speed. */
#include <stdio.h>
#include <stdlib.h>

#include "base/log.h"
#include "base/rng.h"
#include "kernels/limits.h"
#include "model/session.h"

enum { MAX_ROUNDS = 100 };

struct job {
    struct device *dev;
    struct session *s;
    float *logits;
    int64_t n_prompt, n_generated;
    struct rng rng;
};

static int32_t random_id(struct job *j)
{
    return (int32_t)rng_below(&j->rng, (uint64_t)session_config(j->s)->vocab_size);
}

static int read_prompt(struct job *j, double *per_s, struct err *err)
{
    int32_t *ids = malloc((size_t)j->n_prompt * sizeof *ids);
    if (!ids)
        return err_set(err, MOE2_ELIMIT, "no memory for %lld ids", (long long)j->n_prompt);
    for (int64_t i = 0; i < j->n_prompt; i++)
        ids[i] = random_id(j);
    session_rewind(j->s, 0);
    double begun_s = clock_s();
    int rc = session_forward(j->s, ids, j->n_prompt, j->logits, 1, err);
    *per_s = (double)j->n_prompt / (clock_s() - begun_s);
    free(ids);
    return rc;
}

static int write_on(struct job *j, double *per_s, struct err *err)
{
    int rc = 0;
    session_rewind(j->s, 0);
    double begun_s = clock_s();
    for (int64_t i = 0; i < j->n_generated && !rc; i++) {
        int32_t id = random_id(j);
        rc = session_forward(j->s, &id, 1, j->logits, 1, err);
    }
    *per_s = (double)j->n_generated / (clock_s() - begun_s);
    return rc;
}

static int ascending(const void *x, const void *y)
{
    double a = *(const double *)x, b = *(const double *)y;
    return (a > b) - (a < b);
}

static void print_rounds(const char *name, double *v, int n)
{
    printf("\"%s\": [", name);
    for (int i = 0; i < n; i++)
        printf("%s%.1f", i ? ", " : "", v[i]);
    qsort(v, (size_t)n, sizeof *v, ascending);
    printf("], \"%s_median\": %.1f, ", name, n % 2 ? v[n / 2] : (v[n / 2 - 1] + v[n / 2]) / 2);
}

static int measure(struct job *j, int rounds, struct err *err)
{
    double prompt[MAX_ROUNDS + 1] = {0}, decode[MAX_ROUNDS + 1] = {0};
    int rc = 0;
    for (int r = 0; r <= rounds && !rc && j->n_prompt; r++)
        rc = read_prompt(j, &prompt[r], err);
    for (int r = 0; r <= rounds && !rc && j->n_generated; r++)
        rc = write_on(j, &decode[r], err);
    struct limits limits = {0};
    if (!rc)
        rc = limits_measure(&limits, j->dev->n_threads, err);
    if (rc)
        return rc;
    struct session_bytes bytes = session_bytes(j->s);
    printf("{");
    print_rounds("prompt", prompt + 1, rounds);
    print_rounds("decode", decode + 1, rounds);
    double gbs = decode[1 + rounds / 2] * (double)bytes.read * 1e-9;
    printf("\"read_mb\": %.1f, \"gbs\": %.2f, \"copy_gbs\": %.1f, \"share_of_copy\": %.2f}\n",
           (double)bytes.read * 1e-6, gbs, limits.copy_gbs, gbs / limits.copy_gbs);
    return 0;
}

static int number(char **argv, int argc, int i, int fallback)
{
    return i < argc ? (int)strtol(argv[i], NULL, 10) : fallback;
}

int main(int argc, char **argv)
{
    struct job j = {0};
    struct err err = {0};
    int rounds = number(argv, argc, 2, 5), rc = 0;
    if (argc < 2 || rounds < 1 || rounds > MAX_ROUNDS) {
        fprintf(stderr, "usage: bench_generate MODEL [ROUNDS] [THREADS] [PROMPT] [GENERATED]\n");
        return 2;
    }
    j.n_prompt = number(argv, argc, 4, 512);
    j.n_generated = number(argv, argc, 5, 128);
    rng_init(&j.rng, 1);
    rc = device_open(&j.dev, "cpu", number(argv, argc, 3, 0), &err);
    if (!rc) {
        struct session_options o = {.model = argv[1], .capacity = j.n_prompt + j.n_generated + 1};
        o.compute = j.dev->bf16_units ? DT_BF16 : DT_F32;
        rc = session_open(&j.s, &o, j.dev, &err);
    }
    if (!rc && !(j.logits = malloc((size_t)session_config(j.s)->vocab_size * sizeof(float))))
        rc = err_set(&err, MOE2_ELIMIT, "no memory for logits");
    if (!rc)
        rc = measure(&j, rounds, &err);
    if (rc)
        fprintf(stderr, "bench_generate: %s\n", err.msg);
    free(j.logits);
    session_free(j.s);
    device_close(j.dev);
    return rc ? 1 : 0;
}
