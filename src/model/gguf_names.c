/* Names of tensors in GGUF files and in Hugging Face's checkpoints: see gguf_names.h. */
#include "model/gguf_names.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const struct gguf_name whole[] = {
    {"token_embd.weight", "model.embed_tokens.weight", GGUF_FORM_SAME},
    {"output_norm.weight", "model.norm.weight", GGUF_FORM_SAME},
    {"output.weight", "lm_head.weight", GGUF_FORM_SAME},
};

static const struct gguf_name in_layer[] = {
    {"attn_norm.weight", "input_layernorm.weight", GGUF_FORM_SAME},
    {"ffn_norm.weight", "post_attention_layernorm.weight", GGUF_FORM_SAME},
    {"attn_q.weight", "self_attn.q_proj.weight", GGUF_FORM_Q},
    {"attn_q.bias", "self_attn.q_proj.bias", GGUF_FORM_Q},
    {"attn_k.weight", "self_attn.k_proj.weight", GGUF_FORM_K},
    {"attn_k.bias", "self_attn.k_proj.bias", GGUF_FORM_K},
    {"attn_v.weight", "self_attn.v_proj.weight", GGUF_FORM_SAME},
    {"attn_v.bias", "self_attn.v_proj.bias", GGUF_FORM_SAME},
    {"attn_output.weight", "self_attn.o_proj.weight", GGUF_FORM_SAME},
    {"attn_output.bias", "self_attn.o_proj.bias", GGUF_FORM_SAME},
    {"attn_q_norm.weight", "self_attn.q_norm.weight", GGUF_FORM_SAME},
    {"attn_k_norm.weight", "self_attn.k_norm.weight", GGUF_FORM_SAME},
    {"attn_q_a.weight", "self_attn.q_a_proj.weight", GGUF_FORM_SAME},
    {"attn_q_a_norm.weight", "self_attn.q_a_layernorm.weight", GGUF_FORM_SAME},
    {"attn_q_b.weight", "self_attn.q_b_proj.weight", GGUF_FORM_SAME},
    {"attn_kv_a_mqa.weight", "self_attn.kv_a_proj_with_mqa.weight", GGUF_FORM_SAME},
    {"attn_kv_a_norm.weight", "self_attn.kv_a_layernorm.weight", GGUF_FORM_SAME},
    {"attn_kv_b.weight", "self_attn.kv_b_proj.weight", GGUF_FORM_SAME},
    {"attn_k_b.weight", "self_attn.kv_b_proj.weight", GGUF_FORM_K_B},
    {"attn_v_b.weight", "self_attn.kv_b_proj.weight", GGUF_FORM_V_B},
    {"ffn_gate.weight", "mlp.gate_proj.weight", GGUF_FORM_SAME},
    {"ffn_up.weight", "mlp.up_proj.weight", GGUF_FORM_SAME},
    {"ffn_down.weight", "mlp.down_proj.weight", GGUF_FORM_SAME},
    {"ffn_gate_inp.weight", "mlp.gate.weight", GGUF_FORM_SAME},
    {"exp_probs_b.bias", "mlp.gate.e_score_correction_bias", GGUF_FORM_SAME},
    {"ffn_gate_exps.weight", "mlp.experts.%d.gate_proj.weight", GGUF_FORM_EXPERTS},
    {"ffn_up_exps.weight", "mlp.experts.%d.up_proj.weight", GGUF_FORM_EXPERTS},
    {"ffn_down_exps.weight", "mlp.experts.%d.down_proj.weight", GGUF_FORM_EXPERTS},
    {"ffn_gate_shexp.weight", "mlp.shared_experts.gate_proj.weight", GGUF_FORM_SAME},
    {"ffn_up_shexp.weight", "mlp.shared_experts.up_proj.weight", GGUF_FORM_SAME},
    {"ffn_down_shexp.weight", "mlp.shared_experts.down_proj.weight", GGUF_FORM_SAME},
};

enum { N_WHOLE = sizeof whole / sizeof *whole, N_IN_LAYER = sizeof in_layer / sizeof *in_layer };

/* The layer's number behind prefix and what follows it, or NULL. */
static const char *behind_layer(int64_t *layer, const char *name, const char *prefix)
{
    size_t n = strlen(prefix);
    if (strncmp(name, prefix, n) != 0 || name[n] < '0' || name[n] > '9')
        return NULL;
    char *end = NULL;
    *layer = strtoll(name + n, &end, 10);
    return *end == '.' ? end + 1 : NULL;
}

const struct gguf_name *gguf_name_find(const char *gguf, int64_t *layer)
{
    *layer = -1;
    for (int i = 0; i < N_WHOLE; i++)
        if (strcmp(gguf, whole[i].gguf) == 0)
            return &whole[i];
    const char *rest = behind_layer(layer, gguf, "blk.");
    for (int i = 0; rest && i < N_IN_LAYER; i++)
        if (strcmp(rest, in_layer[i].gguf) == 0)
            return &in_layer[i];
    return NULL;
}

/* "mlp.experts.7.up_proj.weight" against "mlp.experts.%d.up_proj.weight". */
static int matches(const char *name, const char *pattern, int64_t *expert)
{
    const char *hole = strstr(pattern, "%d");
    *expert = -1;
    if (!hole)
        return strcmp(name, pattern) == 0;
    size_t n = (size_t)(hole - pattern);
    if (strncmp(name, pattern, n) != 0 || name[n] < '0' || name[n] > '9')
        return 0;
    char *end = NULL;
    *expert = strtoll(name + n, &end, 10);
    return strcmp(end, hole + 2) == 0;
}

const struct gguf_name *gguf_name_of_hf(const char *hf, int64_t *layer, int64_t *expert)
{
    *layer = *expert = -1;
    for (int i = 0; i < N_WHOLE; i++)
        if (strcmp(hf, whole[i].hf) == 0)
            return &whole[i];
    const char *rest = behind_layer(layer, hf, "model.layers.");
    for (int i = 0; rest && i < N_IN_LAYER; i++)
        if (matches(rest, in_layer[i].hf, expert))
            return &in_layer[i];
    return NULL;
}

void gguf_name_hf(char out[GGUF_NAMES_MAX], const struct gguf_name *n, int64_t layer,
                  int64_t expert)
{
    const char *hole = strstr(n->hf, "%d");
    int at = layer < 0 ? 0 : snprintf(out, GGUF_NAMES_MAX, "model.layers.%lld.", (long long)layer);
    size_t room = GGUF_NAMES_MAX - (size_t)at;
    if (hole)
        snprintf(out + at, room, "%.*s%lld%s", (int)(hole - n->hf), n->hf, (long long)expert,
                 hole + 2);
    else
        snprintf(out + at, room, "%s", n->hf);
}

void gguf_name_gguf(char out[GGUF_NAMES_MAX], const struct gguf_name *n, int64_t layer)
{
    int at = layer < 0 ? 0 : snprintf(out, GGUF_NAMES_MAX, "blk.%lld.", (long long)layer);
    snprintf(out + at, GGUF_NAMES_MAX - (size_t)at, "%s", n->gguf);
}
