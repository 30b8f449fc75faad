/* A sentence encoder's folder: see encoder_config.h.
 * Sources: transformers' bert, xlm_roberta; Alibaba-NLP/new-impl; sentence-transformers' Transformer and Pooling modules. */
#include "model/encoder_config.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/words.h"
#include "io/json_util.h"

enum { MAX_JSON_BYTES = 1 << 20 };

static const struct {
    const char *model_type;
    enum encoder_family family;
} families[] = {
    {"bert", ENCODER_BERT},       {"xlm-roberta", ENCODER_XLM_R}, {"roberta", ENCODER_XLM_R},
    {"camembert", ENCODER_XLM_R}, {"new", ENCODER_GTE},
};

/* A JSON object in dir/name; *out stays NULL where there is no such file and it is not needed. */
static int read_json(json_t **out, char *path, size_t n_path, const char *dir, const char *name,
                     bool needed, struct err *err)
{
    *out = NULL;
    if (snprintf(path, n_path, "%s/%s", dir, name) >= (int)n_path)
        return err_set(err, MOE2_ECONFIG, "%s: the path is too long", dir);
    if (!needed && !file_exists(path))
        return 0;
    return json_read_file(out, path, MAX_JSON_BYTES, err);
}

/* A text key that may be missing, but not be anything else than this. */
static int must_be(const json_t *o, const char *path, const char *key, const char *wanted,
                   struct err *err)
{
    const char *seen = NULL;
    int rc = json_opt_text(&seen, wanted, o, path, key, err);
    if (!rc && strcmp(seen, wanted) != 0)
        rc = err_set(err, MOE2_ECONFIG, "%s: %s is \"%s\", wanted \"%s\"", path, key, seen, wanted);
    return rc;
}

static int must_be_bool(const json_t *o, const char *path, const char *key, bool otherwise,
                        bool wanted, struct err *err)
{
    bool seen = wanted;
    int rc = json_opt_bool(&seen, otherwise, o, path, key, err);
    if (!rc && seen != wanted)
        rc = err_set(err, MOE2_ECONFIG, "%s: %s is %s, wanted %s", path, key,
                     seen ? "true" : "false", wanted ? "true" : "false");
    return rc;
}

static int read_family(struct encoder_config *c, const json_t *o, const char *path, struct err *err)
{
    const char *type = NULL;
    int rc = json_need_text(&type, o, path, "model_type", err);
    for (size_t i = 0; i < sizeof families / sizeof *families && !rc; i++)
        if (strcmp(type, families[i].model_type) == 0) {
            c->family = families[i].family;
            snprintf(c->model_type, sizeof c->model_type, "%s", type);
            return 0;
        }
    return rc ? rc
              : err_set(err, MOE2_ECONFIG,
                        "%s: model_type is \"%s\", wanted bert, xlm-roberta, roberta, camembert or "
                        "new (gte)",
                        path, type);
}

static int read_sizes(struct encoder_config *c, const json_t *o, const char *path, struct err *err)
{
    const struct {
        const char *key;
        int64_t *value, least, most;
    } keys[] = {
        {"vocab_size", &c->vocab_size, 1, 1 << 24},
        {"hidden_size", &c->hidden_size, 1, ENCODER_MAX_WIDTH},
        {"num_hidden_layers", &c->num_hidden_layers, 1, 256},
        {"num_attention_heads", &c->num_attention_heads, 1, 1024},
        {"intermediate_size", &c->intermediate_size, 1, 4 * ENCODER_MAX_WIDTH},
        {"max_position_embeddings", &c->max_position_embeddings, 4, ENCODER_MAX_POSITIONS},
    };
    int rc = 0;
    for (size_t i = 0; i < sizeof keys / sizeof *keys && !rc; i++)
        rc = json_need_int(keys[i].value, o, path, keys[i].key, keys[i].least, keys[i].most, err);
    if (!rc)
        rc = json_opt_int(&c->type_vocab_size, c->family == ENCODER_GTE ? 1 : 2, o, path,
                          "type_vocab_size", 0, 1024, err);
    if (!rc)
        rc = json_opt_int(&c->pad_token_id, c->family == ENCODER_XLM_R, o, path, "pad_token_id", 0,
                          c->vocab_size - 1, err);
    if (!rc)
        rc = json_opt_real(&c->layer_norm_eps, 1e-12, o, path, "layer_norm_eps", 0, 1, err);
    if (rc)
        return rc;
    int64_t d = c->hidden_size / c->num_attention_heads;
    if (c->hidden_size % c->num_attention_heads || d > ENCODER_MAX_HEAD_DIM)
        return err_set(err, MOE2_ECONFIG,
                       "%s: hidden_size %lld in %lld heads, wanted whole heads of at most %d", path,
                       (long long)c->hidden_size, (long long)c->num_attention_heads,
                       ENCODER_MAX_HEAD_DIM);
    if (c->family == ENCODER_XLM_R && c->max_position_embeddings <= c->pad_token_id + 1)
        return err_set(err, MOE2_ECONFIG, "%s: positions from %lld on of %lld leave none", path,
                       (long long)c->pad_token_id + 1, (long long)c->max_position_embeddings);
    return 0;
}

static int read_rope(struct encoder_config *c, const json_t *o, const char *path, struct err *err)
{
    const json_t *scaling = NULL;
    int rc = json_opt_real(&c->rope_theta, 10000, o, path, "rope_theta", 1, 1e12, err);
    if (!rc)
        rc = json_opt_object(&scaling, o, path, "rope_scaling", err);
    c->rope_factor = 1;
    if (rc || !scaling)
        return rc;
    rc = must_be(scaling, path, "type", "ntk", err);
    return rc ? rc : json_need_real(&c->rope_factor, scaling, path, "factor", 1, 1e6, err);
}

static int read_gte(struct encoder_config *c, const json_t *o, const char *path, struct err *err)
{
    int rc = must_be(o, path, "position_embedding_type", "rope", err);
    if (!rc)
        rc = must_be(o, path, "layer_norm_type", "layer_norm", err);
    if (!rc)
        rc = must_be_bool(o, path, "pack_qkv", true, true, err);
    if (!rc)
        rc = must_be_bool(o, path, "logn_attention_scale", false, false, err);
    if (!rc && c->hidden_size / c->num_attention_heads % 2)
        rc = err_set(err, MOE2_ECONFIG, "%s: heads of %lld numbers can't be rotated in pairs", path,
                     (long long)(c->hidden_size / c->num_attention_heads));
    return rc ? rc : read_rope(c, o, path, err);
}

static int read_config(struct encoder_config *c, const char *dir, struct err *err)
{
    char path[4096];
    json_t *o = NULL;
    int rc = read_json(&o, path, sizeof path, dir, "config.json", true, err);
    if (!rc)
        rc = read_family(c, o, path, err);
    if (!rc)
        rc = read_sizes(c, o, path, err);
    if (!rc)
        rc = must_be(o, path, "hidden_act", "gelu", err);
    if (!rc && c->family == ENCODER_GTE)
        rc = read_gte(c, o, path, err);
    else if (!rc)
        rc = must_be(o, path, "position_embedding_type", "absolute", err);
    if (!rc)
        rc = must_be_bool(o, path, "is_decoder", false, false, err);
    json_decref(o);
    return rc;
}

/* ---- sentence-transformers' files ---- */

static int read_pooling(struct encoder_config *c, const char *dir, const char *folder,
                        struct err *err)
{
    static const char *const others[] = {
        "pooling_mode_max_tokens", "pooling_mode_mean_sqrt_len_tokens",
        "pooling_mode_weightedmean_tokens", "pooling_mode_lasttoken"};
    char path[4096], name[512];
    const char *mode = NULL;
    json_t *o = NULL;
    bool cls = false, mean = false;
    snprintf(name, sizeof name, "%s/config.json", folder);
    int rc = read_json(&o, path, sizeof path, dir, name, true, err);
    if (!rc)
        rc = json_opt_text(&mode, NULL, o, path, "pooling_mode", err);
    if (!rc && mode) {
        cls = strcmp(mode, "cls") == 0;
        mean = strcmp(mode, "mean") == 0;
    } else if (!rc) {
        rc = json_opt_bool(&cls, false, o, path, "pooling_mode_cls_token", err);
        if (!rc)
            rc = json_opt_bool(&mean, false, o, path, "pooling_mode_mean_tokens", err);
        for (size_t i = 0; i < sizeof others / sizeof *others && !rc; i++)
            rc = must_be_bool(o, path, others[i], false, false, err);
    }
    if (!rc && cls == mean)
        rc = err_set(err, MOE2_ECONFIG, "%s: wanted pooling by the mean or by the first token",
                     path);
    c->pooling = cls ? POOLING_CLS : POOLING_MEAN;
    json_decref(o);
    return rc;
}

static int read_module(struct encoder_config *c, char *weights_dir, int64_t n, const char *dir,
                       const char *path, const json_t *module, struct err *err)
{
    const char *type = NULL, *folder = NULL;
    int rc = json_need_text(&type, module, path, "type", err);
    if (!rc)
        rc = json_need_text(&folder, module, path, "path", err);
    if (rc)
        return rc;
    if (folder[0] == '/' || strstr(folder, "..") || strlen(folder) > 255)
        return err_set(err, MOE2_EFORMAT, "%s: path is \"%.80s\", wanted a folder inside", path,
                       folder);
    if (words_end_in(type, ".Transformer")) {
        snprintf(weights_dir, (size_t)n, folder[0] ? "%s/%s" : "%s", dir, folder);
        return 0;
    }
    if (words_end_in(type, ".Pooling"))
        return read_pooling(c, dir, folder, err);
    if (words_end_in(type, ".Normalize"))
        return 0; /* every embedding is normalised */
    return err_set(err, MOE2_ECONFIG,
                   "%s: a module of type \"%s\", wanted Transformer, Pooling, Normalize", path,
                   type);
}

static int read_modules(struct encoder_config *c, char *weights_dir, int64_t n, const char *dir,
                        struct err *err)
{
    char path[4096];
    json_t *list = NULL;
    int rc = read_json(&list, path, sizeof path, dir, "modules.json", false, err);
    if (!rc && list && !json_is_array(list))
        rc = err_set(err, MOE2_EFORMAT, "%s: is no list of modules", path);
    for (size_t i = 0; i < json_array_size(list) && !rc; i++)
        rc = read_module(c, weights_dir, n, dir, path, json_array_get(list, i), err);
    json_decref(list);
    return rc;
}

/* The first of the files that names a length; else as many as there are positions. */
static int read_length(struct encoder_config *c, const char *dir, struct err *err)
{
    char path[4096];
    json_t *o = NULL;
    int64_t most =
                c->max_position_embeddings - (c->family == ENCODER_XLM_R ? c->pad_token_id + 1 : 0),
            said = 0;
    double length = 0;
    int rc = read_json(&o, path, sizeof path, dir, "sentence_bert_config.json", false, err);
    if (!rc && o)
        rc = json_opt_int(&said, 0, o, path, "max_seq_length", 0, INT32_MAX, err);
    json_decref(o);
    o = NULL;
    bool there = !rc && !said &&
                 snprintf(path, sizeof path, "%s/tokenizer_config.json", dir) < (int)sizeof path &&
                 file_exists(path);
    if (there)
        rc = json_read_file_as_reals(&o, path, MAX_JSON_BYTES, err);
    if (!rc && o) /* may be 1e30, written out, which says nothing */
        rc = json_opt_real(&length, 0, o, path, "model_max_length", 0, 1e40, err);
    json_decref(o);
    if (!said && length >= 1 && length < (double)most)
        said = (int64_t)length;
    c->max_seq_length = said && said < most ? said : most;
    if (!rc && c->max_seq_length < 3)
        rc = err_set(err, MOE2_ECONFIG, "%s: max_seq_length is %lld, wanted 3 or more", dir,
                     (long long)c->max_seq_length);
    return rc;
}

int encoder_config_read(struct encoder_config *out, char *weights_dir, int64_t n, const char *dir,
                        struct err *err)
{
    struct encoder_config c = {.family = ENCODER_BERT};
    bool listed = false;
    char modules[4096];
    if (strlen(dir) > 3000 || (int64_t)strlen(dir) + 300 > n)
        return err_set(err, MOE2_ECONFIG, "the path of the encoder is too long");
    if (!file_is_dir(dir))
        return err_set(err, MOE2_EIO, "%s: is no folder of an encoder", dir);
    snprintf(modules, sizeof modules, "%s/modules.json", dir);
    listed = file_exists(modules);
    snprintf(weights_dir, (size_t)n, "%s", dir);
    int rc = read_modules(&c, weights_dir, n, dir, err);
    if (!rc)
        rc = read_config(&c, weights_dir, err);
    if (!rc && !listed)
        c.pooling = c.family == ENCODER_GTE ? POOLING_CLS : POOLING_MEAN;
    if (!rc)
        rc = read_length(&c, weights_dir, err);
    if (!rc)
        *out = c;
    return rc;
}
