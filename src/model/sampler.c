/* Sampling: see sampler.h. The candidates are a heap with the best on top: a pick takes as many off it as its limits let in, never
 * sorting the vocabulary. */
#include "model/sampler.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/rng.h"

struct candidate {
    float logit;
    int32_t id;
};

struct sampler {
    struct sampling config;
    struct rng rng;
    int64_t n;              /* ids that may be picked */
    struct candidate *heap; /* [n], behind its end those taken off, the best last */
    double *weight;         /* [n] of those taken off, in their order */
    uint8_t *seen;          /* [n] */
};

static int check(const struct sampling *c, int64_t V, struct err *err)
{
    if (!(c->temperature >= 0 && c->temperature <= 100))
        return err_set(err, MOE2_ECONFIG, "temperature %g, wanted 0 to 100", c->temperature);
    if (c->top_k < 0)
        return err_set(err, MOE2_ECONFIG, "top-k %lld, wanted 0 (all) or more",
                       (long long)c->top_k);
    if (!(c->top_p > 0 && c->top_p <= 1))
        return err_set(err, MOE2_ECONFIG, "top-p %g, wanted above 0 and at most 1", c->top_p);
    if (!(c->min_p >= 0 && c->min_p <= 1))
        return err_set(err, MOE2_ECONFIG, "min-p %g, wanted 0 to 1", c->min_p);
    if (!(c->repetition_penalty > 0 && c->repetition_penalty <= 100))
        return err_set(err, MOE2_ECONFIG, "repetition penalty %g, wanted above 0, at most 100",
                       c->repetition_penalty);
    if (c->n_vocab < 0 || V < 1)
        return err_set(err, MOE2_ECONFIG, "a vocabulary of %lld of %lld ids", (long long)c->n_vocab,
                       (long long)V);
    return 0;
}

int sampler_new(struct sampler **out, const struct sampling *config, int64_t V, struct err *err)
{
    int rc = check(config, V, err);
    if (rc)
        return rc;
    struct sampler *s = calloc(1, sizeof *s);
    if (s) {
        s->config = *config;
        s->n = config->n_vocab && config->n_vocab < V ? config->n_vocab : V;
        s->heap = malloc((size_t)s->n * sizeof *s->heap);
        s->weight = malloc((size_t)s->n * sizeof *s->weight);
        s->seen = calloc((size_t)s->n, 1);
    }
    if (!s || !s->heap || !s->weight || !s->seen) {
        sampler_free(s);
        return err_set(err, MOE2_ELIMIT, "no memory to sample from %lld ids", (long long)V);
    }
    rng_init(&s->rng, config->seed);
    *out = s;
    return 0;
}

void sampler_free(struct sampler *s)
{
    if (!s)
        return;
    free(s->heap);
    free(s->weight);
    free(s->seen);
    free(s);
}

void sampler_see(struct sampler *s, const int32_t *ids, int64_t n)
{
    for (int64_t i = 0; i < n; i++)
        if (ids[i] >= 0 && ids[i] < s->n)
            s->seen[ids[i]] = 1;
}

static void penalise(const struct sampler *s, float *logits)
{
    float p = (float)s->config.repetition_penalty;
    if (p == 1)
        return;
    for (int64_t i = 0; i < s->n; i++)
        if (s->seen[i])
            logits[i] = logits[i] > 0 ? logits[i] / p : logits[i] * p;
}

/* ---- the heap ---- */

static bool better(const struct candidate *a, const struct candidate *b)
{
    return a->logit != b->logit ? a->logit > b->logit : a->id < b->id;
}

static void sink(struct candidate *heap, int64_t n, int64_t i)
{
    struct candidate moved = heap[i];
    for (int64_t child; (child = 2 * i + 1) < n; i = child) {
        if (child + 1 < n && better(&heap[child + 1], &heap[child]))
            child++;
        if (!better(&heap[child], &moved))
            break;
        heap[i] = heap[child];
    }
    heap[i] = moved;
}

/* Moves the best of the n left behind them. */
static const struct candidate *take_best(struct candidate *heap, int64_t n)
{
    struct candidate best = heap[0];
    heap[0] = heap[n - 1];
    heap[n - 1] = best;
    sink(heap, n - 1, 0);
    return &heap[n - 1];
}

/* exp((logit − best) / temperature): a probability but for its sum. */
static double weight_of(const struct sampler *s, float logit, double best)
{
    return exp((logit - best) / s->config.temperature);
}

/* Makes the heap, and where top-k leaves fewer than all takes those off it; returns the sum of the weights that top-p is of. */
static double fill_heap(struct sampler *s, const float *logits, double best, int64_t top_k)
{
    double all = 0;
    for (int64_t i = 0; i < s->n; i++)
        s->heap[i] = (struct candidate){logits[i], (int32_t)i};
    for (int64_t i = s->n / 2; i-- > 0;)
        sink(s->heap, s->n, i);
    for (int64_t i = 0; i < top_k; i++)
        all += top_k < s->n ? weight_of(s, take_best(s->heap, s->n - i)->logit, best)
                            : weight_of(s, logits[i], best);
    return all;
}

static int32_t pick_by_chance(struct sampler *s, const float *logits, double best)
{
    const struct sampling *c = &s->config;
    int64_t n = s->n, top_k = c->top_k && c->top_k < n ? c->top_k : n, kept = 0;
    double all = fill_heap(s, logits, best, top_k), sum = 0;
    for (; kept < top_k && !(kept && sum >= c->top_p * all); kept++) {
        const struct candidate *t =
            top_k < n ? &s->heap[n - 1 - kept] : take_best(s->heap, n - kept);
        double w = weight_of(s, t->logit, best);
        if (kept && w < c->min_p)
            break;
        s->weight[kept] = w;
        sum += w;
    }
    double at = rng_uniform(&s->rng) * sum;
    int64_t i = 0;
    while (i + 1 < kept && (at -= s->weight[i]) >= 0)
        i++;
    return s->heap[n - 1 - i].id;
}

int sampler_pick(int32_t *id, struct sampler *s, float *logits, struct err *err)
{
    int64_t best = 0;
    penalise(s, logits);
    for (int64_t i = 1; i < s->n; i++)
        if (logits[i] > logits[best] || isnan(logits[best]))
            best = i;
    if (!isfinite(logits[best]))
        return err_set(err, MOE2_ENUMERIC, "the largest logit is %g, no finite number",
                       (double)logits[best]);
    *id = (int32_t)best;
    if (s->config.temperature > 0)
        *id = pick_by_chance(s, logits, (double)logits[best]);
    s->seen[*id] = 1;
    return 0;
}
