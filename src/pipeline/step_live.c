/* A fleet of the build's experts, started, asked and ended: see step_live.h. */
#include "pipeline/step_live.h"

#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/arena.h"
#include "base/file.h"
#include "base/process.h"
#include "io/json_util.h"
#include "io/npy.h"
#include "pipeline/step_forward.h"
#include "pipeline/step_profile.h"

enum { POLL_MS = 50, MAX_URL = 256, MAX_LOG_BYTES = 16 << 20 };

/* The files of OUT, in an arena. */
struct files {
    struct arena memory;
    const char *config, *log, *questions, *scores, *runs;
};

static const char *file_of(struct files *f, const struct live_step *step, const char *name,
                           struct err *err)
{
    char *path = path_join(step->out_dir, name);
    const char *kept = path ? arena_strdup(&f->memory, path, err) : NULL;
    if (!path)
        err_set(err, MOE2_ELIMIT, "no memory for a name");
    free(path);
    return kept;
}

static int name_files(struct files *f, const struct live_step *step, struct err *err)
{
    f->config = file_of(f, step, "fleet.yaml", err);
    f->log = file_of(f, step, "fleet.txt", err);
    f->questions = file_of(f, step, "questions.jsonl", err);
    f->scores = file_of(f, step, "scores.npy", err);
    f->runs = file_of(f, step, "runs.csv", err);
    return f->config && f->log && f->questions && f->scores && f->runs ? 0 : MOE2_ELIMIT;
}

/* ---- which questions ---- */

/* Where each line begins, [*n + 1] with the end of the file last; the caller's. */
static int find_lines(int64_t **starts, int64_t *n, const struct file_map *map, struct err *err)
{
    *n = 0;
    for (size_t at = 0; at < map->n_bytes; at++)
        *n += map->bytes[at] == '\n' || at + 1 == map->n_bytes;
    *starts = malloc(((size_t)*n + 1) * sizeof **starts);
    if (!*starts)
        return err_set(err, MOE2_ELIMIT, "no memory for %" PRId64 " questions", *n);
    int64_t i = 0;
    (*starts)[i++] = 0;
    for (size_t at = 0; at < map->n_bytes; at++)
        if (map->bytes[at] == '\n' || at + 1 == map->n_bytes)
            (*starts)[i++] = (int64_t)at + 1;
    return 0;
}

/* n of the rows of both files, evenly. */
static int write_rows(const struct files *f, const struct file_map *map, const int64_t *starts,
                      const struct npy *scores, int64_t n, struct err *err)
{
    int64_t n_all = scores->shape[0], shape[2] = {n, scores->shape[1]};
    size_t row_bytes = (size_t)shape[1] * sizeof(float);
    struct file_writer lines = {0};
    struct npy_writer rows = {0};
    int rc = file_begin(&lines, f->questions, err);
    if (!rc)
        rc = npy_begin(&rows, f->scores, DT_F32, shape, 2, err);
    for (int64_t i = 0; i < n && !rc; i++) {
        int64_t row = i * n_all / n, from = starts[row];
        rc = file_put(&lines, map->bytes + from, (size_t)(starts[row + 1] - from), err);
        if (!rc)
            rc = npy_put(&rows, (const uint8_t *)scores->data + (size_t)row * row_bytes,
                         (int64_t)row_bytes, err);
    }
    if (!rc)
        rc = file_commit(&lines, err);
    if (!rc)
        rc = npy_commit(&rows, err);
    file_abort(&lines);
    npy_abort(&rows);
    return rc;
}

static int cut_questions(const struct files *f, const struct live_step *step, struct err *err)
{
    struct file_map map = {0};
    struct npy scores = {0};
    int64_t *starts = NULL, n = 0;
    int rc = file_map(&map, step->questions, err);
    if (!rc)
        rc = find_lines(&starts, &n, &map, err);
    if (!rc)
        rc = npy_open(&scores, step->scores, err);
    if (!rc && (scores.dtype != DT_F32 || scores.n_dims != 2 || scores.shape[0] != n ||
                scores.shape[1] != step->n))
        rc = err_set(err, MOE2_EFORMAT,
                     "%s: wanted float32 scores [%" PRId64 ", %" PRId64
                     "], a row for each line of %s",
                     step->scores, n, step->n, step->questions);
    if (!rc)
        rc = write_rows(f, &map, starts, &scores, step->n_questions < n ? step->n_questions : n,
                        err);
    npy_close(&scores);
    free(starts);
    file_unmap(&map);
    return rc;
}

/* ---- the fleet ---- */

static int put_text(struct buf *out, const char *key, const char *text, struct err *err)
{
    int rc = buf_printf(out, err, "%s: ", key);
    if (!rc)
        rc = json_quote(out, text, strlen(text), err);
    return rc ? rc : buf_puts(out, "\n", err);
}

static int put_list(struct buf *out, const char *key, const char *const *texts, int64_t n,
                    struct err *err)
{
    int rc = buf_printf(out, err, "%s:\n", key);
    for (int64_t i = 0; i < n && !rc; i++) {
        rc = buf_puts(out, "  - ", err);
        if (!rc)
            rc = json_quote(out, texts[i], strlen(texts[i]), err);
        if (!rc)
            rc = buf_puts(out, "\n", err);
    }
    return rc;
}

static int write_config(const struct files *f, const struct live_step *step, struct err *err)
{
    struct buf out = {0};
    int rc = buf_printf(&out, err,
                        "# The fleet of this build in service: moe2 fleet up --local --config %s\n"
                        "name: moe2\nanswers: choices\npace: 1\nport: 0\nk: %" PRId64 "\n",
                        f->config, step->k);
    if (!rc)
        rc = put_text(&out, "combine", step->combine, err);
    if (!rc)
        rc = put_list(&out, "experts", step->experts, step->n, err);
    if (!rc)
        rc = put_list(&out, "models", step->models, step->n, err);
    if (!rc)
        rc = put_text(&out, "latency", step->latency, err);
    if (!rc)
        rc = put_text(&out, "energy", step->energy, err);
    if (!rc)
        rc = put_text(&out, "gate", step->gate, err);
    if (!rc)
        rc = put_text(&out, "features", step->features, err);
    if (!rc)
        rc = file_write(f->config, out.bytes, out.n, err);
    buf_release(&out);
    return rc;
}

static int start_fleet(int64_t *pid, const struct files *f, const struct live_step *step,
                       struct err *err)
{
    char parent[32], limit[32];
    const char *argv[16] = {step->program, "fleet",   "up",       "--local",
                            "--config",    f->config, "--parent", parent};
    int n = 8;
    snprintf(parent, sizeof parent, "%ld", (long)getpid());
    snprintf(limit, sizeof limit, "%.12gGB",
             1e-9 * (double)step->device.limit_bytes / (double)step->n);
    if (step->device.name && strcmp(step->device.name, "cpu") != 0) {
        argv[n++] = "--device";
        argv[n++] = step->device.name;
    }
    if (step->device.limit_bytes) {
        argv[n++] = "--memory-limit";
        argv[n++] = limit;
    }
    return process_start(pid, argv, f->log, err);
}

/* The address in "moe2 listens on URL", once that is a whole line. */
static bool find_url(char url[static MAX_URL], const char *log)
{
    struct buf text = {.max_bytes = MAX_LOG_BYTES};
    bool found = false;
    if (file_read(&text, log, NULL) == 0 && buf_append(&text, "", 1, NULL) == 0) {
        const char *from = process_address(text.bytes);
        size_t n = from ? strcspn(from, "\n") : 0;
        found = from && from[n] == '\n' && n < MAX_URL;
        if (found)
            snprintf(url, MAX_URL, "%.*s", (int)n, from);
    }
    buf_release(&text);
    return found;
}

static int wait_ready(char url[static MAX_URL], int64_t *pid, const struct files *f,
                      const struct live_step *step, struct err *err)
{
    char line[256];
    int status = 0;
    while (!find_url(url, f->log)) {
        if (step->stop && *step->stop)
            return err_set(err, MOE2_ESTOP, "stopped while the fleet started");
        if (waitpid((pid_t)*pid, &status, WNOHANG) == *pid) {
            *pid = 0;
            process_ending(line, status, f->log);
            return err_set(err, MOE2_EIO, "the fleet ended before it was ready (%s): %s", f->log,
                           line);
        }
        nanosleep(&(struct timespec){0, POLL_MS * 1000000L}, NULL);
    }
    return 0;
}

/* It ends its experts, and kills whoever does not end, within children.h's time. */
static void end_fleet(int64_t pid)
{
    if (!pid)
        return;
    kill((pid_t)pid, SIGTERM);
    while (waitpid((pid_t)pid, NULL, 0) < 0 && errno == EINTR)
        ;
}

/* ---- asking ---- */

static int ask(struct live_report *report, const char *url, const struct files *f,
               const struct live_step *step, struct err *err)
{
    struct forward_report r;
    struct forward_step forward = {.questions = f->questions,
                                   .live = url,
                                   .form = step->form,
                                   .k = step->n,
                                   .combine = step->n > 1 ? FORWARD_VOTE : FORWARD_TOP1,
                                   .out_dir = step->out_dir,
                                   .sink = step->sink,
                                   .stop = step->stop};
    double began_s = clock_s();
    int rc = forward_run(&r, &forward, err);
    if (rc)
        return rc;
    *report = (struct live_report){r.n, r.accuracy.value, clock_s() - began_s};
    forward_report_release(&r);
    return 0;
}

static int fit_costs(const struct files *f, const struct live_step *step, struct err *err)
{
    struct profile_set set = {0};
    const struct profile_step profile = {
        .import = f->runs, .out_dir = step->out_dir, .sink = step->sink};
    int rc = profile_run(&set, &profile, err);
    profile_set_release(&set);
    return rc;
}

int live_run(struct live_report *report, const struct live_step *step, struct err *err)
{
    struct files f = {0};
    char url[MAX_URL];
    int64_t pid = 0;
    int rc = name_files(&f, step, err);
    if (!rc)
        rc = dir_make(step->out_dir, err);
    if (!rc)
        rc = cut_questions(&f, step, err);
    if (!rc)
        rc = write_config(&f, step, err);
    if (!rc)
        rc = start_fleet(&pid, &f, step, err);
    if (!rc)
        rc = wait_ready(url, &pid, &f, step, err);
    if (!rc)
        rc = ask(report, url, &f, step, err);
    end_fleet(pid);
    if (!rc)
        rc = fit_costs(&f, step, err);
    arena_release(&f.memory);
    return rc;
}
