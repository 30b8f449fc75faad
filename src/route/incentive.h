/* Incentives: what an item's scores can't know, in one number per expert.
 *
 * A router picks by score + bias. An incentive owns the bias: it starts somewhere, and after every
 * step (an optimizer step inside a model, a closed window of requests in a fleet) it is told what
 * happened and moves. It never sees an item, a tensor or a request, which is why the same code
 * serves both levels.
 *
 *     incentive_bias(inc, bias, now);            before the picks of a step
 *     … score, add bias, pick, work …
 *     incentive_update(inc, &feedback);          once after it, never at evaluation
 *
 * Symbols as in the routing specification: E experts, K picked per item, T items of a step, n_i
 * picks of expert i, l_i = E·n_i / (K·T), so 1 is a fair share.
 */
#ifndef MOE2_ROUTE_INCENTIVE_H
#define MOE2_ROUTE_INCENTIVE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"

/* Value 0 of every choice is "not said"; incentive_resolve replaces it by the starting choice. */
enum performance_kind {
    PERFORMANCE_AUTO,
    PERFORMANCE_LOSS,
    PERFORMANCE_NORM,
    PERFORMANCE_ACCURACY
};
enum load_kind { LOAD_AUTO, LOAD_EMA, LOAD_QUEUE, LOAD_CAPACITY };
enum explore_kind { EXPLORE_AUTO, EXPLORE_UCB, EXPLORE_EPSILON, EXPLORE_NOISE };
enum decay_kind { DECAY_AUTO, DECAY_TIME, DECAY_INACTIVITY };

/* Words of one choice, for configuration files: words[v] is the word of enum value v. */
struct route_words {
    const char *key; /* the configuration key */
    const char *const *words;
    int n;
};
extern const struct route_words performance_words, load_words, explore_words, decay_words;

/* The enum value of a word. MOE2_ECONFIG names the key, the word and the known ones. */
int route_word_parse(int *out, const struct route_words *words, const char *word, struct err *err);

/* Numbers that were not said are NAN (reals) or −1 (whole numbers, switches). */
struct incentive_config {
    const char *name;    /* none, aux, loss_free, quantile, rd_esi, rd_esi_integral; a constant */
    float update_rate;   /* loss_free: u, moved per step, in units of the score */
    int recentre;        /* loss_free: keep the mean of b at zero */
    float quantile_rate; /* quantile: share of the correction that is applied */
    /* rd_esi, the keys of the routing specification */
    enum performance_kind performance;
    enum load_kind load;
    enum explore_kind exploration;
    enum decay_kind decay;
    int normalise; /* 0: the raw variant, the mechanism as first written down */
    float alpha, beta, gamma, C, decay_rate, load_ema_alpha, integral;
    float load_capacity_factor; /* load: capacity */
    float epsilon, noise_std;
    float exploration_until; /* step at which exploration has faded to nothing */
    int64_t min_tokens, decay_after;
};

/* Every key "not said", name "none". */
void incentive_config_init(struct incentive_config *config);

/* Gives every key that was not said its starting value. step_scale is 1 for sigmoid scores and 2/E
 * for softmax ones: it multiplies the starting values of u, beta, gamma, C, integral and noise_std.
 * planned_steps gives exploration_until its start, half of them. */
void incentive_config_resolve(struct incentive_config *config, float step_scale,
                              int64_t planned_steps);

/* Whether a resolved config is the raw variant of rd_esi. */
bool incentive_config_is_raw(const struct incentive_config *config);

/* What one step showed. Arrays have E elements and are borrowed for the call. */
struct route_feedback {
    const int64_t *items;     /* picks that expert i got, before dropping; no padding, first
                                  forward only */
    int64_t n_items;          /* items of the step, all micro-batches and ranks together */
    int n_picks;              /* K */
    const float *performance; /* mean performance of expert i, or NULL if none was asked for */
    const int64_t *performed; /* items behind performance[i]; NULL: items */
    const float *margins;     /* [E, margin_stride], quantile: of expert i the n_items numbers
                                  score + bias − the (K+1)-th best of the item; else NULL */
    int64_t margin_stride;
    double elapsed; /* steps that decay sees: 1 in a model; in a fleet the seconds since
                                  the last update over the seconds of one decay step */
};

/* What is true at the moment of a pick beyond the state. */
struct incentive_now {
    const float *queue; /* [E] the load L of `load: queue`, or NULL for 0 everywhere */
};

/* Exploration that is drawn per item while training; both 0 at evaluation. */
struct incentive_draw {
    float epsilon;   /* probability of K random experts */
    float noise_std; /* deviation of Gaussian noise on the score */
};

struct incentive;

/* MOE2_ECONFIG for an unknown name (the message lists the known ones) or a number outside its
 * range: what incentive_new would say. */
int incentive_config_check(const struct incentive_config *config, int n_experts, struct err *err);

/* Makes an incentive in its starting state. config must be resolved; it is copied. n_experts is 1
 * or more. The result is the caller's, to be freed with incentive_free. Errors: MOE2_ECONFIG for an
 * unknown name (the message lists the known ones) or a number outside its range. */
int incentive_new(struct incentive **out, const struct incentive_config *config, int n_experts,
                  struct err *err);

/* NULL is fine. */
void incentive_free(struct incentive *inc);

/* Writes the E biases that the next picks should use, in units of the score. now may be NULL:
 * that is evaluation. Reads only. */
void incentive_bias(const struct incentive *inc, float *bias, const struct incentive_now *now);

/* What exploration draws per item in training at this point. */
struct incentive_draw incentive_draw(const struct incentive *inc);

/* What the incentive wants to be fed. PERFORMANCE_AUTO: no performance. */
enum performance_kind incentive_performance(const struct incentive *inc);
bool incentive_has_bias(const struct incentive *inc); /* none and aux have none */
bool incentive_wants_margins(const struct incentive *inc);
bool incentive_is_raw(const struct incentive *inc); /* its state moves at every first forward */

/* Learns from one step. A step without items changes nothing. */
void incentive_update(struct incentive *inc, const struct route_feedback *feedback);

/* One array of a state: float32, to be stored under its name ("rd_esi.R"). */
struct route_state_item {
    const char *name; /* a constant */
    float *values;    /* borrowed: the live state */
    int64_t n;
};
enum { ROUTE_STATE_MAX = 12 };

/* Lists the arrays of the state; returns how many. */
int incentive_state(struct incentive *inc, struct route_state_item items[ROUTE_STATE_MAX]);

/* The state array of that name without its prefix ("R"), [E] or [1]; NULL if this kind has none. */
const float *incentive_state_find(const struct incentive *inc, const char *name);

/* One row of the table: a kind of incentive. Arrays that start in zero. */
struct incentive_array {
    const char *name;
    bool per_expert; /* E floats, else one */
};

struct incentive_kind {
    const char *name;
    const struct incentive_array *arrays;
    int n_arrays;
    int (*check)(const struct incentive_config *config, int n_experts, struct err *err);
    void (*init)(float **state, const struct incentive_config *config, int n_experts);
    void (*bias)(float *bias, float *const *state, const struct incentive_config *config,
                 int n_experts, const struct incentive_now *now);
    void (*update)(float **state, const struct incentive_config *config, int n_experts,
                   const struct route_feedback *feedback);
};

extern const struct incentive_kind incentive_none, incentive_aux, incentive_loss_free,
    incentive_quantile, incentive_rd_esi, incentive_rd_esi_raw;

#endif
