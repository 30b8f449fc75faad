/* config.json: see config.h.
 *
 * One table of keys reads the plain numbers, with the range that makes sense for each; what can't
 * be a row (the two spellings of rope, the routing method, what transformers would do with a key)
 * follows it. A value that this program would compute differently from the public implementation is
 * refused with the reason, never ignored.
 */
#include "model/config.h"

#include <jansson.h>
#include <math.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "model/config_parts.h"
#include "model/source.h"

enum { MAX_CONFIG_BYTES = 16 << 20 };
static const double max_params = 1e14;

static bool is_mla(const struct model_config *c)
{
    return family_find(c->model_type)->mla;
}

static int read_ints(struct model_config *c, const json_t *root, const char *name, struct err *err)
{
    for (int i = 0; i < config_n_int_keys; i++) {
        const struct int_key *k = &config_int_keys[i];
        bool none = k->whose == MLA_ONLY && !is_mla(c);
        const json_t *v = none ? NULL : json_object_get(root, k->name);
        int64_t *to = (int64_t *)((char *)c + k->field);
        if (!v || json_is_null(v)) {
            if (!none && (k->need == NEEDED ||
                          (k->need == NEEDED_V3 && !v && c->family == MODEL_DEEPSEEK_V3)))
                return err_set(err, MOE2_EFORMAT, "%s: the key %s is missing", name, k->name);
            *to = k->otherwise;
            continue;
        }
        if (!json_is_integer(v))
            return err_set(err, MOE2_EFORMAT, "%s: %s is not a whole number", name, k->name);
        *to = json_integer_value(v);
        if (*to < k->least || *to > k->most)
            return err_set(err, MOE2_EFORMAT, "%s: %s is %lld, wanted %lld to %lld", name, k->name,
                           (long long)*to, (long long)k->least, (long long)k->most);
    }
    return 0;
}

static int read_real(double *out, const json_t *from, const char *key, double least, double most,
                     double otherwise, const char *name, struct err *err)
{
    const json_t *v = json_object_get(from, key);
    *out = otherwise;
    if (!v || json_is_null(v))
        return 0;
    if (!json_is_number(v))
        return err_set(err, MOE2_EFORMAT, "%s: %s is not a number", name, key);
    *out = json_number_value(v);
    if (!(*out >= least && *out <= most))
        return err_set(err, MOE2_EFORMAT, "%s: %s is %g, wanted %g to %g", name, key, *out, least,
                       most);
    return 0;
}

static int read_bool(bool *out, const json_t *root, const char *key, bool otherwise,
                     const char *name, struct err *err)
{
    const json_t *v = json_object_get(root, key);
    *out = otherwise;
    if (!v || json_is_null(v))
        return 0;
    if (!json_is_boolean(v))
        return err_set(err, MOE2_EFORMAT, "%s: %s is neither true nor false", name, key);
    *out = json_is_true(v);
    return 0;
}

/* A string of at most n − 1 bytes; a missing key takes the default. */
static int read_text(char *out, size_t n, const json_t *from, const char *key,
                     const char *otherwise, const char *name, struct err *err)
{
    const json_t *v = json_object_get(from, key);
    const char *s = otherwise;
    if (v && !json_is_null(v)) {
        s = json_string_value(v);
        if (!s || strlen(s) >= n)
            return err_set(err, MOE2_EFORMAT, "%s: %s is not a short string", name, key);
    }
    snprintf(out, n, "%s", s);
    return 0;
}

/* bos_token_id and eos_token_id: a number, null, or a list of which the first counts. */
static int64_t read_token(const json_t *root, const char *key)
{
    const json_t *v = json_object_get(root, key);
    if (json_is_array(v))
        v = json_array_get(v, 0);
    return json_is_integer(v) && json_integer_value(v) >= 0 && json_integer_value(v) < INT32_MAX
               ? json_integer_value(v)
               : -1;
}

static int read_family(struct model_config *c, const json_t *root, const char *name,
                       struct err *err)
{
    if (!json_is_string(json_object_get(root, "model_type")))
        return err_set(err, MOE2_EFORMAT, "%s: the key model_type is missing", name);
    int rc = read_text(c->model_type, sizeof c->model_type, root, "model_type", "", name, err);
    if (rc)
        return rc;
    const struct family *f = family_find(c->model_type);
    if (!f)
        return err_set(err, MOE2_EFORMAT, "%s: model_type is \"%s\", wanted %s", name,
                       c->model_type, family_names);
    c->family = f->family;
    return 0;
}

static int read_llama3(struct rope_scaling *r, const json_t *s, const char *name, struct err *err)
{
    double original = 0;
    int rc = 0;
    if ((rc = read_real(&r->factor, s, "factor", 1, 1e6, 0, name, err)) ||
        (rc = read_real(&r->low_freq_factor, s, "low_freq_factor", 1e-3, 1e6, 0, name, err)) ||
        (rc = read_real(&r->high_freq_factor, s, "high_freq_factor", 1e-3, 1e6, 0, name, err)) ||
        (rc =
             read_real(&original, s, "original_max_position_embeddings", 1, 1 << 28, 0, name, err)))
        return rc;
    if (r->factor == 0 || r->low_freq_factor == 0 || original == 0 ||
        r->high_freq_factor <= r->low_freq_factor)
        return err_set(err, MOE2_EFORMAT,
                       "%s: rope scaling llama3 wants factor, low_freq_factor, a larger "
                       "high_freq_factor and original_max_position_embeddings",
                       name);
    r->original_max_position_embeddings = (int64_t)original;
    return 0;
}

/* rope_parameters (transformers 5) or rope_scaling (the hub) with rope_theta beside or inside it.
 */
static int read_rope(struct model_config *c, const json_t *root, const char *name, struct err *err)
{
    const json_t *s = json_object_get(root, "rope_parameters");
    if (!json_is_object(s))
        s = json_object_get(root, "rope_scaling");
    if (s && !json_is_null(s) && !json_is_object(s))
        return err_set(err, MOE2_EFORMAT, "%s: rope_scaling is neither an object nor null", name);
    struct rope_scaling *r = &c->rope;
    const json_t *theta_from = json_object_get(s, "rope_theta") ? s : root;
    char type[32];
    int rc = read_real(&c->rope_theta, theta_from, "rope_theta", 1, 1e12, 10000, name, err);
    if (!rc)
        rc = read_text(type, sizeof type, s, json_object_get(s, "rope_type") ? "rope_type" : "type",
                       "default", name, err);
    if (rc)
        return rc;
    *r = (struct rope_scaling){.yarn = strcmp(type, "yarn") == 0,
                               .llama3 = strcmp(type, "llama3") == 0};
    if (!r->yarn && !r->llama3 && strcmp(type, "default") != 0)
        return err_set(
            err, MOE2_EFORMAT,
            "%s: rope scaling of type \"%s\" is not supported, wanted yarn, llama3 or default",
            name, type);
    if (!r->yarn)
        return r->llama3 ? read_llama3(r, s, name, err) : 0;
    double original = 0;
    if ((rc = read_real(&r->factor, s, "factor", 1, 1e6, 0, name, err)) ||
        (rc = read_real(&r->beta_fast, s, "beta_fast", 1e-3, 1e6, 32, name, err)) ||
        (rc = read_real(&r->beta_slow, s, "beta_slow", 1e-3, 1e6, 1, name, err)) ||
        (rc = read_real(&r->mscale, s, "mscale", 0, 1e3, 0, name, err)) ||
        (rc = read_real(&r->mscale_all_dim, s, "mscale_all_dim", 0, 1e3, 0, name, err)) ||
        (rc = read_real(&r->attention_factor, s, "attention_factor", 0, 1e3, 0, name, err)) ||
        (rc = read_real(&original, s, "original_max_position_embeddings", 1, 1 << 28,
                        (double)c->max_position_embeddings, name, err)))
        return rc;
    r->original_max_position_embeddings = (int64_t)original;
    if (r->factor == 0)
        r->factor = fmax(1, (double)c->max_position_embeddings / original);
    if (json_is_false(json_object_get(s, "truncate")))
        return err_set(err, MOE2_EFORMAT, "%s: yarn with truncate false is not supported", name);
    return 0;
}

static int read_routing(struct model_config *c, const json_t *root, const char *name,
                        struct err *err)
{
    bool v3 = c->family == MODEL_DEEPSEEK_V3;
    int rc = read_text(c->scoring_func, sizeof c->scoring_func, root, "scoring_func",
                       v3 ? "sigmoid" : "softmax", name, err);
    if (!rc)
        rc = read_text(c->topk_method, sizeof c->topk_method, root, "topk_method",
                       v3 ? "noaux_tc" : "greedy", name, err);
    if (!rc)
        rc = read_bool(&c->norm_topk_prob, root, "norm_topk_prob", v3, name, err);
    if (rc)
        return rc;
    const char *score = v3 ? "sigmoid" : "softmax";
    if (strcmp(c->scoring_func, score) != 0)
        return err_set(err, MOE2_EFORMAT, "%s: scoring_func is \"%s\", but %s always scores by %s",
                       name, c->scoring_func, c->model_type, score);
    bool greedy = strcmp(c->topk_method, "greedy") == 0,
         limited = strcmp(c->topk_method, "group_limited_greedy") == 0;
    if (v3 ? strcmp(c->topk_method, "noaux_tc") != 0 : !greedy && !limited)
        return err_set(err, MOE2_EFORMAT, "%s: topk_method is \"%s\", wanted %s for %s", name,
                       c->topk_method, v3 ? "noaux_tc" : "greedy or group_limited_greedy",
                       c->model_type);
    if (!v3 && c->norm_topk_prob)
        return err_set(err, MOE2_EFORMAT,
                       "%s: norm_topk_prob is true in a deepseek_v2 model; transformers ignores it "
                       "there and other programs "
                       "disagree on what is then scaled, so it is refused",
                       name);
    return 0;
}

static int read_dtype(struct model_config *c, const json_t *root, const char *name, struct err *err)
{
    static const struct {
        const char *name;
        enum dtype type;
    } known[] = {{"float32", DT_F32}, {"float16", DT_F16}, {"bfloat16", DT_BF16}};
    char text[32];
    int rc =
        read_text(text, sizeof text, root, json_object_get(root, "dtype") ? "dtype" : "torch_dtype",
                  "float32", name, err);
    if (rc)
        return rc;
    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        if (strcmp(text, known[i].name) == 0) {
            c->dtype = known[i].type;
            return 0;
        }
    return err_set(err, MOE2_EFORMAT, "%s: dtype is \"%s\", wanted float32, float16 or bfloat16",
                   name, text);
}

static int refuse_quantized(const json_t *root, const char *name, struct err *err)
{
    const json_t *quant = json_object_get(root, "quantization_config");
    if (!json_is_object(quant))
        return 0;
    const char *method = json_string_value(json_object_get(quant, "quant_method"));
    if (method && (strcmp(method, "bitsandbytes") == 0 || strcmp(method, "fp8") == 0))
        return 0; /* model/source.h reads them */
    return err_set(
        err, MOE2_EFORMAT,
        "%s: the weights are quantised (%.40s), wanted plain ones, fp8 or bitsandbytes' nf4", name,
        method ? method : "quantization_config");
}

static int refuse_mla(const struct model_config *c, const char *name, struct err *err)
{
    if (!c->rope_interleave)
        return err_set(
            err, MOE2_EFORMAT,
            "%s: rope_interleave is false, only interleaved rotary embedding is supported", name);
    if (c->rope.llama3)
        return err_set(err, MOE2_EFORMAT, "%s: rope scaling llama3 in a %s model is not supported",
                       name, c->model_type);
    if (c->num_key_value_heads != c->num_attention_heads)
        return err_set(
            err, MOE2_EFORMAT,
            "%s: num_key_value_heads is %lld, latent attention wants num_attention_heads, %lld",
            name, (long long)c->num_key_value_heads, (long long)c->num_attention_heads);
    return 0;
}

/* A window that some layer would look through. mistral has it when the key is there, qwen when use_sliding_window says so. */
static int refuse_window(const struct model_config *c, const json_t *root, const char *name,
                         struct err *err)
{
    const json_t *window = json_object_get(root, "sliding_window"),
                 *use = json_object_get(root, "use_sliding_window"), *type;
    bool slides = json_is_integer(window) &&
                  (use ? json_is_true(use) : strcmp(c->model_type, "mistral") == 0);
    size_t i;
    json_array_foreach(json_object_get(root, "layer_types"), i, type) slides |=
        json_is_string(type) && strcmp(json_string_value(type), "full_attention") != 0;
    if (slides)
        return err_set(err, MOE2_EFORMAT,
                       "%s: attention through a sliding window is not supported, wanted "
                       "sliding_window null (or use_sliding_window false)",
                       name);
    return 0;
}

static int refuse_gqa(const struct model_config *c, const json_t *root, const char *name,
                      struct err *err)
{
    double rotary = 1;
    int rc = read_real(&rotary, root, "partial_rotary_factor", 0, 1e3, 1, name, err);
    if (rc)
        return rc;
    if (rotary != 1)
        return err_set(err, MOE2_EFORMAT,
                       "%s: partial_rotary_factor is %g, only whole heads are rotated here", name,
                       rotary);
    if (json_is_true(json_object_get(root, "mlp_bias")))
        return err_set(err, MOE2_EFORMAT, "%s: mlp_bias is true, which is not supported", name);
    return refuse_window(c, root, name, err);
}

/* Keys that change what is computed and that this program has only one answer to. */
static int refuse_others(const struct model_config *c, const json_t *root, const char *name,
                         struct err *err)
{
    char text[32];
    int rc = read_text(text, sizeof text, root, "hidden_act", "silu", name, err);
    if (rc)
        return rc;
    if (strcmp(text, "silu") != 0)
        return err_set(err, MOE2_EFORMAT, "%s: hidden_act is \"%s\", only silu is supported", name,
                       text);
    if (c->attention_bias)
        return err_set(err, MOE2_EFORMAT,
                       "%s: attention_bias is true, which no released %s model has; it is not "
                       "supported",
                       name, is_mla(c) ? "DeepSeek" : c->model_type);
    rc = is_mla(c) ? refuse_mla(c, name, err) : refuse_gqa(c, root, name, err);
    return rc ? rc : refuse_quantized(root, name, err);
}

/* num_key_value_heads and head_dim, which have defaults made of other keys. */
static int read_heads(struct model_config *c, const json_t *root, const char *name, struct err *err)
{
    const json_t *kv = json_object_get(root, "num_key_value_heads"),
                 *dim = json_object_get(root, "head_dim");
    int64_t H = c->num_attention_heads;
    c->num_key_value_heads = json_is_integer(kv) ? json_integer_value(kv) : H;
    if (is_mla(c))
        return 0;
    if (c->num_key_value_heads < 1 || H % c->num_key_value_heads)
        return err_set(err, MOE2_EFORMAT,
                       "%s: num_key_value_heads is %lld, wanted a divisor of "
                       "num_attention_heads, %lld",
                       name, (long long)c->num_key_value_heads, (long long)H);
    if (!json_is_integer(dim) && c->hidden_size % H)
        return err_set(err, MOE2_EFORMAT,
                       "%s: hidden_size %lld can't be divided into %lld heads, and head_dim is "
                       "not given",
                       name, (long long)c->hidden_size, (long long)H);
    c->head_dim = json_is_integer(dim) ? json_integer_value(dim) : c->hidden_size / H;
    if (c->head_dim < 2 || c->head_dim > 1 << 12 || c->head_dim % 2)
        return err_set(err, MOE2_EFORMAT, "%s: head_dim is %lld, wanted an even number to 4096",
                       name, (long long)c->head_dim);
    return 0;
}

/* q_lora_rank: null or a number, and it must be there. */
static int read_q_rank(struct model_config *c, const json_t *root, const char *name,
                       struct err *err)
{
    const json_t *q = json_object_get(root, "q_lora_rank");
    if (!is_mla(c))
        return 0;
    if (!q)
        return err_set(err, MOE2_EFORMAT,
                       "%s: the key q_lora_rank is missing (null means a plain q_proj)", name);
    if (!json_is_null(q) &&
        (!json_is_integer(q) || json_integer_value(q) < 1 || json_integer_value(q) > 1 << 16))
        return err_set(err, MOE2_EFORMAT, "%s: q_lora_rank is neither null nor 1 to 65536", name);
    c->q_lora_rank = json_is_null(q) ? 0 : json_integer_value(q);
    return 0;
}

static int check(const struct model_config *c, const char *name, struct err *err)
{
    if (config_count_params(c, (double)c->n_routed_experts) > max_params)
        return err_set(err, MOE2_EFORMAT,
                       "%s: describes %.3g parameters, more than the limit of %.0g", name,
                       config_count_params(c, (double)c->n_routed_experts), max_params);
    if (!is_mla(c))
        return 0;
    if (c->qk_rope_head_dim % 2)
        return err_set(err, MOE2_EFORMAT, "%s: qk_rope_head_dim is %lld, wanted an even number",
                       name, (long long)c->qk_rope_head_dim);
    if (c->num_experts_per_tok > c->n_routed_experts)
        return err_set(err, MOE2_EFORMAT,
                       "%s: num_experts_per_tok is %lld, more than the %lld experts there are",
                       name, (long long)c->num_experts_per_tok, (long long)c->n_routed_experts);
    if (c->n_routed_experts % c->n_group)
        return err_set(err, MOE2_EFORMAT, "%s: %lld experts can't be divided into %lld groups",
                       name, (long long)c->n_routed_experts, (long long)c->n_group);
    if (c->topk_group > c->n_group)
        return err_set(err, MOE2_EFORMAT, "%s: topk_group is %lld, more than n_group, %lld", name,
                       (long long)c->topk_group, (long long)c->n_group);
    bool groups = strcmp(c->topk_method, "greedy") != 0 && c->n_group > 1;
    if (groups && c->num_experts_per_tok > c->topk_group * (c->n_routed_experts / c->n_group))
        return err_set(
            err, MOE2_EFORMAT,
            "%s: num_experts_per_tok is %lld, but %lld groups of %lld experts hold only %lld", name,
            (long long)c->num_experts_per_tok, (long long)c->topk_group,
            (long long)(c->n_routed_experts / c->n_group),
            (long long)(c->topk_group * (c->n_routed_experts / c->n_group)));
    return 0;
}

static int config_from_json(struct model_config *c, const json_t *root, const char *name,
                            struct err *err)
{
    if (!json_is_object(root))
        return err_set(err, MOE2_EFORMAT, "%s: is not a JSON object", name);
    int rc = read_family(c, root, name, err);
    if (!rc)
        rc = read_ints(c, root, name, err);
    for (int i = 0; i < config_n_real_keys && !rc; i++) {
        const struct real_key *k = &config_real_keys[i];
        const json_t *from = k->whose == MLA_ONLY && !is_mla(c) ? NULL : root;
        rc = read_real((double *)((char *)c + k->field), from, k->name, k->least, k->most,
                       k->otherwise, name, err);
    }
    if (rc || (rc = read_q_rank(c, root, name, err)) || (rc = read_heads(c, root, name, err)))
        return rc;
    c->bos_token_id = read_token(root, "bos_token_id");
    c->eos_token_id = read_token(root, "eos_token_id");
    if ((rc = read_bool(&c->attention_bias, root, "attention_bias", false, name, err)) ||
        (rc = read_bool(&c->rope_interleave, root, "rope_interleave", true, name, err)) ||
        (rc = read_bool(&c->tie_word_embeddings, root, "tie_word_embeddings", false, name, err)) ||
        (rc = read_rope(c, root, name, err)) ||
        (rc = is_mla(c) ? read_routing(c, root, name, err) : 0) ||
        (rc = read_dtype(c, root, name, err)) || (rc = refuse_others(c, root, name, err)))
        return rc;
    return check(c, name, err);
}

int model_config_parse(struct model_config *out, const char *json, size_t n, const char *name,
                       struct err *err)
{
    json_error_t why;
    json_t *root = json_loadb(json, n, JSON_REJECT_DUPLICATES, &why);
    if (!root)
        return err_set(err, MOE2_EFORMAT, "%s: line %d: %.120s", name, why.line, why.text);
    struct model_config c = {0};
    int rc = config_from_json(&c, root, name, err);
    if (!rc)
        *out = c;
    json_decref(root);
    return rc;
}

int model_config_read(struct model_config *out, const char *path, struct err *err)
{
    if (source_is_file(path))
        return source_file_config(out, path, err);
    struct buf text = {.max_bytes = MAX_CONFIG_BYTES};
    char *file = file_is_dir(path) ? path_join(path, "config.json") : strdup(path);
    if (!file)
        return err_set(err, MOE2_ELIMIT, "%s: no memory for its name", path);
    int rc = file_read(&text, file, err);
    if (!rc)
        rc = model_config_parse(out, text.bytes ? text.bytes : "", text.n, file, err);
    buf_release(&text);
    free(file);
    return rc;
}
