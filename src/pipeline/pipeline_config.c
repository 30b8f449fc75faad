/* The configuration of the two-level build: see pipeline_config.h. */
#include "pipeline/pipeline_config.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "pipeline/answer_set.h"
#include "pipeline/profile_models.h"

static const char *const GATING[] = {"mmlu", "mmlu_pro", NULL};
static const char *const SYNTHETIC[] = {"when_missing", "always", "never", NULL};
static const char *const COSTS[] = {"deployed", "routed", NULL};

#define AT(field) offsetof(struct pipeline_config, field)
#define N_KEYS ((int)(sizeof KEYS / sizeof *KEYS))

static const struct yaml_key KEYS[] = {
    {"out", YAML_KEY_TEXT, AT(out), "moe2_build", .help = "folder that everything is made under"},
    {"seed", YAML_KEY_INT, AT(seed), "1", 0, 1e15, .help = "of every step"},
    {"threads", YAML_KEY_INT, AT(threads), "0", 0, 1024, .help = "0: all cores; changes no result"},
    {"device", YAML_KEY_TEXT, AT(device), "cpu",
     .help = "cpu, cpu:TABLE, cuda or cuda:N, for all steps that compute with tensors"},
    {"memory_gb", YAML_KEY_REAL, AT(memory_gb), "0", 0, 1e6,
     .help = "of the device's memory, at most; 0: all there is"},

    {"data.root", YAML_KEY_TEXT, AT(data.root), "../shared/data",
     .help = "folder that paths of data are relative to"},
    {"data.mmlu", YAML_KEY_TEXT_LIST, AT(data.sets[QA_MMLU]), "[mmlu]",
     .help = "MMLU: a folder with test/ and dev/, or files"},
    {"data.mmlu_pro", YAML_KEY_TEXT_LIST, AT(data.sets[QA_MMLU_PRO]), "[mmlu_pro/questions.jsonl]",
     .help = "MMLU-Pro: files or folders"},
    {"data.arc", YAML_KEY_TEXT_LIST, AT(data.sets[QA_ARC]), "[arc]",
     .help = "ARC: files or folders"},
    {"data.sciq", YAML_KEY_TEXT_LIST, AT(data.sets[QA_SCIQ]), "[]",
     .help = "SciQ: files or folders"},
    {"data.agieval", YAML_KEY_TEXT_LIST, AT(data.sets[QA_AGIEVAL]), "[agieval]",
     .help = "AGIEval: files or folders"},
    {"data.gating", YAML_KEY_CHOICE, AT(data.gating), "mmlu_pro", .choices = GATING,
     .help = "the gating set: the one that there are outcomes for"},
    {"data.test_share", YAML_KEY_REAL, AT(data.test_share), "0.2", 0.001, 0.999,
     .help = "of the gating set, within each subject"},
    {"data.allow_overlap", YAML_KEY_BOOL, AT(data.allow_overlap), "false",
     .help = "keep questions of the gating set in the corpus (the paper's setting)"},
    {"data.synthetic", YAML_KEY_CHOICE, AT(data.synthetic), "when_missing", .choices = SYNTHETIC,
     .help = "questions, outcomes and curves of a seeded model instead of real ones"},
    {"data.synthetic_rows", YAML_KEY_INT, AT(data.synthetic_rows), "2000", 100, 1e6,
     .help = "synthetic gating questions"},
    {"data.by_rules", YAML_KEY_INT, AT(data.by_rules), "0", 0, 1e7,
     .help = "questions for the experts made by rules, as moe2 data synth makes them, instead of "
             "published sets; 0: none"},
    {"data.by_rules_gating", YAML_KEY_INT, AT(data.by_rules_gating), "1000", 100, 1e7,
     .help = "and for the gating set, with data.by_rules"},

    {"embed.model", YAML_KEY_TEXT, AT(embed.model), "hashed",
     .help = "hashed features, or the folder of a sentence encoder"},
    {"embed.dim", YAML_KEY_INT, AT(embed.dim), "768", 8, 4096, .help = "of hashed features"},

    {"cluster.k", YAML_KEY_INT, AT(cluster.k), "8", 2, 512, .help = "clusters of the corpus"},
    {"cluster.restarts", YAML_KEY_INT, AT(cluster.restarts), "4", 1, 1000,
     .help = "starts of k-means, the best is kept"},

    {"fleet", YAML_KEY_TEXT, AT(fleet), "configs/fleet/demo.yaml",
     .help = "experts, their devices, curves and recorded outcomes"},
    {"experts.train", YAML_KEY_BOOL, AT(experts.train), "false",
     .help = "fine-tune an expert on each cluster (the fleet's bases) and ask them, instead of "
             "recorded outcomes"},
    {"experts.config", YAML_KEY_TEXT, AT(experts.config), "configs/finetune/expert.yaml",
     .help = "of moe2 finetune, for all experts"},
    {"experts.jobs", YAML_KEY_INT, AT(experts.jobs), "0", 0, 64,
     .help = "trained at once; 0: as many as cores"},
    {"experts.answer", YAML_KEY_CHOICE, AT(experts.answer), "letter", .choices = answer_form_names,
     .help = "how they are asked: for the letter, or for the text"},
    {"experts.quantized_questions", YAML_KEY_INT, AT(experts.quantized_questions), "200", 0, 1e6,
     .help = "of gating_train that merged and quantised experts are compared on; 0: all"},
    {"outcomes.answers", YAML_KEY_TEXT, AT(outcomes.answers), "mmlu_pro/outcomes_correct.csv",
     .help = "recorded: who was right on which gating question"},
    {"outcomes.predictions", YAML_KEY_TEXT, AT(outcomes.predictions), "mmlu_pro/predictions.csv",
     .help = "recorded: the letters that were answered; empty: none"},
    {"outcomes.chars", YAML_KEY_TEXT, AT(outcomes.chars), "mmlu_pro/outcomes_gen_chars.csv",
     .help = "recorded: characters generated; empty: none"},

    {"gate.kind", YAML_KEY_TEXT, AT(gate.kind), "sigmoid", .help = "as moe2 gate train --kind"},
    {"gate.hidden", YAML_KEY_INT, AT(gate.hidden), "64", 1, 65536,
     .help = "hidden units of sigmoid and softmax"},
    {"gate.epochs", YAML_KEY_INT, AT(gate.epochs), "6", 1, 10000,
     .help = "of sigmoid and softmax, at most; more gained nothing on hashed features"},
    {"gate.folds", YAML_KEY_INT, AT(gate.folds), "5", 2, 100,
     .help = "of the out-of-fold scores that the subset is chosen on"},

    {"profile.import", YAML_KEY_TEXT, AT(profile.import), "devices",
     .help = "published tables of devices, or a CSV of measurements"},
    {"profile.measure", YAML_KEY_BOOL, AT(profile.measure), "false",
     .help = "instead, time every expert in 4 bits on this machine (experts.train)"},
    {"profile.meter", YAML_KEY_TEXT, AT(profile.meter), "auto",
     .help = "of joules, with profile.measure: auto, rapl, ina3221, nvml or none"},
    {"profile.watts", YAML_KEY_REAL, AT(profile.watts), "0", 0, PROFILE_MAX_WATTS,
     .help = "where there is no meter: joules are estimated as so many a second; 0: not at all"},
    {"profile.sysfs", YAML_KEY_TEXT, AT(profile.sysfs), "/sys",
     .help = "where meters are looked for"},
    {"profile.prompts", YAML_KEY_INT_LIST, AT(profile.prompts), "[32, 128, 512, 1024, 2048, 4096]",
     1, PROFILE_MAX_TOKENS,
     .help = "lengths that are timed, those beyond a model's window left out"},
    {"profile.outputs", YAML_KEY_INT_LIST, AT(profile.outputs), "[1, 32, 128]", 1,
     PROFILE_MAX_TOKENS, .help = "and of answers"},

    {"live.questions", YAML_KEY_INT, AT(live.questions), "0", 0, 1e6,
     .help =
         "of gating_test that the experts are asked as a running fleet, each slowed and metered "
         "like its device; 0: none"},

    {"select.latency_s", YAML_KEY_REAL_LIST, AT(select.latency_s), "[1, 2, 3]", 0, 1e9,
     .help = "limits of table II"},
    {"select.energy_j", YAML_KEY_REAL_LIST, AT(select.energy_j),
     "[5, 10, 15, 20, 25, 30, 35, 40, 45, 50]", 0, 1e9, .help = "limits of table III"},
    {"select.cost", YAML_KEY_CHOICE, AT(select.cost), "deployed", .choices = COSTS,
     .help = "who is charged: all in service, or those called"},
    {"select.k", YAML_KEY_INT, AT(select.k), "1", 1, 64, .help = "experts asked a question"},
    {"select.combine", YAML_KEY_TEXT, AT(select.combine), "top1",
     .help = "how their answers become one"},
    {"select.output_tokens", YAML_KEY_INT, AT(select.output_tokens), "32", 0, 1e6,
     .help = "of an answer, for its costs"},

    {"report.fleets", YAML_KEY_TEXT, AT(report.fleets), "configs/fleet/study.yaml",
     .help = "fleets of the study of recorded answers (best-within-budget); empty: no study"},
    {"report.gates", YAML_KEY_TEXT, AT(report.gates), "category,knn", .help = "the study's gates"},
    {"report.quick", YAML_KEY_BOOL, AT(report.quick), "true",
     .help = "study the first fleet only; the other three take minutes"},
    {"report.time_limit_s", YAML_KEY_REAL, AT(report.time_limit_s), "5", 0.001, 1e6,
     .help = "of each of the study's searches beyond 20 experts"},
};

int pipeline_config_read(struct pipeline_config *c, const char *path, const char *const *overrides,
                         int n_overrides, struct err *err)
{
    struct yaml_source source = {.path = path, .overrides = overrides, .n_overrides = n_overrides};
    if (!path) {
        source.text = "";
        source.path = "defaults";
    }
    *c = (struct pipeline_config){0};
    int rc = yaml_read(&c->yaml, c, KEYS, N_KEYS, &source, err);
    if (!rc && path && !(c->path = strdup(path)))
        rc = err_set(err, MOE2_ELIMIT, "no memory for a path");
    if (!rc && !*c->out)
        rc = err_set(err, MOE2_ECONFIG, "out is empty, wanted a folder");
    if (rc)
        pipeline_config_release(c);
    return rc;
}

void pipeline_config_release(struct pipeline_config *c)
{
    yaml_config_free(c->yaml);
    free(c->path);
    *c = (struct pipeline_config){0};
}

struct device_choice pipeline_device(const struct pipeline_config *c)
{
    return (struct device_choice){c->device, (size_t)(c->memory_gb * 1e9)};
}

int pipeline_config_help(struct buf *out, struct err *err)
{
    return yaml_help(out, KEYS, N_KEYS, err);
}

int pipeline_config_values(struct buf *out, const struct pipeline_config *c, const char *prefix,
                           struct err *err)
{
    int rc = 0, n = 0;
    for (int i = 0; i < N_KEYS && !rc; i++) {
        if (strncmp(KEYS[i].name, prefix, strlen(prefix)) != 0)
            continue;
        n++;
        rc = buf_printf(out, err, "%s=", KEYS[i].name);
        if (!rc)
            rc = yaml_dump_value(out, c, &KEYS[i], err);
        if (!rc)
            rc = buf_puts(out, "\n", err);
    }
    assert(n > 0 || rc);
    return rc;
}

static const char *joined(struct arena *a, const char *dir, const char *name, struct err *err)
{
    size_t size = strlen(dir) + strlen(name) + 2;
    char *path = arena_alloc(a, size, err);
    if (path)
        snprintf(path, size, "%s/%s", dir, name);
    return path;
}

const char *pipeline_data_path(struct arena *a, const struct pipeline_config *c, const char *path,
                               struct err *err)
{
    if (*path == '/' || *path == '.')
        return arena_strdup(a, path, err);
    return joined(a, c->data.root, path, err);
}

const char *pipeline_out_path(struct arena *a, const struct pipeline_config *c, const char *name,
                              struct err *err)
{
    return joined(a, c->out, name, err);
}
