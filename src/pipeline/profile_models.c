/* Measuring models one by one: see profile_models.h. */
#include "pipeline/profile_models.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/utsname.h>
#include <time.h>

#include "base/file.h"
#include "base/machine.h"
#include "io/csv_write.h"
#include "io/json_util.h"
#include "kernels/nvml.h"
#include "model/source.h"
#include "pipeline/file_hash.h"
#include "pipeline/profile_record.h"

struct work {
    const struct profile_models *p;
    struct profile_lengths_plan plan;
    struct device *dev;
    struct meter meter;
    char *dir; /* OUT/profile */
    char machine[256];
    struct profile_record *records; /* [n_models] */
    struct buf *notes;
};

/* ---- what can't be ---- */

static int by_size(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return (x > y) - (x < y);
}

static int check_lengths(int64_t *list, int *n, const char *what, struct err *err)
{
    int kept = 0;
    if (*n < 1 || *n > PROFILE_MAX_LENGTHS)
        return err_set(err, MOE2_ECONFIG, "%s: %d lengths, wanted 1 to %d", what, *n,
                       PROFILE_MAX_LENGTHS);
    for (int i = 0; i < *n; i++)
        if (list[i] < 1 || list[i] > PROFILE_MAX_TOKENS)
            return err_set(err, MOE2_ECONFIG, "%s of %" PRId64 " tokens, wanted 1 to %d", what,
                           list[i], PROFILE_MAX_TOKENS);
    qsort(list, (size_t)*n, sizeof *list, by_size);
    for (int i = 0; i < *n; i++)
        if (!kept || list[kept - 1] != list[i])
            list[kept++] = list[i];
    *n = kept;
    return 0;
}

static int check_plan(struct profile_lengths_plan *plan, struct err *err)
{
    int rc = check_lengths(plan->prompts, &plan->n_prompts, "a prompt", err);
    if (!rc)
        rc = check_lengths(plan->outputs, &plan->n_outputs, "an answer", err);
    if (!rc && (plan->repeat < 1 || plan->repeat > PROFILE_MAX_REPEAT))
        rc = err_set(err, MOE2_ECONFIG, "every answer %" PRId64 " times, wanted 1 to %d",
                     plan->repeat, PROFILE_MAX_REPEAT);
    if (!rc && !(plan->most_s > 0 && plan->most_s <= 1e6))
        rc = err_set(err, MOE2_ECONFIG, "answers within %g s, wanted more than 0 and at most 1e6",
                     plan->most_s);
    return rc;
}

static int check_names(const struct profile_models *p, struct err *err)
{
    for (int i = 0; i < p->n_models; i++) {
        const char *name = p->models[i].name;
        bool bad = !*name || *name == '.' || strlen(name) > PROFILE_MAX_NAME || strchr(name, '/') ||
                   strcmp(name, "measurements") == 0;
        for (const char *c = name; *c; c++)
            bad |= (unsigned char)*c < ' ';
        if (bad)
            return err_set(err, MOE2_ECONFIG,
                           "a model is called \"%.99s\", wanted 1 to %d bytes without \"/\"", name,
                           PROFILE_MAX_NAME);
        for (int k = 0; k < i; k++)
            if (strcmp(name, p->models[k].name) == 0)
                return err_set(err, MOE2_ECONFIG,
                               "two models are called \"%s\"; NAME=DIR gives one another name",
                               name);
    }
    return 0;
}

static int check(struct work *w, struct err *err)
{
    const struct profile_models *p = w->p;
    if (p->n_models < 1)
        return err_set(err, MOE2_ECONFIG, "there is no model to measure");
    if (!(p->watts >= 0 && p->watts <= PROFILE_MAX_WATTS))
        return err_set(err, MOE2_ECONFIG, "%g W, wanted more than 0 and at most %d", p->watts,
                       PROFILE_MAX_WATTS);
    if (p->machine && (!*p->machine || strlen(p->machine) >= PROFILE_MACHINE_TEXT))
        return err_set(err, MOE2_ECONFIG, "the machine's name has %zu bytes, wanted 1 to %d",
                       strlen(p->machine), PROFILE_MACHINE_TEXT - 1);
    int rc = check_plan(&w->plan, err);
    return rc ? rc : check_names(p, err);
}

/* ---- this machine ---- */

/* Boards have a name, PCs a processor with one. */
static void name_host(char out[static PROFILE_MACHINE_TEXT])
{
    struct utsname u;
    if (machine_says(out, PROFILE_MACHINE_TEXT, "/proc/device-tree/model", NULL) ||
        machine_says(out, PROFILE_MACHINE_TEXT, "/proc/cpuinfo", "model name"))
        return;
    snprintf(out, PROFILE_MACHINE_TEXT, "%.64s", uname(&u) == 0 ? u.machine : "unknown machine");
}

static void name_machine(struct work *w)
{
    char name[PROFILE_MACHINE_TEXT] = "";
    struct nvml *n = NULL;
    if (w->p->machine)
        snprintf(name, sizeof name, "%s", w->p->machine);
    else if (!w->dev->host_memory && nvml_open(&n, NULL) == 0)
        nvml_name(n, w->dev->ordinal, name, sizeof name);
    nvml_close(n);
    if (!*name)
        name_host(name);
    if (w->dev->host_memory)
        snprintf(w->machine, sizeof w->machine, "%s, %d thread%s", name, w->dev->n_threads,
                 w->dev->n_threads == 1 ? "" : "s");
    else
        snprintf(w->machine, sizeof w->machine, "%s", name);
}

/* ---- what a record depends on ---- */

static int hash_settings(char text[static FILE_HASH_TEXT], const struct work *w, const char *path,
                         struct err *err)
{
    const struct profile_lengths_plan *plan = &w->plan;
    const char *meter = w->meter.kind ? w->meter.kind->name : "";
    struct file_hash h = FILE_HASH_BEGIN;
    int rc = file_hash_facts(&h, path, err);
    file_hash_add(&h, plan->prompts, (uint64_t)plan->n_prompts * sizeof *plan->prompts);
    file_hash_add(&h, plan->outputs, (uint64_t)plan->n_outputs * sizeof *plan->outputs);
    file_hash_add(&h, &plan->repeat, sizeof plan->repeat);
    file_hash_add(&h, &plan->most_s, sizeof plan->most_s);
    file_hash_add(&h, w->dev->name, strlen(w->dev->name));
    file_hash_add(&h, w->machine, strlen(w->machine));
    file_hash_add(&h, meter, strlen(meter));
    file_hash_text(text, h);
    return rc;
}

/* ---- one model ---- */

static int measure(struct profile_record *r, struct work *w, const struct profile_model *model,
                   struct err *err)
{
    const struct profile_lengths_plan *plan = &w->plan;
    struct session *s = NULL;
    struct session_options o = {
        .model = model->path,
        .capacity = plan->prompts[plan->n_prompts - 1] + plan->outputs[plan->n_outputs - 1],
        .compute = w->dev->bf16_units && source_is_narrow(model->path) ? DT_BF16 : DT_F32,
        .log = w->p->sink};
    struct profile_timing t = {
        .plan = *plan, .meter = &w->meter, .sink = w->p->sink, .stop = w->p->stop};
    time_t now = time(NULL);
    struct tm tm;
    int rc = session_open(&s, &o, w->dev, err);
    if (!rc)
        rc = profile_time(&r->answers, s, &t, err);
    session_free(s);
    if (rc)
        return rc;
    snprintf(r->machine, sizeof r->machine, "%s", w->machine);
    snprintf(r->meter, sizeof r->meter, "%s", w->meter.kind ? w->meter.kind->counts : "");
    if (!localtime_r(&now, &tm) || !strftime(r->date, sizeof r->date, "%Y-%m-%d", &tm))
        *r->date = 0;
    return 0;
}

/* The record of a run before this one; false when there is none that holds. */
static bool recall(struct profile_record *r, const struct work *w, const char *path,
                   const char *settings, const char *name)
{
    struct err err = {0};
    if (!file_exists(path))
        return false;
    if (profile_record_read(r, path, &err) == 0 && strcmp(r->settings, settings) == 0) {
        log_line(w->p->sink, LOG_INFO, "%s: kept as measured on %s (%s)", name, r->date, path);
        return true;
    }
    log_line(w->p->sink, LOG_INFO, "%s: measured anew, %s", name,
             err.code ? err.msg : "the record was made with other settings");
    profile_record_release(r);
    *r = (struct profile_record){0};
    return false;
}

static int do_model(struct work *w, int i, struct err *err)
{
    const struct profile_model *model = &w->p->models[i];
    struct profile_record *r = &w->records[i];
    char file[PROFILE_MAX_NAME + 8], settings[FILE_HASH_TEXT];
    snprintf(file, sizeof file, "%s.json", model->name);
    char *path = path_join(w->dir, file);
    if (!path)
        return err_set(err, MOE2_ELIMIT, "no memory for a name");
    int rc = hash_settings(settings, w, model->path, err);
    if (!rc && !recall(r, w, path, settings, model->name)) {
        log_line(w->p->sink, LOG_INFO, "%s: model %d of %d", model->name, i + 1, w->p->n_models);
        memcpy(r->settings, settings, sizeof r->settings);
        rc = measure(r, w, model, err);
        if (rc)
            err_prefix(err, "%s", model->name);
        else
            rc = profile_record_write(path, r, err);
    }
    free(path);
    return rc;
}

/* ---- the CSV ---- */

static int put_cell(struct buf *out, const char *text, struct err *err)
{
    return csv_cell(out, text, strlen(text), false, err);
}

static int put_row(struct buf *out, const struct work *w, const char *name,
                   const struct profile_record *r, const struct profile_answer *a, struct err *err)
{
    char latency_note[512], energy_note[1024] = "", number[2][32];
    bool metered = !isnan(a->joules), estimated = !metered && w->p->watts > 0;
    double joules = estimated ? a->seconds * w->p->watts : a->joules;
    snprintf(latency_note, sizeof latency_note, "measured here: %s, %s", r->machine, r->date);
    if (metered)
        snprintf(energy_note, sizeof energy_note, "%s; counts %s", latency_note, r->meter);
    else if (estimated)
        snprintf(energy_note, sizeof energy_note, "estimated: %g W times the seconds %s",
                 w->p->watts, latency_note);
    int rc = csv_cell(out, name, strlen(name), true, err);
    if (!rc)
        rc = put_cell(out, r->machine, err);
    if (!rc)
        rc = buf_printf(out, err, ",%" PRId64 ",%" PRId64 ",%s,measured", a->prompt_tokens,
                        a->output_tokens, json_real_text(number[0], a->seconds));
    if (!rc)
        rc = put_cell(out, latency_note, err);
    if (!rc)
        rc = buf_printf(out, err, ",%s,%s",
                        metered || estimated ? json_real_text(number[1], joules) : "",
                        metered     ? "measured"
                        : estimated ? "estimated"
                                    : "");
    if (!rc)
        rc = put_cell(out, energy_note, err);
    return rc ? rc : buf_puts(out, "\n", err);
}

static int write_csv(const struct work *w, struct err *err)
{
    struct buf text = {0};
    char *path = profile_models_csv(w->p->out_dir);
    int rc = path ? 0 : err_set(err, MOE2_ELIMIT, "no memory for a name");
    if (!rc)
        rc = buf_puts(&text,
                      "expert,device,prompt_tokens,output_tokens,latency_s,latency_source,"
                      "latency_note,energy_j,energy_source,energy_note\n",
                      err);
    for (int i = 0; i < w->p->n_models && !rc; i++)
        for (int64_t k = 0; k < w->records[i].answers.n && !rc; k++)
            rc = put_row(&text, w, w->p->models[i].name, &w->records[i],
                         &w->records[i].answers.list[k], err);
    if (!rc)
        rc = file_write(path, text.bytes, text.n, err);
    buf_release(&text);
    free(path);
    return rc;
}

char *profile_models_csv(const char *out_dir)
{
    char *dir = path_join(out_dir, "profile");
    char *path = dir ? path_join(dir, "measurements.csv") : NULL;
    free(dir);
    return path;
}

/* ---- all of them ---- */

/* What is not told by the numbers: which lengths are missing, and why there are no joules. */
static int add_notes(const struct work *w, struct err *err)
{
    int rc = 0;
    for (int i = 0; i < w->p->n_models && !rc; i++) {
        const char *line =
            w->records[i].answers.left_out.n ? w->records[i].answers.left_out.bytes : "";
        for (int n; *line && !rc; line += n + 1) {
            n = (int)strcspn(line, "\n");
            rc = buf_printf(w->notes, err, "%s: %.*s\n", w->p->models[i].name, n, line);
        }
    }
    if (!rc && !w->meter.kind)
        rc = buf_printf(w->notes, err, "joules are %s: %s\n",
                        w->p->watts > 0 ? "estimated" : "not known (--watts W estimates them)",
                        w->meter.what);
    return rc;
}

static int open_all(struct work *w, struct err *err)
{
    const struct profile_models *p = w->p;
    struct meter_options o = {.sysfs = p->sysfs};
    int rc = device_open_choice(&w->dev, &p->device, p->threads, err);
    if (!rc) {
        o.gpu = w->dev->ordinal;
        rc = meter_open(&w->meter, p->meter, !w->dev->host_memory, &o, err);
    }
    if (rc)
        return rc;
    name_machine(w);
    w->records = calloc((size_t)p->n_models, sizeof *w->records);
    w->dir = path_join(p->out_dir, "profile");
    if (!w->records || !w->dir)
        return err_set(err, MOE2_ELIMIT, "no memory for %d models", p->n_models);
    if (w->meter.kind)
        log_line(p->sink, LOG_INFO, "joules are counted by %s: %s", w->meter.kind->counts,
                 w->meter.what);
    return dir_make(w->dir, err);
}

int profile_models(const struct profile_models *p, struct buf *notes, struct err *err)
{
    struct work w = {.p = p, .plan = p->plan, .notes = notes};
    int rc = check(&w, err);
    if (!rc)
        rc = open_all(&w, err);
    for (int i = 0; i < p->n_models && !rc; i++)
        rc = do_model(&w, i, err);
    if (!rc)
        rc = write_csv(&w, err);
    if (!rc)
        rc = add_notes(&w, err);
    for (int i = 0; w.records && i < p->n_models; i++)
        profile_record_release(&w.records[i]);
    free(w.records);
    free(w.dir);
    meter_close(&w.meter);
    device_close(w.dev);
    return rc;
}

struct profile_lengths_plan profile_plan_default(void)
{
    return (struct profile_lengths_plan){.prompts = {32, 128, 512, 1024, 2048, 4096},
                                         .n_prompts = 6,
                                         .outputs = {1, 32, 128},
                                         .n_outputs = 3,
                                         .repeat = 3,
                                         .most_s = 60};
}
