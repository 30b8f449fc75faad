/* What gates and their training promise, one sentence a test. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/file.h"
#include "base/rng.h"
#include "eval/gate_measures.h"
#include "io/safetensors.h"
#include "train/gate_mlp_steps.h"
#include "train/gate_train.h"

#define DIR "test_gate.tmp"
#include "folder_fixture.h"

enum { T = 360, D = 12, N = 3, C = 4 };

/* Four topics; expert e is good at topic e, nobody at the last. One outcome in ten is missing. */
struct world {
    float x[T * D];
    int8_t right[T * N];
    int32_t category[T];
    struct gate_data d;
};

static const char *const experts[] = {"ada", "bob", "eve"};
static const char *const categories[] = {"law", "math", "art", "none"};

static void make_world(struct world *w, uint64_t seed, double signal)
{
    struct rng r;
    float centre[C * D];
    rng_init(&r, seed);
    for (int i = 0; i < C * D; i++)
        centre[i] = (float)rng_normal(&r);
    for (int t = 0; t < T; t++) {
        int c = (int)rng_below(&r, C);
        w->category[t] = c;
        for (int i = 0; i < D; i++)
            w->x[t * D + i] = centre[c * D + i] + 0.3f * (float)rng_normal(&r);
        for (int e = 0; e < N; e++) {
            double p = 0.5 + (e == c ? signal : -signal);
            w->right[t * N + e] = rng_uniform(&r) < 0.1 ? -1 : rng_uniform(&r) < p;
        }
    }
    w->d = (struct gate_data){.x = w->x, .right = w->right, .category = w->category};
    w->d.T = T, w->d.D = D, w->d.N = N, w->d.n_categories = C;
    w->d.experts = experts, w->d.categories = categories;
}

static struct device *cpu(int n_threads)
{
    struct device *dev = NULL;
    assert_int_equal(0, device_open(&dev, "cpu", n_threads, NULL));
    return dev;
}

static struct gate_train_options options(void)
{
    struct gate_train_options o = gate_train_default();
    o.hidden = 24;
    o.epochs = 12;
    o.batch = 32;
    o.lr = 0.01;
    return o;
}

static void every_kind_learns_who_is_good_at_what(void **state)
{
    (void)state;
    struct world w;
    struct device *dev = cpu(2);
    make_world(&w, 1, 0.4);
    for (int i = 0; gate_kinds[i]; i++) {
        struct gate_train_options o = options();
        struct gate_trained r;
        struct gate_measures m;
        struct err err = {0};
        if (gate_train(&r, dev, &w.d, gate_kinds[i]->name, &o, &err))
            fail_msg("%s: %s", gate_kinds[i]->name, err.msg);
        assert_int_equal(0, gate_measure(&m, r.oof, w.right, T, N, NULL, r.gate->accuracy,
                                         gate_kinds[i]->probabilities, NULL));
        /* 0.9 of three topics in four and 0.1 of the last, times 0.9 for missing ones: 0.63; the best single one gets 0.27 */
        if (m.top1.value < 0.55 || m.single.value > 0.4)
            fail_msg("%s: top-1 %g, single %g", gate_kinds[i]->name, m.top1.value, m.single.value);
        if (m.probabilities && (m.brier > 0.16 || m.brier > m.brier_constant || m.ece > 0.15))
            fail_msg("%s: Brier %g of %g, ECE %g", gate_kinds[i]->name, m.brier, m.brier_constant,
                     m.ece);
        gate_trained_release(&r);
    }
    device_close(dev);
}

static void a_gate_scores_the_same_after_saving_and_opening(void **state)
{
    (void)state;
    struct world w;
    struct device *dev = cpu(2);
    make_world(&w, 3, 0.3);
    for (int i = 0; gate_kinds[i]; i++) {
        struct gate_train_options o = options();
        struct gate_trained r;
        struct gate *g = NULL;
        float a[T * N], b[T * N];
        struct gate_input in = {w.x, w.category, T};
        assert_int_equal(0, gate_train(&r, dev, &w.d, gate_kinds[i]->name, &o, NULL));
        assert_int_equal(0, gate_save(r.gate, DIR "/gating.safetensors", NULL));
        assert_int_equal(0, gate_open(&g, DIR, NULL));
        assert_int_equal(0, gate_score(a, dev, r.gate, &in, NULL));
        assert_int_equal(0, gate_score(b, dev, g, &in, NULL));
        assert_memory_equal(a, b, sizeof a);
        assert_string_equal("bob", g->experts[1]);
        assert_int_equal(2, gate_category(g, "art"));
        assert_int_equal(-1, gate_category(g, "music"));
        gate_free(g);
        gate_trained_release(&r);
    }
    device_close(dev);
}

static void one_row_scores_as_it_does_among_others_and_without_a_category(void **state)
{
    (void)state;
    struct world w;
    struct device *dev = cpu(2);
    make_world(&w, 4, 0.3);
    for (int i = 0; gate_kinds[i]; i++) {
        struct gate_train_options o = options();
        struct gate_trained r;
        float all[T * N], one[N];
        struct gate_input in = {w.x, w.category, T}, row = {w.x + 7 * D, w.category + 7, 1};
        assert_int_equal(0, gate_train(&r, dev, &w.d, gate_kinds[i]->name, &o, NULL));
        assert_int_equal(0, gate_score(all, dev, r.gate, &in, NULL));
        assert_int_equal(0, gate_score(one, dev, r.gate, &row, NULL));
        for (int e = 0; e < N; e++)
            assert_true(fabsf(all[7 * N + e] - one[e]) < 1e-5f);
        row.category = NULL;
        assert_int_equal(0, gate_score(one, dev, r.gate, &row, NULL));
        gate_trained_release(&r);
    }
    device_close(dev);
}

static void the_same_seed_gives_the_same_bits_at_any_number_of_threads(void **state)
{
    (void)state;
    struct world w;
    float first[T * N];
    make_world(&w, 5, 0.3);
    for (int n = 1; n <= 3; n++) {
        struct device *dev = cpu(n);
        struct gate_train_options o = options();
        struct gate_trained r;
        assert_int_equal(0, gate_train(&r, dev, &w.d, "ensemble", &o, NULL));
        if (n == 1)
            memcpy(first, r.oof, sizeof first);
        assert_memory_equal(first, r.oof, sizeof first);
        gate_trained_release(&r);
        device_close(dev);
    }
}

static void out_of_fold_scores_know_nothing_of_their_own_row(void **state)
{
    (void)state;
    /* Outcomes that hang on nothing: whoever has seen a row can tell, nobody else can. */
    struct world w;
    struct device *dev = cpu(2);
    make_world(&w, 6, 0);
    for (int i = 0; gate_kinds[i]; i++) {
        struct gate_train_options o = options();
        struct gate_trained r;
        struct gate_measures m;
        if (!gate_kinds[i]->probabilities)
            continue;
        assert_int_equal(0, gate_train(&r, dev, &w.d, gate_kinds[i]->name, &o, NULL));
        assert_int_equal(
            0, gate_measure(&m, r.oof, w.right, T, N, NULL, r.gate->accuracy, true, NULL));
        assert_true(m.brier > 0.24);
        gate_trained_release(&r);
    }
    device_close(dev);
}

static void equal_vectors_share_a_fold_and_categories_are_spread(void **state)
{
    (void)state;
    struct world w;
    struct device *dev = cpu(1);
    struct gate_train_options o = options();
    struct gate_trained r;
    int count[C][5] = {{0}};
    make_world(&w, 7, 0.3);
    for (int t = 0; t < 40; t++)
        memcpy(w.x + (T - 1 - t) * D, w.x + t * D, D * sizeof(float));
    assert_int_equal(0, gate_train(&r, dev, &w.d, "category", &o, NULL));
    assert_int_equal(T - 40, w.d.n_distinct);
    for (int t = 0; t < 40; t++)
        assert_int_equal(r.fold[t], r.fold[T - 1 - t]);
    for (int t = 40; t < T - 40; t++)
        count[w.category[t]][r.fold[t]]++;
    for (int c = 0; c < C; c++)
        for (int f = 0; f < 5; f++)
            assert_true(count[c][f] > 3);
    gate_trained_release(&r);
    device_close(dev);
}

static void knn_is_what_its_definition_says(void **state)
{
    (void)state;
    struct world w;
    struct device *dev = cpu(2);
    struct gate_train_options o = options();
    struct gate_trained r;
    float s[T * N];
    struct gate_input in = {w.x, NULL, T};
    make_world(&w, 8, 0.3);
    assert_int_equal(0, gate_train(&r, dev, &w.d, "knn", &o, NULL));
    assert_int_equal(0, gate_score(s, dev, r.gate, &in, NULL));
    int k = (int)gate_setting(r.gate, "k", 0);
    const float *prior = gate_tensor(r.gate, "prior")->data;
    double weight = gate_setting(r.gate, "prior_weight", 0);
    for (int t = 0; t < T; t += 17) {
        bool taken[T] = {false};
        double right[N] = {0}, run[N] = {0};
        for (int i = 0; i < k; i++) {
            int best = -1;
            double most = -INFINITY;
            for (int u = 0; u < T; u++) {
                double dot = 0, a = 0, b = 0;
                for (int j = 0; j < D; j++) {
                    dot += (double)w.x[t * D + j] * w.x[u * D + j];
                    a += (double)w.x[t * D + j] * w.x[t * D + j];
                    b += (double)w.x[u * D + j] * w.x[u * D + j];
                }
                if (!taken[u] && dot / sqrt(a * b) > most) {
                    most = dot / sqrt(a * b);
                    best = u;
                }
            }
            taken[best] = true;
            for (int e = 0; e < N; e++) {
                right[e] += w.right[best * N + e] > 0;
                run[e] += w.right[best * N + e] >= 0;
            }
        }
        for (int e = 0; e < N; e++)
            assert_true(fabs(s[t * N + e] - (right[e] + weight * prior[e]) / (run[e] + weight)) <
                        1e-5);
    }
    gate_trained_release(&r);
    device_close(dev);
}

static void missing_outcomes_teach_nothing(void **state)
{
    (void)state;
    /* Rows whose outcomes are all missing may hold anything: what is learnt does not change. */
    struct world w;
    struct device *dev = cpu(1);
    struct rng rng;
    struct mlp_steps s[2];
    int32_t rows[8] = {0, 1, 2, 3, 4, 5, 6, 7};
    make_world(&w, 9, 0.3);
    memset(w.right + 5 * N, -1, N);
    for (int i = 0; i < 2; i++) {
        s[i] = (struct mlp_steps){.dev = dev, .T = T, .D = D, .F = 16, .N = N, .batch = 8};
        s[i].compute = DT_F32, s[i].lr = 0.01f;
        rng_init(&rng, 1);
        assert_int_equal(0, mlp_steps_init(&s[i], &rng, NULL));
        double loss;
        assert_int_equal(0, mlp_steps_take(&loss, &s[i], w.x, w.right, rows, 8, NULL));
        for (int j = 0; j < D; j++)
            w.x[5 * D + j] = 100;
    }
    for (int64_t i = 0; i < s[0].n_parameters; i++)
        assert_true(fabsf(s[0].p[i] - s[1].p[i]) < 1e-6f);
    mlp_steps_release(&s[0]);
    mlp_steps_release(&s[1]);
    device_close(dev);
}

static const struct safetensor *need(const struct safetensors *st, const char *name)
{
    const struct safetensor *t = NULL;
    struct err err = {0};
    if (safetensors_get(&t, st, name, &err))
        fail_msg("%s", err.msg);
    return t;
}

static void check_against_pytorch(const struct safetensors *st, const char *kind, bool softmax,
                                  const char *device)
{
    enum {
        GD = 20,
        GF = 16,
        GN = 3,
        GT = 40,
        BATCH = 8,
        STEPS = 6,
        P = GF * GD + GF + GN * GF + GN
    };
    float x[GT * GD], before[P], after[P], got[P], losses[STEPS];
    int8_t right[GT * GN];
    int32_t rows[BATCH * STEPS];
    char name[64];
    struct rng rng;
    struct device *dev = NULL;
    if (device_open(&dev, device, 2, NULL)) {
        assert_true(strncmp(device, "cuda", 4) == 0); /* not there on every machine */
        return;
    }
    safetensors_to_f32(x, need(st, "x"), 0, GT * GD, NULL);
    memcpy(right, need(st, "right")->bytes, sizeof right);
    memcpy(rows, need(st, "rows")->bytes, sizeof rows);
    snprintf(name, sizeof name, "%s.before", kind);
    safetensors_to_f32(before, need(st, name), 0, P, NULL);
    snprintf(name, sizeof name, "%s.after", kind);
    safetensors_to_f32(after, need(st, name), 0, P, NULL);
    snprintf(name, sizeof name, "%s.losses", kind);
    safetensors_to_f32(losses, need(st, name), 0, STEPS, NULL);
    struct mlp_steps s = {.dev = dev, .T = GT, .D = GD, .F = GF, .N = GN, .batch = BATCH};
    s.softmax = softmax, s.compute = DT_F32, s.lr = 1e-2f, s.weight_decay = 0.05f;
    rng_init(&rng, 1);
    assert_int_equal(0, mlp_steps_init(&s, &rng, NULL));
    assert_int_equal(P, s.n_parameters);
    dev->ops->write(dev, s.p, before, sizeof before);
    for (int i = 0; i < STEPS; i++) {
        double loss;
        assert_int_equal(0, mlp_steps_take(&loss, &s, x, right, rows + i * BATCH, BATCH, NULL));
        assert_true(fabs(loss - losses[i]) < 1e-5);
    }
    /* Adam divides by √v, so that an ulp of a gradient near 0 becomes part of a step of 0.01 */
    for (int i = 0; i < 4; i++)
        mlp_steps_read(got + mlp_steps_offset(&s, i), &s, i);
    for (int i = 0; i < P; i++)
        assert_true(fabsf(got[i] - after[i]) < 2e-4f);
    mlp_steps_release(&s);
    device_close(dev);
}

static void steps_are_those_of_pytorch(void **state)
{
    (void)state;
    struct safetensors *st = NULL;
    assert_int_equal(0, safetensors_open(&st, TEST_DIR "/fixtures/gate_mlp.safetensors", NULL));
    check_against_pytorch(st, "sigmoid", false, "cpu");
    check_against_pytorch(st, "softmax", true, "cpu");
    check_against_pytorch(st, "sigmoid", false, "cpu:reference");
    check_against_pytorch(st, "sigmoid", false, "cuda:emulated");
    check_against_pytorch(st, "softmax", true, "cuda:emulated");
    check_against_pytorch(st, "sigmoid", false, "cuda");
    safetensors_close(st);
}

static void every_kind_scores_on_a_gpu_as_on_the_cpu(void **state)
{
    (void)state;
    static const char *const kinds[] = {"sigmoid", "softmax", "knn", "kmeans", "ensemble"};
    struct world w;
    struct device *dev = cpu(1), *gpu = NULL;
    struct gate_train_options o = options();
    struct err err = {0};
    if (device_open(&gpu, "cuda", 1, &err) && device_open(&gpu, "cuda:emulated", 1, &err)) {
        device_close(dev);
        return; /* the emulator is not built for every machine */
    }
    err = (struct err){0};
    make_world(&w, 3, 0.4);
    o.epochs = 1;
    for (int k = 0; k < 5; k++) {
        enum { ROWS = 70 };
        struct gate_trained r;
        struct gate_input in = {w.x, w.category, ROWS};
        float a[ROWS * N], b[ROWS * N];
        assert_int_equal(0, gate_train(&r, dev, &w.d, kinds[k], &o, NULL));
        assert_int_equal(0, gate_score(a, dev, r.gate, &in, NULL));
        if (gate_score(b, gpu, r.gate, &in, &err))
            fail_msg("%s: %s", kinds[k], err.msg);
        for (int i = 0; i < ROWS * N; i++)
            assert_true(fabsf(a[i] - b[i]) < 1e-5f);
        gate_trained_release(&r);
    }
    device_close(dev);
    device_close(gpu);
}

static void measures_are_those_counted_by_hand(void **state)
{
    (void)state;
    const float scores[4 * 2] = {0.9f, 0.1f, 0.2f, 0.8f, 0.5f, 0.5f, 0.6f, 0.7f};
    const int8_t right[4 * 2] = {1, 0, 1, 0, 0, 1, 1, -1};
    const float training[2] = {0.4f, 0.6f};
    const bool only[2] = {true, false}, none[2] = {false, false};
    struct gate_measures m;
    assert_int_equal(0, gate_measure(&m, scores, right, 4, 2, NULL, training, true, NULL));
    /* called: 0 right; 1 wrong; 0 (a tie) wrong; 1 not run */
    assert_true(m.top1.value == 0.25 && m.called_missing == 1 && m.missing_cells == 1);
    assert_true(m.single_expert == 1 && m.single.value == 0.25);
    assert_true(m.hindsight_expert == 0 && m.hindsight.value == 0.75);
    assert_true(m.oracle.value == 1 && m.random == 0.5 && m.gain.value == 0 && m.gap_closed == 0);
    assert_true(m.accuracy[0] == 0.75 && fabs(m.accuracy[1] - 1.0 / 3) < 1e-12);
    double brier = 0.01 + 0.01 + 0.64 + 0.64 + 0.25 + 0.25 + 0.16;
    assert_true(fabs(m.brier - brier / 7) < 1e-6);
    assert_true(m.bins[5].n == 2 && m.bins[5].right == 0.5);
    assert_int_equal(0, gate_measure(&m, scores, right, 4, 2, only, training, true, NULL));
    assert_true(m.top1.value == 0.75 && m.oracle.value == 0.75 && m.called[1] == 0);
    assert_true(isnan(m.gap_closed));
    assert_int_equal(MOE2_ECONFIG,
                     gate_measure(&m, scores, right, 4, 2, none, training, true, NULL));
}

static void an_expert_that_was_never_run_is_named(void **state)
{
    (void)state;
    struct world w;
    struct device *dev = cpu(1);
    struct gate_train_options o = options();
    struct gate_trained r;
    struct err err = {0};
    make_world(&w, 10, 0.3);
    for (int t = 0; t < T; t++)
        w.right[t * N + 1] = -1;
    assert_int_equal(MOE2_EFORMAT, gate_train(&r, dev, &w.d, "knn", &o, &err));
    assert_non_null(strstr(err.msg, "expert bob has no outcome"));
    err = (struct err){0};
    assert_int_equal(MOE2_ECONFIG, gate_train(&r, dev, &w.d, "oracle", &o, &err));
    assert_non_null(strstr(err.msg, "wanted sigmoid"));
    err = (struct err){0};
    w.d.T = 9;
    assert_int_equal(MOE2_ECONFIG, gate_train(&r, dev, &w.d, "knn", &o, &err));
    device_close(dev);
}

static void broken_files_are_refused(void **state)
{
    (void)state;
    struct world w;
    struct device *dev = cpu(1);
    struct gate_train_options o = options();
    make_world(&w, 11, 0.3);
    for (int i = 0; gate_kinds[i]; i++) {
        struct gate_trained r;
        struct gate *g = NULL;
        struct err err = {0};
        assert_int_equal(0, gate_train(&r, dev, &w.d, gate_kinds[i]->name, &o, NULL));
        struct gate *part = r.gate->n_parts ? r.gate->parts[0] : r.gate;
        for (int t = 0; t < part->n_tensors; t++) {
            float was = part->tensors[t].data[0];
            part->tensors[t].data[0] = NAN;
            assert_int_equal(0, gate_save(r.gate, DIR "/gating.safetensors", NULL));
            assert_int_equal(MOE2_ENUMERIC, gate_open(&g, DIR, &err));
            assert_non_null(strstr(err.msg, "is no number"));
            part->tensors[t].data[0] = was;
            err = (struct err){0};
        }
        for (int t = 0; t < part->n_tensors; t++) {
            const char *was = part->tensors[t].name;
            part->tensors[t].name = "lost";
            assert_int_equal(0, gate_save(r.gate, DIR "/gating.safetensors", NULL));
            assert_int_equal(MOE2_EFORMAT, gate_open(&g, DIR, &err));
            part->tensors[t].name = was;
            err = (struct err){0};
        }
        gate_trained_release(&r);
    }
    assert_int_equal(MOE2_EIO, gate_open(&(struct gate *){NULL}, DIR "/nothing", NULL));
    device_close(dev);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_kind_learns_who_is_good_at_what),
        cmocka_unit_test(every_kind_scores_on_a_gpu_as_on_the_cpu),
        cmocka_unit_test(a_gate_scores_the_same_after_saving_and_opening),
        cmocka_unit_test(one_row_scores_as_it_does_among_others_and_without_a_category),
        cmocka_unit_test(the_same_seed_gives_the_same_bits_at_any_number_of_threads),
        cmocka_unit_test(out_of_fold_scores_know_nothing_of_their_own_row),
        cmocka_unit_test(equal_vectors_share_a_fold_and_categories_are_spread),
        cmocka_unit_test(knn_is_what_its_definition_says),
        cmocka_unit_test(missing_outcomes_teach_nothing),
        cmocka_unit_test(steps_are_those_of_pytorch),
        cmocka_unit_test(measures_are_those_counted_by_hand),
        cmocka_unit_test(an_expert_that_was_never_run_is_named),
        cmocka_unit_test(broken_files_are_refused),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
