/* The parts of RD-ESI and what incentives share; for the files of this folder only. */
#ifndef MOE2_ROUTE_RD_ESI_H
#define MOE2_ROUTE_RD_ESI_H

#include "base/rng.h"
#include "route/incentive.h"

/* The arrays of rd_esi's state, in the order of its table. */
enum { RD_R, RD_SEEN, RD_L, RD_N, RD_I, RD_LAST_USED, RD_T, RD_UNTIL, RD_N_ARRAYS };

/* Checks a key of a configuration: MOE2_ECONFIG "kind: key is SEEN, wanted LOW to HIGH". */
int incentive_range(const char *kind, const char *key, float value, float low, float high,
                    struct err *err);

/* loss_free's rule and the recentring, also used for DeepSeek-V3's own b and by quantile. */
void loss_free_move(float *b, const struct route_feedback *feedback, float rate, int n_experts);
void bias_recentre(float *b, int n_experts);

/* l_i of a step. */
static inline double load_share(const struct route_feedback *f, int n_experts, int i)
{
    return (double)n_experts * (double)f->items[i] / ((double)f->n_picks * (double)f->n_items);
}

/* reputation.c: R [E], seen [E] (0 or 1), last_used [E] (step). */
void reputation_update(float *R, float *seen, const struct incentive_config *config, int n_experts,
                       const struct route_feedback *feedback);
void reputation_decay(float *R, const float *seen, const float *last_used, float t,
                      const struct incentive_config *config, int n_experts, double elapsed);
/* z-score over the experts that were seen, clipped to [−2, 2]; 0 for the others. */
void reputation_z(float *z, const float *R, const float *seen, int n_experts);

/* capacity.c: ⌈cf·K·T/E⌉; cf as a float carries a rounding error that must not cost or give a place. */
int64_t route_capacity(double cf, int64_t K, int64_t T, int64_t E);

/* load.c: L [E]. */
void load_update(float *L, const struct incentive_config *config, int n_experts,
                 const struct route_feedback *feedback);

/* explore.c: how much exploration is left at step t, 1 … 0. */
float explore_fade(float t, float until);
float explore_bonus(float C, float t, float N, float until);
void rd_esi_draw(struct incentive_draw *draw, float *const *state,
                 const struct incentive_config *config);

/* What is drawn at a place (seed, step, layer, token), the same whatever else was drawn. */
enum explore_stream { STREAM_RANDOM, STREAM_EPSILON, STREAM_NOISE };
void explore_stream(struct rng *rng, enum explore_stream stream, uint64_t seed, uint64_t step,
                    int layer, int64_t token);
/* K of E experts, every set equally likely, in rising order. */
void explore_random_experts(int32_t *idx, struct rng *rng, int E, int K);
/* Adds Gaussian noise of deviation std to c [E]. */
void explore_noise(float *c, struct rng *rng, int E, float std);

#endif
