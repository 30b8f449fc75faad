/* The steps of the two-level build, as rows for the step runner (steps.h): gating_set, corpus, embed, cluster, experts,
 * quantize, outcomes, gate, profile, live, select, report.
 *
 *     struct pipeline p;
 *     pipeline_open(&p, &config, sink, stop, err);
 *     struct steps_options o = {.steps = pipeline_steps(&n, &p), .ctx = &p, …};
 *     pipeline_close(&p);
 *
 * Each row calls the same function as the command of its name. docs/building.md lists what each reads and makes.
 */
#ifndef MOE2_PIPELINE_PIPELINE_STEPS_H
#define MOE2_PIPELINE_PIPELINE_STEPS_H

#include "pipeline/fleet_config.h"
#include "pipeline/pipeline_config.h"
#include "pipeline/qa_files.h"
#include "pipeline/steps.h"

struct pipeline {
    const struct pipeline_config *config; /* borrowed */
    struct arena arena;                   /* owns the paths below */
    const char *
        note; /* what must be said of everything made: that it is synthetic, or whose answers stand for the experts' */
    bool synthetic;
    bool trains; /* experts of our own are trained and asked */
    const char
        *program; /* moe2 itself, for processes; set by the caller where experts are trained */
    struct qa_paths sets[QA_N_SOURCES];
    enum qa_source gating;
    const char *answers, *predictions, *chars; /* NULL: none */
    const char *import;                        /* NULL: synthetic curves */
    struct fleet_config fleet;                 /* empty: synthetic */
    struct step steps[STEPS_MAX];
    struct yaml_texts columns; /* the experts, as the outcomes call them */
    const struct log_sink *sink;
    const volatile int *stop;
};

/* Finds the data, or makes synthetic data where the configuration says so. Errors: MOE2_EIO where data is not there and may not be
 * made; those of the fleet's file. */
int pipeline_open(struct pipeline *p, const struct pipeline_config *config,
                  const struct log_sink *sink, const volatile int *stop, struct err *err);
void pipeline_close(struct pipeline *p); /* a zeroed one is fine */

/* The steps, the pipeline's own; it is their ctx. */
const struct step *pipeline_steps(int *n, struct pipeline *p);

/* ---- between the files of the steps ---- */

/* "OUT/name" in the arena; NULL and MOE2_ELIMIT. */
const char *pipeline_path(struct pipeline *p, const char *name, struct err *err);

/* A NULL-ended list of names, none included. */
#define STEP_NAMES(...) ((const char *const[]){NULL, ##__VA_ARGS__, NULL} + 1)

/* Declares NULL-ended lists of names under OUT, and the keys that begin with the prefixes. */
int pipeline_needs(struct step_needs *needs, struct pipeline *p, const char *const *inputs,
                   const char *const *outputs, const char *const *keys, struct err *err);

/* Makes a step depend on the experts' names and their order. */
int pipeline_needs_experts(struct step_needs *needs, const struct yaml_texts *names,
                           struct err *err);

/* What a prompt's vector is made by: the counted features, or the encoder's folder. */
const char *pipeline_features(struct pipeline *p, struct err *err);

/* pipeline_steps_experts.c */
int declare_experts(struct step_needs *needs, void *ctx, struct err *err);
int run_experts(struct buf *said, void *ctx, struct err *err);
int declare_quantize(struct step_needs *needs, void *ctx, struct err *err);
int run_quantize(struct buf *said, void *ctx, struct err *err);

/* "OUT/experts/NAME", or "…-Q4", of expert i in the arena; NULL and MOE2_ELIMIT. */
const char *pipeline_expert(struct pipeline *p, int64_t i, bool quantized, struct err *err);

/* Asks the experts in 4 bits the questions of a file; DIR gets outcomes.csv, predictions.csv and lengths.csv. */
int pipeline_ask(struct pipeline *p, const char *questions, const char *dir, struct err *err);

/* The same of the bases, each once, untrained. */
int pipeline_ask_bases(struct pipeline *p, const char *questions, const char *dir, struct err *err);

/* pipeline_steps_fleet.c */
int declare_outcomes(struct step_needs *needs, void *ctx, struct err *err);
int run_outcomes(struct buf *said, void *ctx, struct err *err);
int declare_gate(struct step_needs *needs, void *ctx, struct err *err);
int run_gate(struct buf *said, void *ctx, struct err *err);
int declare_profile(struct step_needs *needs, void *ctx, struct err *err);
int run_profile(struct buf *said, void *ctx, struct err *err);

/* pipeline_steps_live.c */
int declare_live(struct step_needs *needs, void *ctx, struct err *err);
int run_live(struct buf *said, void *ctx, struct err *err);

/* Whether the experts are asked as a running fleet too, and tables made of that. */
bool pipeline_has_live(const struct pipeline *p);

/* pipeline_steps_select.c */
int declare_select(struct step_needs *needs, void *ctx, struct err *err);
int run_select(struct buf *said, void *ctx, struct err *err);

/* Tables II to IV as the configuration asks for them, written to results/smo_tables; r is the caller's, to be released. */
struct smo_report;
int pipeline_tables(struct smo_report *r, struct pipeline *p, struct err *err);

/* The same, tried on what the step live asked instead of all of gating_test: live_table2_latency and so on. */
int pipeline_live_tables(struct smo_report *r, struct pipeline *p, struct err *err);

/* pipeline_steps_report.c */
int declare_report(struct step_needs *needs, void *ctx, struct err *err);
int run_report(struct buf *said, void *ctx, struct err *err);

#endif
