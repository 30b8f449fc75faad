/* Reading the configurations of a comparison, and the commands of its runs: see compare_plan.h. */
#include "pipeline/compare_plan.h"

#include <assert.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/process.h"

/* ---- settings ---- */

int settings_add(struct settings *s, struct err *err, const char *fmt, ...)
{
    va_list args;
    char *text = NULL;
    va_start(args, fmt);
    int n = vasprintf(&text, fmt, args);
    va_end(args);
    if (n < 0)
        return err_set(err, MOE2_ELIMIT, "no memory for a setting");
    if (s->n == COMPARE_MAX_SETTINGS) {
        free(text);
        return err_set(err, MOE2_ELIMIT, "more than %d settings", COMPARE_MAX_SETTINGS);
    }
    s->list[s->n++] = text;
    return 0;
}

int settings_join(struct settings *s, const struct settings *more, struct err *err)
{
    int rc = 0;
    for (int i = 0; i < more->n && !rc; i++)
        rc = settings_add(s, err, "%s", more->list[i]);
    return rc;
}

void settings_release(struct settings *s)
{
    for (int i = 0; i < s->n; i++)
        free(s->list[i]);
    s->n = 0;
}

/* ---- configurations ---- */

int plan_resolve(struct run_config *rc, struct err *err)
{
    struct model_config model;
    const char *start = run_config_start(rc), *path = start ? start : rc->model.config;
    int code = model_config_read(&model, path, err);
    if (!code && rc->model.vocab_size && !start)
        model.vocab_size = rc->model.vocab_size;
    return code ? code : run_config_resolve(rc, &model, err);
}

/* Overrides of the call: --set, and --tokens, which also unsets train.steps. */
static int common_settings(struct settings *out, const struct compare_options *o, struct err *err)
{
    int rc = 0;
    for (int i = 0; i < o->n_overrides && !rc; i++)
        rc = settings_add(out, err, "%s", o->overrides[i]);
    if (!rc && o->tokens) {
        rc = settings_add(out, err, "train.steps=0");
        if (!rc)
            rc = settings_add(out, err, "train.tokens=%" PRId64, o->tokens);
    }
    return rc;
}

static int read_router(struct compare_plan *plan, const char *path, struct err *err)
{
    struct compare_router *r = &plan->routers[plan->n_routers];
    struct settings common = {0};
    int rc = common_settings(&common, plan->o, err);
    if (!rc)
        rc = run_config_read(&r->rc, path, (const char *const *)common.list, common.n, err);
    if (rc) {
        settings_release(&common);
        return rc;
    }
    plan->n_routers++;
    r->best = -1;
    r->path = strdup(path);
    rc = r->path ? plan_resolve(&r->rc, err) : err_set(err, MOE2_ELIMIT, "no memory for a name");
    if (!rc) {
        r->label = strdup(run_config_label(&r->rc.routing));
        rc = r->label ? 0 : err_set(err, MOE2_ELIMIT, "no memory for a name");
    }
    settings_release(&common);
    return rc;
}

static bool may_differ(const char *key)
{
    static const char *const free_keys[] = {"name", "seed", "results_dir", "train.save_every",
                                            "train.log_every"};
    for (size_t i = 0; i < sizeof free_keys / sizeof *free_keys; i++)
        if (strcmp(key, free_keys[i]) == 0)
            return true;
    return strncmp(key, "router.", 7) == 0;
}

/* Whether two configurations differ in nothing but their routers; if not, the message says in what. */
static int check_alike(const struct compare_router *a, const struct compare_router *b,
                       struct err *err)
{
    int n = 0, rc = 0;
    const struct yaml_key *keys = run_config_keys(&n);
    struct buf x = {0}, y = {0};
    for (int i = 0; i < n && !rc; i++) {
        if (may_differ(keys[i].name))
            continue;
        buf_clear(&x);
        buf_clear(&y);
        rc = yaml_dump_value(&x, &a->rc, &keys[i], err);
        if (!rc)
            rc = yaml_dump_value(&y, &b->rc, &keys[i], err);
        if (!rc && strcmp(x.bytes, y.bytes) != 0)
            rc = err_set(err, MOE2_ECONFIG,
                         "%s and %s differ in %s (%.80s and %.80s), wanted configurations that "
                         "differ in router keys alone",
                         a->path, b->path, keys[i].name, x.bytes, y.bytes);
    }
    buf_release(&x);
    buf_release(&y);
    return rc;
}

static int find_label(const struct compare_plan *plan, const char *label, int before)
{
    for (int i = 0; i < before; i++)
        if (strcmp(plan->routers[i].label, label) == 0)
            return i;
    return -1;
}

/* Two configurations of one kind of router are told apart by their names. */
static int tell_apart(struct compare_plan *plan, struct err *err)
{
    bool twice[COMPARE_MAX_CONFIGS] = {false};
    for (int i = 0; i < plan->n_routers; i++) {
        int k = find_label(plan, plan->routers[i].label, i);
        if (k >= 0)
            twice[i] = twice[k] = true;
    }
    for (int i = 0; i < plan->n_routers; i++)
        if (twice[i]) {
            free(plan->routers[i].label);
            plan->routers[i].label = strdup(plan->routers[i].rc.name);
            if (!plan->routers[i].label)
                return err_set(err, MOE2_ELIMIT, "no memory for a name");
        }
    for (int i = 0; i < plan->n_routers; i++) {
        int k = find_label(plan, plan->routers[i].label, i);
        if (k >= 0)
            return err_set(err, MOE2_ECONFIG,
                           "%s and %s have the same router and the same name \"%s\"",
                           plan->routers[k].path, plan->routers[i].path, plan->routers[i].label);
    }
    return 0;
}

static bool is_yaml(const char *name)
{
    const char *dot = strrchr(name, '.');
    return dot && (strcmp(dot, ".yaml") == 0 || strcmp(dot, ".yml") == 0) && name[0] != '.';
}

static void drop_last(struct compare_plan *plan)
{
    struct compare_router *last = &plan->routers[--plan->n_routers];
    run_config_release(&last->rc);
    free(last->path);
    free(last->label);
    *last = (struct compare_router){0};
}

static int add_config(struct compare_plan *plan, const char *path, bool lenient, struct err *err)
{
    struct err why = {0};
    int before = plan->n_routers;
    if (plan->n_routers == COMPARE_MAX_CONFIGS)
        return err_set(err, MOE2_ELIMIT, "more than %d configurations", COMPARE_MAX_CONFIGS);
    int rc = read_router(plan, path, &why);
    if (!rc && plan->n_routers > 1)
        rc = check_alike(&plan->routers[0], &plan->routers[plan->n_routers - 1], &why);
    if (!rc)
        return 0;
    if (!lenient || rc == MOE2_ELIMIT)
        return err_set(err, why.code, "%s", why.msg);
    log_line(plan->o->log, LOG_INFO, "left out: %s", why.msg);
    if (plan->n_routers > before)
        drop_last(plan);
    return 0;
}

static int add_folder(struct compare_plan *plan, const char *dir, bool lenient, struct err *err)
{
    char **names = NULL;
    size_t n = 0;
    int rc = dir_names(&names, &n, dir, err), before = plan->n_routers;
    for (size_t i = 0; i < n && !rc; i++) {
        if (!is_yaml(names[i]))
            continue;
        char *path = path_join(dir, names[i]);
        rc = path ? add_config(plan, path, lenient, err)
                  : err_set(err, MOE2_ELIMIT, "no memory for a name");
        free(path);
    }
    dir_names_free(names, n);
    if (!rc && plan->n_routers == before)
        rc = err_set(err, MOE2_ECONFIG, "%s: holds no configuration (*.yaml) that can be compared",
                     dir);
    return rc;
}

/* The set of baselines: what stands in configs/ and agrees with the RD-ESI experiment's configuration. */
static int add_default(struct compare_plan *plan, struct err *err)
{
    static const char first[] = "configs/rd_esi_config.yaml";
    if (!file_exists(first))
        return err_set(err, MOE2_ECONFIG,
                       "%s is not here, and --configs is not given: say which configurations to "
                       "compare",
                       first);
    int rc = add_config(plan, first, false, err);
    char **names = NULL;
    size_t n = 0;
    if (!rc)
        rc = dir_names(&names, &n, "configs", err);
    for (size_t i = 0; i < n && !rc; i++) {
        char path[512];
        snprintf(path, sizeof path, "configs/%s", names[i]);
        if (is_yaml(names[i]) && strcmp(path, first) != 0)
            rc = add_config(plan, path, true, err);
        struct compare_router *last = &plan->routers[plan->n_routers - 1];
        if (!rc && last->label && strcmp(last->label, "rd_esi_raw") == 0) /* on request only */
            drop_last(plan);
    }
    dir_names_free(names, n);
    return rc;
}

/* none first, then the baselines, then RD-ESI: the order of tables. */
static int place(const struct compare_router *r)
{
    static const char *const order[] = {"none",      "aux",      "aux_global",
                                        "loss_free", "quantile", "expert_choice",
                                        "random",    "rd_esi",   "rd_esi_integral"};
    const char *label = run_config_label(&r->rc.routing);
    for (int i = 0; i < (int)(sizeof order / sizeof *order); i++)
        if (strcmp(order[i], label) == 0)
            return i;
    return 100;
}

static void sort_routers(struct compare_plan *plan)
{
    for (int i = 1; i < plan->n_routers; i++)
        for (int k = i; k > 0 && place(&plan->routers[k]) < place(&plan->routers[k - 1]); k--) {
            struct compare_router t = plan->routers[k];
            plan->routers[k] = plan->routers[k - 1];
            plan->routers[k - 1] = t;
        }
    plan->ablated = -1;
    for (int i = plan->n_routers; i-- > 0;)
        if (strncmp(run_config_label(&plan->routers[i].rc.routing), "rd_esi", 6) == 0)
            plan->ablated = i;
}

static int check_options(const struct compare_options *o, struct err *err)
{
    if (o->n_seeds < 1 || o->n_seeds > COMPARE_MAX_SEEDS)
        return err_set(err, MOE2_ECONFIG, "--seeds is %" PRId64 ", wanted 1 to %d", o->n_seeds,
                       COMPARE_MAX_SEEDS);
    if (o->jobs < 1 || o->jobs > COMPARE_MAX_JOBS)
        return err_set(err, MOE2_ECONFIG, "--jobs is %d, wanted 1 to %d", o->jobs,
                       COMPARE_MAX_JOBS);
    if (o->tokens < 0)
        return err_set(err, MOE2_ECONFIG, "--tokens is %" PRId64 ", wanted more than 0", o->tokens);
    if (o->tune_runs < 0 || o->tune_runs > 256 || o->tune_runs == 1)
        return err_set(err, MOE2_ECONFIG, "--tune is %" PRId64 ", wanted 2 to 256 runs a router",
                       o->tune_runs);
    return 0;
}

int plan_open(struct compare_plan *plan, const struct compare_options *o, struct err *err)
{
    *plan = (struct compare_plan){.o = o, .ablated = -1, .n_seeds = (int)o->n_seeds};
    int rc = check_options(o, err);
    if (rc)
        return rc;
    plan->routers = calloc(COMPARE_MAX_CONFIGS, sizeof *plan->routers);
    if (!plan->routers)
        return err_set(err, MOE2_ELIMIT, "no memory for the plan");
    if (o->n_configs == 0)
        rc = add_default(plan, err);
    for (int i = 0; i < o->n_configs && !rc; i++)
        rc = file_is_dir(o->configs[i]) ? add_folder(plan, o->configs[i], false, err)
                                        : add_config(plan, o->configs[i], false, err);
    if (!rc)
        rc = tell_apart(plan, err);
    if (rc)
        return rc;
    int64_t first = plan->routers[0].rc.seed;
    for (int i = 0; i < plan->n_seeds; i++)
        plan->seeds[i] = first + i;
    plan->tune_seed = first > 0 ? 0 : first + plan->n_seeds;
    sort_routers(plan);
    if ((o->ablate || o->sweep) && plan->ablated < 0)
        return err_set(err, MOE2_ECONFIG,
                       "--%s wants a configuration with the incentive rd_esi among those compared",
                       o->ablate ? "ablate" : "sweep");
    return 0;
}

void plan_release(struct compare_plan *plan)
{
    for (int i = 0; i < plan->n_routers; i++) {
        struct compare_router *r = &plan->routers[i];
        run_config_release(&r->rc);
        settings_release(&r->settings);
        for (int t = 0; t < r->n_trials; t++)
            settings_release(&r->trials[t].settings);
        free(r->trials);
        free(r->path);
        free(r->label);
    }
    for (int i = 0; i < plan->n_jobs; i++) {
        settings_release(&plan->jobs[i].settings);
        free(plan->jobs[i].name);
        free(plan->jobs[i].group);
    }
    for (int i = 0; i < plan->n_variants; i++)
        settings_release(&plan->variants[i].settings);
    json_decref(plan->references);
    free(plan->routers);
    free(plan->jobs);
    plan->references = NULL;
    plan->routers = NULL;
    plan->jobs = NULL;
    plan->n_routers = plan->n_jobs = plan->n_variants = 0;
}

/* ---- jobs ---- */

int plan_add_job(int *out, struct compare_plan *plan, const struct compare_router *router,
                 const char *group, const char *name, int64_t seed, const struct settings *more,
                 bool judged, struct err *err)
{
    if (plan->n_jobs == plan->capacity) {
        int capacity = plan->capacity ? 2 * plan->capacity : 64;
        struct compare_job *jobs = realloc(plan->jobs, (size_t)capacity * sizeof *jobs);
        if (!jobs)
            return err_set(err, MOE2_ELIMIT, "no memory for %d runs", capacity);
        plan->jobs = jobs;
        plan->capacity = capacity;
    }
    struct compare_job *j = &plan->jobs[plan->n_jobs];
    *j = (struct compare_job){.config = router->path,
                              .name = strdup(name),
                              .group = strdup(group),
                              .seed = seed,
                              .judged = judged};
    int rc = j->name && j->group ? 0 : err_set(err, MOE2_ELIMIT, "no memory for a name");
    *out = plan->n_jobs++;
    if (!rc)
        rc = settings_join(&j->settings, &router->settings, err);
    return rc || !more ? rc : settings_join(&j->settings, more, err);
}

int plan_add_runs(struct compare_plan *plan, struct err *err)
{
    int rc = 0;
    for (int s = 0; s < plan->n_seeds; s++) /* by seed, so that what is there is comparable early */
        for (int i = 0; i < plan->n_routers && !rc; i++) {
            char name[160];
            struct compare_router *r = &plan->routers[i];
            snprintf(name, sizeof name, "%.120s-s%" PRId64, r->label, plan->seeds[s]);
            rc = plan_add_job(&r->jobs[s], plan, r, "runs", name, plan->seeds[s], NULL, true, err);
        }
    return rc;
}

char *plan_folder(const struct compare_plan *plan, const struct compare_job *job)
{
    char *path = NULL;
    if (asprintf(&path, "%s/%s/%s", plan->o->dir, job->group, job->name) < 0)
        return NULL;
    return path;
}

/* Runs side by side share the cores, unless the configurations say how many threads they want. */
static int add_threads(struct settings *out, const struct compare_plan *plan, struct err *err)
{
    if (plan->o->jobs < 2 || plan->routers[0].rc.train.threads)
        return 0;
    return settings_add(out, err, "train.threads=%d", process_share(0, plan->o->jobs));
}

int plan_settings(struct settings *out, const struct compare_plan *plan,
                  const struct compare_job *job, struct err *err)
{
    struct settings s = {0};
    int rc = common_settings(&s, plan->o, err);
    if (!rc)
        rc = settings_join(&s, &job->settings, err);
    if (!rc)
        rc = add_threads(&s, plan, err);
    if (!rc)
        rc = settings_add(&s, err, "seed=%" PRId64, job->seed);
    if (!rc)
        rc = settings_add(&s, err, "name=%s", job->name);
    if (!rc)
        rc = settings_add(&s, err, "results_dir=%s/%s", plan->o->dir, job->group);
    if (rc)
        settings_release(&s);
    else
        *out = s;
    return rc;
}

int plan_command(struct plan_command *out, const struct compare_plan *plan,
                 const struct compare_job *job, struct err *err)
{
    int n = 0, rc = plan_settings(&out->settings, plan, job, err);
    if (rc)
        return rc;
    out->argv[n++] = plan->o->program;
    out->argv[n++] = job->judged ? "train_eval" : "train";
    out->argv[n++] = "--config";
    out->argv[n++] = job->config;
    out->argv[n++] = "--set";
    for (int i = 0; i < out->settings.n; i++)
        out->argv[n++] = out->settings.list[i];
    if (job->judged)
        out->argv[n++] = "--no-report"; /* the comparison has a report of its own */
    out->argv[n] = NULL;
    assert(n < (int)(sizeof out->argv / sizeof *out->argv));
    return 0;
}
