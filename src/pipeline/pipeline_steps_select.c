/* The steps that choose and show: see pipeline_steps.h. */
#include <stdio.h>
#include <string.h>

#include "pipeline/pipeline_steps.h"
#include "pipeline/smo_tables.h"
#include "pipeline/step_live.h"

/* ---- select ---- */

/* Experts of our own always leave theirs. */
static bool has_predictions(const struct pipeline *p)
{
    return p->trains || p->predictions;
}

static int declare_tables(struct step_needs *needs, struct pipeline *p, const char *prefix,
                          struct err *err)
{
    static const char *const endings[] = {"md", "csv", "json"};
    int rc = 0;
    for (int t = 0; t < SMO_N_TABLES && !rc; t++)
        for (int e = 0; e < 3 && !rc; e++) {
            char name[96];
            snprintf(name, sizeof name, "results/smo_tables/%s%s.%s", prefix, smo_table_names[t],
                     endings[e]);
            rc = step_output(needs, pipeline_path(p, name, err), err);
        }
    return rc;
}

int declare_select(struct step_needs *needs, void *ctx, struct err *err)
{
    struct pipeline *p = ctx;
    int rc = pipeline_needs(
        needs, p,
        STEP_NAMES("results/accuracy/outcomes_train.csv", "results/accuracy/outcomes_test.csv",
                   "gating/oof_scores.npy", "gating/test_scores.npy",
                   "results/latency/latency.json", "results/energy/energy.json"),
        STEP_NAMES(), STEP_NAMES("select."), err);
    if (!rc && has_predictions(p))
        rc = pipeline_needs(needs, p,
                            STEP_NAMES("results/accuracy/predictions_train.csv",
                                       "results/accuracy/predictions_test.csv"),
                            STEP_NAMES(), STEP_NAMES(), err);
    if (!rc)
        rc = declare_tables(needs, p, "", err);
    if (!rc && pipeline_has_live(p))
        rc = pipeline_needs(needs, p,
                            STEP_NAMES("results/live/outcomes.csv", "results/live/predictions.csv",
                                       "results/live/lengths.csv", "results/live/scores.npy",
                                       "results/live/latency/latency.json",
                                       "results/live/energy/energy.json"),
                            STEP_NAMES(), STEP_NAMES(), err);
    if (!rc && pipeline_has_live(p))
        rc = declare_tables(needs, p, LIVE_PREFIX, err);
    return rc;
}

static struct smo_side side_of(struct pipeline *p, const char *side, const char *scores,
                               struct err *err)
{
    char outcomes[64], predictions[64];
    snprintf(outcomes, sizeof outcomes, "results/accuracy/outcomes_%s.csv", side);
    snprintf(predictions, sizeof predictions, "results/accuracy/predictions_%s.csv", side);
    return (struct smo_side){
        .outcomes = pipeline_path(p, outcomes, err),
        .scores = pipeline_path(p, scores, err),
        .predictions = has_predictions(p) ? pipeline_path(p, predictions, err) : NULL,
    };
}

/* The row whose subset is best on test, which is only said, never chosen by. */
static const struct smo_row *widest(const struct smo_report *r)
{
    const struct smo_row *rows = r->rows[SMO_BOTH];
    int64_t n = r->n_rows[SMO_BOTH];
    return n && rows[n - 1].train.there ? &rows[n - 1] : NULL;
}

/* What the running fleet answered, took and used. */
static struct smo_side live_side(struct pipeline *p, struct err *err)
{
    return (struct smo_side){
        .outcomes = pipeline_path(p, "results/live/outcomes.csv", err),
        .predictions = pipeline_path(p, "results/live/predictions.csv", err),
        .scores = pipeline_path(p, "results/live/scores.npy", err),
        .latency = pipeline_path(p, "results/live/latency/latency.json", err),
        .energy = pipeline_path(p, "results/live/energy/energy.json", err),
        .output_tokens = pipeline_path(p, "results/live/lengths.csv", err),
    };
}

/* Subsets chosen on gating_train, tried on that side. */
static int make_tables(struct smo_report *r, struct pipeline *p, struct smo_side test,
                       const char *prefix, const char *note, struct err *err)
{
    const struct pipeline_config *c = p->config;
    struct smo_options o = {.train = side_of(p, "train", "gating/oof_scores.npy", err),
                            .test = test,
                            .latency = pipeline_path(p, "results/latency/latency.json", err),
                            .energy = pipeline_path(p, "results/energy/energy.json", err),
                            .latency_s = c->select.latency_s.values,
                            .n_latency = c->select.latency_s.n,
                            .energy_j = c->select.energy_j.values,
                            .n_energy = c->select.energy_j.n,
                            .cost = c->select.cost == 0 ? SELECT_DEPLOYED : SELECT_ROUTED,
                            .k = c->select.k,
                            .combine = c->select.combine,
                            .output_tokens = c->select.output_tokens,
                            .note = note,
                            .prefix = prefix,
                            .out_dir = pipeline_path(p, "results/smo_tables", err),
                            .sink = p->sink,
                            .stop = p->stop};
    return o.out_dir && o.train.outcomes && o.test.outcomes ? smo_tables_run(r, &o, err)
                                                            : MOE2_ELIMIT;
}

int pipeline_tables(struct smo_report *r, struct pipeline *p, struct err *err)
{
    return make_tables(r, p, side_of(p, "test", "gating/test_scores.npy", err), NULL, p->note, err);
}

int pipeline_live_tables(struct smo_report *r, struct pipeline *p, struct err *err)
{
    struct buf note = {0};
    int rc = buf_printf(&note, err, LIVE_NOTE "%s%s", p->note ? "; " : "", p->note ? p->note : "");
    const char *kept = rc ? NULL : arena_strdup(&p->arena, note.bytes, err);
    buf_release(&note);
    return kept ? make_tables(r, p, live_side(p, err), LIVE_PREFIX, kept, err) : MOE2_ELIMIT;
}

int run_select(struct buf *said, void *ctx, struct err *err)
{
    struct smo_report r = {0};
    int rc = pipeline_tables(&r, ctx, err);
    if (!rc)
        rc = buf_printf(said, err, "%lld budgets, %lld different subsets",
                        (long long)(r.n_rows[0] + r.n_rows[1] + r.n_rows[2]),
                        (long long)r.n_subsets);
    const struct smo_row *row = rc ? NULL : widest(&r);
    if (row)
        rc = buf_printf(said, err, "; at %g s and %g J %.1f %% on test, best single %.1f",
                        row->latency_limit_s, row->energy_limit_j, 100 * row->test.accuracy,
                        row->single_test.there ? 100 * row->single_test.accuracy : 0.0);
    smo_report_release(&r);
    if (rc || !pipeline_has_live(ctx))
        return rc;
    r = (struct smo_report){0};
    rc = pipeline_live_tables(&r, ctx, err);
    if (!rc)
        rc = buf_printf(said, err, "; live on %lld questions: all together %.1f %%",
                        (long long)r.all_test.n, 100 * r.all_test.accuracy);
    smo_report_release(&r);
    return rc;
}
