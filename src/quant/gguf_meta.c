/* The metadata of a GGUF file out of a config.json and a tokenizer: what llama.cpp's converters write.
 * Source: llama.cpp, conversion/{llama,qwen,deepseek}.py and gguf-py/gguf/constants.py.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/file.h"
#include "quant/model_write_parts.h"
#include "text/tokenizer_export.h"

struct meta {
    struct gguf_writer *w;
    const char *arch, *file;
    const json_t *config, *rope;
    struct err *err;
    int rc;
};

static const struct {
    const char *model_type, *arch;
} archs[] = {
    {"llama", "llama"}, {"mistral", "llama"},         {"qwen2", "qwen2"},
    {"qwen3", "qwen3"}, {"deepseek_v2", "deepseek2"}, {"deepseek_v3", "deepseek2"},
};

const char *gguf_arch_of(const json_t *config)
{
    const char *type = json_string_value(json_object_get(config, "model_type"));
    for (size_t i = 0; i < sizeof archs / sizeof *archs && type; i++)
        if (strcmp(type, archs[i].model_type) == 0)
            return archs[i].arch;
    return NULL;
}

static const char *key_of(char out[128], const struct meta *m, const char *suffix)
{
    snprintf(out, 128, "%s.%s", m->arch, suffix);
    return out;
}

static int64_t int_of(const struct meta *m, const char *key, int64_t fallback)
{
    const json_t *v = json_object_get(m->config, key);
    return json_is_integer(v) ? json_integer_value(v) : fallback;
}

static void put_int(struct meta *m, const char *suffix, int64_t value)
{
    char key[128];
    gguf_put_u32(m->w, key_of(key, m, suffix), (uint32_t)value);
}

/* A key that must be there. */
static void copy_int(struct meta *m, const char *suffix, const char *key)
{
    int64_t value = int_of(m, key, -1);
    if (value < 0 || value > INT32_MAX) {
        if (!m->rc)
            m->rc = err_set(m->err, MOE2_EFORMAT, "%s: config.json has no whole number %s", m->file,
                            key);
        return;
    }
    put_int(m, suffix, value);
}

static void put_real(struct meta *m, const char *suffix, double value)
{
    char key[128];
    gguf_put_f32(m->w, key_of(key, m, suffix), (float)value);
}

static double real_of(const json_t *o, const char *key, double fallback)
{
    const json_t *v = json_object_get(o, key);
    return json_is_number(v) ? json_number_value(v) : fallback;
}

static void put_rope(struct meta *m, int64_t rope_dim)
{
    const char *type = json_string_value(json_object_get(m->rope, "rope_type"));
    char key[128];
    if (!type)
        type = json_string_value(json_object_get(m->rope, "type"));
    put_int(m, "rope.dimension_count", rope_dim);
    put_real(m, "rope.freq_base",
             real_of(m->rope, "rope_theta", real_of(m->config, "rope_theta", 10000)));
    if (!type || strcmp(type, "default") == 0 || strcmp(type, "llama3") == 0)
        return;
    if (strcmp(type, "yarn") != 0) {
        m->rc = err_set(m->err, MOE2_EFORMAT,
                        "%s: rope scaling of type %.20s, wanted yarn, llama3 or default", m->file,
                        type);
        return;
    }
    gguf_put_text(m->w, key_of(key, m, "rope.scaling.type"), "yarn");
    put_real(m, "rope.scaling.factor", real_of(m->rope, "factor", 1));
    put_int(m, "rope.scaling.original_context_length",
            (int64_t)real_of(m->rope, "original_max_position_embeddings", 4096));
    double mscale = real_of(m->rope, "mscale", 0), all = real_of(m->rope, "mscale_all_dim", 0);
    if (mscale != all) {
        m->rc =
            err_set(m->err, MOE2_EFORMAT,
                    "%s: yarn's mscale is %g and mscale_all_dim %g: a GGUF file has one for both",
                    m->file, mscale, all);
        return;
    }
    put_real(m, "rope.scaling.yarn_log_multiplier", 0.1 * real_of(m->rope, "mscale_all_dim", 0));
}

static void put_grouped(struct meta *m)
{
    int64_t heads = int_of(m, "num_attention_heads", 1), width = int_of(m, "hidden_size", 0);
    int64_t hd = int_of(m, "head_dim", heads > 0 ? width / heads : 0);
    put_int(m, "attention.head_count_kv", int_of(m, "num_key_value_heads", heads));
    if (heads > 0 && (hd * heads != width || strcmp(m->arch, "qwen3") == 0)) {
        put_int(m, "attention.key_length", hd);
        put_int(m, "attention.value_length", hd);
    }
    put_rope(m, hd);
}

static void put_experts(struct meta *m)
{
    const char *score = json_string_value(json_object_get(m->config, "scoring_func"));
    const char *type = json_string_value(json_object_get(m->config, "model_type"));
    bool sigmoid = score ? strcmp(score, "sigmoid") == 0 : strcmp(type, "deepseek_v3") == 0;
    char key[128];
    put_int(m, "leading_dense_block_count", int_of(m, "first_k_dense_replace", 0));
    copy_int(m, "expert_feed_forward_length", "moe_intermediate_size");
    copy_int(m, "expert_count", "n_routed_experts");
    copy_int(m, "expert_used_count", "num_experts_per_tok");
    put_int(m, "expert_shared_count", int_of(m, "n_shared_experts", 0));
    put_real(m, "expert_weights_scale", real_of(m->config, "routed_scaling_factor", 1));
    gguf_put_bool(m->w, key_of(key, m, "expert_weights_norm"),
                  json_is_true(json_object_get(m->config, "norm_topk_prob")));
    put_int(m, "expert_gating_func", sigmoid ? 2 : 1);
    if (int_of(m, "n_group", 1) > 1) {
        put_int(m, "expert_group_count", int_of(m, "n_group", 1));
        put_int(m, "expert_group_used_count", int_of(m, "topk_group", 1));
    }
}

static void put_mla(struct meta *m)
{
    int64_t rank = int_of(m, "kv_lora_rank", 0), rope = int_of(m, "qk_rope_head_dim", 0),
            nope = int_of(m, "qk_nope_head_dim", 0), q = int_of(m, "q_lora_rank", 0);
    put_int(m, "attention.head_count_kv", 1);
    put_int(m, "attention.q_lora_rank", q); /* 0: none; llama.cpp wants the key */
    copy_int(m, "attention.kv_lora_rank", "kv_lora_rank");
    put_int(m, "attention.key_length", rank + rope);
    put_int(m, "attention.value_length", rank);
    put_int(m, "attention.key_length_mla", nope + rope);
    copy_int(m, "attention.value_length_mla", "v_head_dim");
    put_experts(m);
    put_rope(m, rope);
}

/* The last part of a path, without ".gguf" and slashes behind it. */
static void put_name(struct meta *m, const char *path)
{
    char name[256];
    size_t n = strlen(path);
    while (n > 1 && path[n - 1] == '/')
        n--;
    size_t begin = n;
    while (begin > 0 && path[begin - 1] != '/')
        begin--;
    snprintf(name, sizeof name, "%.*s", (int)(n - begin), path + begin);
    gguf_put_text(m->w, "general.name", name);
}

int gguf_put_config(struct gguf_writer *w, const char **arch, json_t *config, const char *name,
                    const char *file, uint32_t file_type, struct err *err)
{
    struct meta m = {
        .w = w, .arch = gguf_arch_of(config), .file = file, .config = config, .err = err};
    const char *type = json_string_value(json_object_get(config, "model_type"));
    if (!m.arch)
        return err_set(
            err, MOE2_EFORMAT,
            "%s: model_type is \"%.40s\", wanted llama, mistral, qwen2, qwen3, deepseek_v2 "
            "or deepseek_v3",
            file, type ? type : "");
    m.rope = json_object_get(config, "rope_parameters");
    if (!json_is_object(m.rope))
        m.rope = json_object_get(config, "rope_scaling");
    gguf_put_text(w, "general.architecture", m.arch);
    gguf_put_text(w, "general.type", "model");
    put_name(&m, name);
    gguf_put_u32(w, "general.file_type", file_type);
    gguf_put_u32(w, "general.quantization_version", 2);
    copy_int(&m, "vocab_size", "vocab_size");
    copy_int(&m, "context_length", "max_position_embeddings");
    copy_int(&m, "embedding_length", "hidden_size");
    copy_int(&m, "block_count", "num_hidden_layers");
    copy_int(&m, "feed_forward_length", "intermediate_size");
    copy_int(&m, "attention.head_count", "num_attention_heads");
    put_real(&m, "attention.layer_norm_rms_epsilon", real_of(config, "rms_norm_eps", 1e-6));
    if (strcmp(m.arch, "deepseek2") == 0)
        put_mla(&m);
    else
        put_grouped(&m);
    *arch = m.arch;
    return m.rc;
}

/* ---- tokenizer ---- */

static void put_strings(struct gguf_writer *w, const char *key, const struct span *s, int64_t n,
                        struct gguf_string *scratch)
{
    for (int64_t i = 0; i < n; i++)
        scratch[i] = (struct gguf_string){s[i].p, s[i].n};
    gguf_put_texts(w, key, scratch, n);
}

static void put_id(struct gguf_writer *w, const char *key, int64_t id)
{
    if (id >= 0)
        gguf_put_u32(w, key, (uint32_t)id);
}

static int put_arrays(struct gguf_writer *w, const struct tokenizer_arrays *a, struct arena *arena,
                      struct err *err)
{
    int64_t most = a->n > a->n_merges ? a->n : a->n_merges;
    struct gguf_string *strings = arena_alloc(arena, (size_t)(most + 1) * sizeof *strings, err);
    int32_t *kinds = arena_alloc(arena, (size_t)(a->n + 1) * sizeof *kinds, err);
    if (!strings || !kinds)
        return MOE2_ELIMIT;
    for (int64_t i = 0; i < a->n; i++)
        kinds[i] = (int32_t)a->kinds[i];
    gguf_put_text(w, "tokenizer.ggml.model", a->model);
    gguf_put_text(w, "tokenizer.ggml.pre", a->pre);
    put_strings(w, "tokenizer.ggml.tokens", a->tokens, a->n, strings);
    if (a->scores)
        gguf_put_f32s(w, "tokenizer.ggml.scores", a->scores, a->n);
    gguf_put_i32s(w, "tokenizer.ggml.token_type", kinds, a->n);
    if (a->n_merges)
        put_strings(w, "tokenizer.ggml.merges", a->merges, a->n_merges, strings);
    put_id(w, "tokenizer.ggml.bos_token_id", a->bos_id);
    put_id(w, "tokenizer.ggml.eos_token_id", a->eos_id);
    put_id(w, "tokenizer.ggml.unknown_token_id", a->unk_id);
    gguf_put_bool(w, "tokenizer.ggml.add_bos_token", a->add_bos > 0);
    gguf_put_bool(w, "tokenizer.ggml.add_eos_token", a->add_eos > 0);
    if (a->add_space_prefix >= 0)
        gguf_put_bool(w, "tokenizer.ggml.add_space_prefix", a->add_space_prefix > 0);
    if (a->chat_template)
        gguf_put_text(w, "tokenizer.chat_template", a->chat_template);
    return 0;
}

/* A folder's file, or nothing where there is none. */
static int read_beside(struct buf *out, const char *dir, const char *name, struct err *err)
{
    char *path = path_join(dir, name);
    int rc = path ? 0 : err_set(err, MOE2_ELIMIT, "no memory for a path");
    if (!rc && file_exists(path))
        rc = file_read(out, path, err);
    free(path);
    return rc;
}

/* What llama.cpp wants of a model without one. */
static void put_no_tokenizer(struct gguf_writer *w)
{
    gguf_put_text(w, "tokenizer.ggml.model", "none");
}

static void copy_tokenizer(struct gguf_writer *w, const struct gguf *g)
{
    for (int64_t i = 0; i < gguf_n_keys(g); i++)
        if (strncmp(gguf_key_at(g, i)->name, "tokenizer.", 10) == 0)
            gguf_put_key(w, gguf_key_at(g, i));
}

static int put_folders_tokenizer(struct gguf_writer *w, const struct source *s, struct err *err)
{
    struct buf json = {.max_bytes = TOKENIZER_MAX_FILE_BYTES},
               config = {.max_bytes = TOKENIZER_MAX_FILE_BYTES};
    struct arena arena = {0};
    struct tokenizer_arrays a;
    const struct source_tensor *embed = source_find(s, "model.embed_tokens.weight");
    int rc = read_beside(&json, source_path(s), "tokenizer.json", err);
    if (!rc)
        rc = read_beside(&config, source_path(s), "tokenizer_config.json", err);
    if (!rc && !json.n)
        put_no_tokenizer(w);
    if (!rc && json.n) {
        rc = tokenizer_to_arrays(&a, &arena, json.bytes, json.n, config.bytes, config.n,
                                 embed ? embed->shape[0] : 0, err);
        if (!rc)
            rc = put_arrays(w, &a, &arena, err);
        if (rc)
            err_prefix(err, "%s", source_path(s));
    }
    buf_release(&json);
    buf_release(&config);
    arena_release(&arena);
    return rc;
}

int gguf_put_tokenizer(struct gguf_writer *w, const struct source *s, struct err *err)
{
    const struct gguf *g = source_gguf(s);
    if (file_is_dir(source_path(s)))
        return put_folders_tokenizer(w, s, err);
    if (g && gguf_key(g, "tokenizer.ggml.model"))
        copy_tokenizer(w, g);
    else
        put_no_tokenizer(w);
    return 0;
}
