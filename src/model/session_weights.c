/* The weights of a session: found by Hugging Face's names, checked, and packed into one allocation.
 *
 * The same walk over the model is made twice, first to add up bytes, then to fill the memory, so that the two can't disagree. A GGUF
 * file's attn_k_b and attn_v_b are what absorbed attention multiplies with, and are packed as they are; otherwise W_ukᵀ is made out of
 * kv_b, in 8 bits where kv_b itself is quantised.
 */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "io/gguf.h"
#include "model/packing.h"
#include "model/session_parts.h"

struct builder {
    struct session *s;
    struct source *src;
    char *base; /* NULL: only counting */
    size_t used;
    int64_t layer; /* that names are of, −1: of none */
    struct progress progress;
};

static void *room(struct builder *b, size_t n)
{
    void *at = b->base ? b->base + b->used : NULL;
    b->used += (n + 63) / 64 * 64;
    return at;
}

/* "model.layers.N." and the rest, or the rest alone. */
static const struct source_tensor *look(const struct builder *b, const char *format, va_list args,
                                        char *name, size_t n_name)
{
    int n = b->layer >= 0 ? snprintf(name, n_name, "model.layers.%lld.", (long long)b->layer) : 0;
    vsnprintf(name + n, n_name - (size_t)n, format, args);
    return source_find(b->src, name);
}

static const struct source_tensor *find(const struct builder *b, const char *format, ...)
{
    char name[256];
    va_list args;
    va_start(args, format);
    const struct source_tensor *t = look(b, format, args, name, sizeof name);
    va_end(args);
    return t;
}

/* A tensor that must be there, [N, K], or [N] with K 0. */
static int get(const struct source_tensor **out, const struct builder *b, int64_t N, int64_t K,
               struct err *err, const char *format, ...)
{
    char name[256];
    va_list args;
    va_start(args, format);
    const struct source_tensor *t = look(b, format, args, name, sizeof name);
    va_end(args);
    *out = t;
    if (!t)
        return err_set(err, MOE2_EFORMAT, "%s: tensor %s is missing", source_path(b->src), name);
    if (t->n_dims != (K ? 2 : 1) || t->shape[0] != N || (K && t->shape[1] != K))
        return err_set(err, MOE2_EFORMAT,
                       "%s: tensor %s has %d dimensions of %lld and %lld, wanted %lld and %lld",
                       source_path(b->src), name, t->n_dims, (long long)t->shape[0],
                       (long long)(t->n_dims > 1 ? t->shape[1] : 0), (long long)N, (long long)K);
    return 0;
}

/* A vector of n numbers to the device, by way of the host's memory where that is not the device's. */
static int send_numbers(const struct builder *b, float *to, const struct source_tensor *t,
                        int64_t n, struct err *err)
{
    struct device *dev = b->s->dev;
    if (dev->host_memory)
        return source_read(to, t, 0, n, err);
    float *host = malloc((size_t)n * sizeof *host + 1);
    if (!host)
        return err_set(err, MOE2_ELIMIT, "no memory to read %lld numbers", (long long)n);
    int rc = source_read(host, t, 0, n, err);
    if (!rc)
        dev->ops->write(dev, to, host, (size_t)n * sizeof *host);
    free(host);
    return rc;
}

/* A vector that must be there, into *out. */
static int numbers(struct builder *b, float **out, int64_t n, struct err *err, const char *name)
{
    const struct source_tensor *t;
    int rc = get(&t, b, n, 0, err, "%s", name);
    *out = room(b, (size_t)n * sizeof(float));
    return rc || !b->base ? rc : send_numbers(b, *out, t, n, err);
}

/* Packs pieces as that form. */
static int pack_as(struct builder *b, struct packed_weight *w, enum packed_form form,
                   const struct piece *pieces, int n, int64_t K, bool gated, struct err *err)
{
    struct device *dev = b->s->dev;
    *w = (struct packed_weight){NULL, 0, K, form, b->s->compute, gated};
    for (int i = 0; i < n; i++)
        w->N += pieces[i].n;
    size_t n_bytes = dev->k->packed_bytes(dev, w);
    w->packed = room(b, n_bytes);
    if (!b->base)
        return 0;
    int rc = pieces_pack(w, pieces, n, dev, err);
    progress_set(&b->progress, (double)b->used);
    return rc;
}

/* The same in the pieces' own form, in bf16 where they differ. */
static int pack(struct builder *b, struct packed_weight *w, const struct piece *pieces, int n,
                int64_t K, bool gated, struct err *err)
{
    enum packed_form random = b->s->random_form, form = piece_form(&pieces[0], K, random);
    for (int i = 1; i < n; i++)
        if (piece_form(&pieces[i], K, random) != form)
            form = PACKED_BF16;
    return pack_as(b, w, form, pieces, n, K, gated, err);
}

/* Neighbours of one form become one weight. */
static int pack_product(struct builder *b, struct product *p, const struct piece *pieces, int n,
                        int64_t K, struct err *err)
{
    enum packed_form random = b->s->random_form;
    int rc = 0;
    p->n = 0;
    for (int i = 0, j; i < n && !rc; i = j) {
        enum packed_form form = piece_form(&pieces[i], K, random);
        for (j = i + 1; j < n && piece_form(&pieces[j], K, random) == form;)
            j++;
        rc = pack(b, &p->w[p->n++], pieces + i, j - i, K, false, err);
    }
    return rc;
}

/* One whole matrix. */
static int matrix(struct builder *b, struct packed_weight *w, int64_t N, int64_t K, struct err *err,
                  const char *name)
{
    const struct source_tensor *t;
    int rc = get(&t, b, N, K, err, "%s", name);
    return rc ? rc : pack(b, w, &(struct piece){.tensor = t, .n = N}, 1, K, false, err);
}

/* gate [F, D] and up as one gated weight, and down. */
static int mlp(struct builder *b, struct packed_weight *up, struct packed_weight *down, int64_t F,
               const char *prefix, struct err *err)
{
    int64_t D = b->s->d.D;
    const struct source_tensor *t[3];
    int rc = get(&t[0], b, F, D, err, "mlp.%sgate_proj.weight", prefix);
    if (!rc)
        rc = get(&t[1], b, F, D, err, "mlp.%sup_proj.weight", prefix);
    if (!rc)
        rc = get(&t[2], b, D, F, err, "mlp.%sdown_proj.weight", prefix);
    if (rc)
        return rc;
    struct piece both[2] = {{.tensor = t[0], .n = F}, {.tensor = t[1], .n = F}};
    rc = pack(b, up, both, 2, D, true, err);
    return rc ? rc : pack(b, down, &(struct piece){.tensor = t[2], .n = D}, 1, F, false, err);
}

/* ---- attention ---- */

static int gqa(struct builder *b, struct session_layer *l, struct err *err)
{
    static const char *const names[3] = {"q", "k", "v"};
    const struct session_dims *d = &b->s->d;
    int64_t rows[3] = {d->H * d->dn, d->Hk * d->dn, d->Hk * d->dv};
    struct piece pieces[3];
    int rc = 0;
    for (int i = 0; i < 3 && !rc; i++) {
        pieces[i] = (struct piece){.n = rows[i]};
        rc = get(&pieces[i].tensor, b, rows[i], d->D, err, "self_attn.%s_proj.weight", names[i]);
    }
    if (!rc)
        rc = pack_product(b, &l->qkv, pieces, 3, d->D, err);
    if (!rc && find(b, "self_attn.q_proj.bias")) {
        float *bias = l->qkv_bias = room(b, (size_t)(rows[0] + rows[1] + rows[2]) * sizeof *bias);
        for (int i = 0; i < 3 && !rc; bias += bias ? rows[i] : 0, i++) {
            const struct source_tensor *t;
            rc = get(&t, b, rows[i], 0, err, "self_attn.%s_proj.bias", names[i]);
            if (!rc && b->base)
                rc = send_numbers(b, bias, t, rows[i], err);
        }
    }
    if (!rc && find(b, "self_attn.q_norm.weight")) {
        rc = numbers(b, &l->q_norm, d->dn, err, "self_attn.q_norm.weight");
        if (!rc)
            rc = numbers(b, &l->k_norm, d->dn, err, "self_attn.k_norm.weight");
    }
    return rc;
}

/* Whether a tensor is kept in few bits, so that what is made of it may be kept in 8. */
static bool quantised(const struct builder *b, const struct source_tensor *t)
{
    char name[64];
    if (t->kind == STORED_RANDOM)
        return b->s->random_form >= PACKED_I4;
    if (t->kind != STORED_JOINED)
        return t->kind == STORED_BLOCKS || t->kind == STORED_NF4;
    snprintf(name, sizeof name, "blk.%lld.attn_k_b.weight", (long long)b->layer);
    const struct gguf_tensor *g = source_gguf(b->src) ? gguf_find(source_gguf(b->src), name) : NULL;
    return g && g->layout->block >= 0;
}

/* A GGUF file's own blocks of W_ukᵀ (which "k") or W_uv ("v") of all heads; NULL: there are none. */
static const struct gguf_tensor *raw_heads(const struct builder *b, const char *which, int64_t N,
                                           int64_t K)
{
    char name[64];
    snprintf(name, sizeof name, "blk.%lld.attn_%s_b.weight", (long long)b->layer, which);
    const struct gguf_tensor *g = source_gguf(b->src) ? gguf_find(source_gguf(b->src), name) : NULL;
    if (!g || g->layout->block < 0 || K % g->layout->n_values || g->n_elements != b->s->d.H * N * K)
        return NULL;
    return g;
}

static struct piece raw_head(const struct gguf_tensor *g, int64_t head, int64_t N, int64_t K)
{
    enum block_type type = (enum block_type)g->layout->block;
    return (struct piece){
        .blocks = g->bytes + head * N * block_bytes(type, K), .block = type, .n = N};
}

/* W_ukᵀ of a head out of kv_b: numbers turned over. */
static int turned_head(struct builder *b, struct packed_weight *w, const struct source_tensor *kv_b,
                       int64_t head, struct err *err)
{
    const struct session_dims *d = &b->s->d;
    float *rows = malloc((size_t)(2 * d->dn * d->R) * sizeof *rows);
    if (!rows)
        return err_set(err, MOE2_ELIMIT, "no memory to turn a head of kv_b over");
    float *turned = rows + d->dn * d->R;
    int rc =
        b->base ? source_read(rows, kv_b, head * (d->dn + d->dv) * d->R, d->dn * d->R, err) : 0;
    for (int64_t i = 0; i < d->dn * d->R && b->base && !rc; i++)
        turned[i % d->R * d->dn + i / d->R] = rows[i];
    struct piece p = {.numbers = turned, .n = d->R, .eight_bits = quantised(b, kv_b)};
    struct piece as = {.tensor = kv_b, .eight_bits = p.eight_bits};
    if (!rc)
        rc = pack_as(b, w, piece_form(p.eight_bits ? &p : &as, d->dn, PACKED_BF16), &p, 1, d->dn,
                     false, err);
    free(rows);
    return rc;
}

static int absorbed(struct builder *b, struct session_layer *l, const struct source_tensor *kv_b,
                    struct err *err)
{
    const struct session_dims *d = &b->s->d;
    const struct gguf_tensor *k = raw_heads(b, "k", d->R, d->dn),
                             *v = raw_heads(b, "v", d->dv, d->R);
    int rc = 0;
    for (int64_t h = 0; h < d->H && !rc; h++) {
        struct piece up = {.tensor = kv_b, .first = h * (d->dn + d->dv) + d->dn, .n = d->dv};
        up.eight_bits = kv_b->kind == STORED_JOINED && quantised(b, kv_b);
        if (v)
            up = raw_head(v, h, d->dv, d->R);
        rc = pack(b, &l->v_up[h], &up, 1, d->R, false, err);
        if (!rc && k) {
            struct piece p = raw_head(k, h, d->R, d->dn);
            rc = pack(b, &l->k_up[h], &p, 1, d->dn, false, err);
        } else if (!rc) {
            rc = turned_head(b, &l->k_up[h], kv_b, h, err);
        }
    }
    return rc;
}

static int mla(struct builder *b, struct session_layer *l, struct err *err)
{
    const struct session_dims *d = &b->s->d;
    int64_t nq = d->H * (d->dn + d->dr), n_first = d->Rq ? d->Rq : nq;
    const struct source_tensor *kv_b;
    struct piece pieces[2] = {{.n = n_first}, {.n = d->R + d->dr}};
    int rc = get(&pieces[0].tensor, b, n_first, d->D, err, "self_attn.%s.weight",
                 d->Rq ? "q_a_proj" : "q_proj");
    if (!rc)
        rc = get(&pieces[1].tensor, b, d->R + d->dr, d->D, err,
                 "self_attn.kv_a_proj_with_mqa.weight");
    if (!rc)
        rc = pack_product(b, &l->qkv, pieces, 2, d->D, err);
    if (!rc && d->Rq)
        rc = numbers(b, &l->q_norm, d->Rq, err, "self_attn.q_a_layernorm.weight");
    if (!rc && d->Rq)
        rc = matrix(b, &l->q_b, nq, d->Rq, err, "self_attn.q_b_proj.weight");
    if (!rc)
        rc = numbers(b, &l->k_norm, d->R, err, "self_attn.kv_a_layernorm.weight");
    if (!rc)
        rc = get(&kv_b, b, d->H * (d->dn + d->dv), d->R, err, "self_attn.kv_b_proj.weight");
    if (rc)
        return rc;
    struct piece whole = {.tensor = kv_b, .n = d->H * (d->dn + d->dv)};
    whole.eight_bits = kv_b->kind == STORED_JOINED && quantised(b, kv_b);
    rc = pack(b, &l->kv_b, &whole, 1, d->R, false, err);
    return rc ? rc : absorbed(b, l, kv_b, err);
}

/* ---- the other half ---- */

static int native_bias(struct builder *b, struct session_layer *l, struct err *err)
{
    static const char *const name = "mlp.gate.e_score_correction_bias";
    const struct source_tensor *t;
    int64_t E = b->s->d.E;
    if (!find(b, "%s", name))
        return 0;
    int rc = get(&t, b, E, 0, err, "%s", name);
    if (rc || !b->base)
        return rc;
    float *bias = malloc((size_t)E * sizeof *bias);
    rc = bias ? source_read(bias, t, 0, E, err)
              : err_set(err, MOE2_ELIMIT, "no memory for a router's bias");
    if (!rc && (rc = router_set_native_bias(l->picks, bias, err)))
        err_prefix(err, "layer %lld: e_score_correction_bias", (long long)b->layer);
    free(bias);
    return rc;
}

static int experts(struct builder *b, struct session_layer *l, struct err *err)
{
    const struct session_dims *d = &b->s->d;
    const struct source_tensor *router;
    int rc = get(&router, b, d->E, d->D, err, "mlp.gate.weight");
    if (!rc)
        rc = pack_as(b, &l->router, PACKED_F32, &(struct piece){.tensor = router, .n = d->E}, 1,
                     d->D, false, err);
    l->router.compute = DT_F32;
    if (!rc)
        rc = native_bias(b, l, err);
    for (int64_t e = 0; e < d->E && !rc; e++) {
        char prefix[64];
        snprintf(prefix, sizeof prefix, "experts.%lld.", (long long)e);
        rc = mlp(b, &l->expert_up[e], &l->expert_down[e], d->F, prefix, err);
        if (!rc && (l->expert_up[e].form != l->expert_up[0].form ||
                    l->expert_down[e].form != l->expert_down[0].form))
            rc = err_set(err, MOE2_EFORMAT,
                         "%s: layer %lld: expert %lld is stored in another type than expert 0",
                         source_path(b->src), (long long)b->layer, (long long)e);
    }
    if (rc || !d->Fs)
        return rc;
    struct packed_weight up, down;
    rc = mlp(b, &up, &down, d->Fs, "shared_experts.", err);
    bool alike =
        d->Fs == d->F && up.form == l->expert_up[0].form && down.form == l->expert_down[0].form;
    *(alike ? &l->expert_up[d->E] : &l->shared_up) = up;
    *(alike ? &l->expert_down[d->E] : &l->shared_down) = down;
    return rc;
}

static int layer(struct builder *b, struct session_layer *l, struct err *err)
{
    const struct session_dims *d = &b->s->d;
    int rc = numbers(b, &l->in_norm, d->D, err, "input_layernorm.weight");
    if (!rc)
        rc = numbers(b, &l->post_norm, d->D, err, "post_attention_layernorm.weight");
    if (!rc)
        rc = d->R ? mla(b, l, err) : gqa(b, l, err);
    if (!rc)
        rc = matrix(b, &l->o, d->D, d->H * d->dv, err, "self_attn.o_proj.weight");
    if (rc)
        return rc;
    return l->picks ? experts(b, l, err) : mlp(b, &l->gate_up, &l->down, d->I, "", err);
}

static int everything(struct builder *b, struct err *err)
{
    struct session *s = b->s;
    int64_t V = s->d.V, D = s->d.D;
    b->layer = -1;
    int rc = numbers(b, &s->norm, D, err, "model.norm.weight");
    if (!rc)
        rc = matrix(b, &s->embed, V, D, err, "model.embed_tokens.weight");
    s->head = s->embed;
    if (!rc && !s->config.tie_word_embeddings)
        rc = matrix(b, &s->head, V, D, err, "lm_head.weight");
    for (int64_t l = 0; l < s->d.L && !rc; l++) {
        b->layer = l;
        rc = layer(b, &s->layers[l], err);
    }
    return rc;
}

int session_weights_open(struct session *s, struct source *src, struct err *err)
{
    struct builder b = {.s = s, .src = src};
    int rc = everything(&b, err);
    if (rc)
        return rc;
    s->n_weights = b.used;
    s->weights = device_alloc(s->dev, s->n_weights, err);
    if (!s->weights)
        return MOE2_ELIMIT;
    s->dev->ops->zero(s->dev, s->weights, s->n_weights);
    b.base = s->weights;
    b.used = 0;
    progress_begin(&b.progress, s->log, "packing weights", (double)s->n_weights, "B");
    rc = everything(&b, err);
    progress_end(&b.progress);
    return rc;
}
