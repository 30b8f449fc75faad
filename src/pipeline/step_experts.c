/* Training the experts: see step_experts.h. */
#include "pipeline/step_experts.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/file.h"
#include "base/process.h"
#include "base/process_queue.h"
#include "pipeline/file_hash.h"
#include "train/folder.h"

enum { MAX_WORDS = 24, MAX_WORD = 4096 };

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

/* What the queue is of. */
struct training {
    const struct experts_step *step; /* the limit of its device is each one's share */
    int64_t threads;                 /* of each */
    struct progress progress;
    int64_t n_done;
};

static int start(int64_t *pid, void *ctx, int64_t i, struct err *err)
{
    const struct training *t = ctx;
    struct words *w = malloc(sizeof *w);
    char *log = below(t->step, "logs", i, ".txt");
    int rc =
        w && log ? drop_stale(t->step, i, err) : err_set(err, MOE2_ELIMIT, "no memory for names");
    if (!rc)
        rc = command_of(w, t->step, i, t->threads, err);
    if (!rc)
        rc = process_start(pid, w->argv, log, err);
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

static int fail(const struct experts_step *step, int64_t i, int status, struct err *err)
{
    char line[256], *log = below(step, "logs", i, ".txt");
    process_ending(line, status, log ? log : "");
    free(log);
    return err_set(err, MOE2_EIO, "expert %s: %s", step->experts[i].name, line);
}

static int ended(void *ctx, int64_t i, int status, double seconds, struct err *err)
{
    struct training *t = ctx;
    (void)seconds;
    if (process_was_stopped(status))
        return 0;
    if (!WIFEXITED(status) || WEXITSTATUS(status))
        return fail(t->step, i, status, err);
    int rc = publish(t->step, i, err);
    if (!rc)
        progress_set(&t->progress, (double)++t->n_done);
    return rc;
}

/* ---- all of them ---- */

static int run_all(const struct experts_step *step, int64_t at_once, int64_t threads,
                   struct err *err)
{
    struct training t = {.step = step, .threads = threads};
    const struct process_queue queue = {.n = step->n,
                                        .at_once = at_once,
                                        .stop = step->stop,
                                        .start = start,
                                        .ended = ended,
                                        .ctx = &t};
    bool stopped = false;
    progress_begin(&t.progress, step->sink, "training experts", (double)step->n, "experts");
    int rc = process_queue_run(&stopped, &queue, err);
    progress_end(&t.progress);
    if (!rc && stopped)
        rc = err_set(err, MOE2_ESTOP, "stopped; the same command goes on");
    return rc;
}

int experts_train(const struct experts_step *step, struct err *err)
{
    struct experts_step shared = *step;
    int64_t one_each = device_is_gpu(&step->device) ? 1 : process_share(step->threads, 1);
    int64_t at_once = step->jobs ? step->jobs : one_each;
    at_once = at_once < step->n ? at_once : step->n;
    at_once = at_once > 1 ? at_once : 1;
    shared.device.limit_bytes /= (size_t)at_once;
    char *runs = path_join(step->out_dir, "runs"), *logs = path_join(step->out_dir, "logs");
    int lock = -1;
    int rc = runs && logs ? dir_make(runs, err) : err_set(err, MOE2_ELIMIT, "no memory for names");
    if (!rc)
        rc = dir_make(logs, err);
    if (!rc)
        rc = process_lock(&lock, step->out_dir, "experts.pid", err);
    if (!rc) {
        rc = run_all(&shared, at_once, process_share(step->threads, at_once), err);
        close(lock);
    }
    free(runs);
    free(logs);
    return rc;
}
