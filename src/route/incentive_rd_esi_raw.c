/* The raw variant of RD-ESI (`normalise: false`): the mechanism exactly as first written down.
 *
 *     bias_i = β·R_i − γ·L_i + C·sqrt(ln N / N_i)       N picks so far (at least 1), N_i of them i's;
 *                                                       N_i = 0 counts as 1e-10
 *     R_i <- (α·perf_i + (1 − α)·R_i)·decay_rate        perf: mean norm of the output, 0 for an
 *                                                       expert without tokens
 *     L_i <- a·n_i + (1 − a)·L_i                        token counts, not shares
 *
 * It is kept to show what its units do: L is in tokens (hundreds) where the gate is below 1, the
 * bonus of a never-used expert is thousands, who gets no tokens loses its name for ever, and the
 * state moves at every first forward, evaluation included. The tests state each.
 */
#include "route/incentive.h"

#include <math.h>
#include <stddef.h>

#include "route/rd_esi.h"

enum { R, L, N };
static const struct incentive_array arrays[] = {
    [R] = {"rd_esi_raw.R", true},
    [L] = {"rd_esi_raw.L", true},
    [N] = {"rd_esi_raw.N", true},
};

static int check(const struct incentive_config *c, int n_experts, struct err *err)
{
    const char *why = "normalise: false is the mechanism as first written down";
    if (c->performance != PERFORMANCE_NORM)
        return err_set(err, MOE2_ECONFIG, "%s: %s, wanted performance: norm with it", c->name, why);
    if (c->load != LOAD_EMA)
        return err_set(err, MOE2_ECONFIG, "%s: %s, wanted load: ema with it", c->name, why);
    if (c->exploration != EXPLORE_UCB)
        return err_set(err, MOE2_ECONFIG, "%s: %s, wanted exploration: ucb with it", c->name, why);
    if (c->decay != DECAY_TIME)
        return err_set(err, MOE2_ECONFIG, "%s: %s, wanted decay: time with it", c->name, why);
    if (c->integral != 0)
        return err_set(err, MOE2_ECONFIG, "%s: %s, wanted integral 0 with it", c->name, why);
    struct incentive_config as_usual = *c;
    as_usual.normalise = 1;
    return incentive_rd_esi.check(&as_usual, n_experts, err);
}

static void bias(float *out, float *const *state, const struct incentive_config *config,
                 int n_experts, const struct incentive_now *now)
{
    (void)now;
    double all = 0;
    for (int i = 0; i < n_experts; i++)
        all += state[N][i];
    double log_all = log(all > 1 ? all : 1);
    for (int i = 0; i < n_experts; i++) {
        double own = state[N][i] > 0 ? state[N][i] : 1e-10;
        out[i] = config->beta * state[R][i] - config->gamma * state[L][i] +
                 config->C * (float)sqrt(log_all / own);
    }
}

static void update(float **state, const struct incentive_config *config, int n_experts,
                   const struct route_feedback *feedback)
{
    float alpha = config->alpha, a = config->load_ema_alpha;
    const int64_t *performed = feedback->performed ? feedback->performed : feedback->items;
    for (int i = 0; i < n_experts; i++) {
        bool worked = performed[i] > 0 && feedback->performance;
        float perf = worked ? feedback->performance[i] : 0;
        state[R][i] = (alpha * perf + (1 - alpha) * state[R][i]) * config->decay_rate;
        state[L][i] = a * (float)feedback->items[i] + (1 - a) * state[L][i];
        state[N][i] += (float)feedback->items[i];
    }
}

const struct incentive_kind incentive_rd_esi_raw = {
    "rd_esi_raw", arrays, 3, check, NULL, bias, update,
};
