/* Any bytes as everything that a selection reads: a line of options, then the files, with a line "%" between them:
 *
 *     latency limits, energy limits, k, combine, cost, missing, stat, max experts, flags (c coverage, f frontier,
 *     g by category, e enumerate)
 *     outcomes.csv % latency.json % energy.json % letters that become gate scores % predictions.csv % category limits
 *
 * A part that is empty is not given. What comes out must be a sentence or a report that can be written; on small inputs the answers,
 * the number of feasible subsets, the baselines and the frontier are those of the tests' brute force.
 */
#include <assert.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "../tests/select_oracle.h"
#include "io/npy.h"
#include "pipeline/select_input.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n);

enum { N_PARTS = 7, SMALL_EXPERTS = 6, SMALL_GRID = 32, MAX_LINE = 256, MAX_BYTES = 1 << 16 };
enum { OPTIONS, OUTCOMES, LATENCY, ENERGY, SCORES, PREDICTIONS, CATEGORY_LIMITS };

struct part {
    const uint8_t *bytes;
    size_t n;
    char path[32]; /* "": not given */
    int fd;
};

struct case_of {
    struct part parts[N_PARTS];
    char words[MAX_LINE], *word[9];
    struct select_options o;
};

/* The options' line, then what stands between lines "%". */
static void cut(struct case_of *c, const uint8_t *bytes, size_t n)
{
    const uint8_t *end = memchr(bytes, '\n', n), *at = bytes, *stop = bytes + n;
    c->parts[OPTIONS] = (struct part){.bytes = bytes, .n = end ? (size_t)(end - bytes) : n};
    at = end ? end + 1 : stop;
    for (int k = OUTCOMES; k < N_PARTS; k++) {
        const uint8_t *next = at < stop ? memmem(at, (size_t)(stop - at), "%\n", 2) : NULL;
        c->parts[k] = (struct part){.bytes = at, .n = (size_t)((next ? next : stop) - at)};
        at = next ? next + 2 : stop;
    }
}

static bool lay_down(struct part *p, const void *bytes, size_t n)
{
    p->fd = memfd_create("part", 0);
    if (p->fd < 0 || write(p->fd, bytes, n) != (ssize_t)n)
        return false;
    snprintf(p->path, sizeof p->path, "/proc/self/fd/%d", p->fd);
    return true;
}

/* Scores of the outcomes' shape out of letters, taken again from the front when they end. */
static bool lay_scores(struct case_of *c)
{
    struct part *p = &c->parts[SCORES];
    struct reader *reader = NULL;
    struct outcomes o = {0};
    struct buf b = {0};
    int64_t shape[2] = {1, 1};
    if (!reader_open_bytes(&reader, "x", c->parts[OUTCOMES].bytes, c->parts[OUTCOMES].n, NULL) &&
        !outcomes_read_from(&o, reader, NULL, NULL)) {
        shape[0] = o.n_rows;
        shape[1] = o.n_experts;
    }
    outcomes_release(&o);
    bool fine = !npy_header(&b, DT_F32, shape, 2, NULL);
    for (int64_t i = 0; i < shape[0] * shape[1] && fine; i++) {
        float score = (float)((int)p->bytes[(size_t)i % p->n] - 'a') * 0.25f;
        fine = !buf_append(&b, &score, sizeof score, NULL);
    }
    fine = fine && lay_down(p, b.bytes, b.n);
    buf_release(&b);
    return fine;
}

static int place(const char *word, const char *const *names, int n)
{
    int i = 0;
    while (i < n && strcmp(word, names[i]) != 0)
        i++;
    return i < n ? i : 0;
}

static void take_options(struct case_of *c)
{
    static const char *const missing[] = {"wrong", "avoid", "drop"};
    static const char *const stats[] = {"mean", "p50", "p90", "p95", "p99", "max"};
    static char nothing[] = "";
    struct select_options *o = &c->o;
    size_t n = c->parts[OPTIONS].n < MAX_LINE - 1 ? c->parts[OPTIONS].n : MAX_LINE - 1;
    memcpy(c->words, c->parts[OPTIONS].bytes, n);
    char *rest = c->words;
    for (int i = 0; i < 9; i++) {
        char *word = strtok_r(rest, " ", &rest);
        c->word[i] = word ? word : nothing;
    }
    select_options_init(o);
    o->latency_s = *c->word[0] ? c->word[0] : "inf";
    o->energy_j = *c->word[1] ? c->word[1] : "inf";
    o->k = *c->word[2] ? strtol(c->word[2], NULL, 10) : 1;
    if (*c->word[3] && vote_find(&o->combine, c->word[3], "combine", NULL))
        o->combine = VOTE_TOP1;
    o->cost = strcmp(c->word[4], "routed") == 0 ? SELECT_ROUTED : SELECT_DEPLOYED;
    o->missing = (enum select_missing)place(c->word[5], missing, 3);
    o->stat = (enum select_stat)place(c->word[6], stats, STAT_N);
    o->max_experts = *c->word[7] ? strtol(c->word[7], NULL, 10) : INT64_MAX;
    o->objective = strchr(c->word[8], 'c') ? SELECT_COVERAGE : SELECT_ACCURACY;
    o->method = strchr(c->word[8], 'e') ? SELECT_ENUMERATE : SELECT_AUTO;
    o->frontier = strchr(c->word[8], 'f');
    o->by_category = strchr(c->word[8], 'g');
    o->time_limit_s = 0.02;
}

/* ---- against brute force ---- */

static void same(const struct select_point *x, const struct worth *w, unsigned S)
{
    assert(x->members == S && x->correct == w[S].correct);
    assert(x->energy == w[S].energy && x->latency == w[S].latency);
}

static void check_answer(const struct select_answer *a, const struct select_problem *p,
                         const struct worth *w, const struct select_limits *limit)
{
    unsigned best = o_answer(p, w, limit, p->max_experts), single = o_answer(p, w, limit, 1);
    assert(a->optimal && a->feasible == (best != 0) && a->has_single == (single != 0));
    assert(a->n_feasible == o_count(p, w, limit));
    assert(a->all_feasible == o_feasible(p, w, (1u << p->N) - 1, limit));
    if (best)
        same(&a->best, w, best);
    if (single) {
        same(&a->single, w, single);
        same(&a->greedy, w, o_greedy(p, w, limit));
    }
}

static void check_frontier(const struct select_result *r, const struct select_problem *p,
                           const struct worth *w)
{
    int64_t n = 0;
    for (unsigned S = 1; S < 1u << p->N; S++)
        n += o_on_frontier(p, w, S);
    assert(r->frontier_complete && r->n_frontier == n);
    for (int64_t k = 0; k < n; k++)
        same(&r->frontier[k], w, (unsigned)r->frontier[k].members);
}

/* The problem as it was read, solved by looking at every subset. */
static void compare(const struct select_report *r, const struct select_options *o)
{
    struct worth w[1 << SMALL_EXPERTS];
    struct select_report again = {0};
    struct select_input in = {.options = o, .report = &again};
    struct select_arrays arrays = {0};
    struct select_problem p;
    int rc = select_input_read(&in, NULL);
    assert(!rc);
    rc = select_input_problem(&p, &arrays, &in, in.rows, in.n_rows, -1, NULL);
    assert(!rc);
    for (unsigned S = 1; S < 1u << p.N; S++)
        w[S] = o_worth(&p, S);
    for (int64_t g = 0; g < p.n_limits; g++)
        check_answer(&r->groups[0].result.answers[g], &p, w, &p.limits[g]);
    if (p.frontier)
        check_frontier(&r->groups[0].result, &p, w);
    select_arrays_release(&arrays);
    select_input_release(&in);
    select_report_release(&again);
}

static void check(const struct select_report *r, const struct select_options *o)
{
    struct buf text = {0};
    int rc = select_json(&text, r, NULL);
    rc = rc ? rc : select_text(&text, r, false, NULL);
    rc = rc ? rc : select_csv(&text, r, NULL);
    assert(!rc);
    buf_release(&text);
    if (!r->by_category && r->n_experts <= SMALL_EXPERTS && r->prompts <= ORACLE_MAX_PROMPTS &&
        r->n_categories <= ORACLE_MAX_CATEGORIES && r->n_limits <= SMALL_GRID)
        compare(r, o);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
    struct case_of c = {0};
    struct select_report r = {0};
    struct err err = {0};
    if (n > MAX_BYTES)
        return 0;
    cut(&c, bytes, n);
    take_options(&c);
    bool laid = c.o.k <= 3;
    for (int k = OUTCOMES; k < N_PARTS && laid; k++)
        if (c.parts[k].n)
            laid = k == SCORES ? lay_scores(&c)
                               : lay_down(&c.parts[k], c.parts[k].bytes, c.parts[k].n);
    const char **paths[] = {
        [OUTCOMES] = &c.o.outcomes,       [LATENCY] = &c.o.latency,
        [ENERGY] = &c.o.energy,           [SCORES] = &c.o.gate_scores,
        [PREDICTIONS] = &c.o.predictions, [CATEGORY_LIMITS] = &c.o.category_limits};
    c.o.prompt_tokens = "3";
    for (int k = OUTCOMES; k < N_PARTS; k++)
        *paths[k] = *c.parts[k].path ? c.parts[k].path : NULL;
    if (laid) {
        int rc = select_run(&r, &c.o, &err);
        assert(rc == err.code);
        if (!rc)
            check(&r, &c.o);
    }
    select_report_release(&r);
    for (int k = OUTCOMES; k < N_PARTS; k++)
        if (c.parts[k].fd > 0)
            close(c.parts[k].fd);
    return 0;
}
