/* The plan of a comparison: which routers, which runs. For compare*.c only.
 *
 * A router is a configuration and the settings that were added to it (by tuning); a job is one run: a router or a variant of it under one seed,
 * with the words of its command. compare.json is written from the plan whenever it has changed.
 */
#ifndef MOE2_PIPELINE_COMPARE_PLAN_H
#define MOE2_PIPELINE_COMPARE_PLAN_H

#include <jansson.h>

#include "eval/ngram_reference.h"
#include "pipeline/compare.h"
#include "pipeline/run_config.h"

enum {
    COMPARE_MAX_SETTINGS = 64,
    COMPARE_MAX_VARIANTS = 12,
    COMPARE_MAX_VALUES = 8,
    COMPARE_SWEPT = 6
};

/* Texts "key=value", owned. */
struct settings {
    char *list[COMPARE_MAX_SETTINGS];
    int n;
};

int settings_add(struct settings *s, struct err *err, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
int settings_join(struct settings *s, const struct settings *more, struct err *err);
void settings_release(struct settings *s);

struct compare_job {
    const char *config;       /* borrowed from the router */
    char *name, *group;       /* DIR/GROUP/NAME is its results folder */
    struct settings settings; /* all of its --set words but the common ones */
    int64_t seed;
    bool judged;   /* train_eval, else train */
    bool was_done; /* before this call */
};

struct trial {
    struct settings settings;
    int job; /* index in plan->jobs */
    double loss;
};

struct compare_router {
    char *path, *label;
    struct run_config rc;     /* resolved, under the first seed */
    struct settings settings; /* chosen by tuning */
    struct trial *trials;
    int n_trials, best;
    int jobs[COMPARE_MAX_SEEDS]; /* by seed */
};

struct variant {
    const char *label, *name;
    struct settings settings;
    int jobs[COMPARE_MAX_SEEDS];
};

struct sweep {
    const char *key;
    double initial, values[COMPARE_MAX_VALUES];
    int n, jobs[COMPARE_MAX_VALUES];
};

struct compare_plan {
    const struct compare_options *o;
    int64_t seeds[COMPARE_MAX_SEEDS], tune_seed;
    int n_seeds;
    struct compare_router *routers;
    int n_routers, ablated; /* ablated −1: there is no rd_esi */
    struct compare_job *jobs;
    int n_jobs, capacity;
    struct variant variants[COMPARE_MAX_VARIANTS];
    int n_variants;
    struct sweep sweeps[COMPARE_SWEPT];
    int n_sweeps;
    json_t *references; /* a list of lines as compare.json has them; NULL: none */
};

/* Reads and checks the configurations. */
int plan_open(struct compare_plan *plan, const struct compare_options *o, struct err *err);
void plan_release(struct compare_plan *plan);

/* Adds a run; its index goes to *out. */
int plan_add_job(int *out, struct compare_plan *plan, const struct compare_router *router,
                 const char *group, const char *name, int64_t seed, const struct settings *more,
                 bool judged, struct err *err);

/* Adds the tuning runs, reads what they found, adds the runs of the comparison, of the ablation and of the sweep. */
int plan_add_tuning(struct compare_plan *plan, struct err *err);
int plan_end_tuning(struct compare_plan *plan, struct err *err);
int plan_add_runs(struct compare_plan *plan, struct err *err);
int plan_add_ablation(struct compare_plan *plan, struct err *err);
int plan_add_sweep(struct compare_plan *plan, struct err *err);
extern const char PLAN_TUNING_METHOD[];

/* Writes DIR/compare.json. */
int plan_write(const struct compare_plan *plan, struct err *err);

/* Gives the keys of a configuration that were not said their starting values, some of which hang on the model's shape. Errors: as
 * model_config_read and run_config_resolve. */
int plan_resolve(struct run_config *rc, struct err *err);

/* A job's settings, those of all jobs first; the caller's to release. MOE2_ELIMIT. */
int plan_settings(struct settings *out, const struct compare_plan *plan,
                  const struct compare_job *job, struct err *err);

/* A job's command: "moe2 train_eval --config FILE --set SETTINGS --no-report". argv is NULL-ended and borrows from the plan and from settings,
 * which are the caller's to release. */
struct plan_command {
    struct settings settings;
    const char *argv[COMPARE_MAX_SETTINGS + 7];
};

int plan_command(struct plan_command *out, const struct compare_plan *plan,
                 const struct compare_job *job, struct err *err);

/* DIR/GROUP/NAME, the caller's; NULL without memory. */
char *plan_folder(const struct compare_plan *plan, const struct compare_job *job);

/* Runs the jobs [first, n_jobs) that are not done, o->jobs at a time. MOE2_ESTOP when stopped; a failure is said and counted in
 * *n_failed, the first one's reason goes to why. */
int plan_run_jobs(struct compare_plan *plan, int first, int *n_failed, struct buf *why,
                  struct err *err);

/* The plain yardsticks on the test text; what can't be had is said to the log and left out. */
void plan_find_references(struct compare_plan *plan);

#endif
