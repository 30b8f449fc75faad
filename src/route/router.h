/* The router of one MoE layer (or of a fleet): logits in, who works and with which weight out.
 *
 *     router_config_init(&config);  … fill keys …
 *     router_config_resolve(&config, planned_steps);          starting values for the rest
 *     router_new(&r, &config, layer, err);                    one per MoE layer
 *     route_bind(&route, &config, T, memory);                 memory of route_bytes(&config, T)
 *
 *     for each micro-batch:                                   forward
 *         router_pick(r, &route, logits, &batch, err);
 *         … experts work on route.token[expert_offsets[i] …] …
 *         router_feed_norms / router_feed_right               if router_wants(…) says so
 *                                                             backward
 *         router_backward(r, dlogits, dweight, &route, grad_scale);
 *         router_aux(r, dlogits, &losses, &route, …);
 *     router_step(r, &stats);                                 once per optimizer step
 *
 * Counting happens in router_pick with ROUTE_TRAIN only. A recomputed forward passes
 * ROUTE_RECOMPUTE with the route of the first one: picks stay, scores and weights are made again,
 * nothing is counted. Padding gets no expert and counts nowhere; prompt tokens that are only masked
 * from the loss do. Evaluation moves nothing (but see the raw variant).
 *
 * Shapes: T tokens of a forward, E experts, K picks a token, n picks in all. Everything is float32
 * on the host. Threads: a router is used by one thread at a time; inside, OpenMP splits tokens or
 * experts, never a sum, so the bits do not depend on the number of threads.
 */
#ifndef MOE2_ROUTE_ROUTER_H
#define MOE2_ROUTE_ROUTER_H

#include <stddef.h>
#include <stdint.h>

#include "route/aux.h"
#include "route/incentive.h"

/* The largest layer that is accepted. */
enum { ROUTE_EXPERTS_MAX = 65536, ROUTE_PICKS_MAX = 256, ROUTE_GROUPS_MAX = 1024 };

/* Value 0 is "not said". */
enum score_kind { SCORE_AUTO, SCORE_SIGMOID, SCORE_SOFTMAX };
enum pick_kind { PICK_AUTO, PICK_TOPK, PICK_GROUP_TOPK, PICK_EXPERT_CHOICE, PICK_RANDOM };
enum combine_kind { COMBINE_AUTO, COMBINE_GATE, COMBINE_SELECTION };
enum group_score { GROUP_SCORE_AUTO, GROUP_SCORE_SUM2, GROUP_SCORE_MAX };
enum native_bias { NATIVE_BIAS_AUTO, NATIVE_BIAS_REPLACE, NATIVE_BIAS_KEEP, NATIVE_BIAS_FREEZE };

extern const struct route_words score_words, pick_words, combine_words, group_score_words,
    native_bias_words;

struct router_config {
    enum score_kind score;        /* starts at sigmoid; softmax for expert_choice */
    enum pick_kind pick;          /* starts at topk; group_topk where n_group > 1 */
    enum combine_kind combine;    /* starts at gate; selection for the raw variant */
    enum group_score group_score; /* starts at sum2 (V3) for sigmoid, max (V2) for softmax */
    enum native_bias native_bias; /* starts at replace; fine-tuning says freeze */
    int n_experts, n_picks;       /* E, K: always said */
    int n_group, topk_group;      /* start at 1 */
    int norm_topk_prob;           /* starts at 1 for sigmoid, 0 for softmax */
    float routed_scaling_factor;  /* starts at 1 */
    float native_bias_rate;       /* u of b's own loss-free update under keep; starts at 1e-3 */
    float capacity_factor;        /* 0 = no limit, where it starts */
    uint64_t seed;
    struct aux_config aux;
    struct incentive_config incentive;
};

void router_config_init(struct router_config *config);

/* Gives every key that was not said its starting value; planned_steps as in
 * incentive_config_resolve. Run it once E, K, score and pick are known. */
void router_config_resolve(struct router_config *config, int64_t planned_steps);

/* MOE2_ECONFIG with the key, the value seen and the value wanted. */
int router_config_check(const struct router_config *config, struct err *err);

/* A sentence for the log where a valid config does nothing (`load: queue` without accumulation of
 * several micro-batches a step), else NULL. */
const char *router_config_warning(const struct router_config *config, int64_t n_micro_batches);

enum route_mode {
    ROUTE_TRAIN,     /* first forward of a training step: exploration on, counted */
    ROUTE_RECOMPUTE, /* the same forward again: the picks in the route are kept, nothing counts */
    ROUTE_EVAL,      /* no exploration, no dropping, state stays; expert_choice is causal */
    ROUTE_EVAL_LOOKAHEAD, /* as EVAL, but expert_choice and capacity pick as in training */
};

/* One micro-batch. Arrays are borrowed for the call. */
struct route_batch {
    enum route_mode mode;
    uint64_t step;        /* optimizer step, for seeds; evaluation takes 0 whatever it says */
    int64_t first_token;  /* place of token 0 among the step's tokens, over micro-batches and ranks,
                             so that seeds do not depend on how a batch is split */
    const uint8_t *valid; /* [T] 0 for padding; NULL: none */
    const int64_t *seq_offsets; /* [n_seqs + 1], for the sequence loss; NULL: all one sequence */
    int64_t n_seqs;
};

/* Who works. All arrays lie in the memory given to route_bind and hold until the next pick. */
struct route {
    int64_t T;
    int E, K;
    enum route_mode mode; /* of the last pick */
    int64_t n_valid;      /* tokens that are not padding */
    int64_t n;            /* picks to be worked on, dropped ones left out */
    int64_t n_dropped;    /* by capacity */
    float *scores;        /* [T, E] s, before any bias; 0 for padding */
    float *bias;          /* [E] that was added for selection, native bias included */
    int64_t *picks;       /* [E] picks of each expert, dropped ones included */
    /* Token choice (all picks but expert_choice, where these are NULL), the best first; padding has
     * expert −1. Position: the pick's place in the lists below, −1 where padded or dropped. */
    int32_t *idx;           /* [T, K] */
    float *pick_weight;     /* [T, K] */
    int32_t *pick_position; /* [T, K] */
    /* By expert, then by token: expert i works on token[expert_offsets[i] … expert_offsets[i+1]).
     * weight is what its output is multiplied by. */
    int64_t *expert_offsets; /* [E + 1] */
    int32_t *token, *expert; /* [n] */
    float *weight;           /* [n] */
    /* By token: the picks of token t are position[token_offsets[t] … token_offsets[t+1]), places
     * in the lists above in rising order. */
    int64_t *token_offsets; /* [T + 1] */
    int32_t *position;      /* [n] */
    /* Room for the work inside; blocks are of ROUTE_BLOCK tokens. */
    int64_t *block_picks;  /* [blocks, E] */
    int64_t *block_valid;  /* [blocks + 1] */
    float *block_rows;     /* [blocks + 1, ROUTE_LANES, E] */
    double *block_sums;    /* [blocks + 1, E] */
    double *block_moments; /* [blocks, 2] */
    float *columns;        /* [E, T] expert_choice; [T·K] capacity; else NULL */
    int32_t *unbiased;     /* [T, K] the K best of s, for the sequence loss; else NULL */
};

/* Bytes that a route of at most T tokens needs, and the division of such memory (64-byte aligned,
 * the caller's, not zeroed). A route bound for T tokens serves any forward of exactly T. */
size_t route_bytes(const struct router_config *config, int64_t T);
void route_bind(struct route *route, const struct router_config *config, int64_t T, void *memory);

/* The most slots that a forward of T tokens can have: T·K, and T·E where experts pick tokens, since
 * at evaluation every token may reach every expert's threshold. */
int64_t route_slots_max(const struct router_config *config, int64_t T);

struct router;

/* The result is the caller's, to be freed with router_free. config must be resolved and is copied;
 * layer goes into seeds and messages. Errors: MOE2_ECONFIG (router_config_check), MOE2_ELIMIT. */
int router_new(struct router **out, const struct router_config *config, int layer, struct err *err);
void router_free(struct router *r);
const struct router_config *router_config(const struct router *r);

/* Picks for logits [T, E]; fills route (bound for T). MOE2_ENUMERIC for a logit that is no finite
 * number, naming token and expert: then nothing is counted and the route is not to be used. */
int router_pick(struct router *r, struct route *route, const float *logits,
                const struct route_batch *batch, struct err *err);

/* ---- picks made where the logits are ----
 *
 *     if (router_picks_far(r, mode)) {                        in router_pick's stead
 *         router_far_begin(r, &route, &batch);                bias and n_valid of the route
 *         … kernels route_pick and route_lists, with that bias …
 *         router_far_end(r, &route, offset, moments, &batch);
 *
 * A device that keeps the logits makes scores, picks, weights and lists by itself, with the bits of
 * router_pick (route_rows.h), and the router hears how many picks each expert got. Of the route
 * then T, n_valid, n, n_dropped, bias, picks and expert_offsets hold; the other arrays must be
 * copied from the device before a function is called that reads them: all of router_aux,
 * router_aux_pool, router_feed_right and router_backward, weight for router_feed_loss. */

/* Whether picks of that mode may be made so: no draws, no dropping, nothing kept of each token. */
bool router_picks_far(const struct router *r, enum route_mode mode);
void router_far_begin(struct router *r, struct route *route, const struct route_batch *batch);

/* offset [E + 1] as of expert_offsets; moments [ceil(T / 64), 2] as of route_rows_moments, looked at
 * in training where router_wants_moments says so. Not to be called where a logit was not finite. */
void router_far_end(struct router *r, struct route *route, const int32_t *offset,
                    const double *moments, const struct route_batch *batch);
bool router_wants_moments(const struct router *r, enum route_mode mode);

/* What router_pick says of logits [T, E] that are not all finite; 0 where they are. */
int router_check_logits(const struct router *r, const struct route *route, const float *logits,
                        const struct route_batch *batch, struct err *err);

/* What router_feed_… wants in that mode; LOSS needs no call, router_backward takes it itself. */
enum performance_kind router_wants(const struct router *r, enum route_mode mode);

/* norm [n]: L2 norm of the output of each pick before weighting, in the order of route->token. For
 * the raw variant this call ends the forward and moves the state, evaluation included. */
void router_feed_norms(struct router *r, const struct route *route, const float *norm);

/* right [T]: 1 predicted right, 0 wrong, −1 no target there. Train mode only. */
void router_feed_right(struct router *r, const struct route *route, const int8_t *right);

/* Adds into dlogits [T, E] (NULL: a frozen router) the gradient that comes through the weights;
 * dweight [n] is dL/dweight in the order of route->token. Also sums the performance of `loss`:
 * grad_scale says how many times the summed loss in nats the differentiated loss is (1 / target
 * tokens for a mean, times any loss scaling). Once per micro-batch. */
void router_backward(struct router *r, float *dlogits, const float *dweight,
                     const struct route *route, float grad_scale);

/* The summing of `loss` alone, for picks made far away. Nothing where loss is not wanted. */
void router_feed_loss(struct router *r, const struct route *route, const float *dweight,
                      float grad_scale);

/* The losses of aux.h and scale times their gradient added into dlogits [T, E] (NULL: values only).
 * Once per micro-batch, after router_pick and before the next one; scale is usually this
 * micro-batch's share of the step's tokens, times any loss scaling. logits [T, E] are only read for
 * the z loss. pool (AUX_HF only, else NULL) must hold all layers (router_aux_pool) by then. */
void router_aux(struct router *r, float *dlogits, struct aux_losses *losses,
                const struct route *route, const float *logits, const struct route_batch *batch,
                const struct aux_pool *pool, float scale);
bool router_has_aux(const struct router *r);

/* AUX_HF: adds this layer's tokens to the pool; after router_pick of every layer. */
void router_aux_pool(struct aux_pool *pool, const struct router *r, const struct route *route,
                     const struct route_batch *batch);

/* The sums of the step so far, for adding up over ranks before router_step. [E] each, live. */
struct route_sums {
    int64_t n_items, n_dropped;
    int64_t *items;                 /* picks before dropping */
    int64_t *performed;             /* tokens behind the sums of performance */
    double *performance, *share;    /* numerator and denominator of the mean performance */
    double score_sum, score_square; /* over all counted tokens and experts, 0 where
                                       the incentive has no bias */
};
struct route_sums *router_sums(struct router *r);

struct route_step {
    int64_t n_items; /* 0: nothing was counted and nothing moved */
    double max_vio;  /* of this step's loads */
    double drop_rate;
    double bias_ratio; /* largest |bias| over the deviation of the scores, as the step picked */
};
enum { ROUTE_BIAS_RATIO_WARN = 3 }; /* above it the gate hardly has a say */

/* Ends an optimizer step: moves incentive, native bias (keep) and thresholds, clears the sums. out
 * may be NULL. */
void router_step(struct router *r, struct route_step *out);

/* Forgets the sums of a step that was broken off. */
void router_step_drop(struct router *r);

/* The bias [E] that evaluation adds: native b (unless replaced) + the incentive's. */
void router_bias(const struct router *r, float *bias);

/* The incentive, for curves of its state (incentive_state_find(…, "R")). Borrowed. */
const struct incentive *router_incentive(const struct router *r);

/* DeepSeek-V3's own b, [E], e_score_correction_bias: the model file holds it, the router works with
 * a copy that moves under `keep`. MOE2_ENUMERIC for a value that is no finite number. */
int router_set_native_bias(struct router *r, const float *b, struct err *err);
const float *router_native_bias(const struct router *r);

/* The state without b: arrays to store by layer (router_state.safetensors). Returns their number. */
int router_state(struct router *r, struct route_state_item items[ROUTE_STATE_MAX]);

/* Takes over a stored state: all of it or nothing. Names, sizes, version and finiteness are
 * checked; MOE2_EFORMAT, MOE2_ENUMERIC. The sums of an unfinished step are cleared. */
int router_state_load(struct router *r, const struct route_state_item *items, int n_items,
                      struct err *err);

/* The bias for e_score_correction_bias of a plain DeepSeek-V3 checkpoint, [E]: exactly what
 * evaluation adds. MOE2_ECONFIG with the reason where such a checkpoint can't say what this router
 * does: softmax scores, combine selection, the raw variant, random, expert_choice. */
int router_export_bias(const struct router *r, float *bias, struct err *err);

#endif
