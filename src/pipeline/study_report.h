/* Inside the study: everything that was found, and the writing of it. */
#ifndef MOE2_PIPELINE_STUDY_REPORT_H
#define MOE2_PIPELINE_STUDY_REPORT_H

#include "io/yaml.h"
#include "pipeline/study_parts.h"

struct study {
    struct study_data data;
    struct profile_set costs, testbed_costs;
    struct yaml_config *yaml;
    struct study_result *results[STUDY_MAX_FLEETS]; /* owned */
    int n_results;
    struct study_gates gates; /* of the fleet that holds all others */
    struct study_fleet testbed;
    struct study_fitted testbed_fitted;
    struct study_cell table2[3], table3[10], table4[30];
};

/* Tables, figures, verification.md and report.html; fills the summary's sentence. */
int study_write(struct study_summary *out, const struct study *s, const struct study_options *o,
                struct err *err);

/* verification.md: each published claim, its value or "not available", ours, the verdict. */
int study_verify(const struct study *s, const char *path, const char *head, struct err *err);

#endif
