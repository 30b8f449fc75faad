/* config.json: what is read, what is refused and in which words. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "model/config.h"
#include "model/params.h"
#include "model/rope.h"

static const char v3[] = "{\"model_type\": \"deepseek_v3\", \"vocab_size\": 48, \"hidden_size\": "
                         "20, \"intermediate_size\": 28, \"moe_intermediate_size\": 7,"
                         " \"num_hidden_layers\": 3, \"num_attention_heads\": 3, \"q_lora_rank\": "
                         "null, \"kv_lora_rank\": 10, \"qk_nope_head_dim\": 6,"
                         " \"qk_rope_head_dim\": 4, \"v_head_dim\": 5, \"n_routed_experts\": 8, "
                         "\"n_shared_experts\": 1, \"num_experts_per_tok\": 3,"
                         " \"n_group\": 4, \"topk_group\": 2, \"first_k_dense_replace\": 1 EXTRA}";
static const char v2[] = "{\"model_type\": \"deepseek_v2\", \"vocab_size\": 48, \"hidden_size\": "
                         "20, \"intermediate_size\": 28, \"moe_intermediate_size\": 7,"
                         " \"num_hidden_layers\": 3, \"num_attention_heads\": 3, \"q_lora_rank\": "
                         "null, \"kv_lora_rank\": 10, \"qk_nope_head_dim\": 6,"
                         " \"qk_rope_head_dim\": 4, \"v_head_dim\": 5, \"n_routed_experts\": 8, "
                         "\"n_shared_experts\": 1, \"num_experts_per_tok\": 3 EXTRA}";

/* The text with the first `from` replaced by `to`. */
static char *edit(const char *text, const char *from, const char *to)
{
    char *out = calloc(1, strlen(text) + strlen(to) + 1);
    const char *at = strstr(text, from);
    assert_non_null(at);
    assert_non_null(out);
    memcpy(out, text, (size_t)(at - text));
    strcat(out, to);
    strcat(out, at + strlen(from));
    return out;
}

static struct model_config parsed(const char *text, const char *extra)
{
    char *json = edit(text, " EXTRA", extra);
    struct model_config c;
    struct err err = {0};
    if (model_config_parse(&c, json, strlen(json), "config.json", &err))
        fail_msg("%s", err.msg);
    free(json);
    return c;
}

static void assert_refused(const char *text, const char *from, const char *to, const char *message)
{
    char *json = edit(text, from, to),
         *plain = strcmp(from, " EXTRA") ? edit(json, " EXTRA", "") : strdup(json);
    struct model_config c = {.vocab_size = 77};
    struct err err = {0};
    assert_int_equal(MOE2_EFORMAT,
                     model_config_parse(&c, plain, strlen(plain), "config.json", &err));
    assert_string_equal(message, err.msg);
    assert_int_equal(77, c.vocab_size); /* outputs only on success */
    free(json);
    free(plain);
}

static struct model_config preset(const char *name)
{
    char path[512];
    struct model_config c;
    struct err err = {0};
    snprintf(path, sizeof path, "%s/configs/model/%s.json", SOURCE_DIR, name);
    if (model_config_read(&c, path, &err))
        fail_msg("%s", err.msg);
    return c;
}

static void assert_near(double wanted, double got, double limit)
{
    if (!(fabs(got - wanted) <= limit))
        fail_msg("%.9g, wanted %.9g", got, wanted);
}

static void the_medium_preset_has_the_parameters_that_the_peer_counts(void **state)
{
    (void)state;
    struct model_config c = preset("medium");
    struct model_size size = model_size(&c);
    assert_int_equal(29487872, size.n_params);
    assert_int_equal(10220288, size.n_active_params);
    assert_int_equal(8118272, size.n_active_products);
    /* 107.8 GFLOP for a training step of 8 x 256 tokens, 164.2 for 1 x 2048: transformers' model
     * counted by moe_train.py */
    assert_near(107.8, 3 * 2048 * model_forward_flops(&c, 256) * 1e-9, 0.1);
    assert_near(164.2, 3 * 2048 * model_forward_flops(&c, 2048) * 1e-9, 0.1);
}

static void every_preset_opens_and_has_the_size_of_its_name(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        double params;
    } known[] = {{"tiny", 243696},          {"small", 7254240},
                 {"deepseek-v3", 671e9},    {"deepseek-v2-lite", 15.7e9},
                 {"moonlight", 16e9},       {"dense", 1311872},
                 {"smollm2-135m", 134.5e6}, {"llama-3.2-1b", 1.2358e9},
                 {"qwen2.5-0.5b", 494e6},   {"qwen2.5-3b", 3.086e9},
                 {"qwen2.5-7b", 7.616e9},   {"qwen3-0.6b", 596e6}};
    for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
        struct model_config c = preset(known[i].name);
        double n = (double)model_size(&c).n_params;
        if (n < known[i].params * 0.99 || n > known[i].params * 1.01)
            fail_msg("%s has %.4g parameters, wanted %.4g", known[i].name, n, known[i].params);
    }
}

static void the_list_of_tensors_holds_exactly_the_parameters_that_the_size_counts(void **state)
{
    (void)state;
    static const char *const names[] = {
        "tiny",         "medium",     "deepseek-v3", "deepseek-v2-lite",
        "smollm2-135m", "qwen2.5-7b", "qwen3-0.6b"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        struct model_config c = preset(names[i]);
        struct param_list list;
        int64_t n = 0;
        assert_int_equal(0, param_list_make(&list, &c, NULL));
        for (int64_t k = 0; k < list.n; k++)
            n += list.params[k].kind == PARAM_BUFFER ? 0 : list.params[k].n;
        assert_int_equal(model_size(&c).n_params, n);
        param_list_release(&list);
    }
}

static void both_spellings_of_rope_are_the_same_model(void **state)
{
    (void)state;
    struct model_config hub =
        parsed(v3, ", \"rope_theta\": 50000, \"rope_scaling\": {\"type\": \"yarn\", \"factor\": "
                   "40, \"mscale\": 1.0,"
                   " \"mscale_all_dim\": 1.0, \"original_max_position_embeddings\": 4096}, "
                   "\"torch_dtype\": \"bfloat16\"");
    struct model_config five =
        parsed(v3, ", \"rope_parameters\": {\"rope_theta\": 50000, \"rope_type\": \"yarn\", "
                   "\"factor\": 40.0, \"mscale\": 1,"
                   " \"mscale_all_dim\": 1, \"original_max_position_embeddings\": 4096}, "
                   "\"dtype\": \"bfloat16\"");
    assert_true(hub.rope.yarn && hub.dtype == DT_BF16);
    assert_near(50000, hub.rope_theta, 0);
    assert_memory_equal(&hub, &five, sizeof hub);
}

static void what_is_printed_reads_back_as_the_same_model(void **state)
{
    (void)state;
    static const char *const names[] = {
        "tiny", "small", "medium", "deepseek-v3", "deepseek-v2-lite", "moonlight"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        struct model_config c = preset(names[i]), again;
        struct buf text = {0};
        struct err err = {0};
        assert_int_equal(0, model_config_print(&text, &c, &err));
        if (model_config_parse(&again, text.bytes, text.n, "printed", &err))
            fail_msg("%s", err.msg);
        assert_memory_equal(&c, &again, sizeof c);
        buf_release(&text);
    }
}

static void yarn_scales_the_softmax_once_by_mscale_squared(void **state)
{
    (void)state;
    struct model_config c = preset("deepseek-v3");
    assert_near(1.873854 / 13.856406, rope_softmax_scale(&c),
                1e-6); /* 192^-0.5 · (0.1 ln 40 + 1)² */
    c.rope.mscale_all_dim = 0;
    assert_near(1 / 13.856406, rope_softmax_scale(&c), 1e-7);
}

static void yarn_keeps_fast_pairs_and_stretches_slow_ones(void **state)
{
    (void)state;
    struct model_config c = preset("deepseek-v3");
    float f[32];
    rope_frequencies(f, &c);
    assert_near(1, f[0], 1e-7);
    assert_near(1.3335214e-4 / 40, f[31], 1e-9); /* 10000^(-62/64) / 40 */
}

static void a_model_type_that_is_not_known_is_refused(void **state)
{
    (void)state;
    assert_refused(v3, "deepseek_v3", "gpt2",
                   "config.json: model_type is \"gpt2\", wanted deepseek_v3, deepseek_v2, llama, "
                   "mistral, qwen2 or qwen3");
    assert_refused(v3, "\"model_type\"", "\"type\"", "config.json: the key model_type is missing");
}

/* ---- grouped-query attention ---- */

static const char llama[] =
    "{\"model_type\": \"llama\", \"vocab_size\": 48, \"hidden_size\": 24, "
    "\"intermediate_size\": 28, \"num_hidden_layers\": 2, \"num_attention_heads\": 4, "
    "\"num_key_value_heads\": 2, \"rope_theta\": 500000.0, \"max_position_embeddings\": 64 "
    "EXTRA}";

static void dense_families_are_read_and_written_back(void **state)
{
    (void)state;
    static const char scaling[] =
        ", \"rope_scaling\": {\"rope_type\": \"llama3\", \"factor\": 8.0, \"low_freq_factor\": "
        "1.0, "
        "\"high_freq_factor\": 4.0, \"original_max_position_embeddings\": 32}";
    static const char *const types[] = {"llama", "mistral", "qwen2", "qwen3"};
    for (size_t i = 0; i < sizeof types / sizeof *types; i++) {
        struct model_config c, again;
        struct err err = {0};
        struct buf text = {0};
        char *json = edit(llama, "llama", types[i]), *full = edit(json, " EXTRA", scaling);
        assert_int_equal(0, model_config_parse(&c, full, strlen(full), "config.json", &err));
        assert_int_equal(6, c.head_dim);
        assert_int_equal(2, c.num_key_value_heads);
        assert_int_equal(0, c.n_routed_experts);
        assert_false(model_layer_is_moe(&c, 0));
        assert_true(c.rope.llama3);
        assert_int_equal(0, model_config_print(&text, &c, &err));
        assert_int_equal(0, model_config_parse(&again, text.bytes, text.n, "again", &err));
        assert_memory_equal(&c, &again, sizeof c);
        buf_release(&text);
        free(json);
        free(full);
    }
}

static void what_a_dense_family_would_compute_otherwise_is_refused(void **state)
{
    (void)state;
    assert_refused(llama, " EXTRA", ", \"attention_bias\": true",
                   "config.json: attention_bias is true, which no released llama model has; it is "
                   "not supported");
    assert_refused(llama, " EXTRA", ", \"mlp_bias\": true",
                   "config.json: mlp_bias is true, which is not supported");
    assert_refused(llama, " EXTRA", ", \"use_sliding_window\": true, \"sliding_window\": 16",
                   "config.json: attention through a sliding window is not supported, wanted "
                   "sliding_window null (or use_sliding_window false)");
    assert_refused(llama, " EXTRA", ", \"partial_rotary_factor\": 0.5",
                   "config.json: partial_rotary_factor is 0.5, only whole heads are rotated here");
    assert_refused(llama, "\"num_key_value_heads\": 2", "\"num_key_value_heads\": 3",
                   "config.json: num_key_value_heads is 3, wanted a divisor of "
                   "num_attention_heads, 4");
    assert_refused(llama, " EXTRA", ", \"head_dim\": 7",
                   "config.json: head_dim is 7, wanted an even number to 4096");
    assert_refused(llama, "\"hidden_size\": 24", "\"hidden_size\": 26",
                   "config.json: hidden_size 26 can't be divided into 4 heads, and head_dim is not "
                   "given");
    assert_refused(llama, " EXTRA", ", \"rope_scaling\": {\"rope_type\": \"llama3\"}",
                   "config.json: rope scaling llama3 wants factor, low_freq_factor, a larger "
                   "high_freq_factor and original_max_position_embeddings");
}

static void keys_that_are_missing_or_absurd_are_named(void **state)
{
    (void)state;
    assert_refused(v3, "\"vocab_size\": 48, ", "", "config.json: the key vocab_size is missing");
    assert_refused(v3, "\"hidden_size\": 20", "\"hidden_size\": -1",
                   "config.json: hidden_size is -1, wanted 1 to 131072");
    assert_refused(v3, "\"hidden_size\": 20", "\"hidden_size\": 20.5",
                   "config.json: hidden_size is not a whole number");
    assert_refused(v3, "\"q_lora_rank\": null, ", "",
                   "config.json: the key q_lora_rank is missing (null means a plain q_proj)");
    assert_refused(v3, "\"q_lora_rank\": null", "\"q_lora_rank\": 0",
                   "config.json: q_lora_rank is neither null nor 1 to 65536");
    assert_refused(v3, "\"qk_rope_head_dim\": 4", "\"qk_rope_head_dim\": 5",
                   "config.json: qk_rope_head_dim is 5, wanted an even number");
    assert_refused(v3, "\"n_routed_experts\": 8", "\"n_routed_experts\": 9",
                   "config.json: 9 experts can't be divided into 4 groups");
    assert_refused(v3, "\"num_experts_per_tok\": 3", "\"num_experts_per_tok\": 9",
                   "config.json: num_experts_per_tok is 9, more than the 8 experts there are");
    assert_refused(v3, "\"num_experts_per_tok\": 3", "\"num_experts_per_tok\": 5",
                   "config.json: num_experts_per_tok is 5, but 2 groups of 2 experts hold only 4");
    assert_refused(v3, "\"topk_group\": 2", "\"topk_group\": 5",
                   "config.json: topk_group is 5, more than n_group, 4");
    assert_refused(v3, "\"n_group\": 4, ", "", "config.json: the key n_group is missing");
    assert_refused(v3, " EXTRA", ", \"rms_norm_eps\": \"small\"",
                   "config.json: rms_norm_eps is not a number");
}

static void a_model_larger_than_the_limit_is_refused(void **state)
{
    (void)state;
    char *big = edit(v3, "\"hidden_size\": 20", "\"hidden_size\": 131072");
    char *bigger = edit(big, "\"moe_intermediate_size\": 7", "\"moe_intermediate_size\": 1048576");
    char *biggest = edit(bigger, "\"n_routed_experts\": 8", "\"n_routed_experts\": 16384");
    assert_refused(biggest, " EXTRA", "",
                   "config.json: describes 1.35e+16 parameters, more than the limit of 1e+14");
    free(big);
    free(bigger);
    free(biggest);
}

static void what_would_be_computed_otherwise_elsewhere_is_refused_with_the_reason(void **state)
{
    (void)state;
    assert_refused(v2, " EXTRA", ", \"norm_topk_prob\": true",
                   "config.json: norm_topk_prob is true in a deepseek_v2 model; transformers "
                   "ignores it there and other programs disagree "
                   "on what is then scaled, so it is refused");
    assert_refused(
        v3, " EXTRA", ", \"scoring_func\": \"softmax\"",
        "config.json: scoring_func is \"softmax\", but deepseek_v3 always scores by sigmoid");
    assert_refused(v3, " EXTRA", ", \"topk_method\": \"greedy\"",
                   "config.json: topk_method is \"greedy\", wanted noaux_tc for deepseek_v3");
    assert_refused(v2, " EXTRA", ", \"topk_method\": \"noaux_tc\"",
                   "config.json: topk_method is \"noaux_tc\", wanted greedy or "
                   "group_limited_greedy for deepseek_v2");
    assert_refused(v3, " EXTRA", ", \"attention_bias\": true",
                   "config.json: attention_bias is true, which no released DeepSeek model has; it "
                   "is not supported");
    assert_refused(v3, " EXTRA", ", \"hidden_act\": \"gelu\"",
                   "config.json: hidden_act is \"gelu\", only silu is supported");
    assert_refused(
        v3, " EXTRA", ", \"rope_interleave\": false",
        "config.json: rope_interleave is false, only interleaved rotary embedding is supported");
    assert_refused(v3, " EXTRA", ", \"moe_layer_freq\": 2",
                   "config.json: moe_layer_freq is 2, wanted 1 to 1");
    assert_refused(
        v3, " EXTRA", ", \"num_key_value_heads\": 1",
        "config.json: num_key_value_heads is 1, latent attention wants num_attention_heads, 3");
    assert_refused(v3, " EXTRA", ", \"rope_scaling\": {\"type\": \"linear\", \"factor\": 2}",
                   "config.json: rope scaling of type \"linear\" is not supported, wanted yarn, "
                   "llama3 or default");
    assert_refused(v3, " EXTRA", ", \"quantization_config\": {\"quant_method\": \"gptq\"}",
                   "config.json: the weights are quantised (gptq), wanted plain ones, fp8 or "
                   "bitsandbytes' nf4");
    assert_refused(v3, " EXTRA", ", \"dtype\": \"int8\"",
                   "config.json: dtype is \"int8\", wanted float32, float16 or bfloat16");
}

static void every_truncation_is_refused(void **state)
{
    (void)state;
    char *json = edit(v3, " EXTRA", ", \"rope_scaling\": null");
    for (size_t n = 0; n < strlen(json); n++) {
        struct model_config c;
        struct err err = {0};
        assert_int_equal(MOE2_EFORMAT, model_config_parse(&c, json, n, "config.json", &err));
        assert_true(err.msg[0]);
    }
    free(json);
}

static void a_folder_without_a_config_is_one_sentence(void **state)
{
    (void)state;
    struct model_config c;
    struct err err = {0};
    assert_int_equal(MOE2_EIO, model_config_read(&c, "/nowhere/model", &err));
    assert_string_equal(err.msg, "/nowhere/model: can't be opened: No such file or directory");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_medium_preset_has_the_parameters_that_the_peer_counts),
        cmocka_unit_test(every_preset_opens_and_has_the_size_of_its_name),
        cmocka_unit_test(the_list_of_tensors_holds_exactly_the_parameters_that_the_size_counts),
        cmocka_unit_test(both_spellings_of_rope_are_the_same_model),
        cmocka_unit_test(what_is_printed_reads_back_as_the_same_model),
        cmocka_unit_test(yarn_scales_the_softmax_once_by_mscale_squared),
        cmocka_unit_test(yarn_keeps_fast_pairs_and_stretches_slow_ones),
        cmocka_unit_test(a_model_type_that_is_not_known_is_refused),
        cmocka_unit_test(dense_families_are_read_and_written_back),
        cmocka_unit_test(what_a_dense_family_would_compute_otherwise_is_refused),
        cmocka_unit_test(keys_that_are_missing_or_absurd_are_named),
        cmocka_unit_test(a_model_larger_than_the_limit_is_refused),
        cmocka_unit_test(what_would_be_computed_otherwise_elsewhere_is_refused_with_the_reason),
        cmocka_unit_test(every_truncation_is_refused),
        cmocka_unit_test(a_folder_without_a_config_is_one_sentence),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
