/* The decoder against transformers: logits, loss, gradient of every tensor and five AdamW steps of
 * small random models, from tests/fixtures (made by tests/golden/make_golden.py). Errors are the
 * largest over the largest value of the tensor.
 *
 * Each runs on the CPU, on CUDA's kernels emulated, and on a GPU where there is one.
 *
 * Limits. Logits and loss 1e-5, gradients 1e-4 of their own tensor: float32 products in another
 * order of summation than the oracle's. After the steps 1e-3 of the largest move, 5 · lr: the
 * fixtures hold no gradient that is all rounding, which Adam would move by a full step in a random
 * direction.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <math.h>

#include <cmocka.h>

#include "io/safetensors.h"
#include "model/decoder.h"

static const char *const variants[] = {"v3", "v3_plain", "v3_unnormed", "moonlight", "v2_lite",
                                       "v2", "llama",    "llama_tied",  "qwen2",     "qwen3"};

struct golden {
    struct device *dev;
    struct decoder *dec;
    struct safetensors *st;
    int32_t ids[64], targets[64], offset[2];
    struct batch batch;
};

static void golden_open(struct golden *g, const char *device, const char *name, bool checkpointing)
{
    char path[512];
    struct err err = {0};
    *g = (struct golden){0};
    if (device_open(&g->dev, device, 2, &err))
        fail_msg("%s", err.msg);
    snprintf(path, sizeof path, "%s/fixtures/model_%s", TEST_DIR, name);
    struct decoder_options o = {
        .dir = path, .compute = DT_F32, .train = true, .checkpoint_activations = checkpointing};
    if (decoder_open(&g->dec, &o, g->dev, &err))
        fail_msg("%s", err.msg);
    snprintf(path, sizeof path, "%s/fixtures/model_%s/golden.safetensors", TEST_DIR, name);
    if (safetensors_open(&g->st, path, &err))
        fail_msg("%s", err.msg);
    int32_t n = 0;
    for (const char *s = safetensors_metadata(g->st, "ids"); s && *s && n < 64;
         s += strcspn(s, ","), s += *s == ',')
        g->ids[n++] = (int32_t)atoi(s);
    for (int32_t t = 0; t < n; t++)
        g->targets[t] = t + 1 < n ? g->ids[t + 1] : -1;
    g->offset[1] = n;
    g->batch =
        (struct batch){.ids = g->ids, .targets = g->targets, .offset = g->offset, .B = 1, .T = n};
}

static void golden_close(struct golden *g)
{
    decoder_free(g->dec);
    device_close(g->dev);
    safetensors_close(g->st);
}

static float *expected(struct golden *g, const char *prefix, const char *name, int64_t n)
{
    char full[256];
    struct err err = {0};
    const struct safetensor *t = NULL;
    float *x = malloc((size_t)n * sizeof *x);
    snprintf(full, sizeof full, "%s%s", prefix, name);
    assert_non_null(x);
    if (safetensors_get(&t, g->st, full, &err) || t->n_elements != n ||
        safetensors_to_f32(x, t, 0, n, &err))
        fail_msg("%s: %s", full, err.msg);
    return x;
}

/* n numbers of the device. */
static float *fetched(struct golden *g, const float *from, int64_t n)
{
    float *x = malloc((size_t)n * sizeof *x);
    assert_non_null(x);
    g->dev->ops->read(g->dev, x, from, (size_t)n * sizeof *x);
    return x;
}

/* A test's device; skips where it can't be opened. */
static const char *device_of(void **state)
{
    const char *name = *state;
    struct device *dev = NULL;
    struct err err = {0};
    if (device_open(&dev, name, 1, &err)) {
        print_message("skipped: %s\n", err.msg);
        skip();
    }
    device_close(dev);
    return name;
}

static void assert_close(const float *got, const float *wanted, int64_t n, double limit,
                         double scale, const char *what, const char *name)
{
    double largest = scale, worst = 0;
    for (int64_t i = 0; i < n; i++) {
        largest = scale > 0 ? scale : fmax(largest, fabs(wanted[i]));
        double error = fabs((double)got[i] - wanted[i]);
        worst = error > worst || isnan(error) ? error : worst;
    }
    if (!(worst <= limit * largest))
        fail_msg("%s %s: largest error %.3g over largest value %.3g is %.3g, wanted at most %.3g",
                 name, what, worst, largest, worst / largest, limit);
}

static double step(struct golden *g)
{
    struct err err = {0};
    struct loss_result loss = {0};
    float scale = 1.0f / (float)(g->batch.T - 1);
    decoder_zero_grad(g->dec);
    if (decoder_forward(g->dec, &g->batch, DECODER_GRAD, &err) ||
        decoder_loss(g->dec, &g->batch, scale, &loss, &err) ||
        decoder_backward(g->dec, &g->batch, scale, &err))
        fail_msg("%s", err.msg);
    assert_int_equal(loss.n_targets, g->batch.T - 1);
    return loss.nll / (double)loss.n_targets;
}

static void check_gradients(struct golden *g, const char *name)
{
    int64_t n = 0;
    struct param *p = decoder_params(g->dec, &n);
    for (int64_t i = 0; i < n; i++) {
        if (!p[i].grad)
            continue;
        float *wanted = expected(g, "grad.", p[i].name, p[i].n);
        float *got = fetched(g, p[i].grad, p[i].n);
        assert_close(got, wanted, p[i].n, 1e-4, 0, p[i].name, name);
        free(got);
        free(wanted);
    }
}

static void logits_are_those_of_transformers(void **state)
{
    const char *device = device_of(state);
    for (size_t v = 0; v < sizeof variants / sizeof *variants; v++) {
        struct golden g;
        struct err err = {0};
        golden_open(&g, device, variants[v], false);
        int64_t n = g.batch.T * decoder_config(g.dec)->vocab_size;
        float *got = malloc((size_t)n * sizeof *got), *wanted = expected(&g, "", "logits", n);
        assert_int_equal(0, decoder_forward(g.dec, &g.batch, DECODER_EVAL, &err));
        assert_int_equal(0, decoder_logits(g.dec, 0, g.batch.T, got, &err));
        assert_close(got, wanted, n, 1e-5, 0, "logits", variants[v]);
        free(got);
        free(wanted);
        golden_close(&g);
    }
}

static void loss_and_every_gradient_are_those_of_transformers(void **state)
{
    const char *device = device_of(state);
    for (size_t v = 0; v < sizeof variants / sizeof *variants; v++) {
        struct golden g;
        golden_open(&g, device, variants[v], false);
        double wanted = strtod(safetensors_metadata(g.st, "loss"), NULL), got = step(&g);
        if (!(fabs(got - wanted) <= 1e-5 * wanted))
            fail_msg("%s: loss %.9g, wanted %.9g", variants[v], got, wanted);
        check_gradients(&g, variants[v]);
        golden_close(&g);
    }
}

static float *zeros(struct golden *g, int64_t n)
{
    float *x = device_alloc(g->dev, (size_t)n * sizeof *x, NULL);
    assert_non_null(x);
    g->dev->ops->zero(g->dev, x, (size_t)n * sizeof *x);
    return x;
}

static void five_steps_of_adamw_end_where_transformers_and_torch_end(void **state)
{
    const char *device = device_of(state);
    for (size_t v = 0; v < sizeof variants / sizeof *variants; v++) {
        struct golden g;
        golden_open(&g, device, variants[v], false);
        int64_t n = 0;
        struct param *p = decoder_params(g.dec, &n);
        float **m = calloc((size_t)n, sizeof *m), **s = calloc((size_t)n, sizeof *s);
        for (int t = 1; t <= 5; t++) {
            step(&g);
            for (int64_t i = 0; i < n; i++) {
                if (!p[i].grad)
                    continue;
                m[i] = m[i] ? m[i] : zeros(&g, p[i].n);
                s[i] = s[i] ? s[i] : zeros(&g, p[i].n);
                struct adamw_args a = {.p = p[i].data,
                                       .m = m[i],
                                       .v = s[i],
                                       .g = p[i].grad,
                                       .n = p[i].n,
                                       .lr = 1e-3f,
                                       .beta1 = 0.9f,
                                       .beta2 = 0.999f,
                                       .eps = 1e-8f,
                                       .grad_scale = 1,
                                       .correction1 = (float)(1 - pow(0.9, t)),
                                       .correction2 = (float)(1 - pow(0.999, t))};
                g.dev->k->adamw(g.dev, &a);
            }
        }
        for (int64_t i = 0; i < n; i++) {
            if (!p[i].grad)
                continue;
            float *wanted = expected(&g, "after.", p[i].name, p[i].n);
            float *got = fetched(&g, p[i].data, p[i].n);
            assert_close(got, wanted, p[i].n, 1e-3, 5e-3, p[i].name, variants[v]);
            free(got);
            free(wanted);
            device_free(g.dev, m[i], (size_t)p[i].n * sizeof **m);
            device_free(g.dev, s[i], (size_t)p[i].n * sizeof **s);
        }
        free(m);
        free(s);
        golden_close(&g);
    }
}

static void recomputed_activations_give_the_same_bits(void **state)
{
    const char *device = device_of(state);
    for (size_t v = 0; v < sizeof variants / sizeof *variants; v++) {
        struct golden a, b;
        golden_open(&a, device, variants[v], false);
        golden_open(&b, device, variants[v], true);
        assert_true(step(&a) == step(&b));
        int64_t n = 0;
        struct param *p = decoder_params(a.dec, &n), *q = decoder_params(b.dec, &n);
        for (int64_t i = 0; i < n; i++)
            if (p[i].grad) {
                float *x = fetched(&a, p[i].grad, p[i].n), *y = fetched(&b, q[i].grad, p[i].n);
                assert_memory_equal(x, y, (size_t)p[i].n * sizeof *x);
                free(x);
                free(y);
            }
        golden_close(&a);
        golden_close(&b);
    }
}

int main(void)
{
#define ON(device)                                                                                 \
    cmocka_unit_test_prestate(logits_are_those_of_transformers, device),                           \
        cmocka_unit_test_prestate(loss_and_every_gradient_are_those_of_transformers, device),      \
        cmocka_unit_test_prestate(five_steps_of_adamw_end_where_transformers_and_torch_end,        \
                                  device),                                                         \
        cmocka_unit_test_prestate(recomputed_activations_give_the_same_bits, device)
    static char cpu[] = "cpu", emulated[] = "cuda:emulated", gpu[] = "cuda";
    const struct CMUnitTest tests[] = {ON(cpu), ON(emulated), ON(gpu)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
