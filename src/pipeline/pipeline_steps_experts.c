/* The steps that make experts of our own, and asking them: see pipeline_steps.h. */
#include <stdio.h>
#include <string.h>

#include "base/file.h"
#include "io/csv_write.h"
#include "pipeline/pipeline_steps.h"
#include "pipeline/step_answer.h"
#include "pipeline/step_experts.h"
#include "pipeline/step_gating_set.h"

static struct experts_step step_of(struct pipeline *p, struct err *err)
{
    const struct pipeline_config *c = p->config;
    int64_t n = p->fleet.experts.n;
    struct expert_spec *experts = arena_alloc(&p->arena, (size_t)n * sizeof *experts, err);
    for (int64_t i = 0; i < n && experts; i++) {
        char name[64];
        snprintf(name, sizeof name, "data/cluster_%lld.jsonl", (long long)i);
        experts[i] = (struct expert_spec){p->fleet.experts.values[i], p->fleet.bases.values[i],
                                          pipeline_path(p, name, err)};
        if (!experts[i].data)
            experts = NULL;
    }
    return (struct experts_step){.experts = experts,
                                 .n = n,
                                 .config = c->experts.config,
                                 .out_dir = pipeline_path(p, "experts", err),
                                 .jobs = c->experts.jobs,
                                 .threads = c->threads,
                                 .device = pipeline_device(c),
                                 .seed = (uint64_t)c->seed,
                                 .program = p->program,
                                 .questions = pipeline_path(p, "data/" GATING_TRAIN_FILE, err),
                                 .n_questions = c->experts.quantized_questions,
                                 .form = (enum answer_form)c->experts.answer,
                                 .sink = p->sink,
                                 .stop = p->stop};
}

static bool is_whole(const struct experts_step *step)
{
    return step->experts && step->out_dir && step->questions;
}

const char *pipeline_expert(struct pipeline *p, int64_t i, bool quantized, struct err *err)
{
    char name[ANSWER_MAX_NAME + 16];
    snprintf(name, sizeof name, "experts/%s%s", p->fleet.experts.values[i],
             quantized ? QUANTIZED_ENDING : "");
    return pipeline_path(p, name, err);
}

/* Declares the folders of all experts, as what is read or made. */
static int declare_folders(struct step_needs *needs, struct pipeline *p, bool quantized,
                           int (*as)(struct step_needs *, const char *, struct err *),
                           struct err *err)
{
    int rc = 0;
    for (int64_t i = 0; i < p->fleet.experts.n && !rc; i++)
        rc = as(needs, pipeline_expert(p, i, quantized, err), err);
    return rc;
}

/* ---- experts ---- */

int declare_experts(struct step_needs *needs, void *ctx, struct err *err)
{
    struct pipeline *p = ctx;
    struct experts_step step = step_of(p, err);
    int rc = is_whole(&step) ? step_input(needs, step.config, err) : MOE2_ELIMIT;
    for (int64_t i = 0; i < step.n && !rc; i++) {
        rc = step_input(needs, step.experts[i].base, err);
        if (!rc)
            rc = step_input(needs, step.experts[i].data, err);
    }
    if (!rc)
        rc = pipeline_needs_experts(needs, &p->fleet.experts, err);
    if (!rc)
        rc = declare_folders(needs, p, false, step_output, err);
    return rc ? rc
              : pipeline_needs(needs, p, STEP_NAMES(), STEP_NAMES(),
                               STEP_NAMES("seed", "experts.config", "fleet"), err);
}

int run_experts(struct buf *said, void *ctx, struct err *err)
{
    struct pipeline *p = ctx;
    struct experts_step step = step_of(p, err);
    int rc = is_whole(&step) ? experts_train(&step, err) : MOE2_ELIMIT;
    return rc ? rc : buf_printf(said, err, "%lld adapters in %s", (long long)step.n, step.out_dir);
}

/* ---- quantize ---- */

int declare_quantize(struct step_needs *needs, void *ctx, struct err *err)
{
    struct pipeline *p = ctx;
    int rc = declare_folders(needs, p, false, step_input, err);
    for (int64_t i = 0; i < p->fleet.bases.n && !rc; i++)
        rc = step_input(needs, p->fleet.bases.values[i], err);
    if (!rc)
        rc = declare_folders(needs, p, true, step_output, err);
    return rc ? rc
              : pipeline_needs(needs, p, STEP_NAMES("data/" GATING_TRAIN_FILE),
                               STEP_NAMES("results/accuracy/quantized.csv"),
                               STEP_NAMES("experts.answer", "experts.quantized_questions"), err);
}

static int write_quantized(const char *path, const struct experts_step *step,
                           const struct quantized_expert *q, struct err *err)
{
    struct buf out = {0};
    int rc = buf_puts(&out, "expert,questions,right_adapter,right_q4,bytes_merged,bytes_q4\n", err);
    for (int64_t i = 0; i < step->n && !rc; i++) {
        const char *name = step->experts[i].name;
        rc = csv_cell(&out, name, strlen(name), true, err);
        if (!rc)
            rc = buf_printf(&out, err, ",%lld,%lld,%lld,%lld,%lld\n", (long long)q[i].n_questions,
                            (long long)q[i].n_right[0], (long long)q[i].n_right[1],
                            (long long)q[i].n_bytes[0], (long long)q[i].n_bytes[1]);
    }
    if (!rc)
        rc = file_write(path, out.bytes, out.n, err);
    buf_release(&out);
    return rc;
}

int run_quantize(struct buf *said, void *ctx, struct err *err)
{
    struct pipeline *p = ctx;
    struct quantized_expert q[FLEET_MAX_EXPERTS] = {{0}};
    struct experts_step step = step_of(p, err);
    const char *dir = pipeline_path(p, "results/accuracy", err);
    const char *path = pipeline_path(p, "results/accuracy/quantized.csv", err);
    int rc = is_whole(&step) && dir && path ? dir_make(dir, err) : MOE2_ELIMIT;
    if (!rc)
        rc = experts_quantize(q, &step, err);
    if (!rc)
        rc = write_quantized(path, &step, q, err);
    int64_t n = 0, n_right[2] = {0}, n_bytes[2] = {0};
    for (int64_t i = 0; i < step.n && !rc; i++) {
        n += q[i].n_questions;
        for (int k = 0; k < 2; k++) {
            n_right[k] += q[i].n_right[k];
            n_bytes[k] += q[i].n_bytes[k];
        }
    }
    return rc ? rc
              : buf_printf(said, err,
                           "%.1f MB, were %.1f MB; right on %.1f %% of %lld questions each, were "
                           "%.1f %%",
                           (double)n_bytes[1] / 1e6, (double)n_bytes[0] / 1e6,
                           n ? 100.0 * (double)n_right[1] / (double)n : 0,
                           (long long)q[0].n_questions,
                           n ? 100.0 * (double)n_right[0] / (double)n : 0);
}

/* ---- asking ---- */

static int ask(struct pipeline *p, const struct answer_expert *list, int64_t n,
               const char *questions, const char *dir, struct err *err)
{
    struct answer_step step = answer_step_default();
    struct answer_report report = {0};
    step.questions = questions;
    step.out_dir = dir;
    step.experts = list;
    step.n_experts = (int)n;
    step.form = (enum answer_form)p->config->experts.answer;
    step.threads = p->config->threads;
    step.device = pipeline_device(p->config);
    step.sink = p->sink;
    step.stop = p->stop;
    int rc = answer_run(&report, &step, err);
    answer_report_release(&report);
    return rc;
}

int pipeline_ask(struct pipeline *p, const char *questions, const char *dir, struct err *err)
{
    struct answer_expert list[FLEET_MAX_EXPERTS] = {{0}};
    for (int64_t i = 0; i < p->fleet.experts.n; i++) {
        list[i] = (struct answer_expert){p->fleet.experts.values[i],
                                         pipeline_expert(p, i, true, err), NULL};
        if (!list[i].dir)
            return MOE2_ELIMIT;
    }
    return ask(p, list, p->fleet.experts.n, questions, dir, err);
}

/* The last part of a base's path, in the arena; NULL and MOE2_ELIMIT. */
static const char *base_folder(struct pipeline *p, int64_t i, struct err *err)
{
    char *copy = arena_strdup(&p->arena, p->fleet.bases.values[i], err);
    return copy ? path_last(copy) : NULL;
}

/* A base's folder is its name; where two are called alike, its whole path with bars for slashes. */
static const char *base_name(struct pipeline *p, int64_t i, struct err *err)
{
    const struct yaml_texts *bases = &p->fleet.bases;
    const char *base = bases->values[i], *name = base_folder(p, i, err);
    bool alone = true;
    for (int64_t k = 0; k < bases->n && name; k++) {
        const char *other = base_folder(p, k, err);
        if (!other)
            return NULL;
        alone &= strcmp(bases->values[k], base) == 0 || strcmp(other, name) != 0;
    }
    char *whole = alone ? NULL : arena_strdup(&p->arena, base, err);
    for (char *c = whole; c && *c; c++)
        if (*c == '/')
            *c = '|';
    return alone ? name : whole;
}

int pipeline_ask_bases(struct pipeline *p, const char *questions, const char *dir, struct err *err)
{
    struct answer_expert list[FLEET_MAX_EXPERTS] = {{0}};
    int64_t n = 0;
    for (int64_t i = 0; i < p->fleet.bases.n; i++) {
        bool seen = false;
        for (int64_t k = 0; k < n; k++)
            seen |= strcmp(list[k].dir, p->fleet.bases.values[i]) == 0;
        if (!seen)
            list[n++] =
                (struct answer_expert){base_name(p, i, err), p->fleet.bases.values[i], NULL};
        if (!list[n - 1].name)
            return MOE2_ELIMIT;
    }
    return ask(p, list, n, questions, dir, err);
}
