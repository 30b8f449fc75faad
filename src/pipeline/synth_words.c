/* Questions of words and lists: sorting, transformations of strings, and small puzzles of logic. */
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "pipeline/synth_family.h"

#define ASK(q, ...) synth_put(q, SYNTH_QUESTION_BYTES, __VA_ARGS__)
#define COUNT(x) ((int)(sizeof(x) / sizeof *(x)))

typedef long long ll;

/* Draws n different ones of the n_all names. */
static void draw_names(const char **out, int n, const char *const *names, int n_all,
                       struct rng *rng)
{
    int order[64];
    synth_shuffle(order, n_all, rng);
    for (int i = 0; i < n; i++)
        out[i] = names[order[i]];
}

/* ---- sorting ---- */

enum { LIST_MIN = 5, LIST_MAX = 7 };

static const char *const nouns[] = {
    "amber",  "anchor",  "apple",   "arrow",  "basket",  "beacon", "bottle", "bridge",
    "candle", "carpet",  "castle",  "cherry", "copper",  "cradle", "dagger", "desert",
    "engine", "falcon",  "feather", "forest", "garden",  "goblet", "hammer", "harbour",
    "island", "jacket",  "kettle",  "ladder", "lantern", "marble", "meadow", "mirror",
    "needle", "orchard", "paddle",  "pebble", "pepper",  "pillow", "pocket", "quarry",
    "ribbon", "river",   "saddle",  "shadow", "silver",  "spider", "stable", "summer",
    "temple", "thunder", "ticket",  "tunnel", "turnip",  "valley", "velvet", "violin",
    "walnut", "willow",  "window",  "winter", "wonder",  "yellow", "yonder", "zephyr"};

static int by_number(const void *a, const void *b)
{
    long x = strtol(*(const char *const *)a, NULL, 10);
    long y = strtol(*(const char *const *)b, NULL, 10);
    return (x > y) - (x < y);
}

static int by_letters(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static void ask_place(struct synth_item *out, struct rng *rng, const char **list, int n,
                      int (*compare)(const void *, const void *), const char *what,
                      const char *const orders[2])
{
    const char *sorted[LIST_MAX];
    bool down = rng_below(rng, 2);
    char *q = out->question;
    q[0] = 0;
    ASK(q, "Put these %s in %s order:", what, orders[down]);
    for (int i = 0; i < n; i++)
        ASK(q, "%s %s", i ? "," : "", list[i]);
    memcpy(sorted, list, (size_t)n * sizeof *list);
    qsort(sorted, (size_t)n, sizeof *sorted, compare);
    int place = synth_of_members(out, rng, sorted, n);
    ASK(q, ". Which one stands in place %d?", down ? n - place : place + 1);
}

void synth_sorting(struct synth_item *out, struct rng *rng)
{
    static const char *const numeric[2] = {"ascending", "descending"};
    static const char *const letters[2] = {"alphabetical", "reverse alphabetical"};
    const char *list[LIST_MAX];
    char texts[LIST_MAX][8];
    int n = (int)synth_between(rng, LIST_MIN, LIST_MAX);
    if (rng_below(rng, 2)) {
        draw_names(list, n, nouns, COUNT(nouns), rng);
        ask_place(out, rng, list, n, by_letters, "words", letters);
        return;
    }
    for (int i = 0; i < n;) {
        int k = 0;
        snprintf(texts[i], sizeof texts[i], "%d", (int)synth_between(rng, 10, 999));
        while (strcmp(texts[k], texts[i]) != 0)
            k++;
        list[i] = texts[i];
        i += k == i; /* else it stands there already */
    }
    ask_place(out, rng, list, n, by_number, "numbers", numeric);
}

/* ---- strings; letters: 5 to 8 different ones; v: how many letters or places ---- */

static void letters_centre(struct synth_case *c, struct rng *rng)
{
    int order[26], n = (int)synth_between(rng, 5, 8);
    synth_shuffle(order, 26, rng);
    for (int i = 0; i < n; i++)
        c->letters[i] = (char)('a' + order[i]);
    c->letters[n] = 0;
    c->v[0] = synth_between(rng, 1, 3);
}

/* Two letters change places. */
static void letters_near(struct synth_case *c, struct rng *rng)
{
    int n = (int)strlen(c->letters);
    int i = (int)synth_between(rng, 0, n - 1), k = (int)synth_between(rng, 0, n - 2);
    k += k >= i;
    char swap = c->letters[i];
    c->letters[i] = c->letters[k];
    c->letters[k] = swap;
}

static void reverse_ask(char *q, const struct synth_case *c)
{
    ASK(q, "How is %s spelt backwards?", c->letters);
}

static void reverse_answer(char *a, const struct synth_case *c)
{
    int n = (int)strlen(c->letters);
    for (int i = 0; i < n; i++)
        a[i] = c->letters[n - 1 - i];
    a[n] = 0;
}

static void rotate_ask(char *q, const struct synth_case *c)
{
    ASK(q, "Move the first %lld letter%s of %s to its end. What comes out?", (ll)c->v[0],
        c->v[0] > 1 ? "s" : "", c->letters);
}

static void rotate_answer(char *a, const struct synth_case *c)
{
    int n = (int)strlen(c->letters);
    for (int i = 0; i < n; i++)
        a[i] = c->letters[(i + c->v[0]) % n];
    a[n] = 0;
}

static void shift_ask(char *q, const struct synth_case *c)
{
    ASK(q, "Replace every letter of %s by the one %lld later in the alphabet, a following z. ",
        c->letters, (ll)c->v[0]);
    ASK(q, "What comes out?");
}

static void shift_answer(char *a, const struct synth_case *c)
{
    int n = (int)strlen(c->letters);
    for (int i = 0; i < n; i++)
        a[i] = (char)('a' + (c->letters[i] - 'a' + c->v[0]) % 26);
    a[n] = 0;
}

static void ends_ask(char *q, const struct synth_case *c)
{
    ASK(q, "Let the first and the last letter of %s change places. What comes out?", c->letters);
}

static void ends_answer(char *a, const struct synth_case *c)
{
    size_t n = strlen(c->letters);
    memcpy(a, c->letters, n + 1);
    a[0] = c->letters[n - 1];
    a[n - 1] = c->letters[0];
}

static void drop_ask(char *q, const struct synth_case *c)
{
    ASK(q, "Which letters stay of %s without its letter number %lld?", c->letters, (ll)c->v[0] + 1);
}

static void drop_answer(char *a, const struct synth_case *c)
{
    size_t n = strlen(c->letters), at = (size_t)c->v[0];
    memcpy(a, c->letters, at);
    memcpy(a + at, c->letters + at + 1, n - at);
}

void synth_strings(struct synth_item *out, struct rng *rng)
{
    static const struct synth_kind kinds[] = {
        {letters_centre, letters_near, reverse_ask, reverse_answer},
        {letters_centre, letters_near, rotate_ask, rotate_answer},
        {letters_centre, letters_near, shift_ask, shift_answer},
        {letters_centre, letters_near, ends_ask, ends_answer},
        {letters_centre, letters_near, drop_ask, drop_answer},
    };
    synth_of_kinds(out, rng, kinds, COUNT(kinds));
}

/* ---- logic ---- */

enum { PEOPLE = 5, SWAPS_MAX = 5 };

static const char *const people[] = {"Ada",  "Bruno", "Carla", "Dario", "Elena", "Fabio",
                                     "Gina", "Hugo",  "Irma",  "Luca",  "Marta", "Nino",
                                     "Olga", "Piero", "Rita",  "Sandro"};

/* A chain of comparisons in any order, some of them turned round. */
static void order_of_people(struct synth_item *out, struct rng *rng)
{
    static const char *const words[][3] = {{"taller", "shorter", "tallest"},
                                           {"older", "younger", "oldest"},
                                           {"faster", "slower", "fastest"},
                                           {"richer", "poorer", "richest"}};
    const char *const *w = words[rng_below(rng, COUNT(words))];
    const char *who[PEOPLE];
    int order[PEOPLE - 1];
    char *q = out->question;
    q[0] = 0;
    draw_names(who, PEOPLE, people, COUNT(people), rng);
    synth_shuffle(order, PEOPLE - 1, rng);
    for (int i = 0; i < PEOPLE - 1; i++) {
        const char *more = who[order[i]], *less = who[order[i] + 1];
        if (rng_below(rng, 2))
            ASK(q, "%s is %s than %s. ", more, w[0], less);
        else
            ASK(q, "%s is %s than %s. ", less, w[1], more);
    }
    int place = synth_of_members(out, rng, who, PEOPLE);
    ASK(q, "Who is number %d, counted from the %s?", place + 1, w[2]);
}

/* A coin that goes from hand to hand. The last holder is drawn first, and the swaps are undone to
 * find the first. */
static void coin_in_hand(struct synth_item *out, struct rng *rng)
{
    const char *who[SYNTH_OPTIONS];
    int pairs[SWAPS_MAX][2], n = (int)synth_between(rng, 2, SWAPS_MAX);
    char *q = out->question;
    q[0] = 0;
    draw_names(who, SYNTH_OPTIONS, people, COUNT(people), rng);
    int holder = synth_of_members(out, rng, who, SYNTH_OPTIONS);
    for (int i = n - 1; i >= 0; i--) {
        int a = (int)synth_between(rng, 0, 3), b = (int)synth_between(rng, 0, 2);
        b += b >= a;
        pairs[i][0] = a, pairs[i][1] = b;
        holder = holder == a ? b : holder == b ? a : holder;
    }
    ASK(q, "%s, %s, %s and %s stand in a circle. %s holds a coin. ", who[0], who[1], who[2], who[3],
        who[holder]);
    for (int i = 0; i < n; i++)
        ASK(q, "%s and %s swap what they hold. ", who[pairs[i][0]], who[pairs[i][1]]);
    ASK(q, "Who holds the coin?");
}

/* Four people, four things; three are told. */
static void one_is_left(struct synth_item *out, struct rng *rng)
{
    static const char *const things[] = {"a cat",  "a dog",   "a goat",   "a horse",
                                         "a fish", "a snake", "a rabbit", "a parrot"};
    const char *who[SYNTH_OPTIONS], *what[SYNTH_OPTIONS];
    int order[SYNTH_OPTIONS];
    char *q = out->question;
    q[0] = 0;
    draw_names(who, SYNTH_OPTIONS, people, COUNT(people), rng);
    draw_names(what, SYNTH_OPTIONS, things, COUNT(things), rng);
    synth_shuffle(order, SYNTH_OPTIONS, rng);
    ASK(q, "Each of four people has another animal: %s, %s, %s or %s. ", what[order[0]],
        what[order[1]], what[order[2]], what[order[3]]);
    int left = synth_of_members(out, rng, what, SYNTH_OPTIONS);
    synth_shuffle(order, SYNTH_OPTIONS, rng);
    for (int i = 0; i < SYNTH_OPTIONS; i++)
        if (order[i] != left)
            ASK(q, "%s has %s. ", who[order[i]], what[order[i]]);
    ASK(q, "What does %s have?", who[left]);
}

void synth_logic(struct synth_item *out, struct rng *rng)
{
    switch (rng_below(rng, 3)) {
    case 0:
        order_of_people(out, rng);
        return;
    case 1:
        coin_in_hand(out, rng);
        return;
    default:
        one_is_left(out, rng);
    }
}
