/* How large a model is, and what a forward costs: counted from its configuration alone. */
#include "model/config_parts.h"

/* Parameters of attention in one layer; norms and biases apart. */
static double attention_products(const struct model_config *c)
{
    double D = (double)c->hidden_size, H = (double)c->num_attention_heads,
           R = (double)c->kv_lora_rank;
    double dn = (double)c->qk_nope_head_dim, dr = (double)c->qk_rope_head_dim,
           dv = (double)c->v_head_dim;
    if (!model_is_mla(c))
        return 2 * D * (H + (double)c->num_key_value_heads) * (double)c->head_dim;
    double rq = (double)c->q_lora_rank;
    double q = rq > 0 ? rq * D + H * (dn + dr) * rq : H * (dn + dr) * D;
    return q + (R + dr) * D + H * (dn + dv) * R + D * H * dv;
}

/* Norms and biases. */
static double norm_params(const struct model_config *c)
{
    double per_layer = (double)(2 * c->hidden_size + c->kv_lora_rank + c->q_lora_rank);
    if (c->family == MODEL_QWEN3)
        per_layer += 2 * (double)c->head_dim;
    if (c->family == MODEL_QWEN2)
        per_layer += (double)((c->num_attention_heads + 2 * c->num_key_value_heads) * c->head_dim);
    return per_layer * (double)c->num_hidden_layers + (double)c->hidden_size;
}

/* Weights of all products but embedding and head, when each MoE layer has (or uses) this many
 * experts. */
static double layer_products(const struct model_config *c, double experts)
{
    double D = (double)c->hidden_size, F = (double)c->moe_intermediate_size, n = 0;
    for (int64_t l = 0; l < c->num_hidden_layers; l++) {
        n += attention_products(c);
        if (model_layer_is_moe(c, l))
            n += (experts + (double)c->n_shared_experts) * 3 * D * F +
                 D * (double)c->n_routed_experts;
        else
            n += 3 * D * (double)c->intermediate_size;
    }
    return n;
}

double config_count_params(const struct model_config *c, double experts)
{
    double table = (double)c->vocab_size * (double)c->hidden_size;
    return layer_products(c, experts) + norm_params(c) + table * (c->tie_word_embeddings ? 1 : 2);
}

struct model_size model_size(const struct model_config *c)
{
    double used = (double)c->num_experts_per_tok;
    double head = (double)c->vocab_size * (double)c->hidden_size;
    return (struct model_size){
        .n_params = (int64_t)config_count_params(c, (double)c->n_routed_experts),
        .n_active_params = (int64_t)config_count_params(c, used),
        .n_active_products = (int64_t)(layer_products(c, used) + head),
    };
}

double model_forward_flops(const struct model_config *c, double context)
{
    int64_t of_mla = c->qk_nope_head_dim + c->qk_rope_head_dim + c->v_head_dim;
    double head_dims = (double)(model_is_mla(c) ? of_mla : 2 * c->head_dim);
    double attention =
        (double)(c->num_hidden_layers * c->num_attention_heads) * context * head_dims;
    return 2 * (double)model_size(c).n_active_products + attention;
}
