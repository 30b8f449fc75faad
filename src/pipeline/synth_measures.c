/* Questions of dates (the Gregorian calendar, 1900 to 2099) and of units. */
#include <stdbool.h>

#include "pipeline/synth_family.h"

#define ASK(q, ...) synth_put(q, SYNTH_QUESTION_BYTES, __VA_ARGS__)
#define ANSWER(a, ...) synth_put(a, SYNTH_OPTION_BYTES, __VA_ARGS__)
#define COUNT(x) ((int)(sizeof(x) / sizeof *(x)))

typedef long long ll;

/* ---- the calendar: days are counted from Monday, 1 January 1900, which is 0 ---- */

enum { FIRST_YEAR = 1900, FIRST_DAY = 600, LAST_DAY = 72400 };

static const char *const weekdays[] = {"Monday", "Tuesday",  "Wednesday", "Thursday",
                                       "Friday", "Saturday", "Sunday"};
static const char *const months[] = {"January",   "February", "March",    "April",
                                     "May",       "June",     "July",     "August",
                                     "September", "October",  "November", "December"};

static bool is_leap(int64_t year)
{
    return (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
}

static int month_days(int64_t year, int month)
{
    static const int days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    return days[month] + (month == 1 && is_leap(year));
}

static void put_date(char *text, size_t bytes, int64_t day)
{
    int64_t year = FIRST_YEAR;
    int month = 0;
    for (; day >= 365 + is_leap(year); year++)
        day -= 365 + is_leap(year);
    for (; day >= month_days(year, month); month++)
        day -= month_days(year, month);
    synth_put(text, bytes, "%lld %s %lld", (ll)day + 1, months[month], (ll)year);
}

/* ---- dates; v: a day, a number of days ---- */

static void span_centre(struct synth_case *c, struct rng *rng)
{
    c->v[0] = synth_between(rng, FIRST_DAY, LAST_DAY);
    c->v[1] = synth_between(rng, 12, 400);
}

static void span_near(struct synth_case *c, struct rng *rng)
{
    c->v[0] += synth_between(rng, -5, 5);
    c->v[1] += synth_between(rng, -9, 9);
}

static void after_ask(char *q, const struct synth_case *c)
{
    ASK(q, "Which date is %lld days after ", (ll)c->v[1]);
    put_date(q, SYNTH_QUESTION_BYTES, c->v[0]);
    ASK(q, "?");
}

static void after_answer(char *a, const struct synth_case *c)
{
    put_date(a, SYNTH_OPTION_BYTES, c->v[0] + c->v[1]);
}

static void before_ask(char *q, const struct synth_case *c)
{
    ASK(q, "Which date is %lld days before ", (ll)c->v[1]);
    put_date(q, SYNTH_QUESTION_BYTES, c->v[0]);
    ASK(q, "?");
}

static void before_answer(char *a, const struct synth_case *c)
{
    put_date(a, SYNTH_OPTION_BYTES, c->v[0] - c->v[1]);
}

static void between_ask(char *q, const struct synth_case *c)
{
    ASK(q, "How many days after ");
    put_date(q, SYNTH_QUESTION_BYTES, c->v[0]);
    ASK(q, " is ");
    put_date(q, SYNTH_QUESTION_BYTES, c->v[0] + c->v[1]);
    ASK(q, "?");
}

static void between_answer(char *a, const struct synth_case *c)
{
    ANSWER(a, "%lld", (ll)c->v[1]);
}

static void weekday_ask(char *q, const struct synth_case *c)
{
    ASK(q, "If today is %s, which day of the week is it in %lld days?", weekdays[c->v[0] % 7],
        (ll)c->v[1]);
}

static void weekday_answer(char *a, const struct synth_case *c)
{
    ANSWER(a, "%s", weekdays[(c->v[0] + c->v[1]) % 7]);
}

static void calendar_ask(char *q, const struct synth_case *c)
{
    ASK(q, "Which day of the week is ");
    put_date(q, SYNTH_QUESTION_BYTES, c->v[0]);
    ASK(q, "?");
}

static void calendar_answer(char *a, const struct synth_case *c)
{
    ANSWER(a, "%s", weekdays[c->v[0] % 7]);
}

void synth_dates(struct synth_item *out, struct rng *rng)
{
    static const struct synth_kind kinds[] = {
        {span_centre, span_near, after_ask, after_answer},
        {span_centre, span_near, before_ask, before_answer},
        {span_centre, span_near, between_ask, between_answer},
        {span_centre, span_near, weekday_ask, weekday_answer},
        {span_centre, span_near, calendar_ask, calendar_answer},
    };
    synth_of_kinds(out, rng, kinds, COUNT(kinds));
}

/* ---- units; v: thousandths of the larger one, the pair, whether the larger one is asked for ---- */

static const struct {
    const char *large, *small;
    int64_t factor;
} pairs[] = {
    {"kilometres", "metres", 1000},
    {"metres", "centimetres", 100},
    {"metres", "millimetres", 1000},
    {"centimetres", "millimetres", 10},
    {"kilograms", "grams", 1000},
    {"tonnes", "kilograms", 1000},
    {"grams", "milligrams", 1000},
    {"litres", "millilitres", 1000},
    {"litres", "decilitres", 10},
    {"hours", "minutes", 60},
    {"minutes", "seconds", 60},
    {"days", "hours", 24},
    {"weeks", "days", 7},
    {"square metres", "square decimetres", 100},
    {"bytes", "bits", 8},
    {"dozens", "pieces", 12},
};

/* Thousandths as a decimal number without zeros at its end. */
static void put_decimal(char *text, size_t bytes, int64_t thousandths)
{
    int64_t rest = thousandths % 1000;
    int digits = 3;
    synth_put(text, bytes, "%lld", (ll)(thousandths / 1000));
    if (!rest)
        return;
    for (; rest % 10 == 0; digits--)
        rest /= 10;
    synth_put(text, bytes, ".%0*lld", digits, (ll)rest);
}

/* Of hours, days and dozens there are whole ones; decimal factors take tenths too. */
static bool is_decimal(const struct synth_case *c)
{
    int64_t factor = pairs[c->v[1]].factor;
    return factor == 10 || factor == 100 || factor == 1000;
}

/* v[3]: other digits, for decimal factors. */
static void unit_centre(struct synth_case *c, struct rng *rng)
{
    c->v[1] = synth_between(rng, 0, COUNT(pairs) - 1);
    c->v[2] = synth_between(rng, 0, 1);
    int64_t grain = is_decimal(c) ? 100 : 1000, digits = synth_between(rng, 12, 990);
    c->v[0] = digits * grain;
    c->v[3] = (digits + synth_between(rng, 1, 9)) * grain;
}

/* Where a unit only moves the point, the options share digits and sizes: neither alone tells the
 * right one. */
static void unit_near(struct synth_case *c, struct rng *rng)
{
    if (!is_decimal(c)) {
        c->v[0] += synth_between(rng, -9, 9) * 1000;
        return;
    }
    if (rng_below(rng, 2))
        c->v[0] = c->v[3];
    for (int64_t n = synth_between(rng, 0, 2); n > 0; n--)
        c->v[0] *= 10;
}

static void put_side(char *text, size_t bytes, const struct synth_case *c, bool large)
{
    put_decimal(text, bytes, large ? c->v[0] : c->v[0] * pairs[c->v[1]].factor);
}

static void unit_ask(char *q, const struct synth_case *c)
{
    bool large = c->v[2];
    ASK(q, "How many %s are ", large ? pairs[c->v[1]].large : pairs[c->v[1]].small);
    put_side(q, SYNTH_QUESTION_BYTES, c, !large);
    ASK(q, " %s?", large ? pairs[c->v[1]].small : pairs[c->v[1]].large);
}

static void unit_answer(char *a, const struct synth_case *c)
{
    put_side(a, SYNTH_OPTION_BYTES, c, c->v[2]);
}

void synth_units(struct synth_item *out, struct rng *rng)
{
    static const struct synth_kind kinds[] = {{unit_centre, unit_near, unit_ask, unit_answer}};
    synth_of_kinds(out, rng, kinds, COUNT(kinds));
}
