/* Who wins a vote among the experts that were called on one prompt.
 *
 * The called ones come in called order: larger gate score first, equal scores by lower number. Sums of scores are float64 in that
 * order. Two ways to count: by outcome, when only right and wrong are known and all wrong ones are taken to agree (a lower bound of what
 * the votes would do), and by the answers given.
 *
 * Source: the selector's contract (docs/selecting.md).
 */
#ifndef MOE2_ROUTE_VOTE_H
#define MOE2_ROUTE_VOTE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"

enum vote_kind {
    VOTE_TOP1,     /* the first one called */
    VOTE_MAJORITY, /* "vote": most votes; equal ones by summed score */
    VOTE_WEIGHTED, /* largest summed score */
    VOTE_N_KINDS,
};

/* "top1", "vote", "weighted". */
const char *vote_name(enum vote_kind kind);

/* The kind of that name; MOE2_ECONFIG, naming flag, for another. */
int vote_find(enum vote_kind *kind, const char *name, const char *flag, struct err *err);

/* The min(k, |subset|) experts of the subset (bit e: expert e) with the largest scores [N], in called order, into called; returns how
 * many. */
int vote_call(int *called, const float *scores, int N, uint64_t subset, int k);

/* Whether n called experts are right together, n ≥ 0. right[j] is whether the j-th called one is; score[j] its gate score. VOTE_MAJORITY:
 * more are right than wrong, or equally many and the right ones' summed score is greater; VOTE_WEIGHTED: the right ones' summed
 * score is greater. Nobody called is not right. */
bool vote_by_outcome(enum vote_kind kind, const bool *right, const float *score, int n);

/* The place of the first called one that gave the winning answer, or −1 when nobody voted. answer[j] is any number that stands for
 * the j-th called one's answer, below 0 for none (it casts no vote); n ≤ VOTE_MAX. VOTE_MAJORITY: most votes; equal ones by
 * summed score, then by the earliest called. VOTE_WEIGHTED: largest summed score, then the earliest called. VOTE_TOP1: the
 * first called one, if it answered. */
enum { VOTE_MAX = 64 };
int vote_by_answer(enum vote_kind kind, const int32_t *answer, const float *score, int n);

/* The set of all n experts, bit e for expert e; 0 ≤ n ≤ VOTE_MAX. */
static inline uint64_t vote_everyone(int n)
{
    return n == VOTE_MAX ? ~UINT64_C(0) : (UINT64_C(1) << n) - 1;
}

#endif
