/* Training through CUDA's kernels, emulated and on a GPU where there is one, beside the same training on the CPU: from scratch in
 * float32 and bf16, adapters with dropout on experts and router, an NF4 base, RD-ESI, AdamW in 32 and 8 bits; and what a device says
 * when memory ends.
 *
 * Limits. In float32 both sides add up the same numbers in other orders: gradients are off by 1e-4 of
 * their tensor's length at most. In bf16 operands are rounded alike but for those whose float32 values differ in the last bit, and the attention's are
 * rounded on the GPU only: 5e-2.
 */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/rng.h"
#include "model/lora.h"
#include "quant/nf4_encode.h"
#include "train/optimizer.h"

#include "model_fixture.h"

enum { T = 45, V = 50, N_STEPS = 3 };

static const char *const targets[] = {"q_proj",    "kv_a_proj_with_mqa", "o_proj", "gate_proj",
                                      "down_proj", "mlp.gate",           "lm_head"};

struct test_case {
    const char *name;
    enum dtype compute;
    bool lora, qwen, checkpointing, eight_bits, choice; /* choice: experts pick tokens */
    enum base_type base;
    double dropout;
    const char *incentive;
    double limit; /* of gradients */
};

static const struct test_case test_cases[] = {
    {"from scratch, float32, RD-ESI", DT_F32, .incentive = "rd_esi", .limit = 1e-4},
    {"from scratch, bf16, loss-free", DT_BF16, .incentive = "loss_free", .limit = 5e-2},
    {"from scratch, auxiliary loss, recomputed", DT_F32, .checkpointing = true, .incentive = "aux",
     .limit = 1e-4},
    {"from scratch, expert choice", DT_F32, .choice = true, .limit = 1e-4},
    {"qwen from scratch, float32", DT_F32, .qwen = true, .limit = 1e-4},
    {"adapters with dropout, RD-ESI", DT_F32, .lora = true, .dropout = 0.2, .incentive = "rd_esi",
     .limit = 1e-4},
    {"adapters on NF4, float32", DT_F32, .lora = true, .base = BASE_NF4, .eight_bits = true,
     .limit = 1e-4},
    {"adapters on NF4, bf16", DT_BF16, .lora = true, .base = BASE_NF4, .checkpointing = true,
     .incentive = "rd_esi", .limit = 5e-2},
    {"adapters of qwen on bf16", DT_BF16, .lora = true, .qwen = true, .base = BASE_BF16,
     .limit = 5e-2},
};
enum { N_CASES = sizeof test_cases / sizeof *test_cases };

static struct model_config config_of(const struct test_case *k)
{
    struct model_config c = {.family = k->qwen ? MODEL_QWEN2 : MODEL_DEEPSEEK_V3,
                             .vocab_size = V,
                             .hidden_size = 72,
                             .intermediate_size = 90,
                             .num_hidden_layers = 2,
                             .num_attention_heads = 4,
                             .num_key_value_heads = 2,
                             .head_dim = 18,
                             .rms_norm_eps = 1e-6,
                             .rope_theta = 10000,
                             .initializer_range = 0.2,
                             .max_position_embeddings = 128,
                             .bos_token_id = -1,
                             .eos_token_id = -1};
    snprintf(c.model_type, sizeof c.model_type, k->qwen ? "qwen2" : "deepseek_v3");
    if (k->qwen)
        return c;
    c.moe_intermediate_size = 66;
    c.first_k_dense_replace = 1;
    c.moe_layer_freq = 1;
    c.kv_lora_rank = 20;
    c.qk_nope_head_dim = 12;
    c.qk_rope_head_dim = 6;
    c.v_head_dim = 10;
    c.n_routed_experts = 6;
    c.n_shared_experts = 1;
    c.num_experts_per_tok = 2;
    c.n_group = c.topk_group = 1;
    c.routed_scaling_factor = 1.5;
    c.norm_topk_prob = c.rope_interleave = true;
    snprintf(c.scoring_func, sizeof c.scoring_func, "sigmoid");
    snprintf(c.topk_method, sizeof c.topk_method, "noaux_tc");
    return c;
}

struct side {
    struct device *dev;
    struct decoder *dec;
    struct optimizer *opt;
    double loss[N_STEPS];
    float **grad; /* of the first step, [trained] */
};

static void side_open(struct side *s, const char *device, const struct test_case *k)
{
    static const struct nf4_maker maker = {nf4_encode, nf4_nest};
    struct err err = {0};
    struct model_config c = config_of(k);
    struct router_config router;
    struct lora_config lora = {.targets = targets,
                               .n_targets = k->qwen ? 1 : sizeof targets / sizeof *targets,
                               .r = 8,
                               .alpha = 16,
                               .dropout = k->dropout,
                               .seed = 5};
    model_router_config(&router, &c);
    router.incentive.name = k->incentive ? k->incentive : "none";
    if (k->choice) {
        router.pick = PICK_EXPERT_CHOICE;
        router.score = SCORE_SOFTMAX;
        router.native_bias = NATIVE_BIAS_REPLACE;
        router.norm_topk_prob = 0;
    }
    if (!k->qwen)
        router_config_resolve(&router, 100);
    *s = (struct side){0};
    struct decoder_options o = {.config = &c,
                                .seed = 7,
                                .router = k->qwen ? NULL : &router,
                                .compute = k->compute,
                                .train = true,
                                .lora = k->lora ? &lora : NULL,
                                .base = k->base,
                                .maker = &maker,
                                .checkpoint_activations = k->checkpointing};
    must(device_open(&s->dev, device, 2, &err), &err);
    must(decoder_open(&s->dec, &o, s->dev, &err), &err);
    int64_t n = 0;
    struct param *p = decoder_trained(s->dec, &n);
    struct optimizer_config oc = {.beta1 = 0.9,
                                  .beta2 = 0.99,
                                  .eps = 1e-8,
                                  .weight_decay = 0.1,
                                  .clip = 1,
                                  .eight_bits = k->eight_bits};
    must(optimizer_new(&s->opt, p, n, &oc, s->dev, &err), &err);
    s->grad = calloc((size_t)n, sizeof *s->grad);
}

static void side_close(struct side *s)
{
    int64_t n = 0;
    decoder_trained(s->dec, &n);
    for (int64_t i = 0; i < n; i++)
        free(s->grad[i]);
    free(s->grad);
    optimizer_free(s->opt);
    decoder_free(s->dec);
    device_close(s->dev);
}

static void train(struct side *s)
{
    int32_t ids[T], next[T], offset[3] = {0, 17, T};
    struct err err = {0};
    struct rng rng;
    int64_t n = 0;
    struct param *p = decoder_trained(s->dec, &n);
    rng_init(&rng, 3);
    for (int t = 0; t < T; t++)
        ids[t] = (int32_t)rng_below(&rng, V);
    for (int t = 0; t < T; t++)
        next[t] = t == 16 || t == T - 1 ? -1 : ids[t + 1];
    for (int step = 0; step < N_STEPS; step++) {
        struct batch batch = {
            .ids = ids, .targets = next, .offset = offset, .B = 2, .T = T, .step = step + 1};
        struct loss_result loss = {0};
        double norm = 0;
        decoder_zero_grad(s->dec);
        must(decoder_forward(s->dec, &batch, DECODER_TRAIN, &err), &err);
        must(decoder_loss(s->dec, &batch, 1.0f / (T - 2), &loss, &err), &err);
        must(decoder_backward(s->dec, &batch, 1.0f / (T - 2), &err), &err);
        must(optimizer_grad_norm(&norm, s->opt, &err), &err);
        for (int64_t i = 0; i < n && step == 0; i++) {
            if (!p[i].grad)
                continue;
            free(s->grad[i]); /* of an earlier training */
            s->grad[i] = malloc((size_t)p[i].n * sizeof **s->grad);
            s->dev->ops->read(s->dev, s->grad[i], p[i].grad, (size_t)p[i].n * sizeof **s->grad);
        }
        optimizer_step(s->opt, 1e-2, norm);
        s->loss[step] = loss.nll / (T - 2);
        for (int64_t l = 0; l < 2; l++) {
            struct route_step rs;
            if (decoder_router(s->dec, l))
                router_step(decoder_router(s->dec, l), &rs);
        }
    }
    must(device_check(s->dev, &err), &err);
}

static void compare(const struct test_case *k, const struct side *cpu, const struct side *gpu)
{
    int64_t n = 0;
    const struct param *p = decoder_trained(cpu->dec, &n);
    for (int step = 0; step < N_STEPS; step++)
        if (!(fabs(cpu->loss[step] - gpu->loss[step]) <= k->limit * cpu->loss[step]))
            fail_msg("%s: step %d: loss %.7f, on the CPU %.7f", k->name, step + 1, gpu->loss[step],
                     cpu->loss[step]);
    for (int64_t i = 0; i < n; i++) {
        double errors = 0, squares = 0;
        for (int64_t j = 0; p[i].grad && j < p[i].n; j++) {
            errors += pow((double)cpu->grad[i][j] - gpu->grad[i][j], 2);
            squares += pow(cpu->grad[i][j], 2);
        }
        if (!(sqrt(errors) <= k->limit * sqrt(squares)))
            fail_msg("%s: gradient of %s: off by %.3g of its length, wanted at most %.3g", k->name,
                     p[i].name, sqrt(errors / squares), k->limit);
    }
}

/* A test's device; skips where it can't be opened. */
static const char *device_of(void **state)
{
    struct device *dev = NULL;
    struct err err = {0};
    if (device_open(&dev, *state, 1, &err)) {
        print_message("skipped: %s\n", err.msg);
        skip();
    }
    device_close(dev);
    return *state;
}

static void training_is_that_of_the_cpu(void **state)
{
    const char *device = device_of(state);
    for (int i = 0; i < N_CASES; i++) {
        struct side cpu, gpu;
        side_open(&cpu, "cpu", &test_cases[i]);
        side_open(&gpu, device, &test_cases[i]);
        train(&cpu);
        train(&gpu);
        compare(&test_cases[i], &cpu, &gpu);
        side_close(&cpu);
        side_close(&gpu);
    }
}

static void training_again_gives_the_same_bits(void **state)
{
    const char *device = device_of(state);
    for (int i = 0; i < N_CASES; i++) {
        struct side one, two;
        int64_t n = 0;
        side_open(&one, device, &test_cases[i]);
        side_open(&two, device, &test_cases[i]);
        train(&one);
        train(&two);
        const struct param *p = decoder_trained(one.dec, &n);
        assert_memory_equal(one.loss, two.loss, sizeof one.loss);
        for (int64_t j = 0; j < n; j++)
            if (p[j].grad)
                assert_memory_equal(one.grad[j], two.grad[j], (size_t)p[j].n * sizeof(float));
        side_close(&one);
        side_close(&two);
    }
}

/* A forward of one sequence whose last five rows are padding. */
static int padded_forward(struct side *s, struct err *err)
{
    int32_t ids[T], offset[2] = {0, T};
    uint8_t padding[T];
    for (int t = 0; t < T; t++) {
        ids[t] = (int32_t)(t * 7 % V);
        padding[t] = t >= T - 5;
    }
    struct batch batch = {.ids = ids, .offset = offset, .padding = padding, .B = 1, .T = T};
    return decoder_forward(s->dec, &batch, DECODER_EVAL, err);
}

static void check_picks(const struct route *a, const struct route *b)
{
    assert_int_equal(a->n, b->n);
    assert_int_equal(a->n_valid, b->n_valid);
    assert_memory_equal(a->idx, b->idx, (size_t)(T * a->K) * sizeof *a->idx);
    assert_memory_equal(a->pick_position, b->pick_position, (size_t)(T * a->K) * sizeof(int32_t));
    assert_memory_equal(a->picks, b->picks, (size_t)a->E * sizeof *a->picks);
    assert_memory_equal(a->expert_offsets, b->expert_offsets, (size_t)(a->E + 1) * sizeof(int64_t));
    assert_memory_equal(a->token, b->token, (size_t)a->n * sizeof *a->token);
    assert_memory_equal(a->expert, b->expert, (size_t)a->n * sizeof *a->expert);
    assert_memory_equal(a->token_offsets, b->token_offsets, (T + 1) * sizeof *a->token_offsets);
    assert_memory_equal(a->position, b->position, (size_t)a->n * sizeof *a->position);
    for (int64_t p = 0; p < a->n; p++)
        assert_true(fabsf(a->weight[p] - b->weight[p]) < 1e-5f);
}

/* Weights of the router's first expert so large that its logits are no numbers. */
static void break_router(struct side *s)
{
    int64_t n = 0;
    struct param *p = decoder_params(s->dec, &n);
    float large[72];
    for (int i = 0; i < 72; i++)
        large[i] = 3e38f;
    for (int64_t i = 0; i < n; i++)
        if (strstr(p[i].name, "mlp.gate.weight"))
            s->dev->ops->write(s->dev, p[i].data, large, sizeof large);
}

static void picks_and_complaints_about_logits_are_those_of_the_cpu(void **state)
{
    const char *device = device_of(state);
    struct side cpu, gpu;
    struct err a = {0}, b = {0};
    side_open(&cpu, "cpu", &test_cases[0]);
    side_open(&gpu, device, &test_cases[0]);
    must(padded_forward(&cpu, &a), &a);
    must(padded_forward(&gpu, &b), &b);
    check_picks(decoder_picks(cpu.dec, 1), decoder_picks(gpu.dec, 1));
    break_router(&cpu);
    break_router(&gpu);
    assert_int_equal(padded_forward(&cpu, &a), MOE2_ENUMERIC);
    assert_int_equal(padded_forward(&gpu, &b), MOE2_ENUMERIC);
    char *end = strstr(a.msg, " is "); /* infinite, or the difference of two such: NaN */
    assert_non_null(end);
    assert_non_null(strstr(a.msg, "layer 1: the router's logit of expert 0 for token 0"));
    assert_memory_equal(a.msg, b.msg, (size_t)(end - a.msg));
    side_close(&cpu);
    side_close(&gpu);
}

/* Everybody takes everything: more slots than a decoder plans for. Returns the loss. */
static double crowded_loss(struct side *s)
{
    int32_t ids[T], next[T], offset[2] = {0, T};
    struct route_state_item items[ROUTE_STATE_MAX];
    struct loss_result loss = {0};
    struct err err = {0};
    int n = router_state(decoder_router(s->dec, 1), items), found = 0;
    for (int i = 0; i < n; i++)
        if (strstr(items[i].name, "threshold") && items[i].n == 6 && ++found)
            memset(items[i].values, 0, 6 * sizeof(float));
    assert_true(found);
    for (int t = 0; t < T; t++) {
        ids[t] = (int32_t)(t * 7 % V);
        next[t] = (int32_t)((t + 1) * 7 % V);
    }
    struct batch batch = {.ids = ids, .targets = next, .offset = offset, .B = 1, .T = T};
    must(decoder_forward(s->dec, &batch, DECODER_EVAL, &err), &err);
    must(decoder_loss(s->dec, &batch, 1.0f / T, &loss, &err), &err);
    must(device_check(s->dev, &err), &err);
    assert_int_equal(T * 6, decoder_picks(s->dec, 1)->n);
    return loss.nll / T;
}

static void experts_may_choose_more_than_their_share_at_evaluation(void **state)
{
    const char *device = device_of(state);
    const struct test_case *k = test_cases;
    while (!k->choice)
        k++;
    struct side cpu, gpu;
    side_open(&cpu, "cpu", k);
    side_open(&gpu, device, k);
    train(&cpu); /* steps, for there to be thresholds */
    train(&gpu);
    double wanted = crowded_loss(&cpu), got = crowded_loss(&gpu);
    if (!(fabs(got - wanted) <= k->limit * wanted))
        fail_msg("loss %.7f, on the CPU %.7f", got, wanted);
    train(&gpu); /* training goes on behind it */
    side_close(&cpu);
    side_close(&gpu);
}

static void a_limit_of_memory_is_kept_in_one_sentence(void **state)
{
    struct device *dev = NULL;
    struct err err = {0};
    must(device_open(&dev, device_of(state), 1, &err), &err);
    dev->limit_bytes = 1 << 20;
    void *p = device_alloc(dev, 1 << 19, &err);
    assert_non_null(p);
    assert_null(device_alloc(dev, (1 << 19) + 1, &err));
    assert_int_equal(err.code, MOE2_ELIMIT);
    assert_string_equal(err.msg, "cuda: no room for 524289 more bytes, 524288 of the limit of "
                                 "1048576 are in use");
    device_free(dev, p, 1 << 19);
    device_close(dev);
}

static void a_model_that_does_not_fit_is_refused_and_leaves_nothing(void **state)
{
    struct device *dev = NULL;
    struct err err = {0};
    must(device_open(&dev, device_of(state), 1, &err), &err);
    struct model_config c = config_of(&test_cases[0]);
    struct decoder *dec = NULL;
    dev->limit_bytes = 100000;
    size_t before = dev->used_bytes;
    struct decoder_options o = {.config = &c, .train = true};
    assert_int_equal(decoder_open(&dec, &o, dev, &err), MOE2_ELIMIT);
    assert_non_null(strstr(err.msg, "no room for"));
    assert_int_equal(dev->used_bytes, before);
    device_close(dev);
}

int main(void)
{
#define ON(device)                                                                                 \
    cmocka_unit_test_prestate(training_is_that_of_the_cpu, device),                                \
        cmocka_unit_test_prestate(training_again_gives_the_same_bits, device),                     \
        cmocka_unit_test_prestate(picks_and_complaints_about_logits_are_those_of_the_cpu, device), \
        cmocka_unit_test_prestate(experts_may_choose_more_than_their_share_at_evaluation, device), \
        cmocka_unit_test_prestate(a_limit_of_memory_is_kept_in_one_sentence, device),              \
        cmocka_unit_test_prestate(a_model_that_does_not_fit_is_refused_and_leaves_nothing, device)
    static char emulated[] = "cuda:emulated", gpu[] = "cuda";
    const struct CMUnitTest tests[] = {ON(emulated), ON(gpu)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
