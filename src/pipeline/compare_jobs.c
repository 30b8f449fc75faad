/* The runs of a comparison as processes, a few at a time (process_queue.h). Each stands in a process group of its own, so that Ctrl-C reaches it once: through
 * us. What it says goes to DIR/logs/NAME.txt, whose last line explains a failure. */
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>

#include "base/file.h"
#include "base/process.h"
#include "base/process_queue.h"
#include "pipeline/compare_plan.h"
#include "report/run_metrics.h"

/* ---- what is done already ---- */

/* Keys of the judging that a resumed run may change, but that make its metrics.json another one. */
static bool judged_alike(const struct run_config *a, const struct run_config *b)
{
    return a->eval.test_tokens == b->eval.test_tokens &&
           a->eval.sample_tokens == b->eval.sample_tokens &&
           strcmp(a->eval.prompt, b->eval.prompt) == 0;
}

/* Whether the folder holds this very run, finished. A run of another configuration is an error that names the key. */
static int is_done(bool *done, const struct compare_plan *plan, const struct compare_job *job,
                   const char *folder, struct err *err)
{
    struct run_config before = {0}, now = {0};
    char *config = path_join(folder, "config.yaml"), *summary = path_join(folder, "metrics.json");
    struct settings settings = {0};
    int rc = config && summary ? plan_settings(&settings, plan, job, err)
                               : err_set(err, MOE2_ELIMIT, "no memory for a name");
    *done = false;
    if (rc || !file_exists(config))
        goto done;
    rc = run_config_read(&now, job->config, (const char *const *)settings.list, settings.n, err);
    if (!rc)
        rc = plan_resolve(&now, err);
    if (!rc)
        rc = run_config_read(&before, config, NULL, 0, err);
    if (!rc)
        rc = plan_resolve(&before, err);
    const struct yaml_key *key = rc ? NULL : run_config_difference(&before, &now);
    if (key) {
        struct buf x = {0}, y = {0};
        yaml_dump_value(&x, &before, key, NULL);
        yaml_dump_value(&y, &now, key, NULL);
        rc = err_set(err, MOE2_ECONFIG,
                     "%s was begun with %s = %.80s, now it is %.80s; give another --out", folder,
                     key->name, x.bytes ? x.bytes : "", y.bytes ? y.bytes : "");
        buf_release(&x);
        buf_release(&y);
    }
    *done = !rc && job->judged && file_exists(summary) && judged_alike(&before, &now);
done:
    run_config_release(&before);
    run_config_release(&now);
    settings_release(&settings);
    free(config);
    free(summary);
    return rc;
}

/* ---- starting and ending one ---- */

/* The runs of one queue. */
struct jobs {
    struct compare_plan *plan;
    int first, n_done, n_all; /* plan->jobs from first on; done with, those that failed included */
    double seconds;           /* of the runs that ended here */
    int n_timed, *n_failed;
    struct buf *why;
};

static char *log_path(const struct compare_plan *plan, const struct compare_job *job)
{
    char *path = NULL;
    if (asprintf(&path, "%s/logs/%s.txt", plan->o->dir, job->name) < 0)
        return NULL;
    return path;
}

static int start_job(int64_t *pid, const struct compare_plan *plan, const struct compare_job *job,
                     struct err *err)
{
    struct plan_command command = {0};
    char *log = log_path(plan, job);
    int rc = log ? plan_command(&command, plan, job, err)
                 : err_set(err, MOE2_ELIMIT, "no memory for a name");
    if (!rc)
        rc = process_start(pid, command.argv, log, err);
    settings_release(&command.settings);
    free(log);
    return rc;
}

static void say_failed(const struct jobs *jobs, const struct compare_job *job, int status)
{
    char line[256], *log = log_path(jobs->plan, job);
    process_ending(line, status, log ? log : "");
    log_line(jobs->plan->o->log, LOG_WARN, "%s failed: %s", job->name, line);
    if (++*jobs->n_failed == 1)
        buf_printf(jobs->why, NULL, "%s: %s", job->name, line);
    free(log);
}

static double left_s(const struct jobs *jobs)
{
    double mean = jobs->n_timed ? jobs->seconds / jobs->n_timed : 0;
    return mean * (jobs->n_all - jobs->n_done) / jobs->plan->o->jobs;
}

static void say_done(const struct jobs *jobs, const struct compare_job *job, double seconds)
{
    struct run_metrics m = {0};
    double left = left_s(jobs);
    char *folder = plan_folder(jobs->plan, job), result[64] = "trained", more[48] = "";
    if (folder && run_metrics_read(&m, folder, NULL) == 0) {
        double loss = run_number(&m, "test.loss");
        if (isfinite(loss))
            snprintf(result, sizeof result, "test loss %.4f", loss);
        else if (m.evals.n)
            snprintf(result, sizeof result, "validation loss %.4f", m.evals.loss[m.evals.n - 1]);
    }
    if (left >= 60)
        snprintf(more, sizeof more, ", about %.0f min left", left / 60);
    else if (jobs->n_done < jobs->n_all)
        snprintf(more, sizeof more, ", about %.0f s left", left);
    log_line(jobs->plan->o->log, LOG_INFO, "[%d of %d] %s: %s (%.0f s%s)", jobs->n_done,
             jobs->n_all, job->name, result, seconds, more);
    run_metrics_release(&m);
    free(folder);
}

/* ---- all of them ---- */

static int start(int64_t *pid, void *ctx, int64_t i, struct err *err)
{
    const struct jobs *jobs = ctx;
    const struct compare_job *job = &jobs->plan->jobs[jobs->first + i];
    return job->was_done ? 0 : start_job(pid, jobs->plan, job, err);
}

/* A run that was stopped is no finished one, nor one that failed. */
static int ended(void *ctx, int64_t i, int status, double seconds, struct err *err)
{
    struct jobs *jobs = ctx;
    struct compare_job *job = &jobs->plan->jobs[jobs->first + i];
    (void)err;
    if (process_was_stopped(status))
        return 0;
    jobs->n_done++;
    if (!WIFEXITED(status) || WEXITSTATUS(status)) {
        say_failed(jobs, job, status);
        return 0;
    }
    jobs->seconds += seconds;
    jobs->n_timed++;
    say_done(jobs, job, seconds);
    return 0;
}

static void stopping(void *ctx, int64_t n_running)
{
    const struct jobs *jobs = ctx;
    log_line(jobs->plan->o->log, LOG_INFO, "stopping: %" PRId64 " runs finish their step and save",
             n_running);
}

/* Marks what is finished; refuses a folder that holds another run. */
static int mark_done(struct jobs *jobs, struct err *err)
{
    int rc = 0;
    for (int i = 0; i < jobs->n_all && !rc; i++) {
        struct compare_job *job = &jobs->plan->jobs[jobs->first + i];
        char *folder = plan_folder(jobs->plan, job);
        rc = folder ? is_done(&job->was_done, jobs->plan, job, folder, err)
                    : err_set(err, MOE2_ELIMIT, "no memory for a name");
        jobs->n_done += job->was_done;
        free(folder);
    }
    if (!rc && jobs->n_done)
        log_line(jobs->plan->o->log, LOG_INFO, "%d of %d runs are finished already", jobs->n_done,
                 jobs->n_all);
    return rc;
}

int plan_run_jobs(struct compare_plan *plan, int first, int *n_failed, struct buf *why,
                  struct err *err)
{
    struct jobs jobs = {.plan = plan,
                        .first = first,
                        .n_all = plan->n_jobs - first,
                        .n_failed = n_failed,
                        .why = why};
    const struct process_queue queue = {.n = jobs.n_all,
                                        .at_once = plan->o->jobs,
                                        .stop = plan->o->stop,
                                        .start = start,
                                        .ended = ended,
                                        .stopping = stopping,
                                        .ctx = &jobs};
    bool stopped = false;
    int rc = mark_done(&jobs, err);
    if (!rc)
        rc = process_queue_run(&stopped, &queue, err);
    if (!rc && stopped)
        rc = err_set(err, MOE2_ESTOP,
                     "stopped with %d of %d runs finished; the same command goes on", jobs.n_done,
                     jobs.n_all);
    return rc;
}
