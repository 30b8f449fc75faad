/* Sessions of GGUF files against the decoder of the same file: a prompt and tokens one by one. With float weights the numbers are the
 * decoder's; with blocks of 8 and 4 bits the fast kernels round what meets a weight to 8 bits, and the decoder doesn't. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/file.h"
#include "base/rng.h"
#include "model/decoder.h"
#include "model/session.h"
#include "quant/model_write.h"

#define DIR "test_session_gguf.tmp"
#include "folder_fixture.h"
#include "model_fixture.h"

enum { N_IDS = 40, N_PROMPT = 24, MAX_V = 64 };

/* As root of Σ(a − b)² / Σb² over a token's logits. Rounding to 127ths of the largest of 32 (2.1 root mean squares of normal numbers) is
 * 2.1 / 127 / √12 = 4.8e-3; at most 8 products in each of 3 layers and the head, rounded independently: √25 times that, and twice it. */
static const double float_limit = 1e-5, rounded_limit = 0.048;

/* Widths of whole blocks, for a fixture's configuration. */
static void widen(struct model_config *c)
{
    c->hidden_size = 64;
    c->intermediate_size = 96;
    if (c->n_routed_experts)
        c->moe_intermediate_size = 32;
    if (c->kv_lora_rank) {
        c->kv_lora_rank = c->qk_nope_head_dim = c->v_head_dim = 32;
        c->q_lora_rank = c->q_lora_rank ? 32 : 0;
    } else {
        c->head_dim = 32;
    }
    c->initializer_range = 0.1;
}

static const struct {
    const char *name;
    bool experts;
} models[] = {{"model_llama", false}, {"model_qwen2", false},   {"model_qwen3", false},
              {"model_v3", true},     {"model_v3_plain", true}, {"model_moonlight", true}};
enum { N_MODELS = sizeof models / sizeof *models };

/* Random weights of that fixture's configuration, as a GGUF file of that type. */
static void write_model(const char *path, const char *fixture, enum weight_type type)
{
    char fixture_path[256];
    struct model_config c;
    struct source *s = NULL;
    struct err err = {0};
    snprintf(fixture_path, sizeof fixture_path, "%s/fixtures/%s", TEST_DIR, fixture);
    must(model_config_read(&c, fixture_path, &err), &err);
    widen(&c);
    must(source_open_random(&s, &c, 1, &err), &err);
    struct model_write_options o = {.type = type};
    must(model_write(path, s, &o, &err), &err);
    source_close(s);
}

/* Logits [N_IDS, V] of the whole at once. */
static void decode(float *out, int64_t *V, const char *path, const int32_t *ids, struct device *dev)
{
    struct decoder *dec = NULL;
    struct decoder_options o = {.dir = path, .compute = DT_F32};
    int32_t offset[2] = {0, N_IDS};
    struct batch batch = {.ids = ids, .offset = offset, .B = 1, .T = N_IDS};
    struct err err = {0};
    must(decoder_open(&dec, &o, dev, &err), &err);
    *V = decoder_config(dec)->vocab_size;
    assert_true(*V <= MAX_V);
    must(decoder_forward(dec, &batch, DECODER_EVAL, &err), &err);
    must(decoder_logits(dec, 0, N_IDS, out, &err), &err);
    decoder_free(dec);
}

/* The same of a session that reads a prompt, then token by token. */
static void read_on(float *out, int64_t V, const char *path, const int32_t *ids, struct device *dev)
{
    struct session *s = NULL;
    struct session_options o = {.model = path, .capacity = N_IDS};
    struct err err = {0};
    must(session_open(&s, &o, dev, &err), &err);
    must(session_forward(s, ids, N_PROMPT, out, N_PROMPT, &err), &err);
    for (int64_t t = N_PROMPT; t < N_IDS; t++)
        must(session_forward(s, ids + t, 1, out + t * V, 1, &err), &err);
    session_free(s);
}

static int ascending(const void *x, const void *y)
{
    double a = *(const double *)x, b = *(const double *)y;
    return (a > b) - (a < b);
}

/* The error of the worst token; with median of the one in the middle. */
static double error_of(const float *got, const float *want, int64_t V, bool median)
{
    double error[N_IDS];
    for (int64_t t = 0; t < N_IDS; t++) {
        double off = 0, all = 0;
        for (int64_t i = t * V; i < (t + 1) * V; i++) {
            off += ((double)got[i] - want[i]) * ((double)got[i] - want[i]);
            all += (double)want[i] * want[i];
        }
        error[t] = sqrt(off / all);
    }
    qsort(error, N_IDS, sizeof *error, ascending);
    return error[median ? N_IDS / 2 : N_IDS - 1];
}

static void compare(int m, enum weight_type type, const char *device, double limit, bool median)
{
    static float want[N_IDS * MAX_V], got[N_IDS * MAX_V];
    struct device *cpu = NULL, *dev = NULL;
    struct rng r;
    int32_t ids[N_IDS];
    int64_t V;
    struct err err = {0};
    if (device_open(&dev, device, 2, NULL))
        return; /* not on this machine */
    must(device_open(&cpu, "cpu", 2, &err), &err);
    rng_init(&r, 5);
    for (int i = 0; i < N_IDS; i++)
        ids[i] = (int32_t)rng_below(&r, 48);
    write_model(DIR "/m.gguf", models[m].name, type);
    decode(want, &V, DIR "/m.gguf", ids, cpu);
    read_on(got, V, DIR "/m.gguf", ids, dev);
    double error = error_of(got, want, V, median);
    if (!(error <= limit))
        fail_msg("%s as %s on %s: off by %g, wanted at most %g", models[m].name,
                 weight_type_names[type], device, error, limit);
    device_close(dev);
    device_close(cpu);
}

static void with_float_weights_prompt_and_tokens_give_the_decoders_logits(void **state)
{
    (void)state;
    static const enum weight_type types[] = {WEIGHT_F32, WEIGHT_F16, WEIGHT_BF16};
    for (int m = 0; m < N_MODELS; m++)
        for (int t = 0; t < 3; t++)
            compare(m, types[t], "cpu", float_limit, false);
}

/* An expert that wins by less than the rounding may be another: with experts the median counts. */
static void with_8_and_4_bits_they_do_up_to_the_rounding_of_activations(void **state)
{
    (void)state;
    for (int m = 0; m < N_MODELS; m++)
        for (int d = 0; d < 2; d++) {
            const char *device = d ? "cpu:avx2" : "cpu";
            compare(m, WEIGHT_Q8_0, device, rounded_limit, models[m].experts);
            compare(m, WEIGHT_Q4_0, device, rounded_limit, models[m].experts);
        }
}

static void the_reference_kernels_round_nothing(void **state)
{
    (void)state;
    for (int m = 0; m < N_MODELS; m++)
        compare(m, WEIGHT_Q4_0, "cpu:reference", float_limit, false);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(with_float_weights_prompt_and_tokens_give_the_decoders_logits),
        cmocka_unit_test(with_8_and_4_bits_they_do_up_to_the_rounding_of_activations),
        cmocka_unit_test(the_reference_kernels_round_nothing),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
