/* moe2 compare: the same model trained under several routers, on the same data in the same order and from the same weights per seed.
 *
 *     struct compare_options o = {.configs = files, .n_configs = 9, .n_seeds = 5, .dir = "results/cmp", .program = "/usr/bin/moe2", …};
 *     compare_run(&table, &o, err);
 *
 * DIR/compare.json        the plan, which report/comparison reads: routers, settings, seeds, run folders, commands
 * DIR/runs/ROUTER-sSEED   results folders; tune/, ablate/ and sweep/ likewise
 * DIR/logs/NAME.txt       what each run said
 * DIR/compare.pid         the process at work; locked by it and by the runs it started
 * DIR/report.html …       the report
 *
 * Every run is a process of its own ("moe2 train_eval --config … --set …"), so that its memory is its own and the commands in the report are
 * the ones that ran. A run that is finished with the same resolved configuration is not repeated, one that was killed goes on. A run that fails
 * is said and left out; the others go on.
 */
#ifndef MOE2_PIPELINE_COMPARE_H
#define MOE2_PIPELINE_COMPARE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/log.h"

enum { COMPARE_MAX_CONFIGS = 40, COMPARE_MAX_JOBS = 64, COMPARE_MAX_SEEDS = 64 };

struct compare_options {
    const char *const *
        configs; /* files, and folders that stand for the .yaml files in them; n_configs 0: the folder "configs" */
    int n_configs;
    const char *const *overrides; /* "key=value" for every configuration */
    int n_overrides;
    const char *dir;
    int64_t n_seeds;   /* 1 … COMPARE_MAX_SEEDS; the first is the first configuration's seed */
    int64_t tokens;    /* train.tokens of every run; 0: as the configurations say */
    int64_t tune_runs; /* tuning runs of every router that has coefficients; 0: none */
    bool ablate, sweep;
    int jobs; /* runs at once, 1 … COMPARE_MAX_JOBS; above 1 each gets its share of the cores */
    const char *program; /* moe2 itself */
    const char *command; /* as typed, for the report; NULL: none */
    const char *gnuplot; /* NULL: "gnuplot" */
    const struct log_sink *log;
    const volatile int *stop; /* NULL: never */
};

/* Does all that is not done yet, then writes the report; the table and the finding are appended to table unless that is NULL. Errors: MOE2_ECONFIG
 * (a configuration is off, or two differ in more than their routers: the key is named), MOE2_EIO, MOE2_ESTOP (the runs have saved; the same
 * call goes on), and MOE2_EIO at the end when runs failed: the report is written all the same. */
int compare_run(struct buf *table, const struct compare_options *options, struct err *err);

/* Reads and checks the configurations alone: what compare_run would refuse at once. */
int compare_check(const struct compare_options *options, struct err *err);

/* Appends how far a comparison is: process, runs finished, runs begun with their steps. Errors: as comparison_read. */
int compare_status(struct buf *out, const char *dir, struct err *err);

#endif
