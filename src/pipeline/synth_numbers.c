/* Questions of numbers: arithmetic, sequences, and numbers written in other bases. */
#include <stdbool.h>

#include "pipeline/synth_family.h"

#define ASK(q, ...) synth_put(q, SYNTH_QUESTION_BYTES, __VA_ARGS__)
#define ANSWER(a, ...) synth_put(a, SYNTH_OPTION_BYTES, __VA_ARGS__)
#define COUNT(x) ((int)(sizeof(x) / sizeof *(x)))

typedef long long ll;

static void answer_number(char *a, int64_t value)
{
    ANSWER(a, "%lld", (ll)value);
}

/* ---- arithmetic ---- */

static void sum_centre(struct synth_case *c, struct rng *rng)
{
    c->v[1] = synth_between(rng, 20, 499);
    c->v[0] = c->v[1] + synth_between(rng, 120, 480);
}

static void two_near(struct synth_case *c, struct rng *rng)
{
    c->v[0] += synth_between(rng, -9, 9);
    c->v[1] += synth_between(rng, -9, 9);
}

static void plus_ask(char *q, const struct synth_case *c)
{
    ASK(q, "What is %lld plus %lld?", (ll)c->v[0], (ll)c->v[1]);
}

static void plus_answer(char *a, const struct synth_case *c)
{
    answer_number(a, c->v[0] + c->v[1]);
}

static void minus_ask(char *q, const struct synth_case *c)
{
    ASK(q, "What is %lld minus %lld?", (ll)c->v[0], (ll)c->v[1]);
}

static void minus_answer(char *a, const struct synth_case *c)
{
    answer_number(a, c->v[0] - c->v[1]);
}

static void times_centre(struct synth_case *c, struct rng *rng)
{
    c->v[0] = synth_between(rng, 12, 199);
    c->v[1] = synth_between(rng, 4, 19);
}

static void times_near(struct synth_case *c, struct rng *rng)
{
    c->v[0] += synth_between(rng, -5, 5);
    c->v[1] += synth_between(rng, -1, 1);
}

static void times_ask(char *q, const struct synth_case *c)
{
    ASK(q, "What is %lld times %lld?", (ll)c->v[0], (ll)c->v[1]);
}

static void times_answer(char *a, const struct synth_case *c)
{
    answer_number(a, c->v[0] * c->v[1]);
}

static void steps_centre(struct synth_case *c, struct rng *rng)
{
    c->v[0] = synth_between(rng, 8, 90);
    c->v[1] = synth_between(rng, 8, 90);
    c->v[2] = synth_between(rng, 2, 9);
}

static void steps_near(struct synth_case *c, struct rng *rng)
{
    c->v[0] += synth_between(rng, -4, 4);
    c->v[1] += synth_between(rng, -4, 4);
}

static void steps_ask(char *q, const struct synth_case *c)
{
    ASK(q, "Take %lld, add %lld, then multiply by %lld. What comes out?", (ll)c->v[0], (ll)c->v[1],
        (ll)c->v[2]);
}

static void steps_answer(char *a, const struct synth_case *c)
{
    answer_number(a, (c->v[0] + c->v[1]) * c->v[2]);
}

static void remainder_centre(struct synth_case *c, struct rng *rng)
{
    c->v[0] = synth_between(rng, 40, 999);
    c->v[1] = synth_between(rng, 6, 19);
}

static void remainder_near(struct synth_case *c, struct rng *rng)
{
    c->v[0] += synth_between(rng, -20, 20);
}

static void remainder_ask(char *q, const struct synth_case *c)
{
    ASK(q, "What is the remainder when %lld is divided by %lld?", (ll)c->v[0], (ll)c->v[1]);
}

static void remainder_answer(char *a, const struct synth_case *c)
{
    answer_number(a, c->v[0] % c->v[1]);
}

void synth_arithmetic(struct synth_item *out, struct rng *rng)
{
    static const struct synth_kind kinds[] = {
        {sum_centre, two_near, plus_ask, plus_answer},
        {sum_centre, two_near, minus_ask, minus_answer},
        {times_centre, times_near, times_ask, times_answer},
        {steps_centre, steps_near, steps_ask, steps_answer},
        {remainder_centre, remainder_near, remainder_ask, remainder_answer},
    };
    synth_of_kinds(out, rng, kinds, COUNT(kinds));
}

/* ---- sequences ---- */

enum { TERMS = 5 }; /* that are shown; the next one is asked for */

static void ask_next(char *q, const int64_t *terms)
{
    ASK(q, "Which number comes next:");
    for (int i = 0; i < TERMS; i++)
        ASK(q, "%s %lld", i ? "," : "", (ll)terms[i]);
    ASK(q, "?");
}

/* v: the first term, the step, what the step grows by. */
static int64_t growing_term(const struct synth_case *c, int i)
{
    return c->v[0] + i * c->v[1] + i * (i - 1) / 2 * c->v[2];
}

static void even_centre(struct synth_case *c, struct rng *rng)
{
    c->v[0] = synth_between(rng, 4, 120);
    c->v[1] = synth_between(rng, 5, 40);
}

static void growing_centre(struct synth_case *c, struct rng *rng)
{
    even_centre(c, rng);
    c->v[2] = synth_between(rng, 1, 9);
}

static void first_and_step_near(struct synth_case *c, struct rng *rng)
{
    c->v[0] += synth_between(rng, -3, 3);
    c->v[1] += synth_between(rng, -3, 3);
}

static void growing_ask(char *q, const struct synth_case *c)
{
    int64_t terms[TERMS];
    for (int i = 0; i < TERMS; i++)
        terms[i] = growing_term(c, i);
    ask_next(q, terms);
}

static void growing_answer(char *a, const struct synth_case *c)
{
    answer_number(a, growing_term(c, TERMS));
}

/* v: the first term, the factor. */
static int64_t power_term(const struct synth_case *c, int i)
{
    int64_t term = c->v[0];
    while (i-- > 0)
        term *= c->v[1];
    return term;
}

static void power_centre(struct synth_case *c, struct rng *rng)
{
    c->v[0] = synth_between(rng, 5, 99);
    c->v[1] = synth_between(rng, 2, 4);
}

static void power_near(struct synth_case *c, struct rng *rng)
{
    c->v[0] += synth_between(rng, -4, 4);
}

static void power_ask(char *q, const struct synth_case *c)
{
    int64_t terms[TERMS];
    for (int i = 0; i < TERMS; i++)
        terms[i] = power_term(c, i);
    ask_next(q, terms);
}

static void power_answer(char *a, const struct synth_case *c)
{
    answer_number(a, power_term(c, TERMS));
}

/* v: two terms; each later one is the sum of the two before. terms has room for one more than is
 * shown. */
static void sum_terms(int64_t terms[TERMS + 1], const struct synth_case *c)
{
    terms[0] = c->v[0], terms[1] = c->v[1];
    for (int i = 2; i <= TERMS; i++)
        terms[i] = terms[i - 1] + terms[i - 2];
}

static void pair_centre(struct synth_case *c, struct rng *rng)
{
    c->v[0] = synth_between(rng, 4, 60);
    c->v[1] = synth_between(rng, 4, 60);
}

static void pair_ask(char *q, const struct synth_case *c)
{
    int64_t terms[TERMS + 1];
    sum_terms(terms, c);
    ask_next(q, terms);
}

static void pair_answer(char *a, const struct synth_case *c)
{
    int64_t terms[TERMS + 1];
    sum_terms(terms, c);
    answer_number(a, terms[TERMS]);
}

/* v: the first term, what is added, what is taken away, by turns. */
static int64_t turning_term(const struct synth_case *c, int i)
{
    return c->v[0] + (i + 1) / 2 * c->v[1] - i / 2 * c->v[2];
}

static void turning_centre(struct synth_case *c, struct rng *rng)
{
    c->v[0] = synth_between(rng, 40, 199);
    c->v[1] = synth_between(rng, 5, 30);
    c->v[2] = synth_between(rng, 1, 15);
}

static void turning_ask(char *q, const struct synth_case *c)
{
    int64_t terms[TERMS];
    for (int i = 0; i < TERMS; i++)
        terms[i] = turning_term(c, i);
    ask_next(q, terms);
}

static void turning_answer(char *a, const struct synth_case *c)
{
    answer_number(a, turning_term(c, TERMS));
}

void synth_sequences(struct synth_item *out, struct rng *rng)
{
    static const struct synth_kind kinds[] = {
        {even_centre, first_and_step_near, growing_ask, growing_answer},
        {growing_centre, first_and_step_near, growing_ask, growing_answer},
        {power_centre, power_near, power_ask, power_answer},
        {pair_centre, first_and_step_near, pair_ask, pair_answer},
        {turning_centre, first_and_step_near, turning_ask, turning_answer},
    };
    synth_of_kinds(out, rng, kinds, COUNT(kinds));
}

/* ---- bases ---- */

static void put_in_base(char *text, size_t bytes, int64_t value, int64_t base)
{
    char digits[72];
    int at = (int)sizeof digits - 1;
    digits[at] = 0;
    do
        digits[--at] = "0123456789abcdef"[value % base];
    while ((value /= base) != 0);
    synth_put(text, bytes, "%s", digits + at);
}

/* v: the number, the base it is shown in, the base that is asked for. Numbers of every length are
 * as likely. */
static void base_centre(struct synth_case *c, struct rng *rng)
{
    static const int64_t bases[] = {2, 3, 4, 5, 8, 16};
    int64_t base = bases[rng_below(rng, COUNT(bases))], size = synth_between(rng, 4, 11);
    bool back = rng_below(rng, 2);
    c->v[0] = synth_between(rng, (int64_t)1 << size, ((int64_t)2 << size) - 1);
    c->v[1] = back ? base : 10;
    c->v[2] = back ? 10 : base;
}

static void base_near(struct synth_case *c, struct rng *rng)
{
    c->v[0] += synth_between(rng, -9, 9);
}

static void base_ask(char *q, const struct synth_case *c)
{
    ASK(q, "How is the number ");
    put_in_base(q, SYNTH_QUESTION_BYTES, c->v[0], c->v[1]);
    ASK(q, " of base %lld written in base %lld?", (ll)c->v[1], (ll)c->v[2]);
}

static void base_answer(char *a, const struct synth_case *c)
{
    put_in_base(a, SYNTH_OPTION_BYTES, c->v[0], c->v[2]);
}

void synth_bases(struct synth_item *out, struct rng *rng)
{
    static const struct synth_kind kinds[] = {{base_centre, base_near, base_ask, base_answer}};
    synth_of_kinds(out, rng, kinds, COUNT(kinds));
}
