/* Finding the data, and the steps from questions to clusters: see pipeline_steps.h. */
#include "pipeline/pipeline_steps.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "pipeline/step_answer.h"
#include "pipeline/step_cluster.h"
#include "pipeline/step_corpus.h"
#include "pipeline/step_embed.h"
#include "pipeline/step_experts.h"
#include "pipeline/step_gating_set.h"
#include "pipeline/step_synth.h"
#include "pipeline/synthetic.h"

/* ---- the data ---- */

static int resolve_set(struct pipeline *p, int set, struct err *err)
{
    const struct yaml_texts *given = &p->config->data.sets[set];
    const char **paths = arena_alloc(&p->arena, (size_t)(given->n + 1) * sizeof *paths, err);
    if (!paths)
        return MOE2_ELIMIT;
    for (int64_t i = 0; i < given->n; i++)
        if (!(paths[i] = pipeline_data_path(&p->arena, p->config, given->values[i], err)))
            return MOE2_ELIMIT;
    p->sets[set] = (struct qa_paths){paths, given->n};
    return 0;
}

/* NULL stays NULL for an empty word. */
static int resolve(const char **out, struct pipeline *p, const char *word, struct err *err)
{
    *out = *word ? pipeline_data_path(&p->arena, p->config, word, err) : NULL;
    return *word && !*out ? MOE2_ELIMIT : 0;
}

static int made_set(struct pipeline *p, int set, const char *name, struct err *err)
{
    const char **paths = arena_alloc(&p->arena, sizeof *paths, err);
    if (!paths || !(paths[0] = pipeline_path(p, name, err)))
        return MOE2_ELIMIT;
    p->sets[set] = (struct qa_paths){paths, 1};
    return 0;
}

/* The fleet, and whose columns its outcomes have. */
static int read_fleet(struct pipeline *p, struct err *err)
{
    const struct pipeline_config *c = p->config;
    int rc = fleet_config_read(&p->fleet, c->fleet, err);
    if (rc)
        return rc;
    p->trains = c->experts.train;
    if (p->trains && p->fleet.bases.n != p->fleet.experts.n)
        return err_set(err, MOE2_ECONFIG,
                       "%s: bases has %lld entries, wanted %lld, one for each of experts "
                       "(experts.train)",
                       c->fleet, (long long)p->fleet.bases.n, (long long)p->fleet.experts.n);
    if (!p->trains && c->profile.measure)
        return err_set(err, MOE2_ECONFIG,
                       "profile.measure times experts of our own, and there are none, wanted "
                       "experts.train: true");
    if (p->trains && p->fleet.experts.n != c->cluster.k)
        return err_set(err, MOE2_ECONFIG,
                       "cluster.k is %lld, wanted %lld, one for each of %s's experts",
                       (long long)c->cluster.k, (long long)p->fleet.experts.n, c->fleet);
    const int most = ANSWER_MAX_NAME - (int)strlen(QUANTIZED_ENDING);
    for (int64_t i = 0; i < p->fleet.experts.n && p->trains; i++) {
        const char *name = p->fleet.experts.values[i];
        if (!*name || *name == '.' || strchr(name, '/') || strlen(name) > (size_t)most)
            return err_set(
                err, MOE2_ECONFIG,
                "%s: an expert is called \"%.99s\", wanted the name of a folder: 1 to %d "
                "bytes without \"/\", no dot in front",
                c->fleet, name, most);
    }
    const char **columns =
        arena_alloc(&p->arena, (size_t)p->fleet.experts.n * sizeof *columns, err);
    if (!columns)
        return MOE2_ELIMIT;
    for (int64_t i = 0; i < p->fleet.experts.n; i++)
        columns[i] = p->trains ? p->fleet.experts.values[i] : fleet_column(&p->fleet, i);
    p->columns = (struct yaml_texts){columns, p->fleet.experts.n};
    return 0;
}

/* Questions by rules in place of published sets. */
static int rule_data(struct pipeline *p, struct err *err)
{
    const struct pipeline_config *c = p->config;
    const char *dir = pipeline_path(p, "by_rules", err);
    struct synth_step step = synth_step_default();
    struct synth_report report;
    step.out_dir = dir;
    step.n_rows[SYNTH_TRAIN] = c->data.by_rules;
    step.n_rows[SYNTH_GATING_TRAIN] = c->data.by_rules_gating;
    step.n_rows[SYNTH_GATING_TEST] = 0;
    step.seed = (uint64_t)c->seed;
    step.once = true;
    step.sink = p->sink;
    step.stop = p->stop;
    memset(p->sets, 0, sizeof p->sets);
    p->gating = QA_MMLU;
    int rc = dir ? synth_run(&report, &step, err) : MOE2_ELIMIT;
    if (!rc)
        rc = made_set(p, QA_MMLU, "by_rules/gating_train.jsonl", err);
    if (!rc)
        rc = made_set(p, QA_ARC, "by_rules/combined_train.jsonl", err);
    if (!rc)
        rc = read_fleet(p, err);
    if (!rc && !p->trains)
        rc = err_set(err, MOE2_ECONFIG,
                     "nobody's answers to questions made by rules are recorded (data.by_rules), "
                     "wanted experts.train: true");
    if (!rc)
        rc = resolve(&p->import, p, c->profile.import, err);
    p->note = c->profile.measure
                  ? "questions are made by rules, and small models trained on them stand for the "
                    "experts; costs are theirs on this machine"
                  : "questions are made by rules, and small models trained on them stand for the "
                    "experts; costs are those of the models and devices that they stand for";
    return rc;
}

static int real_data(struct pipeline *p, struct err *err)
{
    const struct pipeline_config *c = p->config;
    int rc = c->experts.train ? 0 : resolve(&p->answers, p, c->outcomes.answers, err);
    if (!rc && !c->experts.train)
        rc = resolve(&p->predictions, p, c->outcomes.predictions, err);
    if (!rc && !c->experts.train)
        rc = resolve(&p->chars, p, c->outcomes.chars, err);
    if (!rc)
        rc = resolve(&p->import, p, c->profile.import, err);
    if (!rc)
        rc = read_fleet(p, err);
    if (rc)
        return rc;
    p->note = !p->trains && p->fleet.outcomes.n
                  ? "recorded answers of real models stand for the experts"
                  : NULL;
    return 0;
}

static int synthetic_data(struct pipeline *p, struct err *err)
{
    const struct pipeline_config *c = p->config;
    const char *dir = pipeline_path(p, "synthetic", err);
    const char **columns = arena_alloc(&p->arena, SYNTHETIC_EXPERTS * sizeof *columns, err);
    memset(p->sets, 0, sizeof p->sets);
    p->synthetic = true;
    p->note = SYNTHETIC_NOTE;
    p->gating = QA_MMLU_PRO;
    int rc = dir && columns ? synthetic_make(dir, c->data.synthetic_rows, (uint64_t)c->seed, err)
                            : MOE2_ELIMIT;
    if (!rc)
        rc = made_set(p, QA_MMLU_PRO, "synthetic/questions.jsonl", err);
    if (!rc)
        rc = made_set(p, QA_ARC, "synthetic/corpus.jsonl", err);
    if (rc)
        return rc;
    p->answers = pipeline_path(p, "synthetic/outcomes.csv", err);
    p->predictions = pipeline_path(p, "synthetic/predictions.csv", err);
    p->chars = pipeline_path(p, "synthetic/chars.csv", err);
    for (int e = 0; e < SYNTHETIC_EXPERTS; e++)
        columns[e] = synthetic_expert(e);
    p->columns = (struct yaml_texts){columns, SYNTHETIC_EXPERTS};
    return p->answers && p->predictions && p->chars ? 0 : MOE2_ELIMIT;
}

int pipeline_open(struct pipeline *p, const struct pipeline_config *config,
                  const struct log_sink *sink, const volatile int *stop, struct err *err)
{
    *p = (struct pipeline){.config = config, .sink = sink, .stop = stop};
    if (config->data.by_rules)
        return rule_data(p, err);
    int rc = 0;
    for (int s = 0; s < QA_N_SOURCES && !rc; s++)
        rc = resolve_set(p, s, err);
    p->gating = config->data.gating == 0 ? QA_MMLU : QA_MMLU_PRO;
    const struct qa_paths *gating = &p->sets[p->gating];
    if (!rc && !gating->n)
        rc = err_set(err, MOE2_ECONFIG, "data.%s is empty, but it is the gating set (data.gating)",
                     qa_source_names[p->gating]);
    if (rc)
        return rc;
    bool there = file_exists(gating->paths[0]);
    if (config->data.synthetic == SYNTHETIC_ALWAYS)
        there = false;
    else if (!there && config->data.synthetic == SYNTHETIC_NEVER)
        return err_set(err, MOE2_EIO, "%s: is not there (data.root, data.%s)", gating->paths[0],
                       qa_source_names[p->gating]);
    else if (!there)
        log_line(sink, LOG_WARN, "%s is not there: the data is synthetic (data.synthetic)",
                 gating->paths[0]);
    return there ? real_data(p, err) : synthetic_data(p, err);
}

void pipeline_close(struct pipeline *p)
{
    fleet_config_release(&p->fleet);
    arena_release(&p->arena);
    *p = (struct pipeline){0};
}

/* ---- what all steps share ---- */

const char *pipeline_path(struct pipeline *p, const char *name, struct err *err)
{
    return pipeline_out_path(&p->arena, p->config, name, err);
}

int pipeline_needs(struct step_needs *needs, struct pipeline *p, const char *const *inputs,
                   const char *const *outputs, const char *const *keys, struct err *err)
{
    int rc = 0;
    for (int i = 0; inputs[i] && !rc; i++)
        rc = step_input(needs, pipeline_path(p, inputs[i], err), err);
    for (int i = 0; outputs[i] && !rc; i++)
        rc = step_output(needs, pipeline_path(p, outputs[i], err), err);
    for (int i = 0; keys[i] && !rc; i++)
        rc = pipeline_config_values(&needs->config, p->config, keys[i], err);
    return rc;
}

int pipeline_needs_experts(struct step_needs *needs, const struct yaml_texts *names,
                           struct err *err)
{
    int rc = 0;
    for (int64_t i = 0; i < names->n && !rc; i++)
        rc = buf_printf(&needs->config, err, "expert=%s\n", names->values[i]);
    return rc;
}

static int set_inputs(struct step_needs *needs, const struct qa_paths *set, struct err *err)
{
    int rc = 0;
    for (int64_t i = 0; i < set->n && !rc; i++)
        rc = step_input(needs, set->paths[i], err);
    return rc;
}

/* ---- gating_set ---- */

static int declare_gating_set(struct step_needs *needs, void *ctx, struct err *err)
{
    struct pipeline *p = ctx;
    int rc = set_inputs(needs, &p->sets[p->gating], err);
    return rc ? rc
              : pipeline_needs(needs, p, STEP_NAMES(),
                               STEP_NAMES("data/" GATING_TRAIN_FILE, "data/" GATING_TEST_FILE,
                                          "data/gating_set.json"),
                               STEP_NAMES("seed", "data.gating", "data.test_share"), err);
}

static int run_gating_set(struct buf *said, void *ctx, struct err *err)
{
    struct pipeline *p = ctx;
    struct gating_set_report r;
    struct gating_set_step step = gating_set_default();
    step.source = p->gating;
    step.paths = p->sets[p->gating];
    step.test_share = p->config->data.test_share;
    step.seed = (uint64_t)p->config->seed;
    step.note = p->synthetic ? p->note : NULL;
    step.out_dir = pipeline_path(p, "data", err);
    step.sink = p->sink;
    step.stop = p->stop;
    int rc = step.out_dir ? gating_set_run(&r, &step, err) : MOE2_ELIMIT;
    return rc ? rc
              : buf_printf(said, err, "%s: %lld train, %lld test, %lld subjects",
                           p->synthetic               ? "synthetic"
                           : p->config->data.by_rules ? "by rules"
                                                      : qa_source_names[r.source],
                           (long long)r.n_train, (long long)r.n_test, (long long)r.n_subjects);
}

/* ---- corpus ---- */

static int declare_corpus(struct step_needs *needs, void *ctx, struct err *err)
{
    struct pipeline *p = ctx;
    int rc = 0;
    for (int s = QA_MMLU + 1; s < QA_N_SOURCES && !rc; s++)
        rc = set_inputs(needs, &p->sets[s], err);
    return rc ? rc
              : pipeline_needs(needs, p,
                               STEP_NAMES("data/" GATING_TRAIN_FILE, "data/" GATING_TEST_FILE),
                               STEP_NAMES("data/" CORPUS_FILE, "data/combined_train.json"),
                               STEP_NAMES("seed", "data.allow_overlap"), err);
}

static int run_corpus(struct buf *said, void *ctx, struct err *err)
{
    struct pipeline *p = ctx;
    struct corpus_report r;
    struct corpus_step step = {.seed = (uint64_t)p->config->seed,
                               .allow_overlap = p->config->data.allow_overlap,
                               .note = p->synthetic ? p->note : NULL,
                               .out_dir = pipeline_path(p, "data", err),
                               .sink = p->sink,
                               .stop = p->stop};
    for (int s = QA_MMLU + 1; s < QA_N_SOURCES; s++)
        step.in[s] = p->sets[s];
    int rc = step.out_dir ? corpus_run(&r, &step, err) : MOE2_ELIMIT;
    int64_t overlap = 0;
    for (int s = 0; s < QA_N_SOURCES && !rc; s++)
        overlap += qa_tally_overlap(&r.tallies[s]);
    return rc ? rc
              : buf_printf(said, err, "%lld rows; %lld stand in the gating set: %s",
                           (long long)r.n_rows, (long long)overlap,
                           r.allow_overlap ? "KEPT, " CORPUS_OVERLAP_LABEL : "left out");
}

/* ---- embed ---- */

static const struct {
    const char *rows, *vectors;
} embedded[] = {
    {"data/" GATING_TRAIN_FILE, "data/gating_train.npy"},
    {"data/" GATING_TEST_FILE, "data/gating_test.npy"},
    {"data/" CORPUS_FILE, "data/embeddings.npy"},
};

static const char hashed_state[] = "data/hashed.safetensors";

static bool is_hashed(const struct pipeline *p)
{
    return strcmp(p->config->embed.model, "hashed") == 0;
}

const char *pipeline_features(struct pipeline *p, struct err *err)
{
    return is_hashed(p) ? pipeline_path(p, hashed_state, err) : p->config->embed.model;
}

static int declare_embed(struct step_needs *needs, void *ctx, struct err *err)
{
    struct pipeline *p = ctx;
    int rc = 0;
    for (int i = 0; i < 3 && !rc; i++)
        rc = pipeline_needs(needs, p, STEP_NAMES(embedded[i].rows), STEP_NAMES(embedded[i].vectors),
                            STEP_NAMES(), err);
    if (!rc && !is_hashed(p))
        rc = step_input(needs, p->config->embed.model, err);
    if (!rc && is_hashed(p))
        rc = step_output(needs, pipeline_path(p, hashed_state, err), err);
    return rc ? rc
              : pipeline_needs(needs, p, STEP_NAMES(), STEP_NAMES(), STEP_NAMES("seed", "embed."),
                               err);
}

/* The features' IDF is counted on gating_train alone. */
static int run_embed(struct buf *said, void *ctx, struct err *err)
{
    struct pipeline *p = ctx;
    int64_t n_rows = 0, dim = 0;
    int rc = 0;
    for (int i = 0; i < 3 && !rc; i++) {
        struct embed_step step = embed_step_default();
        struct embed_report r;
        step.in = pipeline_path(p, embedded[i].rows, err);
        step.out = pipeline_path(p, embedded[i].vectors, err);
        step.hashed = is_hashed(p);
        step.state = step.hashed ? pipeline_path(p, hashed_state, err) : NULL;
        step.fit = step.hashed && i == 0 ? step.in : NULL;
        step.dim = p->config->embed.dim;
        step.seed = (uint64_t)p->config->seed;
        step.device = pipeline_device(p->config);
        step.n_threads = (int)p->config->threads;
        step.sink = p->sink;
        step.stop = p->stop;
        step.model = step.hashed ? NULL : p->config->embed.model;
        rc = step.in && step.out && (step.state || step.model) ? embed_step_run(&r, &step, err)
                                                               : MOE2_ELIMIT;
        if (rc)
            break;
        n_rows += r.n_rows;
        dim = r.dim;
        embed_report_release(&r);
    }
    return rc ? rc
              : buf_printf(said, err, "%lld rows of %lld numbers (%s)", (long long)n_rows,
                           (long long)dim, p->config->embed.model);
}

/* ---- cluster ---- */

static int declare_cluster(struct step_needs *needs, void *ctx, struct err *err)
{
    struct pipeline *p = ctx;
    int rc =
        pipeline_needs(needs, p, STEP_NAMES("data/embeddings.npy", "data/" CORPUS_FILE),
                       STEP_NAMES("data/labels.npy", "data/centroids.npy", "data/clusters.json"),
                       STEP_NAMES("seed", "cluster."), err);
    for (int64_t i = 0; i < p->config->cluster.k && !rc && i < STEP_MAX_FILES - 8; i++) {
        char name[64];
        snprintf(name, sizeof name, "data/cluster_%lld.jsonl", (long long)i);
        rc = step_output(needs, pipeline_path(p, name, err), err);
    }
    return rc;
}

static int run_cluster(struct buf *said, void *ctx, struct err *err)
{
    struct pipeline *p = ctx;
    struct cluster_report r;
    struct cluster_step step = cluster_step_default();
    step.in = pipeline_path(p, "data/embeddings.npy", err);
    step.rows = pipeline_path(p, "data/" CORPUS_FILE, err);
    step.out_dir = pipeline_path(p, "data", err);
    step.device = pipeline_device(p->config);
    step.n_threads = (int)p->config->threads;
    step.kmeans.k = p->config->cluster.k;
    step.kmeans.n_starts = p->config->cluster.restarts;
    step.kmeans.seed = (uint64_t)p->config->seed;
    step.kmeans.sink = p->sink;
    step.kmeans.stop = p->stop;
    int rc = step.in && step.rows && step.out_dir ? cluster_step_run(&r, &step, err) : MOE2_ELIMIT;
    if (rc)
        return rc;
    rc = buf_printf(said, err, "%lld clusters of %lld rows, inertia %.4g, silhouette %.3f",
                    (long long)r.kmeans.k, (long long)r.kmeans.T, r.kmeans.inertia, r.silhouette);
    cluster_report_release(&r);
    return rc;
}

/* ---- the table ---- */

const struct step *pipeline_steps(int *n, struct pipeline *p)
{
    static const char recorded[] = "recorded answers stand for the experts (experts.train)";
    static const struct step steps[] = {
        {"gating_set", "the questions that the gate learns from and is tested on", NULL,
         declare_gating_set, run_gating_set},
        {"corpus", "the questions that experts are trained on", NULL, declare_corpus, run_corpus},
        {"embed", "a vector for every question", NULL, declare_embed, run_embed},
        {"cluster", "the corpus in clusters, one for each expert", NULL, declare_cluster,
         run_cluster},
        {"experts", "a fine-tuned expert a cluster", NULL, declare_experts, run_experts},
        {"quantize", "the experts in 4 bits", NULL, declare_quantize, run_quantize},
        {"outcomes", "what every expert answered on every gating question", NULL, declare_outcomes,
         run_outcomes},
        {"gate", "who answers what best", NULL, declare_gate, run_gate},
        {"profile", "what an answer costs in seconds and joules", NULL, declare_profile,
         run_profile},
        {"live", "the experts as a running fleet, asked", NULL, declare_live, run_live},
        {"select", "who is in service within each budget", NULL, declare_select, run_select},
        {"report", "all of it on one page", NULL, declare_report, run_report},
    };
    *n = (int)(sizeof steps / sizeof *steps);
    memcpy(p->steps, steps, sizeof steps);
    for (int i = 0; i < *n && !p->trains; i++)
        if (steps[i].run == run_experts || steps[i].run == run_quantize || steps[i].run == run_live)
            p->steps[i].left_out = recorded;
    for (int i = 0; i < *n && p->trains && !pipeline_has_live(p); i++)
        if (steps[i].run == run_live)
            p->steps[i].left_out = "live.questions is 0";
    return p->steps;
}
