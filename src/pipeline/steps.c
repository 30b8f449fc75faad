/* The step runner: see steps.h. The manifest is steps_manifest.c. */
#include "pipeline/steps.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/file.h"
#include "base/words.h"
#include "pipeline/steps_manifest.h"

const char *step_state_name(enum step_state state)
{
    static const char *const names[] = {"done", "ran", "to do", "waits", "left out", "passed"};
    return names[state];
}

static int add_path(const char **list, int *n, const char *path, struct err *err)
{
    if (!path)
        return err ? err->code : MOE2_ELIMIT;
    if (*n == STEP_MAX_FILES)
        return err_set(err, MOE2_ELIMIT, "a step has more than %d files", STEP_MAX_FILES);
    list[(*n)++] = path;
    return 0;
}

int step_input(struct step_needs *n, const char *path, struct err *err)
{
    return add_path(n->inputs, &n->n_inputs, path, err);
}

int step_output(struct step_needs *n, const char *path, struct err *err)
{
    return add_path(n->outputs, &n->n_outputs, path, err);
}

struct work {
    const struct steps_options *options;
    struct steps_report *report;
    struct steps_manifest manifest;
    struct arena arena;
    int first, last, forced; /* numbers of steps; forced −1: none */
    const char *pending[STEPS_MAX *
                        4]; /* outputs of steps that are to be done: what waits, waits for them */
    int n_pending;
};

/* ---- which steps ---- */

static int find_step(int *out, const struct steps_options *o, const char *flag, const char *name,
                     struct err *err)
{
    const char *names[STEPS_MAX];
    for (*out = 0; *out < o->n_steps; ++*out) {
        names[*out] = o->steps[*out].name;
        if (strcmp(names[*out], name) == 0)
            return 0;
    }
    const char *nearest = words_nearest(name, names, (size_t)o->n_steps);
    return err_set(err, MOE2_ECONFIG, "%s is \"%.40s\", no step of that name%s%s%s", flag, name,
                   nearest ? ", did you mean " : "", nearest ? nearest : "", nearest ? "?" : "");
}

static int choose(struct work *w, struct err *err)
{
    const struct steps_options *o = w->options;
    int rc = 0;
    w->last = o->n_steps - 1;
    w->forced = -1;
    if (o->from)
        rc = find_step(&w->first, o, "--from", o->from, err);
    if (!rc && o->to)
        rc = find_step(&w->last, o, "--to", o->to, err);
    if (!rc && o->force)
        rc = find_step(&w->forced, o, "--force", o->force, err);
    if (!rc && w->first > w->last)
        rc = err_set(err, MOE2_ECONFIG, "--from %s comes behind --to %s", o->from, o->to);
    return rc;
}

/* ---- is it done? ---- */

static const char *missing_input(const struct step_needs *needs)
{
    for (int i = 0; i < needs->n_inputs; i++)
        if (!file_exists(needs->inputs[i]))
            return needs->inputs[i];
    return NULL;
}

/* The hash over name, configuration and inputs, all of which are there. */
static int make_key(struct file_hash *key, const struct step *step, const struct step_needs *needs,
                    struct err *err)
{
    int rc = 0;
    *key = FILE_HASH_BEGIN;
    file_hash_add(key, step->name, strlen(step->name));
    file_hash_add(key, needs->config.n ? needs->config.bytes : "", needs->config.n);
    for (int i = 0; i < needs->n_inputs && !rc; i++) {
        file_hash_add(key, needs->inputs[i], strlen(needs->inputs[i]));
        rc = file_hash_path(key, NULL, needs->inputs[i], err);
    }
    return rc;
}

/* Whether the outputs are those of the manifest; reason says what is not. */
static int check_outputs(bool *same, char reason[160], const struct steps_entry *e,
                         const struct step_needs *needs, struct err *err)
{
    *same = false;
    for (int i = 0; i < needs->n_outputs; i++) {
        struct file_hash h = FILE_HASH_BEGIN;
        const struct steps_output *known = steps_entry_output(e, needs->outputs[i]);
        if (!file_exists(needs->outputs[i])) {
            snprintf(reason, 160, "%.140s is gone", needs->outputs[i]);
            return 0;
        }
        int rc = file_hash_path(&h, NULL, needs->outputs[i], err);
        if (rc)
            return rc;
        if (!known || known->hash.a != h.a || known->hash.b != h.b) {
            snprintf(reason, 160, "%.120s is not what the step made", needs->outputs[i]);
            return 0;
        }
    }
    *same = true;
    return 0;
}

static bool is_pending(const struct work *w, const char *path)
{
    for (int i = 0; i < w->n_pending; i++)
        if (strcmp(w->pending[i], path) == 0)
            return true;
    return false;
}

/* state and reason of a step that is neither passed nor left out. */
static int judge(struct step_result *r, struct file_hash *key, const struct work *w, int i,
                 const struct step_needs *needs, struct err *err)
{
    const struct steps_entry *e = steps_manifest_find(&w->manifest, w->options->steps[i].name);
    bool same = false;
    r->state = STEP_TODO;
    for (int k = 0; k < needs->n_inputs && w->options->status; k++)
        if (is_pending(w, needs->inputs[k])) {
            r->state = STEP_WAITS;
            snprintf(r->reason, sizeof r->reason, "for %.140s", needs->inputs[k]);
            return 0;
        }
    const char *missing = missing_input(needs);
    if (missing) {
        snprintf(r->reason, sizeof r->reason, "%.140s is not there", missing);
        return 0;
    }
    int rc = make_key(key, &w->options->steps[i], needs, err);
    if (rc)
        return rc;
    if (!e)
        snprintf(r->reason, sizeof r->reason, "never finished");
    else if (i == w->forced)
        snprintf(r->reason, sizeof r->reason, "forced");
    else if (e->key.a != key->a || e->key.b != key->b)
        snprintf(r->reason, sizeof r->reason, "its inputs or its configuration changed");
    else
        rc = check_outputs(&same, r->reason, e, needs, err);
    if (same)
        r->state = STEP_DONE;
    return rc;
}

/* ---- running ---- */

static int64_t now(void)
{
    return (int64_t)time(NULL);
}

static void copy_entry(struct step_result *r, const struct steps_entry *e)
{
    if (!e)
        return;
    r->seconds = e->seconds;
    r->finished = e->finished;
    r->said = e->said ? strdup(e->said) : NULL;
}

static int remember(struct work *w, int i, struct file_hash key, const struct step_needs *needs,
                    struct err *err)
{
    struct step_result *r = &w->report->results[i];
    struct steps_entry e = {.name = w->options->steps[i].name,
                            .key = key,
                            .said = r->said,
                            .seconds = r->seconds,
                            .finished = r->finished};
    int rc = 0;
    e.outputs = arena_calloc(&w->arena, (size_t)(needs->n_outputs + 1) * sizeof *e.outputs, err);
    if (!e.outputs)
        return MOE2_ELIMIT;
    for (int k = 0; k < needs->n_outputs && !rc; k++) {
        struct steps_output *o = &e.outputs[e.n_outputs++];
        *o = (struct steps_output){.path = needs->outputs[k], .hash = FILE_HASH_BEGIN};
        rc = file_exists(o->path)
                 ? file_hash_path(&o->hash, &o->n_bytes, o->path, err)
                 : err_set(err, MOE2_EIO, "%s: the step was to make it and did not", o->path);
    }
    if (!rc)
        rc = steps_manifest_set(&w->manifest, &e, err);
    return rc ? rc
              : steps_manifest_write(&w->manifest, w->options->manifest, w->options->note, err);
}

static int run_step(struct work *w, int i, struct file_hash key, const struct step_needs *needs,
                    struct err *err)
{
    const struct step *step = &w->options->steps[i];
    struct step_result *r = &w->report->results[i];
    struct buf said = {.max_bytes = 1 << 16};
    const char *missing = missing_input(needs);
    if (missing)
        return err_set(err, MOE2_EIO, "needs %s, which is not there", missing);
    double begin = clock_s();
    log_line(w->options->sink, LOG_INFO, "%s: %s (%s)", step->name, step->summary, r->reason);
    int rc = step->run(&said, w->options->ctx, err);
    if (rc) {
        buf_release(&said);
        return rc;
    }
    free(r->said);
    r->said = said.bytes;
    r->seconds = clock_s() - begin;
    r->finished = now();
    r->state = STEP_RAN;
    r->reason[0] = 0;
    w->report->n_ran++;
    return remember(w, i, key, needs, err);
}

static int declare(struct step_needs *needs, struct work *w, int i, struct err *err)
{
    *needs = (struct step_needs){.arena = &w->arena, .config.max_bytes = 1 << 20};
    return w->options->steps[i].declare(needs, w->options->ctx, err);
}

/* Outputs of a step that is to be done: those who read them wait. */
static void note_pending(struct work *w, const struct step_needs *needs)
{
    for (int k = 0; k < needs->n_outputs; k++)
        if (w->n_pending < (int)(sizeof w->pending / sizeof *w->pending))
            w->pending[w->n_pending++] = needs->outputs[k];
}

static int do_step(struct work *w, int i, struct err *err)
{
    const struct step *step = &w->options->steps[i];
    struct step_result *r = &w->report->results[i];
    struct step_needs needs;
    struct file_hash key = {0};
    if (step->left_out) {
        r->state = STEP_LEFT_OUT;
        snprintf(r->reason, sizeof r->reason, "%s", step->left_out);
        return 0;
    }
    copy_entry(r, steps_manifest_find(&w->manifest, step->name));
    if (i < w->first || i > w->last) {
        r->state = STEP_PASSED;
        return 0;
    }
    int rc = declare(&needs, w, i, err);
    if (!rc)
        rc = judge(r, &key, w, i, &needs, err);
    if (!rc && r->state != STEP_DONE && w->options->status)
        note_pending(w, &needs);
    else if (!rc && r->state != STEP_DONE)
        rc = run_step(w, i, key, &needs, err);
    buf_release(&needs.config);
    if (rc == MOE2_ESTOP)
        r->state = STEP_TODO;
    return rc ? err_prefix(err, "step %s", step->name) : 0;
}

int steps_run(struct steps_report *report, const struct steps_options *options, struct err *err)
{
    struct work w = {.options = options, .report = report};
    assert(options->n_steps >= 1 && options->n_steps <= STEPS_MAX);
    *report = (struct steps_report){.n_steps = options->n_steps};
    int rc = choose(&w, err);
    if (!rc)
        rc = steps_manifest_read(&w.manifest, options->manifest, err);
    for (int i = 0; i < options->n_steps; i++) {
        report->results[i].state = STEP_PASSED;
        if (!rc && options->stop && *options->stop)
            rc = err_set(err, MOE2_ESTOP, "stopped before step %s; what was done is kept",
                         options->steps[i].name);
        if (!rc)
            rc = do_step(&w, i, err);
    }
    steps_manifest_release(&w.manifest);
    arena_release(&w.arena);
    return rc;
}

void steps_report_release(struct steps_report *report)
{
    for (int i = 0; i < report->n_steps; i++)
        free(report->results[i].said);
    *report = (struct steps_report){0};
}
