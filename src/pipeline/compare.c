/* moe2 compare: the order of things. See compare.h. */
#include "pipeline/compare.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "base/process.h"
#include "pipeline/compare_plan.h"
#include "report/comparison.h"
#include "report/report.h"

static const char PID_FILE[] = "compare.pid";

/* ---- the comparison ---- */

static int make_folders(const char *dir, struct err *err)
{
    char *logs = path_join(dir, "logs");
    int rc = logs ? dir_make(logs, err) : err_set(err, MOE2_ELIMIT, "no memory for a name");
    free(logs);
    return rc;
}

static int tune(struct compare_plan *plan, int *n_failed, struct buf *why, struct err *err)
{
    int rc = plan_add_tuning(plan, err);
    if (!rc)
        log_line(plan->o->log, LOG_INFO, "tuning: %d runs", plan->n_jobs);
    if (!rc)
        rc = plan_run_jobs(plan, 0, n_failed, why, err);
    return rc ? rc : plan_end_tuning(plan, err);
}

static int train(struct compare_plan *plan, int *n_failed, struct buf *why, struct err *err)
{
    int first = plan->n_jobs;
    int rc = plan_add_runs(plan, err);
    if (!rc && plan->o->ablate)
        rc = plan_add_ablation(plan, err);
    if (!rc && plan->o->sweep)
        rc = plan_add_sweep(plan, err);
    if (!rc)
        rc = plan_write(plan, err);
    if (!rc)
        log_line(plan->o->log, LOG_INFO, "%d routers, %d seeds: %d runs, to %s", plan->n_routers,
                 plan->n_seeds, plan->n_jobs - first, plan->o->dir);
    return rc ? rc : plan_run_jobs(plan, first, n_failed, why, err);
}

static int finish(struct buf *table, struct compare_plan *plan, int n_failed, const struct buf *why,
                  struct err *err)
{
    const struct report_options options = {plan->o->gnuplot, plan->o->log};
    plan_find_references(plan);
    int rc = plan_write(plan, err);
    if (!rc)
        rc = report_compare(table, plan->o->dir, &options, err);
    if (!rc && n_failed)
        rc = err_set(err, MOE2_EIO, "%d of %d runs failed; the first: %.300s", n_failed,
                     plan->n_jobs, why->bytes ? why->bytes : "?");
    return rc;
}

int compare_check(const struct compare_options *options, struct err *err)
{
    struct compare_plan *plan = calloc(1, sizeof *plan);
    int rc = plan ? plan_open(plan, options, err) : err_set(err, MOE2_ELIMIT, "no memory");
    if (plan)
        plan_release(plan);
    free(plan);
    return rc;
}

int compare_run(struct buf *table, const struct compare_options *options, struct err *err)
{
    struct compare_plan *plan = calloc(1, sizeof *plan);
    struct buf why = {0};
    int n_failed = 0, lock = -1;
    int rc = plan ? plan_open(plan, options, err) : err_set(err, MOE2_ELIMIT, "no memory");
    if (!rc)
        rc = make_folders(options->dir, err);
    if (!rc)
        rc = process_lock(&lock, options->dir, PID_FILE, err);
    if (!rc && options->tune_runs)
        rc = tune(plan, &n_failed, &why, err);
    if (!rc)
        rc = train(plan, &n_failed, &why, err);
    if (!rc)
        rc = finish(table, plan, n_failed, &why, err);
    if (lock >= 0)
        close(lock);
    if (plan)
        plan_release(plan);
    free(plan);
    buf_release(&why);
    return rc;
}

/* ---- how far it is ---- */

static int put_entry(struct buf *out, const struct comparison_entry *e, struct err *err)
{
    int rc = buf_printf(out, err, "  %-24s %d of %d finished", e->label, e->n_finished, e->n_runs);
    for (int r = 0; r < e->n_runs && !rc; r++) {
        const struct run_metrics *m = e->have[r];
        if (m && !m->finished && m->steps.n)
            rc = buf_printf(out, err, "; run %d at step %.0f", r + 1,
                            m->steps.column[RUN_STEP][m->steps.n - 1]);
    }
    return rc ? rc : buf_puts(out, "\n", err);
}

int compare_status(struct buf *out, const char *dir, struct err *err)
{
    struct comparison c = {0};
    long pid = process_at_work(dir, PID_FILE);
    char *plan = path_join(dir, "compare.json");
    bool begun = plan && file_exists(plan);
    free(plan);
    if (pid && !begun)
        return buf_printf(out, err, "%s: process %ld is tuning\n", dir, pid);
    int rc = comparison_read(&c, dir, NULL, err);
    if (rc)
        return rc;
    rc = pid ? buf_printf(out, err, "%s: process %ld is at work\n", dir, pid)
             : buf_printf(out, err, "%s: no process is at work\n", dir);
    for (int i = 0; i < c.n_routers && !rc; i++)
        rc = put_entry(out, &c.routers[i], err);
    for (int i = 0; i < c.n_variants && !rc; i++)
        rc = put_entry(out, &c.variants[i], err);
    for (int i = 0; i < c.n_sweeps && !rc; i++)
        rc = put_entry(out, &c.sweeps[i].entry, err);
    if (!rc)
        rc = comparison_finding(out, &c, err);
    if (!rc)
        rc = buf_puts(out, "\n", err);
    comparison_release(&c);
    return rc;
}
