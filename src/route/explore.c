/* Exploration: giving a chance to those about whom little is known, less and less as time goes.
 *
 *     fade     max(0, 1 − t/until)
 *     ucb      min(C, C·sqrt(ln(1 + t) / (1 + N_i)))·fade       (UCB1, Auer et al. 2002, bounded)
 *     epsilon  with probability ε·fade K random experts         (training only)
 *     noise    Gaussian, deviation noise_std·fade, on the score (training only)
 *
 * Draws are a function of (seed, step, layer, token), never of what was drawn before: the same
 * token draws the same however a step is cut into micro-batches, threads or ranks.
 */
#include "route/rd_esi.h"

#include <math.h>

float explore_fade(float t, float until)
{
    return until > 0 && t < until ? 1 - t / until : 0;
}

float explore_bonus(float C, float t, float N, float until)
{
    double wish = sqrt(log1p(t) / (1 + (double)N));
    return (float)(wish < 1 ? C * wish : C) * explore_fade(t, until);
}

void rd_esi_draw(struct incentive_draw *draw, float *const *state,
                 const struct incentive_config *config)
{
    float fade = explore_fade(state[RD_T][0], state[RD_UNTIL][0]);
    if (config->exploration == EXPLORE_EPSILON)
        draw->epsilon = config->epsilon * fade;
    if (config->exploration == EXPLORE_NOISE)
        draw->noise_std = config->noise_std * fade;
}

void explore_stream(struct rng *rng, enum explore_stream stream, uint64_t seed, uint64_t step,
                    int layer, int64_t token)
{
    uint64_t own = seed + (uint64_t)stream * 0x632be59bd9b4e019u;
    rng_init(rng, rng_at(own, step, (uint64_t)layer, (uint64_t)token));
}

/* Floyd's sampling: expert j or a smaller one, whichever is still free. */
void explore_random_experts(int32_t *idx, struct rng *rng, int E, int K)
{
    int n = 0;
    for (int j = E - K; j < E; j++, n++) {
        int32_t pick = (int32_t)rng_below(rng, (uint64_t)j + 1);
        for (int m = 0; m < n; m++)
            if (idx[m] == pick) {
                pick = j;
                break;
            }
        int at = n;
        for (; at > 0 && idx[at - 1] > pick; at--)
            idx[at] = idx[at - 1];
        idx[at] = pick;
    }
}

/* Box and Muller's pair, both halves used. */
void explore_noise(float *c, struct rng *rng, int E, float std)
{
    for (int i = 0; i < E; i += 2) {
        float u = (float)(1 - rng_uniform(rng)), v = (float)rng_uniform(rng);
        float radius = std * sqrtf(-2 * logf(u)), angle = 6.28318531f * v;
        c[i] += radius * cosf(angle);
        if (i + 1 < E)
            c[i + 1] += radius * sinf(angle);
    }
}
