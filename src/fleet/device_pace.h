/* An expert slowed and metered like the device that it stands for.
 *
 * The device's curves (io/curves.h) say what an answer takes there: t0 + prefill·prompt tokens + decode·output tokens, in seconds
 * and in joules. An answer is held back until that time has passed on this machine's clock (times `pace`: 0.1 runs ten times
 * faster than the device, 0 holds nothing back); what this machine could not do in that time is told, not hidden. Joules are the curve's,
 * called by the curve's source (published, estimated, measured), never a measurement of this machine.
 */
#ifndef MOE2_FLEET_DEVICE_PACE_H
#define MOE2_FLEET_DEVICE_PACE_H

#include <stdbool.h>
#include <stdint.h>

#include "io/curves.h"

struct device_pace {
    char device[64]; /* "agx-orin"; empty: this machine */
    bool has_latency, has_energy;
    struct curve_fit latency_s, energy_j; /* in s and J */
    enum curve_source latency_source, energy_source;
    double pace;
};

/* The curves of an expert from latency.json and energy.json, either path NULL or "": none of that kind. Errors: those of curves_read;
 * MOE2_ECONFIG when a file lacks the expert. */
int device_pace_read(struct device_pace *p, const char *latency_path, const char *energy_path,
                     const char *expert, double pace, struct err *err);

/* What the device takes for so many tokens; 0 without a curve. */
double device_pace_s(const struct device_pace *p, int64_t prompt_tokens, int64_t output_tokens);
double device_pace_j(const struct device_pace *p, int64_t prompt_tokens, int64_t output_tokens);

/* Sleeps until `pace` times that many seconds have gone since begun_s (clock_s), or *stop. Returns the seconds slept. */
double device_pace_hold(const struct device_pace *p, double begun_s, double device_s,
                        const volatile int *stop);

#endif
