/* Which runs tuning, ablation and the sweep are made of. Tuning gives every router that has coefficients the same number of runs: one
 * coefficient is searched on a logarithmic grid, several by random search (Bergstra & Bengio 2012), whose first trial is the start values. */
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/rng.h"
#include "pipeline/compare_plan.h"
#include "report/run_metrics.h"

const char PLAN_TUNING_METHOD[] =
    "One coefficient (aux, loss_free, quantile) was tried on a logarithmic grid from a tenth to "
    "ten times its "
    "start value (up to 1 for a rate); RD-ESI's several by seeded random search on logarithmic "
    "ranges around the "
    "start values, which are the first trial. Routers without coefficients (none, random, "
    "expert_choice) have "
    "nothing to tune. The trials use a seed of their own, which is none of those compared.";

/* ---- tuning ---- */

static const char *kind_of(const struct compare_router *r)
{
    return run_config_label(&r->rc.routing);
}

/* The one coefficient of a router of that kind; NULL when it has none or several. */
static const char *single_coefficient(const struct compare_router *r, double *start, double *max)
{
    const char *kind = kind_of(r);
    *max = 1;
    if (strcmp(kind, "aux") == 0 || strcmp(kind, "aux_global") == 0) {
        *start = r->rc.router.aux_coef;
        *max = 100;
        return "router.aux_coef";
    }
    if (strcmp(kind, "loss_free") == 0) {
        *start = r->rc.router.update_rate;
        return "router.update_rate";
    }
    if (strcmp(kind, "quantile") == 0) {
        *start = r->rc.router.quantile_rate;
        return "router.quantile_rate";
    }
    return NULL;
}

static int grid_trial(struct trial *t, const char *key, double start, double max, int i, int n,
                      struct err *err)
{
    double high = fmin(10 * start, max);
    return settings_add(&t->settings, err, "%s=%.4g", key,
                        high * pow(100, (double)i / (n - 1) - 1));
}

static double around(struct rng *r, double start)
{
    return start * pow(10, 2 * rng_uniform(r) - 1);
}

/* One draw for RD-ESI. A coefficient of 0 stays 0: it is a term taken away. */
static int random_trial(struct trial *t, const struct compare_router *router, struct rng *r,
                        struct err *err)
{
    const struct run_router *k = &router->rc.router;
    double alpha = pow(10, -2 * rng_uniform(r)), load = pow(10, -2 * rng_uniform(r));
    double decay = 1 - pow(10, -1 - 2 * rng_uniform(r));
    double beta = around(r, k->beta), gamma = around(r, k->gamma), C = around(r, k->C);
    double integral = around(r, k->integral);
    int rc = settings_add(&t->settings, err, "router.alpha=%.4g", alpha);
    if (!rc)
        rc = settings_add(&t->settings, err, "router.beta=%.4g", beta);
    if (!rc)
        rc = settings_add(&t->settings, err, "router.gamma=%.4g", gamma);
    if (!rc)
        rc = settings_add(&t->settings, err, "router.C=%.4g", C);
    if (!rc)
        rc = settings_add(&t->settings, err, "router.decay_rate=%.4g", decay);
    if (!rc)
        rc = settings_add(&t->settings, err, "router.load_ema_alpha=%.4g", load);
    if (!rc && k->integral > 0)
        rc = settings_add(&t->settings, err, "router.integral=%.4g", integral);
    return rc;
}

static int add_trials(struct compare_plan *plan, struct compare_router *r, struct err *err)
{
    double start = 0, max = 0;
    const char *key = single_coefficient(r, &start, &max);
    int n = (int)plan->o->tune_runs, rc = 0;
    struct rng rng;
    if (!key && strncmp(kind_of(r), "rd_esi", 6) != 0)
        return 0;
    rng_init(&rng, 1);
    r->trials = calloc((size_t)n, sizeof *r->trials);
    if (!r->trials)
        return err_set(err, MOE2_ELIMIT, "no memory for %d trials", n);
    r->n_trials = n;
    for (int i = 0; i < n && !rc; i++) {
        char name[160];
        struct trial *t = &r->trials[i];
        t->loss = NAN;
        if (key)
            rc = grid_trial(t, key, start, max, i, n, err);
        else if (i > 0)
            rc = random_trial(t, r, &rng, err);
        snprintf(name, sizeof name, "%.120s-t%d", r->label, i);
        if (!rc)
            rc = plan_add_job(&t->job, plan, r, "tune", name, plan->tune_seed, &t->settings, false,
                              err);
    }
    return rc;
}

int plan_add_tuning(struct compare_plan *plan, struct err *err)
{
    int rc = 0;
    for (int i = 0; i < plan->n_routers && !rc; i++)
        rc = add_trials(plan, &plan->routers[i], err);
    return rc;
}

/* The lowest validation loss of a run; NaN when it has none. */
static double validation_loss(const struct compare_plan *plan, const struct compare_job *job)
{
    struct run_metrics m = {0};
    struct err err = {0};
    double least = NAN;
    char *folder = plan_folder(plan, job);
    if (folder && run_metrics_read(&m, folder, &err))
        log_line(plan->o->log, LOG_WARN, "a tuning run is left out: %s", err.msg);
    for (int64_t i = 0; i < m.evals.n; i++)
        if (isfinite(m.evals.loss[i]) && !(m.evals.loss[i] >= least))
            least = m.evals.loss[i];
    run_metrics_release(&m);
    free(folder);
    return least;
}

int plan_end_tuning(struct compare_plan *plan, struct err *err)
{
    int rc = 0;
    for (int i = 0; i < plan->n_routers && !rc; i++) {
        struct compare_router *r = &plan->routers[i];
        for (int t = 0; t < r->n_trials; t++) {
            r->trials[t].loss = validation_loss(plan, &plan->jobs[r->trials[t].job]);
            if (isfinite(r->trials[t].loss) &&
                (r->best < 0 || r->trials[t].loss < r->trials[r->best].loss))
                r->best = t;
        }
        if (r->n_trials && r->best < 0)
            return err_set(err, MOE2_EIO, "no tuning run of %s has a validation loss", r->label);
        if (r->n_trials) {
            log_line(plan->o->log, LOG_INFO, "tuned %s: trial %d, validation loss %.4f", r->label,
                     r->best, r->trials[r->best].loss);
            rc = settings_join(&r->settings, &r->trials[r->best].settings, err);
        }
    }
    return rc;
}

/* ---- the router as it is compared: its configuration and what tuning chose ---- */

static double setting(const struct compare_router *r, const char *key, double configured)
{
    size_t n = strlen(key);
    for (int i = r->settings.n; i-- > 0;)
        if (strncmp(r->settings.list[i], key, n) == 0 && r->settings.list[i][n] == '=')
            return strtod(r->settings.list[i] + n + 1, NULL);
    return configured;
}

/* ---- ablation ---- */

static int add_variant(struct compare_plan *plan, const char *label, const char *name,
                       struct err *err, const char *word)
{
    struct variant *v = &plan->variants[plan->n_variants++];
    struct compare_router *r = &plan->routers[plan->ablated];
    v->label = label;
    v->name = name;
    int rc = settings_add(&v->settings, err, "%s", word);
    for (int s = 0; s < plan->n_seeds && !rc; s++) {
        char full[160];
        snprintf(full, sizeof full, "%.60s-%.60s-s%" PRId64, r->label, name, plan->seeds[s]);
        rc = plan_add_job(&v->jobs[s], plan, r, "ablate", full, plan->seeds[s], &v->settings, true,
                          err);
    }
    return rc;
}

int plan_add_ablation(struct compare_plan *plan, struct err *err)
{
    const struct compare_router *r = &plan->routers[plan->ablated];
    char integral[64];
    /* The start value of the integral, in units of the score: routing.md's 0.01, times 2/E for softmax. */
    double unit = r->rc.routing.score == SCORE_SOFTMAX ? 2.0 / r->rc.routing.n_experts : 1;
    bool has_integral = setting(r, "router.integral", r->rc.router.integral) > 0;
    snprintf(integral, sizeof integral, "router.integral=%.4g", has_integral ? 0 : 0.01 * unit);
    const char *performance[] = {NULL, "loss", "norm", "accuracy"};
    const char *names[] = {NULL, "performance: loss", "performance: norm", "performance: accuracy"};
    int rc = add_variant(plan, "β = 0: no reputation", "beta0", err, "router.beta=0");
    if (!rc)
        rc = add_variant(plan, "γ = 0: no load", "gamma0", err, "router.gamma=0");
    if (!rc)
        rc = add_variant(plan, "C = 0: no exploration", "C0", err, "router.C=0");
    if (!rc)
        rc = add_variant(plan, "decay_rate = 1: no decay", "nodecay", err, "router.decay_rate=1");
    if (!rc)
        rc = add_variant(plan, has_integral ? "without integral" : "with integral", "integral", err,
                         integral);
    for (int k = 1; k < 4 && !rc; k++) {
        char word[64];
        int now = r->rc.router.performance;
        if (k == now || (now == 0 && k == 1)) /* 0 is auto: loss */
            continue;
        snprintf(word, sizeof word, "router.performance=%s", performance[k]);
        rc = add_variant(plan, names[k], performance[k], err, word);
    }
    return rc;
}

/* ---- sweep ---- */

/* One run a value; the value that the comparison itself uses is its first seed's run. */
static int add_sweep(struct compare_plan *plan, const char *key, double now, const double *values,
                     int n, struct err *err)
{
    struct sweep *s = &plan->sweeps[plan->n_sweeps++];
    struct compare_router *r = &plan->routers[plan->ablated];
    int rc = 0;
    s->key = key;
    s->initial = now;
    for (int i = 0; i < n && !rc; i++) {
        char name[160], word[96];
        struct settings one = {0};
        s->values[s->n++] = values[i];
        if (fabs(values[i] - now) <= 1e-6 * fabs(now)) {
            s->values[i] = now;
            s->jobs[i] = r->jobs[0];
            continue;
        }
        snprintf(word, sizeof word, "router.%s=%.6g", key, values[i]);
        snprintf(name, sizeof name, "%.60s-%.40s-%.6g", r->label, key, values[i]);
        rc = settings_add(&one, err, "%s", word);
        if (!rc)
            rc = plan_add_job(&s->jobs[i], plan, r, "sweep", name, plan->seeds[0], &one, true, err);
        settings_release(&one);
    }
    return rc;
}

/* now and its multiples, or the fixed values of a rate with now among them, rising. */
static int spread_values(double *values, double now, const double *fixed, int n_fixed)
{
    static const double factors[] = {0.1, 0.316228, 1, 3.16228, 10};
    int n = 0;
    if (!fixed) {
        for (int i = 0; i < 5; i++)
            values[n++] = now * factors[i];
        return n;
    }
    bool placed = false;
    for (int i = 0; i < n_fixed; i++) {
        if (!placed && now <= fixed[i] * (1 + 1e-6)) {
            values[n++] = now;
            placed = true;
            if (fabs(fixed[i] - now) <= 1e-6 * fixed[i])
                continue;
        }
        values[n++] = fixed[i];
    }
    if (!placed)
        values[n++] = now;
    return n;
}

int plan_add_sweep(struct compare_plan *plan, struct err *err)
{
    static const double rates[] = {0.01, 0.03, 0.1, 0.3, 1}, decays[] = {0.9, 0.97, 0.99, 0.997, 1};
    static const double sizes[] = {0.001, 0.003, 0.01, 0.03, 0.1};
    const struct compare_router *r = &plan->routers[plan->ablated];
    const struct run_router *k = &r->rc.router;
    const struct {
        const char *key, *full;
        double configured;
        const double *fixed;
    } list[COMPARE_SWEPT] = {
        {"alpha", "router.alpha", k->alpha, rates},
        {"beta", "router.beta", k->beta, NULL},
        {"gamma", "router.gamma", k->gamma, NULL},
        {"C", "router.C", k->C, NULL},
        {"decay_rate", "router.decay_rate", k->decay_rate, decays},
        {"load_ema_alpha", "router.load_ema_alpha", k->load_ema_alpha, rates},
    };
    int rc = 0;
    for (int i = 0; i < COMPARE_SWEPT && !rc; i++) {
        double values[COMPARE_MAX_VALUES], now = setting(r, list[i].full, list[i].configured);
        /* The multiples of a term that is 0 are all 0: sizes that make sense take their place. */
        const double *fixed = list[i].fixed ? list[i].fixed : now > 0 ? NULL : sizes;
        int n = spread_values(values, now, fixed, 5);
        rc = add_sweep(plan, list[i].key, now, values, n, err);
    }
    return rc;
}
