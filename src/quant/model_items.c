/* Tensors on their way from one form into another: reading the target's rows out of the source,
 * encoding them, keeping what is done. See model_write_parts.h.
 */
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/words.h"
#include "quant/block_encode.h"
#include "quant/model_write_parts.h"

enum { PIECE = 1 << 18 }; /* numbers in memory at a time, and at least a row */

const char *const weight_type_names[WEIGHT_N_TYPES] = {"keep", "f32",  "f16", "bf16",
                                                       "q8_0", "q4_0", "nf4"};

int weight_type_from_name(const char *name)
{
    for (int i = 1; i < WEIGHT_N_TYPES; i++)
        if (strcmp(name, weight_type_names[i]) == 0)
            return i;
    return -1;
}

const char *item_type_name(const struct item *it)
{
    static const char *const names[WEIGHT_N_TYPES] = {"",     "F32",  "F16", "BF16",
                                                      "Q8_0", "Q4_0", "NF4"};
    return names[it->type];
}

int item_add(struct item **out, struct item_list *list, const char *name,
             const struct source_tensor *t, struct err *err)
{
    if (list->n == list->capacity) {
        int64_t more = list->capacity ? 2 * list->capacity : 256;
        struct item *v = realloc(list->v, (size_t)more * sizeof *v);
        if (!v)
            return err_set(err, MOE2_ELIMIT, "no memory for a list of tensors");
        list->v = v;
        list->capacity = more;
    }
    struct item *it = &list->v[list->n++];
    *it = (struct item){.t = t, .n_dims = t->n_dims};
    snprintf(it->name, sizeof it->name, "%s", name);
    memcpy(it->shape, t->shape, sizeof t->shape);
    it->columns = t->n_dims ? t->shape[t->n_dims - 1] : 1;
    it->rows = it->columns ? t->n_elements / it->columns : 0;
    *out = it;
    return 0;
}

static int block_of(enum weight_type type)
{
    return type == WEIGHT_Q8_0 ? BLOCK_Q8_0 : type == WEIGHT_Q4_0 ? BLOCK_Q4_0 : -1;
}

static enum dtype dtype_of(enum weight_type type)
{
    return type == WEIGHT_F16 ? DT_F16 : type == WEIGHT_BF16 ? DT_BF16 : DT_F32;
}

static int64_t bytes_of(enum weight_type type, int64_t n)
{
    int block = block_of(type);
    return block >= 0 ? block_bytes((enum block_type)block, n)
                      : n * (int64_t)dtype_bytes(dtype_of(type));
}

int64_t item_bytes(const struct item *it)
{
    return bytes_of(it->type, it->rows * it->columns);
}

/* ---- reading ---- */

static int read_heads(float *out, const struct item *it, int64_t first, int64_t n, struct err *err)
{
    int rc = 0;
    for (int64_t r = first; r < first + n && !rc; r++) {
        int64_t head = r / it->head_rows, in = r % it->head_rows;
        int64_t row = head * it->head_rows + in % 2 * (it->head_rows / 2) + in / 2;
        rc = source_read(out + (r - first) * it->columns, it->t, row * it->columns, it->columns,
                         err);
    }
    return rc;
}

static int read_experts(float *out, const struct item *it, const struct source *s, int64_t first,
                        int64_t n, struct err *err)
{
    char name[192];
    int64_t rows = it->shape[1];
    int rc = 0;
    while (n > 0 && !rc) {
        int64_t e = first / rows, at = first % rows, m = rows - at < n ? rows - at : n;
        const char *hole = strchr(it->expert_name, '#');
        snprintf(name, sizeof name, "%.*s%" PRId64 "%s", (int)(hole - it->expert_name),
                 it->expert_name, e, hole + 1);
        const struct source_tensor *t = source_find(s, name);
        if (!t || t->n_elements != rows * it->columns)
            return err_set(err, MOE2_EFORMAT, "%s: tensor %s is missing or of another shape",
                           source_path(s), name);
        rc = source_read(out, t, at * it->columns, m * it->columns, err);
        out += m * it->columns, first += m, n -= m;
    }
    return rc;
}

/* Whole heads: row (h, r), column d is row (h, d), column r of kv_b_proj. */
static int read_k_b(float *out, const struct item *it, int64_t first, int64_t n, struct err *err)
{
    int64_t rank = it->shape[1], per_head = it->nope * rank;
    float *k = malloc((size_t)(per_head + 1) * sizeof *k);
    int rc = k ? 0 : err_set(err, MOE2_ELIMIT, "%s: no memory for a head", it->name);
    for (int64_t h = first / rank; h < (first + n) / rank && !rc; h++) {
        rc = source_read(k, it->t, h * (it->nope + it->v_dim) * rank, per_head, err);
        for (int64_t r = 0; r < rank; r++)
            for (int64_t d = 0; d < it->nope; d++)
                *out++ = k[d * rank + r];
    }
    free(k);
    return rc;
}

static int read_v_b(float *out, const struct item *it, int64_t first, int64_t n, struct err *err)
{
    int rc = 0;
    for (int64_t r = first; r < first + n && !rc; r++) {
        int64_t row = r / it->v_dim * (it->nope + it->v_dim) + it->nope + r % it->v_dim;
        rc = source_read(out + (r - first) * it->columns, it->t, row * it->columns, it->columns,
                         err);
    }
    return rc;
}

int item_read(float *out, const struct item *it, const struct source *s, int64_t first, int64_t n,
              struct err *err)
{
    switch (it->form) {
    case ITEM_HEADS:
        return read_heads(out, it, first, n, err);
    case ITEM_EXPERTS:
        return read_experts(out, it, s, first, n, err);
    case ITEM_K_B:
        return read_k_b(out, it, first, n, err);
    case ITEM_V_B:
        return read_v_b(out, it, first, n, err);
    case ITEM_SAME:
        break;
    }
    return source_read(out, it->t, first * it->columns, n * it->columns, err);
}

/* ---- encoding ---- */

/* n values to bytes and back, so that the loss is seen. */
static void encode(uint8_t *bytes, float *back, enum weight_type type, const float *x, int64_t n)
{
    int block = block_of(type);
    if (block >= 0) {
        block_encode(bytes, (enum block_type)block, x, n);
        block_decode(back, bytes, (enum block_type)block, 0, n);
    } else {
        dtype_from_f32(bytes, x, dtype_of(type), n);
        dtype_to_f32(back, bytes, dtype_of(type), n);
    }
}

static int cant_hold(const struct item *it, float x, struct err *err)
{
    return err_set(err, MOE2_ENUMERIC, "tensor %s holds %g, which %s can't", it->name, (double)x,
                   item_type_name(it));
}

/* Before they are encoded: integers of blocks have no code for them, and nothing would be seen afterwards. */
static int check_finite(const struct item *it, const float *x, int64_t n, struct err *err)
{
    for (int64_t i = 0; i < n; i++)
        if (!isfinite(x[i]))
            return cant_hold(it, x[i], err);
    return 0;
}

static int add_error(double sums[2], const struct item *it, const float *x, const float *back,
                     int64_t n, struct err *err)
{
    for (int64_t i = 0; i < n; i++) {
        double d = (double)back[i] - (double)x[i];
        if (!isfinite(back[i]))
            return cant_hold(it, x[i], err);
        sums[0] += d * d;
        sums[1] += (double)x[i] * (double)x[i];
    }
    return 0;
}

static int64_t rows_at_once(const struct item *it)
{
    int64_t n = it->columns ? PIECE / it->columns : 1;
    if (it->form == ITEM_K_B)
        n = (n / it->shape[1] > 0 ? n / it->shape[1] : 1) * it->shape[1];
    return n > 1 ? n : 1;
}

int item_encode(double *error, const struct item *it, const struct source *s, item_put *put,
                void *ctx, struct err *err)
{
    int64_t step = rows_at_once(it), n_max = step * it->columns;
    double sums[2] = {0, 0};
    float *x = malloc((size_t)(n_max + 1) * sizeof *x),
          *back = malloc((size_t)(n_max + 1) * sizeof *x);
    uint8_t *bytes = malloc((size_t)(n_max + 1) * sizeof *x);
    int rc =
        x && back && bytes ? 0 : err_set(err, MOE2_ELIMIT, "no memory for a piece of a tensor");
    for (int64_t row = 0; row < it->rows && !rc; row += step) {
        int64_t n = (it->rows - row < step ? it->rows - row : step) * it->columns;
        rc = item_read(x, it, s, row, n / it->columns, err);
        if (!rc)
            rc = check_finite(it, x, n, err);
        if (rc)
            break;
        encode(bytes, back, it->type, x, n);
        rc = add_error(sums, it, x, back, n, err);
        if (!rc)
            rc = put(ctx, bytes, bytes_of(it->type, n), err);
    }
    *error = sums[1] > 0 ? sqrt(sums[0] / sums[1]) : 0;
    free(x);
    free(back);
    free(bytes);
    return rc;
}

int report_add(struct write_report *r, const struct item *it, int64_t bytes_to, double error,
               struct err *err)
{
    if (!r)
        return 0;
    if (r->n == r->capacity) {
        int64_t more = r->capacity ? 2 * r->capacity : 256;
        struct tensor_report *v = realloc(r->v, (size_t)more * sizeof *v);
        if (!v)
            return err_set(err, MOE2_ELIMIT, "no memory for the report");
        r->v = v;
        r->capacity = more;
    }
    struct tensor_report *t = &r->v[r->n++];
    int64_t n_from = it->form == ITEM_EXPERTS ? it->shape[0] : 1;
    *t = (struct tensor_report){.from = it->t->stored,
                                .to = item_type_name(it),
                                .n = it->rows * it->columns,
                                .bytes_from = it->t->n_bytes * n_from,
                                .bytes_to = bytes_to,
                                .error = error};
    snprintf(t->name, sizeof t->name, "%s", it->name);
    return 0;
}

/* ---- parts ---- */

/* A line for each of a model's files, which is another one when it was written again. */
static int put_stamps(struct buf *b, const char *model, struct err *err)
{
    char **names = NULL;
    size_t n = 0;
    if (!file_is_dir(model))
        return buf_printf(b, err, "%" PRId64 "\n", file_stamp(model));
    int rc = dir_names(&names, &n, model, err);
    for (size_t i = 0; i < n && !rc; i++) {
        char *path = path_join(model, names[i]);
        rc = path ? buf_printf(b, err, "%s %" PRId64 " %" PRId64 "\n", names[i], file_size(path),
                               file_stamp(path))
                  : err_set(err, MOE2_ELIMIT, "no memory for a path");
        free(path);
    }
    dir_names_free(names, n);
    return rc;
}

/* What a folder of parts belongs to. */
static int manifest(struct buf *b, const struct source *s, const struct model_write_options *o,
                    struct err *err)
{
    int rc = buf_printf(b, err, "%s\n%" PRId64 " tensors, %" PRId64 " bytes\n%s\n", source_path(s),
                        source_count(s), source_total_bytes(s), weight_type_names[o->type]);
    return rc ? rc : put_stamps(b, source_path(s), err);
}

static int check_manifest(const struct parts *p, const struct buf *wanted, struct err *err)
{
    struct buf seen = {0};
    char *path = path_join(p->dir, "manifest.txt");
    int rc = path ? 0 : err_set(err, MOE2_ELIMIT, "no memory for a path");
    bool same = !rc && file_exists(path) && !file_read(&seen, path, NULL) && seen.n == wanted->n &&
                memcmp(seen.bytes, wanted->bytes, seen.n) == 0;
    if (!rc && !same)
        rc = file_remove_all(p->dir, err);
    if (!rc && !same)
        rc = dir_make(p->dir, err);
    if (!rc && !same)
        rc = file_write(path, wanted->bytes, wanted->n, err);
    buf_release(&seen);
    free(path);
    return rc;
}

int parts_open(struct parts *p, const char *out, const struct source *s,
               const struct model_write_options *o, struct err *err)
{
    struct buf wanted = {0}, dir = {0};
    p->dir = NULL;
    if (!o->keep_parts)
        return 0;
    int rc = buf_printf(&dir, err, "%s.parts", out);
    if (!rc && !(p->dir = strdup(dir.bytes)))
        rc = err_set(err, MOE2_ELIMIT, "no memory for a path");
    if (!rc)
        rc = manifest(&wanted, s, o, err);
    if (!rc)
        rc = check_manifest(p, &wanted, err);
    buf_release(&wanted);
    buf_release(&dir);
    return rc;
}

struct part_writer {
    struct file_writer file;
};

static int put_part(void *ctx, const void *bytes, int64_t n, struct err *err)
{
    struct part_writer *w = ctx;
    return file_put(&w->file, bytes, (size_t)n, err);
}

/* Bytes, then the error as a double. */
static int make_part(const char *path, const struct item *it, const struct source *s,
                     struct err *err)
{
    struct part_writer w = {0};
    double error = 0;
    int rc = file_begin(&w.file, path, err);
    if (!rc)
        rc = item_encode(&error, it, s, put_part, &w, err);
    if (!rc)
        rc = file_put(&w.file, &error, sizeof error, err);
    if (!rc)
        rc = file_commit(&w.file, err);
    file_abort(&w.file);
    return rc;
}

int parts_encode(double *error, const struct parts *p, int64_t idx, const struct item *it,
                 const struct source *s, item_put *put, void *ctx, struct err *err)
{
    char name[32];
    struct file_map map = {0};
    int64_t n = item_bytes(it);
    if (!p->dir)
        return item_encode(error, it, s, put, ctx, err);
    snprintf(name, sizeof name, "%08" PRId64, idx);
    char *path = path_join(p->dir, name);
    int rc = path ? 0 : err_set(err, MOE2_ELIMIT, "no memory for a path");
    if (!rc && file_size(path) != n + (int64_t)sizeof *error)
        rc = make_part(path, it, s, err);
    if (!rc)
        rc = file_map(&map, path, err);
    if (!rc) {
        memcpy(error, map.bytes + n, sizeof *error);
        rc = put(ctx, map.bytes, n, err);
    }
    file_unmap(&map);
    free(path);
    return rc;
}

void parts_close(struct parts *p, bool done)
{
    if (p->dir && done)
        file_remove_all(p->dir, NULL);
    free(p->dir);
    p->dir = NULL;
}

int model_write(const char *out, const struct source *s, const struct model_write_options *options,
                struct err *err)
{
    bool is_gguf = words_end_in(out, ".gguf");
    if (is_gguf && options->type == WEIGHT_NF4)
        return err_set(err, MOE2_ECONFIG,
                       "%s: GGUF has no NF4, wanted a folder, or f32, f16, bf16, q8_0 or q4_0",
                       out);
    if (!is_gguf && (options->type == WEIGHT_Q8_0 || options->type == WEIGHT_Q4_0))
        return err_set(
            err, MOE2_ECONFIG,
            "%s: a folder can't hold %s, wanted a name ending in .gguf, or f32, f16, bf16 "
            "or nf4",
            out, weight_type_names[options->type]);
    return is_gguf ? write_gguf(out, s, options, err) : write_folder(out, s, options, err);
}
