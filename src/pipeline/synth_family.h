/* Families of procedural questions, and how their options come to say nothing by themselves.
 *
 * The options of a question are the answers of four cases that were drawn alike and independently
 * around a common centre (231 + 48, 229 + 51, …); then one of the four, each as likely, is asked.
 * Or they are four members of a list, of which one, each as likely, is asked for. So whoever sees
 * the options without the question knows nothing: every order of the four cases was as likely as
 * the one that came out, and neither place, nor length, nor size, nor what options have in common
 * tells the right one from the others.
 *
 *     struct rng rng;
 *     rng_init(&rng, seed);
 *     struct synth_item item;
 *     synth_families[f].make(&item, &rng);
 */
#ifndef MOE2_PIPELINE_SYNTH_FAMILY_H
#define MOE2_PIPELINE_SYNTH_FAMILY_H

#include <stddef.h>
#include <stdint.h>

#include "base/rng.h"

enum {
    SYNTH_N_FAMILIES = 8,
    SYNTH_OPTIONS = 4,
    SYNTH_QUESTION_BYTES = 512,
    SYNTH_OPTION_BYTES = 48,
    SYNTH_CASE_NUMBERS = 4,
    SYNTH_CASE_LETTERS = 12,
};

struct synth_item {
    char question[SYNTH_QUESTION_BYTES];
    char options[SYNTH_OPTIONS][SYNTH_OPTION_BYTES];
    int answer; /* 0 … SYNTH_OPTIONS − 1 */
};

/* One question of a family; the same state of rng gives the same. */
struct synth_family {
    const char *name;
    void (*make)(struct synth_item *out, struct rng *rng);
};

/* arithmetic, sequences, sorting, dates, units, bases, strings, logic */
extern const struct synth_family synth_families[SYNTH_N_FAMILIES];

/* ---- for the families ---- */

/* What a question is made of; what the numbers mean is the kind's own. */
struct synth_case {
    int64_t v[SYNTH_CASE_NUMBERS];
    char letters[SYNTH_CASE_LETTERS];
};

struct synth_kind {
    void (*centre)(struct synth_case *c, struct rng *rng);
    void (*near)(struct synth_case *c, struct rng *rng); /* moves a copy of the centre a little */
    void (*ask)(char q[SYNTH_QUESTION_BYTES], const struct synth_case *c);
    void (*answer)(char a[SYNTH_OPTION_BYTES], const struct synth_case *c);
};

/* A question of one of n kinds, its options the answers of four cases. */
void synth_of_kinds(struct synth_item *out, struct rng *rng, const struct synth_kind *kinds, int n);

/* Offers four of the n ≥ 4 members of a list as options, in any order, and returns which member is
 * the right one. */
int synth_of_members(struct synth_item *out, struct rng *rng, const char *const *members, int n);

/* first … last, both included. */
int64_t synth_between(struct rng *rng, int64_t first, int64_t last);

/* The numbers 0 … n − 1 in any order. */
void synth_shuffle(int *out, int n, struct rng *rng);

/* Appends to a text of `bytes` bytes; what does not fit is cut, which no family lets happen
 * (tested). */
void synth_put(char *text, size_t bytes, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

void synth_arithmetic(struct synth_item *out, struct rng *rng);
void synth_sequences(struct synth_item *out, struct rng *rng);
void synth_bases(struct synth_item *out, struct rng *rng);
void synth_dates(struct synth_item *out, struct rng *rng);
void synth_units(struct synth_item *out, struct rng *rng);
void synth_sorting(struct synth_item *out, struct rng *rng);
void synth_strings(struct synth_item *out, struct rng *rng);
void synth_logic(struct synth_item *out, struct rng *rng);

#endif
