/* A selection problem made ready, and the plain evaluation of one subset: see select_parts.h. */
#include "route/select_parts.h"

#include <stdlib.h>
#include <string.h>

#include "base/log.h"

static const char *const STATS[STAT_N] = {"mean", "p50", "p90", "p95", "p99", "max"};
static const int PERCENT[STAT_N] = {0, 50, 90, 95, 99, 100};

const char *select_stat_name(enum select_stat stat)
{
    return STATS[stat];
}

static int ascending(const void *x, const void *y)
{
    int64_t a = *(const int64_t *)x, b = *(const int64_t *)y;
    return (a > b) - (a < b);
}

/* The k-th smallest, k from 0, by quickselect with a middle pivot; small rests are sorted. */
static int64_t kth_smallest(int64_t *x, int64_t n, int64_t k)
{
    while (n > 16) {
        int64_t pivot = x[n / 2], low = 0, high = n - 1;
        while (low <= high) {
            while (x[low] < pivot)
                low++;
            while (x[high] > pivot)
                high--;
            if (low <= high) {
                int64_t t = x[low];
                x[low++] = x[high];
                x[high--] = t;
            }
        }
        if (k <= high) {
            n = high + 1;
        } else if (k >= low) {
            x += low;
            n -= low;
            k -= low;
        } else {
            return pivot;
        }
    }
    qsort(x, (size_t)n, sizeof *x, ascending);
    return x[k];
}

int64_t select_stat_place(enum select_stat stat, int64_t n)
{
    return (PERCENT[stat] * n + 99) / 100;
}

int64_t select_stat_of(enum select_stat stat, int64_t *x, int64_t n)
{
    int64_t value = 0;
    if (stat == STAT_MEAN)
        for (int64_t i = 0; i < n; i++)
            value += x[i];
    else if (stat == STAT_MAX)
        for (int64_t i = 0; i < n; i++)
            value = x[i] > value ? x[i] : value;
    else
        value = kth_smallest(x, n, select_stat_place(stat, n) - 1);
    return value;
}

static int64_t times(int64_t limit, int64_t n)
{
    int64_t v;
    return limit == SELECT_NO_LIMIT || __builtin_mul_overflow(limit, n, &v) ? SELECT_NO_LIMIT : v;
}

int64_t select_stat_limit(enum select_stat stat, int64_t limit, int64_t n)
{
    return stat == STAT_MEAN ? times(limit, n) : limit;
}

double select_latency_s(const struct select_problem *p, int64_t latency, int64_t prompts)
{
    long double us = latency;
    if (p->stat == STAT_MEAN)
        us /= (long double)prompts;
    return (double)(us / 1e6L);
}

double select_energy_j(int64_t energy, int64_t prompts)
{
    return (double)((long double)energy / (long double)prompts / 1e6L);
}

bool select_before(const struct select_point *a, const struct select_point *b)
{
    if (a->correct != b->correct)
        return a->correct > b->correct;
    if (a->energy != b->energy)
        return a->energy < b->energy;
    if (a->latency != b->latency)
        return a->latency < b->latency;
    int na = __builtin_popcountll(a->members), nb = __builtin_popcountll(b->members);
    if (na != nb)
        return na < nb;
    uint64_t differ = a->members ^ b->members;
    return (a->members & (differ & -differ)) != 0;
}

bool select_out_of_time(const struct select_state *s)
{
    if (s->p->stop && *s->p->stop)
        return true;
    return s->p->time_limit_s > 0 && clock_s() - s->begun_s > s->p->time_limit_s;
}

static inline int64_t cost_of(const struct select_costs *c, int64_t q, int N, int i)
{
    return c->each ? c->each[q * N + i] : c->constant[i];
}

/* ---- making ready ---- */

/* Sums must stay within 63 bits, whatever is called. */
static int check_sums(const struct select_problem *p, struct err *err)
{
    __int128 energy = 0, slowest = 0;
    for (int64_t q = 0; q < (p->energy_uj.each ? p->n : 1); q++)
        for (int i = 0; i < p->N; i++)
            energy += cost_of(&p->energy_uj, q, p->N, i);
    if (!p->energy_uj.each)
        energy *= p->n;
    for (int64_t q = 0; q < (p->latency_us.each ? p->n : 1); q++)
        for (int i = 0; i < p->N; i++) {
            int64_t t = cost_of(&p->latency_us, q, p->N, i);
            slowest = t > slowest ? t : slowest;
        }
    slowest = (slowest + p->aggregation_us) * p->n;
    if (energy >= INT64_MAX || slowest >= INT64_MAX)
        return err_set(err, MOE2_ELIMIT,
                       "the %s of all prompts come to more than 9.2e18 micro%s, wanted less",
                       energy >= INT64_MAX ? "energies" : "latencies",
                       energy >= INT64_MAX ? "joules" : "seconds");
    return 0;
}

static inline int64_t row_at(const struct select_state *s, int64_t k)
{
    return s->rows ? s->rows[k] : k;
}

/* The stat of an expert's cost over the prompts rows[from … from + n). */
static int64_t stat_over(struct select_state *s, enum select_stat stat,
                         const struct select_costs *c, int i, int64_t from, int64_t n)
{
    if (!c->each)
        return stat == STAT_MEAN ? c->constant[i] * n : c->constant[i];
    for (int64_t k = 0; k < n; k++)
        s->scratch[k] = cost_of(c, row_at(s, from + k), s->p->N, i);
    return select_stat_of(stat, s->scratch, n);
}

/* Counting sort of the prompts by category. */
static void group_rows(struct select_state *s)
{
    const struct select_problem *p = s->p;
    int64_t first = 0;
    for (int64_t q = 0; q < p->n; q++)
        s->categories[p->category[q]].n++;
    for (int c = 0; c < p->n_categories; c++) {
        s->categories[c].first = first;
        first += s->categories[c].n;
        s->categories[c].n = 0;
    }
    for (int64_t q = 0; q < p->n; q++) {
        struct select_category *c = &s->categories[p->category[q]];
        s->rows[c->first + c->n++] = q;
    }
}

static void init_category(struct select_state *s, int c)
{
    const struct select_problem *p = s->p;
    struct select_category *g = &s->categories[c];
    g->latency_limit = select_stat_limit(p->stat, p->category_limits[c].latency_us, g->n);
    g->energy_limit = times(p->category_limits[c].energy_uj, g->n);
    g->within = s->all;
    if (g->n == 0)
        g->latency_limit = g->energy_limit = SELECT_NO_LIMIT;
    s->n_bound += g->latency_limit != SELECT_NO_LIMIT || g->energy_limit != SELECT_NO_LIMIT;
    if (p->cost == SELECT_ROUTED || g->n == 0)
        return;
    for (int i = 0; i < p->N; i++) {
        g->latency[i] = stat_over(s, p->stat, &p->latency_us, i, g->first, g->n);
        g->energy[i] = stat_over(s, STAT_MEAN, &p->energy_uj, i, g->first, g->n);
        if (g->latency[i] > g->latency_limit)
            g->within &= ~(1ull << i);
    }
}

static int init_callable(struct select_state *s, struct err *err)
{
    const struct select_problem *p = s->p;
    bool limited = p->cost == SELECT_DEPLOYED && s->n_bound > 0;
    if (!p->avoid && !limited)
        return 0;
    s->can = malloc((size_t)p->n * sizeof *s->can);
    if (!s->can)
        return err_set(err, MOE2_ELIMIT, "no memory for %lld prompts", (long long)p->n);
    for (int64_t q = 0; q < p->n; q++) {
        s->can[q] = limited ? s->categories[p->category[q]].within : s->all;
        for (int i = 0; i < p->N && p->avoid; i++)
            if (p->right[q * p->N + i] < 0)
                s->can[q] &= ~(1ull << i);
    }
    return 0;
}

static int init_memory(struct select_state *s, struct err *err)
{
    const struct select_problem *p = s->p;
    bool each = p->latency_us.each || p->energy_uj.each || p->cost == SELECT_ROUTED;
    s->cells = malloc((size_t)p->n_limits * sizeof *s->cells);
    s->scratch = each ? malloc((size_t)p->n * sizeof *s->scratch) : NULL;
    bool enough = s->cells && (s->scratch || !each);
    if (p->n_categories) {
        s->categories = calloc((size_t)p->n_categories, sizeof *s->categories);
        s->rows = malloc((size_t)p->n * sizeof *s->rows);
        enough = enough && s->categories && s->rows;
    }
    return enough ? 0 : err_set(err, MOE2_ELIMIT, "no memory for %lld prompts", (long long)p->n);
}

/* The bits of eight cells that are 1, of 0 and −1 none; the first cell is the lowest byte (every machine of ours is little-endian). */
static inline uint64_t ones_of(uint64_t cells)
{
    uint64_t ones = cells & ~(cells >> 1) & 0x0101010101010101u;
    return ones * 0x0102040810204080u >> 56;
}

static int init_right(struct select_state *s, struct err *err)
{
    const struct select_problem *p = s->p;
    s->right = malloc((size_t)p->n * sizeof *s->right);
    if (!s->right)
        return err_set(err, MOE2_ELIMIT, "no memory for %lld prompts", (long long)p->n);
    for (int64_t q = 0; q < p->n; q++) {
        const int8_t *right = p->right + q * p->N;
        uint64_t m = 0;
        int i = 0;
        for (; i + 8 <= p->N; i += 8) {
            uint64_t cells;
            memcpy(&cells, right + i, sizeof cells);
            m |= ones_of(cells) << i;
        }
        for (; i < p->N; i++)
            m |= (uint64_t)(right[i] == 1) << i;
        s->right[q] = m;
    }
    return 0;
}

int select_state_init(struct select_state *s, const struct select_problem *p, struct err *err)
{
    *s = (struct select_state){.p = p, .begun_s = clock_s()};
    s->all = vote_everyone(p->N);
    int rc = check_sums(p, err);
    if (!rc)
        rc = init_memory(s, err);
    if (rc)
        return rc;
    if (p->n_categories)
        group_rows(s);
    for (int c = 0; c < p->n_categories; c++)
        init_category(s, c);
    for (int i = 0; i < p->N; i++) {
        s->latency[i] = stat_over(s, p->stat, &p->latency_us, i, 0, p->n);
        s->energy[i] = stat_over(s, STAT_MEAN, &p->energy_uj, i, 0, p->n);
    }
    for (int64_t g = 0; g < p->n_limits; g++)
        s->cells[g] = (struct select_cell){
            .latency = select_stat_limit(p->stat, p->limits[g].latency_us, p->n),
            .energy = times(p->limits[g].energy_uj, p->n),
        };
    rc = init_right(s, err);
    return rc ? rc : init_callable(s, err);
}

void select_state_release(struct select_state *s)
{
    free(s->can);
    free(s->order);
    free(s->categories);
    free(s->rows);
    free(s->cells);
    free(s->scratch);
    free(s->right);
    *s = (struct select_state){0};
}

int select_state_order(struct select_state *s, struct err *err)
{
    const struct select_problem *p = s->p;
    int N = p->N;
    if (s->order || !p->score)
        return 0;
    s->order = malloc((size_t)(p->n * N));
    if (!s->order)
        return err_set(err, MOE2_ELIMIT, "no memory for %lld prompts", (long long)p->n);
    for (int64_t q = 0; q < p->n; q++) {
        const float *score = p->score + q * N;
        uint8_t *row = s->order + q * N;
        uint64_t can = select_callable(s, q);
        int m = 0;
        memset(row, SELECT_NOBODY, (size_t)N);
        for (int i = 0; i < N; i++) {
            if (!(can >> i & 1))
                continue;
            int j = m++;
            for (; j > 0 && score[row[j - 1]] < score[i]; j--)
                row[j] = row[j - 1];
            row[j] = (uint8_t)i;
        }
    }
    return 0;
}

/* ---- one subset ---- */

static bool right_of(const struct select_problem *p, int64_t q, const uint8_t *called, int n)
{
    const int8_t *right = p->right + q * p->N;
    const float *score = p->score + q * p->N;
    float scores[SELECT_MAX_EXPERTS];
    int32_t answers[SELECT_MAX_EXPERTS];
    bool rights[SELECT_MAX_EXPERTS];
    if (p->combine == VOTE_TOP1)
        return n > 0 && right[called[0]] == 1;
    for (int j = 0; j < n; j++) {
        int i = called[j];
        scores[j] = score[i];
        rights[j] = right[i] == 1;
        answers[j] = p->answer && right[i] >= 0 ? p->answer[q * p->N + i] : -1;
    }
    if (!p->answer)
        return vote_by_outcome(p->combine, rights, scores, n);
    int winner = vote_by_answer(p->combine, answers, scores, n);
    return winner >= 0 && rights[winner];
}

struct select_call select_call_of(const struct select_state *s, int64_t q, const uint8_t *called,
                                  int n_called)
{
    const struct select_problem *p = s->p;
    struct select_call c = {.right = right_of(p, q, called, n_called)};
    for (int j = 0; j < n_called; j++) {
        int64_t t = cost_of(&p->latency_us, q, p->N, called[j]);
        c.latency = t > c.latency ? t : c.latency;
        c.energy += cost_of(&p->energy_uj, q, p->N, called[j]);
    }
    if (n_called > 1)
        c.latency += p->aggregation_us;
    return c;
}

static struct select_call call_on(const struct select_state *s, int64_t q, uint64_t members)
{
    const struct select_problem *p = s->p;
    uint8_t called[SELECT_MAX_EXPERTS];
    int n = 0;
    if (p->objective == SELECT_COVERAGE) {
        uint64_t m = members & select_callable(s, q);
        struct select_call c = {0};
        for (; m && !c.right; m &= m - 1)
            c.right = p->right[q * p->N + __builtin_ctzll(m)] == 1;
        return c;
    }
    const uint8_t *row = s->order + q * p->N;
    for (int r = 0; r < p->N && row[r] != SELECT_NOBODY && n < p->k; r++)
        if (members >> row[r] & 1)
            called[n++] = row[r];
    return select_call_of(s, q, called, n);
}

void select_deployed(struct select_point *out, const struct select_state *s)
{
    out->energy = out->latency = 0;
    for (uint64_t m = out->members; m; m &= m - 1) {
        int i = __builtin_ctzll(m);
        out->energy += s->energy[i];
        out->latency = s->latency[i] > out->latency ? s->latency[i] : out->latency;
    }
}

/* A category's deployed costs: of the members that may serve it. */
static void share_deployed(struct select_share *out, const struct select_category *c,
                           uint64_t members)
{
    for (uint64_t m = members; m; m &= m - 1) {
        int i = __builtin_ctzll(m);
        out->energy += c->energy[i];
        if ((c->within >> i & 1) && c->latency[i] > out->latency)
            out->latency = c->latency[i];
    }
}

void select_evaluate(struct select_point *out, struct select_share *shares, struct select_state *s,
                     uint64_t members)
{
    const struct select_problem *p = s->p;
    bool routed = p->cost == SELECT_ROUTED;
    int n_groups = shares ? p->n_categories : 1;
    *out = (struct select_point){.members = members};
    for (int g = 0; g < n_groups; g++) {
        int64_t first = shares ? s->categories[g].first : 0;
        int64_t n = shares ? s->categories[g].n : p->n;
        struct select_share sum = {.prompts = n};
        for (int64_t k = first; k < first + n; k++) {
            struct select_call c = call_on(s, row_at(s, k), members);
            sum.correct += c.right;
            sum.energy += routed ? c.energy : 0;
            if (routed)
                s->scratch[k] = c.latency;
        }
        out->correct += sum.correct;
        out->energy += sum.energy;
        if (shares && n && routed)
            sum.latency = select_stat_of(p->stat, s->scratch + first, n);
        else if (shares && n)
            share_deployed(&sum, &s->categories[g], members);
        if (shares)
            shares[g] = sum;
    }
    if (routed)
        out->latency = select_stat_of(p->stat, s->scratch, p->n);
    else
        select_deployed(out, s);
}

bool select_keeps_categories(const struct select_state *s, uint64_t members,
                             const struct select_share *shares)
{
    for (int c = 0; c < s->p->n_categories && s->n_bound; c++) {
        const struct select_category *g = &s->categories[c];
        int64_t energy = 0;
        if (s->p->cost == SELECT_ROUTED) {
            if (g->n &&
                (shares[c].energy > g->energy_limit || shares[c].latency > g->latency_limit))
                return false;
            continue;
        }
        for (uint64_t m = members; m; m &= m - 1)
            energy += g->energy[__builtin_ctzll(m)];
        if (energy > g->energy_limit)
            return false;
        if (g->latency_limit != SELECT_NO_LIMIT && !(members & g->within))
            return false;
    }
    return true;
}

int64_t select_oracle(const struct select_state *s, uint64_t members)
{
    return select_ops_best()->count_hit(s->right, members, s->p->n);
}
