/* From vectors to clusters of rows: the step behind moe2 cluster.
 *
 * Writes into a folder: labels.npy (int32 [rows]), centroids.npy (float32 [k, dim]), clusters.json, and with a file of rows
 * cluster_0.jsonl … cluster_<k−1>.jsonl, each row's line as it stands in the file, in its order. Files replace those of an earlier
 * run one by one, clusters.json last.
 */
#ifndef MOE2_PIPELINE_STEP_CLUSTER_H
#define MOE2_PIPELINE_STEP_CLUSTER_H

#include "base/buf.h"
#include "model/kmeans.h"
#include "pipeline/cluster_names.h"

enum {
    CLUSTER_MAX_FILES = 512,       /* k, when rows are written */
    CLUSTER_MINI_BATCH = 4096,     /* rows of a batch above the memory limit */
    CLUSTER_SILHOUETTE_ROWS = 2048 /* of the sample, unless said */
};

struct cluster_step {
    const char *in;   /* npy [rows, dim] */
    const char *rows; /* JSON lines of the same rows, or NULL */
    const char *out_dir;
    int64_t memory_mb; /* above so many MiB of vectors, mini-batches are used */
    int64_t n_sample;  /* rows that the silhouette is measured on */
    struct device_choice device;
    int n_threads; /* 0: all cores */
    struct kmeans_options kmeans;
};

struct cluster_step cluster_step_default(void);

struct cluster_report {
    struct kmeans kmeans;
    double silhouette;
    int64_t n_sample;
    int64_t batch;               /* 0: Lloyd */
    struct cluster_names *names; /* NULL without rows */
    double seconds;              /* of k-means alone */
};

/* Errors: MOE2_ECONFIG for options; those of matrix_open, kmeans_run and of files; MOE2_EFORMAT when the file of rows has another number
 * of them than the vectors, or a line that is no JSON object. */
int cluster_step_run(struct cluster_report *out, const struct cluster_step *step, struct err *err);
void cluster_report_release(struct cluster_report *r); /* a zeroed one is fine */

/* Appends clusters.json's text. */
int cluster_report_json(struct buf *out, const struct cluster_report *r,
                        const struct cluster_step *step, struct err *err);

#endif
