/* Gates: from a prompt's vector to a number for every expert; larger means better suited.
 *
 *     struct gate *g;
 *     gate_open(&g, "gating", err);                            a folder with gating.safetensors, or that file
 *     struct gate_input in = {.x = x, .T = T};                 x [T, g->D]
 *     gate_score(scores, dev, g, &in, err);                    scores [T, g->N]
 *     gate_free(g);
 *
 * Every kind is a row of a table (gate_kinds): tensors and settings in, scores out; how they come to be is train/'s business. Restricting
 * a choice to some experts is ignoring the others' columns: one gate serves every selection. Except for softmax, scores are estimates of
 * the probability that the expert answers right.
 */
#ifndef MOE2_MODEL_GATE_H
#define MOE2_MODEL_GATE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "kernels/device.h"

enum {
    GATE_MAX_EXPERTS = 64,
    GATE_MAX_CATEGORIES = 4096,
    GATE_MAX_DIM = 1 << 16,
    GATE_MAX_TENSORS = 8,
    GATE_MAX_SETTINGS = 12,
    GATE_MAX_PARTS = 8,
    GATE_MAX_HIDDEN = 1 << 14,
    GATE_MAX_NAME_BYTES = 256, /* of an expert or a category */
};

struct gate;

/* What is to be scored. All borrowed. */
struct gate_input {
    const float *x; /* [T, D], finite */
    const int32_t
        *category; /* [T] number among the gate's categories, −1 unknown; or NULL: all unknown */
    int64_t T;
};

struct gate_kind {
    const char *name;
    const char *summary;
    bool probabilities; /* whether scores estimate P(right) */
    /* Checks that tensors and settings fit together: MOE2_EFORMAT naming the tensor. */
    int (*check)(const struct gate *g, struct err *err);
    int (*score)(float *scores, struct device *dev, const struct gate *g,
                 const struct gate_input *in, struct err *err);
};

/* sigmoid, softmax, knn, kmeans, category, ensemble; NULL-ended. */
extern const struct gate_kind *const gate_kinds[];
const struct gate_kind *gate_kind_find(const char *name); /* NULL: none of that name */

struct gate_tensor {
    const char *name; /* a literal of the kind's */
    int n_dims;
    int64_t shape[2];
    float *data; /* owned, host memory */
};

struct gate_setting {
    char name[24];
    double value;
};

/* All owned. */
struct gate {
    const struct gate_kind *kind;
    int64_t D, N, n_categories;
    char **experts;    /* [N] */
    char **categories; /* [n_categories], as in the outcomes it was trained on */
    float *accuracy;   /* [N] of each expert on the rows it was trained on */
    int n_tensors, n_settings, n_parts;
    struct gate_tensor tensors[GATE_MAX_TENSORS];
    struct gate_setting settings[GATE_MAX_SETTINGS];
    struct gate *parts[GATE_MAX_PARTS]; /* of an ensemble; they have no names of their own */
};

/* A gate without tensors; names are copied (NULL: none). MOE2_ELIMIT for sizes above the limits. */
int gate_new(struct gate **out, const struct gate_kind *kind, int64_t D, int64_t N,
             const char *const *experts, int64_t n_categories, const char *const *categories,
             struct err *err);
void gate_free(struct gate *g); /* NULL is fine */

/* Adds a tensor of rows × columns (columns 0: one dimension), not filled; the data is the gate's. NULL with err filled. */
float *gate_add(struct gate *g, const char *name, int64_t rows, int64_t columns, struct err *err);
const struct gate_tensor *gate_tensor(const struct gate *g, const char *name); /* or NULL */
void gate_set(struct gate *g, const char *name, double value);
double gate_setting(const struct gate *g, const char *name, double fallback);

/* scores [T, N] of in, by blocks. Errors: MOE2_ELIMIT; MOE2_ENUMERIC when a score is no number. One thread at a time on a device; a
 * gate may be scored by several. */
int gate_score(float *scores, struct device *dev, const struct gate *g, const struct gate_input *in,
               struct err *err);

/* The gate's number of a category's name, or −1. */
int32_t gate_category(const struct gate *g, const char *name);

/* Opens a gate: a folder with gating.safetensors, or a file. Errors: MOE2_EIO, MOE2_EFORMAT, MOE2_ELIMIT, MOE2_ENUMERIC (a number in a
 * tensor that is none). */
int gate_open(struct gate **out, const char *path, struct err *err);

/* Writes a gate as one safetensors file. */
int gate_save(const struct gate *g, const char *path, struct err *err);

#endif
