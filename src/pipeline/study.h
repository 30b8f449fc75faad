/* The study: who answers best within a budget, on recorded answers of real models. Behind moe2 study and the pipeline's step "report".
 *
 *     struct study_options o = study_default();
 *     o.files = …; o.devices = "../shared/data/devices"; o.out_dir = "results";
 *     struct study_summary sum;
 *     study_run(&sum, &o, err);
 *
 * Writes OUT/smo_tables/table2_latency, table3_energy, table4_both (.md, .csv, .json), OUT/accuracy/study.md,
 * OUT/smo_tables/frontier.{md,csv,json}, OUT/latency, OUT/energy, OUT/figures, OUT/verification.md and OUT/report.html. Fleets: the lists of configs/fleet/study.yaml, all models
 * whose size is known, and all.
 */
#ifndef MOE2_PIPELINE_STUDY_H
#define MOE2_PIPELINE_STUDY_H

#include "kernels/device.h"
#include "pipeline/study_data.h"

struct study_options {
    struct study_files files;
    const char *embedder; /* what made the embeddings, for the text; NULL: not said */
    const char *note;     /* to be shown with everything ("synthetic …"); NULL: none */
    const char *devices;  /* published tables, or measurements: profile_import.h */
    const char *models, *fleet, *fleets; /* mmlu_pro_models.csv, demo.yaml, study.yaml */
    const char *gates;                   /* kinds with commas */
    struct device_choice device;         /* that gates are trained on */
    int64_t output_tokens;               /* of the tables (32) */
    int64_t seed;
    double time_limit_s; /* of each search beyond 20 experts */
    bool quick;          /* the first fleet and the tables only */
    const char *out_dir, *gnuplot;
    const char *verification; /* another place for verification.md; NULL: in out_dir */
    const volatile int *stop;
};

struct study_options study_default(void);

struct study_summary {
    char sentence[1000]; /* who wins, and by how much */
    double accuracy,
        single; /* on test, of the first fleet: the plan chosen on train, the best single model */
    double seconds;
};

/* Errors: those of the files and steps; MOE2_ECONFIG for a list that names no model of the outcomes; MOE2_ESTOP. */
int study_run(struct study_summary *out, const struct study_options *o, struct err *err);

#endif
