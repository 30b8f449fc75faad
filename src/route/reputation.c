/* Reputation: what an expert's work has been worth lately.
 *
 *     R_i <- α·perf_i + (1 − α)·R_i        experts with min_tokens tokens in the step; the first
 *                                          time R_i = perf_i
 *     R_i <- mean(R) + decay_rate·(R_i − mean(R))     then everyone's (time) or the idle ones'
 *                                                     (inactivity) good or bad name fades
 *
 * An expert that has never been seen has no reputation: it takes no part in mean and spread, and
 * its z-score is 0, neither praise nor blame.
 */
#include "route/rd_esi.h"

#include <math.h>

void reputation_update(float *R, float *seen, const struct incentive_config *config, int n_experts,
                       const struct route_feedback *feedback)
{
    if (!feedback->performance)
        return;
    const int64_t *performed = feedback->performed ? feedback->performed : feedback->items;
    int64_t wanted = config->min_tokens > 1 ? config->min_tokens : 1;
    for (int i = 0; i < n_experts; i++) {
        float perf = feedback->performance[i];
        if (performed[i] < wanted || !isfinite(perf))
            continue;
        R[i] = seen[i] != 0 ? config->alpha * perf + (1 - config->alpha) * R[i] : perf;
        seen[i] = 1;
    }
}

/* Mean over the seen ones; returns how many there are. */
static int seen_mean(double *mean, const float *R, const float *seen, int n_experts)
{
    double sum = 0;
    int n = 0;
    for (int i = 0; i < n_experts; i++)
        if (seen[i] != 0) {
            sum += R[i];
            n++;
        }
    *mean = n ? sum / n : 0;
    return n;
}

void reputation_decay(float *R, const float *seen, const float *last_used, float t,
                      const struct incentive_config *config, int n_experts, double elapsed)
{
    double mean, rate = pow(config->decay_rate, elapsed);
    seen_mean(&mean, R, seen, n_experts);
    for (int i = 0; i < n_experts; i++) {
        bool idle = t - last_used[i] >= (float)config->decay_after;
        if (seen[i] != 0 && (config->decay == DECAY_TIME || idle))
            R[i] = (float)(mean + rate * (R[i] - mean));
    }
}

void reputation_z(float *z, const float *R, const float *seen, int n_experts)
{
    double mean, square = 0;
    int n = seen_mean(&mean, R, seen, n_experts);
    for (int i = 0; i < n_experts; i++)
        square += seen[i] != 0 ? (R[i] - mean) * (R[i] - mean) : 0;
    double spread = n ? sqrt(square / n) : 0;
    for (int i = 0; i < n_experts; i++) {
        double score = seen[i] != 0 && spread > 0 ? (R[i] - mean) / spread : 0;
        z[i] = (float)(score > 2 ? 2 : score < -2 ? -2 : score);
    }
}
