/* compare.json, the plan of a comparison as report/comparison.h reads it. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "base/file.h"
#include "io/json_util.h"
#include "pipeline/compare_plan.h"
#include "report/run_metrics.h"

static void put_run(struct json_writer *w, const struct compare_plan *plan, int job)
{
    char text[512];
    snprintf(text, sizeof text, "%.200s/%.300s", plan->jobs[job].group, plan->jobs[job].name);
    jw_text(w, NULL, text);
}

static void put_settings(struct json_writer *w, const struct settings *s)
{
    jw_array(w, "settings");
    for (int i = 0; i < s->n; i++)
        jw_text(w, NULL, s->list[i]);
    jw_end(w);
}

static void put_routers(struct json_writer *w, const struct compare_plan *plan)
{
    jw_array(w, "routers");
    for (int i = 0; i < plan->n_routers; i++) {
        const struct compare_router *r = &plan->routers[i];
        jw_object(w, NULL);
        jw_text(w, "label", r->label);
        jw_text(w, "config", r->path);
        put_settings(w, &r->settings);
        jw_array(w, "runs");
        for (int s = 0; s < plan->n_seeds; s++)
            put_run(w, plan, r->jobs[s]);
        jw_end(w);
        jw_end(w);
    }
    jw_end(w);
}

static void put_tuning(struct json_writer *w, const struct compare_plan *plan)
{
    jw_object(w, "tuning");
    jw_int(w, "runs", plan->o->tune_runs);
    jw_text(w, "method", PLAN_TUNING_METHOD);
    jw_int(w, "seed", plan->tune_seed);
    jw_array(w, "routers");
    for (int i = 0; i < plan->n_routers; i++) {
        const struct compare_router *r = &plan->routers[i];
        if (r->n_trials == 0)
            continue;
        jw_object(w, NULL);
        jw_text(w, "label", r->label);
        jw_int(w, "best", r->best);
        jw_array(w, "trials");
        for (int t = 0; t < r->n_trials; t++) {
            jw_object(w, NULL);
            put_settings(w, &r->trials[t].settings);
            jw_real(w, "loss", r->trials[t].loss);
            jw_end(w);
        }
        jw_end(w);
        jw_end(w);
    }
    jw_end(w);
    jw_end(w);
}

static void put_ablation(struct json_writer *w, const struct compare_plan *plan)
{
    jw_object(w, "ablation");
    jw_text(w, "of", plan->routers[plan->ablated].label);
    jw_ints(w, "seeds", plan->seeds, plan->n_seeds);
    jw_array(w, "variants");
    for (int i = 0; i < plan->n_variants; i++) {
        const struct variant *v = &plan->variants[i];
        jw_object(w, NULL);
        jw_text(w, "label", v->label);
        put_settings(w, &v->settings);
        jw_array(w, "runs");
        for (int s = 0; s < plan->n_seeds; s++)
            put_run(w, plan, v->jobs[s]);
        jw_end(w);
        jw_end(w);
    }
    jw_end(w);
    jw_end(w);
}

static void put_sweep(struct json_writer *w, const struct compare_plan *plan)
{
    jw_object(w, "sweep");
    jw_text(w, "of", plan->routers[plan->ablated].label);
    jw_int(w, "seed", plan->seeds[0]);
    jw_array(w, "parameters");
    for (int i = 0; i < plan->n_sweeps; i++) {
        const struct sweep *s = &plan->sweeps[i];
        jw_object(w, NULL);
        jw_text(w, "key", s->key);
        jw_real(w, "default", s->initial);
        jw_reals(w, "values", s->values, s->n);
        jw_array(w, "runs");
        for (int k = 0; k < s->n; k++)
            put_run(w, plan, s->jobs[k]);
        jw_end(w);
        jw_end(w);
    }
    jw_end(w);
    jw_end(w);
}

static void put_references(struct json_writer *w, const json_t *list)
{
    jw_array(w, "references");
    for (size_t i = 0; i < json_array_size(list); i++) {
        const json_t *line = json_array_get(list, i);
        jw_object(w, NULL);
        jw_text(w, "label", json_text_at(line, "label"));
        jw_real(w, "bits_per_byte", json_number_at(line, "bits_per_byte"));
        jw_text(w, "note", json_text_at(line, "note"));
        jw_end(w);
    }
    jw_end(w);
}

/* What the runs ran on and were made by; the runs' own metrics.json say which kernels. */
static void put_machine(struct json_writer *w, const struct compare_plan *plan)
{
    struct utsname u;
    jw_object(w, "machine");
    jw_text(w, "moe2", MOE2_VERSION);
    jw_text(w, "compiler", __VERSION__);
    if (uname(&u) == 0) {
        jw_text(w, "system", u.sysname);
        jw_text(w, "kernel", u.release);
        jw_text(w, "architecture", u.machine);
    }
    jw_int(w, "cores", sysconf(_SC_NPROCESSORS_ONLN));
    jw_int(w, "memory_mib",
           (int64_t)sysconf(_SC_PHYS_PAGES) * sysconf(_SC_PAGESIZE) / (1024 * 1024));
    jw_int(w, "runs_at_once", plan->o->jobs);
    jw_end(w);
}

/* The sources of the packed text, as its manifest names them. */
static void put_data(struct json_writer *w, const struct compare_plan *plan)
{
    const char *dir = plan->routers[0].rc.data.dir;
    char *path = *dir ? path_join(dir, "manifest.json") : NULL;
    json_t *manifest = NULL;
    if (!path || json_read_file(&manifest, path, 64 << 20, NULL)) {
        free(path);
        return;
    }
    const json_t *sources = json_object_get(manifest, "sources");
    jw_array(w, "data");
    for (size_t i = 0; i < json_array_size(sources) && i < 100; i++) {
        const json_t *o = json_array_get(sources, i);
        const char *package = json_text_at(o, "package");
        jw_object(w, NULL);
        jw_text(w, "source", package ? package : json_text_at(o, "path"));
        jw_text(w, "version", json_text_at(o, "version"));
        jw_real(w, "documents", json_number_at(o, "documents"));
        jw_real(w, "bytes", json_number_at(o, "bytes"));
        jw_end(w);
    }
    jw_end(w);
    json_decref(manifest);
    free(path);
}

/* The commands as one would type them. */
static int put_commands(struct json_writer *w, const struct compare_plan *plan, struct err *err)
{
    int rc = 0;
    jw_array(w, "commands");
    for (int i = 0; i < plan->n_jobs && !rc; i++) {
        struct plan_command command = {0};
        struct buf line = {0};
        rc = plan_command(&command, plan, &plan->jobs[i], err);
        if (!rc)
            rc = buf_puts(&line, "moe2", err);
        for (int k = 1; !rc && command.argv[k]; k++) {
            const char *word = command.argv[k];
            rc = buf_printf(&line, err, strpbrk(word, " '\"\\$*[") ? " '%s'" : " %s", word);
        }
        if (!rc)
            jw_text(w, NULL, line.bytes);
        buf_release(&line);
        settings_release(&command.settings);
    }
    jw_end(w);
    return rc;
}

int plan_write(const struct compare_plan *plan, struct err *err)
{
    struct buf out = {0};
    struct json_writer w;
    bool has_none = false;
    for (int i = 0; i < plan->n_routers; i++)
        has_none = has_none || strcmp(plan->routers[i].label, "none") == 0;
    json_writer_init(&w, &out, 2);
    jw_object(&w, NULL);
    jw_text(&w, "format", "moe2-comparison");
    jw_int(&w, "version", 1);
    jw_text(&w, "command", plan->o->command);
    jw_text(&w, "baseline", has_none ? "none" : plan->routers[0].label);
    jw_ints(&w, "seeds", plan->seeds, plan->n_seeds);
    put_routers(&w, plan);
    if (plan->o->tune_runs)
        put_tuning(&w, plan);
    if (plan->n_variants)
        put_ablation(&w, plan);
    if (plan->n_sweeps)
        put_sweep(&w, plan);
    if (plan->references)
        put_references(&w, plan->references);
    put_data(&w, plan);
    put_machine(&w, plan);
    int rc = put_commands(&w, plan, err);
    jw_end(&w);
    int wrote = json_writer_end(&w, err);
    char *path = path_join(plan->o->dir, "compare.json");
    if (!rc)
        rc = wrote ? wrote : path ? 0 : err_set(err, MOE2_ELIMIT, "no memory for a name");
    if (!rc)
        rc = file_write(path, out.bytes, out.n, err);
    free(path);
    buf_release(&out);
    return rc;
}
