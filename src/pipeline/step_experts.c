/* Training the experts: see step_experts.h. */
#include "pipeline/step_experts.h"

#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/file.h"
#include "base/process.h"
#include "pipeline/file_hash.h"
#include "train/folder.h"

enum { POLL_MS = 50, STOP_STATUS = 130, MAX_WORDS = 24, MAX_WORD = 4096 };

char *expert_folder(const struct experts_step *step, int64_t i, bool quantized)
{
    char *path = NULL;
    if (asprintf(&path, "%s/%s%s", step->out_dir, step->experts[i].name,
                 quantized ? QUANTIZED_ENDING : "") < 0)
        return NULL;
    return path;
}

/* "OUT/runs/NAME" and the like. */
static char *below(const struct experts_step *step, const char *dir, int64_t i, const char *ending)
{
    char *path = NULL;
    if (asprintf(&path, "%s/%s/%s%s", step->out_dir, dir, step->experts[i].name, ending) < 0)
        return NULL;
    return path;
}

/* ---- one expert's process ---- */

struct job {
    int64_t pid; /* 0: not running */
    bool is_done;
};

struct words {
    char text[MAX_WORDS][MAX_WORD];
    const char *argv[MAX_WORDS + 1];
    int n;
};

__attribute__((format(printf, 2, 3))) static int add_word(struct words *w, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    int n = vsnprintf(w->text[w->n], MAX_WORD, format, args);
    va_end(args);
    w->argv[w->n] = w->text[w->n];
    w->argv[++w->n] = NULL;
    return n < MAX_WORD ? 0 : 1;
}

static int command_of(struct words *w, const struct experts_step *step, int64_t i, int64_t threads,
                      struct err *err)
{
    const struct expert_spec *e = &step->experts[i];
    w->n = 0;
    int cut = add_word(w, "%s", step->program) | add_word(w, "finetune") | add_word(w, "--config") |
              add_word(w, "%s", step->config) | add_word(w, "--set") |
              add_word(w, "name=%s", e->name) | add_word(w, "--set") |
              add_word(w, "results_dir=%s/runs", step->out_dir) | add_word(w, "--set") |
              add_word(w, "seed=%lld", (long long)step->seed) | add_word(w, "--set") |
              add_word(w, "base.path=%s", e->base) | add_word(w, "--set") |
              add_word(w, "data.examples=%s", e->data) | add_word(w, "--set") |
              add_word(w, "train.threads=%lld", (long long)threads);
    if (step->device.name && strcmp(step->device.name, "cpu") != 0)
        cut |= add_word(w, "--set") | add_word(w, "train.device=%s", step->device.name);
    if (step->device.limit_bytes)
        cut |= add_word(w, "--set") |
               add_word(w, "train.memory_gb=%.12g", 1e-9 * (double)step->device.limit_bytes);
    return cut ? err_set(err, MOE2_ELIMIT, "expert %s: a path is too long", e->name) : 0;
}

/* A run of other data, another base or configuration is removed; OUT/runs/NAME.of says what the run there is of. */
static int drop_stale(const struct experts_step *step, int64_t i, struct err *err)
{
    char text[FILE_HASH_TEXT];
    struct file_hash h = FILE_HASH_BEGIN;
    struct buf before = {.max_bytes = 4096};
    char *run = below(step, "runs", i, ""), *of = below(step, "runs", i, ".of");
    int rc = run && of ? 0 : err_set(err, MOE2_ELIMIT, "no memory for a name");
    if (!rc)
        rc = file_hash_path(&h, NULL, step->config, err);
    if (!rc)
        rc = file_hash_path(&h, NULL, step->experts[i].base, err);
    if (!rc)
        rc = file_hash_path(&h, NULL, step->experts[i].data, err);
    if (rc)
        goto done;
    file_hash_add(&h, &step->seed, sizeof step->seed);
    file_hash_text(text, h);
    bool same = file_exists(of) && file_read(&before, of, NULL) == 0 && before.n == strlen(text) &&
                memcmp(before.bytes, text, before.n) == 0;
    if (!same)
        rc = file_remove_all(run, err);
    if (!rc && !same)
        rc = file_write(of, text, strlen(text), err);
done:
    buf_release(&before);
    free(run);
    free(of);
    return rc;
}

static int start(struct job *job, const struct experts_step *step, int64_t i, int64_t threads,
                 struct err *err)
{
    struct words *w = malloc(sizeof *w);
    char *log = below(step, "logs", i, ".txt");
    int rc = w && log ? drop_stale(step, i, err) : err_set(err, MOE2_ELIMIT, "no memory for names");
    if (!rc)
        rc = command_of(w, step, i, threads, err);
    if (!rc)
        rc = process_start(&job->pid, w->argv, log, err);
    free(w);
    free(log);
    return rc;
}

/* The adapter of a finished run, put in place as a whole. */
static int publish(const struct experts_step *step, int64_t i, struct err *err)
{
    char *from = below(step, "runs", i, "/adapter"), *to = expert_folder(step, i, false);
    int rc = from && to ? folder_begin_like(to, from, err)
                        : err_set(err, MOE2_ELIMIT, "no memory for a name");
    if (!rc)
        rc = folder_commit(to, err);
    free(from);
    free(to);
    return rc;
}

static int ended(const struct experts_step *step, int64_t i, int status, struct err *err)
{
    char line[256], *log = below(step, "logs", i, ".txt");
    int rc = 0;
    if (WIFEXITED(status) && WEXITSTATUS(status) == 0) {
        rc = publish(step, i, err);
    } else if (WIFEXITED(status) && WEXITSTATUS(status) == STOP_STATUS) {
        rc = err_set(err, MOE2_ESTOP, "stopped; the same command goes on");
    } else {
        if (WIFSIGNALED(status))
            snprintf(line, sizeof line, "ended by signal %d", WTERMSIG(status));
        else
            process_last_line(line, log ? log : "");
        rc = err_set(err, MOE2_EIO, "expert %s: %s", step->experts[i].name, line);
    }
    free(log);
    return rc;
}

/* ---- all of them ---- */

struct queue {
    const struct experts_step *step;
    struct job *jobs;
    int64_t at_once, threads, next, n_running, n_done;
    bool stopping;
};

static void stop_all(struct queue *q)
{
    q->stopping = true;
    for (int64_t i = 0; i < q->step->n; i++)
        if (q->jobs[i].pid)
            kill((pid_t)q->jobs[i].pid, SIGINT);
}

static int look_around(struct queue *q, struct progress *progress, struct err *err)
{
    int rc = 0, status = 0;
    for (int64_t i = 0; i < q->step->n; i++) {
        struct job *job = &q->jobs[i];
        if (!job->pid || waitpid((pid_t)job->pid, &status, WNOHANG) != job->pid)
            continue;
        job->pid = 0;
        q->n_running--;
        int failed = ended(q->step, i, status, rc ? NULL : err);
        if (!rc)
            rc = failed;
        if (!failed)
            progress_set(progress, (double)++q->n_done);
    }
    return rc;
}

static int run_all(struct queue *q, struct progress *progress, struct err *err)
{
    const volatile int *stop = q->step->stop;
    int rc = 0;
    while ((!rc && q->n_done < q->step->n) || q->n_running) {
        while (!rc && !q->stopping && q->n_running < q->at_once && q->next < q->step->n) {
            rc = start(&q->jobs[q->next], q->step, q->next, q->threads, err);
            q->n_running += !rc;
            q->next++;
        }
        if (!q->stopping && ((stop && *stop) || rc))
            stop_all(q);
        if (!q->n_running)
            break;
        nanosleep(&(struct timespec){0, POLL_MS * 1000000L}, NULL);
        int failed = look_around(q, progress, rc ? NULL : err);
        if (!rc)
            rc = failed;
    }
    if (!rc && q->n_done < q->step->n)
        rc = err_set(err, MOE2_ESTOP, "stopped; the same command goes on");
    return rc;
}

int experts_train(const struct experts_step *step, struct err *err)
{
    int64_t threads = step->threads ? step->threads : process_cores();
    bool gpu = device_is_gpu(&step->device);
    struct experts_step shared = *step;
    struct queue q = {.step = &shared, .at_once = step->jobs ? step->jobs : gpu ? 1 : threads};
    struct progress progress;
    char *runs = path_join(step->out_dir, "runs"), *logs = path_join(step->out_dir, "logs");
    if (q.at_once > step->n)
        q.at_once = step->n;
    shared.device.limit_bytes /= (size_t)(q.at_once > 0 ? q.at_once : 1);
    q.threads = threads / q.at_once > 1 ? threads / q.at_once : 1;
    q.jobs = calloc((size_t)step->n, sizeof *q.jobs);
    int rc = runs && logs && q.jobs ? dir_make(runs, err)
                                    : err_set(err, MOE2_ELIMIT, "no memory for names");
    if (!rc)
        rc = dir_make(logs, err);
    int lock = -1;
    if (!rc)
        rc = process_lock(&lock, step->out_dir, "experts.pid", err);
    if (!rc) {
        progress_begin(&progress, step->sink, "training experts", (double)step->n, "experts");
        rc = run_all(&q, &progress, err);
        progress_end(&progress);
        close(lock);
    }
    free(q.jobs);
    free(runs);
    free(logs);
    return rc;
}
