/* A comparison as numbers: its plan (DIR/compare.json, written by pipeline/compare) and the runs it names.
 *
 * The plan is one JSON object; run folders are relative to DIR:
 *   {"format": "moe2-comparison", "version": 1, "command": "moe2 compare …", "baseline": "none", "seeds": [1, 2, …],
 *    "routers": [{"label", "config", "settings": ["router.beta=0.01", …], "runs": [a folder a seed]}],
 *    "tuning": {"runs", "method", "seed", "routers": [{"label", "best", "trials": [{"settings": […], "run", "loss"}]}]},
 *    "ablation": {"of": label, "seeds": […], "variants": [{"label", "settings": […], "runs": [a folder a seed]}]},
 *    "sweep": {"of": label, "seed", "parameters": [{"key", "default", "values": […], "runs": […]}]},
 *    "references": [{"label", "bits_per_byte", "note"}], "data": [{"source", "version", "documents", "bytes"}], "commands": […],
 *    "machine": {…}}
 * All but format, version, seeds and routers may be missing.
 *
 * Runs that aren't there yet are missing, runs that can't be read are missing and named in `broken`. Every statistic is over the seeds that
 * are there; differences are paired by seed.
 */
#ifndef MOE2_REPORT_COMPARISON_H
#define MOE2_REPORT_COMPARISON_H

#include <stdbool.h>

#include "base/buf.h"
#include "base/log.h"
#include "base/table.h"
#include "report/figures.h"
#include "report/run_measures.h"

enum { COMPARISON_MAX_ROUTERS = FIGURES_MAX_GROUPS, COMPARISON_MAX_SEEDS = FIGURES_MAX_RUNS };

/* A router, or a variant of one: the same thing over some seeds. */
struct comparison_entry {
    const char *label;               /* borrowed from the plan */
    struct run_metrics *runs;        /* [n_runs]; empty where missing */
    const struct run_metrics **have; /* [n_runs]; NULL where missing */
    int n_runs, n_finished;
    struct stats_interval value[MEASURE_N];
    struct stats_interval loss_difference,
        vio_difference;                    /* of test loss and MaxVio, to the baseline, paired */
    struct stats_interval step_difference; /* of the median step, ms, paired */
    double values[MEASURE_N][COMPARISON_MAX_SEEDS]; /* NaN where missing */
};

struct comparison_sweep {
    const char *key;
    double initial; /* NaN: not said */
    int n;
    double *values;                /* [n] */
    struct comparison_entry entry; /* its runs are the values' runs */
};

struct comparison {
    char *dir;
    json_t *plan;
    int n_seeds;
    int64_t seeds[COMPARISON_MAX_SEEDS];
    int n_routers, baseline; /* baseline −1: there is none */
    struct comparison_entry *routers;
    int n_variants; /* of the ablation; judged against the router that they are variants of, over their seeds */
    struct comparison_entry *variants,
        ablated; /* ablated: that router over those seeds; borrows its runs */
    int n_sweeps;
    struct comparison_sweep *sweeps;
    struct buf broken; /* a line for each run that could not be read; bytes NULL: none */
};

/* Errors: MOE2_EIO, MOE2_EFORMAT for a compare.json that is not as above. Says to the sink what can't be read. */
int comparison_read(struct comparison *out, const char *dir, const struct log_sink *sink,
                    struct err *err);
void comparison_release(struct comparison *c); /* a zeroed one is fine */

/* Whether an interval tells a difference: it has two pairs at least and does not hold 0. */
bool comparison_differs(const struct stats_interval *difference);

/* Appends the finding as plain sentences: which routers differ from the baseline, and what that says about RD-ESI. */
int comparison_finding(struct buf *out, const struct comparison *c, struct err *err);

/* The three tables (quality, balance, cost), the caller's; which is 0, 1 or 2. */
enum { COMPARISON_N_TABLES = 3 };
int comparison_table(struct table **out, const struct comparison *c, int which, struct err *err);
extern const char *const COMPARISON_TABLE_NOTES[COMPARISON_N_TABLES];

/* The ablation and the sweep as tables; no rows when there are none. */
int comparison_ablation_table(struct table **out, const struct comparison *c, struct err *err);
int comparison_sweep_table(struct table **out, const struct comparison *c, struct err *err);

/* comparison.json: every number behind the tables. */
int comparison_json(struct buf *out, const struct comparison *c, struct err *err);

#endif
