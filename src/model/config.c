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
#include "model/source.h"

enum { MAX_CONFIG_BYTES = 16 << 20 };
static const double max_params = 1e14;

/* NEEDED_V3: transformers' DeepseekV3Config has a default of its own there that no sane file relies
 * on. */
enum key_need { NEEDED, NEEDED_V3, OPTIONAL };

struct int_key {
    const char *name;
    size_t field;
    int64_t least, most;
    enum key_need need;
    int64_t otherwise; /* the value when the key is missing or null */
};

#define FIELD(f) #f, offsetof(struct model_config, f)

static const struct int_key int_keys[] = {
    {FIELD(vocab_size), 1, 1 << 24, NEEDED, 0},
    {FIELD(hidden_size), 1, 1 << 17, NEEDED, 0},
    {FIELD(intermediate_size), 1, 1 << 20, NEEDED, 0},
    {FIELD(moe_intermediate_size), 1, 1 << 20, NEEDED, 0},
    {FIELD(num_hidden_layers), 1, 1024, NEEDED, 0},
    {FIELD(num_attention_heads), 1, 1024, NEEDED, 0},
    {FIELD(kv_lora_rank), 1, 1 << 16, NEEDED, 0},
    {FIELD(qk_nope_head_dim), 1, 1 << 12, NEEDED, 0},
    {FIELD(qk_rope_head_dim), 2, 1 << 12, NEEDED, 0},
    {FIELD(v_head_dim), 1, 1 << 12, NEEDED, 0},
    {FIELD(n_routed_experts), 1, 1 << 14, NEEDED, 0},
    {FIELD(num_experts_per_tok), 1, 1 << 14, NEEDED, 0},
    {FIELD(first_k_dense_replace), 0, 1024, NEEDED_V3, 0},
    {FIELD(moe_layer_freq), 1, 1, OPTIONAL, 1},
    {FIELD(n_shared_experts), 0, 1 << 14, NEEDED_V3, 0},
    {FIELD(n_group), 1, 1 << 14, NEEDED_V3, 1},
    {FIELD(topk_group), 1, 1 << 14, NEEDED_V3, 1},
    {FIELD(max_position_embeddings), 1, 1 << 28, OPTIONAL, 4096},
    {FIELD(num_nextn_predict_layers), 0, 1024, OPTIONAL, 0},
};

struct real_key {
    const char *name;
    size_t field;
    double least, most, otherwise;
};

static const struct real_key real_keys[] = {
    {FIELD(routed_scaling_factor), 1e-6, 1e6, 1},
    {FIELD(rms_norm_eps), 0, 1, 1e-6},
    {FIELD(initializer_range), 0, 1e3, 0.02},
};

static int read_ints(struct model_config *c, const json_t *root, const char *name, struct err *err)
{
    for (size_t i = 0; i < sizeof int_keys / sizeof *int_keys; i++) {
        const struct int_key *k = &int_keys[i];
        const json_t *v = json_object_get(root, k->name);
        int64_t *to = (int64_t *)((char *)c + k->field);
        if (!v || json_is_null(v)) {
            if (k->need == NEEDED || (k->need == NEEDED_V3 && !v && c->family == MODEL_DEEPSEEK_V3))
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
    if (strcmp(c->model_type, "deepseek_v3") == 0)
        c->family = MODEL_DEEPSEEK_V3;
    else if (strcmp(c->model_type, "deepseek_v2") == 0)
        c->family = MODEL_DEEPSEEK_V2;
    else
        return err_set(err, MOE2_EFORMAT,
                       "%s: model_type is \"%s\", wanted deepseek_v3 or deepseek_v2", name,
                       c->model_type);
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
    *r = (struct rope_scaling){.yarn = strcmp(type, "yarn") == 0};
    if (!r->yarn && strcmp(type, "default") != 0)
        return err_set(err, MOE2_EFORMAT,
                       "%s: rope scaling of type \"%s\" is not supported, wanted yarn or default",
                       name, type);
    if (!r->yarn)
        return 0;
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
        return err_set(
            err, MOE2_EFORMAT,
            "%s: attention_bias is true, which no released DeepSeek model has; it is not supported",
            name);
    if (!c->rope_interleave)
        return err_set(
            err, MOE2_EFORMAT,
            "%s: rope_interleave is false, only interleaved rotary embedding is supported", name);
    const json_t *kv = json_object_get(root, "num_key_value_heads");
    if (json_is_integer(kv) && json_integer_value(kv) != c->num_attention_heads)
        return err_set(
            err, MOE2_EFORMAT,
            "%s: num_key_value_heads is %lld, latent attention wants num_attention_heads, %lld",
            name, (long long)json_integer_value(kv), (long long)c->num_attention_heads);
    const json_t *quant = json_object_get(root, "quantization_config");
    if (json_is_object(quant)) {
        const char *method = json_string_value(json_object_get(quant, "quant_method"));
        return err_set(
            err, MOE2_EFORMAT,
            "%s: the weights are quantised (%.40s), wanted a float32, float16 or bfloat16 model",
            name, method ? method : "quantization_config");
    }
    return 0;
}

static double count_params(const struct model_config *c, double experts);

static int check(const struct model_config *c, const char *name, struct err *err)
{
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
    if (count_params(c, (double)c->n_routed_experts) > max_params)
        return err_set(err, MOE2_EFORMAT,
                       "%s: describes %.3g parameters, more than the limit of %.0g", name,
                       count_params(c, (double)c->n_routed_experts), max_params);
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
    for (size_t i = 0; i < sizeof real_keys / sizeof *real_keys && !rc; i++)
        rc = read_real((double *)((char *)c + real_keys[i].field), root, real_keys[i].name,
                       real_keys[i].least, real_keys[i].most, real_keys[i].otherwise, name, err);
    if (rc)
        return rc;
    const json_t *q = json_object_get(root, "q_lora_rank");
    if (!q)
        return err_set(err, MOE2_EFORMAT,
                       "%s: the key q_lora_rank is missing (null means a plain q_proj)", name);
    if (!json_is_null(q) &&
        (!json_is_integer(q) || json_integer_value(q) < 1 || json_integer_value(q) > 1 << 16))
        return err_set(err, MOE2_EFORMAT, "%s: q_lora_rank is neither null nor 1 to 65536", name);
    c->q_lora_rank = json_is_null(q) ? 0 : json_integer_value(q);
    c->bos_token_id = read_token(root, "bos_token_id");
    c->eos_token_id = read_token(root, "eos_token_id");
    if ((rc = read_bool(&c->attention_bias, root, "attention_bias", false, name, err)) ||
        (rc = read_bool(&c->rope_interleave, root, "rope_interleave", true, name, err)) ||
        (rc = read_bool(&c->tie_word_embeddings, root, "tie_word_embeddings", false, name, err)) ||
        (rc = read_rope(c, root, name, err)) || (rc = read_routing(c, root, name, err)) ||
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

/* ---- writing ---- */

/* The shortest decimal that reads back as the same number. */
static int put_real(struct buf *b, const char *key, double v, struct err *err)
{
    char text[40];
    for (int digits = 1; digits <= 17; digits++) {
        snprintf(text, sizeof text, "%.*g", digits, v);
        if (strtod(text, NULL) == v)
            break;
    }
    bool whole = !strpbrk(text, ".en");
    return buf_printf(b, err, "  \"%s\": %s%s,\n", key, text, whole ? ".0" : "");
}

static int put_int(struct buf *b, const char *key, int64_t v, bool none, struct err *err)
{
    if (none)
        return buf_printf(b, err, "  \"%s\": null,\n", key);
    return buf_printf(b, err, "  \"%s\": %lld,\n", key, (long long)v);
}

static int put_text(struct buf *b, const char *key, const char *v, struct err *err)
{
    return buf_printf(b, err, "  \"%s\": \"%s\",\n", key, v);
}

static int put_bool(struct buf *b, const char *key, bool v, struct err *err)
{
    return buf_printf(b, err, "  \"%s\": %s,\n", key, v ? "true" : "false");
}

static int put_rope(struct buf *b, const struct model_config *c, struct err *err)
{
    const struct rope_scaling *r = &c->rope;
    int rc = put_real(b, "rope_theta", c->rope_theta, err);
    if (rc)
        return rc;
    if (!r->yarn)
        return buf_puts(b, "  \"rope_scaling\": null,\n", err);
    if ((rc = buf_puts(b, "  \"rope_scaling\": {\n  \"type\": \"yarn\",\n", err)) ||
        (rc = put_real(b, "factor", r->factor, err)) ||
        (rc = put_real(b, "beta_fast", r->beta_fast, err)) ||
        (rc = put_real(b, "beta_slow", r->beta_slow, err)))
        return rc;
    if (r->mscale != 0 && (rc = put_real(b, "mscale", r->mscale, err)))
        return rc;
    if (r->mscale_all_dim != 0 && (rc = put_real(b, "mscale_all_dim", r->mscale_all_dim, err)))
        return rc;
    if (r->attention_factor != 0 &&
        (rc = put_real(b, "attention_factor", r->attention_factor, err)))
        return rc;
    return buf_printf(b, err, "  \"original_max_position_embeddings\": %lld\n  },\n",
                      (long long)r->original_max_position_embeddings);
}

int model_config_print(struct buf *out, const struct model_config *c, struct err *err)
{
    bool v3 = c->family == MODEL_DEEPSEEK_V3;
    int rc = buf_printf(out, err, "{\n  \"architectures\": [\"Deepseek%sForCausalLM\"],\n",
                        v3 ? "V3" : "V2");
    if (!rc)
        rc = put_text(out, "model_type", c->model_type, err);
    for (size_t i = 0; i < sizeof int_keys / sizeof *int_keys && !rc; i++)
        rc = put_int(out, int_keys[i].name, *(const int64_t *)((const char *)c + int_keys[i].field),
                     false, err);
    for (size_t i = 0; i < sizeof real_keys / sizeof *real_keys && !rc; i++)
        rc = put_real(out, real_keys[i].name,
                      *(const double *)((const char *)c + real_keys[i].field), err);
    const char *dtype = c->dtype == DT_BF16  ? "bfloat16"
                        : c->dtype == DT_F16 ? "float16"
                                             : "float32";
    if (rc || (rc = put_int(out, "num_key_value_heads", c->num_attention_heads, false, err)) ||
        (rc = put_int(out, "q_lora_rank", c->q_lora_rank, c->q_lora_rank == 0, err)) ||
        (rc = put_text(out, "scoring_func", c->scoring_func, err)) ||
        (rc = put_text(out, "topk_method", c->topk_method, err)) ||
        (rc = put_bool(out, "norm_topk_prob", c->norm_topk_prob, err)) ||
        (rc = put_rope(out, c, err)) ||
        (rc = put_bool(out, "rope_interleave", c->rope_interleave, err)) ||
        (rc = put_bool(out, "attention_bias", c->attention_bias, err)) ||
        (rc = put_bool(out, "tie_word_embeddings", c->tie_word_embeddings, err)) ||
        (rc = put_int(out, "bos_token_id", c->bos_token_id, c->bos_token_id < 0, err)) ||
        (rc = put_int(out, "eos_token_id", c->eos_token_id, c->eos_token_id < 0, err)) ||
        (rc = put_text(out, "torch_dtype", dtype, err)))
        return rc;
    return buf_puts(out, "  \"hidden_act\": \"silu\"\n}\n", err);
}

/* ---- sizes ---- */

/* Parameters of attention in one layer; norms apart. */
static double attention_products(const struct model_config *c)
{
    double D = (double)c->hidden_size, H = (double)c->num_attention_heads,
           R = (double)c->kv_lora_rank;
    double dn = (double)c->qk_nope_head_dim, dr = (double)c->qk_rope_head_dim,
           dv = (double)c->v_head_dim;
    double rq = (double)c->q_lora_rank;
    double q = rq > 0 ? rq * D + H * (dn + dr) * rq : H * (dn + dr) * D;
    return q + (R + dr) * D + H * (dn + dv) * R + D * H * dv;
}

static double norm_params(const struct model_config *c)
{
    double per_layer = (double)(2 * c->hidden_size + c->kv_lora_rank + c->q_lora_rank);
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

static double count_params(const struct model_config *c, double experts)
{
    double table = (double)c->vocab_size * (double)c->hidden_size;
    return layer_products(c, experts) + norm_params(c) + table * (c->tie_word_embeddings ? 1 : 2);
}

struct model_size model_size(const struct model_config *c)
{
    double used = (double)c->num_experts_per_tok;
    double head = (double)c->vocab_size * (double)c->hidden_size;
    return (struct model_size){
        .n_params = (int64_t)count_params(c, (double)c->n_routed_experts),
        .n_active_params = (int64_t)count_params(c, used),
        .n_active_products = (int64_t)(layer_products(c, used) + head),
    };
}

double model_forward_flops(const struct model_config *c, double context)
{
    double head_dims = (double)(c->qk_nope_head_dim + c->qk_rope_head_dim + c->v_head_dim);
    double attention =
        (double)(c->num_hidden_layers * c->num_attention_heads) * context * head_dims;
    return 2 * (double)model_size(c).n_active_products + attention;
}
