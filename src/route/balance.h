/* Balance: what a router did with its experts, as numbers.
 *
 *     balance_new(&b, E, K, n_types, n_domains, err);
 *     for each forward:  balance_add(b, &route, token_type, domain);
 *     balance_result(&result, b);
 *
 * Symbols as in the routing specification: n_i picks of expert i before dropping, T tokens without
 * padding, l_i = E·n_i / (K·T). What can't be known (no types given, one training step) is NAN,
 * which is null in JSON.
 */
#ifndef MOE2_ROUTE_BALANCE_H
#define MOE2_ROUTE_BALANCE_H

#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "route/incentive.h"

struct route;

/* One layer's measures; the mean over layers has the same shape. Names are the keys of JSON. */
struct balance_result {
    double max_vio_batch;   /* max l_i − 1 of a forward, mean over forwards */
    double max_vio_global;  /* of all tokens together */
    double load_variance;   /* of l, population */
    double load_cv;         /* deviation of l over its mean */
    double load_entropy;    /* of the shares of picks, over ln E: 1 is equal */
    double load_gini;       /* 0 is equal */
    double dead_experts;    /* experts without a pick */
    double drop_rate;       /* dropped picks over all picks */
    double token_expert_mi; /* mutual information of token type and expert over the picks, nats; the
                                plain estimate, which few picks a type bias upwards: set the value
                                of the random router beside it */
    double domain_expert_mi; /* the same with domains */
    double matthew_load;     /* rank correlation of the experts' loads early and late in training */
    double matthew_reputation; /* and of their reputations */
    double top_tenth_share;    /* share of the picks at the ⌈E/10⌉ experts with most */
    double routing_share;      /* of the step's time; filled in by whoever measures time */
};

/* The fields of balance_result by their keys, in order. */
struct balance_field {
    const char *key;
    size_t offset; /* of a double */
};
extern const struct balance_field balance_fields[];
enum { BALANCE_N_FIELDS = 14 };

static inline double balance_get(const struct balance_result *result, int field)
{
    return *(const double *)((const char *)result + balance_fields[field].offset);
}

struct balance;

/* n_types and n_domains are the numbers of token types (usually the vocabulary) and of domains, 0
 * where their mutual information is not wanted. MOE2_ELIMIT without memory for 4·E·(n_types +
 * n_domains) bytes. The result is the caller's, to be freed with balance_free. */
int balance_new(struct balance **out, int E, int K, int64_t n_types, int64_t n_domains,
                struct err *err);
void balance_free(struct balance *b);

/* Counts the picks of one forward. token_type and domain [T] may be NULL; numbers outside
 * 0 … n − 1 are left out of the mutual information. */
void balance_add(struct balance *b, const struct route *route, const int32_t *token_type,
                 const int32_t *domain);

/* The same from counts alone, for a fleet or a log: picks [E] of n_items items. */
void balance_add_counts(struct balance *b, const int64_t *picks, int64_t n_items,
                        int64_t n_dropped);

/* All but the Matthew effect and the time, which are NAN. */
int balance_result(struct balance_result *result, const struct balance *b, struct err *err);

/* activation_frequency [E]: the share of the tokens for which expert i was picked. */
void balance_activation(double *frequency, const struct balance *b);

/* l [E] of all tokens so far. */
void balance_loads(double *load, const struct balance *b);

/* Picks by token type and expert [n_types, E], by domain and expert; borrowed, NULL if not kept. */
const uint32_t *balance_by_type(const struct balance *b);
const uint32_t *balance_by_domain(const struct balance *b);

/* Field by field the mean of n results, of those that are known. */
void balance_mean(struct balance_result *mean, const struct balance_result *results, int n);

/* Mutual information in nats of a table of counts [rows, columns]; NAN for an empty one. */
double mutual_information(const uint32_t *counts, int64_t rows, int64_t columns);

/* Experts of each token of a route in rising order, [route->n], cut by route->token_offsets. */
void route_token_experts(int32_t *experts, const struct route *route);

/* How much the sets chosen for T tokens by two routers (two checkpoints) have in common: mean over
 * the tokens of |A ∩ B| / max(|A|, |B|), tokens without any pick left out. NAN if there are none. */
double picks_overlap(const int64_t *offsets_a, const int32_t *experts_a, const int64_t *offsets_b,
                     const int32_t *experts_b, int64_t T);

/* The Matthew effect: do the rich get richer? Loads and reputations are averaged over the first
 * tenth of the planned steps and over the last tenth, and their ranks compared. */
struct matthew;

int matthew_new(struct matthew **out, int E, int64_t planned_steps, struct err *err);
void matthew_free(struct matthew *m);

/* After every optimizer step (0 … planned_steps − 1): picks [E] of n_items tokens, and R [E] of
 * rd_esi or NULL. A step without items counts nowhere. */
void matthew_step(struct matthew *m, int64_t step, const int64_t *picks, int64_t n_items,
                  const float *R);

/* Fills matthew_load and matthew_reputation; NAN where ranks do not exist (all equal, no R). */
int matthew_result(struct balance_result *result, const struct matthew *m, struct err *err);

/* The sums as arrays for a checkpoint, so that a resumed run reports what a straight one does. */
int matthew_state(struct matthew *m, struct route_state_item items[ROUTE_STATE_MAX]);

#endif
