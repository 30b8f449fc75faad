/* RD-ESI: reputation, load and exploration beside the gate, with decay.
 *
 *     bias_i = β·z(R_i) − γ·L_i − κ·I_i + bonus_i
 *
 * z is the clipped z-score over the experts, L and the bonus are as in load.c and explore.c, so
 * that β, γ and C are in units of the score. I_i = Σ_t (l_i − 1): the load term alone is a
 * proportional controller and leaves a residual imbalance; the integral removes it.
 * The state and its order are in rd_esi.h; t counts the steps that had items.
 */
#include "route/incentive.h"

#include <assert.h>
#include <math.h>
#include <string.h>

#include "route/rd_esi.h"

static const struct incentive_array arrays[] = {
    [RD_R] = {"rd_esi.R", true},  [RD_SEEN] = {"rd_esi.seen", true},
    [RD_L] = {"rd_esi.L", true},  [RD_N] = {"rd_esi.N", true},
    [RD_I] = {"rd_esi.I", true},  [RD_LAST_USED] = {"rd_esi.last_used", true},
    [RD_T] = {"rd_esi.t", false}, [RD_UNTIL] = {"rd_esi.exploration_until", false},
};

static int check(const struct incentive_config *c, int n_experts, struct err *err)
{
    (void)n_experts;
    const struct {
        const char *key;
        float value, low, high;
    } ranges[] = {
        {"alpha", c->alpha, 0, 1},
        {"beta", c->beta, -100, 100},
        {"gamma", c->gamma, 0, 100},
        {"C", c->C, 0, 100},
        {"decay_rate", c->decay_rate, 0, 1},
        {"load_ema_alpha", c->load_ema_alpha, 0, 1},
        {"integral", c->integral, 0, 100},
        {"load_capacity_factor", c->load_capacity_factor, 1e-3f, 1e6f},
        {"epsilon", c->epsilon, 0, 1},
        {"noise_std", c->noise_std, 0, 100},
        {"exploration_until", c->exploration_until, 0, 1e12f},
        {"min_tokens", (float)c->min_tokens, 0, 1e12f},
        {"decay_after", (float)c->decay_after, 0, 1e12f},
    };
    for (size_t i = 0; i < sizeof ranges / sizeof *ranges; i++) {
        int rc = incentive_range(c->name, ranges[i].key, ranges[i].value, ranges[i].low,
                                 ranges[i].high, err);
        if (rc)
            return rc;
    }
    return 0;
}

static void init(float **state, const struct incentive_config *config, int n_experts)
{
    (void)n_experts;
    state[RD_UNTIL][0] = config->exploration_until;
}

static void bias(float *out, float *const *state, const struct incentive_config *config,
                 int n_experts, const struct incentive_now *now)
{
    const float *queue = now && config->load == LOAD_QUEUE ? now->queue : NULL;
    reputation_z(out, state[RD_R], state[RD_SEEN], n_experts);
    for (int i = 0; i < n_experts; i++) {
        float load = queue ? queue[i] : config->load == LOAD_QUEUE ? 0 : state[RD_L][i];
        out[i] = config->beta * out[i] - config->gamma * load - config->integral * state[RD_I][i];
        if (config->exploration == EXPLORE_UCB)
            out[i] += explore_bonus(config->C, state[RD_T][0], state[RD_N][i], state[RD_UNTIL][0]);
    }
}

static void update(float **state, const struct incentive_config *config, int n_experts,
                   const struct route_feedback *feedback)
{
    float t = state[RD_T][0] += 1;
    for (int i = 0; i < n_experts; i++) {
        double load = load_share(feedback, n_experts, i);
        state[RD_N][i] = 0.999f * state[RD_N][i] + (float)load;
        state[RD_I][i] += (float)(load - 1);
        if (feedback->items[i] > 0)
            state[RD_LAST_USED][i] = t;
    }
    load_update(state[RD_L], config, n_experts, feedback);
    reputation_update(state[RD_R], state[RD_SEEN], config, n_experts, feedback);
    reputation_decay(state[RD_R], state[RD_SEEN], state[RD_LAST_USED], t, config, n_experts,
                     feedback->elapsed);
}

const struct incentive_kind incentive_rd_esi = {
    "rd_esi", arrays, RD_N_ARRAYS, check, init, bias, update,
};
