/* A safetensors folder as a source: plain tensors as they are; a weight with `weight_scale_inv` is
 * FP8; one with `weight.quant_state.bitsandbytes__nf4` is NF4. The tensors that hold scales are no
 * tensors of the model.
 *
 * bitsandbytes' layout (functional.py, QuantState.as_dict): X.weight uint8 [(n + 1) / 2, 1];
 * X.weight.absmax float32, or with double quantisation uint8, beside nested_absmax and
 * nested_quant_map; X.weight.quant_map; X.weight.quant_state.bitsandbytes__nf4, whose bytes are JSON:
 * {quant_type, blocksize, dtype, shape, nested_blocksize, nested_dtype, nested_offset}.
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/words.h"
#include "io/json_util.h"
#include "model/source_parts.h"

enum { MAX_NAME = 512, MAX_STATE_BYTES = 1 << 16 };

static const char fp8_scale_suffix[] = "_scale_inv";

static const struct safetensor *beside(const struct source *s, const char *name, const char *suffix)
{
    char whole[MAX_NAME];
    int n = snprintf(whole, sizeof whole, "%s%s", name, suffix);
    return n < (int)sizeof whole ? safetensors_find(s->st, whole) : NULL;
}

/* Whether a tensor only tells how another one is stored. */
static bool is_scale(const struct source *s, const struct safetensor *t)
{
    char owner[MAX_NAME];
    for (int i = 0; i <= NF4_N_PARTS; i++) {
        const char *part = i < NF4_N_PARTS ? nf4_part_suffix[i] : fp8_scale_suffix;
        if (!words_end_in(t->name, part))
            continue;
        size_t n = strlen(t->name) - strlen(part);
        if (n >= sizeof owner)
            return false;
        memcpy(owner, t->name, n);
        owner[n] = 0;
        if (safetensors_find(s->st, owner))
            return true;
    }
    return false;
}

static int bad_part(const struct source_tensor *t, const char *part, const char *wanted,
                    struct err *err)
{
    return err_set(err, MOE2_EFORMAT, "%s: tensor %s%s is missing or not %s", t->file, t->name,
                   part, wanted);
}

/* ---- FP8 ---- */

static int add_fp8(struct source *s, struct source_tensor *t, const struct safetensor *from,
                   const struct safetensor *scale, struct err *err)
{
    int64_t rows = from->shape[0], columns = from->shape[1];
    int64_t tiles = ((rows + FP8_TILE - 1) / FP8_TILE) * ((columns + FP8_TILE - 1) / FP8_TILE);
    if (scale->dtype != DT_F32 || scale->n_elements != tiles)
        return bad_part(t, fp8_scale_suffix, "float32 of one number a tile of 128 × 128", err);
    const float *floats = source_floats(s, scale->bytes, tiles, err);
    if (!floats)
        return MOE2_ELIMIT;
    t->kind = STORED_FP8;
    t->stored = "FP8";
    t->n_bytes = from->n_bytes + scale->n_bytes;
    t->fp8 = (struct fp8){.rows = rows, .columns = columns, .codes = from->bytes, .scale = floats};
    return 0;
}

/* ---- NF4 ---- */

/* The JSON of a quant_state: shape, block sizes and offset. */
static int read_state(struct source_tensor *t, const struct safetensor *state, struct err *err)
{
    json_t *root = NULL;
    const json_t *shape = NULL;
    const char *type = "";
    int64_t sides[SOURCE_MAX_DIMS] = {0};
    double offset = 0;
    if (state->n_bytes > MAX_STATE_BYTES)
        return bad_part(t, nf4_part_suffix[NF4_STATE], "JSON of at most 65536 bytes", err);
    int rc = json_read_bytes(&root, t->name, state->bytes, (size_t)state->n_bytes, err);
    if (!rc)
        rc = json_need_text(&type, root, t->name, "quant_type", err);
    if (!rc && strcmp(type, "nf4") != 0)
        rc = err_set(err, MOE2_EFORMAT, "%s: quant_type is \"%.20s\", wanted nf4", t->name, type);
    if (!rc)
        rc = json_need_int(&t->nf4.block_size, root, t->name, "blocksize", NF4_MIN_BLOCK_SIZE,
                           NF4_MAX_BLOCK_SIZE, err);
    if (!rc)
        rc = json_opt_int(&t->nf4.nested_block_size, NF4_NESTED_BLOCK_SIZE, root, t->name,
                          "nested_blocksize", 1, NF4_MAX_BLOCK_SIZE, err);
    if (!rc)
        rc = json_opt_real(&offset, 0, root, t->name, "nested_offset", -1e30, 1e30, err);
    if (!rc)
        rc = json_need_array(&shape, root, t->name, "shape", err);
    size_t n_dims = json_array_size(shape);
    for (size_t i = 0; i < n_dims && i < SOURCE_MAX_DIMS; i++)
        sides[i] = json_integer_value(json_array_get(shape, i));
    if (!rc)
        rc = source_set_shape(t, sides,
                              n_dims > SOURCE_MAX_DIMS ? SOURCE_MAX_DIMS + 1 : (int)n_dims, err);
    t->nf4.nested_offset = (float)offset;
    t->nf4.n = t->n_elements;
    json_decref(root);
    return rc;
}

/* n float32 numbers of a part. */
static int read_floats(const float **out, struct source *s, struct source_tensor *t,
                       const char *part, int64_t n, struct err *err)
{
    const struct safetensor *f = beside(s, t->name, part);
    if (!f || f->dtype != DT_F32 || f->n_elements != n) {
        char wanted[64];
        snprintf(wanted, sizeof wanted, "float32 of %" PRId64 " numbers", n);
        return bad_part(t, part, wanted, err);
    }
    t->n_bytes += f->n_bytes;
    *out = source_floats(s, f->bytes, n, err);
    return *out ? 0 : MOE2_ELIMIT;
}

static int read_absmax(struct source *s, struct source_tensor *t, struct err *err)
{
    struct nf4 *q = &t->nf4;
    const struct safetensor *absmax = beside(s, t->name, nf4_part_suffix[NF4_ABSMAX]);
    int64_t n = nf4_n_blocks(q);
    if (!absmax || absmax->dtype != DT_U8)
        return read_floats(&q->absmax, s, t, nf4_part_suffix[NF4_ABSMAX], n, err);
    if (absmax->n_elements != n)
        return bad_part(t, nf4_part_suffix[NF4_ABSMAX], "one number a block", err);
    q->absmax_codes = absmax->bytes;
    t->n_bytes += absmax->n_bytes;
    int64_t n_nested = (n + q->nested_block_size - 1) / q->nested_block_size;
    int rc =
        read_floats(&q->nested_absmax, s, t, nf4_part_suffix[NF4_NESTED_ABSMAX], n_nested, err);
    return rc ? rc : read_floats(&q->map, s, t, nf4_part_suffix[NF4_NESTED_MAP], NF4_MAP_SIZE, err);
}

/* The sixteen levels of the file are those of nf4.h. */
static int check_levels(const struct source *s, const struct source_tensor *t, struct err *err)
{
    const struct safetensor *map = beside(s, t->name, nf4_part_suffix[NF4_MAP]);
    if (!map || map->dtype != DT_F32 || map->n_elements != NF4_LEVELS ||
        memcmp(map->bytes, nf4_levels, sizeof nf4_levels) != 0)
        return bad_part(t, nf4_part_suffix[NF4_MAP], "the sixteen levels of NF4", err);
    return 0;
}

static int add_nf4(struct source *s, struct source_tensor *t, const struct safetensor *from,
                   const struct safetensor *state, struct err *err)
{
    t->kind = STORED_NF4;
    t->stored = "NF4";
    t->n_bytes = from->n_bytes;
    int rc = read_state(t, state, err);
    if (!rc && (t->nf4.block_size & (t->nf4.block_size - 1)))
        rc = bad_part(t, nf4_part_suffix[NF4_STATE], "of a blocksize that is a power of two", err);
    if (!rc && from->n_bytes != (t->n_elements + 1) / 2)
        rc = err_set(err, MOE2_EFORMAT,
                     "%s: tensor %s has %" PRId64 " bytes of codes, wanted %" PRId64, t->file,
                     t->name, from->n_bytes, (t->n_elements + 1) / 2);
    t->nf4.codes = from->bytes;
    if (!rc && t->n_elements)
        rc = read_absmax(s, t, err);
    return rc ? rc : check_levels(s, t, err);
}

/* ---- all ---- */

static int add_plain(struct source_tensor *t, const struct safetensor *from)
{
    t->kind = STORED_PLAIN;
    t->stored = from->dtype_name;
    t->n_bytes = from->n_bytes;
    if (from->dtype < 0)
        return 0; /* without bytes: reading says that it can't be read */
    t->dtype = (enum dtype)from->dtype;
    t->bytes = from->bytes;
    int64_t rows = from->n_dims ? from->shape[0] : 1;
    t->row_bytes = rows ? from->n_bytes / rows : 0;
    return 0;
}

static int add_one(struct source *s, const struct safetensor *from, struct err *err)
{
    struct source_tensor *t = NULL;
    int rc = source_add(&t, s, from->name, err);
    if (rc)
        return rc;
    t->file = safetensors_shard_path(s->st, from->shard_idx);
    const struct safetensor *state = beside(s, from->name, nf4_part_suffix[NF4_STATE]);
    if (state)
        return add_nf4(s, t, from, state, err);
    rc = source_set_shape(t, from->shape, from->n_dims, err);
    const struct safetensor *scale = beside(s, from->name, fp8_scale_suffix);
    if (!rc && scale && from->dtype == DT_F8_E4M3 && from->n_dims == 2)
        return add_fp8(s, t, from, scale, err);
    return rc ? rc : add_plain(t, from);
}

int source_list_safetensors(struct source *s, struct err *err)
{
    int rc = 0;
    for (int64_t i = 0; i < safetensors_count(s->st) && !rc; i++) {
        const struct safetensor *t = safetensors_at(s->st, i);
        if (!is_scale(s, t))
            rc = add_one(s, t, err);
    }
    return rc;
}
