/* The config.json of a GGUF file: its metadata in Hugging Face's words, for model_config_parse to
 * check. Source: llama.cpp, gguf-py/gguf/constants.py and conversion/{llama,qwen,deepseek}.py, read
 * backwards.
 */
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "io/json_util.h"
#include "model/source_parts.h"

enum { MAX_SIDE = 1 << 30 };

struct teller {
    const struct gguf *g;
    const char *arch;
    struct json_writer w;
    struct err *err;
    int rc;
};

static const char *key_of(char out[128], const struct teller *t, const char *suffix)
{
    snprintf(out, 128, "%s.%s", t->arch, suffix);
    return out;
}

static bool has(const struct teller *t, const char *suffix)
{
    char key[128];
    return gguf_key(t->g, key_of(key, t, suffix)) != NULL;
}

/* A number of the file, which must be there; the fallback is for the second form. */
static int64_t need_int(struct teller *t, const char *suffix)
{
    char key[128];
    int64_t value = 0;
    if (!t->rc)
        t->rc = gguf_int(&value, t->g, key_of(key, t, suffix), 0, MAX_SIDE, t->err);
    return value;
}

static int64_t int_or(struct teller *t, const char *suffix, int64_t fallback)
{
    return has(t, suffix) ? need_int(t, suffix) : fallback;
}

static double real_or(struct teller *t, const char *suffix, double fallback)
{
    char key[128];
    double value = fallback;
    if (!t->rc && has(t, suffix))
        t->rc = gguf_real(&value, t->g, key_of(key, t, suffix), t->err);
    return value;
}

static bool bool_or(struct teller *t, const char *suffix, bool fallback)
{
    char key[128];
    bool value = fallback;
    if (!t->rc && has(t, suffix))
        t->rc = gguf_bool(&value, t->g, key_of(key, t, suffix), t->err);
    return value;
}

static const char *text_or(struct teller *t, const char *suffix, const char *fallback)
{
    char key[128];
    const char *value = fallback;
    if (!t->rc && has(t, suffix))
        t->rc = gguf_text(&value, t->g, key_of(key, t, suffix), t->err);
    return value;
}

static void copy_int(struct teller *t, const char *name, const char *suffix)
{
    jw_int(&t->w, name, need_int(t, suffix));
}

/* A float32 of the file in its shortest form: 1e-06, not 9.99999997e-07. */
static void put_f32(struct teller *t, const char *name, double value)
{
    jw_f32(&t->w, name, (float)value);
}

/* ---- rotary scaling ---- */

enum { LLAMA3_LOW = 1, LLAMA3_HIGH = 4, LLAMA3_LENGTH = 8192, MAX_HALF = 512 };

static double wave_of(double theta, int64_t i, int64_t half)
{
    return 2 * M_PI * pow(theta, (double)i / (double)half);
}

/* The original length out of a factor between the two ends; that of all released models where there
 * is none between. */
static double find_length(const float *f, int64_t half, double theta, double factor)
{
    for (int64_t i = 0; i < half; i++) {
        double z = (1 / (double)f[i] - 1 / factor) / (1 - 1 / factor);
        if (f[i] > 1.001F && (double)f[i] < factor * 0.999)
            return rint(wave_of(theta, i, half) * (LLAMA3_LOW + z * (LLAMA3_HIGH - LLAMA3_LOW)));
    }
    return LLAMA3_LENGTH;
}

static int check_factors(struct teller *t, const float *f, int64_t half, double theta,
                         double factor, double length)
{
    for (int64_t i = 0; i < half; i++) {
        double wave = wave_of(theta, i, half);
        double z = (length / wave - LLAMA3_LOW) / (LLAMA3_HIGH - LLAMA3_LOW);
        double wanted = wave < length / LLAMA3_HIGH  ? 1
                        : wave > length / LLAMA3_LOW ? factor
                                                     : 1 / ((1 - z) / factor + z);
        if (fabs(wanted - (double)f[i]) > 1e-3 * wanted)
            return err_set(
                t->err, MOE2_EFORMAT,
                "%s: rope_freqs.weight is not Llama 3's scaling between wavelengths of a "
                "quarter and the whole of %g positions: number %" PRId64 " is %g, wanted %g",
                gguf_path(t->g), length, i, (double)f[i], wanted);
    }
    return 0;
}

/* llama.cpp stores Llama 3's scaling as factors of each frequency. Its numbers are found again: the
 * last factor is the factor, the ends (1 and 4) are those of all models, the length follows; then all
 * factors are checked. */
static void put_llama3(struct teller *t, const struct gguf_tensor *factors, double theta)
{
    float f[MAX_HALF];
    int64_t half = factors->n_elements;
    if (t->rc)
        return;
    if (half < 1 || half > MAX_HALF) {
        t->rc = err_set(t->err, MOE2_EFORMAT,
                        "%s: rope_freqs.weight has %" PRId64 " numbers, wanted 1 to %d",
                        gguf_path(t->g), half, MAX_HALF);
        return;
    }
    t->rc = gguf_to_f32(f, factors, 0, half, t->err);
    double factor = t->rc ? 1 : (double)f[half - 1];
    double length = t->rc ? LLAMA3_LENGTH : find_length(f, half, theta, factor);
    if (!t->rc)
        t->rc = check_factors(t, f, half, theta, factor, length);
    jw_object(&t->w, "rope_scaling");
    jw_text(&t->w, "rope_type", "llama3");
    jw_real(&t->w, "factor", factor);
    jw_real(&t->w, "low_freq_factor", LLAMA3_LOW);
    jw_real(&t->w, "high_freq_factor", LLAMA3_HIGH);
    jw_int(&t->w, "original_max_position_embeddings", (int64_t)length);
    jw_end(&t->w);
}

static void put_rope(struct teller *t)
{
    double theta = real_or(t, "rope.freq_base", 10000);
    const char *type = text_or(t, "rope.scaling.type", "none");
    const struct gguf_tensor *factors = gguf_find(t->g, "rope_freqs.weight");
    put_f32(t, "rope_theta", theta);
    if (factors && strcmp(t->arch, "llama") == 0) {
        put_llama3(t, factors, theta);
        return;
    }
    if (strcmp(type, "none") == 0) {
        jw_null(&t->w, "rope_scaling");
        return;
    }
    double mscale = real_or(t, "rope.scaling.yarn_log_multiplier", 0) / 0.1;
    jw_object(&t->w, "rope_scaling");
    jw_text(&t->w, "type", type);
    put_f32(t, "factor", real_or(t, "rope.scaling.factor", 1));
    if (strcmp(type, "yarn") == 0) {
        put_f32(t, "beta_fast", real_or(t, "rope.scaling.yarn_beta_fast", 32));
        put_f32(t, "beta_slow", real_or(t, "rope.scaling.yarn_beta_slow", 1));
        if (mscale != 0) {
            put_f32(t, "mscale", mscale);
            put_f32(t, "mscale_all_dim", mscale);
        }
    }
    jw_int(&t->w, "original_max_position_embeddings",
           int_or(t, "rope.scaling.original_context_length", int_or(t, "context_length", 0)));
    jw_end(&t->w);
}

/* ---- families ---- */

static void put_common(struct teller *t, const char *class, const char *model_type)
{
    const struct gguf_tensor *embed = gguf_find(t->g, "token_embd.weight");
    jw_array(&t->w, "architectures");
    jw_text(&t->w, NULL, class);
    jw_end(&t->w);
    jw_text(&t->w, "model_type", model_type);
    jw_text(&t->w, "hidden_act", "silu");
    jw_int(&t->w, "vocab_size", embed && embed->n_dims == 2 ? embed->shape[0] : 0);
    copy_int(t, "hidden_size", "embedding_length");
    copy_int(t, "intermediate_size", "feed_forward_length");
    copy_int(t, "num_hidden_layers", "block_count");
    copy_int(t, "num_attention_heads", "attention.head_count");
    copy_int(t, "max_position_embeddings", "context_length");
    put_f32(t, "rms_norm_eps", real_or(t, "attention.layer_norm_rms_epsilon", 1e-5));
    jw_bool(&t->w, "tie_word_embeddings", !gguf_find(t->g, "output.weight"));
}

static void put_grouped(struct teller *t)
{
    int64_t heads = need_int(t, "attention.head_count");
    jw_int(&t->w, "num_key_value_heads", int_or(t, "attention.head_count_kv", heads));
    int64_t width = need_int(t, "embedding_length");
    jw_int(&t->w, "head_dim", int_or(t, "attention.key_length", heads ? width / heads : 0));
    if (has(t, "expert_count") && need_int(t, "expert_count") > 0 && !t->rc)
        t->rc = err_set(t->err, MOE2_EFORMAT,
                        "%s: %s.expert_count is %" PRId64
                        ", and moe2 reads experts of architecture deepseek2 only",
                        gguf_path(t->g), t->arch, need_int(t, "expert_count"));
}

static void put_llama(struct teller *t)
{
    put_common(t, "LlamaForCausalLM", "llama");
    put_grouped(t);
    jw_bool(&t->w, "attention_bias", gguf_find(t->g, "blk.0.attn_q.bias") != NULL);
}

static void put_qwen2(struct teller *t)
{
    put_common(t, "Qwen2ForCausalLM", "qwen2");
    put_grouped(t);
    jw_bool(&t->w, "use_sliding_window", false);
}

static void put_qwen3(struct teller *t)
{
    put_common(t, "Qwen3ForCausalLM", "qwen3");
    put_grouped(t);
    jw_bool(&t->w, "attention_bias", gguf_find(t->g, "blk.0.attn_q.bias") != NULL);
    jw_bool(&t->w, "use_sliding_window", false);
}

/* Widths of a head. Files since 2025 say them as …_mla; before, key_length is nope + rope. */
static void put_mla(struct teller *t)
{
    int64_t rope = need_int(t, "rope.dimension_count"),
            rank = int_or(t, "attention.q_lora_rank", 0);
    int64_t key = int_or(t, "attention.key_length_mla", int_or(t, "attention.key_length", 0));
    int64_t value = int_or(t, "attention.value_length_mla", int_or(t, "attention.value_length", 0));
    if (rank)
        jw_int(&t->w, "q_lora_rank", rank);
    else
        jw_null(&t->w, "q_lora_rank");
    copy_int(t, "kv_lora_rank", "attention.kv_lora_rank");
    jw_int(&t->w, "qk_nope_head_dim", key - rope);
    jw_int(&t->w, "qk_rope_head_dim", rope);
    jw_int(&t->w, "v_head_dim", value);
    copy_int(t, "num_key_value_heads", "attention.head_count");
}

static void put_experts(struct teller *t, bool v3)
{
    int64_t groups = int_or(t, "expert_group_count", 1);
    copy_int(t, "first_k_dense_replace", "leading_dense_block_count");
    copy_int(t, "moe_intermediate_size", "expert_feed_forward_length");
    copy_int(t, "n_routed_experts", "expert_count");
    copy_int(t, "num_experts_per_tok", "expert_used_count");
    jw_int(&t->w, "n_shared_experts", int_or(t, "expert_shared_count", 0));
    jw_int(&t->w, "n_group", groups);
    jw_int(&t->w, "topk_group", int_or(t, "expert_group_used_count", 1));
    put_f32(t, "routed_scaling_factor", real_or(t, "expert_weights_scale", 1));
    jw_bool(&t->w, "norm_topk_prob", bool_or(t, "expert_weights_norm", false));
    jw_int(&t->w, "moe_layer_freq", 1);
    jw_text(&t->w, "scoring_func", v3 ? "sigmoid" : "softmax");
    jw_text(&t->w, "topk_method", v3 ? "noaux_tc" : groups > 1 ? "group_limited_greedy" : "greedy");
}

/* expert_gating_func: 1 softmax, 2 sigmoid; missing: softmax, as llama.cpp takes it. */
static void put_deepseek2(struct teller *t)
{
    bool v3 = int_or(t, "expert_gating_func", 1) == 2;
    put_common(t, v3 ? "DeepseekV3ForCausalLM" : "DeepseekV2ForCausalLM",
               v3 ? "deepseek_v3" : "deepseek_v2");
    put_mla(t);
    put_experts(t, v3);
    jw_bool(&t->w, "attention_bias", false);
    jw_int(&t->w, "num_nextn_predict_layers", 0);
}

static const struct {
    const char *arch;
    void (*put)(struct teller *t);
} families[] = {
    {"llama", put_llama},
    {"qwen2", put_qwen2},
    {"qwen3", put_qwen3},
    {"deepseek2", put_deepseek2},
};

/* bos and eos of the tokenizer, and the type that the weights are most likely to have been made in. */
static void put_rest(struct teller *t)
{
    static const char *const ids[][2] = {{"bos_token_id", "tokenizer.ggml.bos_token_id"},
                                         {"eos_token_id", "tokenizer.ggml.eos_token_id"}};
    for (int i = 0; i < 2 && !t->rc; i++) {
        int64_t id = 0;
        if (!gguf_key(t->g, ids[i][1]))
            continue;
        t->rc = gguf_int(&id, t->g, ids[i][1], 0, MAX_SIDE, t->err);
        jw_int(&t->w, ids[i][0], id);
    }
    const struct gguf_tensor *embed = gguf_find(t->g, "token_embd.weight");
    int dtype = embed ? embed->layout->dtype : -1;
    jw_text(&t->w, "torch_dtype",
            dtype == DT_F32    ? "float32"
            : dtype == DT_BF16 ? "bfloat16"
                               : "float16");
}

int source_gguf_config(struct buf *out, const struct gguf *g, struct err *err)
{
    struct teller t = {.g = g, .err = err};
    size_t i = 0, n = sizeof families / sizeof *families;
    int rc = gguf_text(&t.arch, g, "general.architecture", err);
    if (rc)
        return rc;
    while (i < n && strcmp(families[i].arch, t.arch) != 0)
        i++;
    if (i == n)
        return err_set(err, MOE2_EFORMAT,
                       "%s: general.architecture is \"%.40s\", wanted llama, qwen2, qwen3 or "
                       "deepseek2",
                       gguf_path(g), t.arch);
    json_writer_init(&t.w, out, 2);
    jw_object(&t.w, NULL);
    families[i].put(&t);
    put_rope(&t);
    put_rest(&t);
    jw_end(&t.w);
    rc = json_writer_end(&t.w, t.rc ? NULL : err);
    return t.rc ? t.rc : rc;
}
