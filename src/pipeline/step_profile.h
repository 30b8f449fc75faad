/* The step "profile": what an answer of each expert costs on its device. Behind moe2 profile.
 *
 *     struct profile_step step = {.import = "devices", .fleet = "configs/fleet/demo.yaml", .out_dir = "results"};
 *     struct profile_set set = {0};
 *     profile_run(&set, &step, err);          OUT/latency/latency.json, OUT/energy/energy.json, OUT/figures/figure4_latency.svg, …
 *     profile_set_release(&set);
 */
#ifndef MOE2_PIPELINE_STEP_PROFILE_H
#define MOE2_PIPELINE_STEP_PROFILE_H

#include "base/log.h"
#include "base/table.h"
#include "pipeline/profile_import.h"
#include "pipeline/profile_models.h"

/* The published curve that models without one are scaled from. */
#define PROFILE_BASE_CURVE "Qwen2.5-7B-Instruct/AWQ@agx-orin"

struct profile_step {
    const char *import; /* a folder of published tables, or a CSV of measurements … */
    const struct profile_models *measured; /* … or, with import NULL, models to be measured here */
    const char *fleet;     /* YAML (fleet_config.h): curves for its experts; NULL: none */
    const char *models;    /* CSV of models and sizes: scaled curves; NULL: none */
    const char *curve;     /* the one that is scaled; NULL: PROFILE_BASE_CURVE */
    double curve_params_b; /* its size in 10⁹; 0: the published table's */
    const char *chars; /* CSV of characters generated, to OUT/accuracy/lengths.csv; NULL: none */
    const char *out_dir;
    const char *gnuplot; /* NULL: "gnuplot" */
    const struct log_sink *sink;
};

/* Runs the step: imports or measures (profile_models, whose CSV is then imported), fits, writes and draws. With neither fleet nor models, the imported curves themselves are what is written. set: the curves that were written, and
 * notes. Errors: those of importing; MOE2_ECONFIG for a curve that a fleet names and the source lacks. Files are replaced as wholes. */
int profile_run(struct profile_set *set, const struct profile_step *step, struct err *err);

/* The curves without writing anything: what profile_run writes. */
int profile_curves(struct profile_set *set, const struct profile_step *step, struct err *err);

/* A table of the curves: fits, residuals, and an answer's cost at given lengths. The caller's. */
int profile_table(struct table **out, const struct profile_set *set, double prompt_tokens,
                  double output_tokens, struct err *err);

/* ⌈characters / 4⌉ tokens for every cell of a CSV of characters whose first column is question_id (category and answer are dropped):
 * the same rows and experts as lengths.csv. Empty cells stay empty. */
int profile_lengths(const char *out_path, const char *chars_path, const struct log_sink *sink,
                    struct err *err);

#endif
