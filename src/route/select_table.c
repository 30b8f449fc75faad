/* The table of all subsets: see select_table.h.
 *
 * On one prompt the experts stand in called order. Going down that order and deciding in or out until K are in, every end of the
 * walk is a set C that is called and a set O before its last that is out; whatever stands below is free. What the prompt is worth
 * there holds for all U with O ⊆ U and C ∩ U = ∅, that is Π over C of (1 − [c ∈ U]): 2^|C| terms [O ∪ D ⊆ U] with alternating
 * signs into the table that is transformed, or, where fewer are free than called, one entry for each U directly.
 */
#include "route/select_table.h"

#include <stdlib.h>
#include <string.h>

/* ---- planes: a sum over prompts for every subset ---- */

enum plane_kind { PLANE_RIGHT, PLANE_ENERGY, PLANE_LATENCY, PLANE_FAST };

struct plane {
    enum plane_kind kind;
    int64_t limit;           /* PLANE_FAST counts the prompts whose latency is at most that */
    int64_t *terms, *direct; /* [2^N] */
};

struct walk {
    const struct select_table *t;
    struct select_state *s;
    struct plane *planes;
    int n_planes;
    int64_t q;
    uint8_t called[SELECT_MAX_EXPERTS];
};

static void add(struct plane *plane, uint64_t all, uint64_t in, uint64_t out, int64_t w)
{
    uint64_t free = all & ~in & ~out, d;
    if (w == 0)
        return;
    if (__builtin_popcountll(in) <= __builtin_popcountll(free)) {
        d = in;
        do
            plane->terms[out | d] += __builtin_popcountll(d) & 1 ? -w : w;
        while (d && (d = (d - 1) & in, true));
    } else {
        d = free;
        do
            plane->direct[out | d] += w;
        while (d && (d = (d - 1) & free, true));
    }
}

static void leaf(struct walk *w, uint64_t in, uint64_t out, int n_called)
{
    struct select_call c = select_call_of(w->s, w->q, w->called, n_called);
    for (int i = 0; i < w->n_planes; i++) {
        struct plane *plane = &w->planes[i];
        int64_t weight = plane->kind == PLANE_RIGHT     ? c.right
                         : plane->kind == PLANE_ENERGY  ? c.energy
                         : plane->kind == PLANE_LATENCY ? c.latency
                                                        : c.latency <= plane->limit;
        add(plane, (uint64_t)w->t->n_subsets - 1, in, out, weight);
    }
}

/* Decides about the expert at place r of the prompt's order. */
static void walk_down(struct walk *w, const uint8_t *row, int r, int n_called, uint64_t in,
                      uint64_t out)
{
    const struct select_problem *p = w->s->p;
    if (n_called == p->k || r == p->N || row[r] == SELECT_NOBODY) {
        leaf(w, in, out, n_called);
        return;
    }
    int place = w->t->place[row[r]];
    uint64_t bit = place < 0 ? 0 : 1ull << place;
    w->called[n_called] = row[r];
    if (bit || w->t->fixed >> row[r] & 1)
        walk_down(w, row, r + 1, n_called + 1, in | bit, out);
    if (bit || !(w->t->fixed >> row[r] & 1))
        walk_down(w, row, r + 1, n_called, in, out | bit);
}

static void cover(struct walk *w)
{
    const struct select_problem *p = w->s->p;
    uint64_t right = 0, can = select_callable(w->s, w->q);
    for (int k = 0; k < w->t->n_inner; k++)
        right |=
            (uint64_t)(p->right[w->q * p->N + w->t->expert[k]] == 1 && (can >> w->t->expert[k] & 1))
            << k;
    w->planes[0].terms[0]++;
    if (!(w->s->right[w->q] & can & w->t->fixed))
        w->planes[0].terms[right]--;
}

/* x[U] = Σ over X ⊆ U of x[X], plus what was added directly. */
static void finish(struct plane *plane, int64_t n_subsets)
{
    int64_t *x = plane->terms;
    for (int64_t h = 1; h < n_subsets; h *= 2)
        for (int64_t b = 0; b < n_subsets; b += 2 * h)
            for (int64_t j = b; j < b + h; j++)
                x[j + h] += x[j];
    for (int64_t j = 0; j < n_subsets; j++)
        x[j] += plane->direct[j];
    free(plane->direct);
    plane->direct = NULL;
}

/* Fills planes over the prompts rows[first … first + n). On success each plane's terms are the caller's. */
static int fill(struct plane *planes, int n_planes, const struct select_table *t, int64_t first,
                int64_t n, struct err *err)
{
    struct select_state *s = t->s;
    int64_t n_subsets = t->n_subsets;
    bool enough = true;
    for (int i = 0; i < n_planes; i++) {
        planes[i].terms = calloc((size_t)n_subsets, sizeof(int64_t));
        planes[i].direct = calloc((size_t)n_subsets, sizeof(int64_t));
        enough = enough && planes[i].terms && planes[i].direct;
    }
    if (!enough) {
        for (int i = 0; i < n_planes; i++) {
            free(planes[i].terms);
            free(planes[i].direct);
        }
        return err_set(err, MOE2_ELIMIT, "no memory for %lld subsets", (long long)n_subsets);
    }
    struct walk w = {.t = t, .s = s, .planes = planes, .n_planes = n_planes};
    struct progress progress;
    progress_begin(&progress, s->p->sink, "counting", (double)n, "prompts");
    for (int64_t k = first; k < first + n; k++) {
        w.q = s->rows ? s->rows[k] : k;
        if (k % 64 == 0)
            progress_set(&progress, (double)(k - first));
        if (s->p->objective == SELECT_COVERAGE)
            cover(&w);
        else
            walk_down(&w, s->order + w.q * s->p->N, 0, 0, 0, 0);
    }
    progress_end(&progress);
    for (int i = 0; i < n_planes; i++)
        finish(&planes[i], n_subsets);
    return 0;
}

/* ---- the table ---- */

static uint64_t members_of(const struct select_table *t, int64_t u)
{
    uint64_t members = t->fixed;
    for (int k = 0; k < t->n_inner; k++)
        if (!(u >> k & 1))
            members |= 1ull << t->expert[k];
    return members;
}

static int fill_deployed(struct select_table *t, struct err *err)
{
    const struct select_state *s = t->s;
    t->energy = malloc((size_t)t->n_subsets * sizeof *t->energy);
    t->latency = malloc((size_t)t->n_subsets * sizeof *t->latency);
    if (!t->energy || !t->latency)
        return err_set(err, MOE2_ELIMIT, "no memory for %lld subsets", (long long)t->n_subsets);
    for (int64_t u = 0; u < t->n_subsets; u++) {
        struct select_point x = {.members = members_of(t, u)};
        select_deployed(&x, s);
        t->energy[u] = x.energy;
        t->latency[u] = x.latency;
        t->keeps[u] = select_keeps_categories(s, x.members, NULL);
    }
    struct plane right = {.kind = PLANE_RIGHT};
    int rc = fill(&right, 1, t, 0, s->p->n, err);
    t->correct = rc ? NULL : right.terms;
    return rc;
}

/* Takes from keeps what breaks the limits of category c. */
static int check_category(struct select_table *t, int c, struct err *err)
{
    const struct select_category *g = &t->s->categories[c];
    enum select_stat stat = t->s->p->stat;
    struct plane planes[2] = {{.kind = PLANE_ENERGY}, {.kind = PLANE_LATENCY}};
    int64_t least = INT64_MIN, most = g->latency_limit;
    if (g->latency_limit == SELECT_NO_LIMIT && g->energy_limit == SELECT_NO_LIMIT)
        return 0;
    if (stat != STAT_MEAN) {
        planes[1] = (struct plane){.kind = PLANE_FAST, .limit = g->latency_limit};
        least = select_stat_place(stat, g->n);
        most = INT64_MAX;
    }
    int rc = fill(planes, 2, t, g->first, g->n, err);
    for (int64_t u = 0; u < t->n_subsets && !rc; u++) {
        int64_t v = planes[1].terms[u];
        t->keeps[u] &= planes[0].terms[u] <= g->energy_limit && v >= least && v <= most;
    }
    if (!rc) {
        free(planes[0].terms);
        free(planes[1].terms);
    }
    return rc;
}

/* On a prompt where nobody is callable the latency is 0, which keeps every limit; walk_down counts that too. */
static int fill_routed(struct select_table *t, struct err *err)
{
    struct plane planes[3] = {
        {.kind = PLANE_RIGHT}, {.kind = PLANE_ENERGY}, {.kind = PLANE_LATENCY}};
    int n_planes = t->s->p->stat == STAT_MEAN ? 3 : 2;
    int rc = fill(planes, n_planes, t, 0, t->s->p->n, err);
    if (rc)
        return rc;
    t->correct = planes[0].terms;
    t->energy = planes[1].terms;
    t->latency = planes[2].terms;
    for (int c = 0; c < t->s->p->n_categories && !rc; c++)
        rc = check_category(t, c, err);
    return rc;
}

int select_table_init(struct select_table *t, struct select_state *s, uint64_t fixed,
                      uint64_t inner, struct err *err)
{
    *t = (struct select_table){.s = s, .fixed = fixed, .slow_limit = -1};
    for (int i = 0; i < s->p->N; i++) {
        t->place[i] = inner >> i & 1 ? t->n_inner : -1;
        if (inner >> i & 1)
            t->expert[t->n_inner++] = i;
    }
    t->n_subsets = (int64_t)1 << t->n_inner;
    t->keeps = malloc((size_t)t->n_subsets);
    if (!t->keeps)
        return err_set(err, MOE2_ELIMIT, "no memory for %lld subsets", (long long)t->n_subsets);
    memset(t->keeps, 1, (size_t)t->n_subsets);
    int rc = s->p->cost == SELECT_ROUTED ? fill_routed(t, err) : fill_deployed(t, err);
    s->evaluated += rc ? 0 : t->n_subsets - (fixed == 0);
    return rc;
}

void select_table_release(struct select_table *t)
{
    free(t->correct);
    free(t->energy);
    free(t->latency);
    free(t->keeps);
    free(t->slow);
    *t = (struct select_table){0};
}

/* ---- answers ---- */

/* Fills slow for a limit on a stat that is no sum: enough prompts must be within it. */
static int fill_slow(struct select_table *t, int64_t limit, struct err *err)
{
    if (t->latency || limit == t->slow_limit)
        return 0;
    struct plane fast = {.kind = PLANE_FAST, .limit = limit};
    if (!t->slow && !(t->slow = malloc((size_t)t->n_subsets)))
        return err_set(err, MOE2_ELIMIT, "no memory for %lld subsets", (long long)t->n_subsets);
    int rc = fill(&fast, 1, t, 0, t->s->p->n, err);
    if (rc)
        return rc;
    int64_t place = select_stat_place(t->s->p->stat, t->s->p->n);
    for (int64_t u = 0; u < t->n_subsets; u++)
        t->slow[u] = fast.terms[u] < place;
    free(fast.terms);
    t->slow_limit = limit;
    return 0;
}

/* Where the table has a set that consists of the fixed ones and inner ones. */
static int64_t place_of(const struct select_table *t, uint64_t members)
{
    int64_t u = 0;
    for (int k = 0; k < t->n_inner; k++)
        u |= (int64_t) !(members >> t->expert[k] & 1) << k;
    return u;
}

static int64_t latency_of(const struct select_table *t, uint64_t members)
{
    struct select_point x;
    if (t->latency)
        return t->latency[place_of(t, members)];
    select_evaluate(&x, NULL, t->s, members);
    return x.latency;
}

/* Whether x comes before best; a latency below 0 is not known yet and found out when it matters. */
static bool before(struct select_point *x, struct select_point *best, const struct select_table *t)
{
    if (x->correct == best->correct && x->energy == best->energy) {
        if (x->latency < 0)
            x->latency = latency_of(t, x->members);
        if (best->latency < 0)
            best->latency = latency_of(t, best->members);
    }
    return select_before(x, best);
}

int select_table_best(struct select_point *best, bool *found, struct select_table *t,
                      const struct select_cell *cell, struct err *err)
{
    const struct select_state *s = t->s;
    int rc = fill_slow(t, cell->latency, err);
    if (rc)
        return rc;
    struct select_point top = *best;
    if (!*found)
        top.correct = -1;
    for (int64_t u = 0; u < t->n_subsets - (t->fixed == 0); u++) {
        if (t->correct[u] < top.correct || t->energy[u] > cell->energy || !t->keeps[u])
            continue;
        if (t->latency ? t->latency[u] > cell->latency : t->slow[u])
            continue;
        struct select_point x = {members_of(t, u), t->correct[u], t->energy[u],
                                 t->latency ? t->latency[u] : -1};
        if (!select_allowed(s, x.members))
            continue;
        if (top.correct < 0 || before(&x, &top, t))
            top = x;
    }
    if (top.correct < 0)
        return 0;
    if (top.latency < 0)
        top.latency = latency_of(t, top.members);
    *found = true;
    *best = top;
    return 0;
}

int64_t select_table_count(const struct select_table *t, const struct select_cell *cell)
{
    int64_t count = 0;
    int n = __builtin_popcountll(t->fixed) + t->n_inner, most = t->s->p->max_experts;
    for (int64_t u = 0; u < t->n_subsets - (t->fixed == 0); u++)
        count += t->keeps[u] && t->energy[u] <= cell->energy &&
                 (t->latency ? t->latency[u] <= cell->latency : !t->slow[u]) &&
                 n - __builtin_popcountll((uint64_t)u) <= most;
    return count;
}

bool select_table_point(void *table, struct select_point *out, uint64_t members)
{
    const struct select_table *t = table;
    int64_t u = place_of(t, members);
    *out = (struct select_point){members, t->correct[u], t->energy[u], latency_of(t, members)};
    return t->keeps[u];
}

int select_table_frontier(struct select_result *r, struct select_table *t, struct err *err)
{
    const struct select_state *s = t->s;
    struct select_point *list = malloc((size_t)t->n_subsets * sizeof *list);
    int64_t n = 0;
    if (!list)
        return err_set(err, MOE2_ELIMIT, "no memory for %lld subsets", (long long)t->n_subsets);
    for (int64_t u = 0; u < t->n_subsets - (t->fixed == 0); u++) {
        uint64_t m = members_of(t, u);
        if (select_allowed(s, m) && select_table_point(t, &list[n], m))
            n++;
    }
    int rc = select_frontier_add(r, list, n, err);
    free(list);
    return rc;
}
