/* The selector's contract (docs/selecting.md), section 2, as slowly and plainly as it can be said: the oracle of its tests. Costs of one subset
 * are counted prompt by prompt, every subset is looked at, and nothing is shared with src/route but the problem's struct.
 */
#ifndef TESTS_SELECT_ORACLE_H
#define TESTS_SELECT_ORACLE_H

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "route/select.h"

enum { ORACLE_MAX_PROMPTS = 64, ORACLE_MAX_CATEGORIES = 4 };

struct worth {
    long long correct, energy, latency;
    bool allowed; /* the categories' limits and the number of members */
    long long c_correct[ORACLE_MAX_CATEGORIES], c_energy[ORACLE_MAX_CATEGORIES];
    long long c_latency[ORACLE_MAX_CATEGORIES], c_prompts[ORACLE_MAX_CATEGORIES];
};

static inline long long o_cost(const struct select_costs *c, const struct select_problem *p,
                               long long q, int i)
{
    return c->each ? c->each[q * p->N + i] : c->constant[i];
}

static inline int o_compare(const void *a, const void *b)
{
    long long x = *(const long long *)a, y = *(const long long *)b;
    return x < y ? -1 : x > y;
}

/* The stat of n numbers; the mean as a sum. */
static inline long long o_stat(enum select_stat stat, const long long *x, long long n)
{
    long long y[ORACLE_MAX_PROMPTS], sum = 0;
    static const int percent[] = {0, 50, 90, 95, 99};
    memcpy(y, x, sizeof(*x) * (size_t)n);
    qsort(y, (size_t)n, sizeof *y, o_compare);
    for (long long i = 0; i < n; i++)
        sum += y[i];
    if (stat == STAT_MEAN)
        return sum;
    if (stat == STAT_MAX)
        return y[n - 1];
    long long place = percent[stat] * n / 100;
    if (place * 100 < percent[stat] * n)
        place++;
    return y[place - 1];
}

/* Whether a value of the stat keeps a limit a prompt. */
static inline bool o_keeps(enum select_stat stat, long long v, long long limit, long long n)
{
    if (limit == SELECT_NO_LIMIT)
        return true;
    return stat == STAT_MEAN ? (__int128)v <= (__int128)limit * n : v <= limit;
}

/* t_i over the prompts of category c, or of all for c < 0. */
static inline long long o_expert_latency(const struct select_problem *p, int i, int c,
                                         long long *n_out)
{
    long long x[ORACLE_MAX_PROMPTS], n = 0;
    for (long long q = 0; q < p->n; q++)
        if (c < 0 || p->category[q] == c)
            x[n++] = o_cost(&p->latency_us, p, q, i);
    *n_out = n;
    return n ? o_stat(p->stat, x, n) : 0;
}

static inline bool o_may_serve(const struct select_problem *p, int i, int c)
{
    long long n, t = o_expert_latency(p, i, c, &n);
    return o_keeps(p->stat, t, p->category_limits[c].latency_us, n);
}

static inline bool o_callable(const struct select_problem *p, long long q, int i)
{
    if (p->avoid && p->right[q * p->N + i] < 0)
        return false;
    if (p->n_categories && p->cost == SELECT_DEPLOYED)
        return o_may_serve(p, i, p->category[q]);
    return true;
}

static inline bool o_right(const struct select_problem *p, long long q, const int *called, int n)
{
    const int8_t *right = p->right + q * p->N;
    const float *score = p->score + q * p->N;
    double sums[2] = {0, 0};
    int counts[2] = {0, 0};
    if (n == 0)
        return false;
    if (p->combine == VOTE_TOP1)
        return right[called[0]] == 1;
    if (!p->answer) {
        for (int j = 0; j < n; j++) {
            sums[right[called[j]] == 1] += score[called[j]];
            counts[right[called[j]] == 1]++;
        }
        if (p->combine == VOTE_WEIGHTED)
            return sums[1] > sums[0];
        return counts[1] > counts[0] || (counts[1] == counts[0] && sums[1] > sums[0]);
    }
    int best = -1, best_count = 0;
    double best_sum = 0;
    for (int j = 0; j < n; j++) {
        int count = 0;
        double sum = 0;
        int mine = p->answer[q * p->N + called[j]];
        if (mine < 0 || right[called[j]] < 0)
            continue;
        for (int l = 0; l < n; l++)
            if (p->answer[q * p->N + called[l]] == mine && right[called[l]] >= 0) {
                count++;
                sum += score[called[l]];
            }
        bool better = best < 0;
        if (!better && p->combine == VOTE_MAJORITY)
            better = count > best_count || (count == best_count && sum > best_sum);
        if (!better && p->combine == VOTE_WEIGHTED)
            better = sum > best_sum;
        if (better) {
            best = called[j];
            best_count = count;
            best_sum = sum;
        }
    }
    return best >= 0 && right[best] == 1;
}

/* The first k callable members of S, largest score first, equal ones by number. */
static inline int o_call(int *called, const struct select_problem *p, long long q, unsigned S)
{
    int n = 0;
    bool used[SELECT_MAX_EXPERTS] = {false};
    while (n < p->k) {
        int best = -1;
        for (int i = 0; i < p->N; i++)
            if ((S >> i & 1) && !used[i] && o_callable(p, q, i) &&
                (best < 0 || p->score[q * p->N + i] > p->score[q * p->N + best]))
                best = i;
        if (best < 0)
            break;
        used[best] = true;
        called[n++] = best;
    }
    return n;
}

static inline void o_prompt(const struct select_problem *p, long long q, unsigned S, bool *right,
                            long long *latency, long long *energy)
{
    int called[SELECT_MAX_EXPERTS];
    *right = false;
    *latency = *energy = 0;
    if (p->objective == SELECT_COVERAGE) {
        for (int i = 0; i < p->N; i++)
            if ((S >> i & 1) && o_callable(p, q, i) && p->right[q * p->N + i] == 1)
                *right = true;
        return;
    }
    int n = o_call(called, p, q, S);
    *right = o_right(p, q, called, n);
    for (int j = 0; j < n; j++) {
        long long t = o_cost(&p->latency_us, p, q, called[j]);
        *latency = t > *latency ? t : *latency;
        *energy += o_cost(&p->energy_uj, p, q, called[j]);
    }
    if (n >= 2)
        *latency += p->aggregation_us;
}

static inline void o_categories(struct worth *w, const struct select_problem *p, unsigned S,
                                const long long *t)
{
    for (int c = 0; c < p->n_categories; c++) {
        long long x[ORACLE_MAX_PROMPTS], n = 0, energy = 0;
        const struct select_limits *limit = &p->category_limits[c];
        bool serves = false;
        for (long long q = 0; q < p->n; q++)
            if (p->category[q] == c)
                x[n++] = t[q];
        if (n == 0)
            continue;
        if (p->cost == SELECT_ROUTED) {
            w->c_latency[c] = o_stat(p->stat, x, n);
            if (!o_keeps(p->stat, w->c_latency[c], limit->latency_us, n))
                w->allowed = false;
        } else {
            for (int i = 0; i < p->N; i++) {
                if (!(S >> i & 1))
                    continue;
                for (long long q = 0; q < p->n; q++)
                    energy += p->category[q] == c ? o_cost(&p->energy_uj, p, q, i) : 0;
                if (!o_may_serve(p, i, c))
                    continue;
                serves = true;
                long long m, ti = o_expert_latency(p, i, c, &m);
                w->c_latency[c] = ti > w->c_latency[c] ? ti : w->c_latency[c];
            }
            w->c_energy[c] = energy;
            if (limit->latency_us != SELECT_NO_LIMIT && !serves)
                w->allowed = false;
        }
        if (limit->energy_uj != SELECT_NO_LIMIT &&
            (__int128)w->c_energy[c] > (__int128)limit->energy_uj * n)
            w->allowed = false;
    }
}

/* Everything about S. */
static inline struct worth o_worth(const struct select_problem *p, unsigned S)
{
    struct worth w = {.allowed = true};
    long long t[ORACLE_MAX_PROMPTS];
    for (long long q = 0; q < p->n; q++) {
        bool right;
        long long energy;
        o_prompt(p, q, S, &right, &t[q], &energy);
        w.correct += right;
        w.energy += p->cost == SELECT_ROUTED ? energy : 0;
        if (p->n_categories) {
            w.c_prompts[p->category[q]]++;
            w.c_correct[p->category[q]] += right;
            if (p->cost == SELECT_ROUTED)
                w.c_energy[p->category[q]] += energy;
        }
    }
    if (p->cost == SELECT_ROUTED)
        w.latency = o_stat(p->stat, t, p->n);
    for (int i = 0; i < p->N && p->cost == SELECT_DEPLOYED; i++)
        if (S >> i & 1) {
            long long n, ti = o_expert_latency(p, i, -1, &n);
            w.latency = ti > w.latency ? ti : w.latency;
            for (long long q = 0; q < p->n; q++)
                w.energy += o_cost(&p->energy_uj, p, q, i);
        }
    o_categories(&w, p, S, t);
    return w;
}

static inline int o_size(unsigned S)
{
    int n = 0;
    for (; S; S >>= 1)
        n += (int)(S & 1);
    return n;
}

/* Rules (4) and (5). */
static inline bool o_smaller(unsigned a, unsigned b)
{
    if (o_size(a) != o_size(b))
        return o_size(a) < o_size(b);
    for (int i = 0; i < 32; i++)
        if ((a >> i & 1) != (b >> i & 1))
            return a >> i & 1;
    return false;
}

static inline bool o_before(const struct worth *w, unsigned a, unsigned b)
{
    if (w[a].correct != w[b].correct)
        return w[a].correct > w[b].correct;
    if (w[a].energy != w[b].energy)
        return w[a].energy < w[b].energy;
    if (w[a].latency != w[b].latency)
        return w[a].latency < w[b].latency;
    return o_smaller(a, b);
}

static inline bool o_feasible(const struct select_problem *p, const struct worth *w, unsigned S,
                              const struct select_limits *limit)
{
    return w[S].allowed && o_keeps(p->stat, w[S].latency, limit->latency_us, p->n) &&
           (limit->energy_uj == SELECT_NO_LIMIT ||
            (__int128)w[S].energy <= (__int128)limit->energy_uj * p->n);
}

/* The answer with at most M members; 0 without one. */
static inline unsigned o_answer(const struct select_problem *p, const struct worth *w,
                                const struct select_limits *limit, int M)
{
    unsigned best = 0;
    for (unsigned S = 1; S < 1u << p->N; S++)
        if (o_size(S) <= M && o_feasible(p, w, S, limit) && (!best || o_before(w, S, best)))
            best = S;
    return best;
}

static inline long long o_count(const struct select_problem *p, const struct worth *w,
                                const struct select_limits *limit)
{
    long long n = 0;
    for (unsigned S = 1; S < 1u << p->N; S++)
        n += o_size(S) <= p->max_experts && o_feasible(p, w, S, limit);
    return n;
}

static inline unsigned o_greedy(const struct select_problem *p, const struct worth *w,
                                const struct select_limits *limit)
{
    unsigned S = o_answer(p, w, limit, 1);
    while (S && o_size(S) < p->max_experts) {
        unsigned best = 0;
        for (int i = 0; i < p->N; i++) {
            unsigned T = S | 1u << i;
            if (T == S || !o_feasible(p, w, T, limit))
                continue;
            if (!best || w[T].correct > w[best].correct ||
                (w[T].correct == w[best].correct &&
                 (w[T].energy < w[best].energy ||
                  (w[T].energy == w[best].energy && w[T].latency < w[best].latency))))
                best = T;
        }
        if (!best || w[best].correct <= w[S].correct)
            break;
        S = best;
    }
    return S;
}

static inline long long o_oracle(const struct select_problem *p, unsigned S)
{
    long long n = 0;
    for (long long q = 0; q < p->n; q++) {
        bool any = false;
        for (int i = 0; i < p->N; i++)
            any = any || ((S >> i & 1) && p->right[q * p->N + i] == 1);
        n += any;
    }
    return n;
}

/* Whether S stays on the frontier. */
static inline bool o_on_frontier(const struct select_problem *p, const struct worth *w, unsigned S)
{
    if (!w[S].allowed || o_size(S) > p->max_experts)
        return false;
    for (unsigned T = 1; T < 1u << p->N; T++) {
        if (T == S || !w[T].allowed || o_size(T) > p->max_experts)
            continue;
        if (w[T].correct < w[S].correct || w[T].energy > w[S].energy || w[T].latency > w[S].latency)
            continue;
        bool equal = w[T].correct == w[S].correct && w[T].energy == w[S].energy &&
                     w[T].latency == w[S].latency;
        if (!equal || o_smaller(T, S))
            return false;
    }
    return true;
}

#endif
