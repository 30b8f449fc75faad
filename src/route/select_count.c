/* How many subsets a cell admits when everything in service is charged: see select_parts.h.
 *
 * Latency is a filter: only experts within it may be in. Energy is a sum: the experts left are cut into two halves, the sums of each
 * half's subsets lie sorted (by size where members are limited), and two fingers, one going up in one half and one going down in the
 * other, count the pairs that fit. 2^(N/2) steps a cell instead of 2^N. Categories' limits have no such order: there every subset is
 * looked at, up to COUNT_EVERY experts.
 */
#include <stdlib.h>
#include <string.h>

#include "route/select_parts.h"

enum { COUNT_EVERY = 16, HALF_BITS = 20, COUNT_STEPS_BITS = 27 };

/* Sums of energy over the subsets of some experts, in groups by size, or all in one group. */
struct half {
    int64_t *sums; /* [2^n_experts] each group sorted */
    int64_t first[HALF_BITS + 2], n[HALF_BITS + 1];
    int n_groups;
};

struct counting {
    const struct select_state *s;
    struct half halves[2];
    int64_t *merged;  /* [2^HALF_BITS] scratch, or less */
    uint64_t allowed; /* the experts that the halves are made of */
    bool by_size, made;
};

/* C(n, k), n ≤ 64; −1 beyond 63 bits. */
static int64_t choose(int n, int k)
{
    __int128 c = 1;
    for (int i = 1; i <= k; i++)
        c = c * (n - k + i) / i;
    return c > INT64_MAX ? -1 : (int64_t)c;
}

/* Subsets of n experts of one to M members; −1 beyond 63 bits. */
static int64_t count_free(int n, int M)
{
    int64_t count = 0;
    for (int k = 1; k <= n && k <= M; k++) {
        int64_t c = choose(n, k);
        if (c < 0 || __builtin_add_overflow(count, c, &count))
            return -1;
    }
    return count;
}

/* ---- halves ---- */

/* Group `to` gets the sums of group `from` with energy added, beside its own. */
static void merge_group(struct half *h, int to, int from, int64_t energy, int64_t *merged)
{
    const int64_t *a = h->sums + h->first[to], *b = h->sums + h->first[from];
    int64_t na = h->n[to], nb = h->n[from], n = 0, i = 0, j = 0;
    while (i < na || j < nb)
        if (j == nb || (i < na && a[i] <= b[j] + energy))
            merged[n++] = a[i++];
        else
            merged[n++] = b[j++] + energy;
    memcpy(h->sums + h->first[to], merged, (size_t)n * sizeof *merged);
    h->n[to] = n;
}

static void make_half(struct half *h, const struct counting *c, uint64_t members)
{
    int n = __builtin_popcountll(members);
    h->n_groups = c->by_size ? n + 1 : 1;
    for (int k = 0; k < h->n_groups; k++) {
        h->n[k] = 0;
        h->first[k + 1] = (k ? h->first[k] : 0) + choose(n, k);
    }
    h->first[0] = 0;
    h->n[0] = 1;
    h->sums[0] = 0;
    for (uint64_t m = members; m; m &= m - 1)
        for (int k = h->n_groups - 1; k >= (c->by_size ? 1 : 0); k--)
            merge_group(h, k, c->by_size ? k - 1 : 0, c->s->energy[__builtin_ctzll(m)], c->merged);
}

static void make_halves(struct counting *c, uint64_t allowed)
{
    uint64_t low = 0;
    for (int k = __builtin_popcountll(allowed) / 2; k > 0; k--)
        low |= (allowed & ~low) & -(allowed & ~low);
    make_half(&c->halves[0], c, low);
    make_half(&c->halves[1], c, allowed & ~low);
    c->allowed = allowed;
    c->made = true;
}

/* Pairs of a sum of either list that come to at most energy. */
static int64_t count_pairs(const int64_t *a, int64_t na, const int64_t *b, int64_t nb,
                           int64_t energy)
{
    int64_t count = 0, j = nb;
    for (int64_t i = 0; i < na && j > 0; i++) {
        while (j > 0 && b[j - 1] > energy - a[i])
            j--;
        count += j;
    }
    return count;
}

static int64_t count_cell(struct counting *c, const struct select_cell *cell)
{
    const struct select_state *s = c->s;
    uint64_t allowed = 0;
    int64_t all = 0, count = -1; /* the empty one */
    for (int i = 0; i < s->p->N; i++)
        if (s->latency[i] <= cell->latency) {
            allowed |= 1ull << i;
            all += s->energy[i];
        }
    int n = __builtin_popcountll(allowed);
    if (all <= cell->energy)
        return count_free(n, s->p->max_experts);
    if (!c->merged || s->p->n_limits > (int64_t)1 << (COUNT_STEPS_BITS - (n + 1) / 2))
        return -1;
    if (!c->made || c->allowed != allowed)
        make_halves(c, allowed);
    const struct half *x = &c->halves[0], *y = &c->halves[1];
    for (int i = 0; i < x->n_groups; i++)
        for (int j = 0; j < y->n_groups && (!c->by_size || i + j <= s->p->max_experts); j++)
            count += count_pairs(x->sums + x->first[i], x->n[i], y->sums + y->first[j], y->n[j],
                                 cell->energy);
    return count;
}

static int count_by_halves(struct select_result *r, struct select_state *s, struct err *err)
{
    struct counting c = {.s = s, .by_size = s->p->max_experts < s->p->N};
    int bits = (s->p->N + 1) / 2, rc = 0;
    if (bits <= HALF_BITS) {
        size_t bytes = sizeof(int64_t) << bits;
        c.halves[0].sums = malloc(bytes);
        c.halves[1].sums = malloc(bytes);
        c.merged = malloc(bytes);
        if (!c.halves[0].sums || !c.halves[1].sums || !c.merged)
            rc = err_set(err, MOE2_ELIMIT, "no memory to count subsets");
    }
    for (int64_t g = 0; g < r->n_answers && !rc; g++)
        r->answers[g].n_feasible = count_cell(&c, &s->cells[g]);
    free(c.halves[0].sums);
    free(c.halves[1].sums);
    free(c.merged);
    return rc;
}

/* ---- categories' limits ---- */

static void count_every(struct select_result *r, const struct select_state *s)
{
    bool few = s->p->N <= COUNT_EVERY && s->p->n_limits << s->p->N <= 1ll << COUNT_STEPS_BITS;
    for (int64_t g = 0; g < r->n_answers; g++)
        r->answers[g].n_feasible = few ? 0 : -1;
    for (uint64_t m = 1; m <= s->all && few; m++) {
        struct select_point x = {.members = m};
        if (!select_allowed(s, m) || !select_keeps_categories(s, m, NULL))
            continue;
        select_deployed(&x, s);
        for (int64_t g = 0; g < r->n_answers; g++)
            r->answers[g].n_feasible += select_fits(&s->cells[g], &x);
    }
}

int select_count_deployed(struct select_result *r, struct select_state *s, struct err *err)
{
    if (!s->n_bound)
        return count_by_halves(r, s, err);
    count_every(r, s);
    return 0;
}
