/* What a model is: Hugging Face's config.json, read, checked and written back.
 *
 * Fields keep the names of config.json. Both spellings are read: the hub's (rope_theta,
 * rope_scaling, torch_dtype) and the one that transformers 5 writes (rope_parameters, dtype).
 * Sources: transformers' configurations of deepseek_v3, deepseek_v2, llama, mistral, qwen2, qwen3.
 */
#ifndef MOE2_MODEL_CONFIG_H
#define MOE2_MODEL_CONFIG_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"
#include "tensor/dtype.h"

enum model_family {
    MODEL_DEEPSEEK_V3,
    MODEL_DEEPSEEK_V2,
    MODEL_LLAMA, /* and mistral without a sliding window */
    MODEL_QWEN2, /* q, k and v have biases */
    MODEL_QWEN3, /* q and k are normed, head by head */
};

struct rope_scaling {
    bool yarn, llama3;                        /* both false: plain rope */
    double low_freq_factor, high_freq_factor; /* llama3 */
    double factor, beta_fast, beta_slow, mscale, mscale_all_dim;
    double attention_factor; /* 0: not given */
    int64_t original_max_position_embeddings;
};

struct model_config {
    enum model_family family;
    char model_type[32]; /* "deepseek_v3", "llama", …; written back as it was read */
    int64_t vocab_size, hidden_size, intermediate_size, moe_intermediate_size;
    int64_t num_hidden_layers, first_k_dense_replace, moe_layer_freq;
    int64_t num_attention_heads, num_key_value_heads;
    int64_t head_dim;    /* of grouped-query attention; 0 in the deepseek family, whose heads have
                            the sizes below; those are 0 in the others */
    int64_t q_lora_rank; /* 0: null, a plain q_proj */
    int64_t kv_lora_rank, qk_nope_head_dim, qk_rope_head_dim, v_head_dim;
    int64_t n_routed_experts, n_shared_experts, num_experts_per_tok, n_group, topk_group;
    double routed_scaling_factor;
    bool norm_topk_prob;
    char scoring_func[16]; /* "sigmoid", "softmax" */
    char topk_method[32];  /* "noaux_tc", "greedy", "group_limited_greedy" */
    double rms_norm_eps, rope_theta, initializer_range;
    struct rope_scaling rope;
    bool rope_interleave, attention_bias, tie_word_embeddings;
    int64_t max_position_embeddings, num_nextn_predict_layers;
    int64_t bos_token_id, eos_token_id; /* −1: none */
    enum dtype dtype;                   /* of the checkpoint's weights */
};

/* Parses and checks the text of a config.json; name is what messages call it. Errors name the key,
 * the value and what is wanted. */
int model_config_parse(struct model_config *out, const char *json, size_t n, const char *name,
                       struct err *err);

/* Reads dir/config.json, or a preset or file: "configs/model/small.json" works as well as a
 * checkpoint folder, and as a GGUF file, whose metadata say the same. */
int model_config_read(struct model_config *out, const char *path, struct err *err);

/* The config.json that transformers reads back as the same model. */
int model_config_print(struct buf *out, const struct model_config *config, struct err *err);

/* Multi-head latent attention (deepseek); else grouped-query attention. */
static inline bool model_is_mla(const struct model_config *c)
{
    return c->kv_lora_rank > 0;
}

/* How many numbers of a head are rotated. */
static inline int64_t model_rope_dim(const struct model_config *c)
{
    return model_is_mla(c) ? c->qk_rope_head_dim : c->head_dim;
}

static inline bool model_layer_is_moe(const struct model_config *c, int64_t layer)
{
    return c->n_routed_experts > 0 && layer >= c->first_k_dense_replace &&
           layer % c->moe_layer_freq == 0;
}

/* Parameters in all, active a token (with embedding and head rows counted whole, as the papers do),
 * and floating-point operations of one forward token at a context length (2 a multiply-add, causal
 * half of attention). */
struct model_size {
    int64_t n_params, n_active_params, n_active_products;
};
struct model_size model_size(const struct model_config *config);
double model_forward_flops(const struct model_config *config, double context);

#endif
