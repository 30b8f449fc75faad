/* Learning rates: see schedule.h. */
#include "train/schedule.h"

#include <assert.h>
#include <inttypes.h>
#include <math.h>

int schedule_check(const struct schedule *s, struct err *err)
{
    if (s->steps < 1)
        return err_set(err, MOE2_ECONFIG, "the schedule has %" PRId64 " steps, wanted at least 1",
                       s->steps);
    if (!(s->lr >= 0) || !(s->min_lr >= 0) || s->min_lr > s->lr)
        return err_set(err, MOE2_ECONFIG,
                       "train.lr is %g and train.min_lr %g, wanted 0 ≤ min_lr ≤ lr", s->lr,
                       s->min_lr);
    int64_t decay = s->kind == SCHEDULE_WSD ? s->decay_steps : 0;
    if (s->warmup < 0 || decay < 0 || s->warmup > s->steps - decay)
        return err_set(err, MOE2_ECONFIG,
                       "a warm-up of %" PRId64 " and a decay of %" PRId64
                       " steps don't fit into %" PRId64 " steps",
                       s->warmup, decay, s->steps);
    return 0;
}

double schedule_lr(const struct schedule *s, int64_t step)
{
    assert(step >= 1 && step <= s->steps);
    if (step <= s->warmup)
        return s->lr * (double)step / (double)s->warmup;
    if (s->kind == SCHEDULE_COSINE) {
        double done = (double)(step - s->warmup) / (double)(s->steps - s->warmup);
        return s->min_lr + (s->lr - s->min_lr) * (1 + cos(3.14159265358979323846 * done)) / 2;
    }
    int64_t left = s->steps - step; /* 0 at the last step */
    if (left >= s->decay_steps)
        return s->lr;
    double done = (double)(s->decay_steps - left) / (double)s->decay_steps;
    return s->lr + (s->min_lr - s->lr) * done;
}
