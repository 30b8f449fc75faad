/* How long a model takes here, and how many joules, over lengths of prompt and answer.
 *
 * An answer is timed once for all its lengths: a prompt of P ids by chance is read, then the likeliest id follows each time. The clock is
 * read when O ids are there: reading the prompt gives the first, so O tokens are P read and O − 1 steps. Where what is metered is
 * shorter than the meter is sharp, the same answer is given again and again until it is long enough, and a share of those joules is taken.
 */
#ifndef MOE2_PIPELINE_PROFILE_TIMING_H
#define MOE2_PIPELINE_PROFILE_TIMING_H

#include "base/buf.h"
#include "base/log.h"
#include "model/session.h"
#include "pipeline/meters.h"

enum { PROFILE_MAX_LENGTHS = 32, PROFILE_MAX_TOKENS = 1 << 20, PROFILE_MAX_REPEAT = 100 };

struct profile_lengths_plan {
    int64_t prompts[PROFILE_MAX_LENGTHS], outputs[PROFILE_MAX_LENGTHS]; /* rising */
    int n_prompts, n_outputs;
    int64_t repeat;
    double most_s; /* the longest that an answer may take */
};

struct profile_timing {
    struct profile_lengths_plan plan;
    struct meter *meter;
    const struct log_sink *sink;
    const volatile int *stop; /* NULL: never */
};

struct profile_answer {
    int64_t prompt_tokens, output_tokens;
    double seconds, joules; /* NaN: not metered */
};

struct profile_answers {
    struct profile_answer *list; /* owned */
    int64_t n;
    struct buf left_out; /* a line for each length that was not measured, and why */
};
void profile_answers_release(struct profile_answers *a); /* a zeroed one is fine */

/* Times an open session, which needs room for the longest prompt with the longest answer, into a zeroed *out. Lengths beyond the model's
 * window or slower than most_s are left out. Errors: those of session_forward and of the meter; MOE2_ENUMERIC for logits that are no
 * numbers; MOE2_ECONFIG when nothing could be measured; MOE2_ESTOP. */
int profile_time(struct profile_answers *out, struct session *s, const struct profile_timing *t,
                 struct err *err);

#endif
