/* Clustering a file of vectors: see step_cluster.h. */
#include "pipeline/step_cluster.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "io/json_util.h"
#include "io/matrix.h"
#include "io/reader.h"

enum { MAX_LINE_BYTES = 64 << 20 };

struct cluster_step cluster_step_default(void)
{
    return (struct cluster_step){
        .memory_mb = 4096, .n_sample = CLUSTER_SILHOUETTE_ROWS, .kmeans = kmeans_default()};
}

void cluster_report_release(struct cluster_report *r)
{
    kmeans_release(&r->kmeans);
    cluster_names_free(r->names);
    *r = (struct cluster_report){0};
}

/* ---- rows ---- */

static int put_line(struct file_writer *w, const char *line, size_t n, struct err *err)
{
    int rc = file_put(w, line, n, err);
    return rc ? rc : file_put(w, "\n", 1, err);
}

static bool is_blank(const char *line, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (line[i] != ' ' && line[i] != '\t')
            return false;
    return true;
}

static int one_row(struct cluster_report *r, struct file_writer *files, const char *path,
                   const struct reader *reader, const char *line, size_t n, int64_t t,
                   struct err *err)
{
    json_t *row = NULL;
    if (t >= r->kmeans.T)
        return err_set(err, MOE2_EFORMAT, "%s: line %lld: has more rows than the %lld vectors",
                       path, (long long)reader_line_number(reader), (long long)r->kmeans.T);
    int rc = json_read_line(&row, path, reader_line_number(reader), line, n, err);
    if (!rc && !json_is_object(row))
        rc = err_set(err, MOE2_EFORMAT, "%s: line %lld: is no JSON object", path,
                     (long long)reader_line_number(reader));
    if (!rc)
        rc = cluster_names_add(r->names, row, r->kmeans.labels[t], err);
    if (!rc)
        rc = put_line(&files[r->kmeans.labels[t]], line, n, err);
    json_decref(row);
    return rc;
}

static int read_rows(struct cluster_report *r, struct file_writer *files, const char *path,
                     struct err *err)
{
    struct reader *reader = NULL;
    const char *line = NULL;
    size_t n;
    int64_t t = 0;
    int rc = reader_open(&reader, path, err);
    while (!rc && !(rc = reader_line(reader, &line, &n, MAX_LINE_BYTES, err)) && line)
        if (!is_blank(line, n))
            rc = one_row(r, files, path, reader, line, n, t++, err);
    if (!rc && t != r->kmeans.T)
        rc = err_set(err, MOE2_EFORMAT, "%s: has %lld rows, wanted %lld, one a vector", path,
                     (long long)t, (long long)r->kmeans.T);
    reader_close(reader);
    return rc;
}

/* Splits the rows into cluster_<i>.jsonl and counts their words. */
static int write_rows(struct cluster_report *r, const struct cluster_step *step, struct err *err)
{
    struct file_writer *files = calloc((size_t)r->kmeans.k, sizeof *files);
    int rc =
        files ? 0 : err_set(err, MOE2_ELIMIT, "no memory for %lld files", (long long)r->kmeans.k);
    if (!rc)
        rc = cluster_names_new(&r->names, r->kmeans.k, err);
    for (int64_t j = 0; j < r->kmeans.k && !rc; j++) {
        char name[64];
        snprintf(name, sizeof name, "cluster_%lld.jsonl", (long long)j);
        char *path = path_join(step->out_dir, name);
        rc = path ? file_begin(&files[j], path, err) : err_set(err, MOE2_ELIMIT, "no memory");
        free(path);
    }
    if (!rc)
        rc = read_rows(r, files, step->rows, err);
    for (int64_t j = 0; files && j < r->kmeans.k; j++) {
        if (!rc)
            rc = file_commit(&files[j], err);
        else
            file_abort(&files[j]);
    }
    free(files);
    return rc ? rc : cluster_names_finish(r->names, err);
}

/* ---- the report ---- */

static void put_terms(struct json_writer *w, const char *key, const struct cluster_term *terms,
                      int n)
{
    jw_array(w, key);
    for (int i = 0; i < n; i++) {
        jw_object(w, NULL);
        jw_text(w, "text", terms[i].text);
        jw_int(w, "rows", terms[i].n_rows);
        jw_end(w);
    }
    jw_end(w);
}

static void put_clusters(struct json_writer *w, const struct cluster_report *r)
{
    const struct kmeans *m = &r->kmeans;
    jw_array(w, "clusters");
    for (int64_t j = 0; j < m->k; j++) {
        double inertia = 0;
        for (int64_t t = 0; t < m->T; t++)
            inertia += m->labels[t] == j ? (double)m->distance[t] : 0;
        jw_object(w, NULL);
        jw_int(w, "cluster", j);
        jw_int(w, "rows", m->n_rows[j]);
        jw_real(w, "inertia", inertia);
        if (r->names) {
            const struct cluster_about *a = cluster_names_of(r->names, j);
            jw_text(w, "name", a->name);
            put_terms(w, "words", a->words, a->n_words);
            put_terms(w, "sources", a->sources, a->n_sources);
            put_terms(w, "subjects", a->subjects, a->n_subjects);
        }
        jw_end(w);
    }
    jw_end(w);
}

int cluster_report_json(struct buf *out, const struct cluster_report *r,
                        const struct cluster_step *step, struct err *err)
{
    const struct kmeans *m = &r->kmeans;
    struct json_writer w;
    json_writer_init(&w, out, 1);
    jw_object(&w, NULL);
    jw_int(&w, "k", m->k);
    jw_int(&w, "rows", m->T);
    jw_int(&w, "dim", m->D);
    jw_int(&w, "seed", (int64_t)step->kmeans.seed);
    jw_text(&w, "method", r->batch ? "mini-batch" : "lloyd");
    jw_int(&w, "batch", r->batch);
    jw_real(&w, "inertia", m->inertia);
    jw_object(&w, "silhouette");
    jw_real(&w, "mean", r->silhouette);
    jw_int(&w, "sampled_rows", r->n_sample);
    jw_end(&w);
    jw_int(&w, "best_start", m->best);
    jw_array(&w, "starts");
    for (int s = 0; s < m->n_starts; s++) {
        jw_object(&w, NULL);
        jw_real(&w, "inertia", m->starts[s].inertia);
        jw_int(&w, "iterations", m->starts[s].iterations);
        jw_bool(&w, "converged", m->starts[s].converged);
        jw_end(&w);
    }
    jw_end(&w);
    jw_real(&w, "products_share", m->products);
    put_clusters(&w, r);
    jw_end(&w);
    int rc = json_writer_end(&w, err);
    return rc ? rc : buf_puts(out, "\n", err);
}

static int write_arrays(const struct cluster_report *r, const struct cluster_step *step,
                        struct err *err)
{
    const struct kmeans *m = &r->kmeans;
    struct buf text = {0};
    char *labels = path_join(step->out_dir, "labels.npy");
    char *centroids = path_join(step->out_dir, "centroids.npy");
    char *json = path_join(step->out_dir, "clusters.json");
    int rc = labels && centroids && json ? 0 : err_set(err, MOE2_ELIMIT, "no memory");
    if (!rc)
        rc = npy_write(labels, DT_I32, &m->T, 1, m->labels, err);
    if (!rc)
        rc = npy_write(centroids, DT_F32, (int64_t[]){m->k, m->D}, 2, m->centroids, err);
    if (!rc)
        rc = cluster_report_json(&text, r, step, err);
    if (!rc)
        rc = file_write(json, text.bytes, text.n, err);
    buf_release(&text);
    free(labels);
    free(centroids);
    free(json);
    return rc;
}

/* ---- the step ---- */

static int check(const struct cluster_step *step, struct err *err)
{
    if (step->rows && step->kmeans.k > CLUSTER_MAX_FILES)
        return err_set(err, MOE2_ECONFIG,
                       "%lld clusters with --rows, wanted at most %d: one file each",
                       (long long)step->kmeans.k, CLUSTER_MAX_FILES);
    if (step->memory_mb < 1)
        return err_set(err, MOE2_ECONFIG, "a memory limit of %lld MiB, wanted 1 or more",
                       (long long)step->memory_mb);
    if (step->n_sample < 2)
        return err_set(err, MOE2_ECONFIG, "a silhouette of %lld rows, wanted 2 or more",
                       (long long)step->n_sample);
    return 0;
}

static int cluster(struct cluster_report *r, const struct matrix *e, struct device *dev,
                   const struct cluster_step *step, struct err *err)
{
    struct kmeans_options o = step->kmeans;
    if (!o.batch && e->rows > (step->memory_mb << 20) / 4 / e->columns) {
        o.batch = CLUSTER_MINI_BATCH;
        log_line(o.sink, LOG_INFO, "%s: more than %lld MiB: k-means by batches of %d rows",
                 step->in, (long long)step->memory_mb, CLUSTER_MINI_BATCH);
    }
    double begun_s = clock_s();
    int rc = kmeans_run(&r->kmeans, dev, e->x, e->rows, e->columns, &o, err);
    r->seconds = clock_s() - begun_s;
    r->batch = o.batch;
    if (rc == MOE2_EFORMAT || rc == MOE2_ECONFIG)
        err_prefix(err, "%s", step->in);
    if (!rc)
        rc = kmeans_silhouette(&r->silhouette, &r->n_sample, dev, e->x, e->rows, e->columns,
                               r->kmeans.labels, o.k, step->n_sample, o.seed, err);
    return rc;
}

int cluster_step_run(struct cluster_report *out, const struct cluster_step *step, struct err *err)
{
    struct cluster_report r = {0};
    struct matrix e = {0};
    struct device *dev = NULL;
    int rc = check(step, err);
    if (!rc)
        rc = matrix_open(&e, step->in, 0, err);
    if (!rc)
        rc = device_open_choice(&dev, &step->device, step->n_threads, err);
    if (!rc)
        rc = cluster(&r, &e, dev, step, err);
    if (!rc)
        rc = dir_make(step->out_dir, err);
    if (!rc && step->rows)
        rc = write_rows(&r, step, err);
    if (!rc)
        rc = write_arrays(&r, step, err);
    device_close(dev);
    matrix_close(&e);
    if (rc)
        cluster_report_release(&r);
    else
        *out = r;
    return rc;
}
