/* Inside the study: everything that was found, and the writing of it. */
#ifndef MOE2_PIPELINE_STUDY_REPORT_H
#define MOE2_PIPELINE_STUDY_REPORT_H

#include "io/yaml.h"
#include "pipeline/study_parts.h"

/* Tables II, III and IV: limits of latency, of energy, and of both. */
enum {
    STUDY_N_LATENCIES = 3,
    STUDY_N_ENERGIES = 10,
    STUDY_N_BOTH = STUDY_N_LATENCIES * STUDY_N_ENERGIES
};

struct study {
    struct study_data data;
    struct profile_set costs, testbed_costs;
    struct yaml_config *yaml;
    struct study_result *results[STUDY_MAX_FLEETS]; /* owned */
    int n_results;
    struct study_gates gates; /* of the fleet that holds all others */
    struct study_fleet testbed;
    struct study_fitted testbed_fitted;
    struct study_cell table2[STUDY_N_LATENCIES], table3[STUDY_N_ENERGIES], table4[STUDY_N_BOTH];
};

/* Tables, figures, verification.md and report.html; fills the summary's sentence. */
int study_write(struct study_summary *out, const struct study *s, const struct study_options *o,
                struct err *err);

/* verification.md: each published claim, its value or "not available", ours, the verdict. */
int study_verify(const struct study *s, const char *path, const char *head, struct err *err);

#endif
