/* Writing a config.json that transformers reads back as the same model. The keys stand in the tables of config_keys.c. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "model/config_parts.h"

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

static int put_llama3(struct buf *b, const struct rope_scaling *r, struct err *err)
{
    int rc = buf_puts(b, "  \"rope_scaling\": {\n  \"rope_type\": \"llama3\",\n", err);
    if (rc || (rc = put_real(b, "factor", r->factor, err)) ||
        (rc = put_real(b, "low_freq_factor", r->low_freq_factor, err)) ||
        (rc = put_real(b, "high_freq_factor", r->high_freq_factor, err)))
        return rc;
    return buf_printf(b, err, "  \"original_max_position_embeddings\": %lld\n  },\n",
                      (long long)r->original_max_position_embeddings);
}

static int put_rope(struct buf *b, const struct model_config *c, struct err *err)
{
    const struct rope_scaling *r = &c->rope;
    int rc = put_real(b, "rope_theta", c->rope_theta, err);
    if (rc)
        return rc;
    if (r->llama3)
        return put_llama3(b, r, err);
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

/* What only latent attention and experts have. */
static int put_mla(struct buf *out, const struct model_config *c, struct err *err)
{
    int rc = put_int(out, "q_lora_rank", c->q_lora_rank, c->q_lora_rank == 0, err);
    if (rc || (rc = put_text(out, "scoring_func", c->scoring_func, err)) ||
        (rc = put_text(out, "topk_method", c->topk_method, err)) ||
        (rc = put_bool(out, "norm_topk_prob", c->norm_topk_prob, err)))
        return rc;
    return put_bool(out, "rope_interleave", c->rope_interleave, err);
}

static int put_keys(struct buf *out, const struct model_config *c, struct err *err)
{
    bool mla = model_is_mla(c);
    int rc = 0;
    for (int i = 0; i < config_n_int_keys && !rc; i++) {
        const struct int_key *k = &config_int_keys[i];
        if (mla || k->whose == EVERYONE)
            rc = put_int(out, k->name, *(const int64_t *)((const char *)c + k->field), false, err);
    }
    for (int i = 0; i < config_n_real_keys && !rc; i++) {
        const struct real_key *k = &config_real_keys[i];
        if (mla || k->whose == EVERYONE)
            rc = put_real(out, k->name, *(const double *)((const char *)c + k->field), err);
    }
    return rc;
}

int model_config_print(struct buf *out, const struct model_config *c, struct err *err)
{
    const char *dtype = c->dtype == DT_BF16  ? "bfloat16"
                        : c->dtype == DT_F16 ? "float16"
                                             : "float32";
    int rc = buf_printf(out, err, "{\n  \"architectures\": [\"%s\"],\n",
                        family_find(c->model_type)->architecture);
    if (rc || (rc = put_text(out, "model_type", c->model_type, err)) ||
        (rc = put_keys(out, c, err)) ||
        (rc = put_int(out, "num_key_value_heads",
                      model_is_mla(c) ? c->num_attention_heads : c->num_key_value_heads, false,
                      err)) ||
        (rc = model_is_mla(c) ? put_mla(out, c, err)
                              : put_int(out, "head_dim", c->head_dim, false, err)) ||
        (rc = put_rope(out, c, err)) ||
        (rc = put_bool(out, "attention_bias", c->attention_bias, err)) ||
        (rc = put_bool(out, "tie_word_embeddings", c->tie_word_embeddings, err)) ||
        (rc = put_int(out, "bos_token_id", c->bos_token_id, c->bos_token_id < 0, err)) ||
        (rc = put_int(out, "eos_token_id", c->eos_token_id, c->eos_token_id < 0, err)) ||
        (rc = put_text(out, "torch_dtype", dtype, err)))
        return rc;
    return buf_puts(out, "  \"hidden_act\": \"silu\"\n}\n", err);
}
