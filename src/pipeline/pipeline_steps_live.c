/* The step that runs the build's own experts as a fleet: see pipeline_steps.h. What it leaves, select makes tables of. */
#include "pipeline/pipeline_steps.h"
#include "pipeline/step_gating_set.h"
#include "pipeline/step_live.h"

bool pipeline_has_live(const struct pipeline *p)
{
    return p->trains && p->config->live.questions > 0;
}

int declare_live(struct step_needs *needs, void *ctx, struct err *err)
{
    struct pipeline *p = ctx;
    int rc = 0;
    for (int64_t i = 0; i < p->fleet.experts.n && !rc; i++)
        rc = step_input(needs, pipeline_expert(p, i, true, err), err);
    return rc ? rc
              : pipeline_needs(needs, p,
                               STEP_NAMES("data/" GATING_TEST_FILE, "gating/gating.safetensors",
                                          "gating/test_scores.npy", "results/latency/latency.json",
                                          "results/energy/energy.json"),
                               STEP_NAMES("results/live/fleet.yaml", "results/live/questions.jsonl",
                                          "results/live/scores.npy", "results/live/outcomes.csv",
                                          "results/live/predictions.csv",
                                          "results/live/lengths.csv", "results/live/runs.csv",
                                          "results/live/latency/latency.json",
                                          "results/live/energy/energy.json"),
                               STEP_NAMES("live.", "experts.answer", "embed.model", "select.k",
                                          "select.combine"),
                               err);
}

static bool is_whole(const struct live_step *s)
{
    return s->latency && s->energy && s->gate && s->features && s->questions && s->scores &&
           s->out_dir;
}

int run_live(struct buf *said, void *ctx, struct err *err)
{
    struct pipeline *p = ctx;
    const struct pipeline_config *c = p->config;
    struct live_report r = {0};
    const char *models[FLEET_MAX_EXPERTS] = {NULL};
    struct live_step step = {.program = p->program,
                             .experts = p->fleet.experts.values,
                             .models = models,
                             .n = p->fleet.experts.n,
                             .latency = pipeline_path(p, "results/latency/latency.json", err),
                             .energy = pipeline_path(p, "results/energy/energy.json", err),
                             .gate = pipeline_path(p, "gating", err),
                             .features = pipeline_features(p, err),
                             .k = c->select.k,
                             .combine = c->select.combine,
                             .questions = pipeline_path(p, "data/" GATING_TEST_FILE, err),
                             .scores = pipeline_path(p, "gating/test_scores.npy", err),
                             .n_questions = c->live.questions,
                             .form = (enum answer_form)c->experts.answer,
                             .device = pipeline_device(c),
                             .out_dir = pipeline_path(p, "results/live", err),
                             .sink = p->sink,
                             .stop = p->stop};
    int rc = is_whole(&step) ? 0 : MOE2_ELIMIT;
    for (int64_t i = 0; i < step.n && !rc; i++)
        rc = (models[i] = pipeline_expert(p, i, true, err)) ? 0 : MOE2_ELIMIT;
    if (!rc)
        rc = live_run(&r, &step, err);
    return rc ? rc
              : buf_printf(said, err,
                           "%lld questions put to %lld running experts in %.1f s; simulated "
                           "devices; a vote of all is right on %.1f %%",
                           (long long)r.n_questions, (long long)step.n, r.seconds,
                           100 * r.accuracy);
}
