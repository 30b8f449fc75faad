/* What the decoder promises beyond being equal to transformers: causality, batches, gradients
 * against finite differences, counting, recomputation, folders that open and folders that don't.
 */
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
#include "io/safetensors.h"
#include "model/decoder.h"
#include "model/params.h"

#include "model_fixture.h"

enum { MAX_T = 1024 };

struct rig {
    struct device *dev;
    struct decoder *dec;
    int32_t ids[MAX_T], targets[MAX_T], offset[8];
    struct batch batch;
};

static void rig_open(struct rig *r, const struct model_config *config,
                     const struct decoder_options *more)
{
    struct err err = {0};
    struct decoder_options o = {0};
    *r = (struct rig){0};
    if (more)
        o = *more;
    o.config = config;
    o.seed = 7;
    o.train = true;
    if (device_open(&r->dev, "cpu", 2, &err) || decoder_open(&r->dec, &o, r->dev, &err))
        fail_msg("%s", err.msg);
}

static void rig_close(struct rig *r)
{
    decoder_free(r->dec);
    device_close(r->dev);
}

/* n sequences of these lengths with seeded ids. */
static void rig_batch(struct rig *r, const int *lengths, int n)
{
    struct rng rng;
    rng_init(&rng, 3);
    int32_t T = 0;
    for (int s = 0; s < n; s++) {
        for (int t = 0; t < lengths[s]; t++, T++)
            r->ids[T] = (int32_t)rng_below(&rng, (uint64_t)decoder_config(r->dec)->vocab_size);
        r->offset[s + 1] = T;
    }
    for (int s = 0; s < n; s++)
        for (int32_t t = r->offset[s]; t < r->offset[s + 1]; t++)
            r->targets[t] = t + 1 < r->offset[s + 1] ? r->ids[t + 1] : -1;
    r->batch =
        (struct batch){.ids = r->ids, .targets = r->targets, .offset = r->offset, .B = n, .T = T};
}

static float *logits_of(struct rig *r)
{
    struct err err = {0};
    float *x = malloc((size_t)(r->batch.T * decoder_config(r->dec)->vocab_size) * sizeof *x);
    assert_non_null(x);
    must(decoder_forward(r->dec, &r->batch, DECODER_EVAL, &err), &err);
    must(decoder_logits(r->dec, 0, r->batch.T, x, &err), &err);
    return x;
}

static void gradient(struct rig *r, enum decoder_mode mode, float scale)
{
    struct err err = {0};
    forward_loss(r->dec, &r->batch, mode, scale);
    must(decoder_backward(r->dec, &r->batch, scale, &err), &err);
}

static struct param *find(struct rig *r, const char *name)
{
    int64_t n = 0;
    struct param *p = decoder_params(r->dec, &n);
    for (int64_t i = 0; i < n; i++)
        if (strcmp(p[i].name, name) == 0)
            return &p[i];
    fail_msg("no tensor %s", name);
    return NULL;
}

static void a_future_token_does_not_move_past_logits(void **state)
{
    (void)state;
    struct rig r;
    struct model_config c = small_config();
    rig_open(&r, &c, NULL);
    rig_batch(&r, (int[]){33}, 1);
    float *before = logits_of(&r);
    r.ids[20] = (r.ids[20] + 1) % 40;
    float *after = logits_of(&r);
    assert_memory_equal(before, after, 20 * 40 * sizeof *before);
    assert_memory_not_equal(before + 20 * 40, after + 20 * 40, 40 * sizeof *before);
    free(before);
    free(after);
    rig_close(&r);
}

static void sequences_in_a_batch_are_what_they_are_alone(void **state)
{
    (void)state;
    struct rig all, one;
    struct model_config c = small_config();
    rig_open(&all, &c, NULL);
    rig_open(&one, &c, NULL);
    rig_batch(&all, (int[]){17, 1, 40}, 3);
    float *together = logits_of(&all);
    for (int s = 0; s < 3; s++) {
        int n = all.offset[s + 1] - all.offset[s];
        rig_batch(&one, (int[]){n}, 1);
        memcpy(one.ids, all.ids + all.offset[s], (size_t)n * sizeof *one.ids);
        float *alone = logits_of(&one);
        double worst = difference(together + all.offset[s] * 40, alone, n * 40);
        if (worst > 1e-6)
            fail_msg("sequence %d differs by %g", s, worst);
        free(alone);
    }
    free(together);
    rig_close(&all);
    rig_close(&one);
}

static void gradients_of_two_batches_add_up(void **state)
{
    (void)state;
    struct rig both, one;
    struct model_config c = small_config();
    rig_open(&both, &c, NULL);
    rig_open(&one, &c, NULL);
    rig_batch(&both, (int[]){12, 30}, 2);
    decoder_zero_grad(both.dec);
    gradient(&both, DECODER_GRAD, 0.1f);
    decoder_zero_grad(one.dec);
    for (int s = 0; s < 2; s++) {
        int n = both.offset[s + 1] - both.offset[s];
        rig_batch(&one, (int[]){n}, 1);
        memcpy(one.ids, both.ids + both.offset[s], (size_t)n * sizeof *one.ids);
        memcpy(one.targets, both.targets + both.offset[s], (size_t)n * sizeof *one.ids);
        gradient(&one, DECODER_GRAD, 0.1f);
    }
    int64_t n = 0;
    struct param *p = decoder_params(both.dec, &n), *q = decoder_params(one.dec, &n);
    for (int64_t i = 0; i < n; i++) {
        double worst = p[i].grad ? difference(q[i].grad, p[i].grad, p[i].n) : 0;
        if (worst > 1e-5)
            fail_msg("%s differs by %g", p[i].name, worst);
    }
    rig_close(&both);
    rig_close(&one);
}

/* Central difference of the loss along a direction that mixes the gradient with noise, against
 * ⟨gradient, direction⟩. */
static void check_direction(struct rig *r, const char *name)
{
    struct param *p = find(r, name);
    struct rng rng;
    rng_init(&rng, 11);
    float *dir = malloc((size_t)p->n * sizeof *dir), *old = malloc((size_t)p->n * sizeof *old);
    double norm = 0, dot = 0, grad_norm = 0;
    for (int64_t i = 0; i < p->n; i++)
        grad_norm += (double)p->grad[i] * p->grad[i];
    for (int64_t i = 0; i < p->n; i++) {
        dir[i] =
            (float)(p->grad[i] / sqrt(grad_norm) + 0.3 * rng_normal(&rng) / sqrt((double)p->n));
        norm += (double)dir[i] * dir[i];
    }
    double h = 4e-3 / sqrt(norm), loss[2];
    memcpy(old, p->data, (size_t)p->n * sizeof *old);
    for (int side = 0; side < 2; side++) {
        for (int64_t i = 0; i < p->n; i++)
            p->data[i] = (float)(old[i] + (side ? h : -h) * dir[i]);
        loss[side] = forward_loss(r->dec, &r->batch, DECODER_GRAD, 0);
    }
    memcpy(p->data, old, (size_t)p->n * sizeof *old);
    for (int64_t i = 0; i < p->n; i++)
        dot += (double)p->grad[i] * dir[i];
    double slope = (loss[1] - loss[0]) / (2 * h);
    if (!(fabs(slope - dot) <= 0.01 * fabs(dot)))
        fail_msg("%s: the loss rises by %g along a direction, the gradient says %g", name, slope,
                 dot);
    free(dir);
    free(old);
}

static void gradients_are_the_slope_of_the_loss(void **state)
{
    (void)state;
    static const char *const names[] = {
        "model.embed_tokens.weight",
        "lm_head.weight",
        "model.norm.weight",
        "model.layers.0.input_layernorm.weight",
        "model.layers.0.mlp.gate_proj.weight",
        "model.layers.0.mlp.down_proj.weight",
        "model.layers.1.self_attn.q_a_proj.weight",
        "model.layers.1.self_attn.q_a_layernorm.weight",
        "model.layers.1.self_attn.q_b_proj.weight",
        "model.layers.1.self_attn.kv_a_proj_with_mqa.weight",
        "model.layers.1.self_attn.kv_a_layernorm.weight",
        "model.layers.1.self_attn.kv_b_proj.weight",
        "model.layers.1.self_attn.o_proj.weight",
        "model.layers.1.mlp.gate.weight",
        "model.layers.2.mlp.gate.weight",
        "model.layers.1.mlp.experts.2.gate_proj.weight",
        "model.layers.2.mlp.experts.1.up_proj.weight",
        "model.layers.2.mlp.experts.3.down_proj.weight",
        "model.layers.1.mlp.shared_experts.up_proj.weight",
        "model.layers.1.post_attention_layernorm.weight",
    };
    struct rig r;
    struct model_config c = small_config();
    c.num_experts_per_tok = 6; /* all of them: a difference must not cross a change of picks */
    c.norm_topk_prob = true;
    rig_open(&r, &c, NULL);
    rig_batch(&r, (int[]){19, 8}, 2);
    decoder_zero_grad(r.dec);
    gradient(&r, DECODER_GRAD, 1);
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        check_direction(&r, names[i]);
    rig_close(&r);
}

static void an_expert_without_tokens_has_a_gradient_of_zeros(void **state)
{
    (void)state;
    struct rig r;
    struct model_config c = small_config();
    struct err err = {0};
    rig_open(&r, &c, NULL);
    rig_batch(&r, (int[]){25}, 1);
    must(router_set_native_bias(decoder_router(r.dec, 1), (float[]){0, 0, -9, 0, 0, 0}, &err),
         &err);
    struct param *idle = find(&r, "model.layers.1.mlp.experts.2.up_proj.weight");
    for (int64_t i = 0; i < idle->n; i++)
        idle->grad[i] = NAN; /* what an earlier step left behind */
    decoder_zero_grad(r.dec);
    gradient(&r, DECODER_TRAIN, 1);
    for (int64_t i = 0; i < idle->n; i++)
        assert_true(idle->grad[i] == 0);
    assert_int_equal(0, decoder_find_nonfinite(r.dec, true, &err));
    rig_close(&r);
}

static void picks_are_counted_once_even_when_blocks_are_computed_again(void **state)
{
    (void)state;
    for (int again = 0; again < 2; again++) {
        struct rig r;
        struct model_config c = small_config();
        rig_open(&r, &c, &(struct decoder_options){.checkpoint_activations = again});
        rig_batch(&r, (int[]){10, 15}, 2);
        decoder_zero_grad(r.dec);
        gradient(&r, DECODER_TRAIN, 1);
        gradient(&r, DECODER_GRAD, 1);
        forward_loss(r.dec, &r.batch, DECODER_EVAL, 0);
        assert_int_equal(25, router_sums(decoder_router(r.dec, 1))->n_items);
        assert_int_equal(25, router_sums(decoder_router(r.dec, 2))->n_items);
        rig_close(&r);
    }
}

/* perf_i sums −w·∂L/∂w over the expert's tokens; its output is linear in its down projection, so
 * that this is −⟨down, ∂L/∂down⟩. */
static void reputation_is_fed_the_fall_of_the_loss_that_an_expert_causes(void **state)
{
    (void)state;
    struct rig r;
    struct model_config c = small_config();
    struct router_config router;
    model_router_config(&router, &c);
    router.incentive.name = "rd_esi";
    router_config_resolve(&router, 100);
    for (int again = 0; again < 2; again++) {
        rig_open(&r, &c,
                 &(struct decoder_options){.router = &router, .checkpoint_activations = again});
        rig_batch(&r, (int[]){31}, 1);
        decoder_zero_grad(r.dec);
        gradient(&r, DECODER_TRAIN, 0.25f);
        const struct route_sums *sums = router_sums(decoder_router(r.dec, 2));
        for (int e = 0; e < 6; e++) {
            char name[128];
            double dot = 0;
            snprintf(name, sizeof name, "model.layers.2.mlp.experts.%d.down_proj.weight", e);
            struct param *p = find(&r, name);
            for (int64_t i = 0; i < p->n; i++)
                dot += (double)p->data[i] * p->grad[i];
            if (!(fabs(sums->performance[e] + dot / 0.25) <= 1e-4 * fabs(dot / 0.25) + 1e-5))
                fail_msg("expert %d: %g, wanted %g", e, sums->performance[e], -dot / 0.25);
        }
        rig_close(&r);
    }
}

static void padding_is_not_counted(void **state)
{
    (void)state;
    struct rig r;
    struct model_config c = small_config();
    uint8_t padding[20] = {[15] = 1, 1, 1, 1, 1};
    rig_open(&r, &c, NULL);
    rig_batch(&r, (int[]){20}, 1);
    r.batch.padding = padding;
    for (int t = 14; t < 20; t++)
        r.targets[t] = -1;
    decoder_zero_grad(r.dec);
    gradient(&r, DECODER_TRAIN, 1);
    assert_int_equal(15, router_sums(decoder_router(r.dec, 1))->n_items);
    rig_close(&r);
}

static void the_loss_in_chunks_is_the_loss_of_the_logits(void **state)
{
    (void)state;
    struct rig r;
    struct model_config c = small_config();
    struct err err = {0};
    c.vocab_size = 9000; /* 466 rows of logits are 16 MB */
    rig_open(&r, &c, NULL);
    rig_batch(&r, (int[]){700, 300}, 2);
    float *token_nll = malloc(1000 * sizeof *token_nll), *x = logits_of(&r);
    struct loss_result loss = {.token_nll = token_nll};
    must(decoder_loss(r.dec, &r.batch, 0, &loss, &err), &err);
    assert_int_equal(998, loss.n_targets);
    double sum = 0;
    int64_t right = 0;
    for (int t = 0; t < 1000; t++) {
        if (r.targets[t] < 0) {
            assert_true(token_nll[t] == 0);
            continue;
        }
        double z = 0, best = -1e30;
        int64_t at = 0;
        for (int v = 0; v < 9000; v++) {
            z += exp(x[t * 9000 + v]);
            at = x[t * 9000 + v] > best ? v : at;
            best = fmax(best, x[t * 9000 + v]);
        }
        double nll = log(z) - x[t * 9000 + r.targets[t]];
        if (fabs(nll - token_nll[t]) > 1e-4)
            fail_msg("token %d: %g, wanted %g", t, token_nll[t], nll);
        sum += nll;
        right += at == r.targets[t];
    }
    assert_true(fabs(loss.nll - sum) < 1e-6 * sum);
    assert_int_equal(right, loss.n_right);
    free(token_nll);
    free(x);
    rig_close(&r);
}

static void a_device_whose_memory_the_host_cannot_read_gives_the_same_bits(void **state)
{
    (void)state;
    struct rig near, far;
    struct model_config c = small_config();
    struct router_config router;
    model_router_config(&router, &c);
    router.incentive.name = "aux";
    router.aux.sequence_coef = 1e-3f;
    router.aux.z_coef = 1e-3f;
    router_config_resolve(&router, 100);
    struct err err = {0};
    rig_open(&near, &c, &(struct decoder_options){.router = &router});
    far = (struct rig){0};
    must(device_open(&far.dev, "cpu", 2, &err), &err);
    far.dev->host_memory = false; /* everything now goes through read and write */
    struct decoder_options o = {.config = &c, .seed = 7, .train = true, .router = &router};
    must(decoder_open(&far.dec, &o, far.dev, &err), &err);
    struct rig *rigs[] = {&near, &far};
    for (int i = 0; i < 2; i++) {
        rig_batch(rigs[i], (int[]){21, 16}, 2);
        decoder_zero_grad(rigs[i]->dec);
        gradient(rigs[i], DECODER_TRAIN, 0.1f);
    }
    int64_t n = 0;
    struct param *p = decoder_params(near.dec, &n), *q = decoder_params(far.dec, &n);
    for (int64_t i = 0; i < n; i++)
        if (p[i].grad && memcmp(p[i].grad, q[i].grad, (size_t)p[i].n * sizeof(float)) != 0)
            fail_msg("%s differs", p[i].name);
    far.dev->host_memory = true;
    rig_close(&near);
    rig_close(&far);
}

static void inputs_of_blocks_off_the_device_give_the_same_bits(void **state)
{
    (void)state;
    static const enum offload kinds[] = {OFFLOAD_NONE, OFFLOAD_MEMORY, OFFLOAD_DISK};
    struct rig rigs[3];
    struct model_config c = small_config();
    struct err err = {0};
    size_t used[3];
    for (int i = 0; i < 3; i++) {
        rig_open(&rigs[i], &c,
                 &(struct decoder_options){
                     .checkpoint_activations = true, .offload = kinds[i], .offload_to = "."});
        for (int again = 0; again < 2; again++) { /* the second time with a longer batch */
            rig_batch(&rigs[i], again ? (int[]){21, 16} : (int[]){9, 5}, 2);
            decoder_zero_grad(rigs[i].dec);
            gradient(&rigs[i], DECODER_TRAIN, 0.1f);
        }
        used[i] = rigs[i].dev->used_bytes;
    }
    int64_t n = 0;
    struct param *p = decoder_params(rigs[0].dec, &n);
    for (int k = 1; k < 3; k++) {
        struct param *q = decoder_params(rigs[k].dec, &n);
        for (int64_t i = 0; i < n; i++)
            if (p[i].grad && memcmp(p[i].grad, q[i].grad, (size_t)p[i].n * sizeof(float)) != 0)
                fail_msg("%s differs", p[i].name);
        assert_true(used[k] < used[0]);
    }
    struct decoder_options o = {.config = &c,
                                .train = true,
                                .checkpoint_activations = true,
                                .offload = OFFLOAD_DISK,
                                .offload_to = "no such folder"};
    struct rig bad = {0};
    must(device_open(&bad.dev, "cpu", 1, &err), &err);
    must(decoder_open(&bad.dec, &o, bad.dev, &err), &err);
    rig_batch(&bad, (int[]){4}, 1);
    assert_int_equal(decoder_forward(bad.dec, &bad.batch, DECODER_TRAIN, &err), MOE2_EIO);
    assert_non_null(strstr(err.msg, "no such folder: a file for activations can't be made there"));
    rig_close(&bad);
    for (int i = 0; i < 3; i++)
        rig_close(&rigs[i]);
}

static void the_auxiliary_loss_moves_the_router_only_through_its_own_gradient(void **state)
{
    (void)state;
    struct rig plain, aux;
    struct model_config c = small_config();
    struct router_config router;
    model_router_config(&router, &c);
    router.incentive.name = "aux";
    router.aux.coef = 0.5f;
    router_config_resolve(&router, 100);
    rig_open(&plain, &c, NULL);
    rig_open(&aux, &c, &(struct decoder_options){.router = &router});
    rig_batch(&plain, (int[]){30}, 1);
    rig_batch(&aux, (int[]){30}, 1);
    decoder_zero_grad(plain.dec);
    decoder_zero_grad(aux.dec);
    gradient(&plain, DECODER_TRAIN, 1);
    gradient(&aux, DECODER_TRAIN, 1);
    struct param *p = find(&plain, "lm_head.weight"), *q = find(&aux, "lm_head.weight");
    assert_memory_equal(p->grad, q->grad, (size_t)p->n * sizeof(float));
    p = find(&plain, "model.layers.2.mlp.gate.weight");
    q = find(&aux, "model.layers.2.mlp.gate.weight");
    assert_memory_not_equal(p->grad, q->grad, (size_t)p->n * sizeof(float));
    rig_close(&plain);
    rig_close(&aux);
}

static void bf16_is_near_float32(void **state)
{
    (void)state;
    struct rig a, b;
    struct model_config c = small_config();
    c.num_experts_per_tok = 6; /* all of them: rounding must not change a pick */
    rig_open(&a, &c, NULL);
    rig_open(&b, &c, &(struct decoder_options){.compute = DT_BF16});
    rig_batch(&a, (int[]){30}, 1);
    rig_batch(&b, (int[]){30}, 1);
    decoder_zero_grad(a.dec);
    decoder_zero_grad(b.dec);
    gradient(&a, DECODER_GRAD, 1);
    gradient(&b, DECODER_GRAD, 1);
    double x = forward_loss(a.dec, &a.batch, DECODER_GRAD, 0),
           y = forward_loss(b.dec, &b.batch, DECODER_GRAD, 0);
    if (!(fabs(x - y) < 0.02 * x))
        fail_msg("the loss is %g in bf16, %g in float32", y, x);
    struct param *p = find(&a, "lm_head.weight"), *q = find(&b, "lm_head.weight");
    double worst = difference(q->grad, p->grad, p->n);
    if (!(worst < 0.1))
        fail_msg("the head's gradient differs by %g of its largest", worst);
    assert_null(find(&b, "model.layers.1.mlp.gate.weight")->half); /* the router stays in float32 */
    rig_close(&a);
    rig_close(&b);
}

static void expert_choice_may_pick_more_than_its_share_at_evaluation(void **state)
{
    (void)state;
    struct rig r;
    struct model_config c = small_config();
    struct router_config router;
    struct err err = {0};
    model_router_config(&router, &c);
    router.pick = PICK_EXPERT_CHOICE;
    router.score = SCORE_SOFTMAX;
    router.native_bias = NATIVE_BIAS_REPLACE;
    router.norm_topk_prob = 0;
    router_config_resolve(&router, 100);
    rig_open(&r, &c, &(struct decoder_options){.router = &router});
    rig_batch(&r, (int[]){24}, 1);
    gradient(&r, DECODER_TRAIN, 1);
    for (int64_t l = 1; l < 3; l++)
        router_step(decoder_router(r.dec, l), NULL);
    struct route_state_item items[ROUTE_STATE_MAX];
    int n = router_state(decoder_router(r.dec, 1), items);
    for (int i = 0; i < n; i++)
        if (strstr(items[i].name, "threshold") && items[i].n == 6)
            memset(items[i].values, 0, 6 * sizeof(float)); /* everybody takes everything */
    float *x = logits_of(&r);
    assert_int_equal(24 * 6, decoder_picks(r.dec, 1)->n);
    for (int i = 0; i < 24 * 40; i++)
        assert_true(isfinite(x[i]));
    assert_int_equal(decoder_forward(r.dec, &r.batch, DECODER_GRAD, &err), MOE2_ELIMIT);
    assert_string_equal(err.msg, "layer 1: 144 picks, more than a gradient has room for, 54");
    err = (struct err){0};
    must(decoder_forward(r.dec, &r.batch, DECODER_TRAIN, &err), &err);
    free(x);
    rig_close(&r);
}

static void a_gradient_knows_nothing_of_auxiliary_losses(void **state)
{
    (void)state;
    struct rig plain, aux;
    struct model_config c = small_config();
    struct router_config router;
    const char *name = "model.layers.1.mlp.gate.weight";
    model_router_config(&router, &c);
    router.incentive.name = "aux";
    router.aux.coef = 10;
    router_config_resolve(&router, 100);
    rig_open(&plain, &c, NULL);
    rig_open(&aux, &c, &(struct decoder_options){.router = &router});
    rig_batch(&plain, (int[]){30}, 1);
    rig_batch(&aux, (int[]){30}, 1);
    decoder_zero_grad(aux.dec);
    gradient(&aux, DECODER_TRAIN, 1); /* leaves the losses' gradient behind */
    decoder_zero_grad(plain.dec);
    decoder_zero_grad(aux.dec);
    gradient(&plain, DECODER_GRAD, 1);
    gradient(&aux, DECODER_GRAD, 1);
    struct param *p = find(&plain, name), *q = find(&aux, name);
    assert_true(difference(q->grad, p->grad, p->n) < 1e-6);
    rig_close(&plain);
    rig_close(&aux);
}

/* ---- folders ---- */

static char *temp_dir(void)
{
    char *path = strdup("/tmp/moe2_test_model_XXXXXX");
    assert_non_null(mkdtemp(path));
    return path;
}

static void temp_remove(char *path)
{
    file_remove_all(path, NULL);
    free(path);
}

static void a_random_checkpoint_holds_the_numbers_of_a_random_decoder(void **state)
{
    (void)state;
    struct rig r;
    struct model_config c = small_config();
    struct decoder *read = NULL;
    struct err err = {0};
    char *dir = temp_dir();
    rig_open(&r, &c, NULL);
    must(model_init_random(dir, &c, DT_F32, 7, NULL, &err), &err);
    must(decoder_open(&read, &(struct decoder_options){.dir = dir}, r.dev, &err), &err);
    int64_t n = 0;
    struct param *p = decoder_params(r.dec, &n), *q = decoder_params(read, &n);
    for (int64_t i = 0; i < n; i++)
        assert_memory_equal(p[i].data, q[i].data, (size_t)p[i].n * sizeof(float));
    decoder_free(read);
    rig_close(&r);
    temp_remove(dir);
}

static void weights_are_normal_with_the_deviation_asked_for(void **state)
{
    (void)state;
    struct model_config c = small_config();
    struct param p = {.name = "model.embed_tokens.weight", .kind = PARAM_EMBED};
    enum { N = 100000 };
    float *x = malloc(N * sizeof *x), *again = malloc(N * sizeof *x);
    double sum = 0, square = 0;
    param_random(x, &p, 0, N, &c, 1);
    for (int i = 0; i < N; i++) {
        sum += x[i];
        square += (double)x[i] * x[i];
    }
    assert_true(fabs(sum / N) < 4 * 0.3 / sqrt(N));
    assert_true(fabs(sqrt(square / N) - 0.3) < 0.005);
    param_random(again, &p, 8192, 1000, &c, 1);
    assert_memory_equal(x + 8192, again, 1000 * sizeof *x);
    p.name = "lm_head.weight";
    param_random(again, &p, 0, N, &c, 1);
    assert_memory_not_equal(x, again, N * sizeof *x);
    free(x);
    free(again);
}

static void a_saved_model_opens_with_the_same_logits(void **state)
{
    (void)state;
    struct rig r, again = {0};
    struct model_config c = small_config();
    struct err err = {0};
    char *dir = temp_dir();
    c.tie_word_embeddings = true;
    rig_open(&r, &c, NULL);
    must(router_set_native_bias(decoder_router(r.dec, 1), (float[]){.1f, 0, -.2f, 0, .3f, 0}, &err),
         &err);
    must(decoder_save(r.dec, dir, DT_F32, &err), &err);
    must(device_open(&again.dev, "cpu", 2, &err), &err);
    must(decoder_open(&again.dec, &(struct decoder_options){.dir = dir}, again.dev, &err), &err);
    rig_batch(&r, (int[]){18}, 1);
    rig_batch(&again, (int[]){18}, 1);
    float *x = logits_of(&r), *y = logits_of(&again);
    assert_memory_equal(x, y, 18 * 40 * sizeof *x);
    free(x);
    free(y);
    rig_close(&r);
    rig_close(&again);
    temp_remove(dir);
}

/* A checkpoint of small_config in dir, with one change to the list of its tensors. */
static void write_spoiled(const char *dir, const char *drop, const char *add, const char *reshape,
                          const char *poison)
{
    struct model_config c = small_config();
    struct param_list list;
    struct err err = {0};
    must(param_list_make(&list, &c, &err), &err);
    struct safetensors_decl *decls = calloc((size_t)list.n + 1, sizeof *decls);
    int64_t n = 0;
    for (int64_t i = 0; i < list.n; i++) {
        const struct param *p = &list.params[i];
        if (drop && strstr(p->name, drop))
            continue;
        decls[n] = (struct safetensors_decl){.name = p->name, .dtype = DT_F32, .n_dims = p->n_dims};
        memcpy(decls[n].shape, p->shape, sizeof p->shape);
        if (reshape && strcmp(p->name, reshape) == 0)
            decls[n].shape[0]++;
        n++;
    }
    if (add)
        decls[n++] =
            (struct safetensors_decl){.name = add, .dtype = DT_F32, .n_dims = 1, .shape = {3}};
    struct safetensors_writer *w = NULL;
    must(safetensors_create_folder(&w, dir, decls, n, NULL, &err), &err);
    for (int64_t i = 0; i < n; i++) {
        int64_t count = decls[i].shape[0] * (decls[i].n_dims == 2 ? decls[i].shape[1] : 1);
        float *x = calloc((size_t)count, sizeof *x);
        if (poison && strcmp(decls[i].name, poison) == 0)
            x[5] = NAN;
        must(safetensors_put(w, x, count * 4, &err), &err);
        free(x);
    }
    must(safetensors_commit(w, &err), &err);
    must(model_config_write(&c, DT_F32, dir, &err), &err);
    free(decls);
    param_list_release(&list);
}

static void assert_not_opened(const char *dir, int code, const char *fmt)
{
    struct device *dev = NULL;
    struct decoder *dec = NULL;
    struct err err = {0};
    char wanted[600];
    must(device_open(&dev, "cpu", 1, &err), &err);
    snprintf(wanted, sizeof wanted, fmt, dir);
    assert_int_equal(code, decoder_open(&dec, &(struct decoder_options){.dir = dir}, dev, &err));
    assert_string_equal(wanted, err.msg);
    assert_null(dec);
    device_close(dev);
}

static void what_does_not_fit_is_told_in_one_message(void **state)
{
    (void)state;
    char *dir = temp_dir();
    write_spoiled(dir, "experts.3.", "model.layers.1.mlp.gate.bias", "model.norm.weight", NULL);
    assert_not_opened(dir, MOE2_EFORMAT,
                      "%s: 6 tensors are missing (model.layers.1.mlp.experts.3.gate_proj.weight, "
                      "model.layers.1.mlp.experts.3.up_proj.weight, "
                      "model.layers.1.mlp.experts.3.down_proj.weight, …); 1 tensor is unknown "
                      "(model.layers.1.mlp.gate.bias); 1 tensor has another shape "
                      "(model.norm.weight is [25], wanted [24])");
    temp_remove(dir);
}

static void a_nan_in_the_weights_is_refused_by_the_tensors_name(void **state)
{
    (void)state;
    char *dir = temp_dir();
    write_spoiled(dir, NULL, NULL, NULL, "model.layers.2.self_attn.o_proj.weight");
    assert_not_opened(dir, MOE2_ENUMERIC,
                      "%s/model.safetensors: tensor model.layers.2.self_attn.o_proj.weight holds a "
                      "NaN or an infinity at element 5");
    temp_remove(dir);
}

static void tensors_of_a_prediction_layer_are_left_out(void **state)
{
    (void)state;
    char *dir = temp_dir();
    struct device *dev = NULL;
    struct decoder *dec = NULL;
    struct err err = {0};
    write_spoiled(dir, NULL, "model.layers.3.enorm.weight", NULL, NULL);
    must(device_open(&dev, "cpu", 1, &err), &err);
    must(decoder_open(&dec, &(struct decoder_options){.dir = dir}, dev, &err), &err);
    decoder_free(dec);
    device_close(dev);
    write_spoiled(dir, NULL, "model.layers.4.enorm.weight", NULL, NULL);
    assert_not_opened(dir, MOE2_EFORMAT, "%s: 1 tensor is unknown (model.layers.4.enorm.weight)");
    temp_remove(dir);
}

static void a_weight_that_turned_nan_stops_the_forward_by_name(void **state)
{
    (void)state;
    struct rig r;
    struct model_config c = small_config();
    struct err err = {0};
    rig_open(&r, &c, NULL);
    rig_batch(&r, (int[]){9}, 1);
    find(&r, "model.layers.1.self_attn.kv_b_proj.weight")->data[3] = NAN;
    assert_int_equal(MOE2_ENUMERIC, decoder_forward(r.dec, &r.batch, DECODER_TRAIN, &err));
    assert_string_equal(
        "tensor model.layers.1.self_attn.kv_b_proj.weight holds a NaN or infinity at element 3",
        err.msg);
    rig_close(&r);
}

static void a_loss_that_is_not_finite_names_the_layer(void **state)
{
    (void)state;
    struct rig r;
    struct model_config c = small_config();
    struct err err = {0};
    struct loss_result loss = {.nll = 5};
    c.first_k_dense_replace = 3;
    rig_open(&r, &c, NULL);
    rig_batch(&r, (int[]){9}, 1);
    struct param *p = find(&r, "model.layers.1.mlp.down_proj.weight");
    for (int64_t i = 0; i < p->n; i++)
        p->data[i] = 3e38f; /* finite, but what comes out is not */
    assert_int_equal(0, decoder_forward(r.dec, &r.batch, DECODER_TRAIN, &err));
    assert_int_equal(MOE2_ENUMERIC, decoder_loss(r.dec, &r.batch, 1, &loss, &err));
    assert_string_equal("layer 1: the output of token 0 holds a NaN or infinity", err.msg);
    assert_true(loss.nll == 5);
    rig_close(&r);
}

static void an_id_outside_the_vocabulary_is_refused(void **state)
{
    (void)state;
    struct rig r;
    struct model_config c = small_config();
    struct err err = {0};
    rig_open(&r, &c, NULL);
    rig_batch(&r, (int[]){9}, 1);
    r.ids[4] = 40;
    assert_int_equal(MOE2_ECONFIG, decoder_forward(r.dec, &r.batch, DECODER_EVAL, &err));
    assert_string_equal("id 40 at position 4 is outside the vocabulary of 40", err.msg);
    rig_close(&r);
}

static void a_router_of_another_shape_is_refused(void **state)
{
    (void)state;
    struct model_config c = small_config(), other = small_config();
    struct router_config router;
    struct device *dev = NULL;
    struct decoder *dec = NULL;
    struct err err = {0};
    other.n_routed_experts = 4;
    model_router_config(&router, &other);
    router_config_resolve(&router, 1);
    must(device_open(&dev, "cpu", 1, &err), &err);
    assert_int_equal(
        MOE2_ECONFIG,
        decoder_open(&dec, &(struct decoder_options){.config = &c, .router = &router}, dev, &err));
    assert_string_equal("the router is for 2 of 4 experts, the model's layers pick 2 of 6",
                        err.msg);
    device_close(dev);
}

static void nothing_is_allocated_in_a_step_like_the_one_before(void **state)
{
    (void)state;
    struct rig r;
    struct model_config c = small_config();
    rig_open(&r, &c, NULL);
    rig_batch(&r, (int[]){30, 20}, 2);
    gradient(&r, DECODER_TRAIN, 1);
    size_t used = r.dev->used_bytes;
    rig_batch(&r, (int[]){20, 10, 7}, 3);
    gradient(&r, DECODER_TRAIN, 1);
    assert_int_equal(used, r.dev->used_bytes);
    rig_close(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_future_token_does_not_move_past_logits),
        cmocka_unit_test(sequences_in_a_batch_are_what_they_are_alone),
        cmocka_unit_test(gradients_of_two_batches_add_up),
        cmocka_unit_test(gradients_are_the_slope_of_the_loss),
        cmocka_unit_test(an_expert_without_tokens_has_a_gradient_of_zeros),
        cmocka_unit_test(picks_are_counted_once_even_when_blocks_are_computed_again),
        cmocka_unit_test(reputation_is_fed_the_fall_of_the_loss_that_an_expert_causes),
        cmocka_unit_test(padding_is_not_counted),
        cmocka_unit_test(the_loss_in_chunks_is_the_loss_of_the_logits),
        cmocka_unit_test(a_device_whose_memory_the_host_cannot_read_gives_the_same_bits),
        cmocka_unit_test(inputs_of_blocks_off_the_device_give_the_same_bits),
        cmocka_unit_test(the_auxiliary_loss_moves_the_router_only_through_its_own_gradient),
        cmocka_unit_test(bf16_is_near_float32),
        cmocka_unit_test(expert_choice_may_pick_more_than_its_share_at_evaluation),
        cmocka_unit_test(a_gradient_knows_nothing_of_auxiliary_losses),
        cmocka_unit_test(a_random_checkpoint_holds_the_numbers_of_a_random_decoder),
        cmocka_unit_test(weights_are_normal_with_the_deviation_asked_for),
        cmocka_unit_test(a_saved_model_opens_with_the_same_logits),
        cmocka_unit_test(what_does_not_fit_is_told_in_one_message),
        cmocka_unit_test(a_nan_in_the_weights_is_refused_by_the_tensors_name),
        cmocka_unit_test(tensors_of_a_prediction_layer_are_left_out),
        cmocka_unit_test(a_weight_that_turned_nan_stops_the_forward_by_name),
        cmocka_unit_test(a_loss_that_is_not_finite_names_the_layer),
        cmocka_unit_test(an_id_outside_the_vocabulary_is_refused),
        cmocka_unit_test(a_router_of_another_shape_is_refused),
        cmocka_unit_test(nothing_is_allocated_in_a_step_like_the_one_before),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
