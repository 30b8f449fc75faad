/* The runs of a comparison as processes, a few at a time. Each stands in a process group of its own, so that Ctrl-C reaches it once: through
 * us. What it says goes to DIR/logs/NAME.txt, whose last line explains a failure. */
#include <inttypes.h>
#include <math.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>

#include "base/file.h"
#include "base/process.h"
#include "pipeline/compare_plan.h"
#include "report/run_metrics.h"

enum { POLL_MS = 50, STOP_STATUS = 130 };

/* ---- what is done already ---- */

/* Keys of the judging that a resumed run may change, but that make its metrics.json another one. */
static bool judged_alike(const struct run_config *a, const struct run_config *b)
{
    return a->eval.test_tokens == b->eval.test_tokens &&
           a->eval.sample_tokens == b->eval.sample_tokens &&
           strcmp(a->eval.prompt, b->eval.prompt) == 0;
}

static int resolved(struct run_config *rc, struct err *err)
{
    struct model_config model;
    const char *start = run_config_start(rc), *path = start ? start : rc->model.config;
    int code = model_config_read(&model, path, err);
    if (!code && rc->model.vocab_size && !start)
        model.vocab_size = rc->model.vocab_size;
    return code ? code : run_config_resolve(rc, &model, err);
}

/* Whether the folder holds this very run, finished. A run of another configuration is an error that names the key. */
static int is_done(bool *done, const struct compare_plan *plan, const struct compare_job *job,
                   const char *folder, struct err *err)
{
    struct run_config before = {0}, now = {0};
    char *config = path_join(folder, "config.yaml"), *summary = path_join(folder, "metrics.json");
    char **words = NULL;
    int rc = config && summary ? plan_words(&words, plan, job, err)
                               : err_set(err, MOE2_ELIMIT, "no memory for a name");
    *done = false;
    if (rc || !file_exists(config))
        goto done;
    int n = 0;
    while (words[4 + n] && words[4 + n][0] != '-') /* behind "train_eval --config FILE --set" */
        n++;
    rc = run_config_read(&now, job->config, (const char *const *)words + 4, n, err);
    if (!rc)
        rc = resolved(&now, err);
    if (!rc)
        rc = run_config_read(&before, config, NULL, 0, err);
    if (!rc)
        rc = resolved(&before, err);
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
    plan_words_free(words);
    free(config);
    free(summary);
    return rc;
}

/* ---- starting and ending one ---- */

static char *log_path(const struct compare_plan *plan, const struct compare_job *job)
{
    char *path = NULL;
    if (asprintf(&path, "%s/logs/%s.txt", plan->o->dir, job->name) < 0)
        return NULL;
    return path;
}

static int start(struct compare_plan *plan, struct compare_job *job, struct err *err)
{
    char **words = NULL, *log = log_path(plan, job);
    const char *argv[COMPARE_MAX_SETTINGS + 16] = {plan->o->program};
    int n = 1;
    int rc = log ? plan_words(&words, plan, job, err)
                 : err_set(err, MOE2_ELIMIT, "no memory for a name");
    if (rc)
        goto done;
    while (words[n - 1] && n < COMPARE_MAX_SETTINGS + 15) {
        argv[n] = words[n - 1];
        n++;
    }
    rc = process_start(&job->pid, argv, log, err);
    job->state = rc ? JOB_FAILED : JOB_RUNNING;
    job->seconds = -clock_s();
done:
    plan_words_free(words);
    free(log);
    return rc;
}

static void say_failed(const struct compare_plan *plan, const struct compare_job *job, int status,
                       int *n_failed, struct buf *why)
{
    char line[256], *log = log_path(plan, job);
    if (WIFSIGNALED(status))
        snprintf(line, sizeof line, "ended by signal %d", WTERMSIG(status));
    else
        process_last_line(line, log ? log : "");
    log_line(plan->o->log, LOG_WARN, "%s failed: %s", job->name, line);
    if (++*n_failed == 1)
        buf_printf(why, NULL, "%s: %s", job->name, line);
    free(log);
}

static void say_done(const struct compare_plan *plan, const struct compare_job *job, int n_done,
                     int n_all, double left_s)
{
    struct run_metrics m = {0};
    char *folder = plan_folder(plan, job), result[64] = "trained", left[48] = "";
    if (folder && run_metrics_read(&m, folder, NULL) == 0) {
        double loss = run_number(&m, "test.loss");
        if (isfinite(loss))
            snprintf(result, sizeof result, "test loss %.4f", loss);
        else if (m.evals.n)
            snprintf(result, sizeof result, "validation loss %.4f", m.evals.loss[m.evals.n - 1]);
    }
    if (left_s >= 60)
        snprintf(left, sizeof left, ", about %.0f min left", left_s / 60);
    else if (n_done < n_all)
        snprintf(left, sizeof left, ", about %.0f s left", left_s);
    log_line(plan->o->log, LOG_INFO, "[%d of %d] %s: %s (%.0f s%s)", n_done, n_all, job->name,
             result, job->seconds, left);
    run_metrics_release(&m);
    free(folder);
}

/* ---- the queue ---- */

struct queue {
    struct compare_plan *plan;
    int first, next, n_running, n_done, n_all;
    bool stopping;
    double seconds; /* of the runs that ended here */
    int n_timed;
};

static double left_s(const struct queue *q)
{
    double mean = q->n_timed ? q->seconds / q->n_timed : 0;
    return mean * (q->n_all - q->n_done) / q->plan->o->jobs;
}

/* Takes note of a process that ended. */
static void ended(struct queue *q, struct compare_job *job, int status, int *n_failed,
                  struct buf *why)
{
    q->n_running--;
    job->seconds += clock_s();
    job->pid = 0;
    if (WIFEXITED(status) && WEXITSTATUS(status) == STOP_STATUS) {
        job->state = JOB_WAITING;
        q->stopping = true; /* somebody stopped the run itself */
        return;
    }
    q->n_done++;
    if (!WIFEXITED(status) || WEXITSTATUS(status)) {
        job->state = JOB_FAILED;
        say_failed(q->plan, job, status, n_failed, why);
        return;
    }
    job->state = JOB_DONE;
    q->seconds += job->seconds;
    q->n_timed++;
    say_done(q->plan, job, q->n_done, q->n_all, left_s(q));
}

static void look_around(struct queue *q, int *n_failed, struct buf *why)
{
    for (int i = q->first; i < q->plan->n_jobs; i++) {
        struct compare_job *job = &q->plan->jobs[i];
        int status = 0;
        if (job->state == JOB_RUNNING && waitpid((pid_t)job->pid, &status, WNOHANG) == job->pid)
            ended(q, job, status, n_failed, why);
    }
}

static void stop_all(struct queue *q)
{
    log_line(q->plan->o->log, LOG_INFO, "stopping: %d runs finish their step and save",
             q->n_running);
    for (int i = q->first; i < q->plan->n_jobs; i++)
        if (q->plan->jobs[i].state == JOB_RUNNING)
            kill((pid_t)q->plan->jobs[i].pid, SIGINT);
}

static int fill(struct queue *q, struct err *err)
{
    int rc = 0;
    while (!rc && q->next < q->plan->n_jobs && q->n_running < q->plan->o->jobs) {
        struct compare_job *job = &q->plan->jobs[q->next++];
        if (job->state != JOB_WAITING)
            continue;
        rc = start(q->plan, job, err);
        q->n_running += !rc;
    }
    return rc;
}

/* Marks what is finished; refuses a folder that holds another run. */
static int mark_done(struct queue *q, struct err *err)
{
    int n_before = 0, rc = 0;
    for (int i = q->first; i < q->plan->n_jobs && !rc; i++) {
        struct compare_job *job = &q->plan->jobs[i];
        char *folder = plan_folder(q->plan, job);
        bool done = false;
        rc = folder ? is_done(&done, q->plan, job, folder, err)
                    : err_set(err, MOE2_ELIMIT, "no memory for a name");
        job->state = done ? JOB_DONE : JOB_WAITING;
        job->was_done = done;
        n_before += done;
        free(folder);
    }
    q->n_done = n_before;
    q->n_all = q->plan->n_jobs - q->first;
    if (!rc && n_before)
        log_line(q->plan->o->log, LOG_INFO, "%d of %d runs are finished already", n_before,
                 q->n_all);
    return rc;
}

int plan_run_jobs(struct compare_plan *plan, int first, int *n_failed, struct buf *why,
                  struct err *err)
{
    struct queue q = {.plan = plan, .first = first, .next = first};
    const volatile int *stop = plan->o->stop;
    int rc = mark_done(&q, err);
    while (!rc || q.n_running) {
        if (!rc && !q.stopping)
            rc = fill(&q, err);
        if (q.n_running == 0)
            break;
        if (!q.stopping && ((stop && *stop) || rc)) {
            q.stopping = true;
            stop_all(&q);
        }
        nanosleep(&(struct timespec){0, POLL_MS * 1000000L}, NULL);
        look_around(&q, n_failed, why);
    }
    if (!rc && (q.stopping || (stop && *stop)))
        rc = err_set(err, MOE2_ESTOP,
                     "stopped with %d of %d runs finished; the same command goes on", q.n_done,
                     q.n_all);
    return rc;
}
