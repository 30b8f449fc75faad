/* The step "live": the build's experts as a running fleet on this machine, asked some of the test questions. Behind moe2 pipeline.
 *
 *     struct live_step step = {.program = moe2, .experts = names, .models = folders, .n = 8, .questions = "gating_test.jsonl", …};
 *     struct live_report report;
 *     live_run(&report, &step, err);
 *
 * OUT/fleet.yaml is a configuration of moe2 fleet up, which is started with it (OUT/fleet.txt is what it said) and ended again: every expert is
 * a process that is slowed and metered like the device of its curve. All are asked every question, side by side, as moe2 forward --live asks:
 * OUT gets outcomes.csv, predictions.csv, lengths.csv, runs.csv, answers.jsonl and forward.json. OUT/latency/latency.json and
 * OUT/energy/energy.json are fitted to runs.csv, questions.jsonl and scores.npy are the questions and the gate's scores of them.
 */
#ifndef MOE2_PIPELINE_STEP_LIVE_H
#define MOE2_PIPELINE_STEP_LIVE_H

#include "base/log.h"
#include "kernels/device.h"
#include "pipeline/answer_set.h"

#define LIVE_PREFIX "live_" /* of the tables made of it */
#define LIVE_NOTE                                                                                  \
    "live: simulated devices, slowed and metered: every expert was a process on this machine, "    \
    "held "                                                                                        \
    "back to the seconds of its device's curve and charged that curve's joules"

struct live_step {
    const char *program;                        /* moe2 itself */
    const char *const *experts, *const *models; /* [n] names and folders */
    int64_t n;
    const char *latency, *energy; /* curves by the experts' names */
    const char *gate, *features;  /* the build's, for whoever starts OUT/fleet.yaml again */
    int64_t k;                    /* asked a request there, and how combined */
    const char *combine;
    const char *questions, *scores; /* JSON lines and .npy [rows, n] of all test questions */
    int64_t n_questions;            /* asked, evenly out of all rows */
    enum answer_form form;
    struct device_choice device;
    const char *out_dir;
    const struct log_sink *sink;
    const volatile int *stop; /* not 0: MOE2_ESTOP, and the fleet is ended; or NULL */
};

struct live_report {
    int64_t n_questions;
    double accuracy; /* of a vote of all */
    double seconds;  /* from the first question to the last answer */
};

/* Errors: MOE2_EIO with the fleet's last words when it does not come up; those of asking; MOE2_EFORMAT when scores and questions differ in
 * number. The fleet has ended when it returns, and ends with this process. */
int live_run(struct live_report *report, const struct live_step *step, struct err *err);

#endif
