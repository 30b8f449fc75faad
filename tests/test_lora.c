/* Adapters: what they add is W + s·B·A, their gradients agree with finite differences, the weights
 * beneath stay still, patterns choose what they say, files come back as they were. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/file.h"
#include "base/rng.h"
#include "model/lora.h"
#include "model/lora_file.h"

#include "model_fixture.h"

enum { T = 37, V = 40 };

/* Adapters nearly everywhere: joined neighbours with one of two, another rank for down, other
 * experts another rank, expert 3 none at up. */
static const char *const TARGETS[] = {"q_a_proj",
                                      "kv_a_proj_with_mqa",
                                      "q_b_proj",
                                      "o_proj",
                                      "gate_proj",
                                      "down_proj",
                                      "mlp.gate",
                                      "lm_head",
                                      "layers.2.mlp.experts.[0-2].up_proj"};
static const struct lora_rule RANKS[] = {{"experts.[45].down_proj", 2}, {"down_proj", 5}};
static const struct lora_rule ALPHAS[] = {{"o_proj", 3}, {"experts.1.gate_proj", 1}};

static struct lora_config wide_config(void)
{
    return (struct lora_config){.targets = TARGETS,
                                .n_targets = sizeof TARGETS / sizeof *TARGETS,
                                .ranks = RANKS,
                                .n_ranks = 2,
                                .alphas = ALPHAS,
                                .n_alphas = 2,
                                .r = 3,
                                .alpha = 6,
                                .seed = 5};
}

struct rig {
    struct device *dev;
    struct decoder *dec;
    int32_t ids[T], targets[T], offset[3];
    struct batch batch;
};

static void rig_open(struct rig *r, const struct decoder_options *options)
{
    struct err err = {0};
    struct model_config c = small_config();
    struct decoder_options o = *options;
    *r = (struct rig){.offset = {0, 14, T}};
    if (!o.config)
        o.config = &c;
    o.seed = 7;
    must(device_open(&r->dev, "cpu", 2, &err), &err);
    must(decoder_open(&r->dec, &o, r->dev, &err), &err);
    struct rng rng;
    rng_init(&rng, 3);
    for (int t = 0; t < T; t++)
        r->ids[t] = (int32_t)rng_below(&rng, V);
    for (int t = 0; t < T; t++)
        r->targets[t] = t == 13 || t == T - 1 ? -1 : r->ids[t + 1];
    r->batch = (struct batch){
        .ids = r->ids, .targets = r->targets, .offset = r->offset, .B = 2, .T = T, .step = 1};
}

static void rig_close(struct rig *r)
{
    decoder_free(r->dec);
    device_close(r->dev);
}

/* Numbers in every B, which begins at zero. */
static void shake(struct rig *r)
{
    int64_t n = 0;
    struct param *p = decoder_trained(r->dec, &n);
    struct rng rng;
    rng_init(&rng, 17);
    for (int64_t i = 0; i < n; i++)
        for (int64_t j = 0; strstr(p[i].name, "lora_B") && j < p[i].n; j++)
            p[i].data[j] = (float)(0.2 * rng_normal(&rng));
}

static void gradient(struct rig *r, enum decoder_mode mode)
{
    struct err err = {0};
    decoder_zero_grad(r->dec);
    forward_loss(r->dec, &r->batch, mode, 1);
    must(decoder_backward(r->dec, &r->batch, 1, &err), &err);
}

static void logits(struct rig *r, float *out)
{
    struct err err = {0};
    must(decoder_forward(r->dec, &r->batch, DECODER_EVAL, &err), &err);
    must(decoder_logits(r->dec, 0, T, out, &err), &err);
}

static void a_new_adapter_changes_nothing(void **state)
{
    (void)state;
    struct rig with, without;
    struct lora_config lc = wide_config();
    float *a = malloc(sizeof(float) * T * V), *b = malloc(sizeof(float) * T * V);
    rig_open(&with, &(struct decoder_options){.lora = &lc, .train = true});
    rig_open(&without, &(struct decoder_options){0});
    logits(&with, a);
    logits(&without, b);
    assert_memory_equal(a, b, sizeof(float) * T * V);
    free(a);
    free(b);
    rig_close(&with);
    rig_close(&without);
}

/* W += s·B·A for every adapter, by its definition. */
static void add_to_weights(struct rig *plain, struct rig *from)
{
    const struct lora *l = decoder_lora(from->dec);
    int64_t n = 0;
    struct param *params = decoder_params(plain->dec, &n);
    for (int64_t i = 0; i < l->n; i++) {
        const struct lora_adapter *ad = &l->adapters[i];
        for (int64_t o = 0; o < ad->out; o++)
            for (int64_t c = 0; c < ad->in; c++) {
                double sum = 0;
                for (int64_t r = 0; r < ad->r; r++)
                    sum += (double)ad->b->data[o * ad->r + r] * ad->a->data[r * ad->in + c];
                params[ad->base].data[o * ad->in + c] += (float)(ad->scale * sum);
            }
    }
}

static void adapters_compute_what_their_product_with_the_weights_would(void **state)
{
    (void)state;
    struct rig with, plain;
    struct lora_config lc = wide_config();
    float *a = malloc(sizeof(float) * T * V), *b = malloc(sizeof(float) * T * V);
    rig_open(&with, &(struct decoder_options){.lora = &lc, .train = true});
    rig_open(&plain, &(struct decoder_options){0});
    shake(&with);
    add_to_weights(&plain, &with);
    logits(&with, a);
    logits(&plain, b);
    double worst = difference(a, b, T * V);
    if (worst > 2e-5)
        fail_msg("logits differ by %g", worst);
    free(a);
    free(b);
    rig_close(&with);
    rig_close(&plain);
}

/* Central difference along a mix of gradient and noise against ⟨gradient, direction⟩. */
static void check_direction(struct rig *r, struct param *p, enum decoder_mode mode)
{
    struct rng rng;
    rng_init(&rng, 11);
    float *dir = malloc((size_t)p->n * sizeof *dir), *old = malloc((size_t)p->n * sizeof *old);
    double norm = 0, dot = 0, squares = 0, loss[2];
    for (int64_t i = 0; i < p->n; i++)
        squares += (double)p->grad[i] * p->grad[i];
    if (squares == 0 && p->expert >= 0) { /* no token came to it */
        free(dir);
        free(old);
        return;
    }
    for (int64_t i = 0; i < p->n; i++) {
        dir[i] = (float)(p->grad[i] / sqrt(squares) + 0.3 * rng_normal(&rng) / sqrt((double)p->n));
        norm += (double)dir[i] * dir[i];
        dot += (double)p->grad[i] * dir[i];
    }
    memcpy(old, p->data, (size_t)p->n * sizeof *old);
    double h = 4e-3 / sqrt(norm);
    for (int side = 0; side < 2; side++) {
        for (int64_t i = 0; i < p->n; i++)
            p->data[i] = (float)(old[i] + (side ? h : -h) * dir[i]);
        loss[side] = forward_loss(r->dec, &r->batch, mode, 0);
    }
    memcpy(p->data, old, (size_t)p->n * sizeof *old);
    double slope = (loss[1] - loss[0]) / (2 * h);
    if (squares == 0 || !(fabs(slope - dot) <= 0.015 * fabs(dot)))
        fail_msg("%s: the loss rises by %g along a direction, the gradient says %g", p->name, slope,
                 dot);
    free(dir);
    free(old);
}

static void check_all_directions(const struct lora_config *lc, bool checkpointing,
                                 enum decoder_mode mode)
{
    struct rig r;
    int64_t n = 0;
    struct model_config c = small_config();
    c.num_experts_per_tok = c.n_routed_experts; /* a step to the side changes no pick */
    rig_open(&r,
             &(struct decoder_options){
                 .config = &c, .lora = lc, .train = true, .checkpoint_activations = checkpointing});
    shake(&r);
    gradient(&r, mode);
    struct param *p = decoder_trained(r.dec, &n);
    for (int64_t i = 0; i < n; i++)
        check_direction(&r, &p[i], mode);
    rig_close(&r);
}

static void gradients_agree_with_finite_differences(void **state)
{
    (void)state;
    struct lora_config lc = wide_config();
    check_all_directions(&lc, false, DECODER_GRAD);
}

/* The exploration of no incentive is none, so a training pass is the same pass with dropout. */
static void gradients_through_dropout_and_recomputation_agree_too(void **state)
{
    (void)state;
    struct lora_config lc = wide_config();
    lc.dropout = 0.2;
    lc.rslora = true;
    check_all_directions(&lc, true, DECODER_TRAIN);
}

static void routers_that_train_whole_have_gradients_and_the_rest_is_frozen(void **state)
{
    (void)state;
    static const char *const targets[] = {"q_b_proj"};
    struct lora_config lc = {
        .targets = targets, .n_targets = 1, .r = 2, .alpha = 2, .train_router = true};
    struct rig r;
    rig_open(&r, &(struct decoder_options){.lora = &lc, .train = true});
    shake(&r);
    gradient(&r, DECODER_GRAD);
    int64_t n = 0, n_all = 0, routers = 0;
    struct param *p = decoder_trained(r.dec, &n), *all = decoder_params(r.dec, &n_all);
    assert_int_equal(n, 2 * 3 + 2);
    for (int64_t i = 0; i < n_all; i++) {
        routers += all[i].kind == PARAM_ROUTER;
        assert_int_equal(all[i].grad != NULL, all[i].kind == PARAM_ROUTER);
    }
    assert_int_equal(routers, 2);
    for (int64_t i = 6; i < n; i++)
        check_direction(&r, &p[i], DECODER_GRAD);
    rig_close(&r);
}

static void dropout_is_the_same_again_and_another_at_another_step(void **state)
{
    (void)state;
    struct lora_config lc = wide_config();
    struct rig r;
    lc.dropout = 0.3;
    rig_open(&r, &(struct decoder_options){.lora = &lc, .train = true});
    shake(&r);
    double first = forward_loss(r.dec, &r.batch, DECODER_TRAIN, 0);
    double again = forward_loss(r.dec, &r.batch, DECODER_TRAIN, 0);
    double without = forward_loss(r.dec, &r.batch, DECODER_GRAD, 0);
    r.batch.step = 2;
    double next = forward_loss(r.dec, &r.batch, DECODER_TRAIN, 0);
    assert_true(first == again);
    assert_true(first != next);
    assert_true(first != without);
    rig_close(&r);
}

/* ---- patterns ---- */

static void expect_refusal(struct lora_config lc, const char *words)
{
    struct err err = {0};
    struct model_config c = small_config();
    struct device *dev = NULL;
    struct decoder *dec = NULL;
    must(device_open(&dev, "cpu", 1, &err), &err);
    struct decoder_options o = {.config = &c, .lora = &lc, .train = true};
    assert_int_equal(decoder_open(&dec, &o, dev, &err), MOE2_ECONFIG);
    if (!strstr(err.msg, words))
        fail_msg("\"%s\" does not say \"%s\"", err.msg, words);
    device_close(dev);
}

static void a_pattern_that_matches_nothing_is_refused(void **state)
{
    (void)state;
    static const char *const wrong[] = {"q_b_proj", "k_proj"}, *const broken[] = {"q_(b"};
    static const struct lora_rule rule[] = {{"v_proj", 4}};
    struct lora_config lc = wide_config(), bad = lc;
    bad.targets = wrong;
    bad.n_targets = 2;
    expect_refusal(bad, "\"k_proj\" matches no module");
    bad.targets = broken;
    bad.n_targets = 1;
    expect_refusal(bad, "no regular expression");
    bad = lc;
    bad.ranks = rule;
    bad.n_ranks = 1;
    expect_refusal(bad, "lora.rank_pattern: \"v_proj\"");
    bad = lc;
    bad.r = 0;
    expect_refusal(bad, "lora.r is 0");
    bad = lc;
    bad.dropout = 1;
    expect_refusal(bad, "lora.dropout is 1");
}

static void all_linear_is_every_product_but_router_and_head(void **state)
{
    (void)state;
    static const char *const targets[] = {"all-linear"};
    struct lora_config lc = {.targets = targets, .n_targets = 1, .r = 2, .alpha = 2};
    struct rig r;
    rig_open(&r, &(struct decoder_options){.lora = &lc});
    const struct lora *l = decoder_lora(r.dec);
    /* attention 5 a layer, dense MLP 3, of each mixture 6 experts and a shared one */
    assert_int_equal(l->n, 3 * 5 + 3 + 2 * 7 * 3);
    rig_close(&r);
}

/* ---- files ---- */

static void a_saved_adapter_comes_back_as_it_was(void **state)
{
    (void)state;
    char dir[] = "/tmp/moe2_lora_XXXXXX";
    struct err err = {0};
    struct rig a, b;
    struct lora_config lc = wide_config();
    float *x = malloc(sizeof(float) * T * V), *y = malloc(sizeof(float) * T * V);
    assert_non_null(mkdtemp(dir));
    lc.train_router = true;
    rig_open(&a, &(struct decoder_options){.lora = &lc, .train = true});
    shake(&a);
    must(lora_file_write(a.dec, dir, "base", &err), &err);
    rig_open(&b, &(struct decoder_options){.adapter = dir});
    logits(&a, x);
    logits(&b, y);
    assert_memory_equal(x, y, sizeof(float) * T * V);
    free(x);
    free(y);
    rig_close(&a);
    rig_close(&b);
    must(file_remove_all(dir, &err), &err);
}

static void a_bias_that_moves_under_keep_is_saved_with_the_adapter(void **state)
{
    (void)state;
    char dir[] = "/tmp/moe2_lora_XXXXXX";
    struct err err = {0};
    struct rig a, b;
    struct lora_config lc = wide_config();
    struct model_config c = small_config();
    struct router_config router;
    struct route_step rs;
    model_router_config(&router, &c);
    router.native_bias = NATIVE_BIAS_KEEP;
    router_config_resolve(&router, 100);
    assert_non_null(mkdtemp(dir));
    rig_open(&a, &(struct decoder_options){.lora = &lc, .train = true, .router = &router});
    gradient(&a, DECODER_TRAIN);
    for (int64_t l = 1; l < 3; l++)
        router_step(decoder_router(a.dec, l), &rs);
    must(lora_file_write(a.dec, dir, "base", &err), &err);
    rig_open(&b, &(struct decoder_options){.adapter = dir});
    for (int64_t l = 1; l < 3; l++) {
        const float *moved = router_native_bias(decoder_router(a.dec, l));
        float most = 0;
        for (int e = 0; e < 6; e++)
            most = fmaxf(most, fabsf(moved[e]));
        assert_true(most > 0);
        assert_memory_equal(moved, router_native_bias(decoder_router(b.dec, l)), 6 * sizeof *moved);
    }
    rig_close(&a);
    rig_close(&b);
    must(file_remove_all(dir, &err), &err);
}

static void an_adapter_of_another_model_is_refused_by_name(void **state)
{
    (void)state;
    char dir[] = "/tmp/moe2_lora_XXXXXX";
    struct err err = {0};
    struct rig a;
    struct lora_config lc = wide_config();
    struct model_config c = small_config();
    struct decoder *dec = NULL;
    assert_non_null(mkdtemp(dir));
    rig_open(&a, &(struct decoder_options){.lora = &lc, .train = true});
    must(lora_file_write(a.dec, dir, "base", &err), &err);
    c.kv_lora_rank = 8;
    struct decoder_options o = {.config = &c, .adapter = dir};
    assert_int_equal(decoder_open(&dec, &o, a.dev, &err), MOE2_EFORMAT);
    assert_non_null(strstr(err.msg, "kv_a_proj_with_mqa"));
    c = small_config();
    c.num_hidden_layers = 2;
    err = (struct err){0};
    assert_int_equal(decoder_open(&dec, &o, a.dev, &err), MOE2_EFORMAT);
    if (!strstr(err.msg, "layers.2"))
        fail_msg("%s", err.msg);
    rig_close(&a);
    must(file_remove_all(dir, &err), &err);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_new_adapter_changes_nothing),
        cmocka_unit_test(adapters_compute_what_their_product_with_the_weights_would),
        cmocka_unit_test(gradients_agree_with_finite_differences),
        cmocka_unit_test(gradients_through_dropout_and_recomputation_agree_too),
        cmocka_unit_test(routers_that_train_whole_have_gradients_and_the_rest_is_frozen),
        cmocka_unit_test(dropout_is_the_same_again_and_another_at_another_step),
        cmocka_unit_test(a_pattern_that_matches_nothing_is_refused),
        cmocka_unit_test(all_linear_is_every_product_but_router_and_head),
        cmocka_unit_test(a_saved_adapter_comes_back_as_it_was),
        cmocka_unit_test(a_bias_that_moves_under_keep_is_saved_with_the_adapter),
        cmocka_unit_test(an_adapter_of_another_model_is_refused_by_name),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
