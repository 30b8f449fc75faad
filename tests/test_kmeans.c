/* What k-means promises, one sentence a test. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/rng.h"
#include "model/kmeans.h"
#include "model/kmeans_parts.h"

/* blobs [T, D]: row t near centre t % n_blobs */
static float *blobs(int64_t T, int64_t D, int n_blobs, double noise, uint64_t seed)
{
    struct rng r;
    float *x = malloc((size_t)(T * D) * sizeof *x), *c = malloc((size_t)(n_blobs * D) * sizeof *c);
    rng_init(&r, seed);
    for (int64_t i = 0; i < n_blobs * D; i++)
        c[i] = (float)rng_normal(&r);
    for (int64_t t = 0; t < T; t++)
        for (int64_t i = 0; i < D; i++)
            x[t * D + i] = c[t % n_blobs * D + i] + (float)(noise * rng_normal(&r));
    free(c);
    return x;
}

static struct device *cpu(int n_threads)
{
    struct device *dev = NULL;
    assert_int_equal(0, device_open(&dev, "cpu", n_threads, NULL));
    return dev;
}

/* Lloyd's steps from c in double, without any bound; empty clusters keep their centroid. */
static double plain_lloyd(int32_t *label, double *c, const float *x, int64_t T, int64_t D,
                          int64_t k)
{
    double inertia = 0;
    for (bool changed = true; changed;) {
        changed = false;
        inertia = 0;
        for (int64_t t = 0; t < T; t++) {
            double best = INFINITY;
            int32_t who = 0;
            for (int64_t j = 0; j < k; j++) {
                double v = 0;
                for (int64_t i = 0; i < D; i++)
                    v += (x[t * D + i] - c[j * D + i]) * (x[t * D + i] - c[j * D + i]);
                if (v < best) {
                    best = v;
                    who = (int32_t)j;
                }
            }
            changed |= label[t] != who;
            label[t] = who;
            inertia += best;
        }
        for (int64_t j = 0; j < k; j++) {
            int64_t n = 0;
            for (int64_t t = 0; t < T; t++)
                n += label[t] == j;
            for (int64_t i = 0; i < D && n; i++) {
                double sum = 0;
                for (int64_t t = 0; t < T; t++)
                    sum += label[t] == j ? (double)x[t * D + i] : 0;
                c[j * D + i] = sum / (double)n;
            }
        }
    }
    return inertia;
}

static void bounds_change_nothing_about_lloyds_result(void **state)
{
    (void)state;
    enum { T = 2500, D = 19, K = 7 };
    struct device *dev = cpu(2);
    for (uint64_t seed = 0; seed < 4; seed++) {
        float *x = blobs(T, D, 9, 0.8, seed);
        struct kmeans_options o = kmeans_default();
        struct kmeans m;
        struct kmeans_lent lent = {0};
        struct kmeans_data d = {.dev = dev, .x = x, .x_there = x, .lent = &lent, .T = T, .D = D};
        float c[K * D], *seeds = c;
        double exact[K * D];
        int32_t label[T];
        struct rng rng;
        o.k = K, o.n_starts = 1, o.seed = seed;
        assert_int_equal(0, kmeans_run(&m, dev, x, T, D, &o, NULL));
        assert_true(m.starts[0].converged && m.products < 0.9);
        d.xx = malloc(T * sizeof(float));
        kmeans_norms(d.xx, x, T, D, 1);
        rng_init(&rng, rng_at(seed, 0x6b6d, 0, 0));
        assert_int_equal(0, kmeans_seed(&seeds, &d, K, 1, &rng, &o, NULL));
        for (int i = 0; i < K * D; i++)
            exact[i] = c[i];
        memset(label, -1, sizeof label);
        double inertia = plain_lloyd(label, exact, x, T, D, K);
        assert_memory_equal(label, m.labels, sizeof label);
        assert_true(fabs(inertia - m.inertia) < 1e-4 * inertia);
        assert_true(fabs(inertia - m.starts[0].inertia) < 1e-4 * inertia);
        free(d.xx);
        free(x);
        kmeans_release(&m);
    }
    device_close(dev);
}

static void the_same_seed_gives_the_same_bits_at_any_number_of_threads(void **state)
{
    (void)state;
    enum { T = 3000, D = 40 };
    float *x = blobs(T, D, 12, 1.0, 5);
    for (int64_t batch = 0; batch <= 256; batch += 256) {
        struct kmeans_options o = kmeans_default();
        struct kmeans first = {0};
        o.seed = 9, o.batch = batch;
        for (int n = 1; n <= 5; n += 2) {
            struct device *dev = cpu(n);
            struct kmeans m;
            assert_int_equal(0, kmeans_run(&m, dev, x, T, D, &o, NULL));
            if (n == 1) {
                first = m;
            } else {
                assert_memory_equal(first.labels, m.labels, T * sizeof(int32_t));
                assert_memory_equal(first.centroids, m.centroids, 8 * D * sizeof(float));
                assert_true(first.inertia == m.inertia);
                kmeans_release(&m);
            }
            device_close(dev);
        }
        kmeans_release(&first);
    }
    free(x);
}

static void clear_blobs_are_found_and_their_silhouette_is_high(void **state)
{
    (void)state;
    enum { T = 900, D = 24, K = 6 };
    struct device *dev = cpu(2);
    float *x = blobs(T, D, K, 0.05, 3);
    struct kmeans_options o = kmeans_default();
    double silhouette;
    int64_t n_used;
    for (int64_t batch = 0; batch <= 128; batch += 128) {
        struct kmeans m;
        o.k = K, o.batch = batch;
        assert_int_equal(0, kmeans_run(&m, dev, x, T, D, &o, NULL));
        for (int64_t t = K; t < T; t++)
            assert_int_equal(m.labels[t % K], m.labels[t]);
        for (int j = 0; j < K; j++)
            assert_int_equal(T / K, m.n_rows[j]);
        assert_int_equal(
            0, kmeans_silhouette(&silhouette, &n_used, dev, x, T, D, m.labels, K, 300, 1, NULL));
        assert_true(silhouette > 0.9 && silhouette <= 1 && n_used == 300);
        kmeans_release(&m);
    }
    free(x);
    device_close(dev);
}

static void the_silhouette_is_that_of_its_definition(void **state)
{
    (void)state;
    /* points 0, 1, 4, 5, 9 on a line, clusters {0, 1}, {4, 5}, {9} */
    float x[5] = {0, 1, 4, 5, 9};
    int32_t label[5] = {0, 0, 1, 1, 2};
    double s, wanted = ((4.5 - 1) / 4.5 + (3.5 - 1) / 3.5 + (3.5 - 1) / 3.5 + (4 - 1) / 4.0) / 5;
    int64_t n;
    struct device *dev = cpu(1);
    assert_int_equal(0, kmeans_silhouette(&s, &n, dev, x, 5, 1, label, 3, 100, 1, NULL));
    assert_true(fabs(s - wanted) < 1e-6 && n == 5);
    memset(label, 0, sizeof label);
    assert_int_equal(0, kmeans_silhouette(&s, &n, dev, x, 5, 1, label, 3, 100, 1, NULL));
    assert_true(isnan(s));
    device_close(dev);
}

static void fewer_different_rows_than_clusters_are_refused_in_one_sentence(void **state)
{
    (void)state;
    enum { T = 64, D = 33 };
    struct device *dev = cpu(2);
    float *x = blobs(T, D, 3, 0, 1), wide = 0;
    struct kmeans_options o = kmeans_default();
    struct kmeans m;
    struct err err = {0};
    o.k = 4;
    assert_int_equal(MOE2_EFORMAT, kmeans_run(&m, dev, x, T, D, &o, &err));
    assert_string_equal("there are only 3 different rows, wanted at least k = 4", err.msg);
    o.k = 3;
    assert_int_equal(0, kmeans_run(&m, dev, x, T, D, &o, NULL));
    assert_true(m.inertia == 0);
    kmeans_release(&m);
    memset(x, 0, T * D * sizeof *x); /* rows of zeros are rows like any other */
    o.k = 1;
    assert_int_equal(0, kmeans_run(&m, dev, x, T, D, &o, NULL));
    assert_int_equal(T, m.n_rows[0]);
    kmeans_release(&m);
    err = (struct err){0};
    o.k = 2;
    assert_int_equal(MOE2_ECONFIG, kmeans_run(&m, dev, &wide, 1, 1, &o, &err));
    assert_string_equal("k-means: 1 rows, wanted at least k = 2", err.msg);
    free(x);
    device_close(dev);
}

static void no_cluster_stays_empty(void **state)
{
    (void)state;
    /* Two heavy points and a few single ones: whatever the seeds, all k clusters must hold rows. */
    enum { T = 60, D = 2, K = 9 };
    float x[T * D];
    struct device *dev = cpu(1);
    for (int t = 0; t < T; t++) {
        x[2 * t] = t < 10 ? (float)t : t % 2 ? 100.0f : -100.0f;
        x[2 * t + 1] = 0;
    }
    for (uint64_t seed = 0; seed < 50; seed++) {
        struct kmeans_options o = kmeans_default();
        struct kmeans m;
        o.k = K, o.seed = seed, o.n_starts = 1;
        assert_int_equal(0, kmeans_run(&m, dev, x, T, D, &o, NULL));
        for (int j = 0; j < K; j++)
            assert_true(m.n_rows[j] > 0);
        kmeans_release(&m);
    }
    device_close(dev);
}

static void more_starts_are_never_worse(void **state)
{
    (void)state;
    enum { T = 800, D = 10 };
    struct device *dev = cpu(2);
    float *x = blobs(T, D, 20, 0.3, 8);
    double last = INFINITY;
    for (int64_t n = 1; n <= 64; n *= 4) {
        struct kmeans_options o = kmeans_default();
        struct kmeans m;
        o.k = 15, o.n_starts = n;
        assert_int_equal(0, kmeans_run(&m, dev, x, T, D, &o, NULL));
        assert_true(m.inertia <= last * (1 + 1e-6));
        last = m.inertia;
        kmeans_release(&m);
    }
    free(x);
    device_close(dev);
}

/* A GPU's products differ in their last bits, so that far blobs' clusters are the same and the sums near. */
static void on_a_gpu_clusters_are_those_of_the_cpu(void **state)
{
    (void)state;
    enum { T = 130, D = 19, K = 4 };
    struct device *dev[2] = {cpu(1), NULL};
    struct err err = {0};
    if (device_open(&dev[1], "cuda", 1, &err) && device_open(&dev[1], "cuda:emulated", 1, &err)) {
        device_close(dev[0]);
        return; /* the emulator is not built for this machine */
    }
    err = (struct err){0};
    float *x = blobs(T, D, 6, 0.1, 11);
    for (int64_t batch = 0; batch <= 32; batch += 32) {
        struct kmeans m[2];
        double silhouette[2];
        int64_t n;
        for (int i = 0; i < 2; i++) {
            struct kmeans_options o = kmeans_default();
            o.k = K, o.n_starts = 2, o.batch = batch, o.max_iterations = 10;
            if (kmeans_run(&m[i], dev[i], x, T, D, &o, &err) ||
                kmeans_silhouette(&silhouette[i], &n, dev[i], x, T, D, m[i].labels, K, T, 1, &err))
                fail_msg("%s", err.msg);
        }
        assert_memory_equal(m[0].labels, m[1].labels, T * sizeof *m->labels);
        assert_true(fabs(m[0].inertia - m[1].inertia) < 1e-5 * m[0].inertia);
        assert_true(fabs(silhouette[0] - silhouette[1]) < 1e-5);
        kmeans_release(&m[0]);
        kmeans_release(&m[1]);
    }
    struct kmeans_options o = kmeans_default();
    struct kmeans m;
    assert_true(dev[1]->peak_bytes >= T * D * sizeof *x);
    dev[1]->limit_bytes = dev[1]->used_bytes + T * D * sizeof *x - 1;
    o.k = K;
    assert_int_equal(MOE2_ELIMIT, kmeans_run(&m, dev[1], x, T, D, &o, &err));
    assert_non_null(strstr(err.msg, "no room for 9880 more bytes"));
    free(x);
    device_close(dev[0]);
    device_close(dev[1]);
}

static void options_out_of_range_are_named(void **state)
{
    (void)state;
    struct device *dev = cpu(1);
    float x[4] = {0, 1, 2, 3};
    struct kmeans m;
    const struct {
        int64_t k, n_starts, max_iterations, batch;
    } bad[] = {{0, 4, 300, 0}, {-1, 4, 300, 0}, {KMEANS_MAX_K + 1, 4, 300, 0},
               {2, 0, 300, 0}, {2, 65, 300, 0}, {2, 4, 0, 0},
               {2, 4, 300, -1}};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct kmeans_options o = {.k = bad[i].k, .n_starts = bad[i].n_starts};
        struct err err = {0};
        o.max_iterations = bad[i].max_iterations, o.batch = bad[i].batch;
        assert_int_equal(MOE2_ECONFIG, kmeans_run(&m, dev, x, 4, 1, &o, &err));
        assert_non_null(strstr(err.msg, "wanted"));
    }
    device_close(dev);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bounds_change_nothing_about_lloyds_result),
        cmocka_unit_test(the_same_seed_gives_the_same_bits_at_any_number_of_threads),
        cmocka_unit_test(clear_blobs_are_found_and_their_silhouette_is_high),
        cmocka_unit_test(the_silhouette_is_that_of_its_definition),
        cmocka_unit_test(fewer_different_rows_than_clusters_are_refused_in_one_sentence),
        cmocka_unit_test(no_cluster_stays_empty),
        cmocka_unit_test(more_starts_are_never_worse),
        cmocka_unit_test(on_a_gpu_clusters_are_those_of_the_cpu),
        cmocka_unit_test(options_out_of_range_are_named),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
