/* llama2.c's model file as a source.
 *
 * Format (karpathy/llama2.c, run.c, version 0): seven little-endian int32: dim, hidden_dim, n_layers,
 * n_heads, n_kv_heads, vocab_size (negative: the head is a tensor of its own), seq_len; then float32:
 * embedding [V, D]; of all layers one after the other attention norm [D], wq [D, D], wk and wv
 * [n_kv · hd, D], wo [D, D], feed-forward norm [D], w1 [F, D], w2 [D, F], w3 [F, D]; final norm [D];
 * two rotary tables [seq_len, hd / 2]; the head. Rows of wq and wk lie in pairs, as in GGUF.
 */
#include <stdio.h>
#include <string.h>

#include "model/source_parts.h"

enum { N_HEAD = 7, HEAD_BYTES = 4 * N_HEAD, MAX_SIDE = 1 << 24, MAX_LAYERS = 4096 };

struct shape {
    int64_t D, F, L, H, KV, V, T, hd;
    bool own_head;
};

static int64_t int_at(const uint8_t *p)
{
    return (int32_t)((uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 |
                     (uint32_t)p[3] << 24);
}

/* Floats behind the head. */
static int64_t n_floats(const struct shape *s)
{
    int64_t kv = s->KV * s->hd;
    int64_t layer = 2 * s->D + 2 * s->D * s->D + 2 * kv * s->D + 3 * s->F * s->D;
    return s->V * s->D * (s->own_head ? 2 : 1) + s->L * layer + s->D + s->T * s->hd;
}

/* false: these are no sizes of a model. */
static bool read_shape(struct shape *out, const uint8_t head[HEAD_BYTES])
{
    int64_t x[N_HEAD];
    for (int i = 0; i < N_HEAD; i++)
        x[i] = int_at(head + 4 * i);
    *out = (struct shape){.D = x[0],
                          .F = x[1],
                          .L = x[2],
                          .H = x[3],
                          .KV = x[4],
                          .V = x[5] < 0 ? -x[5] : x[5],
                          .T = x[6],
                          .own_head = x[5] < 0};
    for (int i = 0; i < N_HEAD; i++)
        if (i != 5 && (x[i] < 1 || x[i] > MAX_SIDE))
            return false;
    if (!out->V || out->V > MAX_SIDE || out->L > MAX_LAYERS || out->D % out->H || out->H % out->KV)
        return false;
    out->hd = out->D / out->H;
    return out->hd % 2 == 0;
}

bool source_is_llama2c(const char *path)
{
    uint8_t head[HEAD_BYTES];
    struct shape shape;
    int64_t size = file_is_dir(path) ? -1 : file_size(path);
    FILE *f = size > HEAD_BYTES ? fopen(path, "rb") : NULL;
    if (!f)
        return false;
    size_t n = fread(head, 1, sizeof head, f);
    fclose(f);
    return n == sizeof head && read_shape(&shape, head) &&
           size == HEAD_BYTES + 4 * n_floats(&shape);
}

struct lister {
    struct source *s;
    int64_t at; /* bytes */
    struct err *err;
    int rc;
};

/* The next tensor of the file; columns 0: a vector. head_rows as in source.h. */
static void next(struct lister *l, const char *name, int64_t rows, int64_t columns,
                 int64_t head_rows)
{
    if (l->rc)
        return;
    struct source_tensor *t = NULL;
    l->rc = source_add(&t, l->s, name, l->err);
    if (l->rc)
        return;
    l->rc = source_set_shape(t, (int64_t[]){rows, columns}, columns ? 2 : 1, l->err);
    t->kind = STORED_PLAIN;
    t->stored = "F32";
    t->dtype = DT_F32;
    t->bytes = l->s->map.bytes + l->at;
    t->n_bytes = t->n_elements * 4;
    t->row_bytes = rows ? t->n_bytes / rows : 0;
    t->head_rows = head_rows;
    l->at += t->n_bytes;
}

static void next_layers(struct lister *l, const struct shape *s, const char *name, int64_t rows,
                        int64_t columns, int64_t head_rows)
{
    char whole[96];
    for (int64_t i = 0; i < s->L; i++) {
        snprintf(whole, sizeof whole, "model.layers.%lld.%s.weight", (long long)i, name);
        next(l, whole, rows, columns, head_rows);
    }
}

int source_list_llama2c(struct source *source, struct err *err)
{
    struct lister l = {.s = source, .at = HEAD_BYTES, .err = err};
    struct shape s;
    if (source->map.n_bytes < HEAD_BYTES || !read_shape(&s, source->map.bytes) ||
        source->map.n_bytes != (size_t)(HEAD_BYTES + 4 * n_floats(&s)))
        return err_set(err, MOE2_EFORMAT, "%s: is no llama2.c model", source->path);
    next(&l, "model.embed_tokens.weight", s.V, s.D, 0);
    next_layers(&l, &s, "input_layernorm", s.D, 0, 0);
    next_layers(&l, &s, "self_attn.q_proj", s.D, s.D, s.hd);
    next_layers(&l, &s, "self_attn.k_proj", s.KV * s.hd, s.D, s.hd);
    next_layers(&l, &s, "self_attn.v_proj", s.KV * s.hd, s.D, 0);
    next_layers(&l, &s, "self_attn.o_proj", s.D, s.D, 0);
    next_layers(&l, &s, "post_attention_layernorm", s.D, 0, 0);
    next_layers(&l, &s, "mlp.gate_proj", s.F, s.D, 0);
    next_layers(&l, &s, "mlp.down_proj", s.D, s.F, 0);
    next_layers(&l, &s, "mlp.up_proj", s.F, s.D, 0);
    next(&l, "model.norm.weight", s.D, 0, 0);
    l.at += s.T * s.hd * 4;
    if (s.own_head)
        next(&l, "lm_head.weight", s.V, s.D, 0);
    return l.rc;
}

int source_llama2c_config(struct buf *out, const struct source *source, struct err *err)
{
    struct shape s = {0};
    read_shape(&s, source->map.bytes);
    return buf_printf(
        out, err,
        "{\"architectures\": [\"LlamaForCausalLM\"], \"model_type\": \"llama\", "
        "\"hidden_act\": \"silu\", \"vocab_size\": %lld, \"hidden_size\": %lld, "
        "\"intermediate_size\": %lld, \"num_hidden_layers\": %lld, \"num_attention_heads\": %lld, "
        "\"num_key_value_heads\": %lld, \"max_position_embeddings\": %lld, "
        "\"rms_norm_eps\": 1e-05, \"rope_theta\": 10000.0, \"tie_word_embeddings\": %s, "
        "\"bos_token_id\": 1, \"eos_token_id\": 2, \"torch_dtype\": \"float32\"}\n",
        (long long)s.V, (long long)s.D, (long long)s.F, (long long)s.L, (long long)s.H,
        (long long)s.KV, (long long)s.T, s.own_head ? "false" : "true");
}
