/* The configuration of the two-level build: one YAML file for all its steps, under one table of keys.
 *
 *     struct pipeline_config c;
 *     pipeline_config_read(&c, "configs/moe2.yaml", words, n, err);          words: "seed=2"
 *     pipeline_config_release(&c);
 *
 * Everything that the steps make lies under `out`, in the folders and under the names that docs/building.md
 * lists. Paths of data are relative to data.root unless they begin with a slash or a dot.
 */
#ifndef MOE2_PIPELINE_PIPELINE_CONFIG_H
#define MOE2_PIPELINE_PIPELINE_CONFIG_H

#include <stdbool.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/buf.h"
#include "io/yaml.h"
#include "kernels/device.h"
#include "pipeline/qa_forms.h"

enum { SYNTHETIC_WHEN_MISSING, SYNTHETIC_ALWAYS, SYNTHETIC_NEVER };

struct pipeline_config {
    const char *out;
    int64_t seed, threads;
    const char *device;
    double memory_gb; /* of the device's memory; 0: no limit */
    struct {
        const char *root;
        struct yaml_texts sets[QA_N_SOURCES]; /* as given; resolved by pipeline_config_paths */
        int gating;                           /* 0 mmlu, 1 mmlu_pro */
        double test_share;
        bool allow_overlap;
        int synthetic;
        int64_t synthetic_rows;
        int64_t by_rules, by_rules_gating; /* rows made by rules instead of read; 0: read */
    } data;
    struct {
        const char *model; /* "hashed", or the folder of an encoder */
        int64_t dim;       /* hashed */
    } embed;
    struct {
        int64_t k, restarts;
    } cluster;
    const char *fleet;
    struct {
        bool train; /* on the clusters, instead of recorded outcomes */
        const char *config;
        int64_t jobs;
        int answer; /* enum answer_form */
        int64_t quantized_questions;
    } experts;
    struct {
        const char *answers, *predictions, *chars; /* recorded, one row a gating question */
    } outcomes;
    struct {
        const char *kind;
        int64_t folds, hidden, epochs;
    } gate;
    struct {
        const char *import; /* a folder of published tables, or a CSV of measurements */
        bool measure;       /* or the experts in 4 bits, on this machine */
        const char *meter, *sysfs;
        double watts;
        struct yaml_ints prompts, outputs; /* tokens */
    } profile;
    struct {
        int64_t questions; /* of the test put to a running fleet; 0: none */
    } live;
    struct {
        struct yaml_reals latency_s, energy_j;
        int cost; /* 0 deployed, 1 routed */
        int64_t k;
        const char *combine;
        int64_t output_tokens;
    } select;
    struct {
        const char *fleets, *gates; /* of the study; fleets empty: no study */
        bool quick;
        double time_limit_s;
    } report;

    char *path;               /* the file, owned */
    struct yaml_config *yaml; /* owns the texts and lists */
};

/* Reads path (NULL: the defaults) and n overrides "key=value". Errors: as yaml_read. */
int pipeline_config_read(struct pipeline_config *c, const char *path, const char *const *overrides,
                         int n_overrides, struct err *err);
void pipeline_config_release(struct pipeline_config *c); /* a zeroed one is fine */

/* Appends the table of keys for --help-config. */
int pipeline_config_help(struct buf *out, struct err *err);

/* Appends "key=value" of every key that begins with the prefix, a line each: what a step is hashed with.
 * Asserts that there is one. */
int pipeline_config_values(struct buf *out, const struct pipeline_config *c, const char *prefix,
                           struct err *err);

/* What all steps that compute with tensors run on. */
struct device_choice pipeline_device(const struct pipeline_config *c);

/* A path of data, or of out, as a string of the arena. */
const char *pipeline_data_path(struct arena *a, const struct pipeline_config *c, const char *path,
                               struct err *err);
const char *pipeline_out_path(struct arena *a, const struct pipeline_config *c, const char *name,
                              struct err *err);

#endif
