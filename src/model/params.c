/* The list of tensors: see params.h. It is made twice, first to count, then to fill. Names are those
 * of the hub's checkpoints (deepseek-ai/DeepSeek-V3, README_WEIGHTS.md; transformers' llama and
 * qwen models).
 */
#include "model/params.h"

#include <assert.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

enum { ALIGN = 16 }; /* elements: 64 bytes of float32 */

struct maker {
    struct param_list *list;
    int64_t capacity; /* 0 in the first round, which only counts */
    int layer, expert;
    bool join; /* the next one begins where the last one ended */
    struct err *err;
    int rc;
};

/* Adds a tensor of rows × cols (cols 0: a vector of rows) under model.layers.N.NAME, or NAME where
 * there is no layer. */
static void add(struct maker *m, enum param_kind kind, int64_t rows, int64_t cols, const char *fmt,
                ...) __attribute__((format(printf, 5, 6)));

static void add(struct maker *m, enum param_kind kind, int64_t rows, int64_t cols, const char *fmt,
                ...)
{
    struct param_list *l = m->list;
    int64_t i = l->n++, n = rows * (cols ? cols : 1);
    if (!m->join)
        l->n_elements = (l->n_elements + ALIGN - 1) / ALIGN * ALIGN;
    int64_t offset = l->n_elements;
    l->n_elements += n;
    bool follows = m->join;
    m->join = false;
    if (i >= m->capacity || m->rc)
        return;
    char name[128];
    int len = m->layer < 0 ? 0 : snprintf(name, sizeof name, "model.layers.%d.", m->layer);
    va_list args;
    va_start(args, fmt);
    vsnprintf(name + len, sizeof name - (size_t)len, fmt, args);
    va_end(args);
    char *copy = arena_strdup(&l->arena, name, m->err);
    if (!copy) {
        m->rc = MOE2_ELIMIT;
        return;
    }
    l->offset[i] = offset;
    l->params[i] = (struct param){.name = copy,
                                  .kind = kind,
                                  .layer = m->layer,
                                  .expert = m->expert,
                                  .n_dims = cols ? 2 : 1,
                                  .shape = {rows, cols},
                                  .n = n,
                                  .follows = follows};
}

static void add_joined(struct maker *m, int64_t rows_a, int64_t rows_b, int64_t cols, const char *a,
                       const char *b)
{
    add(m, PARAM_MATRIX, rows_a, cols, "%s.weight", a);
    m->join = true;
    add(m, PARAM_MATRIX, rows_b, cols, "%s.weight", b);
}

/* q, k and v as one matrix, their biases as one vector. */
static void add_gqa(struct maker *m, const struct model_config *c)
{
    int64_t D = c->hidden_size, q = c->num_attention_heads * c->head_dim,
            kv = c->num_key_value_heads * c->head_dim;
    add(m, PARAM_NORM, D, 0, "input_layernorm.weight");
    add_joined(m, q, kv, D, "self_attn.q_proj", "self_attn.k_proj");
    m->join = true;
    add(m, PARAM_MATRIX, kv, D, "self_attn.v_proj.weight");
    if (c->family == MODEL_QWEN2) {
        add(m, PARAM_BIAS, q, 0, "self_attn.q_proj.bias");
        m->join = true;
        add(m, PARAM_BIAS, kv, 0, "self_attn.k_proj.bias");
        m->join = true;
        add(m, PARAM_BIAS, kv, 0, "self_attn.v_proj.bias");
    }
    if (c->family == MODEL_QWEN3) {
        add(m, PARAM_NORM, c->head_dim, 0, "self_attn.q_norm.weight");
        add(m, PARAM_NORM, c->head_dim, 0, "self_attn.k_norm.weight");
    }
    add(m, PARAM_MATRIX, D, q, "self_attn.o_proj.weight");
    add(m, PARAM_NORM, D, 0, "post_attention_layernorm.weight");
}

static void add_mla(struct maker *m, const struct model_config *c)
{
    int64_t D = c->hidden_size, H = c->num_attention_heads, R = c->kv_lora_rank,
            Rq = c->q_lora_rank;
    int64_t q = H * (c->qk_nope_head_dim + c->qk_rope_head_dim);
    add(m, PARAM_NORM, D, 0, "input_layernorm.weight");
    add_joined(m, Rq ? Rq : q, R + c->qk_rope_head_dim, D,
               Rq ? "self_attn.q_a_proj" : "self_attn.q_proj", "self_attn.kv_a_proj_with_mqa");
    if (Rq) {
        add(m, PARAM_NORM, Rq, 0, "self_attn.q_a_layernorm.weight");
        add(m, PARAM_MATRIX, q, Rq, "self_attn.q_b_proj.weight");
    }
    add(m, PARAM_NORM, R, 0, "self_attn.kv_a_layernorm.weight");
    add(m, PARAM_MATRIX, H * (c->qk_nope_head_dim + c->v_head_dim), R,
        "self_attn.kv_b_proj.weight");
    add(m, PARAM_MATRIX, D, H * c->v_head_dim, "self_attn.o_proj.weight");
    add(m, PARAM_NORM, D, 0, "post_attention_layernorm.weight");
}

static void add_moe(struct maker *m, const struct model_config *c)
{
    int64_t D = c->hidden_size, F = c->moe_intermediate_size, E = c->n_routed_experts;
    add(m, PARAM_ROUTER, E, D, "mlp.gate.weight");
    if (c->family == MODEL_DEEPSEEK_V3)
        add(m, PARAM_BUFFER, E, 0, "mlp.gate.e_score_correction_bias");
    for (m->expert = 0; m->expert < E; m->expert++) {
        add(m, PARAM_MATRIX, F, D, "mlp.experts.%d.gate_proj.weight", m->expert);
        m->join = true;
        add(m, PARAM_MATRIX, F, D, "mlp.experts.%d.up_proj.weight", m->expert);
    }
    for (m->expert = 0; m->expert < E; m->expert++)
        add(m, PARAM_MATRIX, D, F, "mlp.experts.%d.down_proj.weight", m->expert);
    m->expert = -1;
    if (c->n_shared_experts) {
        int64_t Fs = F * c->n_shared_experts;
        add_joined(m, Fs, Fs, D, "mlp.shared_experts.gate_proj", "mlp.shared_experts.up_proj");
        add(m, PARAM_MATRIX, D, Fs, "mlp.shared_experts.down_proj.weight");
    }
}

static void add_all(struct maker *m, const struct model_config *c)
{
    m->list->n = m->list->n_elements = 0;
    m->layer = m->expert = -1;
    add(m, PARAM_EMBED, c->vocab_size, c->hidden_size, "model.embed_tokens.weight");
    for (m->layer = 0; m->layer < c->num_hidden_layers; m->layer++) {
        if (model_is_mla(c))
            add_mla(m, c);
        else
            add_gqa(m, c);
        if (model_layer_is_moe(c, m->layer)) {
            add_moe(m, c);
        } else {
            add_joined(m, c->intermediate_size, c->intermediate_size, c->hidden_size,
                       "mlp.gate_proj", "mlp.up_proj");
            add(m, PARAM_MATRIX, c->hidden_size, c->intermediate_size, "mlp.down_proj.weight");
        }
    }
    m->layer = -1;
    add(m, PARAM_NORM, c->hidden_size, 0, "model.norm.weight");
    if (!c->tie_word_embeddings)
        add(m, PARAM_HEAD, c->vocab_size, c->hidden_size, "lm_head.weight");
}

int param_list_make(struct param_list *out, const struct model_config *config, struct err *err)
{
    *out = (struct param_list){0};
    struct maker m = {.list = out, .err = err};
    add_all(&m, config);
    int64_t n = out->n;
    out->params = arena_calloc(&out->arena, (size_t)n * sizeof *out->params, err);
    out->offset = arena_alloc(&out->arena, (size_t)n * sizeof *out->offset, err);
    if (!out->params || !out->offset) {
        param_list_release(out);
        return MOE2_ELIMIT;
    }
    m.capacity = n;
    add_all(&m, config);
    assert(out->n == n || m.rc);
    if (m.rc)
        param_list_release(out);
    return m.rc;
}

void param_list_release(struct param_list *list)
{
    arena_release(&list->arena);
    *list = (struct param_list){0};
}

/* ---- roles ---- */

struct role {
    const char *name; /* behind "model.layers.N." */
    size_t field;     /* of struct layer_params */
};

#define ROLE(name, f)                                                                              \
    {                                                                                              \
        name, offsetof(struct layer_params, f)                                                     \
    }

static const struct role roles[] = {
    ROLE("input_layernorm.weight", in_norm),
    ROLE("self_attn.q_proj.weight", q),
    ROLE("self_attn.q_proj.bias", q_bias),
    ROLE("self_attn.q_norm.weight", q_norm),
    ROLE("self_attn.k_norm.weight", k_norm),
    ROLE("self_attn.q_a_proj.weight", q_a),
    ROLE("self_attn.kv_a_proj_with_mqa.weight", kv_a),
    ROLE("self_attn.q_a_layernorm.weight", q_norm),
    ROLE("self_attn.q_b_proj.weight", q_b),
    ROLE("self_attn.kv_a_layernorm.weight", kv_norm),
    ROLE("self_attn.kv_b_proj.weight", kv_b),
    ROLE("self_attn.o_proj.weight", o),
    ROLE("post_attention_layernorm.weight", post_norm),
    ROLE("mlp.gate_proj.weight", gate_up),
    ROLE("mlp.down_proj.weight", down),
    ROLE("mlp.gate.weight", router),
    ROLE("mlp.gate.e_score_correction_bias", bias),
    ROLE("mlp.experts.0.gate_proj.weight", expert_gate_up),
    ROLE("mlp.experts.0.down_proj.weight", expert_down),
    ROLE("mlp.shared_experts.gate_proj.weight", shared_gate_up),
    ROLE("mlp.shared_experts.down_proj.weight", shared_down),
};

static void find_role(struct layer_params *layer, struct param *p)
{
    if (p->expert > 0)
        return;
    const char *name = strchr(p->name + strlen("model.layers."), '.') + 1;
    for (size_t i = 0; i < sizeof roles / sizeof *roles; i++)
        if (strcmp(name, roles[i].name) == 0) {
            struct param **to = (struct param **)((char *)layer + roles[i].field);
            *to = p;
        }
}

int model_params_find(struct model_params *out, struct param_list *list,
                      const struct model_config *config, struct err *err)
{
    struct model_params mp = {0};
    mp.layers =
        arena_calloc(&list->arena, (size_t)config->num_hidden_layers * sizeof *mp.layers, err);
    if (!mp.layers)
        return MOE2_ELIMIT;
    for (int64_t i = 0; i < list->n; i++) {
        struct param *p = &list->params[i];
        if (p->layer >= 0)
            find_role(&mp.layers[p->layer], p);
        else if (p->kind == PARAM_EMBED)
            mp.embed = p;
        else if (p->kind == PARAM_HEAD)
            mp.head = p;
        else
            mp.norm = p;
    }
    if (!mp.head)
        mp.head = mp.embed;
    *out = mp;
    return 0;
}
