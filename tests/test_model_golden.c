/* The decoder against transformers: logits, loss, gradient of every tensor and five AdamW steps of
 * small random models, from tests/fixtures (made by tests/golden/make_golden.py). Errors are the
 * largest over the largest value of the tensor.
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

static void golden_open(struct golden *g, const char *name, bool checkpointing)
{
    char path[512];
    struct err err = {0};
    *g = (struct golden){0};
    if (device_open(&g->dev, "cpu", 2, &err))
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
        assert_close(p[i].grad, wanted, p[i].n, 1e-4, 0, p[i].name, name);
        free(wanted);
    }
}

static void logits_are_those_of_transformers(void **state)
{
    (void)state;
    for (size_t v = 0; v < sizeof variants / sizeof *variants; v++) {
        struct golden g;
        struct err err = {0};
        golden_open(&g, variants[v], false);
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
    (void)state;
    for (size_t v = 0; v < sizeof variants / sizeof *variants; v++) {
        struct golden g;
        golden_open(&g, variants[v], false);
        double wanted = strtod(safetensors_metadata(g.st, "loss"), NULL), got = step(&g);
        if (!(fabs(got - wanted) <= 1e-5 * wanted))
            fail_msg("%s: loss %.9g, wanted %.9g", variants[v], got, wanted);
        check_gradients(&g, variants[v]);
        golden_close(&g);
    }
}

static void five_steps_of_adamw_end_where_transformers_and_torch_end(void **state)
{
    (void)state;
    for (size_t v = 0; v < sizeof variants / sizeof *variants; v++) {
        struct golden g;
        golden_open(&g, variants[v], false);
        int64_t n = 0;
        struct param *p = decoder_params(g.dec, &n);
        float **m = calloc((size_t)n, sizeof *m), **s = calloc((size_t)n, sizeof *s);
        for (int t = 1; t <= 5; t++) {
            step(&g);
            for (int64_t i = 0; i < n; i++) {
                if (!p[i].grad)
                    continue;
                m[i] = m[i] ? m[i] : calloc((size_t)p[i].n, sizeof **m);
                s[i] = s[i] ? s[i] : calloc((size_t)p[i].n, sizeof **s);
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
            assert_close(p[i].data, wanted, p[i].n, 1e-3, 5e-3, p[i].name, variants[v]);
            free(wanted);
            free(m[i]);
            free(s[i]);
        }
        free(m);
        free(s);
        golden_close(&g);
    }
}

static void recomputed_activations_give_the_same_bits(void **state)
{
    (void)state;
    for (size_t v = 0; v < sizeof variants / sizeof *variants; v++) {
        struct golden a, b;
        golden_open(&a, variants[v], false);
        golden_open(&b, variants[v], true);
        assert_true(step(&a) == step(&b));
        int64_t n = 0;
        struct param *p = decoder_params(a.dec, &n), *q = decoder_params(b.dec, &n);
        for (int64_t i = 0; i < n; i++)
            if (p[i].grad)
                assert_memory_equal(p[i].grad, q[i].grad, (size_t)p[i].n * sizeof(float));
        golden_close(&a);
        golden_close(&b);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(logits_are_those_of_transformers),
        cmocka_unit_test(loss_and_every_gradient_are_those_of_transformers),
        cmocka_unit_test(five_steps_of_adamw_end_where_transformers_and_torch_end),
        cmocka_unit_test(recomputed_activations_give_the_same_bits),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
