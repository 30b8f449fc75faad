/* The search: see select_search.h.
 *
 * The sum of terms [mask ⊆ U] is decided expert by expert, outermost first. An expert that is in drops all terms that need it out;
 * one that is out leaves all, two of one mask becoming one. With the terms sorted by mask the first is a prefix of the list and the
 * second a merge. Once few enough experts are left, their subsets lie in one table and one subset-sum transform answers all.
 *
 * A cell (a pair of limits) goes along as long as something below may be its answer: energy, latency and members of what is chosen
 * fit, and the bound (the winner among the chosen is right, or some undecided right one would be called before it) is above the best
 * so far, or equal with less energy chosen than the best has. Slow and hungry experts are outermost, so that most cells leave early.
 *
 * The frontier has a walk of its own, which passes over whatever a point that is kept already dominates under the same bound.
 */
#include "route/select_search.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "route/select_archive.h"
#include "route/select_memo.h"

enum { BLOCK_BITS = 14, SUB_BITS = 8, BOUND_FROM = 25, PASSES_FROM = 33 };

struct search {
    struct select_state *s;
    const struct select_ops *ops;
    struct select_bits bits;
    struct select_result *r;
    int N, b, w;                    /* experts; bits of a block; of a part of it */
    int expert[SELECT_MAX_EXPERTS]; /* of each place, the innermost first */
    int pos[SELECT_MAX_EXPERTS];    /* the place of each expert */
    bool wide, use_bound;
    void *table;    /* [2^b] of 16 or 32 bits */
    uint32_t *most; /* [2^(b − w)] the largest of each part */
    int64_t *energy[2],
        *latency[2]; /* what is in: of the inner w places [2^w], of the outer b − w */
    int64_t n_low, n_high;
    uint64_t *alive;                /* [N + 1, N, n_words] by how many are in */
    int32_t *active;                /* [N + 2, n_limits] */
    bool *open;                     /* [n_limits] something was left unlooked at */
    struct select_archive *archive; /* the walk for the frontier; NULL: a walk for the cells */
    double deadline_s;              /* 0: none */
    bool stopped;
    struct progress progress;
    double done; /* percent of the subsets of this walk */
};

/* What is decided: experts by number. */
struct node {
    uint64_t in, rest; /* in; not decided */
    int64_t energy, latency;
    int n_in, depth;
    const struct select_entry *terms;
    int64_t n_terms;
};

/* ---- making ready ---- */

/* Innermost first: whoever fits more of the grid's latencies, then the less hungry. */
static void order_places(struct search *x)
{
    const struct select_state *s = x->s;
    int misses[SELECT_MAX_EXPERTS] = {0};
    for (int i = 0; i < x->N; i++) {
        for (int64_t g = 0; g < s->p->n_limits; g++)
            misses[i] += s->latency[i] > s->cells[g].latency;
        int k = i;
        for (; k > 0; k--) {
            int other = x->expert[k - 1];
            if (misses[other] < misses[i] ||
                (misses[other] == misses[i] && s->energy[other] <= s->energy[i]))
                break;
            x->expert[k] = other;
        }
        x->expert[k] = i;
    }
    for (int k = 0; k < x->N; k++)
        x->pos[x->expert[k]] = k;
}

/* Energy and latency of the experts at places from … from + n_bits that are not in u, for every u. */
static void fill_costs(struct search *x, int half, int from, int n_bits)
{
    for (int64_t u = 0; u < (int64_t)1 << n_bits; u++) {
        struct select_point p = {0};
        for (int k = 0; k < n_bits; k++)
            if (!(u >> k & 1))
                p.members |= 1ull << x->expert[from + k];
        select_deployed(&p, x->s);
        x->energy[half][u] = p.energy;
        x->latency[half][u] = p.latency;
    }
}

static int init_memory(struct search *x, struct err *err)
{
    int64_t cells = x->s->p->n_limits, entry = x->wide ? 4 : 2;
    int64_t words = x->bits.n_words, table = entry << x->b;
    x->n_low = (int64_t)1 << x->w;
    x->n_high = (int64_t)1 << (x->b - x->w);
    x->table = aligned_alloc(64, (size_t)(table < 64 ? 64 : table));
    x->most = malloc((size_t)x->n_high * sizeof *x->most);
    x->active = malloc((size_t)((x->N + 2) * cells) * sizeof *x->active);
    x->open = calloc((size_t)cells, sizeof *x->open);
    bool enough = x->table && x->most && x->active && x->open;
    for (int k = 0; k < 2; k++) {
        size_t n = (size_t)(k ? x->n_high : x->n_low);
        x->energy[k] = malloc(n * sizeof(int64_t));
        x->latency[k] = malloc(n * sizeof(int64_t));
        enough = enough && x->energy[k] && x->latency[k];
    }
    if (x->use_bound) {
        x->alive = malloc((size_t)((x->N + 1) * x->N * words) * sizeof *x->alive);
        enough = enough && x->alive;
    }
    if (!enough)
        return err_set(err, MOE2_ELIMIT, "no memory for blocks of %lld subsets",
                       (long long)1 << x->b);
    fill_costs(x, 0, 0, x->w);
    fill_costs(x, 1, x->w, x->b - x->w);
    return 0;
}

static void search_release(struct search *x)
{
    select_bits_release(&x->bits);
    free(x->table);
    free(x->most);
    free(x->active);
    free(x->open);
    free(x->alive);
    for (int k = 0; k < 2; k++) {
        free(x->energy[k]);
        free(x->latency[k]);
    }
}

/* ---- a block ---- */

static inline int64_t table_at(const struct search *x, int64_t u)
{
    return x->wide ? (int64_t)((const uint32_t *)x->table)[u]
                   : (int64_t)((const uint16_t *)x->table)[u];
}

/* The experts of the block that are not in u. */
static uint64_t block_members(const struct search *x, int64_t u)
{
    uint64_t members = 0;
    for (int k = 0; k < x->b; k++)
        if (!(u >> k & 1))
            members |= 1ull << x->expert[k];
    return members;
}

/* Looks for a better answer of cell g in part h of the block. */
static void scan_part(struct search *x, const struct node *at, int64_t g, int64_t h)
{
    const struct select_state *s = x->s;
    const struct select_cell *cell = &s->cells[g];
    struct select_answer *a = &x->r->answers[g];
    int64_t energy = at->energy + x->energy[1][h];
    int64_t latency = at->latency > x->latency[1][h] ? at->latency : x->latency[1][h];
    for (int64_t j = 0; j < x->n_low; j++) {
        int64_t u = h << x->w | j, correct = table_at(x, u);
        struct select_point p = {.correct = correct, .energy = energy + x->energy[0][j]};
        if ((a->feasible && correct < a->best.correct) || p.energy > cell->energy)
            continue;
        p.latency = latency > x->latency[0][j] ? latency : x->latency[0][j];
        if (p.latency > cell->latency)
            continue;
        p.members = at->in | block_members(x, u);
        if (!select_allowed(s, p.members) || !select_keeps_categories(s, p.members, NULL))
            continue;
        if (!a->feasible || select_before(&p, &a->best)) {
            a->best = p;
            a->feasible = true;
        }
    }
}

/* Whether points with that much right and at least that energy may come before a cell's best. */
static inline bool may_win(const struct select_answer *a, int64_t correct, int64_t energy)
{
    if (!a->feasible || correct > a->best.correct)
        return true;
    return correct == a->best.correct && energy <= a->best.energy;
}

/* Adds to the frontier what part h of the block has for it. */
static void collect_part(struct search *x, const struct node *at, int64_t h, int64_t energy,
                         int64_t latency)
{
    for (int64_t j = 0; j < x->n_low; j++) {
        int64_t u = h << x->w | j, low = x->latency[0][j];
        struct select_point p = {.correct = table_at(x, u),
                                 .energy = energy + x->energy[0][j],
                                 .latency = latency > low ? latency : low};
        if (select_archive_beats(x->archive, p.correct, p.energy, p.latency))
            continue;
        p.members = at->in | block_members(x, u);
        if (select_allowed(x->s, p.members) && select_keeps_categories(x->s, p.members, NULL))
            select_archive_add(x->archive, &p);
    }
}

static void collect_block(struct search *x, const struct node *at)
{
    for (int64_t h = 0; h < x->n_high; h++) {
        int64_t energy = at->energy + x->energy[1][h];
        int64_t latency = at->latency > x->latency[1][h] ? at->latency : x->latency[1][h];
        if (!select_archive_beats(x->archive, x->most[h], energy, latency))
            collect_part(x, at, h, energy, latency);
    }
}

static void scan_block(struct search *x, const struct node *at, const int32_t *active,
                       int64_t n_active)
{
    if (x->wide)
        x->ops->most32(x->most, x->table, (int64_t)1 << x->b, x->n_low);
    else
        x->ops->most16(x->most, x->table, (int64_t)1 << x->b, x->n_low);
    if (x->archive)
        collect_block(x, at);
    for (int64_t k = 0; k < n_active; k++) {
        int64_t g = active[k];
        const struct select_cell *cell = &x->s->cells[g];
        const struct select_answer *a = &x->r->answers[g];
        for (int64_t h = 0; h < x->n_high; h++) {
            if (a->feasible && (int64_t)x->most[h] < a->best.correct)
                continue;
            int64_t energy = at->energy + x->energy[1][h];
            if (energy > cell->energy || x->latency[1][h] > cell->latency)
                continue;
            if (may_win(a, x->most[h], energy))
                scan_part(x, at, g, h);
        }
    }
    x->s->evaluated += ((int64_t)1 << x->b) - (at->in == 0);
}

static void fill_block(struct search *x, const struct node *at)
{
    memset(x->table, 0, (size_t)(x->wide ? 4 : 2) << x->b);
    if (x->wide) {
        uint32_t *t = x->table;
        for (int64_t k = 0; k < at->n_terms; k++)
            t[at->terms[k].mask] += (uint32_t)at->terms[k].weight;
        x->ops->sums32(t, x->b);
    } else {
        uint16_t *t = x->table;
        for (int64_t k = 0; k < at->n_terms; k++)
            t[at->terms[k].mask] = (uint16_t)(t[at->terms[k].mask] + at->terms[k].weight);
        x->ops->sums16(t, x->b);
    }
}

/* ---- the bound ---- */

/* No completion of the node within energy and latency is right more often. */
static int64_t bound(struct search *x, const struct node *at, int64_t energy, int64_t latency)
{
    const struct select_state *s = x->s;
    int64_t words = x->bits.n_words;
    const uint64_t *alive = x->alive + at->n_in * x->N * words;
    memset(x->bits.scratch, 0, (size_t)words * sizeof(uint64_t));
    for (uint64_t m = at->in | at->rest; m; m &= m - 1) {
        int i = __builtin_ctzll(m);
        bool is_in = at->in >> i & 1;
        if (!is_in && (at->energy + s->energy[i] > energy || s->latency[i] > latency ||
                       at->n_in == s->p->max_experts))
            continue;
        x->ops->or_into(x->bits.scratch, alive + i * words, words);
    }
    return x->ops->count(x->bits.scratch, words);
}

/* The prompts where each expert would be called and right once `expert` is in too. */
static void enter(struct search *x, const struct node *at, int expert)
{
    int64_t words = x->bits.n_words;
    const uint64_t *from = x->alive + at->n_in * x->N * words;
    uint64_t *to = x->alive + (at->n_in + 1) * x->N * words;
    for (uint64_t m = at->in | at->rest; m; m &= m - 1) {
        int i = __builtin_ctzll(m);
        if (i == expert || !x->bits.above)
            memcpy(to + i * words, from + i * words, (size_t)words * sizeof *to);
        else
            x->ops->and_not(to + i * words, from + i * words,
                            x->bits.above + (i * x->N + expert) * words, words);
    }
}

/* ---- the tree ---- */

static bool out_of_time(struct search *x)
{
    if (x->s->p->stop && *x->s->p->stop)
        x->stopped = true;
    if (x->deadline_s > 0 && clock_s() > x->deadline_s)
        x->stopped = true;
    return x->stopped;
}

/* Categories' energies grow with the set. */
static bool keeps_energies(const struct select_state *s, uint64_t members)
{
    for (int c = 0; c < s->p->n_categories && s->n_bound; c++) {
        int64_t energy = 0;
        for (uint64_t m = members; m; m &= m - 1)
            energy += s->categories[c].energy[__builtin_ctzll(m)];
        if (energy > s->categories[c].energy_limit)
            return false;
    }
    return true;
}

/* Whether something below the node may be on the frontier. */
static bool may_extend(struct search *x, const struct node *at)
{
    int64_t most = x->use_bound ? bound(x, at, INT64_MAX, INT64_MAX) : x->s->p->n;
    return !select_archive_beats(x->archive, most, at->energy, at->latency);
}

/* The cells of from that something below may be the answer of. */
static int64_t still_active(struct search *x, const struct node *at, int32_t *to,
                            const int32_t *from, int64_t n_from)
{
    int64_t n = 0, energy = 0, latency = 0, kept = 0, most = x->s->p->n;
    for (int64_t k = 0; k < n_from; k++) {
        const struct select_cell *c = &x->s->cells[from[k]];
        if (at->energy > c->energy || at->latency > c->latency)
            continue;
        energy = c->energy > energy ? c->energy : energy;
        latency = c->latency > latency ? c->latency : latency;
        to[n++] = from[k];
    }
    if (!n || (!x->use_bound && !x->stopped))
        return n;
    if (x->use_bound)
        most = bound(x, at, energy, latency);
    for (int64_t k = 0; k < n; k++) {
        struct select_answer *a = &x->r->answers[to[k]];
        if (!may_win(a, most, at->energy))
            continue;
        if (x->stopped) {
            x->open[to[k]] = true;
            a->upper_bound = most > a->upper_bound ? most : a->upper_bound;
        }
        to[kept++] = to[k];
    }
    return kept;
}

/* The terms once the expert of bit is out: both halves merged, n in all at most. */
static int64_t merge(struct select_entry *to, const struct select_entry *from, int64_t split,
                     int64_t n, uint64_t bit)
{
    int64_t a = 0, b = split, kept = 0;
    while (a < split && b < n) {
        uint64_t ma = from[a].mask, mb = from[b].mask ^ bit;
        struct select_entry e = ma <= mb ? from[a] : from[b];
        e.mask = ma <= mb ? ma : mb;
        if (ma == mb)
            e.weight += from[b].weight;
        a += ma <= mb;
        b += mb <= ma;
        to[kept] = e;
        kept += e.weight != 0;
    }
    for (; a < split; a++)
        to[kept++] = from[a];
    for (; b < n; b++)
        to[kept++] = (struct select_entry){from[b].mask ^ bit, from[b].weight};
    return kept;
}

static int64_t first_with(const struct select_entry *terms, int64_t n, uint64_t bit)
{
    int64_t low = 0, high = n;
    while (low < high) {
        int64_t middle = low + (high - low) / 2;
        if (terms[middle].mask < bit)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static int visit(struct search *x, const struct node *at, const int32_t *from, int64_t n_from,
                 struct err *err)
{
    int32_t *active = x->active + (at->depth + 1) * x->s->p->n_limits;
    int64_t n_active = 0;
    int left = x->N - at->depth;
    bool wanted = at->n_in <= x->s->p->max_experts && keeps_energies(x->s, at->in);
    if (wanted && x->archive)
        wanted = may_extend(x, at);
    else if (wanted)
        wanted = (n_active = still_active(x, at, active, from, n_from)) > 0;
    if (!wanted || left == x->b) {
        x->done += ldexp(100, -at->depth);
        progress_set(&x->progress, x->done);
    }
    if (!wanted || x->stopped)
        return 0;
    if (left == x->b) {
        fill_block(x, at);
        scan_block(x, at, active, n_active);
        out_of_time(x);
        return 0;
    }
    uint64_t bit = 1ull << (left - 1);
    int expert = x->expert[left - 1];
    int64_t split = first_with(at->terms, at->n_terms, bit);
    struct node next = *at;
    next.depth++;
    next.rest &= ~(1ull << expert);
    struct select_entry *merged = malloc((size_t)(at->n_terms + 1) * sizeof *merged);
    if (!merged)
        return err_set(err, MOE2_ELIMIT, "no memory for %lld terms", (long long)at->n_terms);
    next.terms = merged;
    next.n_terms = merge(merged, at->terms, split, at->n_terms, bit);
    int rc = visit(x, &next, active, n_active, err);
    free(merged);
    if (rc)
        return rc;
    if (x->use_bound)
        enter(x, at, expert);
    next.terms = at->terms;
    next.n_terms = split;
    next.in |= 1ull << expert;
    next.n_in++;
    next.energy += x->s->energy[expert];
    if (x->s->latency[expert] > next.latency)
        next.latency = x->s->latency[expert];
    return visit(x, &next, active, n_active, err);
}

/* ---- all cells ---- */

/* One walk for those cells. */
static int walk(struct search *x, const struct select_entry *terms, int64_t n_terms,
                const int32_t *cells, int64_t n_cells, double deadline_s, struct err *err)
{
    struct node root = {.rest = x->s->all, .terms = terms, .n_terms = n_terms};
    x->deadline_s = deadline_s;
    x->stopped = false;
    if (x->use_bound)
        memcpy(x->alive, x->bits.right, (size_t)(x->N * x->bits.n_words) * sizeof *x->alive);
    x->done = 0;
    progress_begin(&x->progress, x->s->p->sink, x->archive ? "frontier" : "searching", 100, "%");
    int rc = visit(x, &root, cells, n_cells, err);
    progress_end(&x->progress);
    return rc;
}

static int by_energy(const void *a, const void *b, void *cells)
{
    const struct select_cell *c = cells;
    int32_t i = *(const int32_t *)a, j = *(const int32_t *)b;
    if (c[i].energy != c[j].energy)
        return c[i].energy < c[j].energy ? -1 : 1;
    return (i > j) - (i < j);
}

/* Up to some 32 experts all cells in one walk; beyond, one for each energy limit, the smallest first, sharing what time is left, so
 * that the small ones are proven whatever the large ones need. */
static int walk_all(struct search *x, const struct select_entry *terms, int64_t n_terms,
                    struct err *err)
{
    const struct select_state *s = x->s;
    int64_t n = s->p->n_limits, n_passes = 1;
    double limit_s = s->p->time_limit_s, end_s = limit_s > 0 ? s->begun_s + limit_s : 0;
    int32_t *cells = x->active;
    for (int64_t g = 0; g < n; g++)
        cells[g] = (int32_t)g;
    if (x->N < PASSES_FROM)
        return walk(x, terms, n_terms, cells, n, end_s, err);
    qsort_r(cells, (size_t)n, sizeof *cells, by_energy, s->cells);
    for (int64_t k = 1; k < n; k++)
        n_passes += s->cells[cells[k]].energy != s->cells[cells[k - 1]].energy;
    int rc = 0;
    for (int64_t k = 0; k < n && !rc; n_passes--) {
        int64_t first = k;
        while (k < n && s->cells[cells[k]].energy == s->cells[cells[first]].energy)
            k++;
        double now = clock_s(), until = now + (end_s - now) / (double)n_passes;
        rc = walk(x, terms, n_terms, cells + first, k - first, end_s > 0 ? until : 0, err);
    }
    return rc;
}

/* Greedy, and for many experts climbing from it: the first bests. */
static void warm_start(struct search *x, struct select_memo *m)
{
    for (int64_t g = 0; g < x->r->n_answers; g++) {
        struct select_answer *a = &x->r->answers[g];
        a->best = a->greedy;
        a->feasible = a->has_single;
        if (a->feasible && m && x->N >= PASSES_FROM)
            select_memo_climb(&a->best, m, &x->s->cells[g]);
    }
}

/* The frontier: what is known already, then a walk over the rest in the time that is left. */
static int walk_frontier(struct search *x, const struct select_memo *memo,
                         const struct select_entry *terms, int64_t n_terms, struct err *err)
{
    const struct select_state *s = x->s;
    struct select_archive archive;
    struct select_point *known = NULL;
    double limit_s = s->p->time_limit_s;
    int64_t n_known = 0;
    int rc = select_memo_list(&known, &n_known, memo, x->r, err);
    if (rc)
        return rc;
    select_archive_init(&archive, s->latency, x->N);
    for (int64_t k = 0; k < n_known; k++)
        select_archive_add(&archive, &known[k]);
    free(known);
    x->archive = &archive;
    rc = walk(x, terms, n_terms, NULL, 0, limit_s > 0 ? s->begun_s + limit_s : 0, err);
    x->archive = NULL;
    if (!rc)
        rc = select_archive_points(&x->r->frontier, &x->r->n_frontier, &archive, err);
    x->r->has_frontier = !rc;
    x->r->frontier_complete = !x->stopped && !archive.failed;
    select_archive_release(&archive);
    return rc;
}

static int search_blocks(struct search *x, struct err *err)
{
    struct select_memo memo = {0};
    struct select_source source = {&memo, select_memo_point};
    struct select_entry *terms = NULL;
    int64_t n_terms = 0;
    int rc = select_memo_init(&memo, x->s, &x->bits, err);
    if (!rc) {
        select_baselines(x->r, x->s, &source);
        warm_start(x, &memo);
        rc = select_terms_list(&terms, &n_terms, x->s, x->pos, x->ops, err);
    }
    if (!rc)
        rc = walk_all(x, terms, n_terms, err);
    for (int64_t g = 0; g < x->r->n_answers && !rc; g++) {
        struct select_answer *a = &x->r->answers[g];
        a->optimal = !x->open[g];
        if (a->optimal || (a->feasible && a->upper_bound < a->best.correct))
            a->upper_bound = a->feasible ? a->best.correct : -1;
        a->evaluated = x->s->evaluated;
    }
    if (!rc && x->s->p->frontier)
        rc = walk_frontier(x, &memo, terms, n_terms, err);
    free(terms);
    select_memo_release(&memo);
    return rc;
}

/* A select_source over the one table. */
static bool table_point(void *ctx, struct select_point *out, uint64_t members)
{
    const struct search *x = ctx;
    int64_t u = 0;
    for (uint64_t m = x->s->all & ~members; m; m &= m - 1)
        u |= (int64_t)1 << x->pos[__builtin_ctzll(m)];
    *out = (struct select_point){members, table_at(x, u), 0, 0};
    select_deployed(out, x->s);
    return select_keeps_categories(x->s, members, NULL);
}

static int table_frontier(struct search *x, struct err *err)
{
    const struct select_state *s = x->s;
    struct select_point *list = malloc(((size_t)1 << x->N) * sizeof *list);
    int64_t n = 0;
    if (!list)
        return err_set(err, MOE2_ELIMIT, "no memory for %lld subsets", (long long)1 << x->N);
    for (uint64_t m = 1; m <= s->all; m++)
        if (select_allowed(s, m) && table_point(x, &list[n], m))
            n++;
    int rc = select_frontier_add(x->r, list, n, err);
    x->r->frontier_complete = !rc;
    free(list);
    return rc;
}

static int search_table(struct search *x, struct err *err)
{
    struct select_source source = {x, table_point};
    struct node root = {.rest = x->s->all};
    memset(x->table, 0, (size_t)(x->wide ? 4 : 2) << x->b);
    int rc = select_terms_table(x->table, x->wide, x->s, x->pos, x->ops, err);
    if (rc)
        return rc;
    if (x->wide)
        x->ops->sums32(x->table, x->b);
    else
        x->ops->sums16(x->table, x->b);
    select_baselines(x->r, x->s, &source);
    warm_start(x, NULL);
    for (int64_t g = 0; g < x->r->n_answers; g++)
        x->active[g] = (int32_t)g;
    scan_block(x, &root, x->active, x->r->n_answers);
    for (int64_t g = 0; g < x->r->n_answers; g++) {
        struct select_answer *a = &x->r->answers[g];
        a->optimal = true;
        a->upper_bound = a->feasible ? a->best.correct : -1;
        a->evaluated = x->s->evaluated;
    }
    return x->s->p->frontier ? table_frontier(x, err) : 0;
}

int select_search(struct select_result *r, struct select_state *s, struct err *err)
{
    const struct select_problem *p = s->p;
    struct search x = {.s = s, .r = r, .ops = select_ops_best(), .N = p->N};
    int most = p->table_experts ? p->table_experts : SELECT_MAX_ENUMERATED;
    bool one_table = p->N <= most;
    int block = p->block_bits ? p->block_bits : BLOCK_BITS;
    x.b = one_table || block > p->N ? p->N : block;
    x.w = x.b < SUB_BITS ? x.b : SUB_BITS;
    x.wide = p->n > UINT16_MAX;
    order_places(&x);
    int rc = one_table ? 0 : select_bits_init(&x.bits, s, x.ops, err);
    x.use_bound = x.bits.right && (p->N >= BOUND_FROM || p->block_bits);
    if (!rc)
        rc = init_memory(&x, err);
    if (!rc)
        rc = one_table ? search_table(&x, err) : search_blocks(&x, err);
    if (!rc)
        rc = select_count_deployed(r, s, err);
    search_release(&x);
    return rc;
}
