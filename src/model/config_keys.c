/* The families and their keys: see config_parts.h. A key that a family does not have takes the value that means "none". */
#include <string.h>

#include "model/config_parts.h"

#define FIELD(f) #f, offsetof(struct model_config, f)

static const struct family families[] = {
    {"deepseek_v3", "DeepseekV3ForCausalLM", MODEL_DEEPSEEK_V3, true},
    {"deepseek_v2", "DeepseekV2ForCausalLM", MODEL_DEEPSEEK_V2, true},
    {"llama", "LlamaForCausalLM", MODEL_LLAMA, false},
    {"mistral", "MistralForCausalLM", MODEL_LLAMA, false},
    {"qwen2", "Qwen2ForCausalLM", MODEL_QWEN2, false},
    {"qwen3", "Qwen3ForCausalLM", MODEL_QWEN3, false},
};

const char family_names[] = "deepseek_v3, deepseek_v2, llama, mistral, qwen2 or qwen3";

const struct family *family_find(const char *model_type)
{
    for (size_t i = 0; i < sizeof families / sizeof *families; i++)
        if (strcmp(families[i].model_type, model_type) == 0)
            return &families[i];
    return NULL;
}

const struct int_key config_int_keys[] = {
    {FIELD(vocab_size), 1, 1 << 24, NEEDED, 0, EVERYONE},
    {FIELD(hidden_size), 1, 1 << 17, NEEDED, 0, EVERYONE},
    {FIELD(intermediate_size), 1, 1 << 20, NEEDED, 0, EVERYONE},
    {FIELD(moe_intermediate_size), 1, 1 << 20, NEEDED, 0, MLA_ONLY},
    {FIELD(num_hidden_layers), 1, 1024, NEEDED, 0, EVERYONE},
    {FIELD(num_attention_heads), 1, 1024, NEEDED, 0, EVERYONE},
    {FIELD(kv_lora_rank), 1, 1 << 16, NEEDED, 0, MLA_ONLY},
    {FIELD(qk_nope_head_dim), 1, 1 << 12, NEEDED, 0, MLA_ONLY},
    {FIELD(qk_rope_head_dim), 2, 1 << 12, NEEDED, 0, MLA_ONLY},
    {FIELD(v_head_dim), 1, 1 << 12, NEEDED, 0, MLA_ONLY},
    {FIELD(n_routed_experts), 1, 1 << 14, NEEDED, 0, MLA_ONLY},
    {FIELD(num_experts_per_tok), 1, 1 << 14, NEEDED, 0, MLA_ONLY},
    {FIELD(first_k_dense_replace), 0, 1024, NEEDED_V3, 0, MLA_ONLY},
    {FIELD(moe_layer_freq), 1, 1, OPTIONAL, 1, MLA_ONLY},
    {FIELD(n_shared_experts), 0, 1 << 14, NEEDED_V3, 0, MLA_ONLY},
    {FIELD(n_group), 1, 1 << 14, NEEDED_V3, 1, MLA_ONLY},
    {FIELD(topk_group), 1, 1 << 14, NEEDED_V3, 1, MLA_ONLY},
    {FIELD(max_position_embeddings), 1, 1 << 28, OPTIONAL, 4096, EVERYONE},
    {FIELD(num_nextn_predict_layers), 0, 1024, OPTIONAL, 0, MLA_ONLY},
};
const int config_n_int_keys = sizeof config_int_keys / sizeof *config_int_keys;

const struct real_key config_real_keys[] = {
    {FIELD(routed_scaling_factor), 1e-6, 1e6, 1, MLA_ONLY},
    {FIELD(rms_norm_eps), 0, 1, 1e-6, EVERYONE},
    {FIELD(initializer_range), 0, 1e3, 0.02, EVERYONE},
};
const int config_n_real_keys = sizeof config_real_keys / sizeof *config_real_keys;
