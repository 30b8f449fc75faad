/* Procedural questions: right answers found again by other means, options that tell nothing, sets
 * that are apart.
 *
 * Limits of the guessers: a guess without the question is right in a quarter of the cases. Of 6,000
 * questions of a family the deviation of that share is 0.0056; five of them, 0.028, are passed by
 * chance once in 1.7 million.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <math.h>
#include <time.h>

#include <cmocka.h>

#include "pipeline/step_synth.h"
#include "pipeline/synth_italian.h"

enum { N_QUESTIONS = 6000 };
static const double limit = 5 * 0.0056;

static const struct synth_family *family(const char *name)
{
    for (int f = 0; f < SYNTH_N_FAMILIES; f++)
        if (strcmp(synth_families[f].name, name) == 0)
            return &synth_families[f];
    fail_msg("no family %s", name);
    return NULL;
}

static const char *right(const struct synth_item *x)
{
    return x->options[x->answer];
}

static void every_question_has_four_different_options_and_fits(void **state)
{
    (void)state;
    struct rng rng;
    rng_init(&rng, 1);
    for (int f = 0; f < SYNTH_N_FAMILIES; f++)
        for (int n = 0; n < N_QUESTIONS; n++) {
            struct synth_item x;
            synth_families[f].make(&x, &rng);
            assert_true(strlen(x.question) > 10 && strlen(x.question) < SYNTH_QUESTION_BYTES - 1);
            assert_int_equal(x.question[strlen(x.question) - 1], '?');
            assert_true(x.answer >= 0 && x.answer < SYNTH_OPTIONS);
            for (int i = 0; i < SYNTH_OPTIONS; i++) {
                assert_true(*x.options[i] && strlen(x.options[i]) < SYNTH_OPTION_BYTES - 1);
                for (int k = 0; k < i; k++)
                    assert_string_not_equal(x.options[i], x.options[k]);
            }
        }
}

/* Of English nothing is left but the words of lists; the answer is the same option. */
static void questions_are_put_in_italian(void **state)
{
    (void)state;
    static const char *const english[] = {"What",  "Which", "How ",  "Who",   "Put ", "Take ",
                                          "Let ",  "Move",  "If ",   " the ", " of ", " is ",
                                          " and ", " or ",  " has ", " are ", "day",  "ary ",
                                          "metre", "litre", "gram "};
    struct rng rng;
    rng_init(&rng, 2);
    for (int f = 0; f < SYNTH_N_FAMILIES; f++)
        for (int n = 0; n < 1000; n++) {
            struct synth_item x, y;
            synth_families[f].make(&x, &rng);
            y = x;
            synth_italian(&y);
            assert_int_equal(x.answer, y.answer);
            assert_int_equal(y.question[strlen(y.question) - 1], '?');
            for (size_t w = 0; w < sizeof english / sizeof *english; w++)
                if (strstr(y.question, english[w]))
                    fail_msg("\"%s\" is left in: %s", english[w], y.question);
            for (int i = 1; i < SYNTH_OPTIONS; i++)
                for (int k = 0; k < i; k++)
                    assert_string_not_equal(y.options[i], y.options[k]);
        }
}

/* ---- guessers: each gives every option a number from the options, and takes the largest ---- */

static double number(const char *s)
{
    double sum = 0;
    char *end = NULL;
    double value = strtod(s, &end);
    for (; end == s && *s; s++)
        sum = 26 * sum + *s; /* words: their place in the alphabet */
    return end == s ? sum : value;
}

static double longest(const struct synth_item *x, int i)
{
    return (double)strlen(x->options[i]);
}

static double shortest(const struct synth_item *x, int i)
{
    return -longest(x, i);
}

static double largest(const struct synth_item *x, int i)
{
    return number(x->options[i]);
}

static double smallest(const struct synth_item *x, int i)
{
    return -largest(x, i);
}

static double middle(const struct synth_item *x, int i)
{
    double mean = 0;
    for (int k = 0; k < SYNTH_OPTIONS; k++)
        mean += number(x->options[k]) / SYNTH_OPTIONS;
    return -fabs(number(x->options[i]) - mean);
}

static double outlier(const struct synth_item *x, int i)
{
    return -middle(x, i);
}

/* Shares most characters, place by place, with the other options. */
static double consensus(const struct synth_item *x, int i)
{
    double n = 0;
    for (int k = 0; k < SYNTH_OPTIONS; k++)
        for (size_t c = 0; k != i && x->options[i][c] && x->options[k][c]; c++)
            n += x->options[i][c] == x->options[k][c];
    return n;
}

static double roundest(const struct synth_item *x, int i)
{
    const char *s = x->options[i];
    size_t n = strlen(s);
    return s[n - 1] == '0' || s[n - 1] == '5';
}

static double last_letter(const struct synth_item *x, int i)
{
    return x->options[i][strlen(x->options[i]) - 1];
}

static double first(const struct synth_item *x, int i)
{
    (void)x;
    return -i;
}

static double third(const struct synth_item *x, int i)
{
    (void)x;
    return i == 2;
}

/* The share that a guesser gets right where equals are drawn by lot. */
static double share(double (*guess)(const struct synth_item *, int), const struct synth_family *f)
{
    struct rng rng;
    double n_right = 0;
    rng_init(&rng, 99);
    for (int n = 0; n < N_QUESTIONS; n++) {
        struct synth_item x;
        double best = -INFINITY;
        int n_best = 0;
        bool has_right = false;
        f->make(&x, &rng);
        for (int i = 0; i < SYNTH_OPTIONS; i++) {
            double g = guess(&x, i);
            if (g > best)
                best = g, n_best = 0, has_right = false;
            n_best += g == best;
            has_right |= g == best && i == x.answer;
        }
        n_right += has_right ? 1.0 / n_best : 0;
    }
    return n_right / N_QUESTIONS;
}

static void no_guesser_tells_the_right_option_by_the_options(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        double (*guess)(const struct synth_item *, int);
    } guessers[] = {{"longest", longest},     {"shortest", shortest}, {"largest", largest},
                    {"smallest", smallest},   {"middle", middle},     {"outlier", outlier},
                    {"consensus", consensus}, {"roundest", roundest}, {"last letter", last_letter},
                    {"first", first},         {"third", third}};
    for (int f = 0; f < SYNTH_N_FAMILIES; f++)
        for (size_t g = 0; g < sizeof guessers / sizeof *guessers; g++) {
            double s = share(guessers[g].guess, &synth_families[f]);
            if (fabs(s - 0.25) > limit)
                fail_msg("%s: the %s option is right in %.4f", synth_families[f].name,
                         guessers[g].name, s);
        }
}

/* ---- the right answers, found again ---- */

static void arithmetic_is_right(void **state)
{
    (void)state;
    struct rng rng;
    rng_init(&rng, 5);
    for (int n = 0; n < 2000; n++) {
        struct synth_item x;
        int a, b, c, want = -1;
        family("arithmetic")->make(&x, &rng);
        if (sscanf(x.question, "What is %d plus %d?", &a, &b) == 2)
            want = a + b;
        if (sscanf(x.question, "What is %d minus %d?", &a, &b) == 2)
            want = strstr(x.question, "minus") ? a - b : want;
        if (sscanf(x.question, "What is %d times %d?", &a, &b) == 2)
            want = strstr(x.question, "times") ? a * b : want;
        if (sscanf(x.question, "Take %d, add %d, then multiply by %d.", &a, &b, &c) == 3)
            want = (a + b) * c;
        if (sscanf(x.question, "What is the remainder when %d is divided by %d?", &a, &b) == 2)
            want = a % b;
        assert_int_equal(want, strtol(right(&x), NULL, 10));
    }
}

/* The next term by the one rule of the five that explains all that are shown. */
static bool explains(const long t[6])
{
    bool growing = true, power = true, sum = true, turning = true;
    for (int i = 2; i < 6; i++) {
        growing &= i < 3 || t[i] - 2 * t[i - 1] + t[i - 2] == t[2] - 2 * t[1] + t[0];
        power &= t[i] * t[0] == t[i - 1] * t[1];
        sum &= t[i] == t[i - 1] + t[i - 2];
        turning &= i < 3 || t[i] - t[i - 2] == t[2] - t[0];
    }
    return growing || power || sum || turning;
}

static void the_next_term_follows_the_rule_of_the_others(void **state)
{
    (void)state;
    struct rng rng;
    rng_init(&rng, 5);
    for (int n = 0; n < 2000; n++) {
        struct synth_item x;
        long t[6];
        family("sequences")->make(&x, &rng);
        assert_int_equal(5, sscanf(x.question, "Which number comes next: %ld, %ld, %ld, %ld, %ld?",
                                   &t[0], &t[1], &t[2], &t[3], &t[4]));
        t[5] = strtol(right(&x), NULL, 10);
        assert_true(explains(t));
    }
}

static void bases_are_right(void **state)
{
    (void)state;
    struct rng rng;
    rng_init(&rng, 5);
    for (int n = 0; n < 2000; n++) {
        struct synth_item x;
        char digits[32];
        int from, to;
        family("bases")->make(&x, &rng);
        assert_int_equal(3,
                         sscanf(x.question, "How is the number %31s of base %d written in base %d?",
                                digits, &from, &to));
        assert_int_equal(strtol(digits, NULL, from), strtol(right(&x), NULL, to));
    }
}

/* Days since 1970 of "5 March 2023", by the C library. */
static long day_of(const char *text)
{
    struct tm tm = {0};
    char *end = strptime(text, "%d %B %Y", &tm);
    if (!end)
        fail_msg("no date: %s", text);
    return (long)(timegm(&tm) / 86400);
}

static void dates_are_right(void **state)
{
    (void)state;
    struct rng rng;
    rng_init(&rng, 5);
    for (int n = 0; n < 2000; n++) {
        struct synth_item x;
        char weekday[16], name[32];
        int days, at = 0;
        family("dates")->make(&x, &rng);
        const char *q = x.question;
        if (sscanf(q, "Which date is %d days after %n", &days, &at) == 1 && at)
            assert_int_equal(day_of(q + at) + days, day_of(right(&x)));
        else if (sscanf(q, "Which date is %d days before %n", &days, &at) == 1 && at)
            assert_int_equal(day_of(q + at) - days, day_of(right(&x)));
        else if (strncmp(q, "How many days after ", 20) == 0)
            assert_int_equal(day_of(strstr(q, " is ") + 4) - day_of(q + 20),
                             strtol(right(&x), NULL, 10));
        else if (sscanf(q, "If today is %15[^,], which day of the week is it in %d days?", weekday,
                        &days) == 2) {
            struct tm tm = {0};
            assert_non_null(strptime(weekday, "%A", &tm));
            tm.tm_wday = (tm.tm_wday + days) % 7;
            strftime(name, sizeof name, "%A", &tm);
            assert_string_equal(name, right(&x));
        } else {
            assert_int_equal(0, strncmp(q, "Which day of the week is ", 25));
            time_t t = (time_t)day_of(q + 25) * 86400;
            strftime(name, sizeof name, "%A", gmtime(&t));
            assert_string_equal(name, right(&x));
        }
    }
}

static void units_are_right(void **state)
{
    (void)state;
    static const struct {
        const char *from, *to;
        double factor;
    } known[] = {{"kilometres", "metres", 1000}, {"hours", "minutes", 60},
                 {"days", "hours", 24},          {"weeks", "days", 7},
                 {"bytes", "bits", 8},           {"dozens", "pieces", 12},
                 {"litres", "decilitres", 10},   {"metres", "centimetres", 100},
                 {"tonnes", "kilograms", 1000}};
    struct rng rng;
    int n_known = 0;
    rng_init(&rng, 5);
    for (int n = 0; n < 4000; n++) {
        struct synth_item x;
        char to[32], from[32];
        double value;
        family("units")->make(&x, &rng);
        if (sscanf(x.question, "How many %31s are %lf %31[a-z]?", to, &value, from) != 3)
            continue; /* units of two words */
        for (size_t k = 0; k < sizeof known / sizeof *known; k++) {
            double factor = strcmp(known[k].from, from) == 0 && strcmp(known[k].to, to) == 0
                                ? known[k].factor
                            : strcmp(known[k].from, to) == 0 && strcmp(known[k].to, from) == 0
                                ? 1 / known[k].factor
                                : 0;
            if (factor == 0)
                continue;
            n_known++;
            assert_true(fabs(strtod(right(&x), NULL) - value * factor) <
                        1e-9 * (1 + value * factor));
        }
    }
    assert_true(n_known > 1500);
}

static void sorted_lists_are_right(void **state)
{
    (void)state;
    struct rng rng;
    rng_init(&rng, 5);
    for (int n = 0; n < 2000; n++) {
        struct synth_item x;
        char list[256];
        int place = 0, n_before = 0, n_all = 0;
        family("sorting")->make(&x, &rng);
        bool numbers = strstr(x.question, "these numbers") != NULL;
        bool down = strstr(x.question, "descending") || strstr(x.question, "reverse");
        assert_int_equal(
            2, sscanf(x.question, "%*[^:]: %255[^.]. Which one stands in place %d?", list, &place));
        for (char *word = list; word; n_all++) {
            char *end = strstr(word, ", ");
            if (end)
                *end = 0;
            double order =
                numbers ? strtod(word, NULL) - strtod(right(&x), NULL) : strcmp(word, right(&x));
            n_before += down ? order > 0 : order < 0;
            word = end ? end + 2 : NULL;
        }
        assert_int_equal(place, n_before + 1);
        assert_true(n_all >= 5 && n_all <= 7);
    }
}

static void strings_are_right(void **state)
{
    (void)state;
    struct rng rng;
    rng_init(&rng, 5);
    for (int n = 0; n < 2000; n++) {
        struct synth_item x;
        char s[16] = "", want[16] = "";
        int k = 0;
        family("strings")->make(&x, &rng);
        const char *q = x.question;
        if (sscanf(q, "How is %15s spelt backwards?", s) == 1)
            for (size_t i = strlen(s), j = 0; i > 0; i--, j++)
                want[j] = s[i - 1];
        else if (sscanf(q, "Move the first %d letter", &k) == 1 &&
                 sscanf(strstr(q, " of "), " of %15s to", s) == 1)
            snprintf(want, sizeof want, "%s%.*s", s + k, k, s);
        else if (sscanf(q, "Replace every letter of %15s by the one %d later", s, &k) == 2)
            for (size_t i = 0; i < strlen(s); i++)
                want[i] = s[i] + k > 'z' ? (char)(s[i] + k - 26) : (char)(s[i] + k);
        else if (sscanf(q, "Let the first and the last letter of %15s change", s) == 1)
            snprintf(want, sizeof want, "%c%.*s%c", s[strlen(s) - 1], (int)strlen(s) - 2, s + 1,
                     s[0]);
        else if (sscanf(q, "Which letters stay of %15s without its letter number %d?", s, &k) == 2)
            snprintf(want, sizeof want, "%.*s%s", k - 1, s, s + k);
        assert_string_equal(want, right(&x));
    }
}

static void puzzles_are_right(void **state)
{
    (void)state;
    struct rng rng;
    int n_coins = 0, n_left = 0, n_orders = 0;
    rng_init(&rng, 5);
    for (int n = 0; n < 2000; n++) {
        struct synth_item x;
        char a[16], b[16], holder[16];
        family("logic")->make(&x, &rng);
        const char *q = strstr(x.question, "stand in a circle. ");
        if (q) {
            assert_int_equal(1, sscanf(q + 19, "%15s holds a coin.", holder));
            for (q = strstr(q + 19, ". ") + 2; sscanf(q, "%15s and %15s swap", a, b) == 2;
                 q = strstr(q, ". ") + 2)
                if (strcmp(holder, a) == 0 || strcmp(holder, b) == 0)
                    snprintf(holder, sizeof holder, "%s", strcmp(holder, a) == 0 ? b : a);
            assert_string_equal(holder, right(&x));
            n_coins++;
        } else if (strstr(x.question, "another animal: ")) {
            char has[64];
            snprintf(has, sizeof has, "has %s. ", right(&x)); /* the three others are told */
            assert_null(strstr(x.question, has));
            for (int i = 0; i < SYNTH_OPTIONS; i++) {
                snprintf(has, sizeof has, "has %s. ", x.options[i]);
                assert_true(i == x.answer || strstr(x.question, has));
            }
            n_left++;
        } else {
            char above[5][16], below[5][16], word[16], who[16];
            int n_pairs = 0, place = 1, at = 0, asked = 0;
            for (q = x.question; sscanf(q, "%15s is %15s than %15[^.]. %n", a, word, b, &at) == 3;
                 q += at) {
                bool up = strcmp(word, "taller") == 0 || strcmp(word, "older") == 0 ||
                          strcmp(word, "faster") == 0 || strcmp(word, "richer") == 0;
                snprintf(above[n_pairs], 16, "%s", up ? a : b);
                snprintf(below[n_pairs++], 16, "%s", up ? b : a);
            }
            assert_int_equal(n_pairs, 4);
            assert_int_equal(1, sscanf(q, "Who is number %d, counted", &asked));
            snprintf(who, sizeof who, "%s", right(&x));
            for (int i = 0; i < 4; i++) /* climb to the top */
                if (strcmp(below[i], who) == 0) {
                    snprintf(who, sizeof who, "%s", above[i]);
                    place++;
                    i = -1;
                }
            assert_int_equal(asked, place);
            n_orders++;
        }
    }
    assert_true(n_coins > 500 && n_left > 500 && n_orders > 500);
}

/* ---- sets ---- */

static void sizes_and_families_that_make_no_sense_are_refused(void **state)
{
    (void)state;
    struct synth_report r;
    struct err err = {0};
    struct synth_step step = synth_step_default();
    step.out_dir = "synth_refused";
    step.families = 0;
    assert_int_equal(MOE2_ECONFIG, synth_run(&r, &step, &err));
    assert_string_equal(err.msg, "there is no family of questions, wanted at least one");
    step = synth_step_default();
    step.out_dir = "synth_refused";
    step.n_rows[SYNTH_GATING_TEST] = -1;
    err = (struct err){0};
    assert_int_equal(MOE2_ECONFIG, synth_run(&r, &step, &err));
    assert_string_equal(err.msg, "gating_test.jsonl would have -1 rows, wanted 0 to 67108864");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_question_has_four_different_options_and_fits),
        cmocka_unit_test(questions_are_put_in_italian),
        cmocka_unit_test(no_guesser_tells_the_right_option_by_the_options),
        cmocka_unit_test(arithmetic_is_right),
        cmocka_unit_test(the_next_term_follows_the_rule_of_the_others),
        cmocka_unit_test(bases_are_right),
        cmocka_unit_test(dates_are_right),
        cmocka_unit_test(units_are_right),
        cmocka_unit_test(sorted_lists_are_right),
        cmocka_unit_test(strings_are_right),
        cmocka_unit_test(puzzles_are_right),
        cmocka_unit_test(sizes_and_families_that_make_no_sense_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
