/* moe2 cluster: k-means over the vectors of a file. */
#include <math.h>
#include <stdio.h>

#include "base/table.h"
#include "cli/cli.h"
#include "cli/device_flags.h"
#include "pipeline/step_cluster.h"

static const char HELP[] =
    "usage: moe2 cluster --in E.npy --out DIR [--k 8] [--seed 1] [--rows F.jsonl] [--restarts 4]\n"
    "                    [--batch N] [--memory-mb M] [--sample N] [--threads N] [--device NAME] "
    "[--memory-limit S]\n"
    "                    [--json]\n\n"
    "k-means over the rows of E.npy [rows, dim]: greedy k-means++, several starts, Lloyd's steps "
    "to\n"
    "the end; the start with the lowest inertia is kept. DIR gets labels.npy (int32), "
    "centroids.npy,\n"
    "clusters.json, and with --rows one cluster_<i>.jsonl a cluster, whose typical words, sources "
    "and\n"
    "subjects then name it. The same seed gives the same bits at any number of threads.\n\n"
    "  --in E.npy       vectors: float32 (float64 and float16 too)\n"
    "  --out DIR        made if need be\n"
    "  --k K            clusters (8)\n"
    "  --rows F.jsonl   the rows that the vectors are of, one JSON object a line\n"
    "  --restarts R     starts (4)\n"
    "  --max-iter N     Lloyd's steps a start, at most (300); passes over the rows with --batch\n"
    "  --batch N        mini-batch k-means of N rows at a time instead\n"
    "  --memory-mb M    vectors above so many MiB (4096) go by mini-batches of 4096 rows\n"
    "  --sample N       rows that the silhouette is measured on (2048, at most 16384)\n"
    "  --seed N         of the starts, batches and samples (1)\n"
    "  --threads N      all cores unless said\n" DEVICE_FLAGS_HELP
    "                   All products of vectors run there, on a GPU with the vectors in its memory "
    "(but by\n"
    "                   --batch); which centroid is nearest, and sums of clusters, are the "
    "host's.\n"
    "  --json           clusters.json on standard output instead of a table\n\n"
    "examples:\n"
    "  moe2 cluster --in data/embeddings.npy --k 8 --seed 1 --out data --rows "
    "data/combined_train.jsonl\n"
    "  moe2 cluster --in e.npy --k 32 --restarts 10 --out clusters --json\n";

static int print_table(struct buf *out, const struct cluster_report *r, struct err *err)
{
    const struct kmeans *m = &r->kmeans;
    struct table *t = NULL;
    int rc = table_new(&t,
                       (struct table_column[]){{"cluster", TABLE_RIGHT},
                                               {"rows", TABLE_RIGHT},
                                               {"share", TABLE_RIGHT},
                                               {r->names ? "about" : "", TABLE_LEFT}},
                       4, err);
    for (int64_t j = 0; j < m->k && !rc; j++) {
        table_cell(t, "%lld", (long long)j);
        table_cell(t, "%lld", (long long)m->n_rows[j]);
        table_cell(t, "%.1f %%", 100 * (double)m->n_rows[j] / (double)m->T);
        table_cell(t, "%s", r->names ? cluster_names_of(r->names, j)->name : "");
    }
    if (!rc)
        rc = table_text(out, t, err);
    table_free(t);
    return rc;
}

static int print_lines(struct buf *out, const struct cluster_report *r, const char *dir,
                       struct err *err)
{
    const struct kmeans *m = &r->kmeans;
    int rc = print_table(out, r, err);
    if (!rc)
        rc = buf_printf(out, err, "\n%lld rows of %lld numbers, %s, start %d of %d (%lld %s%s)\n",
                        (long long)m->T, (long long)m->D,
                        r->batch ? "mini-batch k-means" : "k-means", m->best + 1, m->n_starts,
                        (long long)m->starts[m->best].iterations, r->batch ? "batches" : "steps",
                        m->starts[m->best].converged ? "" : ", not converged");
    if (!rc)
        rc = buf_printf(out, err, "inertia %.6g; silhouette ", m->inertia);
    if (!rc && isnan(r->silhouette))
        rc = buf_printf(out, err, "not defined: the %lld rows sampled are of one cluster",
                        (long long)r->n_sample);
    else if (!rc)
        rc = buf_printf(out, err, "%.4f on %s%lld rows", r->silhouette,
                        r->n_sample < m->T ? "a sample of " : "all ", (long long)r->n_sample);
    return rc ? rc : buf_printf(out, err, "; %.2f s\nwritten to %s\n", r->seconds, dir);
}

static int run(int argc, char **argv)
{
    struct cluster_step step = cluster_step_default();
    struct cluster_report report = {0};
    struct buf out = {0};
    struct err err = {0};
    int64_t threads = 0, seed = 1;
    struct device_flags device = {0};
    bool json = false;
    const struct cli_flag flags[] = {
        {"--in", FLAG_TEXT, &step.in, true},
        {"--out", FLAG_TEXT, &step.out_dir, true},
        {"--rows", FLAG_TEXT, &step.rows, false},
        {"--k", FLAG_INT, &step.kmeans.k, false},
        {"--restarts", FLAG_INT, &step.kmeans.n_starts, false},
        {"--max-iter", FLAG_INT, &step.kmeans.max_iterations, false},
        {"--batch", FLAG_INT, &step.kmeans.batch, false},
        {"--memory-mb", FLAG_INT, &step.memory_mb, false},
        {"--sample", FLAG_INT, &step.n_sample, false},
        {"--seed", FLAG_INT, &seed, false},
        {"--threads", FLAG_INT, &threads, false},
        DEVICE_FLAGS(&device),
        {"--json", FLAG_BOOL, &json, false},
    };
    int rc = cli_parse(argc, argv, flags, COUNT_OF(flags), NULL, &err);
    if (!rc && (threads < 0 || threads > 256))
        rc = err_set(&err, MOE2_ECONFIG, "--threads is %lld, wanted 0 (all cores) to 256",
                     (long long)threads);
    if (!rc)
        rc = device_flags_read(&step.device, &device, &err);
    step.n_threads = (int)threads;
    step.kmeans.seed = (uint64_t)seed;
    step.kmeans.sink = cli_sink();
    step.kmeans.stop = cli_stop_flag();
    if (!rc)
        rc = cluster_step_run(&report, &step, &err);
    if (!rc)
        rc = json ? cluster_report_json(&out, &report, &step, &err)
                  : print_lines(&out, &report, step.out_dir, &err);
    if (!rc)
        fwrite(out.bytes, 1, out.n, stdout);
    buf_release(&out);
    cluster_report_release(&report);
    return rc ? cli_fail("cluster", &err) : 0;
}

const struct command cmd_cluster = {
    "cluster",
    "k-means over the vectors of a file",
    HELP,
    run,
};
