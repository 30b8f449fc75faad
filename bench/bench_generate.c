/* How fast a model reads and writes: the tokens a second of a prompt and of tokens one by one, as llama-bench measures them.
 *
 *     bench_generate MODEL [ROUNDS] [THREADS] [PROMPT] [GENERATED] [--device NAME] [--json] [--profile]
 *     bench_generate CONFIG.json … --random q4|nf4|q8|bf16|f32       random weights of that configuration in that form
 * Each round begins with an empty session and random ids; the first, a warm-up, is not counted. Prints the medians, the bytes of weights
 * that a token reads and what share of the copy bandwidth, measured in the same process on the same device, they make at the
 * decoding speed; --json: one line of JSON with every round. --profile: then the time of every kernel of a prompt and of a token
 * (step_profile.h), each call waited for, so that their sum is more than a pass takes.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/rng.h"
#include "base/stats.h"
#include "kernels/kernels.h"
#include "kernels/limits.h"
#include "model/session.h"
#include "step_profile.h"

enum { MAX_ROUNDS = 100, MAX_WORDS = 5, COPY_NUMBERS = 1 << 27, COPIES = 10, PROFILED = 5 };

struct options {
    const char *words[MAX_WORDS]; /* MODEL and the numbers behind it */
    const char *device, *random;
    int n_words;
    bool json, profile;
};

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

/* The copy bandwidth of a device with memory of its own, reads and writes counted. */
static int device_copy(double *gbs, struct device *dev, struct err *err)
{
    size_t n_bytes = (size_t)COPY_NUMBERS * sizeof(float);
    float *from = device_alloc(dev, n_bytes, err), *to = device_alloc(dev, n_bytes, err);
    double best_s = 0;
    if (from && to)
        dev->ops->zero(dev, from, n_bytes);
    for (int i = 0; i < COPIES && from && to && best_s < 1; i++) {
        device_sync(dev);
        double begun_s = clock_s();
        dev->k->copy(dev, to, from, COPY_NUMBERS);
        device_sync(dev);
        double took_s = clock_s() - begun_s;
        best_s = i == 0 || took_s < best_s ? took_s : best_s;
    }
    int rc = from && to ? device_check(dev, err) : MOE2_ELIMIT;
    *gbs = best_s > 0 ? 2e-9 * (double)n_bytes / best_s : 0;
    device_free(dev, from, n_bytes);
    device_free(dev, to, n_bytes);
    return rc;
}

static int copy_speed(double *gbs, struct device *dev, struct err *err)
{
    struct limits limits = {0};
    if (!dev->host_memory)
        return device_copy(gbs, dev, err);
    int rc = limits_measure(&limits, dev->n_threads, err);
    *gbs = limits.copy_gbs;
    return rc;
}

/* Prints the rounds, sorts them and gives their median. */
static double median(const char *name, double *v, int n, bool json)
{
    if (json)
        printf("\"%s\": [", name);
    for (int i = 0; i < n && json; i++)
        printf("%s%.1f", i ? ", " : "", v[i]);
    double m = stats_median(v, n);
    if (json)
        printf("], \"%s_median\": %.1f, ", name, m);
    else
        printf("%-7s %10.1f tokens/s\n", name, m);
    return m;
}

static void print(struct job *j, double *prompt, double *decode, int rounds, double copy_gbs,
                  bool json)
{
    struct session_bytes bytes = session_bytes(j->s);
    if (json)
        printf("{\"device\": \"%s\", ", j->dev->name);
    median("prompt", prompt, rounds, json);
    double gbs = median("decode", decode, rounds, json) * (double)bytes.read * 1e-9;
    printf(json ? "\"read_mb\": %.1f, \"gbs\": %.2f, \"copy_gbs\": %.1f, "
                  "\"share_of_copy\": %.2f}\n"
                : "a token reads %.1f MB: %.2f GB/s of %.1f, %.2f\n",
           (double)bytes.read * 1e-6, gbs, copy_gbs, gbs / copy_gbs);
}

static int measure(struct job *j, int rounds, bool json, struct err *err)
{
    double prompt[MAX_ROUNDS + 1] = {0}, decode[MAX_ROUNDS + 1] = {0}, copy_gbs = 0;
    int rc = 0;
    for (int r = 0; r <= rounds && !rc && j->n_prompt; r++)
        rc = read_prompt(j, &prompt[r], err);
    for (int r = 0; r <= rounds && !rc && j->n_generated; r++)
        rc = write_on(j, &decode[r], err);
    if (!rc)
        rc = copy_speed(&copy_gbs, j->dev, err);
    if (!rc)
        print(j, prompt + 1, decode + 1, rounds, copy_gbs, json);
    return rc;
}

/* Every kernel's time in a prompt, or in single tokens, behind a round that is not counted. */
static int profile_passes(struct job *j, const char *what,
                          int (*run)(struct job *j, double *per_s, struct err *err),
                          struct err *err)
{
    double per_s;
    int rc = 0;
    for (int r = 0; r <= PROFILED && !rc; r++) {
        profile_step(r > 0);
        rc = run(j, &per_s, err);
    }
    printf("%s\n", what);
    profile_print();
    return rc;
}

static int profile_all(struct job *j, struct err *err)
{
    const struct kernels *own = j->dev->k;
    int rc = 0;
    profile_open(j->dev);
    if (j->n_prompt)
        rc = profile_passes(j, "a prompt", read_prompt, err);
    if (j->n_generated && !rc) {
        j->n_generated = 1;
        rc = profile_passes(j, "a token", write_on, err);
    }
    j->dev->k = own;
    return rc;
}

static int form_of(enum packed_form *out, const char *name, struct err *err)
{
    static const struct {
        const char *name;
        enum packed_form form;
    } forms[] = {{"f32", PACKED_F32}, {"f16", PACKED_F16}, {"bf16", PACKED_BF16},
                 {"q4", PACKED_I4},   {"q8", PACKED_I8},   {"nf4", PACKED_NF4}};
    for (size_t i = 0; i < sizeof forms / sizeof *forms; i++)
        if (strcmp(forms[i].name, name) == 0) {
            *out = forms[i].form;
            return 0;
        }
    return err_set(err, MOE2_ECONFIG, "--random %s is unknown, wanted f32, f16, bf16, q4, q8, nf4",
                   name);
}

static int open_model(struct job *j, const struct options *o, struct err *err)
{
    struct model_config config;
    struct session_options so = {.model = o->words[0],
                                 .capacity = j->n_prompt + j->n_generated + 1};
    int rc = 0;
    so.compute = j->dev->bf16_units ? DT_BF16 : DT_F32;
    if (o->random) {
        so.random = &config;
        rc = model_config_read(&config, o->words[0], err);
        if (!rc)
            rc = form_of(&so.form, o->random, err);
    }
    if (!rc)
        rc = session_open(&j->s, &so, j->dev, err);
    if (!rc && !(j->logits = malloc((size_t)session_config(j->s)->vocab_size * sizeof(float))))
        rc = err_set(err, MOE2_ELIMIT, "no memory for logits");
    return rc;
}

static bool parse(struct options *o, int argc, char **argv)
{
    for (int i = 1; i < argc; i++) {
        bool more = i + 1 < argc;
        if (strcmp(argv[i], "--json") == 0)
            o->json = true;
        else if (strcmp(argv[i], "--profile") == 0)
            o->profile = true;
        else if (strcmp(argv[i], "--device") == 0 && more)
            o->device = argv[++i];
        else if (strcmp(argv[i], "--random") == 0 && more)
            o->random = argv[++i];
        else if (argv[i][0] == '-' || o->n_words == MAX_WORDS)
            return false;
        else
            o->words[o->n_words++] = argv[i];
    }
    return o->n_words > 0;
}

static int number(const struct options *o, int i, int fallback)
{
    return i < o->n_words ? (int)strtol(o->words[i], NULL, 10) : fallback;
}

int main(int argc, char **argv)
{
    struct job j = {0};
    struct options o = {.device = "cpu"};
    struct err err = {0};
    bool understood = parse(&o, argc, argv);
    int rounds = number(&o, 1, 5), rc = 0;
    if (!understood || rounds < 1 || rounds > MAX_ROUNDS) {
        fprintf(stderr, "usage: bench_generate MODEL [ROUNDS] [THREADS] [PROMPT] [GENERATED] "
                        "[--device NAME] [--random FORM] [--json] [--profile]\n");
        return 2;
    }
    j.n_prompt = number(&o, 3, 512);
    j.n_generated = number(&o, 4, 128);
    rng_init(&j.rng, 1);
    rc = device_open(&j.dev, o.device, number(&o, 2, 0), &err);
    if (!rc)
        rc = open_model(&j, &o, &err);
    if (!rc)
        rc = measure(&j, rounds, o.json, &err);
    if (!rc && o.profile)
        rc = profile_all(&j, &err);
    if (rc)
        fprintf(stderr, "bench_generate: %s\n", err.msg);
    free(j.logits);
    session_free(j.s);
    device_close(j.dev);
    return rc ? 1 : 0;
}
