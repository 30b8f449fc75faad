/* A model as a GGUF file: see model_write.h. Names by model/gguf_names.h; llama's queries and keys in
 * pairs, experts stacked, kv_b_proj as attn_k_b and attn_v_b. Vectors, routers and their biases are
 * float32. With q4_0 the head (or the embedding that is one) is Q8_0, and what can't be cut into
 * blocks of 32 is float16.
 */
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/words.h"
#include "model/gguf_names.h"
#include "quant/model_write_parts.h"
#include "tensor/block.h"

enum { BLOCK_VALUES = 32 };

struct writing {
    const struct source *s;
    const struct model_write_options *o;
    json_t *config;
    const char *arch;
    struct item_list items;
    struct gguf_writer *w;
    struct parts parts;
};

static int64_t config_int(const struct writing *x, const char *key, int64_t fallback)
{
    const json_t *v = json_object_get(x->config, key);
    return json_is_integer(v) ? json_integer_value(v) : fallback;
}

static uint32_t layout_of(enum weight_type type)
{
    static const uint32_t numbers[WEIGHT_N_TYPES] = {[WEIGHT_F32] = 0,
                                                     [WEIGHT_F16] = 1,
                                                     [WEIGHT_BF16] = 30,
                                                     [WEIGHT_Q8_0] = 8,
                                                     [WEIGHT_Q4_0] = 2};
    return numbers[type];
}

static uint32_t file_type_of(enum weight_type type)
{
    static const uint32_t numbers[WEIGHT_N_TYPES] = {[WEIGHT_F32] = 0,
                                                     [WEIGHT_F16] = 1,
                                                     [WEIGHT_BF16] = 32,
                                                     [WEIGHT_Q8_0] = 7,
                                                     [WEIGHT_Q4_0] = 2};
    return numbers[type];
}

/* What the whole file is said to be: for "keep" what its largest weights have. */
static enum weight_type overall(const struct writing *x)
{
    const struct source_tensor *t = source_find(x->s, "model.embed_tokens.weight");
    if (x->o->type != WEIGHT_KEEP)
        return x->o->type;
    if (!t || t->kind != STORED_PLAIN)
        return WEIGHT_F16;
    return t->dtype == DT_F32 ? WEIGHT_F32 : t->dtype == DT_BF16 ? WEIGHT_BF16 : WEIGHT_F16;
}

static enum weight_type choose_type(const struct writing *x, const struct item *it, bool tied)
{
    enum weight_type type = overall(x);
    if (it->n_dims < 2 || words_end_in(it->name, "ffn_gate_inp.weight"))
        return WEIGHT_F32;
    bool is_head = strcmp(it->name, "output.weight") == 0 ||
                   (tied && strcmp(it->name, "token_embd.weight") == 0);
    if (type == WEIGHT_Q4_0 && is_head)
        type = WEIGHT_Q8_0;
    if ((type == WEIGHT_Q4_0 || type == WEIGHT_Q8_0) && it->columns % BLOCK_VALUES)
        return WEIGHT_F16;
    return type;
}

static int set_heads(struct item *it, int64_t heads, struct err *err)
{
    if (heads < 1 || it->rows % (2 * heads))
        return err_set(err, MOE2_EFORMAT,
                       "tensor %s has %" PRId64 " rows, wanted a multiple of 2 × %" PRId64 " heads",
                       it->t->name, it->rows, heads);
    it->form = ITEM_HEADS;
    it->head_rows = it->rows / heads;
    return 0;
}

/* q or k of architecture llama; a bias is a column. */
static int add_heads(struct writing *x, struct item *it, const struct gguf_name *n, struct err *err)
{
    int64_t heads = config_int(x, "num_attention_heads", 0);
    if (strcmp(x->arch, "llama") != 0)
        return 0;
    if (it->n_dims == 1) {
        it->rows = it->columns;
        it->columns = 1;
    }
    if (n->form == GGUF_FORM_K)
        heads = config_int(x, "num_key_value_heads", heads);
    return set_heads(it, heads, err);
}

/* The stacked tensor, at its first expert; the others come along. */
static int add_experts(struct writing *x, const struct source_tensor *t, const struct gguf_name *n,
                       int64_t layer, struct err *err)
{
    char name[GGUF_NAMES_MAX];
    struct item *it = NULL;
    const char *hole = strstr(n->hf, "%d");
    int64_t experts = config_int(x, "n_routed_experts", 0);
    gguf_name_gguf(name, n, layer);
    int rc = item_add(&it, &x->items, name, t, err);
    if (rc)
        return rc;
    snprintf(it->expert_name, sizeof it->expert_name, "model.layers.%" PRId64 ".%.*s#%s", layer,
             (int)(hole - n->hf), n->hf, hole + 2);
    it->form = ITEM_EXPERTS;
    it->n_dims = 3;
    it->shape[0] = experts;
    it->shape[1] = t->shape[0];
    it->shape[2] = t->shape[1];
    it->rows = experts * t->shape[0];
    return 0;
}

static int add_kv_b(struct writing *x, const struct source_tensor *t, int64_t layer,
                    struct err *err)
{
    char name[GGUF_NAMES_MAX];
    struct item *k = NULL, *v = NULL;
    int64_t heads = config_int(x, "num_attention_heads", 0),
            nope = config_int(x, "qk_nope_head_dim", 0), v_dim = config_int(x, "v_head_dim", 0),
            rank = t->shape[1];
    if (heads < 1 || t->shape[0] != heads * (nope + v_dim))
        return err_set(err, MOE2_EFORMAT,
                       "tensor %s has %" PRId64 " rows, wanted %" PRId64 " × (%" PRId64
                       " + %" PRId64 ")",
                       t->name, t->shape[0], heads, nope, v_dim);
    snprintf(name, sizeof name, "blk.%" PRId64 ".attn_k_b.weight", layer);
    int rc = item_add(&k, &x->items, name, t, err);
    if (rc)
        return rc;
    *k = (struct item){.form = ITEM_K_B,
                       .t = t,
                       .n_dims = 3,
                       .shape = {heads, rank, nope},
                       .rows = heads * rank,
                       .columns = nope,
                       .heads = heads,
                       .nope = nope,
                       .v_dim = v_dim};
    snprintf(k->name, sizeof k->name, "%s", name);
    snprintf(name, sizeof name, "blk.%" PRId64 ".attn_v_b.weight", layer);
    rc = item_add(&v, &x->items, name, t, err);
    if (rc)
        return rc;
    *v = (struct item){.form = ITEM_V_B,
                       .t = t,
                       .n_dims = 3,
                       .shape = {heads, v_dim, rank},
                       .rows = heads * v_dim,
                       .columns = rank,
                       .heads = heads,
                       .nope = nope,
                       .v_dim = v_dim};
    snprintf(v->name, sizeof v->name, "%s", name);
    return 0;
}

/* Tensors that a GGUF file doesn't have: next-token-prediction layers, rotary tables, a tied head. */
static bool left_out(const struct writing *x, const struct source_tensor *t, int64_t layer)
{
    return words_end_in(t->name, ".rotary_emb.inv_freq") ||
           layer >= config_int(x, "num_hidden_layers", INT64_MAX) ||
           (json_is_true(json_object_get(x->config, "tie_word_embeddings")) &&
            strcmp(t->name, "lm_head.weight") == 0);
}

static int add_one(struct writing *x, const struct source_tensor *t, struct err *err)
{
    int64_t layer, expert;
    char name[GGUF_NAMES_MAX];
    struct item *it = NULL;
    const struct gguf_name *n = gguf_name_of_hf(t->name, &layer, &expert);
    if (left_out(x, t, layer))
        return 0;
    if (!n)
        return err_set(err, MOE2_EFORMAT, "%s: tensor %s has no name in GGUF", t->file, t->name);
    if (n->form == GGUF_FORM_EXPERTS)
        return expert == 0 ? add_experts(x, t, n, layer, err) : 0;
    if (strcmp(n->gguf, "attn_kv_b.weight") == 0)
        return add_kv_b(x, t, layer, err);
    gguf_name_gguf(name, n, layer);
    int rc = item_add(&it, &x->items, name, t, err);
    if (!rc && (n->form == GGUF_FORM_Q || n->form == GGUF_FORM_K))
        rc = add_heads(x, it, n, err);
    return rc;
}

static int list_items(struct writing *x, struct err *err)
{
    bool tied = !source_find(x->s, "lm_head.weight") ||
                json_is_true(json_object_get(x->config, "tie_word_embeddings"));
    int rc = 0;
    for (int64_t i = 0; i < source_count(x->s) && !rc; i++)
        rc = add_one(x, source_at(x->s, i), err);
    for (int64_t i = 0; i < x->items.n && !rc; i++)
        x->items.v[i].type = choose_type(x, &x->items.v[i], tied);
    return rc;
}

/* ---- rotary factors ---- */

enum { MAX_HALF = 512 };

/* Llama 3's factors of each frequency, as llama.cpp's converter writes them; *n 0: no such scaling. */
static int rope_factors(float *out, int64_t *n, const struct writing *x, struct err *err)
{
    const json_t *s = json_object_get(x->config, "rope_scaling");
    if (!json_is_object(s))
        s = json_object_get(x->config, "rope_parameters");
    const char *type = json_string_value(json_object_get(s, "rope_type"));
    if (!type)
        type = json_string_value(json_object_get(s, "type"));
    int64_t heads = config_int(x, "num_attention_heads", 1),
            hd = config_int(x, "head_dim", config_int(x, "hidden_size", 0) / (heads ? heads : 1));
    *n = 0;
    if (!type || strcmp(type, "llama3") != 0)
        return 0;
    const json_t *theta_at = json_object_get(s, "rope_theta");
    if (!theta_at)
        theta_at = json_object_get(x->config, "rope_theta");
    double theta = json_is_number(theta_at) ? json_number_value(theta_at) : 10000,
           factor = json_number_value(json_object_get(s, "factor")),
           low = json_number_value(json_object_get(s, "low_freq_factor")),
           high = json_number_value(json_object_get(s, "high_freq_factor")),
           original = json_number_value(json_object_get(s, "original_max_position_embeddings"));
    if (hd < 2 || hd / 2 > MAX_HALF || factor <= 0 || low <= 0 || high <= low || original <= 0)
        return err_set(err, MOE2_EFORMAT, "%s: its rope_scaling of llama3 lacks numbers above 0",
                       source_path(x->s));
    for (int64_t i = 0; i < hd / 2; i++) {
        double wave = 2 * M_PI * pow(theta, 2 * (double)i / (double)hd);
        double z = (original / wave - low) / (high - low);
        out[i] = (float)(wave < original / high  ? 1
                         : wave > original / low ? factor
                                                 : 1 / ((1 - z) / factor + z));
    }
    *n = hd / 2;
    return 0;
}

/* ---- writing ---- */

static int put_bytes(void *ctx, const void *bytes, int64_t n, struct err *err)
{
    struct writing *x = ctx;
    return gguf_put(x->w, bytes, n, err);
}

static int put_all(struct writing *x, struct err *err)
{
    struct progress progress;
    double done = 0, total = 0;
    int rc = 0;
    for (int64_t i = 0; i < x->items.n; i++)
        total += (double)item_bytes(&x->items.v[i]);
    progress_begin(&progress, x->o->log, "writing", total, "B");
    for (int64_t i = 0; i < x->items.n && !rc; i++) {
        const struct item *it = &x->items.v[i];
        double error = 0;
        rc = parts_encode(&error, &x->parts, i, it, x->s, put_bytes, x, err);
        if (!rc)
            rc = report_add(x->o->report, it, item_bytes(it), error, err);
        progress_set(&progress, done += (double)item_bytes(it));
    }
    progress_end(&progress);
    return rc;
}

static int write_head(struct writing *x, const char *out, struct err *err)
{
    float factors[MAX_HALF];
    int64_t n_factors = 0;
    int rc = gguf_put_config(x->w, &x->arch, x->config, source_path(x->s), source_path(x->s),
                             file_type_of(overall(x)), err);
    if (!rc)
        rc = gguf_put_tokenizer(x->w, x->s, err);
    if (!rc)
        rc = list_items(x, err);
    if (!rc)
        rc = rope_factors(factors, &n_factors, x, err);
    if (!rc)
        rc = parts_open(&x->parts, out, x->s, x->o, err);
    if (rc)
        return rc;
    if (n_factors)
        gguf_declare(x->w, "rope_freqs.weight", 0, &n_factors, 1);
    for (int64_t i = 0; i < x->items.n; i++) {
        const struct item *it = &x->items.v[i];
        gguf_declare(x->w, it->name, layout_of(it->type), it->shape, it->n_dims);
    }
    rc = gguf_begin_data(x->w, err);
    return rc || !n_factors ? rc : gguf_put(x->w, factors, n_factors * 4, err);
}

static int read_config(json_t **out, const struct source *s, struct err *err)
{
    struct buf text = {0};
    int rc = source_config_text(&text, s, err);
    if (!rc && !(*out = json_loadb(text.bytes, text.n, 0, NULL)))
        rc = err_set(err, MOE2_EFORMAT, "%s: its config.json is no JSON", source_path(s));
    buf_release(&text);
    return rc;
}

int write_gguf(const char *out, const struct source *s, const struct model_write_options *o,
               struct err *err)
{
    struct writing x = {.s = s, .o = o};
    int rc = read_config(&x.config, s, err);
    if (!rc)
        rc = gguf_create(&x.w, out, err);
    if (!rc)
        rc = write_head(&x, out, err);
    if (!rc)
        rc = put_all(&x, err);
    if (!rc) {
        rc = gguf_commit(x.w, err);
        x.w = NULL;
    }
    gguf_abort(x.w);
    parts_close(&x.parts, !rc);
    json_decref(x.config);
    free(x.items.v);
    return rc;
}
