/* A model as a safetensors folder: plain, or with its layers in NF4 as bitsandbytes writes them. See
 * model_write.h.
 *
 * In NF4 go all layers' projections, experts' too; embedding, head, routers, norms and biases stay in
 * 16 bits. Each becomes X.weight (codes), .absmax, .quant_map, .nested_absmax, .nested_quant_map and
 * .quant_state.bitsandbytes__nf4, whose JSON is filled up with spaces to a length known beforehand.
 */
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/words.h"
#include "eval/model_tokenizer.h"
#include "io/safetensors.h"
#include "quant/model_write_parts.h"
#include "quant/nf4_encode.h"

enum { STATE_BYTES = 320, MAX_NAME = 256 };

struct folder {
    const struct source *s;
    const struct model_write_options *o;
    struct item_list items;
    struct safetensors_decl *decls;
    char (*names)[MAX_NAME]; /* of decls */
    int64_t n_decls;
    struct safetensors_writer *w;
    struct parts parts;
    int64_t decl; /* the next one */
    int64_t at;   /* bytes of it */
};

/* The layers that bitsandbytes replaces: every projection of a block. */
static bool is_linear(const struct source_tensor *t)
{
    return t->n_dims == 2 && strncmp(t->name, "model.layers.", 13) == 0 &&
           (words_end_in(t->name, "_proj.weight") ||
            words_end_in(t->name, "kv_a_proj_with_mqa.weight"));
}

static enum weight_type plain_type(const struct source_tensor *t)
{
    if (t->kind == STORED_RANDOM)
        return WEIGHT_F32;
    if (t->kind != STORED_PLAIN)
        return WEIGHT_F16;
    return t->dtype == DT_BF16 ? WEIGHT_BF16 : t->dtype == DT_F32 ? WEIGHT_F32 : WEIGHT_F16;
}

/* float32 stays what is small and must be exact: a router's bias. */
static enum weight_type type_of(const struct source_tensor *t, enum weight_type wanted)
{
    if (words_end_in(t->name, "e_score_correction_bias"))
        return WEIGHT_F32;
    if (wanted == WEIGHT_NF4)
        return is_linear(t)                  ? WEIGHT_NF4
               : plain_type(t) == WEIGHT_F32 ? WEIGHT_BF16
                                             : plain_type(t);
    return wanted == WEIGHT_KEEP ? plain_type(t) : wanted;
}

static int list_items(struct folder *f, struct err *err)
{
    int rc = 0;
    for (int64_t i = 0; i < source_count(f->s) && !rc; i++) {
        const struct source_tensor *t = source_at(f->s, i);
        struct item *it = NULL;
        rc = item_add(&it, &f->items, t->name, t, err);
        if (!rc)
            it->type = type_of(t, f->o->type);
    }
    return rc;
}

/* ---- declarations ---- */

static struct safetensors_decl *declare(struct folder *f, const char *name, const char *suffix,
                                        enum dtype type)
{
    struct safetensors_decl *d = &f->decls[f->n_decls];
    snprintf(f->names[f->n_decls], MAX_NAME, "%s%s", name, suffix);
    *d = (struct safetensors_decl){.name = f->names[f->n_decls++], .dtype = type, .n_dims = 1};
    return d;
}

static void declare_nf4(struct folder *f, const struct item *it)
{
    int64_t n = it->rows * it->columns, blocks = (n + NF4_BLOCK_SIZE - 1) / NF4_BLOCK_SIZE;
    struct safetensors_decl *d = declare(f, it->name, "", DT_U8);
    d->n_dims = 2;
    d->shape[0] = (n + 1) / 2;
    d->shape[1] = 1;
    declare(f, it->name, nf4_part_suffix[NF4_ABSMAX], DT_U8)->shape[0] = blocks;
    declare(f, it->name, nf4_part_suffix[NF4_NESTED_ABSMAX], DT_F32)->shape[0] =
        (blocks + NF4_NESTED_BLOCK_SIZE - 1) / NF4_NESTED_BLOCK_SIZE;
    declare(f, it->name, nf4_part_suffix[NF4_NESTED_MAP], DT_F32)->shape[0] = NF4_MAP_SIZE;
    declare(f, it->name, nf4_part_suffix[NF4_MAP], DT_F32)->shape[0] = NF4_LEVELS;
    declare(f, it->name, nf4_part_suffix[NF4_STATE], DT_U8)->shape[0] = STATE_BYTES;
}

static int declare_all(struct folder *f, struct err *err)
{
    size_t n = (size_t)f->items.n * (1 + NF4_N_PARTS) + 1;
    f->decls = calloc(n, sizeof *f->decls);
    f->names = calloc(n, sizeof *f->names);
    if (!f->decls || !f->names)
        return err_set(err, MOE2_ELIMIT, "no memory for the names of %" PRId64 " tensors",
                       f->items.n);
    for (int64_t i = 0; i < f->items.n; i++) {
        const struct item *it = &f->items.v[i];
        if (it->type == WEIGHT_NF4) {
            declare_nf4(f, it);
            continue;
        }
        struct safetensors_decl *d = declare(f, it->name, "",
                                             it->type == WEIGHT_F32    ? DT_F32
                                             : it->type == WEIGHT_BF16 ? DT_BF16
                                                                       : DT_F16);
        d->n_dims = it->n_dims;
        memcpy(d->shape, it->shape, sizeof it->shape);
    }
    return 0;
}

/* ---- NF4 ---- */

/* A tensor's codes and absmaxes: one allocation, as a part keeps it. */
struct codes {
    int64_t n, n_blocks, n_bytes;
    uint8_t *codes;
    float *absmax;
};

static int codes_alloc(struct codes *c, const struct item *it, struct err *err)
{
    c->n = it->rows * it->columns;
    c->n_blocks = (c->n + NF4_BLOCK_SIZE - 1) / NF4_BLOCK_SIZE;
    int64_t n_codes = (c->n_blocks * NF4_BLOCK_SIZE / 2 + 63) / 64 * 64;
    c->n_bytes = n_codes + c->n_blocks * (int64_t)sizeof(float);
    c->codes = calloc(1, (size_t)c->n_bytes + 1);
    if (!c->codes)
        return err_set(err, MOE2_ELIMIT, "tensor %s: no memory for its codes", it->name);
    c->absmax = (float *)(void *)(c->codes + n_codes);
    return 0;
}

/* The numbers first … first + n − 1 through x [n]. */
static int encode_piece(struct codes *c, const struct item *it, float *x, int64_t first, int64_t n,
                        struct err *err)
{
    int rc = source_read(x, it->t, first, n, err);
    for (int64_t i = 0; i < n && !rc; i++)
        if (!isfinite(x[i]))
            rc = err_set(err, MOE2_ENUMERIC,
                         "%s: tensor %s holds a NaN or an infinity at element "
                         "%" PRId64,
                         it->t->file, it->name, first + i);
    if (!rc)
        nf4_encode(c->codes + first / 2, c->absmax + first / NF4_BLOCK_SIZE, x, n, NF4_BLOCK_SIZE);
    return rc;
}

/* Pieces of a tensor side by side; of several errors the first piece's is told. */
static int encode_nf4(struct codes *c, const struct item *it, struct err *err)
{
    enum { PIECE = 1 << 18 };
    int64_t n_pieces = (c->n + PIECE - 1) / PIECE, blamed = n_pieces;
    struct err first_err = {0};
#pragma omp parallel
    {
        float *x = malloc(PIECE * sizeof *x);
#pragma omp for schedule(dynamic)
        for (int64_t i = 0; i < n_pieces; i++) {
            struct err piece_err = {0};
            int64_t first = i * PIECE, n = c->n - first < PIECE ? c->n - first : PIECE;
            int rc = x ? encode_piece(c, it, x, first, n, &piece_err)
                       : err_set(&piece_err, MOE2_ELIMIT, "no memory for a piece of a tensor");
#pragma omp critical(write_nf4)
            if (rc && i < blamed) {
                blamed = i;
                first_err = piece_err;
            }
        }
        free(x);
    }
    return blamed < n_pieces ? err_set(err, first_err.code, "%s", first_err.msg) : 0;
}

/* Codes from the part that is there, or made and kept. */
static int find_codes(struct codes *c, const struct folder *f, const struct item *it, int64_t idx,
                      struct err *err)
{
    char name[32];
    struct buf b = {.max_bytes = (size_t)c->n_bytes + 1};
    if (!f->parts.dir)
        return encode_nf4(c, it, err);
    snprintf(name, sizeof name, "%08" PRId64, idx);
    char *path = path_join(f->parts.dir, name);
    int rc = path ? 0 : err_set(err, MOE2_ELIMIT, "no memory for a path");
    if (!rc && file_size(path) == c->n_bytes) {
        rc = file_read(&b, path, err);
        if (!rc && c->n_bytes)
            memcpy(c->codes, b.bytes, b.n);
    } else if (!rc) {
        rc = encode_nf4(c, it, err);
        if (!rc)
            rc = file_write(path, c->codes, (size_t)c->n_bytes, err);
    }
    buf_release(&b);
    free(path);
    return rc;
}

static int put_next(struct folder *f, const void *bytes, int64_t n, struct err *err)
{
    int rc = safetensors_put_at(f->w, f->decl, bytes, n, err);
    f->decl++;
    return rc;
}

/* "[10, 13]" of the shape, and the whole state. */
static void make_state(char out[STATE_BYTES], const struct item *it, float offset)
{
    char shape[96];
    safetensors_shape_text(shape, sizeof shape, it->shape, it->n_dims);
    memset(out, ' ', STATE_BYTES);
    int n =
        snprintf(out, STATE_BYTES,
                 "{\"quant_type\": \"nf4\", \"blocksize\": %d, \"dtype\": \"bfloat16\", \"shape\": "
                 "%s, \"nested_blocksize\": %d, \"nested_dtype\": \"float32\", "
                 "\"nested_offset\": %.17g}",
                 NF4_BLOCK_SIZE, shape, NF4_NESTED_BLOCK_SIZE, (double)offset);
    out[n] = ' ';
}

static int measure(double *error, const struct nf4 *q, const struct item *it, struct err *err)
{
    enum { PIECE = 1 << 16 };
    double sums[2] = {0, 0};
    float *x = malloc(2 * PIECE * sizeof *x);
    int rc = x ? 0 : err_set(err, MOE2_ELIMIT, "no memory for a piece of a tensor");
    for (int64_t first = 0; first < q->n && !rc; first += PIECE) {
        int64_t n = q->n - first < PIECE ? q->n - first : PIECE;
        rc = source_read(x, it->t, first, n, err);
        nf4_decode(x + PIECE, q, first, n);
        for (int64_t i = 0; i < n; i++) {
            double d = (double)x[PIECE + i] - (double)x[i];
            sums[0] += d * d;
            sums[1] += (double)x[i] * (double)x[i];
        }
    }
    *error = sums[1] > 0 ? sqrt(sums[0] / sums[1]) : 0;
    free(x);
    return rc;
}

static int put_codes(struct folder *f, const struct item *it, const struct codes *c,
                     struct err *err)
{
    float map[NF4_MAP_SIZE], offset = 0;
    char state[STATE_BYTES];
    int64_t n_nested = (c->n_blocks + NF4_NESTED_BLOCK_SIZE - 1) / NF4_NESTED_BLOCK_SIZE;
    uint8_t *absmax_codes = malloc((size_t)c->n_blocks + 1);
    float *nested = malloc((size_t)(n_nested + 1) * sizeof *nested);
    int rc =
        absmax_codes && nested ? 0 : err_set(err, MOE2_ELIMIT, "no memory for a tensor's scales");
    if (!rc) {
        nf4_dynamic_map(map, 1);
        nf4_nest(absmax_codes, nested, &offset, c->absmax, c->n_blocks, map);
        make_state(state, it, offset);
        rc = put_next(f, c->codes, (c->n + 1) / 2, err);
    }
    if (!rc)
        rc = put_next(f, absmax_codes, c->n_blocks, err);
    if (!rc)
        rc = put_next(f, nested, n_nested * 4, err);
    if (!rc)
        rc = put_next(f, map, sizeof map, err);
    if (!rc)
        rc = put_next(f, nf4_levels, sizeof nf4_levels, err);
    if (!rc)
        rc = put_next(f, state, sizeof state, err);
    if (!rc && f->o->report) {
        double error = 0;
        struct nf4 q = {.n = c->n,
                        .block_size = NF4_BLOCK_SIZE,
                        .codes = c->codes,
                        .absmax_codes = absmax_codes,
                        .nested_absmax = nested,
                        .map = map,
                        .nested_block_size = NF4_NESTED_BLOCK_SIZE,
                        .nested_offset = offset};
        rc = measure(&error, &q, it, err);
        if (!rc)
            rc = report_add(f->o->report, it,
                            (c->n + 1) / 2 + c->n_blocks + n_nested * 4 + (int64_t)sizeof map +
                                (int64_t)sizeof nf4_levels + STATE_BYTES,
                            error, err);
    }
    free(absmax_codes);
    free(nested);
    return rc;
}

static int put_nf4(struct folder *f, const struct item *it, int64_t idx, struct err *err)
{
    struct codes c = {0};
    int rc = codes_alloc(&c, it, err);
    if (!rc && it->t->kind == STORED_RANDOM)
        source_draw_nf4(c.codes, c.absmax, it->t);
    else if (!rc)
        rc = find_codes(&c, f, it, idx, err);
    if (!rc)
        rc = put_codes(f, it, &c, err);
    free(c.codes);
    return rc;
}

/* ---- plain tensors ---- */

static int put_piece(void *ctx, const void *bytes, int64_t n, struct err *err)
{
    struct folder *f = ctx;
    int rc = n ? safetensors_put_piece(f->w, f->decl, f->at, bytes, n, err) : 0;
    f->at += n;
    return rc;
}

static int put_plain(struct folder *f, const struct item *it, struct err *err)
{
    double error = 0;
    f->at = 0;
    int rc = item_encode(&error, it, f->s, put_piece, f, err);
    f->decl++;
    return rc ? rc : report_add(f->o->report, it, item_bytes(it), error, err);
}

static int put_all(struct folder *f, struct err *err)
{
    struct progress progress;
    double done = 0;
    int rc = 0;
    progress_begin(&progress, f->o->log, "writing", (double)source_total_bytes(f->s), "B");
    for (int64_t i = 0; i < f->items.n && !rc; i++) {
        const struct item *it = &f->items.v[i];
        rc = it->type == WEIGHT_NF4 ? put_nf4(f, it, i, err) : put_plain(f, it, err);
        progress_set(&progress, done += (double)it->t->n_bytes);
    }
    progress_end(&progress);
    return rc;
}

/* ---- beside the weights ---- */

static int set_quantisation(json_t *config)
{
    json_t *q = json_pack("{s:s, s:b, s:b, s:s, s:b, s:s, s:s}", "quant_method", "bitsandbytes",
                          "load_in_4bit", 1, "load_in_8bit", 0, "bnb_4bit_quant_type", "nf4",
                          "bnb_4bit_use_double_quant", 1, "bnb_4bit_compute_dtype", "bfloat16",
                          "bnb_4bit_quant_storage", "uint8");
    return q ? json_object_set_new(config, "quantization_config", q) : -1;
}

static int write_config(const struct folder *f, const char *out, struct err *err)
{
    struct buf text = {0};
    json_t *config = NULL;
    char *dump = NULL, *path = path_join(out, "config.json");
    enum weight_type type = f->o->type;
    int rc = path ? source_config_text(&text, f->s, err) : err_set(err, MOE2_ELIMIT, "no memory");
    if (!rc && !(config = json_loadb(text.bytes, text.n, 0, NULL)))
        rc = err_set(err, MOE2_EFORMAT, "%s: its config.json is no JSON", source_path(f->s));
    if (rc)
        goto done;
    for (int64_t i = 0; i < f->items.n && type == WEIGHT_KEEP; i++)
        if (f->items.v[i].n_dims == 2)
            type = f->items.v[i].type; /* what most weights have */
    const char *dtype = type == WEIGHT_F32   ? "float32"
                        : type == WEIGHT_F16 ? "float16"
                                             : "bfloat16";
    const char *key = json_object_get(config, "dtype") ? "dtype" : "torch_dtype";
    json_object_del(config, "quantization_config");
    if (json_object_set_new(config, key, json_string(dtype)) ||
        (type == WEIGHT_NF4 && set_quantisation(config)) ||
        !(dump = json_dumps(config, JSON_INDENT(2) | JSON_REAL_PRECISION(9))))
        rc = err_set(err, MOE2_ELIMIT, "no memory for a config.json");
    if (!rc)
        rc = file_write(path, dump, strlen(dump), err);
done:
    json_decref(config);
    buf_release(&text);
    free(dump);
    free(path);
    return rc;
}

static int write_text(const char *out, const char *name, const struct buf *text, struct err *err)
{
    char *path = path_join(out, name);
    int rc = path ? file_write(path, text->bytes, text->n, err)
                  : err_set(err, MOE2_ELIMIT, "no memory for a path");
    free(path);
    return rc;
}

static int copy_file(const char *from, const char *to, const char *name, struct err *err)
{
    enum { MAX_BYTES = 256 << 20 };
    struct buf text = {.max_bytes = MAX_BYTES};
    char *path = path_join(from, name);
    int rc = path ? 0 : err_set(err, MOE2_ELIMIT, "no memory for a path");
    if (!rc && file_exists(path)) {
        rc = file_read(&text, path, err);
        if (!rc)
            rc = write_text(to, name, &text, err);
    }
    buf_release(&text);
    free(path);
    return rc;
}

static int write_tokenizer(const struct folder *f, const char *out, struct err *err)
{
    static const char *const names[] = {
        "tokenizer.json",         "tokenizer_config.json", "special_tokens_map.json", "vocab.txt",
        "generation_config.json", "chat_template.jinja",   "router_state.safetensors"};
    const struct gguf *g = source_gguf(f->s);
    struct buf json = {0}, config = {0};
    int rc = 0;
    if (g && model_tokenizer_in(g)) {
        rc = model_tokenizer_json(&json, &config, g, err);
        if (!rc)
            rc = write_text(out, "tokenizer.json", &json, err);
        if (!rc)
            rc = write_text(out, "tokenizer_config.json", &config, err);
    }
    for (size_t i = 0; i < sizeof names / sizeof *names && !rc && file_is_dir(source_path(f->s));
         i++)
        rc = copy_file(source_path(f->s), out, names[i], err);
    buf_release(&json);
    buf_release(&config);
    return rc;
}

int write_folder(const char *out, const struct source *s, const struct model_write_options *o,
                 struct err *err)
{
    struct folder f = {.s = s, .o = o};
    int rc = list_items(&f, err);
    if (!rc)
        rc = declare_all(&f, err);
    if (!rc)
        rc = parts_open(&f.parts, out, s, o, err);
    if (!rc)
        rc = safetensors_create_folder(&f.w, out, f.decls, f.n_decls, NULL, err);
    if (!rc)
        rc = put_all(&f, err);
    if (!rc)
        rc = write_config(&f, out, err);
    if (!rc)
        rc = write_tokenizer(&f, out, err);
    if (!rc) {
        rc = safetensors_commit(f.w, err);
        f.w = NULL;
    }
    safetensors_abort(f.w);
    parts_close(&f.parts, !rc);
    free(f.decls);
    free(f.names);
    free(f.items.v);
    return rc;
}
