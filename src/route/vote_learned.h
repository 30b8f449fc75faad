/* The learned combination: an option's score is the sum of the weights of those who gave it, and the weights are learned.
 *
 *     score_q(o) = Σ over the asked e with answer o of w_e(q),   w_e(q) = a_e + Σ_g c_{g,e}·gate_g(q, e) + Σ_p b_{p, part_p(q), e}
 *
 * g runs over gates (what each thinks of the expert on this question), p over partitions of the questions (their subject; clusters of
 * their embeddings). Weights may be negative: an expert that is worse than chance counts against. Fitted by cross-entropy in
 * train/vote_fit.h; the plain rules are route/vote.h. Plain arrays, no knowledge of where scores come from.
 */
#ifndef MOE2_ROUTE_VOTE_LEARNED_H
#define MOE2_ROUTE_VOTE_LEARNED_H

#include <stdint.h>

enum {
    VOTE_MAX_EXPERTS = 64,
    VOTE_MAX_GATES = 8,
    VOTE_MAX_PARTITIONS = 8,
    VOTE_MAX_PARTS = 4096, /* of one partition */
    VOTE_MAX_OPTIONS = 26, /* answers are 0 … 25: letters */
};

/* Which terms a combination has. */
struct vote_shape {
    int n_experts, n_gates, n_partitions;
    int n_parts[VOTE_MAX_PARTITIONS];
};

/* Rows of theta [rows][n_experts]: first a, then a row a gate, then a row a part of each partition. */
int64_t vote_shape_rows(const struct vote_shape *s);

/* Questions as the combination sees them. All arrays are borrowed, row by row. */
struct vote_view {
    int64_t n;
    const int8_t *answers;                     /* [n, n_experts] option, or −1: no answer */
    const float *gates[VOTE_MAX_GATES];        /* [n, n_experts] each */
    const int32_t *parts[VOTE_MAX_PARTITIONS]; /* [n] each; −1: in no part */
};

struct vote_learned {
    struct vote_shape shape;
    const double *theta; /* borrowed */
};

/* w_e(q) of question q and expert e. */
double vote_learned_weight(const struct vote_learned *v, const struct vote_view *view, int64_t q,
                           int e);

/* The option with the largest score among those that the asked gave; asked: bit e for expert e. Equal scores go to the option whose first
 * giver has the lowest number. −1 when nobody answered. scores [VOTE_MAX_OPTIONS] may be NULL; what nobody gave is −INFINITY there. */
int vote_learned_pick(double *scores, const struct vote_learned *v, const struct vote_view *view,
                      int64_t q, uint64_t asked);

#endif
