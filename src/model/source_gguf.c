/* A GGUF file as a source: names by the table of gguf_names.h, stacked experts cut apart, the rows of
 * llama's queries and keys in their order, attn_k_b and attn_v_b as one kv_b_proj.
 *
 * llama.cpp rotates neighbours for architecture llama, so its converter moves row (head, half j, i)
 * of q_proj and k_proj to row (head, 2i + j); source.h's source_stored_row finds them. k_b is stored
 * transposed, [H, R, nope], v_b as [H, v, R].
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "model/gguf_names.h"
#include "model/source_parts.h"

struct lister {
    struct source *s;
    bool permuted; /* architecture llama */
    int64_t n_head, n_head_kv;
    struct err *err;
};

/* How the tensor is stored, and its bytes from row first_row on. */
static void set_bytes(struct source_tensor *t, const struct gguf_tensor *from, int64_t first_row,
                      int64_t n_rows)
{
    const struct gguf_layout *l = from->layout;
    int64_t columns = from->n_dims ? from->shape[from->n_dims - 1] : 1;
    t->stored = l->name;
    t->kind = l->block >= 0 ? STORED_BLOCKS : STORED_PLAIN;
    if (l->block >= 0)
        t->block = (enum block_type)l->block;
    if (l->dtype >= 0)
        t->dtype = (enum dtype)l->dtype;
    t->row_bytes = t->n_dims < 2 ? l->n_bytes : columns / l->n_values * l->n_bytes;
    t->n_bytes = columns / l->n_values * l->n_bytes * n_rows;
    if ((l->block >= 0 || l->dtype >= 0) && from->bytes)
        t->bytes = from->bytes + columns / l->n_values * l->n_bytes * first_row;
}

static int64_t n_rows_of(const struct gguf_tensor *t)
{
    int64_t rows = 1;
    for (int i = 0; i + 1 < t->n_dims; i++)
        rows *= t->shape[i];
    return rows;
}

static int set_heads(struct lister *l, struct source_tensor *t, int64_t n_heads)
{
    if (!l->permuted)
        return 0;
    if (t->shape[0] % (2 * n_heads))
        return err_set(l->err, MOE2_EFORMAT,
                       "%s: tensor %s has %" PRId64 " rows, wanted a multiple of 2 × %" PRId64
                       " heads",
                       t->file, t->name, t->shape[0], n_heads);
    t->head_rows = t->shape[0] / n_heads;
    return 0;
}

static int add_whole(struct lister *l, const struct gguf_tensor *from, const char *name,
                     enum gguf_form form)
{
    struct source_tensor *t = NULL;
    int rc = source_add(&t, l->s, name, l->err);
    if (rc)
        return rc;
    rc = source_set_shape(t, from->shape, from->n_dims, l->err);
    set_bytes(t, from, 0, n_rows_of(from));
    if (!rc && form == GGUF_FORM_Q)
        rc = set_heads(l, t, l->n_head);
    if (!rc && form == GGUF_FORM_K)
        rc = set_heads(l, t, l->n_head_kv);
    return rc;
}

static int add_experts(struct lister *l, const struct gguf_tensor *from, const struct gguf_name *n,
                       int64_t layer)
{
    char name[GGUF_NAMES_MAX];
    if (from->n_dims != 3)
        return err_set(l->err, MOE2_EFORMAT,
                       "%s: tensor %s has %d dimensions, wanted 3: experts, rows, columns",
                       l->s->path, from->name, from->n_dims);
    for (int64_t e = 0; e < from->shape[0]; e++) {
        gguf_name_hf(name, n, layer, e);
        struct source_tensor *t = NULL;
        int rc = source_add(&t, l->s, name, l->err);
        if (!rc)
            rc = source_set_shape(t, from->shape + 1, 2, l->err);
        if (rc)
            return rc;
        set_bytes(t, from, e * from->shape[1], from->shape[1]);
    }
    return 0;
}

/* The type that holds both's numbers. */
static enum dtype joined_type(const struct gguf_tensor *k, const struct gguf_tensor *v)
{
    int type = k->layout->dtype;
    return type >= 0 && type == v->layout->dtype ? (enum dtype)type : DT_F32;
}

/* kv_b_proj out of attn_k_b, whose attn_v_b must be there. */
static int add_joined(struct lister *l, const struct gguf_tensor *k, const char *name,
                      int64_t layer)
{
    char other[GGUF_NAMES_MAX];
    snprintf(other, sizeof other, "blk.%" PRId64 ".attn_v_b.weight", layer);
    const struct gguf_tensor *v = gguf_find(l->s->gguf, other);
    if (!v || k->n_dims != 3 || v->n_dims != 3 || v->shape[0] != k->shape[0] ||
        v->shape[2] != k->shape[1])
        return err_set(l->err, MOE2_EFORMAT,
                       "%s: tensors %s and %s are missing or don't fit: wanted [heads, rank, nope] "
                       "and [heads, v, rank]",
                       l->s->path, k->name, other);
    struct source_joined *j = arena_alloc(&l->s->arena, sizeof *j, l->err);
    struct source_tensor *t = NULL;
    int rc = j ? source_add(&t, l->s, name, l->err) : MOE2_ELIMIT;
    if (rc)
        return rc;
    *j = (struct source_joined){
        .k = k, .v = v, .nope = k->shape[2], .v_dim = v->shape[1], .rank = k->shape[1]};
    t->kind = STORED_JOINED;
    t->dtype = joined_type(k, v);
    t->stored = k->layout->name;
    t->joined = j;
    t->n_bytes = k->n_bytes + v->n_bytes;
    return source_set_shape(t, (int64_t[]){k->shape[0] * (j->nope + j->v_dim), j->rank}, 2, l->err);
}

/* Row r of head h is column r of k_b[h] for r < nope, then row r − nope of v_b[h]. A head's k_b is
 * decoded once for all its rows. */
static int read_head(float *out, const struct source_joined *j, int64_t head, int64_t first,
                     int64_t n, float *k, struct err *err)
{
    int64_t n_k = j->nope * j->rank, n_v = j->v_dim * j->rank;
    int rc = first < n_k ? gguf_to_f32(k, j->k, head * n_k, n_k, err) : 0;
    int64_t i = first, end = first + n;
    for (; i < end && i < n_k && !rc; i++)
        out[i - first] = k[i % j->rank * j->nope + i / j->rank];
    return rc || i >= end
               ? rc
               : gguf_to_f32(out + (i - first), j->v, head * n_v + i - n_k, end - i, err);
}

int source_read_joined(float *out, const struct source_tensor *t, int64_t first, int64_t n,
                       struct err *err)
{
    const struct source_joined *j = t->joined;
    int64_t per_head = (j->nope + j->v_dim) * j->rank;
    float *k = malloc((size_t)(j->nope * j->rank + 1) * sizeof *k);
    int rc = k ? 0 : err_set(err, MOE2_ELIMIT, "%s: no memory for a head of %s", t->file, t->name);
    while (n > 0 && !rc) {
        int64_t at = first % per_head, m = per_head - at < n ? per_head - at : n;
        rc = read_head(out, j, first / per_head, at, m, k, err);
        out += m, first += m, n -= m;
    }
    free(k);
    return rc;
}

/* Tensors that only repeat what the metadata say. */
static bool is_derived(const char *name)
{
    return strcmp(name, "rope_freqs.weight") == 0;
}

static int add_one(struct lister *l, const struct gguf_tensor *from)
{
    char name[GGUF_NAMES_MAX];
    int64_t layer;
    const struct gguf_name *n = gguf_name_find(from->name, &layer);
    if (is_derived(from->name))
        return 0;
    if (!n) /* under its own name, so that it is named where it doesn't fit */
        return add_whole(l, from, from->name, GGUF_FORM_SAME);
    if (n->form == GGUF_FORM_EXPERTS)
        return add_experts(l, from, n, layer);
    gguf_name_hf(name, n, layer, -1);
    if (n->form == GGUF_FORM_V_B)
        return 0; /* with its k_b */
    return n->form == GGUF_FORM_K_B ? add_joined(l, from, name, layer)
                                    : add_whole(l, from, name, n->form);
}

int source_list_gguf(struct source *s, struct err *err)
{
    struct lister l = {.s = s, .err = err};
    const char *arch = NULL;
    int rc = gguf_text(&arch, s->gguf, "general.architecture", err);
    l.permuted = arch && strcmp(arch, "llama") == 0;
    if (!rc && l.permuted)
        rc = gguf_int(&l.n_head, s->gguf, "llama.attention.head_count", 1, 65536, err);
    l.n_head_kv = l.n_head;
    if (!rc && l.permuted && gguf_key(s->gguf, "llama.attention.head_count_kv"))
        rc = gguf_int(&l.n_head_kv, s->gguf, "llama.attention.head_count_kv", 1, 65536, err);
    for (int64_t i = 0; i < gguf_n_tensors(s->gguf) && !rc; i++)
        rc = add_one(&l, gguf_at(s->gguf, i));
    return rc;
}
