/* Learning rates over the steps of a run: warm-up, then cosine or warm-up-stable-decay.
 *
 *     steps count from 1; w = warmup, n = steps, d = decay_steps
 *     s ≤ w             lr · s/w
 *     cosine  s > w     min_lr + (lr − min_lr) · (1 + cos(π·(s − w)/(n − w)))/2
 *     wsd     s ≤ n−d   lr
 *     wsd     s > n−d   lr + (min_lr − lr) · (s − (n − d))/d
 *
 * The last step of either ends at min_lr exactly. Cosine: Loshchilov & Hutter, arXiv 1608.03983;
 * warm-up-stable-decay: Hu et al., MiniCPM, arXiv 2404.06395, with a linear fall.
 */
#ifndef MOE2_TRAIN_SCHEDULE_H
#define MOE2_TRAIN_SCHEDULE_H

#include <stdint.h>

#include "base/err.h"

enum schedule_kind { SCHEDULE_COSINE, SCHEDULE_WSD };

struct schedule {
    enum schedule_kind kind;
    double lr, min_lr;
    int64_t steps, warmup;
    int64_t decay_steps; /* wsd only */
};

/* MOE2_ECONFIG when warm-up (and decay) don't fit into the steps, or a rate is negative or min_lr
 * above lr. */
int schedule_check(const struct schedule *s, struct err *err);

/* The rate of a step, 1 ≤ step ≤ steps, of a schedule that passed the check. */
double schedule_lr(const struct schedule *s, int64_t step);

#endif
