/* The study from files to results: see study.h. What is said about them is in study_report.c. */
#include "pipeline/study.h"

#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "io/yaml.h"
#include "pipeline/fleet_config.h"
#include "pipeline/study_report.h"

static const char SCALED[] =
    "estimated: the published AGX Orin curve of a 7B model times the share of parameters read a "
    "token, output tokens a quarter of the recorded characters";
static const char TESTBED[] =
    "AGX-Orin-like: published, not measured here; RTX-4090-like: estimated";

struct study_options study_default(void)
{
    return (struct study_options){.models = "configs/fleet/mmlu_pro_models.csv",
                                  .fleet = "configs/fleet/demo.yaml",
                                  .fleets = "configs/fleet/study.yaml",
                                  .gates = "category,kmeans,knn,sigmoid",
                                  .output_tokens = 32,
                                  .seed = 1,
                                  .time_limit_s = 5,
                                  .out_dir = "results"};
}

/* ---- the fleets ---- */

struct lists {
    struct yaml_texts small, mixed;
};

static const struct yaml_key KEYS[] = {
    {"small", YAML_KEY_TEXT_LIST, offsetof(struct lists, small), NULL,
     .help = "the first fleet: columns of the outcomes"},
    {"mixed", YAML_KEY_TEXT_LIST, offsetof(struct lists, mixed), "[]",
     .help = "the second fleet; empty: none"},
};

static int add_fleet(struct study *s, const char *name, const char *const *experts, int n,
                     const struct profile_set *costs, struct err *err)
{
    struct study_result *r = calloc(1, sizeof *r);
    if (!r)
        return err_set(err, MOE2_ELIMIT, "no memory for a fleet");
    s->results[s->n_results++] = r;
    int rc = study_fleet_make(&r->fleet, &s->data, name, experts, n, costs, -1, err);
    r->fleet.cost_note = SCALED;
    return rc;
}

/* All experts, or those that have costs. */
static int add_all(struct study *s, bool known, const char *name, struct err *err)
{
    const char *names[SELECT_MAX_EXPERTS];
    int n = 0;
    for (int e = 0; e < s->data.answers.n_experts && n < SELECT_MAX_EXPERTS; e++)
        if (!known || curves_find(&s->costs.latency, s->data.answers.names[e]))
            names[n++] = s->data.answers.names[e];
    if (known && n == s->data.answers.n_experts)
        return 0; /* the same as all */
    return add_fleet(s, name, names, n, known ? &s->costs : NULL, err);
}

static int make_fleets(struct study *s, const struct study_options *o, struct err *err)
{
    struct yaml_source source = {.path = o->fleets};
    struct lists l = {0};
    int rc = yaml_read(&s->yaml, &l, KEYS, sizeof KEYS / sizeof *KEYS, &source, err);
    if (!rc)
        rc = add_fleet(s, "eight of 4-8B", l.small.values, (int)l.small.n, &s->costs, err);
    if (!rc && l.mixed.n && !o->quick)
        rc = add_fleet(s, "eight mixed", l.mixed.values, (int)l.mixed.n, &s->costs, err);
    if (!rc && !o->quick)
        rc = add_all(s, true, "all of known size", err);
    if (!rc && !o->quick)
        rc = add_all(s, false, "all models", err);
    return rc;
}

/* ---- tables II to IV ---- */

static const int LATENCIES_S[STUDY_N_LATENCIES] = {1, 2, 3};
enum { ENERGY_STEP_J = 5 };

static void table_limits(struct study *s)
{
    for (int i = 0; i < STUDY_N_LATENCIES; i++)
        s->table2[i].limits = (struct select_limits){LATENCIES_S[i] * 1000000LL, SELECT_NO_LIMIT};
    for (int k = 0; k < STUDY_N_ENERGIES; k++)
        s->table3[k].limits =
            (struct select_limits){SELECT_NO_LIMIT, (k + 1) * ENERGY_STEP_J * 1000000LL};
    for (int i = 0; i < STUDY_N_LATENCIES; i++)
        for (int k = 0; k < STUDY_N_ENERGIES; k++)
            s->table4[i * STUDY_N_ENERGIES + k].limits = (struct select_limits){
                s->table2[i].limits.latency_us, s->table3[k].limits.energy_uj};
}

/* The fleet of the tables has the costs of the test bed; where its experts are the first fleet's, so are its gates. */
static int fit_testbed(struct study *s, const struct study_options *o, struct err *err)
{
    struct study_result *first = s->results[0];
    struct fleet_config f;
    const char *names[SELECT_MAX_EXPERTS];
    struct profile_step step = {.import = o->devices, .fleet = o->fleet};
    int rc = fleet_config_read(&f, o->fleet, err);
    if (rc)
        return rc;
    for (int64_t i = 0; i < f.experts.n; i++)
        names[i] = fleet_column(&f, i);
    rc = profile_curves(&s->testbed_costs, &step, err);
    if (!rc)
        rc = study_fleet_make(&s->testbed, &s->data, "the test bed", names, (int)f.experts.n,
                              &s->testbed_costs, (int)o->output_tokens, err);
    s->testbed.cost_note = TESTBED;
    fleet_config_release(&f);
    bool same =
        !rc && s->testbed.N == first->fleet.N &&
        memcmp(s->testbed.column, first->fleet.column, (size_t)first->fleet.N * sizeof(int)) == 0;
    if (!rc && !same)
        rc = err_set(err, MOE2_ECONFIG,
                     "%s: its outcomes are not the experts of the first list of %s", o->fleet,
                     o->fleets);
    s->testbed_fitted = first->fitted;
    s->testbed_fitted.fleet = &s->testbed;
    s->testbed_fitted.gates.fleet = &s->testbed;
    return rc;
}

static int solve_tables(struct study *s, const struct study_options *o, struct err *err)
{
    int rc = fit_testbed(s, o, err);
    table_limits(s);
    struct {
        struct study_cell *cells;
        int n;
    } tables[] = {
        {s->table2, STUDY_N_LATENCIES}, {s->table3, STUDY_N_ENERGIES}, {s->table4, STUDY_N_BOTH}};
    for (int t = 0; t < 3 && !rc; t++)
        rc = study_solve(tables[t].cells, tables[t].n, &s->testbed_fitted, SELECT_DEPLOYED, 5,
                         o->time_limit_s, o->files.sink, o->stop, err);
    return rc;
}

/* ---- the whole ---- */

static int read_all(struct study *s, const struct study_options *o, struct err *err)
{
    struct profile_step step = {.import = o->devices, .models = o->models};
    int rc = study_data_read(&s->data, &o->files, err);
    return rc ? rc : profile_curves(&s->costs, &step, err);
}

static void release(struct study *s)
{
    for (int i = 0; i < s->n_results; i++)
        free(s->results[i]);
    profile_set_release(&s->costs);
    profile_set_release(&s->testbed_costs);
    yaml_config_free(s->yaml);
    study_data_release(&s->data);
    free(s);
}

int study_run(struct study_summary *out, const struct study_options *o, struct err *err)
{
    double begun = clock_s();
    struct study *s = calloc(1, sizeof *s);
    if (!s)
        return err_set(err, MOE2_ELIMIT, "no memory for the study");
    int rc = read_all(s, o, err);
    if (!rc)
        rc = make_fleets(s, o, err);
    if (!rc) /* the last fleet holds all others: all models, or the only one */
        rc = study_gates_fit(&s->gates, &s->data, &s->results[s->n_results - 1]->fleet, o, err);
    for (int i = 0; i < s->n_results && !rc; i++)
        rc = study_fleet_run(s->results[i], &s->data, &s->gates, o, err);
    if (!rc)
        rc = solve_tables(s, o, err);
    if (!rc)
        rc = study_write(out, s, o, err);
    out->seconds = clock_s() - begun;
    release(s);
    return rc;
}
