/* The optimizer and the learning-rate schedules. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "train/optimizer.h"
#include "train/schedule.h"

/* Four params: a matrix, its neighbour in memory, a norm, a buffer without gradient. */
enum { N = 4, SIZE = 6 };

struct fixture {
    struct device *dev;
    float data[N * SIZE], grad[N * SIZE];
    struct param params[N];
    struct optimizer *opt;
};

static const struct optimizer_config plain = {0.9, 0.999, 1e-8, 0.1, 0, false};

static void fixture_open(struct fixture *f, const struct optimizer_config *config)
{
    memset(f, 0, sizeof *f);
    assert_int_equal(0, device_open(&f->dev, "cpu:reference", 1, NULL));
    static const char *const names[N] = {"a.weight", "b.weight", "norm.weight", "bias"};
    static const enum param_kind kinds[N] = {PARAM_MATRIX, PARAM_ROUTER, PARAM_NORM, PARAM_BUFFER};
    for (int i = 0; i < N * SIZE; i++) {
        f->data[i] = 1 + (float)i;
        f->grad[i] = (float)(i % 5) - 2;
    }
    for (int i = 0; i < N; i++)
        f->params[i] = (struct param){
            .name = names[i],
            .kind = kinds[i],
            .n_dims = i < 2 ? 2 : 1,
            .shape = {i < 2 ? 2 : SIZE, 3},
            .n = SIZE,
            .data = f->data + i * SIZE,
            .grad = i < 3 ? f->grad + i * SIZE : NULL,
        };
    assert_int_equal(0, optimizer_new(&f->opt, f->params, N, config, f->dev, NULL));
}

static void fixture_close(struct fixture *f)
{
    optimizer_free(f->opt);
    device_close(f->dev);
}

/* The paper's update in double, for a first step. */
static double first_step(double p, double g, double lr, const struct optimizer_config *c,
                         bool decay)
{
    double m = (1 - c->beta1) * g / (1 - c->beta1), v = (1 - c->beta2) * g * g / (1 - c->beta2);
    return p - lr * (m / (sqrt(v) + c->eps) + (decay ? c->weight_decay * p : 0));
}

static void matrices_decay_and_norms_and_buffers_do_not(void **state)
{
    (void)state;
    struct fixture f;
    fixture_open(&f, &plain);
    double norm = 0;
    assert_int_equal(0, optimizer_grad_norm(&norm, f.opt, NULL));
    optimizer_step(f.opt, 0.01, norm);
    for (int i = 0; i < N * SIZE; i++) {
        double p = 1 + i,
               want = i < 3 * SIZE ? first_step(p, i % 5 - 2, 0.01, &plain, i < 2 * SIZE) : p;
        assert_float_equal((float)f.data[i], (float)want, 1e-5f);
    }
    fixture_close(&f);
}

static void the_norm_is_that_of_all_gradients_together(void **state)
{
    (void)state;
    struct fixture f;
    fixture_open(&f, &plain);
    double norm = 0, sum = 0;
    for (int i = 0; i < 3 * SIZE; i++)
        sum += f.grad[i] * f.grad[i];
    assert_int_equal(0, optimizer_grad_norm(&norm, f.opt, NULL));
    assert_true(fabs(norm - sqrt(sum)) < 1e-12);
    fixture_close(&f);
}

static void clipping_shrinks_a_large_gradient_to_the_limit_and_leaves_a_small_one(void **state)
{
    (void)state;
    struct optimizer_config clipped = plain;
    clipped.clip = 0.5;
    clipped.eps = 1; /* makes the update depend on the gradient's size */
    struct fixture large, scaled;
    fixture_open(&large, &clipped);
    clipped.clip = 0;
    fixture_open(&scaled, &clipped);
    double norm = 0;
    assert_int_equal(0, optimizer_grad_norm(&norm, large.opt, NULL));
    assert_true(norm > 0.5);
    for (int i = 0; i < N * SIZE; i++)
        scaled.grad[i] *= (float)(0.5 / norm);
    optimizer_step(large.opt, 0.01, norm);
    optimizer_step(scaled.opt, 0.01, 0.5);
    for (int i = 0; i < N * SIZE; i++)
        assert_float_equal(large.data[i], scaled.data[i], 1e-6f);
    fixture_close(&large);
    fixture_close(&scaled);

    struct fixture a, b;
    struct optimizer_config loose = plain;
    loose.clip = 1000;
    fixture_open(&a, &loose);
    fixture_open(&b, &plain);
    optimizer_step(a.opt, 0.01, norm);
    optimizer_step(b.opt, 0.01, norm);
    assert_memory_equal(a.data, b.data, sizeof a.data);
    fixture_close(&a);
    fixture_close(&b);
}

static void neighbours_in_memory_get_the_same_bits_as_params_lying_apart(void **state)
{
    (void)state;
    struct fixture together, apart;
    fixture_open(&together, &plain);
    fixture_open(&apart, &plain);
    float data[3][SIZE + 1], grad[3][SIZE + 1];
    for (int i = 0; i < 3; i++) {
        memcpy(data[i], apart.params[i].data, sizeof(float) * SIZE);
        memcpy(grad[i], apart.params[i].grad, sizeof(float) * SIZE);
        apart.params[i].data = data[i];
        apart.params[i].grad = grad[i];
    }
    for (int step = 0; step < 5; step++) {
        double a = 0, b = 0;
        assert_int_equal(0, optimizer_grad_norm(&a, together.opt, NULL));
        assert_int_equal(0, optimizer_grad_norm(&b, apart.opt, NULL));
        assert_true(a == b);
        optimizer_step(together.opt, 0.01, a);
        optimizer_step(apart.opt, 0.01, b);
    }
    for (int i = 0; i < 3; i++)
        assert_memory_equal(data[i], together.params[i].data, sizeof(float) * SIZE);
    fixture_close(&together);
    fixture_close(&apart);
}

static void a_param_without_gradient_this_step_fades_and_decays_like_the_others(void **state)
{
    (void)state;
    struct fixture f;
    fixture_open(&f, &plain);
    optimizer_step(f.opt, 0.01, 1);
    memset(f.grad, 0, sizeof f.grad);
    float before[SIZE];
    memcpy(before, f.data, sizeof before);
    optimizer_step(f.opt, 0.01, 0);
    for (int i = 0; i < SIZE; i++) {
        double g = i % 5 - 2, b1 = plain.beta1, b2 = plain.beta2;
        double m = b1 * (1 - b1) * g / (1 - b1 * b1), v = b2 * (1 - b2) * g * g / (1 - b2 * b2);
        double want =
            before[i] - 0.01 * (m / (sqrt(v) + plain.eps) + plain.weight_decay * before[i]);
        assert_float_equal(f.data[i], (float)want, 1e-5f);
    }
    fixture_close(&f);
}

static void a_nan_in_a_gradient_is_named_and_nothing_has_moved(void **state)
{
    (void)state;
    struct fixture f;
    fixture_open(&f, &plain);
    struct err err = {0};
    double norm = 7;
    f.grad[SIZE + 4] = NAN;
    assert_int_equal(MOE2_ENUMERIC, optimizer_grad_norm(&norm, f.opt, &err));
    assert_string_equal(err.msg, "the gradient of b.weight holds a NaN or infinity (element 4)");
    assert_true(norm == 7);
    fixture_close(&f);
}

static void a_nan_in_a_weight_is_named(void **state)
{
    (void)state;
    struct fixture f;
    fixture_open(&f, &plain);
    struct err err = {0};
    assert_int_equal(0, params_check_finite(f.params, N, f.dev, &err));
    f.data[2 * SIZE + 1] = INFINITY;
    assert_int_equal(MOE2_ENUMERIC, params_check_finite(f.params, N, f.dev, &err));
    assert_string_equal(err.msg, "norm.weight holds a NaN or infinity (element 1)");
    fixture_close(&f);
}

static void coefficients_out_of_range_are_refused(void **state)
{
    (void)state;
    struct optimizer *opt = NULL;
    struct err err = {0};
    struct optimizer_config bad = plain;
    bad.beta2 = 1;
    assert_int_equal(MOE2_ECONFIG, optimizer_new(&opt, NULL, 0, &bad, NULL, &err));
    assert_string_equal(err.msg, "train.betas are 0.9 and 1, wanted 0 ≤ beta < 1");
    bad = plain;
    bad.clip = -1;
    err = (struct err){0};
    assert_int_equal(MOE2_ECONFIG, optimizer_new(&opt, NULL, 0, &bad, NULL, &err));
    assert_string_equal(err.msg, "train.weight_decay is 0.1 and train.clip -1, wanted 0 or more");
    assert_null(opt);
}

static void cosine_warms_up_and_ends_at_the_least_rate(void **state)
{
    (void)state;
    struct schedule s = {SCHEDULE_COSINE, 1.0, 0.1, 100, 10, 0};
    assert_int_equal(0, schedule_check(&s, NULL));
    assert_true(fabs(schedule_lr(&s, 1) - 0.1) < 1e-12);
    assert_true(fabs(schedule_lr(&s, 10) - 1.0) < 1e-12);
    assert_true(fabs(schedule_lr(&s, 55) - 0.55) < 1e-12);
    assert_true(fabs(schedule_lr(&s, 100) - 0.1) < 1e-12);
    for (int64_t step = 12; step <= 100; step++)
        assert_true(schedule_lr(&s, step) < schedule_lr(&s, step - 1));
}

static void warm_up_stable_decay_is_flat_and_then_falls_in_a_line(void **state)
{
    (void)state;
    struct schedule s = {SCHEDULE_WSD, 1.0, 0.2, 100, 10, 20};
    assert_int_equal(0, schedule_check(&s, NULL));
    assert_true(fabs(schedule_lr(&s, 5) - 0.5) < 1e-12);
    assert_true(schedule_lr(&s, 11) == 1.0 && schedule_lr(&s, 80) == 1.0);
    assert_true(fabs(schedule_lr(&s, 90) - 0.6) < 1e-12);
    assert_true(fabs(schedule_lr(&s, 100) - 0.2) < 1e-12);
}

static void a_schedule_that_does_not_fit_is_refused(void **state)
{
    (void)state;
    struct err err = {0};
    struct schedule s = {SCHEDULE_WSD, 1.0, 0.2, 100, 50, 51};
    assert_int_equal(MOE2_ECONFIG, schedule_check(&s, &err));
    assert_string_equal(err.msg,
                        "a warm-up of 50 and a decay of 51 steps don't fit into 100 steps");
    s = (struct schedule){SCHEDULE_COSINE, 0.1, 0.2, 100, 0, 0};
    err = (struct err){0};
    assert_int_equal(MOE2_ECONFIG, schedule_check(&s, &err));
    assert_string_equal(err.msg, "train.lr is 0.1 and train.min_lr 0.2, wanted 0 ≤ min_lr ≤ lr");
}

static void without_warm_up_the_first_step_has_nearly_the_full_rate(void **state)
{
    (void)state;
    struct schedule s = {SCHEDULE_COSINE, 1.0, 0.0, 1, 0, 0};
    assert_true(schedule_lr(&s, 1) == 0.0);
    s.steps = 1000;
    assert_true(schedule_lr(&s, 1) > 0.999);
    s.warmup = 1000; /* all of it warm-up */
    assert_int_equal(0, schedule_check(&s, NULL));
    assert_true(schedule_lr(&s, 1000) == 1.0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(matrices_decay_and_norms_and_buffers_do_not),
        cmocka_unit_test(the_norm_is_that_of_all_gradients_together),
        cmocka_unit_test(clipping_shrinks_a_large_gradient_to_the_limit_and_leaves_a_small_one),
        cmocka_unit_test(neighbours_in_memory_get_the_same_bits_as_params_lying_apart),
        cmocka_unit_test(a_param_without_gradient_this_step_fades_and_decays_like_the_others),
        cmocka_unit_test(a_nan_in_a_gradient_is_named_and_nothing_has_moved),
        cmocka_unit_test(a_nan_in_a_weight_is_named),
        cmocka_unit_test(coefficients_out_of_range_are_refused),
        cmocka_unit_test(cosine_warms_up_and_ends_at_the_least_rate),
        cmocka_unit_test(warm_up_stable_decay_is_flat_and_then_falls_in_a_line),
        cmocka_unit_test(a_schedule_that_does_not_fit_is_refused),
        cmocka_unit_test(without_warm_up_the_first_step_has_nearly_the_full_rate),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
