/* Measuring models on this machine: OUT/profile/NAME.json a model, and OUT/profile/measurements.csv of them all, which is what
 * profile_import reads.
 *
 * Format of NAME.json: {"settings": "hash", "machine": "…", "meter": "…", "date": "2026-11-26", "left_out": ["…"],
 *     "answers": [{"prompt_tokens": 32, "output_tokens": 1, "latency_s": 0.1, "energy_j": 3.2 or null}]}
 * A model whose file was made with the same settings is not measured again, so that a run that was stopped goes on with the next one.
 */
#ifndef MOE2_PIPELINE_PROFILE_MODELS_H
#define MOE2_PIPELINE_PROFILE_MODELS_H

#include "kernels/device.h"
#include "pipeline/profile_timing.h"

enum { PROFILE_MAX_NAME = 100, PROFILE_MACHINE_TEXT = 128, PROFILE_MAX_WATTS = 100000 };

struct profile_model {
    const char *name, *path;
};

struct profile_models {
    const struct profile_model *models; /* borrowed */
    int n_models;
    const char *out_dir;
    struct profile_lengths_plan plan; /* in any order: checked and sorted here */
    const char *meter;                /* as meter_open; NULL: auto */
    const char *sysfs;                /* NULL: /sys */
    double watts;                     /* where there is no meter, an estimate; 0: none */
    const char *machine;              /* NULL: as the machine calls itself */
    struct device_choice device;
    int threads; /* 0: every core */
    const struct log_sink *sink;
    const volatile int *stop;
};

/* 32,128,512,1024,2048,4096 by 1,32,128, three times, an answer within a minute. */
struct profile_lengths_plan profile_plan_default(void);

/* Measures what is not there yet and writes the CSV. notes: lines for people. Errors: MOE2_ECONFIG for names, lengths and numbers out of
 * range; those of the device, the meter, of opening and running a model; MOE2_ESTOP, with all whole models kept. */
int profile_models(const struct profile_models *p, struct buf *notes, struct err *err);

/* OUT/profile/measurements.csv, the caller's; NULL without memory. */
char *profile_models_csv(const char *out_dir);

#endif
