/* How long k-means and the gate's training take, for bench/gate.sh: one JSON line a call.
 *
 *   bench_gate kmeans X.npy K STARTS SEED THREADS
 *   bench_gate mlp X.npy Y.npy EPOCHS SEED THREADS f32|bf16      Y: float32 [rows, heads] of 0 and 1; 256 hidden units, batches of 128
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/log.h"
#include "base/rng.h"
#include "io/matrix.h"
#include "model/kmeans.h"
#include "train/gate_mlp_steps.h"

static double cpu_s(void)
{
    struct timespec t;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static int bench_kmeans(char **argv, struct device *dev, struct err *err)
{
    struct matrix x = {0};
    struct kmeans m;
    struct kmeans_options o = kmeans_default();
    o.k = atol(argv[3]), o.n_starts = atol(argv[4]), o.seed = (uint64_t)atol(argv[5]);
    int rc = matrix_open(&x, argv[2], 0, err);
    double s = clock_s(), cpu = cpu_s();
    if (!rc)
        rc = kmeans_run(&m, dev, x.x, x.rows, x.columns, &o, err);
    if (!rc) {
        printf("{\"engine\": \"moe2\", \"what\": \"kmeans\", \"s\": %.4f, \"cpu_s\": %.4f, "
               "\"threads\": "
               "%d, \"inertia\": %.6g, \"iterations\": %lld, \"products_share\": %.3f}\n",
               clock_s() - s, cpu_s() - cpu, dev->n_threads, m.inertia,
               (long long)m.starts[m.best].iterations, m.products);
        kmeans_release(&m);
    }
    matrix_close(&x);
    return rc;
}

static double train(struct mlp_steps *s, const struct matrix *x, const int8_t *right,
                    int32_t *order, long epochs, struct rng *rng)
{
    double loss = 0;
    int64_t T = x->rows;
    for (long e = 0; e < epochs; e++) {
        loss = 0;
        for (int64_t i = T; i-- > 1;) {
            int64_t j = (int64_t)rng_below(rng, (uint64_t)i + 1);
            int32_t t = order[i];
            order[i] = order[j];
            order[j] = t;
        }
        for (int64_t i = 0; i < T; i += s->batch) {
            int64_t n = T - i < s->batch ? T - i : s->batch;
            double of_batch = 0;
            struct err err = {0};
            if (mlp_steps_take(&of_batch, s, x->x, right, order + i, n, &err))
                return NAN;
            loss += of_batch * (double)n / (double)T;
        }
    }
    return loss;
}

static int bench_mlp(char **argv, struct device *dev, struct err *err)
{
    struct matrix x = {0}, y = {0};
    struct rng rng;
    int rc = matrix_open(&x, argv[2], 0, err);
    if (!rc)
        rc = matrix_open(&y, argv[3], 0, err);
    if (rc)
        return rc;
    int8_t *right = malloc((size_t)(y.rows * y.columns));
    int32_t *order = malloc((size_t)x.rows * sizeof *order);
    for (int64_t i = 0; i < y.rows * y.columns; i++)
        right[i] = y.x[i] > 0.5f;
    for (int64_t t = 0; t < x.rows; t++)
        order[t] = (int32_t)t;
    struct mlp_steps s = {
        .dev = dev, .T = x.rows, .D = x.columns, .F = 256, .N = y.columns, .batch = 128};
    s.compute = strcmp(argv[7], "bf16") == 0 ? DT_BF16 : DT_F32;
    s.lr = 1e-3f, s.weight_decay = 0.01f;
    rng_init(&rng, (uint64_t)atol(argv[5]));
    rc = mlp_steps_init(&s, &rng, err);
    double begun_s = clock_s(), cpu = cpu_s();
    double loss = rc ? 0 : train(&s, &x, right, order, atol(argv[4]), &rng);
    if (!rc)
        printf("{\"engine\": \"moe2 %s\", \"what\": \"mlp\", \"s\": %.4f, \"cpu_s\": %.4f, "
               "\"threads\": "
               "%d, \"loss\": %.5f}\n",
               argv[7], clock_s() - begun_s, cpu_s() - cpu, dev->n_threads, loss);
    mlp_steps_release(&s);
    free(right);
    free(order);
    matrix_close(&x);
    matrix_close(&y);
    return rc;
}

int main(int argc, char **argv)
{
    struct device *dev = NULL;
    struct err err = {0};
    bool kmeans = argc == 7 && strcmp(argv[1], "kmeans") == 0;
    bool mlp = argc == 8 && strcmp(argv[1], "mlp") == 0;
    if (!kmeans && !mlp) {
        fprintf(stderr, "usage: bench_gate kmeans X.npy K STARTS SEED THREADS\n"
                        "       bench_gate mlp X.npy Y.npy EPOCHS SEED THREADS f32|bf16\n");
        return 2;
    }
    int rc = device_open(&dev, "cpu", atoi(argv[6]), &err);
    if (!rc)
        rc = kmeans ? bench_kmeans(argv, dev, &err) : bench_mlp(argv, dev, &err);
    device_close(dev);
    if (rc)
        fprintf(stderr, "bench_gate: %s\n", err.msg);
    return rc != 0;
}
